/* SPDX-License-Identifier: BSD-3-Clause */
/* The arena's watermark: hands out memory upwards and asks its creator to back more. Must not know what lies in it. */
#include "arena.h"

#define ALIGN		64
#define GROW_STEP	(256u << 10)	/* 64 pages: 0.2 ms of posix_fallocate at a time */

static size_t round_up(size_t n, size_t to)
{
	return (n + to - 1) & ~(to - 1);
}

struct fn_arena *fn_arena_init(void *base, size_t reserve, size_t backed, fn_arena_grow_fn grow, void *ctx)
{
	struct fn_arena *a = base;

	if (backed < sizeof(*a) || backed > reserve)
		return NULL;
	*a = (struct fn_arena){.base = base, .used = round_up(sizeof(*a), ALIGN), .backed = backed,
		.reserve = reserve, .grow = grow, .grow_ctx = ctx};
	return a;
}

static fn_cold bool arena_back(struct fn_arena *a, size_t need)
{
	size_t size = fn_min(round_up(need, GROW_STEP), a->reserve);

	if (need > a->reserve || !a->grow || a->grow(a->grow_ctx, size)) {
		a->grow_failed++;
		return false;
	}
	a->backed = size;
	return true;
}

void *fn_arena_alloc(struct fn_arena *a, size_t size)
{
	size_t at = a->used, end;

	if (size > a->reserve)
		return NULL;
	end = at + round_up(size, ALIGN);
	if (end > a->backed && !arena_back(a, end))
		return NULL;
	a->used = end;
	return a->base + at;
}
