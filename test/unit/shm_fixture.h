/* SPDX-License-Identifier: BSD-3-Clause */
/* What the fabric's units share: bytes through a connection, whatever the stacks at its ends. */
#ifndef SHM_FIXTURE_H
#define SHM_FIXTURE_H

#include <criterion/criterion.h>
#include <sys/socket.h>

#include "stack/stack.h"
#include "stack/sock.h"

static ssize_t give(struct fn_sock *sk, const void *data, size_t len)
{
	struct iovec iov = { (void *)data, len };

	return fn_tcp_send(sk, &iov, 1, 0, 0);
}

static ssize_t get(struct fn_sock *sk, void *data, size_t len)
{
	struct iovec iov = { data, len };

	return fn_tcp_recv(sk, &iov, 1, 0, MSG_DONTWAIT, NULL);
}

/*
 * `total` bytes each way at once, with reads of odd sizes, checked byte by byte. turn: the stacks are polled, time goes on;
 * rest: now and then, for probes and what waits for a full ring.
 */
fn_unused static void shm_bulk(struct fn_sock *sk[2], uint32_t total, void (*turn)(void), void (*rest)(uint64_t ns))
{
	static uint8_t out[50000], in[30011];
	uint32_t sent[2] = { 0 }, got[2] = { 0 }, rounds = 0;

	while (got[0] < total || got[1] < total) {
		cr_assert_lt(++rounds, 1000000u, "stalled at %u/%u, %u/%u", sent[0], got[1], sent[1], got[0]);
		for (unsigned i = 0; i < 2; i++) {
			uint32_t n = fn_min(total - sent[i], (uint32_t)sizeof(out));
			ssize_t done;

			for (uint32_t k = 0; k < n; k++)
				out[k] = (uint8_t)((sent[i] + k) * 131 >> 3);
			done = n ? give(sk[i], out, n) : 0;
			sent[i] += done > 0 ? (uint32_t)done : 0;
			done = get(sk[i], in, 1 + rounds * 7919 % sizeof(in));
			for (ssize_t k = 0; k < done; k++)
				cr_assert_eq(in[k], (uint8_t)((got[i] + (uint32_t)k) * 131 >> 3));
			got[i] += done > 0 ? (uint32_t)done : 0;
		}
		turn();
		if (rounds % 64 == 0)
			rest(FN_MSEC);
	}
}

#endif
