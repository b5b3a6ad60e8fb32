/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * Socket addresses of the program and ends of the stack: struct sockaddr_in, and for AF_INET6 sockets the IPv4 addresses
 * mapped into struct sockaddr_in6 (RFC 4291 2.5.5.2). Lengths, truncation and errors are Linux's.
 */
#ifndef FN_ADDR_H
#define FN_ADDR_H

#include "shim/file.h"

/* What fn_addr_get() has found. */
enum fn_addr_kind {
	FN_ADDR_IP4,		/* *ep is set */
	FN_ADDR_UNSPEC,		/* AF_UNSPEC: connect() dissolves the association */
	FN_ADDR_IP6,		/* an IPv6 address that is not a mapped one: the kernel's */
};

/* The calls differ in what they accept. */
enum fn_addr_use { FN_ADDR_BIND, FN_ADDR_CONNECT, FN_ADDR_SEND };

/*
 * Read the address that a call on f was given. enum fn_addr_kind, or -EFAULT (no address), -EINVAL (length),
 * -EAFNOSUPPORT, -ENETUNREACH (a mapped address with IPV6_V6ONLY).
 */
int fn_addr_get(const struct fn_file *f, enum fn_addr_use use, const struct sockaddr *sa, socklen_t len,
		struct fn_ep *ep);

/* The address of ep as a socket of `domain` shows it; returns its length. */
socklen_t fn_addr_make(int domain, const struct fn_ep *ep, struct sockaddr_storage *ss);

/* Hand ep to the program: cut to *len, then *len is the true length (Linux move_addr_to_user). 0, -EFAULT, -EINVAL. */
int fn_addr_put(int domain, const struct fn_ep *ep, struct sockaddr *sa, socklen_t *len);

#endif
