/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * The timer wheel. Level 0 holds one tick a slot, level L holds 64^L ticks a slot; a slot of a higher level is spread over
 * the lower ones when the time reaches its first tick. Must not know what its timers are for.
 *
 * A timer armed with delta ticks to go lies in the lowest level whose span exceeds delta, so the slot that the present
 * falls into is empty in level 0 and stands for the next turn in the levels above.
 */
#include <string.h>

#include "wheel.h"

#define MASK	(FN_WHEEL_SLOTS - 1)
#define SPAN	(1ull << (FN_WHEEL_BITS * FN_WHEEL_LEVELS))

static uint64_t tick_of(uint64_t expires)
{
	uint64_t round = (1ull << FN_WHEEL_SHIFT) - 1;

	return (expires >> FN_WHEEL_SHIFT) + ((expires & round) != 0);
}

static void list_init(struct fn_timer *head)
{
	head->next = head->prev = head;
}

static void list_add(struct fn_timer *head, struct fn_timer *t)
{
	t->next = head;
	t->prev = head->prev;
	head->prev->next = t;
	head->prev = t;
}

void fn_wheel_init(struct fn_wheel *w, uint64_t now)
{
	unsigned level, i;

	memset(w->bitmap, 0, sizeof(w->bitmap));
	w->tick = now >> FN_WHEEL_SHIFT;
	w->armed = 0;
	for (level = 0; level < FN_WHEEL_LEVELS; level++)
		for (i = 0; i < FN_WHEEL_SLOTS; i++)
			list_init(&w->slot[level][i]);
}

/* Put t where it fires, or is spread, at or before `tick`, which is not before the present. */
static void wheel_place(struct fn_wheel *w, struct fn_timer *t, uint64_t tick)
{
	uint64_t delta = fn_min(tick - w->tick, SPAN - 1);
	unsigned level = delta < FN_WHEEL_SLOTS ? 0 : (63 - (unsigned)__builtin_clzll(delta)) / FN_WHEEL_BITS;
	unsigned i = ((w->tick + delta) >> (level * FN_WHEEL_BITS)) & MASK;

	list_add(&w->slot[level][i], t);
	w->bitmap[level] |= 1ull << i;
}

/* Unlink t; its slot's bit goes with the last timer. */
static void wheel_remove(struct fn_wheel *w, struct fn_timer *t)
{
	struct fn_timer *head = t->next;
	size_t i;

	t->prev->next = t->next;
	t->next->prev = t->prev;
	if (head->next == head && head >= &w->slot[0][0] && head <= &w->slot[FN_WHEEL_LEVELS - 1][MASK]) {
		i = (size_t)(head - &w->slot[0][0]);
		w->bitmap[i / FN_WHEEL_SLOTS] &= ~(1ull << (i % FN_WHEEL_SLOTS));
	}
	t->next = t->prev = NULL;
	w->armed--;
}

void fn_timer_arm(struct fn_wheel *w, struct fn_timer *t, uint64_t expires)
{
	uint64_t tick = tick_of(expires);

	if (t->next)
		wheel_remove(w, t);
	t->expires = expires;
	wheel_place(w, t, fn_max(tick, w->tick + 1));
	w->armed++;
}

void fn_timer_cancel(struct fn_wheel *w, struct fn_timer *t)
{
	if (t->next)
		wheel_remove(w, t);
}

/* Move a slot's timers to the list `to`. */
static void slot_take(struct fn_wheel *w, unsigned level, unsigned i, struct fn_timer *to)
{
	struct fn_timer *head = &w->slot[level][i];

	list_init(to);
	if (!(w->bitmap[level] & 1ull << i))
		return;
	w->bitmap[level] &= ~(1ull << i);
	to->next = head->next;
	to->prev = head->prev;
	to->next->prev = to;
	to->prev->next = to;
	list_init(head);
}

static void wheel_cascade(struct fn_wheel *w)
{
	struct fn_timer list, *t;
	unsigned level;

	for (level = FN_WHEEL_LEVELS - 1; level > 0; level--) {
		unsigned shift = level * FN_WHEEL_BITS;

		if (w->tick & ((1ull << shift) - 1))
			continue;
		slot_take(w, level, (w->tick >> shift) & MASK, &list);
		while ((t = list.next) != &list) {
			list.next = t->next;
			wheel_place(w, t, fn_max(tick_of(t->expires), w->tick));
		}
	}
}

static unsigned wheel_fire(struct fn_wheel *w, uint64_t now)
{
	struct fn_timer list, *t;
	unsigned fired = 0;

	slot_take(w, 0, w->tick & MASK, &list);
	while ((t = list.next) != &list) {
		wheel_remove(w, t);
		if (fn_unlikely(tick_of(t->expires) > w->tick)) {	/* was beyond the wheel's span */
			fn_timer_arm(w, t, t->expires);
			continue;
		}
		fired++;
		t->fn(t, now);
	}
	return fired;
}

/* The next tick at which a slot fires or is spread; UINT64_MAX: none. */
static uint64_t wheel_next_tick(const struct fn_wheel *w)
{
	uint64_t best = UINT64_MAX;
	unsigned level;

	for (level = 0; level < FN_WHEEL_LEVELS; level++) {
		uint64_t bits = w->bitmap[level], at = w->tick >> (level * FN_WHEEL_BITS);
		unsigned from = (at + 1) & MASK;

		if (!bits)
			continue;
		bits = bits >> from | bits << (-from & MASK);
		at += 1 + (unsigned)__builtin_ctzll(bits);
		best = fn_min(best, at << (level * FN_WHEEL_BITS));
	}
	return best;
}

unsigned fn_wheel_advance(struct fn_wheel *w, uint64_t now)
{
	uint64_t target = now >> FN_WHEEL_SHIFT, next;
	unsigned fired = 0;

	while (w->armed && (next = wheel_next_tick(w)) <= target) {
		w->tick = next;
		wheel_cascade(w);
		fired += wheel_fire(w, now);
	}
	w->tick = fn_max(w->tick, target);
	return fired;
}

uint64_t fn_wheel_next(const struct fn_wheel *w)
{
	uint64_t tick = w->armed ? wheel_next_tick(w) : UINT64_MAX;

	return tick == UINT64_MAX ? FN_NEVER : tick << FN_WHEEL_SHIFT;
}
