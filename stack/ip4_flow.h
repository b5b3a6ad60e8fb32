/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * The IPv4 header of a flow, made once and copied in front of each packet: only length and checksum differ. For who sends
 * many packets on one path (TCP); whatever is unusual about a packet takes fn_ip4_output(). Knows no L4 protocol.
 */
#ifndef FN_IP4_FLOW_H
#define FN_IP4_FLOW_H

#include "cksum.h"
#include "neigh.h"

/* Write the header for path without length and checksum; returns the folded sum of its words, which belongs to it. The
 * path must not be local, and df must be set: such a packet needs no identification (RFC 6864 4.1). */
uint32_t fn_ip4_flow_init(const struct fn_path *path, struct fn_ip4_hdr *h);

/* Fill in what is a packet's own: total is its length from the header on; hw: the device makes the checksum. */
fn_inline void fn_ip4_flow_fill(struct fn_ip4_hdr *h, uint32_t sum, uint32_t total, bool hw)
{
	uint16_t len = fn_be16((uint16_t)total);

	h->len = len;
	if (!hw)
		h->csum = fn_cksum_fold((uint64_t)sum + len);
}

/* True when a packet of `total` bytes can leave on path without a question. */
fn_inline bool fn_ip4_flow_open(const struct fn_stack *st, const struct fn_path *path, uint32_t total)
{
	const struct fn_neigh *n = path->neigh;

	return fn_likely(n->ip4 == path->next_hop && st->now < n->fresh_until && total <= path->mtu);
}

/* Send p, whose filled header is at .l3, after fn_ip4_flow_open(); .data stays. Ownership as fn_nic_send(). */
fn_inline int fn_ip4_flow_send(const struct fn_path *path, struct fn_pkt *p)
{
	return fn_neigh_send(path->neigh, p);
}

#endif
