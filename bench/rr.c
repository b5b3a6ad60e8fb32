/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * Request and response on one connection: rr HOST PORT BYTES SECONDS [udp] [block], against `server PORT BYTES`. Every round
 * trip is timed; the first tenth of a second is warming up. Spins on a non-blocking read, as the sleep of a client would
 * be most of what is measured; with `block` it waits in a blocking one. With `udp` it is datagrams of a connected socket,
 * against `server PORT udp`; when one is lost it waits for ever.
 */
#include "bench/client.h"

#include <errno.h>
#include <fcntl.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#define WARM_NS	100000000u
#define SAMPLES	4000000u	/* more than a second has, by far */

static char buf[65536];

/* One round trip of len bytes; what comes back must be what went. */
static void round_trip(int fd, size_t len, unsigned mark)
{
	size_t got = 0;
	ssize_t n;

	memcpy(buf, &mark, sizeof(mark));
	if (write(fd, buf, len) != (ssize_t)len)
		client_die("write");
	while (got < len) {
		n = read(fd, buf + got, len - got);
		if (n > 0)
			got += (size_t)n;
		else if (n == 0 || errno != EAGAIN)
			client_die(n == 0 ? "closed by the server" : "read");
	}
	if (memcmp(buf, &mark, sizeof(mark)))
		client_die("a response is not the request's");
}

static int by_value(const void *a, const void *b)
{
	uint32_t x = *(const uint32_t *)a, y = *(const uint32_t *)b;

	return (x > y) - (x < y);
}

int main(int argc, char **argv)
{
	uint32_t *ns = calloc(SAMPLES, sizeof(*ns));
	uint64_t for_ns, start, end, t;
	unsigned count = 0, mark = 0;
	bool udp = argc > 5 && !strcmp(argv[5], "udp"), block = argc > 5 && !strcmp(argv[argc - 1], "block");
	struct sockaddr_in to;
	size_t len;
	int fd;

	if (argc < 5 || argc != 5 + udp + block) {
		fprintf(stderr, "usage: rr HOST PORT BYTES SECONDS [udp] [block]\n");
		return 2;
	}
	to = client_addr(argv[1], argv[2]);
	len = (size_t)atol(argv[3]);
	for_ns = client_seconds(argv[4]);
	fd = udp ? client_connect_udp(&to) : client_connect(&to);
	errno = EINVAL;
	if (!ns || len < sizeof(mark) || len > sizeof(buf))
		client_die("size");
	if (!block)
		fcntl(fd, F_SETFL, O_NONBLOCK);
	for (end = client_now() + WARM_NS; client_now() < end;)
		round_trip(fd, len, mark++);
	start = t = client_now();
	while (t - start < for_ns && count < SAMPLES) {
		uint64_t before = t;

		round_trip(fd, len, mark++);
		t = client_now();
		ns[count++] = (uint32_t)(t - before);
	}
	qsort(ns, count, sizeof(*ns), by_value);
	printf("ops=%u rate=%.0f p50=%.2f p999=%.2f\n", count, count * 1e9 / (double)(t - start), ns[count / 2] / 1e3,
	       ns[(size_t)count * 999 / 1000] / 1e3);
	return 0;
}
