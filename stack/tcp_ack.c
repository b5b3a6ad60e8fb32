/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * RFC 9293 3.10.7.4, step 5: what an acceptable ACK means for the send side. Owns the freeing of acknowledged segments,
 * SND.UNA and SND.WND; what the scoreboard makes of it is tcp_sack.c's and tcp_recovery.c's.
 */
#include <poll.h>

#include "tcp.h"

/* ---- send buffer ---- */

/* What Linux allows for a segment (per_mss): MAX_TCP_HEADER and skb_shared_info, rounded up, and the sk_buff; x86-64 */
#define LINUX_HEAD	(320 + 320)
#define LINUX_SKB	256

static uint32_t linux_per_segment(uint32_t mss)
{
	return (1u << (32 - __builtin_clz(mss + LINUX_HEAD - 1))) + LINUX_SKB;
}

void fn_tcp_grow_sndbuf(struct fn_tcp *tp)
{
	uint32_t per = fn_max(tp->path.nic->tx_payload, (uint32_t)tp->mss) + FN_PKT_HEADROOM;
	uint32_t window = fn_max(tp->cwnd, (uint32_t)FN_TCP_INIT_CWND * tp->mss);
	uint64_t want;

	if (window <= tp->sndbuf_window || tp->sk.opts & FN_SO_SNDBUF_LOCKED)
		return;
	tp->sndbuf_window = window;
	/* Linux allows for two windows as if each segment had an sk_buff of its own, but charges little more than the bytes:
	 * so many bytes, in buffers of a segment each. A peer that takes tiny ones only gets no more buffers for that. */
	want = 2ull * window / tp->mss * linux_per_segment(tp->mss);
	want = want / fn_max((uint32_t)tp->mss, (uint32_t)FN_TCP_MSS_DEFAULT) * per;
	want = fn_min(want, (uint64_t)tp->sk.st->conf.sndbuf_max);
	if (tp->sk.sndbuf < want)
		tp->sk.sndbuf = (uint32_t)want;
}

void fn_tcp_tell_writer(struct fn_tcp *tp)
{
	if (fn_tcp_pipe(tp) < tp->cwnd)		/* the buffer is the limit, not the network */
		fn_tcp_grow_sndbuf(tp);
	if (!fn_tcp_writable(tp))
		return;
	tp->sk.nospace = false;
	fn_sock_ready(&tp->sk, POLLOUT | POLLWRNORM | POLLWRBAND);
}

/* ---- acknowledged segments ---- */

/* A round trip from the timestamp echo (RFC 7323 4.1), when no segment gave one; milliseconds. */
static uint64_t echo_rtt(const struct fn_tcp *tp, uint32_t tsecr)
{
	uint32_t ms;

	if (!tsecr || !(tp->feat & FN_TCP_F_TS))
		return 0;
	ms = fn_tcp_clock(tp->sk.st) - (tsecr - tp->ts_off);
	if (ms > 600000)	/* not an echo of ours */
		return 0;
	return ms ? ms * FN_MSEC : FN_MSEC;
}

/* The ACK ends inside p: keep the rest. */
static void trim_head(struct fn_tcp *tp, struct fn_pkt *p, uint32_t ack, struct fn_ack_info *ai)
{
	uint32_t n = ack - p->seq;

	if (fn_seq_leq(ack, p->seq) || n > p->len || p->flags & FN_PKT_QUEUED)
		return;
	if (p->sack & FN_SEG_SACKED)
		tp->f.sacked -= n;
	else
		ai->delivered += n;
	if (p->sack & FN_SEG_LOST)
		tp->f.lost -= n;
	if (p->sack & FN_SEG_RETRANS)
		tp->f.retrans -= n;
	fn_pkt_pull(p, n);
	tp->rtxq.bytes -= n;
	p->seq = ack;
	p->sack &= (uint8_t)~FN_SEG_SUM;
}

/* One segment is acknowledged whole. */
static void segment_acked(struct fn_tcp *tp, struct fn_pkt *p, struct fn_ack_info *ai)
{
	if (p->sack & FN_SEG_EVER_RETRANS) {
		ai->retrans_acked = true;
	} else {
		if (!ai->rtt_ns)
			ai->rtt_ns = tp->sk.st->now - p->time + !(tp->sk.st->now - p->time);
		if (!(p->sack & FN_SEG_SACKED) && tp->f.sack_high)
			fn_tcp_sack_reordered(tp, p->seq);	/* came after what was sent later */
	}
	if (!(p->sack & FN_SEG_SACKED))
		ai->delivered += fn_pkt_span(p);
	if (p->sack & (FN_SEG_SACKED | FN_SEG_LOST | FN_SEG_RETRANS) || p == tp->f.lost_hint)
		fn_tcp_sack_forget(tp, p);
	fn_pktq_remove(&tp->rtxq, p);
	fn_tcp_tx_free(tp, p);
}

static void clean_rtxq(struct fn_tcp *tp, uint32_t ack, struct fn_ack_info *ai)
{
	struct fn_pkt *p;

	while ((p = tp->rtxq.head)) {
		if (fn_seq_gt(p->end_seq, ack)) {
			trim_head(tp, p, ack, ai);
			break;
		}
		segment_acked(tp, p, ai);
	}
}

static void advance_una(struct fn_tcp *tp, uint32_t ack)
{
	uint32_t prior = tp->snd_una;

	tp->bytes_acked += ack - prior;
	if (fn_seq_between(tp->snd_up, prior, ack))
		tp->snd_up = ack;
	tp->snd_una = ack;
	tp->retransmits = 0;	/* .backoff stays until there is a sample: Karn's second rule (RFC 6298 5.7) */
}

/* RFC 6298 3: Karn's rule, by segment; the timestamp helps when only retransmissions were acknowledged. */
static void take_rtt(struct fn_tcp *tp, uint32_t tsecr, const struct fn_ack_info *ai)
{
	uint64_t rtt = ai->retrans_acked ? 0 : ai->rtt_ns;

	if (!rtt && ai->una_advanced)
		rtt = echo_rtt(tp, tsecr);
	if (rtt)
		fn_tcp_rtt_sample(tp, rtt);
}

/* RFC 5681 3.1 with RFC 7661's remark: an unused window does not grow. */
static void grow_cwnd(struct fn_tcp *tp, uint32_t acked, uint32_t prior_pipe)
{
	if (tp->lossless || tp->cwnd > INT32_MAX / 2)
		return;
	if (tp->cwnd_limited || (tp->cwnd < tp->ssthresh && tp->cwnd < 2 * prior_pipe))
		fn_cc(tp)->acked(tp, acked);
	tp->cwnd_limited = false;
}

void fn_tcp_ack_fast(struct fn_tcp *tp, uint32_t ack, uint32_t tsecr)
{
	struct fn_ack_info ai = { .una_advanced = true };
	uint32_t prior_pipe = tp->snd_nxt - tp->snd_una;
	uint64_t now = tp->sk.st->now;

	clean_rtxq(tp, ack, &ai);
	advance_una(tp, ack);
	tp->rcv_tstamp = now;
	tp->probes_out = 0;
	tp->sk.soft_error = 0;
	if (fn_unlikely(now >= tp->rtt_next)) {		/* a sample a millisecond is plenty (RFC 6298 3: one a round trip) */
		tp->rtt_next = now + FN_MSEC;
		take_rtt(tp, tsecr, &ai);
		fn_neigh_confirm(tp->sk.st, tp->path.neigh);
	}
	grow_cwnd(tp, ai.delivered, prior_pipe);
	if (fn_likely(ack == tp->snd_nxt)) {
		tp->rtx_kind = FN_RTX_NONE;
		fn_tcp_clear_due(tp, FN_DUE_RTX);
	} else {
		fn_tcp_rearm_rto(tp);
	}
	fn_tcp_write_space(tp);
}

/* ---- window ---- */

/* RFC 9293 3.10.7.4, step 5: SND.WL1 guards against old segments; an advance of SND.UNA proves a segment new as well. */
static bool update_window(struct fn_tcp *tp, const struct fn_tcp_seg *seg)
{
	uint32_t win = fn_tcp_seg_win(tp, seg);

	if (!fn_seq_gt(seg->ack, tp->snd_una) && !fn_seq_gt(seg->seq, tp->snd_wl1) &&
	    !(seg->seq == tp->snd_wl1 && (win > tp->snd_wnd || !win)))
		return false;
	tp->snd_wl1 = seg->seq;
	if (tp->snd_wnd == win)
		return false;
	tp->snd_wnd = win;
	if (win > tp->max_window) {
		tp->max_window = win;
		fn_tcp_sync_mss(tp);
	}
	return true;
}

/* Nothing is in flight: the answer to a probe (tcp_ack_probe). */
static void ack_probe(struct fn_tcp *tp)
{
	struct fn_pkt *p = tp->sndq.head;

	if (!p)
		return;
	if (fn_seq_leq(p->end_seq, tp->snd_una + tp->snd_wnd)) {
		tp->backoff = 0;
		tp->probes_stamp = 0;
		tp->rtx_kind = FN_RTX_NONE;
		fn_tcp_clear_due(tp, FN_DUE_RTX);
	} else {
		fn_tcp_set_probe(tp, fn_tcp_probe_delay(tp));
	}
}

/* ---- RFC 7323 4.3, (2) and (3) ---- */
static void update_ts_recent(struct fn_tcp *tp, const struct fn_tcp_seg *seg)
{
	if (!seg->has_ts || !(tp->feat & FN_TCP_F_TS) || fn_seq_gt(seg->seq, tp->rcv_wup))
		return;
	if (tp->ts_recent_stamp && (int32_t)(tp->ts_recent - seg->tsval) > FN_TCP_PAWS_WINDOW)
		return;		/* let through for other reasons: a reset, a reordered ACK */
	tp->ts_recent = seg->tsval;
	tp->ts_recent_stamp = tp->sk.st->now;
}

/* RFC 5681 2: the definition of a duplicate ACK. */
static bool is_dup(const struct fn_tcp *tp, const struct fn_tcp_seg *seg, const struct fn_ack_info *ai)
{
	return seg->ack == ai->prior_una && tp->snd_una != tp->snd_nxt && !seg->len &&
	       !(seg->flags & (FN_TCP_SYN | FN_TCP_FIN)) && !ai->win_update;
}

static int old_ack(struct fn_tcp *tp, const struct fn_tcp_seg *seg, struct fn_ack_info *ai)
{
	if (fn_seq_lt(seg->ack, tp->snd_una - tp->max_window))	/* RFC 5961 5.2 */
		return -FN_DROP_TCP_ACK_RANGE;
	fn_tcp_sack_update(tp, seg, ai);
	if (ai->newly_sacked || ai->dsack)
		fn_tcp_recovery_ack(tp, ai, seg);
	return 0;
}

int fn_tcp_ack(struct fn_tcp *tp, const struct fn_tcp_seg *seg)
{
	struct fn_ack_info ai = { .prior_una = tp->snd_una, .prior_pipe = fn_tcp_pipe(tp) };
	bool in_flight = tp->snd_una != tp->snd_nxt;

	if (fn_seq_gt(seg->ack, tp->snd_nxt))
		return -FN_DROP_TCP_ACK_RANGE;
	if (fn_seq_lt(seg->ack, tp->snd_una))
		return old_ack(tp, seg, &ai);
	update_ts_recent(tp, seg);
	ai.una_advanced = seg->ack != tp->snd_una;
	ai.win_update = update_window(tp, seg);
	tp->sk.soft_error = 0;
	tp->probes_out = 0;
	tp->rcv_tstamp = tp->sk.st->now;
	fn_tcp_sack_update(tp, seg, &ai);
	if (!in_flight) {
		if (ai.dsack)
			fn_tcp_recovery_ack(tp, &ai, seg);
		ack_probe(tp);
		return 1;
	}
	ai.dup = !tp->lossless && is_dup(tp, seg, &ai);	/* nothing is sent again there */
	tp->sk.st->stats.tcp_dup_ack += ai.dup;
	if (ai.una_advanced) {
		clean_rtxq(tp, seg->ack, &ai);
		ai.acked = seg->ack - tp->snd_una;
		advance_una(tp, seg->ack);
		fn_neigh_confirm(tp->sk.st, tp->path.neigh);
	}
	take_rtt(tp, seg->has_ts ? seg->tsecr : 0, &ai);
	if (ai.dup || ai.newly_sacked || ai.dsack || tp->ca_state != FN_CA_OPEN || tp->f.sacked)
		fn_tcp_recovery_ack(tp, &ai, seg);
	if (ai.una_advanced) {
		if (tp->ca_state != FN_CA_RECOVERY && tp->ca_state != FN_CA_CWR)
			grow_cwnd(tp, ai.delivered, ai.prior_pipe);
		fn_tcp_rearm_rto(tp);
	}
	fn_tcp_pred_update(tp);
	return 1;
}
