/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * TCP after a death under the lock (recover.c): which connections still fit together, and the listeners' queues anew. The
 * sequence spaces are what tells: the program's bytes, the queues and the numbers of RFC 9293 3.3.1 must agree.
 */
#include <errno.h>

#include "recover.h"
#include "tcp.h"

#define OPENING		(1u << FN_TCP_SYN_SENT | 1u << FN_TCP_SYN_RCVD)
#define SYNCED		(1u << FN_TCP_ESTABLISHED | 1u << FN_TCP_FIN_WAIT1 | 1u << FN_TCP_FIN_WAIT2 | \
			 1u << FN_TCP_CLOSE_WAIT | 1u << FN_TCP_CLOSING | 1u << FN_TCP_LAST_ACK)

/* fn_tcp.burst between the two halves: to be reset. Never set together with FN_BURST_LISTED. */
#define BROKEN		64

/* ---- does it fit together? ---- */

/* Packets of q cover the sequence space from `from` on without a gap; *end: up to where. Their lengths are right. */
static bool covers(const struct fn_pktq *q, uint32_t from, uint32_t *end)
{
	for (const struct fn_pkt *p = q->head; p; p = p->next) {
		if (p->seq != from || p->end_seq - p->seq != p->pkt_len + !!(p->tcp_flags & FN_TCP_FIN) ||
		    p->data < p->buf + FN_PKT_HEADROOM)
			return false;
		from = p->end_seq;
	}
	*end = from;
	return true;
}

static bool send_side(const struct fn_tcp *tp)
{
	const struct fn_pkt *p = tp->rtxq.head;
	uint32_t from = tp->snd_una, end;

	if (OPENING >> tp->sk.tcp_state & 1)	/* the SYN stands in no queue */
		return !p && !tp->sndq.head && tp->snd_nxt == tp->snd_una + 1;
	if (p && fn_seq_between(tp->snd_una, p->seq, p->end_seq - 1))
		from = p->seq;
	return covers(&tp->rtxq, from, &end) && end == tp->snd_nxt && covers(&tp->sndq, end, &end) &&
	       end == tp->write_seq;
}

static bool receive_side(const struct fn_tcp *tp)
{
	uint32_t from = tp->copied_seq;

	if (tp->dead || tp->sk.tcp_state == FN_TCP_SYN_SENT)
		return true;
	for (const struct fn_pkt *p = tp->sk.rxq.head; p; p = p->next) {
		if (p->seq != from || p->end_seq - p->seq != p->len || p->seg)
			return false;
		from = p->end_seq;
	}
	return from == tp->rcv_nxt - tp->fin_rcvd;
}

bool fn_tcp_sound(const struct fn_tcp *tp)
{
	unsigned state = tp->sk.tcp_state;

	if (!fn_recover_queue(&tp->sk.rxq) || !fn_recover_queue(&tp->rtxq) || !fn_recover_queue(&tp->sndq) ||
	    !fn_recover_queue(&tp->oooq))
		return false;
	if (state == FN_TCP_CLOSED || state == FN_TCP_LISTEN)
		return !(tp->sk.opts & FN_SO_IN_CONN) && !tp->rtxq.head && !tp->sndq.head && !tp->oooq.head;
	return tp->sk.opts & FN_SO_IN_CONN && !tp->listener && send_side(tp) && receive_side(tp);
}

/* ---- a connection ---- */

static uint32_t hold_queue(struct fn_pktq *q)
{
	uint32_t truesize = 0;

	for (struct fn_pkt *p = q->head; p; p = p->next) {
		truesize += p->truesize;
		fn_recover_hold(p);
		p->sack &= FN_SEG_SUM | FN_SEG_EVER_RETRANS;
	}
	return truesize;
}

static void drop_queues(struct fn_tcp *tp)
{
	tp->sk.rxq = tp->rtxq = tp->sndq = tp->oooq = (struct fn_pktq){ 0 };
}

static void settle(struct fn_stack *st, struct fn_tcp *tp)
{
	bool sound = fn_tcp_sound(tp) && st->busy != &tp->sk;

	if (!tp->sk.tcp_state) {	/* was being made */
		tp->sk.kind = 0;
		fn_pool_free(&st->tcp_pool, tp);
		return;
	}
	if (!sound)
		drop_queues(tp);
	tp->burst = sound ? 0 : BROKEN;
	tp->burst_next = NULL;
	tp->timer.next = tp->timer.prev = NULL;
	tp->timer.fn = fn_tcp_timer;
	tp->accept_next = NULL;
	tp->sk.rx_charged = hold_queue(&tp->sk.rxq);
	tp->sk.tx_charged = hold_queue(&tp->rtxq) + hold_queue(&tp->sndq);
	hold_queue(&tp->oooq);
	if (tp->sk.tcp_state == FN_TCP_LISTEN) {
		tp->l.accept_head = tp->l.accept_tail = NULL;
		tp->l.reqs = NULL;
		tp->l.accept_len = tp->l.syn_len = 0;
	} else {
		fn_tcp_sack_clear(tp);
	}
	fn_demux_relink(st, &tp->sk);
}

/* ---- slim objects ---- */

static void settle_mini(struct fn_stack *st, void *mini, struct fn_timer *timer)
{
	timer->next = timer->prev = NULL;
	fn_demux_relink(st, fn_mini_sk(mini));
}

void fn_tcp_recover(struct fn_stack *st)
{
	uint32_t i;

	for (i = 1; i < st->tcp_pool.made; i++) {
		struct fn_tcp *tp = fn_pool_at(&st->tcp_pool, i);

		if (tp->sk.kind)
			settle(st, tp);
	}
	for (i = 1; i < st->tcp->tw_pool.made; i++) {
		struct fn_tcp_tw *tw = fn_pool_at(&st->tcp->tw_pool, i);

		if (fn_mini_sk(tw)->kind)
			settle_mini(st, tw, &tw->timer);
	}
	for (i = 1; i < st->tcp->req_pool.made; i++) {
		struct fn_tcp_req *req = fn_pool_at(&st->tcp->req_pool, i);

		if (fn_mini_sk(req)->kind)
			settle_mini(st, req, &req->timer);
	}
}

/* ---- when everything stands ---- */

/* Nobody's: made and not given to anybody yet, or accepted and not handed over. */
static bool nobodys(const struct fn_tcp *tp)
{
	return !tp->sk.user && !tp->dead && !tp->accept_queued;
}

static void reset(struct fn_tcp *tp)
{
	tp->burst = 0;
	tp->listener = NULL;
	tp->dead |= nobodys(tp);
	if (tp->sk.tcp_state == FN_TCP_LISTEN) {	/* nothing of its own is broken, and its queues are new */
		tp->dead |= !tp->sk.user;
		return;
	}
	if (SYNCED >> tp->sk.tcp_state & 1 && tp->path.nic && !fn_tcp_send_bare(tp, FN_TCP_RST | FN_TCP_ACK, tp->snd_nxt))
		tp->sk.st->stats.tcp_rst_out++;
	fn_tcp_abort(tp, ECONNRESET);
}

/* Whatever was about to happen happens now. */
static void resume(struct fn_tcp *tp)
{
	struct fn_stack *st = tp->sk.st;

	if (tp->sk.tcp_state == FN_TCP_CLOSED)
		return;
	tp->ca_state = FN_CA_OPEN;
	tp->f.undo_marker = 0;
	tp->f.retrans_stamp = 0;
	tp->f.high_seq = tp->snd_nxt;
	if (SYNCED >> tp->sk.tcp_state & 1)
		fn_tcp_prepare(tp);
	fn_tcp_pred_update(tp);
	for (unsigned i = 0; i < FN_DUE_COUNT; i++)
		if (tp->due[i] != FN_NEVER)
			fn_tcp_set_due(tp, i, fn_max(tp->due[i], st->now));
	if (tp->snd_una != tp->snd_nxt && tp->due[FN_DUE_RTX] == FN_NEVER)
		fn_tcp_rearm_rto(tp);
	if (tp->rcv_nxt != tp->rcv_wup)		/* received, perhaps acknowledged by a packet that never left */
		tp->ack |= FN_ACK_SCHED | FN_ACK_NOW;
	fn_tcp_burst_add(tp, FN_BURST_OUT | FN_BURST_ACK);
	if (!tp->lossless)
		return;
	fn_tcp_told_open(tp);
	fn_tcp_again(tp);
}

static void finish(struct fn_tcp *tp)
{
	if (nobodys(tp) || tp->burst & BROKEN)
		reset(tp);
	else if (tp->sk.tcp_state != FN_TCP_LISTEN)
		resume(tp);
	if (tp->dead && tp->sk.tcp_state == FN_TCP_LISTEN) {
		fn_tcp_listen_stop(tp);
		fn_tcp_done(tp);
	} else if (tp->dead && tp->sk.tcp_state == FN_TCP_CLOSED) {
		fn_tcp_burst_add(tp, FN_BURST_DEAD);
	}
}

/* Established, not accepted: to the listener that a new connection with these ends would find. */
static void queue_again(struct fn_tcp *tp)
{
	struct fn_sock *sk = fn_demux_bound(tp->sk.st, FN_SOCK_TCP, &tp->sk.local, &tp->sk.remote, tp->sk.hash);

	if (!tp->accept_queued)
		return;
	if (sk && sk->tcp_state == FN_TCP_LISTEN) {
		fn_tcp_listen_enqueue(fn_tcp_sk(sk), tp);
		return;
	}
	tp->accept_queued = false;
	tp->burst |= BROKEN;
}

static void req_again(struct fn_stack *st, struct fn_tcp_req *req)
{
	struct fn_tcp *lp = req->listener;

	if (!(fn_mini_sk(req)->opts & FN_SO_IN_CONN) || lp->sk.kind != FN_SOCK_TCP || lp->sk.tcp_state != FN_TCP_LISTEN) {
		fn_tcp_req_discard(st, req);
		return;
	}
	fn_tcp_req_enlist(req);
	fn_timer_arm(&st->wheel, &req->timer, fn_max(req->timer.expires, st->now));
}

static void tw_again(struct fn_stack *st, struct fn_tcp_tw *tw)
{
	if (fn_mini_sk(tw)->opts & FN_SO_IN_CONN)
		fn_timer_arm(&st->wheel, &tw->timer, fn_max(tw->timer.expires, st->now));
	else
		fn_tcp_tw_free(st, tw);
}

void fn_tcp_recovered(struct fn_stack *st)
{
	uint32_t i;

	for (i = 1; i < st->tcp->tw_pool.made; i++) {
		struct fn_tcp_tw *tw = fn_pool_at(&st->tcp->tw_pool, i);

		if (fn_mini_sk(tw)->kind)
			tw_again(st, tw);
	}
	for (i = 1; i < st->tcp->req_pool.made; i++) {
		struct fn_tcp_req *req = fn_pool_at(&st->tcp->req_pool, i);

		if (fn_mini_sk(req)->kind)
			req_again(st, req);
	}
	for (i = 1; i < st->tcp_pool.made; i++) {
		struct fn_tcp *tp = fn_pool_at(&st->tcp_pool, i);

		if (tp->sk.kind)
			queue_again(tp);
	}
	for (i = 1; i < st->tcp_pool.made; i++) {
		struct fn_tcp *tp = fn_pool_at(&st->tcp_pool, i);

		if (tp->sk.kind)
			finish(tp);
	}
}
