/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * Calls on a TCP connection of the stack: blocking and non-blocking, partial and whole, as tcp_recvmsg, tcp_sendmsg and
 * inet_stream_connect of Linux do them. Must not know how the connection came about, nor a packet. The hot path is one
 * hold of the lock a call, and asks no clock.
 */
#include <errno.h>
#include <netinet/in.h>
#include <string.h>

#include "shim/addr.h"
#include "shim/convert.h"
#include "shim/decide.h"
#include "shim/epoll.h"
#include "shim/fabric.h"
#include "shim/kroute.h"
#include "shim/msg.h"
#include "shim/quick.h"
#include "shim/sockfile.h"
#include "shim/sockopt.h"
#include "shim/wait.h"

#define STACK_RECV_FLAGS	(MSG_PEEK | MSG_OOB | MSG_TRUNC)
#define STACK_SEND_FLAGS	(MSG_OOB | MSG_MORE)
#define ENDED			(POLLERR | POLLHUP | POLLRDHUP)

static bool dont_wait(const struct fn_file *f, unsigned flags)
{
	return fn_file_nonblock(f) || flags & MSG_DONTWAIT;
}

static bool connecting(const struct fn_sock *sk)
{
	return sk->tcp_state == FN_TCP_SYN_SENT || sk->tcp_state == FN_TCP_SYN_RCVD;
}

/* ---- waiting for a number of bytes ---- */

struct data_wait {
	struct fn_watch watch;
	struct fn_thread *thread;
	struct fn_file *file;
	size_t need;		/* 0: whatever happens ends the wait */
	bool peek;
	bool splice;
	bool woken;
};

static bool data_wake(struct fn_watch *watch, unsigned events)
{
	struct data_wait *d = fn_container_of(watch, struct data_wait, watch);

	(void)events;
	d->woken = true;
	return d->thread && fn_thread_ring(d->thread);
}

static bool data_ready(struct fn_wait *w)
{
	struct data_wait *d = w->arg;
	unsigned events = fn_sock_poll(d->file->sk);
	size_t readable = fn_tcp_readable(d->file->sk);

	/* an urgent byte wakes a splice, which then goes on with whatever is in the queue (tcp_urg, tcp_splice_read) */
	if (d->splice)
		return events & (ENDED | POLLIN) || fn_tcp_blocked_by_mark(d->file->sk) || (readable && events & POLLPRI);
	if (events & ENDED || readable >= fn_max(d->need, (size_t)1) || (!d->peek && fn_tcp_must_skip(d->file->sk)))
		return true;
	if (!d->need)
		return d->woken || events & POLLIN;
	/* at the urgent mark nothing counts as readable, though the bytes behind it are; before it, it ends a read */
	return d->need == 1 ? events & POLLIN : readable && events & POLLPRI;
}

static void data_arm(struct fn_wait *w)
{
	struct data_wait *d = w->arg;

	d->thread = w->thread;
	fn_watch_add(d->file, &d->watch);
}

static void data_disarm(struct fn_wait *w)
{
	fn_watch_del(&((struct data_wait *)w->arg)->watch);
}

static int wait_as(struct data_wait *d, uint64_t deadline, bool restart)
{
	struct fn_wait w = { .ready = data_ready, .arm = data_arm, .disarm = data_disarm, .arg = d, .deadline = deadline };
	int ret;

	d->watch.wake = data_wake;
	ret = fn_wait(&w, restart);
	return ret == 1 ? 0 : ret == 0 ? -EAGAIN : ret;
}

/*
 * Until `need` bytes can be read, or no more will come: 0, -EAGAIN (deadline), -EINTR. A call that has taken something
 * already is ended by any handler, for it has a result.
 */
static int wait_data(struct fn_file *f, size_t need, uint64_t deadline, bool begun, bool peek)
{
	struct data_wait d = { .file = f, .need = need, .peek = peek };

	return wait_as(&d, deadline, deadline == FN_FOREVER && !begun);
}

int fn_tcp_wait_splice(struct fn_file *f, uint64_t deadline)
{
	struct data_wait d = { .file = f, .splice = true };

	return wait_as(&d, deadline, deadline == FN_FOREVER);
}

static void any_arm(struct fn_wait *w)
{
	((struct data_wait *)w->arg)->thread = w->thread;
}

/* Until anything happens to f, noticed from the beginning on. */
static void wait_any(struct fn_file *f, uint64_t deadline)
{
	struct data_wait d = { .watch = { .wake = data_wake }, .file = f, .peek = true };
	struct fn_wait w = { .ready = data_ready, .arm = any_arm, .arg = &d, .deadline = deadline };

	fn_engine_lock();
	fn_watch_add(f, &d.watch);
	fn_engine_unlock();
	fn_wait(&w, false);
	fn_engine_lock();
	fn_watch_del(&d.watch);
	fn_engine_unlock();
}

/* ---- receiving ---- */

struct rx {
	int fd;
	const struct iovec *iov;
	int iovcnt;
	unsigned flags;
	size_t want;
	uint64_t time;		/* arrival of the last byte */
};

static ssize_t try_recv(struct fn_file *f, struct rx *rx, size_t skip)
{
	ssize_t n;

	fn_engine_lock();
	n = fn_tcp_recv(f->sk, rx->iov, rx->iovcnt, skip, rx->flags & STACK_RECV_FLAGS, &rx->time);
	fn_engine_kick();
	fn_engine_unlock();
	return n;
}

/*
 * Nothing asked for: the urgent byte is taken all the same (tcp_recv_urg), and data waited for once; whatever ends the
 * wait, the result is 0. Anything in the queue will do, an urgent byte even, and comes before the connection's error.
 */
static ssize_t recv_nothing(struct fn_file *f, unsigned flags)
{
	char byte;
	struct iovec one = { &byte, 1 };
	struct rx rx = { .iov = &one, .iovcnt = 1, .flags = MSG_PEEK };
	ssize_t n;

	if (flags & MSG_OOB)
		rx = (struct rx){ .flags = flags };
	else if (f->sk->rxq.head)
		return 0;
	n = try_recv(f, &rx, 0);
	if (n == -EAGAIN && !dont_wait(f, flags) && !(flags & MSG_OOB)) {
		wait_any(f, fn_timeo_deadline(f->rcvtimeo));
		n = 0;
	}
	if (fn_converted(f) && n < 0)
		return FN_TO_KERNEL;
	return n > 0 ? 0 : n;
}

/* Is there anything for another round after `got` bytes? An error or the end stays for the next call. */
static bool more_to_read(struct fn_file *f)
{
	bool more;

	fn_engine_lock();
	more = fn_tcp_readable(f->sk) && !fn_tcp_at_mark(f->sk);
	fn_engine_unlock();
	return more;
}

/* The bytes that a blocking call waits for (sock_rcvlowat). */
static size_t recv_target(const struct fn_file *f, const struct rx *rx)
{
	return rx->flags & MSG_WAITALL ? rx->want : fn_min((size_t)f->sk->rcvlowat, rx->want);
}

/* A peek looks at the whole of it at once, for a second peek would see the same bytes again. */
static ssize_t peek_slow(struct fn_file *f, struct rx *rx, ssize_t n)
{
	uint64_t deadline = fn_timeo_deadline(f->rcvtimeo);
	size_t target = recv_target(f, rx);
	int ret = 0;

	if (n > 0 && (size_t)n >= target)
		return n;
	do {
		ret = wait_data(f, target, deadline, n > 0, true);
		if (fn_converted(f))
			return FN_TO_KERNEL;
		n = try_recv(f, rx, 0);
	} while (n == -EAGAIN && !ret);
	return n == -EAGAIN ? ret : n;
}

/* The connection has become the kernel's in the middle of the call. Without a number it ends with what it has. */
static ssize_t recv_converted(const struct rx *rx, size_t got)
{
	return rx->fd < 0 ? (ssize_t)got : fn_convert_rest_recv(rx->fd, rx->iov, rx->iovcnt, got, rx->flags);
}

/* The first try gave n; blocks for the rest as far as MSG_WAITALL or SO_RCVLOWAT want it. */
static fn_cold ssize_t recv_slow(struct fn_file *f, struct rx *rx, ssize_t n)
{
	size_t target = recv_target(f, rx), got = 0;
	uint64_t deadline;
	int ret;

	if (fn_converted(f) && n <= 0)
		return FN_TO_KERNEL;
	if (dont_wait(f, rx->flags) || rx->flags & MSG_OOB || (n <= 0 && n != -EAGAIN))
		return n;
	if (rx->flags & MSG_PEEK)
		return peek_slow(f, rx, n);
	deadline = fn_timeo_deadline(f->rcvtimeo);
	for (;;) {
		if (n > 0)
			got += (size_t)n;
		if (got >= target && got)
			return (ssize_t)got;
		ret = more_to_read(f) ? 0 : wait_data(f, 1, deadline, got > 0, false);
		if (fn_converted(f))
			return got ? recv_converted(rx, got) : FN_TO_KERNEL;
		if (ret)
			return got ? (ssize_t)got : ret;
		if (got && !more_to_read(f))
			return (ssize_t)got;
		n = try_recv(f, rx, got);
		if (n <= 0 && n != -EAGAIN)
			return got ? (ssize_t)got : n;
	}
}

#define OPEN_TO_READ	(1u << FN_TCP_ESTABLISHED | 1u << FN_TCP_FIN_WAIT1 | 1u << FN_TCP_FIN_WAIT2)

/* What the peer has sent by the fabric is there for a call that only looks, or wants nothing of it: nobody else takes it in. */
static void catch_up(struct fn_file *f)
{
	if (!fn_engine.fabric)
		return;
	fn_engine_lock();
	if (f->sk)
		fn_fabric_catch_up(f->sk);
	fn_engine_unlock();
}

/* The end is our own shutdown(SHUT_RD): what has come before, or comes later, is read all the same. */
static bool is_own_end(const struct fn_sock *sk, ssize_t n)
{
	return !n && sk->shut & FN_SHUT_RD && OPEN_TO_READ >> sk->tcp_state & 1;
}

/* The first try gave n. */
static ssize_t after_try(struct fn_file *f, struct rx *rx, ssize_t n)
{
	if (fn_unlikely(is_own_end(f->sk, n))) {
		catch_up(f);
		n = try_recv(f, rx, 0);
	} else if (n == -EAGAIN && (fn_engine_look() || fn_engine.to_itself)) {
		n = try_recv(f, rx, 0);		/* to_itself: the first one has looked, too (fn_engine_push()) */
	}
	if (fn_likely(n > 0 && !(rx->flags & MSG_WAITALL) && f->sk->rcvlowat <= 1))
		return n;
	return recv_slow(f, rx, n);
}

static ssize_t do_recv(struct fn_file *f, struct rx *rx)
{
	if (fn_unlikely(rx->flags & MSG_ERRQUEUE))
		return -EAGAIN;		/* IP_RECVERR is not served: the queue is empty */
	if (fn_unlikely(!rx->want || rx->flags & (MSG_OOB | MSG_PEEK)))
		catch_up(f);
	if (fn_unlikely(!rx->want))
		return recv_nothing(f, rx->flags);
	return after_try(f, rx, try_recv(f, rx, 0));
}

/* A plain read took nothing, or less than SO_RCVLOWAT wants. */
ssize_t fn_tcp_recv_on(struct fn_file *f, const struct iovec *iov, ssize_t n)
{
	struct rx rx = { .fd = -1, .iov = iov, .iovcnt = 1, .want = iov->iov_len };

	return after_try(f, &rx, n);
}

static ssize_t tcp_recv(struct fn_file *f, int fd, const struct iovec *iov, int iovcnt, unsigned flags)
{
	struct rx rx = { .fd = fd, .iov = iov, .iovcnt = iovcnt, .flags = flags };
	ssize_t want = flags & MSG_TRUNC && iovcnt == 1 ? (ssize_t)iov->iov_len : fn_iov_total(iov, iovcnt, -EINVAL);

	if (want < 0)
		return want;
	rx.want = (size_t)want;
	return do_recv(f, &rx);
}

static ssize_t tcp_recvmsg(struct fn_file *f, int fd, struct msghdr *msg, unsigned flags)
{
	struct rx rx = { .fd = fd, .iov = msg->msg_iov, .iovcnt = (int)fn_min(msg->msg_iovlen, (size_t)INT_MAX),
			 .flags = flags };
	ssize_t n = fn_iov_total(rx.iov, rx.iovcnt, -EMSGSIZE);
	struct fn_cmsg_out c;

	if ((int)msg->msg_namelen < 0 && msg->msg_name)
		return -EINVAL;
	if (n < 0)
		return n;
	rx.want = (size_t)n;
	n = do_recv(f, &rx);
	if (n < 0)
		return n;
	msg->msg_flags = flags & MSG_OOB ? MSG_OOB : 0;
	if (msg->msg_name)
		msg->msg_namelen = 0;
	fn_cmsg_begin(&c, msg);
	if (f->opt.stamp && n > 0)
		fn_cmsg_put_stamp(&c, &f->opt, rx.time);
	fn_cmsg_end(&c, msg);
	return n;
}

/* ---- sending ---- */

ssize_t fn_tcp_send_error(ssize_t err, unsigned flags)
{
	/* a socket that is not connected, or not any more: tcp_sendmsg says EPIPE */
	if (err == -ENOTCONN)
		err = -EPIPE;
	if (err == -EPIPE && !(flags & MSG_NOSIGNAL))
		fn_sigpipe();
	return err;
}

fn_inline ssize_t try_send(struct fn_file *f, const struct iovec *iov, int iovcnt, size_t skip, unsigned flags)
{
	ssize_t n;

	fn_engine_lock();
	if (connecting(f->sk))
		n = -EAGAIN;
	else if (skip && f->sk->error)	/* what has been taken is the result, the error the next call's (tcp_sendmsg_locked) */
		n = -EPIPE;
	else
		n = fn_tcp_send(f->sk, iov, iovcnt, skip, flags & STACK_SEND_FLAGS);
	fn_engine_kick();
	fn_engine_unlock();
	return n;
}

/* The first try took n (or -EAGAIN) of `want` bytes; blocks until all are taken. */
fn_cold ssize_t fn_tcp_send_on(struct fn_file *f, int fd, const struct iovec *iov, int iovcnt, size_t want,
			       unsigned flags, ssize_t n)
{
	size_t done = n > 0 ? (size_t)n : 0;
	uint64_t deadline;

	if (fn_converted(f) && n <= 0)
		return FN_TO_KERNEL;
	if (n == -EAGAIN && dont_wait(f, flags) && fn_engine_look())
		n = try_send(f, iov, iovcnt, 0, flags);
	if (fn_converted(f) && n <= 0)		/* by that look, or while the lock was waited for */
		return FN_TO_KERNEL;
	if (n < 0 && n != -EAGAIN)
		return fn_tcp_send_error(n, flags);
	if (dont_wait(f, flags))
		return n;
	deadline = fn_timeo_deadline(f->sndtimeo);
	while (done < want) {
		int ret = done ? fn_wait_file_on(f, fd, POLLOUT, deadline) : fn_wait_file(f, fd, POLLOUT, deadline);

		if (fn_converted(f))
			return done ? fn_convert_rest_send(fd, iov, iovcnt, done, flags) : FN_TO_KERNEL;
		if (ret)
			return done ? (ssize_t)done : ret;
		n = try_send(f, iov, iovcnt, done, flags);
		if (n < 0 && n != -EAGAIN && !fn_converted(f))
			return done ? (ssize_t)done : fn_tcp_send_error(n, flags);
		done += n > 0 ? (size_t)n : 0;
	}
	return (ssize_t)done;
}

/* Nothing to send: only the checks (and a wait for the connection). */
static ssize_t send_nothing(struct fn_file *f, int fd, unsigned flags)
{
	uint64_t deadline = fn_timeo_deadline(f->sndtimeo);
	ssize_t err = 0;

	for (;;) {
		fn_engine_lock();
		if (connecting(f->sk))
			err = -EAGAIN;
		else if (f->sk->error)
			err = -fn_sock_take_error(f->sk);
		else if (f->sk->shut & FN_SHUT_WR || f->sk->tcp_state == FN_TCP_CLOSED)
			err = -EPIPE;
		else
			err = 0;
		fn_engine_unlock();
		if (fn_converted(f))
			return FN_TO_KERNEL;
		if (err != -EAGAIN || dont_wait(f, flags))
			return fn_tcp_send_error(err, flags);
		err = fn_wait_file(f, fd, POLLOUT, deadline);
		if (fn_converted(f))
			return FN_TO_KERNEL;
		if (err)
			return err;
	}
}

static fn_cold ssize_t send_huge(struct fn_file *f, int fd, const struct iovec *iov, int iovcnt, unsigned flags)
{
	struct iovec cut[FN_IOV_MAX];
	int n = fn_iov_cut(cut, iov, iovcnt);

	return fn_tcp_send_on(f, fd, cut, n, FN_RW_MAX, flags, try_send(f, cut, n, 0, flags));
}

static ssize_t do_send(struct fn_file *f, int fd, const struct iovec *iov, int iovcnt, size_t want, unsigned flags)
{
	ssize_t n;

	if (fn_unlikely(!want))
		return send_nothing(f, fd, flags);
	if (fn_unlikely(want > FN_RW_MAX))
		return send_huge(f, fd, iov, iovcnt, flags);
	n = try_send(f, iov, iovcnt, 0, flags);
	if (fn_likely(n == (ssize_t)want))
		return n;
	return fn_tcp_send_on(f, fd, iov, iovcnt, want, flags, n);
}

static int fast_open(struct fn_file *f, int fd, const struct msghdr *msg, unsigned flags);

static ssize_t tcp_send(struct fn_file *f, int fd, const struct iovec *iov, int iovcnt, unsigned flags)
{
	ssize_t want = fn_iov_total(iov, iovcnt, -EINVAL);

	if (fn_unlikely(want < 0))
		return want;
	if (fn_unlikely(flags & MSG_FASTOPEN)) {
		struct msghdr msg = { 0 };
		int ret = fast_open(f, fd, &msg, flags);

		if (ret)
			return ret;
	}
	return do_send(f, fd, iov, iovcnt, (size_t)want, flags);
}

/* An address is passed over on a connection, as Linux does. */
static ssize_t tcp_sendmsg(struct fn_file *f, int fd, const struct msghdr *msg, unsigned flags)
{
	int iovcnt = (int)fn_min(msg->msg_iovlen, (size_t)INT_MAX), ret;
	ssize_t want = fn_iov_total(msg->msg_iov, iovcnt, -EMSGSIZE);

	if (want < 0)
		return want;
	if (msg->msg_name && (int)msg->msg_namelen < 0)
		return -EINVAL;
	ret = flags & MSG_FASTOPEN ? fast_open(f, fd, msg, flags) : 0;
	if (ret)
		return ret;
	if (msg->msg_control && msg->msg_controllen && fn_cmsg_check_tcp(msg))
		return -EINVAL;
	return do_send(f, fd, msg->msg_iov, iovcnt, (size_t)want, flags);
}

/* ---- connecting ---- */

/* The attempt is over: its outcome. */
static int connect_done(struct fn_file *f)
{
	int err = 0;

	fn_engine_lock();
	if (fn_converted(f)) {
		;	/* it stands, in the kernel */
	} else if (f->sk->tcp_state == FN_TCP_CLOSED) {
		err = fn_sock_take_error(f->sk);
		err = err ? -err : -ECONNABORTED;
		fn_sock_disconnect(f->sk);
		f->sk->conn = FN_CONN_NONE;
	} else {
		f->sk->conn = FN_CONN_DONE;
	}
	fn_engine_unlock();
	return err;
}

/* `err` is what a call that does not wait is told. */
static int connect_wait(struct fn_file *f, int fd, int err, bool wait)
{
	uint64_t deadline;
	int ret;

	if (!connecting(f->sk))
		return connect_done(f);
	if (!wait)
		return err;
	deadline = fn_timeo_deadline(f->sndtimeo);
	do {
		ret = fn_wait_file(f, fd, POLLOUT, deadline);
	} while (!ret && connecting(f->sk));
	if (fn_converted(f))
		return 0;
	if (ret)
		return ret == -EAGAIN ? err : ret;
	return connect_done(f);
}

int fn_tcp_file_connect(struct fn_file *f, int fd, const struct fn_ep *to, bool wait)
{
	int err;

	f->sk->conn = FN_CONN_NONE;
	f->tried = true;
	fn_engine_lock();
	err = fn_sock_connect(f->sk, to);
	if (err == -EINPROGRESS || !err) {
		f->sk->conn = FN_CONN_BUSY;
		if (f->sk->tcp_state == FN_TCP_SYN_SENT)
			fn_fabric_catch_up(f->sk);
	}
	fn_engine_kick();
	fn_engine_unlock();
	if (err && err != -EINPROGRESS)
		return err;
	/* without waiting it is never told yet, however quick the peer was (__inet_stream_connect) */
	if (err && !wait)
		return err;
	return connect_wait(f, fd, -EINPROGRESS, wait);
}

static int disconnect(struct fn_file *f)
{
	fn_engine_lock();
	fn_fabric_catch_up(f->sk);
	fn_sock_disconnect(f->sk);
	f->sk->conn = FN_CONN_NONE;
	fn_engine_kick();
	fn_engine_unlock();
	return 0;
}

int fn_tcp_file_back(struct fn_file *f, int fd, enum fn_reason reason, uint32_t arg)
{
	fn_engine_lock();
	fn_engine_drop(f);
	fn_engine_unlock();
	fn_sys_fcntl(fd, F_SETFL, atomic_load_explicit(&f->flags, memory_order_relaxed));
	fn_decide_kernel(f, fd, reason, arg);
	return FN_TO_KERNEL;
}

static int dial(struct fn_file *f, int fd, const struct sockaddr *addr, socklen_t len, bool wait)
{
	struct fn_info_decision d;
	struct fn_verdict v;
	struct fn_ep to;
	int kind;

	/* the state comes first, then the address (__inet_stream_connect) */
	if ((int)len < 0 || len > sizeof(struct sockaddr_storage) || len < sizeof(addr->sa_family))
		return -EINVAL;
	if (!addr)
		return -EFAULT;
	if (addr->sa_family == AF_UNSPEC)
		return disconnect(f);
	if (f->sk->conn == FN_CONN_DONE || f->sk->conn == FN_CONN_ENDING)
		return f->sk->conn == FN_CONN_DONE ? -EISCONN : -EINVAL;
	if (f->sk->conn == FN_CONN_BUSY)
		return connect_wait(f, fd, -EALREADY, wait);
	kind = fn_addr_get(f, FN_ADDR_CONNECT, addr, len, &to);
	if (kind < 0)
		return kind;
	v = fn_decide_ask(f, fd, FN_POLICY_CONNECT, addr, &d);
	if (!v.stack && f->accepted)
		return -ENETUNREACH;
	fn_decide_tell(f, &d, &v);
	to.peer = v.peer;
	/* a socket that failed to connect, or was disconnected, goes to the kernel with its next attempt */
	return v.stack ? fn_tcp_file_connect(f, fd, &to, wait) : fn_tcp_file_back(f, fd, v.reason, v.arg);
}

static int tcp_connect(struct fn_file *f, int fd, const struct sockaddr *addr, socklen_t len)
{
	return dial(f, fd, addr, len, !fn_file_nonblock(f));
}

/* MSG_FASTOPEN without a cookie, which we never have: connect(), then the data (tcp_sendmsg_fastopen). 0: send it. */
static int fast_open(struct fn_file *f, int fd, const struct msghdr *msg, unsigned flags)
{
	const struct sockaddr *to = msg->msg_name;
	bool wait = !fn_file_nonblock(f) && !(flags & MSG_DONTWAIT);

	if (to && msg->msg_namelen >= sizeof(to->sa_family))
		return to->sa_family == AF_UNSPEC ? -EOPNOTSUPP : dial(f, fd, to, msg->msg_namelen, wait);
	if (f->sk->conn == FN_CONN_BUSY)
		return connect_wait(f, fd, -EALREADY, wait);
	return f->sk->conn == FN_CONN_DONE ? -EISCONN : -EINVAL;
}

/* ---- the rest ---- */

static int tcp_bind(struct fn_file *f, int fd, const struct sockaddr *addr, socklen_t len)
{
	struct fn_ep local;
	int ret = fn_addr_get(f, FN_ADDR_BIND, addr, len, &local);
	bool host;

	if (ret < 0)
		return ret;
	if (f->sk->conn == FN_CONN_NONE && !f->accepted)
		return fn_decide_bind_again(f, fd, addr, len);
	if (ret != FN_ADDR_IP4)
		return -EADDRNOTAVAIL;
	host = f->sk->conn != FN_CONN_NONE && fn_kroute_is_host(local.ip4);	/* the fabric's */
	fn_engine_lock();
	if (local.ip4 && !host && !fn_stack_is_local(fn_engine.st, local.ip4))
		ret = -EADDRNOTAVAIL;	/* inet_bind looks at the address before the state */
	else
		ret = f->sk->conn == FN_CONN_NONE ? fn_sock_bind(f->sk, &local) : -EINVAL;
	fn_engine_unlock();
	return ret;
}

static int tcp_listen(struct fn_file *f, int fd, int backlog)
{
	(void)f, (void)fd, (void)backlog;
	return -EINVAL;		/* connected, or it would not be a file of this kind */
}

/* What shutdown() makes of a connect() whose outcome nobody has asked for (inet_shutdown). */
static enum fn_conn shut_connecting(const struct fn_sock *sk)
{
	return sk->tcp_state == FN_TCP_SYN_SENT ? FN_CONN_NONE : sk->tcp_state == FN_TCP_CLOSED ? FN_CONN_ENDING : FN_CONN_DONE;
}

static int tcp_shutdown(struct fn_file *f, int fd, int how)
{
	int err = FN_TO_KERNEL;

	(void)fd;
	if (how < SHUT_RD || how > SHUT_RDWR)
		return -EINVAL;
	fn_engine_lock();
	if (!fn_converted(f))
		fn_fabric_catch_up(f->sk);
	if (!fn_converted(f) && f->sk->conn == FN_CONN_BUSY)
		f->sk->conn = shut_connecting(f->sk);
	if (!fn_converted(f))
		err = fn_sock_shutdown(f->sk, (unsigned)how + 1);	/* SHUT_* + 1 are the bits FN_SHUT_* */
	fn_engine_kick();
	fn_engine_unlock();
	return err;
}

static int tcp_getsockname(struct fn_file *f, int fd, struct sockaddr *addr, socklen_t *len)
{
	(void)fd;
	return fn_addr_put(f->domain, &f->sk->local, addr, len);
}

static int tcp_getpeername(struct fn_file *f, int fd, struct sockaddr *addr, socklen_t *len)
{
	const struct fn_sock *sk = f->sk;

	(void)fd;
	if (!sk->remote.port || sk->tcp_state == FN_TCP_CLOSED || sk->tcp_state == FN_TCP_SYN_SENT)
		return -ENOTCONN;
	return fn_addr_put(f->domain, &sk->remote, addr, len);
}

static unsigned tcp_poll(struct fn_file *f, int fd)
{
	(void)fd;
	return fn_tcp_poll(f->sk);
}

/* ---- closing ---- */

static bool all_acked(struct fn_wait *w)
{
	return !fn_tcp_unsent(((struct fn_file *)w->arg)->sk);
}

/* SO_LINGER with a time: close() waits until everything, FIN included, has arrived. Also on a non-blocking file. */
static void linger(struct fn_file *f)
{
	struct fn_wait w = { .ready = all_acked, .arg = f };
	int seconds = -1;
	bool wait;

	fn_engine_lock();
	fn_sock_getopt(f->sk, FN_OPT_LINGER, &seconds);
	/* what has not been read makes close reset the connection: there is nothing to wait for */
	wait = seconds > 0 && !connecting(f->sk) && !fn_tcp_readable(f->sk);
	if (wait)
		fn_sock_shutdown(f->sk, FN_SHUT_WR);
	fn_engine_kick();
	fn_engine_unlock();
	if (!wait)
		return;
	w.deadline = fn_timeo_deadline((uint64_t)seconds * FN_NSEC);
	fn_wait(&w, false);
}

static void tcp_release(struct fn_file *f)
{
	struct fn_sock *sk;

	fn_wait_closing();
	fn_engine_lock();
	fn_epoll_release(f);
	sk = fn_engine_has(f) ? f->sk : NULL;
	if (sk)
		fn_fabric_catch_up(sk);
	fn_engine_unlock();
	if (sk && sk->opts & FN_SO_LINGER && !(sk->images & (sk->images - 1)))
		linger(f);
	fn_engine_lock();
	fn_engine_drop(f);
	fn_engine_kick();
	fn_engine_unlock();
}

static int tcp_getsockopt(struct fn_file *f, int fd, int level, int name, void *value, socklen_t *len)
{
	catch_up(f);
	return fn_converted(f) ? FN_TO_KERNEL : fn_sockopt_get(f, fd, level, name, value, len);
}

static int tcp_setsockopt(struct fn_file *f, int fd, int level, int name, const void *value, socklen_t len)
{
	catch_up(f);
	return fn_converted(f) ? FN_TO_KERNEL : fn_sockopt_set(f, fd, level, name, value, len);
}

static int tcp_ioctl(struct fn_file *f, int fd, unsigned long req, void *arg)
{
	catch_up(f);
	return fn_converted(f) ? FN_TO_KERNEL : fn_sock_ioctl(f, fd, req, arg);
}

const struct fn_file_ops fn_tcp_ops = {
	.recv = tcp_recv,
	.send = tcp_send,
	.recvmsg = tcp_recvmsg,
	.sendmsg = tcp_sendmsg,
	.sendfile = fn_tcp_sendfile,
	.splice_in = fn_tcp_splice_in,
	.splice_out = fn_tcp_splice_out,
	.bind = tcp_bind,
	.connect = tcp_connect,
	.listen = tcp_listen,
	.shutdown = tcp_shutdown,
	.getsockname = tcp_getsockname,
	.getpeername = tcp_getpeername,
	.getsockopt = tcp_getsockopt,
	.setsockopt = tcp_setsockopt,
	.ioctl = tcp_ioctl,
	.fcntl = fn_sock_fcntl,
	.take_error = fn_sock_pending_error,
	.keep_error = fn_sock_keep_error,
	.poll = tcp_poll,
	.release = tcp_release,
};
