/* SPDX-License-Identifier: BSD-3-Clause */
/* Counters and drop reasons, made from stat.def and drop.def. Written under the stack's lock, read by tools at any time. */
#ifndef FN_STATS_H
#define FN_STATS_H

#include "compiler.h"

enum fn_drop {
	FN_DROP_NONE,
#define FN_DROP(name, text) FN_DROP_##name,
#include "drop.def"
#undef FN_DROP
	FN_DROP_COUNT
};

struct fn_stats {
#define FN_STAT(name, text) uint64_t name;
#include "stat.def"
#undef FN_STAT
	uint64_t drop[FN_DROP_COUNT];
};

/* "TCP_PAWS" and its explanation; reason < FN_DROP_COUNT. */
const char *fn_drop_name(unsigned reason);
const char *fn_drop_text(unsigned reason);
/* Counter number i of struct fn_stats in order: name and explanation; NULL past the last. */
const char *fn_stat_name(unsigned i);
const char *fn_stat_text(unsigned i);

#endif
