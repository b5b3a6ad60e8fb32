/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * TIME_WAIT, and FIN_WAIT2 after close(), in a slim object: what is left of a connection's state (RFC 9293 3.10.7.4 for
 * these two states, RFC 6191, RFC 1337). Never holds data; never wakes a program.
 */
#include <string.h>

#include "tcp.h"

void fn_tcp_mini_init(struct fn_stack *st, struct fn_sock *mini, const struct fn_ep *local, const struct fn_ep *remote,
		      enum fn_tcp_state state)
{
	mini->kind = FN_SOCK_TCP;
	mini->tcp_state = (uint8_t)state;
	mini->st = st;
	mini->local = *local;
	mini->remote = *remote;
}

void fn_tcp_tw_free(struct fn_stack *st, struct fn_tcp_tw *tw)
{
	fn_timer_cancel(&st->wheel, &tw->timer);
	fn_demux_del_conn(st, fn_mini_sk(tw));
	fn_mini_sk(tw)->kind = 0;
	fn_pool_free(&st->tcp->tw_pool, tw);
}

static void expired(struct fn_timer *t, uint64_t now)
{
	struct fn_tcp_tw *tw = fn_container_of(t, struct fn_tcp_tw, timer);

	fn_tcp_tw_free(fn_mini_sk(tw)->st, tw);
}

static void restart(struct fn_stack *st, struct fn_tcp_tw *tw)
{
	fn_timer_arm(&st->wheel, &tw->timer, st->now + st->conf.time_wait_ms * FN_MSEC);
}

void fn_tcp_time_wait(struct fn_tcp *tp, enum fn_tcp_state substate, uint64_t ns)
{
	struct fn_stack *st = tp->sk.st;
	/* a lossless wire has no old duplicates, but the peer's FIN is still to come */
	bool over = tp->lossless && substate == FN_TCP_TIME_WAIT;
	struct fn_tcp_tw *tw = over ? NULL : fn_pool_alloc(&st->tcp->tw_pool);
	struct fn_sock *sk;

	if (!tw) {	/* out of objects the wait is given up, as Linux does */
		fn_tcp_done(tp);
		return;
	}
	sk = fn_mini_sk(tw);
	fn_tcp_mini_init(st, sk, &tp->sk.local, &tp->sk.remote, FN_TCP_TIME_WAIT);
	sk->tos = tp->sk.tos;
	sk->opts = tp->sk.opts & (FN_SO_REUSEADDR | FN_SO_REUSEPORT | FN_SO_EPHEMERAL);
	tw->substate = (uint8_t)substate;
	tw->lossless = tp->lossless;
	tw->feat = tp->feat;
	tw->rcv_wscale = tp->rcv_wscale;
	tw->snd_nxt = tp->snd_nxt;
	tw->rcv_nxt = tp->rcv_nxt;
	tw->rcv_wnd = fn_tcp_receive_window(tp);
	tw->ts_recent = tp->ts_recent;
	tw->ts_recent_stamp = tp->ts_recent_stamp;
	tw->ts_off = tp->ts_off;
	tw->timer.fn = expired;
	fn_demux_replace_conn(st, &tp->sk, sk);
	fn_tcp_done(tp);
	fn_timer_arm(&st->wheel, &tw->timer, st->now + ns);
}

/* RFC 6191 2, and Linux's tcp_tw_reuse: a second has passed since the last timestamp, so a new one is larger. */
bool fn_tcp_tw_reusable(const struct fn_sock *sk)
{
	const struct fn_tcp_tw *tw = (const struct fn_tcp_tw *)sk;

	return sk->tcp_state == FN_TCP_TIME_WAIT && tw->substate == FN_TCP_TIME_WAIT && tw->feat & FN_TCP_F_TS &&
	       tw->ts_recent_stamp && sk->st->now - tw->ts_recent_stamp > FN_SEC_NS;
}

static int send_ack(struct fn_stack *st, struct fn_tcp_tw *tw)
{
	const struct fn_sock *sk = fn_mini_sk(tw);
	uint8_t opts[12];
	struct fn_tcp_bare b = {
		.local = &sk->local, .remote = &sk->remote, .seq = tw->snd_nxt, .ack = tw->rcv_nxt,
		.win = (uint16_t)fn_min(tw->rcv_wnd >> tw->rcv_wscale, 0xffffu), .flags = FN_TCP_ACK, .tos = sk->tos,
		.opts = opts,
	};

	if (tw->feat & FN_TCP_F_TS)
		b.opt_len = (uint8_t)fn_tcp_put_ts(opts, fn_tcp_clock(st) + tw->ts_off, tw->ts_recent);
	return fn_tcp_emit_routed(st, &b);
}

static int drop_with_ack(struct fn_stack *st, struct fn_tcp_tw *tw, struct fn_pkt *p, const struct fn_tcp_seg *seg,
			 enum fn_drop why)
{
	if (!fn_tcp_oow_limited(st, seg, &tw->oow_time))
		send_ack(st, tw);
	return fn_drop(st, p, why);
}

static void take_ts(struct fn_stack *st, struct fn_tcp_tw *tw, const struct fn_tcp_seg *seg)
{
	if (!seg->has_ts || !(tw->feat & FN_TCP_F_TS))
		return;
	tw->ts_recent = seg->tsval;
	tw->ts_recent_stamp = st->now;
}

static bool paws_old(const struct fn_tcp_tw *tw, const struct fn_tcp_seg *seg)
{
	return seg->has_ts && tw->feat & FN_TCP_F_TS && tw->ts_recent_stamp &&
	       (int32_t)(tw->ts_recent - seg->tsval) > FN_TCP_PAWS_WINDOW;
}

/* FIN_WAIT2: only the FIN is still wanted; data finds nobody to read it (RFC 9293 3.10.4, RFC 2525 2.17). */
static int fin_wait2(struct fn_stack *st, struct fn_tcp_tw *tw, struct fn_pkt *p, const struct fn_tcp_seg *seg)
{
	if (!fn_seq_between(seg->seq, tw->rcv_nxt, tw->rcv_nxt + tw->rcv_wnd) || paws_old(tw, seg))
		return drop_with_ack(st, tw, p, seg, FN_DROP_TCP_WINDOW);
	if (seg->flags & FN_TCP_RST) {
		fn_tcp_tw_free(st, tw);
		st->stats.tcp_rst_in++;
		goto out;
	}
	if (seg->flags & FN_TCP_SYN)
		return drop_with_ack(st, tw, p, seg, FN_DROP_TCP_SYN_WINDOW);
	if (!(seg->flags & FN_TCP_ACK) || fn_seq_leq(seg->end_seq, tw->rcv_nxt))
		goto out;	/* nothing new */
	if (!(seg->flags & FN_TCP_FIN) || seg->end_seq != tw->rcv_nxt + 1) {
		fn_tcp_send_rst_for(st, p, seg);
		fn_tcp_tw_free(st, tw);
		return fn_drop(st, p, FN_DROP_TCP_CLOSED);
	}
	tw->substate = FN_TCP_TIME_WAIT;
	tw->rcv_nxt = seg->end_seq;
	take_ts(st, tw, seg);
	send_ack(st, tw);
	if (tw->lossless)
		fn_tcp_tw_free(st, tw);
	else
		restart(st, tw);
out:
	fn_pkt_free(p);
	return 0;
}

/* RFC 9293 3.10.7.4, fourth, TIME-WAIT; RFC 6191: a SYN that is new by sequence number or by timestamp. */
static bool is_new_syn(const struct fn_tcp_tw *tw, const struct fn_tcp_seg *seg, bool old)
{
	if ((seg->flags & (FN_TCP_SYN | FN_TCP_RST | FN_TCP_ACK)) != FN_TCP_SYN || old)
		return false;
	return fn_seq_gt(seg->seq, tw->rcv_nxt) ||
	       (seg->has_ts && tw->feat & FN_TCP_F_TS && (int32_t)(tw->ts_recent - seg->tsval) < 0);
}

int fn_tcp_tw_input(struct fn_stack *st, struct fn_tcp_tw *tw, struct fn_pkt *p, const struct fn_tcp_seg *seg,
		    uint32_t *isn)
{
	bool old = paws_old(tw, seg), rst = seg->flags & FN_TCP_RST;

	if (tw->substate == FN_TCP_FIN_WAIT2)
		return fin_wait2(st, tw, p, seg);
	/* in order and empty: RFC 9293 lets a reset end the wait, and so does Linux (RFC 1337 would not) */
	if (!old && seg->seq == tw->rcv_nxt && (seg->seq == seg->end_seq || rst)) {
		if (rst) {
			st->stats.tcp_rst_in++;
			fn_tcp_tw_free(st, tw);
		} else {
			take_ts(st, tw, seg);
			restart(st, tw);
		}
		fn_pkt_free(p);
		return 0;
	}
	if (is_new_syn(tw, seg, old) && fn_tcp_find_listener(st, p, seg)) {
		*isn = tw->snd_nxt + 65535 + 2;
		if (!*isn)
			*isn = 1;
		st->stats.tcp_time_wait_reused++;
		fn_tcp_tw_free(st, tw);
		return 1;
	}
	if (rst)
		return fn_drop(st, p, FN_DROP_TCP_TIME_WAIT);
	/* RFC 9293 3.10.7.4, eighth: the peer's FIN again, our ACK was lost: acknowledge, wait anew */
	if (old || seg->flags & FN_TCP_ACK)
		restart(st, tw);
	return drop_with_ack(st, tw, p, seg, old ? FN_DROP_TCP_PAWS : FN_DROP_TCP_TIME_WAIT);
}
