/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * Objects of one size in the image's private memory, from anonymous mappings: usable inside malloc, in signal handlers
 * and before constructors. Type-stable: memory that was one stays one.
 */
#ifndef FN_SLAB_H
#define FN_SLAB_H

#include "shim/lock.h"

#define FN_SLAB_CHUNK	256	/* objects a mapping */
#define FN_SLAB_CHUNKS	4096	/* at most */

struct fn_slab {
	uint32_t obj_size;	/* a multiple of 8; the object's first word is the free list's link */
	uint32_t made;
	void *free;
};

/* One for all slabs: fork holds it, so that the child's copies are whole. */
extern struct fn_lock fn_slab_lock;

/* Not zeroed: the previous life's contents stand in it, but for the first word. NULL: no memory. */
void *fn_slab_alloc(struct fn_slab *s);
void fn_slab_free(struct fn_slab *s, void *obj);

#endif
