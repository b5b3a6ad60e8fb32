/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * Sockets that are still undecided, and their decision. Until connect, listen, a datagram's bind or first sendto the
 * number is a plain kernel socket: every call goes through to it, options are noted. Then the policy speaks, and either
 * the stack takes over under the same number or the kernel keeps it for good.
 */
#include "shim/decide.h"

#include <errno.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <string.h>
#include <sys/ioctl.h>

#include "shim/addr.h"
#include "shim/async.h"
#include "shim/engine.h"
#include "shim/epoll.h"
#include "shim/dgram.h"
#include "shim/fabric.h"
#include "shim/fdtable.h"
#include "shim/kroute.h"
#include "shim/listen.h"
#include "shim/port.h"
#include "shim/reserve.h"
#include "shim/room.h"
#include "shim/shim.h"
#include "shim/sockfile.h"
#include "shim/sockopt.h"
#include "shim/spare.h"
#include "shim/wait.h"
#include "stack/net.h"

/* Sockets of EAL and its drivers, and our own threads', are none of our business. */
static bool inside(void)
{
	return fn_thread_self()->inside;
}

void fn_decide_record(int fd, int family, int type, enum fn_reason reason, uint32_t arg)
{
	struct fn_info_decision d = { .fd = fd, .family = (uint16_t)family, .type = (uint16_t)type,
				      .verb = FN_POLICY_SOCKET, .nic = FN_POLICY_NO_NIC, .reason = reason, .arg = arg };

	fn_info_decision(&d);
}

int fn_shim_socket(int domain, int type, int protocol)
{
	uint32_t arg = 0, epoch = fn_spare_epoch();
	enum fn_reason reason;
	struct fn_file *f;
	int fd = -1;

	if (inside())
		return fn_reserve_socket(fn_sys_socket(domain, type, protocol), domain);
	if (!fn_engine.barred)
		fd = fn_spare_take(domain, type, protocol);
	if (fd < 0)
		fd = fn_sys_socket(domain, type, protocol);
	if (fn_unlikely(fd == -EMFILE) && fn_room_make())
		fd = fn_sys_socket(domain, type, protocol);
	if (fd < 0)
		return fd;
	fn_room_watch(fd);
	reason = fn_policy_socket(domain, type, protocol, &arg);
	if (fn_engine.barred && reason == FN_REASON_UNDECIDED)
		reason = FN_REASON_SECCOMP;
	if (reason != FN_REASON_UNDECIDED)
		fn_decide_record(fd, domain, type, reason, arg);
	if (reason != FN_REASON_UNDECIDED)
		return fd;
	f = fn_engine_init() == 0 ? fn_file_new(FN_FILE_SOCKET, &fn_socket_ops) : NULL;
	if (!f) {
		fn_decide_record(fd, domain, type, FN_REASON_NO_MEMORY, 0);
		return fd;
	}
	f->domain = domain;
	f->type = type & ~(SOCK_NONBLOCK | SOCK_CLOEXEC);
	f->protocol = protocol;
	f->untouched = f->type == SOCK_STREAM;
	f->kernel_nonblock = type & SOCK_NONBLOCK;
	f->flags = f->kernel_nonblock ? O_NONBLOCK : 0;
	f->spare_epoch = epoch;
	fd = fn_fd_raise(fd, type & SOCK_CLOEXEC);
	if (!fn_fd_install(fd, f)) {
		fn_decide_record(fd, domain, type, FN_REASON_FD_BASE, 0);
		fn_file_put(f);
	}
	return fd;
}

void fn_decide_kernel(struct fn_file *f, int fd, enum fn_reason reason, uint32_t arg)
{
	fn_engine_lock();
	fn_epoll_to_kernel(f);
	f->kind = FN_FILE_KERNEL;
	f->ops = &fn_kernel_ops;
	f->reason = (uint8_t)reason;
	if (f->named)
		fn_fabric_unlisten(f);
	f->named = false;
	fn_engine_unlock();
	fn_fd_forget(fd, f);
}

void fn_decide_leave(struct fn_file *f, int fd, enum fn_reason reason, uint32_t arg)
{
	fn_decide_record(fd, f->domain, f->type, reason, arg);
	fn_decide_kernel(f, fd, reason, arg);
}

void fn_decide_not_taken(struct fn_file *f, int fd, int err)
{
	struct fn_verdict v = fn_verdict_not_taken(err);

	fn_decide_leave(f, fd, v.reason, v.arg);
}

/* For threads that were waiting when it became the kernel's. */
static unsigned kernel_poll(struct fn_file *f, int fd)
{
	struct pollfd pfd = { .fd = fd, .events = POLLIN | POLLOUT | POLLPRI | POLLRDHUP | POLLRDNORM | POLLWRNORM };
	struct timespec zero = { 0, 0 };

	return fn_sys_ppoll(&pfd, 1, &zero, NULL) > 0 ? (unsigned short)pfd.revents : 0;
}

const struct fn_file_ops fn_kernel_ops = { .poll = kernel_poll };

/* ---- to the stack ---- */

/* The flags that the program has set on the kernel's socket so far. */
static void take_flags(struct fn_file *f, int fd)
{
	int fl = fn_sys_fcntl(fd, F_GETFL, 0);

	if (fl >= 0)
		f->flags = fl & (O_NONBLOCK | O_ASYNC);
}

/* The stack socket takes over the name of the kernel's, if that is bound. With the lock held. */
static int copy_name(struct fn_file *f, int fd)
{
	struct sockaddr_storage own;
	struct fn_ep ep;
	int ret;

	if (f->type == SOCK_DGRAM && fn_dgram_fabric())
		return fn_dgram_take_names(f, fd);
	if (!fn_decide_own_name(fd, &own) ||
	    fn_addr_get(f, FN_ADDR_BIND, (void *)&own, sizeof(own), &ep) != FN_ADDR_IP4 || !ep.port)
		return 0;
	if (!fn_stack_is_local(fn_engine.st, ep.ip4))
		ep.ip4 = 0;
	ret = fn_sock_bind_given(f->sk, &ep);
	if (f->any_port && f->type == SOCK_DGRAM)	/* SOCK_BINDPORT_LOCK is not set: a disconnect gives it up */
		f->sk->opts &= (uint16_t)~FN_SO_BOUND_PORT;
	return ret;
}

/* f gets a stack socket with the options and the name of the kernel's; its kind does not change yet. */
static int make_sock(struct fn_file *f, int fd, enum fn_sock_kind kind)
{
	struct fn_sock *sk;
	int ret;

	fn_engine_lock();
	sk = f->sk ? NULL : fn_sock_open(fn_engine.st, kind, f);
	ret = f->sk ? -EALREADY : sk ? 0 : -ENOBUFS;	/* EALREADY: another thread was first */
	if (sk)
		fn_engine_give(f, sk);
	fn_engine_unlock();
	if (ret < 0)
		return ret;
	ret = fn_sockopt_copy(f, fd);
	fn_engine_lock();
	if (ret == 0 && !f->untouched)
		ret = copy_name(f, fd);
	f->sk->shut = f->shut;
	if (ret < 0)
		fn_engine_drop(f);
	fn_engine_unlock();
	return ret;
}

/* From now on the stack serves f. */
static int become(struct fn_file *f, int fd, enum fn_file_kind kind, enum fn_sock_kind sock_kind)
{
	int ret = make_sock(f, fd, sock_kind);

	if (ret < 0)
		return ret;
	fn_engine_lock();
	if (!f->untouched) {
		take_flags(f, fd);
		fn_async_take(f, fd);
	}
	f->ops = kind == FN_FILE_TCP ? &fn_tcp_ops : &fn_udp_ops;
	f->kind = (uint8_t)kind;
	fn_epoll_accelerate(f);
	if (kind == FN_FILE_UDP)
		fn_dual_add(f, fd);
	fn_engine_unlock();
	return 0;
}

/* ---- operations of an undecided socket ---- */

/* A port's address is not the kernel's: it lets us bind it with IP_FREEBIND, and tells EADDRINUSE truly. */
static int bind_free(int fd, const struct sockaddr *addr, socklen_t len)
{
	int on = 1, off = 0, ret;

	fn_sys_setsockopt(fd, IPPROTO_IP, IP_FREEBIND, &on, sizeof(on));
	ret = (int)fn_sys(SYS_bind, fd, addr, len);
	fn_sys_setsockopt(fd, IPPROTO_IP, IP_FREEBIND, &off, sizeof(off));
	return ret;
}

static bool is_on(int fd, int option)
{
	socklen_t len = sizeof(int);
	int on = 0;

	return fn_sys_getsockopt(fd, SOL_SOCKET, option, &on, &len) == 0 && on;
}

/* A port that a connection of the stack's has from its listener, of which the kernel does not know (inet_csk_get_port). */
static bool name_kept(int fd, const struct fn_ep *ep)
{
	unsigned opts = (is_on(fd, SO_REUSEADDR) ? FN_SO_REUSEADDR : 0) | (is_on(fd, SO_REUSEPORT) ? FN_SO_REUSEPORT : 0);
	struct sockaddr_storage own;
	bool kept;

	fn_engine_lock();
	kept = fn_engine.st && fn_sock_name_kept(fn_engine.st, FN_SOCK_TCP, ep, opts);
	fn_engine_unlock();
	/* one that is bound already is EINVAL first */
	return kept && fn_decide_own_name(fd, &own) && !((struct sockaddr_in *)&own)->sin_port;
}

int fn_decide_datagrams(struct fn_file *f, int fd)
{
	return fn_engine_start(true) && (fn_engine.ports || fn_dgram_fabric()) ? become(f, fd, FN_FILE_UDP, FN_SOCK_UDP) : -ENETDOWN;
}

/* Its stack side is opened now, or, of the fabric, when it is waited on. */
static int start_udp(struct fn_file *f, int fd)
{
	return fn_dgram_fabric() ? fn_dgram_start(f, fd) : fn_decide_datagrams(f, fd);
}

static int bound_udp(struct fn_file *f, int fd)
{
	return fn_dgram_fabric() ? fn_dgram_bound(f, fd) : fn_decide_datagrams(f, fd);
}

/* Does the stack serve the datagram socket f from now on, which sends to that address? */
static bool udp_begins(struct fn_file *f, int fd, const struct sockaddr *to)
{
	struct fn_info_decision d;
	struct fn_verdict v = fn_decide_ask(f, fd, FN_POLICY_CONNECT, to, &d);
	int ret = v.stack ? start_udp(f, fd) : 0;

	if (ret == -EALREADY)	/* another thread tells */
		return false;
	if (ret < 0)
		v = fn_verdict_not_taken(ret);
	fn_decide_tell(f, &d, &v);
	if (ret < 0 && fn_dgram_fabric())
		fn_decide_kernel(f, fd, v.reason, v.arg);
	return v.stack;
}

/* bind() of the kernel's socket, which has its say about every name. */
static int bind_kernel(struct fn_file *f, int fd, const struct sockaddr *addr, socklen_t len)
{
	struct fn_ep ep;
	int ret, kind = addr ? fn_addr_get(f, FN_ADDR_BIND, addr, len, &ep) : -EFAULT;

	f->untouched = false;
	if (kind != FN_ADDR_IP4 && kind != FN_ADDR_IP6)
		return FN_TO_KERNEL;
	if (kind == FN_ADDR_IP4 && ep.port && f->type == SOCK_STREAM && name_kept(fd, &ep))
		return -EADDRINUSE;
	if (kind == FN_ADDR_IP4 && fn_port_has_address(ep.ip4))
		ret = bind_free(fd, addr, len);
	else
		ret = (int)fn_sys(SYS_bind, fd, addr, len);
	if (ret == 0)
		f->any_port = kind == FN_ADDR_IP4 && !ep.port;
	return ret;
}

/*
 * The kernel's socket gives up the port that it chose for bind(), as the end of a connection would have made it do
 * (tcp_set_state(): inet_put_port() without SOCK_BINDPORT_LOCK); of datagrams __udp_disconnect() does.
 */
static void give_port_up(const struct fn_file *f, int fd)
{
	struct sockaddr none = { .sa_family = AF_UNSPEC };

	if (f->type == SOCK_STREAM)
		fn_sys(SYS_listen, fd, 0);
	fn_sys(SYS_connect, fd, &none, sizeof(none));
}

int fn_decide_bind_again(struct fn_file *f, int fd, const struct sockaddr *addr, socklen_t len)
{
	int ret;

	if (f->any_port && (f->tried || f->type == SOCK_DGRAM))
		give_port_up(f, fd);
	ret = bind_kernel(f, fd, addr, len);
	if (ret == FN_TO_KERNEL)
		ret = (int)fn_sys(SYS_bind, fd, addr, len);
	if (ret < 0)
		return ret;
	fn_engine_lock();
	fn_sock_unname(f->sk);
	f->tried = false;
	ret = copy_name(f, fd);
	fn_engine_unlock();
	return ret;
}

static int socket_bind(struct fn_file *f, int fd, const struct sockaddr *addr, socklen_t len)
{
	struct fn_info_decision d;
	struct fn_verdict v;
	int err, ret = bind_kernel(f, fd, addr, len);

	if (ret < 0 || f->type != SOCK_DGRAM)
		return ret;
	v = fn_decide_ask(f, fd, FN_POLICY_LISTEN, addr, &d);
	err = v.stack ? bound_udp(f, fd) : 0;
	if (err < 0 && err != -EALREADY)
		v = fn_verdict_not_taken(err);
	else if (v.stack && fn_dgram_fabric() && !f->named)
		return ret;	/* nobody comes to it by the fabric; it is decided when it sends */
	fn_decide_tell(f, &d, &v);
	if (!v.stack)
		fn_decide_kernel(f, fd, v.reason, v.arg);
	return ret;
}

/*
 * A stream that the policy has given to the stack. What a peer of the fabric refuses is the kernel's, so that is told
 * when it has answered; a port's, which may take long, before.
 */
static int connect_stack(struct fn_file *f, int fd, struct fn_ep *to, struct fn_verdict *v, struct fn_info_decision *d,
			 bool wait)
{
	int ret;

	to->peer = v->peer;
	if (!v->peer)
		fn_decide_tell(f, d, v);
	ret = fn_tcp_file_connect(f, fd, to, wait);
	if (!v->peer)
		return ret;
	if (ret == -ECONNREFUSED)
		*v = fn_verdict_kernel(FN_REASON_FABRIC_FAILED, ECONNREFUSED);
	fn_decide_tell(f, d, v);
	return v->stack ? ret : fn_tcp_file_back(f, fd, v->reason, v->arg);
}

static int begin_connect(struct fn_file *f, int fd, const struct sockaddr *addr, socklen_t len, bool may_wait)
{
	struct fn_info_decision d;
	struct fn_verdict v;
	struct fn_ep to;
	int ret, kind = addr ? fn_addr_get(f, FN_ADDR_CONNECT, addr, len, &to) : -EFAULT;

	if (kind != FN_ADDR_IP4 && kind != FN_ADDR_IP6)
		return FN_TO_KERNEL;	/* AF_UNSPEC among others */
	if (f->named)
		return fn_dgram_open(f, fd) ? fn_udp_ops.connect(f, fd, addr, len) : FN_TO_KERNEL;
	if (f->type == SOCK_DGRAM)
		return udp_begins(f, fd, addr) ? fn_udp_ops.connect(f, fd, addr, len) : FN_TO_KERNEL;
	v = fn_decide_ask(f, fd, FN_POLICY_CONNECT, addr, &d);
	ret = v.stack ? become(f, fd, FN_FILE_TCP, FN_SOCK_TCP) : 0;
	if (ret == -EALREADY)
		return ret;
	if (ret < 0)
		v = fn_verdict_not_taken(ret);
	if (v.stack)
		return connect_stack(f, fd, &to, &v, &d, may_wait && !fn_file_nonblock(f));
	fn_decide_tell(f, &d, &v);
	fn_decide_kernel(f, fd, v.reason, v.arg);
	return FN_TO_KERNEL;
}

static int socket_connect(struct fn_file *f, int fd, const struct sockaddr *addr, socklen_t len)
{
	return begin_connect(f, fd, addr, len, true);
}

int fn_decide_ended(struct fn_file *f, int fd, const struct sockaddr *addr, socklen_t len)
{
	int flags = f->flags, ret;

	/* the kernel's side of a listener never waits; what the program sees is the file's */
	fn_sys_fcntl(fd, F_SETFL, flags);
	ret = socket_connect(f, fd, addr, len);
	fn_engine_lock();
	if (f->kind == FN_FILE_LISTEN)	/* an address that neither side takes */
		fn_sys_fcntl(fd, F_SETFL, flags | O_NONBLOCK);
	else
		fn_dual_del(f);
	fn_engine_unlock();
	return ret;
}

static int socket_listen(struct fn_file *f, int fd, int backlog)
{
	struct sockaddr_storage own;
	struct fn_verdict v;
	int ret;

	if (f->type != SOCK_STREAM)
		return FN_TO_KERNEL;
	f->untouched = false;
	ret = (int)fn_sys(SYS_listen, fd, backlog);
	if (ret < 0 || !fn_decide_own_name(fd, &own))
		return ret;
	v = fn_decide(f, fd, FN_POLICY_LISTEN, (void *)&own);
	if (v.stack)
		fn_listen_begin(f, fd, backlog);
	else
		fn_decide_kernel(f, fd, v.reason, v.arg);
	return ret;
}

/* How much of a socket address tells its destination: family, port and address. */
static size_t addr_bytes(const struct fn_file *f)
{
	return f->domain == AF_INET6 ? offsetof(struct sockaddr_in6, sin6_scope_id) : offsetof(struct sockaddr_in, sin_zero);
}

/* The kernel's verdict on a destination holds for as long as its answers about routes do. */
static bool still_kernel(const struct fn_file *f, const void *to)
{
	return !memcmp(f->kernel_dst, to, addr_bytes(f)) && fn_now() < f->kernel_until;
}

static void note_kernel(struct fn_file *f, const void *to)
{
	memcpy(f->kernel_dst, to, addr_bytes(f));
	f->kernel_until = fn_now() + FN_KROUTE_NS;
}

/* MSG_FASTOPEN: connect() and then the data, for we have no cookie. Where it is switched off the kernel says so. */
static ssize_t socket_fast_open(struct fn_file *f, int fd, const struct msghdr *msg, unsigned flags)
{
	int off = 0, ret = fn_sys_setsockopt(fd, IPPROTO_TCP, TCP_FASTOPEN_CONNECT, &off, sizeof(off));

	if (ret == 0)
		ret = begin_connect(f, fd, msg->msg_name, msg->msg_namelen, !(flags & MSG_DONTWAIT));
	else
		ret = FN_TO_KERNEL;
	return ret ? ret : fn_tcp_ops.sendmsg(f, fd, msg, flags & ~(unsigned)MSG_FASTOPEN);
}

/*
 * A datagram socket that may go by the fabric is opened before it sends: one that has a name, or that was connected to an address
 * of this host at which nobody was to be met then.
 */
static bool opened_to_send(struct fn_file *f, int fd)
{
	struct sockaddr_storage to;
	socklen_t len = sizeof(to);

	if (fn_dgram_wants(f))
		return fn_dgram_open(f, fd);
	if (f->type != SOCK_DGRAM || !fn_dgram_fabric() || fn_now() < f->kernel_until)
		return false;
	f->kernel_until = fn_now() + FN_DGRAM_NS;
	return fn_sys(SYS_getpeername, fd, &to, &len) == 0 && udp_begins(f, fd, (void *)&to);
}

/* The first datagram of an unbound socket decides it when the stack reaches its destination. */
static ssize_t socket_sendmsg(struct fn_file *f, int fd, const struct msghdr *msg, unsigned flags)
{
	struct fn_ep to;
	int kind;

	if (flags & MSG_FASTOPEN)
		f->untouched = false;
	if (flags & MSG_FASTOPEN && f->type == SOCK_STREAM && msg->msg_name)
		return socket_fast_open(f, fd, msg, flags);
	if (f->type != SOCK_DGRAM)
		return FN_TO_KERNEL;
	if (!msg->msg_name)
		return opened_to_send(f, fd) ? fn_udp_ops.sendmsg(f, fd, msg, flags) : FN_TO_KERNEL;
	kind = fn_addr_get(f, FN_ADDR_SEND, msg->msg_name, msg->msg_namelen, &to);
	if ((kind != FN_ADDR_IP4 && kind != FN_ADDR_IP6) || still_kernel(f, msg->msg_name))
		return FN_TO_KERNEL;
	if (fn_dgram_wants(f))
		return fn_dgram_open(f, fd) ? fn_udp_ops.sendmsg(f, fd, msg, flags) : FN_TO_KERNEL;
	if (!udp_begins(f, fd, msg->msg_name)) {
		note_kernel(f, msg->msg_name);
		return FN_TO_KERNEL;
	}
	return fn_udp_ops.sendmsg(f, fd, msg, flags);
}

static ssize_t socket_send(struct fn_file *f, int fd, const struct iovec *iov, int iovcnt, unsigned flags)
{
	return opened_to_send(f, fd) ? fn_udp_ops.send(f, fd, iov, iovcnt, flags) : FN_TO_KERNEL;
}

/* The stack side of a bound datagram socket is opened by the first call that wants it. */
static ssize_t socket_recv(struct fn_file *f, int fd, const struct iovec *iov, int iovcnt, unsigned flags)
{
	return fn_dgram_wants(f) && fn_dgram_open(f, fd) ? fn_udp_ops.recv(f, fd, iov, iovcnt, flags) : FN_TO_KERNEL;
}

static ssize_t socket_recvmsg(struct fn_file *f, int fd, struct msghdr *msg, unsigned flags)
{
	return fn_dgram_wants(f) && fn_dgram_open(f, fd) ? fn_udp_ops.recvmsg(f, fd, msg, flags) : FN_TO_KERNEL;
}

static int socket_setsockopt(struct fn_file *f, int fd, int level, int name, const void *value, socklen_t len)
{
	int ret = fn_sys_setsockopt(fd, level, name, value, len);

	f->untouched = false;
	if (ret < 0)
		return ret;
	if (fn_sockopt_note(f, level, name, value, len) == FN_VERDICT_DECIDE)
		fn_decide_leave(f, fd, FN_REASON_OPTION, FN_REASON_OPTION(level, name));
	return ret;
}

/* inet_shutdown() marks a socket before it says that it is not connected. */
static int socket_shutdown(struct fn_file *f, int fd, int how)
{
	f->untouched = false;
	if (how >= SHUT_RD && how <= SHUT_RDWR)
		f->shut |= (uint8_t)(how + 1);	/* SHUT_* + 1 are the bits FN_SHUT_* */
	return FN_TO_KERNEL;
}

/* It may be one that sends signals: datagrams are the kernel's then (async.c). */
static void touched(struct fn_file *f)
{
	f->untouched = false;
	if (f->type == SOCK_DGRAM && fn_dgram_fabric())
		fn_dgram_retire(f);
}

/* The kernel's flags are the file's as long as only O_NONBLOCK is changed. */
static int socket_set_flags(struct fn_file *f, int fd, long arg)
{
	int ret = fn_sys_fcntl(fd, F_SETFL, arg);

	if (arg & (O_APPEND | O_ASYNC | O_DIRECT | O_NOATIME))
		touched(f);
	if (ret == 0)
		f->flags = (f->kernel_nonblock = arg & O_NONBLOCK) ? O_NONBLOCK : 0;
	return ret;
}

static int socket_fcntl(struct fn_file *f, int fd, int cmd, long arg)
{
	if (cmd == F_SETFL)
		return socket_set_flags(f, fd, arg);
	if (cmd == F_SETOWN || cmd == F_SETOWN_EX)
		touched(f);
	else if (cmd != F_GETFL && cmd != F_GETOWN && cmd != F_GETOWN_EX && cmd != F_GETSIG)
		f->untouched = false;
	return FN_TO_KERNEL;
}

static int socket_ioctl(struct fn_file *f, int fd, unsigned long req, void *arg)
{
	int ret;

	if (req == FIONBIO) {
		ret = (int)fn_sys(SYS_ioctl, fd, req, arg);
		if (ret == 0)
			f->flags = (f->kernel_nonblock = *(int *)arg) ? O_NONBLOCK : 0;
		return ret;
	}
	if (req == FIOASYNC || req == FIOSETOWN || req == SIOCSPGRP)
		touched(f);
	else if (req != FIONREAD && req != FIOCLEX && req != FIONCLEX)
		f->untouched = false;
	return FN_TO_KERNEL;
}

static unsigned socket_poll(struct fn_file *f, int fd)
{
	struct pollfd pfd = { .fd = fd, .events = POLLIN | POLLOUT | POLLPRI | POLLRDHUP };
	struct timespec zero = { 0, 0 };

	return fn_sys_ppoll(&pfd, 1, &zero, NULL) > 0 ? (unsigned short)pfd.revents : 0;
}

static void socket_release(struct fn_file *f)
{
	fn_engine_lock();
	fn_epoll_release(f);
	if (f->named)
		fn_fabric_unlisten(f);
	fn_engine_unlock();
}

const struct fn_file_ops fn_socket_ops = {
	.recv = socket_recv,
	.send = socket_send,
	.recvmsg = socket_recvmsg,
	.bind = socket_bind,
	.connect = socket_connect,
	.listen = socket_listen,
	.sendmsg = socket_sendmsg,
	.shutdown = socket_shutdown,
	.setsockopt = socket_setsockopt,
	.ioctl = socket_ioctl,
	.fcntl = socket_fcntl,
	.poll = socket_poll,
	.release = socket_release,
};

/* ---- datagrams ---- */

/*
 * The kernel has a port's address too (README: for programs that ask for interfaces), and nobody of this image listens
 * there: it is another process's, of this host, and the kernel's.
 */
static bool is_neighbours(const struct fn_file *f, const struct fn_ep *to)
{
	const struct fn_sock *sk;

	if (!fn_kroute_is_host(to->ip4))
		return false;
	fn_engine_lock();
	sk = fn_demux_bound(fn_engine.st, FN_SOCK_UDP, to, &f->sk->local, 0);
	fn_engine_unlock();
	return !sk;
}

/* Has the kernel a better way there than a port's gateway, and may the socket take it? As fn_policy_decide() has it. */
static bool kernels_way(struct fn_file *f, int fd, const struct fn_ep *to)
{
	struct sockaddr_storage ss;
	struct fn_info_decision d;

	uint32_t own = f->sk->local.ip4;

	/* the kernel has not got a port's address to send from */
	if ((own && fn_stack_is_local(fn_engine.st, own)) || !fn_kroute_specific(to->ip4))
		return false;
	if (!fn_config.nrules)
		return true;
	fn_addr_make(f->domain, to, &ss);
	return fn_decide_ask(f, fd, FN_POLICY_CONNECT, (struct sockaddr *)&ss, &d).kernel;
}

bool fn_udp_route(struct fn_file *f, int fd, const struct fn_ep *to)
{
	struct fn_path path;

	/* loopback: the stack has only this image's sockets there, the kernel has everybody's */
	if ((ntohl(to->ip4) >> 24) == 127)
		return false;
	if (fn_stack_is_local(fn_engine.st, to->ip4))
		return !is_neighbours(f, to);
	for (unsigned i = 0; i < fn_config.nnics; i++)
		if (!((to->ip4 ^ fn_config.nics[i].ip4) & fn_config.nics[i].ip4_mask))
			return true;
	if (fn_kroute_is_host(to->ip4) || kernels_way(f, fd, to))
		return false;
	return fn_path_init(fn_engine.st, &path, to->ip4, 0, IPPROTO_UDP) == 0;
}
