/* SPDX-License-Identifier: BSD-3-Clause */
/* SipHash-2-4 (Aumasson, Bernstein 2012): the keyed function behind ISNs, cookies and port offsets. */
#include <string.h>

#include "net.h"

static inline uint64_t rotl(uint64_t x, unsigned n)
{
	return x << n | x >> (64 - n);
}

static inline uint64_t load_le64(const void *p)
{
	uint64_t v;

	memcpy(&v, p, 8);
#if __BYTE_ORDER__ == __ORDER_BIG_ENDIAN__
	v = __builtin_bswap64(v);
#endif
	return v;
}

static inline void sip_round(uint64_t v[4])
{
	v[0] += v[1];
	v[1] = rotl(v[1], 13) ^ v[0];
	v[0] = rotl(v[0], 32);
	v[2] += v[3];
	v[3] = rotl(v[3], 16) ^ v[2];
	v[0] += v[3];
	v[3] = rotl(v[3], 21) ^ v[0];
	v[2] += v[1];
	v[1] = rotl(v[1], 17) ^ v[2];
	v[2] = rotl(v[2], 32);
}

static inline void sip_word(uint64_t v[4], uint64_t m)
{
	v[3] ^= m;
	sip_round(v);
	sip_round(v);
	v[0] ^= m;
}

static inline void sip_begin(uint64_t v[4], const uint8_t key[16])
{
	uint64_t k0 = load_le64(key), k1 = load_le64(key + 8);

	v[0] = k0 ^ 0x736f6d6570736575ull;
	v[1] = k1 ^ 0x646f72616e646f6dull;
	v[2] = k0 ^ 0x6c7967656e657261ull;
	v[3] = k1 ^ 0x7465646279746573ull;
}

static inline uint64_t sip_end(uint64_t v[4])
{
	v[2] ^= 0xff;
	for (unsigned i = 0; i < 4; i++)
		sip_round(v);
	return v[0] ^ v[1] ^ v[2] ^ v[3];
}

uint64_t fn_siphash(const uint8_t key[16], const void *data, size_t len)
{
	uint8_t last[8] = {0};
	const uint8_t *p = data;
	size_t left = len;
	uint64_t v[4];

	sip_begin(v, key);
	for (; left >= 8; p += 8, left -= 8)
		sip_word(v, load_le64(p));
	memcpy(last, p, left);
	last[7] = (uint8_t)len;
	sip_word(v, load_le64(last));
	return sip_end(v);
}

uint64_t fn_siphash3(const uint8_t key[16], uint32_t a, uint32_t b, uint32_t c)
{
	uint64_t v[4];

	sip_begin(v, key);
	sip_word(v, (uint64_t)b << 32 | a);
	sip_word(v, 12ull << 56 | c);
	return sip_end(v);
}
