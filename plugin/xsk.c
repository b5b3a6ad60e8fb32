/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * The rings that AF_XDP's driver shares with the kernel, found behind the driver and looked at: what recover_xsk.c
 * counts buffers by. Nothing is written here.
 *
 * Where the driver keeps them is its own affair and differs from version to version: the structure below is that of
 * DPDK 22.11 (drivers/net/af_xdp/rte_eth_af_xdp.c), whose rings are libxdp's (xdp/xsk.h). So everything it says is
 * held against what others say: the kernel about each ring's mapping, ethdev about the queue, the pool about the
 * buffers.
 */
#include <linux/if_xdp.h>
#include <poll.h>
#include <stdio.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/stat.h>

#include "plugin/dpdk.h"

#define RINGS 4

/* A receive queue of the driver's. */
struct queue {
	struct dpdk_xsk_ring rx;
	void *umem, *xsk;
	const struct rte_mempool *pool;
	uint16_t port;
	uint64_t stats[3];
	struct dpdk_xsk_ring fill, done;
	void *tx;		/* begins with its ring */
	struct pollfd poll[1];
};

/* What a ring must look like. */
struct expected {
	const struct dpdk_xsk_ring *ring;
	struct xdp_ring_offset at;
	uint64_t pgoff;
	size_t entry;
	bool found;
};

static bool is_ring(const struct expected *e)
{
	const struct dpdk_xsk_ring *r = e->ring;
	const uint8_t *base = (const uint8_t *)r->producer - e->at.producer;

	return r->producer && r->size && !(r->size & (r->size - 1)) && r->mask == r->size - 1 &&
	       (const uint8_t *)r->consumer == base + e->at.consumer &&
	       (const uint8_t *)r->flags == base + e->at.flags &&
	       (const uint8_t *)r->ring == base + e->at.desc;
}

/* The kernel's list of mappings has each ring where it is expected, and as that one of the socket's rings. */
static bool are_mapped(struct expected e[RINGS], ino_t inode)
{
	FILE *maps = fopen("/proc/self/maps", "re");
	unsigned long start, end, ino;
	unsigned long long pgoff;
	unsigned found = 0;
	char line[512];

	while (maps && found < RINGS && fgets(line, sizeof(line), maps)) {
		if (sscanf(line, "%lx-%lx %*s %llx %*s %lu", &start, &end, &pgoff, &ino) != 4 || ino != inode)
			continue;
		for (unsigned i = 0; i < RINGS; i++) {
			bool is = pgoff == e[i].pgoff && start == (uintptr_t)e[i].ring->producer - e[i].at.producer &&
				  end - start >= e[i].at.desc + e[i].ring->size * e[i].entry;

			found += is && !e[i].found;
			e[i].found |= is;
		}
	}
	if (maps)
		fclose(maps);
	return found == RINGS;
}

static bool have_rings(const struct dpdk_xskq *x)
{
	struct xdp_mmap_offsets off;
	socklen_t len = sizeof(off);
	struct stat st;

	if (getsockopt(x->fd, SOL_XDP, XDP_MMAP_OFFSETS, &off, &len) || len != sizeof(off) || fstat(x->fd, &st))
		return false;

	struct expected e[RINGS] = {
		{ x->rx, off.rx, XDP_PGOFF_RX_RING, sizeof(struct xdp_desc), false },
		{ x->tx, off.tx, XDP_PGOFF_TX_RING, sizeof(struct xdp_desc), false },
		{ x->fill, off.fr, XDP_UMEM_PGOFF_FILL_RING, sizeof(uint64_t), false },
		{ x->done, off.cr, XDP_UMEM_PGOFF_COMPLETION_RING, sizeof(uint64_t), false },
	};
	for (unsigned i = 0; i < RINGS; i++)
		if (!is_ring(&e[i]))
			return false;
	return are_mapped(e, st.st_ino);
}

struct rte_mbuf *dpdk_xsk_frame(const struct dpdk_port *port, uint64_t addr)
{
	uint64_t obj = port->xsk_base + (addr & XSK_UNALIGNED_BUF_ADDR_MASK) + port->pool->header_size;

	return dpdk_pool_has(port->pool, obj) ? (struct rte_mbuf *)obj : NULL;
}

uint32_t dpdk_xsk_filled(const struct dpdk_xskq *x)
{
	return *x->fill->producer - *x->rx->consumer;
}

uint64_t dpdk_xsk_addr(const struct dpdk_xsk_ring *r, size_t entry, uint32_t i)
{
	return *(const volatile uint64_t *)((const uint8_t *)r->ring + (i & r->mask) * entry);
}

/* What the driver has put into the fill ring are this pool's buffers. */
static bool are_ours(const struct dpdk_port *port, const struct dpdk_xskq *x)
{
	uint32_t n = dpdk_xsk_filled(x);

	if (!n || n > x->fill->size)
		return false;
	for (uint32_t i = *x->rx->consumer; i != *x->fill->producer; i++) {
		const struct rte_mbuf *m = dpdk_xsk_frame(port, dpdk_xsk_addr(x->fill, sizeof(uint64_t), i));

		if (!m || m->pool != port->pool)
			return false;
	}
	return true;
}

static bool is_ours(const struct dpdk_port *port, const struct queue *d, uint16_t q)
{
	return d && d->pool == port->pool && d->port == port->id && d->tx &&
	       d->tx == rte_eth_fp_ops[port->id].txq.data[q] && d->rx.producer == port->rxq[q].count &&
	       d->poll[0].events == POLLIN;
}

static bool find_queue(struct dpdk_port *port, uint16_t q)
{
	struct queue *d = rte_eth_fp_ops[port->id].rxq.data[q];
	struct dpdk_xskq *x = &port->xsk[q];

	if (!is_ours(port, d, q))
		return false;
	*x = (struct dpdk_xskq){ &d->rx, &d->fill, d->tx, &d->done, .fd = d->poll[0].fd };
	if (!have_rings(x) || !are_ours(port, x))
		return false;
	x->nominal = dpdk_xsk_filled(x);
	return true;
}

bool dpdk_xsk_find(struct dpdk_port *port)
{
	const struct rte_mempool *pool = port->pool;

	port->xsk_base = (uintptr_t)STAILQ_FIRST(&pool->mem_list)->addr & ~(uintptr_t)(RTE_PGSIZE_4K - 1);
	for (uint16_t q = 0; q < port->nb_rxq; q++)
		if (!find_queue(port, q))
			return false;
	return true;
}

unsigned dpdk_xsk_sent(const struct dpdk_port *port)
{
	unsigned n = 0;

	for (uint16_t q = 0; q < port->nb_rxq; q++)
		n += *port->xsk[q].tx->producer - *port->xsk[q].done->consumer;
	return n;
}

unsigned dpdk_xsk_nominal(const struct dpdk_port *port)
{
	unsigned n = 0;

	for (uint16_t q = 0; q < port->nb_rxq; q++)
		n += port->xsk[q].nominal;
	return n;
}
