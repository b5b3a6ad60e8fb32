/* SPDX-License-Identifier: BSD-3-Clause */
/* The bytes of a datagram in the making (Linux up->pending and its write queue). Own pages, for few sockets ever need them. */
#include "shim/cork.h"

#include <errno.h>
#include <string.h>
#include <sys/mman.h>

#include "shim/file.h"
#include "shim/sys.h"
#include "stack/user.h"

struct fn_cork *fn_cork_of(struct fn_file *f)
{
	void *mem;

	if (f->cork)
		return f->cork;
	mem = (void *)fn_sys(SYS_mmap, NULL, sizeof(struct fn_cork), PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS,
			     -1, 0);
	if ((unsigned long)mem > -4096ul)
		return NULL;
	f->cork = mem;
	return f->cork;
}

int fn_cork_append(struct fn_cork *c, const struct iovec *iov, int iovcnt, size_t len)
{
	if (c->len + len > FN_CORK_MAX) {
		fn_cork_drop(c);
		return -EMSGSIZE;
	}
	for (int i = 0; i < iovcnt; i++) {
		if (fn_user_get(c->bytes + c->len, iov[i].iov_base, iov[i].iov_len)) {
			fn_cork_drop(c);	/* udp_flush_pending_frames */
			return -EFAULT;
		}
		c->len += iov[i].iov_len;
	}
	return 0;
}

void fn_cork_drop(struct fn_cork *c)
{
	c->len = 0;
	c->pending = c->kernel = c->has_to = false;
}

void fn_cork_free(struct fn_file *f)
{
	if (f->cork)
		fn_sys(SYS_munmap, f->cork, sizeof(*f->cork));
	f->cork = NULL;
}
