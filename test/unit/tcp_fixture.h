/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * Two stacks, A (10.0.0.1) and B (10.0.0.2), at the ends of a test wire, in virtual time. pass() lets time go by as a
 * driver would: each stack is polled when a frame arrives or it has asked for it.
 */
#ifndef TEST_TCP_FIXTURE_H
#define TEST_TCP_FIXTURE_H

#include <criterion/criterion.h>
#include <errno.h>
#include <poll.h>
#include <stdio.h>
#include <sys/socket.h>

#include "fixture.h"
#include "stack/net.h"
#include "stack/nic_pair.h"
#include "stack/tcp.h"

#define IP(a, b, c, d)	fn_be32((uint32_t)(a) << 24 | (b) << 16 | (c) << 8 | (d))
#define MS		FN_MSEC
#define SEC		FN_SEC_NS

struct end {
	struct fn_stack *st;
	struct fn_nic *nic;
	struct fn_arena *arena;
	uint32_t ip;
};

/* A socket's user: what its owner was told. */
struct watch {
	unsigned events;	/* since the last look */
	unsigned calls;
};

static struct fn_pair *wire;
static struct end A, B;
static uint64_t now;
static struct fn_pair_conf wire_conf;
static struct fn_stack_conf stack_conf;
static struct watch watches[64];
static unsigned watch_count;

static void on_ready(void *ctx, struct fn_sock *sk, unsigned events)
{
	struct watch *w = sk->user;

	w->events |= events;
	w->calls++;
}

static struct watch *watch_new(void)
{
	cr_assert(watch_count < fn_array_size(watches));
	return &watches[watch_count++];
}

/* Events since the last call. */
static unsigned fn_unused events_of(struct fn_sock *sk)
{
	struct watch *w = sk->user;
	unsigned e = w->events;

	w->events = 0;
	return e;
}

static void end_make(struct end *e, unsigned i)
{
	struct fn_stack_ops ops = {.ready = on_ready};
	struct fn_stack_conf sc = stack_conf;

	sc.seed[0] = (uint8_t)(i + 1);
	e->ip = IP(10, 0, 0, i + 1);
	e->arena = test_arena(32u << 20);
	e->st = fn_stack_create(e->arena, &sc, &ops, NULL, now);
	cr_assert_not_null(e->st);
	e->nic = fn_pair_nic(wire, i);
	e->nic->ip4 = e->ip;
	e->nic->ip4_mask = IP(255, 255, 255, 0);
	cr_assert_eq(fn_stack_add_nic(e->st, e->nic), 0);
}

/* Poll both while there is something to do at this moment. */
static void settle(void)
{
	unsigned n = 1, rounds = 0;

	fn_pair_set_time(wire, now);
	while (n) {
		cr_assert(++rounds < 100000, "a livelock at one moment");
		n = fn_stack_poll(A.st, now) + fn_stack_poll(B.st, now);
		if (fn_pair_next(wire) <= now)
			n = 1;
	}
}

static uint64_t next_event(void)
{
	return fn_min(fn_pair_next(wire), fn_min(fn_stack_deadline(A.st), fn_stack_deadline(B.st)));
}

static void pass(uint64_t t)
{
	uint64_t end = now + t, next;

	settle();
	while ((next = next_event()) <= end) {
		now = fn_max(next, now + 1);
		settle();
	}
	now = end;
	settle();
}

static void tcp_setup(void)
{
	if (!wire_conf.seed)
		wire_conf.seed = 1;
	if (!wire_conf.delay_ns)
		wire_conf.delay_ns = 100000;
	if (!stack_conf.max_tcp)
		fn_stack_conf_init(&stack_conf);
	wire = fn_pair_create(&wire_conf);
	now = 1000 * SEC;
	watch_count = 0;
	memset(watches, 0, sizeof(watches));
	end_make(&A, 0);
	end_make(&B, 1);
	pass(10 * MS);
}

static void reset_conf(void)
{
	memset(&wire_conf, 0, sizeof(wire_conf));
	memset(&stack_conf, 0, sizeof(stack_conf));
	fn_stack_conf_init(&stack_conf);
}

/* Nothing may be left: neither buffers nor objects. */
static void fn_unused expect_nothing_left(void)
{
	cr_expect_eq(A.st->tcp_pool.used, 0, "A holds %u connections", A.st->tcp_pool.used);
	cr_expect_eq(B.st->tcp_pool.used, 0, "B holds %u connections", B.st->tcp_pool.used);
	cr_expect_eq(A.st->tcp->tw_pool.used, 0);
	cr_expect_eq(B.st->tcp->tw_pool.used, 0);
	cr_expect_eq(A.st->tcp->req_pool.used, 0);
	cr_expect_eq(B.st->tcp->req_pool.used, 0);
	cr_expect_eq(fn_pair_outstanding(wire, 0), 0, "A holds %u buffers", fn_pair_outstanding(wire, 0));
	cr_expect_eq(fn_pair_outstanding(wire, 1), 0, "B holds %u buffers", fn_pair_outstanding(wire, 1));
}

/* Everything is closed: let TIME_WAIT and timers pass, then look. */
static void fn_unused tcp_finish(void)
{
	fn_pair_conf(wire)->loss_ppm = fn_pair_conf(wire)->reorder_ppm = 0;
	pass(300 * SEC);
	expect_nothing_left();
}

static void tcp_teardown(void)
{
	fn_pair_destroy(wire);
	free(A.arena);
	free(B.arena);
}

/* ---- sockets ---- */

static struct fn_sock *sock_on(struct end *e)
{
	struct fn_sock *sk = fn_sock_open(e->st, FN_SOCK_TCP, watch_new());

	cr_assert_not_null(sk);
	return sk;
}

static struct fn_ep at(const struct end *e, uint16_t port)
{
	return (struct fn_ep){.ip4 = e->ip, .port = fn_be16(port)};
}

static struct fn_sock *fn_unused listen_on(struct end *e, uint16_t port, int backlog)
{
	struct fn_sock *sk = sock_on(e);
	struct fn_ep ep = {.port = fn_be16(port)};

	cr_assert_eq(fn_sock_bind(sk, &ep), 0);
	cr_assert_eq(fn_tcp_listen(sk, backlog), 0);
	return sk;
}

static struct fn_sock *fn_unused connect_to(struct end *from, struct end *to, uint16_t port)
{
	struct fn_sock *sk = sock_on(from);
	struct fn_ep ep = at(to, port);

	cr_assert_eq(fn_sock_connect(sk, &ep), -EINPROGRESS);
	return sk;
}

static ssize_t fn_unused write_to(struct fn_sock *sk, const void *data, size_t len, unsigned flags)
{
	struct iovec iov = {(void *)data, len};

	return fn_tcp_send(sk, &iov, 1, 0, flags);
}

static ssize_t fn_unused read_from(struct fn_sock *sk, void *data, size_t len, unsigned flags)
{
	struct iovec iov = {data, len};

	return fn_tcp_recv(sk, &iov, 1, 0, flags, NULL);
}

/* c on A, s on B, both ESTABLISHED; the listener is closed again unless keep is given. */
static struct fn_sock *c, *s;

static void connected_pair_after(uint64_t t)
{
	struct fn_sock *l = listen_on(&B, 80, 16);

	c = connect_to(&A, &B, 80);
	pass(t);
	cr_assert_eq(c->tcp_state, FN_TCP_ESTABLISHED);
	s = fn_tcp_accept(l, watch_new());
	cr_assert_not_null(s);
	cr_assert_eq(s->tcp_state, FN_TCP_ESTABLISHED);
	fn_sock_close(l);
	events_of(c);
}

static void fn_unused connected_pair(void) { connected_pair_after(5 * MS); }
static void fn_unused connected_pair_slow(void) { connected_pair_after(500 * MS); }

static uint8_t fn_unused pattern(size_t i)
{
	return (uint8_t)(i * 167 + (i >> 8) * 31 + (i >> 16));
}

/* Move `total` bytes from `from` to `to`; returns how many arrived before the time limit. Checks each byte. */
static size_t fn_unused transfer(struct fn_sock *from, struct fn_sock *to, size_t total, uint64_t limit)
{
	static uint8_t buf[65536];
	size_t sent = 0, got = 0;
	uint64_t end = now + limit;
	ssize_t n;

	while (got < total && now < end) {
		bool moved = false;

		while (sent < total) {
			size_t part = fn_min(total - sent, sizeof(buf));

			for (size_t i = 0; i < part; i++)
				buf[i] = pattern(sent + i);
			n = write_to(from, buf, part, 0);
			if (n <= 0)
				break;
			sent += (size_t)n;
			moved = true;
		}
		while ((n = read_from(to, buf, sizeof(buf), 0)) > 0) {
			for (ssize_t i = 0; i < n; i++)
				cr_assert_eq(buf[i], pattern(got + (size_t)i), "byte %zu differs", got + (size_t)i);
			got += (size_t)n;
			moved = true;
		}
		if (moved)
			settle();
		else if (next_event() == FN_NEVER)
			break;
		else
			pass(fn_max(next_event(), now + 1) - now);
	}
	return got;
}

#endif
