/* SPDX-License-Identifier: BSD-3-Clause */
/* What a handler of the program that is about to run means for a wait of the same thread. */
#ifndef FN_SIGNAL_H
#define FN_SIGNAL_H

#include <stdbool.h>

/* Set by preload/ (which wraps sigaction): has this signal SA_RESTART? Async-signal-safe. */
extern bool (*fn_signal_restarts)(int sig);

#endif
