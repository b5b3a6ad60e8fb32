/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * Raw system calls. Inside libfastnet.so the libc names are our own wrappers, so whatever the shim wants of the kernel
 * goes through here: no wrapper, no errno, no cancellation point, usable before any constructor and in a signal handler.
 * Every function returns the kernel's value: >= 0, or -errno.
 */
#ifndef FN_SYS_H
#define FN_SYS_H

#include <fcntl.h>
#include <poll.h>
#include <signal.h>
#include <sys/epoll.h>
#include <sys/socket.h>
#include <sys/syscall.h>
#include <time.h>

#include "stack/compiler.h"

fn_inline long fn_sys6(long n, long a, long b, long c, long d, long e, long f)
{
	long ret;
	register long r10 __asm__("r10") = d;
	register long r8 __asm__("r8") = e;
	register long r9 __asm__("r9") = f;

	__asm__ volatile("syscall"
			 : "=a"(ret)
			 : "a"(n), "D"(a), "S"(b), "d"(c), "r"(r10), "r"(r8), "r"(r9)
			 : "rcx", "r11", "memory");
	return ret;
}

#define fn_sys(n, ...) FN_SYS_PICK(__VA_ARGS__, 6, 5, 4, 3, 2, 1)(n, __VA_ARGS__)
#define FN_SYS_PICK(a, b, c, d, e, f, k, ...) FN_SYS_##k
#define FN_SYS_1(n, a)			fn_sys6(n, (long)(a), 0, 0, 0, 0, 0)
#define FN_SYS_2(n, a, b)		fn_sys6(n, (long)(a), (long)(b), 0, 0, 0, 0)
#define FN_SYS_3(n, a, b, c)		fn_sys6(n, (long)(a), (long)(b), (long)(c), 0, 0, 0)
#define FN_SYS_4(n, a, b, c, d)		fn_sys6(n, (long)(a), (long)(b), (long)(c), (long)(d), 0, 0)
#define FN_SYS_5(n, a, b, c, d, e)	fn_sys6(n, (long)(a), (long)(b), (long)(c), (long)(d), (long)(e), 0)
#define FN_SYS_6(n, a, b, c, d, e, f) \
	fn_sys6(n, (long)(a), (long)(b), (long)(c), (long)(d), (long)(e), (long)(f))

/* The kernel's sigset_t is 8 bytes. */
#define FN_SIGSET_SIZE 8

fn_inline int fn_sys_close(int fd)
{
	return (int)fn_sys(SYS_close, fd);
}

fn_inline int fn_sys_fcntl(int fd, int cmd, long arg)
{
	return (int)fn_sys(SYS_fcntl, fd, cmd, arg);
}

fn_inline ssize_t fn_sys_read(int fd, void *buf, size_t n)
{
	return fn_sys(SYS_read, fd, buf, n);
}

fn_inline ssize_t fn_sys_write(int fd, const void *buf, size_t n)
{
	return fn_sys(SYS_write, fd, buf, n);
}

fn_inline int fn_sys_socket(int domain, int type, int protocol)
{
	return (int)fn_sys(SYS_socket, domain, type, protocol);
}

fn_inline int fn_sys_getsockopt(int fd, int level, int name, void *value, socklen_t *len)
{
	return (int)fn_sys(SYS_getsockopt, fd, level, name, value, len);
}

fn_inline int fn_sys_setsockopt(int fd, int level, int name, const void *value, socklen_t len)
{
	return (int)fn_sys(SYS_setsockopt, fd, level, name, value, len);
}

fn_inline int fn_sys_epoll_ctl(int epfd, int op, int fd, struct epoll_event *ev)
{
	return (int)fn_sys(SYS_epoll_ctl, epfd, op, fd, ev);
}

/* timeout_ms 0 only: never blocks. */
fn_inline int fn_sys_epoll_check(int epfd, struct epoll_event *ev, int max)
{
	return (int)fn_sys(SYS_epoll_wait, epfd, ev, max, 0);
}

/* ts is read by the kernel itself, at the moment of the call (glibc copies it first); mask may be NULL. */
fn_inline int fn_sys_ppoll(struct pollfd *fds, unsigned n, struct timespec *ts, const sigset_t *mask)
{
	return (int)fn_sys(SYS_ppoll, fds, n, ts, mask, FN_SIGSET_SIZE);
}

fn_inline long fn_sys_futex(uint32_t *word, int op, uint32_t val, const struct timespec *ts)
{
	return fn_sys(SYS_futex, word, op, val, ts, NULL, 0);
}

#endif
