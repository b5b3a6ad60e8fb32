/* SPDX-License-Identifier: BSD-3-Clause */
/* What the fabric's units share: stacks with their memory, that meet; bytes through a connection. */
#ifndef SHM_FIXTURE_H
#define SHM_FIXTURE_H

#include <criterion/criterion.h>
#include <sys/socket.h>

#include "fixture.h"
#include "stack/net.h"
#include "stack/nic_shm.h"
#include "stack/tcp.h"

#define LOOPBACK	fn_be32(0x7f000001)

/* A process on the fabric. The unit says how large its memory is, and may bring it. */
struct side {
	struct fn_arena *arena;
	struct fn_stack *st;
	struct fn_nic *nic;
	size_t payload_len;
	uint8_t *payload;	/* what it sends from */
	size_t copies_len;
	uint8_t *copies;	/* the same for another user; NULL: the other one is of ours */
	uint32_t slots;
	void *ring;		/* to the other one */
	int peer;		/* the other one's number here */
	struct fn_sock *sk;	/* the unit's */
};

fn_unused static void not_heard(void *ctx, struct fn_sock *sk, unsigned ev)
{
}

/* Zeroed; free() ends it. Not a byte more, for the sanitizer: a ring may be no whole pages. */
fn_unused static void *shm_memory(size_t size)
{
	void *mem = aligned_alloc(size % 4096 ? 64 : 4096, size);

	cr_assert_not_null(mem);
	return memset(mem, 0, size);
}

/* ops, conf: what the unit wants to hear of; NULL: nothing. */
fn_unused static void side_make(struct side *s, unsigned seed, const struct fn_stack_ops *ops, const struct fn_shm_conf *conf,
				uint64_t now)
{
	static const struct fn_stack_ops none = { .ready = not_heard };
	struct fn_shm_conf c = conf ? *conf : (struct fn_shm_conf){ 0 };
	struct fn_stack_conf sc;

	fn_stack_conf_init(&sc);
	sc.seed[0] = (uint8_t)seed;
	if (!s->arena)
		s->arena = test_arena(32u << 20);
	s->st = fn_stack_create(s->arena, &sc, ops ? ops : &none, NULL, now);
	cr_assert_not_null(s->st);
	if (!s->payload)
		s->payload = shm_memory(s->payload_len);
	c.payload = s->payload;
	c.payload_len = s->payload_len;
	s->nic = fn_shm_create(s->arena, &c);
	cr_assert_not_null(s->nic);
	cr_assert_eq(fn_stack_add_nic(s->st, s->nic), 0);
}

/* s gets the other one's number; both have their rings. */
fn_unused static void side_meet(struct side *s, const struct side *other)
{
	struct fn_shm_pair pair = { .tx = s->ring, .rx = other->ring, .tx_slots = s->slots, .rx_slots = other->slots,
		.payload = s->copies ? other->copies : other->payload,
		.payload_len = s->copies ? other->copies_len : other->payload_len,
		.copies = s->copies, .copies_len = s->copies_len };

	s->peer = fn_shm_peer_add(s->nic, &pair);
	cr_assert_gt(s->peer, 0);
}

fn_unused static void sides_meet(struct side *a, struct side *b)
{
	if (!a->ring)
		a->ring = shm_memory(fn_ring_size(a->slots));
	if (!b->ring)
		b->ring = shm_memory(fn_ring_size(b->slots));
	side_meet(a, b);
	side_meet(b, a);
}

/* c connects to l, which accepts; settle is the unit's. Gives the listener. */
fn_unused static struct fn_sock *sides_connect(struct side *c, struct side *l, uint16_t port, void (*settle)(void))
{
	struct fn_ep ep = { .ip4 = LOOPBACK, .port = port };
	struct fn_sock *listener = fn_sock_open(l->st, FN_SOCK_TCP, l);

	cr_assert(!fn_sock_bind(listener, &ep) && !fn_tcp_listen(listener, 16));
	c->sk = fn_sock_open(c->st, FN_SOCK_TCP, c);
	ep.peer = (uint16_t)c->peer;
	cr_assert_eq(fn_sock_connect(c->sk, &ep), -EINPROGRESS);
	settle();
	l->sk = fn_tcp_accept(listener, l);
	cr_assert_not_null(l->sk);
	return listener;
}

fn_unused static void side_end(struct side *s)
{
	free(s->arena);
	free(s->payload);
	free(s->ring);
}

/* ---- bytes ---- */

fn_unused static ssize_t give(struct fn_sock *sk, const void *data, size_t len)
{
	struct iovec iov = { (void *)data, len };

	return fn_tcp_send(sk, &iov, 1, 0, 0);
}

fn_unused static ssize_t get(struct fn_sock *sk, void *data, size_t len)
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
