/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * After a death under the stack's lock: whoever held it may have stopped between any two instructions. Lists are derived,
 * so they are emptied and made again from the objects: buffers from the queues that hold them, free lists from what is in
 * use, the demux tables, the wheel, the queues of listeners. Objects are looked at one by one; what does not fit together
 * any more, and the one that st->busy names, is reset.
 *
 * May be cut short by a death itself, and is then done again from the beginning: an object's own marks (kind, state,
 * FN_SO_IN_*) are never changed before everything derived from them stands. Owns the order; each file puts its own right.
 */
#include "recover.h"

#include "ip4.h"
#include "neigh.h"
#include "tcp.h"
#include "udp.h"

/* ---- buffers ---- */

static void unmark(void *ctx, struct fn_pkt *p)
{
	p->flags &= (uint16_t)~FN_PKT_MARK;
}

/* Lent to a program's image that lives on (sendfile): still charged to its connection. */
static void hold_lent(void *ctx, struct fn_pkt *p)
{
	struct fn_stack *st = ctx;
	struct fn_tcp *tp = p->lent_to;

	if (!(p->flags & FN_PKT_LENT))
		return;
	if (p->lent_by == st->holder) {
		p->flags &= (uint16_t)~FN_PKT_LENT;
		return;
	}
	p->flags |= FN_PKT_MARK;
	tp->sk.tx_charged += p->truesize;
	st->lent++;
}

static void each_buffer(struct fn_stack *st, void (*fn)(void *ctx, struct fn_pkt *p))
{
	for (unsigned i = 0; i < st->nics; i++)
		if (st->nic[i]->ops->each)
			st->nic[i]->ops->each(st->nic[i], fn, st);
}

/* The device may have freed it already, and the list not have been told: buffers stay where they are, so it can be read. */
static __attribute__((no_sanitize_address)) bool is_whole_and_kept(const struct fn_pkt *p)
{
	return p->flags & FN_PKT_KEEP && !p->seg;
}

/*
 * The device may have been about to read a packet whose .data was moved to its frame's first byte: back to the payload,
 * which begins where the TCP header in front of it ends (only TCP keeps what it sends).
 */
static void settle_staged(struct fn_pkt *p)
{
	const struct fn_tcp_hdr *th;
	uint32_t fin;

	if (!is_whole_and_kept(p))
		return;
	th = (const struct fn_tcp_hdr *)(p->buf + p->l4);
	fin = p->tcp_flags & FN_TCP_FIN ? 1 : 0;
	p->data = p->buf + p->l4 + (th->off >> 4) * 4;
	p->len = p->pkt_len = p->end_seq - p->seq - fin;
}

static void unstage(struct fn_stack *st)
{
	for (unsigned i = 0; i < st->nics; i++) {
		struct fn_nic *nic = st->nic[i];

		for (unsigned k = 0; k < nic->txq_len; k++)
			settle_staged(nic->txq[k]);
		nic->txq_len = 0;
	}
	st->staged = 0;
}

/* ---- all of it ---- */

static bool in_use(const void *obj)
{
	return ((const struct fn_sock *)obj)->kind;
}

static void empty_lists(struct fn_stack *st)
{
	unstage(st);
	st->loop = (struct fn_pktq){ 0 };
	st->starved = NULL;
	st->last_conn = NULL;
	st->express = NULL;
	fn_paths_changed(st);
	st->tcp->ts_off_local = st->tcp->ts_off_remote = 0;
	st->burst = NULL;
	st->udp_wait = NULL;
	st->lent = 0;
	fn_wheel_init(&st->wheel, st->now);
	fn_demux_reset(st);
	fn_neigh_recover(st);
	fn_frags_recover(st);
	fn_pool_rebuild(&st->tcp_pool, in_use);
	fn_pool_rebuild(&st->udp_pool, in_use);
	fn_pool_rebuild(&st->tcp->req_pool, in_use);
	fn_pool_rebuild(&st->tcp->tw_pool, in_use);
}

void fn_stack_recover(struct fn_stack *st)
{
	st->stats.lock_inherited++;
	each_buffer(st, unmark);
	empty_lists(st);
	fn_udp_recover(st);
	fn_tcp_recover(st);
	each_buffer(st, hold_lent);
	for (unsigned i = 0; i < st->nics; i++)
		if (st->nic[i]->ops->reclaim)
			st->nic[i]->ops->reclaim(st->nic[i]);
	fn_tcp_recovered(st);
	fn_udp_recovered(st);
	st->busy = NULL;
}

/* ---- an image that died without the lock ---- */

static void give_back(void *ctx, struct fn_pkt *p)
{
	struct fn_stack *st = ctx;

	if (p->flags & FN_PKT_LENT && p->lent_by == st->holder)
		fn_tcp_unlend(p);
}

void fn_stack_forget_image(struct fn_stack *st, uint64_t image)
{
	uint64_t holder = st->holder;

	if (!st->lent)
		return;
	st->holder = image;
	each_buffer(st, give_back);
	st->holder = holder;
}
