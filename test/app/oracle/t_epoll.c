/* SPDX-License-Identifier: BSD-3-Clause */
/* epoll sets with connections in them: triggers, registrations, dups, sets in sets. */
#include <pthread.h>
#include <sys/timerfd.h>

#include "oracle.h"

static char buf[256];
static const struct itimerspec soon = { .it_value = { .tv_nsec = 50000000 } };

static int ctl(int ep, int op, int fd, unsigned ev, uint64_t data)
{
	struct epoll_event e = { .events = ev, .data.u64 = data };

	return epoll_ctl(ep, op, fd, &e);
}

/* Everything ready within ms, in order of data. */
static void ready(const char *when, int ep, int ms)
{
	struct epoll_event ev[8];
	int n = epoll_wait(ep, ev, COUNT(ev), ms);
	char text[256] = "";

	if (n < 0) {
		say("%s: %s", when, error_name(errno));
		return;
	}
	for (uint64_t d = 0; d < 16; d++)
		for (int i = 0; i < n; i++)
			if (ev[i].data.u64 == d)
				sprintf(text + strlen(text), " %d:%s", (int)d, events(ev[i].events));
	say("%s: %d%s", when, n, text);
}

static void level(void)
{
	int slot, fd = connect_out(&slot), ep = epoll_create1(EPOLL_CLOEXEC);

	TRY(ctl(ep, EPOLL_CTL_ADD, fd, EPOLLIN, 1));
	ready("idle", ep, 0);
	peer("send %d 6", slot);
	ready("data", ep, 3000);
	ready("still", ep, 0);
	GET(recv(fd, buf, 3, 0), buf);
	ready("half read", ep, 0);
	GET(recv(fd, buf, 3, 0), buf);
	ready("read", ep, 0);
	TRY(ctl(ep, EPOLL_CTL_MOD, fd, EPOLLIN | EPOLLOUT | EPOLLRDHUP, 2));
	ready("with out", ep, 0);
	peer("shut %d", slot);
	until(fd, POLLRDHUP);
	ready("end", ep, 0);
	TRY(ctl(ep, EPOLL_CTL_MOD, fd, 0, 3));
	ready("nothing wanted", ep, 0);
	TRY(shutdown(fd, SHUT_WR));
	until(fd, POLLHUP);
	ready("hung up", ep, 0);
	TRY(ctl(ep, EPOLL_CTL_DEL, fd, 0, 0));
	ready("taken out", ep, 0);
	close(fd);
	close(ep);
}

static void edge(void)
{
	int slot, fd = connect_out(&slot), ep = epoll_create1(EPOLL_CLOEXEC);

	TRY(ctl(ep, EPOLL_CTL_ADD, fd, EPOLLIN | EPOLLOUT | EPOLLRDHUP | EPOLLET, 1));
	ready("first", ep, 0);
	ready("again", ep, 0);
	peer("send %d 3", slot);
	ready("data", ep, 3000);
	ready("again", ep, 0);
	GET(recv(fd, buf, 1, 0), buf);
	ready("partly read", ep, 0);
	peer("send %d 3", slot);
	ready("more data", ep, 3000);
	GET(recv(fd, buf, 100, 0), buf);
	TRY(recv(fd, buf, 100, MSG_DONTWAIT));
	ready("read", ep, 0);
	TRY(ctl(ep, EPOLL_CTL_MOD, fd, EPOLLIN | EPOLLOUT | EPOLLET, 2));
	ready("modified", ep, 0);
	ready("again", ep, 0);
	TRY(ctl(ep, EPOLL_CTL_MOD, fd, EPOLLIN | EPOLLRDHUP | EPOLLET, 3));
	ready("modified, nothing there", ep, 0);
	peer("shut %d", slot);
	ready("end", ep, 3000);
	ready("again", ep, 0);
	close(fd);
	ready("closed", ep, 0);
	close(ep);
}

static void oneshot(void)
{
	int slot, fd = connect_out(&slot), ep = epoll_create1(EPOLL_CLOEXEC);

	TRY(ctl(ep, EPOLL_CTL_ADD, fd, EPOLLIN | EPOLLONESHOT, 1));
	peer("send %d 3", slot);
	ready("data", ep, 3000);
	ready("again", ep, 0);
	peer("send %d 3", slot);
	until_readable(fd, 6);
	ready("disarmed", ep, 50);
	TRY(ctl(ep, EPOLL_CTL_ADD, fd, EPOLLIN, 1));
	TRY(ctl(ep, EPOLL_CTL_MOD, fd, EPOLLIN | EPOLLONESHOT, 2));
	ready("armed again", ep, 0);
	peer("rst %d", slot);
	until(fd, POLLERR);
	ready("disarmed, reset", ep, 50);
	TRY(ctl(ep, EPOLL_CTL_MOD, fd, EPOLLIN | EPOLLONESHOT | EPOLLET, 3));
	ready("armed again", ep, 0);
	close(fd);
	close(ep);
}

static void errors(void)
{
	int slot, fd = connect_out(&slot), ep = epoll_create1(EPOLL_CLOEXEC);
	struct epoll_event ev;

	TRY(ctl(ep, EPOLL_CTL_MOD, fd, EPOLLIN, 1));
	TRY(ctl(ep, EPOLL_CTL_DEL, fd, EPOLLIN, 1));
	TRY(ctl(ep, EPOLL_CTL_ADD, fd, EPOLLIN, 1));
	TRY(ctl(ep, EPOLL_CTL_ADD, fd, EPOLLIN, 1));
	TRY(ctl(ep, 7, fd, EPOLLIN, 1));
	TRY(ctl(fd, EPOLL_CTL_ADD, ep, EPOLLIN, 1));
	TRY(ctl(ep, EPOLL_CTL_ADD, ep, EPOLLIN, 1));
	TRY(ctl(ep, EPOLL_CTL_ADD, 9999, EPOLLIN, 1));
	TRY(ctl(9999, EPOLL_CTL_ADD, fd, EPOLLIN, 1));
	TRY(epoll_ctl(ep, EPOLL_CTL_DEL, fd, NULL));
	TRY(ctl(ep, EPOLL_CTL_ADD, fd, EPOLLIN | EPOLLEXCLUSIVE, 1));
	TRY(ctl(ep, EPOLL_CTL_MOD, fd, EPOLLIN, 1));
	TRY(ctl(ep, EPOLL_CTL_DEL, fd, 0, 0));
	TRY(ctl(ep, EPOLL_CTL_ADD, fd, EPOLLIN | EPOLLEXCLUSIVE | EPOLLONESHOT, 1));
	TRY(ctl(ep, EPOLL_CTL_ADD, fd, EPOLLIN, 1));
	TRY(ctl(ep, EPOLL_CTL_MOD, fd, EPOLLIN | EPOLLEXCLUSIVE, 1));
	TRY(epoll_wait(ep, &ev, 0, 0));
	TRY(epoll_wait(ep, &ev, minus_one, 0));
	TRY(epoll_wait(fd, &ev, 1, 0));
	close(fd);
	close(ep);
}

/* A registration belongs to number and description both: a dup keeps the description, not the number. */
static void dups(void)
{
	int slot, fd = connect_out(&slot), ep = epoll_create1(EPOLL_CLOEXEC), two;

	TRY(ctl(ep, EPOLL_CTL_ADD, fd, EPOLLIN, 1));
	two = dup(fd);
	TRY(ctl(ep, EPOLL_CTL_ADD, two, EPOLLIN | EPOLLET, 2));
	peer("send %d 3", slot);
	until_readable(fd, 3);
	ready("two numbers", ep, 0);
	ready("again", ep, 0);
	TRY(close(two));
	ready("one closed", ep, 0);
	two = dup(fd);
	TRY(close(fd));
	ready("the other lives", ep, 0);
	TRY(ctl(ep, EPOLL_CTL_DEL, two, 0, 0));
	GET(recv(two, buf, 100, 0), buf);
	TRY(close(two));
	ready("all closed", ep, 0);
	close(ep);
}

static void several_sets(void)
{
	int slot, fd = connect_out(&slot), a = epoll_create1(EPOLL_CLOEXEC), b = epoll_create1(EPOLL_CLOEXEC);
	int outer = epoll_create1(EPOLL_CLOEXEC);
	struct pollfd p = { .fd = a, .events = POLLIN };

	ctl(a, EPOLL_CTL_ADD, fd, EPOLLIN, 1);
	ctl(b, EPOLL_CTL_ADD, fd, EPOLLIN | EPOLLET, 2);
	TRY(ctl(outer, EPOLL_CTL_ADD, a, EPOLLIN, 3));
	TRY(ctl(a, EPOLL_CTL_ADD, outer, EPOLLIN, 3));
	TRY(poll(&p, 1, 0));
	ready("outer idle", outer, 0);
	peer("later 100 send %d 3", slot);
	ready("outer", outer, 3000);
	TRY(poll(&p, 1, 0));
	say("%s", events((unsigned short)p.revents));
	ready("a", a, 0);
	ready("b", b, 0);
	ready("b again", b, 0);
	GET(recv(fd, buf, 100, 0), buf);
	ready("outer, read", outer, 0);
	TRY(poll(&p, 1, 0));
	close(fd);
	close(outer);
	close(a);
	close(b);
}

/* Registered before connect(): the registration comes along. */
static void registered_early(unsigned flags, const char *what)
{
	struct sockaddr_in to = addr_of(o.peer, (int)peer("listen"));
	int fd = socket(AF_INET, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0), ep = epoll_create1(EPOLL_CLOEXEC);

	say("-- %s", what);
	TRY(ctl(ep, EPOLL_CTL_ADD, fd, EPOLLIN | EPOLLOUT | flags, 5));
	ready("not connected", ep, 0);
	TRY(connect(fd, (struct sockaddr *)&to, sizeof(to)));
	until(fd, POLLOUT);
	ready("connected", ep, 100);
	TRY(ctl(ep, EPOLL_CTL_ADD, fd, EPOLLIN, 5));
	TRY(ctl(ep, EPOLL_CTL_MOD, fd, EPOLLOUT, 6));
	ready("modified", ep, 0);
	close(fd);
	ready("closed", ep, 0);
	close(ep);
}

static void many(void)
{
	int fd[8], slot[8], ep = epoll_create1(EPOLL_CLOEXEC), seen[8] = { 0 }, rounds = 0;
	struct epoll_event ev[3];

	for (unsigned i = 0; i < COUNT(fd); i++) {
		fd[i] = ways[i % 2].make(&slot[i]);
		ctl(ep, EPOLL_CTL_ADD, fd[i], EPOLLIN, i);
		peer("send %d 1", slot[i]);
		until_readable(fd[i], 1);
	}
	/* room for three at a time: nobody is left out */
	for (int done = 0; done < 8 && rounds < 8; rounds++)
		for (int i = 0, n = epoll_wait(ep, ev, 3, 100); i < n; i++)
			if (!seen[ev[i].data.u64]++)
				done++;
	say("all of 8 seen in %s rounds", rounds <= 4 ? "few" : "many");
	for (unsigned i = 0; i < COUNT(fd); i++)
		close(fd[i]);
	ready("closed", ep, 0);
	close(ep);
}

/* poll and select on a set, for what only the kernel knows of it. */
static void polled_timer(int ep, int timer)
{
	struct pollfd p = { .fd = ep, .events = POLLIN };
	struct timeval tv = { 5, 0 };
	uint64_t times;
	fd_set set;

	TRY(timerfd_settime(timer, 0, &soon, NULL));
	TRY(poll(&p, 1, 5000));
	say("events %#x", p.revents);
	TRY(read(timer, &times, sizeof(times)));
	TRY(timerfd_settime(timer, 0, &soon, NULL));
	FD_ZERO(&set);
	FD_SET(ep, &set);
	TRY(select(ep + 1, &set, NULL, NULL, &tv));
	say("in it: %d", !!FD_ISSET(ep, &set));
	TRY(poll(&p, 1, 0));
	TRY(read(timer, &times, sizeof(times)));
	TRY(poll(&p, 1, 0));
}

/* Another thread polls it while this one sleeps, and looks after the network. */
static struct beside {
	int ep, timer, fd;
	bool in_time;
} beside;

static void *poll_beside(void *arg)
{
	struct beside *b = arg;
	struct pollfd p = { .fd = b->ep, .events = POLLIN };
	struct timespec from, to;

	until_asleep(getpid());
	clock_gettime(CLOCK_MONOTONIC, &from);
	timerfd_settime(b->timer, 0, &soon, NULL);
	poll(&p, 1, 3000);
	clock_gettime(CLOCK_MONOTONIC, &to);
	b->in_time = to.tv_sec - from.tv_sec < 2 && p.revents == POLLIN;
	shutdown(b->fd, SHUT_RD);
	return NULL;
}

static void polled_beside(int ep, int timer, int fd)
{
	pthread_t t;

	beside = (struct beside){ ep, timer, fd, false };
	pthread_create(&t, NULL, poll_beside, &beside);
	TRY(recv(fd, buf, sizeof(buf), 0));
	pthread_join(t, NULL);
	say("polled in time: %d", beside.in_time);
}

static void polled(void)
{
	int slot, fd, ep = epoll_create1(EPOLL_CLOEXEC), timer = timerfd_create(CLOCK_MONOTONIC, TFD_CLOEXEC | TFD_NONBLOCK);
	struct pollfd p = { .fd = ep, .events = POLLIN };

	TRY(ctl(ep, EPOLL_CTL_ADD, timer, EPOLLIN, 1));
	polled_timer(ep, timer);
	fd = connect_out(&slot);
	TRY(ctl(ep, EPOLL_CTL_ADD, fd, EPOLLIN, 2));
	polled_timer(ep, timer);
	ctl(ep, EPOLL_CTL_DEL, fd, 0, 0);
	polled_beside(ep, timer, fd);
	close(fd);
	fd = connect_out(&slot);
	TRY(ctl(ep, EPOLL_CTL_ADD, fd, EPOLLIN, 2));
	peer("send %d 3", slot);
	TRY(poll(&p, 1, 5000));
	say("events %#x", p.revents);
	close(fd);
	close(timer);
	close(ep);
}

/* ---- sets in sets, of which the inner one has members of both kinds ---- */

/* The timer expires while somebody sleeps on that set; what it then says, and once more. */
static void wakes(const char *when, int ep, int timer)
{
	uint64_t times;

	timerfd_settime(timer, 0, &soon, NULL);
	ready(when, ep, 3000);
	ready("again", ep, 0);
	read(timer, &times, sizeof(times));
	ready("read", ep, 0);
}

static void nested_triggers(int inner, int outer, int timer)
{
	TRY(ctl(outer, EPOLL_CTL_MOD, inner, EPOLLIN | EPOLLET, 4));
	wakes("edge", outer, timer);
	wakes("the next edge", outer, timer);
	TRY(ctl(outer, EPOLL_CTL_MOD, inner, EPOLLIN | EPOLLONESHOT, 5));
	wakes("once", outer, timer);
	timerfd_settime(timer, 0, &soon, NULL);
	ready("disarmed", outer, 200);
	TRY(ctl(outer, EPOLL_CTL_MOD, inner, EPOLLIN, 6));
	ready("armed", outer, 3000);
	ready("inner", inner, 0);
	read(timer, buf, 8);
}

static void nested_higher(int outer, int timer)
{
	int top = epoll_create1(EPOLL_CLOEXEC);
	struct pollfd p = { .fd = top, .events = POLLIN };

	TRY(ctl(top, EPOLL_CTL_ADD, outer, EPOLLIN, 7));
	wakes("top", top, timer);
	TRY(ctl(top, EPOLL_CTL_MOD, outer, EPOLLIN | EPOLLET, 8));
	wakes("top, edge", top, timer);
	timerfd_settime(timer, 0, &soon, NULL);
	TRY(poll(&p, 1, 3000));
	say("events %#x", p.revents);
	p.fd = outer;
	read(timer, buf, 8);
	TRY(poll(&p, 1, 0));
	timerfd_settime(timer, 0, &soon, NULL);
	TRY(poll(&p, 1, 3000));
	read(timer, buf, 8);
	close(top);
}

/* The connection comes into the inner set before or after that is in the outer one. */
static void nested(bool late)
{
	int slot, fd = connect_out(&slot), inner = epoll_create1(EPOLL_CLOEXEC), outer = epoll_create1(EPOLL_CLOEXEC);
	int timer = timerfd_create(CLOCK_MONOTONIC, TFD_CLOEXEC | TFD_NONBLOCK), copy;

	say("a set in a set, %s", late ? "late" : "early");
	TRY(ctl(inner, EPOLL_CTL_ADD, timer, EPOLLIN, 1));
	if (late)
		TRY(ctl(outer, EPOLL_CTL_ADD, inner, EPOLLIN, 3));
	TRY(ctl(inner, EPOLL_CTL_ADD, fd, EPOLLIN, 2));
	if (!late)
		TRY(ctl(outer, EPOLL_CTL_ADD, inner, EPOLLIN, 3));
	ready("nothing", outer, 0);
	wakes("the timer", outer, timer);
	peer("send %d 6", slot);
	ready("data", outer, 3000);
	timerfd_settime(timer, 0, &soon, NULL);
	until(timer, POLLIN);
	ready("both", outer, 0);
	ready("inner", inner, 0);
	GET(recv(fd, buf, 6, 0), buf);
	ready("the timer is left", outer, 0);
	read(timer, buf, 8);
	ready("nothing is left", outer, 0);
	nested_triggers(inner, outer, timer);
	nested_higher(outer, timer);
	TRY(ctl(inner, EPOLL_CTL_DEL, fd, 0, 0));
	wakes("without the connection", outer, timer);
	copy = dup(inner);
	close(inner);
	wakes("by another number", outer, timer);
	close(copy);
	timerfd_settime(timer, 0, &soon, NULL);
	ready("gone", outer, 200);
	close(outer);
	close(timer);
	close(fd);
}

void t_epoll(void)
{
	nested(false);
	nested(true);
	level();
	edge();
	oneshot();
	errors();
	dups();
	several_sets();
	polled();
	registered_early(0, "level");
	registered_early(EPOLLET, "edge");
	registered_early(EPOLLONESHOT, "one shot");
	many();
}
