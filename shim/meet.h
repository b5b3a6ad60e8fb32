/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * Listeners that this image did not make: kernel sockets that listen already when it gets them, over exec (a service
 * manager's LISTEN_FDS, a program that replaces its own binary), in a message, or from another process. Owns the question
 * whether a descriptor is one.
 */
#ifndef FN_MEET_H
#define FN_MEET_H

#include <stdbool.h>

/*
 * fd has just come into this image: a listener of ours from now on if it listens and the policy wants it. Asks once. A
 * converted connection is noticed too (fn_convert_any). sent: it came in a message, so that the sender has it as well.
 */
void fn_meet(int fd, bool sent);

/* At the start of the image: every descriptor that it was given. */
void fn_meet_inherited(void);

#endif
