/* SPDX-License-Identifier: BSD-3-Clause */
/* Pools of equal objects in an arena. Objects never move and never return to the arena; must not know what they are. */
#include <string.h>

#include "arena.h"

#define ALIGN	64

void fn_pool_init(struct fn_pool *p, struct fn_arena *a, uint32_t obj_size, uint32_t per_chunk, uint32_t max)
{
	uint32_t n = 1;

	/* a power of two, large enough for the chunk table */
	while (n < per_chunk || n < max / FN_POOL_CHUNKS + 1)
		n *= 2;
	memset(p, 0, offsetof(struct fn_pool, chunk));
	p->arena = a;
	p->obj_size = (obj_size + ALIGN - 1) & ~(uint32_t)(ALIGN - 1);
	p->per_chunk = n;
	p->max = max;
	p->made = 1;	/* object 0 exists in name only */
}

/* The next object of the last chunk, which is zero for being fresh. */
static void *pool_carve(struct fn_pool *p)
{
	uint32_t i = p->made, c = i / p->per_chunk;

	if (i > p->max)
		return NULL;
	if (!p->chunk[c]) {
		p->chunk[c] = fn_arena_alloc(p->arena, (size_t)p->obj_size * p->per_chunk);
		if (!p->chunk[c])
			return NULL;
	}
	p->made++;
	return fn_pool_at(p, i);
}

void *fn_pool_alloc(struct fn_pool *p)
{
	void *obj = p->free;

	if (obj) {
		p->free = *(void **)obj;
		memset(obj, 0, p->obj_size);
	} else if (!(obj = pool_carve(p))) {
		p->failed++;
		return NULL;
	}
	if (++p->used > p->peak)
		p->peak = p->used;
	return obj;
}

void fn_pool_free(struct fn_pool *p, void *obj)
{
	fn_assert(p->used);
	*(void **)obj = p->free;
	p->free = obj;
	p->used--;
}

void fn_pool_rebuild(struct fn_pool *p, bool (*used)(const void *obj))
{
	p->free = NULL;
	p->used = 0;
	for (uint32_t i = p->made; i-- > 1;) {
		void *obj = fn_pool_at(p, i);

		if (used(obj)) {
			p->used++;
			continue;
		}
		*(void **)obj = p->free;
		p->free = obj;
	}
}

uint32_t fn_pool_index(const struct fn_pool *p, const void *obj)
{
	const uint8_t *o = obj;
	uint32_t lo = 0, hi = (p->made - 1) / p->per_chunk;

	/* An arena only grows upwards, so the chunks are sorted. */
	while (lo < hi) {
		uint32_t mid = (lo + hi + 1) / 2;

		if (p->chunk[mid] <= o)
			lo = mid;
		else
			hi = mid - 1;
	}
	return lo * p->per_chunk + (uint32_t)((size_t)(o - p->chunk[lo]) / p->obj_size);
}
