/* SPDX-License-Identifier: BSD-3-Clause */
/* RFC 9293 3.10.7.3: a segment in SYN-SENT, simultaneous open included, and what a SYN's options agree on. */
#include <errno.h>
#include <poll.h>

#include "tcp.h"

void fn_tcp_take_syn_opts(struct fn_tcp *tp, const struct fn_tcp_seg *seg)
{
	uint16_t mss = seg->mss ? seg->mss : FN_TCP_MSS_DEFAULT;

	if (!seg->has_ts)
		tp->feat &= (uint8_t)~FN_TCP_F_TS;
	if (!seg->sack_perm)
		tp->feat &= (uint8_t)~FN_TCP_F_SACK;
	if (!seg->has_wscale) {
		tp->feat &= (uint8_t)~FN_TCP_F_WSCALE;
		tp->rcv_wscale = 0;
	}
	tp->snd_wscale = seg->has_wscale && tp->feat & FN_TCP_F_WSCALE ? seg->wscale : 0;
	if (tp->feat & FN_TCP_F_TS) {
		tp->ts_recent = seg->tsval;
		tp->ts_recent_stamp = tp->sk.st->now;
	}
	tp->mss_clamp = tp->user_mss ? fn_min(mss, tp->user_mss) : mss;
}

/* Their SYN: our receive side begins. */
static void take_syn(struct fn_tcp *tp, const struct fn_tcp_seg *seg)
{
	fn_tcp_take_syn_opts(tp, seg);
	tp->rcv_nxt = tp->rcv_wup = tp->copied_seq = seg->seq + 1;
	tp->snd_wl1 = seg->seq;
	tp->snd_wnd = tp->max_window = seg->win;	/* RFC 7323 2.2: not scaled in a SYN */
}

/* Our SYN is acknowledged. */
static void begin(struct fn_tcp *tp, const struct fn_tcp_seg *seg)
{
	take_syn(tp, seg);
	tp->snd_una = seg->ack;
	if (!tp->retransmits)
		fn_tcp_rtt_sample(tp, tp->sk.st->now - tp->lsndtime);
	fn_tcp_start(tp);
	fn_tcp_rearm_rto(tp);
	fn_tcp_set_state(tp, FN_TCP_ESTABLISHED);
	fn_sock_ready(&tp->sk, FN_POLL_STATE | POLLOUT | POLLWRNORM);
}

bool fn_tcp_open_at_once(struct fn_tcp *tp)
{
	struct fn_tcp_seg seg = { .ack = tp->snd_nxt, .win = FN_OFFER_WINDOW, .mss = FN_OFFER_MSS, .has_wscale = true,
		.wscale = FN_OFFER_WSCALE };

	if (!fn_tcp_offer_syn(tp, &seg.seq))
		return false;
	begin(tp, &seg);
	return true;
}

/* SYN and ACK: the connection is open. Text and FIN that came along are processed like any (6th step and on). */
static int established(struct fn_tcp *tp, struct fn_pkt *p, struct fn_tcp_seg *seg)
{
	begin(tp, seg);
	tp->ack |= FN_ACK_SCHED | FN_ACK_NOW;
	fn_tcp_burst_add(tp, FN_BURST_ACK);
	if (!seg->len && !(seg->flags & FN_TCP_FIN)) {
		fn_pkt_free(p);
		return 0;
	}
	fn_pkt_pull(p, (seg->th->off >> 4) * 4u);
	return fn_tcp_data(tp, p, seg);
}

/* SYN without ACK: both have opened at once (RFC 9293 figure 8). */
static int simultaneous(struct fn_tcp *tp, struct fn_pkt *p, const struct fn_tcp_seg *seg)
{
	take_syn(tp, seg);
	fn_tcp_sync_mss(tp);
	fn_tcp_set_state(tp, FN_TCP_SYN_RCVD);
	tp->backoff = 0;
	fn_tcp_rearm_rto(tp);
	fn_tcp_send_syn(tp);
	fn_pkt_free(p);
	return 0;
}

int fn_tcp_syn_sent(struct fn_tcp *tp, struct fn_pkt *p, struct fn_tcp_seg *seg)
{
	struct fn_stack *st = tp->sk.st;
	bool ack = seg->flags & FN_TCP_ACK;

	/* first: ACK */
	if (ack && seg->ack != tp->snd_nxt) {	/* no data goes with our SYN: one value is right */
		fn_tcp_send_rst_for(st, p, seg);
		return fn_drop(st, p, FN_DROP_TCP_ACK_RANGE);
	}
	/* second: RST */
	if (seg->flags & FN_TCP_RST) {
		if (!ack)
			return fn_drop(st, p, FN_DROP_TCP_RST_SEQ);
		st->stats.tcp_rst_in++;
		fn_pkt_free(p);
		fn_tcp_abort(tp, ECONNREFUSED);
		return -FN_DROP_TCP_CLOSED;
	}
	/* third: security, not implemented */
	/* fourth: SYN */
	if (!(seg->flags & FN_TCP_SYN))
		return fn_drop(st, p, FN_DROP_TCP_FLAGS);	/* fifth: neither SYN nor RST */
	return ack ? established(tp, p, seg) : simultaneous(tp, p, seg);
}
