/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * The policy is asked about a socket, and what has come of it is recorded for tools. Knows what the policy must be told:
 * the socket's own name, the host's addresses and routes, the state of the ports; changes nothing of the socket's but its
 * reason.
 */
#include <errno.h>
#include <netinet/in.h>
#include <string.h>

#include "shim/decide.h"
#include "shim/dgram.h"
#include "shim/engine.h"
#include "shim/fabric.h"
#include "shim/kroute.h"
#include "shim/shim.h"
#include "shim/sys.h"
#include "shim/uid.h"

static bool is_host(void *ctx, uint32_t ip4)
{
	return fn_kroute_is_host(ip4);
}

static bool has_route(void *ctx, uint32_t ip4)
{
	return fn_kroute_specific(ip4);
}

static int listen_port(void *ctx, unsigned i)
{
	return 0;	/* a listener may wait for its port */
}

static int connect_port(void *ctx, unsigned i)
{
	bool started = fn_engine_start(true);

	if (started && fastnet_info.port[i].state == FN_INFO_PORT_OPEN)
		return 0;
	if (fastnet_info.port[i].state == FN_INFO_PORT_HELD)
		return fastnet_info.port[i].holder;
	return fastnet_info.port[i].state == FN_INFO_PORT_FAILED ? -fastnet_info.port[i].error :
	       started ? -ENETDOWN : -ENOMEM;
}

struct fn_verdict fn_verdict_not_taken(int err)
{
	if (err == -ENOBUFS)
		return fn_verdict_kernel(FN_REASON_NO_SOCKETS, 0);
	for (unsigned i = 0; i < fn_config.nnics && !fn_engine.ports; i++) {
		const struct fn_info_port *p = &fastnet_info.port[i];

		if (p->state == FN_INFO_PORT_HELD)
			return fn_verdict_kernel(FN_REASON_PORT_HELD, (uint32_t)p->holder);
		if (p->state == FN_INFO_PORT_FAILED)
			return fn_verdict_kernel(FN_REASON_PORT_FAILED, (uint32_t)p->error);
	}
	return fn_verdict_kernel(FN_REASON_STACK_FAILED, (uint32_t)-err);
}

/* Who asks. */
struct asker {
	struct fn_file *file;
	int fd;
};

static int reach(void *ctx, uint32_t ip4, uint16_t port)
{
	const struct asker *a = ctx;

	return a->file->type == SOCK_DGRAM ? fn_dgram_reach(a->file, a->fd, ip4, port) : fn_fabric_reach(ip4, port);
}

static void describe(const struct fn_policy *p, int fd, struct fn_info_decision *d)
{
	*d = (struct fn_info_decision){ .fd = fd, .family = (uint16_t)p->family, .type = (uint16_t)p->type,
					.port = p->port, .verb = (uint8_t)p->verb };
	if (p->addr)
		memcpy(d->addr, p->addr, p->family == AF_INET6 ? 16 : 4);
}

static void record(struct fn_info_decision *d, const struct fn_verdict *v)
{
	d->nic = v->nic;
	d->reason = v->reason;
	d->arg = v->arg;
	fn_info_decision(d);
}

/* Address and port inside a sockaddr, whose length has been looked at; false: neither of IPv4 nor of IPv6. */
static bool take_addr(const struct sockaddr *sa, const uint8_t **addr, uint16_t *port)
{
	if (sa->sa_family == AF_INET6) {
		const struct sockaddr_in6 *in6 = (const struct sockaddr_in6 *)sa;

		*addr = in6->sin6_addr.s6_addr;
		*port = ntohs(in6->sin6_port);
		return true;
	}
	if (sa->sa_family == AF_INET) {
		const struct sockaddr_in *in = (const struct sockaddr_in *)sa;

		*addr = (const uint8_t *)&in->sin_addr;
		*port = ntohs(in->sin_port);
		return true;
	}
	return false;
}

bool fn_decide_own_name(int fd, struct sockaddr_storage *ss)
{
	socklen_t len = sizeof(*ss);

	memset(ss, 0, sizeof(*ss));
	return fn_sys(SYS_getsockname, fd, ss, &len) == 0;
}

static bool is_any(const uint8_t *addr, int family)
{
	static const uint8_t zero[16];

	return !memcmp(addr, zero, family == AF_INET6 ? 16 : 4);
}

struct fn_verdict fn_decide_ask(struct fn_file *f, int fd, enum fn_policy_verb verb, const struct sockaddr *addr,
				struct fn_info_decision *d)
{
	static const struct fn_policy_ops listen_ops = { is_host, has_route, listen_port, NULL };
	static const struct fn_policy_ops connect_ops = { is_host, has_route, connect_port, reach };
	struct sockaddr_storage own;
	int v6only = 0;
	socklen_t len = sizeof(v6only);
	uint16_t own_port;
	struct asker asker = { f, fd };
	struct fn_policy p = { .ctx = &asker, .conf = &fn_config, .verb = verb, .family = f->domain, .type = f->type,
			       .protocol = f->protocol, .program = fastnet_info.program };

	if (fn_config.nrules)	/* nothing else asks who we are */
		p.uid = fn_uid_own();

	p.ops = verb == FN_POLICY_LISTEN ? &listen_ops : &connect_ops;
	if (f->domain == AF_INET6 && fn_sys_getsockopt(fd, IPPROTO_IPV6, IPV6_V6ONLY, &v6only, &len) == 0)
		p.v6only = v6only;
	if (verb == FN_POLICY_CONNECT && !f->untouched && fn_decide_own_name(fd, &own) &&
	    take_addr((void *)&own, &p.bound, &own_port) && is_any(p.bound, f->domain))
		p.bound = NULL;
	if (!take_addr(addr, &p.addr, &p.port) || addr->sa_family != f->domain) {
		p.addr = NULL;	/* an IPv4 address on an IPv6 socket among others: the kernel's error */
		p.port = 0;
		describe(&p, fd, d);
		return fn_verdict_kernel(FN_REASON_FAMILY, addr->sa_family);
	}
	describe(&p, fd, d);
	return fn_policy_decide(&p);
}

void fn_decide_tell(struct fn_file *f, struct fn_info_decision *d, const struct fn_verdict *v)
{
	/* a datagram socket is asked about again and again: once a reason is enough */
	if (f->type != SOCK_DGRAM || f->reason != v->reason)
		record(d, v);
	f->reason = (uint8_t)v->reason;
}

struct fn_verdict fn_decide(struct fn_file *f, int fd, enum fn_policy_verb verb, const struct sockaddr *addr)
{
	struct fn_info_decision d;
	struct fn_verdict v = fn_decide_ask(f, fd, verb, addr, &d);

	fn_decide_tell(f, &d, &v);
	return v;
}

void fn_decide_note(const struct fn_file *f, int fd, enum fn_reason reason)
{
	struct fn_policy p = { .verb = FN_POLICY_LISTEN, .family = f->domain, .type = f->type };
	struct fn_verdict v = { .reason = reason, .nic = FN_POLICY_NO_NIC };
	struct fn_info_decision d;
	struct sockaddr_storage own;

	if (!fn_decide_own_name(fd, &own) || !take_addr((void *)&own, &p.addr, &p.port))
		return;
	describe(&p, fd, &d);
	record(&d, &v);
}
