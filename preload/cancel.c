/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * Threads that begin, are cancelled, or end. Those of a driver are known from their birth on: what they do is none of the
 * program's. Deferred cancellation acts where a call of ours begins or waits (shim/signal.c); libc tells
 * nobody of it, so who cancels a thread wakes it. Asynchronous cancellation would act in the midst of our calls: they
 * switch it off while they last, and the thread carries a mark that it wants it.
 */
#include <errno.h>
#include <pthread.h>
#include <stdatomic.h>
#include <stdlib.h>

#include "preload/guard.h"

struct beginning {
	void *(*fn)(void *);
	void *arg;
};

static void *begin_inside(void *arg)
{
	struct beginning b = *(struct beginning *)arg;

	free(arg);
	fn_shim_begin_inside();
	return b.fn(b.arg);
}

int fn_wrap_pthread_create(pthread_t *thread, const pthread_attr_t *attr, void *(*fn)(void *), void *arg)
{
	struct beginning *b;
	int ret;

	if (fn_likely(!fn_shim_active || !fn_shim_inside()))
		return fn_real.pthread_create(thread, attr, fn, arg);
	b = malloc(sizeof(*b));
	if (!b)
		return EAGAIN;
	*b = (struct beginning){ fn, arg };
	ret = fn_real.pthread_create(thread, attr, begin_inside, b);
	if (ret)
		free(b);
	return ret;
}

int fn_wrap_pthread_cancel(pthread_t thread)
{
	int ret = fn_real.pthread_cancel(thread);

	if (!ret && fn_active())
		fn_guarded_void(fn_shim_cancelled(thread));
	return ret;
}

/* The end of a thread that returns from its function passes nowhere here; but the main one's is exit(). */
void fn_wrap_pthread_exit(void *value)
{
	if (fn_active())
		fn_guarded_void(fn_shim_thread_exit());
	fn_real.pthread_exit(value);
}

void fn_wrap_thrd_exit(int result)
{
	if (fn_active())
		fn_guarded_void(fn_shim_thread_exit());
	fn_real.thrd_exit(result);
}

/* In a handler that runs at the end of a call libc's own type is the deferred one: the mark counts. */
int fn_wrap_pthread_setcanceltype(int type, int *old)
{
	_Atomic(uint8_t) *pending = &fn_this_guard.pending;
	int was, ret;

	if (!fn_active())
		return fn_real.pthread_setcanceltype(type, old);
	ret = fn_real.pthread_setcanceltype(type, &was);
	if (ret)
		return ret;
	if (*pending & FN_PEND_ASYNC)
		was = PTHREAD_CANCEL_ASYNCHRONOUS;
	if (type == PTHREAD_CANCEL_ASYNCHRONOUS)
		atomic_fetch_or(pending, FN_PEND_ASYNC);
	else
		atomic_fetch_and(pending, (uint8_t)~FN_PEND_ASYNC);
	if (old)
		*old = was;
	return 0;
}
