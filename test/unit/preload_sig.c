/* SPDX-License-Identifier: BSD-3-Clause */
/* Signal handlers behind the trampoline: what they get, what sigaction() says of them, and that the shim hears first. */
#include <criterion/criterion.h>
#include <errno.h>
#include <signal.h>
#include <string.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

#include "test/unit/preload.h"

/* siginterrupt() is deprecated, but there. */
#pragma GCC diagnostic ignored "-Wdeprecated-declarations"

static struct double_state *d;
static volatile int got_sig, got_value, got_code, told_before;
static void *volatile got_context;

static void plain(int sig)
{
	got_sig = sig;
	told_before = (int)d->signals;
}

static void other(int sig)
{
	got_sig = -sig;
}

static void leaves_with_told(int sig)
{
	_exit((int)d->signals);
}

static void info(int sig, siginfo_t *si, void *context)
{
	got_sig = sig;
	got_value = si->si_value.sival_int;
	got_code = si->si_code;
	got_context = context;
}

static void setup(void)
{
	d = double_returns(0);
}
TestSuite(preload_sig, .init = setup);

static struct sigaction set(int sig, void (*handler)(int), int flags)
{
	struct sigaction act = { .sa_handler = handler, .sa_flags = flags }, old;

	cr_assert_eq(sigaction(sig, &act, &old), 0);
	return old;
}

/* What the kernel itself has, past every wrapper: the first word of its struct. */
static uintptr_t kernel_handler(int sig)
{
	struct { uintptr_t handler; unsigned long flags, restorer, mask; } act;
	register long size __asm__("r10") = 8;
	long ret;

	__asm__ volatile("syscall" : "=a" (ret) : "a" (SYS_rt_sigaction), "D" ((long)sig), "S" (NULL), "d" (&act), "r" (size)
			 : "rcx", "r11", "memory");
	cr_assert_eq(ret, 0);
	return act.handler;
}

Test(preload_sig, the_shim_hears_before_the_handler)
{
	set(SIGUSR1, plain, 0);
	raise(SIGUSR1);
	cr_expect_eq(got_sig, SIGUSR1);
	cr_expect_eq(told_before, 1);
	cr_expect_eq(d->last_signal, SIGUSR1);
}

Test(preload_sig, siginfo_and_context_arrive)
{
	struct sigaction act = { .sa_sigaction = info, .sa_flags = SA_SIGINFO };

	cr_assert_eq(sigaction(SIGRTMIN, &act, NULL), 0);
	cr_assert_eq(sigqueue(getpid(), SIGRTMIN, (union sigval){ .sival_int = 42 }), 0);
	cr_expect_eq(got_sig, SIGRTMIN);
	cr_expect_eq(got_value, 42);
	cr_expect_eq(got_code, SI_QUEUE);
	cr_expect_not_null(got_context);
	cr_expect_eq(d->signals, 1);
}

Test(preload_sig, the_program_gets_its_own_handler_back)
{
	struct sigaction old, again, act = { .sa_sigaction = info, .sa_flags = SA_SIGINFO | SA_RESTART };

	sigaddset(&act.sa_mask, SIGALRM);
	set(SIGUSR1, plain, SA_NODEFER);
	cr_expect_neq(kernel_handler(SIGUSR1), (uintptr_t)plain, "the kernel has the trampoline");
	cr_assert_eq(sigaction(SIGUSR1, &act, &old), 0);
	cr_expect_eq(old.sa_handler, plain);
	cr_expect_eq(old.sa_flags & SA_NODEFER, SA_NODEFER);
	cr_assert_eq(sigaction(SIGUSR1, NULL, &again), 0);
	cr_expect_eq(again.sa_sigaction, info);
	cr_expect_eq(again.sa_flags & (SA_SIGINFO | SA_RESTART), SA_SIGINFO | SA_RESTART);
	cr_expect(sigismember(&again.sa_mask, SIGALRM));
	/* what a program does that puts back what it found */
	cr_assert_eq(sigaction(SIGUSR1, &old, NULL), 0);
	raise(SIGUSR1);
	cr_expect_eq(told_before, 1);
}

Test(preload_sig, in_and_out_may_be_one_struct)
{
	struct sigaction act = { .sa_handler = other }, *volatile same = &act;

	set(SIGUSR1, plain, 0);
	cr_assert_eq(sigaction(SIGUSR1, same, &act), 0);
	cr_expect_eq(act.sa_handler, plain);
	raise(SIGUSR1);
	cr_expect_eq(got_sig, -SIGUSR1);
}

Test(preload_sig, default_and_ignore_go_straight_to_the_kernel)
{
	set(SIGUSR1, plain, 0);
	cr_expect_eq(set(SIGUSR1, SIG_IGN, 0).sa_handler, plain);
	cr_expect_eq(kernel_handler(SIGUSR1), (uintptr_t)SIG_IGN);
	raise(SIGUSR1);
	cr_expect_eq(got_sig, 0);
	cr_expect_eq(set(SIGUSR1, SIG_DFL, 0).sa_handler, SIG_IGN);
	cr_expect_eq(kernel_handler(SIGUSR1), (uintptr_t)SIG_DFL);
}

Test(preload_sig, a_failed_change_leaves_the_handler)
{
	struct sigaction act = { .sa_handler = plain };

	cr_expect_eq(sigaction(SIGKILL, &act, NULL), -1);
	cr_expect_eq(errno, EINVAL);
	cr_expect_eq(sigaction(0, &act, NULL), -1);
	cr_expect_eq(sigaction(65, &act, NULL), -1);
	cr_expect_eq(signal(SIGKILL, plain), SIG_ERR);
}

/* The double says of none that it is one of the library's own (shim/fault.c). */
Test(preload_sig, faults_run_at_once_and_what_is_sent_is_asked_about)
{
	volatile int zero = 0;
	pid_t pid;
	int status;

	set(SIGFPE, plain, 0);
	cr_expect_neq(kernel_handler(SIGFPE), (uintptr_t)plain, "the kernel has the trampoline");
	raise(SIGFPE);
	cr_expect_eq(got_sig, SIGFPE);
	cr_expect_eq(told_before, 1);
	cr_expect_eq(d->last_signal, SIGFPE);
	pid = fork();
	if (!pid) {
		signal(SIGFPE, leaves_with_told);
		zero = 7 / zero;
		_exit(9);
	}
	waitpid(pid, &status, 0);
	cr_expect_eq(WEXITSTATUS(status), 1, "the fault itself was not asked about");
}

Test(preload_sig, flags_of_fault_handlers_are_the_programs)
{
	struct sigaction old;

	for (int k = 0; k < 2; k++) {
		set(SIGSEGV, plain, k ? (int)SA_RESETHAND : SA_RESTART);
		cr_assert_eq(sigaction(SIGSEGV, NULL, &old), 0);
		cr_expect_eq(old.sa_handler, plain);
		cr_expect_eq(old.sa_flags & (SA_SIGINFO | (int)SA_RESETHAND | SA_RESTART), k ? (int)SA_RESETHAND : SA_RESTART);
	}
	raise(SIGSEGV);
	cr_expect_eq(got_sig, SIGSEGV);
	cr_assert_eq(sigaction(SIGSEGV, NULL, &old), 0);
	cr_expect_eq(old.sa_handler, SIG_DFL);
	cr_expect_eq(old.sa_flags & SA_SIGINFO, 0);
	cr_expect_eq(signal(SIGTRAP, plain), SIG_DFL);
	cr_assert_eq(sigaction(SIGTRAP, NULL, &old), 0);
	cr_expect_eq(old.sa_flags & (SA_SIGINFO | SA_RESTART), SA_RESTART);
	cr_expect(sigismember(&old.sa_mask, SIGTRAP));
	cr_expect_eq(siginterrupt(SIGTRAP, 1), 0);
	cr_expect_eq(signal(SIGTRAP, other), plain);
	cr_assert_eq(sigaction(SIGTRAP, NULL, &old), 0);
	cr_expect_eq(old.sa_flags & SA_RESTART, 0, "as siginterrupt() wants it");
	raise(SIGTRAP);
	cr_expect_eq(got_sig, -SIGTRAP);
}

Test(preload_sig, inert_means_untouched)
{
	double_active(false);
	set(SIGUSR1, plain, 0);
	cr_expect_eq(kernel_handler(SIGUSR1), (uintptr_t)plain);
}

Test(preload_sig, restart_is_known)
{
	set(SIGUSR1, plain, SA_RESTART);
	cr_expect(double_restarts(SIGUSR1));
	set(SIGUSR1, plain, 0);
	cr_expect_not(double_restarts(SIGUSR1));
	signal(SIGUSR1, plain);
	cr_expect(double_restarts(SIGUSR1), "signal() is BSD's");
	cr_assert_eq(siginterrupt(SIGUSR1, 1), 0);
	cr_expect_not(double_restarts(SIGUSR1));
	signal(SIGUSR1, plain);
	cr_expect_not(double_restarts(SIGUSR1), "and remembers siginterrupt()");
	set(SIGRTMAX, plain, SA_RESTART);
	cr_expect(double_restarts(SIGRTMAX));
}

Test(preload_sig, signal_and_kin_give_the_old_handler)
{
	cr_expect_eq(signal(SIGUSR1, plain), SIG_DFL);
	cr_expect_eq(signal(SIGUSR1, other), plain);
	cr_expect_eq(ssignal(SIGUSR1, plain), other);
	cr_expect_eq(sysv_signal(SIGUSR1, other), plain);
	raise(SIGUSR1);
	cr_expect_eq(got_sig, -SIGUSR1);
	cr_expect_eq(d->signals, 1);
	cr_expect_eq(kernel_handler(SIGUSR1), (uintptr_t)SIG_DFL, "System V's fires once");
	cr_expect_eq(signal(SIGUSR1, SIG_IGN), SIG_DFL);
	cr_expect_eq(signal(SIGUSR1, plain), SIG_IGN);
}

Test(preload_sig, signal_gives_a_siginfo_handler_back_too)
{
	struct sigaction act = { .sa_sigaction = info, .sa_flags = SA_SIGINFO };

	cr_assert_eq(sigaction(SIGUSR1, &act, NULL), 0);
	cr_expect_eq((void *)signal(SIGUSR1, plain), (void *)info);
}

Test(preload_sig, a_one_shot_handler_runs_once)
{
	set(SIGUSR1, plain, (int)SA_RESETHAND);
	raise(SIGUSR1);
	cr_expect_eq(got_sig, SIGUSR1);
	cr_expect_eq(kernel_handler(SIGUSR1), (uintptr_t)SIG_DFL);
}

static void from_handler(int sig)
{
	struct sigaction act = { .sa_handler = plain };

	sigaction(sig, &act, NULL);
}

Test(preload_sig, a_handler_may_change_itself)
{
	set(SIGUSR1, from_handler, 0);
	raise(SIGUSR1);
	raise(SIGUSR1);
	cr_expect_eq(got_sig, SIGUSR1);
	cr_expect_eq(told_before, 2);
}

Test(preload_sig, fork_copies_the_table)
{
	int status;
	pid_t pid;

	set(SIGUSR1, plain, 0);
	pid = fork();
	if (!pid) {
		set(SIGUSR1, other, 0);
		raise(SIGUSR1);
		_exit(got_sig == -SIGUSR1 ? 3 : 4);
	}
	cr_assert_eq(waitpid(pid, &status, 0), pid);
	cr_expect_eq(WEXITSTATUS(status), 3);
	raise(SIGUSR1);
	cr_expect_eq(got_sig, SIGUSR1);
}

/* ---- by number ---- */

extern void restore_frame(void);
__asm__(".text\nrestore_frame: movl $15, %eax\n\tsyscall");	/* rt_sigreturn */

/* The kernel's struct sigaction. */
struct raw {
	void *handler;
	unsigned long flags;
	void (*restorer)(void);
	unsigned long mask;
};
#define RESTORER 0x04000000

#define by_number(act, old)	syscall(SYS_rt_sigaction, SIGUSR1, act, old, 8L)

Test(preload_sig, by_number_too)
{
	struct raw act = { plain, RESTORER, restore_frame, 1ul << (SIGUSR2 - 1) }, old = { 0 };
	struct sigaction now;

	set(SIGUSR1, other, SA_RESTART);
	cr_assert_eq(by_number(&act, &old), 0);
	cr_expect_eq(old.handler, other);
	cr_expect(old.flags & SA_RESTART);
	cr_expect_not(double_restarts(SIGUSR1));
	raise(SIGUSR1);
	cr_expect_eq(got_sig, SIGUSR1);
	cr_expect_eq(told_before, 1, "the shim heard first");
	cr_assert_eq(sigaction(SIGUSR1, NULL, &now), 0);
	cr_expect_eq(now.sa_handler, plain);
	cr_expect(sigismember(&now.sa_mask, SIGUSR2));
	act = (struct raw){ info, RESTORER | SA_SIGINFO | SA_RESETHAND | SA_RESTART, restore_frame, 0 };
	cr_assert_eq(by_number(&act, NULL), 0);
	cr_expect(double_restarts(SIGUSR1));
	cr_assert_eq(by_number(NULL, &old), 0);
	cr_expect_eq(old.handler, info);
	cr_expect(old.flags & SA_RESETHAND);
	cr_expect_eq(old.restorer, restore_frame);
	raise(SIGUSR1);
	cr_expect_eq(got_code, SI_TKILL);
	cr_expect_eq(kernel_handler(SIGUSR1), (uintptr_t)SIG_DFL, "once");
}

Test(preload_sig, what_the_kernel_refuses_by_number_changes_nothing)
{
	struct raw act = { plain, RESTORER, restore_frame, 0 };

	set(SIGUSR1, other, 0);
	cr_expect_eq(syscall(SYS_rt_sigaction, SIGUSR1, &act, NULL, 16L), -1);
	cr_expect_eq(errno, EINVAL);
	cr_expect_eq(syscall(SYS_rt_sigaction, SIGKILL, &act, NULL, 8L), -1);
	cr_expect_eq(errno, EINVAL);
	cr_expect_eq(syscall(SYS_rt_sigaction, 99, &act, NULL, 8L), -1);
	cr_expect_eq(errno, EINVAL);
	raise(SIGUSR1);
	cr_expect_eq(got_sig, -SIGUSR1);
}
