/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * Segments that came before their turn, and the SACK blocks that tell the sender of them (RFC 2018, RFC 2883). Owns oooq,
 * a list by sequence number without overlaps, and .sacks.
 */
#include <string.h>

#include "tcp.h"

/* ---- blocks to send ---- */

static bool empty(struct fn_sack b) { return b.start == b.end; }

void fn_tcp_dsack(struct fn_tcp *tp, uint32_t start, uint32_t end)
{
	if (!(tp->feat & FN_TCP_F_SACK) || start == end)
		return;
	tp->f.dsack = (struct fn_sack){ start, end };
	tp->sack_out = true;
}

/* RFC 2018 4: the block of the newest segment first, joined with what it touches; the others keep their order. */
static void add_block(struct fn_tcp *tp, uint32_t start, uint32_t end)
{
	struct fn_sack *s = tp->f.sacks, now = { start, end };
	unsigned n = 0;

	if (!(tp->feat & FN_TCP_F_SACK))
		return;
	for (unsigned i = 0; i < FN_TCP_SACKS && !empty(s[i]); i++) {
		if (fn_seq_leq(s[i].start, now.end) && fn_seq_leq(now.start, s[i].end)) {
			now.start = fn_seq_min(now.start, s[i].start);
			now.end = fn_seq_max(now.end, s[i].end);
		} else {
			s[n++] = s[i];
		}
	}
	if (n == FN_TCP_SACKS)
		n--;
	memmove(s + 1, s, n * sizeof(*s));
	s[0] = now;
	for (n++; n < FN_TCP_SACKS; n++)
		s[n] = (struct fn_sack){ 0, 0 };
	tp->sack_out = true;
}

/* Blocks that RCV.NXT has passed are no news. */
static void drop_blocks(struct fn_tcp *tp)
{
	struct fn_sack *s = tp->f.sacks;
	unsigned n = 0;

	for (unsigned i = 0; i < FN_TCP_SACKS; i++)
		if (!empty(s[i]) && fn_seq_gt(s[i].start, tp->rcv_nxt))
			s[n++] = s[i];
	for (; n < FN_TCP_SACKS; n++)
		s[n] = (struct fn_sack){ 0, 0 };
	tp->sack_out = !empty(s[0]) || !empty(tp->f.dsack);
}

/* ---- the queue ---- */

static void remove_pkt(struct fn_tcp *tp, struct fn_pkt *p)
{
	fn_pktq_remove(&tp->oooq, p);
	tp->sk.rx_charged -= p->truesize;
}

/* Cut p's end back to `end`; a FIN that lay there goes with it. */
static void trim_tail(struct fn_pkt *p, uint32_t end)
{
	uint32_t len = end - p->seq;

	p->tcp_flags &= (uint8_t)~FN_TCP_FIN;
	p->end_seq = end;
	p->pkt_len = len;
	for (struct fn_pkt *b = p; b; b = b->seg) {
		b->len = fn_min(b->len, len);
		len -= b->len;
	}
}

/* The last segment that begins at or before seq; NULL: none. Most come at the end, or fill the first gap. */
static struct fn_pkt *find_prev(const struct fn_tcp *tp, uint32_t seq)
{
	struct fn_pkt *p = tp->oooq.tail;

	if (tp->oooq.head && fn_seq_lt(seq, tp->oooq.head->seq))
		return NULL;
	while (p && fn_seq_gt(p->seq, seq))
		p = p->prev;
	return p;
}

/* No room: give up what is furthest away first (RFC 2018 8 allows it, tcp_prune_ofo_queue). */
static bool make_room(struct fn_tcp *tp, const struct fn_pkt *p)
{
	while (tp->sk.rx_charged + p->truesize > tp->sk.rcvbuf) {
		struct fn_pkt *last = tp->oooq.tail;

		if (!last || fn_seq_gt(p->seq, last->seq))
			return false;
		remove_pkt(tp, last);
		tp->sk.st->stats.drop[FN_DROP_TCP_OOO_FULL]++;
		fn_pkt_free(last);
		memset(tp->f.sacks, 0, sizeof(tp->f.sacks));	/* RFC 2018 8: reneging; tell only what is sure */
	}
	return true;
}

static int refuse(struct fn_tcp *tp, struct fn_pkt *p, enum fn_drop why)
{
	fn_tcp_send_ack(tp);
	return fn_drop(tp->sk.st, p, why);
}

/* Cut p to what prev does not hold; false: nothing is left of it. */
static bool cut_front(struct fn_tcp *tp, struct fn_pkt *p, const struct fn_pkt *prev)
{
	if (!prev || fn_seq_leq(prev->end_seq, p->seq))
		return true;
	fn_tcp_dsack(tp, p->seq, fn_seq_min(prev->end_seq, p->end_seq));
	if (fn_seq_geq(prev->end_seq, p->end_seq))
		return false;
	fn_tcp_rx_trim(tp, p, prev->end_seq - p->seq);
	return true;
}

/* What follows p and lies in it goes; what overlaps its end shortens it. */
static void cut_back(struct fn_tcp *tp, struct fn_pkt *p, struct fn_pkt *next)
{
	struct fn_pkt *after;

	for (; next && fn_seq_lt(next->seq, p->end_seq); next = after) {
		after = next->next;
		fn_tcp_dsack(tp, next->seq, fn_seq_min(next->end_seq, p->end_seq));
		if (fn_seq_gt(next->end_seq, p->end_seq)) {
			trim_tail(p, next->seq);
			return;
		}
		remove_pkt(tp, next);
		fn_pkt_free(next);
	}
}

int fn_tcp_ooo_queue(struct fn_tcp *tp, struct fn_pkt *p)
{
	struct fn_pkt *prev;

	tp->ack |= FN_ACK_SCHED;
	fn_tcp_quickack(tp, FN_TCP_QUICK_MAX);
	tp->pred = 0;
	if (!make_room(tp, p))
		return refuse(tp, p, FN_DROP_TCP_OOO_FULL);
	prev = find_prev(tp, p->seq);
	if (!cut_front(tp, p, prev))
		return refuse(tp, p, FN_DROP_TCP_OLD);
	cut_back(tp, p, prev ? prev->next : tp->oooq.head);
	p->time = tp->sk.st->now;
	tp->sk.rx_charged += p->truesize;
	fn_pktq_insert_after(&tp->oooq, prev, p);
	add_block(tp, p->seq, p->end_seq);
	tp->sk.st->stats.tcp_ooo++;
	fn_tcp_send_ack(tp);	/* RFC 5681 4.2: each one at once */
	return 0;
}

bool fn_tcp_ooo_drain(struct fn_tcp *tp)
{
	struct fn_pkt *p;
	bool fin = false;

	while (!fin && (p = tp->oooq.head) && fn_seq_leq(p->seq, tp->rcv_nxt)) {
		remove_pkt(tp, p);
		if (fn_seq_lt(p->seq, tp->rcv_nxt)) {
			uint32_t old = fn_seq_min(p->end_seq, tp->rcv_nxt) - p->seq;

			fn_tcp_dsack(tp, p->seq, p->seq + old);
			if (p->seq + old == p->end_seq) {
				fn_pkt_free(p);
				continue;
			}
			fn_tcp_rx_trim(tp, p, old);
		}
		fin = p->tcp_flags & FN_TCP_FIN;
		fn_tcp_rx_in_order(tp, p);
	}
	drop_blocks(tp);
	return fin;
}

/* ---- out of packet buffers ---- */

/* Buffers that one call frees, if there are so many: a burst of ACKs. */
#define PRUNE_ENOUGH	FN_NIC_BURST

/* All of it goes, so that no SACK block tells of what is no longer here. */
static unsigned give_up(struct fn_tcp *tp)
{
	struct fn_stack *st = tp->sk.st;
	unsigned n = 0;
	struct fn_pkt *p;

	while ((p = tp->oooq.head)) {
		remove_pkt(tp, p);
		fn_drop(st, p, FN_DROP_TCP_OOO_PRUNED);
		n++;
	}
	memset(tp->f.sacks, 0, sizeof(tp->f.sacks));
	tp->sack_out = !empty(tp->f.dsack);
	fn_tcp_pred_update(tp);
	return n;
}

/*
 * The sender holds what it has not seen acknowledged, and sends it again (RFC 2018 8; Linux prunes a socket's queue in
 * tcp_prune_ofo_queue). Connection after connection, each in its turn, as a clock's hand goes round.
 */
fn_cold void fn_tcp_prune(struct fn_stack *st)
{
	uint32_t *hand = &st->tcp->prune_hand, made = st->tcp_pool.made;
	const struct fn_nic *nic = st->starved;
	unsigned freed = 0;

	st->starved = NULL;
	for (uint32_t i = 1; i < made && freed < PRUNE_ENOUGH; i++) {
		struct fn_tcp *tp;

		*hand = *hand % (made - 1) + 1;
		tp = fn_pool_at(&st->tcp_pool, *hand);
		if (tp->sk.kind == FN_SOCK_TCP && tp->oooq.head && tp->oooq.head->nic == nic)
			freed += give_up(tp);
	}
}
