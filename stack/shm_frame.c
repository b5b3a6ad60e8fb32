/* SPDX-License-Identifier: BSD-3-Clause */
/* What nic_shm.c must know of the headers in a frame: their length, and the answer of a host that does not know the connection. */
#include <string.h>

#include "nic_shm.h"
#include "wire.h"

uint32_t fn_shm_headers(const struct fn_pkt *p)
{
	const struct fn_ip4_hdr *ip = (const void *)(p->data + FN_ETHER_LEN);
	const uint8_t *l4 = (const uint8_t *)(ip + 1);

	return FN_IP4_LEN + (ip->proto == FN_IPPROTO_TCP ? (uint32_t)(l4[12] >> 4) * 4 : sizeof(struct fn_udp_hdr));
}

bool fn_shm_reset(const struct fn_pkt *p, uint8_t *out)
{
	const struct fn_ip4_hdr *ip = (const void *)(p->data + FN_ETHER_LEN);
	const struct fn_tcp_hdr *th = (const void *)(ip + 1);
	struct fn_ip4_hdr *rip = (void *)out;
	struct fn_tcp_hdr *rth = (void *)(rip + 1);
	uint32_t headers, len;

	if (ip->proto != FN_IPPROTO_TCP || th->flags & FN_TCP_RST)
		return false;
	headers = FN_ETHER_LEN + FN_IP4_LEN + (th->off >> 4) * 4u;
	len = p->pkt_len - headers + !!(th->flags & FN_TCP_SYN) + !!(th->flags & FN_TCP_FIN);
	if (!len)
		return false;
	*rip = (struct fn_ip4_hdr){ .ver_ihl = 0x45, .len = fn_be16(FN_SHM_RESET_LEN), .ttl = 64, .proto = FN_IPPROTO_TCP,
		.src = ip->dst, .dst = ip->src };
	*rth = (struct fn_tcp_hdr){ .sport = th->dport, .dport = th->sport, .off = FN_TCP_LEN << 2, .flags = FN_TCP_RST };
	if (len == 1 && th->flags & FN_TCP_FIN) {
		rth->seq = th->ack;
		rth->ack = fn_be32(fn_be32(th->seq) + len);
		rth->flags = FN_TCP_ACK;
	} else if (th->flags & FN_TCP_ACK) {
		rth->seq = th->ack;
	} else {
		rth->ack = fn_be32(fn_be32(th->seq) + len);
		rth->flags |= FN_TCP_ACK;
	}
	return true;
}

uint32_t fn_shm_bare(const struct fn_shm_bare *b, uint16_t mss, uint8_t wscale, uint8_t *out)
{
	struct fn_ip4_hdr *ip = (void *)out;
	struct fn_tcp_hdr *th = (void *)(ip + 1);
	uint8_t opts[8] = { FN_TCPOPT_MSS, 4, (uint8_t)(mss >> 8), (uint8_t)mss, FN_TCPOPT_NOP, FN_TCPOPT_WSCALE, 3, wscale };
	uint32_t opt_len = b->flags & FN_TCP_SYN ? sizeof(opts) : 0;

	*ip = (struct fn_ip4_hdr){ .ver_ihl = 0x45, .len = fn_be16((uint16_t)(FN_IP4_LEN + FN_TCP_LEN + opt_len)), .ttl = 64,
		.proto = FN_IPPROTO_TCP, .src = b->src, .dst = b->dst };
	*th = (struct fn_tcp_hdr){ .sport = b->sport, .dport = b->dport, .seq = fn_be32(b->seq), .ack = fn_be32(b->ack),
		.off = (uint8_t)((FN_TCP_LEN + opt_len) << 2), .flags = b->flags, .win = fn_be16(b->win) };
	memcpy(th + 1, opts, opt_len);
	return FN_IP4_LEN + FN_TCP_LEN + opt_len;
}
