/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * Connections between A, whose calls are left for good, and B, which lives: where a byte stands says what it is, so that a
 * stream is checked byte by byte whoever goes on with it.
 */
#ifndef FLOW_H
#define FLOW_H

#include <criterion/criterion.h>

#include "stack/tcp.h"

#define FLOW_CHUNK	70000u

struct flow {
	struct fn_sock *b, *a;		/* NULL: not there (any more) */
	uint32_t sent, got;		/* B's bytes */
	uint32_t wrote0, read0;		/* A's write_seq and copied_seq when it began */
};

static uint8_t bytes[FLOW_CHUNK];

static uint8_t byte_of(unsigned i, bool to_a, uint32_t at)
{
	return (uint8_t)(i * 7 + to_a * 3 + (at * 131 >> 3));
}

static void fill(unsigned i, bool to_a, uint32_t at, uint32_t n)
{
	for (uint32_t k = 0; k < n; k++)
		bytes[k] = byte_of(i, to_a, at + k);
}

static void compare(unsigned i, bool to_a, uint32_t at, ssize_t n)
{
	for (ssize_t k = 0; k < n; k++)
		cr_assert_eq(bytes[k], byte_of(i, to_a, at + (uint32_t)k), "flow %u, to A %d, byte %u", i, to_a, at + (uint32_t)k);
}

static struct fn_tcp *tp_of(const struct flow *f)
{
	return fn_tcp_sk(f->a);
}

#endif
