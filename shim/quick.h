/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * What a server calls most, when all goes well: one hold of the engine's lock, no reference, few registers to save, and
 * so no more in line than a wrapper of preload/ can bear (bench/stack). A file is released under the lock, after its
 * number has left the table; so while it is held a number that stands for a file keeps it.
 */
#ifndef FN_QUICK_H
#define FN_QUICK_H

#include "shim/engine.h"
#include "shim/fdtable.h"
#include "shim/msg.h"
#include "shim/wait.h"

/*
 * .file NULL: the call is done, .ret is its result (never an error). Else it is not: .file is what fd stands for, with a
 * reference that the caller gives back, and .ret what has happened so far: FN_NOT_BEGUN, or what the stack said first
 * (fn_tcp_recv_on() and fn_tcp_send_on() go on from there). NULL with FN_NOT_BEGUN: the number is the kernel's by now.
 */
struct fn_quick {
	ssize_t ret;
	struct fn_file *file;
};
#define FN_NOT_BEGUN	(INT_MIN + 1)

/* The rest of a call that has given n so far; with a reference, and as the operations of file.h. file_tcp.c. */
ssize_t fn_tcp_recv_on(struct fn_file *f, const struct iovec *iov, ssize_t n);
ssize_t fn_tcp_send_on(struct fn_file *f, int fd, const struct iovec *iov, int iovcnt, size_t want, unsigned flags,
		       ssize_t n);

/*
 * epoll_wait() when something is ready. When nothing is, or the kernel must be asked: what slow() gives, called with the
 * same arguments and without the lock. fd is one of ours, or was. The call begins here (fn_guard_enter); slow() ends
 * it. file_epoll.c.
 */
int fn_quick_wait(int epfd, struct epoll_event *ev, int max, int ms,
		  int (*slow)(int epfd, struct epoll_event *ev, int max, int ms));

/* The ways out. quick.c. */
struct fn_quick fn_quick_not(int fd, bool locked);
struct fn_quick fn_quick_leave(struct fn_file *f, ssize_t n);
struct fn_quick fn_quick_recv_on(struct fn_file *f, ssize_t n);

/* With the engine locked: what fd stands for, or NULL, without a reference. fd is one that was ours (fn_fd_ours). */
fn_inline struct fn_file *fn_fd_peek(int fd)
{
	return atomic_load_explicit(&fn_fdtable.file[fd], memory_order_relaxed);
}

fn_inline bool fn_quick_fits(const struct iovec *iov)
{
	return iov->iov_len - 1 < FN_RW_MAX && iov->iov_base;
}

/* recv(fd, iov, 0) on a connection, one buffer. fd is one of ours, or was. */
fn_inline struct fn_quick fn_quick_recv(int fd, const struct iovec *iov)
{
	struct fn_file *f;
	ssize_t n;

	if (fn_unlikely(!fn_engine_trylock()))
		return fn_quick_not(fd, false);
	f = fn_fd_peek(fd);
	if (fn_unlikely(!f || f->kind != FN_FILE_TCP || !f->sk || !fn_quick_fits(iov)))
		return fn_quick_not(fd, true);
	n = fn_tcp_read(f->sk, iov);
	/* a keeper that is wanting is made by the first read that finds nothing */
	if (fn_unlikely(n <= 0 || f->sk->rcvlowat > 1 || fn_engine.st->staged))
		return fn_quick_recv_on(f, n);
	fn_engine_unlock();
	return (struct fn_quick){ n, NULL };
}

/* As fn_engine_kick(), for the answer to the only event. */
fn_inline void fn_quick_kick(void)
{
	if (fn_unlikely(fn_this_guard.hold || fn_engine.attention))
		fn_engine_kick();
	else
		fn_stack_flush_staged(fn_engine.st);
}

/* With the lock held, what f's socket said of a write of `want` bytes. */
fn_inline struct fn_quick fn_quick_wrote(struct fn_file *f, ssize_t n, size_t want)
{
	if (fn_unlikely(n != (ssize_t)want))
		return fn_quick_leave(f, n);
	fn_quick_kick();
	fn_engine_unlock();
	return (struct fn_quick){ n, NULL };
}

/* writev() on a connection: `want` > 0 is the sum of iov, at most FN_RW_MAX. fd is one of ours, or was. */
fn_inline struct fn_quick fn_quick_writev(int fd, const struct iovec *iov, int iovcnt, size_t want)
{
	struct fn_file *f;

	if (fn_unlikely(!fn_engine_trylock()))
		return fn_quick_not(fd, false);
	f = fn_fd_peek(fd);
	if (fn_unlikely(!f || f->kind != FN_FILE_TCP || !f->sk))
		return fn_quick_not(fd, true);
	return fn_quick_wrote(f, fn_tcp_send(f->sk, iov, iovcnt, 0, 0), want);
}

/* write(), send(MSG_NOSIGNAL): one buffer. iov is read again after the call: in memory, it needs no register. */
fn_inline struct fn_quick fn_quick_send(int fd, const struct iovec *iov)
{
	struct fn_file *f;
	ssize_t n;

	if (fn_unlikely(!fn_quick_fits(iov) || !fn_engine_trylock()))
		return fn_quick_not(fd, false);
	f = fn_fd_peek(fd);
	if (fn_unlikely(!f || f->kind != FN_FILE_TCP || !f->sk))
		return fn_quick_not(fd, true);
	n = fn_tcp_write(f->sk, iov);
	return fn_quick_wrote(f, n, iov->iov_len);
}

#endif
