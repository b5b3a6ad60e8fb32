/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * The board of a listener that several images have: what one of them takes from its rendezvous, a client's page and inbox, is
 * put up there for all, also for those that are forked later. It is a socket pair, made before the first fork, whose queue is
 * only looked at; the kernel keeps the descriptors in it as long as any image has the board. Another program image gets it
 * by its three descriptors (handover.h). Knows no peer.
 */
#ifndef FN_BOARD_H
#define FN_BOARD_H

#include <sys/types.h>

#include "shim/robust.h"
#include "stack/compiler.h"

struct fn_board_shared {
	uint64_t magic;			/* and layout: FN_BOARD_MAGIC */
	uint64_t cookie[2];		/* the sockets' SO_COOKIE: which ones belong to it */
	uint64_t listener;		/* and the kernel's listener's */
	struct fn_robust lock;		/* of the queue; nothing that can block is done under it */
	_Atomic(uint64_t) serial;	/* of the last notice */
	_Atomic(uint32_t) notices;	/* about how many there are */
	_Atomic(uint32_t) tidied;	/* times that notices were taken down */
	_Atomic(uint32_t) loose;	/* looks that were begun without the lock */
};

#define FN_BOARD_SEEN	1024	/* notices back that an image tells apart */

/* All zero: there is none. */
struct fn_board {
	struct fn_board_shared *shared;
	int in, out;			/* internal; the second one is watched */
	int memory;			/* internal: where .shared is */
	/* of this image: */
	uint64_t last;			/* the highest serial of a notice that was looked at */
	uint64_t seen[FN_BOARD_SEEN / 64];	/* a bit a serial, up to that one */
	uint32_t next;			/* how many there were when .tidied was: */
	uint32_t tidied;
	uint32_t stuck;			/* who had the lock and did not go on; 0: nobody */
	uint64_t since;			/* ns: when that was seen */
	uint32_t loose;			/* .shared's, at the end of the last look */
	uint32_t doubt;			/* looks to come: the last ones may have missed something */
};

/* A client has been here; or is: what it leaves will be found in the rendezvous' socket, by one of those who have that. */
struct fn_notice {
	int page, inbox;		/* the caller's, not moved out of the program's way yet */
	bool half;			/* both are that socket */
	uid_t uid;
	uint64_t serial;		/* of this board's */
};

/* Before a fork; of the listener of that cookie. 0, -errno. */
int fn_board_make(struct fn_board *b, uint64_t listener);
/* Of which listener these descriptors are the board; 0: they are none. */
uint64_t fn_board_of(int in, int out, int memory);
/* b is that one, of another image, from now on; the descriptors are internal, and b's when it succeeds. 0, -errno. */
int fn_board_adopt(struct fn_board *b, int in, int out, int memory);
void fn_board_close(struct fn_board *b);
/*
 * Put up a notice, which gets its serial; the descriptors stay the caller's. 0, -errno: it is not there. live: clients of which we know; known: this
 * image need not look at it. Waits for nobody long: whoever is stopped in the midst of it is passed over.
 */
int fn_board_post(struct fn_board *b, struct fn_notice *n, unsigned live, bool known);
/* The next one that this image has not seen: 1; 0: none, or none to be seen yet (fn_board_doubts()). Likewise. */
int fn_board_next(struct fn_board *b, struct fn_notice *n);
/* Somebody had the lock, or looked without it, or there were no numbers: there may be more, and nothing will tell. To be
 * looked at again, soon. */
fn_inline bool fn_board_doubts(const struct fn_board *b) { return b->doubt; }
/* The notice of that serial is to be looked at again. */
void fn_board_again(struct fn_board *b, uint64_t serial);
/* The same, of the last one, which could not be taken: soon. */
void fn_board_later(struct fn_board *b, uint64_t serial);
/* In a child: it has seen none. */
void fn_board_forked(struct fn_board *b);

#endif
