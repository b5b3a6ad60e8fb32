/* SPDX-License-Identifier: BSD-3-Clause */
/* The arena and its pools: alignment, growth on demand, refusal, type-stable objects and their numbers. */
#include <criterion/criterion.h>
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "stack/arena.h"

#define RESERVE	(4u << 20)

static size_t grown;
static int grow_result;

static int grow(void *ctx, size_t size)
{
	if (!grow_result)
		grown = size;
	return grow_result;
}

static struct fn_arena *make(size_t backed)
{
	void *mem = aligned_alloc(4096, RESERVE);

	memset(mem, 0, RESERVE);
	grown = 0;
	grow_result = 0;
	return fn_arena_init(mem, RESERVE, backed, grow, NULL);
}

Test(arena, hands_out_aligned_zeroed_memory)
{
	struct fn_arena *a = make(65536);
	uint8_t *x = fn_arena_alloc(a, 1), *y = fn_arena_alloc(a, 65), *z = fn_arena_alloc(a, 64);

	cr_assert_eq((uintptr_t)x % 64, 0);
	cr_assert_eq(y - x, 64);
	cr_assert_eq(z - y, 128);
	cr_assert_eq(grown, 0);
	free(a);
}

Test(arena, grows_only_past_its_watermark)
{
	struct fn_arena *a = make(65536);

	cr_assert_not_null(fn_arena_alloc(a, 60000));
	cr_assert_eq(grown, 0);
	cr_assert_not_null(fn_arena_alloc(a, 60000));
	cr_assert_geq(grown, 120000);
	cr_assert_eq(a->backed, grown);
	free(a);
}

Test(arena, refuses_when_backing_or_address_space_ends)
{
	struct fn_arena *a = make(65536);
	size_t used = a->used;

	grow_result = -ENOMEM;
	cr_assert_null(fn_arena_alloc(a, 100000));
	cr_assert_eq(a->grow_failed, 1);
	cr_assert_eq(a->used, used);
	grow_result = 0;
	cr_assert_null(fn_arena_alloc(a, RESERVE));
	cr_assert_null(fn_arena_alloc(a, SIZE_MAX));
	cr_assert_not_null(fn_arena_alloc(a, RESERVE - used));
	cr_assert_null(fn_arena_alloc(a, 1));
	cr_assert_null(fn_arena_init(a, RESERVE, 8, grow, NULL));
	free(a);
}

Test(pool, objects_are_zeroed_numbered_and_stable)
{
	struct fn_arena *a = make(RESERVE);
	struct fn_pool p;
	uint8_t *o[100];

	fn_pool_init(&p, a, 100, 16, 100);
	cr_assert_eq(p.obj_size, 128);
	for (uint32_t i = 0; i < 100; i++) {
		o[i] = fn_pool_alloc(&p);
		cr_assert_not_null(o[i]);
		cr_assert_eq(fn_pool_index(&p, o[i]), i + 1);
		cr_assert_eq(fn_pool_at(&p, i + 1), o[i]);
		for (unsigned k = 0; k < 100; k++)
			cr_assert_eq(o[i][k], 0);
		memset(o[i], 0xee, 100);
	}
	cr_assert_null(fn_pool_alloc(&p));
	cr_assert_eq(p.failed, 1);
	fn_pool_free(&p, o[41]);
	cr_assert_eq(p.used, 99);
	cr_assert_eq(fn_pool_alloc(&p), o[41]);
	for (unsigned k = 0; k < 100; k++)
		cr_assert_eq(o[41][k], 0);
	cr_assert_eq(p.peak, 100);
	free(a);
}

Test(pool, takes_memory_a_chunk_at_a_time_and_survives_its_end)
{
	struct fn_arena *a = make(65536);
	struct fn_pool p;
	size_t before = a->used;
	unsigned n = 0;

	fn_pool_init(&p, a, 1024, 8, 1000);
	cr_assert_eq(a->used, before);
	fn_pool_alloc(&p);
	cr_assert_eq(a->used - before, 8 * 1024);
	grow_result = -ENOMEM;
	while (fn_pool_alloc(&p))
		n++;
	cr_assert(n > 40 && n < 64);
	grow_result = 0;
	cr_assert_not_null(fn_pool_alloc(&p));
	free(a);
}

Test(pool, chunk_size_follows_a_large_maximum)
{
	struct fn_arena *a = make(65536);
	struct fn_pool p;

	fn_pool_init(&p, a, 64, 1, 1u << 20);
	cr_assert_geq((uint64_t)p.per_chunk * FN_POOL_CHUNKS, (1u << 20) + 1);
	free(a);
}
