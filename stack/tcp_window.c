/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * The receive window: how much is advertised (RFC 9293 3.8.6.2.2, RFC 7323 2), when a reader's progress is told, and
 * how the buffer grows with the path (dynamic right-sizing, Fisk and Feng 2001, as Linux does it).
 */
#include "tcp.h"

/* __tcp_select_window: nothing rather than a silly window. */
static inline uint32_t free_window(const struct fn_tcp *tp)
{
	uint32_t full = fn_tcp_win_from_space(tp->sk.rcvbuf), mss, scale = tp->rcv_wscale, free;

	if (fn_unlikely(tp->window_clamp))
		full = fn_min(full, tp->window_clamp);
	free = tp->sk.rx_charged < tp->sk.rcvbuf ? fn_tcp_win_from_space(tp->sk.rcvbuf - tp->sk.rx_charged) : 0;
	mss = fn_min(tp->rcv_mss, full);
	if (fn_unlikely(free < full >> 4 || free < mss))
		return 0;
	if (fn_unlikely(tp->window_clamp))
		free = fn_min(free, full);
	if (fn_likely(scale))
		return (free + (1u << scale) - 1) >> scale << scale;
	if (tp->rcv_wnd <= free - mss || tp->rcv_wnd > free)
		return free - free % mss;
	if (mss == full && free > tp->rcv_wnd + full / 2)
		return free;
	return tp->rcv_wnd;
}

uint16_t fn_tcp_select_window_slow(struct fn_tcp *tp)
{
	uint32_t left = fn_tcp_receive_window(tp), scale = tp->rcv_wscale, old = tp->rcv_wnd, win;

	if (fn_likely(!tp->sk.rx_charged && scale && !tp->window_clamp))	/* all was read: free_window() of that */
		win = (fn_tcp_win_from_space(tp->sk.rcvbuf) + (1u << scale) - 1) >> scale << scale;
	else
		win = free_window(tp);
	if (win < left)		/* RFC 9293 3.8.6 SHLD-14: never taken back */
		win = (left + (1u << scale) - 1) >> scale << scale;
	win = fn_min(win, 0xffffu << scale);
	tp->rcv_wnd = win;
	tp->rcv_wup = tp->rcv_nxt;
	if (fn_unlikely(!win != !old))
		fn_tcp_pred_update(tp);
	return (uint16_t)(win >> scale);
}

/* ---- the receiver's round trip ---- */

/* A smoothed value for samples that are round trips, the smallest for those that only bound one (tcp_rcv_rtt_update). */
static void rtt_update(struct fn_tcp *tp, uint32_t us, bool bound)
{
	uint32_t *rtt = &tp->f.rcv_rtt_us;

	if (!us)
		us = 1;
	if (!*rtt)
		*rtt = us << 3;
	else if (!bound)
		*rtt += us - (*rtt >> 3);
	else if (us << 3 < *rtt)
		*rtt = us << 3;
}

void fn_tcp_rcv_rtt(struct fn_tcp *tp, uint32_t len, uint32_t tsecr)
{
	struct fn_tcp_flow *f = &tp->f;
	uint64_t now = tp->sk.st->now;

	if (tp->feat & FN_TCP_F_TS) {
		uint32_t ms;

		if (!tsecr || tsecr == f->rcv_rtt_seq || len < tp->rcv_mss)
			return;
		f->rcv_rtt_seq = tsecr;		/* one sample an echo */
		ms = fn_tcp_clock(tp->sk.st) - (tsecr - tp->ts_off);
		if (ms < 60000)
			rtt_update(tp, ms ? ms * 1000 : 1000, false);
		return;
	}
	if (fn_seq_lt(tp->rcv_nxt, f->rcv_rtt_seq))
		return;
	if (f->rcv_rtt_time != now && f->rcv_rtt_seq != tp->copied_seq)
		rtt_update(tp, (uint32_t)fn_min((now - f->rcv_rtt_time) / 1000, 60000000u), true);
	f->rcv_rtt_seq = tp->rcv_nxt + tp->rcv_wnd;
	f->rcv_rtt_time = now;
}

/* tcp_rcv_space_adjust: twice what the program read in a round trip, and room for the sender's growth. */
static fn_cold void grow_rcvbuf(struct fn_tcp *tp, uint32_t copied)
{
	const struct fn_stack_conf *conf = &tp->sk.st->conf;
	uint64_t win = 2ull * copied + 16ull * tp->advmss, space;

	if (tp->sk.opts & FN_SO_RCVBUF_LOCKED)
		return;
	win += 2 * (win * (copied - tp->f.rcvq_space) / fn_max(tp->f.rcvq_space, 1u));
	space = fn_min(2 * win, (uint64_t)conf->rcvbuf_max);
	if (space > tp->sk.rcvbuf)
		tp->sk.rcvbuf = (uint32_t)space;
}

/* A round trip is over. */
static void adjust_space(struct fn_tcp *tp)
{
	struct fn_tcp_flow *f = &tp->f;
	uint32_t copied = tp->copied_seq - f->rcvq_seq;

	if (fn_unlikely(copied > f->rcvq_space)) {
		grow_rcvbuf(tp, copied);
		f->rcvq_space = copied;
	}
	f->rcvq_seq = tp->copied_seq;
	f->rcvq_time = tp->sk.st->now;
}

/* ---- the program has read (tcp_cleanup_rbuf) ---- */

/* More than a segment waits for its ACK, or the window is worth telling again (RFC 9293 3.8.6.2.2: it has doubled). */
static bool must_tell(const struct fn_tcp *tp, size_t copied)
{
	uint32_t left, free;

	if (tp->ack & FN_ACK_SCHED && tp->rcv_nxt - tp->rcv_wup > tp->rcv_mss)
		return true;
	if (!copied || tp->sk.shut & FN_SHUT_RD)
		return false;
	left = fn_tcp_receive_window(tp);
	if (fn_likely(2 * left > fn_tcp_win_from_space(tp->sk.rcvbuf)))
		return false;
	free = free_window(tp);
	return free && free >= 2 * left;
}

/* All is read, and its sender most likely waits: the last segment was a small one, in no dialogue. */
static bool sender_waits(const struct fn_tcp *tp, size_t copied)
{
	return tp->ack & FN_ACK_SCHED && copied && !tp->sk.rxq.head &&
	       (tp->ack & FN_ACK_PUSHED2 || (tp->ack & FN_ACK_PUSHED && !tp->pingpong));
}

void fn_tcp_after_read_slow(struct fn_tcp *tp, size_t copied)
{
	if (tp->sk.tcp_state == FN_TCP_CLOSED)
		return;
	if (tp->f.rcv_rtt_us && tp->sk.st->now - tp->f.rcvq_time >= (tp->f.rcv_rtt_us >> 3) * 1000ull)
		adjust_space(tp);
	if (fn_unlikely(must_tell(tp, copied)))
		fn_tcp_hold_ack(tp, 0);
	else if (sender_waits(tp, copied) && !(tp->ack & FN_ACK_HELD))
		fn_tcp_hold_ack(tp, FN_ACK_ROUNDS);
}
