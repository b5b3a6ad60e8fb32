/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * Epoll sets. The number is a real epoll descriptor of the kernel, which keeps the kernel's members; accelerated members
 * are items here, on a ready list as in the kernel's fs/eventpoll.c, so that a wait costs O(ready). A set without
 * accelerated members is the kernel's alone. Registrations of sockets that are still undecided are written through and
 * noted, so that a decision can move them.
 */
#include "shim/epoll.h"

#include <errno.h>
#include <stdio.h>
#include <string.h>

#include "shim/dgram.h"
#include "shim/engine.h"
#include "shim/fdtable.h"
#include "shim/listen.h"
#include "shim/plain.h"
#include "shim/quick.h"
#include "shim/room.h"
#include "shim/shim.h"
#include "shim/slab.h"
#include "shim/wait.h"
#include "stack/user.h"

/* An armed registration has FN_POLL_STATE among what it wants, so that one test tells which events concern it. */
#define PRIVATE_BITS	(EPOLLWAKEUP | EPOLLONESHOT | EPOLLET | EPOLLEXCLUSIVE)
#define EXCLUSIVE_OK	(EPOLLIN | EPOLLOUT | EPOLLERR | EPOLLHUP | EPOLLWAKEUP | EPOLLET | EPOLLEXCLUSIVE)
#define MAX_NESTS	4		/* EP_MAX_NESTS of fs/eventpoll.c */
#define MAX_EVENTS	(INT_MAX / sizeof(struct epoll_event))	/* EP_MAX_EVENTS */
/* A busy stack does not starve the kernel's members: waits ask them when they have not been asked for so long (0.15 µs). */
#define KERNEL_EVERY_NS	50000

struct item {
	void *link;			/* the slab's */
	struct fn_watch watch;		/* on the member's file, while live */
	struct fn_set *set;
	struct fn_file *file;
	int fd;
	bool live;			/* ours; else noted: the kernel has it */
	bool ready;			/* on the ready list */
	struct epoll_event ev;
	struct item *next_ready, *prev_ready;
	struct item *next, **pprev;	/* all of the set */
	struct item *next_of_file, **pprev_of_file; /* undecided: all of one file */
	struct item *chain;		/* hash */
};

#define BUCKETS	512
struct fn_set {
	void *link;			/* the slab's */
	struct fn_file *file;
	struct item *items;
	unsigned count, live;
	struct item *ready_head, *ready_tail;
	bool has_kernel;		/* members of the kernel may exist */
	uint64_t kernel_due;		/* when the kernel's are to be asked again */
	unsigned listen_epoch;		/* fn_listen_epoch when its listeners were looked at */
	struct fn_plain plain;		/* who sleeps in the kernel's epoll_wait, from before the set went live */
	bool silent;			/* the kernel may have registrations that hear nothing: add_to_kernel() */
	struct item *bucket[BUCKETS]; /* by fd */
};

static struct fn_slab sets = { .obj_size = sizeof(struct fn_set) };
static struct fn_slab items = { .obj_size = sizeof(struct item) };

/* ---- ready list ---- */

static void ready_push(struct item *it)
{
	struct fn_set *s = it->set;

	if (it->ready)
		return;
	it->ready = true;
	it->next_ready = NULL;
	it->prev_ready = s->ready_tail;
	if (s->ready_tail)
		s->ready_tail->next_ready = it;
	else
		s->ready_head = it;
	s->ready_tail = it;
}

static void ready_del(struct item *it)
{
	struct fn_set *s = it->set;

	if (!it->ready)
		return;
	it->ready = false;
	if (it->prev_ready)
		it->prev_ready->next_ready = it->next_ready;
	else
		s->ready_head = it->next_ready;
	if (it->next_ready)
		it->next_ready->prev_ready = it->prev_ready;
	else
		s->ready_tail = it->prev_ready;
}

/* ep_poll_callback: an event of the member's file; a disarmed ONESHOT hears nothing. */
static bool item_wake(struct fn_watch *w, unsigned events)
{
	struct item *it = fn_container_of(w, struct item, watch);

	/* no event has a private bit, and all others are gone from a ONESHOT that has fired */
	if (!(events & it->ev.events))
		return false;
	ready_push(it);
	fn_file_wake_one(it->set->file, EPOLLIN | EPOLLRDNORM);
	return true;
}

bool fn_epoll_is_item(const struct fn_watch *w)
{
	return w->wake == item_wake;
}

/* ---- items ---- */

static struct item *find(struct fn_set *s, int fd, const struct fn_file *f)
{
	struct item *it;

	for (it = s->bucket[fd & (BUCKETS - 1)]; it && !(it->fd == fd && it->file == f); it = it->chain)
		;
	return it;
}

static struct item *item_new(struct fn_set *s, int fd, struct fn_file *f, const struct epoll_event *ev)
{
	struct item *it = fn_slab_alloc(&items);

	if (!it)
		return NULL;
	memset(it, 0, sizeof(*it));
	it->watch.wake = item_wake;
	it->set = s;
	it->file = f;
	it->fd = fd;
	it->ev = *ev;
	it->chain = s->bucket[fd & (BUCKETS - 1)];
	s->bucket[fd & (BUCKETS - 1)] = it;
	it->next = s->items;
	if (it->next)
		it->next->pprev = &it->next;
	it->pprev = &s->items;
	s->items = it;
	s->count++;
	/* every item of a file is on its list, so that a decision or the last close finds them */
	it->next_of_file = f->epoll_items;
	if (it->next_of_file)
		it->next_of_file->pprev_of_file = &it->next_of_file;
	it->pprev_of_file = &f->epoll_items;
	f->epoll_items = it;
	return it;
}

static void item_free(struct item *it)
{
	struct fn_set *s = it->set;
	struct item **p = &s->bucket[it->fd & (BUCKETS - 1)];

	ready_del(it);
	fn_watch_del(&it->watch);
	while (*p != it)
		p = &(*p)->chain;
	*p = it->chain;
	*it->pprev = it->next;
	if (it->next)
		it->next->pprev = it->pprev;
	*it->pprev_of_file = it->next_of_file;
	if (it->next_of_file)
		it->next_of_file->pprev_of_file = it->pprev_of_file;
	s->count--;
	s->live -= it->live;
	s->file->plain_set = !s->live && s->plain.bell <= 0 && !s->silent;
	fn_slab_free(&items, it);
}

static void set_goes_live(struct fn_set *s);

/* What the program wants to hear from now on, if it is anything: a ONESHOT that has fired stays as it is. */
static void item_arm(struct item *it)
{
	if (it->ev.events & ~(unsigned)PRIVATE_BITS)
		it->ev.events |= FN_POLL_STATE;
}

/* From now on events of the file reach the item; what is true already counts as an event, unless it was told. */
static void item_go_live(struct item *it, bool told)
{
	it->live = true;
	item_arm(it);
	it->set->file->plain_set = false;
	/* a set in a set: its kernel half has no way to wake who waits on the outer one but by the engine's */
	if (it->file->kind == FN_FILE_EPOLL)
		fn_dual_add(it->file, it->fd);
	if (it->set->live++ == 0)
		set_goes_live(it->set);
	fn_watch_add(it->file, &it->watch);
	if (!told)
		item_wake(&it->watch, it->file->ops->poll(it->file, it->fd));
}

/* ---- decisions about a member ---- */

/* What the kernel still wants to hear about fd: a ONESHOT that has fired shows no event bits (fdinfo, "tfd:"). */
static void read_kernel_item(int epfd, int fd, struct epoll_event *ev)
{
	char path[64], buf[4096], *line;
	ssize_t n;
	int file;

	if (!(ev->events & EPOLLONESHOT))
		return;
	snprintf(path, sizeof(path), "/proc/self/fdinfo/%d", epfd);
	file = (int)fn_sys(SYS_openat, AT_FDCWD, path, O_RDONLY | O_CLOEXEC, 0);
	if (file < 0)
		return;
	n = fn_sys_read(file, buf, sizeof(buf) - 1);
	fn_sys_close(file);
	buf[n > 0 ? n : 0] = 0;
	for (line = strstr(buf, "tfd:"); line; line = strstr(line + 1, "tfd:")) {
		unsigned events;
		int tfd;

		if (sscanf(line, "tfd: %d events: %x", &tfd, &events) == 2 && tfd == fd)
			ev->events = (ev->events & EPOLLONESHOT) | events;
	}
}

/* A number of the set's: the kernel's calls want one. -1: none (the set is being closed). */
static int set_number(const struct fn_set *s)
{
	return fn_fd_number(s->file, -1);
}

/* Has the kernel told its edge? With nothing on its ready list that is certain; else it is told once more. */
static bool was_told(const struct item *it, int epfd)
{
	struct pollfd pfd = { .fd = epfd, .events = POLLIN };
	struct timespec zero = { 0, 0 };

	return it->ev.events & EPOLLET && fn_sys_ppoll(&pfd, 1, &zero, NULL) == 0;
}

void fn_epoll_accelerate(struct fn_file *f)
{
	for (struct item *it = f->epoll_items; it; it = it->next_of_file) {
		int epfd = set_number(it->set);
		bool told = false;

		if (it->live)
			continue;
		if (epfd >= 0) {
			told = was_told(it, epfd);
			read_kernel_item(epfd, it->fd, &it->ev);
			fn_sys_epoll_ctl(epfd, EPOLL_CTL_DEL, it->fd, NULL);
		}
		item_go_live(it, told);
	}
}

/*
 * A ONESHOT that has fired: what is added to a set of the kernel's hears of errors at least, so this one does once, and the
 * event is nobody's (fn_plain_sift()). The program arms it as it would have.
 */
static void add_to_kernel(struct item *it, int epfd)
{
	struct epoll_event ev = it->ev;

	if (ev.events & EPOLLONESHOT && !(ev.events & ~(unsigned)PRIVATE_BITS)) {
		ev.data.ptr = &it->set->plain.bell;
		it->set->silent = true;
	}
	fn_sys_epoll_ctl(epfd, EPOLL_CTL_ADD, it->fd, &ev);
}

/* The kernel has those that are only noted. */
void fn_epoll_to_kernel(struct fn_file *f)
{
	while (f->epoll_items) {
		struct item *it = f->epoll_items;
		int epfd = set_number(it->set);

		/* a number that was closed while another one of the file lives: nothing says which it would be now */
		it->ev.events &= ~FN_POLL_STATE;
		if (it->live && epfd >= 0 && fn_fdtable.file[it->fd] == f)
			add_to_kernel(it, epfd);
		it->set->has_kernel = true;
		item_free(it);
	}
}

void fn_epoll_release(struct fn_file *f)
{
	while (f->epoll_items)
		item_free(f->epoll_items);
}

/* The first accelerated member: whoever holds this set as a member must hear of us from now on. */
static void set_goes_live(struct fn_set *s)
{
	fn_epoll_accelerate(s->file);
	fn_plain_ring(s->file, set_number(s));
}

void fn_epoll_settle(struct fn_file *f, int epfd)
{
	if (fn_plain_settle(f, epfd))
		f->plain_set = !f->set->live && !f->set->silent;
}

bool fn_epoll_is_live(const struct fn_file *f)
{
	return f->set->live;
}

/* ---- epoll_create, epoll_ctl ---- */

int fn_shim_epoll_create1(int flags)
{
	bool driver = fn_thread_self()->driver;
	int fd = (int)fn_sys(SYS_epoll_create1, driver ? flags | EPOLL_CLOEXEC : flags);
	struct fn_file *f;
	struct fn_set *s;

	if (fn_unlikely(fd == -EMFILE) && fn_room_make())
		fd = (int)fn_sys(SYS_epoll_create1, flags);
	if (fd >= 0 && driver)
		fd = fn_fd_internal(fd);
	if (fd < 0 || fn_thread_self()->inside || fn_engine_init() < 0)
		return fd;
	f = fn_file_new(FN_FILE_EPOLL, &fn_epoll_ops);
	s = f ? fn_slab_alloc(&sets) : NULL;
	if (!s) {
		if (f)
			fn_file_put(f);
		return fd;
	}
	memset(s, 0, sizeof(*s));
	s->file = f;
	f->set = s;
	f->plain = &s->plain;
	f->plain_set = true;
	fd = fn_fd_raise(fd, flags & EPOLL_CLOEXEC);
	if (!fn_fd_install(fd, f))
		fn_file_put(f);
	return fd;
}

/* Does the set of f reach `to` through nested sets, or nest deeper than Linux allows? */
static bool reaches(const struct fn_file *f, const struct fn_file *to, int depth)
{
	if (f == to || depth > MAX_NESTS)
		return true;
	for (const struct item *it = f->set->items; it; it = it->next)
		if (it->file->set && reaches(it->file, to, depth + 1))
			return true;
	return false;
}

/* The checks that do_epoll_ctl() of fs/eventpoll.c makes before it looks for the item. */
static int check_ctl(const struct fn_file *f, int op, const struct fn_file *member, const struct epoll_event *ev)
{
	if (op == EPOLL_CTL_DEL)
		return 0;
	if (!ev)
		return -EFAULT;
	if (ev->events & EPOLLEXCLUSIVE) {
		if (op == EPOLL_CTL_MOD || member->set || (ev->events & ~(unsigned)EXCLUSIVE_OK))
			return -EINVAL;
	}
	if (op == EPOLL_CTL_ADD && member->set && reaches(member, f, 1))
		return -ELOOP;
	return 0;
}

static int ctl_live(struct fn_set *s, int op, int fd, struct fn_file *member, const struct epoll_event *ev)
{
	struct item *it = find(s, fd, member);

	if (op == EPOLL_CTL_ADD) {
		if (it)
			return -EEXIST;
		it = item_new(s, fd, member, ev);
		if (!it)
			return -ENOMEM;
		it->ev.events |= EPOLLERR | EPOLLHUP;
		item_go_live(it, false);
		return 0;
	}
	if (!it)
		return -ENOENT;
	if (op == EPOLL_CTL_DEL) {
		item_free(it);
		return 0;
	}
	if (op != EPOLL_CTL_MOD || (it->ev.events & EPOLLEXCLUSIVE))
		return -EINVAL;
	it->ev = *ev;
	it->ev.events |= EPOLLERR | EPOLLHUP;
	item_arm(it);
	item_wake(&it->watch, member->ops->poll(member, fd));
	return 0;
}

/* The member is the kernel's so far: the kernel decides, we note. */
static int ctl_noted(struct fn_set *s, int epfd, int op, int fd, struct fn_file *member, struct epoll_event *ev)
{
	int ret = fn_sys_epoll_ctl(epfd, op, fd, ev);
	struct item *it = find(s, fd, member);

	member->untouched = false;
	if (ret < 0)
		return ret;
	s->has_kernel = true;
	if (op == EPOLL_CTL_DEL) {
		if (it)
			item_free(it);
		return 0;
	}
	if (!it)
		it = item_new(s, fd, member, ev);
	if (it) {
		it->ev = *ev;
		it->ev.events |= EPOLLERR | EPOLLHUP;
	}
	return 0;
}

/* A member that lives on the stack, as opposed to one that the kernel serves so far. */
static bool is_live(const struct fn_file *m)
{
	return m->kind == FN_FILE_TCP || m->kind == FN_FILE_UDP || m->kind == FN_FILE_LISTEN ||
	       (m->kind == FN_FILE_EPOLL && m->set->live);
}

static int epoll_ctl_locked(struct fn_file *f, int epfd, int op, int fd, struct fn_file *member, struct epoll_event *ev)
{
	int ret;

	if (!is_live(member))
		return ctl_noted(f->set, epfd, op, fd, member, ev);
	ret = check_ctl(f, op, member, ev);
	if (ret == 0)
		ret = ctl_live(f->set, op, fd, member, ev);
	return ret;
}

static int epoll_ctl_op(struct fn_file *f, int epfd, int op, int fd, struct epoll_event *ev)
{
	struct fn_file *member = fn_fd_get(fd);
	int ret = FN_TO_KERNEL;

	if (fn_fd_is_internal(fd))
		return -EBADF;
	if (member == f)
		ret = -EINVAL;
	else if (member && member->kind != FN_FILE_KERNEL) {
		if (op == EPOLL_CTL_ADD && fn_dgram_wants(member))
			fn_dgram_open(member, fd);
		fn_engine_lock();
		ret = epoll_ctl_locked(f, epfd, op, fd, member, ev);
		fn_engine_unlock();
	}
	if (member)
		fn_file_put(member);
	if (ret == FN_TO_KERNEL && op == EPOLL_CTL_ADD)
		f->set->has_kernel = true;
	return ret;
}

/* ---- epoll_wait ---- */

struct epoll_call {
	struct fn_set *set;
	struct epoll_event *ev;
	int max, count;
	struct fn_watch watch;
	struct fn_thread *thread;
};

/* False: the program's array is bad, and the item stays ready (epoll_put_uevent). */
fn_inline bool put_event(struct epoll_event *ev, unsigned state, const struct item *it)
{
	return fn_user_put32(&ev->events, state) && fn_user_put64((char *)ev + offsetof(struct epoll_event, data), it->ev.data.u64);
}

/* ep_send_events: the state now decides, not the event that made the item ready. */
static __attribute__((noinline)) int harvest_many(struct fn_set *s, struct epoll_event *ev, int max)
{
	struct item *last = s->ready_tail, *it, *next;
	int n = 0;

	for (it = s->ready_head; it && n < max; it = next) {
		unsigned wanted = it->ev.events, state = it->file->ops->poll(it->file, it->fd) & wanted & ~PRIVATE_BITS;
		bool was_last = it == last, stays = state && !(wanted & (EPOLLONESHOT | EPOLLET));

		next = it->next_ready;
		if (state && fn_unlikely(!put_event(&ev[n], state, it)))
			return n ? n : -EFAULT;
		n += !!state;
		if (fn_unlikely(state && wanted & EPOLLONESHOT))
			it->ev.events &= PRIVATE_BITS;
		/* what stays goes behind the others */
		if (!stays || it != s->ready_tail) {
			ready_del(it);
			if (stays)
				ready_push(it);
		}
		if (was_last)
			break;
	}
	return n;
}

/* One item is ready, as in a dialogue: no list to go along. */
fn_inline int harvest_one(struct item *it, struct epoll_event *ev)
{
	unsigned state = it->file->ops->poll(it->file, it->fd) & it->ev.events & ~PRIVATE_BITS;

	if (fn_likely(state) && fn_unlikely(!put_event(ev, state, it)))
		return -EFAULT;
	if (fn_unlikely(!state || it->ev.events & (EPOLLONESHOT | EPOLLET))) {
		ready_del(it);
		if (!state)
			return 0;
		if (it->ev.events & EPOLLONESHOT)
			it->ev.events &= PRIVATE_BITS;
	}
	return 1;
}

/* max may be 0; -EFAULT. */
fn_inline int harvest(struct fn_set *s, struct epoll_event *ev, int max)
{
	struct item *it = s->ready_head;

	if (!it || max <= 0)
		return 0;
	return it == s->ready_tail ? harvest_one(it, ev) : harvest_many(s, ev, max);
}

/* Of n events of the kernel's, those that are the program's: the bell's, from before the set went live, is not. */
static int sift(struct fn_set *s, int epfd, struct epoll_event *ev, int n)
{
	int kept = fn_plain_sift(&s->plain, ev, n);

	if (kept != n) {
		fn_engine_lock();
		fn_epoll_settle(s->file, epfd);
		fn_engine_unlock();
	}
	return kept;
}

static int ask_kernel(struct fn_set *s, int epfd, struct epoll_event *ev, int max)
{
	int n = max > 0 ? fn_sys_epoll_check(epfd, ev, max) : 0;

	return n > 0 ? sift(s, epfd, ev, n) : 0;
}

static bool call_ready(struct fn_wait *w)
{
	struct epoll_call *c = w->arg;

	c->count = harvest(c->set, c->ev, c->max);
	return c->count != 0;
}

static bool call_wake(struct fn_watch *w, unsigned events)
{
	return fn_thread_ring(fn_container_of(w, struct epoll_call, watch)->thread);
}

static void call_arm(struct fn_wait *w)
{
	struct epoll_call *c = w->arg;

	c->thread = w->thread;
	fn_watch_add(c->set->file, &c->watch);
}

static void call_disarm(struct fn_wait *w)
{
	struct epoll_call *c = w->arg;

	fn_watch_del(&c->watch);
	/* more is ready than this thread takes: another sleeper of the set may have it */
	if (c->set->ready_head)
		fn_file_wake(c->set->file, EPOLLIN | EPOLLRDNORM);
}

/* Is it the kernel's turn? */
fn_inline bool kernel_turn(struct fn_set *s, uint64_t now)
{
	if (!s->has_kernel || now < s->kernel_due)
		return false;
	s->kernel_due = now + KERNEL_EVERY_NS;
	return true;
}

/* One look at both halves, the kernel's bounded to its share: with the stack driven once, by fn_quick_wait() it may be. */
static int look(struct fn_set *s, int epfd, struct epoll_event *ev, int max)
{
	uint64_t now;
	int n, from_kernel = 0;

	if (fn_this_guard.looked) {
		fn_this_guard.looked = false;
		return s->has_kernel ? ask_kernel(s, epfd, ev, max) : 0;
	}
	now = fn_now();
	/* its turn comes before a busy stack's events, with half of the room */
	if (kernel_turn(s, now))
		from_kernel = ask_kernel(s, epfd, ev, (max + 1) / 2);
	fn_engine_lock();
	fn_engine_poll(now);
	n = harvest(s, ev + from_kernel, max - from_kernel);
	fn_engine_unlock();
	if (fn_unlikely(n < 0))
		return from_kernel ? from_kernel : n;
	if (n + from_kernel == 0 && s->has_kernel)
		n = ask_kernel(s, epfd, ev, max);
	return n + from_kernel;
}

/* Is nobody else to be asked this time? A set that was never live has no epoch; in one that is not, nothing is ready. */
fn_inline bool quick_set(struct fn_set *s, uint64_t now)
{
	return s->listen_epoch == fn_listen_epoch && !(s->has_kernel && now >= s->kernel_due);
}

int fn_quick_wait(int epfd, struct epoll_event *ev, int max, int ms,
		  int (*slow)(int epfd, struct epoll_event *ev, int max, int ms))
{
	uint64_t now = fn_clock();
	struct fn_file *f;
	struct fn_set *s;
	int n;

	fn_guard_enter(true);
	fn_wait_begins(now);
	if (fn_unlikely((unsigned)max - 1 >= MAX_EVENTS || !fn_engine_trylock()))
		return slow(epfd, ev, max, ms);
	f = fn_fd_peek(epfd);
	if (fn_unlikely(!f || f->kind != FN_FILE_EPOLL || !quick_set(f->set, now)))
		goto slow;
	s = f->set;
	fn_engine_poll(now);
	n = harvest(s, ev, max);
	fn_this_guard.looked = !n;
	if (fn_unlikely(n <= 0))
		goto slow;
	fn_engine_unlock();
	fn_wait_gave(n, now);
	return (int)fn_guard_left(n);
slow:
	fn_engine_unlock();
	return slow(epfd, ev, max, ms);
}

/* Listeners open their stack side at the first wait on them, in the process that waits (nginx: the worker). */
static fn_cold void attach_listeners(struct fn_set *s)
{
	struct item *it;

	s->listen_epoch = fn_listen_epoch;
	for (it = s->items; it; it = it->next)
		if (it->live && it->file->kind == FN_FILE_LISTEN && !it->file->sk)
			fn_listen_attach(it->file, it->fd);
}

/* The set is the kernel's alone; but it may go live while we sleep: 0 then, or when the time is over. */
static fn_cold int wait_in_kernel(struct fn_file *f, int epfd, struct epoll_event *ev, int max, uint64_t deadline,
			  const sigset_t *mask)
{
	struct timespec ts;
	uint64_t now = 0;
	int n;

	do {
		if (deadline != FN_FOREVER) {
			now = deadline ? fn_now() : 0;
			ts.tv_sec = now < deadline ? (time_t)((deadline - now) / FN_NSEC) : 0;
			ts.tv_nsec = now < deadline ? (long)((deadline - now) % FN_NSEC) : 0;
		}
		n = fn_plain_wait(f, epfd, ev, max, deadline == FN_FOREVER ? NULL : &ts, mask);
	} while (n == 0 && !f->set->live && deadline && (deadline == FN_FOREVER || fn_now() < deadline));
	return n;
}

/* Sleep for members of both halves. */
static fn_cold int wait_live(struct fn_set *s, int epfd, struct epoll_event *ev, int max, uint64_t deadline,
		     const sigset_t *mask)
{
	struct pollfd fds[FN_WAIT_SLOTS + 1];
	struct epoll_call c = { .set = s, .ev = ev, .max = max,
				.watch = { .wake = call_wake, .exclusive = true } };
	struct fn_wait w = { .ready = call_ready, .arm = call_arm, .disarm = call_disarm, .arg = &c, .mask = mask,
			     .extra = fds + FN_WAIT_SLOTS, .extra_count = 1, .deadline = deadline };
	int n;

	do {
		fds[FN_WAIT_SLOTS] = (struct pollfd){ .fd = epfd, .events = POLLIN };
		n = fn_wait(&w, false);
		if (n != 1)
			return n;
		n = c.count;
		/* a call with a mask has not asked the kernel before */
		if (!n || (n > 0 && mask && s->has_kernel))
			n += ask_kernel(s, epfd, ev + n, max - n);
	} while (n == 0);	/* another thread took the kernel's event first */
	return n;
}

static int epoll_wait_op(struct fn_file *f, int epfd, struct epoll_event *ev, int max, const struct timespec *ts,
			 const sigset_t *mask)
{
	struct fn_set *s = f->set;
	uint64_t deadline = FN_FOREVER;
	bool once = ts && !ts->tv_sec && !ts->tv_nsec;
	int n;

	if (fn_unlikely((unsigned)max - 1 >= MAX_EVENTS))
		return -EINVAL;
	if (fn_unlikely(!s->live)) {
		if (fn_unlikely(fn_engine.barred))
			return FN_TO_KERNEL;
		deadline = fn_ts_deadline(ts);
		n = wait_in_kernel(f, epfd, ev, max, deadline, mask);
		if (n != 0 || !s->live)
			return n;
	}
	if (fn_unlikely(s->listen_epoch != fn_listen_epoch))
		attach_listeners(s);
	fn_this_guard.hold = false;
	/* a wait with a mask looks itself; who does not wait gets no signal (ep_poll: timed out before signals) */
	n = mask && !once ? 0 : look(s, epfd, ev, max);
	if (n == 0 && !once)
		n = wait_live(s, epfd, ev, max, deadline != FN_FOREVER ? deadline : fn_ts_deadline(ts), mask);
	if (n > 0)
		fn_wait_gave(n, fn_engine.st ? fn_engine.st->now : 0);
	return n;
}

/* ---- the set as a file: nested, polled, closed ---- */

static unsigned epoll_poll(struct fn_file *f, int fd)
{
	struct item *it, *next;

	for (it = f->set->ready_head; it; it = next) {
		next = it->next_ready;
		if (it->file->ops->poll(it->file, it->fd) & it->ev.events & ~PRIVATE_BITS)
			return EPOLLIN | EPOLLRDNORM;
		ready_del(it);
	}
	/* a registration's number may be closed while another one of the set lives */
	if (f->set->has_kernel && fn_plain_readable(f, fn_fd_number(f, fd)))
		return EPOLLIN | EPOLLRDNORM;
	return 0;
}

static void epoll_release(struct fn_file *f)
{
	struct fn_set *s = f->set;

	fn_engine_lock();
	fn_epoll_release(f);
	fn_dual_del(f);
	while (s->items)
		item_free(s->items);
	fn_engine_unlock();
	f->set = NULL;
	f->plain = NULL;
	fn_slab_free(&sets, s);
}

const struct fn_file_ops fn_epoll_ops = {
	.epoll_ctl = epoll_ctl_op,
	.epoll_wait = epoll_wait_op,
	.poll = epoll_poll,
	.release = epoll_release,
};
