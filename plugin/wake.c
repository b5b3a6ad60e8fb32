/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * What an idle host sleeps on. A device with receive interrupts gives an eventfd. The drivers over kernel interfaces have
 * none, but their own sockets tell: AF_PACKET's is readable while the slot filled last has not been given back
 * (packet_poll), AF_XDP's while its ring is not empty (xsk_poll), a tap's while a frame is queued (tun_chr_poll).
 */
#include <fcntl.h>
#include <poll.h>
#include <stdio.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include "plugin/dpdk.h"

static bool is_wait_socket(int fd)
{
	int domain;
	socklen_t len = sizeof(domain);

	return !getsockopt(fd, SOL_SOCKET, SO_DOMAIN, &domain, &len) && (domain == AF_PACKET || domain == AF_XDP);
}

/* A tap's queue; not the detached one that keeps the interface alive, which is in error for ever. */
static bool is_wait_tap(int fd)
{
	struct pollfd p = { .fd = fd, .events = POLLIN };
	char link[64], target[64];
	ssize_t n;

	snprintf(link, sizeof(link), "/proc/self/fd/%d", fd);
	n = readlink(link, target, sizeof(target) - 1);
	if (n <= 0)
		return false;
	target[n] = 0;
	return !strcmp(target, "/dev/net/tun") && poll(&p, 1, 0) >= 0 && !(p.revents & (POLLERR | POLLHUP));
}

static bool setup_interrupts(struct dpdk_port *port)
{
	for (uint16_t q = 0; q < port->nb_rxq; q++) {
		int fd = rte_eth_dev_rx_intr_ctl_q_get_fd(port->id, q);

		if (fd < 0)
			return false;
		port->wait_fd[port->nb_wait_fd++] = fd;
	}
	return true;
}

void dpdk_wake_setup(struct dpdk_port *port)
{
	port->nb_wait_fd = 0;
	if (port->rx_intr && setup_interrupts(port)) {
		port->pub.wakes = true;
		return;
	}
	port->rx_intr = false;
	port->nb_wait_fd = 0;
	for (int i = 0; i < port->nb_own_fd && port->nb_wait_fd < FN_PLUGIN_FDS; i++) {
		int fd = port->own_fd[i];

		if (fd == port->mac_fd)
			continue;
		if (port->driver == DRIVER_TAP ? is_wait_tap(fd) : is_wait_socket(fd))
			port->wait_fd[port->nb_wait_fd++] = fd;
	}
	port->pub.wakes = port->driver != DRIVER_OTHER && port->nb_wait_fd >= port->nb_rxq;
}

void dpdk_wake_arm(struct dpdk_port *port)
{
	for (uint16_t q = 0; port->rx_intr && q < port->nb_rxq; q++)
		rte_eth_dev_rx_intr_enable(port->id, q);
}

void dpdk_wake_disarm(struct dpdk_port *port)
{
	uint64_t count;
	int error;
	socklen_t len = sizeof(error);

	if (!port->rx_intr) {
		/* An interface that went down leaves an error on its sockets, and poll() would return at once for ever. */
		if (dpdk_rx_pending(port->pub.nic))
			return;
		for (int i = 0; i < port->nb_wait_fd && port->driver != DRIVER_TAP; i++)
			getsockopt(port->wait_fd[i], SOL_SOCKET, SO_ERROR, &error, &len);
		return;
	}
	for (uint16_t q = 0; q < port->nb_rxq; q++) {
		struct pollfd p = { .fd = port->wait_fd[q], .events = POLLIN };

		rte_eth_dev_rx_intr_disable(port->id, q);
		if (poll(&p, 1, 0) > 0 && read(port->wait_fd[q], &count, sizeof(count)) < 0)
			fn_log(FN_PLUGIN_DEBUG, "%s: an interrupt's counter cannot be read", port->pub.nic->name);
	}
}
