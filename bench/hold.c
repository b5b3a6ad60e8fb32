/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * Connections that do nothing: hold HOST PORT PORTS CONNECTIONS SECONDS PID, against `server PORT 64 PORTS`, whose process
 * PID is. Each has carried 64 bytes there and back. Prints the share of a core that the server has used in SECONDS of
 * silence, and what its arena has grown by, a connection (proc(5): schedstat, smaps); nothing where it has not:
 * it has none, or had as many connections before.
 */
#include "bench/client.h"

#include <errno.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <time.h>
#include <unistd.h>

#define BYTES	64

/* Time that the process has run, ns; it has one thread. */
static uint64_t ran(int pid)
{
	unsigned long long ns;
	char path[64];
	FILE *f;

	snprintf(path, sizeof(path), "/proc/%d/schedstat", pid);
	f = fopen(path, "re");
	if (!f || fscanf(f, "%llu", &ns) != 1)
		client_die(path);
	fclose(f);
	return ns;
}

/* Bytes of the arena with memory behind them. */
static uint64_t arena(int pid)
{
	char path[64], line[512];
	unsigned long kb, sum = 0;
	bool in = false;
	FILE *f;

	snprintf(path, sizeof(path), "/proc/%d/smaps", pid);
	f = fopen(path, "re");
	if (!f)
		client_die(path);
	while (fgets(line, sizeof(line), f)) {
		if (strchr(line, '-') && strstr(line, " rw-"))
			in = strstr(line, "fastnet-arena");
		else if (in && sscanf(line, "Rss: %lu", &kb) == 1)
			sum += kb;
	}
	fclose(f);
	return sum * 1024ull;
}

static void open_one(struct sockaddr_in to, unsigned port)
{
	char request[BYTES] = "request", response[BYTES];
	int fd;

	to.sin_port = htons((uint16_t)(ntohs(to.sin_port) + port));
	fd = client_connect(&to);
	if (write(fd, request, BYTES) != BYTES || recv(fd, response, BYTES, MSG_WAITALL) != BYTES)
		client_die("request and answer");
}

int main(int argc, char **argv)
{
	unsigned ports, count, pid;
	uint64_t start, before, used, had, has;
	struct timespec silence;
	struct sockaddr_in to;

	if (argc != 7) {
		fprintf(stderr, "usage: hold HOST PORT PORTS CONNECTIONS SECONDS PID\n");
		return 2;
	}
	to = client_addr(argv[1], argv[2]);
	ports = (unsigned)atoi(argv[3]);
	count = (unsigned)atoi(argv[4]);
	pid = (unsigned)atoi(argv[6]);
	errno = EINVAL;
	if (!ports || !count)
		client_die("ports, connections");
	silence = (struct timespec){ .tv_sec = atoi(argv[5]) };
	open_one(to, 0);
	had = arena((int)pid);
	for (unsigned i = 1; i <= count; i++)
		open_one(to, i % ports);
	before = ran((int)pid);
	start = client_now();
	nanosleep(&silence, NULL);
	used = ran((int)pid) - before;
	printf("ops=%u cpu=%.3f", count, (double)used * 100 / (double)(client_now() - start));
	has = arena((int)pid);
	if (has > had)
		printf(" arena=%.0f", (double)(has - had) / count);
	putchar('\n');
	return 0;
}
