/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * A received segment that header prediction (tcp_fast.c) has not taken: checks, the connection it belongs to, the steps of
 * RFC 9293 3.10.7 in their order, one function a step. Owns no queue: steps 5 and 7 are tcp_ack.c's and tcp_data.c's.
 */
#include <errno.h>
#include <poll.h>
#include <string.h>

#include "cksum.h"
#include "tcp.h"

/* ---- RFC 9293 3.10.7.4, first: sequence number, behind RFC 7323's PAWS ---- */

bool fn_tcp_oow_limited(const struct fn_stack *st, const struct fn_tcp_seg *seg, uint64_t *last)
{
	if (seg && seg->seq != seg->end_seq && !(seg->flags & FN_TCP_SYN))
		return false;
	if (*last && st->now - *last < FN_TCP_OOW_INTERVAL)
		return true;
	*last = st->now;
	return false;
}

/* RFC 5961 7: a limit for the stack, and one for the connection. */
void fn_tcp_challenge_ack(struct fn_tcp *tp)
{
	struct fn_stack *st = tp->sk.st;
	struct fn_tcp_stack *ts = st->tcp;
	uint64_t second = st->now / FN_SEC_NS;

	if (ts->challenge_epoch != second) {
		ts->challenge_epoch = second;
		/* random, so that nobody can count it from outside (CVE-2016-5696) */
		ts->challenge_left = 500 + (uint32_t)(fn_stack_random(st) % 1000);
	}
	if (fn_tcp_oow_limited(st, NULL, &tp->oow_time))
		return;
	if (!ts->challenge_left) {
		st->stats.drop[FN_DROP_TCP_CHALLENGE_RATE]++;
		return;
	}
	ts->challenge_left--;
	st->stats.tcp_challenge_ack++;
	fn_tcp_send_ack(tp);
}

/* An ACK that tells the peer where we are, and what of its segment came twice. */
static void send_dupack(struct fn_tcp *tp, const struct fn_tcp_seg *seg)
{
	if (seg->seq != seg->end_seq && fn_seq_lt(seg->seq, tp->rcv_nxt)) {
		fn_tcp_quickack(tp, FN_TCP_QUICK_MAX);
		fn_tcp_dsack(tp, seg->seq, fn_seq_min(seg->end_seq, tp->rcv_nxt));
	}
	fn_tcp_send_ack(tp);
}

/* A reordered pure ACK has an old timestamp and does no harm (tcp_disordered_ack). */
static bool disordered_ack(const struct fn_tcp *tp, const struct fn_tcp_seg *seg)
{
	uint32_t age = tp->ts_recent - seg->tsval;

	return seg->flags & FN_TCP_ACK && seg->seq == seg->end_seq && seg->seq == tp->rcv_nxt &&
	       seg->ack == tp->snd_una && (seg->win << tp->snd_wscale) == tp->snd_wnd &&
	       age <= tp->rto / FN_MSEC;
}

/* RFC 7323 5.3, R1; 5.5: a timestamp of 24 days ago proves nothing. */
static bool paws_old(const struct fn_tcp *tp, const struct fn_tcp_seg *seg)
{
	return seg->has_ts && tp->feat & FN_TCP_F_TS && tp->ts_recent_stamp &&
	       (int32_t)(tp->ts_recent - seg->tsval) > FN_TCP_PAWS_WINDOW &&
	       tp->sk.st->now - tp->ts_recent_stamp < FN_TCP_PAWS_24DAYS && !disordered_ack(tp, seg);
}

/* A reset one short of rcv_nxt, from a peer whose FIN we have counted and it has not. */
static bool reset_before_fin(const struct fn_tcp *tp, const struct fn_tcp_seg *seg)
{
	unsigned s = tp->sk.tcp_state;

	return seg->seq == tp->rcv_nxt - 1 &&
	       (s == FN_TCP_CLOSE_WAIT || s == FN_TCP_LAST_ACK || s == FN_TCP_CLOSING);
}

static int check_ack(struct fn_tcp *tp, struct fn_pkt *p, const struct fn_tcp_seg *seg);

/*
 * What a peer of the fabric sends lies before what we have found in its memory (fn_shm_unsent()): it does not know yet how far
 * we are. It has come in order, so what it acknowledges and offers is news; if both ends dropped that, neither would learn
 * how far the other is.
 */
static fn_cold int sent_late(struct fn_tcp *tp, struct fn_pkt *p, const struct fn_tcp_seg *seg)
{
	int ret = check_ack(tp, p, seg);

	if (ret)
		return ret;
	if (seg->len) {
		tp->ack |= FN_ACK_SCHED | FN_ACK_NOW;
		fn_tcp_burst_add(tp, FN_BURST_ACK);
	} else if (!fn_tcp_oow_limited(tp->sk.st, seg, &tp->oow_time)) {
		send_dupack(tp, seg);
	}
	return fn_drop(tp->sk.st, p, FN_DROP_TCP_OLD);
}

static int check_seq(struct fn_tcp *tp, struct fn_pkt *p, const struct fn_tcp_seg *seg)
{
	struct fn_stack *st = tp->sk.st;

	if (paws_old(tp, seg) && !(seg->flags & FN_TCP_RST)) {
		if (!fn_tcp_oow_limited(st, seg, &tp->oow_time))
			send_dupack(tp, seg);
		return fn_drop(st, p, FN_DROP_TCP_PAWS);
	}
	if (!fn_seq_lt(seg->end_seq, tp->rcv_wup) &&
	    !fn_seq_gt(seg->seq, tp->rcv_nxt + fn_tcp_receive_window(tp)))
		return 0;
	if (seg->flags & FN_TCP_RST)
		return reset_before_fin(tp, seg) ? 0 : fn_drop(st, p, FN_DROP_TCP_WINDOW);
	if (seg->flags & FN_TCP_SYN)
		fn_tcp_challenge_ack(tp);
	else if (tp->notes && fn_seq_lt(seg->end_seq, tp->rcv_wup))
		return sent_late(tp, p, seg);
	else if (!fn_tcp_oow_limited(st, seg, &tp->oow_time))
		send_dupack(tp, seg);
	return fn_drop(st, p, FN_DROP_TCP_WINDOW);
}

/* ---- second: RST, with RFC 5961 3.2 ---- */

/* The errors of Linux's tcp_reset(). */
static void take_reset(struct fn_tcp *tp)
{
	int err = ECONNRESET;

	if (tp->sk.tcp_state == FN_TCP_SYN_SENT)
		err = ECONNREFUSED;
	else if (tp->sk.tcp_state == FN_TCP_CLOSE_WAIT)
		err = EPIPE;
	tp->sk.st->stats.tcp_rst_in++;
	fn_tcp_abort(tp, err);
}

/* What a peer that has lost our ACKs may take for rcv_nxt: the end of the last block we SACKed. */
static bool at_sack_edge(const struct fn_tcp *tp, uint32_t seq)
{
	return tp->oooq.tail && tp->feat & FN_TCP_F_SACK && seq == tp->oooq.tail->end_seq;
}

static int check_rst(struct fn_tcp *tp, struct fn_pkt *p, const struct fn_tcp_seg *seg)
{
	struct fn_stack *st = tp->sk.st;

	if (!(seg->flags & FN_TCP_RST))
		return 0;
	if (seg->seq == tp->rcv_nxt || reset_before_fin(tp, seg) || at_sack_edge(tp, seg->seq)) {
		take_reset(tp);
		fn_pkt_free(p);
		return -FN_DROP_TCP_CLOSED;
	}
	fn_tcp_challenge_ack(tp);
	return fn_drop(st, p, FN_DROP_TCP_RST_SEQ);
}

/* ---- third: security and precedence: not implemented, as everywhere (RFC 9293 3.8.2 on RFC 793's precedence) ---- */

/* ---- fourth: SYN, with RFC 5961 4.2 ---- */

static int check_syn(struct fn_tcp *tp, struct fn_pkt *p, const struct fn_tcp_seg *seg)
{
	if (!(seg->flags & FN_TCP_SYN))
		return 0;
	/* the SYN-ACK of a simultaneous open (RFC 9293 figure 8), or of a connection with itself */
	if (tp->sk.tcp_state == FN_TCP_SYN_RCVD && seg->flags & FN_TCP_ACK && seg->seq + 1 == seg->end_seq &&
	    seg->end_seq == tp->rcv_nxt && seg->ack == tp->snd_nxt)
		return 0;
	fn_tcp_challenge_ack(tp);
	return fn_drop(tp->sk.st, p, FN_DROP_TCP_SYN_WINDOW);
}

/* ---- fifth: ACK ---- */

static bool fin_acked(const struct fn_tcp *tp)
{
	return tp->fin_queued && tp->snd_una == tp->write_seq;
}

/* Our SYN-ACK (or the SYN of a simultaneous open) is acknowledged. */
static int syn_rcvd_ack(struct fn_tcp *tp, struct fn_pkt *p, const struct fn_tcp_seg *seg)
{
	struct fn_stack *st = tp->sk.st;
	struct fn_tcp *lp = tp->listener;

	if (seg->ack != tp->snd_nxt) {
		fn_tcp_send_rst_for(st, p, seg);
		return fn_drop(st, p, FN_DROP_TCP_ACK_RANGE);
	}
	tp->snd_una = seg->ack;
	tp->snd_wnd = tp->max_window = fn_tcp_seg_win(tp, seg);
	tp->snd_wl1 = seg->seq;
	if (!tp->retransmits)
		fn_tcp_rtt_sample(tp, st->now - tp->lsndtime);
	fn_tcp_start(tp);
	fn_tcp_rearm_rto(tp);
	fn_tcp_set_state(tp, FN_TCP_ESTABLISHED);
	if (lp) {
		tp->listener = NULL;
		fn_tcp_listen_enqueue(lp, tp);
		return 0;
	}
	fn_sock_ready(&tp->sk, FN_POLL_STATE | POLLOUT | POLLWRNORM);
	fn_tcp_late_close(tp);
	return 0;
}

/* FIN_WAIT1: our FIN is acknowledged; who closed waits for the peer's in a slim object (RFC 9293 3.6, FIN_WAIT2). */
static int enter_fin_wait2(struct fn_tcp *tp, struct fn_pkt *p, const struct fn_tcp_seg *seg)
{
	struct fn_stack *st = tp->sk.st;
	uint64_t tw = st->conf.time_wait_ms * FN_MSEC, t = fn_tcp_fin_time(tp);

	fn_tcp_set_state(tp, FN_TCP_FIN_WAIT2);
	tp->sk.shut |= FN_SHUT_WR;
	if (!tp->dead) {
		fn_sock_ready(&tp->sk, FN_POLL_STATE);
		return 0;
	}
	if (tp->linger2 < 0 || (seg->len && fn_seq_gt(seg->seq + seg->len, tp->rcv_nxt))) {
		fn_tcp_send_rst_for(st, p, seg);
		fn_tcp_done(tp);
		return fn_drop(st, p, FN_DROP_TCP_CLOSED);
	}
	if (t > tw || seg->flags & FN_TCP_FIN) {
		fn_tcp_set_due(tp, FN_DUE_KEEP, st->now + (t > tw ? t - tw : t));
		return 0;
	}
	fn_tcp_time_wait(tp, FN_TCP_FIN_WAIT2, t);
	fn_pkt_free(p);
	return -FN_DROP_TCP_CLOSED;
}

static int last_segment(struct fn_pkt *p)
{
	fn_pkt_free(p);
	return -FN_DROP_TCP_CLOSED;
}

/* What the acknowledgment of our FIN means to each state. */
static int check_fin_acked(struct fn_tcp *tp, struct fn_pkt *p, const struct fn_tcp_seg *seg)
{
	if (fn_likely(!fin_acked(tp)))
		return 0;
	switch ((enum fn_tcp_state)tp->sk.tcp_state) {
	case FN_TCP_FIN_WAIT1:
		return enter_fin_wait2(tp, p, seg);
	case FN_TCP_CLOSING:
		fn_tcp_time_wait(tp, FN_TCP_TIME_WAIT, tp->sk.st->conf.time_wait_ms * FN_MSEC);
		return last_segment(p);
	case FN_TCP_LAST_ACK:
		fn_tcp_done(tp);
		return last_segment(p);
	case FN_TCP_ESTABLISHED:
	case FN_TCP_SYN_SENT:
	case FN_TCP_SYN_RCVD:
	case FN_TCP_FIN_WAIT2:
	case FN_TCP_TIME_WAIT:
	case FN_TCP_CLOSED:
	case FN_TCP_CLOSE_WAIT:
	case FN_TCP_LISTEN:
	case FN_TCP_NEW_SYN_RCVD:
		return 0;
	}
	return 0;
}

static int check_ack(struct fn_tcp *tp, struct fn_pkt *p, const struct fn_tcp_seg *seg)
{
	if (!(seg->flags & FN_TCP_ACK))
		return fn_drop(tp->sk.st, p, FN_DROP_TCP_NO_ACK);
	if (tp->sk.tcp_state == FN_TCP_SYN_RCVD)
		return syn_rcvd_ack(tp, p, seg);
	if (fn_unlikely(fn_seq_gt(seg->ack, tp->snd_nxt)))
		fn_tcp_found(tp, seg->ack);
	if (fn_tcp_ack(tp, seg) < 0) {		/* RFC 5961 5.2 */
		fn_tcp_challenge_ack(tp);
		return fn_drop(tp->sk.st, p, FN_DROP_TCP_ACK_RANGE);
	}
	return check_fin_acked(tp, p, seg);
}

/* ---- seventh: text; eighth: FIN (when it is in order, tcp_data.c) ---- */

#define AFTER_FIN	(1u << FN_TCP_CLOSE_WAIT | 1u << FN_TCP_CLOSING | 1u << FN_TCP_LAST_ACK)
#define CLOSED_HALF	(AFTER_FIN | 1u << FN_TCP_FIN_WAIT1 | 1u << FN_TCP_FIN_WAIT2)

static int text(struct fn_tcp *tp, struct fn_pkt *p, struct fn_tcp_seg *seg)
{
	struct fn_stack *st = tp->sk.st;
	unsigned bit = 1u << tp->sk.tcp_state;

	fn_pkt_pull(p, (seg->th->off >> 4) * 4u);
	if (fn_unlikely(seg->flags & FN_TCP_URG || tp->urg_data & FN_URG_NOTYET))
		fn_tcp_urg(tp, p, seg);		/* sixth: URG; what is dropped or reset below is told, too */
	/* behind the peer's FIN nothing can be new */
	if (bit & AFTER_FIN && seg->seq != seg->end_seq && fn_seq_geq(seg->seq, tp->rcv_nxt))
		return fn_drop(st, p, FN_DROP_TCP_CLOSED);
	/* nobody will read it (RFC 9293 3.6.1 MUST-17's case): reset, as Linux after shutdown(SHUT_RD) and FIN */
	if (bit & CLOSED_HALF && tp->sk.shut & FN_SHUT_RD && seg->len &&
	    fn_seq_gt(seg->seq + seg->len, tp->rcv_nxt)) {
		fn_tcp_send_rst_for(st, p, seg);
		fn_tcp_abort(tp, bit & 1u << FN_TCP_CLOSE_WAIT ? EPIPE : ECONNRESET);
		return fn_drop(st, p, FN_DROP_TCP_CLOSED);
	}
	return fn_tcp_data(tp, p, seg);
}

/* ---- RFC 9293 3.10.7.4: the order of the steps ---- */

int fn_tcp_segment(struct fn_tcp *tp, struct fn_pkt *p, struct fn_tcp_seg *seg)
{
	int ret;

	fn_tcp_busy(tp);
	tp->segs_in++;
	if (tp->sk.tcp_state == FN_TCP_SYN_SENT)	/* 3.10.7.3 */
		return fn_tcp_syn_sent(tp, p, seg);
	ret = check_seq(tp, p, seg);
	if (!ret)
		ret = check_rst(tp, p, seg);
	if (!ret)
		ret = check_syn(tp, p, seg);
	if (!ret)
		ret = check_ack(tp, p, seg);
	if (!ret)
		ret = text(tp, p, seg);
	if (tp->sk.tcp_state == FN_TCP_CLOSED)
		return ret;
	/* text that was dropped may have come with an ACK that counts */
	fn_tcp_retransmit_lost(tp);
	fn_tcp_output(tp, 0);
	fn_tcp_write_space(tp);
	return ret;
}

/* ---- from IP ---- */

static bool cksum_ok(const struct fn_pkt *p)
{
	const struct fn_ip4_hdr *ip = fn_pkt_ip4(p);

	if (p->flags & (FN_PKT_L4_CSUM_OK | FN_PKT_CSUM_BAD))
		return p->flags & FN_PKT_L4_CSUM_OK;
	return !fn_cksum_fold(fn_cksum_pkt(p, 0) + fn_cksum_pseudo4(ip->src, ip->dst, FN_IPPROTO_TCP, p->pkt_len));
}

static void fill_seg(struct fn_tcp_seg *seg, const struct fn_pkt *p, const struct fn_tcp_hdr *th)
{
	*seg = (struct fn_tcp_seg){
		.th = th, .seq = fn_be32(th->seq), .ack = fn_be32(th->ack), .win = fn_be16(th->win),
		.flags = th->flags, .len = p->pkt_len - (th->off >> 4) * 4u,
	};
	seg->end_seq = seg->seq + seg->len + !!(seg->flags & FN_TCP_SYN) + !!(seg->flags & FN_TCP_FIN);
}

struct fn_tcp *fn_tcp_find_listener(const struct fn_stack *st, const struct fn_pkt *p, const struct fn_tcp_seg *seg)
{
	const struct fn_ip4_hdr *ip = fn_pkt_ip4(p);
	struct fn_ep local = { ip->dst, seg->th->dport, 0 }, remote = { ip->src, seg->th->sport, p->peer };
	struct fn_sock *sk = fn_demux_bound(st, FN_SOCK_TCP, &local, &remote, p->hash);

	return sk && sk->tcp_state == FN_TCP_LISTEN ? fn_tcp_sk(sk) : NULL;
}

/* No connection has these ends: a listener's business, or nobody's (RFC 9293 3.10.7.1 and .2). */
static int no_conn(struct fn_stack *st, struct fn_pkt *p, struct fn_tcp_seg *seg, uint32_t isn)
{
	struct fn_tcp *lp;

	if (p->flags & FN_PKT_LINK_BCAST || fn_ip4_is_bcast(st, fn_pkt_ip4(p)->dst))	/* RFC 9293 MUST-57 */
		return fn_drop(st, p, FN_DROP_TCP_BCAST);
	lp = fn_tcp_find_listener(st, p, seg);
	if (lp)
		return fn_tcp_listen_input(st, lp, p, seg, isn);
	fn_tcp_send_rst_for(st, p, seg);
	return fn_drop(st, p, FN_DROP_TCP_NO_SOCK);
}

__attribute__((noinline)) struct fn_sock *fn_tcp_find_conn(struct fn_stack *st, struct fn_pkt *p,
							   const struct fn_ip4_hdr *ip, const struct fn_tcp_hdr *th)
{
	struct fn_ep local = { ip->dst, th->dport, 0 }, remote = { ip->src, th->sport, p->peer };
	struct fn_sock *sk;

	if (!(p->flags & FN_PKT_HASH_VALID))
		p->hash = fn_hash4(st, ip->src, ip->dst, th->sport, th->dport);
	p->flags |= FN_PKT_HASH_VALID;
	sk = fn_demux_conn(st, p->hash, &local, &remote);
	if (sk)
		st->last_conn = sk;
	return sk;
}

/* Any segment that prediction does not take; its sender may be a liar, so the header is checked first. */
static __attribute__((noinline)) int slow_path(struct fn_stack *st, struct fn_sock *sk, struct fn_pkt *p, const struct fn_tcp_hdr *th)
{
	struct fn_tcp_seg seg;
	uint32_t isn = 0;
	int ret;

	if (th->off < FN_TCP_LEN << 2)
		return fn_drop(st, p, FN_DROP_TCP_HEADER);
	if ((th->off >> 4) * 4u > p->len)
		return fn_drop(st, p, FN_DROP_TCP_SHORT);
	if (!cksum_ok(p))
		return fn_drop(st, p, FN_DROP_TCP_CSUM);
	if (sk)
		p->hash = sk->hash;
	fill_seg(&seg, p, th);
	ret = fn_tcp_parse_opts(&seg, th);
	if (ret)
		return fn_drop(st, p, (enum fn_drop)-ret);
	if (!sk)
		return no_conn(st, p, &seg, isn);
	if (sk->tcp_state == FN_TCP_TIME_WAIT) {
		ret = fn_tcp_tw_input(st, (struct fn_tcp_tw *)sk, p, &seg, &isn);
		return ret == 1 ? no_conn(st, p, &seg, isn) : ret;
	}
	if (sk->tcp_state == FN_TCP_NEW_SYN_RCVD) {
		struct fn_tcp *tp = fn_tcp_req_input(st, (struct fn_tcp_req *)sk, p, &seg, &ret);

		return tp ? fn_tcp_first_segment(tp, p, &seg) : ret;
	}
	return fn_tcp_segment(fn_tcp_sk(sk), p, &seg);
}

int fn_tcp_input(struct fn_stack *st, struct fn_pkt *p)
{
	const struct fn_ip4_hdr *ip = fn_pkt_ip4(p);
	const struct fn_tcp_hdr *th = (const struct fn_tcp_hdr *)p->data;
	struct fn_sock *sk;

	st->stats.tcp_in++;
	if (fn_unlikely(p->len < FN_TCP_LEN))
		return fn_drop(st, p, FN_DROP_TCP_SHORT);
	sk = fn_demux_last(st, ip->src, ip->dst, th->sport, th->dport, p->peer);
	if (fn_unlikely(!sk))
		sk = fn_tcp_find_conn(st, p, ip, th);
	/* a slim object ends before .pred, so its state is asked first */
	if (fn_likely(sk && sk->tcp_state == FN_TCP_ESTABLISHED && fn_tcp_predicted(fn_tcp_sk(sk), p, th)))
		return 0;
	return slow_path(st, sk, p, th);
}
