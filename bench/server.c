/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * The server of the load programs, natively or under the library: server PORT BYTES|in|out|udp [PORTS]. With a number, every so
 * many bytes of a connection are answered by themselves; `in` reads to the end and answers with the count; `out` writes as
 * long as it can; `udp` answers each datagram to PORT by itself. It listens on PORTS ports (8) from PORT on, so that a client may have more connections, or more of them in
 * TIME_WAIT, than one port allows it. One thread and one epoll set, level-triggered, as plain as servers come.
 */
#include <errno.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <signal.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/socket.h>
#include <unistd.h>

#define FDS	262144
#define EVENTS	256
#define PORTS	64

enum mode { ECHO, SINK, SOURCE, DATAGRAMS };

static enum mode mode;
static size_t message;
static int epfd;
static char buf[262144];
static struct conn {
	uint64_t got;		/* ECHO: of the message under way */
	char message[];		/* .message bytes */
} *conns[FDS];			/* ECHO and SINK, by number */

static void die(const char *text)
{
	perror(text);
	exit(1);
}

static int listener[PORTS], ports = 8, datagrams = -1;

static int listen_on(int port, int type)
{
	struct sockaddr_in at = { .sin_family = AF_INET, .sin_port = htons((uint16_t)port) };
	int fd = socket(AF_INET, type | SOCK_NONBLOCK, 0), one = 1;
	struct epoll_event ev = { .events = EPOLLIN, .data.fd = fd };

	setsockopt(fd, SOL_SOCKET, SO_REUSEADDR, &one, sizeof(one));
	if (bind(fd, (struct sockaddr *)&at, sizeof(at)) < 0 || (type == SOCK_STREAM && listen(fd, 1024) < 0))
		die("listen");
	if (epoll_ctl(epfd, EPOLL_CTL_ADD, fd, &ev) < 0)
		die("epoll_ctl");
	return fd;
}

static bool is_listener(int fd)
{
	return fd >= listener[0] && fd <= listener[ports - 1];	/* opened in a row */
}

static void accept_all(int from)
{
	int fd, one = 1;

	while ((fd = accept4(from, NULL, NULL, SOCK_NONBLOCK)) >= 0) {
		struct epoll_event ev = { .events = mode == SOURCE ? EPOLLOUT : EPOLLIN, .data.fd = fd };

		if (fd >= FDS || (!conns[fd] && !(conns[fd] = malloc(sizeof(struct conn) + message)))) {
			close(fd);
			continue;
		}
		conns[fd]->got = 0;
		setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &one, sizeof(one));
		if (epoll_ctl(epfd, EPOLL_CTL_ADD, fd, &ev) < 0)
			die("epoll_ctl");
	}
}

static void echo(int fd, struct conn *c)
{
	ssize_t n = read(fd, c->message + c->got, message - c->got);

	if (n == 0 || (n < 0 && errno != EAGAIN)) {
		close(fd);
		return;
	}
	c->got += n > 0 ? (uint64_t)n : 0;
	if (c->got < message)
		return;
	c->got = 0;
	if (write(fd, c->message, message) != (ssize_t)message)	/* fits the send buffer: one is under way */
		close(fd);
}

static void sink(int fd, struct conn *c)
{
	ssize_t n = read(fd, buf, sizeof(buf));

	if (n > 0) {
		c->got += (uint64_t)n;
	} else if (n == 0 || errno != EAGAIN) {
		if (n == 0 && write(fd, &c->got, sizeof(c->got)) < 0)
			perror("write");
		close(fd);
	}
}

static void source(int fd)
{
	if (write(fd, buf, sizeof(buf)) < 0 && errno != EAGAIN)
		close(fd);
}

/* One at a time: whoever asks waits for the answer. */
static void answer(int fd)
{
	struct sockaddr_in from;
	socklen_t len = sizeof(from);
	ssize_t n = recvfrom(fd, buf, sizeof(buf), 0, (struct sockaddr *)&from, &len);

	if (n >= 0 && sendto(fd, buf, (size_t)n, 0, (struct sockaddr *)&from, len) != n)
		perror("sendto");
}

static void serve(int fd)
{
	switch (mode) {
	case ECHO:
		echo(fd, conns[fd]);
		break;
	case SINK:
		sink(fd, conns[fd]);
		break;
	case SOURCE:
		source(fd);
		break;
	case DATAGRAMS:
		close(fd);
		break;
	}
}

int main(int argc, char **argv)
{
	struct epoll_event ev[EVENTS];

	if (argc != 3 && argc != 4) {
		fprintf(stderr, "usage: server PORT BYTES|in|out|udp [PORTS]\n");
		return 2;
	}
	message = (size_t)atol(argv[2]);
	mode = !strcmp(argv[2], "in") ? SINK : !strcmp(argv[2], "out") ? SOURCE :
	       !strcmp(argv[2], "udp") ? DATAGRAMS : ECHO;
	if (argc > 3)
		ports = atoi(argv[3]);
	if ((mode == ECHO && (message < 1 || message > sizeof(buf))) || ports < 1 || ports > PORTS)
		return 2;
	signal(SIGPIPE, SIG_IGN);
	epfd = epoll_create1(0);
	for (int i = 0; i < ports; i++)
		listener[i] = listen_on(atoi(argv[1]) + i, SOCK_STREAM);
	if (mode == DATAGRAMS)
		datagrams = listen_on(atoi(argv[1]), SOCK_DGRAM);
	for (;;) {
		int n = epoll_wait(epfd, ev, EVENTS, -1);

		if (n < 0 && errno != EINTR)
			die("epoll_wait");
		for (int i = 0; i < n; i++) {
			if (is_listener(ev[i].data.fd))
				accept_all(ev[i].data.fd);
			else if (ev[i].data.fd == datagrams)
				answer(datagrams);
			else
				serve(ev[i].data.fd);
		}
	}
}
