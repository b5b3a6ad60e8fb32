/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * Children that do not come by fork(): vfork and clone, by name and by number. They have the parent's connections as a
 * forked child has them, whatever memory they share; and what they do between vfork and exec is not done to their parent.
 */
#include <linux/sched.h>
#include <pty.h>
#include <sched.h>
#include <sys/syscall.h>

#include "oracle.h"

static char buf[64], stack[65536] __attribute__((aligned(16)));
#define STACK_TOP (stack + sizeof(stack))
static volatile int shared;

/* ---- ways to make a child that calls fn(arg) and ends with what it gives ---- */

static pid_t by_vfork(int (*fn)(void *), void *arg)
{
	pid_t pid = vfork();

	if (!pid)
		_exit(fn(arg));
	return pid;
}

static pid_t by_fork(int (*fn)(void *), void *arg)
{
	pid_t pid = _Fork();

	if (!pid)
		_exit(fn(arg));
	return pid;
}

static pid_t by_clone(int (*fn)(void *), void *arg)
{
	return clone(fn, STACK_TOP, SIGCHLD, arg);
}

static pid_t by_clone_sharing(int (*fn)(void *), void *arg)
{
	return clone(fn, STACK_TOP, CLONE_VM | CLONE_VFORK | SIGCHLD, arg);
}

static pid_t by_number(int (*fn)(void *), void *arg)
{
	pid_t pid = (pid_t)syscall(SYS_clone, SIGCHLD, NULL, NULL, NULL, NULL);

	if (!pid)
		_exit(fn(arg));
	return pid;
}

static pid_t by_number3(int (*fn)(void *), void *arg)
{
	struct clone_args args = { .exit_signal = SIGCHLD };
	pid_t pid = (pid_t)syscall(SYS_clone3, &args, sizeof(args));

	if (!pid)
		_exit(fn(arg));
	return pid;
}

static pid_t by_forkpty(int (*fn)(void *), void *arg)
{
	static int master = -1;
	pid_t pid;

	close(master);
	pid = forkpty(&master, NULL, NULL, NULL);
	if (!pid)
		_exit(fn(arg));
	return pid;
}

static const struct maker {
	const char *name;
	pid_t (*make)(int (*fn)(void *), void *arg);
	bool waits;	/* until the child has ended: natively */
	bool memory;	/* is shared: natively */
} makers[] = {
	{ "vfork", by_vfork, true, true },	{ "clone sharing", by_clone_sharing, true, true },
	{ "_Fork", by_fork, false, false },	{ "clone", by_clone, false, false },
	{ "SYS_clone", by_number, false, false }, { "SYS_clone3", by_number3, false, false },
	{ "forkpty", by_forkpty, false, false },
};

static void ends(pid_t pid)
{
	int status = -1;

	if (waitpid(pid, &status, 0) != pid)
		say("no child: %s", error_name(errno));
	else if (WIFEXITED(status))
		say("child exits with %d", WEXITSTATUS(status));
	else
		say("child is killed by %d", WTERMSIG(status));
}

/* ---- before anything is accelerated ---- */

static int meddles(void *arg)
{
	int fd = *(int *)arg, zero = 0;

	shared = 1;
	fcntl(fd, F_SETFL, O_NONBLOCK);
	setsockopt(fd, SOL_SOCKET, SO_KEEPALIVE, &zero, sizeof(zero));
	dup2(fd, 0);
	close(fd);
	dup2(0, fd);
	close(fd);
	signal(SIGUSR2, SIG_DFL);
	execl("/bin/sh", "sh", "-c", "exit 3", NULL);
	return 99;
}

/* The child closes its own number, and what it does to the socket is done to it: as everywhere. */
static void undecided(const struct maker *m)
{
	int fd = socket(AF_INET, SOCK_STREAM, 0), one = 1;
	socklen_t len = sizeof(one);

	say("-- %s before connect", m->name);
	shared = 0;
	setsockopt(fd, SOL_SOCKET, SO_KEEPALIVE, &one, sizeof(one));
	ends(m->make(meddles, &fd));
	if (m->memory)
		say("memory is shared: %d", shared);
	getsockopt(fd, SOL_SOCKET, SO_KEEPALIVE, &one, &len);
	say("keepalive %d, non-blocking %d", one, !!(fcntl(fd, F_GETFL) & O_NONBLOCK));
	fcntl(fd, F_SETFL, 0);
	say("signal handler is there: %d", signal(SIGUSR2, SIG_DFL) != SIG_DFL);
	on_signal(SIGUSR2, 0);
	close(fd);
}

/* ---- with connections ---- */

static int talks(void *arg)
{
	int fd = *(int *)arg;
	char in[4] = "";

	shared = 2;
	if (send(fd, "abc", 3, 0) != 3 || recv(fd, in, 3, MSG_WAITALL) != 3)
		return 50;
	close(fd);
	return in[0] == 'a' && in[2] == 'c' ? 4 : 51;
}

static void shares(const struct maker *m, const struct way *w)
{
	int slot, fd = w->make(&slot);
	pid_t pid;

	say("-- %s, %s", m->name, w->name);
	peer("send %d 3", slot);
	pid = m->make(talks, &fd);
	ends(pid);
	say("peer got: %ld", peer("recv %d 3", slot));
	to_the_end(fd, slot);
}

static int passes_on(void *arg)
{
	int fd = *(int *)arg;

	dup2(fd, 0);
	dup2(fd, 1);
	close(fd);
	execlp("head", "head", "-c", "5", NULL);
	return 99;
}

/* As inetd does, or a program with a pipe to its child. */
static void execs(const struct maker *m, const struct way *w)
{
	int slot, fd = w->make(&slot);
	pid_t pid;

	say("-- %s and exec, %s", m->name, w->name);
	pid = m->make(passes_on, &fd);
	close(fd);
	peer("send %d 5", slot);
	say("peer got: %ld", peer("recv %d 5", slot));
	ends(pid);
	say("peer at end: %ld", peer("take %d", slot));
}

static int go[2];

/* The parent has closed it by then. */
static int survives(void *arg)
{
	int fd = *(int *)arg;

	close(go[1]);
	(void)!read(go[0], buf, 1);
	send(fd, "abcde", 5, 0);
	if (read(go[0], buf, 1))
		pause();
	return 5;
}

/* The connection lives with the child, and ends with it, even where it is killed. */
static void outlives(const struct maker *m, bool kills)
{
	int slot, fd = connect_out(&slot);
	pid_t pid;

	say("-- %s, the child has it alone, and %s", m->name, kills ? "is killed" : "exits");
	if (pipe(go))
		return;
	pid = m->make(survives, &fd);
	close(go[0]);
	close(fd);
	(void)!write(go[1], "x", 1);
	say("peer got: %ld", peer("recv %d 5", slot));
	if (kills) {
		(void)!write(go[1], "x", 1);
		kill(pid, SIGKILL);
	}
	close(go[1]);
	say("peer at end: %ld", peer("take %d", slot));
	ends(pid);
}

/* The one that talks is its child's child; who called daemon() has gone past the library. */
static int becomes_daemon(void *arg)
{
	return daemon(1, 1) ? 52 : talks(arg);
}

static void daemons(void)
{
	int slot, fd = connect_out(&slot);

	say("-- daemon");
	ends(by_fork(becomes_daemon, &fd));
	close(fd);
	peer("send %d 3", slot);
	say("peer got: %ld", peer("recv %d 3", slot));
	say("peer at end: %ld", peer("take %d", slot));
}

static void failures(void)
{
	int slot, fd = connect_out(&slot);

	say("-- what fails");
	TRY(syscall(SYS_clone, CLONE_NEWNS | CLONE_FS, NULL, NULL, NULL, NULL));
	TRY(syscall(SYS_clone3, 8, sizeof(struct clone_args)));
	TRY(syscall(SYS_clone3, NULL, 3));
	TRY(clone(talks, STACK_TOP, CLONE_NEWNS | CLONE_FS, &fd));
	TRY(clone(NULL, STACK_TOP, SIGCHLD, &fd));
	TRY(send(fd, "abc", 3, 0));
	say("peer got: %ld", peer("recv %d 3", slot));
	close(fd);
}

void t_clone(void)
{
	on_signal(SIGUSR2, 0);
	for (unsigned i = 0; i < COUNT(makers); i++)
		undecided(&makers[i]);
	for (unsigned i = 0; i < COUNT(makers); i++) {
		shares(&makers[i], &ways[i % 2]);
		execs(&makers[i], &ways[i % 2]);
		if (!makers[i].waits) {
			outlives(&makers[i], false);
			outlives(&makers[i], true);
		}
	}
	daemons();
	failures();
}

/* ---- a thread of the program's own making, before anything is accelerated ---- */

static int thread_main(void *arg)
{
	shared = 5;
	(void)!write(go[1], "x", 1);
	close(go[1]);
	return 6;
}

void t_apart(void)
{
	struct sockaddr_in lo = { .sin_family = AF_INET, .sin_addr.s_addr = htonl(INADDR_LOOPBACK) };
	struct sockaddr_in any = { .sin_family = AF_INET };
	int fd = socket(AF_INET, SOCK_STREAM, 0), l = socket(AF_INET, SOCK_STREAM, 0), ep = epoll_create1(0), c;
	int wide = socket(AF_INET, SOCK_STREAM, 0), other = socket(AF_INET, SOCK_STREAM, 0);
	struct epoll_event ev = { .events = EPOLLIN, .data.u32 = 7 };
	socklen_t len = sizeof(lo);

	if (pipe(go) || bind(l, (struct sockaddr *)&lo, len) || listen(l, 5) || getsockname(l, (struct sockaddr *)&lo, &len))
		say("not ready: %s", error_name(errno));
	if (bind(wide, (struct sockaddr *)&any, len) || listen(wide, 5) || getsockname(wide, (struct sockaddr *)&any, &len))
		say("not ready: %s", error_name(errno));
	any.sin_addr = lo.sin_addr;
	TRY(epoll_ctl(ep, EPOLL_CTL_ADD, go[0], &ev));
	ev.data.u32 = 8;
	TRY(epoll_ctl(ep, EPOLL_CTL_ADD, l, &ev));
	ev.data.u32 = 9;
	TRY(epoll_ctl(ep, EPOLL_CTL_ADD, wide, &ev));
	TRY(set_int(fd, SOL_SOCKET, SO_KEEPALIVE, 1));
	ends(clone(thread_main, STACK_TOP, CLONE_VM | CLONE_FILES | CLONE_FS | SIGCHLD, NULL));
	say("memory is shared: %d", shared);
	TRY(fcntl(go[1], F_GETFD));
	TRY(epoll_wait(ep, &ev, 1, 1000));
	say("of %u", ev.data.u32);
	GET(read(go[0], buf, 5), buf);
	TRY(epoll_ctl(ep, EPOLL_CTL_DEL, go[0], NULL));
	TRY(connect(fd, (struct sockaddr *)&lo, sizeof(lo)));
	TRY(epoll_wait(ep, &ev, 1, 1000));
	say("of %u", ev.data.u32);
	c = accept(l, NULL, NULL);
	TRY(send(fd, "abc", 3, 0));
	GET(recv(c, buf, 3, 0), buf);
	TRY(epoll_ctl(ep, EPOLL_CTL_ADD, c, &ev));
	close(fd);
	TRY(epoll_wait(ep, &ev, 1, 1000));
	close(c);
	TRY(connect(other, (struct sockaddr *)&any, sizeof(any)));
	TRY(epoll_wait(ep, &ev, 1, 1000));
	say("of %u", ev.data.u32);
	close(other);
	close(wide);
	close(l);
	close(ep);
}
