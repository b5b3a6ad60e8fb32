/* SPDX-License-Identifier: BSD-3-Clause */
/* Inside the plugin: what its files share. */
#ifndef FN_DPDK_H
#define FN_DPDK_H

#include <net/if.h>

#include <rte_ethdev.h>
#include <rte_mbuf.h>
#include <rte_mempool.h>

#include "plugin/plugin.h"

#define FN_DPDK_QUEUES	16	/* receive queues of one port */
#define FN_DPDK_FRAME_MAX	(65535 + 14)	/* Ethernet and the largest IPv4 packet */
#define FN_DPDK_FDS	64	/* descriptors that opening a port makes */

extern const struct fn_plugin_host *fn_host;

#define fn_log(lvl, ...)								\
	do {										\
		if ((lvl) <= fn_host->level)						\
			fn_host->log(fn_host->ctx, (lvl), __VA_ARGS__);			\
	} while (0)

/* How .rx_pending looks at a queue without receiving. */
enum dpdk_peek_kind {
	PEEK_NONE,	/* cannot: the answer is always "perhaps" */
	PEEK_COUNT,	/* a counter of packets produced (AF_XDP's ring) */
	PEEK_STATUS,	/* a status word in each slot (PACKET_MMAP's ring) */
	PEEK_DESC,	/* the device's next descriptor */
};

struct dpdk_rxq {
	uint32_t taken;			/* packets received so far, modulo 2^32 */
	uint32_t slot;			/* PEEK_STATUS: next slot to be filled */
	const volatile uint32_t *count;	/* PEEK_COUNT */
	const uint8_t *ring;		/* PEEK_STATUS: our own mapping of the ring */
	uint32_t ring_slots, slot_size;
	size_t ring_len;
	enum dpdk_peek_kind peek;
	int fd;				/* PEEK_STATUS: the ring's socket */
};

/* A ring that AF_XDP shares with the kernel, as libxdp keeps it for the driver (xdp/xsk.h): of the two cached indices
 * the user's own says how far he has reserved or looked, the other is the kernel's as last seen. */
struct dpdk_xsk_ring {
	uint32_t cached_prod, cached_cons, mask, size;
	uint32_t *producer, *consumer;
	void *ring;
	uint32_t *flags;
};

/* The driver's four of a queue. Buffers go to the kernel by .fill and come back by .rx, by .tx and come back by .done. */
struct dpdk_xskq {
	struct dpdk_xsk_ring *rx, *fill, *tx, *done;
	int fd;
	uint32_t nominal;		/* dpdk_xsk_filled() while nobody is in the midst of receiving */
};

enum dpdk_driver {
	DRIVER_AF_PACKET,
	DRIVER_AF_XDP,
	DRIVER_TAP,
	DRIVER_OTHER,
};

/* A port. Lies in EAL's memory, which images share after a fork. */
struct dpdk_port {
	struct fn_port pub;		/* the first member */
	struct rte_mempool *pool;
	uint16_t id;			/* ethdev's */
	uint16_t nb_rxq;
	uint16_t next_rxq;
	bool accept_partial;		/* FN_PORT_CSUM_AUTO on a virtual interface */
	bool trust_all;
	bool ring_sums;			/* AF_PACKET: what the kernel says about checksums counts */
	bool tx_linear;			/* the device takes single buffers only */
	bool tx_prepare;		/* packets with offloads are shown to the driver first */
	bool tso_refused;		/* it did not want one; to be told */
	bool tx_unsettled;		/* AF_PACKET: dpdk_settle_tx() comes before anything is sent */
	bool rx_intr;			/* arm and disarm use rx interrupts */
	uint32_t frame_max;		/* largest frame that is not oversize */
	uint32_t reserve;		/* buffers kept for receiving */
	uint32_t alloc_budget;		/* buffers that may be allocated before the next look */
	bool link;			/* as of the last tick */
	unsigned lcore;			/* whose mempool cache is used */
	struct dpdk_rxq rxq[FN_DPDK_QUEUES];
	/* --- not touched by the data path --- */
	enum dpdk_driver driver;
	char driver_name[32];
	char dev_name[RTE_DEV_NAME_MAX_LEN];
	char ifname[IF_NAMESIZE];
	pid_t owner;			/* who opened it */
	uint8_t queued[FN_DPDK_FRAME_MAX];	/* AF_PACKET: a frame that had no room in its slot, on its way */
	uint64_t ring_missed, ring_dropped;	/* frames without buffers, and without a slot */
	uint64_t oversize_told;
	bool known;			/* what the driver does with buffers: they can be counted */
	struct dpdk_xskq xsk[FN_DPDK_QUEUES];
	uintptr_t xsk_base;		/* what addresses in them are relative to */
	struct rte_mempool *tap_segments; /* what a tap's driver cuts large packets into; NULL: it does not */
	bool xsk_unsure;		/* some buffers could not be accounted for; to be told */
	int wait_fd[FN_PLUGIN_FDS];
	int nb_wait_fd;
	int own_fd[FN_DPDK_FDS];
	int nb_own_fd;
	int mac_fd;			/* holds the interface's filter open for our MAC; -1: not needed */
	int ask_fd;			/* asks for the interface's state; -1: the driver knows it */
};

/* ---- eal.c ---- */
/* EAL, once a process; dev is the first port. 0 or -E* and err. */
struct dpdk_devargs;
int dpdk_eal_init(const struct fn_port_conf *conf, const struct dpdk_devargs *dev, char *err, size_t errlen);
bool dpdk_eal_hugepages(void);
/* EAL's own descriptors. */
int dpdk_eal_fds(int *fds, int max);
/* Some may have been closed. */
void dpdk_eal_fds_closed(void);
unsigned dpdk_eal_lcore(void);

/* ---- huge.c: huge pages, held until EAL's heap takes them ---- */
unsigned long dpdk_huge_free_mb(void);
/* Has the machine any, free or not? */
bool dpdk_huge_any(void);
/* Hold that many. False: they cannot be had, and none is held. Before EAL starts. */
bool dpdk_huge_hold(unsigned mb);
/* What is still held. */
void dpdk_huge_drop(void);

/* ---- thread.c: EAL's own thread ---- */
/* EAL starts, in this process; descriptors are at or above floor if the limit allows. */
void dpdk_thread_born(int floor);
/* It can be called from now on: the descriptor that takes; -ESRCH: there is none (any more). */
int dpdk_thread_ready(void);
/* It makes system call n, if it is ready; returns when that is done. */
void dpdk_thread_call(long n, const long arg[5]);
/* It ends, and the descriptor is closed: no device may have interrupts any more. */
void dpdk_thread_end(void);

/* ---- log.c ---- */
/* EAL's log goes to the host's; before EAL starts. -ENOMEM. */
int dpdk_log_open(void);
/* That of the libraries under the drivers, too; after EAL has loaded them. */
void dpdk_log_libraries(void);
/* Standard output and error while EAL starts: what the calling thread writes goes to the log. */
void dpdk_log_divert(bool on);
/* Between the two, what DPDK logs as an error is kept; the last such line, or "". */
void dpdk_log_keep(void);
const char *dpdk_log_kept(void);

/* ---- devargs.c ---- */
/* A port's devargs, taken apart and completed. */
struct dpdk_devargs {
	enum dpdk_driver driver;
	bool pci;
	char name[RTE_DEV_NAME_MAX_LEN];	/* net_af_packet0, or the PCI address */
	char args[512];				/* behind the name's comma, completed */
	char ifname[IF_NAMESIZE];		/* of a driver over a kernel interface */
	uint32_t framesz, framecnt, qpairs;	/* af_packet */
	uint32_t room;			/* bytes for a frame in a buffer, headroom apart */
	uint32_t buffers;
};

/* The data room of a port's buffers for frames of that size. */
uint32_t dpdk_devargs_room(const struct dpdk_devargs *d, uint32_t frame);
/* 0, -EINVAL, -ENODEV and err. mtu: 0 is the interface's. */
int dpdk_devargs_parse(struct dpdk_devargs *d, const struct fn_port_conf *conf, char *err, size_t errlen);

/* ---- iface.c: what the kernel says about an interface ---- */
uint32_t dpdk_iface_mtu(const char *ifname);	/* 0: no such interface */
/* A socket to ask with, or -1: what asks again and again keeps one. The keeper asks while the program runs, and would take
 * the lowest free number away from it, for as long as others keep the kernel's RTNL lock. */
int dpdk_iface_socket(void);
bool dpdk_iface_up(int fd, const char *ifname);
/* One whose frames may never have crossed a wire, so that checksums may be unfinished: veth, bridge, virtio … */
bool dpdk_iface_virtual(const char *ifname);
/* Let the interface take frames to mac beside its own, while the returned descriptor is open; -E*. */
int dpdk_iface_admit(const char *ifname, const uint8_t mac[6]);

/* ---- fds.c ---- */
struct dpdk_fdset {
	uint64_t bit[65536 / 64];
};
void dpdk_fds_snapshot(struct dpdk_fdset *set);
/* Occupy the free numbers below floor, so that what is opened meanwhile gets higher ones; then free them again. */
void dpdk_fds_plug(struct dpdk_fdset *plugged, int floor);
void dpdk_fds_unplug(const struct dpdk_fdset *plugged);
/* What is open now, was not in `before`, and is of a kind that drivers open (of pipes, the first few): made close-on-exec
 * and put into fds; how many. */
int dpdk_fds_collect(int *fds, int max, const struct dpdk_fdset *before, int pipes);
/* Choose the descriptors to sleep on: rx interrupts if the device has them, else the driver's own sockets. */
void dpdk_wake_setup(struct dpdk_port *port);
void dpdk_wake_arm(struct dpdk_port *port);
void dpdk_wake_disarm(struct dpdk_port *port);

/* ---- peek.c ---- */
/* False: some queue cannot be looked at. */
bool dpdk_peek_setup(struct dpdk_port *port, const struct dpdk_devargs *d);
void dpdk_peek_teardown(struct dpdk_port *port);
bool dpdk_rx_pending(const struct fn_nic *nic);

/* ---- ring.c: AF_PACKET's ring, which dpdk_peek_setup() has mapped ---- */
/* Up to n frames; takes the queue's slots in their order. */
uint16_t dpdk_ring_rx(struct dpdk_port *port, struct dpdk_rxq *rxq, struct rte_mbuf **m, uint16_t n);
/* Frames that were lost here, so far. */
uint64_t dpdk_ring_missed(struct dpdk_port *port);
/* What has no room in a slot of this socket's ring is to be queued as well. False: it will be cut off. */
bool dpdk_ring_setup(int fd);

/* ---- recover.c: fn_nic_ops.each and .reclaim ---- */
/* After dpdk_peek_setup() and the queues': find what the driver keeps buffers in; .known says whether that succeeded. */
void dpdk_recover_setup(struct dpdk_port *port);
/* The buffers that the stack and the sending side share, and those of them that are free. */
void dpdk_count_buffers(const struct dpdk_port *port, unsigned *all, unsigned *free);
void dpdk_each(struct fn_nic *nic, void (*fn)(void *ctx, struct fn_pkt *p), void *ctx);
void dpdk_reclaim(struct fn_nic *nic);
/* The pool has nothing any more; then what is free is put into it, one by one. */
void dpdk_pool_empty(struct rte_mempool *pool);
void dpdk_pool_put(struct dpdk_port *port, struct rte_mbuf *m);
/* An address that may be anything: is it an object of the pool's? */
bool dpdk_pool_has(const struct rte_mempool *pool, uintptr_t obj);
/* AF_PACKET: driver and kernel are in one place of the ring again. False: not yet, nothing may be sent; to be called again. */
bool dpdk_settle_tx(struct dpdk_port *port);

/* ---- xsk.c: AF_XDP's rings ---- */
/* False: they are not where this version's driver is known to have them. So dpdk_tap_find(). */
bool dpdk_xsk_find(struct dpdk_port *port);
/* The buffer at that address of a ring; NULL: none of ours. */
struct rte_mbuf *dpdk_xsk_frame(const struct dpdk_port *port, uint64_t addr);
/* The address in entry i of a ring whose entries have so many bytes. */
uint64_t dpdk_xsk_addr(const struct dpdk_xsk_ring *r, size_t entry, uint32_t i);
/* Buffers that have been given for receiving, and not been received yet. */
uint32_t dpdk_xsk_filled(const struct dpdk_xskq *x);
/* Of all queues: buffers that were sent, and that the driver has not taken back yet; the .nominal ones. */
unsigned dpdk_xsk_sent(const struct dpdk_port *port);
unsigned dpdk_xsk_nominal(const struct dpdk_port *port);
/* ---- recover_xsk.c: fn_nic_ops.reclaim for them ---- */
void dpdk_xsk_reclaim(struct dpdk_port *port);

/* ---- recover_tap.c ---- */
bool dpdk_tap_find(struct dpdk_port *port);
/* Buffers that the queues have while nobody is in the midst of receiving. */
unsigned dpdk_tap_nominal(const struct dpdk_port *port);
/* With all in the pool that is not the stack's. */
void dpdk_tap_reclaim(struct dpdk_port *port);

/* ---- numa.c ---- */
bool dpdk_numa_many(void);
void dpdk_numa_bind(void *addr, size_t len, int node);

/* ---- port.c ---- */
int dpdk_port_open(const struct fn_port_conf *conf, struct fn_nic *nic, struct dpdk_port **port, char *err,
		   size_t errlen);
int dpdk_port_prepare(const struct fn_port_conf *conf, char *err, size_t errlen);
void dpdk_port_close(struct dpdk_port *port);

/* ---- nic_dpdk.c ---- */
extern const struct fn_nic_ops dpdk_nic_ops, dpdk_nic_ops_blind;	/* blind: without .rx_pending */

#endif
