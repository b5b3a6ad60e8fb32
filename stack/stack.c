/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * A stack's life and its round: receive, timers, transmit. Owns time. Must not know a protocol's inside: it calls the
 * layers' inits and inputs.
 */
#include <errno.h>

#include "net.h"
#include "route.h"
#include "udp.h"

#define LINK_CHECK_NS	(100 * FN_MSEC)	/* a device's link state is asked at most that often */
#define RETRY_NS	(FN_MSEC / 10)	/* a device that took less than it was given is asked again */

void fn_stack_conf_init(struct fn_stack_conf *conf)
{
	*conf = (struct fn_stack_conf){
		.max_tcp = 65536,
		.max_udp = 4096,
		/* Linux: net.core.?mem_default, net.ipv4.tcp_?mem */
		.sndbuf = 212992,
		.rcvbuf = 212992,
		.tcp_sndbuf = 16384,
		.tcp_rcvbuf = 131072,
		.sndbuf_max = 4194304,
		.rcvbuf_max = 6291456,
		.port_first = 32768,
		.port_last = 60999,
		.fabric_first = 61000,
		.fabric_last = 65535,
		.time_wait_ms = 60000,
		.fin_timeout_ms = 60000,
		.rto_min_ms = 200,
		.delack_ms = 40,
		.syn_retries = 6,
		.synack_retries = 5,
		.retries2 = 15,
		.syn_cookies = true,
		.cc = FN_CC_CUBIC,
	};
}

/* ---- life ---- */

struct fn_stack *fn_stack_create(struct fn_arena *a, const struct fn_stack_conf *conf, const struct fn_stack_ops *ops,
				 void *ops_ctx, uint64_t now)
{
	struct fn_stack *st = fn_arena_alloc(a, sizeof(*st));

	if (!st)
		return NULL;
	st->arena = a;
	st->conf = *conf;
	st->ops = *ops;
	st->ops_ctx = ops_ctx;
	st->now = now;
	fn_stack_seed(st);
	fn_wheel_init(&st->wheel, now);
	if (fn_demux_init(st) || fn_routes_init(st) || fn_arp_init(st) || fn_ip4_init(st) || fn_icmp_init(st) ||
	    fn_udp_init(st) || fn_tcp_init(st))
		return NULL;
	return st;
}

static int nic_routes(struct fn_stack *st, struct fn_nic *nic)
{
	int err = 0;

	if (nic->ip4)
		err = fn_route_add(st, nic->ip4 & nic->ip4_mask, nic->ip4_mask, 0, nic);
	if (!err && nic->ip4_gw)
		err = fn_route_add(st, 0, 0, nic->ip4_gw, nic);
	return err == -EEXIST ? 0 : err;
}

int fn_stack_add_nic(struct fn_stack *st, struct fn_nic *nic)
{
	int err;

	if (nic->mtu < 68 || nic->tx_payload < 68)	/* RFC 791: what every link carries */
		return -EINVAL;
	if (st->nics == FN_NICS_MAX)
		return -ENOSPC;
	nic->st = st;
	nic->index = st->nics;
	nic->txq_len = 0;
	if (!nic->tx_left)
		nic->tx_left = INT64_MAX;
	nic->src_ok = UINT64_MAX;
	nic->up = nic->ops->link_up ? nic->ops->link_up(nic) : true;
	/* RFC 3021: a /31 has no broadcast address, nor has a /32 */
	nic->ip4_bcast = nic->ip4 && fn_be32(~nic->ip4_mask) > 1 ? nic->ip4 | ~nic->ip4_mask : UINT32_MAX;
	st->nic[st->nics++] = nic;
	fn_paths_changed(st);
	if (nic->ops->full)
		st->fabric = nic;
	err = nic_routes(st, nic);
	if (err) {
		st->nics--;
		return err;
	}
	fn_arp_announce(st, nic);
	return 0;
}

/* ---- the round ---- */

static fn_cold void check_links(struct fn_stack *st)
{
	st->link_check = st->now + LINK_CHECK_NS;
	for (unsigned i = 0; i < st->nics; i++) {
		struct fn_nic *nic = st->nic[i];
		bool up = nic->ops->link_up ? nic->ops->link_up(nic) : true;

		if (up == nic->up)
			continue;
		nic->up = up;
		if (up)
			fn_arp_announce(st, nic);
	}
}

/* Frames that came from another core are asked for together, not one after another. */
static __attribute__((noinline)) void burst_ahead(struct fn_pkt **burst, unsigned n)
{
	for (unsigned i = 0; i < n; i++)
		__builtin_prefetch(burst[i]->data);
}

static void burst_input(struct fn_stack *st, struct fn_nic *nic, struct fn_pkt **burst, unsigned n)
{
	uint64_t bytes = 0;

	if (n > 1)
		burst_ahead(burst, n);
	for (unsigned i = 0; i < n; i++) {
		bytes += burst[i]->pkt_len;
		if (fn_likely(fn_tcp_express(st, nic, burst[i])))
			continue;
		burst[i]->time = st->now;
		fn_ether_input(st, nic, burst[i]);
	}
	st->stats.rx_packets += n;
	st->stats.rx_bytes += bytes;
}

/* Packets to ourselves that stood in the queue when the round began; what they bring about waits for the next one. */
static fn_cold unsigned loop_receive(struct fn_stack *st)
{
	unsigned i, n = st->loop.count;

	for (i = 0; i < n; i++) {
		struct fn_pkt *p = fn_pktq_pop(&st->loop);

		fn_ip4_input(st, p->nic, p);
	}
	return n;
}

unsigned fn_stack_poll(struct fn_stack *st, uint64_t now)
{
	struct fn_pkt *burst[FN_NIC_BURST];
	unsigned i, got, n = 0, fired;

	fn_assert(now >= st->now);
	st->now = now;
	st->stats.polls++;
	if (fn_unlikely(now >= st->link_check))
		check_links(st);
	for (i = 0; i < st->nics; i++) {
		got = st->nic[i]->ops->rx(st->nic[i], burst, FN_NIC_BURST);
		n += got;
		if (got)
			burst_input(st, st->nic[i], burst, got);
	}
	if (fn_unlikely(st->loop.count))
		n += loop_receive(st);
	fired = fn_wheel_run(&st->wheel, now);
	if (fn_unlikely(st->starved != NULL))
		fn_tcp_prune(st);
	st->busy = NULL;	/* what follows the numbers show, and the device takes its time */
	if (st->burst)
		fn_tcp_end_burst(st);
	st->stats.timers += fired;
	st->stats.polls_empty += !(n + fired);
	fn_stack_flush(st);
	if (fn_unlikely(st->udp_wait))
		fn_udp_writable(st);
	return n + fired;
}

bool fn_stack_flush_staged(struct fn_stack *st)
{
	bool all = true;

	st->busy = NULL;	/* no change of the program's is half done: who dies in the device's call harms no connection */
	if (fn_likely(st->nics == 1))
		return fn_nic_flush(st->nic[0]);
	for (unsigned i = 0; i < st->nics; i++)
		if (st->nic[i]->txq_len)
			all &= fn_nic_flush(st->nic[i]);
	return all;
}

uint64_t fn_stack_deadline(const struct fn_stack *st)
{
	uint64_t next = fn_wheel_next(&st->wheel);

	if (st->loop.count)
		return st->now;
	return fn_stack_staged(st) || st->udp_wait ? fn_min(next, st->now + RETRY_NS) : next;
}

unsigned fn_stack_draining(const struct fn_stack *st)
{
	return fn_tcp_draining(st);
}

bool fn_stack_is_local(const struct fn_stack *st, uint32_t ip4)
{
	return fn_nic_of_addr(st, ip4) != NULL;
}

int fn_drop(struct fn_stack *st, struct fn_pkt *p, enum fn_drop reason)
{
	st->stats.drop[reason]++;
	fn_pkt_free(p);
	return -(int)reason;
}
