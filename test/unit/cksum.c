/* SPDX-License-Identifier: BSD-3-Clause */
/* The Internet checksum against RFC 1071's example and a plain 16-bit sum; names of counters and drop reasons; SipHash. */
#include <criterion/criterion.h>
#include <string.h>

#include "stack/cksum.h"
#include "stack/net.h"
#include "stack/pkt.h"
#include "stack/stats.h"

static uint16_t plain(const uint8_t *p, size_t len)
{
	uint32_t sum = 0;

	for (size_t i = 0; i < len; i += 2)
		sum += (uint32_t)p[i] << 8 | (i + 1 < len ? p[i + 1] : 0);
	while (sum >> 16)
		sum = (sum & 0xffff) + (sum >> 16);
	return fn_be16((uint16_t)~sum);
}

static void fill(uint8_t *p, size_t len, uint32_t seed)
{
	for (size_t i = 0; i < len; i++) {
		seed = seed * 1664525 + 1013904223;
		p[i] = seed % 5 ? (uint8_t)(seed >> 24) : 0xff;
	}
}

Test(cksum, example_of_rfc_1071)
{
	static const uint8_t x[] = {0x00, 0x01, 0xf2, 0x03, 0xf4, 0xf5, 0xf6, 0xf7};

	cr_assert_eq(fn_cksum_fold(fn_cksum_add(0, x, sizeof(x))), fn_be16((uint16_t)~0xddf2));
}

Test(cksum, every_length_and_alignment)
{
	static uint8_t buf[400];

	fill(buf, sizeof(buf), 1);
	for (size_t off = 0; off < 9; off++)
		for (size_t len = 0; len < 380; len++)
			cr_assert_eq(fn_cksum_fold(fn_cksum_add(0, buf + off, len)), plain(buf + off, len), "%zu %zu", off,
				     len);
}

Test(cksum, carries_are_not_lost)
{
	static uint8_t buf[65536];

	memset(buf, 0xff, sizeof(buf));
	cr_assert_eq(fn_cksum_fold(fn_cksum_add(0, buf, sizeof(buf))), plain(buf, sizeof(buf)));
	cr_assert_eq(fn_cksum_fold(fn_cksum_add(UINT64_MAX, buf, 64)), 0);
	cr_assert_eq(fn_cksum_fold(fn_cksum_add(UINT64_MAX - 1, buf, 8)), plain(buf, 8) ^ 1);
}

Test(cksum, a_chain_sums_like_one_buffer)
{
	static uint8_t buf[1000];
	struct fn_pkt p[4] = {0};

	fill(buf, sizeof(buf), 3);
	for (unsigned a = 0; a < 40; a++)
		for (unsigned off = 0; off < 60; off += 7) {
			p[0] = (struct fn_pkt){.data = buf, .len = a, .seg = &p[1]};
			p[1] = (struct fn_pkt){.data = buf + a, .len = 33, .seg = &p[2]};
			p[2] = (struct fn_pkt){.data = buf + a + 33, .len = 1, .seg = &p[3]};
			p[3] = (struct fn_pkt){.data = buf + a + 34, .len = 300};
			cr_assert_eq(fn_cksum_fold(fn_cksum_pkt(p, off)), plain(buf + off, a + 334 - off), "%u %u", a, off);
		}
}

Test(cksum, pseudo_header)
{
	/* 10.0.0.1 > 10.0.0.2, UDP, 12 bytes, as bytes */
	static const uint8_t x[] = {10, 0, 0, 1, 10, 0, 0, 2, 0, 17, 0, 12};
	uint32_t src, dst;

	memcpy(&src, x, 4);
	memcpy(&dst, x + 4, 4);
	cr_assert_eq(fn_cksum_fold(fn_cksum_pseudo4(src, dst, 17, 12)), plain(x, sizeof(x)));
}

/* The first, second and last vectors of the reference implementation (vectors.h of github.com/veorq/SipHash). */
Test(siphash, reference_vectors)
{
	uint8_t key[16], in[64];

	for (unsigned i = 0; i < 64; i++)
		in[i] = (uint8_t)i;
	memcpy(key, in, 16);
	cr_assert_eq(fn_siphash(key, in, 0), 0x726fdb47dd0e0e31ull);
	cr_assert_eq(fn_siphash(key, in, 1), 0x74f839c593dc67fdull);
	cr_assert_eq(fn_siphash(key, in, 15), 0xa129ca6149be45e5ull);
	cr_assert_eq(fn_siphash3(key, 0x03020100, 0x07060504, 0x0b0a0908), fn_siphash(key, in, 12));
}

Test(stats, every_entry_has_a_name_and_a_text)
{
	unsigned i;

	for (i = 0; i < FN_DROP_COUNT; i++)
		cr_assert(*fn_drop_name(i) && *fn_drop_text(i));
	cr_assert_str_eq(fn_drop_name(FN_DROP_TCP_PAWS), "TCP_PAWS");
	cr_assert_str_eq(fn_stat_name(0), "polls");
	for (i = 0; fn_stat_name(i); i++)
		cr_assert(*fn_stat_text(i));
	cr_assert_eq(i * sizeof(uint64_t), offsetof(struct fn_stats, drop));
	cr_assert_null(fn_stat_text(i));
}
