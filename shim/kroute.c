/* SPDX-License-Identifier: BSD-3-Clause */
/* Asks the kernel's routing table by rtnetlink (RTM_GETROUTE with RTM_F_FIB_MATCH, Linux 4.13), one question a request. */
#include "shim/kroute.h"

#include <linux/netlink.h>
#include <linux/rtnetlink.h>
#include <string.h>

#include "shim/engine.h"

#define CACHE 64

static struct answer {
	uint64_t until;
	uint32_t ip4;
	uint32_t source;	/* 0: none is named */
	uint8_t type;		/* RTN_*, 0: no route */
	uint8_t prefix;		/* length of the route's destination */
} cache[CACHE];
static struct fn_lock lock;

struct question {
	struct nlmsghdr nh;
	struct rtmsg rt;
	struct rtattr attr;
	uint32_t dst;
};

static void take_source(const struct nlmsghdr *nh, struct answer *a)
{
	const struct rtmsg *rt = NLMSG_DATA(nh);
	int left = (int)RTM_PAYLOAD(nh);

	for (const struct rtattr *at = RTM_RTA(rt); RTA_OK(at, left); at = RTA_NEXT(at, left))
		if (at->rta_type == RTA_PREFSRC && RTA_PAYLOAD(at) == sizeof(a->source))
			memcpy(&a->source, RTA_DATA(at), sizeof(a->source));
}

static void ask(uint32_t ip4, struct answer *a)
{
	struct question q = {
		.nh = { .nlmsg_len = sizeof(q), .nlmsg_type = RTM_GETROUTE, .nlmsg_flags = NLM_F_REQUEST },
		.rt = { .rtm_family = AF_INET, .rtm_dst_len = 32, .rtm_flags = RTM_F_FIB_MATCH },
		.attr = { .rta_len = RTA_LENGTH(4), .rta_type = RTA_DST },
		.dst = ip4,
	};
	uint8_t buf[1024] __attribute__((aligned(4)));
	const struct nlmsghdr *nh = (const struct nlmsghdr *)buf;
	const struct rtmsg *rt = NLMSG_DATA(nh);
	int fd = fn_sys_socket(AF_NETLINK, SOCK_RAW | SOCK_CLOEXEC, NETLINK_ROUTE);
	ssize_t n;

	if (fd < 0)
		return;
	n = fn_sys(SYS_sendto, fd, &q, sizeof(q), 0, NULL, 0);
	if (n > 0)
		n = fn_sys(SYS_recvfrom, fd, buf, sizeof(buf), 0, NULL, NULL);
	fn_sys_close(fd);
	if (n < (ssize_t)NLMSG_LENGTH(sizeof(*rt)) || nh->nlmsg_type != RTM_NEWROUTE || nh->nlmsg_len > (size_t)n)
		return;
	a->type = rt->rtm_type;
	a->prefix = rt->rtm_dst_len;
	take_source(nh, a);
}

static struct answer lookup(uint32_t ip4)
{
	struct answer *a = &cache[(ip4 ^ ip4 >> 24 ^ ip4 >> 16) % CACHE], copy;
	uint64_t now = fn_now();

	fn_lock_take(&lock);
	if (a->ip4 != ip4 || now >= a->until) {
		*a = (struct answer){ .ip4 = ip4, .until = now + FN_KROUTE_NS };
		ask(ip4, a);
	}
	copy = *a;
	fn_lock_release(&lock);
	return copy;
}

bool fn_kroute_is_host(uint32_t ip4)
{
	return lookup(ip4).type == RTN_LOCAL;
}

uint32_t fn_kroute_source(uint32_t ip4)
{
	uint32_t source = lookup(ip4).source;

	return source ? source : ip4;
}

bool fn_kroute_specific(uint32_t ip4)
{
	struct answer a = lookup(ip4);

	return a.type && a.prefix > 0;
}
