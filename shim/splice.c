/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * sendfile and splice on a connection, and on a datagram socket. The file is read straight into transmit buffers, outside
 * the lock; a pipe gets received bytes by way of a small bounce. A datagram is gathered first. Must not know TCP.
 */
#include <errno.h>
#include <sys/ioctl.h>
#include <sys/mman.h>
#include <unistd.h>

#include "shim/convert.h"
#include "shim/dgram.h"
#include "shim/msg.h"
#include "shim/sockfile.h"
#include "shim/wait.h"

#define CHUNK_IOVS	64	/* buffers filled by one preadv: 64 * 1448 bytes is more than most send buffers take */
#define BOUNCE		16384
#define PIPE_SLOT	4096	/* a pipe that is writable takes one page (PIPE_BUF) without blocking */

/* ---- into the socket ---- */

/*
 * Move up to `want` bytes from in_fd (at *pos, or at its own position when NULL). Bytes moved; 0: end of file; -EAGAIN:
 * the send buffer is full (*full set) or in_fd has nothing now; the read's or the connection's error. `keep`: an error of
 * the connection's is left where it is, and -EPIPE.
 */
static ssize_t try_chunk(struct fn_file *f, int in_fd, off_t *pos, size_t want, bool *full, bool keep)
{
	struct iovec iov[CHUNK_IOVS];
	int iovcnt = CHUNK_IOVS, err = 0;
	struct fn_pkt *chain = NULL;
	ssize_t n, taken;

	fn_engine_lock();
	if (f->sk->tcp_state == FN_TCP_SYN_SENT || f->sk->tcp_state == FN_TCP_SYN_RCVD)
		err = -EAGAIN;
	else if (keep && f->sk->error)
		err = -EPIPE;
	else
		chain = fn_tcp_reserve(f->sk, want, iov, &iovcnt, &err);
	fn_engine_unlock();
	*full = !chain && err == -EAGAIN;
	if (!chain)
		return err;
	if (pos)
		n = fn_sys(SYS_preadv, in_fd, iov, iovcnt, *pos, 0);
	else
		n = fn_sys(SYS_readv, in_fd, iov, iovcnt);
	fn_engine_lock();
	taken = fn_tcp_commit(f->sk, chain, n > 0 ? (size_t)n : 0, 0);
	fn_engine_kick();
	fn_engine_unlock();
	if (n > 0 && pos && taken > 0)
		*pos += taken;
	return n > 0 ? taken : n;
}

/* The same; a call that does not wait drives the stack by asking. */
static ssize_t send_chunk(struct fn_file *f, int in_fd, off_t *pos, size_t want, bool *full, bool keep)
{
	ssize_t n = try_chunk(f, in_fd, pos, want, full, keep);

	if (n == -EAGAIN && *full && fn_file_nonblock(f) && fn_engine_look())
		n = try_chunk(f, in_fd, pos, want, full, keep);
	return n;
}

/* Room in the send buffer, for a call that may wait: 0, -EAGAIN, -EINTR, -FN_RESTART. */
static int wait_room(struct fn_file *f, int fd, uint64_t *deadline, bool begun)
{
	if (fn_file_nonblock(f))
		return -EAGAIN;
	if (!*deadline)
		*deadline = fn_timeo_deadline(f->sndtimeo);
	return begun ? fn_wait_file_on(f, fd, POLLOUT, *deadline) : fn_wait_file(f, fd, POLLOUT, *deadline);
}

/* in_fd's own position is used: it must have one (splice_direct_to_actor: FMODE_LSEEK). */
static ssize_t check_seekable(int in_fd)
{
	long pos = fn_sys(SYS_lseek, in_fd, 0, SEEK_CUR);

	return pos == -ESPIPE ? -EINVAL : pos;
}

/* Is nothing (more) to be sent at *off, or in_fd's own position? Linux reads the file before it looks at the connection. */
static bool at_end(int in_fd, const off_t *off)
{
	struct iovec iov = { &(char){ 0 }, 1 };

	return fn_sys(SYS_preadv, in_fd, &iov, 1, off ? *off : fn_sys(SYS_lseek, in_fd, 0, SEEK_CUR), 0) == 0;
}

static ssize_t sendfile_error(ssize_t n)
{
	/* a directory is EISDIR to read and EINVAL to sendfile */
	return n == -EISDIR ? -EINVAL : n == -EAGAIN || n == -EINTR || n == -FN_RESTART ? n : fn_tcp_send_error(n, 0);
}

ssize_t fn_tcp_sendfile(struct fn_file *f, int fd, int in_fd, off_t *off, size_t count)
{
	off_t pos = off ? *off : 0;
	uint64_t deadline = 0;
	size_t done = 0;
	ssize_t n = off ? 0 : check_seekable(in_fd);
	bool full, look, looked = false;	/* is there anything (more) in the file? */

	if (n < 0)
		return n;
	if (pos < 0 || (ssize_t)count < 0)
		return -EINVAL;
	count = fn_min(count, (size_t)FN_RW_MAX);
	while (done < count) {
		n = send_chunk(f, in_fd, off ? &pos : NULL, count - done, &full, !looked);
		look = n < 0 && !looked && (!done || n != -EAGAIN);
		if (look && at_end(in_fd, off ? &pos : NULL)) {
			n = 0;
			break;
		}
		if (n > 0 || look) {
			done += (size_t)fn_max(n, 0);
			looked = look;
			continue;
		}
		if (n == -EAGAIN && full)
			n = wait_room(f, fd, &deadline, done);
		else if (n == 0)
			break;
		if (n < 0)
			break;
	}
	if (off && done)
		*off = pos;
	if (!done && fn_converted(f))
		return FN_TO_KERNEL;
	return done ? (ssize_t)done : n < 0 ? sendfile_error(n) : 0;
}

/* ---- pipes ---- */

static bool never(struct fn_wait *w)
{
	(void)w;
	return false;
}

/* Wait for an event on the pipe, driving the stack meanwhile: its revents, -EAGAIN, -EINTR, -FN_RESTART. */
static int wait_pipe(int pipe, short events, bool nonblock)
{
	struct pollfd slots[FN_WAIT_SLOTS + 1];
	struct pollfd *p = slots + FN_WAIT_SLOTS;
	struct fn_wait w = { .ready = never, .deadline = FN_FOREVER, .extra = p, .extra_count = 1 };
	struct timespec zero = { 0, 0 };
	int ret;

	*p = (struct pollfd){ .fd = pipe, .events = events };
	ret = fn_sys_ppoll(p, 1, &zero, NULL);
	if (!ret && nonblock)
		return -EAGAIN;
	if (!ret)
		ret = fn_wait(&w, true);
	return ret < 0 ? ret : p->revents & POLLNVAL ? -EBADF : p->revents;
}

ssize_t fn_tcp_splice_in(struct fn_file *f, int fd, int pipe, size_t len, unsigned flags)
{
	uint64_t deadline = 0;
	size_t done = 0;
	ssize_t n = 0;
	bool full;

	len = fn_min(len, (size_t)FN_RW_MAX);
	while (done < len) {
		n = wait_pipe(pipe, POLLIN, done || flags & SPLICE_F_NONBLOCK);
		if (n < 0 || !(n & POLLIN)) {
			n = fn_min(n, 0);	/* hung up and empty: the end */
			break;
		}
		n = send_chunk(f, pipe, NULL, len - done, &full, false);
		if (n > 0)
			done += (size_t)n;
		else if (n == -EAGAIN && full)
			n = wait_room(f, fd, &deadline, done);
		else if (n == 0)
			break;
		if (n < 0)
			break;
	}
	if (!done && fn_converted(f))
		return FN_TO_KERNEL;
	return done ? (ssize_t)done : n == -EAGAIN || n == -EINTR || n == -FN_RESTART ? n : fn_tcp_send_error(n, 0);
}

/*
 * What lies there, up to an urgent byte, which is not passed (tcp_read_sock); who has moved something already is told neither
 * of an error nor of the end (tcp_splice_read).
 */
static ssize_t look(struct fn_sock *sk, const struct iovec *iov, bool first)
{
	if (sk->rxq.bytes && !fn_tcp_at_mark(sk))
		return fn_tcp_recv(sk, iov, 1, 0, MSG_PEEK, NULL);
	return first ? fn_tcp_recv_nothing(sk) : 0;
}

/* Received bytes to the pipe, seen first, taken off when the pipe has them. 0: end of file. */
static ssize_t bounce(struct fn_file *f, int pipe, size_t len, bool first)
{
	char buf[BOUNCE];
	struct iovec iov = { buf, fn_min(len, sizeof(buf)) };
	ssize_t n;

	fn_engine_lock();
	n = look(f->sk, &iov, first);
	fn_engine_unlock();
	if (n > 0)
		n = fn_sys_write(pipe, buf, (size_t)n);
	else if (n == 0)
		return 0;
	if (n <= 0)
		return n;
	iov.iov_len = (size_t)n;
	fn_engine_lock();
	fn_tcp_recv(f->sk, &iov, 1, 0, MSG_TRUNC, NULL);
	fn_engine_kick();
	fn_engine_unlock();
	return n;
}

/* An urgent byte is the next: for what comes behind it nobody waits (tcp_splice_read). */
static bool at_urgent(const struct fn_file *f)
{
	bool yes;

	fn_engine_lock();
	yes = fn_tcp_blocked_by_mark(f->sk);
	fn_engine_unlock();
	return yes;
}

/* Nothing is there yet. When the time is over less than SO_RCVLOWAT is taken as well. */
static ssize_t bounce_later(struct fn_file *f, int pipe, size_t len)
{
	uint64_t deadline = fn_timeo_deadline(f->rcvtimeo);
	ssize_t n = -EAGAIN;
	bool late = false;

	while (n == -EAGAIN && !late) {
		if (at_urgent(f))
			return 0;
		n = fn_tcp_wait_splice(f, deadline);
		late = n == -EAGAIN;
		if (fn_converted(f) || (n && !late))
			return n;
		n = bounce(f, pipe, len, true);
	}
	return n;
}

/*
 * Whether the call waits for room in the pipe is said by its flags and the pipe's, whether it waits for the first bytes
 * by the socket's (tcp_splice_read).
 */
static ssize_t splice_out_once(struct fn_file *f, int pipe, size_t len, bool wait_space, bool first)
{
	ssize_t n = wait_pipe(pipe, POLLOUT, !wait_space || !first);

	if (n < 0)
		return n;
	if (n & POLLERR) {
		fn_sigpipe();		/* no reader */
		return -EPIPE;
	}
	n = bounce(f, pipe, len, first);
	if (n != -EAGAIN || !first)
		return n;
	if (fn_file_nonblock(f))	/* who never waits drives the stack by asking */
		return fn_engine_look() ? bounce(f, pipe, len, first) : n;
	return bounce_later(f, pipe, len);
}

ssize_t fn_tcp_splice_out(struct fn_file *f, int fd, int pipe, size_t len, unsigned flags)
{
	bool pipe_nonblock = fn_sys_fcntl(pipe, F_GETFL, 0) & O_NONBLOCK;
	bool wait_space = !pipe_nonblock && !(flags & SPLICE_F_NONBLOCK);
	/* a blocking pipe is given a page at a time, which it takes at once when it is writable */
	size_t done = 0, part = pipe_nonblock ? FN_RW_MAX : PIPE_SLOT;
	ssize_t n = 0;

	len = fn_min(len, (size_t)FN_RW_MAX);
	while (done < len) {
		/* once something has moved, the call does not wait for more (tcp_splice_read) */
		n = splice_out_once(f, pipe, fn_min(len - done, part), wait_space, !done);
		if (n <= 0)
			break;
		done += (size_t)n;
	}
	if (!done && fn_converted(f))
		return FN_TO_KERNEL;
	return done ? (ssize_t)done : n;
}

/* ---- datagrams: each call is one, as whole as it can be (splice_to_socket, copy_splice_read) ---- */

#define DATAGRAM_MAX	65507	/* what IPv4 and UDP leave of 64 KB */

/* Memory for one datagram and a byte more; NULL: there is none. Not on the stack, which may be a thread's small one. */
static uint8_t *datagram_new(void)
{
	void *mem = (void *)fn_sys(SYS_mmap, NULL, DATAGRAM_MAX + 1, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS,
				   -1, 0);

	return (unsigned long)mem > -4096ul ? NULL : mem;
}

static void datagram_free(uint8_t *mem)
{
	fn_sys(SYS_munmap, mem, DATAGRAM_MAX + 1);
}

/* Without a destination: -EDESTADDRREQ, and a port for one that has none (inet_send_prepare). */
static int no_destination(struct fn_file *f)
{
	int ret = 0;

	fn_engine_lock();
	if (f->side == FN_SIDE_ANY)
		ret = fn_udp_autobind(f->sk) ? -EAGAIN : -EDESTADDRREQ;
	fn_engine_unlock();
	return ret;
}

/* Why nothing can be sent: found out before anything is taken from where it lies. */
static int cannot_send(struct fn_file *f)
{
	int err = fn_sock_pending_error(f);

	if (err)
		return err;
	return f->sk->shut & FN_SHUT_WR ? -EPIPE : no_destination(f);
}

static ssize_t send_datagram(struct fn_file *f, int fd, void *data, size_t len, unsigned flags)
{
	struct iovec iov = { data, len };

	return len > DATAGRAM_MAX ? -EMSGSIZE : f->ops->send(f, fd, &iov, 1, flags);
}

/* The bytes of in_fd from pos on as one datagram. */
static ssize_t send_from(struct fn_file *f, int fd, int in_fd, off_t pos, size_t count)
{
	uint8_t *data = datagram_new();
	struct iovec iov = { data, fn_min(count, (size_t)DATAGRAM_MAX + 1) };
	ssize_t n, err;

	if (!data)
		return -ENOMEM;
	n = fn_sys(SYS_preadv, in_fd, &iov, 1, pos, 0);
	err = n > 0 ? cannot_send(f) : 0;
	if (n > 0)
		n = err ? err : send_datagram(f, fd, data, (size_t)n, 0);
	datagram_free(data);
	return n == -EISDIR ? -EINVAL : n;
}

ssize_t fn_udp_sendfile(struct fn_file *f, int fd, int in_fd, off_t *off, size_t count)
{
	off_t pos = off ? *off : check_seekable(in_fd);
	ssize_t n;

	if (pos < 0)
		return off ? -EINVAL : pos;
	if ((ssize_t)count < 0)
		return -EINVAL;
	if (f->side == FN_SIDE_KERNEL || fn_dgram_fabric())
		return FN_TO_KERNEL;
	n = count ? send_from(f, fd, in_fd, pos, count) : 0;
	if (n > 0 && off)
		*off = pos + n;
	else if (n > 0)
		fn_sys(SYS_lseek, in_fd, pos + n, SEEK_SET);
	return n;
}

/* All that the pipe has now, as one datagram. */
static ssize_t send_from_pipe(struct fn_file *f, int fd, int pipe, size_t len, unsigned flags)
{
	int there = 0, err = cannot_send(f);
	uint8_t *data;
	ssize_t n;

	fn_sys(SYS_ioctl, pipe, FIONREAD, &there);
	if (err || fn_min(len, (size_t)there) > DATAGRAM_MAX)
		return err ? err : -EMSGSIZE;
	data = datagram_new();
	if (!data)
		return -ENOMEM;
	n = fn_sys_read(pipe, data, fn_min(len, (size_t)there));
	if (n > 0)
		n = send_datagram(f, fd, data, (size_t)n, flags & SPLICE_F_MORE ? MSG_MORE : 0);
	datagram_free(data);
	return n;
}

ssize_t fn_udp_splice_in(struct fn_file *f, int fd, int pipe, size_t len, unsigned flags)
{
	int n;

	if (f->side == FN_SIDE_KERNEL || fn_dgram_fabric())
		return FN_TO_KERNEL;
	n = wait_pipe(pipe, POLLIN, flags & SPLICE_F_NONBLOCK);
	if (n < 0 || !(n & POLLIN))
		return fn_min(n, 0);
	return send_from_pipe(f, fd, pipe, len, flags);
}

/* What a pipe takes at once that has room for something: all of it when it is empty, else a page for sure. */
static size_t pipe_room(int pipe)
{
	int there = 0, size = fn_sys_fcntl(pipe, F_GETPIPE_SZ, 0);

	fn_sys(SYS_ioctl, pipe, FIONREAD, &there);
	return there || size < 0 ? PIPE_SLOT : (size_t)size;
}

ssize_t fn_udp_splice_out(struct fn_file *f, int fd, int pipe, size_t len, unsigned flags)
{
	bool nonblock = flags & SPLICE_F_NONBLOCK || fn_sys_fcntl(pipe, F_GETFL, 0) & O_NONBLOCK;
	struct iovec iov;
	ssize_t n;

	if (f->side == FN_SIDE_KERNEL)
		return FN_TO_KERNEL;
	n = wait_pipe(pipe, POLLOUT, nonblock);
	if (n >= 0 && n & POLLERR) {
		fn_sigpipe();		/* no reader */
		n = -EPIPE;
	}
	if (n < 0)
		return n;
	iov = (struct iovec){ datagram_new(), fn_min(fn_min(len, (size_t)DATAGRAM_MAX), pipe_room(pipe)) };
	if (!iov.iov_base)
		return -ENOMEM;
	n = f->ops->recv(f, fd, &iov, 1, 0);
	if (n > 0)
		n = fn_sys_write(pipe, iov.iov_base, (size_t)n);
	datagram_free(iov.iov_base);
	return n;
}
