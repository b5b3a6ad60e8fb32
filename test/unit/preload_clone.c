/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * vfork, clone and their calls by number: who is a member, who shares memory and must touch nothing of the parent's, who is
 * refused.
 */
#include <criterion/criterion.h>
#include <errno.h>
#include <fcntl.h>
#include <linux/sched.h>
#include <poll.h>
#include <sched.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/mman.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

#include "test/unit/preload.h"

static int fd, peer;
static struct double_state *d;
static volatile int shared;
static char stack[65536] __attribute__((aligned(16)));
#define STACK_TOP (stack + sizeof(stack))

static void setup(void)
{
	fd = double_file(&peer);
	cr_assert_geq(fd, 0);
}
TestSuite(preload_clone, .init = setup, .timeout = 20);

extern int __clone(int (*fn)(void *), void *stack, int flags, void *arg, ...);

/* Not by waitpid(), which is a call of the library's too. */
static int status_of(pid_t pid)
{
	int status = -1;

	cr_assert_eq(syscall(SYS_wait4, pid, &status, __WALL, NULL), pid, "%d: %s", pid, strerror(errno));
	return WIFEXITED(status) ? WEXITSTATUS(status) : -1;
}

static void caught(int sig)
{
	shared += 100;
}

static void parents_handler(int sig)
{
}

/* What children do between vfork and exec; nobody else may notice. In other words: everything that has an effect. */
static void busy_child(void)
{
	struct sigaction act = { .sa_handler = caught }, old;
	struct pollfd p = { .fd = fd, .events = POLLOUT };
	char c = 'x';

	shared = 1;
	sigaction(SIGUSR1, &act, &old);
	shared += old.sa_handler == parents_handler ? 10 : 0;
	raise(SIGUSR1);			/* 111 */
	signal(SIGSEGV, SIG_DFL);
	poll(&p, 1, 0);
	(void)!write(fd, &c, 1);
	fcntl(fd, F_SETFD, 0);
	dup2(fd, 0);
	dup3(peer, fd, O_CLOEXEC);
	close(fd);
	syscall(SYS_close, fd);
	close_range(100, 200, 0);
	closefrom(200);
	syscall(SYS_socket, AF_INET, SOCK_STREAM, 0);
	epoll_create1(0);
	(void)!setuid(getuid());
	(void)!chdir("/");
}

static void expect_untouched(pid_t pid, int status, const char *how)
{
	struct sigaction act;
	char c = 0;

	cr_expect_eq(shared, 111, "%s: memory is shared, and the parent's handler seen (%d)", how, shared);
	cr_expect_eq(status_of(pid), status, "%s", how);
	cr_expect_eq(d->calls, 0, "%s: %s", how, d->log);
	cr_expect_eq(double_refs(fd), 1, "%s", how);
	cr_expect_eq(read(peer, &c, 1), 1, "%s", how);
	cr_expect_eq(c, 'x', "%s: what the child wrote went to the kernel's socket", how);
	sigaction(SIGUSR1, NULL, &act);
	cr_expect(act.sa_handler == parents_handler, "%s", how);
	shared = 0;
	raise(SIGUSR1);
	cr_expect_eq(shared, 0, "%s: the parent has its own handler", how);
	/* and acts on its table again */
	d = double_returns(7);
	cr_expect_eq(write(fd, "abc", 3), 7, "%s", how);
	d = double_returns(0);
	d->may_share = true;
}

static void *become_sh(void *arg)
{
	char *argv[] = { "sh", "-c", "exit 9", NULL };

	execv("/bin/sh", argv);
	_exit(99);
}

#define child_of(how)					\
	({						\
		pid_t pid_ = (pid_t)(how);		\
		if (!pid_) {				\
			busy_child();			\
			become_sh(NULL);		\
		}					\
		pid_;					\
	})

Test(preload_clone, a_child_that_shares_memory_touches_nothing)
{
	struct clone_args args = { .flags = CLONE_VM | CLONE_VFORK, .exit_signal = SIGCHLD };
	pid_t pid;

	signal(SIGUSR1, parents_handler);
	d = double_returns(0);
	d->may_share = true;
	pid = child_of(vfork());
	expect_untouched(pid, 9, "vfork");
	pid = child_of(syscall(SYS_vfork));
	expect_untouched(pid, 9, "SYS_vfork");
	pid = child_of(syscall(SYS_clone, CLONE_VM | CLONE_VFORK | SIGCHLD, NULL, NULL, NULL, NULL));
	expect_untouched(pid, 9, "SYS_clone");
	pid = child_of(syscall(SYS_clone3, &args, sizeof(args)));
	expect_untouched(pid, 9, "SYS_clone3");
}

static int busy_main(void *arg)
{
	busy_child();
	return *(int *)arg;
}

Test(preload_clone, so_does_one_on_a_stack_of_its_own)
{
	int status = 5;
	pid_t pid;

	signal(SIGUSR1, parents_handler);
	d = double_returns(0);
	d->may_share = true;
	pid = clone(busy_main, STACK_TOP, CLONE_VM | CLONE_VFORK | SIGCHLD, &status);
	expect_untouched(pid, 5, "clone");
}

/* A child of a child; and the middle one goes on as bare as before. */
Test(preload_clone, one_within_the_other)
{
	volatile int seen = 0;
	pid_t pid;

	d = double_returns(0);
	d->may_share = true;
	pid = vfork();
	if (!pid) {
		pid_t inner = vfork();

		if (!inner) {
			close(fd);
			_exit(3);
		}
		seen = status_of(inner);
		close(fd);
		_exit(4);
	}
	cr_expect_eq(status_of(pid), 4);
	cr_expect_eq(seen, 3);
	cr_expect_eq(d->calls, 0, "%s", d->log);
	cr_expect_eq(close(fd), 0);
	cr_expect_str_eq(d->log, "fd_close ");
}

/* One that cannot exec, and ends: neither is the end of the parent. */
Test(preload_clone, a_failed_exec_and_the_end_are_the_childs_own)
{
	pid_t pid;

	d = double_returns(0);
	d->may_share = true;
	pid = vfork();
	if (!pid) {
		execl("/bin/sh/no", "no", NULL);
		execlp("nonexistent", "no", NULL);
		_exit(errno == ENOENT ? 6 : 7);
	}
	cr_expect_eq(status_of(pid), 6);
	cr_expect_eq(d->calls, 0, "%s", d->log);
	errno = 0;
	cr_expect_eq(syscall(SYS_clone, CLONE_VM | CLONE_VFORK | CLONE_NEWNS | CLONE_FS, NULL, NULL, NULL, NULL), -1);
	cr_expect_eq(errno, EINVAL, "a clone that fails leaves the parent as it was");
	cr_expect_eq(close(fd), 0);
	cr_expect_str_eq(d->log, "fd_close ");
}

/* ---- copies ---- */

static int copy_says(void)
{
	return strcmp(d->log, "fork_prepare clone_child ") ? 2 : 1;
}

static int copy_main(void *arg)
{
	return copy_says() + *(int *)arg;
}

static void expect_member(pid_t pid, int status, const char *how)
{
	cr_expect_str_eq(d->log, "fork_prepare fork_parent fork_done ", "%s", how);
	cr_expect_eq(d->arg[0], pid, "%s", how);
	cr_expect_eq(status_of(pid), status, "%s", how);
	cr_expect_neq(shared, 2, "%s: a copy", how);
	d = double_returns(0);
}

#define copy_of(how)					\
	({						\
		pid_t pid_ = (pid_t)(how);		\
		if (!pid_) {				\
			shared = 2;			\
			_exit(copy_says());		\
		}					\
		pid_;					\
	})

Test(preload_clone, a_copy_is_a_member)
{
	struct clone_args args = { .exit_signal = SIGCHLD };
	int add = 20;
	pid_t pid;

	shared = 0;
	d = double_returns(0);
	pid = copy_of(syscall(SYS_clone, SIGCHLD, NULL, NULL, NULL, NULL));
	expect_member(pid, 1, "SYS_clone");
	pid = copy_of(syscall(SYS_clone3, &args, sizeof(args)));
	expect_member(pid, 1, "SYS_clone3");
	pid = clone(copy_main, STACK_TOP, SIGCHLD, &add);
	expect_member(pid, 21, "clone");
	pid = clone(copy_main, STACK_TOP, 0, &add);
	expect_member(pid, 21, "clone without a signal");
	pid = __clone(copy_main, STACK_TOP, SIGCHLD, &add);
	expect_member(pid, 21, "__clone");
}

/* While something is accelerated, for it may pass a connection on. */
Test(preload_clone, what_would_share_memory_is_a_copy)
{
	struct clone_args args = { .flags = CLONE_VM | CLONE_VFORK, .exit_signal = SIGCHLD };
	int add = 30;
	pid_t pid;

	shared = 0;
	d = double_returns(0);
	pid = copy_of(syscall(SYS_clone, CLONE_VM | CLONE_VFORK | CLONE_SIGHAND | SIGCHLD, NULL, NULL, NULL, NULL));
	expect_member(pid, 1, "SYS_clone");
	pid = copy_of(syscall(SYS_clone3, &args, sizeof(args)));
	expect_member(pid, 1, "SYS_clone3");
	cr_expect_eq(args.flags, CLONE_VM | CLONE_VFORK, "the program's own are left alone");
	pid = clone(copy_main, STACK_TOP, CLONE_VM | CLONE_VFORK | SIGCHLD, &add);
	expect_member(pid, 31, "clone");
	pid = vfork();
	if (!pid)
		_exit(strcmp(d->log, "fork_prepare fork_child ") ? 2 : 1);
	expect_member(pid, 1, "vfork");
	pid = (pid_t)syscall(SYS_vfork);
	if (!pid)
		_exit(strcmp(d->log, "fork_prepare fork_child ") ? 2 : 1);
	expect_member(pid, 1, "SYS_vfork");
}

/* A copy with a stack of its own by number begins with what lies there; our stub must not care how it is aligned. */
static void on_own_stack(void)
{
	_exit(copy_says() + 40);
}

Test(preload_clone, a_copy_on_a_stack_of_its_own)
{
	void **top = (void **)(STACK_TOP - 64);
	pid_t pid;

	*top = (void *)on_own_stack;
	d = double_returns(0);
	pid = (pid_t)syscall(SYS_clone, SIGCHLD, top, NULL, NULL, NULL);
	expect_member(pid, 41, "SYS_clone");
}

/* ---- what cannot be told apart ---- */

static int no_main(void *arg)
{
	return 0;
}

Test(preload_clone, what_shares_half_of_it_is_refused)
{
	const long refused[] = { CLONE_VM, CLONE_VM | CLONE_FILES, CLONE_FILES, CLONE_VM | CLONE_VFORK | CLONE_FILES,
				 CLONE_SETTLS, CLONE_VM | CLONE_SETTLS };

	for (size_t i = 0; i < sizeof(refused) / sizeof(refused[0]); i++) {
		d = double_returns(-EPERM);
		errno = 0;
		cr_expect_eq(clone(no_main, STACK_TOP, (int)refused[i] | SIGCHLD, NULL, NULL, NULL, NULL), -1);
		cr_expect_eq(errno, EPERM);
		cr_expect_str_eq(d->log, "retire ", "%zu", i);
		d = double_returns(-EPERM);
		cr_expect_eq(syscall(SYS_clone, refused[i] | SIGCHLD, STACK_TOP, NULL, NULL, NULL), -1);
		cr_expect_eq(errno, EPERM);
		cr_expect_str_eq(d->log, "retire ", "%zu", i);
	}
	d = double_returns(0);
	cr_expect_eq(status_of(clone(no_main, STACK_TOP, CLONE_FILES | SIGCHLD, NULL)), 0, "granted");
	cr_expect_str_eq(d->log, "retire ");
}

Test(preload_clone, a_bad_argument_is_the_kernels_to_refuse)
{
	d = double_returns(0);
	cr_expect_eq(syscall(SYS_clone3, stack, 8L), -1);
	cr_expect_eq(errno, EINVAL);
	cr_expect_eq(clone(NULL, STACK_TOP, SIGCHLD, NULL), -1);
	cr_expect_eq(errno, EINVAL);
	cr_expect_eq(clone(no_main, NULL, SIGCHLD, NULL), -1);
	cr_expect_eq(errno, EINVAL);
	cr_expect_eq(d->calls, 0);
}
