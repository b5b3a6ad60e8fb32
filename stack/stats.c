/* SPDX-License-Identifier: BSD-3-Clause */
/* Names and explanations of counters and drop reasons, made from the two tables. */
#include "stats.h"

struct fn_entry {
	const char *name, *text;
};

static const struct fn_entry drops[FN_DROP_COUNT] = {
	[FN_DROP_NONE] = {"NONE", "not dropped"},
#define FN_DROP(name, text) [FN_DROP_##name] = {#name, text},
#include "drop.def"
#undef FN_DROP
};

static const struct fn_entry stats[] = {
#define FN_STAT(name, text) {#name, text},
#include "stat.def"
#undef FN_STAT
};

_Static_assert(offsetof(struct fn_stats, drop) == sizeof(stats) / sizeof(stats[0]) * sizeof(uint64_t),
	       "counter number i is the i-th word of struct fn_stats");

const char *fn_drop_name(unsigned reason)
{
	fn_assert(reason < FN_DROP_COUNT);
	return drops[reason].name;
}

const char *fn_drop_text(unsigned reason)
{
	fn_assert(reason < FN_DROP_COUNT);
	return drops[reason].text;
}

const char *fn_stat_name(unsigned i)
{
	return i < fn_array_size(stats) ? stats[i].name : NULL;
}

const char *fn_stat_text(unsigned i)
{
	return i < fn_array_size(stats) ? stats[i].text : NULL;
}
