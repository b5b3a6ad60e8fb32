/* SPDX-License-Identifier: BSD-3-Clause */
/* How a call is handed to a file's operation; what the functions behind the wrappers of guard.c are written with. */
#ifndef FN_GUARD_H
#define FN_GUARD_H

#include "preload/real.h"
#include "shim/fdtable.h"
#include "shim/msg.h"
#include "shim/shim.h"

/* An operation's result; FN_TO_KERNEL where the kind has none, or the file has gone since the wrapper looked. */
#define fn_op(f, op, ...)						\
	({								\
		__auto_type op_ = (f) ? (f)->ops->op : NULL;		\
		op_ ? op_((f), __VA_ARGS__) : FN_TO_KERNEL;		\
	})

/*
 * Give the reference back, then return `result` as libc does, or what `kernel` gives. While `result` is computed the
 * reference is held: this is the place where a cancelled thread must give it back. Operations sleep in raw system
 * calls, which are no cancellation points, so none is cancelled there yet; `kernel` is one, and holds nothing.
 */
#define fn_done(f, result, kernel)					\
	({								\
		__typeof__(kernel) ret_ = (result);			\
		if (f)							\
			fn_file_put(f);					\
		ret_ == FN_TO_KERNEL ? (kernel) : (__typeof__(kernel))fn_errno(ret_); \
	})

#define fn_call(f, op, kernel, ...)	fn_done(f, fn_op(f, op, __VA_ARGS__), kernel)

fn_inline struct iovec fn_one_iov(const void *buf, size_t n)
{
	return (struct iovec){ (void *)buf, fn_min(n, FN_RW_MAX) };
}

#endif
