/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * What the program does to a connection's life: connect, disconnect, shutdown, close (RFC 9293 3.10.1, 3.10.4, 3.10.5).
 * Reads no packet and sends nothing but SYN, FIN and RST.
 */
#include <errno.h>
#include <poll.h>
#include <string.h>

#include "tcp.h"

/* ---- connect ---- */

/* Bind what bind() left open, or see whether the 4-tuple is free; .hash is its. -EADDRNOTAVAIL as Linux. */
static int pick_port(struct fn_tcp *tp, uint32_t laddr, const struct fn_ep *remote)
{
	struct fn_sock *sk = &tp->sk, *other;
	struct fn_ep local = { laddr, sk->local.port, 0 };
	uint32_t hash;

	if (!local.port) {
		local.port = fn_demux_ephemeral(sk->st, sk, laddr, remote);
		if (!local.port)
			return -EADDRNOTAVAIL;
		sk->opts |= FN_SO_EPHEMERAL;
	}
	hash = fn_hash4(sk->st, remote->ip4, local.ip4, remote->port, local.port);
	other = fn_demux_conn(sk->st, hash, &local, remote);
	if (other) {
		struct fn_tcp_tw *tw = (struct fn_tcp_tw *)other;

		if (!fn_tcp_tw_reusable(other))
			return -EADDRNOTAVAIL;
		/* RFC 6191: beyond what the old connection used, with its timestamps as the floor */
		tp->write_seq = tw->snd_nxt + 65535 + 2;
		tp->ts_recent = tw->ts_recent;
		tp->ts_recent_stamp = tw->ts_recent_stamp;
		sk->st->stats.tcp_time_wait_reused++;
		fn_tcp_tw_free(sk->st, tw);
	}
	sk->local = local;
	sk->hash = hash;
	return 0;
}

/* Back to how a socket is born, but for what the program has set. */
static void forget(struct fn_tcp *tp)
{
	fn_tcp_purge(tp);
	tp->sk.remote = (struct fn_ep){ 0 };
	if (!(tp->sk.opts & FN_SO_BOUND_ADDR))
		tp->sk.local.ip4 = 0;
	if (!(tp->sk.opts & FN_SO_BOUND_PORT))
		tp->sk.local.port = 0;
	tp->sk.opts &= (uint16_t)~FN_SO_EPHEMERAL;
	tp->sk.shut = 0;
	tp->sk.soft_error = 0;
	memset(&tp->f, 0, sizeof(tp->f));
	tp->snd_una = tp->snd_nxt = tp->write_seq = 0;
	tp->rcv_nxt = tp->copied_seq = tp->rcv_wup = tp->rcv_wnd = 0;
	tp->snd_wnd = tp->max_window = 0;
	tp->feat = tp->ack = tp->quick = 0;
	tp->pingpong = tp->fin_queued = tp->fin_rcvd = tp->sack_out = tp->cwnd_limited = false;
	tp->ca_state = FN_CA_OPEN;
	tp->retransmits = tp->backoff = tp->probes_out = 0;
	tp->probes_stamp = tp->ts_recent_stamp = 0;
	tp->urg_data = 0;
	tp->head_len = 0;
	tp->ato = 0;
	tp->bytes_acked = tp->bytes_received = 0;
	tp->segs_in = tp->segs_out = 0;
	fn_tcp_rtt_reset(tp);
}

static int connect_allowed(const struct fn_tcp *tp)
{
	if (tp->sk.tcp_state == FN_TCP_SYN_SENT || tp->sk.tcp_state == FN_TCP_SYN_RCVD)
		return -EALREADY;
	return tp->sk.tcp_state == FN_TCP_CLOSED ? 0 : -EISCONN;
}

/* The parameters of our SYN (tcp_connect_init). */
static void init_syn(struct fn_tcp *tp)
{
	struct fn_stack *st = tp->sk.st;
	uint16_t mss = (uint16_t)(tp->path.mtu - FN_IP4_LEN - FN_TCP_LEN);

	tp->feat = FN_TCP_F_TS | FN_TCP_F_SACK | FN_TCP_F_WSCALE;
	tp->advmss = tp->user_mss ? fn_min(mss, tp->user_mss) : mss;
	tp->mss_clamp = FN_TCP_MSS_DEFAULT;	/* until the peer names its own */
	tp->rcv_wscale = fn_tcp_pick_wscale(tp);
	tp->rcv_wnd = fn_tcp_win_from_space(tp->sk.rcvbuf);
	if (tp->window_clamp)
		tp->rcv_wnd = fn_min(tp->rcv_wnd, tp->window_clamp);
	tp->rcv_wnd = fn_min(tp->rcv_wnd, 0xffffu);	/* what the SYN can say */
	tp->ts_off = fn_tcp_ts_off(st, tp->sk.local.ip4, tp->sk.remote.ip4);
	if (!tp->write_seq)
		tp->write_seq = fn_tcp_isn(st, &tp->sk.local, &tp->sk.remote);
	tp->snd_una = tp->write_seq;
	tp->snd_nxt = ++tp->write_seq;
	tp->snd_up = tp->snd_una;
	tp->lsndtime = st->now;
	fn_tcp_rtt_reset(tp);
	fn_tcp_sync_mss(tp);
}

int fn_tcp_connect(struct fn_sock *sk, const struct fn_ep *remote)
{
	struct fn_tcp *tp = fn_tcp_sk(sk);
	struct fn_stack *st = sk->st;
	struct fn_path path;
	uint8_t shut;
	int err = connect_allowed(tp);

	if (err)
		return err;
	fn_tcp_busy(tp);
	if (fn_ip4_is_bcast(st, remote->ip4))
		return -ENETUNREACH;
	err = fn_path_to(st, &path, remote, sk->opts & FN_SO_BOUND_ADDR ? sk->local.ip4 : 0, FN_IPPROTO_TCP);
	if (err)
		return err;
	/* what would leave before the SYN leaves before: the port may have been another connection's */
	if (path.nic->ops->open && path.nic->txq_len) {
		fn_stack_flush_staged(st);
		fn_tcp_busy(tp);
	}
	shut = sk->shut;
	forget(tp);
	sk->shut = shut;	/* what shutdown() has said before stays (tcp_v4_connect) */
	sk->error = 0;		/* tcp_connect_init */
	err = pick_port(tp, path.src, remote);
	if (err)
		return err;
	path.ttl = sk->ttl;
	path.tos = sk->tos;
	tp->path = path;
	sk->nic_index = path.nic->index;
	sk->remote = *remote;
	init_syn(tp);
	fn_tcp_set_state(tp, FN_TCP_SYN_SENT);
	fn_demux_add_hashed(st, sk, sk->hash);
	st->stats.tcp_active_open++;
	if (!fn_tcp_open_at_once(tp)) {
		fn_tcp_rearm_rto(tp);
		fn_tcp_send_syn(tp);	/* lost is lost: the timer sends it again */
	}
	return -EINPROGRESS;
}

/* ---- disconnect ---- */

#define NEED_RESET	(1u << FN_TCP_ESTABLISHED | 1u << FN_TCP_CLOSE_WAIT | 1u << FN_TCP_FIN_WAIT1 | \
			 1u << FN_TCP_FIN_WAIT2 | 1u << FN_TCP_SYN_RCVD)

/* Where Linux leaves the sequence numbers, which the length of the queue and TCP_NOTSENT_LOWAT go by. */
static void forget_but_numbers(struct fn_tcp *tp)
{
	uint32_t una = tp->snd_una, nxt = tp->snd_nxt, max = tp->max_window, end = tp->write_seq + max + 2;

	forget(tp);
	tp->snd_una = una;
	tp->snd_nxt = nxt;
	tp->write_seq = end;
	tp->max_window = max;
}

/* RFC 9293 3.10.5; tcp_disconnect. The port's number stays to be seen, but is free (__inet_put_port). */
int fn_tcp_disconnect(struct fn_sock *sk)
{
	struct fn_tcp *tp = fn_tcp_sk(sk);
	unsigned state = sk->tcp_state;
	uint16_t port = sk->local.port;

	fn_tcp_busy(tp);
	if (state == FN_TCP_LISTEN) {
		fn_tcp_listen_stop(tp);
	} else if (NEED_RESET >> state & 1 || (tp->snd_nxt != tp->write_seq &&
					       (state == FN_TCP_CLOSING || state == FN_TCP_LAST_ACK))) {
		if (!fn_tcp_send_bare(tp, FN_TCP_RST | FN_TCP_ACK, tp->snd_nxt))
			sk->st->stats.tcp_rst_out++;
		sk->error = ECONNRESET;
	} else if (state == FN_TCP_SYN_SENT) {
		sk->error = ECONNRESET;
	}
	fn_tcp_done(tp);
	forget_but_numbers(tp);
	sk->local.port = port;
	return 0;
}

/* ---- shutdown ---- */

/* CLOSE of RFC 9293 3.10.4 for the half that writes; true: a FIN is to be sent. In SYN_RCVD it waits for ESTABLISHED. */
static bool close_state(struct fn_tcp *tp)
{
	switch ((enum fn_tcp_state)tp->sk.tcp_state) {
	case FN_TCP_ESTABLISHED:
		fn_tcp_set_state(tp, FN_TCP_FIN_WAIT1);
		return true;
	case FN_TCP_CLOSE_WAIT:
		fn_tcp_set_state(tp, FN_TCP_LAST_ACK);
		return true;
	case FN_TCP_SYN_SENT:
		fn_tcp_done(tp);
		return false;
	case FN_TCP_SYN_RCVD:
	case FN_TCP_FIN_WAIT1:
	case FN_TCP_FIN_WAIT2:
	case FN_TCP_TIME_WAIT:
	case FN_TCP_CLOSED:
	case FN_TCP_LAST_ACK:
	case FN_TCP_LISTEN:
	case FN_TCP_CLOSING:
	case FN_TCP_NEW_SYN_RCVD:
		return false;
	}
	return false;
}

void fn_tcp_late_close(struct fn_tcp *tp)
{
	if (tp->sk.shut & FN_SHUT_WR && close_state(tp))
		fn_tcp_send_fin(tp);
}

int fn_tcp_shutdown(struct fn_sock *sk, unsigned how)
{
	struct fn_tcp *tp = fn_tcp_sk(sk);
	unsigned state = sk->tcp_state;

	fn_tcp_busy(tp);
	if (state == FN_TCP_LISTEN || state == FN_TCP_SYN_SENT) {
		if (state == FN_TCP_SYN_SENT || how & FN_SHUT_RD)
			fn_tcp_disconnect(sk);
		return 0;
	}
	sk->shut |= (uint8_t)how;
	if (how & FN_SHUT_WR && close_state(tp))
		fn_tcp_send_fin(tp);
	fn_sock_ready(sk, FN_POLL_STATE);
	return state == FN_TCP_CLOSED ? -ENOTCONN : 0;
}

/* ---- close ---- */

/* Only FIN_WAIT2 needs no segment of ours any more; a slim object waits for the peer's FIN. */
static void leave_fin_wait2(struct fn_tcp *tp)
{
	uint64_t tw = tp->sk.st->conf.time_wait_ms * FN_MSEC, t = fn_tcp_fin_time(tp);

	if (tp->linger2 < 0)
		fn_tcp_reset_peer(tp);
	else if (t > tw)
		fn_tcp_set_due(tp, FN_DUE_KEEP, tp->sk.st->now + t - tw);
	else
		fn_tcp_time_wait(tp, FN_TCP_FIN_WAIT2, t);
}

static bool unread_data(const struct fn_tcp *tp)
{
	return tp->sk.rxq.head != NULL;
}

void fn_tcp_close(struct fn_sock *sk)
{
	struct fn_tcp *tp = fn_tcp_sk(sk);
	bool unread = unread_data(tp);

	sk->user = NULL;
	sk->shut = FN_SHUT_RD | FN_SHUT_WR;
	fn_pktq_purge(&sk->rxq);
	sk->rx_charged = 0;
	if (sk->tcp_state == FN_TCP_LISTEN) {
		fn_tcp_listen_stop(tp);
		fn_tcp_done(tp);
	} else if (sk->tcp_state == FN_TCP_CLOSED) {
		;
	} else if (unread) {	/* RFC 2525 2.17, RFC 9293 3.10.4 on CLOSE with data unread */
		fn_tcp_reset_peer(tp);
	} else if (sk->opts & FN_SO_LINGER && !tp->linger) {
		fn_tcp_disconnect(sk);
	} else if (close_state(tp)) {
		fn_tcp_send_fin(tp);
	}
	tp->dead = true;
	if (sk->tcp_state == FN_TCP_CLOSED) {
		fn_tcp_destroy(tp);
		return;
	}
	fn_tcp_clear_due(tp, FN_DUE_KEEP);
	if (sk->tcp_state == FN_TCP_FIN_WAIT2)
		leave_fin_wait2(tp);
}

/* ---- what exit waits for ---- */

bool fn_tcp_unsent(const struct fn_sock *sk)
{
	const struct fn_tcp *tp = (const struct fn_tcp *)sk;
	unsigned s = sk->tcp_state;

	if (s == FN_TCP_CLOSED || s == FN_TCP_LISTEN || s == FN_TCP_SYN_SENT || fn_tcp_fin_got(tp))
		return false;
	return tp->snd_una != tp->write_seq ||
	       ((s == FN_TCP_FIN_WAIT1 || s == FN_TCP_CLOSING || s == FN_TCP_LAST_ACK) && !tp->fin_queued);
}

unsigned fn_tcp_draining(const struct fn_stack *st)
{
	unsigned n = 0;

	for (uint32_t i = 1; i < st->tcp_pool.made; i++) {
		const struct fn_tcp *tp = fn_pool_at(&st->tcp_pool, i);

		n += tp->sk.kind == FN_SOCK_TCP && tp->dead && fn_tcp_unsent(&tp->sk);
	}
	return n;
}
