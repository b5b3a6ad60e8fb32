/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * A library whose constructor runs before that of the library under test, as those of a program's own libraries do: what
 * it calls must work already, by bare system calls.
 */
#include <errno.h>
#include <poll.h>
#include <signal.h>
#include <sys/epoll.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

#include "test/unit/preload.h"

struct early early;

/* Of the library under test. */
extern struct double_state *double_state(void) __attribute__((weak));
extern bool double_is_active(void) __attribute__((weak));

static void handler(int sig)
{
	early.handler_ran = true;
}

static void use_pipe(void)
{
	struct pollfd p = { .events = POLLIN };
	char c = 0;
	int fds[2];

	if (pipe(fds))
		return;
	early.wrote = write(fds[1], "e", 1);
	p.fd = fds[0];
	early.ready = poll(&p, 1, 0);
	early.got = read(fds[0], &c, 1) == 1 ? c : -1;
	early.closed = close(fds[0]) + close(fds[1]);
	errno = 0;
	if (close(fds[0]) == -1)
		early.bad_errno = errno;
}

static void use_process(void)
{
	struct sigaction act = { .sa_handler = handler };
	int status = -1;
	pid_t pid;

	sigaction(SIGUSR1, &act, NULL);
	raise(SIGUSR1);
	signal(SIGUSR1, SIG_DFL);
	pid = fork();
	if (!pid)
		_exit(7);
	waitpid(pid, &status, 0);
	early.child = WEXITSTATUS(status);
}

__attribute__((constructor)) static void start(void)
{
	use_pipe();
	early.socket = socket(AF_UNIX, SOCK_STREAM, 0);
	early.epoll = epoll_create1(0);
	close(early.socket);
	close(early.epoll);
	early.pid = syscall(SYS_getpid);
	use_process();
	/* the double counts what reaches it: nothing may have */
	early.before_us = double_is_active && !double_is_active() && !double_state()->calls;
}
