/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * Handlers that are set past sigaction(): by number, which the library sees, and by a system call instruction of the
 * program's own (as Go has it), which nobody sees. What they do to calls that wait.
 */
#include <sys/syscall.h>

#include "oracle.h"

static char buf[64];
static volatile sig_atomic_t handled;
static volatile int answer_on = -1;

/* The kernel's struct sigaction and its flag for a restorer. */
struct raw {
	void (*handler)(int);
	unsigned long flags;
	void (*restorer)(void);
	unsigned long mask;
};
#define RESTORER 0x04000000

extern void restore_frame(void);
__asm__(".text\nrestore_frame: movl $15, %eax\n\tsyscall");	/* rt_sigreturn */

static long by_number(int sig, const struct raw *act)
{
	return syscall(SYS_rt_sigaction, sig, act, NULL, 8L);
}

static long by_instruction(int sig, const struct raw *act)
{
	register long size __asm__("r10") = 8;
	long ret;

	__asm__ volatile("syscall" : "=a" (ret) : "a" (SYS_rt_sigaction), "D" ((long)sig), "S" (act), "d" (NULL), "r" (size)
			 : "rcx", "r11", "memory");
	return ret;
}

static void count(int sig)
{
	handled++;
	if (answer_on >= 0)
		send(answer_on, "xyz" + handled - 1, 1, 0);
}

typedef long setter(int sig, const struct raw *act);

static void set(setter *how, unsigned long flags)
{
	struct raw act = { count, flags | RESTORER, restore_frame, 0 };

	if (how(SIGUSR1, &act))
		say("cannot be set");
	handled = 0;
}

static int told[2];

/* n signals, each when this process sleeps. Then it stays: its end would be one more thing to wake up for. */
static pid_t signaller(int n)
{
	pid_t pid;

	if (pipe(told))
		say("no pipe");
	pid = fork();
	if (pid)
		return pid;
	for (; n > 0; n--) {
		until_asleep(getppid());
		kill(getppid(), SIGUSR1);
	}
	(void)!write(told[1], "x", 1);
	for (;;)
		pause();
}

static void over(pid_t pid)
{
	while (read(told[0], buf, 1) < 0)
		;
	kill(pid, SIGKILL);
	waitpid(pid, NULL, 0);
	close(told[0]);
	close(told[1]);
	say("handled %d", handled);
	handled = 0;
}

static void waits(setter *how, const char *name, unsigned long flags)
{
	int slot, fd = connect_out(&slot), ep = epoll_create1(EPOLL_CLOEXEC);
	struct epoll_event ev = { .events = EPOLLIN };
	struct pollfd p = { .fd = fd, .events = POLLIN };
	struct timeval tv = { 9, 0 };
	pid_t pid;

	say("-- %s, %s", name, flags ? "SA_RESTART" : "no flags");
	set(how, flags);
	pid = signaller(1);
	if (flags)
		peer("later 200 send %d 3", slot);
	GET(recv(fd, buf, 10, 0), buf);
	over(pid);
	pid = signaller(1);
	TRY(poll(&p, 1, 9000));
	over(pid);
	epoll_ctl(ep, EPOLL_CTL_ADD, fd, &ev);
	pid = signaller(1);
	TRY(epoll_wait(ep, &ev, 1, -1));
	over(pid);
	setsockopt(fd, SOL_SOCKET, SO_RCVTIMEO, &tv, sizeof(tv));
	pid = signaller(1);
	TRY(recv(fd, buf, 10, 0));
	over(pid);
	close(ep);
	close(fd);
	peer("uclose %d", slot);
}

/* In the midst of a call on the very connection: only where the library knows of the handler. */
static void answers(void)
{
	int slot, fd = connect_out(&slot);
	pid_t pid;

	say("-- a handler that sends, by number");
	set(by_number, SA_RESTART);
	answer_on = fd;
	pid = signaller(3);
	peer("later 300 send %d 3", slot);
	GET(recv(fd, buf, 10, 0), buf);
	over(pid);
	answer_on = -1;
	say("peer has: %ld", peer("take %d", slot));
	close(fd);
}

void t_raw(void)
{
	static const struct { setter *set; const char *name; } setters[] = {
		{ by_number, "by number" }, { by_instruction, "by an instruction" },
	};

	for (unsigned i = 0; i < COUNT(setters); i++) {
		waits(setters[i].set, setters[i].name, 0);
		waits(setters[i].set, setters[i].name, SA_RESTART);
	}
	answers();
}
