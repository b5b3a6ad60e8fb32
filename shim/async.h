/* SPDX-License-Identifier: BSD-3-Clause */
/* Signals that events on an accelerated socket send: SIGIO with O_ASYNC, SIGURG to an owner. */
#ifndef FN_ASYNC_H
#define FN_ASYNC_H

#include "shim/file.h"

/* O_ASYNC or the owner of f may have changed; fd is the number that the signal names when O_ASYNC is on. Without locks. */
void fn_async_update(struct fn_file *f, int fd);

/* At acceleration: owner and signal that the program has set on the kernel's socket. With the engine locked. */
void fn_async_take(struct fn_file *f, int fd);

/* The watch is one of ours, which fork does not end. */
bool fn_async_is(const struct fn_watch *w);

#endif
