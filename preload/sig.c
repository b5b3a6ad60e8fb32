/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * Signal handlers of the program run behind a trampoline of ours, which tells the shim first: a handler that ran while a
 * wait was spinning must end it. The kernel holds the trampoline, the table here the program's handler, and
 * sigaction(…, old) gives the program its own back. Flags and masks stay the kernel's.
 *
 * No lock: a handler may call sigaction(), and the trampoline reads one word. SIG_DFL and SIG_IGN go straight to the
 * kernel and leave the table alone. A table a process, copied by fork as the kernel copies its own; exec resets both.
 * Faults are not our business: nobody waits in one, and Java and Go live on them. Raw rt_sigaction is not seen.
 */
#include <stdatomic.h>

#include "preload/guard.h"
#include "preload/sig.h"

typedef void info_handler(int sig, siginfo_t *info, void *context);

/*
 * By the form in which the kernel calls the handler. Two columns, for between our word and the kernel's change a signal
 * may come in the old form, and must find a handler of that form.
 */
enum { PLAIN, INFO };
static _Atomic(uintptr_t) handlers[NSIG][2];
/* One bit a signal: its handler was set with SA_RESTART. */
static _Atomic(uint64_t) restarts;

static const uint64_t faults = 1ULL << SIGSEGV | 1ULL << SIGBUS | 1ULL << SIGILL | 1ULL << SIGFPE | 1ULL << SIGTRAP |
			       1ULL << SIGSYS;

/* The kernel passes three arguments in both forms, and the handler that wants one ignores two. */
static void plain_trampoline(int sig, siginfo_t *info, void *context)
{
	fn_shim_signal(sig);
	/* pairs with the exchange in table_set() */
	((info_handler *)atomic_load_explicit(&handlers[sig][PLAIN], memory_order_acquire))(sig, info, context);
}

static void info_trampoline(int sig, siginfo_t *info, void *context)
{
	fn_shim_signal(sig);
	/* pairs with the exchange in table_set() */
	((info_handler *)atomic_load_explicit(&handlers[sig][INFO], memory_order_acquire))(sig, info, context);
}

static bool concerned(int sig)
{
	return fn_shim_active && sig > 0 && sig < NSIG && !(faults >> (sig & 63) & 1);
}

/* A function of the program, not one of the magic values, nor a trampoline read out of the kernel by raw means. */
static bool is_function(uintptr_t h)
{
	return h > (uintptr_t)SIG_HOLD && h != (uintptr_t)SIG_ERR && h != (uintptr_t)plain_trampoline &&
	       h != (uintptr_t)info_trampoline;
}

/* What stood in the table when a call began; restored when the call fails. */
struct before {
	uintptr_t handler[2];
};

static struct before table_get(int sig)
{
	return (struct before){ {
		atomic_load_explicit(&handlers[sig][PLAIN], memory_order_relaxed),
		atomic_load_explicit(&handlers[sig][INFO], memory_order_relaxed),
	} };
}

static void table_set(int sig, int form, uintptr_t handler)
{
	/* pairs with the load in the trampoline: the program's data for this handler is visible there */
	atomic_exchange_explicit(&handlers[sig][form], handler, memory_order_acq_rel);
}

/* The program's own handler for what the kernel said. */
static uintptr_t reveal(const struct before *b, uintptr_t h)
{
	if (h == (uintptr_t)plain_trampoline)
		return b->handler[PLAIN];
	return h == (uintptr_t)info_trampoline ? b->handler[INFO] : h;
}

static void note_restart(int sig, int flags)
{
	uint64_t bit = 1ULL << (sig & 63);

	if (flags & SA_RESTART)
		atomic_fetch_or_explicit(&restarts, bit, memory_order_relaxed);
	else
		atomic_fetch_and_explicit(&restarts, ~bit, memory_order_relaxed);
}

bool fn_sig_restart(int sig)
{
	return atomic_load_explicit(&restarts, memory_order_relaxed) >> (sig & 63) & 1;
}

int fn_wrap_sigaction(int sig, const struct sigaction *act, struct sigaction *old)
{
	struct before before;
	struct sigaction ours;
	int form = PLAIN, ret;

	if (!concerned(sig))
		return fn_real.sigaction(sig, act, old);
	before = table_get(sig);
	if (act && is_function((uintptr_t)act->sa_handler)) {
		form = act->sa_flags & SA_SIGINFO ? INFO : PLAIN;
		table_set(sig, form, (uintptr_t)act->sa_handler);
		ours = *act;
		ours.sa_sigaction = form == INFO ? info_trampoline : plain_trampoline;
		act = &ours;
	}
	ret = fn_real.sigaction(sig, act, old);
	if (act == &ours) {
		if (ret < 0)
			table_set(sig, form, before.handler[form]);
		else
			note_restart(sig, ours.sa_flags);
	}
	if (!ret && old)
		old->sa_handler = (fn_sighandler *)reveal(&before, (uintptr_t)old->sa_handler);
	return ret;
}
fn_alias(__sigaction, sigaction);

/* Which flags signal() and its kin choose is libc's affair (siginterrupt): ask afterwards. */
static void ask_restart(int sig)
{
	struct sigaction now;

	if (!fn_real.sigaction(sig, NULL, &now))
		note_restart(sig, now.sa_flags);
}

/* The functions that take a handler alone. */
static fn_sighandler *set_handler(fn_sighandler *(*next)(int, fn_sighandler *), int sig, fn_sighandler *handler)
{
	bool function = is_function((uintptr_t)handler);
	struct before before;
	fn_sighandler *old;

	if (!concerned(sig))
		return next(sig, handler);
	before = table_get(sig);
	if (function)
		table_set(sig, PLAIN, (uintptr_t)handler);
	old = next(sig, function ? (fn_sighandler *)(uintptr_t)plain_trampoline : handler);
	if (function && old == SIG_ERR)
		table_set(sig, PLAIN, before.handler[PLAIN]);
	else if (function)
		ask_restart(sig);
	return (fn_sighandler *)reveal(&before, (uintptr_t)old);
}

fn_sighandler *fn_wrap_signal(int sig, fn_sighandler *handler)
{
	return set_handler(fn_real.signal, sig, handler);
}
fn_alias(bsd_signal, signal);
fn_alias(ssignal, signal);

fn_sighandler *fn_wrap_sysv_signal(int sig, fn_sighandler *handler)
{
	return set_handler(fn_real.sysv_signal, sig, handler);
}
fn_alias(__sysv_signal, sysv_signal);

fn_sighandler *fn_wrap_sigset(int sig, fn_sighandler *handler)
{
	return set_handler(fn_real.sigset, sig, handler);
}

int fn_wrap_siginterrupt(int sig, int interrupt)
{
	int ret = fn_real.siginterrupt(sig, interrupt);

	if (!ret && concerned(sig))
		ask_restart(sig);
	return ret;
}
