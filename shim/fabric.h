/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * The fabric: connections between processes of this host through shared memory. Owns the peers of the image: how they
 * meet (rendezvous.h, peer.h), their numbers in the stack's nic_shm, their bells, their death. Sees no packet.
 */
#ifndef FN_FABRIC_H
#define FN_FABRIC_H

#include "shim/file.h"
#include "stack/stack.h"

/* Marks of what the fabric watches in the engine's epoll set, beside the addresses of files, which are even. */
#define FN_FABRIC_MARK(what)	((uint64_t)(what) << 1 | 1)
fn_inline bool fn_fabric_is_mark(uint64_t data) { return data & 1; }

/* Attach the fabric to a fresh stack when it is switched on; true: it is there. With the engine's lock held. */
bool fn_fabric_start(struct fn_stack *st);

/* An event of the engine's epoll set. With the lock held. */
void fn_fabric_event(uint64_t mark);
/* Peers that are gone or talk nonsense are cleared away; now and then. With the lock held. */
void fn_fabric_tick(uint64_t now);
/* The engine's epoll set is a new one: what it has to watch. With the lock held. */
void fn_fabric_watch_all(void);

/* Around a sleep: peers ring from now on; false: something waits already. With the lock held. */
bool fn_fabric_arm(void);
void fn_fabric_disarm(void);
/* ns: when fn_fabric_tick() is to be called at the latest; before a sleep. With the lock held. */
uint64_t fn_fabric_due(uint64_t now);
/* Some process is being met: what it has sent cannot be taken before the rest is known. With the lock held. */
bool fn_fabric_half_met(void);
/* Something waits to be taken. With the lock held. */
bool fn_fabric_pending(void);
/* A wait begins: does the process that we heard last run on this CPU? With the lock held. */
bool fn_fabric_beside(void);

/*
 * Who listens at ip4 (network order), port (host order), is it a process under Fastnet, and can it be reached? Its peer
 * number, 0: the kernel serves it; -errno: so too, and the reason. Waits for nobody. Without the lock.
 */
int fn_fabric_reach(uint32_t ip4, uint16_t port);

/* The image is in another user namespace, or, `net`, in another network namespace. In the latter nobody is met any more: which
 * sockets are of which one is not known. Without the lock. */
void fn_fabric_namespace(bool net);
/* Nobody is met any more: a seccomp filter will not allow it. False: somebody has been, and calls for them are made still.
 * Without the lock. */
bool fn_fabric_forgo(void);

/* A listener begins, opens its stack side, ends. The second and third with the lock held. */
void fn_fabric_listen(struct fn_file *f, int fd);
void fn_fabric_attached(const struct fn_file *f);
void fn_fabric_unlisten(const struct fn_file *f);
/* Numbers are scarce (room.h): nobody new comes to any of them. With the lock held. */
void fn_fabric_shut(void);

/*
 * Connections accepted at that address go to other programs, through a relay, which serves them worse than the kernel:
 * whoever connects to its listener of ours from now on is the kernel's. Who has connected is accepted still. With the
 * lock held.
 */
void fn_fabric_cede(const struct fn_ep *local);

/* Does a connection wait for f? Take one into the queue of f's stack side, or away; false: there was none. With the lock held. */
bool fn_fabric_offered(const struct fn_file *f);
bool fn_fabric_claim(const struct fn_file *f);
/* Until when may be slept, if nothing else comes. With the lock held. */
uint64_t fn_fabric_deadline(void);

/*
 * What the process at the other end of sk has sent is with the stack from now on; for calls that end something, whose outcome
 * depends on it: on Linux what was sent has arrived. Connections of any kind. With the lock held.
 */
void fn_fabric_catch_up(const struct fn_sock *sk);
/* There is nothing of that kind to be had for sk: its peer is met, and what it has sent is here. With the lock held. */
bool fn_fabric_has_all(const struct fn_sock *sk);

/* May the peer of sk, which has been accepted, have that address and port? With the lock held. */
bool fn_fabric_source_ok(const struct fn_sock *sk);

/*
 * Over exec: what belongs to the listeners that the next program will have stays open from now on, and what it is said by is
 * written, of fn_fabric_handover_size() bytes at most. False: there is nothing. Undone when the exec has failed. Without the
 * lock; no malloc.
 */
size_t fn_fabric_handover_size(void);
bool fn_fabric_handover(char *text);
void fn_fabric_handover_undo(void);

/* Before a fork. And before any image is made: with whom we have not met altogether, it will. With the lock held. */
void fn_fabric_fork_prepare(void);
void fn_fabric_expect(void);
/* Before the relay is to have a connection, or an exec: until somebody has accepted it, half a second at most. Without the lock. */
void fn_fabric_settle(void);
/* An image (its place) is about to be copied from this one; it (a bit) is gone, or has not come about. With the lock held. */
void fn_fabric_image_born(unsigned image);
void fn_fabric_image_gone(uint64_t image);
/* Of a peer of the fabric's: not we, but an image has it that is not `image`. With the lock held. */
bool fn_fabric_elsewhere(uint16_t number, uint64_t image);
/* In the relay: it has peers, and accepts nothing from them. With the lock held. */
void fn_fabric_relay(void);
/* After fork, in parent and child. With the lock held. */
void fn_fabric_forked(bool child, bool shares);

#endif
