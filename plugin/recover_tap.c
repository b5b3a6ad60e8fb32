/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * net_tap after a death under the stack's lock. What is sent has been copied by the kernel; each receive queue has a chain of
 * buffers for the next frame, and the segments that readv() fills. Who died while the driver was changing them leaves both
 * in no known state: they are made anew from the pool, where everything is that the stack does not have. A frame that was
 * read and not given to the stack is lost, as on a bad wire. The driver's own pool, from which it makes the segments of a
 * large one, has nothing that outlives a burst.
 *
 * Where the driver keeps a queue differs from version to version: the structure below is that of DPDK 22.11
 * (drivers/net/tap/rte_eth_tap.h), and is held against what else is known of the queue before anything is followed.
 *
 * May be cut short by a death itself, and is then done again.
 */
#include <linux/if_tun.h>
#include <stdio.h>
#include <sys/uio.h>

#include <rte_mempool.h>
#include <rte_ring.h>

#include "plugin/dpdk.h"

/* A receive queue of the driver's. */
struct queue {
	struct rte_mempool *mp;
	uint32_t trigger_seen;
	uint16_t port, id;
	uint64_t stats[7];
	uint16_t segments;		/* of the chain */
	const struct rte_eth_rxmode *mode;
	struct rte_mbuf *chain;
	struct iovec *iov;		/* [0]: .pi, then a segment each */
	struct tun_pi pi;
};

static struct queue *queue_at(const struct dpdk_port *port, uint16_t q)
{
	return rte_eth_fp_ops[port->id].rxq.data[q];
}

/* Where the driver lets readv() put what segment i takes: behind the headroom in the first one alone. */
static struct iovec place_in(const struct rte_mbuf *m, unsigned i)
{
	uint16_t off = i ? 0 : RTE_PKTMBUF_HEADROOM;

	return (struct iovec){ (char *)m->buf_addr + off, m->buf_len - off };
}

static bool is_chain(const struct dpdk_port *port, const struct queue *d)
{
	const struct rte_mbuf *m = d->chain;

	if (!d->segments || d->segments >= UIO_MAXIOV || !d->iov || d->iov[0].iov_base != &d->pi ||
	    d->iov[0].iov_len != sizeof(d->pi))
		return false;
	for (unsigned i = 0; i < d->segments; i++, m = m->next) {
		struct iovec is, want;

		if (!dpdk_pool_has(port->pool, (uintptr_t)m))
			return false;
		is = d->iov[i + 1];
		want = place_in(m, i);
		if (is.iov_base != want.iov_base || is.iov_len != want.iov_len)
			return false;
	}
	return !m;
}

static bool is_ours(const struct dpdk_port *port, uint16_t q)
{
	const struct queue *d = queue_at(port, q);

	return d && d->mp == port->pool && d->port == port->id && d->id == q && is_chain(port, d);
}

bool dpdk_tap_find(struct dpdk_port *port)
{
	char name[RTE_MEMPOOL_NAMESIZE];

	/* as the driver calls it; it has none when it cuts nothing */
	snprintf(name, sizeof(name), "mp_%.*s", (int)sizeof(name) - 4, port->dev_name);
	port->tap_segments = rte_mempool_lookup(name);
	for (uint16_t q = 0; q < port->nb_rxq; q++)
		if (!is_ours(port, q))
			return false;
	return true;
}

unsigned dpdk_tap_nominal(const struct dpdk_port *port)
{
	return port->nb_rxq * queue_at(port, 0)->segments;
}

/* There are enough: the old chain's buffers are free, whatever the stack has. */
static void make_chain(struct dpdk_port *port, struct queue *d)
{
	struct rte_mbuf **end = &d->chain;

	for (unsigned i = 0; i < d->segments; i++) {
		struct rte_mbuf *m = rte_pktmbuf_alloc(port->pool);

		RTE_VERIFY(m);
		d->iov[i + 1] = place_in(m, i);
		*end = m;
		end = &m->next;
	}
}

/* What segments were made of may point into packets: each is made anew. */
static void init_segment(struct rte_mempool *pool, void *arg, void *obj, unsigned index)
{
	rte_pktmbuf_init(pool, arg, obj, index);
	rte_ring_sp_enqueue(pool->pool_data, obj);
}

void dpdk_tap_reclaim(struct dpdk_port *port)
{
	if (port->tap_segments) {
		dpdk_pool_empty(port->tap_segments);
		rte_mempool_obj_iter(port->tap_segments, init_segment, NULL);
	}
	for (uint16_t q = 0; q < port->nb_rxq; q++)
		make_chain(port, queue_at(port, q));
}
