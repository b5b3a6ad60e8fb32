/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * Listeners. The kernel's socket under the number keeps listening: it serves clients that do not come through a port, and
 * makes EADDRINUSE true. The stack's side is opened by the process that first waits on the listener. accept() takes from
 * either. The kernel's socket is made non-blocking when we accept from it (another process may take what was announced to
 * us), and is put back before another program has it, for that flag is shared; what the program sees and sets as
 * O_NONBLOCK is the file's.
 */
#include "shim/listen.h"

#include <errno.h>
#include <netinet/in.h>
#include <stdio.h>
#include <sys/ioctl.h>
#include <string.h>

#include "shim/addr.h"
#include "shim/async.h"
#include "shim/convert.h"
#include "shim/decide.h"
#include "shim/engine.h"
#include "shim/epoll.h"
#include "shim/fabric.h"
#include "shim/fdtable.h"
#include "shim/info.h"
#include "shim/log.h"
#include "shim/port.h"
#include "shim/room.h"
#include "shim/sockopt.h"
#include "shim/wait.h"

/* What a liar offers is not looked through without end. */
#define CLAIMS_MAX 64

_Atomic(unsigned) fn_listen_epoch = 1;

/* net.core.somaxconn cuts the backlog (net/socket.c). */
static int somaxconn(void)
{
	static int value;
	char buf[16] = "";
	int fd;

	if (value)
		return value;
	fd = (int)fn_sys(SYS_openat, AT_FDCWD, "/proc/sys/net/core/somaxconn", O_RDONLY | O_CLOEXEC, 0);
	if (fd >= 0) {
		fn_sys_read(fd, buf, sizeof(buf) - 1);
		fn_sys_close(fd);
	}
	if (sscanf(buf, "%d", &value) != 1 || value <= 0)
		value = 4096;
	return value;
}

static int cut_backlog(int backlog)
{
	return (unsigned)backlog > (unsigned)somaxconn() ? somaxconn() : backlog;
}

/* Asked at each accept from the kernel's side: another process may have put the flag back (fn_listen_plain()). */
static void kernel_nonblock(struct fn_file *f, int fd)
{
	int fl = fn_sys_fcntl(fd, F_GETFL, 0);

	if (fn_likely(fl < 0 || fl & O_NONBLOCK))
		return;
	fn_sys_fcntl(fd, F_SETFL, fl | O_NONBLOCK);
	f->made_nonblock = !fn_file_nonblock(f);
}

void fn_listen_plain(struct fn_file *f, int fd)
{
	int fl = f->made_nonblock ? fn_sys_fcntl(fd, F_GETFL, 0) : -1;

	f->made_nonblock = false;
	if (fl >= 0 && !fn_file_nonblock(f))
		fn_sys_fcntl(fd, F_SETFL, fl & ~O_NONBLOCK);
}

void fn_listen_plain_all(bool inherited_only)
{
	for (unsigned fd = 0; fd < fn_fdtable.top; fd++) {
		struct fn_file *f = fn_fdtable.file[fd];
		int flags;

		if (!f || f->kind != FN_FILE_LISTEN)
			continue;
		flags = inherited_only ? fn_sys_fcntl((int)fd, F_GETFD, 0) : 0;
		if (flags >= 0 && !(flags & FD_CLOEXEC))
			fn_listen_plain(f, (int)fd);
	}
}

/* Who has a signal sent for each client need not wait for them otherwise. */
static void signals_set(struct fn_file *f, int fd)
{
	if (f->flags & O_ASYNC && fn_config.fabric)
		fn_listen_attach(f, fd);
}

void fn_listen_begin(struct fn_file *f, int fd, int backlog)
{
	int fl = fn_sys_fcntl(fd, F_GETFL, 0);

	fn_engine_lock();
	if (f->kind == FN_FILE_SOCKET) {
		f->flags = fl >= 0 ? fl & (O_NONBLOCK | O_ASYNC) : 0;
		fn_async_take(f, fd);
		f->backlog = cut_backlog(backlog);
		f->ops = &fn_listen_ops;
		f->kind = FN_FILE_LISTEN;
		fn_dual_add(f, fd);
		fn_epoll_accelerate(f);
	}
	fn_engine_unlock();
	fn_fabric_listen(f, fd);
	fn_listen_epoch++;
	signals_set(f, fd);
}

/* ---- the stack's side ---- */

static int open_stack_side(struct fn_file *f, int fd)
{
	struct sockaddr_storage own;
	socklen_t len = sizeof(own);
	struct fn_ep ep;
	int ret;

	if (fn_sys(SYS_getsockname, fd, &own, &len) < 0 ||
	    fn_addr_get(f, FN_ADDR_BIND, (void *)&own, len, &ep) != FN_ADDR_IP4)
		return -EADDRNOTAVAIL;
	ret = fn_sock_bind_given(f->sk, &ep);
	return ret < 0 ? ret : fn_tcp_listen(f->sk, f->backlog);
}

/* May its clients come through a port? */
static bool is_for_ports(const struct fn_file *f)
{
	return f->reason != FN_REASON_FABRIC_LISTEN;
}

bool fn_listen_for_ports(void)
{
	for (unsigned fd = 0; fd < fn_fdtable.top; fd++) {
		const struct fn_file *f = fn_fdtable.file[fd];

		if (f && f->kind == FN_FILE_LISTEN && is_for_ports(f))
			return true;
	}
	return false;
}

void fn_listen_attach(struct fn_file *f, int fd)
{
	struct fn_sock *sk;
	int ret;

	f->waited = true;
	if (f->sk || f->ended || !fn_engine_start(is_for_ports(f)))
		return;
	fn_engine_lock();
	sk = f->sk ? NULL : fn_sock_open(fn_engine.st, FN_SOCK_TCP, f);
	if (sk)
		fn_engine_give(f, sk);
	fn_engine_unlock();
	if (!sk)
		return;
	fn_sockopt_copy(f, fd);
	fn_engine_lock();
	ret = open_stack_side(f, fd);
	if (ret < 0) {
		fn_engine_drop(f);
		fn_fabric_unlisten(f);
	} else {
		fn_fabric_attached(f);
	}
	fn_engine_unlock();
	if (ret < 0)
		fn_log(FN_LOG_WARNING, "listener %d stays with the kernel: %s", fd, strerror(-ret));
}

/*
 * One of several listeners of an address, of which another image may wait on the others (nginx's reuseport: each worker
 * has all of them and waits on its own): what the hash gives to one that nobody here waits on would never be accepted.
 */
static bool one_of_several(int fd)
{
	int on = 0;
	socklen_t len = sizeof on;

	return !fn_sys_getsockopt(fd, SOL_SOCKET, SO_REUSEPORT, &on, &len) && on;
}

static void attach(struct fn_file *f, int fd)
{
	if (!f->waited && one_of_several(fd))
		fn_engine_start(is_for_ports(f));
	else
		fn_listen_attach(f, fd);
}

static void attach_all(bool waited_only, bool for_ports_only)
{
	for (unsigned fd = 0; fd < fn_fdtable.top; fd++) {
		struct fn_file *f = fn_fd_get((int)fd);

		if (f && f->kind == FN_FILE_LISTEN && (f->waited || !waited_only) && (is_for_ports(f) || !for_ports_only))
			attach(f, (int)fd);
		if (f)
			fn_file_put(f);
	}
}

void fn_listen_attach_all(void)
{
	attach_all(false, true);
}

void fn_listen_retry(void)
{
	if (fn_listen_for_ports())
		fn_engine_start(true);	/* one that serves the fabric may get its port only now */
	attach_all(true, false);
}

/* ---- accept ---- */

/* The unconnected socket of the listener's family, of which numbers for accepted connections are dups; -EMFILE: there is no
 * room for one more. */
static int base_socket(const struct fn_file *listener)
{
	int *base = &fn_engine.base_fd[listener->domain == AF_INET6];

	if (*base < 0) {
		*base = fn_fd_internal_if_room(fn_sys_socket(listener->domain, SOCK_STREAM | SOCK_CLOEXEC, IPPROTO_TCP));
		if (*base >= 0)
			fn_fd_internal_track(base);
	}
	return *base;
}

static int accepted_number(const struct fn_file *listener, int flags)
{
	int base = base_socket(listener);

	if (base < 0)
		return fn_fd_raise(fn_sys_socket(listener->domain, SOCK_STREAM | (flags & SOCK_CLOEXEC), IPPROTO_TCP),
				   flags & SOCK_CLOEXEC);
	return fn_sys_fcntl(base, flags & SOCK_CLOEXEC ? F_DUPFD_CLOEXEC : F_DUPFD, fn_fdtable.floor);
}

void fn_listen_accept_ready(void)
{
	fn_engine_lock();
	for (unsigned fd = 0; fd < fn_fdtable.top; fd++)
		if (fn_fdtable.file[fd] && fn_fdtable.file[fd]->kind == FN_FILE_LISTEN)
			base_socket(fn_fdtable.file[fd]);
	fn_engine_unlock();
}

static struct fn_file *accepted_file(const struct fn_file *listener, int flags)
{
	struct fn_file *f = fn_file_new(FN_FILE_TCP, &fn_tcp_ops);

	if (!f)
		return NULL;
	f->domain = listener->domain;
	f->type = listener->type;
	f->protocol = listener->protocol;
	f->flags = flags & SOCK_NONBLOCK ? O_NONBLOCK : 0;
	f->accepted = true;
	fn_sockopt_inherit(f, listener);
	return f;
}

/* What another process sends claims to come from any address and port: one that it may not have is reset. */
static struct fn_sock *next_connection(struct fn_file *l, struct fn_file *f)
{
	struct fn_sock *sk;
	unsigned claims = 0;

	for (;;) {
		sk = fn_tcp_accept(l->sk, f);
		if (!sk && claims++ < CLAIMS_MAX && fn_fabric_claim(l))
			continue;
		if (!sk || !sk->remote.peer || fn_fabric_source_ok(sk))
			return sk;
		fn_sock_disconnect(sk);
		fn_sock_close(sk);
	}
}

/* The next connection of the stack's side; the number first, so that nothing accepted is lost to EMFILE. */
static int accept_stack(struct fn_file *l, struct sockaddr *addr, socklen_t *len, int flags)
{
	struct fn_sock *sk = NULL;
	struct fn_file *f;
	int fd, ret = 0;

	if (!(fn_sock_poll(l->sk) & POLLIN) && !fn_fabric_offered(l))
		return -EAGAIN;
	fd = accepted_number(l, flags);
	if (fd < 0)
		return fd;
	f = accepted_file(l, flags);
	if (f)
		sk = next_connection(l, f);
	if (!sk) {
		ret = f ? -EAGAIN : -ENFILE;
		fn_sys_close(fd);
		if (f)
			f->ops = &fn_kernel_ops, fn_file_put(f);
		return ret;
	}
	fn_engine_give(f, sk);
	if (addr)
		ret = fn_addr_put(l->domain, &sk->remote, addr, len);
	if (ret < 0 || !fn_fd_install(fd, f)) {
		fn_engine_drop(f);
		f->ops = &fn_kernel_ops;
		fn_file_put(f);
		fn_sys_close(fd);
		return ret < 0 ? ret : -EMFILE;
	}
	return fd;
}

/* The kernel's side: asked only when it has said that there is something, and until it says that there is not. */
static int accept_kernel(struct fn_file *f, int fd, struct sockaddr *addr, socklen_t *len, int flags)
{
	int ret;

	if (!atomic_exchange(&f->kernel_ready, false))
		return -EAGAIN;
	kernel_nonblock(f, fd);
	ret = (int)fn_sys(SYS_accept4, fd, addr, len, flags);
	if (ret != -EAGAIN)
		f->kernel_ready = true;
	return ret;
}

static int accept_once(struct fn_file *f, int fd, struct sockaddr *addr, socklen_t *len, int flags)
{
	int ret = -EAGAIN;

	fn_engine_lock();
	/* neither side starves the other: the kernel's goes first when it is ready, every other time */
	if (f->sk && !(f->kernel_ready && f->accept_turn))
		ret = accept_stack(f, addr, len, flags);
	f->accept_turn = !f->accept_turn;
	fn_engine_unlock();
	if (ret == -EAGAIN)
		ret = accept_kernel(f, fd, addr, len, flags);
	if (ret == -EAGAIN && f->sk && f->accept_turn) {
		fn_engine_lock();
		ret = accept_stack(f, addr, len, flags);
		fn_engine_unlock();
	}
	return ret;
}

/* Nothing announced, but a program that does not wait (accept in a loop with O_NONBLOCK) drives both sides by asking. */
static void ask_both(void)
{
	uint64_t now = fn_now();

	fn_engine_lock();
	fn_engine_poll(now);
	fn_dual_check(now);
	fn_engine_unlock();
}

static int accept_waiting(struct fn_file *f, int fd, struct sockaddr *addr, socklen_t *len, int flags)
{
	uint64_t deadline = 0;
	int ret;

	if (flags & ~(SOCK_NONBLOCK | SOCK_CLOEXEC))
		return -EINVAL;
	if (f->ended)
		return FN_TO_KERNEL;
	if (!f->sk)
		fn_listen_attach(f, fd);
	ret = accept_once(f, fd, addr, len, flags);
	if (ret == -EAGAIN) {
		ask_both();
		ret = accept_once(f, fd, addr, len, flags);
	}
	while (ret == -EAGAIN && !fn_file_nonblock(f)) {
		if (!deadline)
			deadline = fn_timeo_deadline(f->rcvtimeo);
		ret = fn_wait_file(f, fd, POLLIN, deadline);
		if (fn_converted(f))
			return FN_TO_KERNEL;
		if (ret == 0)
			ret = accept_once(f, fd, addr, len, flags);
		else
			break;
	}
	return ret;
}

static int listen_accept(struct fn_file *f, int fd, struct sockaddr *addr, socklen_t *len, int flags)
{
	int ret = accept_waiting(f, fd, addr, len, flags);

	if (ret == -EMFILE && fn_room_make())
		ret = accept_waiting(f, fd, addr, len, flags);
	fn_room_watch(ret);
	return ret;
}

/* ---- the rest ---- */

/* A bound socket cannot be bound again; the kernel would first say that it does not have a port's address. */
static int listen_bind(struct fn_file *f, int fd, const struct sockaddr *addr, socklen_t len)
{
	struct fn_ep ep;

	if (addr && fn_addr_get(f, FN_ADDR_BIND, addr, len, &ep) == FN_ADDR_IP4 && fn_port_has_address(ep.ip4))
		return -EINVAL;
	return FN_TO_KERNEL;
}

static bool kernel_side_readable(struct fn_file *f, int fd)
{
	struct pollfd pfd = { .fd = fd, .events = POLLIN };
	struct timespec zero = { 0, 0 };

	if (!f->kernel_ready)
		return false;
	if (fn_sys_ppoll(&pfd, 1, &zero, NULL) > 0)
		return true;
	/* another process took it; what comes later is an event again */
	f->kernel_ready = false;
	return fn_sys_ppoll(&pfd, 1, &zero, NULL) > 0;
}

static unsigned listen_poll(struct fn_file *f, int fd)
{
	struct pollfd pfd = { .fd = fd, .events = POLLIN | POLLOUT | POLLRDHUP | POLLRDNORM | POLLWRNORM };
	struct timespec zero = { 0, 0 };
	/* one that is closed another image has ended; the kernel's side says so in a moment (fn_dual_check()) */
	unsigned events = f->sk && f->sk->tcp_state == FN_TCP_LISTEN ? fn_sock_poll(f->sk) : 0;

	/* a registration's number may be closed while another one of the listener lives */
	pfd.fd = fd = fn_fd_number(f, fd);
	if (f->ended)
		return fn_sys_ppoll(&pfd, 1, &zero, NULL) > 0 ? (unsigned short)pfd.revents : 0;
	if (kernel_side_readable(f, fd) || (f->sk && fn_fabric_offered(f)))
		events |= POLLIN | POLLRDNORM;
	return events;
}

static int listen_again(struct fn_file *f, int fd, int backlog)
{
	int ret = (int)fn_sys(SYS_listen, fd, backlog);
	bool anew = f->ended;

	if (ret < 0)
		return ret;
	fn_engine_lock();
	f->backlog = cut_backlog(backlog);
	f->ended = false;
	if (f->sk)
		fn_tcp_listen(f->sk, f->backlog);
	fn_engine_unlock();
	if (anew)
		fn_fabric_listen(f, fd);
	return 0;
}

/* Who waits is told; other images that share the stack's side see that it is closed. */
void fn_listen_ended(struct fn_file *f)
{
	f->ended = true;	/* before the kernel's side is asked again, in fn_engine_kick() */
	fn_fabric_unlisten(f);
	if (f->sk)
		fn_sock_disconnect(f->sk);
	fn_engine_drop(f);
	fn_engine_kick();
	fn_file_wake(f, FN_POLL_STATE | POLLIN | POLLHUP | POLLRDHUP);
}

static void end_listening(struct fn_file *f)
{
	fn_engine_lock();
	fn_listen_ended(f);
	fn_engine_unlock();
}

/* shutdown(SHUT_RD) ends listening on Linux; the kernel's half says what the call returns, and who waits looks anyway. */
static int listen_shutdown(struct fn_file *f, int fd, int how)
{
	bool before = f->ended;
	int ret = (int)fn_sys(SYS_shutdown, fd, how);

	if (ret == 0 && how != SHUT_WR) {
		end_listening(f);
	} else if (ret != -EINVAL) {
		fn_engine_lock();
		fn_file_wake(f, FN_POLL_STATE);
		fn_engine_unlock();
	}
	if (before && how >= SHUT_RD && how <= SHUT_RDWR)
		f->shut |= (uint8_t)(how + 1);	/* for the next connect() */
	return ret;
}

/* connect(AF_UNSPEC) ends it, too; what has ended may connect. */
static int listen_connect(struct fn_file *f, int fd, const struct sockaddr *addr, socklen_t len)
{
	int ret;

	if (f->ended && addr && len >= sizeof(addr->sa_family) && addr->sa_family != AF_UNSPEC)
		return fn_decide_ended(f, fd, addr, len);
	ret = (int)fn_sys(SYS_connect, fd, addr, len);
	if (ret == 0) {		/* nothing else succeeds on a listener */
		end_listening(f);
		f->shut = 0;	/* tcp_disconnect */
	}
	return ret;
}

/* A call that sets an owner has been made of the kernel: its side sends its own signals, ours the stack's. */
static int owner_set(struct fn_file *f, int fd, int ret)
{
	fn_engine_lock();
	if (ret >= 0)
		fn_async_take(f, fd);
	fn_engine_unlock();
	return ret;
}

static int listen_fcntl(struct fn_file *f, int fd, int cmd, long arg)
{
	int fl;

	if (cmd == F_GETFL) {
		fl = fn_sys_fcntl(fd, F_GETFL, 0);
		return fl < 0 ? fl : (fl & ~(O_NONBLOCK | O_ASYNC)) | f->flags;
	}
	if (cmd == F_SETFL) {
		f->flags = (int)arg & (O_NONBLOCK | O_ASYNC);
		fn_async_update(f, fd);
		signals_set(f, fd);
		return fn_sys_fcntl(fd, F_SETFL, f->made_nonblock ? arg | O_NONBLOCK : arg);
	}
	if (cmd == F_SETOWN || cmd == F_SETOWN_EX || cmd == F_SETSIG)
		return owner_set(f, fd, fn_sys_fcntl(fd, cmd, arg));
	return FN_TO_KERNEL;
}

static int listen_ioctl(struct fn_file *f, int fd, unsigned long req, void *arg)
{
	int flag = req == FIONBIO ? O_NONBLOCK : O_ASYNC, ret;

	if (req == FIOSETOWN || req == SIOCSPGRP)
		return owner_set(f, fd, (int)fn_sys(SYS_ioctl, fd, req, arg));
	if (req != FIONBIO && req != FIOASYNC)
		return FN_TO_KERNEL;
	ret = !arg ? -EFAULT : req == FIONBIO && f->made_nonblock ? 0 : (int)fn_sys(SYS_ioctl, fd, req, arg);
	if (ret < 0)
		return ret;
	if (*(int *)arg)
		f->flags |= flag;
	else
		f->flags &= ~flag;
	fn_async_update(f, fd);
	signals_set(f, fd);
	return 0;
}

/* Both halves: the kernel's answer is the program's; the stack's copies what it serves. */
static int listen_setsockopt(struct fn_file *f, int fd, int level, int name, const void *value, socklen_t len)
{
	int ret = fn_sys_setsockopt(fd, level, name, value, len);

	if (ret < 0)
		return ret;
	if (fn_sockopt_note(f, level, name, value, len) == FN_VERDICT_NOTE && f->sk)
		fn_sockopt_set(f, fd, level, name, value, len);
	return ret;
}

static void listen_release(struct fn_file *f)
{
	fn_engine_lock();
	fn_epoll_release(f);
	fn_dual_del(f);
	fn_fabric_unlisten(f);
	fn_engine_drop(f);
	fn_engine_unlock();
}

const struct fn_file_ops fn_listen_ops = {
	.bind = listen_bind,
	.connect = listen_connect,
	.accept = listen_accept,
	.listen = listen_again,
	.shutdown = listen_shutdown,
	.setsockopt = listen_setsockopt,
	.fcntl = listen_fcntl,
	.ioctl = listen_ioctl,
	.poll = listen_poll,
	.release = listen_release,
};
