/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * Readiness: select, poll, epoll in all their forms become one of the shim's three, which take the time left as a
 * timespec. While no file of ours exists nothing is converted and nothing looked at.
 */
#include "preload/guard.h"
#include "preload/poll.h"
#include "shim/engine.h"
#include "shim/plain.h"
#include "shim/quick.h"
#include "stack/user.h"

#define NS_PER_S 1000000000

extern void __chk_fail(void) __attribute__((noreturn));

static bool ts_valid(const struct timespec *ts)
{
	return ts->tv_sec >= 0 && (unsigned long)ts->tv_nsec < NS_PER_S;
}

/* NULL, for ever, where ms is negative. */
static const struct timespec *ts_from_ms(struct timespec *ts, int ms)
{
	if (ms < 0)
		return NULL;
	ts->tv_sec = ms / 1000;
	ts->tv_nsec = ms % 1000 * 1000000L;
	return ts;
}

/* select() normalises microseconds above a second, as the kernel always did. */
static bool ts_from_tv(struct timespec *ts, const struct timeval *tv)
{
	if (tv->tv_sec < 0 || tv->tv_usec < 0)
		return false;
	if (__builtin_add_overflow(tv->tv_sec, tv->tv_usec / 1000000, &ts->tv_sec))
		ts->tv_sec = INT64_MAX;
	ts->tv_nsec = tv->tv_usec % 1000000 * 1000;
	return true;
}

void fn_poll_time_left(struct timespec *ts, uint64_t start)
{
	uint64_t gone = fn_now() - start;
	time_t s = ts->tv_sec - (time_t)(gone / NS_PER_S);
	long ns = ts->tv_nsec - (long)(gone % NS_PER_S);

	if (ns < 0) {
		ns += NS_PER_S;
		s--;
	}
	if (s < 0)
		s = ns = 0;
	ts->tv_sec = s;
	ts->tv_nsec = ns;
}

int fn_ours_select(int n, fd_set *rd, fd_set *wr, fd_set *ex, struct timeval *tv)
{
	struct timespec ts;
	uint64_t start;
	int ret;

	if (tv && !ts_from_tv(&ts, tv))
		return (int)fn_errno(-EINVAL);
	start = tv ? fn_now() : 0;
	ret = (int)fn_guarded(true, fn_shim_select(n, rd, wr, ex, tv ? &ts : NULL, NULL));
	if (ret == FN_TO_KERNEL)
		return fn_real.select(n, rd, wr, ex, tv);
	if (tv) {
		fn_poll_time_left(&ts, start);
		tv->tv_sec = ts.tv_sec;
		tv->tv_usec = ts.tv_nsec / 1000;
	}
	return (int)fn_errno(ret);
}

int fn_ours_pselect(int n, fd_set *rd, fd_set *wr, fd_set *ex, const struct timespec *ts, const sigset_t *mask)
{
	int ret;

	if (ts && !ts_valid(ts))
		return (int)fn_errno(-EINVAL);
	ret = (int)fn_guarded(true, fn_shim_select(n, rd, wr, ex, ts, mask));
	return ret == FN_TO_KERNEL ? fn_real.pselect(n, rd, wr, ex, ts, mask) : (int)fn_errno(ret);
}

/* Looked at here once more than in the shim, so that kernel descriptors alone pay for nothing else (bench/fdcost). */
fn_inline bool none_ours(const struct pollfd *fds, nfds_t n)
{
	/* what is bad in the middle is the kernel's to find */
	if (n && !fn_user_may_read_all(fds, n * sizeof(*fds)))
		return true;
	for (nfds_t i = 0; i < n; i++)
		if (fn_fd_ours(fds[i].fd))
			return false;
	return true;
}

static __attribute__((noinline)) int poll_ours(struct pollfd *fds, nfds_t n, int ms)
{
	struct timespec ts;
	int ret = (int)fn_guarded(true, fn_shim_poll(fds, n, ts_from_ms(&ts, ms), NULL));

	return ret == FN_TO_KERNEL ? fn_real.poll(fds, n, ms) : (int)fn_errno(ret);
}

int fn_ours_poll(struct pollfd *fds, nfds_t n, int ms)
{
	return none_ours(fds, n) ? fn_real.poll(fds, n, ms) : poll_ours(fds, n, ms);
}

static __attribute__((noinline)) int ppoll_ours(struct pollfd *fds, nfds_t n, const struct timespec *ts,
						const sigset_t *mask)
{
	int ret;

	if (ts && !ts_valid(ts))
		return (int)fn_errno(-EINVAL);
	ret = (int)fn_guarded(true, fn_shim_poll(fds, n, ts, mask));
	return ret == FN_TO_KERNEL ? fn_real.ppoll(fds, n, ts, mask) : (int)fn_errno(ret);
}

int fn_ours_ppoll(struct pollfd *fds, nfds_t n, const struct timespec *ts, const sigset_t *mask)
{
	return none_ours(fds, n) ? fn_real.ppoll(fds, n, ts, mask) : ppoll_ours(fds, n, ts, mask);
}

int fn_wrap___poll_chk(struct pollfd *fds, nfds_t n, int ms, size_t size)
{
	if (size / sizeof(*fds) < n)
		__chk_fail();
	return fn_wrap_poll(fds, n, ms);
}

int fn_wrap___ppoll_chk(struct pollfd *fds, nfds_t n, const struct timespec *ts, const sigset_t *mask, size_t size)
{
	if (size / sizeof(*fds) < n)
		__chk_fail();
	return fn_wrap_ppoll(fds, n, ts, mask);
}

int fn_ours_epoll_create1(int flags)
{
	int fd = (int)fn_guarded(false, fn_shim_epoll_create1(flags));

	return fd == FN_TO_KERNEL ? fn_real.epoll_create1(flags) : (int)fn_errno(fd);
}

/* The size has meant nothing since 2.6.8, but must be positive. */
int fn_ours_epoll_create(int size)
{
	return size > 0 ? fn_ours_epoll_create1(0) : (int)fn_errno(-EINVAL);
}

int fn_ours_epoll_ctl(int fd, int op, int target, struct epoll_event *ev)
{
	struct fn_file *f = fn_enter(fd);
	struct epoll_event copy;
	int ret = op == EPOLL_CTL_DEL ? 0 : fn_user_get(&copy, ev, sizeof(copy));

	return fn_done(f, fd, ret < 0 ? ret : fn_op(f, epoll_ctl, fd, op, target, &copy), fn_real.epoll_ctl(fd, op, target, ev));
}

/* epoll_wait() and its kin on a file of ours; what the kernel checks first, first (do_epoll_wait). */
static int wait_ours(struct fn_file *f, int fd, struct epoll_event *ev, int max, const struct timespec *ts,
		     const sigset_t *mask)
{
	if (max <= 0 || (size_t)max > INT_MAX / sizeof(*ev) || (ts && !ts_valid(ts)))
		return -EINVAL;
	return fn_op(f, epoll_wait, fd, ev, max, ts, mask);
}

/* The call has begun already. */
static int epoll_wait_slow(int fd, struct epoll_event *ev, int max, int ms)
{
	struct fn_file *f = fn_fd_get_slow(fd);
	struct timespec ts;

	return fn_done(f, fd, wait_ours(f, fd, ev, max, ts_from_ms(&ts, ms), NULL),
		       fn_real.epoll_wait(fd, ev, max, ms));
}

/* Who does not wait in a set of the kernel's alone; it may have gone live since. */
fn_inline int look_plain(int fd, const struct fn_file *f, struct epoll_event *ev, int max)
{
	int n = fn_real.epoll_wait(fd, ev, max, 0);

	return n > 0 && fn_unlikely(!f->plain_set) ? fn_plain_over(fd, f, ev, n) : fn_plain_sift(f->plain, ev, n);
}

/* The set has gone live while the thread slept; the call goes on there if nothing has come. */
static fn_cold int wait_on(int fd, const struct fn_file *f, struct epoll_event *ev, int max, int ms, int n, uint64_t began)
{
	int kept = fn_plain_over(fd, f, ev, n);

	return kept || !n ? kept : fn_wrap_epoll_wait(fd, ev, max, fn_plain_ms_left(began, ms));
}

/* The time left of a wait in a set that others make live may be asked for. */
static __attribute__((noinline)) int wait_crossed(int fd, struct fn_file *f, struct epoll_event *ev, int max, int ms)
{
	uint64_t began = fn_clock();
	int n = fn_real.epoll_wait(fd, ev, max, ms);

	return fn_likely(fn_plain_left(f)) ? n : wait_on(fd, f, ev, max, ms, n, began);
}

/* Somebody else is the set's sleeper, or nobody yet. */
static __attribute__((noinline)) int wait_plain_slow(int fd, const struct fn_file *f, struct epoll_event *ev, int max, int ms)
{
	int n;

	if (!f->sleeper && fn_plain_take(fd))
		return fn_wrap_epoll_wait(fd, ev, max, ms);
	n = look_plain(fd, f, ev, max);
	return n ? n : fn_quick_wait(fd, ev, max, ms, epoll_wait_slow);
}

static __attribute__((noinline)) int wait_plain(int fd, struct fn_file *f, struct epoll_event *ev, int max, int ms)
{
	int n;

	if (fn_unlikely(!fn_plain_enter(f)))
		return wait_plain_slow(fd, f, ev, max, ms);
	if (fn_unlikely(f->crossed && ms > 0))
		return wait_crossed(fd, f, ev, max, ms);
	n = fn_real.epoll_wait(fd, ev, max, ms);
	return fn_likely(fn_plain_left(f)) ? n : wait_on(fd, f, ev, max, ms, n, 0);
}

static __attribute__((noinline)) int epoll_wait_ours(int fd, struct epoll_event *ev, int max, int ms)
{
	if (fn_unlikely(fn_this_guard.bare))
		return fn_real.epoll_wait(fd, ev, max, ms);
	return fn_quick_wait(fd, ev, max, ms, epoll_wait_slow);
}

/* A set of kernel descriptors pays for nothing else when the thread does not wait, or is the one that always does
 * (shim/plain.h; bench/fdcost). */
int fn_wrap_epoll_wait(int fd, struct epoll_event *ev, int max, int ms)
{
	struct fn_file *f;

	if (fn_likely(!fn_fd_ours(fd)))
		return fn_real.epoll_wait(fd, ev, max, ms);
	f = fn_fd_peek(fd);
	if (!f || !atomic_load_explicit(&f->plain_set, memory_order_relaxed) || fn_unlikely(fn_this_guard.bare))
		return epoll_wait_ours(fd, ev, max, ms);
	return ms ? wait_plain(fd, f, ev, max, ms) : look_plain(fd, f, ev, max);
}

/* The same with a mask, which the kernel changes and changes back. False: not possible, or not over with *ms left. */
static bool pwait_plain(int fd, struct epoll_event *ev, int max, int *ms, const sigset_t *mask, int *ret)
{
	struct fn_file *f = fn_fd_peek(fd);
	uint64_t began;
	int n;

	if (!f || !f->plain_set || !*ms || !(fn_plain_enter(f) || (!f->sleeper && fn_plain_take(fd) && fn_plain_enter(f))))
		return false;
	began = f->crossed && *ms > 0 ? fn_clock() : 0;
	n = fn_real.epoll_pwait(fd, ev, max, *ms, mask);
	*ret = n;
	if (fn_likely(fn_plain_left(f)))
		return true;
	*ret = fn_plain_over(fd, f, ev, n);
	*ms = fn_plain_ms_left(began, *ms);
	return *ret || !n;
}

int fn_ours_epoll_pwait(int fd, struct epoll_event *ev, int max, int ms, const sigset_t *mask)
{
	struct fn_file *f;
	struct timespec ts;
	int ret;

	if (!mask)
		return fn_wrap_epoll_wait(fd, ev, max, ms);
	if (pwait_plain(fd, ev, max, &ms, mask, &ret))
		return ret;
	f = fn_enter_point(fd);
	return fn_done(f, fd, wait_ours(f, fd, ev, max, ts_from_ms(&ts, ms), mask),
		       fn_real.epoll_pwait(fd, ev, max, ms, mask));
}

int fn_ours_epoll_pwait2(int fd, struct epoll_event *ev, int max, const struct timespec *ts, const sigset_t *mask)
{
	struct fn_file *f = fn_enter_point(fd);

	return fn_done(f, fd, wait_ours(f, fd, ev, max, ts, mask), fn_real.epoll_pwait2(fd, ev, max, ts, mask));
}
