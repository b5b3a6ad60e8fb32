/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * A kernel UDP client that keeps `window` datagrams under way to an echo server and checks what comes back:
 *	udp_client ADDRESS PORT COUNT SIZE WINDOW [sleep]
 * Prints round trips (ns: median, 99th percentile) and datagrams a second. Exit status 1 when one came back damaged, or
 * more than one in a hundred not at all. It spins in recv() unless told to sleep there.
 */
#include <arpa/inet.h>
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <time.h>

#define SIZE_MAX_UDP	65507
#define LOST_NS		200000000u

static unsigned char out[SIZE_MAX_UDP], in[SIZE_MAX_UDP];

static unsigned long now_ns(void)
{
	struct timespec ts;

	clock_gettime(CLOCK_MONOTONIC, &ts);
	return (unsigned long)ts.tv_sec * 1000000000ul + (unsigned long)ts.tv_nsec;
}

static int by_value(const void *a, const void *b)
{
	unsigned long x = *(const unsigned long *)a, y = *(const unsigned long *)b;

	return x < y ? -1 : x > y;
}

static void fill(unsigned char *p, size_t len, unsigned seq)
{
	for (size_t i = 16; i < len; i++)
		p[i] = (unsigned char)(seq + i);
}

/* Damaged: anything but the datagram that was sent under that number. */
static int damaged(size_t len, size_t size)
{
	unsigned seq;

	memcpy(&seq, in, sizeof(seq));
	fill(out, size, seq);
	return len != size || memcmp(in + 16, out + 16, size - 16) != 0;
}

int main(int argc, char **argv)
{
	struct sockaddr_in to = { .sin_family = AF_INET };
	struct timeval wait = { .tv_usec = LOST_NS / 1000 };
	unsigned count, size, window, sent = 0, got = 0, bad = 0, lost = 0, under_way = 0;
	unsigned long *rtt, start, last;
	int fd = socket(AF_INET, SOCK_DGRAM, 0), flags = MSG_DONTWAIT;

	if (argc < 6)
		return 2;
	inet_pton(AF_INET, argv[1], &to.sin_addr);
	to.sin_port = htons((uint16_t)atoi(argv[2]));
	count = (unsigned)atoi(argv[3]);
	size = (unsigned)atoi(argv[4]);
	window = (unsigned)atoi(argv[5]);
	if (argc > 6) {
		flags = 0;
		setsockopt(fd, SOL_SOCKET, SO_RCVTIMEO, &wait, sizeof(wait));
	}
	rtt = calloc(count, sizeof(*rtt));
	if (!rtt || size < 16 || size > SIZE_MAX_UDP || connect(fd, (struct sockaddr *)&to, sizeof(to)))
		return 2;
	start = last = now_ns();
	while (got + lost < count) {
		ssize_t n;

		while (under_way < window && sent < count) {
			unsigned long t = now_ns();

			memcpy(out, &sent, sizeof(sent));
			memcpy(out + 8, &t, sizeof(t));
			fill(out, size, sent);
			if (send(fd, out, size, 0) < 0)
				break;
			sent++;
			under_way++;
		}
		n = recv(fd, in, sizeof(in), flags);
		if (n >= 16) {
			unsigned long t;

			memcpy(&t, in + 8, sizeof(t));
			last = now_ns();
			rtt[got++] = last - t;
			under_way -= under_way > 0;
			bad += (unsigned)damaged((size_t)n, size);
		} else if (now_ns() - last > LOST_NS) {
			lost += under_way;
			under_way = 0;
			last = now_ns();
		}
	}
	qsort(rtt, got, sizeof(*rtt), by_value);
	printf("sent %u got %u lost %u damaged %u p50 %lu p99 %lu ns, %.0f /s\n", sent, got, lost, bad, got ? rtt[got / 2] : 0,
	       got ? rtt[got * 99ul / 100] : 0, got * 1e9 / (double)(now_ns() - start));
	free(rtt);
	return bad || lost * 100ul > count;
}
