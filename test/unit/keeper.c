/* SPDX-License-Identifier: BSD-3-Clause */
/* The keeper, on a double of the engine whose rounds last for as long as the test wants. */
#include <criterion/criterion.h>
#include <pthread.h>
#include <sched.h>

#include "shim/engine.h"
#include "shim/fabric.h"
#include "shim/fdtable.h"
#include "shim/keeper.h"
#include "shim/last.h"
#include "shim/port.h"
#include "shim/wait.h"

struct fn_engine fn_engine;
struct fn_fdtable fn_fdtable = { .lowest = FN_FD_INTERNAL };
__thread struct fn_thread fn_this_thread;

/* What the keeper's rounds do: how many there were, whether one is under way, whether it may end. */
static _Atomic(unsigned) rounds;
static _Atomic(bool) under_way, may_end, has_quit;

/* With the engine's lock held, in every round. */
unsigned fn_ports_wait_fds(struct pollfd *fds, unsigned max, bool *nap)
{
	rounds++;
	under_way = true;
	while (!may_end)
		sched_yield();
	under_way = false;
	return 0;
}

uint64_t fn_now(void)
{
	struct timespec ts;

	clock_gettime(CLOCK_MONOTONIC, &ts);
	return (uint64_t)ts.tv_sec * FN_NSEC + (uint64_t)ts.tv_nsec;
}

uint64_t fn_engine_deadline(void)
{
	return fn_now() + FN_MSEC;
}

void fn_ports_tick(uint64_t now)
{
}

void fn_engine_lock_slow(void)
{
	fn_lock_take(&fn_engine.lock);
}

bool fn_last_ended(int self)
{
	return false;
}

/* ---- there is no stack, and nobody to share it with: none of these is called ---- */

void fn_family_unlock(void)
{
}

void fn_engine_take_shared(void)
{
}

unsigned fn_stack_poll(struct fn_stack *st, uint64_t now)
{
	return 0;
}

bool fn_stack_flush_staged(struct fn_stack *st)
{
	return true;
}

void fn_dual_check(uint64_t now)
{
}

bool fn_fabric_arm(void)
{
	return true;
}

bool fn_fabric_pending(void)
{
	return false;
}

uint64_t fn_fabric_due(uint64_t now)
{
	return FN_NEVER;
}

void fn_fabric_disarm(void)
{
}

/* ---- tests ---- */

static void setup(void)
{
	fn_engine.ports = 1;
	fn_keeper_start();
	while (!under_way)
		sched_yield();
}

static void *quit(void *arg)
{
	fn_keeper_quit();
	has_quit = true;
	return NULL;
}

/* What f does in another thread waits for the end of the round under way; afterwards *done. */
static void waits_for_the_round(void *(*f)(void *), const _Atomic(bool) *done)
{
	pthread_t t;

	cr_assert_eq(pthread_create(&t, NULL, f, NULL), 0);
	for (int i = 0; i < 1000; i++)
		sched_yield();
	cr_assert_not(*done);
	may_end = true;
	pthread_join(t, NULL);
	cr_assert(*done);
}

/* exec and exit end the thread wherever it is: then it must not be where it has the lock, which others share. */
Test(keeper, quits_outside_the_lock, .init = setup)
{
	unsigned before;

	waits_for_the_round(quit, &has_quit);
	cr_assert_not(under_way);
	before = rounds;
	cr_assert(fn_lock_try(&fn_engine.lock));
	may_end = false;
	fn_lock_release(&fn_engine.lock);
	/* a few of its ticks */
	fn_sys_ppoll(NULL, 0, &(struct timespec){ .tv_nsec = 20 * FN_MSEC }, NULL);
	cr_assert_eq(rounds, before);
}

Test(keeper, is_made_anew_after_an_exec_that_failed, .init = setup)
{
	unsigned before;

	may_end = true;
	fn_keeper_quit();
	before = rounds;
	cr_assert(fn_engine.no_keeper);
	fn_keeper_need();
	cr_assert_not(fn_engine.no_keeper);
	while (rounds == before)
		sched_yield();
	fn_keeper_stop();
}

/* Without a port it is for those who wait for signals only. */
Test(keeper, drives_where_files_send_signals)
{
	may_end = true;
	fn_keeper_need();
	fn_keeper_stop();
	cr_assert_eq(rounds, 0);
	fn_engine.signals = true;
	fn_keeper_need();
	while (!rounds)
		sched_yield();
	fn_keeper_stop();
}

static _Atomic(bool) holds;

static void *hold(void *arg)
{
	bool held = fn_keeper_hold();

	holds = true;
	cr_assert(held);
	fn_keeper_let(held);
	return NULL;
}

/* A peer sends the keeper a descriptor, which has a free number of the program's for a moment: close() waits for its end. */
Test(keeper, is_in_no_round_while_numbers_are_closed, .init = setup)
{
	unsigned before;
	bool held;

	cr_assert_eq(fn_fdtable.lowest, 0, "close() of whatever number asks");
	waits_for_the_round(hold, &holds);
	held = fn_keeper_hold();
	before = rounds;
	fn_sys_ppoll(NULL, 0, &(struct timespec){ .tv_nsec = 20 * FN_MSEC }, NULL);
	cr_assert_eq(rounds, before);
	fn_keeper_let(held);
	fn_keeper_stop();
	cr_assert_not(fn_keeper_hold());
}
