/* SPDX-License-Identifier: BSD-3-Clause */
/* Entries into a shared ring and out of it. Every word of the other side is read once, into a copy, and then checked. */
#include "shm_ring.h"

#include <string.h>

/* The producer learns of free slots when so many of them have gathered: a line less to and fro for each entry. */
#define TELL_SHARE	4

void fn_ring_tx_init(struct fn_ring_tx *r, void *mem, uint32_t slots)
{
	*r = (struct fn_ring_tx){ .mem = mem, .mask = slots - 1 };
}

void fn_ring_rx_init(struct fn_ring_rx *r, void *mem, uint32_t slots)
{
	*r = (struct fn_ring_rx){ .mem = mem, .mask = slots - 1 };
}

/* ---- producer ---- */

int fn_ring_room(struct fn_ring_tx *r)
{
	uint32_t used = r->head - r->taken, slots = r->mask + 1, taken;

	if (fn_likely(used <= slots / 2))
		return (int)(slots - used);
	/* pairs with fn_ring_tell(): what the consumer has copied out may be written over */
	taken = atomic_load_explicit(&r->mem->taken, memory_order_acquire);
	if (fn_unlikely(taken - r->taken > used))
		return -EPROTO;
	r->taken = taken;
	return (int)(slots - (r->head - taken));
}

static struct fn_ring_head *head_at(struct fn_ring_shared *mem, uint32_t mask, uint32_t pos)
{
	return (void *)mem->slot[pos & mask];
}

/* Bytes at offset `at` of the entry that begins at slot `pos`; the ring's end is in between at most once. */
static void write_at(struct fn_ring_tx *r, uint32_t at, const void *from, uint32_t len)
{
	uint32_t size = (r->mask + 1) * FN_RING_SLOT, off = ((r->head & r->mask) * FN_RING_SLOT + at) % size;
	uint32_t first = fn_min(len, size - off);
	uint8_t *ring = r->mem->slot[0];

	memcpy(ring + off, from, first);
	if (fn_unlikely(first < len))
		memcpy(ring, (const uint8_t *)from + first, len - first);
}

void fn_ring_put(struct fn_ring_tx *r, uint8_t type, uint8_t arg, const struct fn_ring_piece *piece, unsigned n)
{
	struct fn_ring_head *h = head_at(r->mem, r->mask, r->head);
	uint32_t at = sizeof(*h), slots;

	for (unsigned i = 0; i < n; i++) {
		write_at(r, at, piece[i].p, piece[i].len);
		at += piece[i].len;
	}
	fn_assert(at <= sizeof(*h) + FN_RING_ENTRY_MAX);
	h->len = (uint16_t)(at - sizeof(*h));
	h->type = type;
	h->arg = arg;
	slots = fn_ring_slots(h->len);
	__atomic_store_n(&head_at(r->mem, r->mask, r->head + slots)->mark, 0, __ATOMIC_RELAXED);
	r->next = r->head + slots;
	/* pairs with fn_ring_get(): the entry, and the mark cleared behind it, are there when this is */
	__atomic_store_n(&h->mark, r->head << 1 | 1, __ATOMIC_RELEASE);
	/* whoever finds it there after a death goes on from here */
	atomic_signal_fence(memory_order_seq_cst);
	r->head = r->next;
	atomic_signal_fence(memory_order_seq_cst);
}

void fn_ring_put_again(struct fn_ring_tx *r)
{
	if (__atomic_load_n(&head_at(r->mem, r->mask, r->head)->mark, __ATOMIC_RELAXED) == (r->head << 1 | 1))
		r->head = r->next;
}

bool fn_ring_sleeper(struct fn_ring_tx *r)
{
	/* pairs with fn_ring_arm(): either it sees our entry, or we see it asleep */
	atomic_thread_fence(memory_order_seq_cst);
	/* rung once is enough: who takes the word away rings */
	return fn_unlikely(atomic_load_explicit(&r->mem->asleep, memory_order_relaxed)) &&
	       atomic_exchange_explicit(&r->mem->asleep, 0, memory_order_relaxed);
}

/* ---- consumer ---- */

static void read_at(const struct fn_ring_rx *r, uint32_t at, void *to, uint32_t len)
{
	uint32_t size = (r->mask + 1) * FN_RING_SLOT, off = ((r->pos & r->mask) * FN_RING_SLOT + at) % size;
	uint32_t first = fn_min(len, size - off);
	const uint8_t *ring = r->mem->slot[0];

	memcpy(to, ring + off, first);
	if (fn_unlikely(first < len))
		memcpy((uint8_t *)to + first, ring, len - first);
}

int fn_ring_look(const struct fn_ring_rx *r, struct fn_ring_head *head, void *body)
{
	const struct fn_ring_head *h = head_at(r->mem, r->mask, r->pos);
	uint32_t mark = __atomic_load_n(&h->mark, __ATOMIC_ACQUIRE);	/* pairs with fn_ring_put() */

	if (mark != (r->pos << 1 | 1))
		return -EAGAIN;
	memcpy(head, h, sizeof(*head));
	if (fn_unlikely(head->len > FN_RING_ENTRY_MAX))
		return -EPROTO;
	read_at(r, sizeof(*head), body, head->len);
	return head->len;
}

void fn_ring_took(struct fn_ring_rx *r, uint32_t len)
{
	atomic_signal_fence(memory_order_seq_cst);
	r->pos += fn_ring_slots(len);
	atomic_signal_fence(memory_order_seq_cst);
	if (fn_unlikely(r->pos - r->told > r->mask / TELL_SHARE))
		fn_ring_tell(r);
}

int fn_ring_get(struct fn_ring_rx *r, struct fn_ring_head *head, void *body)
{
	int len = fn_ring_look(r, head, body);

	if (len >= 0)
		fn_ring_took(r, (uint32_t)len);
	return len;
}

void fn_ring_tell_again(struct fn_ring_rx *r)
{
	r->told = r->pos - 1;
	fn_ring_tell(r);
}

void fn_ring_tell(struct fn_ring_rx *r)
{
	if (r->told == r->pos)
		return;
	r->told = r->pos;
	/* pairs with fn_ring_room() */
	atomic_store_explicit(&r->mem->taken, r->pos, memory_order_release);
}

void fn_ring_arm(struct fn_ring_rx *r)
{
	fn_ring_tell(r);
	atomic_store_explicit(&r->mem->asleep, 1, memory_order_relaxed);
	/* pairs with fn_ring_sleeper() */
	atomic_thread_fence(memory_order_seq_cst);
}
