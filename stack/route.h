/* SPDX-License-Identifier: BSD-3-Clause */
/* The routing table's own types; only IPv4 looks into it. */
#ifndef FN_ROUTE_H
#define FN_ROUTE_H

#include "stack.h"

#define FN_ROUTES_MAX	64	/* a program's host has a few; searched in order */

/* Network byte order. */
struct fn_route {
	uint32_t prefix, mask;
	uint32_t gw;		/* 0: on link */
	struct fn_nic *nic;
};

struct fn_routes {
	uint32_t count;
	struct fn_route route[FN_ROUTES_MAX];
};

/* The longest match for dst, or NULL. */
const struct fn_route *fn_route_find(const struct fn_stack *st, uint32_t dst);

/* The NIC that has the address ip4 (127/8: the first one); NULL: not ours. */
struct fn_nic *fn_nic_of_addr(const struct fn_stack *st, uint32_t ip4);

#endif
