/* SPDX-License-Identifier: BSD-3-Clause */
/* A crash inside the library: a backtrace in the log, then the signal goes on as if we had not been there. */
#ifndef FN_CRASH_H
#define FN_CRASH_H

#include <signal.h>
#include <stdbool.h>
#include <stdint.h>

/* With the first file of ours: takes the fault signals that the program has left at their default. */
void fn_crash_init(void);
/* With the first stack: from now on a crash shows where it was (libunwind is opened). */
void fn_crash_backtraces(void);

/* What stands in the place of SIG_DFL for faults once fn_crash_init() has been here. */
bool fn_crash_ready(void);
struct sigaction fn_crash_action(void);

/* Is h, a handler that the kernel has, the one that reports crashes? The program had none. */
bool fn_crash_handles(uintptr_t h);

#endif
