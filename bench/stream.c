/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * Bulk data one way: stream HOST PORT in|out SECONDS, as the server sees it: `in` is sent to `server PORT in`, `out` is
 * received from `server PORT out`. Counts what the receiver has: with `in` the server says in the end how much came.
 */
#include "bench/client.h"

#include <errno.h>
#include <stdio.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

static char buf[262144];

/* The server has read n bytes; it says so after our FIN. */
static uint64_t send_for(int fd, uint64_t ns)
{
	uint64_t start = client_now(), sent = 0, counted;
	ssize_t n;

	while (client_now() - start < ns) {
		n = write(fd, buf, sizeof(buf));
		if (n < 0)
			client_die("write");
		sent += (uint64_t)n;
	}
	shutdown(fd, SHUT_WR);
	if (recv(fd, &counted, sizeof(counted), MSG_WAITALL) != sizeof(counted))
		client_die("no count from the server");
	errno = EIO;
	if (counted != sent)
		client_die("the server has not got what was sent");
	return sent;
}

static uint64_t receive_for(int fd, uint64_t ns)
{
	uint64_t start = client_now(), got = 0;
	ssize_t n;

	while (client_now() - start < ns) {
		n = read(fd, buf, sizeof(buf));
		if (n <= 0)
			client_die(n == 0 ? "closed by the server" : "read");
		got += (uint64_t)n;
	}
	return got;
}

int main(int argc, char **argv)
{
	struct sockaddr_in to;
	uint64_t bytes, start, for_ns;
	double ns;
	int fd;

	if (argc != 5) {
		fprintf(stderr, "usage: stream HOST PORT in|out SECONDS\n");
		return 2;
	}
	to = client_addr(argv[1], argv[2]);
	for_ns = client_seconds(argv[4]);
	fd = client_connect(&to);
	start = client_now();
	bytes = strcmp(argv[3], "in") ? receive_for(fd, for_ns) : send_for(fd, for_ns);
	ns = (double)(client_now() - start);
	printf("ops=%llu rate=%.3f\n", (unsigned long long)bytes, (double)bytes * 8 / ns);
	return 0;
}
