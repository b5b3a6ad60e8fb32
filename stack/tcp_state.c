/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * The life of a connection: made, opened, given its parameters, ended, freed. Owns tcp_state (RFC 9293 3.3.2); reads no
 * packet. A connection that its program has closed lives on until its state machine is through; it is freed at the end
 * of the burst, so that nobody on the way down to here holds a pointer to freed memory.
 */
#include <errno.h>
#include <netinet/in.h>
#include <poll.h>
#include <string.h>

#include "tcp.h"

#define ALL_EVENTS	(POLLIN | POLLRDNORM | POLLOUT | POLLWRNORM | POLLERR | POLLHUP | POLLRDHUP)

#define B(s)	(1u << FN_TCP_##s)

/* Where each state may go: RFC 9293 figure 5, and CLOSED from everywhere (reset, time-out, disconnect). */
static const uint16_t legal[] = {
	[FN_TCP_ESTABLISHED] = B(FIN_WAIT1) | B(CLOSE_WAIT) | B(CLOSED),
	[FN_TCP_SYN_SENT] = B(SYN_RCVD) | B(ESTABLISHED) | B(CLOSED),
	[FN_TCP_SYN_RCVD] = B(ESTABLISHED) | B(FIN_WAIT1) | B(CLOSE_WAIT) | B(CLOSED),
	[FN_TCP_FIN_WAIT1] = B(FIN_WAIT2) | B(CLOSING) | B(TIME_WAIT) | B(CLOSED),
	[FN_TCP_FIN_WAIT2] = B(TIME_WAIT) | B(CLOSED),
	[FN_TCP_TIME_WAIT] = B(CLOSED),
	[FN_TCP_CLOSED] = B(SYN_SENT) | B(LISTEN) | B(SYN_RCVD),
	[FN_TCP_CLOSE_WAIT] = B(LAST_ACK) | B(CLOSED),
	[FN_TCP_LAST_ACK] = B(CLOSED),
	[FN_TCP_LISTEN] = B(CLOSED),
	[FN_TCP_CLOSING] = B(TIME_WAIT) | B(CLOSED),
};

void fn_tcp_set_state(struct fn_tcp *tp, enum fn_tcp_state state)
{
	fn_assert(tp->sk.tcp_state == state || legal[tp->sk.tcp_state] >> state & 1);
	tp->sk.tcp_state = (uint8_t)state;
	fn_tcp_pred_update(tp);
}

/* ---- making and freeing ---- */

static void clear_timers(struct fn_tcp *tp)
{
	fn_timer_cancel(&tp->sk.st->wheel, &tp->timer);
	for (unsigned i = 0; i < FN_DUE_COUNT; i++)
		tp->due[i] = FN_NEVER;
	tp->rtx_kind = FN_RTX_NONE;
}

struct fn_tcp *fn_tcp_new(struct fn_stack *st)
{
	struct fn_tcp *tp = fn_pool_alloc(&st->tcp_pool);

	if (!tp)
		return NULL;
	fn_sock_init(st, &st->tcp_pool, &tp->sk, FN_SOCK_TCP);
	tp->sk.sndbuf = st->conf.tcp_sndbuf;
	tp->sk.rcvbuf = st->conf.tcp_rcvbuf;
	tp->sk.tcp_state = FN_TCP_CLOSED;
	tp->timer.fn = fn_tcp_timer;
	tp->cc_id = (uint8_t)st->conf.cc;
	tp->rcv_mss = FN_TCP_MSS_MIN;	/* until the handshake tells more */
	tp->linger = -1;
	tp->mtu_discover = IP_PMTUDISC_WANT;
	clear_timers(tp);
	fn_tcp_rtt_reset(tp);
	return tp;
}

int fn_tcp_init(struct fn_stack *st)
{
	struct fn_tcp_stack *ts = fn_arena_alloc(st->arena, sizeof(*ts));

	if (!ts)
		return -ENOMEM;
	st->tcp = ts;
	fn_pool_init(&st->tcp_pool, st->arena, sizeof(struct fn_tcp), 32, st->conf.max_tcp);
	fn_pool_init(&ts->req_pool, st->arena, sizeof(struct fn_tcp_req), 32, st->conf.max_tcp);
	fn_pool_init(&ts->tw_pool, st->arena, sizeof(struct fn_tcp_tw), 32, st->conf.max_tcp);
	return 0;
}

struct fn_sock *fn_tcp_open(struct fn_stack *st)
{
	struct fn_tcp *tp = fn_tcp_new(st);

	return tp ? &tp->sk : NULL;
}

static void purge_queue(struct fn_tcp *tp, struct fn_pktq *q)
{
	struct fn_pkt *p;

	while ((p = fn_pktq_pop(q)))
		fn_tcp_tx_free(tp, p);
}

void fn_tcp_purge_tx(struct fn_tcp *tp)
{
	fn_tcp_sack_clear(tp);
	purge_queue(tp, &tp->rtxq);
	purge_queue(tp, &tp->sndq);
}

/* Bytes that came in order stay readable after the end of a connection, unless the program is gone. */
void fn_tcp_purge(struct fn_tcp *tp)
{
	fn_tcp_purge_tx(tp);
	fn_pktq_purge(&tp->oooq);
	fn_pktq_purge(&tp->sk.rxq);
	tp->sk.rx_charged = 0;
}

void fn_tcp_destroy(struct fn_tcp *tp)
{
	struct fn_stack *st = tp->sk.st;

	fn_assert(tp->sk.tcp_state == FN_TCP_CLOSED);
	fn_tcp_burst_del(tp);
	clear_timers(tp);
	fn_demux_del_conn(st, &tp->sk);
	fn_demux_unbind(st, &tp->sk);
	fn_tcp_purge(tp);
	tp->sk.kind = 0;
	fn_pool_free(&st->tcp_pool, tp);
}

/* ---- the end ---- */

void fn_tcp_done(struct fn_tcp *tp)
{
	struct fn_stack *st = tp->sk.st;

	if (tp->sk.tcp_state == FN_TCP_SYN_SENT || tp->sk.tcp_state == FN_TCP_SYN_RCVD)
		st->stats.tcp_failed_open++;
	fn_tcp_set_state(tp, FN_TCP_CLOSED);
	clear_timers(tp);
	fn_tcp_told_close(tp);
	fn_demux_del_conn(st, &tp->sk);
	if (!(tp->sk.opts & (FN_SO_BOUND_PORT | FN_SO_BOUND_ADDR)))
		fn_demux_unbind(st, &tp->sk);
	fn_tcp_purge_tx(tp);
	fn_pktq_purge(&tp->oooq);
	tp->sack_out = false;
	tp->ack = 0;
	tp->sk.shut = FN_SHUT_RD | FN_SHUT_WR;
	if (tp->dead)
		fn_tcp_burst_add(tp, FN_BURST_DEAD);
	else
		fn_sock_ready(&tp->sk, FN_POLL_STATE | (tp->sk.error ? ALL_EVENTS : ALL_EVENTS & ~POLLERR));
}

void fn_tcp_abort(struct fn_tcp *tp, int err)
{
	tp->sk.error = err;
	tp->sk.soft_error = 0;
	fn_tcp_done(tp);
}

void fn_tcp_reset_peer(struct fn_tcp *tp)
{
	if (!fn_tcp_send_bare(tp, FN_TCP_RST | FN_TCP_ACK, tp->snd_nxt))
		tp->sk.st->stats.tcp_rst_out++;
	fn_tcp_done(tp);
}

/* ---- numbers ---- */

/* RFC 6528 3: ISN = M + F(4-tuple, secret); M ticks every 64 ns here, as Linux's. */
uint32_t fn_tcp_isn(struct fn_stack *st, const struct fn_ep *local, const struct fn_ep *remote)
{
	uint32_t ports = (uint32_t)local->port << 16 | remote->port;	/* never what ts_off has there: no port is 0 */

	return (uint32_t)fn_siphash3(st->key, local->ip4, remote->ip4, ports) + (uint32_t)(st->now >> 6);
}

/* A random offset for each pair of hosts (RFC 7323 7.1), the same for all their connections, so that RFC 6191 works. */
uint32_t fn_tcp_ts_off(struct fn_stack *st, uint32_t local, uint32_t remote)
{
	struct fn_tcp_stack *ts = st->tcp;

	if (ts->ts_off_local != local || ts->ts_off_remote != remote) {
		ts->ts_off_local = local;
		ts->ts_off_remote = remote;
		ts->ts_off = (uint32_t)fn_siphash3(st->key, local, remote, 0x5453);
	}
	return ts->ts_off;
}

/* RFC 7323 2.3: large enough for the largest buffer that tuning may reach (tcp_select_initial_window). */
uint8_t fn_tcp_pick_wscale(const struct fn_tcp *tp)
{
	const struct fn_stack_conf *conf = &tp->sk.st->conf;
	uint32_t space = fn_max(conf->rcvbuf_max, tp->sk.rcvbuf);

	if (tp->sk.opts & FN_SO_RCVBUF_LOCKED)
		space = tp->sk.rcvbuf;
	if (tp->window_clamp)
		space = fn_min(space, tp->window_clamp);
	/* what is left of it fits 16 bits */
	return space > 0xffff ? (uint8_t)fn_min(16 - __builtin_clz(space), FN_TCP_WSCALE_MAX) : 0;
}

/* tcp_init_transfer and tcp_init_buffer_space */
void fn_tcp_start(struct fn_tcp *tp)
{
	struct fn_tcp_flow *f = &tp->f;
	uint64_t now = tp->sk.st->now;

	fn_tcp_sync_mss(tp);
	fn_tcp_prepare(tp);
	if (tp->path.nic->caps & FN_NIC_LOSSLESS && !tp->path.local)
		tp->lossless = true;
	tp->ssthresh = INT32_MAX;
	/* RFC 5681 3.1: one segment after a lost SYN, else RFC 6928 */
	tp->cwnd = (tp->retransmits > 1 ? 1u : FN_TCP_INIT_CWND) * tp->mss;
	if (tp->lossless)
		tp->cwnd = INT32_MAX;
	fn_tcp_told_open(tp);
	f->reordering = FN_TCP_DUPTHRESH;
	f->rcvq_time = f->rcv_rtt_time = now;
	f->rcvq_seq = f->rcv_rtt_seq = tp->copied_seq;
	f->rcvq_space = fn_min(tp->rcv_wnd, (uint32_t)FN_TCP_INIT_CWND * tp->advmss);
	f->retrans_stamp = 0;
	tp->rcv_mss = fn_min(fn_min((uint32_t)tp->advmss, (uint32_t)tp->mss), (uint32_t)FN_TCP_MSS_DEFAULT);
	tp->rcv_mss = fn_max(tp->rcv_mss, (uint32_t)FN_TCP_MSS_MIN);
	tp->snd_sml = tp->snd_up = tp->snd_una;
	tp->lsndtime = tp->rcv_tstamp = now;
	tp->retransmits = tp->backoff = tp->probes_out = 0;
	tp->ca_state = FN_CA_OPEN;
	fn_cc(tp)->init(tp);
	fn_tcp_grow_sndbuf(tp);
	if (tp->sk.opts & FN_SO_KEEPALIVE)
		fn_tcp_set_keepalive(tp, true);
	tp->sk.st->stats.tcp_established++;
}
