/* SPDX-License-Identifier: BSD-3-Clause */
/* Who looks after the ports while several threads sleep: there is always one, whichever way the waits end. */
#include <criterion/criterion.h>
#include <pthread.h>
#include <sched.h>
#include <sys/mman.h>

#include "shim/conf.h"
#include "shim/engine.h"
#include "shim/spin.h"
#include "shim/wait.h"
#include "stack/nic_pair.h"

#define ARENA_SIZE (64ul << 20)

/* A thread in a wait that ends when .go is set, or becomes so with another's end. */
struct sleeper {
	struct fn_wait wait;
	struct fn_thread *self;
	struct sleeper *with;		/* its .go is set, and it is rung, when this one is out of its sleep */
	_Atomic(bool) go;
	pthread_t thread;
	int ret;
};

static int grow(void *ctx, size_t size)
{
	return 0;
}

static void no_ready(void *ctx, struct fn_sock *sk, unsigned events)
{
}

static void setup(void)
{
	static const struct fn_stack_ops ops = { .ready = no_ready };
	struct fn_pair_conf pc = { .seed = 1, .buffers = 64, .queue = 16 };
	void *mem = mmap(NULL, ARENA_SIZE, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
	struct fn_stack_conf conf;

	fn_conf_init(&fn_config);
	fn_stack_conf_init(&conf);
	cr_assert_eq(fn_engine_init(), 0);
	fn_engine.st = fn_stack_create(fn_arena_init(mem, ARENA_SIZE, ARENA_SIZE, grow, NULL), &conf, &ops, NULL, fn_now());
	cr_assert_not_null(fn_engine.st);
	fn_stack_add_nic(fn_engine.st, fn_pair_nic(fn_pair_create(&pc), 0));
}
TestSuite(wait, .init = setup, .timeout = 30);

static bool ready(struct fn_wait *w)
{
	return ((struct sleeper *)w->arg)->go;
}

static void out_of_sleep(struct fn_wait *w)
{
	struct sleeper *s = w->arg;

	if (s->go && s->with) {
		s->with->go = true;
		fn_thread_ring(s->with->self);
	}
}

static void *body(void *arg)
{
	struct sleeper *s = arg;

	s->self = fn_thread_self();
	s->wait = (struct fn_wait){ .ready = ready, .disarm = out_of_sleep, .arg = s, .deadline = FN_FOREVER };
	s->ret = fn_wait(&s->wait, false);
	return NULL;
}

static bool asleep(const struct sleeper *s)
{
	bool is;

	fn_engine_lock();
	is = s->self && s->self->state == FN_ARMED;
	fn_engine_unlock();
	return is;
}

static void start(struct sleeper *s)
{
	cr_assert_eq(pthread_create(&s->thread, NULL, body, s), 0);
	while (!asleep(s))
		sched_yield();
}

static void end(struct sleeper *s)
{
	pthread_join(s->thread, NULL);
	cr_expect_eq(s->ret, 1);
}

static struct fn_thread *watcher(void)
{
	return fn_engine.watcher;
}

static void finish(struct sleeper *s)
{
	s->go = true;
	fn_thread_ring(s->self);
	end(s);
}

Test(wait, the_first_sleeper_is_the_watcher)
{
	struct sleeper a = { 0 }, b = { 0 };

	start(&a);
	start(&b);
	cr_expect_eq(watcher(), a.self);
	finish(&a);
	while (watcher() != b.self)
		sched_yield();
	finish(&b);
	cr_expect_null(watcher());
}

/* The watcher's heir has been woken already, for its own wait is over: a third one must take over. */
Test(wait, an_heir_that_leaves_passes_it_on)
{
	struct sleeper a = { 0 }, third = { 0 }, heir = { 0 };

	start(&a);
	start(&third);
	start(&heir);
	a.with = &heir;
	finish(&a);
	end(&heir);
	while (watcher() != third.self)
		sched_yield();
	finish(&third);
}

/* As a thread that works through what comes. */
static void poll_once(void)
{
	fn_engine_lock();
	fn_engine_poll(fn_now());
	fn_engine_unlock();
}

static bool napping(void)
{
	bool is;

	fn_engine_lock();
	is = fn_engine.napper;
	fn_engine_unlock();
	return is;
}

/* Woken for nothing while somebody else polls, a sleeper watches no more, until that one stops or sleeps itself. */
Test(wait, a_watcher_leaves_the_bells_to_who_polls)
{
	struct sleeper a = { 0 }, b = { 0 };

	start(&a);
	while (!napping()) {
		poll_once();
		if (watcher() == a.self)
			fn_thread_ring(a.self);
	}
	while (watcher() != a.self)
		sched_yield();
	while (!napping()) {
		poll_once();
		if (watcher() == a.self)
			fn_thread_ring(a.self);
	}
	start(&b);
	cr_expect(watcher());
	finish(&b);
	while (watcher() != a.self)
		sched_yield();
	finish(&a);
	cr_expect_null(watcher());
	cr_expect(!napping());
}

/* A yield that took long gave the CPU to somebody who is not the peer: there is none for a second. */
Test(wait, long_yields_are_not_repeated)
{
	uint64_t at = 5 * FN_NSEC;

	cr_assert(fn_spin_may_yield(at));
	fn_spin_yielded(at, at + 20000);
	cr_assert(fn_spin_may_yield(at + 20000));
	fn_spin_yielded(at, at + 3 * FN_MSEC);
	cr_assert(!fn_spin_may_yield(at + 3 * FN_MSEC) && !fn_spin_may_yield(at + FN_NSEC));
	cr_assert(fn_spin_may_yield(at + FN_NSEC + 3 * FN_MSEC));
}
