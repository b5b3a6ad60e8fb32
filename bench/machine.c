/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * What the machine itself does at this moment, so that a disturbed round can be told from a slow program: machine CPU CPU.
 * Prints the round trip of a cache line between the two cores (median of many short turns) and the bandwidth of memcpy
 * over a buffer larger than the second-level cache. Takes about 50 ms.
 */
#include <pthread.h>
#include <sched.h>
#include <stdatomic.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#define TURNS	40
#define TRIPS	2000		/* a turn is 0.6 ms: shorter than a scheduler's slice */
#define COPY	(8u << 20)
#define COPIES	12

static _Alignas(128) _Atomic(uint32_t) line;

static uint64_t now(void)
{
	struct timespec ts;

	clock_gettime(CLOCK_MONOTONIC, &ts);
	return (uint64_t)ts.tv_sec * 1000000000 + (uint64_t)ts.tv_nsec;
}

static void pin(int cpu)
{
	cpu_set_t set;

	CPU_ZERO(&set);
	CPU_SET(cpu, &set);
	sched_setaffinity(0, sizeof(set), &set);
}

/* Answers every odd value with the next even one. */
static void *answer(void *arg)
{
	pin(*(int *)arg);
	for (uint32_t i = 0; i < TURNS * TRIPS; i++) {
		while (atomic_load_explicit(&line, memory_order_acquire) != 2 * i + 1)
			;
		atomic_store_explicit(&line, 2 * i + 2, memory_order_release);
	}
	return NULL;
}

static int by_value(const void *a, const void *b)
{
	double d = *(const double *)a - *(const double *)b;

	return (d > 0) - (d < 0);
}

static double ping_pong(int cpu)
{
	double ns[TURNS];
	pthread_t peer;

	if (pthread_create(&peer, NULL, answer, &cpu))
		return 0;
	for (uint32_t turn = 0, i = 0; turn < TURNS; turn++) {
		uint64_t start = now();

		for (uint32_t end = i + TRIPS; i < end; i++) {
			atomic_store_explicit(&line, 2 * i + 1, memory_order_release);
			while (atomic_load_explicit(&line, memory_order_acquire) != 2 * i + 2)
				;
		}
		ns[turn] = (double)(now() - start) / TRIPS;
	}
	pthread_join(peer, NULL);
	qsort(ns, TURNS, sizeof(*ns), by_value);
	return ns[TURNS / 2];
}

static double bandwidth(void)
{
	char *from = malloc(COPY), *to = malloc(COPY);
	double gb[COPIES];

	if (!from || !to)
		return 0;
	memset(from, 1, COPY);
	memset(to, 2, COPY);
	for (int i = 0; i < COPIES; i++) {
		uint64_t start = now();

		memcpy(to, from, COPY);
		__asm__ volatile("" : : "r"(to) : "memory");
		gb[i] = COPY / (double)(now() - start);
	}
	free(from);
	free(to);
	qsort(gb, COPIES, sizeof(*gb), by_value);
	return gb[COPIES / 2];
}

int main(int argc, char **argv)
{
	if (argc != 3) {
		fprintf(stderr, "usage: machine CPU CPU\n");
		return 2;
	}
	pin(atoi(argv[1]));
	printf("ping=%.0f copy=%.1f\n", ping_pong(atoi(argv[2])), bandwidth());
	return 0;
}
