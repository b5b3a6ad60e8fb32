/* SPDX-License-Identifier: BSD-3-Clause */
/* How long a thread spins before it sleeps: adapted to the measured time between arrivals, or FASTNET_SPIN_US. */
#ifndef FN_SPIN_H
#define FN_SPIN_H

#include <stdint.h>

/* ns to spin in the wait that begins. */
uint64_t fn_spin_budget(void);
/* A wait ended with an event after `ns`. */
void fn_spin_arrival(uint64_t ns);
/* A wait went to sleep. */
void fn_spin_slept(void);

#endif
