/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * The data path: an ethdev as the stack's NIC. A descriptor lies in its mbuf's private area, so a packet is the mbuf, and
 * the stack's reference is one of the mbuf's. No protocol, no system call but the driver's own.
 *
 * Everything here runs under the stack's lock, whichever thread or image it is. Threads that EAL did not make have no
 * mempool cache, so the caller borrows the number of the one lcore there is, and with it that lcore's cache: the lock
 * keeps it single.
 */
#include <string.h>

#include <rte_ip.h>
#include <rte_lcore.h>
#include <rte_ring.h>

#include "plugin/csum.h"
#include "plugin/dpdk.h"
#include "stack/wire.h"

_Static_assert(RTE_PKTMBUF_HEADROOM >= FN_PKT_HEADROOM, "an mbuf's headroom holds the stack's headers");

#define ALLOC_CHECK 32	/* buffers allocated between two looks at how many are left */

fn_inline unsigned lcore_borrow(const struct dpdk_port *port)
{
	unsigned own = RTE_PER_LCORE(_lcore_id);

	RTE_PER_LCORE(_lcore_id) = port->lcore;
	return own;
}

fn_inline void lcore_return(unsigned own)
{
	RTE_PER_LCORE(_lcore_id) = own;
}

fn_inline struct rte_mbuf *pkt_mbuf(const struct fn_pkt *p)
{
	return p->priv;
}

/* ---- receive ---- */

static uint16_t rx_flags(const struct dpdk_port *port, const struct rte_mbuf *m)
{
	uint64_t ol = m->ol_flags;
	uint64_t ip = ol & RTE_MBUF_F_RX_IP_CKSUM_MASK;
	uint64_t l4 = ol & RTE_MBUF_F_RX_L4_CKSUM_MASK;
	uint16_t flags = 0;

	if (ip == RTE_MBUF_F_RX_IP_CKSUM_GOOD)
		flags |= FN_PKT_IP_CSUM_OK;
	if (l4 == RTE_MBUF_F_RX_L4_CKSUM_GOOD)
		flags |= FN_PKT_L4_CSUM_OK;
	if (ip == RTE_MBUF_F_RX_IP_CKSUM_BAD || l4 == RTE_MBUF_F_RX_L4_CKSUM_BAD)
		flags |= FN_PKT_CSUM_BAD;
	if (ol & RTE_MBUF_F_RX_RSS_HASH && port->pub.nic->caps & FN_NIC_RX_HASH)
		flags |= FN_PKT_HASH_VALID;
	if (port->trust_all)
		flags = (uint16_t)((flags | FN_PKT_L4_CSUM_OK) & ~FN_PKT_CSUM_BAD);
	return flags;
}

fn_inline struct fn_pkt *pkt_of(struct fn_nic *nic, struct rte_mbuf *m)
{
	struct fn_pkt *p = rte_mbuf_to_priv(m);

	fn_pkt_init(p, nic, m->buf_addr, m->buf_len, rte_pktmbuf_mtod(m, uint8_t *), m->data_len);
	p->priv = m;
	return p;
}

/* A frame in several buffers: one buffer if it fits, else a chain. */
static fn_cold struct fn_pkt *rx_chain(struct fn_nic *nic, struct rte_mbuf *m)
{
	struct fn_pkt *head, **link;
	uint32_t len = m->pkt_len;

	if (!rte_pktmbuf_linearize(m))
		return pkt_of(nic, m);
	link = &head;
	for (struct rte_mbuf *next; m; m = next) {
		next = m->next;
		m->next = NULL;
		m->nb_segs = 1;
		*link = pkt_of(nic, m);
		link = &(*link)->seg;
	}
	head->pkt_len = len;
	return head;
}

fn_inline struct fn_pkt *rx_one(struct fn_nic *nic, struct dpdk_port *port, struct rte_mbuf *m)
{
	uint16_t flags = m->ol_flags || port->trust_all ? rx_flags(port, m) : 0;
	uint32_t hash = m->hash.rss;
	struct fn_pkt *p;

	nic->stats.rx_bytes += m->pkt_len;
	if (fn_unlikely(m->pkt_len > port->frame_max) && port->driver != DRIVER_AF_PACKET)
		port->pub.oversize++;
	if (fn_likely(m->nb_segs == 1))
		p = pkt_of(nic, m);
	else
		p = rx_chain(nic, m);
	p->hash = hash;
	if (port->accept_partial && !(flags & FN_PKT_L4_CSUM_OK) && dpdk_csum_unfinished(p->data, p->len))
		flags |= FN_PKT_L4_CSUM_OK;
	p->flags = flags;
	return p;
}

static uint16_t rx_queue(struct dpdk_port *port, uint16_t q, struct rte_mbuf **m, uint16_t n)
{
	struct dpdk_rxq *rxq = &port->rxq[q];
	uint16_t got;

	if (rxq->peek == PEEK_STATUS)
		return dpdk_ring_rx(port, rxq, m, n);
	got = rte_eth_rx_burst(port->id, q, m, n);
	rxq->taken += got;
	return got;
}

static uint16_t dpdk_rx(struct fn_nic *nic, struct fn_pkt **burst, uint16_t n)
{
	struct dpdk_port *port = nic->priv;
	struct rte_mbuf *m[FN_NIC_BURST];
	unsigned lcore = lcore_borrow(port);
	uint16_t got = 0;

	n = fn_min(n, (uint16_t)FN_NIC_BURST);
	for (uint16_t i = 0; i < port->nb_rxq && got < n; i++) {
		got = (uint16_t)(got + rx_queue(port, port->next_rxq, m + got, (uint16_t)(n - got)));
		port->next_rxq = (uint16_t)((port->next_rxq + 1) % port->nb_rxq);
	}
	for (uint16_t i = 0; i < got; i++) {
		if (i + 1 < got)
			rte_prefetch0(rte_pktmbuf_mtod(m[i + 1], void *));
		burst[i] = rx_one(nic, port, m[i]);
	}
	lcore_return(lcore);
	nic->tx_left -= (int64_t)got * (nic->tx_payload + FN_PKT_HEADROOM);	/* from the same pool, freed alike */
	nic->stats.rx_packets += got;
	return got;
}

/* ---- transmit ---- */

/* Offloads that the stack asked for; header lengths are between the offsets it recorded. */
static void tx_offload(const struct fn_pkt *p, struct rte_mbuf *m)
{
	uint64_t ol = 0;

	m->l2_len = (uint64_t)(p->l3 - p->l2);
	m->l3_len = (uint64_t)(p->l4 - p->l3);
	if (p->flags & FN_PKT_TX_IP_CSUM)
		ol |= RTE_MBUF_F_TX_IPV4 | RTE_MBUF_F_TX_IP_CKSUM;
	if (p->flags & FN_PKT_TX_UDP_CSUM)
		ol |= RTE_MBUF_F_TX_IPV4 | RTE_MBUF_F_TX_UDP_CKSUM;
	if (p->flags & FN_PKT_TX_TCP_CSUM)
		ol |= RTE_MBUF_F_TX_IPV4 | RTE_MBUF_F_TX_TCP_CKSUM;
	if (p->flags & FN_PKT_TX_TSO) {
		struct fn_tcp_hdr *tcp = (struct fn_tcp_hdr *)(p->buf + p->l4);
		struct rte_ipv4_hdr *ip = (struct rte_ipv4_hdr *)(p->buf + p->l3);

		ol |= RTE_MBUF_F_TX_IPV4 | RTE_MBUF_F_TX_TCP_SEG | RTE_MBUF_F_TX_IP_CKSUM | RTE_MBUF_F_TX_TCP_CKSUM;
		m->l4_len = (uint64_t)(tcp->off >> 4) * 4;
		m->tso_segsz = p->tso_mss;
		/* With TSO the pseudo header's sum is without the length, which differs from segment to segment. */
		tcp->csum = rte_ipv4_phdr_cksum(ip, ol);
	}
	m->ol_flags |= ol;
}

static void tx_segment(struct fn_pkt *p, struct rte_mbuf *m)
{
	m->data_off = (uint16_t)(p->data - p->buf);
	m->data_len = (uint16_t)p->len;
	m->ol_flags &= RTE_MBUF_F_INDIRECT | RTE_MBUF_F_EXTERNAL;
	m->tx_offload = 0;
}

/*
 * The packet's further buffers behind its first mbuf; returns how many. The stack's chain is taken apart, for a buffer
 * that the stack keeps may be given back to it alone; tx_undo() finds it again in the mbufs.
 */
static uint16_t tx_chain(struct fn_pkt *p, struct rte_mbuf *last)
{
	struct fn_pkt *next = p->seg, *s;
	uint16_t segs = 0;

	p->seg = NULL;
	for (; (s = next); segs++) {
		next = s->seg;
		s->seg = NULL;
		tx_segment(s, pkt_mbuf(s));
		pkt_mbuf(s)->nb_segs = 1;
		if (s->flags & FN_PKT_KEEP)
			rte_mbuf_refcnt_update(pkt_mbuf(s), 1);
		last = last->next = pkt_mbuf(s);
	}
	last->next = NULL;
	return segs;
}

/* The packet as a chain of mbufs. The device's reference is one more when the stack keeps its own, buffer by buffer. */
static struct rte_mbuf *tx_mbuf(struct fn_pkt *p)
{
	struct rte_mbuf *m = pkt_mbuf(p);
	uint16_t segs = 1;

	tx_segment(p, m);
	if (p->flags & FN_PKT_KEEP)
		rte_mbuf_refcnt_update(m, 1);
	m->next = NULL;
	if (fn_unlikely(p->seg != NULL))
		segs = (uint16_t)(segs + tx_chain(p, m));
	m->nb_segs = segs;
	m->pkt_len = segs == 1 ? p->len : p->pkt_len;
	if (p->flags & (FN_PKT_TX_IP_CSUM | FN_PKT_TX_TCP_CSUM | FN_PKT_TX_UDP_CSUM | FN_PKT_TX_TSO))
		tx_offload(p, m);
	return m;
}

/* The device did not take it: what tx_mbuf() did is undone. */
static void tx_undo(struct fn_pkt *p)
{
	struct rte_mbuf *m = pkt_mbuf(p), *next;

	for (; m; m = next) {
		next = m->next;
		p = rte_mbuf_to_priv(m);
		p->seg = next ? rte_mbuf_to_priv(next) : NULL;
		m->next = NULL;
		m->nb_segs = 1;
		if (p->flags & FN_PKT_KEEP)
			rte_mbuf_refcnt_update(m, -1);
	}
}

/* A chain for a device that takes single buffers: a copy. NULL: no buffer, or it does not fit. */
static fn_cold struct rte_mbuf *tx_linear_copy(struct dpdk_port *port, const struct fn_pkt *p)
{
	struct rte_mbuf *m = rte_pktmbuf_alloc(port->pool);

	for (const struct fn_pkt *s = p; m && s; s = s->seg) {
		char *to = rte_pktmbuf_append(m, (uint16_t)s->len);

		if (!to) {
			rte_pktmbuf_free(m);
			return NULL;
		}
		memcpy(to, s->data, s->len);
	}
	return m;
}

/* As the device would release it. */
static fn_cold void tx_consume(struct fn_pkt *p)
{
	for (struct fn_pkt *next; p; p = next) {
		next = p->seg;
		p->seg = NULL;
		if (!(p->flags & FN_PKT_KEEP))
			rte_pktmbuf_free_seg(pkt_mbuf(p));
	}
}

static fn_cold uint16_t tx_copied(struct dpdk_port *port, struct fn_pkt *p)
{
	struct rte_mbuf *m = tx_linear_copy(port, p);

	if (!m)
		return 0;
	if (!rte_eth_tx_burst(port->id, 0, &m, 1)) {
		rte_pktmbuf_free(m);
		return 0;
	}
	tx_consume(p);
	return 1;
}

/* The driver will never take p: it is gone, as on a bad wire, and if it was to be cut, no other will be. */
static fn_cold void tx_drop(struct fn_nic *nic, struct fn_pkt *p)
{
	struct dpdk_port *port = nic->priv;

	if (p->flags & FN_PKT_TX_TSO) {
		nic->tso_max = 0;
		port->tso_refused = true;
	}
	tx_consume(p);
}

/* n packets to the device. What rte_eth_tx_prepare() refuses is dropped, and counts as sent. */
static uint16_t tx_burst(struct fn_nic *nic, struct fn_pkt **burst, struct rte_mbuf **m, uint16_t n)
{
	struct dpdk_port *port = nic->priv;
	uint16_t ready = n, sent;

	if (port->tx_prepare)
		ready = rte_eth_tx_prepare(port->id, 0, m, n);
	sent = ready ? rte_eth_tx_burst(port->id, 0, m, ready) : 0;
	if (fn_likely(sent == n))
		return n;
	for (uint16_t i = sent; i < n; i++)
		tx_undo(burst[i]);
	if (!ready) {
		tx_drop(nic, burst[0]);
		sent = 1;
	}
	return sent;
}

static uint16_t dpdk_tx(struct fn_nic *nic, struct fn_pkt **burst, uint16_t n)
{
	struct dpdk_port *port = nic->priv;
	struct rte_mbuf *m[FN_NIC_BURST];
	unsigned lcore = lcore_borrow(port);
	uint64_t bytes = 0;
	uint16_t i, sent;

	if (fn_unlikely(port->tx_unsettled) && !dpdk_settle_tx(port)) {
		lcore_return(lcore);
		nic->stats.tx_full++;
		return 0;
	}
	n = fn_min(n, (uint16_t)FN_NIC_BURST);
	for (i = 0; i < n && !(burst[i]->seg && port->tx_linear); i++) {
		m[i] = tx_mbuf(burst[i]);
		bytes += m[i]->pkt_len;
	}
	sent = i ? tx_burst(nic, burst, m, i) : 0;
	for (uint16_t j = sent; j < i; j++)
		bytes -= m[j]->pkt_len;
	if (fn_unlikely(i < n) && sent == i) {
		uint32_t len = burst[i]->pkt_len;
		uint16_t one = tx_copied(port, burst[i]);

		bytes += one ? len : 0;
		sent = (uint16_t)(sent + one);
	}
	lcore_return(lcore);
	nic->stats.tx_packets += sent;
	nic->stats.tx_bytes += bytes;
	nic->stats.tx_full += sent < i;
	return sent;
}

/* ---- buffers ---- */

/* Sending may not use up the pool: without buffers to receive ACKs into, nothing sent would ever be released. */
static fn_cold bool alloc_allowed(struct fn_nic *nic, struct dpdk_port *port)
{
	/* with the cache, which takes and gives hundreds at once: more than the share of one connection of many */
	unsigned left = rte_ring_count(port->pool->pool_data) + port->pool->local_cache[port->lcore].len;

	/* half as much again is for ACKs and the like: data takes none of it */
	nic->tx_left = ((int64_t)left - port->reserve - port->reserve / 2) * (nic->tx_payload + FN_PKT_HEADROOM);
	if (left <= port->reserve)
		return false;
	port->alloc_budget = fn_min(left - port->reserve, (unsigned)ALLOC_CHECK);
	return true;
}

static struct fn_pkt *dpdk_alloc(struct fn_nic *nic)
{
	struct dpdk_port *port = nic->priv;
	unsigned lcore;
	struct rte_mbuf *m;
	struct fn_pkt *p;

	if (fn_unlikely(!port->alloc_budget) && !alloc_allowed(nic, port)) {
		nic->stats.alloc_failed++;
		return NULL;
	}
	lcore = lcore_borrow(port);
	m = rte_mbuf_raw_alloc(port->pool);
	lcore_return(lcore);
	if (fn_unlikely(!m)) {
		nic->stats.alloc_failed++;
		return NULL;
	}
	port->alloc_budget--;
	p = rte_mbuf_to_priv(m);
	fn_pkt_init(p, nic, m->buf_addr, m->buf_len, (uint8_t *)m->buf_addr + FN_PKT_HEADROOM, 0);
	p->priv = m;
	nic->tx_left -= p->truesize;
	return p;
}

static void dpdk_free(struct fn_nic *nic, struct fn_pkt *p)
{
	unsigned lcore = lcore_borrow(nic->priv);

	nic->tx_left += p->truesize;
	rte_pktmbuf_free_seg(pkt_mbuf(p));
	lcore_return(lcore);
}

static bool dpdk_in_flight(const struct fn_nic *nic, const struct fn_pkt *p)
{
	return rte_mbuf_refcnt_read(pkt_mbuf(p)) > 1;
}

static bool dpdk_link_up(struct fn_nic *nic)
{
	const struct dpdk_port *port = nic->priv;

	return port->link;
}

const struct fn_nic_ops dpdk_nic_ops = {
	.rx = dpdk_rx,
	.tx = dpdk_tx,
	.alloc = dpdk_alloc,
	.free = dpdk_free,
	.in_flight = dpdk_in_flight,
	.rx_pending = dpdk_rx_pending,
	.link_up = dpdk_link_up,
	.each = dpdk_each,
	.reclaim = dpdk_reclaim,
};

const struct fn_nic_ops dpdk_nic_ops_blind = {
	.rx = dpdk_rx,
	.tx = dpdk_tx,
	.alloc = dpdk_alloc,
	.free = dpdk_free,
	.in_flight = dpdk_in_flight,
	.link_up = dpdk_link_up,
	.each = dpdk_each,
	.reclaim = dpdk_reclaim,
};
