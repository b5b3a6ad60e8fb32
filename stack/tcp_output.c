/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * What may be sent now: congestion window, the peer's window, Nagle and CORK, retransmissions, probes and the FIN. Owns
 * the two transmit queues (sndq: not sent, rtxq: sent and not acknowledged); what a segment looks like is tcp_out.c's.
 */
#include <errno.h>
#include <string.h>

#include "tcp.h"

#define CAN_SEND	(1u << FN_TCP_ESTABLISHED | 1u << FN_TCP_CLOSE_WAIT | 1u << FN_TCP_FIN_WAIT1 | \
			 1u << FN_TCP_CLOSING | 1u << FN_TCP_LAST_ACK)
#define FIN_STATES	(1u << FN_TCP_FIN_WAIT1 | 1u << FN_TCP_CLOSING | 1u << FN_TCP_LAST_ACK)

/* The end of p (in q), of what is behind its first n bytes as much as a buffer takes, gets a buffer of its own. */
static bool cut_end(struct fn_tcp *tp, struct fn_pktq *q, struct fn_pkt *p, uint32_t n)
{
	struct fn_pkt *rest = fn_tcp_tx_alloc(tp, p->len - n);

	if (!rest)
		return false;
	n = fn_max(n, p->len - fn_min(p->len, fn_pkt_tailroom(rest)));
	rest->len = rest->pkt_len = p->len - n;
	memcpy(rest->data, p->data + n, rest->len);
	rest->seq = p->seq + n;
	rest->end_seq = p->end_seq;
	rest->tcp_flags = p->tcp_flags;
	/* p's own note stays true: the bytes are there */
	if (tp->notes)
		fn_tcp_note_mark(tp, rest, ((const struct fn_note *)p->buf)->text.fin);
	fn_tcp_note(tp, rest);
	rest->sack = p->sack & (uint8_t)~FN_SEG_SUM;
	rest->retrans = p->retrans;
	rest->time = p->time;
	rest->first_time = p->first_time;
	q->bytes -= rest->len;
	p->len = p->pkt_len = n;
	p->end_seq = rest->seq;
	p->tcp_flags &= (uint8_t)~(FN_TCP_FIN | FN_TCP_PSH);
	p->sack &= (uint8_t)~FN_SEG_SUM;
	fn_pktq_insert_after(q, p, rest);
	return true;
}

/* Cut p (in q) after n bytes; the rest follows it. False: no buffers, or the device is about to read p. */
static bool split(struct fn_tcp *tp, struct fn_pktq *q, struct fn_pkt *p, uint32_t n)
{
	if (p->flags & FN_PKT_QUEUED)
		return false;
	while (p->len > n)
		if (!cut_end(tp, q, p, n))
			return false;
	return true;
}

/* ---- segment size ---- */

/* A large buffer's bytes, if the peer gets one; where the window has room for two, it does. */
static uint32_t large_for(const struct fn_tcp *tp)
{
	const struct fn_nic *nic = tp->path.nic;

	return nic->tx_large && !tp->path.local && nic->ops->takes_large(nic, tp->sk.remote.peer) ? nic->tx_large : 0;
}

void fn_tcp_sync_mss(struct fn_tcp *tp)
{
	uint32_t mss = fn_min(tp->path.mtu - FN_IP4_LEN - FN_TCP_LEN, (uint32_t)tp->mss_clamp);
	uint32_t half = tp->max_window > FN_TCP_MSS_DEFAULT ? tp->max_window / 2 : tp->max_window;
	uint32_t plain = tp->path.nic->tx_payload, stamp = tp->feat & FN_TCP_F_TS ? 12 : 0;

	/* the headers stand in front of what a buffer takes */
	mss = fn_min(fn_max(mss, (uint32_t)FN_TCP_SND_MSS_MIN) - stamp, fn_max(plain, fn_min(large_for(tp), half)));
	/* RFC 9293 3.8.6.2.1 (3): of a window that never held a full segment, half is worth sending */
	if (half && mss + stamp > tp->max_window)
		mss = fn_max(half, 68u - FN_TCP_LEN) - stamp;
	tp->mss = (uint16_t)fn_max(mss, FN_TCP_SND_MSS_MIN - stamp);
	tp->mss_plain = (uint16_t)fn_min((uint32_t)tp->mss, plain);
}

/* ---- new data ---- */

/* Minshall's form of Nagle's algorithm, as Linux has it: hold a small segment back while an earlier small one is not
 * acknowledged. */
static bool nagle_allows(const struct fn_tcp *tp, const struct fn_pkt *p, uint8_t nonagle, bool idle)
{
	if (p->len >= tp->mss_plain || p->next || p->tcp_flags & FN_TCP_FIN)
		return true;
	if (nonagle & FN_NAGLE_PUSH || tp->snd_up != tp->snd_una)
		return true;
	if (nonagle & FN_NAGLE_CORK)
		return false;
	/* on the fabric nobody would send it while the program does something else, and it costs no packet (RFC 9293 3.7.4) */
	if (nonagle & FN_NAGLE_OFF || idle || tp->lossless)
		return true;
	return !(fn_seq_gt(tp->snd_sml, tp->snd_una) && fn_seq_leq(tp->snd_sml, tp->snd_nxt));
}

/* First transmission of sndq's head; it stays there when it cannot go. */
static int send_new(struct fn_tcp *tp, struct fn_pkt *p)
{
	int err;

	fn_pktq_remove(&tp->sndq, p);
	err = fn_tcp_send_now(tp, p);
	if (fn_unlikely(err))
		fn_pktq_insert_after(&tp->sndq, NULL, p);
	return err;
}

/* Does the window take the first full segment of p? */
fn_inline bool fits_window(const struct fn_tcp *tp, const struct fn_pkt *p)
{
	uint32_t end = p->len > tp->mss ? p->seq + tp->mss : p->end_seq;

	/* nobody would send it later, and it takes no room */
	if (fn_unlikely(p->tcp_flags & FN_TCP_FIN) && tp->lossless && p->len <= tp->mss)
		end--;
	return fn_seq_leq(end, fn_tcp_wnd_end(tp));
}

fn_inline bool fits_cwnd(const struct fn_tcp *tp, const struct fn_pkt *p)
{
	uint32_t pipe = fn_tcp_pipe(tp);

	return !pipe || (pipe < tp->cwnd && tp->cwnd - pipe >= fn_min(p->len, (uint32_t)tp->mss));
}

/*
 * How many of the first segments of sndq may leave together: the first one may leave, and all but the last of them are full.
 * So each segment that the device makes is one of rtxq's, and loss recovery needs to know nothing of TSO. A lossless one
 * cuts nothing, and there they are as long as they are.
 */
static unsigned run_length(const struct fn_tcp *tp, uint8_t nonagle)
{
	const struct fn_nic *nic = tp->path.nic;
	uint32_t pipe = fn_tcp_pipe(tp), cwnd = fn_max(tp->cwnd, pipe + tp->mss);
	uint32_t left = fn_min(fn_tcp_wnd_end(tp) - tp->sndq.head->seq, cwnd - pipe);
	const struct fn_pkt *p;
	unsigned n = 0;

	left = fn_min(left, nic->tso_max);
	for (p = tp->sndq.head; p && n + 1u < nic->tso_segs; p = p->next, n++) {
		if (p->len > tp->mss || fn_pkt_span(p) > left || !p->len)
			return n;
		if (p->len < tp->mss && !(tp->lossless && p->next))
			return n + nagle_allows(tp, p, nonagle, false);
		left -= fn_pkt_span(p);
	}
	return n;
}

/* For a device that cuts: the first segment of sndq, which may leave, and in the same packet what may leave with it. */
static __attribute__((noinline)) int send_some(struct fn_tcp *tp, struct fn_pkt *p, uint8_t nonagle)
{
	unsigned n = p->next && (p->len == tp->mss || tp->lossless) && fn_tcp_may_run(tp) ? run_length(tp, nonagle) : 1;

	return n > 1 ? fn_tcp_send_run(tp, n) : send_new(tp, p);
}

static bool fin_missing(const struct fn_tcp *tp)
{
	return !tp->fin_queued && FIN_STATES >> tp->sk.tcp_state & 1;
}

/* The FIN on the last segment sent, if the device has not got it yet; the program wrote and closed within one burst. */
static bool fin_on_staged(struct fn_tcp *tp)
{
	struct fn_pkt *p = tp->rtxq.tail;

	if (!p || !(p->flags & FN_PKT_QUEUED) || !p->l4 || p->retrans || p->sack & (uint8_t)~FN_SEG_SUM ||
	    p->end_seq != tp->snd_nxt || !fn_seq_lt(p->end_seq, fn_tcp_wnd_end(tp)))
		return false;
	fn_tcp_add_flags(p, FN_TCP_FIN);
	p->tcp_flags |= FN_TCP_FIN;
	tp->snd_nxt = tp->write_seq = ++p->end_seq;
	tp->fin_queued = true;
	return true;
}

/* On the last bytes that somebody can find; p may have none. */
static void note_fin(struct fn_tcp *tp, struct fn_pkt *p)
{
	if (!p->len)
		p = tp->rtxq.tail;
	if (p)
		fn_tcp_note_mark(tp, p, FN_NOTE_FIN);
}

/* On the last segment that has not left, else in a segment of its own. */
static bool queue_fin(struct fn_tcp *tp)
{
	struct fn_pkt *p = tp->sndq.tail;

	if (!p && fin_on_staged(tp))
		return true;
	if (!p) {
		p = fn_tcp_tx_alloc(tp, 0);
		if (!p)
			return false;
		p->seq = p->end_seq = tp->write_seq;
		fn_pktq_push(&tp->sndq, p);
	}
	p->tcp_flags |= FN_TCP_FIN;
	note_fin(tp, p);
	p->end_seq++;
	tp->write_seq++;
	tp->fin_queued = true;
	return true;
}

void fn_tcp_check_probe(struct fn_tcp *tp)
{
	if (tp->snd_una == tp->snd_nxt && tp->rtx_kind == FN_RTX_NONE && (tp->sndq.head || fin_missing(tp)))
		fn_tcp_set_probe(tp, fn_tcp_probe_delay(tp));
}

bool fn_tcp_output(struct fn_tcp *tp, uint8_t nonagle)
{
	bool sent = false, cuts;
	struct fn_pkt *p;

	if (!(CAN_SEND >> tp->sk.tcp_state & 1))
		return false;
	cuts = tp->path.nic->tso_max;
	if (fn_unlikely(fin_missing(tp)))
		queue_fin(tp);
	nonagle |= tp->nonagle;
	while ((p = tp->sndq.head)) {
		int err;

		if (!fits_cwnd(tp, p)) {
			tp->cwnd_limited = true;
			break;
		}
		if (!fits_window(tp, p))
			break;
		if (fn_unlikely(p->len > tp->mss) && !split(tp, &tp->sndq, p, tp->mss))
			break;
		if (!nagle_allows(tp, p, nonagle, tp->snd_una == tp->snd_nxt))
			break;
		err = cuts ? send_some(tp, p, nonagle) : send_new(tp, p);
		if (fn_unlikely(err)) {
			if (err == -ENOBUFS)	/* the device's queue is full: again with the next burst */
				fn_tcp_burst_add(tp, FN_BURST_OUT);
			break;
		}
		sent = true;
	}
	if (!sent)
		fn_tcp_check_probe(tp);
	return sent;
}

void fn_tcp_send_fin(struct fn_tcp *tp)
{
	queue_fin(tp);
	fn_tcp_output(tp, FN_NAGLE_OFF);
	if (tp->notes && tp->sndq.head)
		fn_tcp_spill(tp);
}

/* What the far end has acknowledged of p, which has not been sent. */
static void trim_found(struct fn_tcp *tp, struct fn_pkt *p, uint32_t n)
{
	fn_pkt_pull(p, n);
	p->seq += n;
	p->sack &= (uint8_t)~FN_SEG_SUM;
	tp->sndq.bytes -= n;
	tp->sk.st->stats.tcp_bytes_out += n;
	/* nothing is put behind it: the note would become another one (struct fn_note) */
	p->buf_len = (uint32_t)(p->data + p->len - p->buf);
}

void fn_tcp_found(struct fn_tcp *tp, uint32_t ack)
{
	struct fn_pkt *p;

	if (!tp->notes || fn_seq_gt(ack, tp->write_seq))
		return;
	while ((p = tp->sndq.head) && fn_seq_leq(p->end_seq, ack)) {
		tp->sk.st->stats.tcp_bytes_out += p->len;
		fn_pktq_remove(&tp->sndq, p);
		fn_tcp_tx_free(tp, p);
	}
	if (p && fn_seq_lt(p->seq, ack))
		trim_found(tp, p, ack - p->seq);
	tp->snd_nxt = ack;
}

/* ---- retransmission ---- */

int fn_tcp_retransmit(struct fn_tcp *tp, struct fn_pkt *p)
{
	const struct fn_nic *nic = tp->path.nic;
	struct fn_stack *st = tp->sk.st;
	int err;

	if (p->flags & FN_PKT_QUEUED)	/* the first copy has not left yet */
		return -EBUSY;
	if (fn_seq_geq(p->seq, fn_tcp_wnd_end(tp)) && p->seq != tp->snd_una)
		return -EAGAIN;		/* the peer has taken its window back */
	if (p->len > tp->mss && !split(tp, &tp->rtxq, p, tp->mss))
		return -ENOBUFS;
	err = nic->ops->in_flight(nic, p) ? fn_tcp_transmit_copy(tp, p) : fn_tcp_transmit(tp, p);
	if (err)
		return err;
	p->time = st->now;
	p->retrans++;
	if (!(p->sack & FN_SEG_RETRANS))
		tp->f.retrans += fn_pkt_span(p);
	p->sack |= FN_SEG_RETRANS | FN_SEG_EVER_RETRANS;
	if (!tp->f.retrans_stamp)
		tp->f.retrans_stamp = st->now;
	tp->f.undo_retrans = tp->f.undo_retrans < 0 ? 1 : tp->f.undo_retrans + 1;
	tp->f.total_retrans++;
	st->stats.tcp_retrans++;
	return 0;
}

static bool retransmit_next(struct fn_tcp *tp, struct fn_pkt *p)
{
	if (fn_tcp_pipe(tp) >= tp->cwnd) {
		tp->cwnd_limited = true;
		return false;
	}
	if (fn_tcp_retransmit(tp, p))
		return false;
	tp->f.prr_out += fn_pkt_span(p);
	if (p == tp->rtxq.head)		/* RFC 6298 5.1: the timer runs for what was sent */
		fn_tcp_rearm_rto(tp);
	return true;
}

void fn_tcp_retransmit_lost(struct fn_tcp *tp)
{
	uint32_t left = tp->f.lost;

	for (struct fn_pkt *p = tp->rtxq.head; p && left; p = p->next) {
		if (!(p->sack & FN_SEG_LOST))
			continue;
		if (!(p->sack & (FN_SEG_SACKED | FN_SEG_RETRANS)) && !retransmit_next(tp, p))
			return;
		left -= fn_min(left, fn_pkt_span(p));	/* it may have been split */
	}
}

/* ---- probes ---- */

int fn_tcp_probe(struct fn_tcp *tp)
{
	struct fn_pkt *p = tp->sndq.head;

	if (p && fn_seq_lt(p->seq, fn_tcp_wnd_end(tp))) {
		uint32_t room = fn_tcp_wnd_end(tp) - p->seq, n = fn_min(room, (uint32_t)tp->mss);

		if (p->len > n && !split(tp, &tp->sndq, p, n))
			return -ENOBUFS;
		p->tcp_flags |= FN_TCP_PSH;
		return send_new(tp, p);
	}
	tp->sk.st->stats.tcp_persist += p != NULL;
	/* an old sequence number makes the peer answer (RFC 9293 3.8.4 on garbage bytes; Linux sends none) */
	return fn_tcp_send_bare(tp, FN_TCP_ACK, tp->snd_una - 1);
}
