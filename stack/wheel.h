/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * Hierarchical timer wheel (Varghese and Lauck 1987, scheme 7). Times are nanoseconds of the stack's clock; a tick is
 * 2^20 ns. A timer never fires early and at most one tick late, counted from the poll that sees the time.
 * Insert, move and cancel are O(1).
 */
#ifndef FN_WHEEL_H
#define FN_WHEEL_H

#include "compiler.h"

#define FN_WHEEL_SHIFT	20	/* 1.05 ms a tick */
#define FN_WHEEL_BITS	6
#define FN_WHEEL_SLOTS	(1 << FN_WHEEL_BITS)
#define FN_WHEEL_LEVELS	5	/* 2^30 ticks: 13 days; later deadlines are clamped and re-armed */
#define FN_NEVER	UINT64_MAX

struct fn_timer;
typedef void (*fn_timer_fn)(struct fn_timer *t, uint64_t now);

/* All zero is an idle timer, but for .fn. Lives inside its owner. */
struct fn_timer {
	struct fn_timer *next, *prev;	/* NULL while idle */
	uint64_t expires;		/* ns */
	fn_timer_fn fn;			/* called with the timer idle; may arm it again */
};

struct fn_wheel {
	uint64_t tick;			/* ticks that have been run */
	uint64_t bitmap[FN_WHEEL_LEVELS];	/* slots that hold a timer */
	struct fn_timer slot[FN_WHEEL_LEVELS][FN_WHEEL_SLOTS];	/* list heads */
	uint32_t armed;			/* timers in it */
};

void fn_wheel_init(struct fn_wheel *w, uint64_t now);
/* Arm or move t to fire at `expires` (in the past: at the next tick). */
void fn_timer_arm(struct fn_wheel *w, struct fn_timer *t, uint64_t expires);
void fn_timer_cancel(struct fn_wheel *w, struct fn_timer *t);
fn_inline bool fn_timer_armed(const struct fn_timer *t)
{
	return t->next != NULL;
}
/* Fire what is due at `now`; returns how many fired. */
unsigned fn_wheel_advance(struct fn_wheel *w, uint64_t now);
fn_inline unsigned fn_wheel_run(struct fn_wheel *w, uint64_t now)
{
	return fn_unlikely(now >> FN_WHEEL_SHIFT > w->tick) ? fn_wheel_advance(w, now) : 0;
}
/* The earliest time (ns) at which fn_wheel_run() may have something to do; FN_NEVER when nothing is armed. Never too late. */
uint64_t fn_wheel_next(const struct fn_wheel *w);

#endif
