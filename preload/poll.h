/* SPDX-License-Identifier: BSD-3-Clause */
/* What the raw forms of the readiness calls (syscall.c) share with libc's. */
#ifndef FN_PRELOAD_POLL_H
#define FN_PRELOAD_POLL_H

#include <stdint.h>
#include <time.h>

#include "preload/real.h"

/* Take from *ts what went by since `start` (ns of fn_now()); never below zero. */
fn_hidden void fn_poll_time_left(struct timespec *ts, uint64_t start);

#endif
