/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * ARP (RFC 826) for IPv4 over Ethernet: requests, replies, announcements, conflicts (RFC 5227). What is learnt goes into the
 * neighbour cache; must not know its states.
 */
#include <string.h>

#include "neigh.h"
#include "route.h"

#define HTYPE_ETHER	1		/* RFC 826, IANA arp-parameters */
#define DEFEND_NS	(10 * FN_NSEC)	/* RFC 5227 DEFEND_INTERVAL */

static const uint8_t broadcast[6] = {0xff, 0xff, 0xff, 0xff, 0xff, 0xff};

static bool is_unicast(const uint8_t mac[6])
{
	static const uint8_t zero[6];

	return !(mac[0] & 1) && memcmp(mac, zero, 6);
}

static void arp_send(struct fn_nic *nic, uint16_t op, const uint8_t to[6], const uint8_t tha[6], uint32_t tpa)
{
	struct fn_pkt *p = fn_nic_alloc(nic);
	struct fn_ether_hdr *eth;
	struct fn_arp_hdr *arp;

	if (!p)
		return;
	p->len = p->pkt_len = sizeof(*arp);
	arp = (struct fn_arp_hdr *)p->data;
	*arp = (struct fn_arp_hdr){.htype = fn_be16(HTYPE_ETHER), .ptype = fn_be16(FN_ETHER_TYPE_IP4), .hlen = 6, .plen = 4,
		.op = fn_be16(op), .spa = nic->ip4, .tpa = tpa};
	memcpy(arp->sha, nic->mac, 6);
	if (tha)
		memcpy(arp->tha, tha, 6);
	eth = fn_pkt_push(p, FN_ETHER_LEN);
	memcpy(eth->dst, to, 6);
	memcpy(eth->src, nic->mac, 6);
	eth->type = fn_be16(FN_ETHER_TYPE_ARP);
	p->l2 = (uint16_t)(p->data - p->buf);
	if (op == FN_ARP_REQUEST)
		nic->st->stats.arp_requests++;
	else
		nic->st->stats.arp_replies++;
	fn_nic_send(nic, p);
}

void fn_arp_request(struct fn_stack *st, const struct fn_neigh *n, bool unicast)
{
	arp_send(n->nic, FN_ARP_REQUEST, unicast ? n->ether.dst : broadcast, unicast ? n->ether.dst : NULL, n->ip4);
}

/* RFC 5227 2.3: an announcement is a request for our own address. */
void fn_arp_announce(struct fn_stack *st, struct fn_nic *nic)
{
	if (nic->ip4 && !(nic->caps & FN_NIC_NO_ARP))
		arp_send(nic, FN_ARP_REQUEST, broadcast, NULL, nic->ip4);
}

/* RFC 5227 2.4 (b): defend the address, once in a while. */
static fn_cold int arp_conflict(struct fn_stack *st, struct fn_nic *nic, struct fn_pkt *p)
{
	if (st->now >= nic->defend_after) {
		nic->defend_after = st->now + DEFEND_NS;
		fn_arp_announce(st, nic);
	}
	return fn_drop(st, p, FN_DROP_ARP_CONFLICT);
}

static bool arp_format_ok(const struct fn_arp_hdr *arp)
{
	return arp->htype == fn_be16(HTYPE_ETHER) && arp->ptype == fn_be16(FN_ETHER_TYPE_IP4) && arp->hlen == 6 &&
	       arp->plen == 4 && (arp->op == fn_be16(FN_ARP_REQUEST) || arp->op == fn_be16(FN_ARP_REPLY)) &&
	       is_unicast(arp->sha);
}

/* Somebody whose address can be a neighbour's: of one host, on this link. 0 is an address probe (RFC 5227 2.1.1). */
static bool arp_sender_ok(const struct fn_stack *st, const struct fn_nic *nic, uint32_t spa)
{
	return spa && !fn_ip4_is_bcast(st, spa) && fn_nic_of_addr(st, spa) == NULL;
}

/* RFC 826 "Packet Reception": known senders are updated; one that asks for us is about to talk, so it becomes known. */
static void arp_learn(struct fn_stack *st, struct fn_nic *nic, const struct fn_pkt *p, const struct fn_arp_hdr *arp)
{
	bool for_us = arp->tpa == nic->ip4, reply = arp->op == fn_be16(FN_ARP_REPLY);
	struct fn_neigh *n;

	if (!arp_sender_ok(st, nic, arp->spa))
		return;
	n = for_us && !reply ? fn_neigh_get(st, nic, arp->spa) : fn_neigh_find(st, nic, arp->spa);
	if (n)
		fn_neigh_update(st, n, arp->sha, for_us && reply && !(p->flags & FN_PKT_LINK_BCAST));
}

int fn_arp_input(struct fn_stack *st, struct fn_nic *nic, struct fn_pkt *p)
{
	struct fn_arp_hdr *arp = (struct fn_arp_hdr *)p->data;

	if (p->len < sizeof(*arp))
		return fn_drop(st, p, FN_DROP_ARP_SHORT);
	if (!arp_format_ok(arp))
		return fn_drop(st, p, FN_DROP_ARP_FORMAT);
	if (!nic->ip4 || nic->caps & FN_NIC_NO_ARP)
		return fn_drop(st, p, FN_DROP_ARP_FOREIGN);
	if (arp->spa == nic->ip4 && memcmp(arp->sha, nic->mac, 6))
		return arp_conflict(st, nic, p);
	arp_learn(st, nic, p, arp);
	if (arp->tpa != nic->ip4)
		return fn_drop(st, p, FN_DROP_ARP_FOREIGN);
	if (arp->op == fn_be16(FN_ARP_REQUEST))
		arp_send(nic, FN_ARP_REPLY, arp->sha, arp->sha, arp->spa);
	fn_pkt_free(p);
	return 0;
}
