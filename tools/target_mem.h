/* SPDX-License-Identifier: BSD-3-Clause */
/* Memory of another process. */
#ifndef FN_TARGET_MEM_H
#define FN_TARGET_MEM_H

#include <stdint.h>
#include <sys/types.h>

/* Copy size bytes at addr of process pid to buf: 0 or -errno (-EFAULT: not all of it is there). */
int fn_target_mem(pid_t pid, uint64_t addr, void *buf, size_t size);

#endif
