/* SPDX-License-Identifier: BSD-3-Clause */
/* Threads that end in or out of waits, and processes that are stopped and go on in the midst of one. */
#include <pthread.h>
#include <sys/ptrace.h>
#include <threads.h>

#include "oracle.h"

static char buf[4096];
static volatile int cleanup_ran, ready;
static __thread char own[64];

static void cleanup(void *arg)
{
	cleanup_ran++;
}

/* ---- threads ---- */

static void leave(int sig)
{
	pthread_exit((void *)5);
}

static void *waits(void *arg)
{
	pthread_cleanup_push(cleanup, NULL);
	ready = 1;
	recv(*(int *)arg, own, 1, 0);
	say("a wait ended by itself");
	pthread_cleanup_pop(0);
	return NULL;
}

static void *polls(void *arg)
{
	pthread_cleanup_push(cleanup, NULL);
	ready = 1;
	poll(&(struct pollfd){ .fd = *(int *)arg, .events = POLLIN }, 1, -1);
	say("a wait ended by itself");
	pthread_cleanup_pop(0);
	return NULL;
}

static void *exits(void *arg)
{
	pthread_cleanup_push(cleanup, NULL);
	send(*(int *)arg, "a", 1, 0);
	pthread_exit((void *)6);
	pthread_cleanup_pop(0);
}

static int exits_as_c11(void *arg)
{
	send(*(int *)arg, "b", 1, 0);
	thrd_exit(9);
}

/* A destructor of the program's that uses the socket when the library's own may have run. */
static pthread_key_t key;

static void late(void *arg)
{
	static __thread int rounds;

	send(*(int *)arg, &"def"[rounds % 3], 1, 0);
	if (++rounds < 3)
		pthread_setspecific(key, arg);
}

static void *with_destructor(void *arg)
{
	pthread_setspecific(key, arg);
	send(*(int *)arg, "c", 1, 0);
	return (void *)7;
}

static void join(pthread_t t, const char *what)
{
	void *result = NULL;

	pthread_join(t, &result);
	say("%s: %ld, cleanup %d", what, (long)result, cleanup_ran);
	cleanup_ran = 0;
}

static void signalled(void *(*body)(void *), int *fd, const char *what)
{
	pthread_t t;

	ready = 0;
	pthread_create(&t, NULL, body, fd);
	while (!ready)
		usleep(1000);
	usleep(20000);	/* most likely it sleeps by now */
	pthread_kill(t, SIGUSR1);
	join(t, what);
}

static void thread_ends(void)
{
	int slot, fd = connect_out(&slot), c11 = 0;
	pthread_t t;
	thrd_t c;

	signal(SIGUSR1, leave);
	for (int i = 0; i < 5; i++) {
		signalled(waits, &fd, "pthread_exit from a handler in recv");
		signalled(polls, &fd, "pthread_exit from a handler in poll");
	}
	signal(SIGUSR1, SIG_DFL);
	pthread_create(&t, NULL, exits, &fd);
	join(t, "pthread_exit");
	thrd_create(&c, exits_as_c11, &fd);
	thrd_join(c, &c11);
	say("thrd_exit: %d", c11);
	pthread_key_create(&key, late);
	pthread_create(&t, NULL, with_destructor, &fd);
	join(t, "a destructor that sends");
	pthread_key_delete(key);
	say("peer has %ld", peer("recv %d 6", slot));
	peer("send %d 3", slot);
	GET(recv(fd, buf, 10, 0), buf);
	close(fd);
}

/* A thousand threads that come and go leave no descriptor behind. */
static void *short_wait(void *arg)
{
	poll(&(struct pollfd){ .fd = *(int *)arg, .events = POLLIN }, 1, 1);
	return NULL;
}

static int next_number(int fd)
{
	int n = dup(fd);

	close(n);
	return n;
}

static void many(void)
{
	int slot, fd = connect_out(&slot), before = next_number(fd);
	pthread_t t[10];

	for (int i = 0; i < 10; i++) {
		for (int k = 0; k < 10; k++)
			pthread_create(&t[k], NULL, short_wait, &fd);
		for (int k = 0; k < 10; k++)
			pthread_join(t[k], NULL);
	}
	say("numbers left behind: %d", next_number(fd) - before);
	close(fd);
}

/*
 * Three that sleep: what comes for the first two ends their waits at nearly the same moment, one of which may have been to
 * look after the third. That one must wake too.
 */
static void *takes_one(void *arg)
{
	struct pollfd p = { .fd = *(int *)arg, .events = POLLIN };

	return (void *)(poll(&p, 1, 3000) == 1 ? recv(p.fd, own, 1, 0) : -2l);
}

static void sleepers(void)
{
	int slot[3], fd[3], late_ones = 0;

	for (int i = 0; i < 3; i++)
		fd[i] = connect_out(&slot[i]);
	for (int round = 0; round < 40; round++) {
		pthread_t t[3];
		void *result;

		for (int i = 0; i < 3; i++) {
			pthread_create(&t[i], NULL, takes_one, &fd[i ? 3 - i : 0]);
			usleep(1000);
		}
		usleep(30000);	/* all sleep, and so does who looks after a program that does something else */
		peer("send %d 1", slot[0]);
		if (round & 1)
			usleep(round * 10);
		peer("send %d 1", slot[1]);
		usleep(5000);
		peer("send %d 1", slot[2]);
		for (int i = 0; i < 3; i++) {
			pthread_join(t[i], &result);
			late_ones += (long)result != 1;
		}
		if (late_ones)
			break;
	}
	say("sleepers that were forgotten: %d", late_ones);
	for (int i = 0; i < 3; i++)
		close(fd[i]);
}

/* The main thread ends before the others; the process ends with the last of them. */
static void *outlives(void *arg)
{
	usleep(30000);	/* the main thread is gone by then, or not: both must do */
	send(*(int *)arg, "abcd", 4, 0);
	return NULL;
}

static void main_ends_first(bool c11)
{
	int slot, fd = connect_out(&slot), status = -1, *arg = malloc(sizeof(*arg));
	pid_t pid = fork();
	pthread_t t;

	*arg = fd;
	if (!pid) {
		alarm(20);
		recv(fd, buf, 1, MSG_DONTWAIT);
		pthread_create(&t, NULL, outlives, arg);
		pthread_detach(t);
		if (c11)
			thrd_exit(3);
		pthread_exit(NULL);
	}
	close(fd);
	say("peer has %ld", peer("recv %d 4", slot));
	waitpid(pid, &status, 0);
	say("main thread ends first: exited %d with %d", WIFEXITED(status), WEXITSTATUS(status));
	say("peer sees the end: %ld", peer("take %d", slot));
	free(arg);
}

/* ---- stopped ---- */

static void nothing(int sig)
{
	signals++;
}

/* From EPOLL on they end with EINTR, or with what they have done so far. */
enum how { RECV, POLL, POLL_TIMED, SELECT, EPOLL, EPOLL_TIMED, EPOLL_MASKED, EPOLL_KERNEL, RECV_TIMED, RECV_ALL, RECVMMSG_TIMED,
	   ACCEPT_TIMED, CONNECT_TIMED, SEND_TIMED, SEND_SOME };
static const char *const how_names[] = {
	"recv", "poll", "poll with a timeout", "select", "epoll_wait", "epoll_wait with a timeout", "epoll_pwait",
	"epoll_wait on a pipe", "recv with SO_RCVTIMEO", "recv that has got some", "recvmmsg with SO_RCVTIMEO",
	"accept with SO_RCVTIMEO", "connect with SO_SNDTIMEO", "send with SO_SNDTIMEO", "send that has sent some",
};

static long wait_epoll(enum how how, int fd)
{
	struct epoll_event ev = { .events = EPOLLIN };
	int ep = epoll_create1(0);
	sigset_t none;

	sigemptyset(&none);
	epoll_ctl(ep, EPOLL_CTL_ADD, fd, &ev);
	return how == EPOLL_MASKED ? epoll_pwait(ep, &ev, 1, 9000, &none) :
	       epoll_wait(ep, &ev, 1, how == EPOLL_TIMED ? 9000 : -1);
}

/* With a timeout that does not come. */
static long wait_timed(enum how how, int fd)
{
	struct sockaddr_in nobody = addr_of(o.nobody, 9);
	struct mmsghdr m = { .msg_hdr = { .msg_iov = &(struct iovec){ buf, 10 }, .msg_iovlen = 1 } };
	struct timeval tv = { 9, 0 };
	static char big[1 << 20];

	if (how == CONNECT_TIMED)
		fd = socket(AF_INET, SOCK_STREAM, 0);
	else if (how == ACCEPT_TIMED)
		fd = listen_on(5);
	setsockopt(fd, SOL_SOCKET, SO_RCVTIMEO, &tv, sizeof(tv));
	setsockopt(fd, SOL_SOCKET, SO_SNDTIMEO, &tv, sizeof(tv));
	if (how == SEND_TIMED)
		while (send(fd, big, sizeof(big), MSG_DONTWAIT) > 0)
			;
	if (how == SEND_TIMED && send(fd, big, sizeof(big), 0) >= 0)
		errno = EINTR;	/* there was some room by then */
	return how == RECV_TIMED ? recv(fd, buf, 10, 0) : how == RECVMMSG_TIMED ? recvmmsg(fd, &m, 1, 0, NULL) :
	       how == ACCEPT_TIMED ? accept(fd, NULL, NULL) : how == SEND_TIMED ? -1 :
	       connect(fd, (struct sockaddr *)&nobody, sizeof(nobody));
}

static long wait_how(enum how how, int fd)
{
	struct pollfd p = { .fd = fd, .events = POLLIN };
	static char big[32 << 20];
	fd_set set;
	long n;

	if (how >= EPOLL && how <= EPOLL_KERNEL)
		return wait_epoll(how, fd);
	if (how == SEND_SOME) {
		n = send(fd, big, sizeof(big), 0);
		return n > 0 && n < (long)sizeof(big) ? 9 : n;
	}
	if (how > EPOLL && how != RECV_ALL)
		return wait_timed(how, fd);
	FD_ZERO(&set);
	FD_SET(fd, &set);
	return how == RECV ? recv(fd, buf, 10, 0) : how == RECV_ALL ? recv(fd, buf, 10, MSG_WAITALL) :
	       how == POLL ? poll(&p, 1, -1) : how == POLL_TIMED ? poll(&p, 1, 300) : select(fd + 1, &set, NULL, NULL, NULL);
}

/* A child that waits; what it returns is its exit status, 100 and errno when that was an error. */
static pid_t waiter(enum how how, int fd, int flags)
{
	pid_t pid = fork();
	long ret;

	if (pid)
		return pid;
	alarm(20);
	if (flags >= 0)
		sigaction(SIGCONT, &(struct sigaction){ .sa_handler = nothing, .sa_flags = flags }, NULL);
	ret = wait_how(how, fd);
	_exit(ret < 0 ? 100 + errno : (int)ret);
}

static void result(const char *what, pid_t pid)
{
	int status = 0;

	waitpid(pid, &status, 0);
	if (WIFEXITED(status))
		say("%s: %s %d", what, WEXITSTATUS(status) > 100 ? error_name(WEXITSTATUS(status) - 100) : "gave",
		    WEXITSTATUS(status) > 100 ? -1 : WEXITSTATUS(status));
	else
		say("%s: killed by %d", what, WTERMSIG(status));
}

static void stop(pid_t pid)
{
	int status;

	until_asleep(pid);
	kill(pid, SIGSTOP);
	if (waitpid(pid, &status, WUNTRACED) < 0 || !WIFSTOPPED(status))
		say("has not stopped");
	kill(pid, SIGCONT);
}

/* As gdb does it: attach, look, detach. */
static void trace(pid_t pid)
{
	int status;

	until_asleep(pid);
	if (ptrace(PTRACE_ATTACH, pid, 0, 0))
		say("ptrace: %s", error_name(errno));
	waitpid(pid, &status, 0);
	ptrace(PTRACE_DETACH, pid, 0, 0);
}

static bool ends_soon(pid_t pid)
{
	siginfo_t info = { 0 };

	for (int i = 0; i < 2000 && !info.si_pid; i++) {
		usleep(1000);
		waitid(P_PID, (id_t)pid, &info, WEXITED | WNOHANG | WNOWAIT);
	}
	return info.si_pid;
}

/* flags: of a handler of SIGCONT, -1: none. Not asked whether it ends: the last of three stops would find nobody. */
static void disturbed(enum how how, int flags, void (*disturb)(pid_t pid))
{
	bool ends = how >= EPOLL || flags == 0;
	int slot, ends_of[2] = { -1, -1 }, fd = connect_out(&slot);
	pid_t pid;

	if (how == RECV_ALL) {
		peer("send %d 3", slot);
		until_readable(fd, 3);
	}
	if (how == EPOLL_KERNEL && !pipe(ends_of))
		dup2(ends_of[0], fd);
	pid = waiter(how, fd, flags);
	say("-- %s, %s", how_names[how], disturb == trace ? "traced" :
	    flags < 0 ? "SIGCONT without handler" : flags ? "SIGCONT restarts" : "SIGCONT interrupts");
	for (int i = 0; i < (ends ? 1 : 3); i++)
		disturb(pid);
	/* who sends may have been about to go on, for a segment that was lost; not for ever */
	while (how >= SEND_TIMED && !ends_soon(pid))
		disturb(pid);
	if (how != POLL_TIMED && !ends)
		peer("send %d 3", slot);
	result(ends ? "ended" : "went on", pid);
	close(fd);
	close(ends_of[0]);
	close(ends_of[1]);
	peer("uclose %d", slot);
}

void t_thread(void)
{
	thread_ends();
	many();
	sleepers();
	main_ends_first(false);
	main_ends_first(true);
	for (enum how how = RECV; how <= SEND_SOME; how++) {
		disturbed(how, -1, stop);
		disturbed(how, -1, trace);
	}
	disturbed(RECV, 0, stop);
	disturbed(RECV, SA_RESTART, stop);
	disturbed(POLL, 0, stop);
}
