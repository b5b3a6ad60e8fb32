/* SPDX-License-Identifier: BSD-3-Clause */
/* Has the program's last thread ended? */
#ifndef FN_LAST_H
#define FN_LAST_H

#include <stdbool.h>

/* True: all threads but the library's and DPDK's have ended. Takes system calls; false when it cannot be known. */
bool fn_last_ended(void);

#endif
