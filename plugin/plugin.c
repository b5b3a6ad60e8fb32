/* SPDX-License-Identifier: BSD-3-Clause */
/* The plugin's one exported symbol and the table behind it (plugin.h); what is not opening or moving packets. */
#include <string.h>
#include <unistd.h>

#include <rte_lcore.h>
#include <rte_version.h>

#include "plugin/dpdk.h"

const struct fn_plugin_host *fn_host;

static struct dpdk_port *port_of(struct fn_port *port)
{
	return (struct dpdk_port *)port;
}

static const struct dpdk_port *port_of_const(const struct fn_port *port)
{
	return (const struct dpdk_port *)port;
}

static int op_open(const struct fn_port_conf *conf, struct fn_nic *nic, struct fn_port **port, char *err, size_t errlen)
{
	struct dpdk_port *p;
	int rc = dpdk_port_open(conf, nic, &p, err, errlen);

	*port = rc ? NULL : &p->pub;
	return rc;
}

static int op_prepare(const struct fn_port_conf *conf, char *err, size_t errlen)
{
	return dpdk_port_prepare(conf, err, errlen);
}

static int copy_fds(const int *from, int n, int *to, int max)
{
	n = fn_min(n, max);
	memcpy(to, from, (size_t)n * sizeof(*to));
	return n;
}

static int op_wait_fds(const struct fn_port *port, int *fds, int max)
{
	const struct dpdk_port *p = port_of_const(port);

	return p->pub.wakes ? copy_fds(p->wait_fd, p->nb_wait_fd, fds, max) : 0;
}

static int op_own_fds(const struct fn_port *port, int *fds, int max)
{
	const struct dpdk_port *p = port_of_const(port);
	int n = dpdk_eal_fds(fds, max);

	return !p ? n : n + copy_fds(p->own_fd, p->nb_own_fd, fds + n, max - n);
}

/* What the data path may only count. */
static void report_oversize(struct dpdk_port *p)
{
	if (p->pub.oversize == p->oversize_told)
		return;
	if (!p->oversize_told)
		fn_log(FN_PLUGIN_WARNING,
		       "%s: frames larger than the MTU of %u arrive and are dropped: the peer leaves segmentation to its "
		       "device; use net_af_xdp here, or on the peer: ethtool -K INTERFACE tx off gso off tso off",
		       p->pub.nic->name, p->pub.nic->mtu);
	p->oversize_told = p->pub.oversize;
}

static void report_tso(struct dpdk_port *p)
{
	if (!p->tso_refused)
		return;
	p->tso_refused = false;
	fn_log(FN_PLUGIN_WARNING, "%s: the driver has refused a packet that the device was to cut (TSO): there will be no more",
	       p->pub.nic->name);
}

static void report_unsure(struct dpdk_port *p)
{
	if (!p->xsk_unsure)
		return;
	p->xsk_unsure = false;
	fn_log(FN_PLUGIN_WARNING, "%s: a process was killed inside the driver, and the kernel's rings do not tell "
	       "whose every buffer is: some are lost", p->pub.nic->name);
}

static void op_arm(struct fn_port *port)
{
	dpdk_wake_arm(port_of(port));
}

static void op_disarm(struct fn_port *port)
{
	dpdk_wake_disarm(port_of(port));
}

/* Drivers over a kernel interface do not know its state. */
static bool link_now(const struct dpdk_port *p)
{
	struct rte_eth_link link;

	if (p->driver == DRIVER_AF_PACKET || p->driver == DRIVER_AF_XDP)
		return dpdk_iface_up(p->ask_fd, p->ifname);
	return rte_eth_link_get_nowait(p->id, &link) || link.link_status == RTE_ETH_LINK_UP;
}

static void op_tick(struct fn_port *port)
{
	struct dpdk_port *p = port_of(port);
	struct rte_eth_stats stats;
	bool link = link_now(p);
	unsigned all, free;

	if (link != p->link)
		fn_log(FN_PLUGIN_NOTICE, "%s: link is %s", p->pub.nic->name, link ? "up" : "down");
	p->link = link;
	p->pub.nic->up = link;
	if (!rte_eth_stats_get(p->id, &stats)) {
		p->pub.nic->stats.rx_missed = stats.imissed + stats.rx_nombuf;
		p->pub.nic->stats.rx_errors = stats.ierrors;
	}
	if (p->driver == DRIVER_AF_PACKET)
		p->pub.nic->stats.rx_missed = dpdk_ring_missed(p);
	dpdk_count_buffers(p, &all, &free);
	p->pub.nic->stats.buffers = all;
	p->pub.nic->stats.buffers_free = free;
	report_oversize(p);
	report_tso(p);
	report_unsure(p);
}

static void op_close(struct fn_port *port)
{
	report_oversize(port_of(port));
	dpdk_port_close(port_of(port));
}

/*
 * The rings and the buffers are shared memory, the sockets' ends are too. What is the process's own is EAL's interrupt
 * thread, which the child has not got: only link state comes from it, so the child asks the device instead.
 */
static void op_child_after_fork(struct fn_port *port)
{
	op_tick(port);
}

static int op_thread_ready(void)
{
	return dpdk_thread_ready();
}

static void op_thread_call(long n, const long arg[5])
{
	if (arg)
		dpdk_thread_call(n, arg);
	else
		dpdk_thread_end();
}

static void op_bind_memory(const struct fn_port *port, void *addr, size_t len)
{
	dpdk_numa_bind(addr, len, port->numa_node);
}

__attribute__((visibility("default")))
const struct fn_plugin_ops *fastnet_nic_plugin(const struct fn_plugin_host *host)
{
	static struct fn_plugin_ops ops = {
		.abi = FN_PLUGIN_ABI,
		.open = op_open,
		.prepare = op_prepare,
		.close = op_close,
		.wait_fds = op_wait_fds,
		.arm = op_arm,
		.disarm = op_disarm,
		.tick = op_tick,
		.own_fds = op_own_fds,
		.child_after_fork = op_child_after_fork,
		.thread_ready = op_thread_ready,
		.thread_call = op_thread_call,
		.bind_memory = op_bind_memory,
	};

	if (host->abi != FN_PLUGIN_ABI)
		return NULL;
	fn_host = host;
	ops.version = rte_version();
	return &ops;
}
