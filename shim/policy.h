/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * Who serves a socket: a pure function from a record to verdict and reason (rules, what is supported at all, local
 * destinations, a port's subnet, its gateway, else the kernel). Knows addresses and rules; no fd, no packet, no system
 * call: what only the kernel knows it asks through the record.
 */
#ifndef FN_POLICY_H
#define FN_POLICY_H

#include "shim/conf.h"
#include "shim/reason.h"

enum fn_policy_verb {
	FN_POLICY_LISTEN,	/* listen; bind of a datagram socket */
	FN_POLICY_CONNECT,	/* connect, first sendto */
	FN_POLICY_SOCKET,	/* socket() or an option settled it; only in records of decisions */
};

#define FN_POLICY_NO_NIC	0xff

/* What the shim answers; each is called at most once a NIC and only when the verdict hangs on it. */
struct fn_policy_ops {
	/* The address (network order) is one of the host's own, the kernel's interfaces. */
	bool (*is_host)(void *ctx, uint32_t ip4);
	/* The kernel has a route to the address that is more specific than its default. */
	bool (*has_route)(void *ctx, uint32_t ip4);
	/* 0: NIC number i of conf is open or can be opened by us. > 0: the PID that holds it. < 0: -errno of its opening. */
	int (*port)(void *ctx, unsigned i);
	/* A process of this host that listens there under Fastnet: its number on the fabric. 0: there is none; < 0: -errno of
	 * the attempt to reach it. NULL: none. */
	int (*fabric)(void *ctx, uint32_t ip4, uint16_t port);
};

struct fn_policy {
	const struct fn_conf *conf;
	const struct fn_policy_ops *ops;
	void *ctx;
	enum fn_policy_verb verb;
	int family, type, protocol;	/* as given to socket(); flags in type are ignored */
	bool v6only;			/* IPV6_V6ONLY */
	const uint8_t *addr;		/* of connect or listen, network order: 4 bytes for AF_INET, 16 for AF_INET6 */
	uint16_t port;			/* host order */
	const uint8_t *bound;		/* connect: local address chosen by bind, same family; NULL: none */
	const char *program;		/* last part of the path; NULL: unknown */
	uid_t uid;
};

struct fn_verdict {
	enum fn_reason reason;
	uint32_t arg;			/* of the reason: line, PID, NIC … */
	bool stack;			/* the stack serves it */
	bool kernel;			/* the kernel serves it; with .stack: a listener open on both sides */
	uint8_t nic;			/* the port's number, or FN_POLICY_NO_NIC */
	uint16_t peer;			/* connect: the process' number on the fabric; else 0 */
	uint32_t ip4;			/* the address to use on the stack, network order (a mapped one is unwrapped); 0: any */
};

fn_inline struct fn_verdict fn_verdict_kernel(enum fn_reason reason, uint32_t arg)
{
	return (struct fn_verdict){ .reason = reason, .arg = arg, .kernel = true, .nic = FN_POLICY_NO_NIC };
}

struct fn_verdict fn_policy_decide(const struct fn_policy *p);

/*
 * What can be said at socket() already: a family, type or protocol that never comes to the stack has its reason here;
 * FN_REASON_UNDECIDED otherwise. *arg: of the reason.
 */
enum fn_reason fn_policy_socket(int family, int type, int protocol, uint32_t *arg);

/* The IPv4 address in a 16-byte one: true for mapped ones and for `::`, which stands for any. */
bool fn_policy_unmap(const uint8_t addr[16], uint32_t *ip4);

#endif
