/* SPDX-License-Identifier: BSD-3-Clause */
/* How long a thread spins before it sleeps: adapted to the measured time between arrivals, or FASTNET_SPIN_US. */
#ifndef FN_SPIN_H
#define FN_SPIN_H

#include <stdbool.h>
#include <stdint.h>

/* ns to spin in the wait that begins. */
uint64_t fn_spin_budget(void);
/* A wait ended with an event after `ns`. */
void fn_spin_arrival(uint64_t ns);
/*
 * Whoever shares a CPU with its peer may yield it. Not for a while when that took long: then somebody else wants the CPU too,
 * and has it for a slice, where a sleeper is woken in between. `now`; before and after a yield.
 */
bool fn_spin_may_yield(uint64_t now);
void fn_spin_yielded(uint64_t before, uint64_t after);
/* A wait went to sleep. */
void fn_spin_slept(void);

#endif
