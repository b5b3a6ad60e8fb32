/* SPDX-License-Identifier: BSD-3-Clause */
/* After a death under the lock: see fn_stack_recover(). */
#include "net.h"

void fn_stack_recover(struct fn_stack *st)
{
	st->stats.lock_inherited++;
}
