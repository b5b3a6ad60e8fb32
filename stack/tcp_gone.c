/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * The process at the other end of the fabric has ended. Its kernel would close its sockets: a FIN behind what it had sent,
 * or a reset when it has left something unread. That segment is made here, once, and goes the way of all segments. What is
 * sent to it later is answered by nic_shm.c.
 */
#include <errno.h>
#include <string.h>

#include "tcp.h"

static bool is_its(const struct fn_sock *sk, uint16_t peer)
{
	return sk->kind == FN_SOCK_TCP && sk->remote.peer == peer && sk->opts & FN_SO_IN_CONN;
}

/* What it has left tells; if it has told nothing: bytes, not only a FIN, that its stack has not acknowledged. */
static bool left_unread(const struct fn_tcp *tp)
{
	uint32_t fin = tp->fin_queued && tp->snd_nxt == tp->write_seq;

	if (tp->peer_read)
		return tp->peer_read == FN_PEER_LEFT_UNREAD;
	return tp->snd_nxt - tp->snd_una > fin;
}

static uint8_t last_flags(const struct fn_tcp *tp)
{
	if (tp->sk.tcp_state == FN_TCP_SYN_SENT)
		return FN_TCP_RST | FN_TCP_ACK;
	if (tp->sk.tcp_state == FN_TCP_SYN_RCVD || left_unread(tp))
		return FN_TCP_RST;
	return tp->fin_rcvd ? FN_TCP_ACK : FN_TCP_FIN | FN_TCP_ACK;
}

static void last_segment(struct fn_tcp *tp)
{
	struct fn_pkt *p = fn_nic_alloc(tp->path.nic);
	struct fn_tcp_hdr *th;
	struct fn_tcp_seg seg;
	uint8_t flags = last_flags(tp);

	if (!p) {
		fn_tcp_abort(tp, ECONNRESET);
		return;
	}
	memset(p->data, 0, FN_IP4_LEN + FN_TCP_LEN);
	p->l3 = (uint16_t)(p->data - p->buf);
	p->l4 = (uint16_t)(p->l3 + FN_IP4_LEN);
	p->len = p->pkt_len = FN_IP4_LEN + FN_TCP_LEN;
	fn_pkt_pull(p, FN_IP4_LEN);
	th = (struct fn_tcp_hdr *)p->data;
	*th = (struct fn_tcp_hdr){ .off = FN_TCP_LEN << 2, .flags = flags, .win = 0xffff };
	/* it counts, whatever came last: what waits for a window is to be sent, and answered */
	tp->snd_wl1 = tp->rcv_nxt;
	p->peer = tp->sk.remote.peer;
	p->time = tp->sk.st->now;
	seg = (struct fn_tcp_seg){ .th = th, .seq = tp->rcv_nxt, .ack = tp->snd_nxt, .win = 0xffff, .flags = flags,
		.end_seq = tp->rcv_nxt + !!(flags & FN_TCP_FIN), .has_ts = tp->feat & FN_TCP_F_TS, .tsval = tp->ts_recent };
	fn_tcp_segment(tp, p, &seg);
}

static void each_slim(struct fn_stack *st, const struct fn_pool *pool, uint16_t peer, bool tw)
{
	for (uint32_t i = 1; i < pool->made; i++) {
		void *mini = fn_pool_at(pool, i);

		if (!is_its(fn_mini_sk(mini), peer))
			continue;
		if (tw)
			fn_tcp_tw_free(st, mini);
		else
			fn_tcp_req_free(st, mini);
	}
}

void fn_tcp_peer_gone(struct fn_stack *st, uint16_t peer)
{
	for (uint32_t i = 1; i < st->tcp_pool.made; i++) {
		struct fn_sock *sk = fn_pool_at(&st->tcp_pool, i);

		if (!is_its(sk, peer))
			continue;
		fn_tcp_told_close(fn_tcp_sk(sk));	/* its memory goes with the peer */
		last_segment(fn_tcp_sk(sk));
	}
	each_slim(st, &st->tcp->req_pool, peer, false);
	each_slim(st, &st->tcp->tw_pool, peer, true);
	if (st->burst)
		fn_tcp_end_burst(st);
}

void fn_tcp_peer_late(struct fn_stack *st, uint16_t peer)
{
	for (uint32_t i = 1; i < st->tcp_pool.made; i++) {
		struct fn_sock *sk = fn_pool_at(&st->tcp_pool, i);

		if (is_its(sk, peer) && !fn_timer_armed(&fn_tcp_sk(sk)->timer))
			fn_tcp_timer(&fn_tcp_sk(sk)->timer, st->now);
	}
}

#define SYNCED		(1u << FN_TCP_ESTABLISHED | 1u << FN_TCP_FIN_WAIT1 | 1u << FN_TCP_FIN_WAIT2 | \
			 1u << FN_TCP_CLOSE_WAIT | 1u << FN_TCP_CLOSING | 1u << FN_TCP_LAST_ACK)

/* And a question whether the other end is there: who does not know the connection resets it. */
void fn_tcp_again(struct fn_tcp *tp)
{
	struct fn_pkt *p;

	if (!(SYNCED >> tp->sk.tcp_state & 1))
		return;
	for (p = tp->rtxq.head; p && !fn_tcp_retransmit(tp, p); p = p->next)
		;
	fn_tcp_send_bare(tp, FN_TCP_ACK, tp->snd_una - 1);
}

void fn_tcp_peer_again(struct fn_stack *st, uint16_t peer)
{
	for (uint32_t i = 1; i < st->tcp_pool.made; i++) {
		struct fn_sock *sk = fn_pool_at(&st->tcp_pool, i);

		if (is_its(sk, peer))
			fn_tcp_again(fn_tcp_sk(sk));
	}
}

void fn_tcp_conn_gone(struct fn_sock *sk)
{
	struct fn_stack *st = sk->st;

	if (sk->opts & FN_SO_IN_CONN)
		last_segment(fn_tcp_sk(sk));
	if (st->burst)
		fn_tcp_end_burst(st);
}

bool fn_tcp_peer_used(const struct fn_stack *st, uint16_t peer)
{
	for (uint32_t i = 1; i < st->tcp_pool.made; i++)
		if (is_its(fn_pool_at(&st->tcp_pool, i), peer))
			return true;
	return false;
}
