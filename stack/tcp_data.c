/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * RFC 9293 3.10.7.4, steps 6 to 8: urgent pointer, text, FIN. Owns the receive queue and RCV.NXT; the window that is
 * advertised is tcp_window.c's, what comes out of order tcp_ooo.c's.
 */
#include <errno.h>
#include <poll.h>
#include <string.h>

#include "tcp.h"

/* ---- estimates for the delayed ACK ---- */

void fn_tcp_quickack(struct fn_tcp *tp, unsigned max)
{
	uint32_t n = tp->rcv_wnd / (2 * tp->rcv_mss);

	if (!n)
		n = 2;
	n = fn_min(n, max);
	if (n > tp->quick)
		tp->quick = (uint8_t)n;
}

/* What the peer sends as a full segment; a smaller one says that its sender has no more (tcp_measure_rcv_mss). */
static void measure_mss(struct fn_tcp *tp, uint32_t len)
{
	uint32_t last = tp->last_seg_size;

	tp->last_seg_size = 0;
	if (len >= tp->rcv_mss) {
		tp->rcv_mss = fn_min(len, (uint32_t)tp->advmss);
		return;
	}
	if (len >= FN_TCP_MSS_DEFAULT - 12 && len == last) {	/* twice the same: its MSS is smaller than we thought */
		tp->rcv_mss = len;
		return;
	}
	tp->last_seg_size = len;
	if (tp->ack & FN_ACK_PUSHED)
		tp->ack |= FN_ACK_PUSHED2;
	tp->ack |= FN_ACK_PUSHED;
}

/* tcp_event_data_recv: the ACK's delay follows the time between segments. */
void fn_tcp_event_data(struct fn_tcp *tp, uint32_t len)
{
	uint64_t now = tp->sk.st->now, gap = now - tp->ack_ts;

	tp->ack |= FN_ACK_SCHED;
	measure_mss(tp, len);
	if (fn_unlikely(!tp->ato)) {		/* the first data: the peer is in slow start */
		fn_tcp_quickack(tp, FN_TCP_QUICK_MAX);
		tp->ato = FN_TCP_ATO_MIN;
	} else if (gap <= FN_TCP_ATO_MIN / 2) {
		tp->ato = (tp->ato >> 1) + FN_TCP_ATO_MIN / 2;
	} else if (gap < tp->ato) {
		tp->ato = (tp->ato >> 1) + (uint32_t)gap;
		if (tp->ato > tp->rto)
			tp->ato = (uint32_t)tp->rto;
	} else if (gap > tp->rto) {		/* a long silence: the peer may have restarted its window */
		fn_tcp_quickack(tp, FN_TCP_QUICK_MAX);
	}
	tp->ack_ts = now;
}

/* tcp_epollin_ready: more cannot come, for the window or for the buffer, so SO_RCVLOWAT must not keep the reader asleep. */
bool fn_tcp_rx_pressed(const struct fn_tcp *tp)
{
	uint32_t next = fn_max(tp->sk.rcvbuf / 8, tp->sk.rxq.tail ? tp->sk.rxq.tail->truesize : 0);

	return fn_tcp_receive_window(tp) <= tp->rcv_mss || tp->sk.rx_charged + next > tp->sk.rcvbuf;
}

/* ---- the receive queue ---- */

/* Small segments join the last buffer, so that they do not pin a whole one each. */
static bool coalesce(struct fn_tcp *tp, const struct fn_pkt *p)
{
	struct fn_pkt *tail = tp->sk.rxq.tail;

	if (!tail || p->len > fn_pkt_tailroom(tail))
		return false;
	memcpy(tail->data + tail->len, p->data, p->len);
	tail->len += p->len;
	tail->pkt_len += p->len;
	tp->sk.rxq.bytes += p->len;
	tail->end_seq = p->end_seq;
	tail->time = tp->sk.st->now;
	return true;
}

void fn_tcp_rx_append(struct fn_tcp *tp, struct fn_pkt *p)
{
	struct fn_stack *st = tp->sk.st;

	tp->bytes_received += p->len;
	st->stats.tcp_bytes_in += p->len;
	if (fn_unlikely(tp->sk.rxq.tail != NULL) && coalesce(tp, p)) {
		fn_pkt_free(p);
		return;
	}
	p->time = st->now;
	tp->sk.rx_charged += p->truesize;
	fn_pktq_push(&tp->sk.rxq, p);
}

/* A packet in several buffers becomes as many, each with its part of the sequence space. */
static void append_chain(struct fn_tcp *tp, struct fn_pkt *p)
{
	uint32_t seq = p->seq;
	struct fn_pkt *next;

	for (; p; p = next) {
		next = p->seg;
		p->seg = NULL;
		p->pkt_len = p->len;
		p->seq = seq;
		p->end_seq = seq += p->len;
		if (p->len)
			fn_tcp_rx_append(tp, p);
		else
			fn_pkt_free(p);
	}
}

void fn_tcp_rx_in_order(struct fn_tcp *tp, struct fn_pkt *p)
{
	tp->rcv_nxt = p->seq + p->pkt_len;
	if (fn_unlikely(p->seg != NULL)) {
		append_chain(tp, p);
	} else if (p->len) {
		p->end_seq = tp->rcv_nxt;
		fn_tcp_rx_append(tp, p);
	} else {
		fn_pkt_free(p);
	}
}

void fn_tcp_rx_trim(struct fn_tcp *tp, struct fn_pkt *p, uint32_t n)
{
	p->seq += n;
	p->pkt_len -= n;
	for (struct fn_pkt *b = p; n; b = b->seg) {
		uint32_t part = fn_min(n, b->len);

		b->data += part;
		b->len -= part;
		n -= part;
	}
}

/* ---- eighth: FIN ---- */

static void fin_wakes(struct fn_tcp *tp)
{
	unsigned events = FN_POLL_STATE | FN_POLL_DATA | POLLRDHUP;

	if (tp->sk.shut == (FN_SHUT_RD | FN_SHUT_WR))
		events |= POLLHUP;
	fn_sock_ready(&tp->sk, events);
}

/* The FIN is in order: everything before it has been received. */
void fn_tcp_fin(struct fn_tcp *tp)
{
	tp->rcv_nxt++;
	tp->fin_rcvd = true;
	tp->sk.shut |= FN_SHUT_RD;
	fn_pktq_purge(&tp->oooq);
	tp->sack_out = false;
	switch ((enum fn_tcp_state)tp->sk.tcp_state) {
	case FN_TCP_SYN_RCVD:
	case FN_TCP_ESTABLISHED:
		fn_tcp_set_state(tp, FN_TCP_CLOSE_WAIT);
		tp->pingpong = true;	/* the program's answer carries the ACK, or its own FIN */
		fn_tcp_hold_ack(tp, tp->lossless ? FN_ACK_ROUNDS_FIN : FN_ACK_ROUNDS);
		break;
	case FN_TCP_FIN_WAIT1:
		fn_tcp_send_ack(tp);
		fn_tcp_set_state(tp, FN_TCP_CLOSING);
		break;
	case FN_TCP_FIN_WAIT2:
		fn_tcp_send_ack(tp);
		fin_wakes(tp);
		fn_tcp_time_wait(tp, FN_TCP_TIME_WAIT, tp->sk.st->conf.time_wait_ms * FN_MSEC);
		return;
	case FN_TCP_CLOSE_WAIT:
	case FN_TCP_CLOSING:
	case FN_TCP_LAST_ACK:
	case FN_TCP_SYN_SENT:
	case FN_TCP_TIME_WAIT:
	case FN_TCP_CLOSED:
	case FN_TCP_LISTEN:
	case FN_TCP_NEW_SYN_RCVD:
		break;
	}
	fin_wakes(tp);
}

/* ---- sixth: URG, as Linux reads it: the pointer names the byte behind the urgent one (RFC 9293 3.8.5, RFC 6093) ---- */

/* A new mark. An older urgent byte that was not read becomes ordinary data and is skipped. */
static void new_mark(struct fn_tcp *tp, uint32_t mark)
{
	if (fn_seq_gt(tp->copied_seq, mark) || fn_seq_lt(mark, tp->rcv_nxt))
		return;
	if (tp->urg_data && !fn_seq_gt(mark, tp->urg_seq))
		return;
	fn_sock_ready(&tp->sk, POLLPRI);
	if (tp->urg_seq == tp->copied_seq && tp->urg_data && !(tp->sk.opts & FN_SO_OOBINLINE) &&
	    tp->copied_seq != tp->rcv_nxt)
		fn_tcp_skip_urgent(tp);
	tp->urg_data = FN_URG_NOTYET;
	tp->urg_seq = mark;
	tp->pred = 0;
}

static uint8_t byte_at(const struct fn_pkt *p, uint32_t off)
{
	while (off >= p->len) {
		off -= p->len;
		p = p->seg;
	}
	return p->data[off];
}

void fn_tcp_urg(struct fn_tcp *tp, const struct fn_pkt *p, const struct fn_tcp_seg *seg)
{
	uint32_t off;

	if (seg->flags & FN_TCP_URG) {
		uint32_t ptr = fn_be16(seg->th->urg);

		new_mark(tp, seg->seq + (ptr ? ptr - 1 : 0));
	}
	if (tp->urg_data != FN_URG_NOTYET)
		return;
	off = tp->urg_seq - seg->seq;
	if (off >= seg->len)
		return;
	tp->urg_data = (uint16_t)(FN_URG_VALID | byte_at(p, off));
	fn_sock_ready(&tp->sk, FN_POLL_DATA);
}

/* ---- seventh: text ---- */

static int drop_and_ack(struct fn_tcp *tp, struct fn_pkt *p, enum fn_drop why)
{
	fn_tcp_quickack(tp, FN_TCP_QUICK_MAX);
	fn_tcp_send_ack(tp);
	return fn_drop(tp->sk.st, p, why);
}

/* In order: what is already here comes behind it. */
static int in_order(struct fn_tcp *tp, struct fn_pkt *p, const struct fn_tcp_seg *seg)
{
	bool fin = p->tcp_flags & FN_TCP_FIN, data = p->pkt_len;

	if (tp->sk.rx_charged + p->truesize > tp->sk.rcvbuf && tp->sk.rxq.head &&
	    p->pkt_len > fn_pkt_tailroom(tp->sk.rxq.tail)) {
		fn_sock_ready(&tp->sk, FN_POLL_DATA);
		return drop_and_ack(tp, p, FN_DROP_TCP_RCVBUF);
	}
	if (data) {
		fn_tcp_event_data(tp, p->pkt_len);
		fn_tcp_rcv_rtt(tp, seg->len, seg->has_ts ? seg->tsecr : 0);
	}
	fn_tcp_rx_in_order(tp, p);
	if (!fin && tp->oooq.head) {
		fin = fn_tcp_ooo_drain(tp);
		/* RFC 5681 4.2: at once when a gap closes */
		tp->ack |= FN_ACK_SCHED | FN_ACK_NOW;
		fn_tcp_pred_update(tp);
	}
	fn_tcp_burst_add(tp, FN_BURST_ACK);
	if (fin)
		fn_tcp_fin(tp);
	else if (data && fn_tcp_data_ready(tp))
		fn_sock_ready(&tp->sk, FN_POLL_DATA);
	return 0;
}

int fn_tcp_data(struct fn_tcp *tp, struct fn_pkt *p, struct fn_tcp_seg *seg)
{
	uint32_t win = fn_tcp_receive_window(tp);

	if (seg->seq == seg->end_seq) {
		fn_pkt_free(p);
		return 0;
	}
	p->seq = seg->seq;
	p->end_seq = seg->end_seq;
	p->tcp_flags = seg->flags & FN_TCP_FIN;
	if (seg->flags & FN_TCP_SYN)	/* the SYN-ACK of a simultaneous open: its octet is behind us */
		p->seq++;
	if (fn_seq_leq(p->end_seq, tp->rcv_nxt)) {	/* all of it old: our ACK was lost, or a keepalive with data */
		if (p->pkt_len || seg->flags & FN_TCP_FIN)
			fn_tcp_dsack(tp, p->seq, p->end_seq);
		return drop_and_ack(tp, p, FN_DROP_TCP_OLD);
	}
	if (!win && p->pkt_len)		/* a zero-window probe with data */
		return drop_and_ack(tp, p, FN_DROP_TCP_WINDOW);
	if (fn_seq_lt(p->seq, tp->rcv_nxt)) {
		fn_tcp_dsack(tp, p->seq, tp->rcv_nxt);
		tp->ack |= FN_ACK_NOW;
		fn_tcp_rx_trim(tp, p, tp->rcv_nxt - p->seq);
	}
	if (p->seq == tp->rcv_nxt)
		return in_order(tp, p, seg);
	if (fn_seq_geq(p->seq, tp->rcv_nxt + win))
		return drop_and_ack(tp, p, FN_DROP_TCP_WINDOW);
	return fn_tcp_ooo_queue(tp, p);
}
