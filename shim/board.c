/* SPDX-License-Identifier: BSD-3-Clause */
/* Notices for all images of a listener; see board.h. */
#include "shim/board.h"

#include <errno.h>
#include <poll.h>
#include <string.h>
#include <sys/socket.h>

#include "shim/engine.h"
#include "shim/fdtable.h"
#include "shim/peer.h"

/* Linux 3.4, not in every libc header; 6.1 knows it for all kinds of UNIX sockets */
#ifndef SO_PEEK_OFF
#define SO_PEEK_OFF 42
#endif

#define TIDY_AT	16	/* notices of clients that have ended may hang there */
/* Some system calls are made under the lock, which take microseconds; whoever is on another CPU's queue has his turn. */
#define NAP_NS	100000
#define NAPS	50
#define STOPPED_NS	1000000000	/* who has not gone on for that long is not waiting for a processor */
/* A second of looks (fabric.c): for that long somebody who looks without the lock may be kept from ending it. */
#define DOUBTS	100

#define FN_BOARD_MAGIC	0x6472616f62666e34ull	/* and layout */
#define BOARD_SIZE	4096
_Static_assert(sizeof(struct fn_board_shared) <= BOARD_SIZE, "one page");

struct text {
	uint64_t serial;
	uint32_t uid;
	uint32_t half;
};

static uint64_t cookie_of(int sock)
{
	uint64_t cookie = 0;
	socklen_t len = sizeof(cookie);

	return fn_sys_getsockopt(sock, SOL_SOCKET, SO_COOKIE, &cookie, &len) < 0 ? 0 : cookie;
}

static void begin(struct fn_board *b, int in, int out, int memory, struct fn_board_shared *shared)
{
	*b = (struct fn_board){ .shared = shared, .in = in, .out = out, .memory = memory };
	fn_fd_internal_track(&b->in);
	fn_fd_internal_track(&b->out);
	fn_fd_internal_track(&b->memory);
}

int fn_board_make(struct fn_board *b, uint64_t listener)
{
	struct fn_board_shared *shared;
	int end[2], memory, ret;

	if (b->shared)
		return 0;
	ret = (int)fn_sys(SYS_socketpair, AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC | SOCK_NONBLOCK, 0, end);
	if (ret < 0)
		return ret;
	end[0] = fn_fd_internal(end[0]);
	end[1] = fn_fd_internal(end[1]);
	memory = fn_peer_memory("fastnet-board", BOARD_SIZE, true);
	shared = memory < 0 || fn_peer_back(memory, BOARD_SIZE) < 0 ? NULL : fn_peer_map_shared(memory, NULL, BOARD_SIZE);
	if (end[0] < 0 || end[1] < 0 || !shared) {
		fn_fd_internal_close(end[0]);
		fn_fd_internal_close(end[1]);
		fn_fd_internal_close(memory);
		fn_peer_unmap(shared, BOARD_SIZE);
		return -ENOMEM;
	}
	shared->magic = FN_BOARD_MAGIC;
	shared->cookie[0] = cookie_of(end[0]);
	shared->cookie[1] = cookie_of(end[1]);
	shared->listener = listener;
	begin(b, end[0], end[1], memory, shared);
	return 0;
}

static struct fn_board_shared *map_board(int in, int out, int memory)
{
	struct fn_board_shared *shared = fn_peer_map_shared(memory, NULL, BOARD_SIZE);

	if (shared && shared->magic == FN_BOARD_MAGIC && shared->cookie[0] && shared->cookie[0] == cookie_of(in) &&
	    shared->cookie[1] && shared->cookie[1] == cookie_of(out))
		return shared;
	fn_peer_unmap(shared, BOARD_SIZE);
	return NULL;
}

uint64_t fn_board_of(int in, int out, int memory)
{
	struct fn_board_shared *shared = map_board(in, out, memory);
	uint64_t listener = shared ? shared->listener : 0;

	fn_peer_unmap(shared, BOARD_SIZE);
	return listener;
}

int fn_board_adopt(struct fn_board *b, int in, int out, int memory)
{
	struct fn_board_shared *shared = map_board(in, out, memory);

	if (!shared)
		return -EINVAL;
	if (b->shared && b->shared->cookie[1] == shared->cookie[1]) {	/* it is already */
		fn_peer_unmap(shared, BOARD_SIZE);
		return -EEXIST;
	}
	fn_board_close(b);
	begin(b, in, out, memory, shared);
	return 0;
}

void fn_board_close(struct fn_board *b)
{
	if (!b->shared)
		return;
	fn_fd_internal_close(b->in);
	fn_fd_internal_close(b->out);
	fn_fd_internal_close(b->memory);
	fn_peer_unmap(b->shared, BOARD_SIZE);
	*b = (struct fn_board){ .in = -1, .out = -1, .memory = -1 };
}

void fn_board_again(struct fn_board *b, uint64_t serial)
{
	b->seen[serial / 64 % fn_array_size(b->seen)] &= ~(1ull << serial % 64);
	b->next = 0;
}

void fn_board_later(struct fn_board *b, uint64_t serial)
{
	uint32_t at = b->next;

	fn_board_again(b, serial);
	b->next = at - !!at;	/* where it is, unless somebody tidies meanwhile */
	b->doubt += !b->doubt;
}

void fn_board_forked(struct fn_board *b)
{
	b->last = 0;
	memset(b->seen, 0, sizeof(b->seen));
	b->next = b->tidied = b->stuck = b->loose = b->doubt = 0;
}

/*
 * Whoever died in the middle has left at worst one notice less. Whoever does not go on is not waited for, and not again.
 * False: so. Notices can be put up all the same, for the kernel keeps the queue in one piece.
 */
static bool lock(struct fn_board *b)
{
	struct fn_robust *l = &b->shared->lock;
	struct timespec ts = { .tv_nsec = NAP_NS };
	uint32_t holder;

	for (unsigned i = 0; fn_robust_try(l) == -EBUSY; i++) {
		holder = atomic_load_explicit(&l->word, memory_order_relaxed) & FUTEX_TID_MASK;
		if (holder && (holder == b->stuck || i >= NAPS)) {
			b->since = holder == b->stuck ? b->since : fn_now();
			b->stuck = holder;
			return false;
		}
		fn_sys_ppoll(NULL, 0, &ts, NULL);
	}
	b->stuck = 0;
	return true;
}

static void unlock(struct fn_board *b, bool locked)
{
	if (locked)
		fn_robust_unlock(&b->shared->lock);
}

static int put(struct fn_board *b, const struct text *t, const int fd[2])
{
	char control[CMSG_SPACE(2 * sizeof(int))] __attribute__((aligned(8))) = { 0 };
	struct iovec iov = { (void *)t, sizeof(*t) };
	struct msghdr msg = { .msg_iov = &iov, .msg_iovlen = 1, .msg_control = control, .msg_controllen = sizeof(control) };
	struct cmsghdr *c = (struct cmsghdr *)control;
	long ret;

	c->cmsg_level = SOL_SOCKET;
	c->cmsg_type = SCM_RIGHTS;
	c->cmsg_len = CMSG_LEN(2 * sizeof(int));
	memcpy(CMSG_DATA(c), fd, 2 * sizeof(int));
	ret = fn_sys(SYS_sendmsg, b->in, &msg, MSG_DONTWAIT | MSG_NOSIGNAL);
	return ret < 0 ? (int)ret : 0;
}

/* One notice, looked at or (flags 0) taken down. 0, -errno. */
static int get(struct fn_board *b, struct text *t, int fd[2], int flags)
{
	char control[CMSG_SPACE(2 * sizeof(int))] __attribute__((aligned(8)));
	struct iovec iov = { t, sizeof(*t) };
	struct msghdr msg = { .msg_iov = &iov, .msg_iovlen = 1, .msg_control = control, .msg_controllen = sizeof(control) };
	long ret = fn_sys(SYS_recvmsg, b->out, &msg, flags | MSG_DONTWAIT | MSG_CMSG_CLOEXEC);
	struct cmsghdr *c = CMSG_FIRSTHDR(&msg);

	fd[0] = fd[1] = -1;
	if (ret < 0)
		return (int)ret;
	if (c && c->cmsg_type == SCM_RIGHTS)
		memcpy(fd, CMSG_DATA(c), fn_min(c->cmsg_len - CMSG_LEN(0), 2 * sizeof(int)));
	return 0;
}

static void drop(const int fd[2])
{
	for (unsigned i = 0; i < 2; i++)
		if (fd[i] >= 0)
			fn_sys_close(fd[i]);
}

/* A client may leave something, and hang up. */
static bool has_ended(const struct text *t, int inbox)
{
	struct pollfd pfd = { .fd = inbox };
	struct timespec zero = { 0, 0 };
	char byte;

	if (fn_sys_ppoll(&pfd, 1, &zero, NULL) <= 0 || !(pfd.revents & POLLHUP))
		return false;
	return !t->half || fn_sys(SYS_recvfrom, inbox, &byte, 1, MSG_PEEK | MSG_DONTWAIT, NULL, NULL) <= 0;
}

/* The first notice: taken down only when its descriptors are here, lest it be lost. 0, -EAGAIN: none, -EMFILE: it stays. */
static int take_down(struct fn_board *b, struct text *t, int fd[2])
{
	struct text seen;
	int had[2], ret = get(b, &seen, had, MSG_PEEK);

	if (ret < 0)
		return ret;
	ret = had[1] < 0 ? -EMFILE : get(b, t, fd, 0);
	if (!ret && fd[1] < 0 && t->serial == seen.serial) {	/* another thread has taken the last numbers */
		drop(fd);
		memcpy(fd, had, sizeof(had));
		return 0;
	}
	drop(had);
	return ret;
}

/* Notices of those who have ended are taken down. */
static void tidy(struct fn_board *b)
{
	struct fn_board_shared *sh = b->shared;
	uint32_t left = sh->notices;
	int fd[2], ret = 0;
	struct text t;

	sh->tidied++;
	for (sh->notices = 0; left && !(ret = take_down(b, &t, fd)); left--) {
		if (fd[1] >= 0 && !has_ended(&t, fd[1]) && !put(b, &t, fd))
			sh->notices++;
		drop(fd);
	}
	sh->notices += ret == -EMFILE ? left : 0;
}

/* First sight of it? Those of very long ago have been seen. */
static bool is_new(struct fn_board *b, uint64_t serial)
{
	uint64_t *word = &b->seen[serial / 64 % fn_array_size(b->seen)], bit = 1ull << serial % 64;

	/* the words that it passes are of notices to come */
	if (serial > b->last + FN_BOARD_SEEN)
		memset(b->seen, 0, sizeof(b->seen));
	else
		for (uint64_t i = b->last / 64 + 1; i <= serial / 64; i++)
			b->seen[i % fn_array_size(b->seen)] = 0;
	b->last = fn_max(b->last, serial);
	if (serial + FN_BOARD_SEEN - 64 <= b->last || *word & bit)
		return false;
	*word |= bit;
	return true;
}

int fn_board_post(struct fn_board *b, struct fn_notice *n, unsigned live, bool known)
{
	struct fn_board_shared *sh = b->shared;
	int fd[2] = { n->page, n->inbox }, ret;
	struct text t = { .uid = n->uid, .half = n->half };
	bool locked = lock(b);

	if (locked && sh->notices > TIDY_AT + 2 * live)
		tidy(b);
	t.serial = atomic_fetch_add(&sh->serial, 1) + 1;
	ret = put(b, &t, fd);
	n->serial = t.serial;
	sh->notices += !ret;
	if (known)
		is_new(b, t.serial);
	unlock(b, locked);
	return ret;
}

/* 1; 0: all has been seen; -EMFILE: there are no numbers for the next one. */
static int look(struct fn_board *b, struct fn_notice *n)
{
	struct fn_board_shared *sh = b->shared;
	struct text t;
	int fd[2], at, off = -1, ret;

	if (b->tidied != sh->tidied) {
		b->tidied = sh->tidied;
		b->next = 0;
	}
	for (;; drop(fd)) {
		at = (int)(b->next * sizeof(t));
		fn_sys_setsockopt(b->out, SOL_SOCKET, SO_PEEK_OFF, &at, sizeof(at));
		ret = get(b, &t, fd, MSG_PEEK);
		fn_sys_setsockopt(b->out, SOL_SOCKET, SO_PEEK_OFF, &off, sizeof(off));
		if (ret < 0)
			return 0;
		if (fd[0] < 0 || fd[1] < 0) {
			drop(fd);
			return -EMFILE;
		}
		b->next++;
		if (!is_new(b, t.serial))
			continue;
		*n = (struct fn_notice){ fd[0], fd[1], t.half, t.uid, t.serial };
		return 1;
	}
}

/* All has been seen, if nobody without the lock was about: the place in the queue that is looked at is the socket's. */
static void settle(struct fn_board *b, bool locked)
{
	uint32_t loose = b->shared->loose;

	if (!locked || loose != b->loose)
		b->doubt = DOUBTS;
	else if (b->doubt)
		b->doubt--;
	b->loose = loose;
	if (b->doubt)
		b->next = 0;	/* all of it, the next time */
}

int fn_board_next(struct fn_board *b, struct fn_notice *n)
{
	bool locked;
	int ret;

	if (!b->shared)
		return 0;
	locked = lock(b);
	if (!locked && fn_now() - b->since < STOPPED_NS) {
		b->doubt += !b->doubt;
		return 0;
	}
	b->shared->loose += !locked;
	ret = look(b, n);
	if (!ret)
		settle(b, locked);
	if (ret < 0)
		b->doubt += !b->doubt;
	unlock(b, locked);
	return ret > 0;
}
