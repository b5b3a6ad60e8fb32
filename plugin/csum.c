/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * Recognising a checksum that the sender's kernel left unfinished. Linux stores the pseudo header's sum, folded and not
 * complemented, in the checksum field (CHECKSUM_PARTIAL), and expects a device to add the rest; on a virtual link no
 * device does. A damaged frame passes for an unfinished one as rarely as for a correct one: one time in 65,536.
 */
#include <string.h>

#include "plugin/csum.h"
#include "stack/cksum.h"
#include "stack/wire.h"

#define TCP_CSUM_AT	16
#define UDP_CSUM_AT	6

bool dpdk_csum_unfinished(const uint8_t *frame, uint32_t len)
{
	const struct fn_ether_hdr *eth = (const struct fn_ether_hdr *)frame;
	const struct fn_ip4_hdr *ip = (const struct fn_ip4_hdr *)(frame + FN_ETHER_LEN);
	uint32_t ihl, total, at;
	uint16_t field, complete;

	if (len < FN_ETHER_LEN + FN_IP4_LEN || eth->type != fn_be16(FN_ETHER_TYPE_IP4) || ip->ver_ihl >> 4 != 4)
		return false;
	ihl = (ip->ver_ihl & 15u) * 4;
	total = fn_be16(ip->len);
	if (ip->frag & fn_be16(FN_IP4_MF | FN_IP4_OFFSET))
		return false;
	if (ip->proto == FN_IPPROTO_TCP)
		at = ihl + TCP_CSUM_AT;
	else if (ip->proto == FN_IPPROTO_UDP)
		at = ihl + UDP_CSUM_AT;
	else
		return false;
	if (ihl < FN_IP4_LEN || total < at + 2 || FN_ETHER_LEN + total > len)
		return false;
	memcpy(&field, frame + FN_ETHER_LEN + at, 2);
	complete = fn_cksum_fold(fn_cksum_pseudo4(ip->src, ip->dst, ip->proto, total - ihl));
	return (field ^ complete) == 0xffff;
}
