/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * Passive opens between SYN and ACK, in slim objects (SYN-RECEIVED of RFC 9293 3.10.7.4; Linux's request sockets): the
 * SYN-ACK, its timer, and the promotion to a connection. Owns struct fn_tcp_req and the listener's list of them.
 */
#include <errno.h>
#include <string.h>

#include "tcp.h"

/* ---- life ---- */

static void unlink_req(struct fn_tcp_req *req)
{
	struct fn_tcp *lp = req->listener;

	if (req->prev)
		req->prev->next = req->next;
	else
		lp->l.reqs = req->next;
	if (req->next)
		req->next->prev = req->prev;
	lp->l.syn_len--;
}

void fn_tcp_req_free(struct fn_stack *st, struct fn_tcp_req *req)
{
	unlink_req(req);
	fn_timer_cancel(&st->wheel, &req->timer);
	fn_demux_del_conn(st, fn_mini_sk(req));
	fn_mini_sk(req)->kind = 0;
	fn_pool_free(&st->tcp->req_pool, req);
}

void fn_tcp_req_discard(struct fn_stack *st, struct fn_tcp_req *req)
{
	fn_demux_del_conn(st, fn_mini_sk(req));
	fn_mini_sk(req)->kind = 0;
	fn_pool_free(&st->tcp->req_pool, req);
}

void fn_tcp_req_enlist(struct fn_tcp_req *req)
{
	struct fn_tcp *lp = req->listener;

	req->prev = NULL;
	req->next = lp->l.reqs;
	if (req->next)
		req->next->prev = req;
	lp->l.reqs = req;
	lp->l.syn_len++;
}

/* syn_ack_recalc of Linux: with DEFER_ACCEPT a client that has acknowledged is left in peace until its time is nearly up. */
static void recalc(const struct fn_tcp_req *req, unsigned retries, bool *expire, bool *resend)
{
	unsigned defer = req->listener->defer_accept;

	*expire = req->timeouts >= retries;
	*resend = true;
	if (!defer)
		return;
	*expire = *expire && (!req->acked || req->timeouts >= defer);
	*resend = !req->acked || req->timeouts + 1u >= defer;
}

static void timer(struct fn_timer *t, uint64_t now)
{
	struct fn_tcp_req *req = fn_container_of(t, struct fn_tcp_req, timer);
	struct fn_stack *st = fn_mini_sk(req)->st;
	const struct fn_tcp *lp = req->listener;
	bool expire, resend;

	recalc(req, lp->syn_retries ? lp->syn_retries : st->conf.synack_retries, &expire, &resend);
	if (expire) {
		st->stats.tcp_failed_open++;
		fn_tcp_req_free(st, req);
		return;
	}
	if (resend) {
		fn_tcp_send_synack(st, req);
		st->stats.tcp_retrans++;
		req->retrans++;
	}
	req->timeouts++;
	fn_timer_arm(&st->wheel, t, now + fn_min(FN_TCP_RTO_INIT << req->timeouts, FN_TCP_RTO_MAX));
}

void fn_tcp_req_fill(struct fn_tcp_req *req, struct fn_tcp *lp, const struct fn_pkt *p, const struct fn_tcp_seg *seg)
{
	struct fn_stack *st = lp->sk.st;
	const struct fn_ip4_hdr *ip = fn_pkt_ip4(p);
	const struct fn_ep local = { ip->dst, seg->th->dport, 0 }, remote = { ip->src, seg->th->sport, p->peer };
	uint16_t mss = seg->mss ? seg->mss : FN_TCP_MSS_DEFAULT;

	memset(req, 0, sizeof(*req));
	fn_tcp_mini_init(st, fn_mini_sk(req), &local, &remote, FN_TCP_NEW_SYN_RCVD);
	fn_mini_sk(req)->opts = lp->sk.opts & (FN_SO_REUSEADDR | FN_SO_REUSEPORT);
	fn_mini_sk(req)->hash = p->hash;	/* as fn_tcp_find_conn() has left it */
	req->listener = lp;
	req->sent = st->now;
	req->rcv_isn = seg->seq;
	req->mss = lp->user_mss ? fn_min(mss, lp->user_mss) : mss;
	req->feat = (uint8_t)((seg->has_ts ? FN_TCP_F_TS : 0) | (seg->sack_perm ? FN_TCP_F_SACK : 0) |
			      (seg->has_wscale ? FN_TCP_F_WSCALE : 0));
	req->snd_wscale = seg->wscale;
	req->rcv_wscale = seg->has_wscale ? fn_tcp_pick_wscale(lp) : 0;
	req->ts_recent = seg->tsval;
	req->ts_off = fn_tcp_ts_off(st, local.ip4, remote.ip4);
	req->rcv_wnd = fn_min(fn_tcp_win_from_space(lp->sk.rcvbuf), 0xffffu);
	if (lp->window_clamp)
		req->rcv_wnd = fn_min(req->rcv_wnd, lp->window_clamp);
}

struct fn_tcp_req *fn_tcp_req_new(struct fn_tcp *lp, const struct fn_pkt *p, const struct fn_tcp_seg *seg, uint32_t isn)
{
	struct fn_stack *st = lp->sk.st;
	struct fn_tcp_req *req = fn_pool_alloc(&st->tcp->req_pool);
	struct fn_sock *sk;

	if (!req)
		return NULL;
	fn_tcp_req_fill(req, lp, p, seg);
	sk = fn_mini_sk(req);
	req->snd_isn = isn ? isn : fn_tcp_isn(st, &sk->local, &sk->remote);
	req->listed = true;
	req->timer.fn = timer;
	fn_tcp_req_enlist(req);
	fn_demux_add_hashed(st, sk, p->hash);
	fn_timer_arm(&st->wheel, &req->timer, st->now + FN_TCP_RTO_INIT);
	return req;
}

/* ---- sending ---- */

static uint16_t our_mss(const struct fn_tcp *lp, const struct fn_path *path)
{
	uint16_t mss = (uint16_t)(path->mtu - FN_IP4_LEN - FN_TCP_LEN);

	return lp->user_mss ? fn_min(mss, lp->user_mss) : mss;
}

static int open_path(struct fn_stack *st, const struct fn_tcp_req *req, struct fn_path *path)
{
	const struct fn_sock *sk = fn_mini_sk((void *)req);
	int err = fn_path_to(st, path, &sk->remote, sk->local.ip4, FN_IPPROTO_TCP);

	path->tos = req->listener->sk.tos;
	path->ttl = req->listener->sk.ttl;
	return err;
}

void fn_tcp_send_synack(struct fn_stack *st, const struct fn_tcp_req *req)
{
	const struct fn_sock *sk = fn_mini_sk((void *)req);
	uint8_t opts[40];
	struct fn_path path;
	struct fn_tcp_syn_opts so = {
		.tsval = fn_tcp_clock(st) + req->ts_off, .tsecr = req->ts_recent, .feat = req->feat,
		.wscale = req->rcv_wscale,
	};
	struct fn_tcp_bare b = {
		.local = &sk->local, .remote = &sk->remote, .seq = req->snd_isn, .ack = req->rcv_isn + 1,
		.win = (uint16_t)req->rcv_wnd, .flags = FN_TCP_SYN | FN_TCP_ACK, .opts = opts,
	};

	if (open_path(st, req, &path))
		return;
	if (req->cookie_ts)
		so.tsval = req->cookie_ts;
	so.mss = our_mss(req->listener, &path);
	b.opt_len = (uint8_t)fn_tcp_put_syn_opts(opts, &so);
	fn_tcp_emit(st, &path, &b);
}

static void send_ack(struct fn_stack *st, const struct fn_tcp_req *req)
{
	const struct fn_sock *sk = fn_mini_sk((void *)req);
	uint8_t opts[12];
	struct fn_tcp_bare b = {
		.local = &sk->local, .remote = &sk->remote, .seq = req->snd_isn + 1, .ack = req->rcv_isn + 1,
		.win = (uint16_t)(req->rcv_wnd >> req->rcv_wscale), .flags = FN_TCP_ACK,
		.tos = req->listener->sk.tos, .opts = opts,
	};

	if (req->feat & FN_TCP_F_TS)
		b.opt_len = (uint8_t)fn_tcp_put_ts(opts, fn_tcp_clock(st) + req->ts_off, req->ts_recent);
	fn_tcp_emit_routed(st, &b);
}

/* ---- promotion ---- */

/* What a connection takes over from its listener, as Linux's clone does. */
static void inherit(struct fn_tcp *tp, const struct fn_tcp *lp)
{
	tp->sk.opts = lp->sk.opts & (FN_SO_REUSEADDR | FN_SO_REUSEPORT | FN_SO_KEEPALIVE | FN_SO_OOBINLINE |
				     FN_SO_LINGER | FN_SO_RCVBUF_LOCKED | FN_SO_SNDBUF_LOCKED);
	tp->sk.ttl = lp->sk.ttl;
	tp->sk.tos = lp->sk.tos;
	tp->sk.rcvbuf = lp->sk.rcvbuf;
	tp->sk.sndbuf = lp->sk.sndbuf;
	tp->sk.rcvlowat = lp->sk.rcvlowat;
	tp->nonagle = lp->nonagle;
	tp->user_mss = lp->user_mss;
	tp->linger = lp->linger;
	tp->linger2 = lp->linger2;
	tp->keepidle = lp->keepidle;
	tp->keepintvl = lp->keepintvl;
	tp->keepcnt = lp->keepcnt;
	tp->user_timeout = lp->user_timeout;
	tp->notsent_lowat = lp->notsent_lowat;
	tp->window_clamp = lp->window_clamp;
	tp->cc_id = lp->cc_id;
	tp->syn_retries = lp->syn_retries;
}

static void take_numbers(struct fn_tcp *tp, const struct fn_tcp_req *req)
{
	tp->feat = req->feat;
	tp->snd_wscale = req->feat & FN_TCP_F_WSCALE ? req->snd_wscale : 0;
	tp->rcv_wscale = req->rcv_wscale;
	tp->rcv_nxt = tp->rcv_wup = tp->copied_seq = req->rcv_isn + 1;
	tp->rcv_wnd = req->rcv_wnd;
	tp->snd_una = req->snd_isn;
	tp->snd_nxt = tp->write_seq = req->snd_isn + 1;
	tp->snd_up = tp->snd_una;
	tp->ts_off = req->ts_off;
	tp->ts_recent = req->ts_recent;
	tp->ts_recent_stamp = tp->sk.st->now;
	tp->mss_clamp = req->mss;
	tp->lsndtime = req->sent;
	tp->retransmits = req->retrans;
	tp->f.total_retrans = req->retrans;
}

struct fn_tcp *fn_tcp_req_promote(struct fn_stack *st, struct fn_tcp_req *req)
{
	const struct fn_sock *sk = fn_mini_sk(req);
	struct fn_path path;
	struct fn_tcp *tp;

	if (open_path(st, req, &path))
		return NULL;
	tp = fn_tcp_new(st);
	if (!tp) {
		st->stats.sock_refused++;
		return NULL;
	}
	inherit(tp, req->listener);
	take_numbers(tp, req);
	tp->path = path;
	tp->advmss = our_mss(req->listener, &path);
	tp->listener = req->listener;
	tp->sk.local = sk->local;
	tp->sk.remote = sk->remote;
	tp->sk.nic_index = path.nic->index;
	if (req->listed) {
		fn_demux_replace_conn(st, fn_mini_sk(req), &tp->sk);
		fn_tcp_req_free(st, req);
	} else {
		fn_demux_add_hashed(st, &tp->sk, sk->hash);
	}
	fn_tcp_set_state(tp, FN_TCP_SYN_RCVD);
	st->stats.tcp_passive_open++;
	return tp;
}

/* The connection must leave SYN_RCVD with this segment; one that does not is dropped, for nobody would time it out. */
int fn_tcp_first_segment(struct fn_tcp *tp, struct fn_pkt *p, struct fn_tcp_seg *seg)
{
	int ret = fn_tcp_segment(tp, p, seg);

	if (tp->listener) {
		tp->listener = NULL;
		tp->dead = true;
		if (tp->sk.tcp_state != FN_TCP_CLOSED)
			fn_tcp_done(tp);
		else
			fn_tcp_burst_add(tp, FN_BURST_DEAD);
	}
	return ret;
}

/* ---- a segment for a half-open connection: RFC 9293 3.10.7.4 for SYN-RECEIVED, and Linux's tcp_check_req ---- */

static bool paws_old(const struct fn_tcp_req *req, const struct fn_tcp_seg *seg)
{
	return seg->has_ts && req->feat & FN_TCP_F_TS && (int32_t)(req->ts_recent - seg->tsval) > FN_TCP_PAWS_WINDOW;
}

static bool in_window(const struct fn_tcp_req *req, const struct fn_tcp_seg *seg)
{
	uint32_t nxt = req->rcv_isn + 1;

	return !fn_seq_lt(seg->end_seq, nxt) && !fn_seq_gt(seg->seq, nxt + req->rcv_wnd);
}

static int drop_with_ack(struct fn_stack *st, struct fn_tcp_req *req, struct fn_pkt *p, const struct fn_tcp_seg *seg,
			 enum fn_drop why)
{
	if (!(seg->flags & FN_TCP_RST) && !fn_tcp_oow_limited(st, seg, &req->oow_time))
		send_ack(st, req);
	return fn_drop(st, p, why);
}

/* First to fourth step. 0: go on. */
static int check_control(struct fn_stack *st, struct fn_tcp_req *req, struct fn_pkt *p, const struct fn_tcp_seg *seg)
{
	bool old = paws_old(req, seg);

	/* the client's SYN again: our SYN-ACK was lost */
	if (seg->seq == req->rcv_isn && !old &&
	    (seg->flags & (FN_TCP_SYN | FN_TCP_RST | FN_TCP_ACK)) == FN_TCP_SYN) {
		if (!fn_tcp_oow_limited(st, seg, &req->oow_time)) {
			fn_tcp_send_synack(st, req);
			st->stats.tcp_retrans++;
		}
		return fn_drop(st, p, FN_DROP_TCP_OLD);
	}
	/* first: sequence number */
	if (old || !in_window(req, seg))
		return drop_with_ack(st, req, p, seg, old ? FN_DROP_TCP_PAWS : FN_DROP_TCP_WINDOW);
	/* second: RST (RFC 5961 3.2) */
	if (seg->flags & FN_TCP_RST) {
		if (seg->seq != req->rcv_isn + 1)
			return fn_drop(st, p, FN_DROP_TCP_RST_SEQ);
		st->stats.tcp_rst_in++;
		st->stats.tcp_failed_open++;
		fn_tcp_req_free(st, req);
		return fn_drop(st, p, FN_DROP_TCP_CLOSED);
	}
	/* fourth: SYN (RFC 5961 4.2) */
	if (seg->flags & FN_TCP_SYN && seg->seq != req->rcv_isn)
		return drop_with_ack(st, req, p, seg, FN_DROP_TCP_SYN_WINDOW);
	return 0;
}

struct fn_tcp *fn_tcp_req_input(struct fn_stack *st, struct fn_tcp_req *req, struct fn_pkt *p,
				const struct fn_tcp_seg *seg, int *ret)
{
	struct fn_tcp *lp = req->listener, *tp;

	*ret = check_control(st, req, p, seg);
	if (*ret)
		return NULL;
	/* fifth: ACK */
	if (!(seg->flags & FN_TCP_ACK)) {
		*ret = fn_drop(st, p, FN_DROP_TCP_NO_ACK);
		return NULL;
	}
	if (seg->ack != req->snd_isn + 1) {
		fn_tcp_send_rst_for(st, p, seg);
		*ret = fn_drop(st, p, FN_DROP_TCP_ACK_RANGE);
		return NULL;
	}
	if (seg->has_ts && !fn_seq_gt(seg->seq, req->rcv_isn + 1))
		req->ts_recent = seg->tsval;
	if (req->timeouts < lp->defer_accept && seg->end_seq == req->rcv_isn + 1) {	/* nothing to read yet */
		req->acked = true;
		fn_pkt_free(p);
		return NULL;
	}
	if (fn_tcp_accept_full(lp)) {
		req->acked = true;
		*ret = fn_drop(st, p, FN_DROP_TCP_BACKLOG);
		return NULL;
	}
	tp = fn_tcp_req_promote(st, req);
	if (!tp)
		*ret = fn_drop(st, p, FN_DROP_NO_SOCK_MEM);
	return tp;
}
