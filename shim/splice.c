/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * sendfile and splice on a connection. The file is read straight into transmit buffers, outside the lock; a pipe gets
 * received bytes by way of a small bounce. Must not know TCP.
 */
#include <errno.h>
#include <unistd.h>

#include "shim/convert.h"
#include "shim/msg.h"
#include "shim/sockfile.h"
#include "shim/wait.h"

#define CHUNK_IOVS	64	/* buffers filled by one preadv: 64 * 1448 bytes is more than most send buffers take */
#define BOUNCE		16384
#define PIPE_SLOT	4096	/* a pipe that is writable takes one page (PIPE_BUF) without blocking */

/* ---- into the socket ---- */

/*
 * Move up to `want` bytes from in_fd (at *pos, or at its own position when NULL). Bytes moved; 0: end of file; -EAGAIN:
 * the send buffer is full (*full set) or in_fd has nothing now; the read's or the connection's error.
 */
static ssize_t send_chunk(struct fn_file *f, int in_fd, off_t *pos, size_t want, bool *full)
{
	struct iovec iov[CHUNK_IOVS];
	int iovcnt = CHUNK_IOVS, err = 0;
	struct fn_pkt *chain = NULL;
	ssize_t n, taken;

	fn_engine_lock();
	if (f->sk->tcp_state == FN_TCP_SYN_SENT || f->sk->tcp_state == FN_TCP_SYN_RCVD)
		err = -EAGAIN;
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

/* Is there nothing to send at *off, or in_fd's own position? Linux reads the file before it looks at the connection. */
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
	bool full;

	if (n < 0)
		return n;
	if (pos < 0 || (ssize_t)count < 0)
		return -EINVAL;
	count = fn_min(count, (size_t)FN_RW_MAX);
	while (done < count) {
		n = send_chunk(f, in_fd, off ? &pos : NULL, count - done, &full);
		if (n > 0) {
			done += (size_t)n;
			continue;
		}
		if (n < 0 && !done && at_end(in_fd, off))
			return 0;
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
		n = send_chunk(f, pipe, NULL, len - done, &full);
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

/* Received bytes to the pipe, seen first, taken off when the pipe has them. 0: end of file. */
static ssize_t bounce(struct fn_file *f, int pipe, size_t len)
{
	char buf[BOUNCE];
	struct iovec iov = { buf, fn_min(len, sizeof(buf)) };
	ssize_t n;

	fn_engine_lock();
	n = fn_tcp_recv(f->sk, &iov, 1, 0, MSG_PEEK, NULL);
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

/* A blocking pipe is given a page at a time, which it takes at once when it is writable. */
static ssize_t splice_out_once(struct fn_file *f, int fd, int pipe, size_t len, bool pipe_nonblock, bool wait_space)
{
	uint64_t deadline;
	ssize_t n = wait_pipe(pipe, POLLOUT, !wait_space);

	if (n < 0)
		return n;
	if (n & POLLERR) {
		fn_sigpipe();		/* no reader */
		return -EPIPE;
	}
	deadline = f->rcvtimeo ? fn_timeo_deadline(f->rcvtimeo) : FN_FOREVER;
	for (;;) {
		n = bounce(f, pipe, pipe_nonblock ? len : fn_min(len, (size_t)PIPE_SLOT));
		if (n != -EAGAIN || fn_file_nonblock(f) || !wait_space)
			return n;
		n = fn_wait_file(f, fd, POLLIN, deadline);
		if (n)
			return n;
	}
}

ssize_t fn_tcp_splice_out(struct fn_file *f, int fd, int pipe, size_t len, unsigned flags)
{
	bool pipe_nonblock = fn_sys_fcntl(pipe, F_GETFL, 0) & O_NONBLOCK;
	bool wait_space = !pipe_nonblock && !(flags & SPLICE_F_NONBLOCK);
	size_t done = 0;
	ssize_t n = 0;

	len = fn_min(len, (size_t)FN_RW_MAX);
	while (done < len) {
		/* once something has moved, the call does not wait for more (tcp_splice_read) */
		n = splice_out_once(f, fd, pipe, len - done, pipe_nonblock, wait_space && !done);
		if (n <= 0)
			break;
		done += (size_t)n;
	}
	if (!done && fn_converted(f))
		return FN_TO_KERNEL;
	return done ? (ssize_t)done : n;
}
