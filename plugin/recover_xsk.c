/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * AF_XDP after a death under the stack's lock: every buffer is the stack's, the kernel's or free, and the driver's
 * places in its four rings are those of the kernel again.
 *
 * What the driver has reserved or looked at and not published has not happened: its own indices go back to the shared
 * ones. A received frame whose place was given back before it reached the stack is lost, as on a bad wire. What the
 * kernel has is told by the rings, whose old entries stay where they are: as many buffers went to it as the one ring's
 * index says, as many came back as the other's says, and if they came back in the order in which they went, those in
 * between are the kernel's. It keeps that order unless a device, or two processors, overtake each other. Then, unless
 * all has come back that it took, nobody knows which ones it has, and only what was free before is free afterwards.
 *
 * May be cut short by a death itself, and is then done again.
 */
#include <errno.h>
#include <linux/if_xdp.h>
#include <sys/socket.h>

#include <rte_mempool.h>
#include <rte_ring.h>

#include "plugin/dpdk.h"

#define SETTLE_ROUNDS	100	/* at most: other processors may not be done with what was sent */

#define DESC	sizeof(struct xdp_desc)	/* entries of .rx and .tx */
#define ADDR	sizeof(uint64_t)	/* of .fill and .done */

/* While they are counted, of each mbuf: .tx_offload, which is written anew before anything is sent. */
enum {
	REFS		= 0xffff,	/* references: the stack's, and the kernel's for each time that it is sent */
	RECEIVING	= 1 << 16,	/* given for receiving */
	WAS_FREE	= 1 << 17,
};

/* Where buffers go to the kernel, and where they come back, both as they are at one moment. */
struct way {
	const struct dpdk_xsk_ring *out, *back;
	size_t out_entry, back_entry;
	uint32_t sent, returned;
	bool empty;		/* what the kernel has taken has all come back */
};

static struct way way_of(const struct dpdk_xsk_ring *out, size_t out_entry, const struct dpdk_xsk_ring *back,
			 size_t back_entry)
{
	struct way w = { out, back, out_entry, back_entry, .sent = *out->producer };

	w.returned = __atomic_load_n(back->producer, __ATOMIC_ACQUIRE);
	w.empty = __atomic_load_n(out->consumer, __ATOMIC_ACQUIRE) == w.returned;
	return w;
}

static uint64_t frame_addr(const struct dpdk_xsk_ring *r, size_t entry, uint32_t i)
{
	return dpdk_xsk_addr(r, entry, i) & XSK_UNALIGNED_BUF_ADDR_MASK;
}

/* As far back as both rings have it: who writes the next entries writes over the oldest, the driver before it
 * publishes them, the kernel all the while. */
static bool in_order(const struct way *w)
{
	uint32_t away = w->sent - w->returned + FN_NIC_BURST;
	uint32_t n = fn_min(w->out->size - fn_min(away, w->out->size), w->back->size / 2);

	for (uint32_t i = w->returned - fn_min(n, w->returned); i != w->returned; i++)
		if (frame_addr(w->out, w->out_entry, i) != frame_addr(w->back, w->back_entry, i))
			return false;
	return true;
}

static bool is_clear(const struct way *w)
{
	return w->sent - w->returned <= w->out->size && (w->empty || in_order(w));
}

/* ---- counting ---- */

static void count_stacks(struct rte_mempool *pool, void *arg, void *obj, unsigned index)
{
	struct rte_mbuf *m = obj;
	const struct fn_pkt *p = rte_mbuf_to_priv(m);

	m->tx_offload = p->flags & FN_PKT_MARK ? 1 : 0;
}

/* Entries from..to are the kernel's, or wait to be received. False: one cannot be. */
static bool count_receiving(const struct dpdk_port *port, const struct dpdk_xsk_ring *r, size_t entry, uint32_t from,
			    uint32_t to)
{
	for (; from != to; from++) {
		struct rte_mbuf *m = dpdk_xsk_frame(port, dpdk_xsk_addr(r, entry, from));

		if (!m || m->tx_offload)
			return false;
		m->tx_offload = RECEIVING;
	}
	return true;
}

static bool count_sending(const struct dpdk_port *port, const struct way *w)
{
	for (uint32_t i = w->returned; i != w->sent; i++) {
		struct rte_mbuf *m = dpdk_xsk_frame(port, dpdk_xsk_addr(w->out, w->out_entry, i));

		if (!m || m->tx_offload & RECEIVING)
			return false;
		m->tx_offload++;
	}
	return true;
}

/* False: it cannot be told whose every buffer is. */
static bool count_queue(const struct dpdk_port *port, const struct dpdk_xskq *x, const struct way *rx,
			const struct way *tx)
{
	uint32_t next = *x->rx->consumer;

	return is_clear(rx) && is_clear(tx) && rx->returned - next <= x->rx->size &&
	       count_receiving(port, x->rx, DESC, next, rx->returned) &&
	       count_receiving(port, x->fill, ADDR, rx->returned, rx->sent) && count_sending(port, tx);
}

/* ---- the pool ---- */

static void settle_one(struct rte_mempool *pool, void *arg, void *obj, unsigned index)
{
	struct rte_mbuf *m = obj;
	uint64_t count = m->tx_offload;

	m->tx_offload = 0;
	m->next = NULL;
	m->nb_segs = 1;
	if (count)
		rte_mbuf_refcnt_set(m, count & RECEIVING ? 1 : (uint16_t)(count & REFS));
	else
		dpdk_pool_put(arg, m);
}

static void settle_sure(struct dpdk_port *port)
{
	dpdk_pool_empty(port->pool);
	rte_mempool_obj_iter(port->pool, settle_one, port);
}

/* ---- the pool, when it is not clear what the kernel has ---- */

static void note_free(void *obj)
{
	((struct rte_mbuf *)obj)->tx_offload |= WAS_FREE;
}

/* What the pool had; of what it keeps for each lcore the last one may be about to come or go. */
static void note_pool(const struct dpdk_port *port)
{
	const struct rte_mempool *pool = port->pool;
	const struct rte_ring *r = pool->pool_data;
	void *const *slot = (void *const *)(r + 1);

	for (uint32_t i = r->cons.tail; i != r->prod.tail; i++)
		note_free(slot[i & r->mask]);
	for (unsigned i = 0; i < RTE_MAX_LCORE; i++)
		for (uint32_t k = 0; k + 1 < pool->local_cache[i].len; k++)
			note_free(pool->local_cache[i].objs[k]);
}

/* What was sent, and has come back to nobody. */
static void note_done(const struct dpdk_port *port, const struct dpdk_xskq *x, const struct way *tx)
{
	for (uint32_t i = *x->done->consumer; i != tx->returned; i++) {
		struct rte_mbuf *m = dpdk_xsk_frame(port, dpdk_xsk_addr(x->done, ADDR, i));

		if (!m)
			continue;
		note_free(m);
		if (m->tx_offload & REFS)
			rte_mbuf_refcnt_set(m, 1);
	}
}

static void settle_unsure_one(struct rte_mempool *pool, void *arg, void *obj, unsigned index)
{
	struct rte_mbuf *m = obj;

	if (m->tx_offload == WAS_FREE)
		dpdk_pool_put(arg, m);
	m->tx_offload = 0;
}

static void settle_unsure(struct dpdk_port *port, const struct way tx[])
{
	rte_mempool_obj_iter(port->pool, count_stacks, NULL);
	note_pool(port);
	for (uint16_t q = 0; q < port->nb_rxq; q++)
		note_done(port, &port->xsk[q], &tx[q]);
	dpdk_pool_empty(port->pool);
	rte_mempool_obj_iter(port->pool, settle_unsure_one, port);
	port->xsk_unsure = true;
}

/* ---- rings ---- */

/* The kernel sends what waits, and gives back what it has sent. */
static void flush(const struct dpdk_xskq *x)
{
	for (unsigned i = 0; i < SETTLE_ROUNDS; i++) {
		if (__atomic_load_n(x->done->producer, __ATOMIC_ACQUIRE) == *x->tx->producer)
			return;
		if (send(x->fd, NULL, 0, MSG_DONTWAIT) < 0 && errno != EAGAIN && errno != EBUSY && errno != EINTR)
			return;
	}
}

static void settle_rings(struct dpdk_xskq *x, uint32_t returned)
{
	x->rx->cached_prod = x->rx->cached_cons = *x->rx->consumer;
	x->fill->cached_prod = *x->fill->producer;
	x->fill->cached_cons = *x->fill->consumer + x->fill->size;
	x->tx->cached_prod = *x->tx->producer;
	x->tx->cached_cons = *x->tx->consumer + x->tx->size;
	x->done->cached_prod = x->done->cached_cons = returned;
	__atomic_store_n(x->done->consumer, returned, __ATOMIC_RELEASE);
}

/* For each frame that was received a buffer is given; who died in between has not given it. */
static void refill(struct dpdk_port *port, struct dpdk_xskq *x)
{
	struct dpdk_xsk_ring *fill = x->fill;
	struct rte_mbuf *m;

	while (dpdk_xsk_filled(x) < x->nominal && (m = rte_pktmbuf_alloc(port->pool)) != NULL) {
		uint64_t *entry = (uint64_t *)fill->ring + (fill->cached_prod++ & fill->mask);

		*entry = (uintptr_t)m - port->pool->header_size - port->xsk_base;
		/* pairs with the kernel's acquire of the producer's index (xsk_queue.h) */
		__atomic_store_n(fill->producer, fill->cached_prod, __ATOMIC_RELEASE);
	}
}

void dpdk_xsk_reclaim(struct dpdk_port *port)
{
	struct way rx[FN_DPDK_QUEUES], tx[FN_DPDK_QUEUES];
	bool sure = true;

	rte_mempool_obj_iter(port->pool, count_stacks, NULL);
	for (uint16_t q = 0; q < port->nb_rxq; q++) {
		struct dpdk_xskq *x = &port->xsk[q];

		flush(x);
		rx[q] = way_of(x->fill, ADDR, x->rx, DESC);
		tx[q] = way_of(x->tx, DESC, x->done, ADDR);
		sure = count_queue(port, x, &rx[q], &tx[q]) && sure;
	}
	if (sure)
		settle_sure(port);
	else
		settle_unsure(port, tx);
	for (uint16_t q = 0; q < port->nb_rxq; q++) {
		settle_rings(&port->xsk[q], tx[q].returned);
		refill(port, &port->xsk[q]);
		port->rxq[q].taken = *port->xsk[q].rx->consumer;
	}
}
