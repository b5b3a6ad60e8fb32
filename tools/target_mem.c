/* SPDX-License-Identifier: BSD-3-Clause */
/* See target_mem.h. */
#include "tools/target_mem.h"

#include <errno.h>
#include <sys/uio.h>

int fn_target_mem(pid_t pid, uint64_t addr, void *buf, size_t size)
{
	struct iovec local = { buf, size }, remote = { (void *)(uintptr_t)addr, size };
	ssize_t n = process_vm_readv(pid, &local, 1, &remote, 1, 0);

	if (n < 0)
		return -errno;
	return (size_t)n == size ? 0 : -EFAULT;
}
