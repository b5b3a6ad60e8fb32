/* SPDX-License-Identifier: BSD-3-Clause */
/* See client.h. */
#include "bench/client.h"

#include <arpa/inet.h>
#include <errno.h>
#include <netinet/tcp.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <time.h>

void client_die(const char *text)
{
	fprintf(stderr, "%s: %s: %s\n", program_invocation_short_name, text, strerror(errno));
	exit(1);
}

struct sockaddr_in client_addr(const char *host, const char *port)
{
	struct sockaddr_in to = { .sin_family = AF_INET, .sin_port = htons((uint16_t)atoi(port)) };

	errno = EINVAL;
	if (inet_pton(AF_INET, host, &to.sin_addr) != 1 || !to.sin_port)
		client_die("address");
	return to;
}

int client_connect(const struct sockaddr_in *to)
{
	int fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0), one = 1;

	if (fd < 0 || connect(fd, (const struct sockaddr *)to, sizeof(*to)) < 0)
		client_die("connect");
	setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &one, sizeof(one));
	return fd;
}

int client_connect_udp(const struct sockaddr_in *to)
{
	int fd = socket(AF_INET, SOCK_DGRAM | SOCK_CLOEXEC, 0);

	if (fd < 0 || connect(fd, (const struct sockaddr *)to, sizeof(*to)) < 0)
		client_die("connect");
	return fd;
}

uint64_t client_now(void)
{
	struct timespec ts;

	clock_gettime(CLOCK_MONOTONIC, &ts);
	return (uint64_t)ts.tv_sec * 1000000000 + (uint64_t)ts.tv_nsec;
}

uint64_t client_seconds(const char *text)
{
	double s = atof(text);

	errno = EINVAL;
	if (!(s > 0 && s < 1e6))
		client_die("seconds");
	return (uint64_t)(s * 1e9);
}
