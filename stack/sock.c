/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * What both kinds of socket share: opening, naming, the options of the socket and IP levels; the rest goes to the kind.
 * Must not know a packet.
 */
#include <errno.h>

#include "net.h"

#define TTL_DEFAULT	64	/* Linux net.ipv4.ip_default_ttl, RFC 1700 */

void fn_sock_init(struct fn_stack *st, struct fn_pool *pool, struct fn_sock *sk, enum fn_sock_kind kind)
{
	sk->kind = (uint8_t)kind;
	sk->st = st;
	sk->index = fn_pool_index(pool, sk);
	sk->sndbuf = st->conf.sndbuf;
	sk->rcvbuf = st->conf.rcvbuf;
	sk->rcvlowat = 1;
	sk->ttl = TTL_DEFAULT;
}

struct fn_sock *fn_sock_open(struct fn_stack *st, enum fn_sock_kind kind, void *user)
{
	struct fn_sock *sk = kind == FN_SOCK_TCP ? fn_tcp_open(st) : fn_udp_open(st);

	if (!sk) {
		st->stats.sock_refused++;
		st->stats.drop[FN_DROP_NO_SOCK_MEM]++;
		return NULL;
	}
	st->stats.sock_created++;
	sk->user = user;
	return sk;
}

/*
 * An address a socket may have: any, one of ours, and for datagrams broadcast and multicast (Linux inet_bind). Behind the
 * fabric the host's addresses are ours too; which those are the kernel has said when its socket was bound.
 */
static bool may_bind(const struct fn_sock *sk, uint32_t ip4)
{
	if (!ip4 || sk->st->fabric || fn_stack_is_local(sk->st, ip4))
		return true;
	return sk->kind == FN_SOCK_UDP && fn_ip4_is_bcast(sk->st, ip4);
}

static int take_port(struct fn_sock *sk, bool given)
{
	if (!sk->local.port)
		return sk->kind == FN_SOCK_UDP ? -EADDRINUSE : 0;
	return !given && fn_demux_conns_clash(sk->st, sk) ? -EADDRINUSE : fn_demux_bind(sk->st, sk);
}

static int bind_to(struct fn_sock *sk, const struct fn_ep *local, bool given)
{
	int err;

	if (sk->local.port || sk->opts & FN_SO_BOUND_ADDR)
		return -EINVAL;
	if (!may_bind(sk, local->ip4))
		return -EADDRNOTAVAIL;
	sk->local.ip4 = local->ip4;
	sk->local.port = local->port;
	if (!local->port && sk->kind == FN_SOCK_UDP)
		sk->local.port = fn_demux_ephemeral(sk->st, sk, local->ip4, NULL);
	err = take_port(sk, given);
	if (err) {
		sk->local = (struct fn_ep){0};
		return err;
	}
	if (local->ip4)
		sk->opts |= FN_SO_BOUND_ADDR;
	if (local->port)
		sk->opts |= FN_SO_BOUND_PORT;
	return 0;
}

int fn_sock_bind(struct fn_sock *sk, const struct fn_ep *local)
{
	return bind_to(sk, local, false);
}

int fn_sock_bind_given(struct fn_sock *sk, const struct fn_ep *local)
{
	return bind_to(sk, local, true);
}

bool fn_sock_name_kept(const struct fn_stack *st, enum fn_sock_kind kind, const struct fn_ep *local, unsigned opts)
{
	struct fn_sock sk = { .kind = (uint8_t)kind, .local = *local, .opts = (uint16_t)opts };

	return fn_demux_conns_clash(st, &sk);
}

int fn_sock_connect(struct fn_sock *sk, const struct fn_ep *remote)
{
	return sk->kind == FN_SOCK_TCP ? fn_tcp_connect(sk, remote) : fn_udp_connect(sk, remote);
}

int fn_sock_disconnect(struct fn_sock *sk)
{
	return sk->kind == FN_SOCK_TCP ? fn_tcp_disconnect(sk) : fn_udp_disconnect(sk);
}

void fn_sock_unname(struct fn_sock *sk)
{
	fn_demux_unbind(sk->st, sk);
	sk->local = (struct fn_ep){0};
	sk->opts &= (uint16_t)~(FN_SO_BOUND_ADDR | FN_SO_BOUND_PORT);
}

int fn_sock_shutdown(struct fn_sock *sk, unsigned how)
{
	return sk->kind == FN_SOCK_TCP ? fn_tcp_shutdown(sk, how) : fn_udp_shutdown(sk, how);
}

void fn_sock_close(struct fn_sock *sk)
{
	sk->user = NULL;
	if (sk->kind == FN_SOCK_TCP)
		fn_tcp_close(sk);
	else
		fn_udp_close(sk);
}

unsigned fn_sock_poll(struct fn_sock *sk)
{
	return sk->kind == FN_SOCK_TCP ? fn_tcp_poll(sk) : fn_udp_poll(sk);
}

int fn_sock_take_error(struct fn_sock *sk)
{
	int error = sk->error ? sk->error : sk->soft_error;

	if (sk->error)
		sk->error = 0;
	else
		sk->soft_error = 0;
	return error;
}

/* ---- options ---- */

static int set_flag(struct fn_sock *sk, uint16_t flag, int value)
{
	sk->opts = (uint16_t)(value ? sk->opts | flag : sk->opts & ~flag);
	return 0;
}

static int set_ttl(struct fn_sock *sk, int value)
{
	if (value != -1 && (value < 1 || value > 255))
		return -EINVAL;
	sk->ttl = value == -1 ? TTL_DEFAULT : (uint8_t)value;
	return 0;
}

/* TCP has no say in the two ECN bits (Linux __ip_sock_set_tos). */
static int set_tos(struct fn_sock *sk, int value)
{
	uint8_t ecn = sk->kind == FN_SOCK_TCP ? 3 : 0;

	sk->tos = (uint8_t)((value & 0xff & ~ecn) | (sk->tos & ecn));
	return 0;
}

static int set_sndbuf(struct fn_sock *sk, int value)
{
	sk->sndbuf = (uint32_t)fn_max(value, FN_SNDBUF_MIN);
	sk->opts |= FN_SO_SNDBUF_LOCKED;
	if (sk->nospace)
		fn_sock_ready(sk, fn_sock_poll(sk));
	return 0;
}

static int set_rcvbuf(struct fn_sock *sk, int value)
{
	sk->rcvbuf = (uint32_t)fn_max(value, FN_RCVBUF_MIN);
	sk->opts |= FN_SO_RCVBUF_LOCKED;
	return 0;
}

static int set_rcvlowat(struct fn_sock *sk, int value)
{
	sk->rcvlowat = value < 0 ? INT32_MAX : value ? value : 1;
	return 0;
}

int fn_sock_setopt(struct fn_sock *sk, enum fn_opt opt, int value)
{
	int err = -ENOPROTOOPT;

	switch (opt) {
	case FN_OPT_REUSEADDR:
		return set_flag(sk, FN_SO_REUSEADDR, value);
	case FN_OPT_REUSEPORT:
		return set_flag(sk, FN_SO_REUSEPORT, value);
	case FN_OPT_BROADCAST:
		return set_flag(sk, FN_SO_BROADCAST, value);
	case FN_OPT_RECVERR:
		return set_flag(sk, FN_SO_RECVERR, value);
	case FN_OPT_TTL:
		err = set_ttl(sk, value);
		break;
	case FN_OPT_TOS:
		err = set_tos(sk, value);
		break;
	case FN_OPT_SNDBUF:
		err = set_sndbuf(sk, value);
		break;
	case FN_OPT_RCVBUF:
		err = set_rcvbuf(sk, value);
		break;
	case FN_OPT_RCVLOWAT:
		err = set_rcvlowat(sk, value);
		break;
	default:
		return sk->kind == FN_SOCK_TCP ? fn_tcp_setopt(sk, opt, value) : fn_udp_setopt(sk, opt, value);
	}
	/* TCP may have copied it into a connection's path, or watch its window. */
	if (!err && sk->kind == FN_SOCK_TCP)
		fn_tcp_setopt(sk, opt, value);
	return err;
}

int fn_sock_getopt(struct fn_sock *sk, enum fn_opt opt, int *value)
{
	switch (opt) {
	case FN_OPT_REUSEADDR:
		*value = !!(sk->opts & FN_SO_REUSEADDR);
		return 0;
	case FN_OPT_REUSEPORT:
		*value = !!(sk->opts & FN_SO_REUSEPORT);
		return 0;
	case FN_OPT_BROADCAST:
		*value = !!(sk->opts & FN_SO_BROADCAST);
		return 0;
	case FN_OPT_RECVERR:
		*value = !!(sk->opts & FN_SO_RECVERR);
		return 0;
	case FN_OPT_TTL:
		*value = sk->ttl;
		return 0;
	case FN_OPT_TOS:
		*value = sk->tos;
		return 0;
	case FN_OPT_SNDBUF:
		*value = (int)sk->sndbuf;
		return 0;
	case FN_OPT_RCVBUF:
		*value = (int)sk->rcvbuf;
		return 0;
	case FN_OPT_RCVLOWAT:
		*value = sk->rcvlowat;
		return 0;
	default:
		return sk->kind == FN_SOCK_TCP ? fn_tcp_getopt(sk, opt, value) : fn_udp_getopt(sk, opt, value);
	}
}
