/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * What a kernel descriptor pays for libfastnet.so being there: each call by its name, which the preloaded library
 * answers, against libc's own function, in turns within one process, so that noise meets both.
 *
 *	LD_PRELOAD=.libs/libfastnet.so bench/fdcost [ROUNDS] [MAX_NS]
 *
 * Prints ns a call and the median of the differences, before and after the first socket that could be accelerated. With
 * MAX_NS it exits with 1 when one is dearer than that; with 77 when nothing is preloaded, for then there is nothing to
 * measure. epoll_wait has a set made past the library, epoll_set one made through it that holds kernel descriptors only;
 * epoll_ever and epoll_time are on such a set too, and go the way of a wait that sleeps: without end, with a timeout.
 *
 * What the library does not wrap (malloc, stdio, a mutex) costs more where it makes the process more than it was, with a
 * thread of its own say: measured here and in a process without the library, in turns; the least of each counts.
 */
#include <dlfcn.h>
#include <fcntl.h>
#include <poll.h>
#include <pthread.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/socket.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#define CALLS 1000	/* in one measurement: about 200 us */

static int null_fd, epoll_fd, set_fd, ready_fd, socket_fd;
static char byte[1];

/* How a call's cost is found: medians over many short turns. */
struct cost {
	double libc, more;
};

/* The functions under test, as the program's own references find them, or as libc has them. */
struct calls {
	ssize_t (*read)(int, void *, size_t);
	ssize_t (*write)(int, const void *, size_t);
	int (*poll)(struct pollfd *, nfds_t, int);
	int (*epoll_wait)(int, struct epoll_event *, int, int);
	ssize_t (*recv)(int, void *, size_t, int);
	int (*fcntl)(int, int, ...);
	int (*close)(int);
	int (*epoll_create1)(int);
};

static void do_read(const struct calls *c)
{
	c->read(null_fd, byte, 1);
}

static void do_write(const struct calls *c)
{
	c->write(null_fd, byte, 1);
}

static void do_poll(const struct calls *c)
{
	struct pollfd p = { .fd = null_fd, .events = POLLIN };

	c->poll(&p, 1, 0);
}

static void do_epoll_wait(const struct calls *c)
{
	struct epoll_event ev;

	c->epoll_wait(epoll_fd, &ev, 1, 0);
}

static void do_epoll_set(const struct calls *c)
{
	struct epoll_event ev;

	c->epoll_wait(set_fd, &ev, 1, 0);
}

static void do_epoll_ever(const struct calls *c)
{
	struct epoll_event ev;

	c->epoll_wait(ready_fd, &ev, 1, -1);
}

static void do_epoll_time(const struct calls *c)
{
	struct epoll_event ev;

	c->epoll_wait(ready_fd, &ev, 1, 1000);
}

static void do_recv(const struct calls *c)
{
	c->recv(socket_fd, byte, 1, MSG_DONTWAIT);
}

static void do_fcntl(const struct calls *c)
{
	c->fcntl(null_fd, F_GETFL);
}

/* The kernel refuses at once, so that the wrapper's share is not lost in the cost of closing. */
static void do_close(const struct calls *c)
{
	c->close(150);
}

static const struct {
	const char *name;
	void (*run)(const struct calls *c);
} tests[] = {
	{ "read", do_read }, { "write", do_write }, { "poll", do_poll }, { "epoll_wait", do_epoll_wait },
	{ "epoll_set", do_epoll_set }, { "epoll_ever", do_epoll_ever }, { "epoll_time", do_epoll_time }, { "recv", do_recv }, { "fcntl", do_fcntl }, { "close", do_close },
};

static void find(struct calls *c, void *where)
{
	*(void **)&c->read = dlsym(where, "read");
	*(void **)&c->write = dlsym(where, "write");
	*(void **)&c->poll = dlsym(where, "poll");
	*(void **)&c->epoll_wait = dlsym(where, "epoll_wait");
	*(void **)&c->recv = dlsym(where, "recv");
	*(void **)&c->fcntl = dlsym(where, "fcntl");
	*(void **)&c->close = dlsym(where, "close");
	*(void **)&c->epoll_create1 = dlsym(where, "epoll_create1");
}

static double ns_a_call(void (*run)(const struct calls *), const struct calls *c)
{
	struct timespec a, b;

	clock_gettime(CLOCK_MONOTONIC, &a);
	for (int i = 0; i < CALLS; i++)
		run(c);
	clock_gettime(CLOCK_MONOTONIC, &b);
	return ((double)(b.tv_sec - a.tv_sec) * 1e9 + (double)(b.tv_nsec - a.tv_nsec)) / CALLS;
}

static int by_value(const void *a, const void *b)
{
	double d = *(const double *)a - *(const double *)b;

	return (d > 0) - (d < 0);
}

static double median(double *v, int n)
{
	qsort(v, (size_t)n, sizeof(*v), by_value);
	return v[n / 2];
}

static struct cost measure(void (*run)(const struct calls *), const struct calls *ours, const struct calls *libc,
			   int rounds)
{
	double *native = calloc((size_t)rounds, sizeof(*native)), *diff = calloc((size_t)rounds, sizeof(*diff));
	struct cost cost;

	for (int i = 0; i < rounds; i++) {
		native[i] = ns_a_call(run, libc);
		diff[i] = ns_a_call(run, ours) - native[i];
	}
	cost = (struct cost){ median(native, rounds), median(diff, rounds) };
	free(native);
	free(diff);
	return cost;
}

/* One table of all calls; how many are dearer by more than max. */
static int table(const char *title, const struct calls *ours, const struct calls *libc, int rounds, double max)
{
	int dear = 0;

	printf("%s\n%-12s %10s %10s\n", title, "call", "libc ns", "more ns");
	for (size_t t = 0; t < sizeof(tests) / sizeof(*tests); t++) {
		struct cost cost = measure(tests[t].run, ours, libc, rounds);

		printf("%-12s %10.1f %10.1f\n", tests[t].name, cost.libc, cost.more);
		dear += cost.more > max;
	}
	return dear;
}

/* ---- what is not wrapped ---- */

static FILE *null_file;
static pthread_mutex_t mutex = PTHREAD_MUTEX_INITIALIZER;

static void do_malloc(const struct calls *c)
{
	void *volatile p = malloc(100);

	(void)c;
	free(p);
}

static void do_stdio(const struct calls *c)
{
	(void)c;
	putc('x', null_file);
}

static void do_mutex(const struct calls *c)
{
	(void)c;
	pthread_mutex_lock(&mutex);
	pthread_mutex_unlock(&mutex);
}

static void (*const bare[])(const struct calls *c) = { do_malloc, do_stdio, do_mutex };
static const char *const bare_names[] = { "malloc", "stdio", "mutex" };
#define BARE		3
#define BARE_ROUNDS	200
#define BARE_TURNS	5

/* The least of many short measurements, of each. */
static void measure_bare(double *ns)
{
	null_file = fopen("/dev/null", "w");
	for (int t = 0; t < BARE; t++) {
		ns[t] = 1e9;
		for (int i = 0; i < BARE_ROUNDS; i++) {
			double one = ns_a_call(bare[t], NULL);

			ns[t] = one < ns[t] ? one : ns[t];
		}
	}
	fclose(null_file);
}

/* The same in a process of its own, without the library: its output is the numbers. */
static int measure_elsewhere(double *ns)
{
	char *const argv[] = { "fdcost", "bare", NULL }, *const env[] = { NULL };
	ssize_t n = 0;
	int out[2];
	pid_t pid;

	if (pipe(out))
		return -1;
	pid = fork();
	if (pid == 0) {
		dup2(out[1], 1);
		execve("/proc/self/exe", argv, env);
		_exit(127);
	}
	close(out[1]);
	if (pid > 0)
		n = read(out[0], ns, BARE * sizeof(*ns));
	close(out[0]);
	waitpid(pid, NULL, 0);
	return n == BARE * sizeof(*ns) ? 0 : -1;
}

static int table_bare(double max)
{
	double here[BARE], there[BARE], one[BARE];
	int dear = 0;

	measure_bare(here);
	if (measure_elsewhere(there))
		return 1;
	for (int i = 1; i < BARE_TURNS; i++) {
		measure_bare(one);
		for (int t = 0; t < BARE; t++)
			here[t] = one[t] < here[t] ? one[t] : here[t];
		if (measure_elsewhere(one))
			return 1;
		for (int t = 0; t < BARE; t++)
			there[t] = one[t] < there[t] ? one[t] : there[t];
	}
	for (int t = 0; t < BARE; t++) {
		printf("%-12s %10.1f %10.1f\n", bare_names[t], there[t], here[t] - there[t]);
		dear += here[t] - there[t] > max;
	}
	return dear;
}

static int bare_main(void)
{
	double ns[BARE];

	measure_bare(ns);
	return write(1, ns, sizeof(ns)) != sizeof(ns);
}

int main(int argc, char **argv)
{
	int rounds = argc > 1 ? atoi(argv[1]) : 400, dear;
	double max = argc > 2 ? atof(argv[2]) : 1e9;
	struct epoll_event none = { .events = 0 }, in = { .events = EPOLLIN };
	struct calls ours, libc;
	int pipes[2];

	if (argc > 1 && !strcmp(argv[1], "bare"))
		return bare_main();
	find(&ours, RTLD_DEFAULT);
	find(&libc, dlopen("libc.so.6", RTLD_NOW | RTLD_NOLOAD));
	if (rounds < 1 || !libc.read)
		return 2;
	if (ours.read == libc.read) {
		fprintf(stderr, "fdcost: nothing is preloaded\n");
		return 77;
	}
	null_fd = open("/dev/null", O_RDWR);
	epoll_fd = libc.epoll_create1(0);
	set_fd = epoll_create1(0);
	ready_fd = epoll_create1(0);
	if (pipe(pipes) || epoll_ctl(set_fd, EPOLL_CTL_ADD, pipes[0], &none) || write(pipes[1], byte, 1) != 1 ||
	    epoll_ctl(ready_fd, EPOLL_CTL_ADD, pipes[0], &in))
		return 2;
	socket_fd = socket(AF_UNIX, SOCK_DGRAM, 0);
	dear = table("no socket that could be accelerated", &ours, &libc, rounds, max);
	if (socket(AF_INET, SOCK_STREAM, 0) < 0)
		return 2;
	dear += table_bare(max);
	dear += table("\none TCP socket, not connected", &ours, &libc, rounds, max);
	dear += table_bare(max);
	return dear > 0;
}
