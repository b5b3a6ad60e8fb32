/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * After a death under the stack's lock, in the midst of the driver or between it and the stack (stack/recover.c). Buffers
 * are counted again from what the stack holds, and the rings that AF_PACKET shares with the kernel brought in step: the
 * receiving one is read by us (ring.c); the driver's place in the other cannot be seen, only tried.
 *
 * AF_XDP's rings are recover_xsk.c's, a tap's next buffers recover_tap.c's. Other drivers keep buffers of their own (a
 * card's descriptors): there nothing is done, and what the dead process had in its hands is lost.
 */
#include <linux/if_packet.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include <rte_mempool.h>
#include <rte_ring.h>

#include "plugin/dpdk.h"
#include "stack/wire.h"

#define SETTLE_ROUNDS	100	/* at most: frames may come faster than they are dropped */
#define ETHER_TYPE_LOCAL 0x88b5	/* IEEE 802: local experimental, nobody's */

/* ---- buffers ---- */

struct visit {
	void (*fn)(void *ctx, struct fn_pkt *p);
	void *ctx;
};

static void visit_one(struct rte_mempool *pool, void *arg, void *obj, unsigned index)
{
	const struct visit *v = arg;

	v->fn(v->ctx, rte_mbuf_to_priv(obj));
}

void dpdk_each(struct fn_nic *nic, void (*fn)(void *ctx, struct fn_pkt *p), void *ctx)
{
	struct dpdk_port *port = nic->priv;
	struct visit v = { fn, ctx };

	if (port->known)
		rte_mempool_obj_iter(port->pool, visit_one, &v);
}

void dpdk_pool_put(struct dpdk_port *port, struct rte_mbuf *m)
{
	struct fn_pkt *p = rte_mbuf_to_priv(m);

	rte_mbuf_refcnt_set(m, 1);
	m->next = NULL;
	m->nb_segs = 1;
	p->flags = 0;
	rte_ring_sp_enqueue(port->pool->pool_data, m);
}

/* The device reads nothing any more: the driver has copied what it took. */
static void settle_one(struct rte_mempool *pool, void *arg, void *obj, unsigned index)
{
	struct rte_mbuf *m = obj;
	const struct fn_pkt *p = rte_mbuf_to_priv(m);

	if (!(p->flags & FN_PKT_MARK)) {
		dpdk_pool_put(arg, m);
		return;
	}
	rte_mbuf_refcnt_set(m, 1);
	m->next = NULL;
	m->nb_segs = 1;
}

void dpdk_pool_empty(struct rte_mempool *pool)
{
	rte_ring_reset(pool->pool_data);
	for (unsigned i = 0; i < RTE_MAX_LCORE; i++)
		pool->local_cache[i].len = 0;
}

bool dpdk_pool_has(const struct rte_mempool *pool, uintptr_t obj)
{
	uintptr_t first = (uintptr_t)(STAILQ_FIRST(&pool->elt_list) + 1);
	size_t stride = pool->header_size + pool->elt_size + pool->trailer_size;

	return pool->nb_mem_chunks == 1 && obj >= first && !((obj - first) % stride) &&
	       (obj - first) / stride < pool->populated_size;
}

/* ---- receiving ---- */

static volatile struct tpacket2_hdr *slot_at(const struct dpdk_rxq *rxq, uint32_t slot)
{
	return (volatile struct tpacket2_hdr *)(uintptr_t)(rxq->ring + (size_t)(slot % rxq->ring_slots) * rxq->slot_size);
}

/*
 * Passed, but not given back yet (dpdk_ring_rx). A kernel that has come round, and filled the slot anew, has filled the half
 * of the ring before it first.
 */
static bool kept_back(const struct dpdk_rxq *rxq)
{
	return slot_at(rxq, rxq->slot + rxq->ring_slots - 1)->tp_status & TP_STATUS_USER &&
	       !(slot_at(rxq, rxq->slot + rxq->ring_slots / 2)->tp_status & TP_STATUS_USER);
}

/* Frames that lie in the socket's queue instead of their slots: gone. Returns how many. */
static unsigned drop_queued(const struct dpdk_rxq *rxq)
{
	unsigned n = 0;
	char byte;

	while (read(rxq->fd, &byte, sizeof(byte)) >= 0)
		n++;
	return n;
}

/* Their slots have the beginning of them, which the stack finds to be too short. */
static unsigned unmark_queued(const struct dpdk_rxq *rxq)
{
	unsigned n = 0;

	for (uint32_t i = 0; i < rxq->ring_slots; i++) {
		volatile struct tpacket2_hdr *h = slot_at(rxq, i);

		if ((h->tp_status & (TP_STATUS_USER | TP_STATUS_COPY)) == (TP_STATUS_USER | TP_STATUS_COPY)) {
			h->tp_status &= ~(uint32_t)TP_STATUS_COPY;
			n++;
		}
	}
	return n;
}

/* Which of the two has lost a frame cannot be seen, so both lose all; more may come meanwhile. */
static void settle_rx(struct dpdk_rxq *rxq)
{
	if (kept_back(rxq))
		slot_at(rxq, rxq->slot + rxq->ring_slots - 1)->tp_status = TP_STATUS_KERNEL;
	for (unsigned i = 0; i < SETTLE_ROUNDS && unmark_queued(rxq) + drop_queued(rxq); i++)
		;
}

/* ---- sending ---- */

/* A frame to ourselves, which no switch brings back and no host takes. */
static struct rte_mbuf *probe_frame(const struct dpdk_port *port)
{
	struct rte_mbuf *m = rte_pktmbuf_alloc(port->pool);
	struct fn_ether_hdr *h = m ? (struct fn_ether_hdr *)rte_pktmbuf_append(m, RTE_ETHER_MIN_LEN - RTE_ETHER_CRC_LEN) : NULL;

	if (!h)
		return NULL;
	memset(h, 0, RTE_ETHER_MIN_LEN - RTE_ETHER_CRC_LEN);
	memcpy(h->dst, port->pub.nic->mac, 6);
	memcpy(h->src, port->pub.nic->mac, 6);
	h->type = fn_be16(ETHER_TYPE_LOCAL);
	return m;
}

static unsigned requested(const struct dpdk_rxq *tx)
{
	unsigned n = 0;

	for (uint32_t i = 0; i < tx->ring_slots; i++)
		n += !!(slot_at(tx, i)->tp_status & TP_STATUS_SEND_REQUEST);
	return n;
}

/* Slots that wait for a kernel that looks elsewhere: free again. */
static void unrequest(const struct dpdk_rxq *tx)
{
	for (uint32_t i = 0; i < tx->ring_slots; i++)
		if (slot_at(tx, i)->tp_status & TP_STATUS_SEND_REQUEST)
			slot_at(tx, i)->tp_status = TP_STATUS_AVAILABLE;
}

/* The kernel sends what waits from its place on, up to the first slot that does not. 1: something went, 0: nothing waits
 * there, -1: it cannot (no memory for the socket, interface down). */
static int kick(const struct dpdk_rxq *tx)
{
	ssize_t n, went = 0;

	while ((n = sendto(tx->fd, NULL, 0, MSG_DONTWAIT, NULL, 0)) > 0)
		went = 1;
	return n < 0 ? -1 : (int)went;
}

/* One frame of the driver's. 1: the kernel took it, both are at one place; 0: it looks elsewhere; -1: that cannot be seen yet. */
static int probe(struct dpdk_port *port, const struct dpdk_rxq *tx)
{
	struct rte_mbuf *m = probe_frame(port);

	if (!m)
		return -1;
	if (!rte_eth_tx_burst(port->id, 0, &m, 1)) {	/* its slot is the kernel's still, or sending failed with the frame taken */
		if (!requested(tx))
			rte_pktmbuf_free(m);
		return -1;
	}
	return requested(tx) ? kick(tx) : 1;
}

/*
 * The kernel may be up to a burst ahead of the driver. First it sends what waits, which is whole frames, and is then behind
 * the last one; what waits still, waits elsewhere. Then frames are sent until one goes. A slot that the kernel has still in
 * its hands (a queue before the interface, a receiver's that is behind), or a socket without memory, say nothing about
 * places: tried again before anything else is sent, for with driver and kernel in different places nothing would go until
 * the one had come round to the other.
 */
bool dpdk_settle_tx(struct dpdk_port *port)
{
	struct dpdk_rxq tx = port->rxq[0];
	int ret = 0;

	tx.ring += (size_t)tx.ring_slots * tx.slot_size;	/* the ring's second half */
	port->tx_unsettled = true;
	if (kick(&tx) < 0)
		return false;
	for (uint32_t i = 0; i <= tx.ring_slots && ret == 0; i++) {
		unrequest(&tx);
		ret = probe(port, &tx);
	}
	port->tx_unsettled = ret < 0;
	return ret >= 0;
}

/* ---- drivers ---- */

void dpdk_recover_setup(struct dpdk_port *port)
{
	port->known = port->driver == DRIVER_AF_PACKET ||
		      (port->driver == DRIVER_AF_XDP && dpdk_xsk_find(port)) ||
		      (port->driver == DRIVER_TAP && dpdk_tap_find(port));
	if (!port->known && (port->driver == DRIVER_AF_XDP || port->driver == DRIVER_TAP))
		fn_log(FN_PLUGIN_NOTICE, "%s: this version of the driver is not known: what a process has in its hands that is "
		       "killed inside it will be lost, when others share its connections", port->pub.nic->name);
}

void dpdk_count_buffers(const struct dpdk_port *port, unsigned *all, unsigned *free)
{
	*all = port->pool->populated_size;
	*free = rte_mempool_avail_count(port->pool);
	if (port->known && port->driver == DRIVER_AF_XDP) {
		*all -= dpdk_xsk_nominal(port);
		*free += dpdk_xsk_sent(port);
	} else if (port->known && port->driver == DRIVER_TAP) {
		*all -= dpdk_tap_nominal(port);
	}
}

/* What the stack has not got is free. */
static void settle_pool(struct dpdk_port *port)
{
	dpdk_pool_empty(port->pool);
	rte_mempool_obj_iter(port->pool, settle_one, port);
}

static void settle_rings(struct dpdk_port *port)
{
	for (uint16_t q = 0; q < port->nb_rxq; q++)
		if (port->rxq[q].peek == PEEK_STATUS)
			settle_rx(&port->rxq[q]);
	if (port->rxq[0].peek == PEEK_STATUS)
		dpdk_settle_tx(port);
}

void dpdk_reclaim(struct fn_nic *nic)
{
	struct dpdk_port *port = nic->priv;

	port->alloc_budget = 0;
	if (!port->known)
		return;
	if (port->driver == DRIVER_AF_XDP) {
		dpdk_xsk_reclaim(port);
		return;
	}
	settle_pool(port);
	if (port->driver == DRIVER_TAP)
		dpdk_tap_reclaim(port);
	else
		settle_rings(port);
}
