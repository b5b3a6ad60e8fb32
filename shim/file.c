/* SPDX-License-Identifier: BSD-3-Clause */
/* Open file descriptions: made, counted, released, and who is told of their events. See file.h. */
#include "shim/file.h"

#include <string.h>

#include "shim/slab.h"

/* The first word is the slab's: a file in the free list has refs 0 or a link there, so refs must not be it. */
struct file_slot {
	void *link;
	struct fn_file file;
};

static struct fn_slab files = { .obj_size = sizeof(struct file_slot) };

struct fn_file *fn_file_new(enum fn_file_kind kind, const struct fn_file_ops *ops)
{
	struct file_slot *slot = fn_slab_alloc(&files);
	struct fn_file *f;

	if (!slot)
		return NULL;
	f = &slot->file;
	memset((char *)f + sizeof(f->refs), 0, sizeof(*f) - sizeof(f->refs));
	f->kind = kind;
	f->ops = ops;
	/* pairs with the acquire in fn_fd_get_slow(): who takes a reference sees the rest */
	atomic_store_explicit(&f->refs, 1, memory_order_release);
	return f;
}

void fn_file_put_slow(struct fn_file *f)
{
	if (f->ops->release)
		f->ops->release(f);
	f->kind = FN_FILE_FREE;
	fn_slab_free(&files, fn_container_of(f, struct file_slot, file));
}

void fn_watch_add(struct fn_file *f, struct fn_watch *w)
{
	w->file = f;
	w->next = f->watches;
	if (w->next)
		w->next->pprev = &w->next;
	w->pprev = &f->watches;
	f->watches = w;
}

void fn_watch_del(struct fn_watch *w)
{
	if (!w->pprev)
		return;
	*w->pprev = w->next;
	if (w->next)
		w->next->pprev = w->pprev;
	w->pprev = NULL;
}

void fn_file_wake(struct fn_file *f, unsigned events)
{
	struct fn_watch *next;
	bool taken = false;

	for (struct fn_watch *w = f->watches; w; w = next) {
		next = w->next;
		if (w->exclusive && taken)
			continue;
		if (w->wake(w, events) && w->exclusive)
			taken = true;
	}
}
