/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * Sleeping in the kernel on an epoll set in which the kernel has all there is. One thread of each set, the first that has
 * waited on it, does so as if we were not there: in libc's own call, outside of any call of ours, so that signals,
 * cancellation and stops are the kernel's and libc's business, and it costs what it costs (bench/fdcost). All others sleep
 * in a guarded call (fn_wait_kernel_epoll). Whoever gives the set its first accelerated member brings all of them up, by a
 * bell in the kernel's set.
 *
 * No wake-up is lost though the one thread marks itself by a plain store before it looks whether the set is plain. Who makes
 * it live says so, with a fence, and then looks for the mark for as long as a store can be on its way: it leaves its
 * core's buffer by itself, behind 72 others at most (Golden Cove's), each of which waits for a line of memory for 0.1 us. A
 * mark that is not there by then is made by who sees that the set is live, and does not sleep.
 */
#ifndef FN_PLAIN_H
#define FN_PLAIN_H

#include "shim/engine.h"
#include "shim/fdtable.h"
#include "shim/wait.h"

/* One in each set. */
struct fn_plain {
	_Atomic(unsigned) guarded;	/* threads in guarded sleeps, from before the set went live */
	int bell;			/* internal eventfd in the kernel's set; <= 0: none */
};

/* May the calling thread go to sleep in libc's own call on f? Then fn_plain_left() must follow. */
fn_inline bool fn_plain_enter(struct fn_file *f)
{
	struct fn_thread *t = fn_thread_self();

	/* what it has sent may wait for this wait */
	if (fn_unlikely(atomic_load_explicit(&f->sleeper, memory_order_relaxed) != t->known || fn_this_guard.hold))
		return false;
	atomic_store_explicit(&t->plain, f, memory_order_relaxed);
	atomic_signal_fence(memory_order_seq_cst);
	/* pairs with the fence in fn_plain_ring(); the file may be another one by now: then its bit says so, or does no harm */
	if (fn_likely(atomic_load_explicit(&f->plain_set, memory_order_relaxed)))
		return true;
	atomic_store_explicit(&t->plain, NULL, memory_order_relaxed);
	return false;
}

/* The sleep is over; true: the set is still as it was. That is looked at before the mark goes, without which a set that has
 * gone live may be plain again, while the bell's event is in hand. */
fn_inline bool fn_plain_left(const struct fn_file *f)
{
	bool plain;

	atomic_signal_fence(memory_order_seq_cst);
	plain = atomic_load_explicit(&f->plain_set, memory_order_relaxed);
	atomic_store_explicit(&fn_thread_self()->plain, NULL, memory_order_release);
	return fn_likely(plain);
}

/* It is not: of the n events that libc's epoll_wait() on fd gave, the bell's is taken out, and the bell goes. Gives how many
 * are left; n where it is no count. */
fn_cold int fn_plain_over(int fd, const struct fn_file *f, struct epoll_event *ev, int n);
/* The calling thread is the sleeper of the set fd from now on, if there has never been one. */
fn_cold bool fn_plain_take(int fd);
/* What is left of a timeout of ms since `began` (ns). Only where a set has been crossed before does a sleep ask for the time
 * when it begins: 0 is the first time, and then all is left. */
fn_cold int fn_plain_ms_left(uint64_t began, int ms);

/* A handler of the program runs, perhaps in the midst of such a sleep or shortly before it, and need not come back: the
 * thread is not in it meanwhile. Gives what fn_plain_resume() wants when the handler has returned; NULL: nothing. */
fn_inline struct fn_file *fn_plain_pause(void)
{
	struct fn_thread *t = fn_thread_self();
	struct fn_file *f = atomic_load_explicit(&t->plain, memory_order_relaxed);

	if (fn_unlikely(f))
		atomic_store_explicit(&t->plain, NULL, memory_order_relaxed);
	return f;
}
fn_cold void fn_plain_resume(struct fn_file *f);

/* The guarded sleep, and what epoll_wait() gives; the calling thread sleeps unguarded next time if nobody else does. f is
 * an epoll file that was plain a moment ago. 0 where it has gone live, too. */
fn_cold int fn_plain_wait(struct fn_file *f, int epfd, struct epoll_event *ev, int max, const struct timespec *ts,
			  const sigset_t *mask);

/* Take the bell's event out of n of f's, n < 0 is an error; p NULL: f is no set any more. Whether there is a bell is no
 * question: it may have gone since the kernel was asked. */
fn_inline int fn_plain_sift(const struct fn_plain *p, struct epoll_event *ev, int n)
{
	int kept = 0;

	if (n <= 0 || fn_unlikely(!p))
		return n;
	for (int i = 0; i < n; i++) {
		if (fn_unlikely(ev[i].data.ptr == &p->bell))
			continue;
		if (fn_unlikely(kept != i))
			ev[kept] = ev[i];
		kept++;
	}
	return kept;
}

/* ---- with the engine locked; epfd is a number of f's, or -1 ---- */

/* f goes live, after its plain_set has been cleared: whoever sleeps comes up. */
void fn_plain_ring(struct fn_file *f, int epfd);
/* Does nobody need the bell any more? Then it has gone, or was not there. */
bool fn_plain_settle(struct fn_file *f, int epfd);
/* Has the kernel's half of the set an event, but for the bell's? */
bool fn_plain_readable(struct fn_file *f, int epfd);

#endif
