/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * Waiting: drive the stack, spin a while, then sleep in one kernel ppoll with everything armed. Owns the threads' records
 * and the order arm, check again, sleep; knows no kind of file.
 */
#include "shim/wait.h"

#include <errno.h>
#include <sys/eventfd.h>

#include "shim/convert.h"
#include "shim/fabric.h"
#include "shim/fdtable.h"
#include "shim/keeper.h"
#include "shim/listen.h"
#include "shim/port.h"
#include "shim/spin.h"
#include "shim/stop.h"

/* Kernel descriptors beside the stack are asked at most this often while spinning: epoll_wait(0) costs 0.15 µs. */
#define EXTRA_EVERY_NS	2000
/* Yields that bring nothing: the peer waits for something else. */
#define YIELDS	3
/* Who has polled so lately and does not sleep polls soon again: as long as a batch of events takes. */
#define AWAKE_NS	200000
/* How long a thread leaves the bells to others: the first time, and at most. When they stop polling it is so much late. */
#define NAP_LEAST	20000ull
#define NAP_MOST	100000ull
/* Three years: for ever. A sleep has always an end, for a signal to make it zero (s). */
#define LONGEST	100000000

const struct fn_thread fn_thread_unknown;
__thread struct fn_thread fn_this_thread = { .efd = -1, .known = &fn_thread_unknown };

uint64_t fn_ts_deadline(const struct timespec *ts)
{
	uint64_t now, add;

	if (!ts)
		return FN_FOREVER;
	if (!ts->tv_sec && !ts->tv_nsec)
		return 0;
	now = fn_now();
	if ((uint64_t)ts->tv_sec >= (FN_FOREVER - now) / FN_NSEC - 1)
		return FN_FOREVER;
	add = (uint64_t)ts->tv_sec * FN_NSEC + (uint64_t)ts->tv_nsec;
	return now + add;
}

bool fn_thread_ring(struct fn_thread *t)
{
	uint32_t armed = FN_ARMED;
	uint64_t one = 1;

	/* pairs with the store in arm(): whoever armed checks again afterwards, whoever rings has changed something before */
	if (!atomic_compare_exchange_strong(&t->state, &armed, FN_RUNG))
		return false;
	fn_engine.rings++;
	fn_sys_write(t->efd, &one, sizeof(one));
	return true;
}

static int make_efd(struct fn_thread *t)
{
	if (t->efd < 0) {
		t->efd = fn_fd_internal((int)fn_sys(SYS_eventfd2, 0, EFD_NONBLOCK | EFD_CLOEXEC));
		if (t->efd >= 0)
			fn_fd_internal_track(&t->efd);
	}
	return t->efd;
}

void fn_thread_ready(void)
{
	make_efd(fn_thread_self());
}

static void sleepers_add(struct fn_thread *t)
{
	t->next = fn_engine.sleepers;
	if (t->next)
		t->next->pprev = &t->next;
	t->pprev = &fn_engine.sleepers;
	fn_engine.sleepers = t;
}

static void sleepers_del(struct fn_thread *t)
{
	*t->pprev = t->next;
	if (t->next)
		t->next->pprev = t->pprev;
}

/* One round with the lock: drive, look. */
static bool drive(struct fn_wait *w, uint64_t now)
{
	bool hit;

	fn_engine_lock();
	fn_engine_poll(now);
	w->polled = now;
	hit = w->ready(w);
	fn_engine_unlock();
	return hit;
}

static bool extra_ready(struct fn_wait *w)
{
	struct timespec zero = { 0, 0 };

	return w->extra_count && fn_sys_ppoll(w->extra, w->extra_count, &zero, NULL) > 0;
}

/* What the sleep is made of: the thread's bell, the kernel's sides, the ports, then the caller's descriptors. */
struct sleep {
	struct pollfd *end;	/* the caller's first; ours stand before it */
	unsigned count;
	uint64_t until;
	bool watcher;
};

static void add_fd(struct sleep *s, int fd)
{
	if (fd >= 0)
		s->end[-(int)++s->count] = (struct pollfd){ .fd = fd, .events = POLLIN };
}

static void add_ports(struct sleep *s)
{
	struct pollfd fds[FN_PORT_WAIT_FDS];
	bool nap = false;
	unsigned n = fn_ports_wait_fds(fds, FN_PORT_WAIT_FDS, &nap);

	while (n-- > 0)
		add_fd(s, fds[n].fd);
	s->until = fn_min(s->until, fn_engine_deadline());
	if (nap)
		s->until = fn_min(s->until, fn_now() + FN_MSEC);
}

/* With the lock held, before a poll of our own: has somebody else polled who does not sleep? */
static void note_others(struct fn_wait *w)
{
	uint64_t last = fn_engine.st ? fn_engine.st->now : 0;

	if (last != w->polled && last != fn_engine.slept)
		w->others = last;
}

/*
 * A watcher beside threads that are awake is woken by each of their packets for nothing, at the sender's cost too. One that
 * has been leaves the bells to them for a while, longer each time, and looks then whether they still poll; who goes to
 * sleep meanwhile watches. One such thread is enough. Not where images share the stack: another's polls tell us nothing.
 * With the lock held.
 */
static bool leaves_bells(struct fn_wait *w, struct sleep *s)
{
	uint64_t now = fn_now();

	w->nap = w->slept && !fn_engine.shares && w->rings == fn_engine.rings && now - w->others < AWAKE_NS ?
		 fn_min(fn_max(2 * w->nap, NAP_LEAST), NAP_MOST) : 0;
	w->slept = true;
	if (!w->nap)
		return false;
	if (!fn_engine.napper) {
		fn_engine.napper = w;
		s->until = fn_min(s->until, now + w->nap);
	}
	return true;
}

/* With the lock held: from now on a ring reaches the thread. The first sleeper watches the ports. */
static void arm(struct fn_wait *w, struct fn_thread *t, struct sleep *s)
{
	s->until = w->deadline;
	add_fd(s, t->efd);
	add_fd(s, fn_engine.side_epfd);
	add_fd(s, fn_ports_held_fd());
	note_others(w);
	s->watcher = fn_engine.st && !leaves_bells(w, s) && !fn_engine.watcher;
	if (s->watcher) {
		fn_engine.watcher = t;
		t->heir = false;
		add_ports(s);
		add_fd(s, fn_engine.bell);
		fn_engine.shared->asleep |= fn_engine.mine;
		if (fn_unlikely(fn_engine.shares))
			add_fd(s, fn_family_sleep(fn_now(), &s->until));
		fn_fabric_arm();
	}
	atomic_store(&t->state, FN_ARMED);	/* pairs with the exchange in fn_thread_ring() */
	sleepers_add(t);
	if (w->arm)
		w->arm(w);
}

/*
 * A wait is over that had watched the ports, was to, or had left them to others. Somebody must look after them: another
 * sleeper at once, the heir; else the keeper by its heartbeat. An heir that has been rung already, for its own sake, is
 * still to come out of its sleep, and passes it on in its turn.
 */
static void pass_on(struct fn_thread *self)
{
	struct fn_thread *t;

	fn_engine_lock();
	self->heir = false;
	t = fn_engine.sleepers;
	if (!fn_engine.watcher && t) {
		fn_thread_ring(t);
		t->heir = true;
	} else if (!fn_engine.watcher) {
		fn_keeper_wake();
	}
	fn_engine_unlock();
}

/* What no member has sent, and is not marked therefore, would end every sleep at once. */
static bool bell_heard(const struct sleep *s)
{
	for (unsigned i = 1; i <= s->count; i++)
		if (s->end[-(int)i].fd == fn_engine.bell && s->end[-(int)i].revents)
			return true;
	return false;
}

static void disarm(struct fn_wait *w, struct fn_thread *t, struct sleep *s)
{
	uint64_t junk;

	fn_engine_lock();
	if (w->disarm)
		w->disarm(w);
	sleepers_del(t);
	note_others(w);
	if (fn_engine.napper == w)
		fn_engine.napper = NULL;
	if (atomic_exchange(&t->state, FN_RUNNING) == FN_RUNG)
		fn_sys_read(t->efd, &junk, sizeof(junk));
	if (s->watcher) {
		fn_engine.watcher = NULL;
		fn_engine.shared->asleep &= ~fn_engine.mine;
		fn_fabric_disarm();
		if (fn_unlikely(fn_engine.shared->rung & fn_engine.mine || (fn_engine.bell >= 0 && bell_heard(s))))
			fn_convert_letters();
		if (fn_unlikely(fn_engine.shares))
			fn_family_woken(fn_now());
		fn_ports_awake();
		w->watched = true;
	}
	w->rings = fn_engine.rings;
	fn_engine_unlock();
}

/*
 * The sleep itself; a signal that comes before the kernel reads t->sleep has made it zero. One that a stop ends costs more:
 * it begins when the wait has lasted for a while.
 */
static int sleep_now(struct fn_wait *w, struct fn_thread *t, struct sleep *s)
{
	uint64_t now = fn_now();
	uint64_t left = s->until == FN_FOREVER ? FN_FOREVER : s->until > now ? s->until - now : 0;

	if (left / FN_NSEC > LONGEST)
		left = LONGEST * FN_NSEC;
	if (w->stops && left > FN_STOP_LEAST && !fn_engine.plain_sleeps) {
		if (now - w->began >= FN_STOP_LEAST)
			return fn_stop_sleep(s->end - s->count, s->count + w->extra_count, left);
		left = FN_STOP_LEAST;
	}
	t->sleep.tv_sec = (time_t)(left / FN_NSEC);
	t->sleep.tv_nsec = (long)(left % FN_NSEC);
	atomic_signal_fence(memory_order_seq_cst);
	if (fn_guard_interrupted())
		return -EINTR;
	return fn_sys_ppoll(s->end - s->count, s->count + w->extra_count, &t->sleep, w->mask);
}

/* Arm, check again, sleep. 1: ready, 0: look again, -EINTR. */
static int sleep_once(struct fn_wait *w, struct fn_thread *t)
{
	struct sleep s = { .end = w->extra };
	bool hit, more;
	int ret = 0;

	fn_engine_lock();
	arm(w, t, &s);
	w->polled = fn_engine.slept = fn_now();
	fn_engine_poll(w->polled);
	if (fn_engine.st)
		fn_stack_flush(fn_engine.st);
	fn_dual_check(fn_now());
	hit = w->ready(w);
	if (s.watcher)
		s.until = fn_min(s.until, fn_min(fn_engine_deadline(), fn_fabric_due(fn_engine.st->now)));
	more = s.watcher && fn_fabric_pending();	/* beyond one burst */
	fn_engine_unlock();
	if (!hit && !more)
		ret = sleep_now(w, t, &s);
	disarm(w, t, &s);
	if (fn_unlikely(fn_ports_held_fd() >= 0) && fn_ports_changed())
		fn_listen_retry();
	if (hit)
		return 1;
	for (unsigned i = 0; ret > 0 && i < w->extra_count; i++)
		if (w->extra[i].revents)
			return 1;
	if (fn_unlikely(ret == -EINTR) && !fn_guard_interrupted())
		w->stopped = w->stops || w->goes_on || fn_guard_unseen_ends();
	return w->stopped || fn_guard_interrupted() ? -EINTR : 0;
}

static bool expired(const struct fn_wait *w, uint64_t now)
{
	return w->deadline != FN_FOREVER && now >= w->deadline;
}

/* Spin until something happens, the budget is used up, or the wait is over. 1, 0: go to sleep, -EINTR, -ETIME. */
static int spin(struct fn_wait *w, uint64_t until)
{
	uint64_t asked = 0, now;

	for (;;) {
		now = fn_now();
		if (drive(w, now))
			return 1;
		if (now - asked >= EXTRA_EVERY_NS) {
			asked = now;
			if (extra_ready(w))
				return 1;
			if (fn_engine.duals || fn_engine.fabric) {
				fn_engine_lock();
				fn_dual_check(now);
				fn_engine_unlock();
			}
		}
		if (fn_guard_interrupted())
			return -EINTR;
		if (expired(w, now))
			return -ETIME;
		if (now >= until || !fn_engine.st)
			return 0;
		__builtin_ia32_pause();
	}
}

/* No descriptor for a bell (EMFILE): go on by looking every millisecond. */
static int nap(struct fn_wait *w, struct fn_thread *t)
{
	struct sleep s = { .end = w->extra, .until = fn_now() + FN_MSEC };

	sleep_now(w, t, &s);
	return fn_guard_interrupted() ? -EINTR : 0;
}

/* Whoever shares our CPU with us does not come by our spinning. */
static bool is_beside(void)
{
	bool beside = false;

	if (fn_engine.fabric && fn_config.spin_us == FN_CONF_AUTO && fn_engine_trylock()) {
		beside = fn_fabric_beside();
		fn_engine_unlock();
	}
	return beside;
}

/* The peer gets our CPU, and most often we get it back with its answer: a switch each way instead of a bell and a sleep. 1, 0:
 * go to sleep, -EINTR, -ETIME. */
static int give_way(struct fn_wait *w)
{
	uint64_t now = fn_now();

	for (unsigned i = 0; !drive(w, now); i++) {
		if (fn_guard_interrupted())
			return -EINTR;
		if (expired(w, now))
			return -ETIME;
		if (i == YIELDS || fn_engine.plain_sleeps || !fn_spin_may_yield(now))
			return spin(w, 0);	/* a last look, at the kernel's sides too: an old bell would end the sleep */
		fn_sys(SYS_sched_yield, 0);
		fn_spin_yielded(now, fn_now());
		now = fn_now();
	}
	return 1;
}

static int wait_masked(struct fn_wait *w, struct fn_thread *t)
{
	uint64_t start = fn_now();
	int ret;

	w->began = start;
	ret = is_beside() ? give_way(w) : spin(w, start + fn_spin_budget());
	while (ret == 0) {
		fn_spin_slept();
		ret = make_efd(t) < 0 ? -ENOMEM : sleep_once(w, t);
		if (ret == -ENOMEM)	/* no descriptor for a bell: go on by looking */
			ret = nap(w, t);
		if (ret == 0)
			ret = spin(w, 0);
	}
	if (w->watched || t->heir || w->nap)
		pass_on(t);
	if (ret == 1)
		fn_spin_arrival(fn_now() - start);
	return ret == -ETIME ? 0 : ret;
}

/* A wait under a mask of its own. The kernel looks for what is ready before it looks for signals, and then lets none in. */
static int wait_with_mask(struct fn_wait *w, struct fn_thread *t)
{
	sigset_t saved;
	int ret;

	if (drive(w, fn_now()) || extra_ready(w))
		return 1;
	fn_sys(SYS_rt_sigprocmask, SIG_SETMASK, w->mask, &saved, FN_SIGSET_SIZE);
	ret = wait_masked(w, t);
	if (ret == -EINTR)
		fn_guard_mask_later(&saved);
	else
		fn_guard_mask_now(&saved);
	return ret;
}

int fn_wait(struct fn_wait *w, bool restart)
{
	struct pollfd slots[FN_WAIT_SLOTS + 1];
	struct fn_thread *t = fn_thread_self();
	int ret;

	w->thread = t;
	w->slept = w->watched = false;
	w->nap = w->polled = w->others = 0;
	w->stops = !restart && !w->goes_on;
	w->stopped = false;
	if (!w->extra)
		w->extra = slots + FN_WAIT_SLOTS;
	ret = w->mask ? wait_with_mask(w, t) : wait_masked(w, t);
	return ret == -EINTR && !w->stopped && (restart || !fn_guard_signalled()) ? -FN_RESTART : ret;
}

/* What a thread that sleeps in the kernel alone has no bell for. The mark is set before. */
void fn_thread_poke(struct fn_thread *t)
{
	/* pairs with the fence in sleep_in_kernel(): either that thread sees the mark, or we see that it sleeps */
	atomic_thread_fence(memory_order_seq_cst);
	t->sleep = (struct timespec){ 0, 0 };
	if (!t->in_kernel)
		return;
	t->poked = true;
	/* libc's own, whose handler does nothing to a thread that is cancelled at its next point (nptl/pthread_cancel.c) */
	fn_sys(SYS_tgkill, fn_sys(SYS_getpid, 0), t->tid, FN_SIGCANCEL);
}

/* For who has no epoll_pwait2(): a signal that comes between the last look and the sleep does not end it. */
static int sleep_by_ms(int epfd, struct epoll_event *ev, int max, const struct timespec *ts)
{
	int64_t ms = ts->tv_sec >= INT_MAX / 1000 ? -1 : ts->tv_sec * 1000 + (ts->tv_nsec + 999999) / 1000000;

	return (int)fn_sys(SYS_epoll_wait, epfd, ev, max, ms);
}

/* One sleep. A poke that comes before it has made it zero, one that comes in it is an EINTR; so is a signal. */
static int sleep_in_kernel(struct fn_thread *t, int epfd, struct epoll_event *ev, int max, const struct timespec *ts)
{
	int ret;

	t->in_kernel = true;
	t->sleep = ts ? *ts : (struct timespec){ .tv_sec = LONGEST };
	atomic_thread_fence(memory_order_seq_cst);
	if (fn_guard_interrupted())
		t->sleep = (struct timespec){ 0, 0 };
	ret = fn_unlikely(fn_engine.plain_waits) ? sleep_by_ms(epfd, ev, max, &t->sleep) :
		      (int)fn_sys(SYS_epoll_pwait2, epfd, ev, max, &t->sleep, NULL, FN_SIGSET_SIZE);
	t->in_kernel = false;
	return ret;
}

int fn_wait_kernel_epoll(int epfd, struct epoll_event *ev, int max, const struct timespec *ts, const sigset_t *mask)
{
	bool look_once = ts && !ts->tv_sec && !ts->tv_nsec;
	struct fn_thread *t = fn_thread_self();
	sigset_t saved;
	int ret;

	if (mask)
		fn_sys(SYS_rt_sigprocmask, SIG_SETMASK, mask, &saved, FN_SIGSET_SIZE);
	do {
		t->poked = false;
		ret = sleep_in_kernel(t, epfd, ev, max, ts);
		/* cancelled, but not to be cancelled: goes on, from the beginning */
	} while (fn_unlikely(t->poked) && (ret == 0 || ret == -EINTR) && !fn_guard_interrupted());
	if (ret == 0 && !look_once && fn_guard_interrupted())
		ret = -EINTR;
	if (mask && ret == -EINTR)
		fn_guard_mask_later(&saved);
	else if (mask)
		fn_guard_mask_now(&saved);
	return ret == -EINTR && fn_guard_interrupted() && !fn_guard_signalled() ? -FN_RESTART : ret;
}

/* ---- one file ---- */

struct file_wait {
	struct fn_watch watch;
	struct fn_thread *thread;
	struct fn_file *file;
	int fd;
	unsigned events;
};

static bool file_wake(struct fn_watch *watch, unsigned events)
{
	struct file_wait *fw = fn_container_of(watch, struct file_wait, watch);

	return events & (fw->events | POLLERR | POLLHUP | FN_POLL_STATE) && fn_thread_ring(fw->thread);
}

static bool file_ready(struct fn_wait *w)
{
	struct file_wait *fw = w->arg;

	return fw->file->ops->poll(fw->file, fw->fd) & (fw->events | POLLERR | POLLHUP);
}

static void file_arm(struct fn_wait *w)
{
	struct file_wait *fw = w->arg;

	fw->thread = w->thread;
	fn_watch_add(fw->file, &fw->watch);
}

static void file_disarm(struct fn_wait *w)
{
	fn_watch_del(&((struct file_wait *)w->arg)->watch);
}

static int wait_file(struct fn_file *f, int fd, unsigned events, uint64_t deadline, bool restart)
{
	struct file_wait fw = { .watch = { .wake = file_wake }, .file = f, .fd = fd, .events = events };
	struct fn_wait w = { .ready = file_ready, .arm = file_arm, .disarm = file_disarm, .arg = &fw,
			     .deadline = deadline };
	int ret = fn_wait(&w, restart);

	return ret == 1 ? 0 : ret == 0 ? -EAGAIN : ret;
}

int fn_wait_file(struct fn_file *f, int fd, unsigned events, uint64_t deadline)
{
	/* Linux restarts a call only when no SO_RCVTIMEO or SO_SNDTIMEO is set (signal(7)) */
	return wait_file(f, fd, events, deadline, deadline == FN_FOREVER);
}

int fn_wait_file_on(struct fn_file *f, int fd, unsigned events, uint64_t deadline)
{
	return wait_file(f, fd, events, deadline, false);
}
