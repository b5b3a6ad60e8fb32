/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * A futex lock (Drepper, "Futexes Are Tricky", mutex 2): 0 free, 1 held, 2 held and somebody sleeps. Spins a little
 * first, for holds are one burst. Not recursive; never held across a system call that can block, or across fork.
 * Order: the engine's lock, then the fd table's, then a slab's.
 */
#ifndef FN_LOCK_H
#define FN_LOCK_H

#include <linux/futex.h>
#include <stdatomic.h>

#include "shim/sys.h"

struct fn_lock {
	_Atomic uint32_t word;
};

/* Never free again: another lock counts instead (engine.h). */
#define FN_LOCK_MOVED 3

/* Tries before sleeping; a hold is a few hundred ns (bench/stack), a pause about 40 ns. */
#define FN_LOCK_SPINS 100

fn_cold void fn_lock_slow(struct fn_lock *l);

fn_inline bool fn_lock_try(struct fn_lock *l)
{
	uint32_t zero = 0;

	/* pairs with the release in fn_lock_release() */
	return atomic_compare_exchange_strong_explicit(&l->word, &zero, 1, memory_order_acquire, memory_order_relaxed);
}

fn_inline void fn_lock_take(struct fn_lock *l)
{
	if (fn_unlikely(!fn_lock_try(l)))
		fn_lock_slow(l);
}

fn_inline void fn_lock_release(struct fn_lock *l)
{
	/* pairs with the acquire in fn_lock_try() and fn_lock_slow() */
	if (fn_unlikely(atomic_exchange_explicit(&l->word, 0, memory_order_release) == 2))
		fn_sys_futex((uint32_t *)&l->word, FUTEX_WAKE, 1, NULL);
}

fn_inline bool fn_lock_held(struct fn_lock *l)
{
	return atomic_load_explicit(&l->word, memory_order_relaxed) != 0;
}

#endif
