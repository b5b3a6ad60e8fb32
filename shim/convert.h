/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * Conversion: where code that does not go through the PLT gets a connection (another program after exec, stdio, descriptors
 * 0 to 2), the connection becomes a kernel socketpair for good. Every number that stands for it becomes the same end, in
 * other images that share the stack at their next entry; the relay (relay.h) couples the other end to the stack. Owns what
 * becomes of a converted number: its records, its name, the calls that are still under way on it.
 */
#ifndef FN_CONVERT_H
#define FN_CONVERT_H

#include "shim/file.h"
#include "shim/reason.h"

/*
 * f becomes the kernel's for good: a connection a socketpair with the pending bytes in it, an undecided socket a plain
 * kernel socket; a listener or a datagram socket is one already. Nothing happens to what is the kernel's. After it every
 * number of f is a kernel descriptor without an entry; calls under way on f go on there, epoll registrations are the
 * kernel's, waiters are woken. 0, or -errno when there is no socketpair or no relay (then nothing has changed).
 * Called with a reference to f and without locks.
 */
int fn_convert(struct fn_file *f);

/* The same where that is the reason for what was no connection yet, or is none any more. */
int fn_convert_for(struct fn_file *f, enum fn_reason why);

/* The same for what fd stands for; 0 when it is the kernel's already. */
int fn_convert_fd(int fd);
/* The same for one that goes to another process in a message. */
int fn_convert_sent(int fd);

/*
 * What another program is about to inherit: connections whose number is not close-on-exec and was made inheritable on
 * purpose since accept() or connect() (fn_fd_mean()); listeners block again (fn_listen_plain()). 0 or the first -errno.
 * Before exec, posix_spawn, system, popen.
 */
int fn_convert_inheritable(void);

/* The kernel's socket `end` gets what the program has set on f, which has an accelerated one. */
void fn_convert_state(const struct fn_file *f, int end);

/* f's numbers, of which fd is one, are connected in the kernel: they are the kernel's from now on, and f's stack socket,
 * which no other image has, is nobody's. With the lock held, and a reference. */
void fn_convert_back(struct fn_file *f, int fd);

/* All connections of this image, for a child that cannot share them: how many, or -errno. Without locks. */
int fn_convert_all(void);

/* With the engine locked: another image has converted something. Called by fn_engine_lock() (engine.h). False: something of
 * ours is still to come; again in a moment, with the lock released meanwhile. */
bool fn_convert_catch_up(void);

/* Letters of this image's bell. With the engine locked. */
void fn_convert_letters(void);

/* Was f converted (or decided for the kernel) while a call on it was under way? */
fn_inline bool fn_converted(const struct fn_file *f)
{
	return fn_unlikely(f->kind == FN_FILE_KERNEL);
}

/*
 * A blocking call on a converted connection that has moved `done` bytes already: the rest, on the kernel's number. Returns
 * what the call as a whole has moved, or -errno when it is nothing.
 */
#define FN_CONVERT_IOVS 64	/* elements of a vector that one round takes */
ssize_t fn_convert_rest_send(int fd, const struct iovec *iov, int iovcnt, size_t done, unsigned flags);
ssize_t fn_convert_rest_recv(int fd, const struct iovec *iov, int iovcnt, size_t done, unsigned flags);

/* ---- what a converted number tells, in this image or the next one that runs Fastnet ---- */

/* The two ends of the connection behind a converted number. */
struct fn_convert_name {
	int domain;		/* AF_INET, AF_INET6 (mapped addresses) */
	struct fn_ep local, remote;
	uint32_t number;	/* tells connections with the same ends apart */
	uint64_t key;		/* where the relay is asked: convert_opt.h */
};

/* A converted connection has come into this image, or come about in it: a kernel's socket may be one. */
extern bool fn_convert_any;

/* getsockopt(2), setsockopt(2) on the kernel's fd where it is one; -errno, or FN_TO_KERNEL. Without the lock. */
int fn_convert_getsockopt(int fd, int level, int name, void *value, socklen_t *len);
int fn_convert_setsockopt(int fd, int level, int name, const void *value, socklen_t len);

/* Is fd, a kernel descriptor, the program's end of a converted connection? */
bool fn_convert_lookup(int fd, struct fn_convert_name *name);

#endif
