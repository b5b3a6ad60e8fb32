/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * What ICMP and ARP tell a connection: RFC 9293 3.9.2.2, with RFC 5927's checks, errors at the places where Linux gives
 * them (tcp_v4_err), and the path MTU (RFC 1191).
 */
#include <errno.h>
#include <poll.h>

#include "tcp.h"

/* RFC 1191, RFC 5927 7.2: only a smaller value counts, and none below Linux's floor. */
static int frag_needed(struct fn_tcp *tp, uint32_t mtu)
{
	if (mtu < FN_TCP_MIN_PMTU)
		mtu = FN_TCP_MIN_PMTU;
	if (mtu >= tp->path.mtu)
		return 0;
	tp->path.mtu = mtu;
	if (tp->sk.tcp_state == FN_TCP_SYN_SENT)
		return 0;
	fn_tcp_sync_mss(tp);
	fn_tcp_simple_retransmit(tp);
	return 0;
}

/* IP_RECVERR: the program hears of it at once, the connection goes on (tcp_v4_err). */
static fn_cold void fail_open(struct fn_tcp *tp, int err)
{
	tp->sk.error = err;
	fn_sock_ready(&tp->sk, POLLERR);
}

/* An attempt fails with the error; an open connection only remembers it (RFC 9293 MUST-56, RFC 5461). */
static void hard_or_soft(struct fn_tcp *tp, int err)
{
	if (tp->sk.tcp_state == FN_TCP_SYN_SENT || tp->sk.tcp_state == FN_TCP_SYN_RCVD)
		fn_tcp_abort(tp, err);
	else if (tp->sk.opts & FN_SO_RECVERR)
		fail_open(tp, err);
	else
		tp->sk.soft_error = err;
}

/* A half-open connection goes when the error quotes its SYN-ACK. */
static int for_req(struct fn_stack *st, struct fn_tcp_req *req, uint32_t seq)
{
	if (seq != req->snd_isn)
		return -FN_DROP_ICMP_SEQ;
	fn_tcp_req_free(st, req);
	return 0;
}

int fn_tcp_icmp(struct fn_stack *st, const struct fn_ep *local, const struct fn_ep *remote, uint32_t seq, uint8_t type,
		uint8_t code, uint32_t mtu)
{
	uint32_t hash = fn_hash4(st, remote->ip4, local->ip4, remote->port, local->port);
	struct fn_sock *sk = fn_demux_conn(st, hash, local, remote);
	struct fn_tcp *tp;
	bool fatal;
	int err;

	if (!sk || sk->tcp_state == FN_TCP_TIME_WAIT)
		return -FN_DROP_ICMP_NO_SOCK;
	if (type == FN_ICMP_UNREACH && code == FN_ICMP_UNREACH_FRAG)
		err = 0;
	else if (!(err = fn_icmp_errno(type, code, &fatal)))
		return 0;
	if (sk->tcp_state == FN_TCP_NEW_SYN_RCVD)
		return err ? for_req(st, (struct fn_tcp_req *)sk, seq) : 0;
	tp = fn_tcp_sk(sk);
	if (!fn_seq_between(seq, tp->snd_una, tp->snd_nxt))	/* RFC 5927 4.1 */
		return -FN_DROP_ICMP_SEQ;
	if (!err)
		return frag_needed(tp, mtu);
	hard_or_soft(tp, err);
	return 0;
}

void fn_tcp_neigh_failed(struct fn_stack *st, uint32_t next_hop)
{
	for (uint32_t i = 1; i < st->tcp_pool.made; i++) {
		struct fn_tcp *tp = fn_pool_at(&st->tcp_pool, i);

		if (tp->sk.kind != FN_SOCK_TCP || tp->sk.tcp_state == FN_TCP_CLOSED || tp->sk.tcp_state == FN_TCP_LISTEN)
			continue;
		if (!tp->path.local && tp->path.next_hop == next_hop && tp->snd_nxt != tp->snd_una)
			hard_or_soft(tp, EHOSTUNREACH);
	}
}
