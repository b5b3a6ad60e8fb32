/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * The engine: one stack, its arena, its ports, and the lock under which all of it and the files that stand on it change.
 * One a process image. The stack and the ports are made at the first connect through a port, or the first wait on a
 * listener of one (image.c), never by a mere socket().
 */
#ifndef FN_ENGINE_H
#define FN_ENGINE_H

#include "shim/conf.h"
#include "shim/family.h"
#include "shim/file.h"
#include "shim/lock.h"
#include "stack/stack.h"

struct fn_thread;

struct fn_engine {
	struct fn_lock lock;		/* the stack's, while it is this image's alone */
	bool shares;			/* it is not: shared->lock counts, .lock is FN_LOCK_MOVED */
	struct fn_shared *shared;
	unsigned image;			/* our number in shared->member */
	uint32_t conversions;		/* of shared->conversions seen so far */
	uint32_t cedes;			/* of shared->cedes */
	uint64_t bit;			/* its bit */
	uint64_t mine;			/* its bit in fn_sock.images; the relay: 0 */
	bool is_relay;
	int bell;			/* internal: see bell.h; -1: none */
	uint64_t seen;			/* events of shared->event handled so far */
	struct fn_stack *st;		/* NULL: none yet */
	bool barred;			/* a seccomp filter or clone(2) has come: no stack in this image any more */
	bool no_family;			/* a seccomp filter or RLIMIT_AS does not let it be shared, neither by fork nor with the relay */
	bool no_names;			/* nor asking the relay about converted connections */
	bool plain_sleeps;		/* a seccomp filter does not allow what sleeps take beside ppoll() */
	bool plain_waits;		/* epoll_pwait2() is not to be had */
	bool signals;			/* files of it may send signals (async.h): the fabric, too, has a keeper then */
	union {
		struct {
			bool no_keeper;	/* fn_engine_kick() makes one if there are ports */
			bool to_itself;	/* the image has met itself on the fabric: what it sends is there at once */
		};
		uint16_t attention;	/* any of them */
	};
	int ports;			/* open ones: with none there is no keeper, unless .signals */
	uint64_t polls;			/* rounds driven by anybody, under the lock; the keeper looks without it */
	_Atomic(struct fn_thread *) watcher; /* sleeps with the ports' descriptors in its ppoll; NULL: nobody */
	struct fn_wait *napper;		/* sleeps a moment, and looks then whether others still poll; NULL: nobody */
	uint64_t slept;			/* ns: the last poll of who went to sleep last */
	_Atomic(uint64_t) rings;	/* threads rung */
	struct fn_thread *sleepers;	/* threads that sleep in fn_wait(), the watcher included */
	struct fn_file *duals;		/* files with a kernel's side */
	int side_epfd;			/* internal: epoll set of the kernel's sides and the fabric's, edge-triggered; -1: not made */
	bool fabric;			/* the stack has it: see fabric.h */
	int base_fd[2];			/* internal: unconnected sockets (IPv4, IPv6) whose dups are accepted numbers */
	uint64_t side_due;		/* ns: when a round asks side_epfd next */
};

extern struct fn_engine fn_engine;
extern struct fn_conf fn_config;

/* CLOCK_MONOTONIC, ns (vDSO: no system call). */
uint64_t fn_now(void);
/* The same in line; not in what unit tests run in virtual time. */
fn_inline uint64_t fn_clock(void)
{
	struct timespec ts;

	clock_gettime(CLOCK_MONOTONIC, &ts);
	return (uint64_t)ts.tv_sec * FN_NSEC + (uint64_t)ts.tv_nsec;
}

/* Lock page and table of files: before the first file of ours. -ENOMEM. */
int fn_engine_init(void);

/* Make the stack, and with `ports` open those, if that has not happened; false: not possible now (the reason is recorded).
 * What the fabric alone serves must not take a port from another process. Called without the lock. */
bool fn_engine_start(bool ports);

/* In a child that does not share it: unmap the stack, close what belongs to its ports. */
void fn_engine_lose_stack(void);

/* The lock is taken by another thread, or has moved. */
void fn_engine_lock_slow(void);
bool fn_engine_trylock_slow(void);
fn_inline void fn_engine_lock(void)
{
	if (fn_unlikely(!fn_lock_try(&fn_engine.lock)))
		fn_engine_lock_slow();
}

fn_inline void fn_engine_unlock(void)
{
	if (fn_unlikely(fn_engine.shares))
		fn_family_unlock();
	else
		fn_lock_release(&fn_engine.lock);
}

/* What other images have seen on our sockets, and who of them has died. With the lock held. */
void fn_engine_take_shared(void);
/* Ask the kernel's sides (one system call) and wake who watches them. With the lock held. */
void fn_dual_check(uint64_t now);

fn_inline bool fn_engine_trylock(void)
{
	return fn_likely(fn_lock_try(&fn_engine.lock)) || fn_engine_trylock_slow();
}

/* With the lock held: one round at `now`; what it did. */
fn_inline unsigned fn_engine_poll(uint64_t now)
{
	struct fn_stack *st = fn_engine.st;

	fn_engine.polls++;
	if (fn_unlikely(!st))
		return 0;
	/* before the round: what it raises itself is counted as seen, and the compiler has less to save */
	if (fn_unlikely(fn_engine.shares))
		fn_engine_take_shared();
	/* the clock was read before the lock was had: another thread may have been further */
	now = fn_max(now, st->now);
	if (fn_unlikely(now >= fn_engine.side_due)) {
		fn_dual_check(now);
		now = fn_max(now, st->now);	/* what ends there may have been driven to its end (fn_engine_push()) */
	}
	return fn_stack_poll(st, now);
}

/* The stack's upcall. With the lock held. */
void fn_engine_ready(void *ctx, struct fn_sock *sk, unsigned events);

/*
 * Is f's stack socket f's still? Another image may have converted it since f has no number any more, by which it would
 * have heard of that (convert.c); and what was the socket may be another connection's by now. With the lock held.
 */
fn_inline bool fn_engine_has(const struct fn_file *f)
{
	return f->sk && f->sk->user == f && f->sk->images & fn_engine.mine;
}
/* The image gives back its reference to f's stack socket, if it has one; the last one closes it. With the lock held. */
void fn_engine_drop(struct fn_file *f);
/* f gets sk; with the lock held. */
void fn_engine_give(struct fn_file *f, struct fn_sock *sk);

/* What was sent leaves, when nobody else drives the stack: FASTNET_EXIT_DRAIN_MS at most. Without the lock. */
void fn_engine_drain(void);

/*
 * The image gives back its references in the stack, unmaps it and closes its ports' descriptors; files that still stand on
 * it are the kernel's, unconnected. If others share it they go on. Only one thread may be there that has called the
 * library, without the lock, and no keeper.
 */
void fn_engine_leave(void);

/* Does a file of this image stand on the stack? */
bool fn_engine_any_sock(void);

/* This image is `image` of the family, or 0 of its own. */
void fn_engine_set_image(unsigned image);

/* The arena does not grow any more; what it is to have it has now. */
void fn_arena_fix(void);

/* Will a child that is forked now share the stack? With the lock held. */
bool fn_engine_fork_shares(void);
/* Before fork: what the child will hold is counted; its image number, or -1 when there is nothing to share, -EAGAIN when
 * there is, but no place for one more image. After a fork that failed: taken back. With the lock held. */
int fn_engine_fork_prepare(void);
void fn_engine_fork_failed(int child);
/* In the child: everything of the image that named threads, or must not be the parent's. */
void fn_engine_fork_child(int child);

/*
 * A non-blocking call is about to fail with EAGAIN: a program that asks in a loop and never waits drives the stack by
 * asking. Looks if nobody has for LOOK_EVERY_NS; true when it did. Without the lock.
 */
bool fn_engine_look(void);

/* With the lock held: when fn_engine_poll() must be called even if nothing comes; asked before a sleep only. */
uint64_t fn_engine_deadline(void);

/*
 * After a call that may have staged packets: send them now, or leave them to the next wait when the program is working
 * through a batch of events (one doorbell a burst). With the lock held.
 */
void fn_engine_push(void);
fn_inline bool fn_engine_must_kick(void)
{
	return fn_unlikely(fn_engine.attention) || fn_engine.st->staged;
}
fn_inline void fn_engine_kick(void)
{
	if (fn_engine_must_kick())
		fn_engine_push();
}

/* In a copy of the process: the parent's set is not ours. */
void fn_engine_forget_side(void);
/* The set itself, made when needed; -errno. With the lock held. */
int fn_engine_side_epfd(void);

/* A file gets or loses a kernel's side. With the lock held; fd is any of its numbers. */
void fn_dual_add(struct fn_file *f, int fd);
void fn_dual_del(struct fn_file *f);

#endif
