/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * A listener: RFC 9293 3.10.7.2, its two queues and their limits (Linux's: SYN queue by backlog, then cookies; accept
 * queue one beyond backlog). The half-open connections themselves are tcp_req.c's.
 */
#include <errno.h>
#include <poll.h>
#include <string.h>

#include "tcp.h"

int fn_tcp_listen(struct fn_sock *sk, int backlog)
{
	struct fn_tcp *lp = fn_tcp_sk(sk);
	int err = 0;

	if (sk->tcp_state == FN_TCP_LISTEN) {
		lp->l.backlog = (uint32_t)backlog;
		return 0;
	}
	if (sk->tcp_state != FN_TCP_CLOSED)
		return -EINVAL;
	if (!sk->local.port)
		sk->local.port = fn_demux_ephemeral(sk->st, sk, sk->local.ip4, NULL);
	if (!sk->local.port)
		return -EADDRINUSE;
	if (!(sk->opts & FN_SO_IN_BOUND))
		err = fn_demux_conns_clash(sk->st, sk) ? -EADDRINUSE : fn_demux_bind(sk->st, sk);
	if (!err)
		err = fn_demux_listen(sk->st, sk);
	if (err)
		return err;
	memset(&lp->l, 0, sizeof(lp->l));
	lp->l.backlog = (uint32_t)backlog;
	sk->shut = 0;
	sk->remote = (struct fn_ep){ 0 };
	fn_tcp_set_state(lp, FN_TCP_LISTEN);
	return 0;
}

/* ---- the accept queue ---- */

void fn_tcp_listen_enqueue(struct fn_tcp *lp, struct fn_tcp *tp)
{
	tp->accept_queued = true;
	tp->accept_next = NULL;
	if (lp->l.accept_tail)
		lp->l.accept_tail->accept_next = tp;
	else
		lp->l.accept_head = tp;
	lp->l.accept_tail = tp;
	lp->l.accept_len++;
	fn_sock_ready(&lp->sk, FN_POLL_DATA);
}

static struct fn_tcp *dequeue(struct fn_tcp *lp)
{
	struct fn_tcp *tp = lp->l.accept_head;

	if (!tp)
		return NULL;
	lp->l.accept_head = tp->accept_next;
	if (!lp->l.accept_head)
		lp->l.accept_tail = NULL;
	lp->l.accept_len--;
	tp->accept_queued = false;
	tp->accept_next = NULL;
	return tp;
}

/* A connection that was reset meanwhile is handed out as well, as Linux does; its first read tells. */
struct fn_sock *fn_tcp_accept(struct fn_sock *listener, void *user)
{
	struct fn_tcp *tp;

	if (listener->tcp_state != FN_TCP_LISTEN)
		return NULL;
	tp = dequeue(fn_tcp_sk(listener));
	if (!tp)
		return NULL;
	tp->sk.user = user;
	if (tp->ack & FN_ACK_SCHED && tp->sk.tcp_state != FN_TCP_CLOSED)
		fn_tcp_hold_ack(tp, FN_ACK_ROUNDS);
	listener->st->stats.sock_created++;
	return &tp->sk;
}

/* More than backlog wait: Linux's sk_acceptq_is_full. */
bool fn_tcp_accept_full(const struct fn_tcp *lp)
{
	return lp->l.accept_len > lp->l.backlog;
}

void fn_tcp_listen_stop(struct fn_tcp *lp)
{
	struct fn_tcp *tp;

	while (lp->l.reqs)
		fn_tcp_req_free(lp->sk.st, lp->l.reqs);
	while ((tp = dequeue(lp))) {
		tp->dead = true;
		if (tp->sk.tcp_state == FN_TCP_CLOSED)
			fn_tcp_destroy(tp);
		else
			fn_tcp_reset_peer(tp);
	}
}

/* ---- RFC 9293 3.10.7.2 ---- */

/* The SYN queue is full: answer without keeping anything (RFC 4987 3.6). */
static int answer_with_cookie(struct fn_stack *st, struct fn_tcp *lp, struct fn_pkt *p, const struct fn_tcp_seg *seg)
{
	struct fn_tcp_req req;

	if (!st->conf.syn_cookies)
		return fn_drop(st, p, FN_DROP_TCP_SYN_QUEUE);
	fn_tcp_req_fill(&req, lp, p, seg);
	fn_tcp_cookie_make(st, &req);
	fn_tcp_send_synack(st, &req);
	st->stats.tcp_syn_cookies++;
	return fn_drop(st, p, FN_DROP_TCP_SYN_QUEUE);
}

static int take_syn(struct fn_stack *st, struct fn_tcp *lp, struct fn_pkt *p, const struct fn_tcp_seg *seg, uint32_t isn)
{
	struct fn_tcp_req *req;

	if (seg->flags & FN_TCP_FIN)
		return fn_drop(st, p, FN_DROP_TCP_FLAGS);
	if (fn_tcp_accept_full(lp))
		return fn_drop(st, p, FN_DROP_TCP_BACKLOG);
	if (lp->l.syn_len >= lp->l.backlog && !isn)
		return answer_with_cookie(st, lp, p, seg);
	req = fn_tcp_req_new(lp, p, seg, isn);
	if (!req)
		return answer_with_cookie(st, lp, p, seg);
	fn_tcp_send_synack(st, req);
	fn_pkt_free(p);		/* text that came with the SYN comes again: RFC 9293 lets it be queued, few do */
	return 0;
}

/* An ACK for a listener is a cookie's, or nothing's. */
static int take_ack(struct fn_stack *st, struct fn_tcp *lp, struct fn_pkt *p, struct fn_tcp_seg *seg)
{
	struct fn_tcp_req req;
	struct fn_tcp *tp;

	fn_tcp_req_fill(&req, lp, p, seg);
	if (!fn_tcp_cookie_check(st, &req, seg)) {
		fn_tcp_send_rst_for(st, p, seg);
		return fn_drop(st, p, st->tcp->cookies_sent ? FN_DROP_TCP_COOKIE : FN_DROP_TCP_LISTEN);
	}
	st->stats.tcp_syn_cookies_ok++;
	if (fn_tcp_accept_full(lp))
		return fn_drop(st, p, FN_DROP_TCP_BACKLOG);
	tp = fn_tcp_req_promote(st, &req);
	if (!tp)
		return fn_drop(st, p, FN_DROP_NO_SOCK_MEM);
	return fn_tcp_first_segment(tp, p, seg);
}

int fn_tcp_listen_input(struct fn_stack *st, struct fn_tcp *lp, struct fn_pkt *p, struct fn_tcp_seg *seg, uint32_t isn)
{
	/* first: RST */
	if (seg->flags & FN_TCP_RST)
		return fn_drop(st, p, FN_DROP_TCP_LISTEN);
	/* second: ACK */
	if (seg->flags & FN_TCP_ACK) {
		if (!(seg->flags & FN_TCP_SYN))
			return take_ack(st, lp, p, seg);
		fn_tcp_send_rst_for(st, p, seg);
		return fn_drop(st, p, FN_DROP_TCP_LISTEN);
	}
	/* third: SYN */
	if (seg->flags & FN_TCP_SYN)
		return take_syn(st, lp, p, seg, isn);
	/* fourth: other text or control */
	return fn_drop(st, p, FN_DROP_TCP_LISTEN);
}
