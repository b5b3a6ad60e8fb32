/* SPDX-License-Identifier: BSD-3-Clause */
/* Ethernet input: is the frame for us, is it whole, and what is in it. Must not know what the protocols do with it. */
#include <string.h>

#include "net.h"

#define VLAN_LEN	4	/* IEEE 802.1Q: tag control and the real type */
#define VLAN_ID		0x0fff

static bool same_mac(const uint8_t *a, const uint8_t *b)
{
	uint32_t a4, b4;
	uint16_t a2, b2;

	memcpy(&a4, a, 4);
	memcpy(&b4, b, 4);
	memcpy(&a2, a + 4, 2);
	memcpy(&b2, b + 4, 2);
	return a4 == b4 && a2 == b2;
}

/* A priority tag (VLAN 0) is taken off; of other VLANs we are no member. */
static fn_cold int ether_vlan(struct fn_stack *st, struct fn_nic *nic, struct fn_pkt *p)
{
	uint16_t tag[2];

	if (p->len < VLAN_LEN)
		return fn_drop(st, p, FN_DROP_ETHER_SHORT);
	memcpy(tag, fn_pkt_pull(p, VLAN_LEN), sizeof(tag));
	if (tag[0] & fn_be16(VLAN_ID))
		return fn_drop(st, p, FN_DROP_ETHER_TYPE);
	if (tag[1] == fn_be16(FN_ETHER_TYPE_IP4))
		return fn_ip4_input(st, nic, p);
	if (tag[1] == fn_be16(FN_ETHER_TYPE_ARP))
		return fn_arp_input(st, nic, p);
	return fn_drop(st, p, FN_DROP_ETHER_TYPE);
}

static fn_cold int ether_other(struct fn_stack *st, struct fn_nic *nic, struct fn_pkt *p, uint16_t type)
{
	if (type == fn_be16(FN_ETHER_TYPE_ARP))
		return fn_arp_input(st, nic, p);
	if (type == fn_be16(FN_ETHER_TYPE_VLAN))
		return ether_vlan(st, nic, p);
	return fn_drop(st, p, FN_DROP_ETHER_TYPE);
}

/*
 * A frame larger than the MTU: TCP may be joined. So may datagrams be (UDP_SEGMENT of a kernel peer), which nobody can
 * tell apart again; but a checksum that is in the packet, and not left to a device, covers one datagram, which somebody
 * has put together from fragments.
 */
static fn_cold bool too_large(const struct fn_nic *nic, const struct fn_pkt *p)
{
	const struct fn_ether_hdr *eth = (const struct fn_ether_hdr *)p->data;
	const struct fn_ip4_hdr *ip = (const struct fn_ip4_hdr *)(eth + 1);

	if (!(nic->caps & FN_NIC_RX_JOINED) || p->len < FN_ETHER_LEN + FN_IP4_LEN)
		return true;
	if (eth->type != fn_be16(FN_ETHER_TYPE_IP4) || ip->frag & fn_be16(FN_IP4_MF | FN_IP4_OFFSET))
		return true;
	return ip->proto != FN_IPPROTO_TCP && (ip->proto != FN_IPPROTO_UDP || p->flags & FN_PKT_L4_CSUM_OK);
}

int fn_ether_input(struct fn_stack *st, struct fn_nic *nic, struct fn_pkt *p)
{
	const struct fn_ether_hdr *eth = (const struct fn_ether_hdr *)p->data;

	if (fn_unlikely(p->len < FN_ETHER_LEN))
		return fn_drop(st, p, FN_DROP_ETHER_SHORT);
	if (fn_unlikely(p->pkt_len > nic->mtu + FN_ETHER_LEN + VLAN_LEN) && too_large(nic, p))
		return fn_drop(st, p, FN_DROP_ETHER_GSO);
	if (fn_unlikely(!same_mac(eth->dst, nic->mac))) {
		if (!(eth->dst[0] & 1))
			return fn_drop(st, p, FN_DROP_ETHER_DST);
		p->flags |= FN_PKT_LINK_BCAST;
	}
	p->l2 = (uint16_t)(p->data - p->buf);
	fn_pkt_pull(p, FN_ETHER_LEN);
	if (fn_likely(eth->type == fn_be16(FN_ETHER_TYPE_IP4)))
		return fn_ip4_input(st, nic, p);
	return ether_other(st, nic, p, eth->type);
}
