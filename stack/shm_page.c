/* SPDX-License-Identifier: BSD-3-Clause */
/* Offering and claiming; see shm_page.h. */
#include "shm_page.h"

#include <errno.h>
#include <string.h>

#define CLAIM_TRIES	64	/* a client that changes its slot all the time is not waited for */

_Static_assert(sizeof(struct fn_page_slot) == 128, "two cache lines a slot");
_Static_assert(offsetof(struct fn_page, claims) == 128, "what each side writes has lines of its own");

static uint64_t state_of(unsigned status, uint32_t id, uint16_t use, uint32_t len)
{
	return status | (uint64_t)id << 8 | (uint64_t)use << 32 | (uint64_t)len << 48;
}

/* ---- the client ---- */

uint64_t fn_page_post(struct fn_page *page, unsigned i, uint16_t use, const struct fn_page_slot *slot)
{
	uint64_t state = state_of(FN_PAGE_OPEN, 0, use, 0);

	page->slot[i] = *slot;
	page->ticket[i] = atomic_load_explicit(&page->posted, memory_order_relaxed);
	/* pairs with fn_page_claim(): the slot is there when its state says so */
	atomic_store_explicit(&page->state[i], state, memory_order_release);
	atomic_fetch_or_explicit(&page->open[i / 64], 1ull << i % 64, memory_order_release);
	atomic_store_explicit(&page->posted, page->ticket[i] + 1, memory_order_release);
	return state;
}

bool fn_page_extend(struct fn_page *page, unsigned i, uint64_t *state, uint32_t len, unsigned flags)
{
	uint64_t more = (*state | flags) + ((uint64_t)len << 48);

	/* pairs with fn_page_claim(): who claims that state sees the bytes */
	if (!atomic_compare_exchange_strong_explicit(&page->state[i], state, more, memory_order_acq_rel, memory_order_acquire))
		return false;
	*state = more;
	return true;
}

bool fn_page_speaks(struct fn_page *page)
{
	/* pairs with fn_page_defer(): the state was changed before, by a compare-and-swap, and is looked at afterwards */
	if (fn_likely(!atomic_load(&page->defers)))
		return false;
	atomic_fetch_add_explicit(&page->posted, 1, memory_order_release);
	return true;
}

bool fn_page_withdraw(struct fn_page *page, unsigned i, uint64_t state)
{
	return atomic_compare_exchange_strong_explicit(&page->state[i], &state, FN_PAGE_FREE, memory_order_acq_rel,
						       memory_order_acquire);
}

void fn_page_clear(struct fn_page *page, unsigned i)
{
	atomic_fetch_and_explicit(&page->open[i / 64], ~(1ull << i % 64), memory_order_relaxed);
	atomic_store_explicit(&page->state[i], FN_PAGE_FREE, memory_order_release);
}

/* ---- who accepts ---- */

static bool is_silent(const struct fn_page *page, unsigned i, uint64_t state, const struct fn_page_want *want)
{
	return want->words && !fn_page_len(state) && !(state & FN_PAGE_FIN) &&
	       (int32_t)(__atomic_load_n(&page->slot[i].since, __ATOMIC_RELAXED) - want->before) > 0;
}

/* Slot i can be claimed. */
fn_inline bool is_open(const struct fn_page *page, unsigned i, const struct fn_page_want *want)
{
	uint64_t state = fn_page_state(page, i);

	return fn_page_status(state) == FN_PAGE_OPEN && !is_silent(page, i, state, want);
}

/* The slot that was opened first; -1: none. */
static int oldest(const struct fn_page *page, const struct fn_page_want *want)
{
	uint32_t first = 0;
	int best = -1;

	for (unsigned w = 0; w < fn_array_size(page->open); w++) {
		uint64_t bits = atomic_load_explicit(&page->open[w], memory_order_acquire);

		for (; bits; bits &= bits - 1) {
			unsigned i = w * 64 + (unsigned)__builtin_ctzll(bits);

			if (!is_open(page, i, want))
				continue;
			if (best < 0 || (int32_t)(page->ticket[i] - first) < 0) {
				best = (int)i;
				first = page->ticket[i];
			}
		}
	}
	return best;
}

bool fn_page_offered(const struct fn_page *page, const struct fn_page_want *want)
{
	for (unsigned w = 0; w < fn_array_size(page->open); w++) {
		uint64_t bits = atomic_load_explicit(&page->open[w], memory_order_acquire);

		for (; bits; bits &= bits - 1)
			if (is_open(page, w * 64 + (unsigned)__builtin_ctzll(bits), want))
				return true;
	}
	return false;
}

bool fn_page_silent(const struct fn_page *page, const struct fn_page_want *want, uint32_t *since)
{
	bool found = false;

	for (unsigned i = 0; i < FN_PAGE_SLOTS; i++) {
		uint64_t state = fn_page_state(page, i);
		uint32_t at = __atomic_load_n(&page->slot[i].since, __ATOMIC_RELAXED);

		if (fn_page_status(state) != FN_PAGE_OPEN || !is_silent(page, i, state, want) ||
		    (found && (int32_t)(at - *since) >= 0))
			continue;
		*since = at;
		found = true;
	}
	return found;
}

int fn_page_claim(struct fn_page *page, const struct fn_page_want *want, uint32_t id, struct fn_page_slot *slot, uint64_t *state)
{
	for (unsigned tries = 0; tries < CLAIM_TRIES; tries++) {
		int i = oldest(page, want);

		if (i < 0)
			break;
		*state = fn_page_state(page, (unsigned)i);
		if (fn_page_status(*state) != FN_PAGE_OPEN)
			continue;
		memcpy(slot, &page->slot[i], sizeof(*slot));
		/* pairs with fn_page_post() and fn_page_extend(); one use of a slot differs from the next in its state */
		if (!atomic_compare_exchange_strong_explicit(&page->state[i], state,
							     (*state & ~15ull) | FN_PAGE_TAKEN | (uint64_t)id << 8,
							     memory_order_acq_rel, memory_order_acquire))
			continue;
		*state = (*state & ~15ull) | FN_PAGE_TAKEN | (uint64_t)id << 8;
		atomic_fetch_and_explicit(&page->open[i / 64], ~(1ull << i % 64), memory_order_relaxed);
		return i;
	}
	return -EAGAIN;
}

void fn_page_done(struct fn_page *page, unsigned i, uint64_t state)
{
	/* pairs with the client's look at .claims: the slot's state is there, and nothing of it is needed any more */
	atomic_store_explicit(&page->state[i], (state & ~15ull) | FN_PAGE_DONE, memory_order_release);
	atomic_fetch_add_explicit(&page->claims, 1, memory_order_release);
}
