/* SPDX-License-Identifier: BSD-3-Clause */
/* Unfinished checksums are recognised, and nothing else is taken for one. */
#include <criterion/criterion.h>
#include <stdlib.h>
#include <string.h>

#include "plugin/csum.h"
#include "stack/cksum.h"
#include "stack/wire.h"

#define PAYLOAD	40u

static uint8_t frame[256];

/* A frame as Linux hands it to a device that finishes checksums; returns its length. */
static uint32_t build(uint8_t proto, uint32_t ihl, uint32_t l4len)
{
	struct fn_ether_hdr *eth = (struct fn_ether_hdr *)frame;
	struct fn_ip4_hdr *ip = (struct fn_ip4_hdr *)(frame + FN_ETHER_LEN);
	uint8_t *l4 = frame + FN_ETHER_LEN + ihl;
	uint16_t sum;

	memset(frame, 0, sizeof(frame));
	eth->type = fn_be16(FN_ETHER_TYPE_IP4);
	ip->ver_ihl = (uint8_t)(0x40 | ihl / 4);
	ip->len = fn_be16((uint16_t)(ihl + l4len + PAYLOAD));
	ip->proto = proto;
	ip->src = fn_be32(0x0a090001);
	ip->dst = fn_be32(0x0a090002);
	for (uint32_t i = 0; i < l4len + PAYLOAD; i++)
		l4[i] = (uint8_t)(i * 7 + 1);
	/* Computed here by hand: the folded sum of the pseudo header, not complemented. */
	sum = fn_be16((uint16_t)(0x0a09 + 0x0001 + 0x0a09 + 0x0002 + proto + l4len + PAYLOAD));
	memcpy(l4 + (proto == FN_IPPROTO_TCP ? 16 : 6), &sum, 2);
	return FN_ETHER_LEN + ihl + l4len + PAYLOAD;
}

Test(plugin_csum, unfinished_tcp_and_udp)
{
	cr_assert(dpdk_csum_unfinished(frame, build(FN_IPPROTO_TCP, 20, 20)));
	cr_assert(dpdk_csum_unfinished(frame, build(FN_IPPROTO_UDP, 20, 8)));
	cr_assert(dpdk_csum_unfinished(frame, build(FN_IPPROTO_TCP, 28, 32)), "with IP options");
	cr_assert(dpdk_csum_unfinished(frame, build(FN_IPPROTO_UDP, 20, 8) + 6), "padded by the link");
}

Test(plugin_csum, a_finished_one_is_left_to_the_stack)
{
	uint32_t len = build(FN_IPPROTO_TCP, 20, 20), l4len = len - FN_ETHER_LEN - 20;
	uint8_t *l4 = frame + FN_ETHER_LEN + 20;
	uint16_t sum = 0;

	memcpy(l4 + 16, &sum, 2);
	sum = fn_cksum_fold(fn_cksum_add(fn_cksum_pseudo4(fn_be32(0x0a090001), fn_be32(0x0a090002), FN_IPPROTO_TCP, l4len), l4,
					 l4len));
	memcpy(l4 + 16, &sum, 2);
	cr_assert_not(dpdk_csum_unfinished(frame, len));
}

Test(plugin_csum, any_other_value_is_left_to_the_stack)
{
	uint32_t len = build(FN_IPPROTO_UDP, 20, 8), taken = 0;

	for (uint32_t v = 0; v < 65536; v++) {
		uint16_t field = (uint16_t)v;

		memcpy(frame + FN_ETHER_LEN + 20 + 6, &field, 2);
		taken += dpdk_csum_unfinished(frame, len);
	}
	cr_assert_eq(taken, 1);
}

Test(plugin_csum, what_has_no_such_field)
{
	struct fn_ip4_hdr *ip = (struct fn_ip4_hdr *)(frame + FN_ETHER_LEN);
	uint32_t len = build(FN_IPPROTO_UDP, 20, 8);

	ip->frag = fn_be16(FN_IP4_MF);
	cr_assert_not(dpdk_csum_unfinished(frame, len), "first fragment");
	ip->frag = fn_be16(185);
	cr_assert_not(dpdk_csum_unfinished(frame, len), "last fragment");
	len = build(FN_IPPROTO_ICMP, 20, 8);
	cr_assert_not(dpdk_csum_unfinished(frame, len), "ICMP");
	len = build(FN_IPPROTO_UDP, 20, 8);
	((struct fn_ether_hdr *)frame)->type = fn_be16(FN_ETHER_TYPE_IP6);
	cr_assert_not(dpdk_csum_unfinished(frame, len), "IPv6");
}

/* Every truncation, at the end of a page's worth of guard: the sanitizers see a read behind it. */
Test(plugin_csum, truncated)
{
	uint32_t len = build(FN_IPPROTO_TCP, 20, 20);

	for (uint32_t cut = 0; cut < len; cut++) {
		uint8_t *copy = malloc(cut ? cut : 1);

		memcpy(copy, frame, cut);
		cr_assert_not(dpdk_csum_unfinished(copy, cut), "%u bytes", cut);
		free(copy);
	}
}

Test(plugin_csum, lying_lengths)
{
	struct fn_ip4_hdr *ip = (struct fn_ip4_hdr *)(frame + FN_ETHER_LEN);
	uint32_t len = build(FN_IPPROTO_TCP, 20, 20);

	ip->ver_ihl = 0x44;
	cr_assert_not(dpdk_csum_unfinished(frame, len), "header shorter than 20");
	len = build(FN_IPPROTO_TCP, 20, 20);
	ip->ver_ihl = 0x4f;
	cr_assert_not(dpdk_csum_unfinished(frame, len), "header as long as 60 of it");
	len = build(FN_IPPROTO_TCP, 20, 20);
	ip->len = fn_be16(20);
	cr_assert_not(dpdk_csum_unfinished(frame, len), "no room for TCP");
	ip->len = 0xffff;
	cr_assert_not(dpdk_csum_unfinished(frame, len), "longer than the frame");
}
