/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * Connections a second: crr HOST PORT CONNECTIONS SECONDS, against `server PORT 64`. Each connection carries 64 bytes
 * there and 64 back, is closed by us, and is followed by the next; CONNECTIONS of them are under way at a time. They go to
 * the server's eight ports in turn: TIME_WAIT is ours, and a second of it would use up one port's 4-tuples.
 */
#include "bench/client.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/socket.h>
#include <unistd.h>

#define BYTES	64
#define MAX	1024
#define PORTS	8

/* got < 0: the request is not sent yet. */
static struct {
	int fd, got;
} conn[MAX];

static int epfd;
static unsigned long begun, done;

static void begin(unsigned i, const struct sockaddr_in *to)
{
	struct epoll_event ev = { .events = EPOLLOUT, .data.u32 = i };

	struct sockaddr_in at = *to;

	at.sin_port = htons((uint16_t)(ntohs(to->sin_port) + begun++ % PORTS));
	conn[i].got = -1;
	conn[i].fd = socket(AF_INET, SOCK_STREAM | SOCK_NONBLOCK, 0);
	if (conn[i].fd < 0)
		client_die("socket");
	if (connect(conn[i].fd, (const struct sockaddr *)&at, sizeof(at)) < 0 && errno != EINPROGRESS)
		client_die("connect");
	if (epoll_ctl(epfd, EPOLL_CTL_ADD, conn[i].fd, &ev) < 0)
		client_die("epoll_ctl");
}

static void send_request(unsigned i)
{
	struct epoll_event ev = { .events = EPOLLIN, .data.u32 = i };
	char request[BYTES] = "request";

	if (write(conn[i].fd, request, BYTES) != BYTES)
		client_die("connect or write");
	conn[i].got = 0;
	epoll_ctl(epfd, EPOLL_CTL_MOD, conn[i].fd, &ev);
}

/* True: the connection's work is done. */
static int take_response(unsigned i)
{
	char response[BYTES];
	ssize_t n = read(conn[i].fd, response, sizeof(response));

	if (n == 0 || (n < 0 && errno != EAGAIN))
		client_die(n == 0 ? "closed by the server" : "read");
	conn[i].got += n > 0 ? (int)n : 0;
	return conn[i].got == BYTES;
}

static void event(unsigned i, const struct sockaddr_in *to)
{
	if (conn[i].got < 0) {
		send_request(i);
	} else if (take_response(i)) {
		close(conn[i].fd);
		done++;
		begin(i, to);
	}
}

int main(int argc, char **argv)
{
	struct epoll_event ev[MAX];
	struct sockaddr_in to;
	unsigned count;
	uint64_t start, for_ns;

	if (argc != 5) {
		fprintf(stderr, "usage: crr HOST PORT CONNECTIONS SECONDS\n");
		return 2;
	}
	to = client_addr(argv[1], argv[2]);
	count = (unsigned)atoi(argv[3]);
	for_ns = client_seconds(argv[4]);
	epfd = epoll_create1(0);
	errno = EINVAL;
	if (epfd < 0 || count < 1 || count > MAX)
		client_die("connections");
	start = client_now();
	for (unsigned i = 0; i < count; i++)
		begin(i, &to);
	while (client_now() - start < for_ns) {
		int n = epoll_wait(epfd, ev, MAX, 2000);

		errno = ETIMEDOUT;
		if (n <= 0)
			client_die("no connection has gone on for 2 s");
		for (int i = 0; i < n; i++)
			event(ev[i].data.u32, &to);
	}
	printf("ops=%lu rate=%.0f\n", done, (double)done * 1e9 / (double)(client_now() - start));
	return 0;
}
