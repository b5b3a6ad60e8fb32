/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * POSIX AIO. libc's threads read and write by system calls that do not pass here, so a connection becomes the kernel's with
 * the first request for it (shim/convert.h). The 64-bit names are the same functions.
 */
#include <aio.h>

#include "preload/guard.h"
#include "shim/convert.h"

static bool convert(int fd)
{
	int ret = fn_ours(fd) ? (int)fn_guarded(false, fn_convert_fd(fd)) : 0;

	return !fn_errno(ret);
}

int fn_wrap_aio_read(struct aiocb *cb)
{
	return cb && !convert(cb->aio_fildes) ? -1 : fn_real.aio_read(cb);
}
fn_alias(aio_read64, aio_read);

int fn_wrap_aio_write(struct aiocb *cb)
{
	return cb && !convert(cb->aio_fildes) ? -1 : fn_real.aio_write(cb);
}
fn_alias(aio_write64, aio_write);

int fn_wrap_lio_listio(int mode, struct aiocb *const list[], int n, struct sigevent *sig)
{
	for (int i = 0; list && i < n; i++)
		if (list[i] && list[i]->aio_lio_opcode != LIO_NOP && !convert(list[i]->aio_fildes))
			return -1;
	return fn_real.lio_listio(mode, list, n, sig);
}
fn_alias(lio_listio64, lio_listio);
