/* SPDX-License-Identifier: BSD-3-Clause */
/* What recvmsg and sendmsg need beyond a socket: checks of iovecs, ancillary data in and out, SIGPIPE. */
#ifndef FN_MSG_H
#define FN_MSG_H

#include <limits.h>
#include <sys/socket.h>
#include <sys/uio.h>

#include "shim/sockopt.h"
#include "stack/compiler.h"
#include "stack/sock.h"

#define FN_IOV_MAX	1024		/* UIO_MAXIOV, include/uapi/linux/uio.h */
#define FN_RW_MAX	((size_t)0x7ffff000)	/* MAX_RW_COUNT, include/linux/fs.h: no call moves more */

/* The interface that ancillary data names where the kernel has none behind a port: programs look it up and pass over a
 * datagram of an unknown one, so it is the one that every namespace has (LOOPBACK_IFINDEX, include/net/net_namespace.h). */
#define FN_IFINDEX_NONE	1

/* The sum of iov, or -EINVAL (a negative length), -EFAULT (no memory named), `many` for more than FN_IOV_MAX. */
ssize_t fn_iov_total_slow(const struct iovec *iov, int iovcnt, int many);
fn_inline ssize_t fn_iov_total(const struct iovec *iov, int iovcnt, int many)
{
	if (fn_likely(iovcnt == 1 && iov->iov_len <= FN_RW_MAX && iov->iov_base))
		return (ssize_t)iov->iov_len;
	return fn_iov_total_slow(iov, iovcnt, many);
}
/* Copy the first FN_RW_MAX bytes of iov to cut (FN_IOV_MAX entries); returns how many entries. */
int fn_iov_cut(struct iovec *cut, const struct iovec *iov, int iovcnt);

/* SIGPIPE to the calling thread. */
fn_cold void fn_sigpipe(void);

/* ---- ancillary data out ---- */
struct fn_cmsg_out {
	uint8_t *at, *start;
	size_t room;
	int flags;		/* MSG_CTRUNC */
};
fn_inline void fn_cmsg_begin(struct fn_cmsg_out *c, const struct msghdr *msg)
{
	c->at = c->start = msg->msg_control;
	c->room = msg->msg_control ? msg->msg_controllen : 0;
	c->flags = 0;
}
/* As Linux put_cmsg(): what does not fit is cut and flagged. */
void fn_cmsg_put(struct fn_cmsg_out *c, int level, int type, const void *data, size_t len);
/* Sets msg_controllen and adds to msg_flags. */
fn_inline void fn_cmsg_end(const struct fn_cmsg_out *c, struct msghdr *msg)
{
	msg->msg_controllen = (size_t)(c->at - c->start);
	msg->msg_flags |= c->flags;
}
/* SO_TIMESTAMP and its kin: `time` is ns of fn_now()'s clock. */
void fn_cmsg_put_stamp(struct fn_cmsg_out *c, const struct fn_sockopts *opt, uint64_t time);
/* What a datagram's receiver asked for. */
void fn_cmsg_put_udp(struct fn_cmsg_out *c, const struct fn_sockopts *opt, const struct fn_udp_meta *meta);
/* CLOCK_REALTIME at `time` of fn_now()'s clock. */
struct timespec fn_realtime(uint64_t time);

/* ---- ancillary data in ---- */
struct fn_cmsg_in {
	bool has_src;
	struct fn_ep src;	/* IP_PKTINFO's ipi_spec_dst */
	int ttl, tos;		/* -1: the socket's */
	unsigned segment;	/* UDP_SEGMENT; 0: none */
};
/* sendmsg on a datagram socket: 0 or -EINVAL. */
int fn_cmsg_get_udp(const struct msghdr *msg, bool in6, struct fn_cmsg_in *in);
/* sendmsg on a stream: nothing there has a meaning, but what is malformed or unknown at the socket level is -EINVAL. */
int fn_cmsg_check_tcp(const struct msghdr *msg);

#endif
