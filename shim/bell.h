/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * Messages between the images that share a stack: each has a bell, an unconnected datagram socket with an abstract name
 * that the others know from the shared record. A ring ends a sleep; a letter carries a socket of the stack and a
 * descriptor. What is no member's never gets into a bell. Cold: only images that share a stack have bells.
 */
#ifndef FN_BELL_H
#define FN_BELL_H

#include <stdbool.h>

#include "stack/sock.h"

enum fn_letter_kind {
	FN_LETTER_RING,		/* nothing but a wake-up */
	FN_LETTER_ADOPT,	/* to the relay: it has .sk from now on, and couples it to the descriptor */
	FN_LETTER_KEEP,		/* to the relay, before it adopts .sk: the end for the images .cookie, of which some may not get it */
	FN_LETTER_GIVE,		/* .sk is the relay's: whatever stood for it is the descriptor from now on */
	FN_LETTER_HOLDER,	/* of peer .number, .life: the pidfd of an image, as .cookie says (holders.h) */
};

struct fn_letter {
	uint64_t secret;	/* fn_bell_send()'s: who has it is a member */
	unsigned kind;		/* enum fn_letter_kind */
	struct fn_sock *sk;
	uint32_t number, life;
	uint64_t cookie;
};

/* A bell for `image` of fn_engine.shared; an internal descriptor or -errno. With the lock held. */
int fn_bell_make(unsigned image);

/* What the names are made of: anybody can read them (/proc/net/unix). With the lock held. */
uint64_t fn_bell_key(void);

/* This image has a bell afterwards: 0 or -errno. With the lock held. */
int fn_bell_need(void);

/* Wake those of `images` that sleep. With the lock held; never blocks. */
void fn_bell_ring(uint64_t images);
/* Wake one of the others, if any sleeps. */
void fn_bell_ring_one(void);

/* A letter with a descriptor; never blocks: -EAGAIN: its bell is full, -ECONNREFUSED: it has none. With the lock held. */
int fn_bell_send(unsigned image, const struct fn_letter *l, int fd);

/* The next letter of this image's bell, and its descriptor or -1. False: no more. */
bool fn_bell_take(struct fn_letter *l, int *fd);

/* Around fork, with the lock held: the child's bell is there before the child is. */
void fn_bell_fork_prepare(unsigned child);
void fn_bell_fork_parent(void);
void fn_bell_fork_child(bool shares);

#endif
