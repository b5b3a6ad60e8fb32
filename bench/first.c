/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * What a short-lived client pays: first HOST PORT, against `server PORT 64`. Prints the microseconds from socket() to a
 * connect() that has succeeded; then 64 bytes go there and back, so that the connection was one.
 */
#include "bench/client.h"

#include <errno.h>
#include <stdio.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#define BYTES	64

int main(int argc, char **argv)
{
	char request[BYTES] = "request", response[BYTES];
	struct sockaddr_in to;
	uint64_t start, ns;
	int fd;

	if (argc != 3) {
		fprintf(stderr, "usage: first HOST PORT\n");
		return 2;
	}
	to = client_addr(argv[1], argv[2]);
	start = client_now();
	fd = client_connect(&to);
	ns = client_now() - start;
	errno = EIO;
	if (write(fd, request, BYTES) != BYTES || recv(fd, response, BYTES, MSG_WAITALL) != BYTES ||
	    memcmp(request, response, BYTES))
		client_die("the answer is not the request");
	printf("%.1f\n", (double)ns / 1e3);
	return 0;
}
