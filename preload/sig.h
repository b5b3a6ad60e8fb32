/* SPDX-License-Identifier: BSD-3-Clause */
/* What preload/ knows of the program's signal handlers. */
#ifndef FN_PRELOAD_SIG_H
#define FN_PRELOAD_SIG_H

#include <stdbool.h>
#include <stdint.h>

#include "preload/real.h"

/* Was the program's handler for sig set with SA_RESTART? Async-signal-safe. */
fn_hidden bool fn_sig_restart(int sig);
/* Has a handler for sig ever come by here? */
fn_hidden bool fn_sig_handles(int sig);
/* Is `handler`, which the kernel has, one of the program's own, set past sigaction()? */
fn_hidden bool fn_sig_unseen(uintptr_t handler);
/* rt_sigaction(2) by number; returns as syscall() does. */
struct fn_kernel_action;
fn_hidden long fn_sig_raw(int sig, const struct fn_kernel_action *act, struct fn_kernel_action *old, size_t size);


#endif
