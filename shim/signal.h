/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * A call into the library is to a signal what a system call is: handlers of the program run at its end, when no lock, no
 * reference and no place in a list is held, so that they may call whatever they like and need not come back. What comes
 * earlier goes back to the kernel's queue (signal.c). The same end, and the beginning, are where a thread is cancelled.
 */
#ifndef FN_SIGNAL_H
#define FN_SIGNAL_H

#include <signal.h>
#include <stdatomic.h>
#include <stdbool.h>
#include <stdint.h>

#include "stack/compiler.h"

/* What an operation returns, negated, when a handler must run and then the call begin anew if that handler has
 * SA_RESTART (the kernel's ERESTARTSYS, include/linux/errno.h). Never leaves the library. */
#define FN_RESTART	512

/* What libc keeps for pthread_cancel() (SIGCANCEL, sysdeps/unix/sysv/linux/internal-signals.h). */
#define FN_SIGCANCEL	32

/* Why a call's beginning or end must look closer. */
enum {
	FN_PEND_NEW	= 1,		/* the thread's first call */
	FN_PEND_SIGNAL	= 2,		/* a signal was put back, and all are blocked */
	FN_PEND_CANCEL	= 4,		/* somebody has cancelled the thread */
	FN_PEND_ASYNC	= 8,		/* its cancellation is asynchronous, outside our calls */
};

/* One in each thread. The first five are the hot path's. */
struct fn_guard {
	uint32_t depth;			/* calls in progress: 0 in the program's own code, more when libc's code calls us */
	_Atomic(uint8_t) pending;	/* FN_PEND_*; CANCEL is set by others */
	bool hold;			/* what it sends may wait for its next wait: these four are wait.h's */
	uint8_t brisk;			/* waits in a row for which it was back soon, FN_BRISK_ROUNDS at most */
	uint8_t closing;		/* waits left of the FN_BRISK_ROUNDS since it closed a connection */
	bool looked;			/* the quick half of epoll_wait() has found nothing, the slow one follows */
	uint64_t woke;			/* ns: when its last wait gave it events */
	uint64_t mask;			/* SIGNAL: the mask that was in force */
	uint64_t mask_after;		/* that of before a call that brought one of its own */
	bool masked;			/* .mask_after counts */
	bool restart;			/* SIGNAL: it has SA_RESTART */
	uint8_t bare;			/* > 0: the parent of a child that shares memory (vfork), or that child: preload/clone.c */
	int bare_pid;			/* that parent */
};
extern __thread struct fn_guard fn_this_guard;

/* The cold halves of what follows. */
fn_cold void fn_guard_enter_slow(bool point);
fn_cold long fn_guard_finish(long ret);

/* A plain read, which the compiler makes one with the compare; the fences around it keep it where it stands. */
fn_inline bool fn_guard_pending(void)
{
	return fn_unlikely(*(const uint8_t *)&fn_this_guard.pending);
}

/* A call begins. `point`: it is a cancellation point (POSIX 2.9.5.2), and nothing has happened yet. */
fn_inline void fn_guard_enter(bool point)
{
	atomic_signal_fence(memory_order_seq_cst);
	if (fn_guard_pending())
		fn_guard_enter_slow(point);
	fn_this_guard.depth++;
	atomic_signal_fence(memory_order_seq_cst);
}

/* A call ends, with nothing held any more; true: fn_guard_finish() has something to do. */
fn_inline bool fn_guard_leave(void)
{
	atomic_signal_fence(memory_order_seq_cst);
	if (fn_unlikely(--fn_this_guard.depth))
		return false;
	atomic_signal_fence(memory_order_seq_cst);
	return fn_guard_pending();
}

/* A call that has succeeded ends. */
fn_inline long fn_guard_left(long ret)
{
	return fn_unlikely(fn_guard_leave()) ? fn_guard_finish(ret) : ret;
}

/*
 * long fn_guard_finish(long ret): handlers that are due run, the thread ends if it has been cancelled. Gives what the
 * call returns: ret; -EINTR; or -FN_RESTART, the call begins anew, which no caller of ours must see.
 */

/* Does something await the thread that ends a wait? */
fn_cold bool fn_guard_interrupts(void);
fn_inline bool fn_guard_interrupted(void)
{
	return fn_unlikely(atomic_load_explicit(&fn_this_guard.pending, memory_order_relaxed)) && fn_guard_interrupts();
}

/* Is it a signal? */
fn_inline bool fn_guard_signalled(void)
{
	return atomic_load_explicit(&fn_this_guard.pending, memory_order_relaxed) & FN_PEND_SIGNAL;
}

/* A wait with a mask of its own, in force since, is over and has been interrupted: handlers run under that mask, and
 * `saved` is set after them. */
void fn_guard_mask_later(const sigset_t *saved);
/* Likewise, not interrupted: set `saved` now. */
void fn_guard_mask_now(const sigset_t *saved);
/* All signals were blocked, with no handler due: `saved` is in force again, at the end of the call if one is due by now. */
void fn_guard_mask_back(const sigset_t *saved);
/* A sleep has ended with EINTR though no handler is due: one that was set past us (by the raw system call) has run. Would a
 * call that begins anew after handlers with SA_RESTART end? True if any such handler lacks it: which it was nobody tells. */
bool fn_guard_unseen_ends(void);

/* In a forked child: what was put off is the parent's. */
void fn_guard_fork_child(void);

/* ---- threads (thread.c) ---- */
/* The calling thread is known from now on, until it ends; a bell that it gets is closed then. */
void fn_thread_register(void);
/* The list over fork: whole, and in the child without the others. */
void fn_threads_fork_prepare(void);
void fn_threads_fork_parent(void);
void fn_threads_fork_child(void);

/* The kernel's struct sigaction (asm/signal.h). */
struct fn_kernel_action {
	uintptr_t handler;
	unsigned long flags;
	uintptr_t restorer;
	uint64_t mask;
};

/* ---- set by preload/, which wraps the calls. Async-signal-safe. ---- */
struct fn_signal_ops {
	bool (*restarts)(int sig);			/* has its handler SA_RESTART? */
	int (*canceltype)(int type, int *old);		/* libc's pthread_setcanceltype() */
	bool (*handles)(int sig);			/* has it ever had a handler that we have seen? */
	bool (*unseen)(uintptr_t handler);		/* is that, as the kernel has it, the program's own? */
};
extern struct fn_signal_ops fn_signal_ops;

#endif
