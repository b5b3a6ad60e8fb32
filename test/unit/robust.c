/* SPDX-License-Identifier: BSD-3-Clause */
/* The robust lock: processes that have it die, exec, wait for it and die; libc's robust mutexes stand in the same list. */
#include <criterion/criterion.h>
#include <errno.h>
#include <fcntl.h>
#include <pthread.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/wait.h>
#include <unistd.h>

#include "shim/robust.h"
#include "test/unit/traced.h"

static struct page {
	struct fn_robust lock, other;
	pthread_mutex_t mutex;
	_Atomic(unsigned) step;
	unsigned count;
} *page;

static void setup(void)
{
	pthread_mutexattr_t attr;

	page = mmap(NULL, sizeof(*page), PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
	pthread_mutexattr_init(&attr);
	pthread_mutexattr_setpshared(&attr, PTHREAD_PROCESS_SHARED);
	pthread_mutexattr_setrobust(&attr, PTHREAD_MUTEX_ROBUST);
	pthread_mutex_init(&page->mutex, &attr);
}
TestSuite(robust, .init = setup);

static pid_t child(void (*run)(void))
{
	pid_t pid = fork();

	cr_assert_geq(pid, 0);
	if (pid)
		return pid;
	prctl(PR_SET_PDEATHSIG, SIGKILL);
	fn_robust_child();
	run();
	_exit(0);
}

static void await_step(unsigned step)
{
	while (page->step < step)
		sched_yield();
}

static void end(pid_t pid)
{
	kill(pid, SIGKILL);
	cr_assert_eq(waitpid(pid, NULL, 0), pid);
}

static void hold_for_ever(void)
{
	fn_robust_lock(&page->lock);
	page->step = 1;
	for (;;)
		pause();
}

Test(robust, taken_and_given_back)
{
	for (unsigned i = 0; i < 3; i++) {
		cr_assert_eq(fn_robust_lock(&page->lock), 0);
		cr_assert_not(fn_robust_free(&page->lock));
		cr_assert_eq(fn_robust_try(&page->lock), -EBUSY);
		fn_robust_unlock(&page->lock);
		cr_assert(fn_robust_free(&page->lock));
	}
}

Test(robust, the_next_one_is_told_of_a_death)
{
	pid_t pid = child(hold_for_ever);

	await_step(1);
	cr_assert_eq(fn_robust_try(&page->lock), -EBUSY);
	end(pid);
	cr_assert(fn_robust_free(&page->lock));
	cr_assert_eq(fn_robust_lock(&page->lock), -EOWNERDEAD);
	fn_robust_unlock(&page->lock);
	cr_assert_eq(fn_robust_lock(&page->lock), 0, "told once");
	fn_robust_unlock(&page->lock);
}

static pid_t victim;

static void *kill_later(void *arg)
{
	/* the other thread sleeps in the kernel, waiting for the lock */
	while (!(page->lock.word & FUTEX_WAITERS))
		sched_yield();
	end(victim);
	return NULL;
}

Test(robust, who_sleeps_for_it_is_woken_by_a_death)
{
	pthread_t t;

	victim = child(hold_for_ever);
	await_step(1);
	cr_assert_eq(pthread_create(&t, NULL, kill_later, NULL), 0);
	cr_assert_eq(fn_robust_lock(&page->lock), -EOWNERDEAD);
	fn_robust_unlock(&page->lock);
	pthread_join(t, NULL);
}

static void hold_and_exec(void)
{
	fn_robust_lock(&page->lock);
	execl("/bin/sleep", "sleep", "100", NULL);
}

Test(robust, exec_lets_go)
{
	pid_t pid = child(hold_and_exec);

	while (fn_robust_lock(&page->lock) != -EOWNERDEAD)
		fn_robust_unlock(&page->lock);
	fn_robust_unlock(&page->lock);
	cr_assert_eq(kill(pid, 0), 0, "exec does not end the process");
	end(pid);
}

/* Held in any order, with a mutex of libc's between: all three are found after death, and links do not break. */
static void hold_three(void)
{
	fn_robust_lock(&page->lock);
	pthread_mutex_lock(&page->mutex);
	fn_robust_lock(&page->other);
	fn_robust_unlock(&page->lock);
	fn_robust_lock(&page->lock);
	pthread_mutex_unlock(&page->mutex);
	pthread_mutex_lock(&page->mutex);
	page->step = 1;
	for (;;)
		pause();
}

Test(robust, among_mutexes_of_libc)
{
	pid_t pid = child(hold_three);

	await_step(1);
	end(pid);
	cr_expect_eq(fn_robust_lock(&page->lock), -EOWNERDEAD);
	cr_expect_eq(pthread_mutex_lock(&page->mutex), EOWNERDEAD);
	cr_expect_eq(fn_robust_lock(&page->other), -EOWNERDEAD);
	pthread_mutex_consistent(&page->mutex);
	fn_robust_unlock(&page->lock);
	pthread_mutex_unlock(&page->mutex);
	fn_robust_unlock(&page->other);
	cr_expect_eq(pthread_mutex_trylock(&page->mutex), 0);
	cr_expect_eq(fn_robust_try(&page->lock), 0);
}

/* A process that libc has not prepared, as the relay is. */
Test(robust, a_bare_child)
{
	long pid = fn_sys(SYS_clone, SIGCHLD, NULL, NULL, NULL, 0);

	cr_assert_geq(pid, 0);
	if (!pid) {
		fn_robust_bare_child();
		hold_for_ever();
	}
	await_step(1);
	cr_assert_eq((page->lock.word & FUTEX_TID_MASK), (uint32_t)pid);
	end((pid_t)pid);
	cr_assert_eq(fn_robust_lock(&page->lock), -EOWNERDEAD);
}

/* ---- a wake-up that dies with whom it woke ---- */

/* What the kernel says of it: R, S (sleeps), t (stands still, traced) ... */
static char state_of(pid_t pid)
{
	char path[64], text[512] = "";
	const char *end;
	int fd;

	snprintf(path, sizeof(path), "/proc/%d/stat", pid);
	fd = open(path, O_RDONLY);
	cr_assert_geq(fd, 0);
	cr_assert_gt(read(fd, text, sizeof(text) - 1), 0);
	close(fd);
	end = strrchr(text, ')');
	return end ? end[2] : 0;
}

static void await_sleep(pid_t pid)
{
	char state;

	/* 't': it has slept, and looks again */
	while ((state = state_of(pid)) != 'S' && state != 't')
		sched_yield();
}

static void take_once(void)
{
	fn_robust_child();
	fn_robust_lock(&page->lock);
	page->step++;
	fn_robust_unlock(&page->lock);
}

/* Until it sleeps in the call that waits for the lock. */
static void sleep_traced(pid_t pid)
{
	do {
		traced_go_on(pid);
		cr_assert(traced_stops(pid));
	} while (!(page->lock.word & FUTEX_WAITERS));
	traced_go_on(pid);
	await_sleep(pid);
}

/*
 * Two sleep, one is woken, and before it has run somebody else takes the lock. Killed now, it takes with it what the other
 * sleeper was to hear.
 */
Test(robust, who_is_woken_and_killed_leaves_nobody_asleep, .timeout = 30)
{
	pid_t woken, other;

	cr_assert_eq(fn_robust_lock(&page->lock), 0);
	woken = traced_child(take_once);
	if (woken < 0)
		cr_skip_test("a child may not be traced here");
	sleep_traced(woken);
	other = child(take_once);
	await_sleep(other);
	fn_robust_unlock(&page->lock);
	cr_assert(traced_stops(woken));
	cr_assert_eq(fn_robust_lock(&page->lock), 0);
	end(woken);
	fn_robust_unlock(&page->lock);
	cr_assert_eq(waitpid(other, NULL, 0), other);
	cr_assert_eq(page->step, 1u);
}

/* ---- many ---- */

#define CROWD	4
#define TAKES	20000u
#define KILLS	60u

static void take_often(void)
{
	for (unsigned i = 0; i < TAKES; i++) {
		fn_robust_lock(&page->lock);
		page->count++;
		fn_robust_unlock(&page->lock);
	}
}

Test(robust, one_at_a_time)
{
	pid_t pid[CROWD];

	for (unsigned i = 0; i < CROWD; i++)
		pid[i] = child(take_often);
	for (unsigned i = 0; i < CROWD; i++)
		cr_assert_eq(waitpid(pid[i], NULL, 0), pid[i]);
	cr_assert_eq(page->count, CROWD * TAKES);
	cr_assert(fn_robust_free(&page->lock));
}

static void take_for_ever(void)
{
	for (;;)
		take_often();
}

/* Killed anywhere in lock and unlock: nobody waits for ever, nobody holds it together with another. */
Test(robust, killed_at_any_point, .timeout = 30)
{
	unsigned told = 0, before;
	pid_t pid[CROWD];

	for (unsigned i = 0; i < CROWD; i++)
		pid[i] = child(take_for_ever);
	for (unsigned i = 0; i < KILLS; i++) {
		end(pid[i % CROWD]);
		for (unsigned k = 0; k < 200; k++) {
			told += fn_robust_lock(&page->lock) == -EOWNERDEAD;
			before = ++page->count;
			cr_assert_eq(*(volatile unsigned *)&page->count, before);
			fn_robust_unlock(&page->lock);
		}
		pid[i % CROWD] = child(take_for_ever);
	}
	for (unsigned i = 0; i < CROWD; i++)
		end(pid[i]);
	cr_assert_leq(told, KILLS);
}
