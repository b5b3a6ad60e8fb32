/* SPDX-License-Identifier: BSD-3-Clause */
/* Between stub.S (syscall, vfork) and syscall.c; included by both. */
#ifndef FN_PRELOAD_SYSCALL_H
#define FN_PRELOAD_SYSCALL_H

/* Numbers from here on are none of ours; above the highest in raw.def (epoll_pwait2, 441). */
#define FN_SYSCALL_TABLE 448

/* What fn_clone_before() says of a child to be made by vfork(2), clone(2), clone3(2) by number. */
#define FN_CLONE_PLAIN		0	/* no affair of ours */
#define FN_CLONE_BARE		1	/* shares memory and stack: fn_clone_over() in the parent, nothing in the child */
#define FN_CLONE_BARE_STACK	2	/* likewise, on a stack of its own */
#define FN_CLONE_MEMBER		3	/* a copy of this image: fn_clone_child() in it, fn_clone_parent() in the parent */
#define FN_CLONE_FORK		4	/* fork() instead */
#define FN_CLONE_REFUSED	5	/* errno says why */

#ifndef __ASSEMBLER__
/* Called with syscall()'s own arguments; returns as syscall() does. */
typedef long fn_syscall_fn(long n, long a, long b, long c, long d, long e, long f);
extern fn_syscall_fn *const fn_syscall_table[FN_SYSCALL_TABLE] __attribute__((visibility("hidden")));

/* errno from a raw result; -1. */
__attribute__((visibility("hidden"))) long fn_syscall_fail(long ret);

/* In stub.S: syscall() for SYS_vfork, SYS_clone and SYS_clone3. */
extern fn_syscall_fn fn_stub_clone __attribute__((visibility("hidden")));

/* ---- clone.c, for stub.S ---- */
/* args: the number and five arguments, which it may change. FN_CLONE_*. */
__attribute__((visibility("hidden"))) int fn_clone_before(long *args);
/* In the parent, with what the kernel gave; return as libc does. */
__attribute__((visibility("hidden"))) long fn_clone_over(long ret);
__attribute__((visibility("hidden"))) long fn_clone_parent(long ret);
#endif

#endif
