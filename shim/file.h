/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * An open file description of ours: what several numbers (dup) and several calls in progress share, counted as the
 * kernel counts its files. Its kind decides what the calls do; a kind is a table of operations. File objects are
 * type-stable: memory that was one stays one, so a stale pointer can be examined safely.
 */
#ifndef FN_FILE_H
#define FN_FILE_H

#include <limits.h>
#include <stdatomic.h>
#include <sys/socket.h>
#include <sys/types.h>
#include <sys/uio.h>

#include "shim/lock.h"
#include "shim/sockopt.h"
#include "stack/sock.h"

struct fn_file;
struct fn_cork;
struct fn_set;
struct fn_plain;
struct fn_thread;
struct item;

/* Returned by an operation: the caller performs the call on the kernel's descriptor of the same number. */
#define FN_TO_KERNEL	INT_MIN

enum fn_file_kind {
	FN_FILE_FREE,		/* in the free list */
	FN_FILE_SOCKET,		/* a kernel socket that may still be accelerated (undecided) */
	FN_FILE_KERNEL,		/* decided for the kernel; entries that still point here are cleared when met */
	FN_FILE_TCP,		/* connecting or connected on a stack */
	FN_FILE_LISTEN,		/* listens in the kernel, and on the stack where there is one */
	FN_FILE_UDP,		/* datagrams on a stack, and on the kernel's socket when bound to a wildcard */
	FN_FILE_EPOLL,
};

/*
 * Operations of a kind. fd is the number that the program used. All return >= 0, -errno, or FN_TO_KERNEL; a NULL
 * operation means FN_TO_KERNEL. None sets errno. They block as the file's O_NONBLOCK and MSG_DONTWAIT say.
 */
struct fn_file_ops {
	ssize_t (*recv)(struct fn_file *f, int fd, const struct iovec *iov, int iovcnt, unsigned flags);
	ssize_t (*send)(struct fn_file *f, int fd, const struct iovec *iov, int iovcnt, unsigned flags);
	ssize_t (*recvmsg)(struct fn_file *f, int fd, struct msghdr *msg, unsigned flags);
	ssize_t (*sendmsg)(struct fn_file *f, int fd, const struct msghdr *msg, unsigned flags);
	/* in_fd is any descriptor; off may be NULL; from a kernel file only, the wrapper has checked that */
	ssize_t (*sendfile)(struct fn_file *f, int fd, int in_fd, off_t *off, size_t count);
	ssize_t (*splice_in)(struct fn_file *f, int fd, int pipe, size_t len, unsigned flags);	/* pipe → socket */
	ssize_t (*splice_out)(struct fn_file *f, int fd, int pipe, size_t len, unsigned flags);	/* socket → pipe */
	int (*bind)(struct fn_file *f, int fd, const struct sockaddr *addr, socklen_t len);
	int (*connect)(struct fn_file *f, int fd, const struct sockaddr *addr, socklen_t len);
	int (*listen)(struct fn_file *f, int fd, int backlog);
	int (*accept)(struct fn_file *f, int fd, struct sockaddr *addr, socklen_t *len, int flags);
	int (*shutdown)(struct fn_file *f, int fd, int how);
	int (*getsockname)(struct fn_file *f, int fd, struct sockaddr *addr, socklen_t *len);
	int (*getpeername)(struct fn_file *f, int fd, struct sockaddr *addr, socklen_t *len);
	int (*getsockopt)(struct fn_file *f, int fd, int level, int name, void *value, socklen_t *len);
	int (*setsockopt)(struct fn_file *f, int fd, int level, int name, const void *value, socklen_t len);
	int (*ioctl)(struct fn_file *f, int fd, unsigned long req, void *arg);
	/* F_GETFL F_SETFL F_SETOWN F_GETOWN F_SETSIG F_GETSIG …; F_DUPFD* F_GETFD F_SETFD never come here */
	int (*fcntl)(struct fn_file *f, int fd, int cmd, long arg);
	int (*epoll_ctl)(struct fn_file *f, int epfd, int op, int fd, struct epoll_event *ev);
	/* ts NULL: for ever; it is the time left. mask NULL: the thread's */
	int (*epoll_wait)(struct fn_file *f, int epfd, struct epoll_event *ev, int max, const struct timespec *ts,
			  const sigset_t *mask);
	/* sk_err: take what is there, -errno or 0; leave one for the next call, errno > 0. NULL: none is kept. */
	int (*take_error)(struct fn_file *f);
	void (*keep_error)(struct fn_file *f, int err);
	/* Level-triggered EPOLL* bits now, the kernel's side included. Called with the engine locked. */
	unsigned (*poll)(struct fn_file *f, int fd);
	/* The last reference is gone; the kernel's descriptors are closed already or will be by the caller. */
	void (*release)(struct fn_file *f);
};

/*
 * Somebody who wants to hear of events on a file: an epoll item (linked as long as it is registered), or a thread in
 * poll, select or a blocking call (linked while it waits, lives on its stack). wake() runs with the engine locked and
 * says whether somebody took notice; of the exclusive ones (threads in one epoll_wait) the first that does is the last.
 */
#define FN_EVENT_TOLD	(1u << 26)	/* beside an event: its signal (O_ASYNC) is another's to send */
struct fn_watch {
	struct fn_watch *next, **pprev;	/* pprev NULL: not linked */
	struct fn_file *file;
	bool (*wake)(struct fn_watch *w, unsigned events);
	bool exclusive;
};

struct fn_file {
	_Atomic(uint32_t) refs;		/* table entries plus calls in progress */
	uint8_t kind;			/* enum fn_file_kind; changes under the engine's lock */
	uint8_t reason;			/* enum fn_reason of the decision */
	bool accepted;			/* its number is a dup of a socket that others share: never the kernel's */
	bool dual;			/* the kernel's half under the number takes part too (listener, UDP, nested set) */
	_Atomic(bool) kernel_ready;	/* dual: the kernel's side had an event; cleared before it is asked */
	const struct fn_file_ops *ops;
	_Atomic(int) flags;		/* O_NONBLOCK, O_ASYNC of an accelerated file (F_SETFL) */
	int domain, type, protocol;	/* of socket(): the type without SOCK_NONBLOCK, SOCK_CLOEXEC */
	struct fn_sock *sk;		/* NULL: no stack side */
	struct fn_set *set;		/* of an epoll file */
	struct fn_plain *plain;		/* part of it (plain.h); so are these three, read without the lock */
	_Atomic(const struct fn_thread *) sleeper; /* who may sleep unguarded; NULL: nobody has waited yet */
	_Atomic(bool) plain_set;	/* one in which the kernel has all there is */
	_Atomic(bool) crossed;		/* another thread than the sleeper has made it live before */
	struct fn_watch *watches;
	/* 0: none; ns. SO_RCVTIMEO, SO_SNDTIMEO */
	uint64_t rcvtimeo, sndtimeo;
	int backlog;			/* of listen(), cut to somaxconn */
	bool waited;			/* a listener on which this image has waited: it wants a stack side */
	bool accept_turn;		/* the kernel's side goes first */
	bool ended;			/* a listener that shutdown() or connect() has ended: the kernel's answers hold */
	uint8_t shut;			/* FN_SHUT_* of an undecided socket: connect() does not undo them */
	bool untouched;			/* a stream whose kernel socket is as socket() made it, but for its O_NONBLOCK: */
	bool kernel_nonblock;
	uint32_t spare_epoch;		/* when that was (spare.h) */
	bool tried;			/* of connections: connect() came after bind() */
	bool any_port;			/* bind() left the port open */
	bool named;			/* of datagrams: processes of this host may come by the fabric (dgram.h) */
	bool shared;			/* but for now they do not, for other images read from it too */
	bool kernel_only;		/* of datagrams: other programs have the kernel's socket too, or it does what the stack's does not */
	bool made_nonblock;		/* a listener whose kernel's socket has O_NONBLOCK from us, not from the program */
	int owner, owner_sig;		/* F_SETOWN (a group is negative), F_SETSIG */
	int async_fd;			/* the number with which O_ASYNC was set */
	struct fn_watch async;		/* sends the signals of O_ASYNC and of an owner (async.c) */
	bool owner_tid;			/* .owner is a thread (F_OWNER_TID) */
	bool kernel_turn;		/* of datagrams: the kernel's side is asked first next time */
	bool kernel_sends;		/* and over the fabric: it sends the next one, for it may have an error to tell */
	uint16_t kernel_older;		/* and so many times, unless it is empty: what it has came before the stack's */
	uint8_t side;			/* of datagrams: enum fn_side */
	struct fn_cork *cork;		/* of datagrams: one in the making; NULL: never was */
	struct fn_sockopts opt;		/* the options that the file keeps itself */
	/* of datagrams, undecided: the destination that was the kernel's last, and until when (ns) that need not be asked again */
	uint8_t kernel_dst[24];
	uint64_t kernel_until;
	uint64_t rx_stamp;		/* of datagrams: arrival of the last one read, ns; 0: none yet */
	struct fn_file *next_dual, **pprev_dual; /* in the engine's list of files with a kernel's side */
	struct item *epoll_items;	/* its registrations in sets (file_epoll.c) */
};

/* A file with one reference, or NULL when memory is out. */
struct fn_file *fn_file_new(enum fn_file_kind kind, const struct fn_file_ops *ops);

/* Give back a reference; the last one calls ops->release and frees. */
void fn_file_put_slow(struct fn_file *f);
fn_inline void fn_file_put(struct fn_file *f)
{
	/* pairs with itself: what was done under the reference is visible to the one who releases */
	if (fn_unlikely(atomic_fetch_sub_explicit(&f->refs, 1, memory_order_acq_rel) == 1))
		fn_file_put_slow(f);
}

/* One more reference where the caller has one already. */
fn_inline void fn_file_hold(struct fn_file *f)
{
	atomic_fetch_add_explicit(&f->refs, 1, memory_order_relaxed);
}

fn_inline bool fn_file_nonblock(const struct fn_file *f)
{
	return atomic_load_explicit(&f->flags, memory_order_relaxed) & O_NONBLOCK;
}

/* Link and unlink a watch; with the engine locked. */
void fn_watch_add(struct fn_file *f, struct fn_watch *w);
void fn_watch_del(struct fn_watch *w);
/* Tell everyone who watches f. With the engine locked. */
void fn_file_wake(struct fn_file *f, unsigned events);
/* The same, quicker where nobody or one watch waits, as on most files (bench/stack). */
fn_inline void fn_file_wake_one(struct fn_file *f, unsigned events)
{
	struct fn_watch *w = f->watches;

	if (!w)
		return;
	if (fn_likely(!w->next))
		w->wake(w, events);
	else
		fn_file_wake(f, events);
}

extern const struct fn_file_ops fn_socket_ops, fn_kernel_ops, fn_tcp_ops, fn_listen_ops, fn_udp_ops, fn_epoll_ops;

#endif
