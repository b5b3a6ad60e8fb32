/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * Drives a run: polls both stacks, runs the programs whose sockets are ready or whose time has come, and moves the clock
 * to the next thing that is due. Judges what holds for every run: progress, and that everything is given back at the end.
 * A program runs only for an event or its own timer, so a readiness event that the stack forgets shows as a stall.
 */
#include <stdarg.h>
#include <stdio.h>
#include <string.h>

#include "sim.h"
#include "stack/tcp.h"
#include "stack/wire.h"

#define STALL		(400 * FN_NSEC)		/* several times the largest RTO, 120 s */
#define ROUNDS_MAX	200000			/* at one instant: more is a livelock */
#define AFTERWARDS	(200 * FN_NSEC)		/* reassembly, ARP and probes are over by then */

void sim_fail(struct sim *s, const char *fmt, ...)
{
	va_list ap;
	int n = snprintf(s->why, sizeof(s->why), "at %.6f s: ", (double)s->now / 1e9);

	va_start(ap, fmt);
	vsnprintf(s->why + n, sizeof(s->why) - (size_t)n, fmt, ap);
	va_end(ap);
	longjmp(s->fail, 1);
}

void sim_note(struct sim *s, const struct sim_app *app, const char *fmt, ...)
{
	va_list ap;

	if (!s->opt->trace)
		return;
	printf("%.6f %c ", (double)s->now / 1e9, "ab"[app->side]);
	if (app->kind == SIM_END) {
		const struct sim_end *e = (const struct sim_end *)app;

		printf("flow %u.%u ", e->flow->number, e->index);
	}
	va_start(ap, fmt);
	vprintf(fmt, ap);
	va_end(ap);
	putchar('\n');
}

uint32_t sim_ip(unsigned side)
{
	return fn_be32(0x0a000001 + side);
}

/* ---- the stacks' call-backs ---- */

static void on_ready(void *ctx, struct fn_sock *sk, unsigned events)
{
	struct sim_app *app = sk->user;
	struct sim_side *side = ctx;

	app->events |= events;
	if (app->ready)
		return;
	app->ready = true;
	app->next_ready = NULL;
	*side->ready_tail = app;
	side->ready_tail = &app->next_ready;
}

static void on_frame(void *ctx, unsigned from, const void *frame, size_t len)
{
	struct sim *s = ctx;
	const uint8_t *p = frame;
	uint64_t h = s->wire_hash ^ sim_mix(s->now + from + (len << 32)), word;

	for (; len >= 8; p += 8, len -= 8) {
		memcpy(&word, p, 8);
		h = (h ^ word) * 0x9fb21c651e98df25ull;
		h ^= h >> 31;
	}
	for (; len; p++, len--)
		h = (h ^ *p) * 0x100000001b3ull;
	s->wire_hash = h;
	s->frames++;
}

static void on_frame_traced(void *ctx, unsigned from, const void *frame, size_t len)
{
	on_frame(ctx, from, frame, len);
	sim_trace_frame(((struct sim *)ctx)->now, from, frame, len);
}

/* ---- set-up ---- */

static int grow_fixed(void *ctx, size_t size)
{
	return size <= SIM_ARENA ? 0 : -1;
}

static void side_create(struct sim *s, unsigned i, uint8_t *mem)
{
	static const struct fn_stack_ops ops = {.ready = on_ready};
	struct sim_side *side = &s->side[i];

	side->mem = mem;
	side->ready_tail = &side->ready;
	side->arena = fn_arena_init(mem, SIM_ARENA, SIM_ARENA, grow_fixed, NULL);
	side->st = fn_stack_create(side->arena, &s->conf[i], &ops, side, 0);
	sim_check(s, side->st, "no stack");
	side->nic = fn_pair_nic(s->wire, i);
	side->nic->ip4 = sim_ip(i);
	side->nic->ip4_mask = fn_be32(0xffffff00);
	sim_check(s, !fn_stack_add_nic(side->st, side->nic), "NIC refused");
}

static void world_create(struct sim *s, uint8_t *mem[2])
{
	unsigned i, j;

	s->wire = fn_pair_create(&s->wire_conf);
	sim_check(s, s->wire, "out of memory");
	fn_pair_set_tap(s->wire, s->opt->trace ? on_frame_traced : on_frame, s);
	for (i = 0; i < 2; i++) {
		side_create(s, i, mem[i]);
		for (j = 0; j < 2; j++)
			sim_listener_open(&s->side[i].listener[j]);
		for (j = 0; j < s->dgrams; j++)
			sim_dgram_open(&s->dgram[i][j]);
	}
}

/* ---- programs ---- */

static void app_run(struct sim_app *app)
{
	app->due = FN_NEVER;
	switch (app->kind) {
	case SIM_END:
		sim_end_run((struct sim_end *)app);
		break;
	case SIM_LISTENER:
		sim_listener_run((struct sim_listener *)app);
		break;
	case SIM_DGRAM:
		sim_dgram_run((struct sim_dgram *)app);
		break;
	}
	app->events = 0;
}

/* Calls fn for each program of the run. */
static void apps_each(struct sim *s, void (*fn)(struct sim_app *app, void *arg), void *arg)
{
	unsigned i, side;

	for (i = 0; i < s->flows; i++) {
		fn(&s->flow[i].end[0].app, arg);
		fn(&s->flow[i].end[1].app, arg);
	}
	for (side = 0; side < 2; side++) {
		for (i = 0; i < 2; i++)
			fn(&s->side[side].listener[i].app, arg);
		for (i = 0; i < s->dgrams; i++)
			fn(&s->dgram[side][i].app, arg);
	}
}

static void run_if_due(struct sim_app *app, void *ran)
{
	if (app->due <= app->s->now) {
		app_run(app);
		++*(unsigned *)ran;
	}
}

static void earliest(struct sim_app *app, void *min)
{
	*(uint64_t *)min = fn_min(*(uint64_t *)min, app->due);
}

static unsigned run_ready(struct sim_side *side)
{
	unsigned ran = 0;

	while (side->ready) {
		struct sim_app *app = side->ready;

		side->ready = app->next_ready;
		if (!side->ready)
			side->ready_tail = &side->ready;
		app->ready = false;
		app_run(app);
		ran++;
	}
	return ran;
}

/* ---- the clock ---- */

/* Everything that can happen at this instant. */
/* What recovery after a death goes by (stack/tcp_recover.c) must hold whenever nobody is at work. */
static void judge_sound(struct sim *s, const struct sim_side *side)
{
	const struct fn_pool *pool = &side->st->tcp_pool;

	for (uint32_t i = 1; i < pool->made; i++) {
		const struct fn_tcp *tp = fn_pool_at(pool, i);

		if (tp->sk.kind && !fn_tcp_sound(tp))
			sim_fail(s, "side %d: connection %u in state %u does not fit together", (int)(side - s->side), i,
				 tp->sk.tcp_state);
	}
}

static void instant(struct sim *s)
{
	unsigned work = 1, rounds, i;

	for (rounds = 0; work; rounds++) {
		sim_check(s, rounds < ROUNDS_MAX, "livelock: work without end at one instant");
		work = 0;
		for (i = 0; i < 2; i++) {
			work += fn_stack_poll(s->side[i].st, s->now);
			work += run_ready(&s->side[i]);
		}
		apps_each(s, run_if_due, &work);
		for (i = 0; i < 2; i++)
			if (!fn_stack_flush(s->side[i].st))
				work += s->wire_conf.release_ns == 0;
	}
	for (i = 0; i < 2; i++)
		judge_sound(s, &s->side[i]);
}

static uint64_t next_instant(struct sim *s)
{
	uint64_t next = fn_pair_next(s->wire);
	unsigned i;

	apps_each(s, earliest, &next);
	for (i = 0; i < 2; i++) {
		next = fn_min(next, fn_stack_deadline(s->side[i].st));
		if (fn_stack_staged(s->side[i].st))
			next = fn_min(next, s->now + 10 * SIM_USEC);
	}
	/* What is due already and was not done at this instant: a timer's tick, or nothing; time must go on. */
	return fn_max(next, s->now + (s->lazy > 1 ? sim_range(&s->rng, 1, s->lazy) : 1));
}

static void stalled(struct sim *s, const char *how)
{
	char first[400];
	unsigned i, j;

	for (i = 0; i < s->flows; i++)
		for (j = 0; j < 2; j++)
			if (s->flow[i].end[j].phase != END_DONE) {
				sim_end_describe(&s->flow[i].end[j], first, sizeof(first));
				sim_fail(s, "stall: %s: %s", how, first);
			}
	sim_fail(s, "stall: %s", how);
}

static void advance(struct sim *s, uint64_t until)
{
	uint64_t next = next_instant(s);

	if (next == FN_NEVER && until == FN_NEVER)
		stalled(s, "nothing is due");
	s->now = fn_min(next, until);
	if (until == FN_NEVER && s->now - s->progress > STALL)
		stalled(s, "no progress");
	fn_pair_set_time(s->wire, s->now);
	instant(s);
}

/* ---- the end ---- */

static bool dgrams_done(const struct sim *s)
{
	unsigned i, side;

	for (side = 0; side < 2; side++)
		for (i = 0; i < s->dgrams; i++)
			if (!sim_dgram_done(&s->dgram[side][i]))
				return false;
	return true;
}

static void close_all(struct sim *s)
{
	unsigned i, side;

	s->closing = true;
	for (side = 0; side < 2; side++) {
		for (i = 0; i < 2; i++)
			fn_sock_close(s->side[side].listener[i].sk);
		for (i = 0; i < s->dgrams; i++) {
			sim_dgram_run(&s->dgram[side][i]);
			sim_dgram_judge(&s->dgram[side][i]);
			fn_sock_close(s->dgram[side][i].sk);
		}
		s->side[side].ready = NULL;
		s->side[side].ready_tail = &s->side[side].ready;
	}
}

static void no_timer(struct sim_app *app, void *arg)
{
	app->due = FN_NEVER;
}

static void judge_side(struct sim *s, unsigned i)
{
	struct fn_stack *st = s->side[i].st;

	sim_check(s, !st->tcp_pool.used, "leak: %u TCP sockets at %c", st->tcp_pool.used, "ab"[i]);
	sim_check(s, !st->udp_pool.used, "leak: %u UDP sockets at %c", st->udp_pool.used, "ab"[i]);
	sim_check(s, !fn_stack_staged(st), "%u packets never left %c", fn_stack_staged(st), "ab"[i]);
	sim_check(s, !st->loop.count, "%u packets of %c to itself lie around", st->loop.count, "ab"[i]);
	sim_check(s, !fn_stack_draining(st), "%c still drains %u sockets", "ab"[i], fn_stack_draining(st));
	sim_check(s, !fn_pair_outstanding(s->wire, i), "leak: %u buffers of %c", fn_pair_outstanding(s->wire, i), "ab"[i]);
}

/* TIME_WAIT and what the closed sockets still have to say runs out; then everything is back. */
static void world_end(struct sim *s)
{
	uint64_t until = s->now + AFTERWARDS, limit = s->now + 3 * STALL;

	close_all(s);
	apps_each(s, no_timer, NULL);
	while (s->now < until || (s->now < limit && (s->side[0].st->tcp_pool.used || s->side[1].st->tcp_pool.used)))
		advance(s, s->now < until ? until : limit);
	judge_side(s, 0);
	judge_side(s, 1);
}

bool sim_run(struct sim *s, uint64_t seed, const struct sim_options *opt, uint8_t *mem[2])
{
	memset(s, 0, sizeof(*s));
	s->seed = seed;
	s->rng.s = sim_mix(seed + 0x5eed);
	s->opt = opt;
	s->wire_hash = 0x6a09e667f3bcc908ull;
	if (setjmp(s->fail))
		return false;
	sim_plan(s);
	world_create(s, mem);
	instant(s);
	while (s->unfinished || !dgrams_done(s))
		advance(s, FN_NEVER);
	world_end(s);
	return true;
}

void sim_free(struct sim *s)
{
	if (s->wire)
		fn_pair_destroy(s->wire);
	s->wire = NULL;
}
