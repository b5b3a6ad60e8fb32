/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * ioctl and fcntl on accelerated sockets. What is not about the connection (interfaces, routes, close-on-exec, leases)
 * is answered by the descriptor below, which is a socket of the same family. Must not wait.
 */
#include <asm/ioctls.h>
#include <errno.h>
#include <linux/sockios.h>
#include <string.h>

#include "shim/async.h"
#include "shim/msg.h"
#include "shim/sockfile.h"
#include "shim/wait.h"
#include "stack/user.h"

#define SETFL_MASK	(O_APPEND | O_NONBLOCK | O_ASYNC | O_NOATIME)	/* fs/fcntl.c, O_DIRECT being refused */
#define SIGNALS		64	/* _NSIG */

/* Flags that a datagram socket's kernel side must have too. */
static int set_flags(struct fn_file *f, int fd, int mask, int value)
{
	int old = atomic_load_explicit(&f->flags, memory_order_relaxed), flags;

	do {
		flags = (old & ~mask) | (value & mask);
	} while (!atomic_compare_exchange_weak_explicit(&f->flags, &old, flags, memory_order_relaxed,
							memory_order_relaxed));
	if (mask & O_ASYNC)
		fn_async_update(f, fd);
	return f->dual ? fn_sys_fcntl(fd, F_SETFL, flags) : 0;
}

/* ---- ioctl ---- */

static int put_int(void *arg, size_t value)
{
	int v = (int)value;

	return fn_user_put(arg, &v, sizeof(v));
}

static int set_flag_by_int(struct fn_file *f, int fd, int flag, const void *arg)
{
	int v;

	if (fn_user_get(&v, arg, sizeof(v)))
		return -EFAULT;
	return set_flags(f, fd, flag, v ? flag : 0);
}

static size_t tcp_number(struct fn_sock *sk, unsigned long req)
{
	bool synsent = sk->tcp_state == FN_TCP_SYN_SENT || sk->tcp_state == FN_TCP_SYN_RCVD;

	if (req == SIOCATMARK)
		return fn_tcp_at_mark(sk);
	if (synsent)
		return 0;
	return req == SIOCINQ ? fn_tcp_readable(sk) : req == SIOCOUTQ ? fn_tcp_outq(sk) : fn_tcp_outq_unsent(sk);
}

static int ask_stack(struct fn_file *f, unsigned long req, void *arg)
{
	size_t n;

	fn_engine_lock();
	if (f->sk->kind == FN_SOCK_TCP)
		n = tcp_number(f->sk, req);
	else
		n = req == SIOCINQ ? fn_udp_readable(f->sk) : fn_udp_outq(f->sk);
	fn_engine_unlock();
	if (!n && f->dual)
		return FN_TO_KERNEL;
	return put_int(arg, n);
}

/* The arrival of the last datagram that was read (sock_gettstamp); a stream has none. */
static int get_stamp(const struct fn_file *f, void *arg, bool ns)
{
	struct timespec ts;
	int64_t v[2];

	if (!f->rx_stamp)
		return -ENOENT;
	ts = fn_realtime(f->rx_stamp);
	v[0] = ts.tv_sec;
	v[1] = ns ? ts.tv_nsec : ts.tv_nsec / 1000;
	return fn_user_put(arg, v, sizeof(v));
}

static int set_owner(struct fn_file *f, int fd, int type, int id);

static int own_by_int(struct fn_file *f, int fd, const void *arg)
{
	int who;

	if (fn_user_get(&who, arg, sizeof(who)))
		return -EFAULT;
	return who < 0 ? set_owner(f, fd, F_OWNER_PGRP, -who) : set_owner(f, fd, F_OWNER_PID, who);
}

int fn_sock_ioctl(struct fn_file *f, int fd, unsigned long req, void *arg)
{
	switch (req) {
	case FIONBIO:
		return set_flag_by_int(f, fd, O_NONBLOCK, arg);
	case FIOASYNC:
		return set_flag_by_int(f, fd, O_ASYNC, arg);
	case SIOCINQ:	/* FIONREAD */
	case SIOCOUTQ:	/* TIOCOUTQ */
		return ask_stack(f, req, arg);
	case SIOCATMARK:
	case SIOCOUTQNSD:
		return f->type == SOCK_STREAM ? ask_stack(f, req, arg) : FN_TO_KERNEL;
	case SIOCGSTAMP_OLD:
	case SIOCGSTAMP_NEW:
		return f->type == SOCK_STREAM ? FN_TO_KERNEL : get_stamp(f, arg, false);
	case SIOCGSTAMPNS_OLD:
	case SIOCGSTAMPNS_NEW:
		return f->type == SOCK_STREAM ? FN_TO_KERNEL : get_stamp(f, arg, true);
	case FIOSETOWN:
	case SIOCSPGRP:
		return own_by_int(f, fd, arg);
	case FIOGETOWN:
	case SIOCGPGRP:
		return put_int(arg, (size_t)f->owner);
	default:
		return FN_TO_KERNEL;
	}
}

/* ---- fcntl ---- */

/* Of a datagram socket the kernel's side is told, too: its events are the kernel's to signal. */
static void tell_kernel(const struct fn_file *f, int fd, int cmd, long arg)
{
	if (f->dual)
		fn_sys_fcntl(fd, cmd, arg);
}

static int set_owner(struct fn_file *f, int fd, int type, int id)
{
	struct f_owner_ex ex = { type, id };

	/* f_setown looks the number up and asks for no permission */
	if (id < 0 || (id && fn_sys(SYS_kill, type == F_OWNER_PGRP ? -id : id, 0) == -ESRCH))
		return id < 0 ? -EINVAL : -ESRCH;
	f->owner = type == F_OWNER_PGRP ? -id : id;
	f->owner_tid = type == F_OWNER_TID;
	tell_kernel(f, fd, F_SETOWN_EX, (long)&ex);
	fn_async_update(f, fd);
	return 0;
}

static int set_owner_ex(struct fn_file *f, int fd, const struct f_owner_ex *arg)
{
	struct f_owner_ex ex;

	if (fn_user_get(&ex, arg, sizeof(ex)))
		return -EFAULT;
	if (ex.type != F_OWNER_TID && ex.type != F_OWNER_PID && ex.type != F_OWNER_PGRP)
		return -EINVAL;
	return ex.pid < 0 ? -ESRCH : set_owner(f, fd, ex.type, ex.pid);
}

static int get_owner_ex(const struct fn_file *f, struct f_owner_ex *arg)
{
	struct f_owner_ex ex;

	ex.type = f->owner < 0 ? F_OWNER_PGRP : f->owner_tid ? F_OWNER_TID : F_OWNER_PID;
	ex.pid = f->owner < 0 ? -f->owner : f->owner;
	return fn_user_put(arg, &ex, sizeof(ex));
}

static int set_owner_by_arg(struct fn_file *f, int fd, long arg)
{
	int who = (int)arg;

	if (who == INT_MIN)
		return -EINVAL;
	return who < 0 ? set_owner(f, fd, F_OWNER_PGRP, -who) : set_owner(f, fd, F_OWNER_PID, who);
}

int fn_sock_fcntl(struct fn_file *f, int fd, int cmd, long arg)
{
	switch (cmd) {
	case F_GETFL:
		return O_RDWR | atomic_load_explicit(&f->flags, memory_order_relaxed);
	case F_SETFL:
		return arg & O_DIRECT ? -EINVAL : set_flags(f, fd, SETFL_MASK, (int)arg);
	case F_SETOWN:
		return set_owner_by_arg(f, fd, arg);
	case F_GETOWN:
		return f->owner;
	case F_SETOWN_EX:
		return set_owner_ex(f, fd, (const void *)arg);
	case F_GETOWN_EX:
		return get_owner_ex(f, (void *)arg);
	case F_SETSIG:
		if (arg < 0 || arg > SIGNALS)
			return -EINVAL;
		f->owner_sig = (int)arg;
		tell_kernel(f, fd, F_SETSIG, arg);
		return 0;
	case F_GETSIG:
		return f->owner_sig;
	default:
		return FN_TO_KERNEL;
	}
}
