/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * Signal handlers of the program run behind a trampoline of ours, which asks the shim first: in the midst of a call of
 * ours a handler must wait (shim/signal.c). The kernel holds the trampoline, the table here the program's handler, and
 * sigaction(…, old) gives the program its own back. Flags and masks stay the kernel's, but for SA_RESETHAND: a signal that
 * is put off arrives twice, so the handler is reset here, when it runs.
 *
 * No lock: a handler may call sigaction(), and the trampoline reads one word. SIG_DFL and SIG_IGN go straight to the
 * kernel and leave the table alone. A table a process, copied by fork as the kernel copies its own; exec resets both.
 * Faults are not deferred: nobody waits in one, and Java and Go live on them. But one that somebody has sent is no fault; so
 * for their signals the kernel always has SA_SIGINFO, which tells. The trampoline also sees to it that a bad pointer given to
 * one of our calls is EFAULT (shim/fault.c); where the program has no handler, shim/crash.c's reports a SIGSEGV or SIGBUS. rt_sigaction by a system call of the program's own
 * (Go) is not seen: such a handler runs at once, in the midst of a call of ours too.
 */
#include <stdatomic.h>
#include <string.h>

#include "preload/guard.h"
#include "preload/sig.h"
#include "shim/crash.h"
#include "shim/fault.h"
#include "shim/plain.h"
#include "stack/user.h"

typedef void info_handler(int sig, siginfo_t *info, void *context);

/*
 * By the form in which the kernel calls the handler. Two columns, for between our word and the kernel's change a signal
 * may come in the old form, and must find a handler of that form.
 */
enum { PLAIN, INFO };
static _Atomic(uintptr_t) handlers[NSIG][2];
/* One bit a signal: its handler was set with SA_RESTART, with SA_RESETHAND; siginterrupt() is on. */
static _Atomic(uint64_t) restarts, oneshots, interrupts;

#define BIT(sig)	(1ULL << ((sig) & 63))
/* Raised by bad pointers. */
#define POINTERS	(BIT(SIGSEGV) | BIT(SIGBUS))
#define FAULTS		(POINTERS | BIT(SIGILL) | BIT(SIGFPE) | BIT(SIGTRAP) | BIT(SIGSYS))
/* What cannot be caught; and 32, 33, which are libc's own and EINVAL to everybody else. */
#define NOT_OURS	(BIT(SIGKILL) | BIT(SIGSTOP) | BIT(32) | BIT(33))

static bool is_set(_Atomic(uint64_t) *bits, int sig)
{
	return atomic_load_explicit(bits, memory_order_relaxed) & BIT(sig);
}

static void set_bit(_Atomic(uint64_t) *bits, int sig, bool on)
{
	if (on)
		atomic_fetch_or_explicit(bits, BIT(sig), memory_order_relaxed);
	else
		atomic_fetch_and_explicit(bits, ~BIT(sig), memory_order_relaxed);
}

static void known_trampoline(int sig, siginfo_t *info, void *context);

/* As the kernel does before it calls the handler: the disposition changes, flags and mask stay. */
static fn_cold void reset_handler(int sig)
{
	struct sigaction now;

	if (fn_real.sigaction(sig, NULL, &now))
		return;
	if (now.sa_sigaction == known_trampoline)
		now.sa_flags &= ~SA_SIGINFO;
	now.sa_handler = SIG_DFL;
	now.sa_flags |= (int)SA_RESETHAND;
	fn_real.sigaction(sig, &now, NULL);
}

static fn_cold void handle_bare(int form, bool known, int sig, siginfo_t *info, void *context);

/* True: nothing to do for the program's handler, or not now. info NULL: not known. */
static fn_cold bool handled(int sig, siginfo_t *info, void *context)
{
	return fn_fault_mended(sig, info, context) || (info && info->si_code <= 0 && fn_shim_sent_fault(sig, info, context));
}

/* known: the kernel has SA_SIGINFO, whatever the form; without it, it leaves the siginfo as the stack was. */
fn_inline void trampoline(int form, bool known, int sig, siginfo_t *info, void *context)
{
	struct fn_file *plain;
	uintptr_t handler;

	if (fn_unlikely(fn_this_guard.bare)) {
		handle_bare(form, known, sig, info, context);
		return;
	}
	if (fn_unlikely(FAULTS & BIT(sig)) ? handled(sig, known ? info : NULL, context) : fn_shim_signal(sig, info, context))
		return;
	/* pairs with the exchange in table_set() */
	handler = atomic_load_explicit(&handlers[sig][form], memory_order_acquire);
	if (fn_unlikely(is_set(&oneshots, sig))) {
		set_bit(&oneshots, sig, false);
		reset_handler(sig);
	}
	plain = fn_plain_pause();
	((info_handler *)handler)(sig, info, context);
	if (fn_unlikely(plain))
		fn_plain_resume(plain);
}

/* The kernel passes three arguments in both forms, and the handler that wants one ignores two. */
static void plain_trampoline(int sig, siginfo_t *info, void *context)
{
	trampoline(PLAIN, false, sig, info, context);
}

/* For faults. */
static void known_trampoline(int sig, siginfo_t *info, void *context)
{
	trampoline(PLAIN, true, sig, info, context);
}

static void info_trampoline(int sig, siginfo_t *info, void *context)
{
	trampoline(INFO, true, sig, info, context);
}

/*
 * Around a vfork. In the child, which shares the table: a handler runs as it is, and only the kernel is told that it was the
 * last time. In its parent, shortly before or after: as always.
 */
static fn_cold void handle_bare(int form, bool known, int sig, siginfo_t *info, void *context)
{
	struct fn_guard *g = &fn_this_guard;
	uint8_t bare = g->bare;

	if (fn_sys(SYS_getpid, 0) == g->bare_pid) {
		g->bare = 0;
		trampoline(form, known, sig, info, context);
		g->bare = bare;
		return;
	}
	if (is_set(&oneshots, sig))
		reset_handler(sig);
	((info_handler *)atomic_load_explicit(&handlers[sig][form], memory_order_acquire))(sig, info, context);
}

static bool concerned(int sig)
{
	return fn_active() && sig > 0 && sig < NSIG && !(NOT_OURS & BIT(sig));
}

/* A function of the program, not one of the magic values, nor a trampoline read out of the kernel by raw means. */
static bool is_function(uintptr_t h)
{
	return h > (uintptr_t)SIG_HOLD && h != (uintptr_t)SIG_ERR && h != (uintptr_t)plain_trampoline &&
	       h != (uintptr_t)known_trampoline && h != (uintptr_t)info_trampoline;
}

/* What stood in the table when a call began. */
struct before {
	uintptr_t handler[2];
	bool oneshot;
};

static struct before table_get(int sig)
{
	return (struct before){
		.handler[PLAIN] = atomic_load_explicit(&handlers[sig][PLAIN], memory_order_relaxed),
		.handler[INFO] = atomic_load_explicit(&handlers[sig][INFO], memory_order_relaxed),
		.oneshot = is_set(&oneshots, sig),
	};
}

static void table_set(int sig, int form, uintptr_t handler)
{
	/* pairs with the load in the trampoline: the program's data for this handler is visible there */
	atomic_exchange_explicit(&handlers[sig][form], handler, memory_order_acq_rel);
}

/* The program's own handler for what the kernel said. */
static uintptr_t reveal(const struct before *b, uintptr_t h)
{
	if (h == (uintptr_t)plain_trampoline || h == (uintptr_t)known_trampoline)
		return b->handler[PLAIN];
	return h == (uintptr_t)info_trampoline ? b->handler[INFO] : h;
}

/* The flags that go with it, when the kernel has those and `h`. */
static unsigned long reveal_flags(const struct before *b, uintptr_t h, unsigned long flags)
{
	if (h == (uintptr_t)known_trampoline)
		flags &= ~(unsigned long)SA_SIGINFO;
	return b->oneshot && reveal(b, h) != h ? flags | SA_RESETHAND : flags;
}

static void reveal_action(const struct before *b, struct sigaction *old)
{
	uintptr_t was = (uintptr_t)old->sa_handler;

	old->sa_handler = (fn_sighandler *)reveal(b, was);
	old->sa_flags = (int)reveal_flags(b, was, (unsigned)old->sa_flags);
}

bool fn_sig_restart(int sig)
{
	return is_set(&restarts, sig);
}

bool fn_sig_handles(int sig)
{
	struct before now = table_get(sig);

	return now.handler[PLAIN] || now.handler[INFO];
}

bool fn_sig_unseen(uintptr_t handler)
{
	return is_function(handler) && !fn_crash_handles(handler);
}

/* The table gets a handler with its flags; the trampoline for it, and the flags for the kernel, which is not to reset it. */
static uintptr_t table_take(int sig, uintptr_t handler, unsigned long *flags)
{
	int form = *flags & SA_SIGINFO ? INFO : PLAIN;

	table_set(sig, form, handler);
	set_bit(&restarts, sig, *flags & SA_RESTART);
	set_bit(&oneshots, sig, *flags & SA_RESETHAND);
	*flags &= ~(unsigned long)SA_RESETHAND;
	if (form == INFO)
		return (uintptr_t)info_trampoline;
	if (!(FAULTS & BIT(sig)))
		return (uintptr_t)plain_trampoline;
	*flags |= SA_SIGINFO;
	return (uintptr_t)known_trampoline;
}

/* `act` as the kernel gets it: behind the trampoline. */
static void install(int sig, struct sigaction *act)
{
	unsigned long flags = (unsigned)act->sa_flags;

	act->sa_handler = (fn_sighandler *)table_take(sig, (uintptr_t)act->sa_handler, &flags);
	act->sa_flags = (int)flags;
}

/* The default action of a fault is taken by shim/crash.c, once that is there: the program sees the default. */
static bool is_default(int sig, fn_sighandler *handler)
{
	return POINTERS & BIT(sig) && handler == SIG_DFL && fn_crash_ready();
}

static void hide_crash(struct sigaction *old, int ret)
{
	if (!ret && old && fn_crash_handles((uintptr_t)old->sa_handler))
		*old = (struct sigaction){ .sa_handler = SIG_DFL };
}

int fn_wrap_sigaction(int sig, const struct sigaction *act, struct sigaction *old)
{
	struct before before;
	struct sigaction ours;
	int ret;

	if (!concerned(sig)) {
		ret = fn_real.sigaction(sig, act, old);
		if (!ret && old) {	/* what a child that shares our memory reads */
			before = table_get(sig);
			reveal_action(&before, old);
		}
		hide_crash(old, ret);
		return ret;
	}
	before = table_get(sig);
	if (act && (is_function((uintptr_t)act->sa_handler) || is_default(sig, act->sa_handler))) {
		ours = is_default(sig, act->sa_handler) ? fn_crash_action() : *act;
		install(sig, &ours);
		act = &ours;
	}
	ret = fn_real.sigaction(sig, act, old);
	if (!ret && old)
		reveal_action(&before, old);
	hide_crash(old, ret);
	return ret;
}
fn_alias(__sigaction, sigaction);

static long rt_sigaction(int sig, const struct fn_kernel_action *act, struct fn_kernel_action *old)
{
	return fn_sys(SYS_rt_sigaction, sig, act, old, FN_SIGSET_SIZE);
}

/* `old` as the program is to see it. */
static void reveal_raw(const struct before *b, struct fn_kernel_action *old)
{
	uintptr_t was = old->handler;

	old->handler = reveal(b, was);
	old->flags = reveal_flags(b, was, old->flags);
	if (fn_crash_handles(old->handler))
		*old = (struct fn_kernel_action){ 0 };
}

/* The default action of a fault is set by libc's function, which has a restorer for it. */
static long raw_default(int sig, struct fn_kernel_action *old)
{
	struct sigaction dfl = { .sa_handler = SIG_DFL };
	long ret = rt_sigaction(sig, NULL, old);

	return ret < 0 ? ret : fn_wrap_sigaction(sig, &dfl, NULL);
}

long fn_sig_raw(int sig, const struct fn_kernel_action *act, struct fn_kernel_action *old, size_t size)
{
	struct fn_kernel_action set, was;
	struct before before;
	long ret;

	if (!concerned(sig) || size != FN_SIGSET_SIZE)
		return fn_errno(fn_sys(SYS_rt_sigaction, sig, act, old, size));
	if (act && fn_user_get(&set, act, sizeof(set)))
		return fn_errno(-EFAULT);
	before = table_get(sig);
	if (act && is_function(set.handler))
		set.handler = table_take(sig, set.handler, &set.flags);
	ret = act && is_default(sig, (fn_sighandler *)set.handler) ? raw_default(sig, &was) :
								      rt_sigaction(sig, act ? &set : NULL, &was);
	if (ret < 0)
		return fn_errno(ret);
	reveal_raw(&before, &was);
	return fn_errno(old ? fn_user_put(old, &was, sizeof(was)) : 0);
}

/* Which flags signal() and its kin choose is libc's affair (siginterrupt): ask afterwards. */
static void ask_restart(int sig)
{
	struct sigaction now;

	if (!fn_real.sigaction(sig, NULL, &now))
		set_bit(&restarts, sig, now.sa_flags & SA_RESTART);
}

/* The functions that take a handler alone. */
static fn_sighandler *set_handler(fn_sighandler *(*next)(int, fn_sighandler *), int sig, fn_sighandler *handler)
{
	bool function = is_function((uintptr_t)handler);
	struct before before;
	fn_sighandler *old;

	if (!concerned(sig)) {
		old = next(sig, handler);
		if (old != SIG_ERR) {
			before = table_get(sig);
			old = (fn_sighandler *)reveal(&before, (uintptr_t)old);
		}
		return fn_crash_handles((uintptr_t)old) ? SIG_DFL : old;
	}
	if (is_default(sig, handler)) {
		struct sigaction dfl = { .sa_handler = SIG_DFL }, was;

		return fn_wrap_sigaction(sig, &dfl, &was) ? SIG_ERR : was.sa_handler;
	}
	before = table_get(sig);
	if (function) {
		table_set(sig, PLAIN, (uintptr_t)handler);
		set_bit(&oneshots, sig, false);
	}
	old = next(sig, function ? (fn_sighandler *)(uintptr_t)plain_trampoline : handler);
	if (function)
		ask_restart(sig);
	old = (fn_sighandler *)reveal(&before, (uintptr_t)old);
	return fn_crash_handles((uintptr_t)old) ? SIG_DFL : old;
}

/* For a fault, as libc does it but for SA_SIGINFO, which install() adds (signal/../bsd_signal). */
static fn_sighandler *set_fault(int sig, fn_sighandler *handler)
{
	struct sigaction act = { .sa_handler = handler, .sa_flags = is_set(&interrupts, sig) ? 0 : SA_RESTART }, old;

	sigaddset(&act.sa_mask, sig);
	return fn_wrap_sigaction(sig, &act, &old) ? SIG_ERR : old.sa_handler;
}

fn_sighandler *fn_wrap_signal(int sig, fn_sighandler *handler)
{
	bool fault = concerned(sig) && FAULTS & BIT(sig) && is_function((uintptr_t)handler);

	return fault ? set_fault(sig, handler) : set_handler(fn_real.signal, sig, handler);
}
fn_alias(bsd_signal, signal);
fn_alias(ssignal, signal);

/* System V's: once, nothing blocked, nothing restarted. */
fn_sighandler *fn_wrap_sysv_signal(int sig, fn_sighandler *handler)
{
	struct sigaction act = { .sa_handler = handler, .sa_flags = (int)(SA_RESETHAND | SA_NODEFER) }, old;

	if (!concerned(sig) || handler == SIG_ERR)
		return fn_real.sysv_signal(sig, handler);
	return fn_wrap_sigaction(sig, &act, &old) ? SIG_ERR : old.sa_handler;
}
fn_alias(__sysv_signal, sysv_signal);

fn_sighandler *fn_wrap_sigset(int sig, fn_sighandler *handler)
{
	return set_handler(fn_real.sigset, sig, handler);
}

int fn_wrap_siginterrupt(int sig, int interrupt)
{
	int ret = fn_real.siginterrupt(sig, interrupt);

	if (!ret && sig > 0 && sig < NSIG)
		set_bit(&interrupts, sig, interrupt);
	if (!ret && concerned(sig))
		ask_restart(sig);
	return ret;
}

/* 4.2BSD's, for programs linked long ago: libc exports it without a header (signal.h of 4.3BSD). */
#define SV_ONSTACK	1
#define SV_INTERRUPT	2
#define SV_RESETHAND	4

static const struct { int sv, sa; } sv_flags[] = {
	{ SV_ONSTACK, SA_ONSTACK }, { SV_RESETHAND, (int)SA_RESETHAND },
};

int fn_wrap_sigvec(int sig, const struct fn_sigvec *vec, struct fn_sigvec *old)
{
	struct sigaction act = { 0 }, was;
	unsigned i;
	int ret;

	if (vec) {
		act.sa_handler = vec->handler;
		act.sa_flags = vec->flags & SV_INTERRUPT ? 0 : SA_RESTART;
		memcpy(&act.sa_mask, &vec->mask, sizeof(vec->mask));
		for (i = 0; i < fn_array_size(sv_flags); i++)
			act.sa_flags |= vec->flags & sv_flags[i].sv ? sv_flags[i].sa : 0;
	}
	ret = fn_wrap_sigaction(sig, vec ? &act : NULL, &was);
	if (!ret && old) {
		old->handler = was.sa_handler;
		memcpy(&old->mask, &was.sa_mask, sizeof(old->mask));
		old->flags = was.sa_flags & SA_RESTART ? 0 : SV_INTERRUPT;
		for (i = 0; i < fn_array_size(sv_flags); i++)
			old->flags |= was.sa_flags & sv_flags[i].sa ? sv_flags[i].sv : 0;
	}
	return ret;
}
