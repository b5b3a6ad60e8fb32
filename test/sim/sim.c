/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * sim [--seeds A-B] [--trace] [--twice N] [--loss PPM] …: runs the seeds (1-100), prints the ones that fail and how to see
 * one again, and ends with "N passed, N failed". Each Nth seed (20th; 0: none) runs a second time, and every byte on the
 * wire must be the same.
 */
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/time.h>
#include <unistd.h>

#include "sim.h"

#define SECONDS_A_SEED	60	/* of processor time: a loop inside the stack never comes back */

static struct sim_options options = {-1, -1, -1, -1, -1, -1, -1, -1, -1, false};
static struct sim sim;
static uint8_t *memory[2];
static unsigned passed, failed;
static struct {
	uint64_t frames, bytes, retrans, rto, recoveries, ooo, resets, persist, reused, cookies, tso, virtual_ns;
} total;

static const struct {
	const char *name;
	int64_t *value;
	const char *help;
} settings[] = {
	{"loss", &options.loss, "frames lost, per million"},
	{"dup", &options.dup, "frames doubled, per million"},
	{"reorder", &options.reorder, "frames reordered, per million"},
	{"corrupt", &options.corrupt, "frames damaged, per million"},
	{"mtu", &options.mtu, "of the wire, bytes"},
	{"flows", &options.flows, "TCP connections"},
	{"caps", &options.caps, "offloads, enum fn_nic_cap"},
	{"release", &options.release, "ns for which the device keeps a transmitted buffer"},
	{"kind", &options.kind, "of every flow: 0 clean, 1 cross, 2 early, 3 abort, 4 refused, 5 crowd"},
};

static void usage(FILE *f)
{
	unsigned i;

	fprintf(f, "usage: sim [--seeds A-B] [--trace] [--twice N] [--NAME VALUE ...]\n");
	for (i = 0; i < fn_array_size(settings); i++)
		fprintf(f, "  --%-8s %s\n", settings[i].name, settings[i].help);
}

/* The stack died under a seed: say which. */
static void on_crash(int sig)
{
	char text[200];
	int n = snprintf(text, sizeof(text), "\nseed %llu: signal %d; again: sim --seeds %llu-%llu --trace\n%u passed, %u failed\n",
			 (unsigned long long)sim.seed, sig, (unsigned long long)sim.seed, (unsigned long long)sim.seed, passed, failed + 1);

	if (write(STDOUT_FILENO, text, (size_t)n) < 0)
		_exit(3);
	signal(sig, SIG_DFL);
	raise(sig);
}

static void catch_crashes(void)
{
	static const int sigs[] = {SIGILL, SIGABRT, SIGSEGV, SIGBUS, SIGFPE, SIGTRAP, SIGVTALRM};
	unsigned i;

	for (i = 0; i < fn_array_size(sigs); i++)
		signal(sigs[i], on_crash);
}

static void watchdog(void)
{
	struct itimerval it = {.it_value = {.tv_sec = SECONDS_A_SEED}};

	setitimer(ITIMER_VIRTUAL, &it, NULL);
}

static void add_totals(void)
{
	unsigned i;

	total.frames += sim.frames;
	total.bytes += sim.bytes;
	total.virtual_ns += sim.now;
	for (i = 0; i < 2; i++) {
		const struct fn_stats *st = &sim.side[i].st->stats;

		total.retrans += st->tcp_retrans;
		total.rto += st->tcp_rto;
		total.recoveries += st->tcp_fast_recovery;
		total.ooo += st->tcp_ooo;
		total.resets += st->tcp_rst_in;
		total.persist += st->tcp_persist;
		total.reused += st->tcp_time_wait_reused;
		total.cookies += st->tcp_syn_cookies_ok;
		total.tso += st->tcp_tso_segs;
	}
}

/* Fresh pages are zeroed ones. */
static void clear_memory(void)
{
	unsigned i;

	for (i = 0; i < 2; i++)
		madvise(memory[i], SIM_ARENA, MADV_DONTNEED);
}

static bool run_once(uint64_t seed)
{
	bool ok;

	watchdog();
	ok = sim_run(&sim, seed, &options, memory);
	if (!ok)
		printf("seed %llu: %s\n  again: sim --seeds %llu-%llu --trace\n", (unsigned long long)seed, sim.why,
		       (unsigned long long)seed, (unsigned long long)seed);
	if (sim.side[1].st)
		add_totals();
	sim_free(&sim);
	clear_memory();
	return ok;
}

static bool run_seed(uint64_t seed, bool twice)
{
	uint64_t hash;

	if (!run_once(seed))
		return false;
	hash = sim.wire_hash;
	if (!twice)
		return true;
	if (!run_once(seed))
		return false;
	if (hash != sim.wire_hash)
		printf("seed %llu: not deterministic: the second run put other bytes on the wire\n", (unsigned long long)seed);
	return hash == sim.wire_hash;
}

static bool parse_setting(const char *name, const char *value)
{
	unsigned i;
	char *end;

	for (i = 0; i < fn_array_size(settings); i++)
		if (!strcmp(name, settings[i].name)) {
			*settings[i].value = strtoll(value, &end, 0);
			return *value && !*end && *settings[i].value >= 0;
		}
	return false;
}

static void print_totals(void)
{
	printf("%llu frames, %llu bytes delivered, %.0f s of virtual time; %llu retransmissions, %llu RTOs, %llu fast recoveries, "
	       "%llu out of order, %llu resets, %llu window probes, %llu TIME_WAIT reused, %llu SYN cookies, %llu segments cut by "
	       "the device\n",
	       (unsigned long long)total.frames, (unsigned long long)total.bytes, (double)total.virtual_ns / 1e9,
	       (unsigned long long)total.retrans, (unsigned long long)total.rto, (unsigned long long)total.recoveries,
	       (unsigned long long)total.ooo, (unsigned long long)total.resets, (unsigned long long)total.persist,
	       (unsigned long long)total.reused, (unsigned long long)total.cookies, (unsigned long long)total.tso);
}

/* Seeds to run, and how often twice; false: a wrong argument. */
static bool parse_args(int argc, char **argv, unsigned long long *first, unsigned long long *last, unsigned long long *twice)
{
	int i, n;

	for (i = 1; i < argc; i++) {
		const char *a = argv[i], *v = i + 1 < argc ? argv[i + 1] : "";

		if (!strcmp(a, "--trace")) {
			options.trace = true;
			continue;
		}
		if (!strcmp(a, "--seeds")) {
			n = sscanf(v, "%llu-%llu", first, last);
			*last = n == 1 ? *first : *last;
		} else if (!strcmp(a, "--twice")) {
			*twice = strtoull(v, NULL, 10);
		} else if (strncmp(a, "--", 2) || !parse_setting(a + 2, v)) {
			return false;
		}
		i++;
	}
	return *last >= *first;
}

static bool map_memory(void)
{
	unsigned i;

	for (i = 0; i < 2; i++) {
		memory[i] = mmap(NULL, SIM_ARENA, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
		if (memory[i] == MAP_FAILED) {
			perror("sim: mmap");
			return false;
		}
	}
	return true;
}

int main(int argc, char **argv)
{
	unsigned long long first = 1, last = 100, twice = 20, seed;

	if (!parse_args(argc, argv, &first, &last, &twice)) {
		usage(stderr);
		return 2;
	}
	if (!map_memory())
		return 2;
	catch_crashes();
	for (seed = first; seed <= last; seed++) {
		if (run_seed(seed, twice && seed % twice == 0))
			passed++;
		else
			failed++;
		fflush(stdout);
	}
	print_totals();
	printf("%u passed, %u failed\n", passed, failed);
	return failed != 0;
}
