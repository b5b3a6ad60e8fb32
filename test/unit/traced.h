/* SPDX-License-Identifier: BSD-3-Clause */
/* A child that stands still where its system calls begin and end, to be killed there. */
#ifndef TRACED_H
#define TRACED_H

#include <signal.h>
#include <stdbool.h>
#include <stdlib.h>
#include <sys/prctl.h>
#include <sys/ptrace.h>
#include <sys/wait.h>
#include <unistd.h>

/* The child that calls run(), stopped in front of it; -1: nobody may be traced here. */
static pid_t traced_child(void (*run)(void))
{
	int status;
	pid_t pid = fork();

	if (!pid) {
		prctl(PR_SET_PDEATHSIG, SIGKILL);
		if (ptrace(PTRACE_TRACEME, 0, NULL, NULL))
			_exit(77);
		raise(SIGSTOP);
		run();
		_exit(0);
	}
	if (pid < 0 || waitpid(pid, &status, 0) != pid)
		abort();
	return WIFSTOPPED(status) ? pid : -1;
}

/* On to where its next system call begins, or the one that it is in ends; without waiting for it. */
static void traced_go_on(pid_t pid)
{
	if (ptrace(PTRACE_SYSCALL, pid, NULL, NULL))
		abort();
}

/* False: it has ended instead. */
static bool traced_stops(pid_t pid)
{
	int status;

	if (waitpid(pid, &status, 0) != pid)
		abort();
	return WIFSTOPPED(status);
}

#endif
