/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * The engine at work: one round of the stack, the events it raises, the kernel's sides of dual files, and what fork does
 * to all of it. Making the stack is image.c's.
 */
#include "shim/engine.h"

#include <errno.h>
#include <string.h>
#include <sys/mman.h>

#include "shim/async.h"
#include "shim/bell.h"
#include "shim/crash.h"
#include "shim/epoll.h"
#include "shim/fabric.h"
#include "shim/fdtable.h"
#include "shim/holders.h"
#include "shim/keeper.h"
#include "shim/listen.h"
#include "shim/port.h"
#include "shim/wait.h"

struct fn_engine fn_engine = { .side_epfd = -1, .base_fd = { -1, -1 }, .side_due = FN_NEVER, .bell = -1 };
struct fn_conf fn_config;

/* The kernel's sides are asked at least so often while somebody drives; costs 0.15 µs. */
#define SIDE_EVERY_NS	50000

/* Reads that find nothing follow each event of a batch; only what comes long after the last round is a loop of its own. */
#define LOOK_EVERY_NS	20000

/* Packets staged while the program works through a batch, before a burst goes out anyway. */
#define STAGED_MAX	32

uint64_t fn_now(void)
{
	return fn_clock();
}

/* ---- shared memory and files ---- */

void fn_engine_set_image(unsigned image)
{
	fn_engine.image = image;
	fn_engine.bit = fn_engine.mine = 1ull << image;
}

/* Of a child whose parent shares, where nothing can be mapped any more (RLIMIT_AS): it shares with nobody. */
static struct fn_shared spare;

static struct fn_shared *use_spare(void)
{
	if (fn_engine.shared != &spare)
		fn_sys(SYS_munmap, fn_engine.shared, sizeof(spare));
	memset(&spare, 0, sizeof(spare));
	fn_engine.no_family = true;
	return &spare;
}

/* New, and in place of what the image had in common with others. */
static int map_shared(void *where)
{
	int flags = MAP_SHARED | MAP_ANONYMOUS | (where ? MAP_FIXED : 0);
	void *mem = (void *)-1l;

	if (where != &spare)
		mem = (void *)fn_sys(SYS_mmap, where, sizeof(struct fn_shared), PROT_READ | PROT_WRITE, flags, -1, 0);
	if ((unsigned long)mem > -4096ul && !where)
		return -ENOMEM;
	fn_engine.shared = (unsigned long)mem > -4096ul ? use_spare() : mem;
	fn_engine.lock = (struct fn_lock){ 0 };
	fn_engine.shares = false;
	fn_engine_set_image(0);
	fn_engine.conversions = fn_engine.cedes = 0;
	fn_engine.seen = 0;
	return 0;
}

int fn_engine_init(void)
{
	static struct fn_lock once;
	int ret = 0;

	if (fn_likely(fn_fdtable.size))
		return 0;
	fn_lock_take(&once);
	if (!fn_engine.shared)
		ret = map_shared(NULL);
	if (ret == 0)
		ret = fn_fdtable_init(fn_config.fd_base);
	if (ret == 0)
		fn_crash_init();
	fn_lock_release(&once);
	return ret;
}

fn_cold void fn_engine_lock_slow(void)
{
	struct fn_lock *l = &fn_engine.lock;
	uint32_t word;

	for (int i = 0; i < FN_LOCK_SPINS && l->word != FN_LOCK_MOVED; i++) {
		if (!fn_lock_held(l) && fn_lock_try(l))
			return;
		__builtin_ia32_pause();
	}
	for (;;) {
		word = 0;
		/* as fn_lock_slow(), but a lock that has moved stays so; pairs with the store in fn_family_found() */
		if (atomic_compare_exchange_strong(&l->word, &word, 2))
			return;
		if (word == FN_LOCK_MOVED)
			break;
		if (word == 2 || atomic_compare_exchange_strong(&l->word, &word, 2))
			fn_sys_futex((uint32_t *)&l->word, FUTEX_WAIT, 2, NULL);
	}
	fn_family_lock();
}

bool fn_engine_trylock_slow(void)
{
	return fn_engine.shares && fn_family_trylock();
}

void fn_engine_give(struct fn_file *f, struct fn_sock *sk)
{
	sk->user = f;
	sk->images = fn_engine.mine;
	f->sk = sk;
	if (fn_unlikely(fn_engine.shares))
		fn_fabric_held(sk);
}

#define SELF_ROUNDS 4	/* data, its acknowledgement, a window update or the reset of a closed end */

/* What other processes have sent is here, as over the kernel's loopback: whoever closes without reading it resets. */
static void take_sent(const struct fn_sock *sk)
{
	struct fn_stack *st = fn_engine.st;

	if (fn_likely(!fn_engine.fabric) || fn_fabric_has_all(sk))
		return;
	if (fn_fabric_half_met())
		fn_dual_check(fn_now());
	for (unsigned i = 0; i < SELF_ROUNDS && fn_fabric_pending(); i++)
		fn_stack_poll(st, fn_max(fn_now(), st->now));
}

void fn_engine_drop(struct fn_file *f)
{
	struct fn_sock *sk = fn_engine_has(f) ? f->sk : NULL;

	f->sk = NULL;
	if (!sk)
		return;
	sk->images &= ~fn_engine.mine;
	if (fn_unlikely(fn_engine.shares))
		fn_fabric_held(sk);
	if (sk->images) {	/* who has it still may have ended: nobody else is told of that any more */
		if (sk->remote.peer)
			fn_family_look();
		return;
	}
	take_sent(sk);
	fn_sock_close(sk);
}

/* ---- events ---- */

/* A socket that other images hold, as well or only: they are told through the shared ring. */
static __attribute__((noinline)) void ready_shared(struct fn_sock *sk, unsigned events)
{
	struct fn_shared *sh = fn_engine.shared;

	if (sk->images & fn_engine.mine)
		fn_file_wake_one(sk->user, events);
	if (!(sk->images & ~fn_engine.mine))
		return;
	sh->event[sh->head % FN_SHARED_EVENTS].sk = sk;
	sh->event[sh->head % FN_SHARED_EVENTS].events = sk->images & fn_engine.mine ? events | FN_EVENT_TOLD : events;
	sh->head++;
	/* what the relay sees itself it takes from here as well */
	if (fn_engine.seen == sh->head - 1 && !fn_engine.is_relay)
		fn_engine.seen++;
	if (sk->images & ~fn_engine.mine & sh->asleep)
		fn_bell_ring(sk->images & ~fn_engine.mine);
}

/* The stack's upcall. */
void fn_engine_ready(void *ctx, struct fn_sock *sk, unsigned events)
{
	if (fn_likely(sk->images == fn_engine.mine))
		fn_file_wake_one(sk->user, events);
	else
		ready_shared(sk, events);
}

/* Everything may have happened to every file of ours: the ring was overrun. */
static void wake_all(void)
{
	for (unsigned fd = 0; fd < fn_fdtable.top; fd++) {
		struct fn_file *f = fn_fdtable.file[fd];

		if (f && f->sk)
			fn_file_wake(f, f->ops->poll(f, (int)fd));
	}
}

void fn_engine_take_shared(void)
{
	struct fn_shared *sh = fn_engine.shared;

	fn_family_round(fn_engine.st->now);
	if (sh->head - fn_engine.seen > FN_SHARED_EVENTS) {
		fn_engine.seen = sh->head;
		wake_all();
	}
	while (fn_engine.seen != sh->head) {
		struct fn_sock *sk = sh->event[fn_engine.seen % FN_SHARED_EVENTS].sk;
		unsigned events = sh->event[fn_engine.seen++ % FN_SHARED_EVENTS].events;

		/* socket objects are type-stable; it may be another one by now, for which the event is spurious */
		if (sk->images & fn_engine.mine && sk->user)
			fn_file_wake(sk->user, events);
	}
}

uint64_t fn_engine_deadline(void)
{
	return fn_engine.st ? fn_min(fn_stack_deadline(fn_engine.st), fn_fabric_deadline()) : FN_NEVER;
}

bool fn_engine_look(void)
{
	uint64_t now;
	bool due;

	if (!fn_engine.st)
		return false;
	now = fn_now();
	due = now - fn_engine.st->now >= LOOK_EVERY_NS;
	if (!due && !fn_engine.fabric)
		return false;
	fn_engine_lock();
	due |= fn_fabric_pending();
	if (due)
		fn_engine_poll(now);
	fn_engine_unlock();
	return due;
}

void fn_engine_push(void)
{
	if (fn_unlikely(fn_engine.no_keeper))
		fn_keeper_need();
	/* with the fabric alone there is no keeper, and nobody would send what a thread leaves behind that does not come back */
	if (fn_this_guard.hold && fn_engine.ports && fn_stack_staged(fn_engine.st) < STAGED_MAX)
		return;
	fn_stack_flush(fn_engine.st);
	/* as over the kernel's loopback: when send() or close() returns, the other end in this process has it, and has answered */
	for (unsigned i = 0; fn_unlikely(fn_engine.to_itself) && i < SELF_ROUNDS && fn_fabric_pending(); i++)
		fn_engine_poll(fn_now());
}

/* ---- kernel's sides ---- */

int fn_engine_side_epfd(void)
{
	if (fn_engine.side_epfd < 0) {
		fn_engine.side_epfd = fn_fd_internal((int)fn_sys(SYS_epoll_create1, EPOLL_CLOEXEC));
		if (fn_engine.side_epfd >= 0)
			fn_fd_internal_track(&fn_engine.side_epfd);
	}
	return fn_engine.side_epfd;
}

static void side_register(struct fn_file *f, int fd)
{
	struct epoll_event ev = { .events = EPOLLIN | EPOLLET, .data.ptr = f };
	int epfd = fn_engine_side_epfd();

	/* what is there already counts: the flag makes the first question be asked */
	f->kernel_ready = true;
	if (epfd >= 0)
		fn_sys_epoll_ctl(epfd, EPOLL_CTL_ADD, fd, &ev);
}

void fn_dual_add(struct fn_file *f, int fd)
{
	if (f->dual)
		return;
	f->dual = true;
	f->next_dual = fn_engine.duals;
	if (f->next_dual)
		f->next_dual->pprev_dual = &f->next_dual;
	f->pprev_dual = &fn_engine.duals;
	fn_engine.duals = f;
	fn_engine.side_due = 0;
	side_register(f, fd);
}

void fn_dual_del(struct fn_file *f)
{
	if (!f->dual)
		return;
	f->dual = false;
	*f->pprev_dual = f->next_dual;
	if (f->next_dual)
		f->next_dual->pprev_dual = f->pprev_dual;
}

/* A description that another process keeps alive goes on reporting after we have closed it: only files on the list count. */
static bool is_dual(const struct fn_file *f)
{
	for (const struct fn_file *d = fn_engine.duals; d; d = d->next_dual)
		if (d == f)
			return true;
	return false;
}

static __attribute__((noinline)) void side_events(const struct epoll_event *ev, int n)
{
	for (int i = 0; i < n; i++) {
		struct fn_file *f = ev[i].data.ptr;

		if (fn_fabric_is_mark(ev[i].data.u64)) {
			fn_fabric_event(ev[i].data.u64);
			continue;
		}
		if (!is_dual(f))
			continue;
		f->kernel_ready = true;
		/* what listens never hangs up: another process has ended it */
		if (fn_unlikely(f->kind == FN_FILE_LISTEN && ev[i].events & EPOLLHUP && !f->ended))
			fn_listen_ended(f);
		/* who wants nothing hears of errors all the same */
		fn_file_wake(f, EPOLLIN | EPOLLRDNORM | (ev[i].events & (EPOLLERR | EPOLLHUP)) | FN_EVENT_TOLD);
	}
}

void fn_dual_check(uint64_t now)
{
	struct epoll_event ev[16];
	int n;

	/* peers hand over descriptors: they wait for a thread of the program (keeper.c), unless that waits for signals */
	if (fn_engine.fabric && fn_thread_self()->keeper && !fn_engine.signals)
		return;
	fn_engine.side_due = fn_engine.duals || fn_engine.fabric ? now + SIDE_EVERY_NS : FN_NEVER;
	if (fn_unlikely(fn_engine.side_due == FN_NEVER || fn_engine.side_epfd < 0))
		return;
	n = fn_sys_epoll_check(fn_engine.side_epfd, ev, fn_array_size(ev));
	if (fn_unlikely(n > 0))
		side_events(ev, n);
	if (fn_engine.fabric)
		fn_fabric_tick(now);
}

/* ---- fork ---- */

static void each_sock(void (*fn)(struct fn_sock *sk, uint64_t bit), uint64_t bit)
{
	for (unsigned fd = 0; fd < fn_fdtable.top; fd++) {
		struct fn_file *f = fn_fdtable.file[fd];

		if (f && f->sk)
			fn(f->sk, bit);
	}
}

static void image_add(struct fn_sock *sk, uint64_t bit)
{
	sk->images |= bit;
	fn_fabric_held(sk);
}

static void image_del(struct fn_sock *sk, uint64_t bit)
{
	sk->images &= ~bit;
	fn_fabric_held(sk);
}

bool fn_engine_any_sock(void)
{
	for (unsigned fd = 0; fd < fn_fdtable.top; fd++)
		if (fn_fdtable.file[fd] && fn_fdtable.file[fd]->sk)
			return true;
	return false;
}

/* One family holds a port: a child that is to use one must belong to it, whatever it holds now. */
bool fn_engine_fork_shares(void)
{
	return fn_engine.st && !fn_engine.no_family && (fn_engine.ports || fn_engine_any_sock());
}

int fn_engine_fork_prepare(void)
{
	int child;

	if (!fn_engine_fork_shares())
		return -1;
	child = fn_family_expect();
	if (child < 0)
		return -EAGAIN;
	fn_fabric_image_born((unsigned)child);
	each_sock(image_add, 1ull << child);
	fn_bell_fork_prepare((unsigned)child);
	return child;
}

void fn_engine_fork_failed(int child)
{
	if (child < 0)
		return;
	each_sock(image_del, 1ull << child);
	fn_family_cancel(child);
}

/*
 * The image has no stack any more, or a child shares none: it holds nothing there, or there was no place for it. What it has of the stack's is the
 * kernel's from now on: a listener's other side, and for a connection a socket that is not connected.
 */
static void orphan(void)
{
	for (unsigned fd = 0; fd < fn_fdtable.top; fd++) {
		struct fn_file *f = fn_fdtable.file[fd];

		if (!f || !f->sk)
			continue;
		f->sk = NULL;
		if (f->kind == FN_FILE_LISTEN)
			continue;
		fn_epoll_release(f);
		f->kind = FN_FILE_KERNEL;
		f->ops = &fn_kernel_ops;
	}
	fn_family_forget();
	if (fn_engine.st)
		fn_engine_lose_stack();
	map_shared(fn_engine.shared);
}

void fn_engine_leave(void)
{
	fn_engine_lock();
	if (fn_engine.st)
		fn_stack_flush(fn_engine.st);
	if (fn_engine.shares)
		fn_family_resign();
	fn_engine_unlock();
	fn_fd_internal_close(fn_engine.bell);
	fn_engine.bell = -1;
	orphan();
	fn_fabric_forked(true, false);
}

/* Threads of the parent that waited are not here. */
static void forget_waiters(void)
{
	for (unsigned fd = 0; fd < fn_fdtable.top; fd++) {
		struct fn_file *f = fn_fdtable.file[fd];
		struct fn_watch *w, *next;

		for (w = f ? f->watches : NULL; w; w = next) {
			next = w->next;
			if (!fn_epoll_is_item(w) && !fn_async_is(w))
				fn_watch_del(w);
		}
	}
	fn_engine.sleepers = NULL;
	fn_engine.watcher = NULL;
	fn_engine.napper = NULL;
}

void fn_engine_forget_side(void)
{
	fn_fd_internal_close(fn_engine.side_epfd);
	fn_engine.side_epfd = -1;
	for (unsigned fd = 0; fd < fn_fdtable.top; fd++)
		if (fn_fdtable.file[fd] && fn_fdtable.file[fd]->dual)
			side_register(fn_fdtable.file[fd], (int)fd);
	fn_fabric_watch_all();
}

void fn_engine_fork_child(int child)
{
	struct fn_thread *t = fn_thread_self();

	fn_bell_fork_child(child >= 0);
	fn_fd_internal_close(t->efd);
	t->efd = -1;
	t->state = FN_RUNNING;
	forget_waiters();
	if (child >= 0 && fn_family_join(child)) {
		fn_engine_set_image((unsigned)child);
		fn_ports_child();
		fn_fabric_forked(true, true);
	} else {
		orphan();
		fn_fabric_forked(true, false);
	}
	fn_engine_forget_side();
	fn_keeper_forget();
}
