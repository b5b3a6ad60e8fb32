/* SPDX-License-Identifier: BSD-3-Clause */
/* The Internet checksum (RFC 1071). Sums are native-endian one's complement; only fn_cksum_fold's result goes on the wire. */
#ifndef FN_CKSUM_H
#define FN_CKSUM_H

#include "compiler.h"

struct fn_pkt;

/* Add len bytes at p to sum; every call but the last has an even len. */
uint64_t fn_cksum_add(uint64_t sum, const void *p, size_t len);

/* Fold to 16 bits and complement: what is stored in a header (already in network order in memory). */
fn_inline uint16_t fn_cksum_fold(uint64_t sum)
{
	uint32_t s = (uint32_t)sum + (uint32_t)(sum >> 32);

	s += s < (uint32_t)sum;			/* end-around carry */
	s += s << 16 | s >> 16;			/* its upper half: both halves, and their carry */
	return (uint16_t)(~s >> 16);
}

/* The pseudo header's sum (RFC 9293 3.1, RFC 768): addresses in network order, length of header and data in host order. */
fn_inline uint64_t fn_cksum_pseudo4(uint32_t src, uint32_t dst, uint8_t proto, uint32_t len)
{
	return (uint64_t)src + dst + __builtin_bswap32(((uint32_t)proto << 16) + len);
}

/* Two sums in one: a plain + of two 64-bit sums would lose a carry. */
fn_inline uint64_t fn_cksum_join(uint64_t a, uint64_t b)
{
	a += b;
	return a + (a < b);
}

/* Sum of a chain from its offset `off` behind .data to the end of the packet; below 2^33, so that more can be added. */
uint64_t fn_cksum_pkt(const struct fn_pkt *p, uint32_t off);

#endif
