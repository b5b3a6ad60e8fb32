/* SPDX-License-Identifier: BSD-3-Clause */
/* The user-space half of an epoll set: members that the kernel does not know, or does not know any more. */
#ifndef FN_EPOLL_H
#define FN_EPOLL_H

#include <sys/epoll.h>

#include "shim/file.h"

/* f, undecided so far and perhaps registered in kernel sets, is a file of the stack from now on: its registrations move
 * to the user-space halves (a fired EPOLLONESHOT stays disarmed). With the lock held. */
void fn_epoll_accelerate(struct fn_file *f);

/* f is the kernel's from now on, under the same numbers: registrations that were ours move to the kernel's sets, notes
 * about those that the kernel has are dropped. With the lock held. */
void fn_epoll_to_kernel(struct fn_file *f);

/* The last reference of f is gone: it leaves every set. With the lock held. */
void fn_epoll_release(struct fn_file *f);

/* f, a set with a bell in its kernel's half (plain.h): it goes if nobody needs it, and the set is plain again if nothing of
 * ours is in it. With the lock held. */
void fn_epoll_settle(struct fn_file *f, int epfd);

/* Has f, a set, a member of ours? Without the lock it may have one the next moment. */
bool fn_epoll_is_live(const struct fn_file *f);

/* Is w a registration (and not a thread that waits)? */
bool fn_epoll_is_item(const struct fn_watch *w);

#endif
