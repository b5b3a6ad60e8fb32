/* SPDX-License-Identifier: BSD-3-Clause */
/* Between stub.S (syscall, vfork) and syscall.c; included by both. */
#ifndef FN_PRELOAD_SYSCALL_H
#define FN_PRELOAD_SYSCALL_H

/* Numbers from here on are none of ours; above the highest in raw.def (epoll_pwait2, 441). */
#define FN_SYSCALL_TABLE 448

#ifndef __ASSEMBLER__
/* Called with syscall()'s own arguments; returns as syscall() does. */
typedef long fn_syscall_fn(long n, long a, long b, long c, long d, long e, long f);
extern fn_syscall_fn *const fn_syscall_table[FN_SYSCALL_TABLE] __attribute__((visibility("hidden")));

/* errno from a raw result; -1. */
__attribute__((visibility("hidden"))) long fn_syscall_fail(long ret);
#endif

#endif
