/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * A lock in shared memory that survives its holder: when the thread that has it ends or execs, the kernel marks it
 * (set_robust_list(2)) and the next one is told. Stands in the same list of the thread as libc's robust mutexes, whose
 * layout it therefore has. Not recursive. Owns nothing but the lock's word and its place in that list.
 */
#ifndef FN_ROBUST_H
#define FN_ROBUST_H

#include <linux/futex.h>
#include <stdatomic.h>
#include <stdbool.h>

#include "shim/sys.h"

/* Where libc's list has its links: the kernel finds the word at a distance from .next that is the thread's (nptl's
 * struct __pthread_mutex_s: __lock and __list). */
struct fn_robust {
	_Atomic(uint32_t) word;		/* the holder's TID | FUTEX_WAITERS | FUTEX_OWNER_DIED */
	uint32_t unused[5];
	void *prev, *next;		/* of the holder's list: addresses of .next */
};

/* All zero is free. 0, or -EOWNERDEAD: had, but its last holder died with it. */
int fn_robust_lock(struct fn_robust *l);
/* The same without waiting; -EBUSY. */
int fn_robust_try(struct fn_robust *l);
void fn_robust_unlock(struct fn_robust *l);

/* Nobody has it, whether given back or left behind. */
fn_inline bool fn_robust_free(struct fn_robust *l)
{
	return !(atomic_load_explicit(&l->word, memory_order_relaxed) & FUTEX_TID_MASK);
}

/* In a process made by fork: its only thread has another number now. */
void fn_robust_child(void);
/* The same in one made by a bare clone(2), which libc has not prepared: no robust mutex of libc's is used there. */
void fn_robust_bare_child(void);

#endif
