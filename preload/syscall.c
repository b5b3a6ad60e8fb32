/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * syscall(2) for the calls that we wrap by name (libuv, and so Node, closes its sockets by number). The symbol itself
 * is in stub.S: it looks here for a function and otherwise makes the system call, without a frame of ours around it.
 */
#include <string.h>

#include "preload/guard.h"
#include "preload/poll.h"
#include "preload/sig.h"
#include "preload/syscall.h"
#include "shim/convert.h"
#include "shim/engine.h"

/* The kernel's signal set is 8 bytes; another size it refuses itself. */
static bool mask_fits(const void *mask, long size)
{
	return !mask || size == FN_SIGSET_SIZE;
}

/* libc's set is larger than what the caller has: never read beyond. */
static const sigset_t *widen(sigset_t *wide, const void *mask)
{
	if (!mask)
		return NULL;
	memset(wide, 0, sizeof(*wide));
	memcpy(wide, mask, FN_SIGSET_SIZE);
	return wide;
}

/* The sixth argument of pselect6. */
struct select_mask {
	const void *mask;
	size_t size;
};

static bool select_mask_fits(const struct select_mask *m)
{
	return !m || mask_fits(m->mask, (long)m->size);
}

/* The raw calls write the time left, libc's do not. */
static int raw_ppoll(struct pollfd *fds, nfds_t n, struct timespec *ts, const void *mask)
{
	uint64_t start = fn_now();
	sigset_t wide;
	int ret = fn_wrap_ppoll(fds, n, ts, widen(&wide, mask));

	if (ts)
		fn_poll_time_left(ts, start);
	return ret;
}

static int raw_pselect(int n, fd_set *rd, fd_set *wr, fd_set *ex, struct timespec *ts, const struct select_mask *m)
{
	uint64_t start = fn_now();
	sigset_t wide;
	int ret = fn_wrap_pselect(n, rd, wr, ex, ts, widen(&wide, m ? m->mask : NULL));

	if (ts)
		fn_poll_time_left(ts, start);
	return ret;
}

static int raw_epoll_pwait(int epfd, struct epoll_event *ev, int max, int ms, const void *mask)
{
	sigset_t wide;

	return fn_wrap_epoll_pwait(epfd, ev, max, ms, widen(&wide, mask));
}

static int raw_epoll_pwait2(int epfd, struct epoll_event *ev, int max, const struct timespec *ts, const void *mask)
{
	sigset_t wide;

	return fn_wrap_epoll_pwait2(epfd, ev, max, ts, widen(&wide, mask));
}

static void before(void (*tell)(void))
{
	if (fn_active())
		fn_guarded_void(tell());
}

static void before_exit(int status)
{
	if (fn_active())
		fn_guarded_void(fn_shim_thread_exit_raw(status));
}

#define FN_RAW(name, when, what)								\
	static long on_##name(long n, long a, long b, long c, long d, long e, long f)		\
	{											\
		if (when)									\
			return what;								\
		return fn_errno(fn_sys6(n, a, b, c, d, e, f));					\
	}
#include "preload/raw.def"

fn_syscall_fn *const fn_syscall_table[FN_SYSCALL_TABLE] = {
#define FN_RAW(name, when, what)	[SYS_##name] = on_##name,
#include "preload/raw.def"
	[SYS_vfork] = fn_stub_clone, [SYS_clone] = fn_stub_clone, [SYS_clone3] = fn_stub_clone,
};

long fn_syscall_fail(long ret)
{
	return fn_errno(ret);
}
