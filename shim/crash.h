/* SPDX-License-Identifier: BSD-3-Clause */
/* A crash inside the library: a backtrace in the log, then the signal goes on as if we had not been there. */
#ifndef FN_CRASH_H
#define FN_CRASH_H

/* With the first stack: opens libunwind, and takes the fault signals that the program has left at their default. */
void fn_crash_init(void);

#endif
