/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * Whether a receive queue has something, without receiving and without the stack's lock: a look at the ring that the
 * driver shares with the kernel. Packets received so far tell where in the ring to look. A tap has no ring: asking it is
 * a system call, whether by poll or by receiving.
 */
#include <errno.h>
#include <linux/if_packet.h>
#include <string.h>
#include <sys/mman.h>

#include <rte_power_intrinsics.h>

#include "plugin/dpdk.h"

/* AF_XDP: the driver offers its ring's producer index as an address to monitor; it counts packets from 0. */
static void setup_count(struct dpdk_port *port, struct dpdk_rxq *rxq, uint16_t q)
{
	struct rte_power_monitor_cond cond = { 0 };

	if (rte_eth_get_monitor_addr(port->id, q, &cond) || cond.size != sizeof(uint32_t))
		return;
	rxq->count = cond.addr;
	rxq->peek = PEEK_COUNT;
}

/* AF_PACKET: the ring can be mapped any number of times, the receive half comes first. */
static void setup_status(struct dpdk_port *port, struct dpdk_rxq *rxq, uint16_t q, const struct dpdk_devargs *d)
{
	size_t len = (size_t)d->framesz * d->framecnt * 2;
	void *ring;

	if (q >= port->nb_wait_fd)
		return;
	ring = mmap(NULL, len, PROT_READ | PROT_WRITE, MAP_SHARED, port->wait_fd[q], 0);
	if (ring == MAP_FAILED)
		return;
	rxq->ring = ring;
	rxq->ring_len = len;
	rxq->ring_slots = d->framecnt;
	rxq->slot_size = d->framesz;
	rxq->fd = port->wait_fd[q];
	rxq->peek = PEEK_STATUS;
	if (!dpdk_ring_setup(rxq->fd))
		fn_log(FN_PLUGIN_INFO, "%s: frames larger than the MTU will be dropped: %s", d->name, strerror(errno));
}

bool dpdk_peek_setup(struct dpdk_port *port, const struct dpdk_devargs *d)
{
	bool all = true;

	for (uint16_t q = 0; q < port->nb_rxq; q++) {
		struct dpdk_rxq *rxq = &port->rxq[q];

		if (port->driver == DRIVER_AF_XDP)
			setup_count(port, rxq, q);
		else if (port->driver == DRIVER_AF_PACKET)
			setup_status(port, rxq, q, d);
		else if (rte_eth_rx_descriptor_status(port->id, q, 0) >= 0)
			rxq->peek = PEEK_DESC;
		all = all && rxq->peek != PEEK_NONE;
	}
	return all;
}

void dpdk_peek_teardown(struct dpdk_port *port)
{
	for (uint16_t q = 0; q < port->nb_rxq; q++) {
		if (port->rxq[q].peek == PEEK_STATUS)
			munmap((void *)(uintptr_t)port->rxq[q].ring, port->rxq[q].ring_len);
		port->rxq[q].peek = PEEK_NONE;
	}
}

static bool queue_pending(const struct dpdk_port *port, uint16_t q)
{
	const struct dpdk_rxq *rxq = &port->rxq[q];
	const volatile uint32_t *status;

	switch (rxq->peek) {
	case PEEK_COUNT:
		return *rxq->count != rxq->taken;
	case PEEK_STATUS:
		status = (const volatile uint32_t *)(rxq->ring + (size_t)rxq->slot * rxq->slot_size);
		return *status & TP_STATUS_USER;
	case PEEK_DESC:
		return rte_eth_rx_descriptor_status(port->id, q, 0) == RTE_ETH_RX_DESC_DONE;
	case PEEK_NONE:
		break;
	}
	return true;
}

bool dpdk_rx_pending(const struct fn_nic *nic)
{
	const struct dpdk_port *port = nic->priv;

	for (uint16_t q = 0; q < port->nb_rxq; q++)
		if (queue_pending(port, q))
			return true;
	return false;
}
