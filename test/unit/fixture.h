/* SPDX-License-Identifier: BSD-3-Clause */
/* What unit tests of the stack share: an arena in the program's own memory. */
#ifndef TEST_FIXTURE_H
#define TEST_FIXTURE_H

#include <stdlib.h>
#include <string.h>

#include "stack/arena.h"

/* A zeroed arena with `size` bytes backed; free(a) ends it. */
static inline struct fn_arena *test_arena(size_t size)
{
	void *mem = aligned_alloc(4096, size);

	memset(mem, 0, size);
	return fn_arena_init(mem, size, size, NULL, NULL);
}

#endif
