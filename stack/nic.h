/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * What the stack asks of a network interface. Implementations: nic_pair.c (test wire), nic_shm.c (memory side of the
 * fabric), plugin/nic_dpdk.c (any DPDK ethdev). A NIC knows no TCP; the stack knows no device.
 *
 * Who may call: only the thread that holds the stack's lock, except .rx_pending.
 */
#ifndef FN_NIC_H
#define FN_NIC_H

#include <stdatomic.h>

#include "compiler.h"
#include "pkt.h"
#include "sock.h"

#define FN_NIC_BURST	64	/* packets handed over at once, either way */
#define FN_NIC_TXQ	(FN_NIC_BURST * 4) /* packets staged at most */
#define FN_NIC_NAME	16

enum fn_nic_cap {
	FN_NIC_TX_IP_CSUM	= 1 << 0,
	FN_NIC_TX_TCP_CSUM	= 1 << 1,
	FN_NIC_TX_UDP_CSUM	= 1 << 2,
	FN_NIC_TX_TSO		= 1 << 3,	/* takes .seg chains and FN_PKT_TX_TSO */
	FN_NIC_TX_SEGS		= 1 << 4,	/* takes .seg chains */
	FN_NIC_RX_CSUM		= 1 << 5,
	FN_NIC_RX_HASH		= 1 << 6,
	FN_NIC_NO_ARP		= 1 << 7,	/* link addresses are known without ARP (the fabric) */
	FN_NIC_RX_JOINED	= 1 << 9,	/* frames larger than the MTU come: segments that nobody has cut */
	FN_NIC_NOTES		= 1 << 10,	/* buffers outlive us: see struct fn_note */
	FN_NIC_LOSSLESS		= 1 << 8,	/* ordered and lossless: no congestion control, nothing sent again */
};

/* The ends of a connection, as the frames that it receives have them: source and destination, network order. */
struct fn_ends {
	uint64_t addrs;
	uint32_t ports;
	uint16_t peer;		/* the far end's number here; 0: nothing stands there */
	uint16_t unused;
};

/*
 * With FN_NIC_NOTES whoever survives us finds in our memory what the program has written and read. Each transmit buffer
 * begins with a note of the text in it, which TCP fills in, .len last, and the NIC clears when the buffer is free. Who looks
 * while we live (fn_shm_unsent()) reads .len last, and once more first when he has copied the text: as long as it was not 0
 * in between, the text is what the note says. So .len is 0 before anything else in a note changes, or what lies there.
 */
struct fn_note {
	struct fn_ends ends;
	uint32_t seq;
	uint16_t off;		/* of the text, in the buffer */
	uint16_t units;		/* the NIC's: the next note is so many buffers further, if more than 1 */
	struct fn_note_text {
		uint16_t len;	/* 0: none */
		uint16_t fin;	/* FN_NOTE_*: */
	} text;
};
#define FN_NOTE_FIN	1	/* the text is the last, and a FIN is behind it */
#define FN_NOTE_URGENT	2	/* nobody takes it before it is sent: some of it is urgent */

/* How far the program has read, and which of our images have it; see .reads. */
struct fn_read {
	struct fn_ends ends;	/* .peer last when it is filled in, first when it is cleared */
	_Atomic(uint32_t) seq;
	_Atomic(uint32_t) changes;	/* of .ends; odd: they are being changed */
	_Atomic(uint64_t) images;	/* of us: those that hold it, or more; 0: that is not known. Whoever finds .changes the
					 * same before and after has both of one connection */
};

/* Something of these that a dead peer has left (nic_shm.h, fn_tcp_left()); ends as ours. */
struct fn_left {
	struct fn_ep local, remote;
	uint32_t seq;		/* the text's, or how far it has read */
	struct fn_pkt *text;	/* NULL: none, .seq is how far */
	uint32_t at;		/* of fn_shm_unsent(): the buffer, and the text in it */
	uint16_t len;
	bool fin;
	bool urgent;		/* to be asked: what some of is urgent as well */
	struct fn_note note;
	uint8_t where;		/* to be asked: enum fn_left_where */
	uint32_t buf, bufs, entry, number;	/* nic_shm.h's; 0 at first */
};

struct fn_tcp_hdr;

struct fn_nic_ops {
	/* Up to n received packets into burst; the stack owns them. Never blocks. */
	uint16_t (*rx)(struct fn_nic *nic, struct fn_pkt **burst, uint16_t n);
	/*
	 * Send up to n packets; returns how many the device took. One it took is released by the device, or, with
	 * FN_PKT_KEEP, stays the caller's as well: its bytes do not change while .in_flight says so. Of a chain whose
	 * first buffer is without FN_PKT_KEEP each other buffer is treated by its own flag, and one that stays the
	 * caller's comes back without .seg.
	 */
	uint16_t (*tx)(struct fn_nic *nic, struct fn_pkt **burst, uint16_t n);
	/* A buffer to send from: data at buf + FN_PKT_HEADROOM, len 0. NULL when there is none (counted by the caller). */
	struct fn_pkt *(*alloc)(struct fn_nic *nic);
	/* The same with room for nic->tx_large bytes; NULL: none now, an ordinary one will do. And: may that peer get one? */
	struct fn_pkt *(*alloc_large)(struct fn_nic *nic);
	bool (*takes_large)(const struct fn_nic *nic, uint16_t peer);
	/* The stack's reference to one buffer (not to its .seg chain) ends. */
	void (*free)(struct fn_nic *nic, struct fn_pkt *p);
	/* True while the device may still read the buffer. */
	bool (*in_flight)(const struct fn_nic *nic, const struct fn_pkt *p);
	/* A cheap guess, without the lock, whether .rx has something; NULL: always ask. */
	bool (*rx_pending)(const struct fn_nic *nic);
	/* Link state; NULL: always up. */
	bool (*link_up)(struct fn_nic *nic);
	/* The destination of p (its Ethernet header at .l2) takes nothing now; asked while nic->choked. NULL: never so. */
	bool (*full)(const struct fn_nic *nic, const struct fn_pkt *p);
	/* FN_NIC_NOTES: where socket `index` tells that peer's survivors how far its program has read. NULL: nowhere. */
	struct fn_read *(*reads)(struct fn_nic *nic, uint16_t peer, uint32_t index, bool *apart);
	/* Likewise, of such as are *apart: has whoever has the lock the memory in which that lies? */
	bool (*has)(const struct fn_nic *nic, uint16_t peer);
	/* Likewise: what is told of the images that hold a connection with it; 0: nothing. */
	uint64_t (*holders)(const struct fn_nic *nic, uint16_t peer, uint64_t images);
	/* Likewise: p, noted, is not sent yet; a copy where that peer finds it. False: none was needed, or there is no room. */
	bool (*spill)(struct fn_nic *nic, uint16_t peer, struct fn_pkt *p);
	/* That peer cannot be sent to by whoever has the lock; fn_tcp_peer_late() is called by one who can. NULL: never so. */
	bool (*absent)(const struct fn_nic *nic, uint16_t peer);
	/*
	 * `syn`, from src to that peer at dst, opens a connection without a segment: the number of its SYN-ACK, which said what
	 * a struct fn_offer says. False: the SYN is to be sent. NULL: always so.
	 */
	bool (*open)(struct fn_nic *nic, uint16_t peer, uint32_t src, uint32_t dst, const struct fn_tcp_hdr *syn, uint32_t *isn);
	/*
	 * After a death under the lock (recover.c), both or neither: fn for every descriptor there is, in use or not; then
	 * what has no FN_PKT_MARK is free, the others are the stack's alone, and the device's own rings are put right.
	 */
	void (*each)(struct fn_nic *nic, void (*fn)(void *ctx, struct fn_pkt *p), void *ctx);
	void (*reclaim)(struct fn_nic *nic);
};

/* tx_full and alloc_failed are counted by the stack, the others by the implementation. */
struct fn_nic_stats {
	uint64_t rx_packets, rx_bytes, tx_packets, tx_bytes;
	uint64_t rx_missed;	/* the device had no buffer or ring slot */
	uint64_t rx_errors;	/* the device saw a bad frame */
	uint64_t tx_full;	/* the device took less than it was given */
	uint64_t alloc_failed;	/* no buffer to send from */
	/* What there are but for those that wait for frames, and the free ones as of late, with those that are about to
	 * be released. 0: the NIC does not count them. */
	uint64_t buffers, buffers_free;
};

struct fn_nic {
	const struct fn_nic_ops *ops;
	struct fn_stack *st;		/* set by fn_stack_add_nic() */
	uint32_t caps;			/* enum fn_nic_cap */
	uint32_t mtu;			/* largest IP packet, bytes */
	uint32_t tx_payload;		/* bytes a transmit buffer holds behind FN_PKT_HEADROOM */
	uint32_t tx_large;		/* the same of a buffer from .alloc_large; 0: there are none */
	int64_t tx_left;		/* bytes of transmit buffers that data may still take (tcp.h); 0 at first: not known */
	uint32_t tso_max;		/* largest payload with FN_PKT_TX_TSO, below 64 KiB; 0: none (any more) */
	uint16_t tso_segs;		/* buffers of such a packet at most, the headers' one included */
	uint8_t mac[6];
	uint8_t index;			/* in the stack's table */
	bool up;
	bool choked;			/* the implementation's: .full may say yes */
	uint16_t txq_len;		/* packets in .txq */
	/* IPv4 configuration, network byte order; one address an interface */
	uint32_t ip4;
	uint32_t ip4_mask;
	uint32_t ip4_gw;		/* 0: none */
	uint32_t ip4_bcast;		/* directed broadcast, set by fn_stack_add_nic(); none: 255.255.255.255 */
	uint64_t src_ok;		/* last source address that passed the checks of ip4.c; beyond 32 bits: none yet */
	uint64_t defend_after;		/* ns: when ARP may defend ip4 again */
	uint32_t ifindex;		/* of the kernel's interface behind it, for ancillary data; 0: there is none */
	char name[FN_NIC_NAME];
	struct fn_nic_stats stats;
	/* packets given to fn_nic_send() that .tx has not taken yet; the stack's */
	struct fn_pkt *txq[FN_NIC_TXQ];
	void *priv;			/* the implementation's */
};

/*
 * Give back one reference to p and to the buffers chained by .seg, as the device would after sending it: behind a first
 * buffer without FN_PKT_KEEP, a chained one that has the flag stays its owner's, and is taken out of the chain.
 */
void fn_pkt_free_slow(struct fn_pkt *p);	/* a chain, or one that is staged */
fn_inline void fn_pkt_free(struct fn_pkt *p)
{
	if (fn_likely(!p->seg && !(p->flags & FN_PKT_QUEUED)))
		p->nic->ops->free(p->nic, p);
	else
		fn_pkt_free_slow(p);
}

#endif
