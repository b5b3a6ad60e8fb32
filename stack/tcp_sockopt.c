/* SPDX-License-Identifier: BSD-3-Clause */
/* Options of the TCP level, with Linux's ranges, defaults and side effects (do_tcp_setsockopt, do_tcp_getsockopt). */
#include <errno.h>
#include <netinet/in.h>

#include "tcp.h"

#define MAX_KEEPIDLE	32767	/* MAX_TCP_KEEPIDLE */
#define MAX_KEEPINTVL	32767
#define MAX_KEEPCNT	127
#define MAX_SYNCNT	127
#define MAX_LINGER2	120	/* TCP_FIN_TIMEOUT_MAX, seconds */
#define MAX_WINDOW	32767	/* MAX_TCP_WINDOW */

static bool connected(const struct fn_tcp *tp)
{
	return tp->sk.tcp_state != FN_TCP_CLOSED && tp->sk.tcp_state != FN_TCP_LISTEN &&
	       tp->sk.tcp_state != FN_TCP_SYN_SENT && tp->sk.tcp_state != FN_TCP_SYN_RCVD;
}

static int set_nodelay(struct fn_tcp *tp, int on)
{
	if (!on) {
		tp->nonagle &= (uint8_t)~FN_NAGLE_OFF;
		return 0;
	}
	tp->nonagle |= FN_NAGLE_OFF;
	if (connected(tp))
		fn_tcp_output(tp, FN_NAGLE_PUSH);	/* even under CORK, this once, as Linux */
	return 0;
}

static int set_cork(struct fn_tcp *tp, int on)
{
	if (on) {
		tp->nonagle |= FN_NAGLE_CORK;
		return 0;
	}
	tp->nonagle &= (uint8_t)~FN_NAGLE_CORK;
	if (connected(tp))
		fn_tcp_output(tp, tp->nonagle & FN_NAGLE_OFF ? FN_NAGLE_PUSH : 0);
	return 0;
}

/* __tcp_sock_set_quickack */
static int set_quickack(struct fn_tcp *tp, int value)
{
	if (!(value & 1)) {
		tp->pingpong = true;
		return 0;
	}
	tp->pingpong = false;
	if (connected(tp) && tp->ack & FN_ACK_SCHED) {
		fn_tcp_send_ack(tp);
		if (value != 1)
			tp->pingpong = true;
	}
	return 0;
}

static int set_maxseg(struct fn_tcp *tp, int value)
{
	if (value && (value < FN_TCP_MSS_MIN || value > MAX_WINDOW))
		return -EINVAL;
	tp->user_mss = (uint16_t)value;
	return 0;
}

static int set_range(uint32_t *to, int value, int min, int max)
{
	if (value < min || value > max)
		return -EINVAL;
	*to = (uint32_t)value;
	return 0;
}

static int set_byte(uint8_t *to, int value, int min, int max)
{
	if (value < min || value > max)
		return -EINVAL;
	*to = (uint8_t)value;
	return 0;
}

/* tcp_sock_set_keepidle_locked: a running timer counts from the last sign of life. */
static int set_keepidle(struct fn_tcp *tp, int value)
{
	int err = set_range(&tp->keepidle, value, 1, MAX_KEEPIDLE);
	uint64_t now = tp->sk.st->now, silent;

	if (err || !(tp->sk.opts & FN_SO_KEEPALIVE) || !connected(tp))
		return err;
	silent = now - fn_max(tp->ack_ts, tp->rcv_tstamp);
	fn_tcp_set_due(tp, FN_DUE_KEEP, now + (fn_tcp_keepidle(tp) > silent ? fn_tcp_keepidle(tp) - silent : 0));
	return 0;
}

static int set_keepalive(struct fn_tcp *tp, int on)
{
	bool was = tp->sk.opts & FN_SO_KEEPALIVE;

	tp->sk.opts = (uint16_t)(on ? tp->sk.opts | FN_SO_KEEPALIVE : tp->sk.opts & ~FN_SO_KEEPALIVE);
	if (was != !!on && connected(tp))
		fn_tcp_set_keepalive(tp, on);
	return 0;
}

static int set_linger(struct fn_tcp *tp, int value)
{
	tp->linger = value;
	tp->sk.opts = (uint16_t)(value >= 0 ? tp->sk.opts | FN_SO_LINGER : tp->sk.opts & ~FN_SO_LINGER);
	return 0;
}

static int set_linger2(struct fn_tcp *tp, int value)
{
	tp->linger2 = value < 0 ? -1 : value > MAX_LINGER2 ? MAX_LINGER2 : value;
	return 0;
}

/* secs_to_retrans: how many SYN-ACK timeouts cover `value` seconds. */
static int set_defer_accept(struct fn_tcp *tp, int value)
{
	uint64_t period = 0, timeout = 1;

	tp->defer_accept = 0;
	while (value > 0 && period < (uint64_t)value && tp->defer_accept < 255) {
		period += timeout;
		timeout = fn_min(timeout * 2, FN_TCP_RTO_MAX / FN_SEC_NS);
		tp->defer_accept++;
	}
	return 0;
}

/* retrans_to_secs */
static int get_defer_accept(const struct fn_tcp *tp)
{
	uint64_t period = 0, timeout = 1;

	for (unsigned i = 0; i < tp->defer_accept; i++) {
		period += timeout;
		timeout = fn_min(timeout * 2, FN_TCP_RTO_MAX / FN_SEC_NS);
	}
	return (int)period;
}

static int set_window_clamp(struct fn_tcp *tp, int value)
{
	if (!value) {
		if (tp->sk.tcp_state != FN_TCP_CLOSED)
			return -EINVAL;
		tp->window_clamp = 0;
		return 0;
	}
	tp->window_clamp = (uint32_t)fn_max(value, FN_RCVBUF_MIN / 2);
	return 0;
}

static int set_cc(struct fn_tcp *tp, int value)
{
	if (value != FN_CC_CUBIC && value != FN_CC_RENO)
		return -EINVAL;
	if (tp->cc_id == value)
		return 0;
	tp->cc_id = (uint8_t)value;
	if (connected(tp))
		fn_cc(tp)->init(tp);
	return 0;
}

/* Options that sock.c has stored: a connection's path follows, a waiting writer is told. */
static int stored(struct fn_tcp *tp, enum fn_opt opt)
{
	if (!connected(tp))
		return 0;
	if (opt == FN_OPT_TTL)
		tp->path.ttl = tp->sk.ttl;
	else if (opt == FN_OPT_TOS)
		tp->path.tos = tp->sk.tos;
	else if (opt == FN_OPT_SNDBUF)
		fn_tcp_write_space(tp);
	if (tp->head_len)
		fn_tcp_prepare(tp);
	return 0;
}

int fn_tcp_setopt(struct fn_sock *sk, enum fn_opt opt, int value)
{
	struct fn_tcp *tp = fn_tcp_sk(sk);

	switch (opt) {
	case FN_OPT_KEEPALIVE:	return set_keepalive(tp, value);
	case FN_OPT_OOBINLINE:
		sk->opts = (uint16_t)(value ? sk->opts | FN_SO_OOBINLINE : sk->opts & ~FN_SO_OOBINLINE);
		return 0;
	case FN_OPT_LINGER:	return set_linger(tp, value);
	case FN_OPT_NODELAY:	return set_nodelay(tp, value);
	case FN_OPT_CORK:	return set_cork(tp, value);
	case FN_OPT_QUICKACK:	return set_quickack(tp, value);
	case FN_OPT_MAXSEG:	return set_maxseg(tp, value);
	case FN_OPT_KEEPIDLE:	return set_keepidle(tp, value);
	case FN_OPT_KEEPINTVL:	return set_range(&tp->keepintvl, value, 1, MAX_KEEPINTVL);
	case FN_OPT_KEEPCNT:	return set_byte(&tp->keepcnt, value, 1, MAX_KEEPCNT);
	case FN_OPT_SYNCNT:	return set_byte(&tp->syn_retries, value, 1, MAX_SYNCNT);
	case FN_OPT_LINGER2:	return set_linger2(tp, value);
	case FN_OPT_USER_TIMEOUT: return set_range(&tp->user_timeout, value, 0, INT32_MAX);
	case FN_OPT_DEFER_ACCEPT: return set_defer_accept(tp, value);
	case FN_OPT_WINDOW_CLAMP: return set_window_clamp(tp, value);
	case FN_OPT_NOTSENT_LOWAT:
		tp->notsent_lowat = (uint32_t)value;
		fn_tcp_write_space(tp);
		return 0;
	case FN_OPT_CONGESTION:	return set_cc(tp, value);
	case FN_OPT_MTU_DISCOVER:
		if (value < IP_PMTUDISC_DONT || value > IP_PMTUDISC_OMIT)
			return -EINVAL;
		tp->mtu_discover = (uint8_t)value;
		return 0;
	case FN_OPT_TTL:
	case FN_OPT_TOS:
	case FN_OPT_SNDBUF:
	case FN_OPT_RCVBUF:
	case FN_OPT_RCVLOWAT:
		return stored(tp, opt);
	default:
		return -ENOPROTOOPT;
	}
}

/* The MSS as Linux shows it: what the program asked for before there is a connection. */
static int get_maxseg(const struct fn_tcp *tp)
{
	if (connected(tp))
		return tp->mss;
	return tp->user_mss ? tp->user_mss : FN_TCP_MSS_DEFAULT;
}

int fn_tcp_getopt(struct fn_sock *sk, enum fn_opt opt, int *value)
{
	const struct fn_tcp *tp = fn_tcp_sk(sk);
	const struct fn_stack_conf *conf = &sk->st->conf;

	switch (opt) {
	case FN_OPT_KEEPALIVE:	*value = !!(sk->opts & FN_SO_KEEPALIVE); return 0;
	case FN_OPT_OOBINLINE:	*value = !!(sk->opts & FN_SO_OOBINLINE); return 0;
	case FN_OPT_LINGER:	*value = sk->opts & FN_SO_LINGER ? tp->linger : -1; return 0;
	case FN_OPT_NODELAY:	*value = !!(tp->nonagle & FN_NAGLE_OFF); return 0;
	case FN_OPT_CORK:	*value = !!(tp->nonagle & FN_NAGLE_CORK); return 0;
	case FN_OPT_QUICKACK:	*value = !tp->pingpong; return 0;
	case FN_OPT_MAXSEG:	*value = get_maxseg(tp); return 0;
	case FN_OPT_KEEPIDLE:	*value = (int)(fn_tcp_keepidle(tp) / FN_SEC_NS); return 0;
	case FN_OPT_KEEPINTVL:	*value = tp->keepintvl ? (int)tp->keepintvl : 75; return 0;
	case FN_OPT_KEEPCNT:	*value = tp->keepcnt ? tp->keepcnt : 9; return 0;
	case FN_OPT_SYNCNT:	*value = tp->syn_retries ? tp->syn_retries : (int)conf->syn_retries; return 0;
	case FN_OPT_LINGER2:	*value = tp->linger2 ? tp->linger2 : (int)(conf->fin_timeout_ms / 1000); return 0;
	case FN_OPT_USER_TIMEOUT: *value = (int)tp->user_timeout; return 0;
	case FN_OPT_DEFER_ACCEPT: *value = get_defer_accept(tp); return 0;
	case FN_OPT_WINDOW_CLAMP: *value = (int)tp->window_clamp; return 0;
	case FN_OPT_NOTSENT_LOWAT: *value = (int)tp->notsent_lowat; return 0;
	case FN_OPT_CONGESTION:	*value = tp->cc_id; return 0;
	case FN_OPT_MTU_DISCOVER: *value = tp->mtu_discover; return 0;
	case FN_OPT_MTU:
		if (!connected(tp))
			return -ENOTCONN;
		*value = (int)tp->path.mtu;
		return 0;
	default:
		return -ENOPROTOOPT;
	}
}
