/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * The scoreboard of RFC 6675: which segments of rtxq the receiver holds, which are lost. Owns the FN_SEG_* marks and the
 * byte counters that pipe is made of. Sends nothing.
 */
#include <string.h>

#include "tcp.h"

void fn_tcp_mark_lost(struct fn_tcp *tp, struct fn_pkt *p)
{
	if (p->sack & (FN_SEG_LOST | FN_SEG_SACKED))
		return;
	p->sack |= FN_SEG_LOST;
	tp->f.lost += fn_pkt_span(p);
}

void fn_tcp_sack_forget(struct fn_tcp *tp, struct fn_pkt *p)
{
	struct fn_tcp_flow *f = &tp->f;
	uint32_t span = fn_pkt_span(p);

	if (p->sack & FN_SEG_SACKED) {
		f->sacked -= span;
		f->sacked_segs--;
		if (f->lost_hint && fn_seq_lt(p->seq, f->lost_hint->seq))
			f->lost_hint_sacked--;
	}
	if (p->sack & FN_SEG_LOST)
		f->lost -= span;
	if (p->sack & FN_SEG_RETRANS)
		f->retrans -= span;
	if (p == f->sack_high)
		f->sack_high = NULL;
	if (p == f->lost_hint) {
		f->lost_hint = NULL;
		f->lost_hint_sacked = 0;
	}
}

void fn_tcp_sack_clear(struct fn_tcp *tp)
{
	struct fn_tcp_flow *f = &tp->f;

	f->sacked = f->lost = f->retrans = f->sacked_segs = f->lost_hint_sacked = 0;
	f->sack_high = f->lost_hint = NULL;
	memset(f->sack_cache, 0, sizeof(f->sack_cache));
}

/* A segment sent once arrived after later ones: DupThresh grows to the distance (tcp_check_sack_reordering). */
void fn_tcp_sack_reordered(struct fn_tcp *tp, uint32_t seq)
{
	struct fn_tcp_flow *f = &tp->f;
	uint32_t distance;

	if (!f->sack_high || fn_seq_geq(seq, f->sack_high->seq))
		return;
	distance = f->sack_high->end_seq - seq;
	if (distance <= f->reordering * tp->mss)
		return;
	f->reordering = fn_min((distance + tp->mss - 1) / tp->mss, (uint32_t)FN_TCP_REORDER_MAX);
}

static void tag(struct fn_tcp *tp, struct fn_pkt *p, struct fn_ack_info *ai)
{
	struct fn_tcp_flow *f = &tp->f;
	uint32_t span = fn_pkt_span(p);

	if (p->sack & FN_SEG_SACKED)
		return;
	if (p->sack & FN_SEG_LOST)
		f->lost -= span;
	if (p->sack & FN_SEG_RETRANS)
		f->retrans -= span;
	if (!(p->sack & FN_SEG_EVER_RETRANS)) {
		fn_tcp_sack_reordered(tp, p->seq);
		ai->orig_sacked = true;
		ai->rtt_ns = tp->sk.st->now - p->time;
	}
	p->sack = (uint8_t)((p->sack & ~(FN_SEG_LOST | FN_SEG_RETRANS)) | FN_SEG_SACKED);
	f->sacked += span;
	f->sacked_segs++;
	if (f->lost_hint && fn_seq_lt(p->seq, f->lost_hint->seq))
		f->lost_hint_sacked++;
	if (!f->sack_high || fn_seq_gt(p->seq, f->sack_high->seq))
		f->sack_high = p;
	ai->newly_sacked += span;
	ai->delivered += span;
}

/* Mark what lies wholly in [start, end); a block that extends the highest one is found without walking. */
static void tag_block(struct fn_tcp *tp, struct fn_sack b, struct fn_ack_info *ai)
{
	struct fn_pkt *high = tp->f.sack_high;
	struct fn_pkt *p = high && fn_seq_geq(b.start, high->seq) ? high : tp->rtxq.head;

	for (; p && fn_seq_lt(p->seq, b.end); p = p->next)
		if (fn_seq_geq(p->seq, b.start) && fn_seq_leq(p->end_seq, b.end))
			tag(tp, p, ai);
}

/* RFC 2883 4: the first block reports a duplicate when it lies below the ACK or inside the second one. */
static bool is_dsack(const struct fn_tcp_seg *seg, struct fn_sack first)
{
	struct fn_sack second;

	if (fn_seq_lt(first.start, seg->ack))
		return true;
	if (seg->sacks < 2)
		return false;
	second = fn_tcp_sack_at(seg, 1);
	return fn_seq_leq(first.end, second.end) && fn_seq_geq(first.start, second.start);
}

static void take_dsack(struct fn_tcp *tp, struct fn_sack b, struct fn_ack_info *ai)
{
	struct fn_tcp_flow *f = &tp->f;

	if (fn_seq_geq(b.start, b.end) || fn_seq_gt(b.end, tp->snd_nxt))
		return;
	ai->dsack = true;
	if (f->undo_marker && f->undo_retrans > 0 && fn_seq_gt(b.end, f->undo_marker))
		f->undo_retrans--;
}

/* RFC 2018 5: only what is in flight may be SACKed. */
static bool plausible(const struct fn_tcp *tp, struct fn_sack *b, uint32_t ack)
{
	if (fn_seq_geq(b->start, b->end) || fn_seq_gt(b->end, tp->snd_nxt) || fn_seq_leq(b->end, ack))
		return false;
	return fn_seq_geq(b->start, tp->snd_una);
}

static bool cached(const struct fn_tcp_flow *f, struct fn_sack b)
{
	for (unsigned i = 0; i < FN_TCP_SACKS; i++)
		if (f->sack_cache[i].start == b.start && f->sack_cache[i].end == b.end)
			return true;
	return false;
}

/* Of a block that has grown at its end, as the most recent one does with each segment, only the new part is walked. */
static struct fn_sack news(const struct fn_tcp_flow *f, struct fn_sack b)
{
	for (unsigned i = 0; i < FN_TCP_SACKS; i++) {
		struct fn_sack c = f->sack_cache[i];

		if (c.start == b.start && c.end != c.start && fn_seq_lt(c.end, b.end))
			return (struct fn_sack){ c.end, b.end };
	}
	return b;
}

void fn_tcp_sack_update(struct fn_tcp *tp, const struct fn_tcp_seg *seg, struct fn_ack_info *ai)
{
	struct fn_sack now[FN_TCP_SACKS] = { 0 };
	unsigned i = 0, n = 0;

	if (!(tp->feat & FN_TCP_F_SACK) || fn_likely(!seg->sacks))
		return;
	if (is_dsack(seg, fn_tcp_sack_at(seg, 0)))
		take_dsack(tp, fn_tcp_sack_at(seg, i++), ai);
	for (; i < seg->sacks && n < FN_TCP_SACKS; i++) {
		struct fn_sack b = fn_tcp_sack_at(seg, i);

		if (!plausible(tp, &b, seg->ack))
			continue;
		now[n++] = b;
		if (!cached(&tp->f, b))
			tag_block(tp, news(&tp->f, b), ai);
	}
	memcpy(tp->f.sack_cache, now, sizeof(now));
}

/* RFC 6675 4, IsLost(): DupThresh segments above it are SACKed. The walk resumes where it stopped last time. */
void fn_tcp_sack_find_lost(struct fn_tcp *tp, struct fn_ack_info *ai)
{
	struct fn_tcp_flow *f = &tp->f;
	struct fn_pkt *p = f->lost_hint ? f->lost_hint : tp->rtxq.head;
	uint32_t below = f->lost_hint ? f->lost_hint_sacked : 0, before = f->lost;

	if (!f->sack_high)
		return;
	for (; p && p != f->sack_high && f->sacked_segs - below >= f->reordering; p = p->next) {
		if (p->sack & FN_SEG_SACKED)
			below++;
		else
			fn_tcp_mark_lost(tp, p);
	}
	f->lost_hint = p;
	f->lost_hint_sacked = p ? below : 0;
	ai->newly_lost += f->lost - before;
}
