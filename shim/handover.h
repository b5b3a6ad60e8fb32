/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * What an image must have to accept what a listener's clients leave by the fabric: the socket that has the listener's name
 * (rendezvous.h), and the board (board.h). Another image that gets the kernel's listener gets it too, in one of two ways: over
 * exec, as descriptors that a variable names; or in the answer to a question, from whoever has it. Owns the variable and
 * the message. Does not decide who may ask.
 */
#ifndef FN_HANDOVER_H
#define FN_HANDOVER_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

enum { FN_HANDOVER_NAME, FN_HANDOVER_IN, FN_HANDOVER_OUT, FN_HANDOVER_MEMORY, FN_HANDOVER_FDS };

#define FN_HANDOVER_VAR		"FASTNET_HANDOVER="
#define FN_HANDOVER_TEXT	(4 * 11 + 1)	/* of one listener in the variable, at most */

struct fn_handover {
	int fd[FN_HANDOVER_FDS];	/* internal; the name's may be -1: nobody has it at present */
};

void fn_handover_close(struct fn_handover *h);

/* ---- over exec ---- */

/* At the start of the image: what the variable names is ours, and the variable is gone from the environment. */
void fn_handover_begin(void);
/* What belongs to the listener of that cookie, the caller's from now on; false: nothing has come. */
bool fn_handover_take(uint64_t cookie, struct fn_handover *h);
/* What nobody has taken is closed. */
void fn_handover_end(void);
/* Append h to the variable's text, of FN_HANDOVER_TEXT more bytes at least; where it ends now. */
char *fn_handover_print(char *at, const struct fn_handover *h);
/* Are h's descriptors to stay open over exec? -errno. */
int fn_handover_inherit(const struct fn_handover *h, bool on);

/* ---- by a message ---- */

/* 0, -errno. Never blocks. */
int fn_handover_send(int sock, const struct fn_handover *h);
/*
 * Has the answer come? It stays in the socket: images that have been forked since may look too. 0; -EAGAIN: not yet;
 * -errno: none will come.
 */
int fn_handover_look(int sock, struct fn_handover *h);

#endif
