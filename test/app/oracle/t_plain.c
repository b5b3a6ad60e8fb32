/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * A thread sleeps in an epoll set in which the kernel has all there is, and another one gives the set a connection: the
 * sleeper hears of it, of nothing else, and when it was to wake. Handlers that return into such a sleep or leave it, masks,
 * cancellation; sets that come and go between both states.
 */
#include <pthread.h>
#include <setjmp.h>
#include <sys/syscall.h>

#include "oracle.h"

#define OURS 77		/* the connection's data; the pipe's is 7 */

static char buf[64];
static int ep, pipes[2], acks[2];
static pid_t sleeper_tid;

static void make_set(void)
{
	struct epoll_event ev = { .events = EPOLLIN, .data.u64 = 7 };

	ep = epoll_create1(EPOLL_CLOEXEC);
	if (pipe(pipes) || pipe(acks) || epoll_ctl(ep, EPOLL_CTL_ADD, pipes[0], &ev))
		say("no set: %s", error_name(errno));
}

static void drop_set(void)
{
	close(ep);
	for (int i = 0; i < 2; i++) {
		close(pipes[i]);
		close(acks[i]);
	}
}

static void add(int fd)
{
	struct epoll_event ev = { .events = EPOLLIN, .data.u64 = OURS };

	TRY(epoll_ctl(ep, EPOLL_CTL_ADD, fd, &ev));
}

/* The first wait on a set makes a thread the set's; with an event, so that it ends. */
static void first_wait(void)
{
	struct epoll_event ev;
	char c = 'x';

	(void)!write(pipes[1], &c, 1);
	for (int i = 0; i < 3; i++)
		if (epoll_wait(ep, &ev, 1, 3000) != 1 || ev.data.u64 != 7)
			say("no event of the pipe");
	(void)!read(pipes[0], &c, 1);
	epoll_wait(ep, &ev, 1, 1);
}

/* ---- one sleeper ---- */

enum how { FOREVER, TIMED, MASKED, PWAIT2, HOWS };
static const char *const hows[] = { "epoll_wait for ever", "epoll_wait 300 ms", "epoll_pwait", "epoll_pwait2" };

static int wait_how(enum how how, struct epoll_event *ev, int max)
{
	struct timespec ts = { 5, 0 };
	sigset_t mask;

	sigemptyset(&mask);
	switch (how) {
	case FOREVER: return epoll_wait(ep, ev, max, -1);
	case TIMED: return epoll_wait(ep, ev, max, 300);
	case MASKED: return epoll_pwait(ep, ev, max, 5000, &mask);
	default: return epoll_pwait2(ep, ev, max, &ts, &mask);
	}
}

static struct result {
	int n, err;
	uint64_t data;
	long ms;
} result;
static enum how how;

static long now_ms(void)
{
	struct timespec ts;

	clock_gettime(CLOCK_MONOTONIC, &ts);
	return ts.tv_sec * 1000 + ts.tv_nsec / 1000000;
}

static void *sleeper(void *first)
{
	struct epoll_event ev[4] = { 0 };
	long start;

	if (first)
		first_wait();
	__atomic_store_n(&sleeper_tid, (pid_t)syscall(SYS_gettid), __ATOMIC_SEQ_CST);
	start = now_ms();
	result.n = wait_how(how, ev, 4);
	result.err = errno;
	result.ms = now_ms() - start;
	result.data = ev[0].data.u64;
	return NULL;
}

/* A thread that sleeps in the set, for the second time or the first. */
static pthread_t sleeps(bool second)
{
	pthread_t t;

	sleeper_tid = 0;
	pthread_create(&t, NULL, sleeper, second ? &result : NULL);
	while (!__atomic_load_n(&sleeper_tid, __ATOMIC_SEQ_CST))
		sched_yield();
	if (how != TIMED)	/* which would be over by then, where the machine is busy */
		until_asleep(sleeper_tid);
	return t;
}

static void hears(int (*make)(int *), bool second)
{
	int slot, fd = make(&slot);
	struct epoll_event ev[4] = { 0 };
	pthread_t t;

	say("-- %s, %s", hows[how], second ? "again" : "the first time");
	make_set();
	t = sleeps(second);
	add(fd);
	say("who has added it hears %d", epoll_wait(ep, ev, 4, 0));
	if (how == TIMED) {
		pthread_join(t, NULL);
		say("sleeper: %d, after its time %d", result.n, result.ms >= 300);
	} else {
		peer("send %d 3", slot);
		pthread_join(t, NULL);
		say("sleeper: %d of %d", result.n, (int)result.data);
		say("who has added it hears %d", epoll_wait(ep, ev, 4, 1000));
		say("of %d", (int)ev[0].data.u64);
	}
	TRY(epoll_ctl(ep, EPOLL_CTL_DEL, fd, NULL));
	TRY(epoll_wait(ep, ev, 4, 0));
	drop_set();
	close(fd);
	peer("uclose %d", slot);
}

/* ---- handlers ---- */

static sigjmp_buf back;
static volatile int leaves, adds = -1;

static void on_usr1(int sig)
{
	(void)sig;
	if (adds >= 0)
		add(adds);
	if (leaves)
		siglongjmp(back, 1);
}

/* A child signals this process, which sleeps in the set. */
static pid_t signaller(void)
{
	pid_t pid;

	fflush(stdout);
	pid = fork();
	if (!pid) {
		until_asleep(getppid());
		kill(getppid(), SIGUSR1);
		for (;;)
			pause();
	}
	return pid;
}

static void handled(bool goes, bool with_connection)
{
	struct sigaction act = { .sa_handler = on_usr1, .sa_flags = SA_RESTART };
	int slot, fd = connect_out(&slot);
	struct epoll_event ev[4] = { 0 };
	pid_t pid;

	say("-- a handler that %s%s", goes ? "leaves" : "returns", with_connection ? ", and adds a connection" : "");
	make_set();
	first_wait();
	leaves = goes;
	adds = with_connection ? fd : -1;
	sigaction(SIGUSR1, &act, NULL);
	pid = signaller();
	if (!sigsetjmp(back, 1))
		TRY(epoll_wait(ep, ev, 4, how == MASKED ? 9000 : -1));
	kill(pid, SIGKILL);
	waitpid(pid, NULL, 0);
	if (!with_connection)
		add(fd);
	peer("send %d 3", slot);
	say("events %d", epoll_wait(ep, ev, 4, 3000));
	say("of %d", (int)ev[0].data.u64);
	GET(recv(fd, buf, 10, 0), buf);
	TRY(epoll_wait(ep, ev, 4, 20));
	adds = -1;
	drop_set();
	close(fd);
	peer("uclose %d", slot);
}

/* ---- a thread that has left its sleep for good: others have the set ---- */

static void *leaves_for_good(void *arg)
{
	struct epoll_event ev;

	(void)arg;
	first_wait();
	__atomic_store_n(&sleeper_tid, (pid_t)syscall(SYS_gettid), __ATOMIC_SEQ_CST);
	if (!sigsetjmp(back, 1))
		epoll_wait(ep, &ev, 1, -1);
	(void)!write(acks[1], "x", 1);
	for (;;)
		pause();
	return NULL;
}

/* Nothing is left behind that others would hear of: their sleep uses no CPU. */
static void idle_afterwards(int fd)
{
	struct timespec a, b;
	struct epoll_event ev[4];

	add(fd);
	TRY(epoll_wait(ep, ev, 4, 50));
	clock_gettime(CLOCK_THREAD_CPUTIME_ID, &a);
	TRY(epoll_wait(ep, ev, 4, 400));
	clock_gettime(CLOCK_THREAD_CPUTIME_ID, &b);
	say("it slept: %d", (b.tv_sec - a.tv_sec) * 1000 + (b.tv_nsec - a.tv_nsec) / 1000000 < 200);
}

static void abandoned(bool cancelled)
{
	int slot, fd = connect_out(&slot);
	struct sigaction act = { .sa_handler = on_usr1 };
	struct epoll_event ev[4] = { 0 };
	pthread_t t;
	void *end;

	say("-- a thread that %s", cancelled ? "is cancelled" : "leaves by its handler");
	make_set();
	sleeper_tid = 0;
	leaves = true;
	sigaction(SIGUSR1, &act, NULL);
	pthread_create(&t, NULL, leaves_for_good, NULL);
	while (!__atomic_load_n(&sleeper_tid, __ATOMIC_SEQ_CST))
		sched_yield();
	until_asleep(sleeper_tid);
	if (cancelled) {
		pthread_cancel(t);
		pthread_join(t, &end);
		say("cancelled %d", end == PTHREAD_CANCELED);
	} else {
		pthread_kill(t, SIGUSR1);
		(void)!read(acks[0], buf, 1);
	}
	idle_afterwards(fd);
	peer("send %d 3", slot);
	say("events %d", epoll_wait(ep, ev, 4, 3000));
	say("of %d", (int)ev[0].data.u64);
	if (!cancelled) {
		pthread_cancel(t);
		pthread_join(t, NULL);
	}
	drop_set();
	close(fd);
	peer("uclose %d", slot);
}

/* ---- to and fro ---- */

#define ROUNDS 200

/* Each event is acknowledged by its data. */
static void *acknowledges(void *arg)
{
	struct epoll_event ev[4];

	(void)arg;
	for (;;) {
		int n = epoll_wait(ep, ev, 4, -1);

		for (int i = 0; i < n; i++) {
			char c = (char)ev[i].data.u64;

			if (c == 7 && read(pipes[0], buf, 1) == 1 && *buf == 'q')
				return NULL;
			(void)!write(acks[1], &c, 1);
		}
	}
}

/* A connection with something to read comes and goes; the thread is in its sleep, on its way to it, or on its way out. */
static void to_and_fro(void)
{
	int slot, fd = connect_out(&slot), heard = 0, wrong = 0;
	struct epoll_event ev = { .events = EPOLLIN | EPOLLET, .data.u64 = OURS };
	struct pollfd p;
	pthread_t t;
	char c;

	say("-- to and fro");
	make_set();
	peer("send %d 3", slot);
	until_readable(fd, 3);
	pthread_create(&t, NULL, acknowledges, NULL);
	p = (struct pollfd){ .fd = acks[0], .events = POLLIN };
	for (int i = 0; i < ROUNDS; i++) {
		if (i % 2) {
			(void)!write(pipes[1], "x", 1);
			(void)!read(acks[0], &c, 1);
			wrong += c != 7;
		}
		for (volatile int j = 0; j < i * 50; j++)
			;
		epoll_ctl(ep, EPOLL_CTL_ADD, fd, &ev);
		if (poll(&p, 1, 5000) != 1)
			break;
		(void)!read(acks[0], &c, 1);
		heard += c == OURS;
		epoll_ctl(ep, EPOLL_CTL_DEL, fd, NULL);
	}
	(void)!write(pipes[1], "q", 1);
	pthread_join(t, NULL);
	say("heard %d, wrong %d", heard, wrong);
	drop_set();
	close(fd);
	peer("uclose %d", slot);
}

void t_plain(void)
{
	for (unsigned i = 0; i < HOWS * 2; i++) {
		how = i / 2;
		hears(ways[how % 2].make, i % 2);
	}
	for (unsigned i = 0; i < 4; i++) {
		how = i & 1 ? MASKED : FOREVER;
		handled(i & 1, i & 2);
	}
	abandoned(true);
	abandoned(false);
	to_and_fro();
}
