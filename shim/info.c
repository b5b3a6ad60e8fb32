/* SPDX-License-Identifier: BSD-3-Clause */
/* The record that tools read, and the ring of decisions in it. The other members are image.c's. */
#include "shim/info.h"
#include "shim/info_layout.h"

#include <time.h>

#ifndef PACKAGE_VERSION
#include "config.h"
#endif

struct fn_info fastnet_info = {
	.magic = FN_INFO_MAGIC,
	.layout = FN_INFO_LAYOUT,
	.size = sizeof(struct fn_info),
	.version = PACKAGE_VERSION,
};

static uint64_t now_ns(void)
{
	struct timespec ts;

	clock_gettime(CLOCK_REALTIME, &ts);
	return (uint64_t)ts.tv_sec * FN_NSEC + (uint64_t)ts.tv_nsec;
}

/*
 * Each writer takes a number of its own and so a slot of its own, unless it is overtaken by a whole ring meanwhile. The
 * slot's seq is 0 while it changes and its number afterwards (release; pairs with the tool's two reads of seq around its copy).
 */
void fn_info_decision(const struct fn_info_decision *d)
{
	uint64_t n = __atomic_add_fetch(&fastnet_info.decisions, 1, __ATOMIC_RELAXED);
	struct fn_info_decision *slot = &fastnet_info.ring[n % FN_INFO_DECISIONS];
	struct fn_info_decision new = *d;

	__atomic_store_n(&slot->seq, 0, __ATOMIC_RELAXED);
	__atomic_thread_fence(__ATOMIC_RELEASE);
	new.seq = 0;
	new.time = now_ns();
	*slot = new;
	__atomic_store_n(&slot->seq, n, __ATOMIC_RELEASE);
	if (d->reason < FN_REASON_COUNT)
		__atomic_add_fetch(&fastnet_info.reasons[d->reason], 1, __ATOMIC_RELAXED);
}
