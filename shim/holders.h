/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * Who of several images that share a stack has a connection, and lives. One that is killed while the others sleep in calls
 * of the kernel's is seen by the far end alone: it can read in our memory which images hold a connection (struct fn_read),
 * and is sent a pidfd of each of those that are not all who have the peer; of all of them the end of the socket tells.
 *
 * And that far end: it polls the pidfds of its peers' images. When one ends, connections that nobody living holds get what
 * was left for them, and end as the kernel would end them. What an image is sent of a peer's it hands on to its own family.
 *
 * A holder that was not announced counts as alive, and so does one more than there are: an end may be late, never wrong. A
 * peer that lies ends its own connections. All with the engine's lock held.
 */
#ifndef FN_HOLDERS_H
#define FN_HOLDERS_H

#include "shim/bell.h"

struct peer;

/* The images that hold sk, a socket of any kind, have just changed: its far end is to know. */
void fn_fabric_held(struct fn_sock *sk);
/* The same of each connection with peer `number` (0: with any), which one more image of ours has now. */
void fn_fabric_held_with(int number);
/* The same of all connections, if some image of ours could not be announced when it was tried last. */
void fn_fabric_held_again(void);
/* In a child that shares no stack: it has told nobody anything. */
void fn_holders_forget_ours(void);

/* p has sent word of an image of its own: *fd is taken. False: that cannot be such a message. */
bool fn_holder_come(struct peer *p, uint64_t cookie, int *fd);
/* Such word has come to another image of ours, which hands it on. Takes fd. */
void fn_holder_letter(const struct fn_letter *l, int fd);
/* All that has come from p is forgotten. */
void fn_holders_forget(const struct peer *p);

/* An event of pidfd i (fn_fabric_watch_holder()). */
void fn_holder_event(unsigned i);
/* Each pidfd is looked at, without waiting for its event. */
void fn_holders_look(void);
/* What could not be done is tried again: announcing ours, ending connections of those that have ended. */
void fn_holders_tick(void);
/* ns: when there is such; FN_NEVER: there is not. */
uint64_t fn_holders_due(void);
/* In an image whose epoll set is new. */
void fn_holders_watch_all(void);

#endif
