/* SPDX-License-Identifier: BSD-3-Clause */
/* Images that share a stack: see family.h. */
#include "shim/family.h"

#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <string.h>
#include <sys/stat.h>

#include "shim/bell.h"
#include "shim/convert.h"
#include "shim/engine.h"
#include "shim/fabric.h"
#include "shim/fdtable.h"
#include "shim/holders.h"
#include "shim/log.h"
#include "shim/wait.h"

/* The members' locks are looked at so often by whoever drives; a death is noticed within 200 ms. */
#define LOOK_NS		(50 * FN_MSEC)
/* Somebody is about to exec: looked at after this time and then at twice the last one, up to LOOK_NS. */
#define EXEC_NS		FN_MSEC
/* The keeper opens a pidfd of one that nobody else has found dead by then: one whose PID was not known; a
 * zombie whose parent is elsewhere. */
#define DOUBT_NS	(100 * FN_MSEC)
/* A child of daemon() (a fork() tells its number) that has not joined after this time died on its way. */
#define BORN_NS		(5000 * FN_MSEC)

/* What is this image's own. */
static struct {
	int epfd;			/* internal: the others' pidfds, edge-triggered */
	int pidfd[FN_IMAGES];		/* internal */
	uint32_t serial[FN_IMAGES];	/* of the life that pidfd[] is about */
	uint32_t child[FN_IMAGES];	/* the life that is a child of ours */
	uint32_t changes;		/* .changes seen */
	uint64_t looked;		/* ns */
	uint64_t pace;			/* ns between two looks */
	bool blind;			/* some member has no pidfd: its death is found by looking only */
	uint64_t doubt[FN_IMAGES];	/* ns: since when the keeper does not know whether it has died */
	uint32_t doubted[FN_IMAGES];	/* the life that .doubt is about */
	bool late;			/* the keeper has met one; a thread of the program is to watch it */
} own = { .epfd = -1 };

/* ---- the lock ---- */

/* What was made and not given to its program yet, or taken from it already. */
static void close_unheld(struct fn_pool *pool)
{
	for (uint32_t i = 1; i < pool->made; i++) {
		struct fn_sock *sk = fn_pool_at(pool, i);

		if (sk->kind && sk->user && !sk->images)
			fn_sock_close(sk);
	}
}

static fn_cold void inherit_lock(struct fn_shared *sh)
{
	struct fn_stack *st = fn_engine.st;

	fn_log(FN_LOG_NOTICE, "a process died while it changed the stack that it shared");
	fn_stack_recover(st);
	close_unheld(&st->tcp_pool);
	close_unheld(&st->udp_pool);
	sh->changes++;				/* who it was is found out at once */
	sh->head += FN_SHARED_EVENTS + 1;	/* what it saw, nobody was told: everybody looks at everything */
	fn_bell_ring(~0ull);
}

static void lock_had(struct fn_shared *sh, int ret)
{
	if (fn_unlikely(ret == -EOWNERDEAD))
		inherit_lock(sh);
	fn_engine.st->holder = 1ull << fn_engine.image;
	fn_engine.st->busy = NULL;
}

static bool caught_up(const struct fn_shared *sh)
{
	return fn_likely(fn_engine.conversions == sh->conversions) || fn_convert_catch_up();
}

void fn_family_lock(void)
{
	struct timespec ts = { .tv_nsec = FN_MSEC };
	struct fn_shared *sh = fn_engine.shared;

	lock_had(sh, fn_robust_lock(&sh->lock));
	while (!caught_up(sh)) {
		fn_robust_unlock(&sh->lock);
		fn_sys_ppoll(NULL, 0, &ts, NULL);
		lock_had(sh, fn_robust_lock(&sh->lock));
	}
}

bool fn_family_trylock(void)
{
	struct fn_shared *sh = fn_engine.shared;
	int ret = fn_robust_try(&sh->lock);

	if (ret == -EBUSY)
		return false;
	lock_had(sh, ret);
	if (caught_up(sh))
		return true;
	fn_robust_unlock(&sh->lock);
	return false;
}

/* What is staged goes now: whoever drives next may not have the memory of those that it is for. */
void fn_family_unlock(void)
{
	if (fn_engine.st && fn_engine.st->staged)
		fn_stack_flush(fn_engine.st);
	fn_robust_unlock(&fn_engine.shared->lock);
}

/* ---- descriptors ---- */

static int need_epfd(void)
{
	if (own.epfd < 0) {
		own.epfd = fn_fd_internal((int)fn_sys(SYS_epoll_create1, EPOLL_CLOEXEC));
		if (own.epfd >= 0)
			fn_fd_internal_track(&own.epfd);
	}
	return own.epfd;
}

static void unwatch(int image)
{
	if (own.pidfd[image] > 0)
		fn_fd_internal_close(own.pidfd[image]);
	own.pidfd[image] = 0;
}

/* 0 stands for none: an internal descriptor is never that low. */
static void watch(int image, int pid)
{
	struct epoll_event ev = { .events = EPOLLIN | EPOLLET, .data.fd = image };

	own.pidfd[image] = fn_fd_internal((int)fn_sys(SYS_pidfd_open, pid, 0));
	if (own.pidfd[image] > 0)
		fn_fd_internal_track(&own.pidfd[image]);
	if (own.pidfd[image] <= 0 || need_epfd() < 0 ||
	    fn_sys_epoll_ctl(own.epfd, EPOLL_CTL_ADD, own.pidfd[image], &ev) < 0)
		own.blind = true;
}

/* Members came or went: one pidfd for each of the others. */
static fn_cold void follow_changes(struct fn_shared *sh)
{
	own.changes = sh->changes;
	own.blind = own.late = false;
	own.pace = LOOK_NS;
	for (int i = 0; i < FN_IMAGES; i++) {
		struct fn_member *m = &sh->member[i];
		int pid = m->pid;

		if (own.pidfd[i] && (!pid || own.serial[i] != m->serial))
			unwatch(i);
		if (pid == FN_MEMBER_BORN)
			own.blind = true;
		if (pid && m->leaving)
			own.pace = EXEC_NS;
		if (pid <= 0 || i == (int)fn_engine.image || own.pidfd[i] > 0)
			continue;
		if (fn_thread_self()->keeper) {
			own.blind = own.late = true;
			continue;
		}
		own.serial[i] = m->serial;
		watch(i, pid);
	}
}

/* The descriptors of the image that we were before the fork. */
static void forget_watches(void)
{
	for (int i = 0; i < FN_IMAGES; i++)
		unwatch(i);
	memset(own.child, 0, sizeof(own.child));
	fn_fd_internal_close(own.epfd);
	own.epfd = -1;
}

/* ---- members ---- */

static void take_place(int image, int pid)
{
	struct fn_shared *sh = fn_engine.shared;
	struct fn_member *m = &sh->member[image];

	memset(&m->life, 0, sizeof(m->life));
	m->leaving = false;
	m->suspect = 0;
	m->self = 0;
	m->born = fn_now();
	m->serial++;
	m->pid = pid;
	sh->changes++;
}

static uint64_t pid_namespace(void)
{
	/* calls that the fabric needs anyway: no filter of the program's is to meet others */
	int fd = fn_engine.fabric ? (int)fn_sys(SYS_openat, AT_FDCWD, "/proc/self/ns/pid", O_RDONLY | O_CLOEXEC, 0) : -1;
	struct stat st = { 0 };

	if (fd < 0)
		return 0;
	if (fn_sys(SYS_fstat, fd, &st) < 0)
		st.st_ino = 0;
	fn_sys_close(fd);
	return st.st_ino;
}

/* .self last: pairs with fn_family_pidfd() */
static void name_self(struct fn_member *m)
{
	m->self_ns = pid_namespace();
	atomic_store_explicit(&m->self, (int32_t)fn_sys(SYS_getpid, 0), memory_order_release);
}

/* .pid is what its parent calls it: elsewhere than in his namespace that may be the number of another process. */
int fn_family_pidfd(unsigned image, bool *opened)
{
	const struct fn_shared *sh = fn_engine.shared;
	const struct fn_member *m = &sh->member[image], *us = &sh->member[fn_engine.image];
	int32_t pid = atomic_load_explicit(&m->self, memory_order_acquire);

	if (own.child[image] == m->serial && own.pidfd[image] > 0 && own.serial[image] == m->serial)
		return own.pidfd[image];
	if (!pid || fn_thread_self()->keeper)
		return -EAGAIN;
	if (m != us && (!m->self_ns || m->self_ns != us->self_ns))
		return -EXDEV;
	*opened = true;
	return (int)fn_sys(SYS_pidfd_open, pid, 0);
}

void fn_family_found(void)
{
	struct fn_shared *sh = fn_engine.shared;

	if (fn_engine.shares)
		return;
	fn_robust_lock(&sh->lock);
	fn_engine.st->holder = 1ull << fn_engine.image;
	fn_engine.st->busy = NULL;
	take_place((int)fn_engine.image, (int)fn_sys(SYS_getpid, 0));
	fn_robust_lock(&sh->member[fn_engine.image].life);
	name_self(&sh->member[fn_engine.image]);
	own.pace = LOOK_NS;
	fn_engine.shares = true;
	/* for good: who waits for it comes to the shared one; pairs with the exchange in fn_engine_lock_slow() */
	atomic_store(&fn_engine.lock.word, FN_LOCK_MOVED);
	fn_sys_futex((uint32_t *)&fn_engine.lock.word, FUTEX_WAKE, INT_MAX, NULL);
}

static void look(struct fn_shared *sh, uint64_t now);

static int free_place(const struct fn_shared *sh)
{
	for (int i = 0; i < FN_RELAY_IMAGE; i++)
		if (!sh->member[i].pid)
			return i;
	return -1;
}

int fn_family_expect(void)
{
	int image;

	fn_family_found();
	image = free_place(fn_engine.shared);
	if (image < 0) {
		look(fn_engine.shared, fn_now());
		image = free_place(fn_engine.shared);
	}
	if (image >= 0)
		take_place(image, FN_MEMBER_BORN);
	return image;
}

void fn_family_expect_relay(void)
{
	fn_family_found();
	take_place(FN_RELAY_IMAGE, FN_MEMBER_BORN);
}

void fn_family_cancel(int image)
{
	fn_fabric_image_gone(1ull << image);
	fn_engine.shared->member[image].pid = 0;
	fn_engine.shared->changes++;
}

void fn_family_named(int image, int pid)
{
	struct fn_shared *sh = fn_engine.shared;
	int32_t said = sh->member[image].pid;

	/* a child in another PID namespace calls itself otherwise: what its parent says counts, who watches it is out here */
	while (said && said != pid && !atomic_compare_exchange_weak(&sh->member[image].pid, &said, pid))
		;
	if (said > 0 && said != pid)
		unwatch(image);		/* another process, if one of our threads has been that quick */
	own.child[image] = sh->member[image].serial;
	sh->changes++;
}

bool fn_family_join(int image)
{
	struct fn_shared *sh = fn_engine.shared;
	struct fn_member *m = &sh->member[image];
	int32_t born = FN_MEMBER_BORN;

	fn_robust_child();
	forget_watches();
	own.changes = sh->changes - 1;
	own.looked = fn_now();
	fn_robust_lock(&m->life);
	/* the parent may have been quicker; 0: we took too long */
	if (!atomic_compare_exchange_strong(&m->pid, &born, (int32_t)fn_sys(SYS_getpid, 0)) && !born) {
		fn_robust_unlock(&m->life);
		return false;
	}
	name_self(m);
	sh->changes++;
	return true;
}

void fn_family_forget(void)
{
	fn_robust_child();
	forget_watches();
	own.changes = 0;
}

/* The thread that held our own lock for life may have ended: another one takes it. */
static void keep_alive(struct fn_member *m)
{
	if (fn_unlikely(fn_robust_free(&m->life)))
		fn_robust_try(&m->life);
}

void fn_family_leaving(bool on)
{
	struct fn_shared *sh = fn_engine.shared;
	struct fn_member *m = &sh->member[fn_engine.image];

	keep_alive(m);
	m->leaving = on;
	m->suspect = 0;
	sh->changes++;
	if (on)			/* somebody must look whether it comes to pass */
		fn_bell_ring_one();
}

bool fn_family_somebody_leaves(void)
{
	const struct fn_shared *sh = fn_engine.shared;

	for (int i = 0; i < FN_IMAGES; i++)
		if (sh->member[i].pid && sh->member[i].leaving)
			return true;
	return false;
}

unsigned fn_family_size(void)
{
	const struct fn_shared *sh = fn_engine.shared;
	unsigned n = 0;

	for (int i = 0; fn_engine.shares && i < FN_IMAGES; i++)
		n += sh->member[i].pid != 0;
	return n;
}

bool fn_family_others(void)
{
	const struct fn_shared *sh = fn_engine.shared;

	for (int i = 0; fn_engine.shares && i < FN_IMAGES; i++)
		if (i != (int)fn_engine.image && sh->member[i].pid)
			return true;
	return false;
}

/* ---- death ---- */

bool fn_family_ended(int pidfd)
{
	struct pollfd pfd = { .fd = pidfd, .events = POLLIN };
	struct timespec zero = { 0, 0 };

	return fn_sys_ppoll(&pfd, 1, &zero, NULL) > 0 && pfd.revents & POLLIN;
}

/* Is it too early to say? */
static bool is_doubtful(int image, const struct fn_member *m, uint64_t now)
{
	if (own.doubted[image] != m->serial)
		own.doubt[image] = now;
	own.doubted[image] = m->serial;
	return now - own.doubt[image] < DOUBT_NS;
}

/* Our descriptor of it knows best: a number may be another process' by now. */
static bool process_ended(int image, const struct fn_member *m, uint64_t now)
{
	bool ended;
	int fd;

	if (own.pidfd[image] > 0 && own.serial[image] == m->serial)
		return fn_family_ended(own.pidfd[image]);
	/* the program's next call, or another image, can tell without the keeper's taking a number: they come first */
	if (fn_thread_self()->keeper && is_doubtful(image, m, now))
		return false;
	fd = (int)fn_sys(SYS_pidfd_open, m->pid, 0);
	if (fd < 0)
		return fn_sys(SYS_kill, m->pid, 0) == -ESRCH;
	ended = fn_family_ended(fd);
	fn_sys_close(fd);
	return ended;
}

/* The thread that took the lock for life has gone, or the whole image? */
static bool has_died(int image, struct fn_member *m, uint64_t now)
{
	if (m->pid == FN_MEMBER_BORN)
		return now > m->born + BORN_NS;
	if (!fn_robust_free(&m->life))
		return false;
	if (process_ended(image, m, now))
		return true;
	/* an exec ends the image and not the process. Seen twice, for its thread may end between announcement and exec */
	if (!m->leaving) {
		m->suspect = 0;
		return false;
	}
	if (!m->suspect)
		m->suspect = now;
	return now - m->suspect >= EXEC_NS;
}

static unsigned forget_in(struct fn_pool *pool, uint64_t bit)
{
	unsigned n = 0;

	for (uint32_t i = 1; i < pool->made; i++) {
		struct fn_sock *sk = fn_pool_at(pool, i);

		if (!sk->kind || !(sk->images & bit))
			continue;
		n++;
		sk->images &= ~bit;
		/* its peers lose it, too: nobody else's end has to be seen for that. To one that others of us have only they can
		 * send an end: until they do, what it can see says enough */
		if (!fn_fabric_elsewhere(sk->remote.peer, bit))
			fn_tcp_held(sk);
		if (sk->images)
			continue;
		/* bytes that a relay had taken and not passed on are lost: no end that looks like one */
		if (bit == 1ull << FN_RELAY_IMAGE && sk->kind == FN_SOCK_TCP)
			fn_sock_disconnect(sk);
		fn_sock_close(sk);
	}
	return n;
}

/* Death means close, as in the kernel. */
static fn_cold void bury(struct fn_shared *sh, int image)
{
	uint64_t bit = 1ull << image;

	fn_holders_look();	/* of what it had with us all is taken that it has left, before it is closed */
	fn_stack_forget_image(fn_engine.st, bit);
	if (forget_in(&fn_engine.st->tcp_pool, bit) + forget_in(&fn_engine.st->udp_pool, bit))
		fn_engine.st->stats.images_died++;
	if (image == FN_RELAY_IMAGE)
		sh->relay = false;
	fn_fabric_image_gone(bit);
	sh->asleep &= ~bit;
	/* last: who finds the place used finds its references too, should we die here */
	sh->member[image].pid = 0;
	sh->changes++;
}

void fn_family_leave(void)
{
	struct fn_member *m = &fn_engine.shared->member[fn_engine.image];

	fn_fabric_image_gone(fn_engine.bit);
	m->pid = 0;
	fn_engine.shared->changes++;
	fn_robust_unlock(&m->life);
}

void fn_family_resign(void)
{
	struct fn_shared *sh = fn_engine.shared;
	uint64_t bit = 1ull << fn_engine.image;

	fn_stack_forget_image(fn_engine.st, bit);
	forget_in(&fn_engine.st->tcp_pool, bit);
	forget_in(&fn_engine.st->udp_pool, bit);
	sh->asleep &= ~bit;
	keep_alive(&sh->member[fn_engine.image]);	/* it is unlinked from the list of the thread that has it */
	fn_family_leave();
}

void fn_family_lost(int image)
{
	if (fn_engine.shared->member[image].pid)
		bury(fn_engine.shared, image);
}

static void look(struct fn_shared *sh, uint64_t now)
{
	own.looked = now;
	own.pace = fn_min(own.pace * 2, LOOK_NS);
	keep_alive(&sh->member[fn_engine.image]);
	for (int i = 0; i < FN_IMAGES; i++)
		if (sh->member[i].pid && i != (int)fn_engine.image && has_died(i, &sh->member[i], now))
			bury(sh, i);
	if (sh->changes != own.changes || (own.late && !fn_thread_self()->keeper))
		follow_changes(sh);
}

void fn_family_round(uint64_t now)
{
	struct fn_shared *sh = fn_engine.shared;

	if (fn_unlikely(sh->changes != own.changes || now - own.looked >= own.pace ||
			(own.late && !fn_thread_self()->keeper)))
		look(sh, now);
}

void fn_family_look(void)
{
	look(fn_engine.shared, fn_now());
}

int fn_family_sleep(uint64_t now, uint64_t *until)
{
	fn_family_round(now);
	if (own.blind || own.epfd < 0 || fn_family_somebody_leaves())
		*until = fn_min(*until, now + own.pace);
	return own.epfd;
}

void fn_family_woken(uint64_t now)
{
	struct epoll_event ev[8];

	if (own.epfd >= 0 && fn_sys_epoll_check(own.epfd, ev, fn_array_size(ev)) > 0)
		look(fn_engine.shared, now);
	else
		fn_family_round(now);
}
