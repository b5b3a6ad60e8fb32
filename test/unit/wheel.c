/* SPDX-License-Identifier: BSD-3-Clause */
/* The timer wheel, against a plain list of deadlines: never early, at most a tick late, and its next wake-up is exact. */
#include <criterion/criterion.h>
#include <string.h>

#include "stack/wheel.h"

#define TICK	(1ull << FN_WHEEL_SHIFT)
#define START	(123456789ull * TICK + 4321)

struct probe {
	struct fn_timer t;
	uint64_t fired;		/* time of the run that fired it; 0: not yet */
	unsigned count;
};

static struct fn_wheel w;

static void fire(struct fn_timer *t, uint64_t now)
{
	struct probe *p = (struct probe *)t;

	cr_assert(!fn_timer_armed(t));
	p->fired = now;
	p->count++;
}

static void setup(void)
{
	fn_wheel_init(&w, START);
}

static uint64_t rnd(uint64_t *s)
{
	*s = *s * 6364136223846793005ull + 1442695040888963407ull;
	return *s >> 20;
}

TestSuite(wheel, .init = setup);

Test(wheel, an_idle_wheel_never_needs_a_run)
{
	cr_assert_eq(fn_wheel_next(&w), FN_NEVER);
	cr_assert_eq(fn_wheel_run(&w, START + 100000 * TICK), 0);
	cr_assert_eq(fn_wheel_next(&w), FN_NEVER);
}

Test(wheel, every_distance_fires_in_its_tick)
{
	static const uint64_t distance[] = {0, 1, TICK - 1, TICK, 63 * TICK, 64 * TICK, 65 * TICK, 4095 * TICK,
		4096 * TICK, 4097 * TICK, 262143 * TICK, 262144 * TICK, 16777216 * TICK, 1073741823ull * TICK,
		1073741824ull * TICK, 5000000000ull * TICK};

	for (unsigned i = 0; i < fn_array_size(distance); i++) {
		struct probe p = {.t.fn = fire};
		uint64_t due, at;
		unsigned runs = 0;

		fn_wheel_init(&w, START);
		due = START + distance[i];
		fn_timer_arm(&w, &p.t, due);
		while (!p.fired) {
			at = fn_wheel_next(&w);
			cr_assert_neq(at, FN_NEVER);
			cr_assert_lt(at, due + TICK + TICK);
			fn_wheel_run(&w, at);
			cr_assert_lt(++runs, 20);
		}
		cr_assert_geq(p.fired, due);
		cr_assert_lt(p.fired, due + 2 * TICK);
		if (distance[i] >= TICK)
			cr_assert_lt(p.fired, due + TICK);
		cr_assert_eq(fn_wheel_next(&w), FN_NEVER);
	}
}

Test(wheel, random_timers_against_a_list)
{
	enum { N = 500 };
	static struct probe p[N];
	uint64_t seed = 7, now = START;

	for (unsigned round = 0; round < 20000; round++) {
		struct probe *q = &p[rnd(&seed) % N];
		uint64_t span = rnd(&seed) % 4, far = span == 0 ? 50 : span == 1 ? 5000 : span == 2 ? 300000 : 3;

		q->t.fn = fire;
		if (rnd(&seed) % 4 == 0) {
			fn_timer_cancel(&w, &q->t);
			cr_assert(!fn_timer_armed(&q->t));
		} else {
			fn_timer_arm(&w, &q->t, now + rnd(&seed) % (far * TICK));
			q->fired = 0;
		}
		now += rnd(&seed) % (rnd(&seed) % 50 ? 2 * TICK : 9000 * TICK);
		fn_wheel_run(&w, now);
		for (unsigned i = 0; i < N; i++) {
			if (fn_timer_armed(&p[i].t))
				cr_assert_gt(p[i].t.expires + TICK, now & ~(TICK - 1), "late");
			else if (p[i].fired)
				cr_assert_geq(p[i].fired, p[i].t.expires, "early");
			cr_assert(!fn_timer_armed(&p[i].t) || fn_wheel_next(&w) <= p[i].t.expires + TICK);
		}
	}
}

static struct probe *victim;

static void cancel_other(struct fn_timer *t, uint64_t now)
{
	fn_timer_cancel(&w, &victim->t);
	fire(t, now);
}

Test(wheel, a_handler_may_cancel_a_timer_of_the_same_slot)
{
	struct probe a = {.t.fn = cancel_other}, b = {.t.fn = fire}, c = {.t.fn = fire};

	victim = &b;
	fn_timer_arm(&w, &a.t, START + 5 * TICK);
	fn_timer_arm(&w, &b.t, START + 5 * TICK);
	fn_timer_arm(&w, &c.t, START + 5 * TICK);
	cr_assert_eq(fn_wheel_run(&w, START + 7 * TICK), 2);
	cr_assert_eq(b.count, 0);
	cr_assert_eq(c.count, 1);
	cr_assert_eq(w.armed, 0);
}

static void rearm(struct fn_timer *t, uint64_t now)
{
	struct probe *p = (struct probe *)t;

	p->count++;
	fn_timer_arm(&w, t, now - 1);
}

Test(wheel, a_handler_that_arms_in_the_past_does_not_loop)
{
	struct probe p = {.t.fn = rearm};

	fn_timer_arm(&w, &p.t, START);
	fn_wheel_run(&w, START + TICK);
	cr_assert_eq(p.count, 1);
	fn_wheel_run(&w, START + 2 * TICK);
	cr_assert_eq(p.count, 2);
}

Test(wheel, moving_a_timer_moves_the_deadline)
{
	struct probe p = {.t.fn = fire};

	fn_timer_arm(&w, &p.t, START + 10 * TICK);
	fn_timer_arm(&w, &p.t, START + 500 * TICK);
	cr_assert_eq(w.armed, 1);
	cr_assert_eq(fn_wheel_run(&w, START + 400 * TICK), 0);
	cr_assert_eq(fn_wheel_run(&w, START + 502 * TICK), 1);
}
