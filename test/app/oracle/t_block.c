/* SPDX-License-Identifier: BSD-3-Clause */
/* Blocking calls: how long they wait, what ends them, what signals do to them. */
#include <pthread.h>

#include "oracle.h"

static char buf[256];

static void timeo(int fd, int name, long ms)
{
	struct timeval tv = { ms / 1000, ms % 1000 * 1000 };

	setsockopt(fd, SOL_SOCKET, name, &tv, sizeof(tv));
}

static void after(long want)
{
	long ms = elapsed();

	say("after about %ld ms: %d", want, ms >= want - 10 && ms < want + 1500);
}

static void timeouts(void)
{
	int slot, fd = connect_out(&slot), l;

	timeo(fd, SO_RCVTIMEO, 200);
	elapsed();
	TRY(recv(fd, buf, 1, 0));
	after(200);
	TRY(read(fd, buf, 1));
	after(200);
	TRY(recv(fd, buf, 1, MSG_DONTWAIT));
	TRY(recv(fd, buf, 0, 0));
	elapsed();
	nonblock(fd, true);
	TRY(recv(fd, buf, 1, 0));
	say("at once: %d", elapsed() < 150);
	close(fd);
	l = listen_on(4);
	timeo(l, SO_RCVTIMEO, 200);
	elapsed();
	TRY(accept(l, NULL, NULL));
	after(200);
	close(l);
}

static void comes_late(void)
{
	int slot, fd = accept_in(&slot);

	peer("later 150 send %d 3", slot);
	elapsed();
	GET(recv(fd, buf, 10, 0), buf);
	after(150);
	peer("later 150 shut %d", slot);
	elapsed();
	GET(recv(fd, buf, 10, 0), buf);
	after(150);
	close(fd);
	fd = connect_out(&slot);
	peer("later 150 rst %d", slot);
	elapsed();
	GET(recv(fd, buf, 10, 0), buf);
	after(150);
	close(fd);
}

static void signalled(int flags, const char *what)
{
	int slot, fd = connect_out(&slot);

	say("-- handler %s", what);
	on_signal(SIGALRM, flags);
	peer("later 300 send %d 3", slot);
	ualarm(100000, 0);
	elapsed();
	GET(recv(fd, buf, 10, 0), buf);
	after(flags ? 300 : 100);
	say("signals: %d", (int)signals);
	if (!flags)
		GET(recv(fd, buf, 10, 0), buf);
	/* with a timeout of its own the call is never restarted */
	on_signal(SIGALRM, flags);
	timeo(fd, SO_RCVTIMEO, 2000);
	ualarm(100000, 0);
	elapsed();
	GET(recv(fd, buf, 10, 0), buf);
	after(100);
	/* what has come already is what is returned */
	timeo(fd, SO_RCVTIMEO, 0);
	peer("send %d 3", slot);
	until_readable(fd, 3);
	on_signal(SIGALRM, flags);
	ualarm(100000, 0);
	peer("later 400 send %d 20", slot);
	elapsed();
	GET(recv(fd, buf, 10, MSG_WAITALL), buf);
	after(100);
	until(fd, POLLIN);
	close(fd);
	signal(SIGALRM, SIG_DFL);
}

static void signalled_polls(int flags)
{
	struct epoll_event ev;
	int slot, fd = connect_out(&slot), ep = epoll_create1(EPOLL_CLOEXEC);
	struct pollfd p = { .fd = fd, .events = POLLIN };
	fd_set set;

	ev = (struct epoll_event){ .events = EPOLLIN };
	epoll_ctl(ep, EPOLL_CTL_ADD, fd, &ev);
	on_signal(SIGALRM, flags);
	ualarm(50000, 0);
	TRY(poll(&p, 1, 1000));
	ualarm(50000, 0);
	TRY(epoll_wait(ep, &ev, 1, 1000));
	FD_ZERO(&set);
	FD_SET(fd, &set);
	ualarm(50000, 0);
	TRY(select(fd + 1, &set, NULL, NULL, &(struct timeval){ 1, 0 }));
	say("signals: %d", (int)signals);
	close(ep);
	close(fd);
	signal(SIGALRM, SIG_DFL);
}

/* ppoll and its kin open the mask for the wait only: a pending signal ends it at once. */
static void masked(void)
{
	int slot, fd = connect_out(&slot), ep = epoll_create1(EPOLL_CLOEXEC);
	struct pollfd p = { .fd = fd, .events = POLLIN };
	struct epoll_event ev = { .events = EPOLLIN };
	sigset_t block, open;
	fd_set set;

	epoll_ctl(ep, EPOLL_CTL_ADD, fd, &ev);
	on_signal(SIGUSR1, 0);
	sigemptyset(&open);
	sigemptyset(&block);
	sigaddset(&block, SIGUSR1);
	sigprocmask(SIG_BLOCK, &block, NULL);
	raise(SIGUSR1);
	TRY(poll(&p, 1, 50));
	say("signals: %d", (int)signals);
	TRY(ppoll(&p, 1, &(struct timespec){ 1, 0 }, &open));
	say("signals: %d", (int)signals);
	raise(SIGUSR1);
	TRY(epoll_pwait(ep, &ev, 1, 1000, &open));
	say("signals: %d", (int)signals);
	raise(SIGUSR1);
	FD_ZERO(&set);
	FD_SET(fd, &set);
	TRY(pselect(fd + 1, &set, NULL, NULL, &(struct timespec){ 1, 0 }, &open));
	say("signals: %d", (int)signals);
	raise(SIGUSR1);
	peer("send %d 1", slot);
	until_readable(fd, 1);
	TRY(ppoll(&p, 1, &(struct timespec){ 1, 0 }, &open));
	say("signals: %d", (int)signals);
	sigprocmask(SIG_UNBLOCK, &block, NULL);
	say("signals: %d", (int)signals);
	close(ep);
	close(fd);
	signal(SIGUSR1, SIG_DFL);
}

struct job {
	int fd;
	const char *what;
};

static void *act(void *arg)
{
	struct job *j = arg;

	usleep(150000);
	if (!strcmp(j->what, "shutdown"))
		shutdown(j->fd, SHUT_RDWR);
	else if (!strcmp(j->what, "send"))
		send(j->fd, "xyz", 3, 0);
	return NULL;
}

/* What another thread does to the socket reaches the one that waits. */
static void other_thread(void)
{
	struct job j = { .what = "shutdown" };
	int slot, fd = connect_out(&slot);
	struct pollfd p = { .fd = fd, .events = POLLIN | POLLRDHUP };
	pthread_t t;

	j.fd = fd;
	pthread_create(&t, NULL, act, &j);
	elapsed();
	GET(recv(fd, buf, 10, 0), buf);
	after(150);
	pthread_join(t, NULL);
	close(fd);

	j.fd = fd = connect_out(&slot);
	pthread_create(&t, NULL, act, &j);
	elapsed();
	TRY(poll(&p, 1, 3000));
	after(150);
	say("%s", events((unsigned short)p.revents));
	pthread_join(t, NULL);
	close(fd);

	/* one thread receives while another sends */
	j = (struct job){ .fd = fd = connect_out(&slot), .what = "send" };
	pthread_create(&t, NULL, act, &j);
	peer("later 300 send %d 2", slot);
	GET(recv(fd, buf, 10, 0), buf);
	pthread_join(t, NULL);
	say("peer got: %ld", peer("take %d", slot));
	close(fd);
}

static void zero_and_negative(void)
{
	int slot, fd = connect_out(&slot);
	struct pollfd p[3] = { { .fd = -1, .events = POLLIN }, { .fd = fd, .events = POLLOUT }, { .fd = 9999 } };
	struct pollfd idle = { .fd = fd, .events = POLLIN };

	TRY(poll(p, 3, 0));
	say("%s %s %s", events((unsigned short)p[0].revents), events((unsigned short)p[1].revents),
	    events((unsigned short)p[2].revents));
	elapsed();
	TRY(poll(&idle, 1, 100));
	after(100);
	TRY(poll(NULL, 0, 50));
	TRY(ppoll(&idle, 1, &(struct timespec){ 0, -1 }, NULL));
	TRY(select(-1, NULL, NULL, NULL, &(struct timeval){ 0, 0 }));
	elapsed();
	TRY(select(0, NULL, NULL, NULL, &(struct timeval){ 0, 100000 }));
	after(100);
	/* the same descriptor twice, and mixed with a pipe */
	p[0] = (struct pollfd){ .fd = fd, .events = POLLOUT };
	p[1] = (struct pollfd){ .fd = fd, .events = POLLIN };
	p[2] = (struct pollfd){ .fd = o.control, .events = POLLOUT };
	TRY(poll(p, 3, 0));
	close(fd);
}

/* A kernel descriptor and a connection in one wait: whichever comes first ends it. */
static void mixed(void)
{
	int slot, fd = connect_out(&slot), ends[2], n;
	struct epoll_event ev[2] = { { .events = EPOLLIN, .data.u32 = 1 }, { .events = EPOLLIN, .data.u32 = 2 } };
	int ep = epoll_create1(EPOLL_CLOEXEC);
	struct pollfd p[2];

	if (pipe2(ends, O_CLOEXEC))
		return;
	p[0] = (struct pollfd){ .fd = fd, .events = POLLIN };
	p[1] = (struct pollfd){ .fd = ends[0], .events = POLLIN };
	epoll_ctl(ep, EPOLL_CTL_ADD, fd, &ev[0]);
	epoll_ctl(ep, EPOLL_CTL_ADD, ends[0], &ev[1]);
	TRY(poll(p, 2, 50));
	peer("later 100 send %d 1", slot);
	TRY(poll(p, 2, 3000));
	say("%s %s", events((unsigned short)p[0].revents), events((unsigned short)p[1].revents));
	recv(fd, buf, 10, 0);
	if (!fork()) {
		usleep(100000);
		_exit(write(ends[1], "x", 1) != 1);
	}
	n = epoll_wait(ep, ev, 2, 3000);
	say("epoll %d: member %u", n, ev[0].data.u32);
	wait(NULL);
	peer("send %d 1", slot);
	until_readable(fd, 1);
	/* both are ready; one wait may tell of one only, but none is left out */
	for (int seen = 0, i = 0; i < 100; i++) {
		n = epoll_wait(ep, ev, 2, 1000);
		for (int k = 0; k < n; k++)
			seen |= (int)ev[k].data.u32;
		if (seen == 3) {
			say("both seen");
			break;
		}
	}
	TRY(poll(p, 2, 3000));
	close(ep);
	close(ends[0]);
	close(ends[1]);
	close(fd);
}

void t_block(void)
{
	timeouts();
	comes_late();
	signalled(0, "without SA_RESTART");
	signalled(SA_RESTART, "with SA_RESTART");
	signalled_polls(0);
	signalled_polls(SA_RESTART);
	masked();
	other_thread();
	zero_and_negative();
	mixed();
}
