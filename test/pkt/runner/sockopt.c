/* SPDX-License-Identifier: BSD-3-Clause */
/* setsockopt and getsockopt of a script on the stack's options. Does what the shim does for them: doubles buffer sizes. */
#include <arpa/inet.h>
#include <errno.h>
#include <netinet/tcp.h>
#include <string.h>
#include <sys/socket.h>

#include "world.h"

static const struct {
	int level, name;
	enum fn_opt opt;
} options[] = {
	{ SOL_SOCKET, SO_REUSEADDR, FN_OPT_REUSEADDR }, { SOL_SOCKET, SO_REUSEPORT, FN_OPT_REUSEPORT },
	{ SOL_SOCKET, SO_BROADCAST, FN_OPT_BROADCAST }, { SOL_SOCKET, SO_KEEPALIVE, FN_OPT_KEEPALIVE },
	{ SOL_SOCKET, SO_OOBINLINE, FN_OPT_OOBINLINE }, { SOL_SOCKET, SO_SNDBUF, FN_OPT_SNDBUF },
	{ SOL_SOCKET, SO_RCVBUF, FN_OPT_RCVBUF }, { SOL_SOCKET, SO_RCVLOWAT, FN_OPT_RCVLOWAT },
	{ IPPROTO_IP, IP_TTL, FN_OPT_TTL }, { IPPROTO_IP, IP_TOS, FN_OPT_TOS },
	{ IPPROTO_IP, IP_MTU_DISCOVER, FN_OPT_MTU_DISCOVER }, { IPPROTO_IP, IP_MTU, FN_OPT_MTU },
	{ IPPROTO_TCP, TCP_NODELAY, FN_OPT_NODELAY }, { IPPROTO_TCP, TCP_CORK, FN_OPT_CORK },
	{ IPPROTO_TCP, TCP_QUICKACK, FN_OPT_QUICKACK }, { IPPROTO_TCP, TCP_MAXSEG, FN_OPT_MAXSEG },
	{ IPPROTO_TCP, TCP_KEEPIDLE, FN_OPT_KEEPIDLE }, { IPPROTO_TCP, TCP_KEEPINTVL, FN_OPT_KEEPINTVL },
	{ IPPROTO_TCP, TCP_KEEPCNT, FN_OPT_KEEPCNT }, { IPPROTO_TCP, TCP_SYNCNT, FN_OPT_SYNCNT },
	{ IPPROTO_TCP, TCP_LINGER2, FN_OPT_LINGER2 }, { IPPROTO_TCP, TCP_USER_TIMEOUT, FN_OPT_USER_TIMEOUT },
	{ IPPROTO_TCP, TCP_DEFER_ACCEPT, FN_OPT_DEFER_ACCEPT }, { IPPROTO_TCP, TCP_WINDOW_CLAMP, FN_OPT_WINDOW_CLAMP },
	{ IPPROTO_TCP, TCP_NOTSENT_LOWAT, FN_OPT_NOTSENT_LOWAT }, { IPPROTO_TCP, TCP_CONGESTION, FN_OPT_CONGESTION },
};

static bool find(struct world *w, const struct call *call, enum fn_opt *opt)
{
	int64_t level, name;

	if (!arg_int(w, call, 1, &level) || !arg_int(w, call, 2, &name))
		return false;
	for (size_t i = 0; i < sizeof(options) / sizeof(options[0]); i++) {
		if (options[i].level == level && options[i].name == name) {
			*opt = options[i].opt;
			return true;
		}
	}
	return world_error(w, arg_at(call, 2)->pos, "expected an option that the stack has");
}

/* [5], or "cubic" for TCP_CONGESTION */
static bool value_of(struct world *w, const struct expr *e, int64_t *v)
{
	if (e && e->kind == EX_LIST && e->kid && e->kid->kind == EX_INT && !e->kid->next) {
		*v = e->kid->value;
		return true;
	}
	if (e && e->kind == EX_STR && (!strcmp(e->name, "cubic") || !strcmp(e->name, "reno"))) {
		*v = e->name[0] == 'c' ? FN_CC_CUBIC : FN_CC_RENO;
		return true;
	}
	return world_error(w, e ? e->pos : (struct pos){ 1, 1 }, "expected an option's value, [number]");
}

static bool is_option(const struct call *call, int level, int name)
{
	const struct expr *l = arg_at(call, 1), *n = arg_at(call, 2);

	return l && n && l->kind == EX_INT && n->kind == EX_INT && l->value == level && n->value == name;
}

/* {onoff=1, linger=5}, in any spelling of the two members */
static int64_t set_linger(struct world *w, struct file *f, const struct expr *e, bool *ok)
{
	const struct expr *on = e && e->kind == EX_STRUCT ? e->kid : NULL;
	const struct expr *time = on ? on->next : NULL;

	if (!on || !time || on->kind != EX_INT || time->kind != EX_INT) {
		*ok = world_error(w, e ? e->pos : (struct pos){ 1, 1 }, "expected {onoff=1, linger=5}");
		return 0;
	}
	f->linger = on->value ? (int)time->value : -1;
	return fn_sock_setopt(f->sk, FN_OPT_LINGER, f->linger);
}

int64_t call_setsockopt(struct world *w, const struct call *call, bool *ok)
{
	struct file *f = arg_file(w, call, 0);
	enum fn_opt opt;
	int64_t v;

	if (!f) {
		*ok = !w->error[0];
		return -EBADF;
	}
	if (is_option(call, SOL_SOCKET, SO_LINGER))
		return set_linger(w, f, arg_at(call, 3), ok);
	if (!find(w, call, &opt) || !value_of(w, arg_at(call, 3), &v)) {
		*ok = false;
		return 0;
	}
	/* socket(7): the kernel doubles these, and has a least value */
	if (opt == FN_OPT_SNDBUF)
		v = v * 2 < 4608 ? 4608 : v * 2;
	if (opt == FN_OPT_RCVBUF)
		v = v * 2 < 2304 ? 2304 : v * 2;
	return fn_sock_setopt(f->sk, opt, (int)v);
}

int64_t call_getsockopt(struct world *w, const struct call *call, bool *ok)
{
	struct file *f = arg_file(w, call, 0);
	const struct expr *e = arg_at(call, 3);
	int64_t want;
	enum fn_opt opt;
	int v, r = 0;

	if (!f) {
		*ok = !w->error[0];
		return -EBADF;
	}
	if (is_option(call, SOL_SOCKET, SO_ERROR)) {
		v = fn_sock_take_error(f->sk);
	} else {
		if (!find(w, call, &opt)) {
			*ok = false;
			return 0;
		}
		r = fn_sock_getopt(f->sk, opt, &v);
	}
	if (r || (e && e->kind == EX_ANY))
		return r;
	if (!value_of(w, e, &want))
		*ok = false;
	else if (want != v)
		*ok = world_error(w, e->pos, "getsockopt gives %d, expected %lld", v, (long long)want);
	return 0;
}
