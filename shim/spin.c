/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * The spin budget. Spinning pays when the next packet comes sooner than a sleep and a wake-up cost (20-30 µs on the
 * machines measured); it is a loss when somebody else needs the core. So: a moving average of the time between arrivals
 * decides, within FN_SPIN_MAX; a thread that was preempted while it spun does not spin next time.
 */
#include "shim/spin.h"

#include "shim/engine.h"

#define FN_SPIN_START	50000	/* ns: the first guess, twice what a sleep and a wake-up cost */
#define FN_SPIN_MAX	200000
#define YIELD_LONG	1000000		/* ns: a third of a slice (base_slice_ns is 2.8 ms), more than a peer's batch takes */
#define NO_YIELD	1000000000ull	/* ns without, after a long one: 0.3 % of them are lost to others' slices */

static __thread uint64_t mean = FN_SPIN_START / 4;	/* ns between arrivals, moving average over 8 */
static __thread uint32_t sleeps;			/* sleeps in a row */
static __thread uint64_t yields_from;			/* no yields before */

uint64_t fn_spin_budget(void)
{
	if (fn_config.spin_us != FN_CONF_AUTO)
		return fn_config.spin_us * 1000ull;
	if (mean * 4 > FN_SPIN_MAX)
		return sleeps & 15 ? 0 : FN_SPIN_START;	/* a rare look whether things have become faster */
	return fn_max(mean * 4, (uint64_t)FN_SPIN_START);
}

void fn_spin_arrival(uint64_t ns)
{
	mean += (int64_t)(fn_min(ns, (uint64_t)FN_SPIN_MAX * 4) - mean) / 8;
}

bool fn_spin_may_yield(uint64_t now)
{
	return now >= yields_from;
}

void fn_spin_yielded(uint64_t before, uint64_t after)
{
	if (fn_unlikely(after - before > YIELD_LONG))
		yields_from = after + NO_YIELD;
}

void fn_spin_slept(void)
{
	sleeps++;
}
