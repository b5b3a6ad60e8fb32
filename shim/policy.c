/* SPDX-License-Identifier: BSD-3-Clause */
/* Who serves a socket, one function a step; see policy.h. */
#include "shim/policy.h"
#include "stack/nic.h"

#include <arpa/inet.h>
#include <string.h>
#include <sys/socket.h>

/* Linux's own, not in every libc header */
#ifndef SOCK_TYPE_MASK
#define SOCK_TYPE_MASK 0xf
#endif

/* ---- what is supported at all ---- */

/* 0 for what the stack does not do. */
static enum fn_rule_proto proto_of(int family, int type, int protocol)
{
	if (family != AF_INET && family != AF_INET6)
		return FN_RULE_ANY_PROTO;
	type &= SOCK_TYPE_MASK;
	if (type == SOCK_STREAM && (protocol == 0 || protocol == IPPROTO_TCP))
		return FN_RULE_TCP;
	if (type == SOCK_DGRAM && (protocol == 0 || protocol == IPPROTO_UDP))
		return FN_RULE_UDP;
	return FN_RULE_ANY_PROTO;
}

enum fn_reason fn_policy_socket(int family, int type, int protocol, uint32_t *arg)
{
	*arg = (uint32_t)family;
	if (family != AF_INET && family != AF_INET6)
		return FN_REASON_FAMILY;
	type &= SOCK_TYPE_MASK;
	*arg = (uint32_t)type;
	if (type != SOCK_STREAM && type != SOCK_DGRAM)
		return FN_REASON_TYPE;
	*arg = (uint32_t)protocol;
	if (proto_of(family, type, protocol) == FN_RULE_ANY_PROTO)
		return FN_REASON_PROTO;
	*arg = 0;
	return FN_REASON_UNDECIDED;
}

/* ---- addresses ---- */

static uint32_t load_ip4(const uint8_t *addr)
{
	uint32_t ip4;

	memcpy(&ip4, addr, sizeof ip4);
	return ip4;
}

bool fn_policy_unmap(const uint8_t addr[16], uint32_t *ip4)
{
	static const uint8_t mapped[12] = { [10] = 0xff, [11] = 0xff };
	static const uint8_t any[16];

	if (memcmp(addr, mapped, sizeof mapped) && memcmp(addr, any, sizeof any))
		return false;
	*ip4 = load_ip4(addr + 12);
	return true;
}

/* The IPv4 address that a sockaddr's address stands for; false for a real IPv6 address. */
static bool to_ip4(const struct fn_policy *p, const uint8_t *addr, uint32_t *ip4)
{
	if (p->family == AF_INET) {
		*ip4 = load_ip4(addr);
		return true;
	}
	return !p->v6only && fn_policy_unmap(addr, ip4);
}

static bool is_loopback(uint32_t ip4)
{
	return ntohl(ip4) >> 24 == 127;
}

/* 224/4 and 240/4, the limited broadcast address among them. */
static bool is_multicast(uint32_t ip4)
{
	return ntohl(ip4) >> 28 >= 14;
}

/* ---- step 1: rules ---- */

static bool prefix_matches(const uint8_t *addr, const uint8_t *want, unsigned bits)
{
	unsigned bytes = bits / 8, rest = bits % 8;

	return !memcmp(addr, want, bytes) &&
	       (!rest || !((addr[bytes] ^ want[bytes]) >> (8 - rest)));
}

static bool addr_matches(const struct fn_policy *p, const struct fn_rule *r)
{
	uint32_t ip4;
	uint8_t a[4];

	if (!r->family)
		return true;
	if (r->family == p->family)
		return prefix_matches(p->addr, r->addr, r->prefix);
	/* an IPv4 rule counts for what an IPv6 socket does with IPv4 */
	if (r->family != AF_INET || !to_ip4(p, p->addr, &ip4))
		return false;
	memcpy(a, &ip4, sizeof a);
	return prefix_matches(a, r->addr, r->prefix);
}

static bool rule_matches(const struct fn_policy *p, const struct fn_rule *r)
{
	enum fn_rule_verb verb = p->verb == FN_POLICY_LISTEN ? FN_RULE_LISTEN : FN_RULE_CONNECT;

	return (!r->proto || r->proto == proto_of(p->family, p->type, p->protocol)) &&
	       (!r->verb || r->verb == verb) &&
	       p->port >= r->port_first && p->port <= r->port_last &&
	       (!*r->program || (p->program && !strcmp(r->program, p->program))) &&
	       (!r->has_uid || r->uid == p->uid) &&
	       addr_matches(p, r);
}

static const struct fn_rule *find_rule(const struct fn_policy *p)
{
	for (unsigned i = 0; i < p->conf->nrules; i++)
		if (rule_matches(p, &p->conf->rules[i]))
			return &p->conf->rules[i];
	return NULL;
}

/* ---- ports ---- */

/* NIC number i serves it, if it is ours to use. */
static struct fn_verdict use_nic(const struct fn_policy *p, unsigned i, enum fn_reason reason, uint32_t ip4)
{
	int state = p->ops->port(p->ctx, i);

	if (state > 0)
		return fn_verdict_kernel(FN_REASON_PORT_HELD, (uint32_t)state);
	if (state < 0)
		return fn_verdict_kernel(FN_REASON_PORT_FAILED, (uint32_t)-state);
	return (struct fn_verdict){ .reason = reason, .arg = i, .stack = true, .nic = (uint8_t)i, .ip4 = ip4 };
}

/* The NIC that has the address, or -1. */
static int nic_of_addr(const struct fn_conf *c, uint32_t ip4)
{
	for (unsigned i = 0; i < c->nnics; i++)
		if (c->nics[i].ip4 == ip4)
			return (int)i;
	return -1;
}

/* The NIC with the longest subnet that holds the address, or -1. only: NIC to look at, or -1. */
static int nic_of_subnet(const struct fn_conf *c, uint32_t ip4, int only)
{
	int best = -1;

	for (unsigned i = 0; i < c->nnics; i++) {
		const struct fn_nic_conf *n = &c->nics[i];

		if ((only >= 0 && only != (int)i) || ((n->ip4 ^ ip4) & n->ip4_mask))
			continue;
		if (best < 0 || ntohl(n->ip4_mask) > ntohl(c->nics[best].ip4_mask))
			best = (int)i;
	}
	return best;
}

static int nic_with_gateway(const struct fn_conf *c, int only)
{
	for (unsigned i = 0; i < c->nnics; i++)
		if (c->nics[i].ip4_gw && (only < 0 || only == (int)i))
			return (int)i;
	return -1;
}

/* ---- the fabric ---- */

/* Datagram sockets are a port's where there is one. */
static bool has_fabric(const struct fn_policy *p)
{
	return p->conf->fabric && (proto_of(p->family, p->type, p->protocol) == FN_RULE_TCP || !p->conf->nnics);
}

/* An address of this host: whoever listens there. */
static struct fn_verdict use_fabric(const struct fn_policy *p, uint32_t ip4)
{
	int peer = p->ops->fabric ? p->ops->fabric(p->ctx, ip4, p->port) : 0;

	if (peer < 0)
		return fn_verdict_kernel(FN_REASON_FABRIC_FAILED, (uint32_t)-peer);
	if (!peer)
		return fn_verdict_kernel(FN_REASON_FABRIC_NOBODY, 0);
	return (struct fn_verdict){ .reason = FN_REASON_FABRIC, .stack = true, .nic = FN_POLICY_NO_NIC, .ip4 = ip4,
				    .peer = (uint16_t)peer };
}

static struct fn_verdict listen_fabric(uint32_t ip4)
{
	return (struct fn_verdict){ .reason = FN_REASON_FABRIC_LISTEN, .stack = true, .kernel = true,
				    .nic = FN_POLICY_NO_NIC, .ip4 = ip4 };
}

/* ---- listen ---- */

/* A wildcard listener is open on every port that is ours, and on the kernel; what stands in the way of the first is told
 * when none is. */
static struct fn_verdict listen_any(const struct fn_policy *p)
{
	struct fn_verdict first = fn_verdict_kernel(FN_REASON_NO_PORT, 0);

	for (unsigned i = 0; i < p->conf->nnics; i++) {
		struct fn_verdict v = use_nic(p, i, FN_REASON_WILDCARD, 0);

		if (v.stack) {
			v.arg = 0;
			v.kernel = true;
			v.nic = FN_POLICY_NO_NIC;
			return v;
		}
		if (!i)
			first = v;
	}
	return has_fabric(p) ? listen_fabric(0) : first;
}

static struct fn_verdict decide_listen(const struct fn_policy *p, uint32_t ip4)
{
	int nic;

	if (!ip4)
		return listen_any(p);
	nic = nic_of_addr(p->conf, ip4);
	if (nic >= 0)
		return use_nic(p, (unsigned)nic, FN_REASON_PORT, ip4);
	if (is_multicast(ip4))
		return fn_verdict_kernel(FN_REASON_MULTICAST, 0);
	if (is_loopback(ip4) || p->ops->is_host(p->ctx, ip4))
		return has_fabric(p) ? listen_fabric(ip4) : fn_verdict_kernel(FN_REASON_LOCAL, 0);
	return fn_verdict_kernel(FN_REASON_NOT_A_PORT, 0);
}

/* ---- connect ---- */

/* steps 4 to 6. only: the NIC whose address the socket is bound to, or -1; forced: by a rule. */
static struct fn_verdict decide_remote(const struct fn_policy *p, uint32_t ip4, int only, bool forced)
{
	int nic = nic_of_subnet(p->conf, ip4, only);

	if (nic >= 0)
		return use_nic(p, (unsigned)nic, FN_REASON_PORT, ip4);
	nic = nic_with_gateway(p->conf, only);
	if (nic < 0)
		return fn_verdict_kernel(FN_REASON_NO_ROUTE, 0);
	if (only < 0 && !forced && p->ops->has_route(p->ctx, ip4))
		return fn_verdict_kernel(FN_REASON_KERNEL_ROUTE, 0);
	return use_nic(p, (unsigned)nic, FN_REASON_GATEWAY, ip4);
}

static struct fn_verdict decide_connect(const struct fn_policy *p, uint32_t ip4, bool forced)
{
	uint32_t bound = 0;
	int only = -1, self;

	if (p->bound && !to_ip4(p, p->bound, &bound))
		return fn_verdict_kernel(FN_REASON_BOUND_ELSEWHERE, 0);
	if (bound) {
		only = nic_of_addr(p->conf, bound);
		if (only < 0 && !(p->type == SOCK_DGRAM && has_fabric(p)))
			return fn_verdict_kernel(FN_REASON_BOUND_ELSEWHERE, 0);
	}
	if (is_multicast(ip4))
		return fn_verdict_kernel(FN_REASON_MULTICAST, 0);
	/* step 3; connecting to the wildcard address means this host (Linux: ip_route_output's loopback) */
	self = nic_of_addr(p->conf, ip4);
	if (self >= 0)
		return use_nic(p, (unsigned)self, FN_REASON_SELF, ip4);
	if (!ip4 || is_loopback(ip4) || p->ops->is_host(p->ctx, ip4))
		return ip4 && has_fabric(p) ? use_fabric(p, ip4) : fn_verdict_kernel(FN_REASON_LOCAL, 0);
	return p->conf->nnics ? decide_remote(p, ip4, only, forced) : fn_verdict_kernel(FN_REASON_NO_PORT, 0);
}

struct fn_verdict fn_policy_decide(const struct fn_policy *p)
{
	const struct fn_rule *rule;
	enum fn_reason reason;
	uint32_t arg, ip4;

	/* rules speak of TCP and UDP only, so what is neither may be told first */
	reason = fn_policy_socket(p->family, p->type, p->protocol, &arg);
	if (reason != FN_REASON_UNDECIDED)
		return fn_verdict_kernel(reason, arg);
	rule = find_rule(p);
	if (rule && rule->verdict == FN_RULE_KERNEL)
		return fn_verdict_kernel(FN_REASON_RULE, rule->line ? rule->line : FN_REASON_ENV_RULE | rule->number);
	if (!p->conf->nnics && !has_fabric(p))
		return fn_verdict_kernel(FN_REASON_NO_PORT, 0);
	if (!to_ip4(p, p->addr, &ip4))
		return fn_verdict_kernel(FN_REASON_IP6, 0);
	return p->verb == FN_POLICY_LISTEN ? decide_listen(p, ip4) : decide_connect(p, ip4, rule != NULL);
}
