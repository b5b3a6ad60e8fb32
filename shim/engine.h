/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * The engine: one stack, its arena, its ports, its lock, and who drives it. One a process image so far. Made at the
 * first connect through a port, or the first wait on a listener of one (image.c), never by a mere socket().
 */
#ifndef FN_ENGINE_H
#define FN_ENGINE_H

#include "shim/file.h"
#include "shim/lock.h"
#include "stack/stack.h"

struct fn_thread;

struct fn_engine {
	struct fn_lock lock;		/* the stack and everything in its arena; files' kind, sk */
	struct fn_stack *st;
	_Atomic(uint64_t) polls;	/* rounds driven by anybody: the keeper's heartbeat looks at it */
	_Atomic(uint64_t) next_deadline; /* fn_stack_deadline() after the last round, ns */
	_Atomic(struct fn_thread *) watcher; /* sleeps with the ports' descriptors in its ppoll; NULL: nobody */
	int ports;			/* open ports */
	int base_fd;			/* internal: the unconnected socket whose dups are accepted connections' numbers */
};

/* CLOCK_MONOTONIC, ns (vDSO: no system call). */
uint64_t fn_now(void);

/* The image's engine, or NULL when there is none yet. */
struct fn_engine *fn_engine_current(void);

/* Run the stack once if its lock is free; true when it did something. */
bool fn_engine_poll(struct fn_engine *e);

/* With the lock held: one round at `now`. */
unsigned fn_engine_poll_locked(struct fn_engine *e, uint64_t now);

fn_inline void fn_engine_lock(struct fn_engine *e)
{
	fn_lock_take(&e->lock);
}

fn_inline void fn_engine_unlock(struct fn_engine *e)
{
	fn_lock_release(&e->lock);
}

/*
 * After a call that may have staged packets: send them now, or leave them to the next wait, when the program is working
 * through a batch of events (one doorbell a burst). With the lock held.
 */
void fn_engine_kick(struct fn_engine *e);

#endif
