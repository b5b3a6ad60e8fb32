/* SPDX-License-Identifier: BSD-3-Clause */
/* A child that stands still where its system calls begin and end, to be killed there. */
#ifndef TRACED_H
#define TRACED_H

#include <signal.h>
#include <stdbool.h>
#include <stdlib.h>
#include <sys/prctl.h>
#include <sys/ptrace.h>
#include <sys/user.h>
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

/* ---- between any two instructions; x86 ---- */

static inline unsigned long traced_ip(pid_t pid)
{
	struct user_regs_struct regs;

	if (ptrace(PTRACE_GETREGS, pid, NULL, &regs))
		abort();
	return regs.rip;
}

static inline bool traced_step(pid_t pid)
{
	if (ptrace(PTRACE_SINGLESTEP, pid, NULL, NULL))
		abort();
	return traced_stops(pid);
}

/* It goes on until it is about to execute what is at ip. */
static inline bool traced_run_to(pid_t pid, unsigned long ip)
{
	struct user_regs_struct regs;
	long text = ptrace(PTRACE_PEEKTEXT, pid, ip, NULL);

	if (ptrace(PTRACE_POKETEXT, pid, ip, (text & ~0xffl) | 0xcc) || ptrace(PTRACE_CONT, pid, NULL, NULL))
		abort();
	if (!traced_stops(pid))
		return false;
	if (ptrace(PTRACE_GETREGS, pid, NULL, &regs) || regs.rip != ip + 1)
		abort();
	regs.rip = ip;
	if (ptrace(PTRACE_SETREGS, pid, NULL, &regs) || ptrace(PTRACE_POKETEXT, pid, ip, text))
		abort();
	return true;
}

#endif
