/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * What the test wire's device computes about a packet: checksums in both directions, TSO, and the damage of a bad line.
 * Must not keep state.
 */
#include <string.h>

#include "cksum.h"
#include "nic_pair_offload.h"
#include "wire.h"

uint32_t fn_pair_hints(const struct fn_pkt *p)
{
	uint32_t hints = 0;

	if (p->flags & FN_PKT_TX_IP_CSUM)
		hints |= FN_PAIR_IP_CSUM;
	if (p->flags & (FN_PKT_TX_TCP_CSUM | FN_PKT_TX_UDP_CSUM))
		hints |= FN_PAIR_L4_CSUM;
	return hints ? hints | (uint32_t)(p->buf + p->l4 - p->data) : 0;
}

uint32_t fn_pair_linear(const struct fn_pkt *p, uint8_t *to)
{
	uint32_t len = 0;

	for (; p; p = p->seg) {
		memcpy(to + len, p->data, p->len);
		len += p->len;
	}
	return len;
}

static struct fn_ip4_hdr *frame_ip4(const struct fn_pkt *p)
{
	const struct fn_ether_hdr *eh = (const struct fn_ether_hdr *)p->data;

	if (p->len < FN_ETHER_LEN + FN_IP4_LEN || eh->type != fn_be16(FN_ETHER_TYPE_IP4))
		return NULL;
	return (struct fn_ip4_hdr *)(p->data + FN_ETHER_LEN);
}

static void put16(uint8_t *at, uint16_t value)
{
	memcpy(at, &value, sizeof(value));
}

void fn_pair_finish_csum_pkt(struct fn_pkt *p, uint32_t *hints)
{
	struct fn_ip4_hdr *ip = frame_ip4(p);
	uint32_t l4 = *hints & FN_PAIR_L4_MASK;
	uint16_t sum;

	if (ip && (*hints & FN_PAIR_IP_CSUM)) {
		ip->csum = 0;
		ip->csum = fn_cksum_fold(fn_cksum_add(0, ip, (ip->ver_ihl & 15) * 4u));
	}
	if (ip && (*hints & FN_PAIR_L4_CSUM)) {
		sum = fn_cksum_fold(fn_cksum_pkt(p, l4));
		if (ip->proto == FN_IPPROTO_TCP)
			put16(p->data + l4 + offsetof(struct fn_tcp_hdr, csum), sum);
		else
			put16(p->data + l4 + offsetof(struct fn_udp_hdr, csum), sum ? sum : 0xffff);
	}
	*hints = 0;
}

void fn_pair_finish_csum(uint8_t *frame, uint32_t len, uint32_t *hints)
{
	struct fn_pkt p = {.buf = frame, .data = frame, .len = len, .pkt_len = len};

	if (*hints)
		fn_pair_finish_csum_pkt(&p, hints);
}

/* True when L4 can be judged from this packet alone: whole, and without link padding. */
static bool l4_whole(const struct fn_pkt *p, const struct fn_ip4_hdr *ip)
{
	return !(ip->frag & fn_be16(FN_IP4_MF | FN_IP4_OFFSET)) && p->pkt_len == FN_ETHER_LEN + (uint32_t)fn_be16(ip->len) &&
	       (ip->proto == FN_IPPROTO_TCP || ip->proto == FN_IPPROTO_UDP);
}

static uint16_t verify(const struct fn_pkt *p)
{
	const struct fn_ip4_hdr *ip = frame_ip4(p);
	uint32_t ihl = ip ? (ip->ver_ihl & 15) * 4u : 0;
	uint64_t sum;

	if (!ip || ihl < FN_IP4_LEN || p->len < FN_ETHER_LEN + ihl + FN_UDP_LEN)
		return 0;
	if (fn_cksum_fold(fn_cksum_add(0, ip, ihl)))
		return FN_PKT_CSUM_BAD;
	if (!l4_whole(p, ip))
		return FN_PKT_IP_CSUM_OK;
	if (ip->proto == FN_IPPROTO_UDP && !((const struct fn_udp_hdr *)((const uint8_t *)ip + ihl))->csum)
		return FN_PKT_IP_CSUM_OK;
	sum = fn_cksum_pseudo4(ip->src, ip->dst, ip->proto, fn_be16(ip->len) - ihl);
	if (fn_cksum_fold(sum + fn_cksum_pkt(p, FN_ETHER_LEN + ihl)))
		return FN_PKT_CSUM_BAD;
	return FN_PKT_IP_CSUM_OK | FN_PKT_L4_CSUM_OK;
}

void fn_pair_rx_csum(struct fn_pkt *p, uint32_t hints)
{
	if ((hints & FN_PAIR_IP_CSUM) && (hints & FN_PAIR_L4_CSUM)) {
		p->flags |= FN_PKT_IP_CSUM_OK | FN_PKT_L4_CSUM_OK;
		return;
	}
	if (hints)
		fn_pair_finish_csum_pkt(p, &hints);
	p->flags |= verify(p);
}

bool fn_pair_corrupt(struct fn_pkt *p, uint32_t *hints, uint64_t random)
{
	uint32_t at = FN_ETHER_LEN + (uint32_t)((random >> 3) % (p->pkt_len > FN_ETHER_LEN ? p->pkt_len - FN_ETHER_LEN : 1));

	if (!frame_ip4(p))
		return false;
	fn_pair_finish_csum_pkt(p, hints);
	while (at >= p->len) {
		at -= p->len;
		p = p->seg;
	}
	p->data[at] ^= (uint8_t)(1 << (random & 7));
	return true;
}

/* Make the header of a TSO packet that of its piece [done, done + n). */
static void tso_header(uint8_t *head, uint32_t l3, uint32_t l4, uint32_t hlen, uint32_t done, uint32_t n, bool last)
{
	struct fn_ip4_hdr *ip = (struct fn_ip4_hdr *)(head + l3);
	struct fn_tcp_hdr *th = (struct fn_tcp_hdr *)(head + l4);
	uint32_t sum;

	ip->len = fn_be16((uint16_t)(hlen - l3 + n));
	th->seq = fn_be32(fn_be32(th->seq) + done);
	if (!last)
		th->flags &= (uint8_t)~(FN_TCP_FIN | FN_TCP_PSH);
	if (done)
		th->flags &= (uint8_t)~FN_TCP_CWR;
	sum = (uint16_t)~fn_cksum_fold(fn_cksum_pseudo4(ip->src, ip->dst, FN_IPPROTO_TCP, hlen - l4 + n));
	th->csum = (uint16_t)sum;
}

void fn_pair_tso(const struct fn_pkt *p, uint8_t *frame, void (*emit)(void *ctx, const struct fn_pkt *frame, uint32_t hints),
		 void *ctx)
{
	uint32_t l3 = (uint32_t)(p->buf + p->l3 - p->data), l4 = (uint32_t)(p->buf + p->l4 - p->data);
	uint32_t hlen = l4 + (frame[l4 + offsetof(struct fn_tcp_hdr, off)] >> 4) * 4u, done, n;
	uint8_t head[256];
	uint16_t id;

	fn_assert(hlen <= sizeof(head) && p->tso_mss && p->pkt_len > hlen);
	memcpy(head, frame, hlen);
	id = fn_be16(((struct fn_ip4_hdr *)(head + l3))->id);
	for (done = 0; done < p->pkt_len - hlen; done += n, id++) {
		/* The header goes where the piece before, which is gone, had its end. */
		struct fn_pkt piece = {.data = frame + done};

		n = fn_min((uint32_t)p->tso_mss, p->pkt_len - hlen - done);
		memcpy(piece.data, head, hlen);
		((struct fn_ip4_hdr *)(piece.data + l3))->id = fn_be16(id);
		tso_header(piece.data, l3, l4, hlen, done, n, done + n == p->pkt_len - hlen);
		piece.len = piece.pkt_len = hlen + n;
		emit(ctx, &piece, FN_PAIR_IP_CSUM | FN_PAIR_L4_CSUM | l4);
	}
}
