/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * Connections that were offered to a listener by shared memory, and that nobody there will take: all that could have have
 * gone, or do not want us, while its kernel socket listens on. They become the kernel's with what has been written to them,
 * and whoever listens accepts them there, as if they had gone there at once. Everything with the engine's lock held.
 *
 * Of a connection that nobody has claimed all is here: nothing has come from the other end.
 */
#include <errno.h>
#include <limits.h>
#include <netinet/in.h>

#include "shim/convert.h"
#include "shim/decide.h"
#include "shim/engine.h"
#include "shim/fabric_priv.h"
#include "shim/fdtable.h"
#include "stack/net.h"

/* The socket of o in our stack, which the program may have closed; NULL: it is gone. */
static struct fn_sock *sock_of(const struct fn_shm_offer *o)
{
	uint32_t hash = fn_hash4(fn_engine.st, o->remote.ip4, o->local.ip4, o->remote.port, o->local.port);
	struct fn_sock *sk = fn_demux_conn(fn_engine.st, hash, &o->local, &o->remote);

	return sk && sk->tcp_state != FN_TCP_TIME_WAIT && sk->tcp_state != FN_TCP_NEW_SYN_RCVD ? sk : NULL;
}

/* fd, a socket of the kernel's, is connected there: 0; -EINPROGRESS: not yet. */
static int connect_kernel(int fd, const struct fn_shm_offer *o, bool mapped)
{
	struct sockaddr_in6 in6 = { .sin6_family = AF_INET6, .sin6_port = o->remote.port };
	struct sockaddr_in in = { .sin_family = AF_INET, .sin_port = o->remote.port, .sin_addr.s_addr = o->remote.ip4 };
	void *to = mapped ? (void *)&in6 : &in;
	size_t len = mapped ? sizeof(in6) : sizeof(in);
	int ret;

	in6.sin6_addr.s6_addr16[5] = 0xffff;
	in6.sin6_addr.s6_addr32[3] = o->remote.ip4;
	fn_sys_fcntl(fd, F_SETFL, O_NONBLOCK);
	ret = (int)fn_sys(SYS_connect, fd, to, len);
	if (ret == -EINPROGRESS)	/* the loopback has answered meanwhile, unless the listener's queue is full */
		ret = (int)fn_sys(SYS_connect, fd, to, len);
	return ret == -EALREADY ? -EINPROGRESS : ret;
}

/* Nobody is to take what has been begun there for a connection: a reset. */
static void disconnect(int fd)
{
	struct sockaddr none = { .sa_family = AF_UNSPEC };

	fn_sys(SYS_connect, fd, &none, sizeof(none));
}

static bool count(void *total, const uint8_t *data, uint32_t len)
{
	*(uint64_t *)total += len;
	return true;
}

static bool send_piece(void *fd, const uint8_t *data, uint32_t len)
{
	return !len || fn_sys(SYS_sendto, *(int *)fd, data, len, MSG_NOSIGNAL | MSG_DONTWAIT, NULL, 0) == (long)len;
}

/* What a program has not set itself holds more over the loopback, from the beginning: 2 * 10 segments of 131,072 bytes
 * (tcp_sndbuf_expand()). */
#define ROOM (2u << 20)

static int sndbuf_of(int fd)
{
	int size = 0;
	socklen_t len = sizeof(size);

	fn_sys_getsockopt(fd, SOL_SOCKET, SO_SNDBUF, &size, &len);
	return size;
}

/* Will fd, which is not connected yet, take all that was written at once? A buffer that the program has set is made larger. */
static bool has_room(int fd, const struct fn_shm_offer *o, const struct fn_sock *sk)
{
	uint64_t total = o->len;
	int was, size;

	if (sk)
		fn_tcp_text_from(sk, o->next, count, &total);
	if (!sk || !(sk->opts & FN_SO_SNDBUF_LOCKED))
		return total <= ROOM;
	was = sndbuf_of(fd) / 2;	/* the kernel doubles what it is told */
	size = (int)fn_min(total, ROOM);
	if (size > was)
		fn_sys_setsockopt(fd, SOL_SOCKET, SO_SNDBUF, &size, sizeof(size));
	if (total <= (uint64_t)sndbuf_of(fd) / 8 * 7)
		return true;
	fn_sys_setsockopt(fd, SOL_SOCKET, SO_SNDBUF, &was, sizeof(was));
	return false;
}

static bool send_all(int fd, const struct fn_shm_offer *o, const struct fn_sock *sk)
{
	return send_piece(&fd, o->text, o->len) && (!sk || fn_tcp_text_from(sk, o->next, send_piece, &fd));
}

/* 0: o is the kernel's, under fd; -EINPROGRESS: it will be; -errno: it cannot be. Then fd is not connected. */
static int move(struct peer *p, const struct fn_shm_offer *o, const struct fn_sock *sk, int fd, bool mapped)
{
	int ret = has_room(fd, o, sk) ? connect_kernel(fd, o, mapped) : -EOPNOTSUPP;

	if (ret == -EOPNOTSUPP)
		return ret;
	if (!ret && !fn_shm_take_back(fn_fabric.nic, p->number, o))
		ret = -EBUSY;
	if (!ret && !send_all(fd, o, sk))
		ret = -ENOBUFS;
	if (ret)
		disconnect(fd);
	return ret;
}

/* The program has closed it; what was written is to arrive. */
static int move_closed(struct peer *p, const struct fn_shm_offer *o, const struct fn_sock *sk)
{
	int fd = fn_fd_internal(fn_sys_socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0)), ret;

	if (fd < 0)
		return fd;
	ret = move(p, o, sk, fd, false);
	if (!sk && !o->fin)	/* an end of it is not known */
		disconnect(fd);
	fn_fd_internal_close(fd);
	return ret;
}

/* Another number for the kernel's socket of f, whose own ones another thread may close; -EBADF: it has. */
static int number_for(const struct fn_file *f)
{
	int fd, own = -EBADF;

	fn_lock_take(&fn_fdtable.lock);
	fd = fn_fd_number(f, -1);
	if (fd >= 0)
		own = fn_sys_fcntl(fd, F_DUPFD_CLOEXEC, 0);
	if (own >= 0 && fn_fdtable.file[fd] != f) {	/* close_range() does not take that lock: it may be something else's */
		fn_sys_close(own);
		own = -EBADF;
	}
	fn_lock_release(&fn_fdtable.lock);
	return fn_fd_internal(own);
}

static int move_file(struct peer *p, const struct fn_shm_offer *o, struct fn_sock *sk)
{
	struct fn_file *f = sk->user;
	int fd, ret;

	/* what others have, too, has to wait for who accepts; so has an urgent byte, whose place the kernel would not know */
	if (sk->images != fn_engine.mine || o->urg)
		return -EOPNOTSUPP;
	if (fn_engine.st->lent)		/* somebody is about to write, perhaps to it (splice.c) */
		return -EINPROGRESS;
	fd = number_for(f);
	if (fd < 0)
		return fd;
	f->untouched = false;
	ret = move(p, o, sk, fd, f->domain == AF_INET6);
	if (ret == 0 && fn_fd_hold(f)) {	/* else another thread is closing it, and waits for the lock */
		fn_decide_record(fn_fd_number(f, -1), f->domain, f->type, FN_REASON_FABRIC_BACK, 0);
		fn_convert_back(f, fd);
		fn_file_put(f);
	}
	fn_fd_internal_close(fd);
	return ret;
}

bool fn_fallback(struct peer *p)
{
	struct fn_shm_offer o = { 0 };
	bool waits = false;

	fn_stack_poll(fn_engine.st, fn_engine.st->now);
	for (; fn_shm_offer_from(fn_fabric.nic, p->number, o.slot, &o); o.slot++) {
		struct fn_sock *sk = sock_of(&o);

		if (!o.rst)
			waits |= (sk && sk->user ? move_file(p, &o, sk) : move_closed(p, &o, sk)) == -EINPROGRESS;
	}
	return waits;
}
