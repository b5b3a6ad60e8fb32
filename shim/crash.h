/* SPDX-License-Identifier: BSD-3-Clause */
/* A crash inside the library: a backtrace in the log, then the signal goes on as if we had not been there. */
#ifndef FN_CRASH_H
#define FN_CRASH_H

#include <stdbool.h>
#include <stdint.h>

/* With the first stack: opens libunwind, and takes the fault signals that the program has left at their default. */
void fn_crash_init(void);

/* Is h, a handler that the kernel has, the one that reports crashes? The program had none. */
bool fn_crash_handles(uintptr_t h);

#endif
