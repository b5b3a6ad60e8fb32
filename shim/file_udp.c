/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * Calls on a datagram socket of the stack, and of the kernel as well where it is bound to a wildcard address: a datagram
 * is received from either side in turn, and sent on the side that reaches its destination. As udp_recvmsg and udp_sendmsg
 * of Linux. Must not know how the socket came to the stack, nor a packet.
 */
#include <errno.h>
#include <netinet/in.h>
#include <string.h>

#include "shim/addr.h"
#include "shim/cork.h"
#include "shim/decide.h"
#include "shim/dgram.h"
#include "shim/fabric.h"
#include "shim/fdtable.h"
#include "shim/epoll.h"
#include "shim/kroute.h"
#include "shim/msg.h"
#include "shim/sockfile.h"
#include "shim/sockopt.h"
#include "shim/wait.h"
#include "stack/user.h"

#define UDP_LEN_MAX	0xffff	/* udp_sendmsg: more is EMSGSIZE at once; the stack knows the exact limit */

static bool dont_wait(const struct fn_file *f, unsigned flags)
{
	return fn_file_nonblock(f) || flags & MSG_DONTWAIT;
}

static bool on_stack(const struct fn_file *f)
{
	return f->side != FN_SIDE_KERNEL;
}

static bool on_kernel(const struct fn_file *f)
{
	return f->dual && f->side != FN_SIDE_STACK;
}

/* ---- receiving ---- */

/* Name, ancillary data and flags of a datagram from the stack. */
static int describe(struct fn_file *f, struct msghdr *msg, const struct fn_udp_meta *meta, bool cut)
{
	struct sockaddr_storage ss;
	struct fn_cmsg_out c;
	socklen_t full;

	msg->msg_flags = cut ? MSG_TRUNC : 0;
	if (msg->msg_name) {
		full = fn_addr_make(f->domain, &meta->from, &ss);
		if (fn_user_put(msg->msg_name, &ss, fn_min(msg->msg_namelen, full)))
			return -EFAULT;
		msg->msg_namelen = full;
	}
	fn_cmsg_begin(&c, msg);
	fn_cmsg_put_udp(&c, &f->opt, meta);
	fn_cmsg_end(&c, msg);
	return 0;
}

static ssize_t recv_stack(struct fn_file *f, struct msghdr *msg, unsigned flags, bool bare)
{
	struct fn_udp_meta meta;
	ssize_t n;

	fn_engine_lock();
	n = fn_udp_recv(f->sk, msg->msg_iov, (int)msg->msg_iovlen, flags & MSG_PEEK, &meta);
	fn_engine_unlock();
	if (n < 0)
		return n;
	if (!meta.from.port)	/* no datagram: the receiving half is shut down */
		return -EAGAIN;
	f->rx_stamp = meta.time;
	if (!bare && describe(f, msg, &meta, meta.len > (size_t)n))
		return -EFAULT;		/* the datagram is lost, as in the kernel */
	return flags & MSG_TRUNC ? (ssize_t)meta.len : n;
}

/* The flag is cleared before the kernel is asked, so that what comes afterwards sets it again. */
static ssize_t recv_kernel(struct fn_file *f, int fd, struct msghdr *msg, unsigned flags)
{
	ssize_t n;

	atomic_store(&f->kernel_ready, false);	/* pairs with fn_dual_check() */
	n = fn_sys(SYS_recvmsg, fd, msg, flags | MSG_DONTWAIT);
	if (n != -EAGAIN)
		atomic_store(&f->kernel_ready, true);	/* there may be more */
	return n;
}

/* Somebody sends by the fabric now, and has sent by the kernel before. */
static fn_cold ssize_t recv_older(struct fn_file *f, int fd, struct msghdr *msg, unsigned flags)
{
	ssize_t n = on_kernel(f) ? recv_kernel(f, fd, msg, flags) : -EAGAIN;

	f->kernel_older = n == -EAGAIN ? 0 : (uint16_t)(f->kernel_older - 1);
	return n;
}

/* One datagram from whichever side has one; the sides take turns. */
static ssize_t recv_either(struct fn_file *f, int fd, struct msghdr *msg, unsigned flags, bool bare)
{
	/* who is going to wait hears of the kernel's side then */
	bool ask = f->kernel_ready || dont_wait(f, flags);
	ssize_t n = -EAGAIN;
	bool kernel_first = on_kernel(f) && f->kernel_ready && f->kernel_turn;

	if (fn_unlikely(f->kernel_older) && (n = recv_older(f, fd, msg, flags)) != -EAGAIN)
		return n;
	if (kernel_first)
		n = recv_kernel(f, fd, msg, flags);
	if (n == -EAGAIN && on_stack(f)) {
		f->kernel_turn = true;
		n = recv_stack(f, msg, flags, bare);
	} else {
		f->kernel_turn = false;
	}
	if (n == -EAGAIN && on_kernel(f) && !kernel_first && ask)
		n = recv_kernel(f, fd, msg, flags);
	return n;
}

static ssize_t do_recv(struct fn_file *f, int fd, struct msghdr *msg, unsigned flags, bool bare)
{
	uint64_t deadline = 0;
	ssize_t n;
	int ret;

	if (flags & MSG_ERRQUEUE)	/* IP_RECVERR is not served: the stack's queue is empty */
		return fn_dgram_fabric() ? FN_TO_KERNEL : -EAGAIN;
	while ((n = recv_either(f, fd, msg, flags, bare)) == -EAGAIN) {
		if (dont_wait(f, flags))
			return fn_engine_look() ? recv_either(f, fd, msg, flags, bare) : n;
		if (f->sk->shut & FN_SHUT_RD) {
			msg->msg_namelen = 0;
			msg->msg_flags = 0;
			msg->msg_controllen = 0;
			return 0;
		}
		if (!deadline)
			deadline = fn_timeo_deadline(f->rcvtimeo);
		ret = fn_wait_file(f, fd, POLLIN, deadline);
		if (ret)
			return ret;
	}
	return n;
}

static ssize_t udp_recv(struct fn_file *f, int fd, const struct iovec *iov, int iovcnt, unsigned flags)
{
	struct msghdr msg = { .msg_iov = (struct iovec *)iov, .msg_iovlen = (size_t)iovcnt };
	ssize_t total = fn_iov_total(iov, iovcnt, -EINVAL);

	if (total < 0)
		return total;
	return do_recv(f, fd, &msg, flags, true);
}

static ssize_t udp_recvmsg(struct fn_file *f, int fd, struct msghdr *msg, unsigned flags)
{
	ssize_t total = fn_iov_total(msg->msg_iov, (int)fn_min(msg->msg_iovlen, (size_t)INT_MAX), -EMSGSIZE);

	if (msg->msg_name && (int)msg->msg_namelen < 0)
		return -EINVAL;
	return total < 0 ? total : do_recv(f, fd, msg, flags, false);
}

/* ---- sending ---- */

struct tx {
	const struct iovec *iov;
	int iovcnt;
	const struct fn_ep *to;		/* NULL: the connected end */
	struct fn_cmsg_in in;
	unsigned flags;
};

/* With the lock held: IP_TTL and IP_TOS of ancillary data are the socket's for the length of one datagram. */
static ssize_t send_with_options(struct fn_sock *sk, const struct tx *tx, const struct iovec *iov, int iovcnt)
{
	const struct fn_ep *src = tx->in.has_src ? &tx->in.src : NULL;
	int ttl = sk->ttl, tos = sk->tos;
	ssize_t n;

	if (fn_likely(tx->in.ttl < 0 && tx->in.tos < 0))
		return fn_udp_send(sk, iov, iovcnt, tx->to, src);
	if (tx->in.ttl >= 0)
		fn_sock_setopt(sk, FN_OPT_TTL, tx->in.ttl);
	if (tx->in.tos >= 0)
		fn_sock_setopt(sk, FN_OPT_TOS, tx->in.tos);
	n = fn_udp_send(sk, iov, iovcnt, tx->to, src);
	fn_sock_setopt(sk, FN_OPT_TTL, ttl);
	fn_sock_setopt(sk, FN_OPT_TOS, tos);
	return n;
}

/* Entries of `from` that hold `len` bytes from byte `skip` on. */
static int slice(struct iovec *to, const struct iovec *from, int count, size_t skip, size_t len)
{
	int n = 0;

	for (int i = 0; i < count && len; i++) {
		size_t take;

		if (skip >= from[i].iov_len) {
			skip -= from[i].iov_len;
			continue;
		}
		take = fn_min(from[i].iov_len - skip, len);
		to[n++] = (struct iovec){ (char *)from[i].iov_base + skip, take };
		len -= take;
		skip = 0;
	}
	return n;
}

/* UDP_SEGMENT: one call, several datagrams. The first that fails ends it; what went out went out. */
static fn_cold ssize_t send_segments(struct fn_sock *sk, const struct tx *tx, size_t total)
{
	struct iovec part[FN_IOV_MAX];
	ssize_t n;

	for (size_t done = 0; done < total; done += tx->in.segment) {
		int count = slice(part, tx->iov, tx->iovcnt, done, fn_min(total - done, (size_t)tx->in.segment));

		n = send_with_options(sk, tx, part, count);
		if (n < 0)
			return done ? (ssize_t)total : n;
	}
	return (ssize_t)total;
}

static ssize_t send_stack(struct fn_file *f, int fd, const struct tx *tx, size_t total)
{
	uint64_t deadline = 0;
	ssize_t n;
	int ret;

	for (;;) {
		fn_engine_lock();
		if (fn_unlikely(tx->in.segment && tx->in.segment < total))
			n = send_segments(f->sk, tx, total);
		else
			n = send_with_options(f->sk, tx, tx->iov, tx->iovcnt);
		fn_engine_kick();
		fn_engine_unlock();
		if (n != -EAGAIN || dont_wait(f, tx->flags))
			return n;
		if (!deadline)
			deadline = fn_timeo_deadline(f->sndtimeo);
		ret = fn_wait_file(f, fd, POLLOUT, deadline);
		if (ret)
			return ret;
	}
}

/* ---- MSG_MORE and UDP_CORK: several calls, one datagram ---- */

static bool is_corked(const struct fn_file *f, unsigned flags)
{
	return flags & MSG_MORE || f->opt.cork || (f->cork && f->cork->pending);
}

/* Whose the datagram in the making is; the first call begins it. -ENOBUFS; with the lock held. */
static int cork_begin(struct fn_file *f, const struct tx *tx, bool kernel)
{
	struct fn_cork *c = fn_cork_of(f);

	if (!c)
		return -ENOBUFS;
	if (c->pending)
		return 0;
	c->pending = true;
	c->kernel = kernel;
	c->has_to = tx->to != NULL;
	if (tx->to)
		c->to = *tx->to;
	c->in = tx->in;
	return 0;
}

/* All that has been gathered, as one. The lock is not held: nobody else sends meanwhile, or Linux's order is as open. */
static ssize_t cork_push(struct fn_file *f, int fd, unsigned flags)
{
	struct fn_cork *c = f->cork;
	struct iovec iov = { c->bytes, c->len };
	struct tx tx = { .iov = &iov, .iovcnt = 1, .to = c->has_to ? &c->to : NULL, .in = c->in, .flags = flags };
	ssize_t n = send_stack(f, fd, &tx, c->len);

	fn_cork_drop(c);
	return n;
}

/* One of several calls: FN_TO_KERNEL where the kernel's side gathers. An error drops the whole (udp_flush_pending_frames). */
static fn_cold ssize_t send_corked(struct fn_file *f, int fd, const struct tx *tx, size_t total, bool kernel)
{
	bool more = tx->flags & MSG_MORE || f->opt.cork;
	ssize_t n;

	fn_engine_lock();
	n = cork_begin(f, tx, kernel);
	if (n == 0 && f->cork->kernel) {
		if (!more)
			fn_cork_drop(f->cork);
		n = FN_TO_KERNEL;
	} else if (n == 0) {
		n = fn_cork_append(f->cork, tx->iov, tx->iovcnt, total);
	}
	fn_engine_unlock();
	if (n == 0 && !more)
		n = cork_push(f, fd, tx->flags);
	return n < 0 ? n : (ssize_t)total;
}

void fn_udp_uncork(struct fn_file *f, int fd)
{
	if (f->cork && f->cork->pending && !f->cork->kernel)
		cork_push(f, fd, MSG_DONTWAIT);
	else if (f->cork)
		fn_cork_drop(f->cork);
}

/* ---- over the fabric ---- */

/* Flags that say nothing of what is to be sent. */
#define PLAIN_FLAGS	(MSG_DONTWAIT | MSG_NOSIGNAL | MSG_CONFIRM)

/* To a process under Fastnet: *tx is filled in. False: the kernel sends it, or says why not. */
static bool fabric_takes(struct fn_file *f, int fd, const struct msghdr *msg, size_t total, struct tx *tx, struct fn_ep *to)
{
	struct fn_ep src;

	if (fn_unlikely(f->kernel_sends)) {
		f->kernel_sends = false;
		return false;
	}
	if (msg->msg_name) {
		if (fn_addr_get(f, FN_ADDR_SEND, msg->msg_name, msg->msg_namelen, to) != FN_ADDR_IP4 || !to->port)
			return false;
		/* to somebody else than it is connected to: an error of the connection's comes first, and the kernel may have one */
		if (f->side != FN_SIDE_ANY && (to->ip4 != f->sk->remote.ip4 || to->port != f->sk->remote.port))
			return false;
	} else if (f->side == FN_SIDE_BOTH) {
		*to = f->sk->remote;
	} else {
		return false;
	}
	if (tx->flags & ~(unsigned)PLAIN_FLAGS || is_corked(f, tx->flags) || !fn_dgram_route(f, fd, to, total, &src) ||
	    fn_cmsg_get_udp(msg, f->domain == AF_INET6, &tx->in) || tx->in.segment)
		return false;
	if (tx->in.has_src && tx->in.src.ip4 && !fn_kroute_is_host(tx->in.src.ip4))
		return false;
	if (!f->sk->local.ip4 && (!tx->in.has_src || !tx->in.src.ip4)) {
		tx->in.has_src = true;
		tx->in.src = src;
	}
	tx->to = to;
	return true;
}

/* What finds no buffer goes by the kernel, too. */
static ssize_t send_fabric(struct fn_file *f, int fd, const struct msghdr *msg, size_t total, unsigned flags)
{
	struct tx tx = { .iov = msg->msg_iov, .iovcnt = (int)msg->msg_iovlen, .flags = flags | MSG_DONTWAIT };
	struct fn_ep to;
	ssize_t n;

	if (total > UDP_LEN_MAX || !fabric_takes(f, fd, msg, total, &tx, &to))
		return FN_TO_KERNEL;
	n = send_stack(f, fd, &tx, total);
	return n == -EAGAIN ? FN_TO_KERNEL : n;
}

/* ---- the calls ---- */

/* Nobody can send that; the socket has a port all the same (inet_send_prepare). */
static fn_cold int refuse(struct fn_file *f, int err)
{
	fn_engine_lock();
	if (f->side != FN_SIDE_KERNEL && fn_udp_autobind(f->sk))
		err = -EAGAIN;
	fn_engine_unlock();
	return err;
}

static ssize_t udp_send(struct fn_file *f, int fd, const struct iovec *iov, int iovcnt, unsigned flags)
{
	struct tx tx = { .iov = iov, .iovcnt = iovcnt, .flags = flags, .in = { .ttl = -1, .tos = -1 } };
	struct msghdr msg = { .msg_iov = (struct iovec *)iov, .msg_iovlen = (size_t)iovcnt };
	ssize_t total = fn_iov_total(iov, iovcnt, -EINVAL);

	if (total < 0)
		return total;
	if (fn_dgram_fabric())
		return send_fabric(f, fd, &msg, (size_t)total, flags);
	if (fn_unlikely(total > UDP_LEN_MAX || flags & MSG_OOB))
		return refuse(f, total > UDP_LEN_MAX ? -EMSGSIZE : -EOPNOTSUPP);
	if (fn_unlikely(is_corked(f, flags)))
		return send_corked(f, fd, &tx, (size_t)total, f->side == FN_SIDE_KERNEL);
	if (f->side == FN_SIDE_KERNEL)
		return FN_TO_KERNEL;
	return send_stack(f, fd, &tx, (size_t)total);
}

/* Destination and side: 0 the stack, 1 the kernel, or -errno. */
static int choose_side(struct fn_file *f, int fd, const struct msghdr *msg, struct tx *tx, struct fn_ep *to)
{
	int kind;

	if (!msg->msg_name)
		return f->side == FN_SIDE_KERNEL;
	kind = fn_addr_get(f, FN_ADDR_SEND, msg->msg_name, msg->msg_namelen, to);
	if (kind < 0)
		return kind;
	if (kind == FN_ADDR_UNSPEC)
		return f->side == FN_SIDE_KERNEL;
	if (kind == FN_ADDR_IP4 && !to->port)
		return -EINVAL;
	if (kind == FN_ADDR_IP6 || !fn_udp_route(f, fd, to))
		return 1;
	tx->to = to;
	return 0;
}

static ssize_t udp_sendmsg(struct fn_file *f, int fd, const struct msghdr *msg, unsigned flags)
{
	struct tx tx = { .iov = msg->msg_iov, .iovcnt = (int)fn_min(msg->msg_iovlen, (size_t)INT_MAX), .flags = flags };
	ssize_t total = fn_iov_total(tx.iov, tx.iovcnt, -EMSGSIZE);
	struct fn_ep to;
	int side;

	if (total < 0)
		return total;
	if (fn_dgram_fabric())
		return send_fabric(f, fd, msg, (size_t)total, flags);
	if (fn_unlikely(total > UDP_LEN_MAX || flags & MSG_OOB))
		return refuse(f, total > UDP_LEN_MAX ? -EMSGSIZE : -EOPNOTSUPP);
	/* what has begun goes on, wherever this call would send to */
	if (f->cork && f->cork->pending)
		return send_corked(f, fd, &tx, (size_t)total, false);
	side = choose_side(f, fd, msg, &tx, &to);
	if (side < 0)
		return side;
	if (side)
		return is_corked(f, flags) ? send_corked(f, fd, &tx, (size_t)total, true) : FN_TO_KERNEL;
	side = fn_cmsg_get_udp(msg, f->domain == AF_INET6, &tx.in);
	if (side)
		return side;
	if (fn_unlikely(is_corked(f, flags)))
		return send_corked(f, fd, &tx, (size_t)total, false);
	return send_stack(f, fd, &tx, (size_t)total);
}

/* ---- the rest ---- */

static int connect_stack(struct fn_file *f, const struct fn_ep *to)
{
	int err;

	fn_engine_lock();
	err = fn_sock_connect(f->sk, to);
	if (!err)
		f->side = FN_SIDE_STACK;
	fn_engine_unlock();
	return err;
}

static int connect_kernel(struct fn_file *f, int fd, const struct sockaddr *addr, socklen_t len)
{
	int err = (int)fn_sys(SYS_connect, fd, addr, len);

	if (!err)
		f->side = FN_SIDE_KERNEL;
	return err;
}

/*
 * Each connect() dissolves what was before, on the other side as well. `all`: to AF_UNSPEC, which also gives up a port that
 * bind() did not name (__udp_disconnect).
 */
static void dissolve(struct fn_file *f, int fd, bool all)
{
	struct sockaddr none = { .sa_family = AF_UNSPEC };
	uint16_t opts;

	if (f->side == FN_SIDE_KERNEL || (all && f->any_port && f->dual))
		fn_sys(SYS_connect, fd, &none, sizeof(none));
	fn_engine_lock();
	opts = f->sk->opts;
	if (!all)
		f->sk->opts |= FN_SO_BOUND_PORT;
	if (all || f->side == FN_SIDE_STACK)
		fn_sock_disconnect(f->sk);
	if (!all)
		f->sk->opts = opts;
	f->side = FN_SIDE_ANY;
	fn_engine_unlock();
}

static int udp_connect(struct fn_file *f, int fd, const struct sockaddr *addr, socklen_t len)
{
	struct fn_ep to;
	int kind;

	if (fn_dgram_fabric())
		return fn_dgram_connect(f, fd, addr, len);
	kind = fn_addr_get(f, FN_ADDR_CONNECT, addr, len, &to);
	if (kind < 0)
		return kind;
	dissolve(f, fd, kind == FN_ADDR_UNSPEC);
	if (kind == FN_ADDR_UNSPEC)
		return 0;
	if (kind == FN_ADDR_IP4 && fn_udp_route(f, fd, &to))
		return connect_stack(f, &to);
	return connect_kernel(f, fd, addr, len);
}

static int udp_shutdown(struct fn_file *f, int fd, int how)
{
	int err, kernel = 0;

	if (how < SHUT_RD || how > SHUT_RDWR)
		return -EINVAL;
	if (f->dual)
		kernel = (int)fn_sys(SYS_shutdown, fd, how);
	fn_engine_lock();
	err = fn_sock_shutdown(f->sk, (unsigned)how + 1);	/* SHUT_* + 1 are the bits FN_SHUT_* */
	fn_engine_unlock();
	return f->side == FN_SIDE_KERNEL || fn_dgram_fabric() ? kernel : err;
}

static int udp_bind(struct fn_file *f, int fd, const struct sockaddr *addr, socklen_t len)
{
	struct fn_ep local;
	int kind;

	if (fn_dgram_fabric())
		return fn_dgram_bind(f, fd, addr, len);
	kind = fn_addr_get(f, FN_ADDR_BIND, addr, len, &local);
	if (kind < 0)
		return kind;
	if (!f->sk->local.port)		/* given up by connect(AF_UNSPEC) */
		return fn_decide_bind_again(f, fd, addr, len);
	/* it has a port already, or it would not be a file of this kind; inet_bind looks at the address first */
	return local.ip4 && !fn_stack_is_local(fn_engine.st, local.ip4) && !fn_kroute_is_host(local.ip4) ?
		       -EADDRNOTAVAIL : -EINVAL;
}

static int udp_getsockname(struct fn_file *f, int fd, struct sockaddr *addr, socklen_t *len)
{
	struct sockaddr_in6 own = { 0 };	/* sin6_port and sin_port lie at the same place */
	socklen_t room = sizeof(own);

	/* the kernel's side has the name that bind() gave, but a port found at the first datagram is the stack's */
	if (f->side == FN_SIDE_KERNEL || fn_dgram_fabric() ||
	    (on_kernel(f) && !fn_sys(SYS_getsockname, fd, &own, &room) && own.sin6_port))
		return FN_TO_KERNEL;
	return fn_addr_put(f->domain, &f->sk->local, addr, len);
}

static int udp_getpeername(struct fn_file *f, int fd, struct sockaddr *addr, socklen_t *len)
{
	(void)fd;
	if (f->side == FN_SIDE_KERNEL || fn_dgram_fabric())
		return FN_TO_KERNEL;
	return f->sk->remote.port ? fn_addr_put(f->domain, &f->sk->remote, addr, len) : -ENOTCONN;
}

static unsigned kernel_events(struct fn_file *f, int fd)
{
	/* a registration's number may be closed while another one of the socket lives */
	struct pollfd p = { .fd = fn_fd_number(f, fd), .events = POLLIN | POLLRDNORM | POLLRDHUP };
	struct timespec zero = { 0, 0 };

	if (!atomic_exchange(&f->kernel_ready, false))	/* pairs with fn_dual_check() */
		return 0;
	if (fn_sys_ppoll(&p, 1, &zero, NULL) <= 0)
		return 0;
	atomic_store(&f->kernel_ready, true);
	/* another process that has it may have shut it down */
	return (unsigned)p.revents & (POLLIN | POLLRDNORM | POLLERR | POLLHUP | POLLRDHUP);
}

static unsigned udp_poll(struct fn_file *f, int fd)
{
	unsigned events = fn_sock_poll(f->sk);

	if (f->side == FN_SIDE_KERNEL)
		events &= ~(unsigned)(POLLIN | POLLRDNORM | POLLERR);
	return on_kernel(f) ? events | kernel_events(f, fd) : events;
}

static void udp_release(struct fn_file *f)
{
	fn_engine_lock();
	fn_epoll_release(f);
	fn_dual_del(f);
	if (f->named)
		fn_fabric_unlisten(f);
	fn_engine_drop(f);
	fn_engine_kick();
	fn_engine_unlock();
	fn_cork_free(f);
}

const struct fn_file_ops fn_udp_ops = {
	.recv = udp_recv,
	.send = udp_send,
	.recvmsg = udp_recvmsg,
	.sendmsg = udp_sendmsg,
	.sendfile = fn_udp_sendfile,
	.splice_in = fn_udp_splice_in,
	.splice_out = fn_udp_splice_out,
	.bind = udp_bind,
	.connect = udp_connect,
	.shutdown = udp_shutdown,
	.getsockname = udp_getsockname,
	.getpeername = udp_getpeername,
	.getsockopt = fn_sockopt_get,
	.setsockopt = fn_sockopt_set,
	.ioctl = fn_sock_ioctl,
	.fcntl = fn_sock_fcntl,
	.take_error = fn_sock_pending_error,
	.keep_error = fn_sock_keep_error,
	.poll = udp_poll,
	.release = udp_release,
};
