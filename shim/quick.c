/* SPDX-License-Identifier: BSD-3-Clause */
/* Where the quick calls of quick.h end when they are not done: out of the lock, with a reference. */
#include "shim/quick.h"

struct fn_quick fn_quick_not(int fd, bool locked)
{
	if (locked)
		fn_engine_unlock();
	return (struct fn_quick){ FN_NOT_BEGUN, fn_fd_get(fd) };
}

struct fn_quick fn_quick_leave(struct fn_file *f, ssize_t n)
{
	fn_file_hold(f);	/* what is kicked may take its numbers (fallback.c) */
	fn_engine_kick();
	fn_engine_unlock();
	return (struct fn_quick){ n, f };
}

struct fn_quick fn_quick_recv_on(struct fn_file *f, ssize_t n)
{
	if (n <= 0 || f->sk->rcvlowat > 1)
		return fn_quick_leave(f, n);
	fn_engine_kick();
	fn_engine_unlock();
	return (struct fn_quick){ n, NULL };
}
