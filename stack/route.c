/* SPDX-License-Identifier: BSD-3-Clause */
/* The IPv4 routing table: longest prefix match over a few routes. Must not send anything. */
#include <errno.h>

#include "net.h"
#include "route.h"

#define LOOPBACK	0x7f000000	/* RFC 1122 3.2.1.3 (g) */

int fn_routes_init(struct fn_stack *st)
{
	st->routes = fn_arena_alloc(st->arena, sizeof(*st->routes));
	return st->routes ? 0 : -ENOMEM;
}

/* Kept sorted, longest mask first, so that the first match is the longest. */
int fn_route_add(struct fn_stack *st, uint32_t prefix, uint32_t mask, uint32_t gw, struct fn_nic *nic)
{
	struct fn_routes *rt = st->routes;
	unsigned i, at;

	for (i = 0; i < rt->count; i++)
		if (rt->route[i].mask == mask && rt->route[i].prefix == (prefix & mask))
			return -EEXIST;
	if (rt->count == FN_ROUTES_MAX)
		return -ENOSPC;
	for (at = 0; at < rt->count && fn_be32(rt->route[at].mask) >= fn_be32(mask); at++)
		;
	for (i = rt->count++; i > at; i--)
		rt->route[i] = rt->route[i - 1];
	rt->route[at] = (struct fn_route){.prefix = prefix & mask, .mask = mask, .gw = gw, .nic = nic};
	fn_paths_changed(st);
	return 0;
}

const struct fn_route *fn_route_find(const struct fn_stack *st, uint32_t dst)
{
	const struct fn_routes *rt = st->routes;

	for (unsigned i = 0; i < rt->count; i++)
		if ((dst & rt->route[i].mask) == rt->route[i].prefix)
			return &rt->route[i];
	return NULL;
}

struct fn_nic *fn_nic_of_addr(const struct fn_stack *st, uint32_t ip4)
{
	for (unsigned i = 0; i < st->nics; i++)
		if (st->nic[i]->ip4 == ip4 && ip4)
			return st->nic[i];
	if (st->nics && (ip4 & fn_be32(0xff000000)) == fn_be32(LOOPBACK))
		return st->nic[0];
	return NULL;
}

bool fn_ip4_is_bcast(const struct fn_stack *st, uint32_t ip4)
{
	if (ip4 == UINT32_MAX || (fn_be32(ip4) & 0xf0000000) == 0xe0000000)
		return true;
	for (unsigned i = 0; i < st->nics; i++)
		if (ip4 == st->nic[i]->ip4_bcast)
			return true;
	return false;
}
