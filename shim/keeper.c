/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * The keeper. It ticks while the program is awake; a tick in which nobody has driven the stack makes it take over: it
 * polls and sleeps on the ports until the program drives again. While a thread of the program sleeps as the watcher it
 * parks without any tick. All signals are blocked in it. It makes no descriptors if it can, which have the lowest free
 * number for a moment: a program of one thread knows which one it gets.
 */
#include "shim/keeper.h"

#include <linux/futex.h>
#include <pthread.h>
#include <signal.h>
#include <stdlib.h>

#include "shim/engine.h"
#include "shim/fabric.h"
#include "shim/fdtable.h"
#include "shim/last.h"
#include "shim/port.h"
#include "shim/shim.h"
#include "shim/wait.h"

#define TICK_NS		(2 * FN_MSEC)	/* half of it, on average, is what an ACK waits when the program computes */
#define PARK_TICKS	10		/* ticks under a sleeping watcher before the keeper parks */
#define PEERS_NS	(10 * FN_MSEC)	/* a sleep in which peers ring: the program may have been back, and they do not any more */
#define LAST_NS		(20 * FN_MSEC)	/* so often it asks whether the program's last thread has ended */

enum keeper_word { TICKING, PARKED, STOPPING };

static struct {
	pthread_t thread;
	bool running;
	bool forbidden;			/* no other one may be made */
	bool stays;			/* it must not end */
	_Atomic(uint32_t) word;		/* enum keeper_word; a futex */
	_Atomic(uint32_t) quits;	/* of those made before the last one, some may still be about to end */
	struct fn_lock gate;		/* held around every use of the engine; in front of the engine's lock */
	_Atomic(bool) main_ends;	/* the main thread has called pthread_exit() */
	uint64_t asked;			/* ns: whether the last thread has ended */
	_Atomic(struct job *) job;	/* waits to be done; NULL: none */
} keeper;

/* A system call that the keeper is to make. */
struct job {
	long n;
	const long *arg;
	_Atomic(uint32_t) done;		/* a futex */
};

static void nap(const struct timespec *ts, uint32_t expected)
{
	fn_sys_futex((uint32_t *)&keeper.word, FUTEX_WAIT_PRIVATE, expected, ts);
}

/* Written under the lock, read without: a look that comes too early is made good by the next tick. */
static uint64_t polls(void)
{
	return __atomic_load_n(&fn_engine.polls, __ATOMIC_RELAXED);
}

/* libc ends the process with its last thread, and counts the keeper: so the keeper does it, with libc's status. */
static void end_with_program(uint64_t now)
{
	if (fn_likely(!keeper.main_ends) || now - keeper.asked < LAST_NS)
		return;
	keeper.asked = now;
	if (fn_last_ended(0))
		exit(0);
}

static void do_job(void)
{
	struct job *j = atomic_exchange(&keeper.job, NULL);

	if (fn_likely(!j))
		return;
	/* what a driver allocates in each thread (TLS) is there before a seccomp filter comes */
	fn_lock_take(&keeper.gate);
	fn_engine_lock();
	fn_engine_poll(fn_now());
	fn_engine_unlock();
	fn_lock_release(&keeper.gate);
	fn_sys(j->n, j->arg[0], j->arg[1], j->arg[2], j->arg[3], j->arg[4]);
	/* pairs with the load in fn_keeper_repeat(); the job is the other's stack: not touched afterwards but by address */
	atomic_store(&j->done, 1);
	fn_sys_futex((uint32_t *)&j->done, FUTEX_WAKE_PRIVATE, 1, NULL);
}

/* Is this the keeper that counts, and is it to go on? */
static bool goes_on(uint32_t born)
{
	return keeper.word != STOPPING && keeper.quits == born;
}

struct round {
	struct pollfd fds[FN_PORT_WAIT_FDS + 1];
	unsigned n;
	uint64_t left;		/* how long to sleep on them, ns */
	uint64_t polls;		/* rounds driven so far, this one included */
};

/* Whoever has files that send signals hears of its peers meanwhile, as in a sleep of the program's own. */
static void arm(struct round *r)
{
	uint64_t now = fn_engine.st->now;

	fn_dual_check(now);
	if (!fn_fabric_arm() || fn_fabric_pending())
		r->left = now;
	r->left = fn_min(r->left, fn_min(fn_fabric_due(now), now + PEERS_NS));
	if (fn_engine.side_epfd >= 0)
		r->fds[r->n++] = (struct pollfd){ .fd = fn_engine.side_epfd, .events = POLLIN };
}

/* False: fn_keeper_quit() has come, and nothing was touched. */
static bool drive(struct round *r, uint32_t born)
{
	uint64_t now = fn_now();
	bool rx_nap = false, on;

	end_with_program(now);
	fn_lock_take(&keeper.gate);
	on = goes_on(born);
	if (on) {
		fn_engine_lock();
		fn_engine_poll(now);
		r->polls = polls();
		if (fn_engine.st)
			fn_stack_flush(fn_engine.st);
		r->n = fn_ports_wait_fds(r->fds, FN_PORT_WAIT_FDS, &rx_nap);
		r->left = fn_engine_deadline();
		if (fn_engine.signals && fn_engine.fabric)
			arm(r);
		fn_engine_unlock();
		/* wakes now and then to see whether the program has come back: it need not tell */
		r->left = fn_min(r->left > now ? r->left - now : 0, rx_nap ? FN_MSEC : 50 * FN_MSEC);
	}
	fn_lock_release(&keeper.gate);
	return on;
}

/* Peers need not ring any more, unless a thread of the program sleeps. */
static void disarm(uint32_t born)
{
	fn_lock_take(&keeper.gate);
	if (goes_on(born)) {
		fn_engine_lock();
		if (!fn_engine.watcher)
			fn_fabric_disarm();
		fn_engine_unlock();
	}
	fn_lock_release(&keeper.gate);
}

/* Drive until somebody else does. */
static void take_over(uint32_t born)
{
	struct round r = { .polls = polls() };

	while (keeper.word == TICKING && polls() == r.polls && !fn_engine.watcher && !keeper.job) {
		struct timespec ts;

		if (!drive(&r, born))
			break;
		ts = (struct timespec){ .tv_nsec = (long)r.left };
		if (r.left)
			fn_sys_ppoll(r.fds, r.n, &ts, NULL);
	}
	if (fn_engine.signals && fn_engine.fabric)
		disarm(born);
}

/* What a thread sleeps on for good. */
static _Atomic(uint32_t) never;

static void *keeper_main(void *arg)
{
	const struct timespec tick = { .tv_nsec = TICK_NS };
	uint32_t born = (uint32_t)(uintptr_t)arg;
	uint64_t seen = polls();
	unsigned idle = 0;

	fn_thread_self()->keeper = true;
	while (goes_on(born)) {
		uint32_t ticking = TICKING;

		nap(&tick, TICKING);
		do_job();
		fn_ports_tick(fn_now());
		end_with_program(fn_now());
		if (fn_engine.watcher) {
			if (++idle >= PARK_TICKS && atomic_compare_exchange_strong(&keeper.word, &ticking, PARKED)) {
				/* pairs with fn_keeper_wake(): the watcher clears itself, then looks at the word */
				if (fn_engine.watcher)
					nap(NULL, PARKED);
				ticking = PARKED;
				atomic_compare_exchange_strong(&keeper.word, &ticking, TICKING);
				idle = 0;
			}
		} else if (polls() == seen) {
			take_over(born);
			idle = 0;
		}
		seen = polls();
	}
	do_job();
	while (keeper.stays)
		fn_sys_futex((uint32_t *)&never, FUTEX_WAIT_PRIVATE, 0, NULL);
	return NULL;
}

void fn_keeper_start(void)
{
	sigset_t all, old;

	if (keeper.running || keeper.forbidden)
		return;
	keeper.word = TICKING;
	fn_fdtable.lowest = 0;	/* what it opens (a peer's, a log) has the lowest free number for a moment */
	sigfillset(&all);
	pthread_sigmask(SIG_SETMASK, &all, &old);
	keeper.running = pthread_create(&keeper.thread, NULL, keeper_main, (void *)(uintptr_t)keeper.quits) == 0;
	pthread_sigmask(SIG_SETMASK, &old, NULL);
	fn_engine.no_keeper = !keeper.running && !keeper.forbidden;
	if (keeper.running)
		pthread_setname_np(keeper.thread, "fastnet-keeper");
}

void fn_keeper_stop(void)
{
	if (!keeper.running)
		return;
	if (keeper.stays) {
		fn_keeper_quit();
		return;
	}
	keeper.word = STOPPING;
	fn_sys_futex((uint32_t *)&keeper.word, FUTEX_WAKE_PRIVATE, 1, NULL);
	pthread_join(keeper.thread, NULL);
	keeper.running = false;
	fn_engine.no_keeper = !keeper.forbidden;
}

/* The kernel is about to end all threads but one, wherever they are: this one is nowhere then. */
void fn_keeper_quit(void)
{
	uint32_t parked = PARKED;

	if (!keeper.running)
		return;
	fn_lock_take(&keeper.gate);
	keeper.quits++;
	if (atomic_compare_exchange_strong(&keeper.word, &parked, TICKING))
		fn_sys_futex((uint32_t *)&keeper.word, FUTEX_WAKE_PRIVATE, 1, NULL);
	fn_lock_release(&keeper.gate);
	pthread_detach(keeper.thread);
	keeper.running = false;
	fn_engine.no_keeper = !keeper.forbidden;
}

bool fn_keeper_hold(void)
{
	if (fn_likely(!keeper.running))
		return false;
	fn_lock_take(&keeper.gate);
	return true;
}

void fn_keeper_let(bool held)
{
	if (fn_unlikely(held))
		fn_lock_release(&keeper.gate);
}

void fn_keeper_wake(void)
{
	uint32_t parked = PARKED;

	if (keeper.running && atomic_compare_exchange_strong(&keeper.word, &parked, TICKING))
		fn_sys_futex((uint32_t *)&keeper.word, FUTEX_WAKE_PRIVATE, 1, NULL);
}

void fn_keeper_need(void)
{
	if (fn_unlikely(!keeper.running) && (fn_engine.ports || fn_engine.signals))
		fn_keeper_start();
}

void fn_keeper_forbid(void)
{
	keeper.forbidden = true;
	fn_engine.no_keeper = false;	/* nobody need ask for one */
}

void fn_keeper_stay(void)
{
	keeper.stays = true;
}

void fn_keeper_repeat(long n, const long arg[5])
{
	struct job j = { .n = n, .arg = arg };

	if (!keeper.running)
		return;
	keeper.job = &j;
	fn_keeper_wake();
	while (!j.done)
		fn_sys_futex((uint32_t *)&j.done, FUTEX_WAIT_PRIVATE, 0, NULL);
}

void fn_keeper_forget(void)
{
	keeper.running = false;
	keeper.main_ends = false;
	keeper.job = NULL;
	keeper.gate = (struct fn_lock){ 0 };
	fn_engine.no_keeper = !keeper.forbidden;
}

void fn_shim_thread_exit(void)
{
	if (fn_engine.barred)	/* a filter may allow nothing but the end */
		return;
	if (fn_sys(SYS_gettid, 0) != fn_sys(SYS_getpid, 0))
		return;
	/* a sleeping watcher wakes it when it ends */
	keeper.main_ends = true;
	fn_shim_together();
}

void fn_shim_alone(void)
{
	fn_keeper_stop();
}

void fn_shim_together(void)
{
	if (!fn_engine.ports && !fn_engine.signals)
		return;
	fn_engine_lock();
	fn_keeper_need();
	fn_engine_unlock();
}
