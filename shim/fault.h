/* SPDX-License-Identifier: BSD-3-Clause */
/* Faults at memory that the program named are EFAULT (stack/user.h): the handler of SIGSEGV and SIGBUS. */
#ifndef FN_FAULT_H
#define FN_FAULT_H

#include <signal.h>
#include <stdbool.h>

/* From a handler: was it such a fault? info: NULL for a handler without SA_SIGINFO, who has none. Then the interrupted code
 * goes on, and the handler only returns. */
bool fn_fault_mended(int sig, const siginfo_t *info, void *context);

#endif
