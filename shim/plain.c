/* SPDX-License-Identifier: BSD-3-Clause */
/* Sleeping in the kernel on an epoll set of its own alone: who may, and the bell that brings sleepers up. */
#include "shim/plain.h"

#include <sys/eventfd.h>

#include "shim/epoll.h"
#include "shim/quick.h"

/* So long may a store be on its way (plain.h). */
#define STORE_NS	10000

/* Is the set's sleeper, another thread, in its sleep or about to be? */
static bool sleeper_sleeps(const struct fn_file *f, const struct fn_thread *t)
{
	uint64_t end = fn_now() + STORE_NS;

	do {
		if (fn_thread_sleeps_on(t, f))
			return true;
		__builtin_ia32_pause();
	} while (fn_now() < end);
	return false;
}

static void add_bell(struct fn_plain *p, int epfd)
{
	struct epoll_event ev = { .events = EPOLLIN, .data.ptr = &p->bell };

	fn_sys_epoll_ctl(epfd, EPOLL_CTL_ADD, p->bell, &ev);
}

void fn_plain_ring(struct fn_file *f, int epfd)
{
	const struct fn_thread *t = f->sleeper;
	struct fn_plain *p = f->plain;
	uint64_t one = 1;

	/* pairs with fn_plain_enter() and the count in fn_plain_wait(): they mark, then look at plain_set */
	atomic_thread_fence(memory_order_seq_cst);
	if (t && t != fn_thread_self())
		f->crossed = true;
	if (p->bell > 0 || epfd < 0)
		return;
	if (!p->guarded && !(t && (t == fn_thread_self() ? !!t->plain : sleeper_sleeps(f, t))))
		return;
	p->bell = fn_fd_internal((int)fn_sys(SYS_eventfd2, 0, EFD_CLOEXEC | EFD_NONBLOCK));
	if (p->bell < 0)
		return;
	fn_sys_write(p->bell, &one, sizeof(one));
	add_bell(p, epfd);
}

bool fn_plain_settle(struct fn_file *f, int epfd)
{
	const struct fn_thread *t = f->sleeper;
	struct fn_plain *p = f->plain;

	if (p->bell <= 0)
		return true;
	if (p->guarded || (t && fn_thread_sleeps_on(t, f)))
		return false;
	if (epfd >= 0)	/* a forked child has it too, so its end is not the end of the registration */
		fn_sys_epoll_ctl(epfd, EPOLL_CTL_DEL, p->bell, NULL);
	fn_fd_internal_close(p->bell);
	p->bell = 0;
	return true;
}

bool fn_plain_readable(struct fn_file *f, int epfd)
{
	struct pollfd pfd = { .fd = epfd, .events = POLLIN };
	struct timespec zero = { 0, 0 };
	bool rings = !fn_plain_settle(f, epfd) && epfd >= 0, readable;

	if (rings)
		fn_sys_epoll_ctl(epfd, EPOLL_CTL_DEL, f->plain->bell, NULL);
	readable = fn_sys_ppoll(&pfd, 1, &zero, NULL) > 0;
	if (rings)	/* who has not come up yet is rung once more */
		add_bell(f->plain, epfd);
	return readable;
}

int fn_plain_over(int fd, const struct fn_file *slept, struct epoll_event *ev, int n)
{
	struct fn_file *f;

	fn_guard_enter(false);
	fn_engine_lock();
	f = fn_fd_peek(fd);
	if (f == slept && f->plain) {
		n = fn_plain_sift(f->plain, ev, n);
		fn_epoll_settle(f, fd);
	}
	fn_engine_unlock();
	return (int)fn_guard_left(n);
}

bool fn_plain_take(int fd)
{
	const struct fn_thread *nobody = NULL;
	struct fn_file *f;
	bool took;

	fn_guard_enter(false);
	fn_engine_lock();
	f = fn_fd_peek(fd);
	took = f && f->plain && fn_thread_self()->known_pprev &&
	       atomic_compare_exchange_strong(&f->sleeper, &nobody, fn_thread_self());
	fn_engine_unlock();
	fn_guard_left(0);
	return took;
}

int fn_plain_ms_left(uint64_t began, int ms)
{
	uint64_t gone = began ? fn_now() - began : 0;

	if (ms < 0 || (uint64_t)ms * FN_MSEC <= gone)
		return ms < 0 ? ms : 0;
	return (int)(((uint64_t)ms * FN_MSEC - gone + FN_MSEC - 1) / FN_MSEC);
}

/* The sleep may still be before us: where the set has gone live meanwhile, it must end at once. */
void fn_plain_resume(struct fn_file *f)
{
	struct fn_thread *t = fn_thread_self();

	atomic_store_explicit(&t->plain, f, memory_order_relaxed);
	atomic_thread_fence(memory_order_seq_cst);	/* as fn_plain_enter() */
	if (fn_likely(f->plain_set))
		return;
	fn_guard_enter(false);
	fn_engine_lock();
	if (f->kind == FN_FILE_EPOLL && f->plain)	/* it may have been closed, and be another set: that hears a false bell */
		fn_plain_ring(f, fn_fd_number(f, -1));
	fn_engine_unlock();
	fn_guard_left(0);
}

int fn_plain_wait(struct fn_file *f, int epfd, struct epoll_event *ev, int max, const struct timespec *ts,
		  const sigset_t *mask)
{
	struct fn_plain *p = f->plain;
	int n;

	fn_this_guard.hold = false;	/* the round before this sleep has sent it */
	p->guarded++;	/* pairs with the fence in fn_plain_ring(): counted before the members are looked at again */
	n = fn_epoll_is_live(f) ? 0 : fn_wait_kernel_epoll(epfd, ev, max, ts, mask);
	if (--p->guarded == 0 && p->bell > 0) {
		fn_engine_lock();
		fn_epoll_settle(f, epfd);
		fn_engine_unlock();
	}
	return fn_plain_sift(p, ev, n);
}
