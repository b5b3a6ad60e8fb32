/* SPDX-License-Identifier: BSD-3-Clause */
/* syscall() by number, fork and exec, privileges, the end of a process, cancellation. */
#include <criterion/criterion.h>
#include <errno.h>
#include <fcntl.h>
#include <grp.h>
#include <linux/close_range.h>
#include <poll.h>
#include <pthread.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <sys/select.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

#include "test/unit/preload.h"

static char buf[64];
static int fd, peer;
static struct double_state *d;

static void setup(void)
{
	fd = double_file(&peer);
	cr_assert_geq(fd, 0);
	errno = 0;
}
TestSuite(preload_proc, .init = setup);

#define L(x) ((long)(x))

/* ---- syscall() ---- */

/* libuv closes its sockets so. */
Test(preload_proc, calls_by_number_reach_the_wrappers)
{
	struct sockaddr addr;
	socklen_t len = 16;

	d = double_returns(4);
	cr_expect_eq(syscall(SYS_read, fd, buf, 10), 4);
	cr_expect_str_eq(d->op, "recv");
	cr_expect_eq(d->iov.iov_len, 10);
	cr_expect_eq(syscall(SYS_accept4, fd, &addr, &len, SOCK_CLOEXEC), 4);
	cr_expect_str_eq(d->op, "accept");
	cr_expect_eq(d->arg[3], SOCK_CLOEXEC);
	cr_expect_eq(syscall(SYS_fcntl, fd, F_SETFL, O_NONBLOCK), 4);
	cr_expect_eq(d->arg[2], O_NONBLOCK);
	cr_expect_eq(syscall(SYS_socket, AF_INET, SOCK_STREAM, 0), 4);
	cr_expect_str_eq(d->op, "socket");
	d = double_returns(-EPIPE);
	cr_expect_eq(syscall(SYS_write, fd, buf, 10), -1);
	cr_expect_eq(errno, EPIPE);
	d = double_returns(0);
	cr_expect_eq(syscall(SYS_close, fd), 0);
	cr_expect_str_eq(d->op, "fd_close");
}

Test(preload_proc, six_arguments_arrive)
{
	char to[16] = "any name";
	socklen_t len = sizeof(to);
	int file = memfd_create("pages", MFD_CLOEXEC);
	char *p;

	d = double_returns(9);
	cr_expect_eq(syscall(SYS_sendto, fd, buf, 33, MSG_MORE, to, sizeof(to)), 9);
	cr_expect_str_eq(d->op, "sendmsg");
	cr_expect_eq(d->iov.iov_len, 33);
	cr_expect_eq(d->flags, MSG_MORE);
	cr_expect(!memcmp(d->copied, to, sizeof(to)));
	cr_expect_eq(d->msg.msg_namelen, sizeof(to));
	d->namelen = 5;
	cr_expect_eq(syscall(SYS_recvfrom, fd, buf, 33, 0, to, &len), 9);
	cr_expect_eq(len, 5);
	/* and on the kernel's way: the second page, not the first; a long, for an int's upper half may be anything */
	cr_assert_eq(pwrite(file, "second", 6, 4096), 6);
	p = (char *)syscall(SYS_mmap, NULL, 4096, PROT_READ, MAP_PRIVATE, file, 4096L);
	cr_assert_neq(p, MAP_FAILED);
	cr_expect_str_eq(p, "second");
}

Test(preload_proc, other_numbers_go_straight_to_the_kernel)
{
	d = double_returns(0);
	cr_expect_eq(syscall(SYS_getpid), getpid());
	cr_expect_eq(syscall(SYS_write, peer, "abc", 3), 3);
	cr_expect_eq(syscall(SYS_dup, 12345), -1);
	cr_expect_eq(errno, EBADF);
	cr_expect_eq(syscall(SYS_getpriority, -1, 0), -1);
	cr_expect_eq(errno, EINVAL);
	errno = 0;
	cr_expect_eq(syscall(100000), -1);
	cr_expect_eq(errno, ENOSYS);
	errno = 0;
	cr_expect_eq(syscall(-1L), -1);
	cr_expect_eq(errno, ENOSYS);
	cr_expect_eq(d->calls, 0);
}

Test(preload_proc, raw_waits_write_the_time_left_and_widen_the_mask)
{
	struct { const uint64_t *mask; size_t size; } sigs;
	struct timespec ts = { .tv_sec = 5 };
	struct pollfd p = { .fd = fd };
	uint64_t mask = 1ULL << (SIGUSR2 - 1);

	sigs.mask = &mask;
	sigs.size = sizeof(mask);
	d = double_returns(1);
	d->takes = 2000000000;
	cr_expect_eq(syscall(SYS_ppoll, &p, 1, &ts, &mask, sizeof(mask)), 1);
	cr_expect_str_eq(d->op, "poll");
	cr_expect_eq(ts.tv_sec, 3);
	cr_expect(sigismember(&d->mask, SIGUSR2));
	cr_expect_not(sigismember(&d->mask, SIGUSR1));
	cr_expect_not(sigismember(&d->mask, 64));
	cr_expect_eq(syscall(SYS_pselect6, fd + 1, buf, NULL, NULL, &ts, &sigs), 1);
	cr_expect_str_eq(d->op, "select");
	cr_expect_eq(ts.tv_sec, 1);
	cr_expect(sigismember(&d->mask, SIGUSR2));
	cr_expect_eq(syscall(SYS_epoll_pwait, fd, buf, 1, 10, NULL, 8), 1);
	cr_expect_str_eq(d->op, "epoll_wait");
	cr_expect_not(d->has_mask);
	cr_expect_eq(syscall(SYS_ppoll, &p, 1, &ts, &mask, 3L), -1);
	cr_expect_eq(errno, EINVAL, "the kernel's word on another size");
}

/* ---- privileges ---- */

#define expect_told(expr)					\
	do {							\
		d = double_returns(0);				\
		(void)!(expr);					\
		cr_expect_str_eq(d->log, "privileges ", #expr);	\
	} while (0)

Test(preload_proc, the_shim_hears_before_privileges_go)
{
	uid_t uid = getuid();
	gid_t gid = getgid();

	expect_told(setgid(gid));
	expect_told(setegid(gid));
	expect_told(setregid(gid, gid));
	expect_told(setresgid(gid, gid, gid));
	expect_told(setgroups(0, NULL));
	expect_told(initgroups("root", 0));
	expect_told(chroot("/"));
	expect_told(setuid(uid));
	expect_told(seteuid(uid));
	expect_told(setreuid(uid, uid));
	expect_told(setresuid(uid, uid, uid));
	expect_told(syscall(SYS_setresuid, uid, uid, uid));
	expect_told(prctl(PR_SET_SECCOMP, 99, NULL));
	expect_told(syscall(SYS_prctl, PR_CAPBSET_DROP, 1000));
	cr_expect_eq(getuid(), uid);
}

Test(preload_proc, namespaces_change_while_the_process_is_alone)
{
	d = double_returns(0);
	cr_expect_eq(unshare(-1), -1);
	cr_expect_eq(errno, EINVAL);
	cr_expect_str_eq(d->log, "alone together ");
	d = double_returns(0);
	cr_expect_eq(syscall(SYS_setns, -1, 0), -1);
	cr_expect_eq(errno, EBADF);
	cr_expect_str_eq(d->log, "alone together ");
}

#define ABOVE_ALL	1000000U	/* above all numbers there are */

Test(preload_proc, a_thread_gets_descriptors_of_its_own_only_where_the_shim_says_so)
{
	const int granted[] = { CLONE_FILES, CLONE_FILES | CLONE_FS, CLONE_FILES | CLONE_SYSVSEM };

	d = double_returns(-EPERM);
	cr_expect_eq(unshare(CLONE_FILES), -1);
	cr_expect_eq(errno, EPERM);
	cr_expect_str_eq(d->log, "own_files together ");
	d = double_returns(-EPERM);
	cr_expect_eq(syscall(SYS_close_range, ABOVE_ALL, ABOVE_ALL, CLOSE_RANGE_UNSHARE), -1);
	cr_expect_eq(errno, EPERM);
	cr_expect_str_eq(d->log, "own_files together ");
	for (size_t i = 0; i < sizeof(granted) / sizeof(*granted); i++) {
		d = double_returns(0);
		cr_expect_eq(unshare(granted[i]), 0);
		cr_expect_str_eq(d->log, "own_files alone together ");
	}
	d = double_returns(0);
	cr_expect_eq(close_range(ABOVE_ALL, ABOVE_ALL, CLOSE_RANGE_UNSHARE), 0);
	cr_expect_str_eq(d->log, "own_files fd_close_range together ");
}

Test(preload_proc, what_gives_nobody_descriptors_of_his_own_is_not_asked_about)
{
	d = double_returns(0);
	cr_expect_eq(unshare(CLONE_FS), 0);
	cr_expect_str_eq(d->log, "alone together ");
	d = double_returns(0);
	cr_expect_eq(close_range(2, 1, CLOSE_RANGE_UNSHARE), 0, "the double's answer");
	cr_expect_eq(close_range(ABOVE_ALL, ABOVE_ALL, CLOSE_RANGE_UNSHARE | 0x100), 0, "likewise");
	cr_expect_eq(close_range(ABOVE_ALL, ABOVE_ALL, 0), 0);
	cr_expect_str_eq(d->log, "fd_close_range fd_close_range fd_close_range ");
}

Test(preload_proc, there_is_no_io_uring_where_sockets_may_be_accelerated)
{
	d = double_returns(0);
	cr_expect_eq(syscall(SYS_io_uring_setup, 1, NULL), -1);
	cr_expect_eq(errno, ENOSYS);
	double_active(false);
	cr_expect_eq(syscall(SYS_io_uring_setup, 1, NULL), -1);
	cr_expect_neq(errno, ENOSYS, "the kernel's answer");
	double_active(true);
}

Test(preload_proc, other_prctls_do_not_concern_it)
{
	d = double_returns(0);
	cr_expect_eq(prctl(PR_SET_NAME, "renamed"), 0);
	cr_expect_eq(prctl(PR_GET_NAME, buf), 0);
	cr_expect_str_eq(buf, "renamed");
	cr_expect_eq(d->calls, 0);
}

/* ---- fork ---- */

static int status_of(pid_t pid)
{
	int status = -1;

	cr_assert_eq(waitpid(pid, &status, 0), pid);
	return WIFEXITED(status) ? WEXITSTATUS(status) : -1;
}

/* 1 where the child saw prepare and child, in this order. */
static void child_says(void)
{
	_exit(!strcmp(d->log, "fork_prepare fork_child "));
}

Test(preload_proc, every_fork_runs_the_hooks)
{
	pid_t (*const forks[])(void) = { fork, vfork, _Fork };

	for (size_t i = 0; i < 3; i++) {
		pid_t pid;

		d = double_returns(0);
		pid = forks[i]();
		if (!pid)
			child_says();
		cr_expect_str_eq(d->log, "fork_prepare fork_parent fork_done ", "%zu", i);
		cr_expect_eq(d->arg[0], pid);
		cr_expect_eq(status_of(pid), 1, "%zu", i);
	}
}

extern pid_t __wait(int *status);
extern pid_t __waitpid(pid_t pid, int *status, int options);

/* 0: the child has been waited for. */
static int reap(unsigned how, pid_t pid)
{
	struct rusage use;
	siginfo_t info;
	int status;

	switch (how) {
	case 0:
		return wait(&status) != pid;
	case 1:
		return wait3(&status, 0, &use) != pid;
	case 2:
		return wait4(pid, &status, 0, &use) != pid;
	case 3:
		return waitpid(pid, &status, 0) != pid;
	case 4:
		return __wait(&status) != pid;
	case 5:
		return __waitpid(pid, &status, 0) != pid;
	default:
		return waitid(P_PID, (id_t)pid, &info, WEXITED);
	}
}

Test(preload_proc, who_has_waited_for_a_child_looks_what_it_had)
{
	int status;

	for (unsigned how = 0; how < 7; how++) {
		pid_t pid = fork();

		if (!pid) {
			pause();
			_exit(0);
		}
		d = double_returns(0);
		cr_expect_eq(waitpid(pid, &status, WNOHANG), 0);
		cr_expect_str_eq(d->log, "", "%u", how);
		kill(pid, SIGKILL);
		cr_expect_eq(reap(how, pid), 0, "%u", how);
		cr_expect_str_eq(d->log, "reaped ", "%u", how);
	}
}

Test(preload_proc, inert_vfork_is_the_real_one)
{
	volatile int shared = 1;
	pid_t pid;

	double_active(false);
	d = double_returns(0);
	pid = vfork();
	if (!pid) {
		shared = 2;
		_exit(5);
	}
	cr_expect_eq(shared, 2, "the child shares memory");
	cr_expect_eq(status_of(pid), 5);
	cr_expect_eq(d->calls, 0);
}

/* ---- exec ---- */

/* Run one of the family in a child that passes `exec` and the environment on; its exit status. */
#define exec_status(call)							\
	({									\
		pid_t pid_ = fork();						\
		if (!pid_) {							\
			d = double_returns(0);					\
			d->exit_fd = -1;					\
			if (call)						\
				_exit(!strcmp(d->log, "exec exec_failed ") ? 100 : \
				      !strcmp(d->log, "exec_failed ") ? 101 : 102); \
		}								\
		status_of(pid_);						\
	})

Test(preload_proc, exec_passes_everything_on)
{
	char *argv[] = { "sh", "-c", "exit $X", NULL }, *envp[] = { "X=42", NULL };
	int sh = open("/bin/sh", O_PATH);

	setenv("X", "41", 1);
	cr_expect_eq(exec_status(execve("/bin/sh", argv, envp)), 42);
	cr_expect_eq(exec_status(execv("/bin/sh", argv)), 41);
	cr_expect_eq(exec_status(execvp("sh", argv)), 41);
	cr_expect_eq(exec_status(execvpe("sh", argv, envp)), 42);
	cr_expect_eq(exec_status(fexecve(sh, argv, envp)), 42);
	cr_expect_eq(exec_status(execveat(sh, "", argv, envp, AT_EMPTY_PATH)), 42);
	cr_expect_eq(exec_status(execl("/bin/sh", "sh", "-c", "exit $X", NULL)), 41);
	cr_expect_eq(exec_status(execlp("sh", "sh", "-c", "exit $X", NULL)), 41);
	cr_expect_eq(exec_status(execle("/bin/sh", "sh", "-c", "exit $#$X", "a", "b", "c", "d", "e", "f", NULL, envp)),
		     (542) & 255);
	cr_expect_eq(exec_status(syscall(SYS_execve, "/bin/sh", argv, envp)), 42);
}

/* An exec that cannot succeed is none: a program that looks for its file in one folder after the other gives nothing up. */
Test(preload_proc, the_shim_hears_before_exec_and_of_its_failure)
{
	char *argv[] = { "x", NULL }, name[] = "/tmp/fastnet-exec.XXXXXX";
	int garbage = mkstemp(name);

	cr_assert_geq(garbage, 0);
	cr_assert_eq(write(garbage, "\1\2\3", 3), 3);
	cr_assert_eq(fchmod(garbage, 0755), 0);
	close(garbage);
	cr_expect_eq(exec_status(execve(name, argv, argv)), 100);
	cr_expect_eq(exec_status(execl(name, "x", NULL)), 100);
	cr_expect_eq(exec_status(syscall(SYS_execve, name, argv, argv)), 100);
	unlink(name);
	cr_expect_eq(exec_status(execve("/nonexistent", argv, argv)), 101);
	cr_expect_eq(exec_status(execve("/tmp", argv, argv)), 101);
	cr_expect_eq(exec_status(execvp("nonexistent", argv)), 101);
	cr_expect_eq(exec_status(execl("/nonexistent", "x", NULL)), 101);
	cr_expect_eq(exec_status(syscall(SYS_execve, "/nonexistent", argv, argv)), 101);
}

/* ---- the end ---- */

static int end_fd;

static void say_a(void)
{
	cr_assert_eq(write(end_fd, "a", 1), 1);
}

/* What a child wrote on its way out: a by its own handler, x by the shim. */
static const char *ends(void (*end)(int))
{
	static char said[8];
	int pipes[2];
	ssize_t n;
	pid_t pid;

	cr_assert_eq(pipe(pipes), 0);
	pid = fork();
	if (!pid) {
		end_fd = pipes[1];
		d = double_returns(0);
		d->exit_fd = pipes[1];
		atexit(say_a);
		at_quick_exit(say_a);
		end(3);
	}
	cr_expect_eq(status_of(pid), 3);
	n = read(pipes[0], said, sizeof(said) - 1);
	said[n < 0 ? 0 : n] = 0;
	close(pipes[0]);
	close(pipes[1]);
	return said;
}

static void exit_group(int status)
{
	syscall(SYS_exit_group, status);
}

Test(preload_proc, the_shim_drains_after_the_programs_own_handlers)
{
	cr_expect_str_eq(ends(exit), "ax");
	cr_expect_str_eq(ends(quick_exit), "ax");
	cr_expect_str_eq(ends(_exit), "x");
	cr_expect_str_eq(ends(_Exit), "x");
	cr_expect_str_eq(ends(exit_group), "x");
}

/* ---- cancellation ---- */

static void *blocked(void *arg)
{
	ssize_t n = read(*(int *)arg, buf, 1);

	return (void *)(n + 100);
}

static void *canceled(int number)
{
	pthread_t t;
	void *ret;

	cr_assert_eq(pthread_create(&t, NULL, blocked, &number), 0);
	cr_assert_eq(pthread_cancel(t), 0);
	cr_assert_eq(pthread_join(t, &ret), 0);
	return ret;
}

/* Both reads block in the kernel until they are cancelled; a lost cancellation hangs the test. */
Test(preload_proc, kernel_calls_are_cancellation_points, .timeout = 10)
{
	d = double_returns(DOUBLE_TO_KERNEL);
	cr_expect_eq(canceled(peer), PTHREAD_CANCELED);
	cr_expect_eq(canceled(fd), PTHREAD_CANCELED);
	cr_expect_eq(double_refs(fd), 1, "no reference is lost");
}
