/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * The contract between libfastnet.so and a NIC plugin (a shared object in $(libdir)/fastnet). The plugin exports one
 * symbol, gets a table of the host's functions, and returns a table of its own. Included by both sides; no DPDK here.
 *
 * The plugin knows a device and no protocol. It calls libc as any library does, so that in a preloaded program its calls
 * (socket, poll, readv, sigaction …) meet the host's wrappers: the host must let calls through that come from inside.
 */
#ifndef FN_PLUGIN_H
#define FN_PLUGIN_H

#include "stack/nic.h"

#define FN_PLUGIN_ABI		3
#define FN_PLUGIN_SYMBOL	"fastnet_nic_plugin"
#define FN_PLUGIN_FDS		16	/* descriptors that fn_plugin_ops.wait_fds gives at most */
#define FN_PLUGIN_OWN_FDS	80	/* and .own_fds */

/* SO_RCVBUF of net_af_packet's sockets: what may wait of frames too large for a slot. The largest window of a connection,
 * as the kernel counts buffers. */
#define FN_PLUGIN_PACKET_RCVBUF	(16 << 20)

/* In the order of the configuration's log_level. */
enum fn_plugin_level {
	FN_PLUGIN_ERROR,
	FN_PLUGIN_WARNING,
	FN_PLUGIN_NOTICE,
	FN_PLUGIN_INFO,
	FN_PLUGIN_DEBUG,
};

/* What the host lends; lives as long as the process. */
struct fn_plugin_host {
	uint32_t abi;			/* FN_PLUGIN_ABI */
	enum fn_plugin_level level;	/* the least important message that is wanted */
	void *ctx;
	/* One line, no newline. Called from .open, .close and .tick only, and by EAL's own thread. */
	void (*log)(void *ctx, enum fn_plugin_level level, const char *fmt, ...) __attribute__((format(printf, 3, 4)));
};

enum fn_port_huge { FN_PORT_HUGE_AUTO, FN_PORT_HUGE_YES, FN_PORT_HUGE_NO };

/*
 * What is done with TCP and UDP checksums that no device has verified. A kernel that sends on a virtual link leaves them
 * unfinished (Linux' CHECKSUM_PARTIAL): the field holds the pseudo header's sum and the packet never crosses a wire.
 */
enum fn_port_csum {
	FN_PORT_CSUM_AUTO,	/* an unfinished one counts as good on a virtual interface; all others are computed */
	FN_PORT_CSUM_VERIFY,	/* all are computed */
	FN_PORT_CSUM_TRUST,	/* all count as good */
};

/* Whether the device cuts large TCP packets into segments. */
enum fn_port_tso {
	FN_PORT_TSO_AUTO,	/* where the device does it, not where its driver would in software */
	FN_PORT_TSO_ON,		/* wherever the driver says that it can */
	FN_PORT_TSO_OFF,
};

/* One port of the configuration. Strings live for the call of .open only. */
struct fn_port_conf {
	const char *name;	/* for messages and fn_nic.name */
	const char *devargs;	/* "net_af_packet0,iface=veth1", "0000:01:00.0" */
	const char *eal_args;	/* more EAL arguments, separated by spaces; NULL: none. The first port's count */
	const uint8_t *mac;	/* NULL: the device's */
	const uint8_t *rss_key;	/* 40 bytes: the stack's Toeplitz key; NULL: none */
	uint32_t mtu;		/* 0: the device's */
	uint32_t queues;	/* 0: what the device needs */
	uint32_t buffers;	/* 0: 16383, fewer when they are large */
	uint32_t ports;		/* DPDK ports that the configuration has: EAL's memory is set aside for all of them */
	bool pci;		/* one of them is a PCI device: the bus is scanned */
	enum fn_port_huge hugepages;
	enum fn_port_csum csum;
	enum fn_port_tso tso;
	int numa_node;		/* -1: the device's */
	int fd_floor;		/* descriptors opened here get numbers from here on if the limit allows (192); 0: any */
};

/* A port as the plugin sees it: its first member is what the host may read. */
struct fn_port {
	struct fn_nic *nic;
	const char *driver;	/* "net_af_packet" */
	const char *ifname;	/* kernel interface behind it, or "" */
	int numa_node;		/* -1: no matter */
	/* Whether fn_plugin_ops.wait_fds wake for every received packet. When not, an idle host naps. */
	bool wakes;
	bool hugepages;
	bool csum_trusted;	/* unfinished checksums are taken */
	/* Frames larger than the MTU that a kernel peer sent unsegmented; they are handed up, where they are dropped. */
	uint64_t oversize;
};

struct fn_plugin_ops {
	uint32_t abi;
	const char *version;	/* of DPDK, for tools */
	/*
	 * Make a port, and fill the NIC: ops, caps, mtu, mac, name, priv; its addresses are the caller's, and it must live
	 * where every image that uses the port sees it. 0 or -E*, with one line of explanation in err. The first call
	 * initialises EAL (100-400 ms), once a process. Not concurrently with itself or .close. Standard output, signal
	 * mask, signal dispositions and CPU affinity are as before when it returns.
	 */
	int (*open)(const struct fn_port_conf *conf, struct fn_nic *nic, struct fn_port **port, char *err, size_t errlen);
	/* What .open will want of the file system is loaded now: EAL is initialised. 0 or -E* and err. */
	int (*prepare)(const struct fn_port_conf *conf, char *err, size_t errlen);
	/* Every buffer that the stack still holds becomes invalid. In the process that opened the port only. */
	void (*close)(struct fn_port *port);
	/*
	 * Descriptors to ppoll for POLLIN while nobody polls the NIC: readable when there is something to receive, and not
	 * when all has been received. At most max of them; 0: there are none (the host naps).
	 */
	int (*wait_fds)(const struct fn_port *port, int *fds, int max);
	/* Before that ppoll: ask for receive interrupts; look once more at .rx after it. After it: .disarm. */
	void (*arm)(struct fn_port *port);
	/* Takes back the interrupts, and whatever made a descriptor readable beside a packet (an error, a counter). */
	void (*disarm)(struct fn_port *port);
	/* About once a second, without the stack's lock: device counters into nic->stats, link state, messages that wait. */
	void (*tick)(struct fn_port *port);
	/* All descriptors that EAL and this port (NULL: none yet) have open, never the program's: at most max of them; how
	 * many. */
	int (*own_fds)(const struct fn_port *port, int *fds, int max);
	/* In the child, before it uses a port that it shares with its parent. */
	void (*child_after_fork)(struct fn_port *port);
	/*
	 * DPDK's own thread, in the process that has started it, as long as it has not ended: .thread_ready before .thread_call,
	 * which is a system call that concerns nobody but the calling thread; NULL: the thread ends, for no port is used here any
	 * more. .thread_ready returns a descriptor that the host must keep from the program, or -E*. A .thread_call makes no
	 * other system calls than read, write and futex.
	 */
	int (*thread_ready)(void);
	void (*thread_call)(long n, const long arg[5]);
	/* Put memory of the host's (the arena) on the port's NUMA node, where there is more than one node. */
	void (*bind_memory)(const struct fn_port *port, void *addr, size_t len);
};

/* The one symbol. NULL: the host's ABI is another one. */
const struct fn_plugin_ops *fastnet_nic_plugin(const struct fn_plugin_host *host);

#endif
