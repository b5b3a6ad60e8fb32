/* SPDX-License-Identifier: BSD-3-Clause */
/* The round, the deadline, the footprint, the seed. */
#include "net_fixture.h"

TestSuite(stack, .init = net_setup, .fini = net_teardown);

Test(stack, a_fresh_stack_takes_less_than_a_mebibyte)
{
	cr_assert_lt(arena->used, 512u << 10);
}

Test(stack, an_arena_that_is_too_small_is_refused)
{
	struct fn_stack_ops ops = {.ready = on_ready};

	for (size_t size = 4096; size < arena->used - 70000; size += 4096 * 5) {
		struct fn_arena *a = test_arena(size);

		cr_assert_null(fn_stack_create(a, &st->conf, &ops, NULL, 0), "%zu", size);
		free(a);
	}
}

Test(stack, an_idle_stack_has_nothing_to_do)
{
	uint64_t empty = st->stats.polls_empty;

	cr_assert_eq(fn_stack_poll(st, now), 0);
	cr_assert_eq(st->stats.polls_empty, empty + 1);
	cr_assert_eq(fn_stack_deadline(st), FN_NEVER);
	cr_assert(fn_stack_flush(st));
	cr_assert_eq(fn_stack_staged(st), 0);
}

Test(stack, a_poll_counts_packets_and_ends_the_burst_once)
{
	static uint8_t f[200], data[40];
	struct ip_spec s = {.proto = FN_IPPROTO_TCP};
	size_t len = ip_frame(f, &s, data, 40);

	for (unsigned i = 0; i < 70; i++)
		fn_pair_inject(wire, 0, f, len);
	tcp_bursts = 0;
	st->stats.rx_packets = st->stats.rx_bytes = 0;
	cr_assert_eq(fn_stack_poll(st, now), 64);
	cr_assert_eq(tcp_bursts, 1);
	cr_assert_eq(fn_stack_poll(st, now), 6);
	cr_assert_eq(tcp_bursts, 2);
	cr_assert_eq(fn_stack_poll(st, now), 0);
	cr_assert_eq(tcp_bursts, 2, "no connection was touched");
	cr_assert_eq(tcp_inputs, 70);
	cr_assert_eq(st->stats.rx_packets, 70);
	cr_assert_eq(st->stats.rx_bytes, 70 * len);
}

Test(stack, own_addresses)
{
	cr_assert(fn_stack_is_local(st, ME));
	cr_assert(fn_stack_is_local(st, IP(127, 3, 2, 1)));
	cr_assert(!fn_stack_is_local(st, PEER));
	cr_assert(!fn_stack_is_local(st, 0));
}

Test(stack, nics_are_limited_and_checked)
{
	static struct fn_nic more[FN_NICS_MAX];
	unsigned i;

	for (i = 0; i + 1 < FN_NICS_MAX; i++) {
		more[i] = (struct fn_nic){.ops = nic->ops, .caps = FN_NIC_NO_ARP, .mtu = 1500, .tx_payload = 1500,
			.ip4 = IP(10, 1, i, 1), .ip4_mask = IP(255, 255, 255, 0)};
		cr_assert_eq(fn_stack_add_nic(st, &more[i]), 0);
	}
	more[i] = more[0];
	cr_assert_eq(fn_stack_add_nic(st, &more[i]), -ENOSPC);
	more[i].mtu = 60;
	cr_assert_eq(fn_stack_add_nic(st, &more[i]), -EINVAL);
	cr_assert(fn_stack_is_local(st, IP(10, 1, 3, 1)));
	st->nics = 1;
}

Test(stack, the_same_seed_gives_the_same_numbers)
{
	static struct fn_stack a, b;
	uint64_t x = 0;

	a.conf.seed[5] = b.conf.seed[5] = 9;
	fn_stack_seed(&a);
	fn_stack_seed(&b);
	cr_assert_arr_eq(a.key, b.key, 16);
	for (unsigned i = 0; i < 100; i++)
		cr_assert_eq(fn_stack_random(&a), fn_stack_random(&b));
	b.conf.seed[31] ^= 1;
	fn_stack_seed(&b);
	for (unsigned i = 0; i < 16; i++)
		x |= a.key[i] ^ b.key[i];
	cr_assert_neq(x, 0, "every byte of the seed counts");
}

Test(stack, a_link_that_goes_down_and_up_is_announced)
{
	struct fn_nic_ops ops = *nic->ops;

	nic->ops = &ops;
	nic->up = false;
	cr_assert_eq(fn_stack_poll(st, now + FN_MSEC), 0);
	now += 200 * FN_MSEC;
	poll_stack();
	cr_assert(nic->up);
	cr_assert(next_arp(FN_ARP_REQUEST));
	cr_assert_eq(in_arp->tpa, ME);
}

Test(stack, sockets_keep_no_memory_when_closed)
{
	size_t used;
	struct fn_sock *sk = fn_sock_open(st, FN_SOCK_UDP, NULL);

	fn_sock_close(sk);
	used = arena->used;
	for (unsigned i = 0; i < 1000; i++)
		fn_sock_close(fn_sock_open(st, FN_SOCK_UDP, NULL));
	cr_assert_eq(arena->used, used);
}
