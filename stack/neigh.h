/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * Neighbours: link addresses of the hosts on our links, and the packets that wait for one. Only ARP and IPv4 look in.
 *
 * A neighbour's life (times are Linux's, net.ipv4.neigh.default):
 *  INCOMPLETE  a broadcast request each second, three of them; packets wait. No answer: FAILED.
 *  REACHABLE   for 30 s after an answer or a sign of life (fn_neigh_confirm). Then it is stale, which nothing is done about
 *              until it is used:
 *  DELAY       packets go out to the old address; if nothing confirms it within 5 s:
 *  PROBE       a unicast request each second, three of them. No answer: FAILED.
 *  FAILED      the next packet starts over.
 *  STATIC      needs no asking: broadcast, multicast, and links without ARP.
 */
#ifndef FN_NEIGH_H
#define FN_NEIGH_H

#include "net.h"

enum fn_neigh_state {
	FN_NEIGH_FAILED,	/* a new entry too */
	FN_NEIGH_INCOMPLETE,
	FN_NEIGH_REACHABLE,
	FN_NEIGH_DELAY,
	FN_NEIGH_PROBE,
	FN_NEIGH_STATIC,
};

struct fn_neigh {
	uint64_t fresh_until;		/* ns: until then packets go out without a thought */
	uint32_t ip4;			/* network order */
	uint8_t state;			/* enum fn_neigh_state */
	uint8_t probes;			/* requests sent in this state */
	struct fn_ether_hdr ether;	/* in front of each IPv4 packet to it */
	struct fn_nic *nic;
	struct fn_neigh *next;		/* hash chain */
	struct fn_timer timer;
	struct fn_pktq wait;		/* INCOMPLETE: packets with .data at the IP header */
};

/* The neighbour ip4 behind nic, made if need be; NULL when the cache is full of busy ones. */
struct fn_neigh *fn_neigh_get(struct fn_stack *st, struct fn_nic *nic, uint32_t ip4);
/* The same, or NULL when it is not known. */
struct fn_neigh *fn_neigh_find(const struct fn_stack *st, const struct fn_nic *nic, uint32_t ip4);

/* What an ARP message says: ip4 has that address. solicited: it answers us, so the neighbour is reachable. */
void fn_neigh_update(struct fn_stack *st, struct fn_neigh *n, const uint8_t mac[6], bool solicited);

/* fn_neigh_output() when the neighbour is not fresh. */
int fn_neigh_output_slow(struct fn_stack *st, struct fn_neigh *n, struct fn_pkt *p);

/* Send an IP packet (its header at .l3) to n, whose link address is known. Ownership as fn_nic_send(). */
fn_inline int fn_neigh_send(const struct fn_neigh *n, struct fn_pkt *p)
{
	p->l2 = (uint16_t)(p->l3 - FN_ETHER_LEN);
	*(struct fn_ether_hdr *)(p->buf + p->l2) = n->ether;
	return fn_nic_send(n->nic, p);
}

/* The same, .data at the IP header; lets it wait if need be. Ownership as fn_ip4_output(). */
fn_inline int fn_neigh_output(struct fn_stack *st, struct fn_neigh *n, struct fn_pkt *p)
{
	return st->now >= n->fresh_until ? fn_neigh_output_slow(st, n, p) : fn_neigh_send(n, p);
}

/* Ask who has n's address; unicast to the address we remember, or broadcast. */
void fn_arp_request(struct fn_stack *st, const struct fn_neigh *n, bool unicast);

#endif
