/* SPDX-License-Identifier: BSD-3-Clause */
/* Where the copies of user_copy.S may fault, and where they go on then: see user.h. */
#include "stack/user.h"

#include <string.h>

#define PAGE	4096u

/* Of user_copy.S; the first is called from there. */
size_t fn_user_copy_large(void *to, const void *from, size_t n);
size_t fn_user_bytes(void *to, const void *from, size_t n);

extern const char fn_user_begin[], fn_user_end[], fn_user_slow[], fn_user_slow_end[];
extern const char fn_user_probe[], fn_user_probe_end[], fn_user_probed[];

static const struct {
	const char *begin, *end, *on;
} fixups[] = {
	{ fn_user_begin, fn_user_end, (const char *)fn_user_bytes },
	{ fn_user_slow, fn_user_slow_end, fn_user_slow_end },
	{ fn_user_probe, fn_user_probe_end, fn_user_probed },
};

/* Of FN_USER_PROBE; the linker names the bounds of the section. */
struct entry {
	int32_t at, on;		/* from the entry's own place, and from .on's */
};
extern const struct entry __start_fn_user_table[], __stop_fn_user_table[];
static const struct entry none __attribute__((section("fn_user_table"), used));

bool fn_user_fixup(uintptr_t *ip)
{
	for (const struct entry *e = __start_fn_user_table; e < __stop_fn_user_table; e++)
		if (e->at && *ip == (uintptr_t)&e->at + (uintptr_t)(intptr_t)e->at) {
			*ip = (uintptr_t)&e->on + (uintptr_t)(intptr_t)e->on;
			return true;
		}
	for (size_t i = 0; i < fn_array_size(fixups); i++)
		if (*ip >= (uintptr_t)fixups[i].begin && *ip < (uintptr_t)fixups[i].end) {
			*ip = (uintptr_t)fixups[i].on;
			return true;
		}
	return false;
}

/*
 * The destination is going to be overwritten, so that what is tried there takes nothing away from anybody. What another
 * thread unmaps between the look and the copy is a fault like any other.
 */
size_t fn_user_copy_large(void *to, const void *from, size_t n)
{
	size_t at = 0;

	do {
		if (!fn_user_may_write((char *)to + at) || !fn_user_may_read((const char *)from + at))
			return fn_user_bytes(to, from, n);
		at += PAGE;
	} while (at < n);
	if (!fn_user_may_write((char *)to + n - 1) || !fn_user_may_read((const char *)from + n - 1))
		return fn_user_bytes(to, from, n);
	memcpy(to, from, n);
	return 0;
}
