/* SPDX-License-Identifier: BSD-3-Clause */
/* How a call is handed to a file's operation; what the functions behind the wrappers of guard.c are written with. */
#ifndef FN_GUARD_H
#define FN_GUARD_H

#include "preload/real.h"
#include "shim/fdtable.h"
#include "shim/msg.h"
#include "shim/shim.h"
#include "shim/signal.h"

/*
 * A child that shares its parent's memory (vfork, clone with CLONE_VM and CLONE_VFORK) must not act on the parent's tables:
 * until it execs its calls are the kernel's alone. So preload/ asks these, not the shim's own.
 */
fn_inline bool fn_ours(int fd)
{
	return fn_fd_ours(fd) && fn_likely(!fn_this_guard.bare);
}

fn_inline bool fn_active(void)
{
	return fn_shim_active && fn_likely(!fn_this_guard.bare);
}

/* Is there any file of ours? */
fn_inline bool fn_any(void)
{
	return fn_fdtable.size && fn_likely(!fn_this_guard.bare);
}

/* An operation's result; FN_TO_KERNEL where the kind has none, or the file has gone since the wrapper looked. */
#define fn_op(f, op, ...)						\
	({								\
		__auto_type op_ = (f) ? (f)->ops->op : NULL;		\
		op_ ? op_((f), __VA_ARGS__) : FN_TO_KERNEL;		\
	})

/* A call on fd begins: what it stands for, with a reference; NULL: the kernel's by now. */
fn_inline struct fn_file *fn_enter(int fd)
{
	fn_guard_enter(false);
	return fn_fd_get_slow(fd);
}

/* The same for a call that is a cancellation point; a cancelled thread ends here, or in its wait. */
fn_inline struct fn_file *fn_enter_point(int fd)
{
	fn_guard_enter(true);
	return fn_fd_get_slow(fd);
}

/*
 * The rest of the call: compute `result`, give the reference back, and return as libc does, or what `kernel` gives. Nothing
 * is held when handlers run, nor while the kernel works. A call that a handler with SA_RESTART has ended begins anew, with
 * what fd stands for now.
 */
#define fn_done_again(f, again, result, kernel)			\
	({								\
		__typeof__(kernel) ret_;				\
		for (;;) {						\
			ret_ = (result);				\
			if (f)						\
				fn_file_put(f);				\
			if (fn_likely(!fn_guard_leave()))		\
				break;					\
			ret_ = (__typeof__(ret_))fn_guard_finish(ret_); \
			if (ret_ != -FN_RESTART)			\
				break;					\
			again;						\
		}							\
		ret_ == FN_TO_KERNEL ? (kernel) : (__typeof__(kernel))fn_errno(ret_); \
	})

#define fn_done(f, fd, result, kernel)	fn_done_again(f, (f) = fn_enter_point(fd), result, kernel)
/* The same for what shim/quick.h has left over. */
#define fn_done_quick(q, fd, result, kernel) \
	fn_done_again((q).file, ((q).file = fn_enter_point(fd), (q).ret = FN_NOT_BEGUN), result, kernel)
#define fn_call(f, op, kernel, fd, ...)	fn_done(f, fd, fn_op(f, op, fd, ##__VA_ARGS__), kernel)

/* A call that is about no descriptor, or several; likewise. `point`: a cancellation point. */
#define fn_guarded(point, result)					\
	({								\
		__auto_type ret_ = 0L;					\
		do {							\
			fn_guard_enter(point);				\
			ret_ = (result);				\
			if (fn_unlikely(fn_guard_leave()))		\
				ret_ = fn_guard_finish(ret_);		\
		} while (fn_unlikely(ret_ == -FN_RESTART));		\
		ret_;							\
	})
/* One that has no result. */
#define fn_guarded_void(call)						\
	({								\
		fn_guard_enter(false);					\
		call;							\
		if (fn_unlikely(fn_guard_leave()))			\
			fn_guard_finish(0);				\
	})

/* The hooks of a fork (init.c), for what forks past pthread_atfork. */
fn_hidden void fn_fork_prepare(void);
fn_hidden void fn_fork_parent(void);
fn_hidden void fn_fork_child(void);
/* The last one in a child that libc has not made. */
fn_hidden void fn_clone_child(void);

/* Before the calling thread's descriptors become its own: 0, or -1 with errno (proc.c). */
fn_hidden int fn_own_files(void);
/* After that, and after what a process of several threads is refused; gives `ret` with errno as it was. */
fn_hidden int fn_together(int ret);

/* A system call by which a thread gives something up (proc.c); as libc returns. */
fn_hidden long fn_confine(long n, long a, long b, long c, long d, long e);

fn_inline struct iovec fn_one_iov(const void *buf, size_t n)
{
	return (struct iovec){ (void *)buf, fn_min(n, FN_RW_MAX) };
}

#endif
