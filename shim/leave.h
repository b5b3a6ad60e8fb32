/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * An image leaves the stack while it goes on: it gives up privileges that others who share the stack keep, or a seccomp
 * filter is coming that would end it at the next call of ours.
 */
#ifndef FN_LEAVE_H
#define FN_LEAVE_H

#include "shim/reason.h"

/*
 * Connections become kernel socketpairs (convert.h), datagram sockets the kernel's, connected to whom they were connected;
 * listeners and undecided sockets the kernel's for good if the image is barred (fn_engine.barred), else a listener may get
 * another side later. Each is recorded with that reason. Then the stack is unmapped and the ports' descriptors are closed,
 * unless other threads of the program use the library too. Without locks; returns when what was sent has left, if nobody
 * else drives the stack.
 */
void fn_leave(enum fn_reason why);

#endif
