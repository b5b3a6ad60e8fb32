/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * The neighbour cache: entries, their states (see neigh.h), the packets that wait. Must not know ARP's format.
 * Entries are never freed but may come to serve another address; who holds one compares .ip4.
 */
#include <errno.h>
#include <stdatomic.h>
#include <string.h>

#include "neigh.h"
#include "recover.h"

#define BUCKETS		256
#define NEIGHS_MAX	1024		/* Linux gc_thresh3 */
#define WAIT_MAX	64		/* packets, of one neighbour; Linux has 101 (unres_qlen) */
#define WAIT_ALL_MAX	512		/* packets, of all: they hold the device's buffers */
#define REACHABLE_NS	(30 * FN_NSEC)	/* Linux base_reachable_time */
#define DELAY_NS	(5 * FN_NSEC)	/* Linux delay_first_probe_time */
#define RETRY_NS	FN_NSEC		/* RFC 1122 2.3.2.1: at most one a second to one host */
#define PROBES		3		/* Linux ucast_solicit, mcast_solicit */

struct fn_arp {
	struct fn_neigh *bucket[BUCKETS];
	struct fn_pool pool;
	uint32_t hand;			/* where the search for an entry to use again goes on */
	uint32_t waiting;		/* packets, of all neighbours */
};

int fn_arp_init(struct fn_stack *st)
{
	st->arp = fn_arena_alloc(st->arena, sizeof(*st->arp));
	if (!st->arp)
		return -ENOMEM;
	fn_pool_init(&st->arp->pool, st->arena, sizeof(struct fn_neigh), 16, NEIGHS_MAX);
	return 0;
}

static unsigned bucket_of(uint32_t ip4)
{
	return fn_be32(ip4) * 0x9e3779b1u >> 24;	/* Knuth 6.4: golden ratio */
}

/* ---- states ---- */

static void neigh_set(struct fn_stack *st, struct fn_neigh *n, enum fn_neigh_state state, uint64_t fresh_until,
		      uint64_t timeout)
{
	n->state = (uint8_t)state;
	n->fresh_until = fresh_until;
	n->probes = 0;
	if (timeout)
		fn_timer_arm(&st->wheel, &n->timer, st->now + timeout);
	else
		fn_timer_cancel(&st->wheel, &n->timer);
}

static void neigh_ask(struct fn_stack *st, struct fn_neigh *n)
{
	n->probes++;
	fn_arp_request(st, n, n->state == FN_NEIGH_PROBE);
	fn_timer_arm(&st->wheel, &n->timer, st->now + RETRY_NS);
}

/* Take the waiting packets out of n. */
static struct fn_pktq wait_take(struct fn_stack *st, struct fn_neigh *n)
{
	struct fn_pktq q = n->wait;

	n->wait = (struct fn_pktq){0};
	st->arp->waiting -= q.count;
	return q;
}

static void neigh_failed(struct fn_stack *st, struct fn_neigh *n)
{
	struct fn_pktq q = wait_take(st, n);
	struct fn_pkt *p;

	neigh_set(st, n, FN_NEIGH_FAILED, 0, 0);
	while ((p = fn_pktq_pop(&q))) {
		fn_icmp_quoted(st, p->data, p->len, FN_ICMP_UNREACH, FN_ICMP_UNREACH_HOST, 0);
		fn_drop(st, p, FN_DROP_ARP_FAILED);
	}
	fn_tcp_neigh_failed(st, n->ip4);
}

static void neigh_timer(struct fn_timer *t, uint64_t now)
{
	struct fn_neigh *n = fn_container_of(t, struct fn_neigh, timer);
	struct fn_stack *st = n->nic->st;

	if (n->state == FN_NEIGH_DELAY)
		neigh_set(st, n, FN_NEIGH_PROBE, FN_NEVER, 0);
	if (n->probes < PROBES)
		neigh_ask(st, n);
	else
		neigh_failed(st, n);
}

void fn_neigh_confirm(struct fn_stack *st, struct fn_neigh *n)
{
	if (!n)
		return;
	switch ((enum fn_neigh_state)n->state) {
	case FN_NEIGH_REACHABLE:
		n->fresh_until = st->now + REACHABLE_NS;
		break;
	case FN_NEIGH_DELAY:
	case FN_NEIGH_PROBE:
		neigh_set(st, n, FN_NEIGH_REACHABLE, st->now + REACHABLE_NS, 0);
		break;
	case FN_NEIGH_FAILED:
	case FN_NEIGH_INCOMPLETE:
	case FN_NEIGH_STATIC:
		break;
	}
}

void fn_neigh_update(struct fn_stack *st, struct fn_neigh *n, const uint8_t mac[6], bool solicited)
{
	bool same = n->state != FN_NEIGH_INCOMPLETE && n->state != FN_NEIGH_FAILED && !memcmp(n->ether.dst, mac, 6);
	struct fn_pktq q;
	struct fn_pkt *p;

	if (n->state == FN_NEIGH_STATIC)
		return;
	if (!same) {	/* who dies in between leaves no state in which half an address counts (fn_neigh_recover) */
		__atomic_store_n(&n->state, FN_NEIGH_FAILED, __ATOMIC_RELAXED);
		atomic_signal_fence(memory_order_seq_cst);
		memcpy(n->ether.dst, mac, 6);
		atomic_signal_fence(memory_order_seq_cst);
	}
	if (solicited)
		neigh_set(st, n, FN_NEIGH_REACHABLE, st->now + REACHABLE_NS, 0);
	else if (!same)	/* stale: good enough to use, to be asked about when it is */
		neigh_set(st, n, FN_NEIGH_REACHABLE, st->now, 0);
	q = wait_take(st, n);
	while ((p = fn_pktq_pop(&q)))
		fn_neigh_output(st, n, p);
}

/* ---- entries ---- */

struct fn_neigh *fn_neigh_find(const struct fn_stack *st, const struct fn_nic *nic, uint32_t ip4)
{
	struct fn_neigh *n = st->arp->bucket[bucket_of(ip4)];

	while (n && !(n->ip4 == ip4 && n->nic == nic))
		n = n->next;
	return n;
}

/* Nobody will miss it: it failed, or has been stale for a while. */
static bool neigh_idle(const struct fn_stack *st, const struct fn_neigh *n)
{
	return n->state == FN_NEIGH_FAILED || (n->state == FN_NEIGH_REACHABLE && n->fresh_until <= st->now);
}

static void neigh_unlink(struct fn_arp *arp, struct fn_neigh *n)
{
	struct fn_neigh **at = &arp->bucket[bucket_of(n->ip4)];

	while (*at != n)
		at = &(*at)->next;
	*at = n->next;
}

/* An entry to use for another address: each in its turn, like a clock. */
static fn_cold struct fn_neigh *neigh_reclaim(struct fn_stack *st)
{
	struct fn_arp *arp = st->arp;

	for (uint32_t i = 1; i < arp->pool.made; i++) {
		struct fn_neigh *n;

		arp->hand = arp->hand % (arp->pool.made - 1) + 1;
		n = fn_pool_at(&arp->pool, arp->hand);
		if (neigh_idle(st, n)) {
			neigh_unlink(arp, n);
			memset(n, 0, sizeof(*n));
			return n;
		}
	}
	return NULL;
}

/* Addresses that need no asking. */
static bool mac_known(const struct fn_stack *st, const struct fn_nic *nic, uint32_t ip4, uint8_t mac[6])
{
	const uint8_t *a = (const uint8_t *)&ip4;

	if ((a[0] & 0xf0) == 0xe0) {	/* RFC 1112 6.4 */
		memcpy(mac, (uint8_t[6]){0x01, 0x00, 0x5e, a[1] & 0x7f, a[2], a[3]}, 6);
		return true;
	}
	if (fn_ip4_is_bcast(st, ip4)) {
		memset(mac, 0xff, 6);
		return true;
	}
	if (nic->caps & FN_NIC_NO_ARP) {	/* locally administered, from the address */
		memcpy(mac, (uint8_t[6]){0x02, 0x00, a[0], a[1], a[2], a[3]}, 6);
		return true;
	}
	return false;
}

struct fn_neigh *fn_neigh_get(struct fn_stack *st, struct fn_nic *nic, uint32_t ip4)
{
	struct fn_neigh *n = fn_neigh_find(st, nic, ip4), **bucket = &st->arp->bucket[bucket_of(ip4)];

	if (n)
		return n;
	n = fn_pool_alloc(&st->arp->pool);
	if (!n && !(n = neigh_reclaim(st)))
		return NULL;
	n->ip4 = ip4;
	n->nic = nic;
	n->timer.fn = neigh_timer;
	n->ether.type = fn_be16(FN_ETHER_TYPE_IP4);
	memcpy(n->ether.src, nic->mac, 6);
	if (mac_known(st, nic, ip4, n->ether.dst))
		neigh_set(st, n, FN_NEIGH_STATIC, FN_NEVER, 0);
	n->next = *bucket;
	*bucket = n;
	return n;
}

/* ---- after a death under the lock ---- */

/* What it is after a death; its timer is not armed. A link address that is known stays so, to be asked about when it is
 * used: with a queue in between, the reset of a connection that has suffered would make room for what the others send
 * again. */
static enum fn_neigh_state state_after(const struct fn_stack *st, struct fn_neigh *n)
{
	switch ((enum fn_neigh_state)n->state) {
	case FN_NEIGH_REACHABLE:
	case FN_NEIGH_DELAY:
	case FN_NEIGH_PROBE:
		return FN_NEIGH_REACHABLE;
	case FN_NEIGH_FAILED:
	case FN_NEIGH_INCOMPLETE:
	case FN_NEIGH_STATIC:
		break;
	}
	/* one that was being made has no state yet */
	return mac_known(st, n->nic, n->ip4, n->ether.dst) ? FN_NEIGH_STATIC : FN_NEIGH_FAILED;
}

static bool neigh_used(const void *obj)
{
	return ((const struct fn_neigh *)obj)->nic;
}

void fn_neigh_recover(struct fn_stack *st)
{
	struct fn_arp *arp = st->arp;

	memset(arp->bucket, 0, sizeof(arp->bucket));
	arp->waiting = 0;
	fn_pool_rebuild(&arp->pool, neigh_used);
	for (uint32_t i = 1; i < arp->pool.made; i++) {
		struct fn_neigh *n = fn_pool_at(&arp->pool, i), **bucket = &arp->bucket[bucket_of(n->ip4)];

		if (!n->nic)
			continue;
		n->wait = (struct fn_pktq){ 0 };
		n->timer = (struct fn_timer){ .fn = neigh_timer };
		n->ether.type = fn_be16(FN_ETHER_TYPE_IP4);
		memcpy(n->ether.src, n->nic->mac, 6);
		n->probes = 0;
		n->state = (uint8_t)state_after(st, n);
		n->fresh_until = n->state == FN_NEIGH_STATIC ? FN_NEVER : 0;
		n->next = *bucket;
		*bucket = n;
	}
}

/* ---- output ---- */

/* Queue p; a kept packet's owner goes on using it, so a copy waits. The oldest goes when there are too many
 * (RFC 1122 2.3.2.2 wants the latest saved). */
static int neigh_wait(struct fn_stack *st, struct fn_neigh *n, struct fn_pkt *p)
{
	if (p->flags & FN_PKT_KEEP) {
		p = fn_nic_copy(n->nic, p);
		if (!p)
			return -ENOBUFS;
		p->l3 = (uint16_t)(p->data - p->buf);
		p->l4 = (uint16_t)(p->l3 + FN_IP4_LEN);
	}
	if (n->wait.count == WAIT_MAX) {
		fn_drop(st, fn_pktq_pop(&n->wait), FN_DROP_ARP_QUEUE_FULL);
		st->arp->waiting--;
	} else if (st->arp->waiting == WAIT_ALL_MAX) {
		fn_drop(st, p, FN_DROP_ARP_QUEUE_FULL);
		return -ENOBUFS;
	}
	fn_pktq_push(&n->wait, p);
	st->arp->waiting++;
	return 0;
}

int fn_neigh_output_slow(struct fn_stack *st, struct fn_neigh *n, struct fn_pkt *p)
{
	if (n->state == FN_NEIGH_REACHABLE) {	/* it was: use it and see */
		neigh_set(st, n, FN_NEIGH_DELAY, FN_NEVER, DELAY_NS);
		return fn_neigh_output(st, n, p);
	}
	if (n->state == FN_NEIGH_FAILED) {
		neigh_set(st, n, FN_NEIGH_INCOMPLETE, 0, 0);
		neigh_ask(st, n);
	}
	return neigh_wait(st, n, p);
}
