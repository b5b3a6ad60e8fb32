/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * The board of a listener that several images have: what one of them takes from its rendezvous, a client's page and inbox, is
 * put up there for all, also for those that are forked later. It is a socket pair, made before the first fork, whose queue is
 * only looked at; the kernel keeps the descriptors in it as long as any image has the board. Knows no peer.
 */
#ifndef FN_BOARD_H
#define FN_BOARD_H

#include <sys/types.h>

#include "shim/robust.h"

struct fn_board_shared {
	struct fn_robust lock;		/* of the queue; nothing that can block is done under it */
	uint64_t serial;		/* of the last notice */
	uint32_t notices;		/* about how many there are */
	uint32_t tidied;		/* times that notices were taken down */
};

/* All zero: there is none. */
struct fn_board {
	struct fn_board_shared *shared;
	int in, out;			/* internal; the second one is watched */
	/* of this image: */
	uint64_t seen;			/* serial of the last notice that was looked at */
	uint32_t next;			/* how many there were when .tidied was: */
	uint32_t tidied;
};

/* A client has been here. */
struct fn_notice {
	int page, inbox;		/* the caller's, not moved out of the program's way yet */
	uid_t uid;
};

/* Before a fork. 0, -errno. */
int fn_board_make(struct fn_board *b);
void fn_board_close(struct fn_board *b);
/* Put up a notice; the descriptors stay the caller's. 0, -errno: it is not there. live: clients of which we know. */
int fn_board_post(struct fn_board *b, const struct fn_notice *n, unsigned live);
/* The next one that this image has not seen: 1; 0: none. */
int fn_board_next(struct fn_board *b, struct fn_notice *n);
/* In a child: it has seen none. */
void fn_board_forked(struct fn_board *b);

#endif
