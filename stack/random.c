/* SPDX-License-Identifier: BSD-3-Clause */
/* The stack's random numbers and keys, all from its seed: the same seed, the same numbers. */
#include <string.h>

#include "net.h"

static uint64_t rotl(uint64_t x, unsigned n)
{
	return x << n | x >> (64 - n);
}

/* xoshiro256**, Blackman and Vigna 2018 */
uint64_t fn_stack_random(struct fn_stack *st)
{
	uint64_t *s = st->rng, result = rotl(s[1] * 5, 7) * 9, t = s[1] << 17;

	s[2] ^= s[0];
	s[3] ^= s[1];
	s[1] ^= s[2];
	s[0] ^= s[3];
	s[2] ^= t;
	s[3] = rotl(s[3], 45);
	return result;
}

/* Words that tell nothing about the seed or each other: SipHash, keyed with one half of it, of the other and a counter. */
static void seed_expand(const uint8_t seed[32], uint8_t label, void *out, size_t len)
{
	uint8_t in[24] = {0};
	uint64_t v;
	size_t at;

	memcpy(in, seed + 16, 16);
	in[16] = label;
	for (at = 0; at < len; at += 8) {
		in[17] = (uint8_t)(at / 8);
		v = fn_siphash(seed, in, sizeof(in));
		memcpy((uint8_t *)out + at, &v, fn_min((size_t)8, len - at));
	}
}

void fn_stack_seed(struct fn_stack *st)
{
	seed_expand(st->conf.seed, 1, st->rng, sizeof(st->rng));
	seed_expand(st->conf.seed, 2, st->key, sizeof(st->key));
	seed_expand(st->conf.seed, 3, st->rss_key, sizeof(st->rss_key));
	st->rng[0] |= 1;	/* all zero is the one state that xoshiro does not leave */
}
