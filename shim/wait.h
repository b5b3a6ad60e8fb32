/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * Waiting: drive the stack, spin a while, then sleep in one kernel ppoll with everything armed. Arm, check again, then
 * sleep: no wake-up is lost. Every wait ends by its condition, its deadline, a signal, or a wake-up.
 */
#ifndef FN_WAIT_H
#define FN_WAIT_H

#include "shim/engine.h"

#define FN_FOREVER UINT64_MAX

/* What a thread that waits is. One in each thread (TLS); .state pairs arm with ring. */
struct fn_thread {
	_Atomic(uint32_t) state;	/* enum fn_thread_state */
	int efd;			/* internal eventfd that rings it; -1: not made yet */
	int batch;			/* events that the last epoll_wait gave: see fn_engine_kick() */
	struct fn_thread *next, **pprev; /* in a list of sleepers */
};

/*
 * Wait until `ready` says so. `ready` is called with the engine locked (if there is one); `spin` says whether spinning
 * makes sense. extra[] are kernel descriptors to look at (their revents are set), NULL when there are none.
 */
struct fn_wait {
	struct fn_engine *engine;	/* may be NULL: nothing to drive */
	bool (*ready)(void *arg);
	void *arg;
	uint64_t deadline;		/* ns of fn_now(); FN_FOREVER */
	const sigset_t *mask;		/* during the sleep, NULL: as it is */
	struct pollfd *extra;
	unsigned extra_count;
};

/* 1: ready() is true, or extra[] has revents; 0: deadline; -EINTR. */
int fn_wait(struct fn_wait *w);

/*
 * Block until f has one of `events` (or HUP or ERR), for a blocking call on fd; deadline as above. 0: try again;
 * -EAGAIN: deadline (what SO_RCVTIMEO gives); -EINTR. Called without locks.
 */
int fn_wait_file(struct fn_file *f, int fd, unsigned events, uint64_t deadline);

/* Deadline of a call that starts now with SO_RCVTIMEO/SO_SNDTIMEO `timeo` (0: none). */
fn_inline uint64_t fn_timeo_deadline(uint64_t timeo)
{
	return timeo ? fn_now() + timeo : FN_FOREVER;
}

/* Ring a thread: it leaves its sleep, or does not enter it. */
void fn_thread_ring(struct fn_thread *t);
struct fn_thread *fn_thread_self(void);

#endif
