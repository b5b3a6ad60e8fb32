/* SPDX-License-Identifier: BSD-3-Clause */
/* A datagram in the making: what MSG_MORE and UDP_CORK gather before it is sent as one. */
#ifndef FN_CORK_H
#define FN_CORK_H

#include "shim/msg.h"

#define FN_CORK_MAX	0xffff		/* udp_sendmsg: more is EMSGSIZE at once */

struct fn_cork {
	size_t len;
	bool pending;			/* one has begun */
	bool kernel;			/* the kernel's side gathers it */
	bool has_to;			/* the first call named a destination; later ones are not asked */
	struct fn_ep to;
	struct fn_cmsg_in in;		/* of the first call */
	uint8_t bytes[FN_CORK_MAX + 1];
};

/* f's, made when it is not there. NULL: no memory. With the engine locked. */
struct fn_cork *fn_cork_of(struct fn_file *f);
/* 0 or -EMSGSIZE, and then the whole datagram is dropped as Linux does. */
int fn_cork_append(struct fn_cork *c, const struct iovec *iov, int iovcnt, size_t len);
void fn_cork_drop(struct fn_cork *c);
/* At the file's end. */
void fn_cork_free(struct fn_file *f);

#endif
