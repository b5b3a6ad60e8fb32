/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * The arena: one range of shared memory that holds all state of a stack, and the object pools carved from it.
 * The stack makes no system call: its creator reserves the address range and supplies a callback that backs more of it.
 *
 * References inside an arena are pointers (every image that shares it maps it at the same address); what a tool reads is
 * reached by pool and index only.
 */
#ifndef FN_ARENA_H
#define FN_ARENA_H

#include "compiler.h"

/* Backs [base, base + size) with memory; 0, or -ENOMEM, -EFBIG, -ENOSPC. Called under the stack's lock; may not call back. */
typedef int (*fn_arena_grow_fn)(void *ctx, size_t size);

struct fn_arena {
	uint8_t *base;
	size_t used;		/* bytes handed out */
	size_t backed;		/* bytes that may be touched */
	size_t reserve;		/* bytes of address space */
	fn_arena_grow_fn grow;
	void *grow_ctx;
	uint64_t grow_failed;	/* times the callback refused */
};

/* base is page-aligned, `backed` bytes of it are usable now and zero. The arena record itself is the first thing in it.
 * NULL when that does not fit. */
struct fn_arena *fn_arena_init(void *base, size_t reserve, size_t backed, fn_arena_grow_fn grow, void *ctx);

/* size bytes, zeroed by being fresh, aligned to 64; NULL when the reserve is used up or grow refused. Never freed. */
void *fn_arena_alloc(struct fn_arena *a, size_t size);

/*
 * A pool of equal objects that never move. Object 0 is never handed out, so index 0 means none. Objects are type-stable:
 * memory that was one stays one, zeroed again when it is allocated.
 */
#define FN_POOL_CHUNKS	4096
struct fn_pool {
	struct fn_arena *arena;
	uint32_t obj_size;	/* rounded up to 64 */
	uint32_t per_chunk;	/* a power of two, raised when max would not fit into the chunk table */
	uint32_t max;		/* objects at most */
	uint32_t made;		/* objects carved so far, object 0 included */
	uint32_t used;		/* objects handed out */
	uint32_t peak;
	uint64_t failed;	/* allocations refused */
	void *free;		/* free list, linked through the first word */
	uint8_t *chunk[FN_POOL_CHUNKS];
};

/* Objects of obj_size bytes, at most max of them, taken from the arena per_chunk at a time. */
void fn_pool_init(struct fn_pool *p, struct fn_arena *a, uint32_t obj_size, uint32_t per_chunk, uint32_t max);

/* A zeroed object, or NULL (counted in .failed). */
void *fn_pool_alloc(struct fn_pool *p);
void fn_pool_free(struct fn_pool *p, void *obj);
/* The free list and the count anew, from the objects: after a death in the midst of a change. */
void fn_pool_rebuild(struct fn_pool *p, bool (*used)(const void *obj));

/* The number of an object of this pool; O(log chunks). */
uint32_t fn_pool_index(const struct fn_pool *p, const void *obj);

/* Object number i (1 … made-1), whether in use or not. */
fn_inline void *fn_pool_at(const struct fn_pool *p, uint32_t i)
{
	fn_assert(i && i < p->made);
	return p->chunk[i / p->per_chunk] + (size_t)(i % p->per_chunk) * p->obj_size;
}

#endif
