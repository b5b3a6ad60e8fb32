/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * The relay: one process a shared stack that couples converted connections (convert.h) to the kernel's ends of their
 * socketpairs. A member image like a forked one, made by clone with exit signal 0, so that no wait() sees it; it never
 * execs, has no descriptors and no large memory of the program, and ends with its last connection.
 */
#ifndef FN_RELAY_H
#define FN_RELAY_H

#include "stack/sock.h"

/* sk->user of a connection that the relay has been sent and has not taken yet: not NULL, and nobody follows it. */
#define FN_RELAY_USER	((void *)&fn_engine)

/* The image number of this stack's relay, which is made when there is none; or -errno. With the lock held. */
int fn_relay_need(void);

/* The relay did not take a letter: it has died. The next need makes another one. With the lock held. */
void fn_relay_lost(void);

/* Received bytes of sk into the socket fd, as many as it takes now: bytes moved, 0: none now, -EPIPE: nobody reads there
 * any more, or as fn_tcp_recv(): *eof is set at the end of file. With the lock held; never blocks. */
ssize_t fn_relay_move_in(struct fn_sock *sk, int fd, bool *eof);

#endif
