/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * Kernel sockets that stood behind accelerated connections and have never been used: the next socket() gets one of them
 * under its number instead of a new one, which is what a connection costs most otherwise. A few, of streams only. Kept
 * is none that anybody but this image could have: what fork, exec or spawn gives away, or another user made, is closed.
 */
#ifndef FN_SPARE_H
#define FN_SPARE_H

#include "shim/file.h"

/* As socket(2), from the spares: the lowest free number. -1: there is none, or no number; make one. */
int fn_spare_take(int domain, int type, int protocol);

/* fd is the last number of f, and is being closed: if its kernel socket can serve again it is kept, and fd is closed here.
 * False: it is not. With the fd table's lock. */
bool fn_spare_keep(const struct fn_file *f, int fd);

/* Other processes, or this one as somebody else, may have what there is now: no spare of before is taken, none that is in
 * use will be kept. The second one with the fd table's lock. */
void fn_spare_forget(void);
void fn_spare_forget_locked(void);

/* What a file made now has in .spare_epoch. */
uint32_t fn_spare_epoch(void);

#endif
