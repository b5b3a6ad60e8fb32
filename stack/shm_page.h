/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * The page by which one process offers connections to all that accept from one listener: its layout and its atomic steps.
 * Owns no packet and no connection; what the bytes in it mean is shm_mail.c's.
 *
 * The client fills a slot, and opens it; whoever accepts claims it by one compare-and-swap, and nobody else has it then.
 * Until then the client adds to the slot's bytes, by a compare-and-swap of the same word, so both know to the byte what
 * was there when it was claimed. A claimed slot is the client's again once its claimer has said that it has copied it.
 *
 * Neither side trusts the other: what is read is copied, then checked; what lies in the page is followed nowhere.
 */
#ifndef FN_SHM_PAGE_H
#define FN_SHM_PAGE_H

#include <stdatomic.h>

#include "compiler.h"

#define FN_PAGE_SLOTS	512
#define FN_PAGE_BYTES	65535u		/* that a connection may send before it is claimed: the window of a SYN-ACK */
#define FN_PAGE_STRIDE	65536u
#define FN_PAGE_TCP	60		/* RFC 9293 3.1: the longest header */

/* .state: what, whose, how often used, how many bytes */
#define FN_PAGE_FREE	0u
#define FN_PAGE_OPEN	1u
#define FN_PAGE_TAKEN	2u		/* claimed, being copied */
#define FN_PAGE_DONE	3u		/* copied */
#define FN_PAGE_FIN	16u		/* behind the bytes */
#define FN_PAGE_RST	32u
#define FN_PAGE_URG	64u		/* .urg counts */
#define FN_PAGE_ID_MAX	0xffffffu

fn_inline unsigned fn_page_status(uint64_t state) { return state & 15; }
fn_inline uint32_t fn_page_id(uint64_t state) { return state >> 8 & FN_PAGE_ID_MAX; }
fn_inline uint32_t fn_page_len(uint64_t state) { return (uint32_t)(state >> 48); }

/* A connection as it is offered: its SYN, and the number that the SYN-ACK had. */
struct fn_page_slot {
	uint32_t src, dst;		/* of the SYN; network order */
	uint32_t isn;			/* of the SYN-ACK */
	uint8_t tcp[FN_PAGE_TCP];	/* the SYN's header with its options */
	uint32_t since;			/* ms of the host's monotonic clock: when it was opened */
	uint64_t urg;			/* bytes up to the last urgent one, with it; << 32: how many at the beginning are no more */
} __attribute__((aligned(64)));

struct fn_page {
	_Atomic(uint32_t) posted;	/* client: slots opened, a hint that there is something */
	_Atomic(uint32_t) group;	/* client: what it calls those who accept */
	_Atomic(uint32_t) memory;	/* client: pages (4 KiB) of address space that its payload memory takes at most */
	uint8_t unused[52];
	_Atomic(uint64_t) open[FN_PAGE_SLOTS / 64];	/* a bit a slot: worth looking at */
	_Atomic(uint32_t) claims;	/* claimers: slots that are done; the client looks when it changes */
	_Atomic(uint32_t) joined;	/* claimers: those that have introduced themselves; the same */
	_Atomic(uint32_t) left;		/* claimers: those that do not listen any more; who connects asks again when it changes */
	_Atomic(uint32_t) defers;	/* claimers: some want no connection before it says something (TCP_DEFER_ACCEPT) */
	_Atomic(uint32_t) ceded;	/* claimers: whoever connects next is to go to the kernel */
	uint8_t unused2[44];
	_Atomic(uint64_t) state[FN_PAGE_SLOTS];
	uint32_t ticket[FN_PAGE_SLOTS];	/* client: the order in which they were opened */
	struct fn_page_slot slot[FN_PAGE_SLOTS];
};

/* The bytes of slot i lie at FN_PAGE_HEAD + i * FN_PAGE_STRIDE. */
#define FN_PAGE_HEAD	((sizeof(struct fn_page) + 4095) & ~4095ul)
/* Behind them what no slot has room for, laid out as payload memory is (shm_left.c). */
#define FN_PAGE_SPILL	(FN_PAGE_HEAD + (size_t)FN_PAGE_SLOTS * FN_PAGE_STRIDE)
#define FN_PAGE_SIZE	(FN_PAGE_SPILL + (4u << 20))

fn_inline uint8_t *fn_page_bytes(const struct fn_page *page, unsigned i)
{
	return (uint8_t *)page + FN_PAGE_HEAD + (size_t)i * FN_PAGE_STRIDE;
}

/* ---- the client ---- */

/* Open slot i, which is free; its state from now on. `use`: any number that differs from the slot's last one. */
uint64_t fn_page_post(struct fn_page *page, unsigned i, uint16_t use, const struct fn_page_slot *slot);
/*
 * Bytes have been put behind those that are there (and so have `flags`): publish them. *state is what the slot's was, and
 * what it is then. False: it has been claimed, as *state says now, without them.
 */
bool fn_page_extend(struct fn_page *page, unsigned i, uint64_t *state, uint32_t len, unsigned flags);
/* The slot's state, whatever was written there. */
fn_inline uint64_t fn_page_state(const struct fn_page *page, unsigned i)
{
	return atomic_load_explicit(&page->state[i], memory_order_acquire);
}
/* Do those who accept wait for a connection's first words? A look at what they have said so far. */
fn_inline bool fn_page_deferred(const struct fn_page *page)
{
	return atomic_load_explicit(&page->defers, memory_order_relaxed);
}
/* What has just been put into slot i are its first words: tell those who have waited for them. */
bool fn_page_speaks(struct fn_page *page);
/* Bytes up to the urgent one, those of the next fn_page_extend() with FN_PAGE_URG included, of which `skip` are not read. */
fn_inline void fn_page_urgent(struct fn_page *page, unsigned i, uint32_t urg, uint32_t skip)
{
	__atomic_store_n(&page->slot[i].urg, urg | (uint64_t)skip << 32, __ATOMIC_RELAXED);
}
/* Slot i is nobody's to claim any more; fn_page_clear() follows. False: it has been claimed. */
bool fn_page_withdraw(struct fn_page *page, unsigned i, uint64_t state);
/* Not offered any more, by whoever; before it is used again. */
void fn_page_clear(struct fn_page *page, unsigned i);

/* ---- who accepts ---- */

/* Those who wait for a connection's first words leave alone what has said nothing, unless it came before that time. */
struct fn_page_want {
	bool words;
	uint32_t before;		/* as .since */
};
/* Is there a slot that can be claimed? */
bool fn_page_offered(const struct fn_page *page, const struct fn_page_want *want);
/* The .since of the oldest slot that fn_page_offered() leaves alone. False: there is none. */
bool fn_page_silent(const struct fn_page *page, const struct fn_page_want *want, uint32_t *since);
/* Claim the oldest one under `id`: its number, a copy of it, and its state; -EAGAIN: there is none. */
int fn_page_claim(struct fn_page *page, const struct fn_page_want *want, uint32_t id, struct fn_page_slot *slot, uint64_t *state);
/* From here on the client tells when first words come. Before it is asked what is offered. */
fn_inline void fn_page_defer(struct fn_page *page)
{
	if (fn_unlikely(!atomic_load_explicit(&page->defers, memory_order_relaxed)))
		atomic_store(&page->defers, 1);		/* pairs with fn_page_speaks() */
}
/* We do not listen any more, or not all of us; before any call of the program's says so. */
fn_inline void fn_page_leave(struct fn_page *page)
{
	atomic_fetch_add_explicit(&page->left, 1, memory_order_release);
}
/* New connections are the kernel's from now on; what is offered is still claimed. */
fn_inline void fn_page_cede(struct fn_page *page)
{
	atomic_store_explicit(&page->ceded, 1, memory_order_relaxed);
	fn_page_leave(page);
}
fn_inline bool fn_page_ceded(const struct fn_page *page)
{
	return atomic_load_explicit(&page->ceded, memory_order_relaxed);	/* fn_page_leave() has released it */
}
/* What was wanted of it has been copied. */
void fn_page_done(struct fn_page *page, unsigned i, uint64_t state);

#endif
