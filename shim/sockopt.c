/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * Socket options of accelerated files, and what options mean for the decision; the table is opt.def. Values, lengths and
 * errors are Linux's (net/core/sock.c, net/ipv4/ip_sockglue.c, net/ipv4/tcp.c). Must not know a packet, nor wait.
 */
#include "shim/sockopt.h"

#include <errno.h>
#include <limits.h>
#include <linux/tcp.h>	/* its struct tcp_info is the kernel's, libc's is its beginning */
#include <netinet/in.h>
#include <netinet/udp.h>
#include <string.h>
#include <sys/time.h>

#include "shim/convert.h"
#include "shim/dgram.h"
#include "shim/optval.h"
#include "shim/reason.h"
#include "shim/sockfile.h"
#include "shim/wait.h"
#include "stack/user.h"

enum how { HOW_UNKNOWN, HOW_STACK, HOW_FILE, HOW_FACT, HOW_IDLE, HOW_OTHER };

enum form {
	/* of STACK and FILE */
	FORM_BOOL, FORM_INT, FORM_BYTE, FORM_TTL, FORM_PMTU, FORM_SNDBUF, FORM_RCVBUF, FORM_LOWAT, FORM_LINGER, FORM_CC,
	FORM_RECVERR, FORM_TIMEO, FORM_STAMP, FORM_FLAG, FORM_FLAG6, FORM_V6ONLY, FORM_CORK,
	FORM_PRIORITY,
	/* of FACT: who knows */
	FORM_KERNEL, FORM_TYPE, FORM_DOMAIN, FORM_PROTOCOL, FORM_ERROR, FORM_PEERNAME, FORM_MEMINFO, FORM_COOKIE,
	FORM_MTU, FORM_INFO,
	/* of IDLE and OTHER: which values decide */
	FORM_ANY, FORM_CLOSED, FORM_SWITCH, FORM_DEVICE, FORM_OPTIONS,
};

/* What .arg means depends on .how: a stack's option, a timeout's direction, a timestamp's kind, a flag's place. */
enum timeo { ARG_RCV, ARG_SND };
enum { ARG_US = FN_STAMP_US, ARG_NS = FN_STAMP_NS, ARG_NEW = 4, ARG_US_NEW = ARG_US | ARG_NEW, ARG_NS_NEW = ARG_NS | ARG_NEW };
enum {
#define FN_OPTION(level, name, how, form, arg) ARG_##how##_##name = ARG_OF_##how(arg),
#define FN_OPTION_PLAIN(level, name, how, form)
#define ARG_OF_STACK(arg) FN_OPT_##arg
#define ARG_OF_FILE(arg) ARG_##arg
#define ARG_pktinfo offsetof(struct fn_sockopts, pktinfo)
#define ARG_pktinfo6 offsetof(struct fn_sockopts, pktinfo6)
#define ARG_recvttl offsetof(struct fn_sockopts, recvttl)
#define ARG_recvtos offsetof(struct fn_sockopts, recvtos)
#define ARG_v6only offsetof(struct fn_sockopts, v6only)
#define ARG_cork offsetof(struct fn_sockopts, cork)
#define ARG_priority offsetof(struct fn_sockopts, priority)
#include "shim/opt.def"
#undef FN_OPTION
#undef FN_OPTION_PLAIN
};

enum bit {
#define FN_OPTION(level, name, how, form, arg) BIT_##name,
#define FN_OPTION_PLAIN(level, name, how, form)
#include "shim/opt.def"
#undef FN_OPTION
#undef FN_OPTION_PLAIN
	BIT_COUNT
};
_Static_assert(BIT_COUNT <= 64, "fn_sockopts.noted has a bit for each option that is copied");

struct row {
	uint8_t how;	/* enum how */
	uint8_t form;	/* enum form */
	uint8_t arg;
	uint8_t bit;	/* enum bit, of STACK and FILE */
};

enum slot { SLOT_SOL_SOCKET, SLOT_IPPROTO_IP, SLOT_IPPROTO_TCP, SLOT_IPPROTO_IPV6, SLOT_IPPROTO_UDP, SLOTS };

#define NAMES 128	/* option names of these levels are below it; a static check is the array bound itself */

static const struct row table[SLOTS][NAMES] = {
#define FN_OPTION(level, name, how, form, arg) \
	[SLOT_##level][name] = { HOW_##how, FORM_##form, ARG_##how##_##name, BIT_##name },
#define FN_OPTION_PLAIN(level, name, how, form) \
	[SLOT_##level][name] = { HOW_##how, FORM_##form, 0, 0 },
#include "shim/opt.def"
#undef FN_OPTION
#undef FN_OPTION_PLAIN
};

/* The options that are noted, by bit. */
static const struct {
	int level, name;
} noted[BIT_COUNT] = {
#define FN_OPTION(level_, name_, how, form, arg) [BIT_##name_] = { level_, name_ },
#define FN_OPTION_PLAIN(level, name, how, form)
#include "shim/opt.def"
#undef FN_OPTION
#undef FN_OPTION_PLAIN
};

static const struct row unknown;

static const struct row *find(int level, int name)
{
	enum slot slot;

	switch (level) {
	case SOL_SOCKET:
		slot = SLOT_SOL_SOCKET;
		break;
	case IPPROTO_IP:
		slot = SLOT_IPPROTO_IP;
		break;
	case IPPROTO_TCP:
		slot = SLOT_IPPROTO_TCP;
		break;
	case IPPROTO_IPV6:
		slot = SLOT_IPPROTO_IPV6;
		break;
	case IPPROTO_UDP:
		slot = SLOT_IPPROTO_UDP;
		break;
	default:
		return &unknown;
	}
	return (unsigned)name < NAMES ? &table[slot][name] : &unknown;
}

/* ---- before the decision ---- */

static enum fn_opt_verdict verdict(const struct row *r)
{
	switch ((enum how)r->how) {
	case HOW_STACK:
	case HOW_FILE:
		return FN_VERDICT_NOTE;
	case HOW_FACT:
	case HOW_IDLE:
		return FN_VERDICT_HARMLESS;
	case HOW_OTHER:
	case HOW_UNKNOWN:
		break;
	}
	return FN_VERDICT_DECIDE;
}

enum fn_opt_verdict fn_sockopt_lookup(int level, int name)
{
	return verdict(find(level, name));
}

/* Does a value that the kernel took leave an option of how OTHER off? */
static bool is_off(const struct row *r, const void *value, socklen_t len)
{
	int v = 0;

	switch (r->form) {
	case FORM_SWITCH:
		memcpy(&v, value, fn_min(len, sizeof(v)));
		return !v;
	case FORM_DEVICE:
		return !len || !*(const char *)value;
	case FORM_OPTIONS:
		return !len;
	default:
		return false;
	}
}

/* Is it a value that the stack does not have, of an option that it has? */
static bool is_foreign(const struct fn_file *f, const struct row *r, const void *value, socklen_t len)
{
	int v = 0;

	memcpy(&v, value, fn_min(len, sizeof(v)));
	if (r->form == FORM_PMTU)	/* TCP of the stack sends with DF whatever is said */
		return f->type == SOCK_STREAM && v != IP_PMTUDISC_WANT && v != IP_PMTUDISC_DO;
	if (r->form == FORM_RECVERR)	/* a queue of errors, which the stack has none of */
		return f->type == SOCK_DGRAM && v;
	return r->form == FORM_CC && fn_optval_cc(value, len) < 0;
}

enum fn_opt_verdict fn_sockopt_note(struct fn_file *f, int level, int name, const void *value, socklen_t len)
{
	const struct row *r = find(level, name);
	enum fn_opt_verdict v = verdict(r);

	if (v == FN_VERDICT_DECIDE && is_off(r, value, len))
		return FN_VERDICT_HARMLESS;
	if (v == FN_VERDICT_NOTE && is_foreign(f, r, value, len))
		return FN_VERDICT_DECIDE;
	if (v == FN_VERDICT_NOTE)
		f->opt.noted |= 1ull << r->bit;
	return v;
}

/* ---- setting ---- */

static int set_stack(struct fn_file *f, const struct row *r, int value)
{
	int err;

	fn_engine_lock();
	err = fn_converted(f) ? FN_TO_KERNEL : fn_sock_setopt(f->sk, (enum fn_opt)r->arg, value);
	fn_engine_kick();
	fn_engine_unlock();
	return err;
}

/* tcp_set_rcvlowat: half of what the buffer can become */
static int clamp_lowat(struct fn_file *f, int value)
{
	struct fn_sock *sk = f->sk;
	uint32_t room = sk->opts & FN_SO_RCVBUF_LOCKED ? sk->rcvbuf : sk->st->conf.rcvbuf_max;

	if (value < 0)
		value = INT_MAX;
	return sk->kind == FN_SOCK_TCP ? (int)fn_min((uint32_t)value, room / 2) : value;
}

static int set_linger(struct fn_file *f, const struct row *r, const void *value, socklen_t len)
{
	struct linger l;

	if (len < sizeof(l))
		return -EINVAL;
	if (fn_user_get(&l, value, sizeof(l)))
		return -EFAULT;
	if (!l.l_onoff)
		return set_stack(f, r, -1);
	/* Linux takes it as unsigned and cuts it to what a timer holds */
	f->opt.linger_sec = l.l_linger < 0 ? INT_MAX : l.l_linger;
	return set_stack(f, r, f->opt.linger_sec);
}

static int set_timeo(struct fn_file *f, const struct row *r, const void *value, socklen_t len)
{
	uint64_t ns;
	int err = fn_optval_get_timeo(value, len, &ns);

	if (err)
		return err;
	if (r->arg == ARG_RCV)
		f->rcvtimeo = ns;
	else
		f->sndtimeo = ns;
	return 0;
}

static int set_stamp(struct fn_file *f, const struct row *r, int on)
{
	f->opt.stamp = on ? r->arg & ~ARG_NEW : FN_STAMP_OFF;
	f->opt.stamp_new = on && r->arg & ARG_NEW;
	return 0;
}

static bool *flag_of(struct fn_file *f, const struct row *r)
{
	return (bool *)((char *)&f->opt + r->arg);
}

/* A connection that has ended gives back a port that bind() did not name (tcp_set_state). */
static bool has_port(const struct fn_sock *sk)
{
	bool ended = sk->kind == FN_SOCK_TCP && sk->tcp_state == FN_TCP_CLOSED;

	return sk->local.port && (!ended || sk->opts & FN_SO_BOUND_PORT);
}

static int set_file(struct fn_file *f, int fd, const struct row *r, int value)
{
	switch (r->form) {
	case FORM_STAMP:
		return set_stamp(f, r, value);
	case FORM_V6ONLY:
		if (has_port(f->sk))
			return -EINVAL;
		*flag_of(f, r) = value;
		return 0;
	case FORM_CORK:
		*flag_of(f, r) = value;
		if (!value)
			fn_udp_uncork(f, fd);
		return 0;
	default:
		*flag_of(f, r) = value;
		return 0;
	}
}

static bool is_force(const struct row *r, int name)
{
	return r->form == FORM_SNDBUF ? name == SO_SNDBUFFORCE : name == SO_RCVBUFFORCE;
}

/* The FORCE variants are for CAP_NET_ADMIN, which the kernel is asked about. */
static int set_buf(struct fn_file *f, int fd, const struct row *r, int name, int value)
{
	bool force = is_force(r, name);
	int err = force ? fn_sys_setsockopt(fd, SOL_SOCKET, name, &value, sizeof(value)) : 0;

	f->untouched &= !force;
	return err ? err : set_stack(f, r, fn_optval_buf(r->form == FORM_SNDBUF, value, force));
}

/* Who may set which is the kernel's to say (sk_set_prio_allowed). */
static int set_priority(struct fn_file *f, int fd, int value)
{
	int err = fn_sys_setsockopt(fd, SOL_SOCKET, SO_PRIORITY, &value, sizeof(value));

	f->untouched = false;
	if (!err)
		f->opt.priority = value;
	return err;
}

/* A type of service that is another one brings its priority (__ip_sock_set_tos, rt_tos2priority). */
static int set_tos(struct fn_file *f, const struct row *r, int value)
{
	static const uint8_t priority[4] = { 0, 2, 6, 4 };	/* ip_tos2prio: four of each */
	int before = f->sk->tos, err = set_stack(f, r, value);

	if (!err && f->sk->tos != before)
		f->opt.priority = priority[f->sk->tos >> 3 & 3];
	return err;
}

/* An int option, its value read. */
static int set_value(struct fn_file *f, int fd, const struct row *r, int name, int value)
{
	if (r->form == FORM_PRIORITY)
		return set_priority(f, fd, value);
	if (r->how == HOW_FILE)
		return set_file(f, fd, r, !!value);
	switch (r->form) {
	case FORM_BOOL:
	case FORM_RECVERR:
		return set_stack(f, r, !!value);
	case FORM_SNDBUF:
	case FORM_RCVBUF:
		return set_buf(f, fd, r, name, value);
	case FORM_LOWAT:
		return set_stack(f, r, clamp_lowat(f, value));
	case FORM_BYTE:
		return set_tos(f, r, value);
	default:
		return set_stack(f, r, value);
	}
}

static int set_served(struct fn_file *f, int fd, const struct row *r, int name, const void *value, socklen_t len)
{
	int v, err;

	switch (r->form) {
	case FORM_LINGER:
		return set_linger(f, r, value, len);
	case FORM_TIMEO:
		return set_timeo(f, r, value, len);
	case FORM_CC:
		v = fn_optval_cc(value, len);
		return v < 0 ? v : set_stack(f, r, v);
	case FORM_BYTE:
	case FORM_TTL:
	case FORM_PMTU:
	case FORM_RECVERR:
	case FORM_FLAG:
		err = fn_optval_get_byte(value, len, r->form == FORM_TTL, &v);
		break;
	default:
		err = fn_optval_get_int(value, len, &v);
		break;
	}
	return err ? err : set_value(f, fd, r, name, v);
}

/* An option that the stack does not serve, on a socket that it has: what is so already may be said again. */
static int set_other(struct fn_file *f, const struct row *r, int level, const void *value, socklen_t len)
{
	if (f->dual && f->kind == FN_FILE_UDP && fn_dgram_fabric() && !is_off(r, value, len))
		fn_dgram_retire(f);
	if (f->dual)
		return FN_TO_KERNEL;
	if (level != IPPROTO_IP && r->form != FORM_DEVICE && len < sizeof(int))
		return -EINVAL;
	return is_off(r, value, len) ? 0 : -ENOPROTOOPT;
}

/* Does a level concern the socket at all? */
static bool level_applies(const struct fn_file *f, int level)
{
	switch (level) {
	case IPPROTO_TCP:
		return f->type == SOCK_STREAM;
	case IPPROTO_UDP:
		return f->type == SOCK_DGRAM;
	case IPPROTO_IPV6:
		return f->domain == AF_INET6;
	default:
		return true;
	}
}

/* The socket and TCP levels take an int off the program before they look at the name. */
static int set_unknown(int level, const void *value, socklen_t len)
{
	if (level != SOL_SOCKET && level != IPPROTO_TCP)
		return -ENOPROTOOPT;
	return len < sizeof(int) ? -EINVAL : value ? -ENOPROTOOPT : -EFAULT;
}

/* What concerns streams alone is taken of a datagram socket all the same: its kernel's side keeps it. */
static int set_both(struct fn_file *f, int fd, const struct row *r, int name, const void *value, socklen_t len)
{
	int err = set_served(f, fd, r, name, value, len);

	return err == -ENOPROTOOPT && f->dual ? 0 : err;
}

int fn_sockopt_set(struct fn_file *f, int fd, int level, int name, const void *value, socklen_t len)
{
	const struct row *r = find(level, name);
	int err;

	if ((int)len < 0)
		return -EINVAL;
	if (!level_applies(f, level))
		return -ENOPROTOOPT;
	if (r->how == HOW_UNKNOWN)
		return set_unknown(level, value, len);
	if (!value && len)
		return -EFAULT;
	if (!len)
		value = "";
	switch ((enum how)r->how) {
	case HOW_STACK:
	case HOW_FILE:
		/* a datagram socket's kernel side has the same options */
		err = f->dual ? fn_sys_setsockopt(fd, level, name, value, len) : 0;
		if (!err)
			err = set_both(f, fd, r, name, value, len);
		f->opt.noted |= err ? 0 : 1ull << r->bit;
		return err;
	case HOW_IDLE:
		return r->form == FORM_CLOSED && f->kind == FN_FILE_TCP && f->sk->tcp_state != FN_TCP_CLOSED ? -EINVAL : FN_TO_KERNEL;
	case HOW_OTHER:
		return set_other(f, r, level, value, len);
	case HOW_FACT:
	case HOW_UNKNOWN:
		break;
	}
	return set_unknown(level, value, len);
}

/* ---- getting ---- */

static int get_stack(struct fn_file *f, enum fn_opt opt, int *value)
{
	int err;

	fn_engine_lock();
	err = fn_converted(f) ? FN_TO_KERNEL : fn_sock_getopt(f->sk, opt, value);
	fn_engine_unlock();
	return err;
}

static int get_linger(struct fn_file *f, const struct row *r, void *value, socklen_t *len)
{
	int v, err = get_stack(f, (enum fn_opt)r->arg, &v);
	struct linger l = { .l_onoff = v >= 0, .l_linger = v >= 0 ? v : f->opt.linger_sec };

	return err ? err : fn_optval_put(&l, sizeof(l), value, len);
}

static int get_cc(struct fn_file *f, const struct row *r, void *value, socklen_t *len)
{
	char name[FN_CC_NAME_MAX] = "";
	int v, err = get_stack(f, (enum fn_opt)r->arg, &v);

	if (!err)
		strcpy(name, fn_optval_cc_name(v));
	return err ? err : fn_optval_put(name, sizeof(name), value, len);
}

static int get_served(struct fn_file *f, int level, const struct row *r, void *value, socklen_t *len)
{
	int v, err = 0;

	switch (r->form) {
	case FORM_LINGER:
		return get_linger(f, r, value, len);
	case FORM_CC:
		return get_cc(f, r, value, len);
	case FORM_TIMEO:
		return fn_optval_put_timeo(r->arg == ARG_RCV ? f->rcvtimeo : f->sndtimeo, value, len);
	case FORM_STAMP:
		v = f->opt.stamp == (r->arg & ~ARG_NEW) && f->opt.stamp_new == !!(r->arg & ARG_NEW);
		break;
	case FORM_FLAG:
	case FORM_FLAG6:
	case FORM_V6ONLY:
	case FORM_CORK:
		v = *flag_of(f, r);
		break;
	case FORM_PRIORITY:
		v = f->opt.priority;
		break;
	default:
		err = get_stack(f, (enum fn_opt)r->arg, &v);
		break;
	}
	if (err)
		return err;
	return level == IPPROTO_IP ? fn_optval_put_byte(v, value, len) : fn_optval_put(&v, sizeof(v), value, len);
}

static int get_info(struct fn_file *f, void *value, socklen_t *len)
{
	struct tcp_info info = { 0 };

	fn_engine_lock();
	fn_tcp_info(f->sk, &info);
	fn_engine_unlock();
	return fn_optval_put(&info, sizeof(info), value, len);
}

static int get_meminfo(struct fn_file *f, void *value, socklen_t *len)
{
	/* SK_MEMINFO_*: rmem_alloc, rcvbuf, wmem_alloc, sndbuf, then what has no counterpart */
	uint32_t v[9] = { f->sk->rx_charged, f->sk->rcvbuf, f->sk->tx_charged, f->sk->sndbuf };

	return fn_optval_put(v, sizeof(v), value, len);
}

/* Unlike the kernel's, whose counter starts at 1: a number of our own is told by its top bit. */
static int get_cookie(struct fn_file *f, void *value, socklen_t *len)
{
	uint64_t cookie = 1ull << 63 | (uint64_t)f->sk->kind << 32 | f->sk->index;

	return *len < sizeof(cookie) ? -EINVAL : fn_optval_put(&cookie, sizeof(cookie), value, len);
}

static int get_error(struct fn_file *f, void *value, socklen_t *len)
{
	int v;

	fn_engine_lock();
	v = fn_sock_take_error(f->sk);
	fn_engine_unlock();
	return !v && f->dual ? FN_TO_KERNEL : fn_optval_put(&v, sizeof(v), value, len);
}

static int get_mtu(struct fn_file *f, void *value, socklen_t *len)
{
	int v, err = get_stack(f, FN_OPT_MTU, &v);

	return err ? err : fn_optval_put_byte(v, value, len);
}

static int get_fact(struct fn_file *f, int fd, const struct row *r, void *value, socklen_t *len)
{
	int protocol = f->protocol ? f->protocol : f->type == SOCK_STREAM ? IPPROTO_TCP : IPPROTO_UDP;

	switch (r->form) {
	case FORM_TYPE:
		return fn_optval_put(&f->type, sizeof(f->type), value, len);
	case FORM_DOMAIN:
		return fn_optval_put(&f->domain, sizeof(f->domain), value, len);
	case FORM_PROTOCOL:
		return fn_optval_put(&protocol, sizeof(protocol), value, len);
	case FORM_ERROR:
		return get_error(f, value, len);
	case FORM_PEERNAME:
		return f->ops->getpeername(f, fd, value, len);
	case FORM_MEMINFO:
		return get_meminfo(f, value, len);
	case FORM_COOKIE:
		return get_cookie(f, value, len);
	case FORM_MTU:
		return get_mtu(f, value, len);
	case FORM_INFO:
		return get_info(f, value, len);
	default:
		return FN_TO_KERNEL;
	}
}

int fn_sockopt_get(struct fn_file *f, int fd, int level, int name, void *value, socklen_t *len)
{
	const struct row *r = find(level, name);
	int err;

	if (!level_applies(f, level) || r->how == HOW_UNKNOWN)
		return FN_TO_KERNEL;
	if (!len || (!value && *len))
		return -EFAULT;
	if ((int)*len < 0)
		return -EINVAL;
	switch ((enum how)r->how) {
	case HOW_STACK:
	case HOW_FILE:
		/* SO_SNDBUFFORCE can only be set */
		if (level == SOL_SOCKET && is_force(r, name))
			return -ENOPROTOOPT;
		err = get_served(f, level, r, value, len);
		return err == -ENOPROTOOPT && f->dual ? FN_TO_KERNEL : err;
	case HOW_FACT:
		return get_fact(f, fd, r, value, len);
	case HOW_IDLE:
	case HOW_OTHER:
	case HOW_UNKNOWN:
		break;
	}
	/* never set on the descriptor's own socket, so its answer is the default, which is what is in force */
	return FN_TO_KERNEL;
}

/* ---- acceleration ---- */

/* One value back from the kernel; what it shows is what the stack takes, buffers doubled already. */
static int copy_one(struct fn_file *f, int fd, unsigned bit)
{
	int level = noted[bit].level, name = noted[bit].name, v;
	const struct row *r = find(level, name);
	char value[64] = "";
	socklen_t len = sizeof(value);
	int err;

	if (r->form == FORM_SNDBUF)
		name = SO_SNDBUF;
	if (r->form == FORM_RCVBUF)
		name = SO_RCVBUF;
	err = fn_sys_getsockopt(fd, level, name, value, &len);
	if (err)
		return err;
	memcpy(&v, value, sizeof(v));
	if (r->form == FORM_SNDBUF || r->form == FORM_RCVBUF)
		return set_stack(f, r, v);
	if (r->form == FORM_STAMP && !v)
		return 0;	/* another of its kin may be on */
	if (r->form == FORM_V6ONLY) {
		f->opt.v6only = v;
		return 0;
	}
	if (r->form == FORM_PRIORITY) {
		f->opt.priority = v;
		return 0;
	}
	return set_served(f, fd, r, name, value, len);
}

int fn_sockopt_copy(struct fn_file *f, int fd)
{
	int err = 0;

	for (uint64_t left = f->opt.noted; left && !err; left &= left - 1)
		err = copy_one(f, fd, (unsigned)__builtin_ctzll(left));
	/* the later of the two that set it is not known here, but the value is */
	if (!err && f->opt.noted & 1ull << BIT_IP_TOS)
		err = copy_one(f, fd, BIT_SO_PRIORITY);
	return err;
}

/* What was set before the decision the kernel's socket has: the same is set again, or what has been set since. */
static void give_one(struct fn_file *f, int fd, unsigned bit)
{
	const struct row *r = find(noted[bit].level, noted[bit].name);
	struct linger l;
	int v;

	if (r->form == FORM_PRIORITY)
		v = f->opt.priority;
	else if (r->how != HOW_STACK || r->form == FORM_CC || fn_sock_getopt(f->sk, (enum fn_opt)r->arg, &v))
		return;
	l = (struct linger){ .l_onoff = v >= 0, .l_linger = v >= 0 ? v : f->opt.linger_sec };
	if (r->form == FORM_SNDBUF || r->form == FORM_RCVBUF)
		v /= 2;		/* the kernel doubles it */
	if (r->form == FORM_LINGER)
		fn_sys_setsockopt(fd, noted[bit].level, noted[bit].name, &l, sizeof(l));
	else
		fn_sys_setsockopt(fd, noted[bit].level, noted[bit].name, &v, sizeof(v));
}

void fn_sockopt_give(struct fn_file *f, int fd)
{
	for (uint64_t left = f->opt.noted; left; left &= left - 1)
		give_one(f, fd, (unsigned)__builtin_ctzll(left));
}

/* Every option that can be read back, in the table's order. */
static const struct {
	int level, name;
} all[] = {
#define FN_OPTION(level, name, how, form, arg) { level, name },
#define FN_OPTION_PLAIN(level, name, how, form) { level, name },
#include "shim/opt.def"
#undef FN_OPTION
#undef FN_OPTION_PLAIN
};

/* Is the option at its default on fd? What cannot be read is. */
static bool as_fresh(int fd, int fresh, int level, int name)
{
	char is[64] = "", was[64] = "";
	socklen_t len = sizeof(is), fresh_len = sizeof(was);

	if (fn_sys_getsockopt(fd, level, name, is, &len) || fn_sys_getsockopt(fresh, level, name, was, &fresh_len))
		return true;
	return len == fresh_len && !memcmp(is, was, len);
}

int fn_sockopt_meet(struct fn_file *f, int fd, uint32_t *arg)
{
	int fresh = fn_sys_socket(f->domain, f->type | SOCK_CLOEXEC, f->protocol), err = 0;

	for (unsigned i = 0; i < fn_array_size(all) && !err && fresh >= 0; i++) {
		const struct row *r = find(all[i].level, all[i].name);
		enum fn_opt_verdict v = verdict(r);

		if (v == FN_VERDICT_HARMLESS || (v == FN_VERDICT_DECIDE && r->form == FORM_ANY) ||
		    as_fresh(fd, fresh, all[i].level, all[i].name))
			continue;
		if (v == FN_VERDICT_NOTE)
			f->opt.noted |= 1ull << r->bit;
		else
			err = -EOPNOTSUPP, *arg = FN_REASON_OPTION(all[i].level, all[i].name);
	}
	fn_sys_close(fresh);
	return err;
}

void fn_sockopt_inherit(struct fn_file *f, const struct fn_file *listener)
{
	f->rcvtimeo = listener->rcvtimeo;
	f->sndtimeo = listener->sndtimeo;
	f->opt = listener->opt;
	f->opt.priority = 0;	/* sk_clone */
}

int fn_sock_pending_error(struct fn_file *f)
{
	int err;

	fn_engine_lock();
	err = f->sk->error;
	f->sk->error = 0;
	fn_engine_unlock();
	return -err;
}

void fn_sock_keep_error(struct fn_file *f, int err)
{
	fn_engine_lock();
	f->sk->error = err;
	fn_engine_unlock();
}
