/* SPDX-License-Identifier: BSD-3-Clause */
/* The slow half of lock.h: spin a little, then sleep. */
#include "shim/lock.h"

fn_cold void fn_lock_slow(struct fn_lock *l)
{
	for (int i = 0; i < FN_LOCK_SPINS; i++) {
		if (!fn_lock_held(l) && fn_lock_try(l))
			return;
		__builtin_ia32_pause();
	}
	/* pairs with the release in fn_lock_release(); 2 says that somebody sleeps, so the holder wakes one */
	while (atomic_exchange_explicit(&l->word, 2, memory_order_acquire) != 0)
		fn_sys_futex((uint32_t *)&l->word, FUTEX_WAIT, 2, NULL);
}
