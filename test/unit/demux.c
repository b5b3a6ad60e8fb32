/* SPDX-License-Identifier: BSD-3-Clause */
/* Demultiplexing: Toeplitz vectors, the growing table of connections, Linux's bind rules, ephemeral ports. */
#include <criterion/criterion.h>
#include <errno.h>

#include "fixture.h"
#include "stack/net.h"

#define IP(a, b, c, d)	fn_be32((uint32_t)(a) << 24 | (b) << 16 | (c) << 8 | (d))

static struct fn_arena *arena;
static struct fn_stack *st;

bool fn_tcp_tw_reusable(const struct fn_sock *sk)
{
	return sk->tcp_state == 99;
}

static void setup(void)
{
	arena = test_arena(64u << 20);
	st = fn_arena_alloc(arena, sizeof(*st));
	st->arena = arena;
	st->conf.port_first = 40000;
	st->conf.port_last = 40099;
	fn_stack_seed(st);
	cr_assert_eq(fn_demux_init(st), 0);
}

static void teardown(void)
{
	free(arena);
}

TestSuite(demux, .init = setup, .fini = teardown);

static struct fn_sock *sock(enum fn_sock_kind kind, uint32_t ip, uint16_t port, uint16_t opts)
{
	struct fn_sock *sk = fn_arena_alloc(arena, sizeof(*sk));

	sk->kind = kind;
	sk->st = st;
	sk->local = (struct fn_ep){.ip4 = ip, .port = fn_be16(port)};
	sk->opts = opts;
	return sk;
}

static void add_conn(struct fn_sock *sk)
{
	fn_demux_add_hashed(st, sk, fn_hash4(st, sk->remote.ip4, sk->local.ip4, sk->remote.port, sk->local.port));
}

static struct fn_sock *conn(uint32_t lip, uint16_t lport, uint32_t rip, uint16_t rport)
{
	struct fn_sock *sk = sock(FN_SOCK_TCP, lip, lport, 0);

	sk->remote = (struct fn_ep){.ip4 = rip, .port = fn_be16(rport)};
	add_conn(sk);
	return sk;
}

/* "Verifying the RSS hash calculation", Microsoft: IPv4 with TCP. */
Test(demux, toeplitz_of_the_published_vectors)
{
	static const uint8_t key[40] = {
		0x6d, 0x5a, 0x56, 0xda, 0x25, 0x5b, 0x0e, 0xc2, 0x41, 0x67, 0x25, 0x3d, 0x43, 0xa3, 0x8f, 0xb0, 0xd0, 0xca,
		0x2b, 0xcb, 0xae, 0x7b, 0x30, 0xb4, 0x77, 0xcb, 0x2d, 0xa3, 0x80, 0x30, 0xf2, 0x0c, 0x6a, 0x42, 0xb7, 0x3b,
		0xbe, 0xac, 0x01, 0xfa};

	memcpy(st->rss_key, key, 40);
	fn_demux_init(st);
	cr_assert_eq(fn_hash4(st, IP(66, 9, 149, 187), IP(161, 142, 100, 80), fn_be16(2794), fn_be16(1766)), 0x51ccc178);
	cr_assert_eq(fn_hash4(st, IP(199, 92, 111, 2), IP(65, 69, 140, 83), fn_be16(14230), fn_be16(4739)), 0xc626b0ea);
	cr_assert_eq(fn_hash4(st, IP(24, 19, 198, 95), IP(12, 22, 207, 184), fn_be16(12898), fn_be16(38024)), 0x5c2b394a);
}

Test(demux, thousands_of_connections_come_and_go)
{
	enum { N = 20000 };
	static struct fn_sock *sk[N];
	size_t before = arena->used;

	cr_assert_lt(before, 200000, "a fresh table is small");
	for (unsigned i = 0; i < N; i++)
		sk[i] = conn(IP(10, 0, 0, 1), 80, IP(10, 1, 0, 0) + (i % 7), (uint16_t)(1000 + i));
	for (unsigned i = 0; i < N; i++)
		cr_assert_eq(fn_demux_conn(st, sk[i]->hash, &sk[i]->local, &sk[i]->remote), sk[i]);
	for (unsigned i = 0; i < N; i += 2)
		fn_demux_del_conn(st, sk[i]);
	for (unsigned i = 0; i < N; i++)
		cr_assert_eq(fn_demux_conn(st, sk[i]->hash, &sk[i]->local, &sk[i]->remote), i % 2 ? sk[i] : NULL);
	fn_demux_del_conn(st, sk[0]);
}

Test(demux, one_takes_the_place_of_another)
{
	enum { N = 2000 };
	static struct fn_sock *old[N], *sk[N];

	for (unsigned i = 0; i < N; i++)
		old[i] = conn(IP(10, 0, 0, 1), 80, IP(10, 1, 0, 0), (uint16_t)(1000 + i));
	for (unsigned i = 0; i < N; i++) {
		sk[i] = sock(FN_SOCK_TCP, IP(10, 0, 0, 1), 80, 0);
		sk[i]->remote = old[i]->remote;
		st->express = (void *)old[i];
		fn_demux_replace_conn(st, old[i], sk[i]);
		cr_assert_null(st->express);
		fn_demux_del_conn(st, old[i]);		/* is in it no more */
	}
	for (unsigned i = 0; i < N; i++)
		cr_assert_eq(fn_demux_conn(st, sk[i]->hash, &sk[i]->local, &sk[i]->remote), sk[i]);
	for (unsigned i = 0; i < N; i++)
		fn_demux_del_conn(st, sk[i]);
	cr_assert_null(fn_demux_conn(st, sk[0]->hash, &sk[0]->local, &sk[0]->remote));
	cr_assert_null(st->last_conn);
}

Test(demux, a_connection_is_found_by_all_four)
{
	struct fn_sock *sk = conn(IP(10, 0, 0, 1), 80, IP(10, 0, 0, 2), 4000);
	struct fn_ep other = sk->remote;

	other.port++;
	cr_assert_null(fn_demux_conn(st, sk->hash, &sk->local, &other));
	cr_assert_null(fn_demux_conn(st, sk->hash, &other, &sk->remote));
}

struct bind_case {
	uint32_t ip1, ip2;
	uint16_t opts1, opts2;
	bool listen1;
	int expect_bind, expect_listen;
};

#define RA	FN_SO_REUSEADDR
#define RP	FN_SO_REUSEPORT

Test(demux, tcp_bind_rules_are_linux)
{
	uint32_t a = IP(10, 0, 0, 1), b = IP(10, 0, 0, 2);
	struct bind_case cases[] = {
		{a, a, 0, 0, false, -EADDRINUSE, 0},
		{a, b, 0, 0, true, 0, 0},
		{0, b, 0, 0, false, -EADDRINUSE, 0},
		{a, 0, RA, 0, false, -EADDRINUSE, 0},
		{0, 0, RA, RA, false, 0, 0},
		{0, 0, RA, RA, true, -EADDRINUSE, 0},
		{0, 0, RP, RP, true, 0, 0},
		{0, 0, RP, RA, true, -EADDRINUSE, 0},
		{0, a, RA | RP, RP, true, 0, 0},
	};

	for (unsigned i = 0; i < fn_array_size(cases); i++) {
		struct bind_case *c = &cases[i];
		struct fn_sock *x = sock(FN_SOCK_TCP, c->ip1, 80, c->opts1), *y = sock(FN_SOCK_TCP, c->ip2, 80, c->opts2);

		cr_assert_eq(fn_demux_bind(st, x), 0);
		if (c->listen1)
			cr_assert_eq(fn_demux_listen(st, x), 0);
		cr_assert_eq(fn_demux_bind(st, y), c->expect_bind, "case %u", i);
		fn_demux_unbind(st, x);
		fn_demux_unbind(st, y);
	}
}

Test(demux, two_with_reuseaddr_cannot_both_listen)
{
	struct fn_sock *x = sock(FN_SOCK_TCP, 0, 80, RA), *y = sock(FN_SOCK_TCP, 0, 80, RA);

	cr_assert_eq(fn_demux_bind(st, x), 0);
	cr_assert_eq(fn_demux_bind(st, y), 0);
	cr_assert_eq(fn_demux_listen(st, x), 0);
	cr_assert_eq(fn_demux_listen(st, y), -EADDRINUSE);
	fn_demux_unbind(st, x);
	cr_assert_eq(fn_demux_listen(st, y), 0);
}

Test(demux, a_port_that_the_stack_chose_for_a_connection_can_be_named)
{
	struct fn_sock *c = conn(IP(10, 0, 0, 1), 40000, IP(10, 0, 0, 2), 80);
	struct fn_sock *x = sock(FN_SOCK_TCP, 0, 40000, 0), *y = sock(FN_SOCK_TCP, 0, 40000, 0);

	cr_assert(fn_demux_conns_clash(st, x));
	c->opts |= FN_SO_EPHEMERAL;
	cr_assert_not(fn_demux_conns_clash(st, x));
	cr_assert_eq(fn_demux_bind(st, x), 0);
	cr_assert_eq(fn_demux_bind(st, y), -EADDRINUSE);
}

Test(demux, connections_hold_their_port_against_bind_without_reuseaddr)
{
	struct fn_sock *c = conn(IP(10, 0, 0, 1), 80, IP(10, 0, 0, 2), 4000), *x = sock(FN_SOCK_TCP, 0, 80, 0);
	struct fn_sock *other = sock(FN_SOCK_TCP, IP(10, 0, 0, 9), 80, 0);

	cr_assert(fn_demux_conns_clash(st, x));
	cr_assert_not(fn_demux_conns_clash(st, other));
	x->opts |= RA;
	cr_assert(fn_demux_conns_clash(st, x));
	c->opts |= RA;
	cr_assert_not(fn_demux_conns_clash(st, x));
	c->opts = FN_SO_REUSEPORT | FN_SO_IN_CONN;
	cr_assert(fn_demux_conns_clash(st, x));
	x->opts = FN_SO_REUSEPORT;
	cr_assert_not(fn_demux_conns_clash(st, x));
	x->opts = 0;
	cr_assert(fn_demux_conns_clash(st, x));
	fn_demux_del_conn(st, c);
	cr_assert_not(fn_demux_conns_clash(st, x));
}

Test(demux, the_most_specific_udp_socket_wins)
{
	struct fn_ep local = {.ip4 = IP(10, 0, 0, 1), .port = fn_be16(53)}, remote = {.ip4 = IP(9, 9, 9, 9), .port = 7};
	struct fn_sock *any = sock(FN_SOCK_UDP, 0, 53, RA), *addr = sock(FN_SOCK_UDP, local.ip4, 53, RA);
	struct fn_sock *to = sock(FN_SOCK_UDP, local.ip4, 53, RA);

	cr_assert_null(fn_demux_bound(st, FN_SOCK_UDP, &local, &remote, 1));
	fn_demux_bind(st, addr);
	fn_demux_bind(st, any);
	cr_assert_eq(fn_demux_bound(st, FN_SOCK_UDP, &local, &remote, 1), addr);
	fn_demux_bind(st, to);
	to->remote = remote;
	cr_assert_eq(fn_demux_bound(st, FN_SOCK_UDP, &local, &remote, 1), to);
	remote.port++;
	cr_assert_eq(fn_demux_bound(st, FN_SOCK_UDP, &local, &remote, 1), addr);
	local.ip4++;
	cr_assert_eq(fn_demux_bound(st, FN_SOCK_UDP, &local, &remote, 1), any);
	cr_assert_null(fn_demux_bound(st, FN_SOCK_TCP, &local, &remote, 1));
}

Test(demux, a_listener_is_preferred_to_a_bound_socket)
{
	struct fn_ep local = {.ip4 = IP(10, 0, 0, 1), .port = fn_be16(80)}, remote = {0};
	struct fn_sock *l = sock(FN_SOCK_TCP, 0, 80, RA), *b = sock(FN_SOCK_TCP, local.ip4, 80, RA);

	fn_demux_bind(st, l);
	fn_demux_bind(st, b);
	fn_demux_listen(st, l);
	cr_assert_eq(fn_demux_bound(st, FN_SOCK_TCP, &local, &remote, 1), l);
}

Test(demux, reuseport_shares_by_hash)
{
	struct fn_ep local = {.ip4 = IP(10, 0, 0, 1), .port = fn_be16(80)}, remote = {0};
	struct fn_sock *l[3];
	unsigned hits[3] = {0};

	for (unsigned i = 0; i < 3; i++) {
		l[i] = sock(FN_SOCK_TCP, 0, 80, RP);
		cr_assert_eq(fn_demux_bind(st, l[i]), 0);
		cr_assert_eq(fn_demux_listen(st, l[i]), 0);
	}
	for (unsigned k = 0; k < 3000; k++) {
		uint32_t hash = fn_hash4(st, k, k * 7, (uint16_t)k, 80);
		struct fn_sock *sk = fn_demux_bound(st, FN_SOCK_TCP, &local, &remote, hash);

		cr_assert_eq(sk, fn_demux_bound(st, FN_SOCK_TCP, &local, &remote, hash));
		for (unsigned i = 0; i < 3; i++)
			hits[i] += sk == l[i];
	}
	for (unsigned i = 0; i < 3; i++)
		cr_assert(hits[i] > 800 && hits[i] < 1200, "%u", hits[i]);
}

Test(demux, ephemeral_ports_fill_the_range_once_for_each_remote_end)
{
	struct fn_ep remote = {.ip4 = IP(10, 0, 0, 2), .port = fn_be16(80)};
	uint32_t me = IP(10, 0, 0, 1);
	struct fn_sock *bound = sock(FN_SOCK_TCP, 0, 40050, 0), *sk;
	bool seen[100] = {false};

	fn_demux_bind(st, bound);
	for (unsigned i = 0; i < 99; i++) {
		sk = sock(FN_SOCK_TCP, me, 0, 0);
		sk->local.port = fn_demux_ephemeral(st, sk, me, &remote);
		cr_assert(fn_be16(sk->local.port) >= 40000 && fn_be16(sk->local.port) < 40100);
		cr_assert(!seen[fn_be16(sk->local.port) - 40000]);
		seen[fn_be16(sk->local.port) - 40000] = true;
		sk->remote = remote;
		add_conn(sk);
	}
	cr_assert(!seen[50], "a bound port is not used");
	cr_assert_eq(fn_demux_ephemeral(st, bound, me, &remote), 0);
	sk->tcp_state = 99;	/* what fn_tcp_tw_reusable() above allows */
	cr_assert_eq(fn_demux_ephemeral(st, bound, me, &remote), sk->local.port);
	sk->tcp_state = 0;
	remote.port++;
	cr_assert_neq(fn_demux_ephemeral(st, bound, me, &remote), 0, "another remote end has the whole range");
	cr_assert_eq(fn_demux_ephemeral(st, bound, me, NULL), 0, "bind(0) wants a port that nobody uses");
	fn_demux_del_conn(st, sk);
	cr_assert_eq(fn_demux_ephemeral(st, bound, me, NULL), sk->local.port);
}

Test(demux, successive_ports_differ)
{
	struct fn_ep remote = {.ip4 = IP(10, 0, 0, 2), .port = fn_be16(80)};
	struct fn_sock *sk = sock(FN_SOCK_TCP, 0, 0, 0);
	uint16_t p = fn_demux_ephemeral(st, sk, 1, &remote), q = fn_demux_ephemeral(st, sk, 1, &remote);

	cr_assert_neq(p, q, "a port is not used again at once (RFC 6056 3.3.4)");
}
