/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * The threads that have called us, from their first call to their end: who cancels one must be able to wake it, and the
 * bell of one that ends is closed. Owns the list; knows nothing of what a thread waits for.
 */
#include <pthread.h>
#include <stddef.h>

#include "shim/fdtable.h"
#include "shim/lock.h"
#include "shim/shim.h"
#include "shim/signal.h"
#include "shim/wait.h"

static struct fn_lock lock;
static struct fn_thread *threads;
static pthread_key_t key;
static bool have_key;
static pthread_once_t once = PTHREAD_ONCE_INIT;

/* Runs among the program's own destructors: one that comes after it and calls us makes the thread known again. */
static void ended(void *arg)
{
	struct fn_thread *t = arg;

	fn_guard_enter(false);
	fn_lock_take(&lock);
	*t->known_pprev = t->known_next;
	if (t->known_next)
		t->known_next->known_pprev = t->known_pprev;
	t->known_pprev = NULL;
	t->known = &fn_thread_unknown;
	fn_lock_release(&lock);
	fn_fd_internal_close(t->efd);
	t->efd = -1;
	atomic_fetch_or(&t->guard->pending, FN_PEND_NEW);
	if (fn_guard_leave())
		fn_guard_finish(0);
}

static void make_key(void)
{
	have_key = pthread_key_create(&key, ended) == 0;
}

bool fn_shim_inside(void)
{
	return fn_thread_self()->inside;
}

void fn_shim_begin_inside(void)
{
	fn_thread_self()->inside = fn_thread_self()->driver = true;
}

void fn_thread_register(void)
{
	struct fn_thread *t = fn_thread_self();

	if (t->driver)		/* never waits here; it may end without a word */
		return;
	pthread_once(&once, make_key);
	/* without a key its end would not be seen, and the list lead into nothing */
	if (t->known_pprev || !have_key || pthread_setspecific(key, t))
		return;
	t->id = pthread_self();
	t->tid = (int)fn_sys(SYS_gettid, 0);
	t->guard = &fn_this_guard;
	fn_lock_take(&lock);
	t->known_next = threads;
	if (t->known_next)
		t->known_next->known_pprev = &t->known_next;
	t->known_pprev = &threads;
	threads = t;
	t->known = t;
	fn_lock_release(&lock);
}

/* The list is whole: fork_prepare holds its lock. What stands in it of the others is a copy of their last state. */
void fn_threads_fork_child(void)
{
	struct fn_thread *self = fn_thread_self(), *next;

	for (struct fn_thread *t = threads; t; t = next) {
		next = t->known_next;
		if (t != self)
			fn_fd_internal_close(t->efd);
	}
	threads = NULL;
	self->tid = (int)fn_sys(SYS_gettid, 0);
	if (self->known_pprev) {
		threads = self;
		self->known_next = NULL;
		self->known_pprev = &threads;
	}
	fn_lock_release(&lock);
}

void fn_threads_fork_prepare(void)
{
	fn_lock_take(&lock);
}

void fn_threads_fork_parent(void)
{
	fn_lock_release(&lock);
}

bool fn_thread_alone(void)
{
	bool others = false;

	fn_lock_take(&lock);
	for (struct fn_thread *t = threads; t; t = t->known_next)
		others |= t != fn_thread_self();
	fn_lock_release(&lock);
	return !others;
}

bool fn_thread_sleeps_on(const struct fn_thread *thread, const struct fn_file *f)
{
	bool sleeps = false;

	fn_lock_take(&lock);
	for (struct fn_thread *t = threads; t; t = t->known_next)
		sleeps |= t == thread && t->plain == f;
	fn_lock_release(&lock);
	return sleeps;
}

/* libc has marked it: the mark is seen at its next cancellation point, or in the wait from which it is rung here. */
void fn_shim_cancelled(unsigned long thread)
{
	fn_lock_take(&lock);
	for (struct fn_thread *t = threads; t; t = t->known_next)
		if (t->id == thread) {
			atomic_fetch_or(&t->guard->pending, FN_PEND_CANCEL);
			fn_thread_ring(t);
			fn_thread_poke(t);
		}
	fn_lock_release(&lock);
}
