/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * The next in the chain: what libc, or another preloaded library, calls by the names that we wrap. Until the
 * constructor ran the pointers lead to bare system calls, so a wrapper never asks whether it may use them.
 * Also declares the wrappers: fn_wrap_X in C is the symbol X to the linker, whatever libc's headers say of X.
 */
#ifndef FN_REAL_H
#define FN_REAL_H

#include <aio.h>
#include <errno.h>
#include <poll.h>
#include <pthread.h>
#include <pty.h>
#include <signal.h>
#include <spawn.h>
#include <stdarg.h>
#include <stdio.h>
#include <sys/epoll.h>
#include <sys/resource.h>
#include <sys/select.h>
#include <sys/socket.h>
#include <sys/types.h>
#include <sys/uio.h>
#include <sys/wait.h>

#include "stack/compiler.h"

#define fn_export	__attribute__((visibility("default")))
#define fn_hidden	__attribute__((visibility("hidden")))

/* What signal() takes and returns; libc has no pretty name for it. */
typedef void fn_sighandler(int sig);
/* What sigvec() takes, of which no header is left. */
struct fn_sigvec {
	fn_sighandler *handler;
	int mask, flags;
};

struct fn_real {
#define FN_SYM(ret, name, params, raw)		ret (*name) params;
#define FN_LATE(ret, name, params, args)	ret (*name) params;
#include "preload/syscalls.def"
};
extern struct fn_real fn_real fn_hidden;

#define FN_SYM(ret, name, params, raw)		fn_export ret fn_wrap_##name params __asm__(#name);
#define FN_LATE(ret, name, params, args)	fn_export ret fn_wrap_##name params __asm__(#name);
#define FN_OWN(ret, name, params)		fn_export ret fn_wrap_##name params __asm__(#name);
#include "preload/syscalls.def"

/* What a wrapper made in guard.c calls when the call concerns us. */
#define FN_FD(ret, name, params, args, raw)	fn_hidden ret fn_ours_##name params;
#define FN_SET(ret, name, params, args, raw)	fn_hidden ret fn_ours_##name params;
#define FN_LIVE(ret, name, params, args, raw)	fn_hidden ret fn_ours_##name params;
#include "preload/syscalls.def"

/* The symbol `other` is fn_wrap_name too; stands after its definition. */
#define fn_alias(other, name) \
	fn_export extern __typeof__(fn_wrap_##name) fn_wrap_##other __asm__(#other) __attribute__((alias(#name)))

/* Look up everything; from the constructor, or from the first early call that needs it. Twice does no harm. */
fn_hidden void fn_real_resolve(void);

/* A kernel-style result becomes libc's: errno is touched on error only. */
fn_inline long fn_errno(long ret)
{
	if (fn_unlikely(ret < 0)) {
		errno = (int)-ret;
		return -1;
	}
	return ret;
}

#endif
