/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * Who else reads from a datagram socket: images that were forked while it was open. A fork leaves one end of a socket pair
 * with the parent and the other with the child, and the child inherits the ends that its parent has; so there is a pair
 * between any two that have the socket. An end hangs up when all behind it have closed the socket, ended, or executed
 * something else; until then there is a byte in it, which nobody takes, once one of them has read. Knows no socket and no
 * peer; with the engine's lock held.
 */
#ifndef FN_KIN_H
#define FN_KIN_H

#include "stack/compiler.h"

#define FN_KIN_MAX	8	/* forks whose children live; with more it is not looked any more */

/* All zero: no other image has the socket. Does not move: its descriptors are tracked. */
struct fn_kin {
	int end[FN_KIN_MAX];	/* internal; 0: none */
	int born[2];		/* likewise: of the fork that is to come, the parent's and the child's */
	bool reads;		/* this image does */
	bool many;		/* there were more than can be told apart */
};

/* Before a fork; in parent and child after it, whether it has come about or not. A fork that was not expected makes many of
 * them. */
void fn_kin_expect(struct fn_kin *k);
void fn_kin_forked(struct fn_kin *k, bool child);

/* This image reads from now on. */
void fn_kin_reads(struct fn_kin *k);

/* There has been a fork, and who came of it may be there still. */
bool fn_kin_any(const struct fn_kin *k);
/* No other image reads; those that have gone are forgotten. */
bool fn_kin_alone(struct fn_kin *k);

/* The socket is closed here, or, keep, the image reads from it past us: until it ends, then. */
void fn_kin_close(struct fn_kin *k, bool keep);

#endif
