/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * Waiting: drive the stack, spin a while, then sleep in one kernel ppoll with everything armed. Arm, check again, then
 * sleep: no wake-up is lost. Every wait ends by its condition, its deadline, a signal, or a wake-up.
 */
#ifndef FN_WAIT_H
#define FN_WAIT_H

#include "shim/engine.h"
#include "shim/port.h"
#include "shim/signal.h"

#define FN_FOREVER UINT64_MAX

/* What a thread that waits is. One in each thread (TLS); .state pairs arm with ring. */
enum fn_thread_state { FN_RUNNING, FN_ARMED, FN_RUNG };
struct fn_thread {
	_Atomic(uint32_t) state;	/* enum fn_thread_state */
	int efd;			/* internal eventfd that rings it; -1: not made yet */
	struct fn_thread *next, **pprev; /* in fn_engine.sleepers */
	struct timespec sleep;		/* what the raw ppoll reads; a signal that is put off zeroes it */
	bool heir;			/* woken to be the watcher; with the engine locked, or in the thread itself */
	bool inside;			/* opening a port: what it calls is none of our business */
	bool driver;			/* a driver's own thread: inside for its life */
	bool keeper;			/* makes no descriptors if it can: the program would miss the lowest number */
	_Atomic(bool) in_kernel, poked;	/* sleeps where it has no bell; was woken there */
	const struct fn_thread *known;	/* itself while it is in the list of threads (thread.c) */
	_Atomic(struct fn_file *) plain; /* sleeps in libc's epoll_wait() on this set (plain.h) */
	int tid;			/* here and below: thread.c's */
	unsigned long id;		/* pthread_t */
	struct fn_guard *guard;
	struct fn_thread *known_next, **known_pprev;
};

/* Descriptors of our own in a sleep: the thread's bell, the image's, the kernel's sides, a held port's, the family's deaths,
 * the ports'. */
#define FN_WAIT_SLOTS	(5 + FN_PORT_WAIT_FDS)

/*
 * Wait until `ready` says so. `ready` is called with the engine locked and may record its result in arg. arm and disarm
 * link and unlink what must ring the thread while it sleeps; also with the engine locked.
 */
struct fn_wait {
	bool (*ready)(struct fn_wait *w);
	void (*arm)(struct fn_wait *w);
	void (*disarm)(struct fn_wait *w);
	void *arg;
	uint64_t deadline;		/* ns of fn_now(); 0: look once */
	const sigset_t *mask;		/* during the wait, NULL: as it is */
	struct pollfd *extra;		/* kernel descriptors to look at too; their revents are set. FN_WAIT_SLOTS free
					 * entries stand before it. NULL: none */
	unsigned extra_count;
	bool goes_on;			/* after SIGSTOP and SIGCONT, as poll() does; else only what restarts */
	/* set by fn_wait() */
	struct fn_thread *thread;
	uint64_t began;			/* ns */
	uint64_t polled, others;	/* ns: its own last poll; the last that it knows of one who was awake */
	uint64_t nap;			/* ns that it leaves the bells to others */
	uint64_t rings;			/* fn_engine.rings at the end of its last sleep */
	bool slept, watched;		/* it has, and has been the watcher */
	bool stops;			/* a stop ends it, */
	bool stopped;			/* and has, or a handler that we do not know */
};

/* 1: ready() is true, or extra[] has revents; 0: deadline; a handler is due: -EINTR, or with `restart`, where Linux looks
 * at SA_RESTART, -FN_RESTART; so too when the thread has been cancelled. Without `restart` SIGSTOP and SIGCONT end a wait
 * with -EINTR too (stop.h). Called without the lock. */
int fn_wait(struct fn_wait *w, bool restart);

/*
 * Block until f has one of `events` (or HUP or ERR), for a blocking call on fd; deadline as above. 0: try again;
 * -EAGAIN: deadline (what SO_RCVTIMEO gives); -EINTR; -FN_RESTART. Called without locks.
 */
int fn_wait_file(struct fn_file *f, int fd, unsigned events, uint64_t deadline);
/* The same for a call that has moved something already: any handler ends it, SA_RESTART or not. */
int fn_wait_file_on(struct fn_file *f, int fd, unsigned events, uint64_t deadline);

/* Sleep in the kernel for a set that is its own alone: epoll_pwait2(2), and no signal is lost on the way. ts is relative. */
int fn_wait_kernel_epoll(int epfd, struct epoll_event *ev, int max, const struct timespec *ts, const sigset_t *mask);

/* Deadline of a call that starts now with SO_RCVTIMEO/SO_SNDTIMEO `timeo` (0: none). */
fn_inline uint64_t fn_timeo_deadline(uint64_t timeo)
{
	return timeo ? fn_now() + timeo : FN_FOREVER;
}

/* Deadline of a relative timeout as ppoll takes it; NULL: for ever. */
uint64_t fn_ts_deadline(const struct timespec *ts);

/*
 * When does what a thread sends leave? One call of the device serves all that is written while the program works through
 * a batch of events, so with several events it leaves with the next wait. With a single one it leaves at once, unless the
 * program closes connections and has been back in FN_BRISK_NS each time lately: then an answer and the close after it are
 * one segment. Who does not come back as expected is late by the keeper's tick at most; where there is no keeper, with the
 * fabric alone, everything leaves at once.
 */
#define FN_BRISK_NS	50000	/* as long as an idle thread spins */
#define FN_BRISK_ROUNDS	16

/* A wait begins. */
fn_inline void fn_wait_begins(uint64_t now)
{
	struct fn_guard *g = &fn_this_guard;

	g->looked = false;
	g->closing -= g->closing > 0;
	if (fn_unlikely(now - g->woke >= FN_BRISK_NS))
		g->brisk = 0;
	else if (g->brisk < FN_BRISK_ROUNDS)
		g->brisk++;
}

/* A wait has given n events. */
fn_inline void fn_wait_gave(int n, uint64_t now)
{
	struct fn_guard *g = &fn_this_guard;

	g->woke = now;
	g->hold = n > 1 || (g->closing && g->brisk == FN_BRISK_ROUNDS);
}

/* The thread closes a connection. */
fn_inline void fn_wait_closing(void)
{
	fn_this_guard.closing = FN_BRISK_ROUNDS;
}

/* What the calling thread will want of the kernel before it can sleep is got now. */
void fn_thread_ready(void);

/* No other thread of the program has called the library, and lives. */
bool fn_thread_alone(void);

/* Does t live, and sleep in libc's epoll_wait() on f as far as can be seen? */
bool fn_thread_sleeps_on(const struct fn_thread *t, const struct fn_file *f);

/* Wake a thread that has got a mark, from a sleep in the kernel alone too. */
void fn_thread_poke(struct fn_thread *t);
/* Ring a thread: it leaves its sleep, or does not enter it. False: it was not asleep. */
bool fn_thread_ring(struct fn_thread *t);
extern __thread struct fn_thread fn_this_thread;
extern const struct fn_thread fn_thread_unknown;
fn_inline struct fn_thread *fn_thread_self(void)
{
	return &fn_this_thread;
}

#endif
