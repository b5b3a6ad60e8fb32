/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * poll and select in all forms, over kernel and stack descriptors mixed. A call that names nothing of ours goes to the
 * kernel as it is. Owns the translation of sets and masks; the waiting is wait.c's.
 */
#include <errno.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/resource.h>

#include "shim/convert.h"
#include "shim/dgram.h"
#include "shim/engine.h"
#include "shim/listen.h"
#include "shim/shim.h"
#include "shim/wait.h"
#include "stack/user.h"

/* Events that Linux reports though nobody asked (fs/select.c). */
#define ALWAYS	(POLLERR | POLLHUP)

/* One descriptor of ours in the call. */
struct member {
	struct fn_watch watch;
	struct fn_file *file;
	struct fn_thread *thread;
	unsigned events;
	unsigned index;		/* in the caller's array */
};

struct call {
	struct pollfd *fds;	/* the caller's */
	struct member *member;
	unsigned members;
	struct pollfd *extra;	/* the kernel's share, FN_WAIT_SLOTS entries before it */
	unsigned *extra_index;
	unsigned extras;
	unsigned hits;
	bool stale;		/* a member has become the kernel's: split anew */
	void *map;		/* where all the arrays live */
	size_t map_size;
};

#define INLINE_FDS 32
struct room {
	struct member member[INLINE_FDS];
	struct pollfd extra[FN_WAIT_SLOTS + INLINE_FDS];
	unsigned extra_index[INLINE_FDS];
};

static bool member_wake(struct fn_watch *w, unsigned events)
{
	struct member *m = fn_container_of(w, struct member, watch);

	return events & (m->events | ALWAYS | FN_POLL_STATE) && fn_thread_ring(m->thread);
}

static bool call_ready(struct fn_wait *w)
{
	struct call *c = w->arg;

	c->hits = 0;
	for (unsigned i = 0; i < c->members; i++) {
		struct member *m = &c->member[i];
		struct pollfd *p = &c->fds[m->index];

		if (fn_unlikely(fn_converted(m->file))) {
			c->stale = true;
			return true;
		}
		p->revents = (short)(m->file->ops->poll(m->file, p->fd) & (m->events | ALWAYS));
		c->hits += p->revents != 0;
	}
	return c->hits > 0;
}

static void call_arm(struct fn_wait *w)
{
	struct call *c = w->arg;

	for (unsigned i = 0; i < c->members; i++) {
		c->member[i].thread = w->thread;
		fn_watch_add(c->member[i].file, &c->member[i].watch);
	}
}

static void call_disarm(struct fn_wait *w)
{
	struct call *c = w->arg;

	for (unsigned i = 0; i < c->members; i++)
		fn_watch_del(&c->member[i].watch);
}

/* Arrays for n descriptors: on the stack when they are few. */
static int call_room(struct call *c, unsigned n, struct room *room)
{
	uint8_t *p;

	c->map = NULL;
	c->member = room->member;
	c->extra = room->extra + FN_WAIT_SLOTS;
	c->extra_index = room->extra_index;
	if (n <= INLINE_FDS)
		return 0;
	c->map_size = n * (sizeof(struct member) + sizeof(struct pollfd) + sizeof(unsigned)) +
		      FN_WAIT_SLOTS * sizeof(struct pollfd);
	p = (uint8_t *)fn_sys(SYS_mmap, NULL, c->map_size, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
	if ((unsigned long)p > -4096ul)
		return -ENOMEM;
	c->map = p;
	c->member = (struct member *)p;
	p += n * sizeof(struct member);
	c->extra = (struct pollfd *)p + FN_WAIT_SLOTS;
	p += (n + FN_WAIT_SLOTS) * sizeof(struct pollfd);
	c->extra_index = (unsigned *)p;
	return 0;
}

/* Does the stack serve f, at least in part? An undecided socket is polled in the kernel. */
static bool served(const struct fn_file *f)
{
	return f->kind != FN_FILE_SOCKET && f->kind != FN_FILE_KERNEL;
}

/* Split the caller's descriptors between us and the kernel; a reference to each file of ours. */
static void call_split(struct call *c, struct pollfd *fds, unsigned n)
{
	c->fds = fds;
	c->members = c->extras = 0;
	for (unsigned i = 0; i < n; i++) {
		struct fn_file *f = fds[i].fd < 0 ? NULL : fn_fd_get(fds[i].fd);

		fds[i].revents = 0;
		if (f && fn_dgram_wants(f))
			fn_dgram_open(f, fds[i].fd);
		if (f && served(f)) {
			if (f->kind == FN_FILE_LISTEN && !f->sk)
				fn_listen_attach(f, fds[i].fd);
			c->member[c->members++] = (struct member){ .watch = { .wake = member_wake }, .file = f,
								   .events = (unsigned short)fds[i].events,
								   .index = i };
			/* what of a set's members is the kernel's only the kernel tells */
			if (f->kind != FN_FILE_EPOLL)
				continue;
		} else if (f) {
			fn_file_put(f);
		}
		if (fds[i].fd >= 0) {
			c->extra_index[c->extras] = i;
			c->extra[c->extras++] = (struct pollfd){ .fd = fds[i].fd, .events = fds[i].events };
		}
	}
}

static void call_end(struct call *c)
{
	for (unsigned i = 0; i < c->members; i++)
		fn_file_put(c->member[i].file);
	if (c->map)
		fn_sys(SYS_munmap, c->map, c->map_size);
}

/* The kernel's answers now, beside those of ours. */
static int call_result(struct call *c)
{
	struct timespec zero = { 0, 0 };
	int n = (int)c->hits;

	if (!c->extras || fn_sys_ppoll(c->extra, c->extras, &zero, NULL) <= 0)
		return n;
	for (unsigned i = 0; i < c->extras; i++) {
		short *revents = &c->fds[c->extra_index[i]].revents;

		n += !*revents && c->extra[i].revents;
		*revents |= c->extra[i].revents;
	}
	return n;
}

static bool any_served(const struct pollfd *fds, nfds_t n)
{
	for (nfds_t i = 0; i < n; i++) {
		struct fn_file *f = fds[i].fd < 0 || !fn_fd_ours(fds[i].fd) ? NULL : fn_fd_get(fds[i].fd);
		bool ours = f && (served(f) || fn_dgram_wants(f));

		if (f)
			fn_file_put(f);
		if (ours)
			return true;
	}
	return false;
}

/* While the call waited a member of ours became the kernel's. The arrays hold all n descriptors either way. */
static void split_again(struct call *c, struct fn_wait *w, unsigned n)
{
	for (unsigned i = 0; i < c->members; i++)
		fn_file_put(c->member[i].file);
	c->stale = false;
	call_split(c, c->fds, n);
	w->extra_count = c->extras;
}

/* The results are written here under the lock: an array that is bad anywhere is the kernel's, to say so. */
static bool usable(void *p, size_t n)
{
	for (size_t at = 0; at < n; at += 4096)
		if (!fn_user_may_write((char *)p + at))
			return false;
	return !n || fn_user_may_write((char *)p + n - 1);
}

int fn_shim_poll(struct pollfd *fds, nfds_t n, const struct timespec *ts, const sigset_t *mask)
{
	struct room room;
	struct call c = { 0 };
	struct fn_wait w = { .ready = call_ready, .arm = call_arm, .disarm = call_disarm, .arg = &c, .mask = mask,
			     .goes_on = true };
	int ret;

	if (!fn_fdtable.size || n > fn_fdtable.size || !usable(fds, n * sizeof(*fds)) || !any_served(fds, n))
		return FN_TO_KERNEL;
	ret = call_room(&c, (unsigned)n, &room);
	if (ret < 0)
		return ret;
	w.deadline = fn_ts_deadline(ts);
	call_split(&c, fds, (unsigned)n);
	fn_this_guard.hold = false;
	w.extra = c.extra;
	w.extra_count = c.extras;
	do {
		ret = fn_wait(&w, false);
		if (fn_unlikely(c.stale)) {
			split_again(&c, &w, (unsigned)n);
			ret = 0;
			continue;
		}
		if (ret < 0)
			break;
		if (ret == 0) {
			ret = call_result(&c);
			break;
		}
		ret = call_result(&c);
	} while (ret == 0);	/* somebody else took it first */
	call_end(&c);
	if (ret > 0)
		fn_this_guard.hold = ret > 1;
	return ret;
}

/* ---- select ---- */

/* What select's three sets mean as poll events (fs/select.c). */
#define SEL_IN	(POLLRDNORM | POLLRDBAND | POLLIN | POLLHUP | POLLERR)
#define SEL_OUT	(POLLWRBAND | POLLWRNORM | POLLOUT | POLLERR)
#define SEL_EX	(POLLPRI)

#define WORD_BITS	(8 * (int)sizeof(unsigned long))

/* The kernel's sets may be longer than FD_SETSIZE: whole words, by hand. */
static bool bit(const fd_set *s, int fd)
{
	return s && ((const unsigned long *)s)[fd / WORD_BITS] >> (fd % WORD_BITS) & 1;
}

static void set_bit(fd_set *s, int fd)
{
	((unsigned long *)s)[fd / WORD_BITS] |= 1ul << (fd % WORD_BITS);
}

static bool select_concerns_us(int n, const fd_set *rd, const fd_set *wr, const fd_set *ex)
{
	for (int fd = 0; fd < n && (unsigned)fd < fn_fdtable.top; fd++)
		if (fn_fd_ours(fd) && (bit(rd, fd) || bit(wr, fd) || bit(ex, fd)))
			return true;
	return false;
}

static unsigned select_to_poll(struct pollfd *fds, int n, const fd_set *rd, const fd_set *wr, const fd_set *ex)
{
	unsigned count = 0;

	for (int fd = 0; fd < n; fd++) {
		int events = (bit(rd, fd) ? POLLIN | POLLRDNORM | POLLRDBAND : 0) |
			     (bit(wr, fd) ? POLLOUT | POLLWRNORM | POLLWRBAND : 0) | (bit(ex, fd) ? POLLPRI : 0);

		if (events)
			fds[count++] = (struct pollfd){ .fd = fd, .events = (short)events };
	}
	return count;
}

static void clear_set(fd_set *s, int n)
{
	if (s)
		memset(s, 0, (size_t)(n + WORD_BITS - 1) / WORD_BITS * sizeof(long));
}

static int poll_to_select(const struct pollfd *fds, unsigned count, int n, fd_set *rd, fd_set *wr, fd_set *ex)
{
	int hits = 0;

	clear_set(rd, n);
	clear_set(wr, n);
	clear_set(ex, n);
	for (unsigned i = 0; i < count; i++) {
		int ev = fds[i].events, rev = fds[i].revents;

		if (ev & POLLIN && rev & SEL_IN)
			set_bit(rd, fds[i].fd), hits++;
		if (ev & POLLOUT && rev & SEL_OUT)
			set_bit(wr, fds[i].fd), hits++;
		if (ev & POLLPRI && rev & SEL_EX)
			set_bit(ex, fds[i].fd), hits++;
	}
	return hits;
}

static bool any_invalid(const struct pollfd *fds, unsigned count)
{
	for (unsigned i = 0; i < count; i++)
		if (fds[i].revents & POLLNVAL)
			return true;
	return false;
}

static bool usable_set(fd_set *set, int n)
{
	return !set || usable(set, ((size_t)n + NFDBITS - 1) / NFDBITS * sizeof(fd_mask));
}

int fn_shim_select(int n, fd_set *rd, fd_set *wr, fd_set *ex, const struct timespec *ts, const sigset_t *mask)
{
	struct pollfd few[INLINE_FDS], *fds = few;
	size_t size = 0;
	unsigned count;
	int ret;

	if (n <= 0 || !fn_fdtable.size || (unsigned)n > fn_fdtable.size || !usable_set(rd, n) || !usable_set(wr, n) ||
	    !usable_set(ex, n) || !select_concerns_us(n, rd, wr, ex))
		return FN_TO_KERNEL;
	if (n > INLINE_FDS) {
		size = (size_t)n * sizeof(*fds);
		fds = (struct pollfd *)fn_sys(SYS_mmap, NULL, size, PROT_READ | PROT_WRITE,
					      MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
		if ((unsigned long)fds > -4096ul)
			return -ENOMEM;
	}
	count = select_to_poll(fds, n, rd, wr, ex);
	ret = fn_shim_poll(fds, count, ts, mask);
	if (ret >= 0)
		ret = any_invalid(fds, count) ? -EBADF : poll_to_select(fds, count, n, rd, wr, ex);
	if (size)
		fn_sys(SYS_munmap, fds, size);
	return ret;
}
