/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * A single-producer single-consumer ring of entries in memory that two processes share: one direction of a fabric
 * channel. Owns its layout and its checks. Knows no packet.
 *
 * Neither side trusts the other: positions are private to each side, what lies in the ring is copied once and then
 * checked, and a word that cannot be true ends the use of the ring for good (-EPROTO).
 *
 * An entry begins with 8 bytes (struct fn_ring_head) and takes whole slots. It is there when its first word says so: the
 * producer writes that word last, and clears the first word of the slot behind, so that bytes of an earlier lap are never
 * taken for an entry. No line but those of the entries themselves goes back and forth; the consumer's position is told
 * now and then.
 */
#ifndef FN_SHM_RING_H
#define FN_SHM_RING_H

#include <errno.h>
#include <stdatomic.h>

#include "compiler.h"

#define FN_RING_SLOT		64	/* bytes: a cache line */
#define FN_RING_SLOTS_MIN	32
#define FN_RING_SLOTS_MAX	65536
#define FN_RING_ENTRY_MAX	512	/* bytes of an entry's body */

/* The shared memory; the consumer writes its first line, .asleep aside, the producer the rest. */
struct fn_ring_shared {
	_Atomic(uint32_t) taken;	/* consumer: slots it has consumed */
	_Atomic(uint32_t) asleep;	/* consumer: not 0 while it wants its bell rung; who rings clears it */
	_Atomic(uint32_t) cpu;		/* consumer: the CPU on which it ran when it waited last, plus 1; a hint */
	_Atomic(uint32_t) closed;	/* consumer: not 0 when it takes no more */
	_Atomic(uint32_t) number;	/* consumer: what it calls the producer */
	_Atomic(uint32_t) behind;	/* producer: not 0 when it has left text that is not here; the consumer clears it */
	uint8_t unused[FN_RING_SLOT - 24];
	uint8_t slot[][FN_RING_SLOT];
};

/* What every entry begins with. */
struct fn_ring_head {
	uint32_t mark;		/* 2 * position + 1; 0: nothing yet */
	uint16_t len;		/* bytes of body behind this head */
	uint8_t type;
	uint8_t arg;
};

/* Bytes of shared memory for so many slots (a power of two between the limits). */
fn_inline size_t fn_ring_size(uint32_t slots) { return sizeof(struct fn_ring_shared) + (size_t)slots * FN_RING_SLOT; }

struct fn_ring_tx {
	struct fn_ring_shared *mem;
	uint32_t mask;
	uint32_t head;		/* slots written so far */
	uint32_t next;		/* .head behind the entry that was written last, or is being written */
	uint32_t taken;		/* the consumer's, when it was looked at last */
};

struct fn_ring_rx {
	struct fn_ring_shared *mem;
	uint32_t mask;
	uint32_t pos;		/* slots consumed so far */
	uint32_t told;		/* of them, those that the producer knows of */
};

/* mem: fn_ring_size(slots) zeroed bytes, aligned to 64, shared with the other side. */
void fn_ring_tx_init(struct fn_ring_tx *r, void *mem, uint32_t slots);
void fn_ring_rx_init(struct fn_ring_rx *r, void *mem, uint32_t slots);

/* The consumer is to look where the producer keeps what is not in the ring. */
fn_inline void fn_ring_leave_behind(const struct fn_ring_tx *r)
{
	/* pairs with the load in fn_shm_behind(); entries that are put afterwards are not seen before this is */
	if (!atomic_load_explicit(&r->mem->behind, memory_order_relaxed))
		atomic_store_explicit(&r->mem->behind, 1, memory_order_relaxed);
}

/* Slots that are free for entries; -EPROTO when the consumer claims what it cannot have. */
int fn_ring_room(struct fn_ring_tx *r);

fn_inline uint32_t fn_ring_slots(uint32_t body) { return (body + (uint32_t)sizeof(struct fn_ring_head) + 63) / 64; }

/*
 * Write one entry, whose body is `n` pieces (pointer, length; FN_RING_ENTRY_MAX bytes together). The caller knows that
 * there is room for fn_ring_slots(body) and one slot more.
 */
struct fn_ring_piece {
	const void *p;
	uint32_t len;
};
void fn_ring_put(struct fn_ring_tx *r, uint8_t type, uint8_t arg, const struct fn_ring_piece *piece, unsigned n);

/* After the last fn_ring_put() of a burst: true when the consumer sleeps and wants its bell, which is then the caller's to ring. */
bool fn_ring_sleeper(struct fn_ring_tx *r);

/* Without taking anything, from any thread: is there an entry? */
fn_inline bool fn_ring_pending(const struct fn_ring_rx *r)
{
	const struct fn_ring_head *h = (const void *)r->mem->slot[r->pos & r->mask];

	/* pairs with fn_ring_put(); taken again with acquire before anything is read */
	return __atomic_load_n(&h->mark, __ATOMIC_RELAXED) == (r->pos << 1 | 1);
}

/*
 * Copy the next entry's body to `body` (FN_RING_ENTRY_MAX bytes) and consume it. Its length, *head filled in; -EAGAIN: there
 * is none; -EPROTO: the producer has written what cannot be.
 */
int fn_ring_get(struct fn_ring_rx *r, struct fn_ring_head *head, void *body);

/* The same in two steps: a look, and that entry, of `len` bytes, is consumed. */
int fn_ring_look(const struct fn_ring_rx *r, struct fn_ring_head *head, void *body);
void fn_ring_took(struct fn_ring_rx *r, uint32_t len);

/* After a death of ours in any of these: an entry that is there counts; and the other side knows how far we are. */
void fn_ring_put_again(struct fn_ring_tx *r);
void fn_ring_tell_again(struct fn_ring_rx *r);

/* Tell the producer how far we are; before a sleep, and when the ring is known to be empty. */
void fn_ring_tell(struct fn_ring_rx *r);

/* Ask for the bell; then fn_ring_pending() once more, then sleep. And take it back. */
void fn_ring_arm(struct fn_ring_rx *r);
fn_inline void fn_ring_disarm(struct fn_ring_rx *r)
{
	atomic_store_explicit(&r->mem->asleep, 0, memory_order_relaxed);
}

/* The consumer's CPU as it tells, plus 1; 0: unknown. */
fn_inline void fn_ring_run_on(struct fn_ring_rx *r, uint32_t cpu)
{
	atomic_store_explicit(&r->mem->cpu, cpu, memory_order_relaxed);
}
fn_inline uint32_t fn_ring_runs_on(const struct fn_ring_tx *r)
{
	return atomic_load_explicit(&r->mem->cpu, memory_order_relaxed);
}

/* The consumer takes no more: who looks after that has happened sees it. */
fn_inline void fn_ring_close(struct fn_ring_rx *r)
{
	atomic_store_explicit(&r->mem->closed, 1, memory_order_release);	/* pairs with fn_ring_closed() */
}
fn_inline bool fn_ring_closed(const struct fn_ring_tx *r)
{
	return atomic_load_explicit(&r->mem->closed, memory_order_acquire);
}

#endif
