/* SPDX-License-Identifier: BSD-3-Clause */
/* Handlers that call the library while their thread is in it, or leave it for good; threads that are cancelled in it. */
#include <pthread.h>
#include <setjmp.h>
#include <sys/time.h>

#include "oracle.h"

/* As many bytes, each in a segment of its own, as are sent while the peer reads nothing: buffers are memory's affair. */
#define STORM_CALLS (one_host() ? 500 : 5000)

static char buf[4096];
static volatile int handler_fd;
static volatile sig_atomic_t handler_calls, handler_errors;
static sigjmp_buf back;

static void ticks(int which, long us)
{
	setitimer(which, &(struct itimerval){ { 0, us }, { 0, us } }, NULL);
}

static void install(int sig, void (*handler)(int), int flags)
{
	struct sigaction act = { .sa_handler = handler, .sa_flags = flags };

	sigaction(sig, &act, NULL);
}

/* What a handler of a careless program does: everything. */
static void busy_handler(int sig)
{
	struct pollfd p = { .fd = handler_fd, .events = POLLIN };
	int saved = errno, fd;
	char byte;

	handler_calls++;
	handler_errors += send(handler_fd, "h", 1, MSG_DONTWAIT) < 0 && errno != EAGAIN;
	handler_errors += recv(handler_fd, &byte, 1, MSG_DONTWAIT) < 0 && errno != EAGAIN;
	poll(&p, 1, 0);
	fd = dup(handler_fd);
	handler_errors += fd < 0 || close(fd);
	errno = saved;
}

/* The main thread does the same on another connection; nothing may be lost, nothing hang. */
static void storm(int which, int sig)
{
	int slot, fd = connect_out(&slot), other, fails = 0;
	struct pollfd p = { .fd = fd, .events = POLLIN };

	handler_fd = connect_out(&other);
	handler_calls = handler_errors = 0;
	install(sig, busy_handler, SA_RESTART);
	ticks(which, 500);
	for (int i = 0; i < STORM_CALLS || handler_calls < 50; i++) {
		fails += i < STORM_CALLS && send(fd, "m", 1, 0) != 1;
		fails += recv(fd, buf, 1, MSG_DONTWAIT) >= 0 || errno != EAGAIN;
		poll(&p, 1, 0);
	}
	ticks(which, 0);
	install(sig, SIG_IGN, 0);
	say("main: %d failures, handler: %d errors, came often: %d", fails, (int)handler_errors, handler_calls >= 50);
	for (int i = 0, sum = 0; i < 2000 && sum < STORM_CALLS; i++) {
		sum += (int)peer("take %d", slot);
		if (sum == STORM_CALLS)
			say("all arrived");
		usleep(1000);
	}
	close(fd);
	close(handler_fd);
}

/* Several threads at work on connections of their own; the signals go to whichever the kernel likes, and to each. */
#define THREADS		4
#define THREAD_CALLS	(one_host() ? 150 : 1500)

struct worker {
	pthread_t thread;
	int fd, slot, fails, timer_made;
	timer_t timer;
};

static void *work(void *arg)
{
	struct sigevent profile = { .sigev_notify = SIGEV_THREAD_ID, .sigev_signo = SIGPROF, ._sigev_un._tid = gettid() };
	struct itimerspec every = { { 0, 500000 }, { 0, 500000 } };
	struct worker *w = arg;
	struct pollfd p = { .fd = w->fd, .events = POLLIN };
	char byte;

	/* as Go and gperftools profile: by each thread's own clock */
	w->timer_made = !timer_create(CLOCK_THREAD_CPUTIME_ID, &profile, &w->timer) &&
			!timer_settime(w->timer, 0, &every, NULL);
	for (int i = 0; i < THREAD_CALLS; i++) {
		w->fails += send(w->fd, "t", 1, 0) != 1;
		w->fails += recv(w->fd, &byte, 1, MSG_DONTWAIT) >= 0 || errno != EAGAIN;
		poll(&p, 1, 0);
	}
	if (w->timer_made)
		timer_delete(w->timer);
	return NULL;
}

static void storm_of_threads(void)
{
	struct worker w[THREADS] = { 0 };
	int other, fails = 0, timers = 0;

	handler_fd = connect_out(&other);
	handler_calls = handler_errors = 0;
	install(SIGALRM, busy_handler, SA_RESTART);
	install(SIGPROF, busy_handler, SA_RESTART | SA_NODEFER);
	for (int i = 0; i < THREADS; i++)
		w[i].fd = connect_out(&w[i].slot);
	ticks(ITIMER_REAL, 500);
	for (int i = 0; i < THREADS; i++)
		pthread_create(&w[i].thread, NULL, work, &w[i]);
	for (int i = 0; i < THREADS; i++) {
		pthread_join(w[i].thread, NULL);
		fails += w[i].fails;
		timers += w[i].timer_made;
	}
	ticks(ITIMER_REAL, 0);
	install(SIGALRM, SIG_DFL, 0);
	install(SIGPROF, SIG_IGN, 0);
	say("%d threads with timers: %d failures, handler: %d errors, came: %d", timers, fails, (int)handler_errors,
	    handler_calls > 0);
	for (int i = 0; i < THREADS; i++) {
		int sum = 0;

		for (int k = 0; k < 1000 && sum < THREAD_CALLS; k++)
			sum += (int)peer("take %d", w[i].slot);
		say("thread %d: %d arrived", i, sum);
		close(w[i].fd);
	}
	close(handler_fd);
}

static void jump(int sig)
{
	siglongjmp(back, sig);
}

/* Out of a wait, again and again: the same socket goes on, and its end reaches the peer. */
static void jumps(void)
{
	int slot, fd = connect_out(&slot), ep = epoll_create1(EPOLL_CLOEXEC);
	struct epoll_event ev = { .events = EPOLLIN };
	volatile int jumped = 0;

	epoll_ctl(ep, EPOLL_CTL_ADD, fd, &ev);
	install(SIGALRM, jump, SA_RESTART);
	for (volatile int i = 0; i < 60; i++) {
		if (sigsetjmp(back, 1)) {
			jumped++;
			continue;
		}
		ualarm(2000, 0);
		switch (i % 3) {
		case 0: recv(fd, buf, 1, 0); break;
		case 1: poll(&(struct pollfd){ .fd = fd, .events = POLLIN }, 1, -1); break;
		case 2: epoll_wait(ep, &ev, 1, -1); break;
		}
		say("a wait ended by itself");
	}
	install(SIGALRM, SIG_DFL, 0);
	say("jumps: %d", jumped);
	peer("send %d 3", slot);
	GET(recv(fd, buf, 10, 0), buf);
	close(ep);
	close(fd);
	say("peer sees the end: %ld", peer("take %d", slot));
}

static void close_it(void *arg)
{
	close(*(int *)arg);
}

static void *reader(void *arg)
{
	int *job = arg;

	pthread_cleanup_push(close_it, &job[2]);
	if (job[1])
		pthread_setcanceltype(PTHREAD_CANCEL_ASYNCHRONOUS, NULL);
	for (;;)
		if (job[1] == 2)
			recv(job[0], buf, 1, MSG_DONTWAIT);
		else
			recv(job[0], buf, 1, 0);
	pthread_cleanup_pop(0);
	return NULL;
}

/* A thread that waits, or never does; its cleanup handler runs; the socket is as before. */
static void cancelled(int how, const char *what)
{
	int slot, fd = connect_out(&slot), job[3], ends[2];
	void *result = NULL;
	pthread_t t;

	say("-- cancelled: %s", what);
	if (pipe2(ends, O_CLOEXEC))
		return;
	job[0] = fd, job[1] = how, job[2] = ends[1];
	pthread_create(&t, NULL, reader, job);
	usleep(how * 1000 + 20000);
	TRY(pthread_cancel(t));
	pthread_join(t, &result);
	say("cancelled: %d", result == PTHREAD_CANCELED);
	GET(read(ends[0], buf, 1), buf);
	peer("send %d 3", slot);
	GET(recv(fd, buf, 10, 0), buf);
	close(ends[0]);
	close(fd);
}

void t_signal(void)
{
	storm(ITIMER_REAL, SIGALRM);
	storm(ITIMER_PROF, SIGPROF);
	storm_of_threads();
	jumps();
	cancelled(0, "blocked in recv");
	cancelled(1, "blocked, asynchronous");
	cancelled(2, "never blocked, asynchronous");
}
