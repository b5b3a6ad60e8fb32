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

/* The images that hold sk, a socket of any kind, have changed: its far end is to know. After that. */
void fn_fabric_held(struct fn_sock *sk);
/* The same of each connection with peer `number`, which one more image of ours has, 0: whatever peer; and of all, if some could
 * not be told. */
void fn_fabric_held_with(int number);
void fn_fabric_held_again(void);

/* p has sent word of an image of its own: *fd is taken. False: it cannot be. And so has another of ours; takes fd. */
bool fn_holder_come(struct peer *p, uint64_t cookie, int *fd);
void fn_holder_letter(const struct fn_letter *l, int fd);
/* What is known of p's. */
void fn_holders_forget(const struct peer *p);

/* An event of pidfd i (fn_fabric_watch_holder()); and whoever has ended counts as such from now on, seen or not. */
void fn_holder_event(unsigned i);
void fn_holders_look(void);
void fn_holders_tick(void);
void fn_holders_watch_all(void);

#endif
