/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * Room for the program's descriptors. RLIMIT_NOFILE is the program's: what the library has of the numbers below it goes out
 * of the program's way when they run out, and from then on sockets whose service would take more of them are the kernel's.
 * Numbers above the limit are nobody's: where the hard limit allows it, ours go there. Owns the decision; fdtable.c moves.
 */
#ifndef FN_ROOM_H
#define FN_ROOM_H

#include "shim/fdtable.h"

/* A number that the program has just got from us, or -errno: is its limit near? Without locks. */
void fn_room_look(void);
fn_inline void fn_room_watch(int fd)
{
	if (fn_unlikely(fd >= 0 && (unsigned)fd >= fn_fdtable.near))
		fn_room_look();
}

/* A call of the program's has failed with EMFILE. True: numbers have become free, it is to be made again. Without locks. */
bool fn_room_make(void);

/* Are numbers so scarce that nothing is kept which is merely of use? */
bool fn_room_scarce(void);

/* fd, the lowest free number, has just been got for the library: shall it have one? Is answered by the limit at this moment. */
bool fn_room_for(int fd);

/* The same, of whatever number it would be. */
bool fn_room_now(void);

/* The library has got number fd. */
void fn_room_taken(int fd);

#endif
