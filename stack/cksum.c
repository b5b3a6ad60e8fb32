/* SPDX-License-Identifier: BSD-3-Clause */
/* The Internet checksum, 64 bits at a time with end-around carry (RFC 1071 2: the sum may be taken in wider words). */
#include <string.h>

#include "cksum.h"
#include "pkt.h"

#ifdef __x86_64__
static inline uint64_t add_block(uint64_t sum, const uint8_t *p)
{
	__asm__("addq 0(%1), %0\n\t"
		"adcq 8(%1), %0\n\t"
		"adcq 16(%1), %0\n\t"
		"adcq 24(%1), %0\n\t"
		"adcq 32(%1), %0\n\t"
		"adcq 40(%1), %0\n\t"
		"adcq 48(%1), %0\n\t"
		"adcq 56(%1), %0\n\t"
		"adcq $0, %0"
		: "+r" (sum) : "r" (p), "m" (*(const uint8_t (*)[64])p) : "cc");
	return sum;
}
#else
static inline uint64_t add_block(uint64_t sum, const uint8_t *p)
{
	uint64_t v[8];

	memcpy(v, p, sizeof(v));
	for (unsigned i = 0; i < 8; i++)
		sum = fn_cksum_join(sum, v[i]);
	return sum;
}
#endif

/* The last 1 to 7 bytes; an odd one counts as if a zero followed it. */
static inline uint64_t add_tail(uint64_t sum, const uint8_t *p, size_t len)
{
	uint64_t v = 0;
	unsigned at = 0;

	if (len & 4) {
		memcpy(&v, p, 4);
		at = 4;
	}
	if (len & 2) {
		memcpy((uint8_t *)&v + at, p + at, 2);
		at += 2;
	}
	if (len & 1)
		((uint8_t *)&v)[at] = p[at];
	return fn_cksum_join(sum, v);
}

uint64_t fn_cksum_add(uint64_t sum, const void *data, size_t len)
{
	const uint8_t *p = data;
	uint64_t v;

	for (; len >= 64; p += 64, len -= 64)
		sum = add_block(sum, p);
	for (; len >= 8; p += 8, len -= 8) {
		memcpy(&v, p, 8);
		sum = fn_cksum_join(sum, v);
	}
	return len ? add_tail(sum, p, len) : sum;
}

uint64_t fn_cksum_pkt(const struct fn_pkt *p, uint32_t off)
{
	uint64_t sum = 0, part;
	bool odd = false;

	for (; p; p = p->seg) {
		if (off >= p->len) {
			off -= p->len;
			continue;
		}
		part = fn_cksum_add(0, p->data + off, p->len - off);
		/* bytes behind an odd number of bytes: the sum with its bytes swapped (RFC 1071 2B) */
		sum = fn_cksum_join(sum, odd ? part << 8 | part >> 56 : part);
		odd ^= (p->len - off) & 1;
		off = 0;
	}
	return (sum & UINT32_MAX) + (sum >> 32);
}
