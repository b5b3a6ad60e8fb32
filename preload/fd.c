/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * Numbers: what closes, copies and controls descriptors. The table is changed by the shim alone; a kernel descriptor far
 * from ours goes straight on.
 */
#include <linux/close_range.h>
#include <sys/ioctl.h>

#include "preload/guard.h"

/* One of the library's own descriptors: not there, as far as the program can see. */
fn_inline bool internal(int fd)
{
	return fn_unlikely(fd >= fn_fdtable.lowest) && fn_fd_is_internal(fd) && !fn_this_guard.bare;
}

/* A free number may have one for a moment (fn_keeper_hold()). */
fn_inline bool may_be_made(int fd)
{
	return fn_unlikely(fn_fdtable.lowest == 0) && fd >= 0 && !fn_this_guard.bare;
}

/* Apart, so that close() of a kernel descriptor needs no frame. */
static __attribute__((noinline)) int close_near(int fd)
{
	if (internal(fd) && fn_shim_inside())	/* a driver's own */
		return fn_fd_internal_close(fd), 0;
	if (internal(fd))
		return (int)fn_errno(-EBADF);
	if (fn_ours(fd) || may_be_made(fd))
		return (int)fn_errno(fn_guarded(true, fn_fd_close(fd)));
	return fn_real.close(fd);
}

int fn_wrap_close(int fd)
{
	if (fn_likely(!fn_ours(fd) && fd < fn_fdtable.lowest))
		return fn_real.close(fd);
	return close_near(fd);
}
fn_alias(__close, close);

int fn_ours_close_range(unsigned first, unsigned last, int flags)
{
	bool own = flags & CLOSE_RANGE_UNSHARE && first <= last && !(flags & ~(CLOSE_RANGE_UNSHARE | CLOSE_RANGE_CLOEXEC));
	int ret;

	if (own && fn_own_files() < 0)
		return -1;
	ret = (int)fn_errno(fn_guarded(false, fn_fd_close_range(first, last, flags)));
	return own ? fn_together(ret) : ret;
}

void fn_ours_closefrom(int first)
{
	fn_guarded_void(fn_fd_closefrom(fn_max(first, 0)));
}

int fn_ours_dup(int fd)
{
	return (int)fn_errno(fn_guarded(false, fn_fd_dup(fd)));
}

int fn_wrap_dup2(int from, int to)
{
	if (fn_unlikely(fn_ours(from) || fn_ours(to) || internal(to) || may_be_made(to)))
		return (int)fn_errno(fn_guarded(false, fn_fd_dup2(from, to, 0, false)));
	return fn_real.dup2(from, to);
}
fn_alias(__dup2, dup2);

int fn_wrap_dup3(int from, int to, int flags)
{
	if (fn_unlikely(fn_ours(from) || fn_ours(to) || internal(to) || may_be_made(to)))
		return (int)fn_errno(fn_guarded(false, fn_fd_dup2(from, to, flags, true)));
	return fn_real.dup3(from, to, flags);
}

/* A group is a negative owner, which is no error; libc asks in this way as well. */
static int get_owner(struct fn_file *f, int fd)
{
	struct f_owner_ex ex;
	int ret = fn_done(f, fd, fn_op(f, fcntl, fd, F_GETOWN_EX, (long)&ex), fn_real.fcntl(fd, F_GETOWN_EX, (long)&ex));

	return ret < 0 ? ret : ex.type == F_OWNER_PGRP ? -ex.pid : ex.pid;
}

/* The descriptor's own flags are the kernel's; the description's are the file's. */
int fn_ours_fcntl(int fd, int cmd, long arg)
{
	struct fn_file *f;

	if (cmd == F_SETFD)
		fn_fd_mean(fd, !(arg & FD_CLOEXEC));
	if (cmd == F_GETFD || cmd == F_SETFD)
		return fn_real.fcntl(fd, cmd, arg);
	f = fn_enter(fd);
	if (cmd == F_DUPFD || cmd == F_DUPFD_CLOEXEC)
		return fn_done(f, fd, fn_fd_fcntl_dup(fd, cmd, (int)arg), fn_real.fcntl(fd, cmd, arg));
	if (cmd == F_GETOWN)
		return get_owner(f, fd);
	return fn_call(f, fcntl, fn_real.fcntl(fd, cmd, arg), fd, cmd, arg);
}

int fn_ours_ioctl(int fd, unsigned long req, void *arg)
{
	struct fn_file *f = fn_enter(fd);

	if (req == FIONCLEX || req == FIOCLEX)
		fn_fd_mean(fd, req == FIONCLEX);
	return fn_call(f, ioctl, fn_real.ioctl(fd, req, arg), fd, req, arg);
}
