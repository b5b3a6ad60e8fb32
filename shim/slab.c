/* SPDX-License-Identifier: BSD-3-Clause */
/* See slab.h. */
#include "shim/slab.h"

#include <errno.h>
#include <sys/mman.h>

struct fn_lock fn_slab_lock;

static bool grow(struct fn_slab *s)
{
	size_t size = (size_t)s->obj_size * FN_SLAB_CHUNK;
	uint8_t *mem;

	if (s->made == FN_SLAB_CHUNKS * FN_SLAB_CHUNK)
		return false;
	mem = (uint8_t *)fn_sys(SYS_mmap, NULL, size, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
	if ((unsigned long)mem > -4096ul)
		return false;
	for (unsigned i = FN_SLAB_CHUNK; i-- > 0;) {
		*(void **)(mem + (size_t)i * s->obj_size) = s->free;
		s->free = mem + (size_t)i * s->obj_size;
	}
	s->made += FN_SLAB_CHUNK;
	return true;
}

void *fn_slab_alloc(struct fn_slab *s)
{
	void *obj = NULL;

	fn_lock_take(&fn_slab_lock);
	if (s->free || grow(s)) {
		obj = s->free;
		s->free = *(void **)obj;
		*(void **)obj = NULL;
	}
	fn_lock_release(&fn_slab_lock);
	return obj;
}

void fn_slab_free(struct fn_slab *s, void *obj)
{
	fn_lock_take(&fn_slab_lock);
	*(void **)obj = s->free;
	s->free = obj;
	fn_lock_release(&fn_slab_lock);
}
