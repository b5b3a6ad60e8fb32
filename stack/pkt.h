/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * The packet descriptor. It describes one buffer that belongs to a NIC (an mbuf, a slot of fabric payload memory, a
 * test wire's buffer); the stack never allocates packet memory itself. Here are the descriptor, its queue and the
 * accessors; no protocol.
 *
 * Ownership: who holds the pointer owns one reference. fn_pkt_free() (nic.h) gives it back to the NIC that owns the buffer.
 * Transmit borrows: see FN_PKT_KEEP.
 */
#ifndef FN_PKT_H
#define FN_PKT_H

#include "compiler.h"

struct fn_nic;

/* Room in front of a transmit buffer's payload: Ethernet 14 + VLAN 4 + IPv4 20 (IPv6 40) + TCP 60, rounded up to what
 * DPDK reserves (RTE_PKTMBUF_HEADROOM, 128). */
#define FN_PKT_HEADROOM	128

/* A descriptor fits into an mbuf's private area of this size. */
#define FN_PKT_PRIV_SIZE 192

enum fn_pkt_flag {
	/* receive: the device (or a wire without errors) has verified the checksum */
	FN_PKT_IP_CSUM_OK	= 1 << 0,
	FN_PKT_L4_CSUM_OK	= 1 << 1,
	/* receive: the device says that the checksum is wrong */
	FN_PKT_CSUM_BAD		= 1 << 2,
	/* receive: .hash is the device's RSS hash with the stack's key */
	FN_PKT_HASH_VALID	= 1 << 3,
	/* transmit: the stack keeps its reference (a TCP segment until it is acknowledged); otherwise .tx consumes it */
	FN_PKT_KEEP		= 1 << 4,
	/* transmit: the device fills in the checksum (set only if nic->caps says so); l4 holds the pseudo-header sum */
	FN_PKT_TX_IP_CSUM	= 1 << 5,
	FN_PKT_TX_TCP_CSUM	= 1 << 6,
	FN_PKT_TX_UDP_CSUM	= 1 << 7,
	/* transmit: the device cuts the packet into segments of .tso_mss payload bytes */
	FN_PKT_TX_TSO		= 1 << 8,
	/* receive: sent to a broadcast or multicast link address (no ICMP error, no RST answers it) */
	FN_PKT_LINK_BCAST	= 1 << 9,
	/* transmit: handed to the device at least once (its header is immutable while nic->ops->in_flight says so) */
	FN_PKT_SENT		= 1 << 10,
	/* transmit: stands in nic->txq; fn_pkt_free() then only clears FN_PKT_KEEP, and the transmission consumes it */
	FN_PKT_QUEUED		= 1 << 11,
	/* receive: from ourselves; its buffer was filled in this process */
	FN_PKT_LOOP		= 1 << 12,
	/* recovery (recover.c): found in a queue */
	FN_PKT_MARK		= 1 << 13,
	/* transmit: in no queue, but being filled without the lock (fn_tcp_reserve) */
	FN_PKT_LENT		= 1 << 14,
};

#define FN_PKT_TX_OFFLOADS	(FN_PKT_TX_IP_CSUM | FN_PKT_TX_TCP_CSUM | FN_PKT_TX_UDP_CSUM | FN_PKT_TX_TSO)

/* State of a segment in the retransmission queue (RFC 6675 terms). */
enum fn_pkt_sack {
	FN_SEG_SACKED		= 1 << 0,	/* the receiver holds it */
	FN_SEG_LOST		= 1 << 1,	/* IsLost(): deemed lost, to be sent again */
	FN_SEG_RETRANS		= 1 << 2,	/* a retransmission is in flight */
	FN_SEG_EVER_RETRANS	= 1 << 3,	/* Karn: gives no RTT sample without timestamps */
	FN_SEG_SUM		= 1 << 4,	/* transmit: .hash holds the payload's checksum, folded to 32 bits */
};

struct fn_pkt {
	struct fn_pkt *next;	/* link of the one queue that holds it */
	struct fn_pkt *prev;	/* the same, where the queue is doubly linked */
	struct fn_pkt *seg;	/* next buffer of the same packet, or NULL */
	struct fn_nic *nic;	/* owns the buffer */
	uint8_t *buf;		/* first byte of the buffer */
	uint8_t *data;		/* first byte that has not been consumed (rx) or that goes out (tx) */
	uint32_t buf_len;	/* bytes at buf */
	uint32_t len;		/* bytes at data, in this buffer */
	/* --- 64 bytes --- */
	uint32_t pkt_len;	/* bytes of the whole chain, kept in its first descriptor */
	uint16_t flags;		/* enum fn_pkt_flag */
	uint16_t l2, l3, l4;	/* headers' offsets from buf */
	uint16_t tso_mss;
	uint16_t peer;		/* receive: the fabric's number of the process that sent it; else 0 */
	uint32_t hash;		/* Toeplitz hash of the 4-tuple */
	uint32_t truesize;	/* bytes charged to a socket's buffer for it */
	/* TCP: the part of the sequence space that it covers, SYN and FIN included */
	uint32_t seq;
	uint32_t end_seq;
	uint8_t tcp_flags;	/* as on the wire: FIN SYN RST PSH ACK URG ECE CWR */
	uint8_t sack;		/* enum fn_pkt_sack */
	uint16_t retrans;	/* times sent beyond the first */
	uint64_t time;		/* ns: arrival (rx), last transmission (tx) */
	uint64_t first_time;	/* ns: first transmission (tx) */
	void *priv;		/* the NIC's own (the mbuf) */
	/* FN_PKT_LENT: the connection it is charged to, and the process image that fills it */
	void *lent_to;
	uint64_t lent_by;
};

_Static_assert(sizeof(struct fn_pkt) <= FN_PKT_PRIV_SIZE, "a descriptor must fit into an mbuf's private area");

/* A doubly linked FIFO with its length in packets and bytes. All zero is an empty queue. */
struct fn_pktq {
	struct fn_pkt *head, *tail;
	uint32_t count;
	uint32_t bytes;
};

fn_inline void fn_pktq_push(struct fn_pktq *q, struct fn_pkt *p)
{
	p->next = NULL;
	p->prev = q->tail;
	if (q->tail)
		q->tail->next = p;
	else
		q->head = p;
	q->tail = p;
	q->count++;
	q->bytes += p->len;
}

/* Put p behind at, or first when at is NULL. */
fn_inline void fn_pktq_insert_after(struct fn_pktq *q, struct fn_pkt *at, struct fn_pkt *p)
{
	p->prev = at;
	p->next = at ? at->next : q->head;
	if (p->next)
		p->next->prev = p;
	else
		q->tail = p;
	if (at)
		at->next = p;
	else
		q->head = p;
	q->count++;
	q->bytes += p->len;
}

fn_inline void fn_pktq_remove(struct fn_pktq *q, struct fn_pkt *p)
{
	if (p->prev)
		p->prev->next = p->next;
	else
		q->head = p->next;
	if (p->next)
		p->next->prev = p->prev;
	else
		q->tail = p->prev;
	p->next = p->prev = NULL;
	q->count--;
	q->bytes -= p->len;
}

fn_inline struct fn_pkt *fn_pktq_pop(struct fn_pktq *q)
{
	struct fn_pkt *p = q->head;

	if (p)
		fn_pktq_remove(q, p);
	return p;
}

/* Take n bytes off the front; the caller knows that len >= n. */
fn_inline void *fn_pkt_pull(struct fn_pkt *p, uint32_t n)
{
	void *old = p->data;

	fn_assert(n <= p->len);
	p->data += n;
	p->len -= n;
	p->pkt_len -= n;
	return old;
}

/* Make n bytes of room at the front; the caller knows that the headroom has them. */
fn_inline void *fn_pkt_push(struct fn_pkt *p, uint32_t n)
{
	fn_assert((size_t)(p->data - p->buf) >= n);
	p->data -= n;
	p->len += n;
	p->pkt_len += n;
	return p->data;
}

fn_inline uint32_t fn_pkt_tailroom(const struct fn_pkt *p)
{
	return (uint32_t)(p->buf + p->buf_len - (p->data + p->len));
}

/* Free every packet of q. */
void fn_pktq_purge(struct fn_pktq *q);

/* Set a descriptor that has just been received: `len` bytes at `data` in a buffer of `buf_len` bytes at `buf`. */
fn_inline void fn_pkt_init(struct fn_pkt *p, struct fn_nic *nic, uint8_t *buf, uint32_t buf_len, uint8_t *data,
			   uint32_t len)
{
	p->next = p->prev = p->seg = NULL;
	p->nic = nic;
	p->buf = buf;
	p->data = data;
	p->buf_len = buf_len;
	p->len = len;
	p->pkt_len = len;
	p->flags = 0;
	p->tso_mss = p->peer = 0;
	p->l2 = p->l3 = p->l4 = 0;
	p->hash = 0;
	p->truesize = buf_len;
	p->sack = 0;
	p->retrans = 0;
	p->tcp_flags = 0;
}

#endif
