/* SPDX-License-Identifier: BSD-3-Clause */
/* Has the program's last thread ended? */
#ifndef FN_LAST_H
#define FN_LAST_H

#include <stdbool.h>

/* True: all threads but the library's, DPDK's and the one whose TID is `self` (0: none) have ended. Takes system calls; false
 * when it cannot be known. */
bool fn_last_ended(int self);

#endif
