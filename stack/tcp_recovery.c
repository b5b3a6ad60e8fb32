/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * Loss recovery: fast recovery with SACK (RFC 6675) and without (NewReno, RFC 6582), proportional rate reduction
 * (RFC 6937), the timeout's (RFC 5681 3.1), and taking a reduction back that was not needed (RFC 3522's idea with
 * timestamps, RFC 3708's with D-SACK). Owns ca_state, ssthresh and the window while it is not OPEN; sends nothing.
 */
#include "tcp.h"

fn_inline bool has_sack(const struct fn_tcp *tp) { return tp->feat & FN_TCP_F_SACK; }

/* ---- undo ---- */

static void start_undo(struct fn_tcp *tp)
{
	struct fn_tcp_flow *f = &tp->f;

	f->prior_cwnd = tp->cwnd;
	f->prior_ssthresh = tp->ssthresh;
	f->undo_marker = tp->snd_una ? tp->snd_una : 1;
	f->undo_retrans = -1;		/* none yet: nothing proves anything */
	f->retrans_stamp = 0;
}

/* The ACK answers what was sent before the first retransmission (Eifel, RFC 3522 3.2). */
static bool original_acked(const struct fn_tcp *tp, const struct fn_tcp_seg *seg)
{
	if (!tp->f.retrans_stamp || !seg->has_ts || !(tp->feat & FN_TCP_F_TS) || !seg->tsecr)
		return false;
	return (int32_t)(seg->tsecr - tp->ts_off - (uint32_t)(tp->f.retrans_stamp / FN_MSEC)) < 0;
}

static bool may_undo(const struct fn_tcp *tp, const struct fn_tcp_seg *seg)
{
	return tp->f.undo_marker && (!tp->f.undo_retrans || original_acked(tp, seg));
}

static void undo(struct fn_tcp *tp, bool unmark)
{
	struct fn_tcp_flow *f = &tp->f;

	tp->cwnd = fn_max(tp->cwnd, f->prior_cwnd);
	tp->ssthresh = fn_max(tp->ssthresh, f->prior_ssthresh);
	f->undo_marker = 0;
	f->retrans_stamp = 0;
	if (!unmark)
		return;
	for (struct fn_pkt *p = tp->rtxq.head; p; p = p->next)
		p->sack &= (uint8_t)~FN_SEG_LOST;
	f->lost = 0;
	f->lost_hint = NULL;
	f->lost_hint_sacked = 0;
}

/* ---- proportional rate reduction, RFC 6937 3 ---- */

static void prr(struct fn_tcp *tp, const struct fn_ack_info *ai, uint32_t delivered)
{
	struct fn_tcp_flow *f = &tp->f;
	uint32_t pipe = fn_tcp_pipe(tp);
	int64_t room = (int64_t)tp->ssthresh - pipe, n;

	if (!delivered || !f->prior_cwnd)
		return;
	f->prr_delivered += delivered;
	if (room < 0) {
		n = (int64_t)(((uint64_t)tp->ssthresh * f->prr_delivered + f->prior_cwnd - 1) / f->prior_cwnd) -
		    f->prr_out;
	} else {
		n = fn_max((int64_t)f->prr_delivered - f->prr_out, (int64_t)delivered);
		if (ai->una_advanced && !ai->newly_lost)
			n += tp->mss;
		n = fn_min(n, room);
	}
	if (!f->prr_out)
		n = fn_max(n, (int64_t)tp->mss);	/* the fast retransmit itself */
	tp->cwnd = pipe + (uint32_t)fn_max(n, 0);
}

/* ---- entering and leaving ---- */

static void enter_recovery(struct fn_tcp *tp)
{
	struct fn_tcp_flow *f = &tp->f;

	start_undo(tp);
	f->high_seq = tp->snd_nxt;
	tp->ssthresh = fn_cc(tp)->ssthresh(tp);
	f->prr_delivered = f->prr_out = 0;
	tp->ca_state = FN_CA_RECOVERY;
	tp->sk.st->stats.tcp_fast_recovery++;
	fn_tcp_pred_update(tp);
}

/* RFC 6582 3.2, step 3 (full acknowledgment) and RFC 6675 5. A reduction that was undone stays undone. */
static void leave_recovery(struct fn_tcp *tp)
{
	if (tp->ca_state != FN_CA_LOSS && tp->f.undo_marker)
		tp->cwnd = fn_max(tp->ssthresh, 1u * tp->mss);
	tp->ca_state = tp->f.sacked ? FN_CA_DISORDER : FN_CA_OPEN;
	fn_tcp_pred_update(tp);
}

/* The receiver took back what it had SACKed (RFC 2018 8): the head cannot be SACKed and unacknowledged. */
static void forget_sacks(struct fn_tcp *tp)
{
	tp->sk.st->stats.tcp_sack_reneged++;
	for (struct fn_pkt *p = tp->rtxq.head; p; p = p->next)
		p->sack &= (uint8_t)~FN_SEG_SACKED;
	tp->f.sacked = tp->f.sacked_segs = 0;
	tp->f.sack_high = NULL;
}

void fn_tcp_enter_loss(struct fn_tcp *tp)
{
	struct fn_tcp_flow *f = &tp->f;

	if (tp->lossless)
		return;
	if (tp->rtxq.head && tp->rtxq.head->sack & FN_SEG_SACKED)
		forget_sacks(tp);
	if (!has_sack(tp))
		f->sacked = 0;
	/* RFC 5681 3.1, (4): once for a window, not for each timeout */
	if (tp->ca_state <= FN_CA_DISORDER || !fn_seq_gt(f->high_seq, tp->snd_una) ||
	    (tp->ca_state == FN_CA_LOSS && !tp->retransmits)) {
		start_undo(tp);
		tp->ssthresh = fn_cc(tp)->ssthresh(tp);
		fn_cc(tp)->timeout(tp);
	}
	for (struct fn_pkt *p = tp->rtxq.head; p; p = p->next) {
		p->sack &= (uint8_t)~FN_SEG_RETRANS;
		fn_tcp_mark_lost(tp, p);
	}
	f->retrans = 0;
	f->lost_hint = NULL;
	f->lost_hint_sacked = 0;
	tp->cwnd = tp->mss;
	tp->cwnd_limited = true;
	tp->ca_state = FN_CA_LOSS;
	f->high_seq = tp->snd_nxt;
	fn_tcp_pred_update(tp);
}

void fn_tcp_simple_retransmit(struct fn_tcp *tp)
{
	uint32_t before = tp->f.lost;

	for (struct fn_pkt *p = tp->rtxq.head; p; p = p->next) {
		if (p->len <= tp->mss || p->sack & FN_SEG_SACKED)
			continue;
		if (p->sack & FN_SEG_RETRANS) {
			p->sack &= (uint8_t)~FN_SEG_RETRANS;
			tp->f.retrans -= fn_pkt_span(p);
		}
		fn_tcp_mark_lost(tp, p);
	}
	if (tp->f.lost == before)
		return;
	/* RFC 5681 4.2's remark on PMTUD: not a sign of congestion */
	if (tp->ca_state != FN_CA_LOSS) {
		tp->f.high_seq = tp->snd_nxt;
		tp->f.undo_marker = 0;
		tp->ca_state = FN_CA_LOSS;
	}
	fn_tcp_pred_update(tp);
	fn_tcp_retransmit_lost(tp);
}

/* ---- dupacks without SACK: each stands for a segment that has left the network (RFC 6582 3.2, step 3) ---- */

static uint32_t count_dup(struct fn_tcp *tp)
{
	uint32_t flight = tp->snd_nxt - tp->snd_una;
	uint32_t room = flight > tp->mss + tp->f.sacked + tp->f.lost ? flight - tp->mss - tp->f.sacked - tp->f.lost : 0;
	uint32_t n = fn_min(room, (uint32_t)tp->mss);

	tp->f.sacked += n;
	return n;
}

/* A partial ACK: one hole, and as many dupacks' segments behind it. */
static void uncount_dup(struct fn_tcp *tp, uint32_t acked)
{
	uint32_t behind = acked > tp->mss ? acked - tp->mss : 0;

	tp->f.sacked -= fn_min(tp->f.sacked, behind);
	tp->f.sacked = fn_min(tp->f.sacked, tp->snd_nxt - tp->snd_una);
}

/* ---- what an ACK does in each state ---- */

static void head_lost(struct fn_tcp *tp, struct fn_ack_info *ai)
{
	uint32_t before = tp->f.lost;

	if (tp->rtxq.head)
		fn_tcp_mark_lost(tp, tp->rtxq.head);
	ai->newly_lost += tp->f.lost - before;
}

static void in_open(struct fn_tcp *tp, struct fn_ack_info *ai, uint32_t delivered)
{
	struct fn_tcp_flow *f = &tp->f;

	if (has_sack(tp))
		fn_tcp_sack_find_lost(tp, ai);
	else if (f->sacked >= f->reordering * tp->mss)
		head_lost(tp, ai);
	if (!f->lost) {
		tp->ca_state = f->sacked ? FN_CA_DISORDER : FN_CA_OPEN;
		return;
	}
	enter_recovery(tp);
	prr(tp, ai, fn_max(delivered, 1u));
}

static void in_recovery(struct fn_tcp *tp, struct fn_ack_info *ai, const struct fn_tcp_seg *seg, uint32_t delivered)
{
	if (ai->una_advanced && may_undo(tp, seg)) {
		undo(tp, true);
		leave_recovery(tp);
		return;
	}
	if (has_sack(tp))
		fn_tcp_sack_find_lost(tp, ai);
	if (ai->una_advanced)		/* RFC 6582 3.2, step 5: the next hole */
		head_lost(tp, ai);
	prr(tp, ai, delivered);
}

/* All was acknowledged that was in flight when it began: nothing more to do for it. */
static bool episode_over(struct fn_tcp *tp, const struct fn_tcp_seg *seg)
{
	if (tp->ca_state < FN_CA_CWR || fn_seq_lt(tp->snd_una, tp->f.high_seq))
		return false;
	/* RFC 6582 3.2, step 1: without SACK, dupacks of the old window must not begin a new episode */
	if (!has_sack(tp)) {
		tp->f.sacked = 0;
		if (tp->snd_una == tp->f.high_seq && tp->snd_una != tp->snd_nxt)
			return true;
	}
	if (may_undo(tp, seg))
		undo(tp, false);
	else
		tp->f.retrans_stamp = 0;
	leave_recovery(tp);
	return true;
}

void fn_tcp_recovery_ack(struct fn_tcp *tp, struct fn_ack_info *ai, const struct fn_tcp_seg *seg)
{
	uint32_t delivered = ai->delivered;

	if (!has_sack(tp)) {
		if (ai->una_advanced)
			uncount_dup(tp, ai->acked);
		else if (ai->dup)
			delivered += count_dup(tp);
	}
	if (episode_over(tp, seg) && !tp->f.sacked && !tp->f.lost)
		return;
	switch ((enum fn_ca_state)tp->ca_state) {
	case FN_CA_OPEN:
	case FN_CA_DISORDER:
		if (ai->dsack && tp->f.undo_marker && !tp->f.undo_retrans)
			undo(tp, false);
		in_open(tp, ai, delivered);
		break;
	case FN_CA_CWR:
	case FN_CA_RECOVERY:
		in_recovery(tp, ai, seg, delivered);
		break;
	case FN_CA_LOSS:
		if (ai->una_advanced && may_undo(tp, seg)) {
			undo(tp, true);
			leave_recovery(tp);
		}
		break;
	}
}
