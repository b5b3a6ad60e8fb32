/* SPDX-License-Identifier: BSD-3-Clause */
/* Between the files of IPv4: ip4.c, ip4_frag.c. */
#ifndef FN_IP4_H
#define FN_IP4_H

#include "net.h"

struct fn_frags;

struct fn_ip4 {
	struct fn_frags *frags;
	uint32_t ident[256];		/* identification of the next fragmented packet, by destination */
	struct fn_path last;		/* what fn_path_init() made last for another host; .nic NULL: nothing that holds */
	uint32_t last_src;		/* as it was asked for */
};

int fn_frags_init(struct fn_stack *st);

/*
 * A fragment: .data at the IP header, checked, hlen bytes long. Returns the whole packet once it is there (.data at the IP
 * header, payload chained by .seg), else NULL; p is taken in either case and *reason tells of a drop.
 */
struct fn_pkt *fn_ip4_reassemble(struct fn_stack *st, struct fn_pkt *p, unsigned hlen, int *reason);

/* Cut p (.data at the L4 header, may be a chain) into fragments and send them. Consumes p. */
int fn_ip4_fragment(struct fn_stack *st, const struct fn_path *path, struct fn_pkt *p);

/* Push an IP header with that fragment field onto p and hand it to the neighbour. */
int fn_ip4_emit(struct fn_stack *st, const struct fn_path *path, struct fn_pkt *p, uint16_t frag, uint16_t id);

#endif
