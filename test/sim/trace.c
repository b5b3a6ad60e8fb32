/* SPDX-License-Identifier: BSD-3-Clause */
/* Writes frames down, one a line, for --trace. */
#include <stdio.h>

#include "sim.h"
#include "stack/wire.h"

static void print_options(const uint8_t *p, const uint8_t *end)
{
	for (; p < end && *p; p += *p == FN_TCPOPT_NOP || p[1] < 2 ? 1 : p[1]) {
		if (*p == FN_TCPOPT_NOP)
			continue;
		if (*p == FN_TCPOPT_MSS)
			printf(" mss %u", p[2] << 8 | p[3]);
		else if (*p == FN_TCPOPT_WSCALE)
			printf(" wscale %u", p[2]);
		else if (*p == FN_TCPOPT_SACK_PERM)
			printf(" sackOK");
		else if (*p == FN_TCPOPT_TS)
			printf(" TS %u/%u", __builtin_bswap32(*(const uint32_t *)(p + 2)), __builtin_bswap32(*(const uint32_t *)(p + 6)));
		else
			printf(" opt %u", p[0]);
		if (*p == FN_TCPOPT_SACK)
			for (unsigned i = 2; i + 8 <= p[1]; i += 8)
				printf("[%08x-%08x]", __builtin_bswap32(*(const uint32_t *)(p + i)),
				       __builtin_bswap32(*(const uint32_t *)(p + i + 4)));
	}
}

static void print_tcp(const struct fn_ip4_hdr *ip, const struct fn_tcp_hdr *th)
{
	static const char names[] = "FSRPAUEC";
	unsigned i, hlen = th->off >> 4;
	int len = fn_be16(ip->len) - (ip->ver_ihl & 15) * 4 - (int)hlen * 4;

	printf("%u > %u ", fn_be16(th->sport), fn_be16(th->dport));
	for (i = 0; i < 8; i++)
		if (th->flags & 1 << i)
			putchar(names[i]);
	printf(" seq %08x len %d ack %08x win %u", fn_be32(th->seq), len, fn_be32(th->ack), fn_be16(th->win));
	print_options((const uint8_t *)(th + 1), (const uint8_t *)th + hlen * 4);
}

void sim_trace_frame(uint64_t now, unsigned from, const uint8_t *frame, size_t len)
{
	const struct fn_ether_hdr *eh = (const struct fn_ether_hdr *)frame;
	const struct fn_ip4_hdr *ip = (const struct fn_ip4_hdr *)(eh + 1);

	printf("%.6f %c > %zu ", (double)now / 1e9, "ab"[from], len);
	if (eh->type == fn_be16(FN_ETHER_TYPE_ARP))
		printf("ARP %u", fn_be16(((const struct fn_arp_hdr *)ip)->op));
	else if (len < 34 || eh->type != fn_be16(FN_ETHER_TYPE_IP4))
		printf("type %04x", fn_be16(eh->type));
	else if (ip->frag & fn_be16(FN_IP4_MF | FN_IP4_OFFSET))
		printf("fragment of %u at %u%s", fn_be16(ip->id), (fn_be16(ip->frag) & FN_IP4_OFFSET) * 8,
		       ip->frag & fn_be16(FN_IP4_MF) ? "+" : "");
	else if (ip->proto == FN_IPPROTO_TCP)
		print_tcp(ip, (const struct fn_tcp_hdr *)((const uint8_t *)ip + (ip->ver_ihl & 15) * 4));
	else
		printf("protocol %u, %u bytes", ip->proto, fn_be16(ip->len));
	putchar('\n');
}
