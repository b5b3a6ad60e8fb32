/* SPDX-License-Identifier: BSD-3-Clause */
/* What preload/ knows of the program's signal handlers. */
#ifndef FN_PRELOAD_SIG_H
#define FN_PRELOAD_SIG_H

#include <stdbool.h>

#include "preload/real.h"

/* Was the program's handler for sig set with SA_RESTART? Async-signal-safe. */
fn_hidden bool fn_sig_restart(int sig);
/* Is `handler`, which the kernel has, one of the program's own, set past sigaction()? */
fn_hidden bool fn_sig_unseen(const void *handler);

#endif
