/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * Signals and cancellation, at the edges of the library. A handler that is about to run in the midst of a call of ours is
 * put off: the signal goes back to the thread's queue with its siginfo, and the context that the kernel will restore
 * blocks all but faults (one of those that somebody has sent is kept here). When the call is left the old mask is set, and
 * the kernel delivers the signal as if it had come just then. Async-signal-safe throughout; makes system calls only when a
 * signal or a cancellation is about.
 */
#include "shim/signal.h"

#include <errno.h>
#include <pthread.h>
#include <string.h>
#include <ucontext.h>

#include "shim/shim.h"
#include "shim/sys.h"
#include "shim/wait.h"

__thread struct fn_guard fn_this_guard = { .pending = FN_PEND_NEW };
struct fn_signal_ops fn_signal_ops;

#define BIT(sig)	(1ull << ((sig) - 1))
/* Faults are taken where they happen; 32 and 33 are libc's own (cancellation, set*id), whose handlers touch nothing. */
#define NEVER_BLOCKED	(BIT(SIGSEGV) | BIT(SIGBUS) | BIT(SIGILL) | BIT(SIGFPE) | BIT(SIGTRAP) | BIT(SIGSYS) | \
			 BIT(32) | BIT(33))

static void note(uint32_t what)
{
	atomic_fetch_or_explicit(&fn_this_guard.pending, (uint8_t)what, memory_order_relaxed);
}

static void unnote(uint32_t what)
{
	atomic_fetch_and_explicit(&fn_this_guard.pending, (uint8_t)~what, memory_order_relaxed);
}

static bool pending(uint32_t what)
{
	return atomic_load_explicit(&fn_this_guard.pending, memory_order_relaxed) & what;
}

static void set_mask(uint64_t mask)
{
	fn_sys(SYS_rt_sigprocmask, SIG_SETMASK, &mask, NULL, FN_SIGSET_SIZE);
}

/* ---- signals ---- */

/* Back to the queue; without its siginfo where a full queue or a seccomp filter refuses. */
static void put_back(int sig, siginfo_t *info)
{
	long pid = fn_sys(SYS_getpid, 0), tid = fn_sys(SYS_gettid, 0);

	if (fn_sys(SYS_rt_tgsigqueueinfo, pid, tid, sig, info) < 0)
		fn_sys(SYS_tgkill, pid, tid, sig);
}

bool fn_shim_signal(int sig, siginfo_t *info, void *context)
{
	struct fn_guard *g = &fn_this_guard;
	ucontext_t *uc = context;
	uint64_t all = ~NEVER_BLOCKED;

	if (fn_likely(!g->depth))
		return false;
	/* with SA_NODEFER it would come again at once */
	set_mask(all);
	/* Of several at once the kernel runs the last one's handler first, and one may come in the midst of another's: what
	 * the first one says stands in the end, as it decides in the kernel (handle_signal, arch/x86/kernel/signal.c). */
	memcpy(&g->mask, &uc->uc_sigmask, sizeof(g->mask));
	g->restart = fn_signal_ops.restarts && fn_signal_ops.restarts(sig);
	put_back(sig, info);
	memcpy(&uc->uc_sigmask, &all, sizeof(all));
	note(FN_PEND_SIGNAL);
	/* a sleep that is about to begin must not: the kernel reads this very timespec (wait.c) */
	fn_thread_self()->sleep = (struct timespec){ 0, 0 };
	return true;
}

/* ---- faults that were sent ---- */

/* They cannot be blocked meanwhile: a true one would end the process. Once each, as they are pending in the kernel. */
static const int faults[] = { SIGILL, SIGTRAP, SIGBUS, SIGFPE, SIGSEGV, SIGSYS };
static __thread struct {
	_Atomic(unsigned) which;	/* bits of .info */
	siginfo_t info[fn_array_size(faults)];
} sent;

bool fn_shim_sent_fault(int sig, const siginfo_t *info, void *context)
{
	struct fn_guard *g = &fn_this_guard;
	const ucontext_t *uc = context;
	uint64_t mask, all = ~NEVER_BLOCKED;
	unsigned i = 0;

	if (fn_likely(!g->depth))
		return false;
	while (faults[i] != sig)
		i++;
	set_mask(all);
	memcpy(&mask, &uc->uc_sigmask, sizeof(mask));
	/* after one that was put back all are blocked, and the mask is known */
	if (!pending(FN_PEND_SIGNAL) || mask != all) {
		memcpy(&g->mask, &mask, sizeof(g->mask));
		g->restart = fn_signal_ops.restarts && fn_signal_ops.restarts(sig);
	}
	if (!(sent.which & 1u << i))
		sent.info[i] = *info;
	sent.which |= 1u << i;
	note(FN_PEND_SIGNAL);
	fn_thread_self()->sleep = (struct timespec){ 0, 0 };
	return true;
}

/* Into the queue, when nothing of ours is in progress and their handlers may run. */
static fn_cold void queue_sent(void)
{
	set_mask(~0ull);
	for (unsigned i = 0; i < fn_array_size(faults); i++)
		if (sent.which & 1u << i)
			put_back(faults[i], &sent.info[i]);
	sent.which = 0;
}

void fn_guard_fork_child(void)
{
	sent.which = 0;
}

void fn_guard_mask_later(const sigset_t *saved)
{
	struct fn_guard *g = &fn_this_guard;

	if (!pending(FN_PEND_SIGNAL)) {		/* a cancellation that turned out to be none */
		fn_guard_mask_now(saved);
		return;
	}
	memcpy(&g->mask_after, saved, sizeof(g->mask_after));
	g->masked = true;
}

void fn_guard_mask_now(const sigset_t *saved)
{
	fn_sys(SYS_rt_sigprocmask, SIG_SETMASK, saved, NULL, FN_SIGSET_SIZE);
	/* what was put back under the other mask comes again, or waits until the program's mask lets it in */
	memcpy(&fn_this_guard.mask, saved, sizeof(fn_this_guard.mask));
}

void fn_guard_mask_back(const sigset_t *saved)
{
	/* what was put back in between saw all blocked */
	memcpy(&fn_this_guard.mask, saved, sizeof(fn_this_guard.mask));
	if (!pending(FN_PEND_SIGNAL))
		fn_sys(SYS_rt_sigprocmask, SIG_SETMASK, saved, NULL, FN_SIGSET_SIZE);
}

bool fn_guard_unseen_ends(void)
{
	struct fn_kernel_action act;

	for (int sig = 1; sig < NSIG; sig++) {
		if (sig == FN_SIGCANCEL || sig == FN_SIGCANCEL + 1 ||
		    fn_sys(SYS_rt_sigaction, sig, NULL, &act, FN_SIGSET_SIZE) < 0)
			continue;
		if (!(act.flags & SA_RESTART) && fn_signal_ops.unseen && fn_signal_ops.unseen(act.handler))
			return true;
	}
	return false;
}

/* The handlers run when the old mask is set. They may leave for good: nothing of ours is expected after that. */
static void deliver(void)
{
	struct fn_guard *g = &fn_this_guard;
	uint64_t mask = g->mask, after = g->mask_after;
	bool masked = g->masked;

	g->masked = false;
	unnote(FN_PEND_SIGNAL);
	if (fn_unlikely(sent.which))
		queue_sent();
	set_mask(mask);
	if (masked)
		set_mask(after);
}

/* ---- cancellation ---- */

static bool cancel_enabled(void)
{
	int old = PTHREAD_CANCEL_DISABLE;

	pthread_setcancelstate(PTHREAD_CANCEL_DISABLE, &old);
	if (old != PTHREAD_CANCEL_DISABLE)
		pthread_setcancelstate(old, NULL);
	return old == PTHREAD_CANCEL_ENABLE;
}

/* The thread ends here if it has been cancelled. Disabled: stays noted for a later point. */
static void cancel_point(void)
{
	if (!pending(FN_PEND_CANCEL) || !cancel_enabled())
		return;
	unnote(FN_PEND_CANCEL);
	pthread_testcancel();
}

bool fn_guard_interrupts(void)
{
	return pending(FN_PEND_SIGNAL) || (pending(FN_PEND_CANCEL) && cancel_enabled());
}

/* ---- the edges of a call ---- */

void fn_guard_enter_slow(bool point)
{
	if (fn_this_guard.depth)
		return;
	if (pending(FN_PEND_NEW)) {
		unnote(FN_PEND_NEW);
		/* who cancelled it before it was known could not tell it */
		note(FN_PEND_CANCEL);
		/* a lock is held there: no handler runs */
		fn_this_guard.depth++;
		atomic_signal_fence(memory_order_seq_cst);
		fn_thread_register();
		atomic_signal_fence(memory_order_seq_cst);
		fn_this_guard.depth--;
	}
	if (point)
		cancel_point();
	if (pending(FN_PEND_ASYNC))
		fn_signal_ops.canceltype(PTHREAD_CANCEL_DEFERRED, NULL);
}

long fn_guard_finish(long ret)
{
	bool again = ret == -FN_RESTART, restart = !pending(FN_PEND_SIGNAL) || fn_this_guard.restart;

	/* before the handlers, for they need not come back; nothing is held any more */
	if (pending(FN_PEND_ASYNC))
		fn_signal_ops.canceltype(PTHREAD_CANCEL_ASYNCHRONOUS, NULL);
	if (pending(FN_PEND_SIGNAL))
		deliver();
	if (again)
		cancel_point();
	return again && !restart ? -EINTR : ret;
}
