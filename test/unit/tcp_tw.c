/* SPDX-License-Identifier: BSD-3-Clause */
/* TIME_WAIT: which segments end it, which do not, and what a stack does without objects for it. */
#include "tcp_peer.h"

TestSuite(tcp_tw, .init = peer_setup_default, .fini = peer_teardown);

/* The peer's connection, closed by us first: TIME_WAIT with RCV.NXT 2. */
static void time_wait(void)
{
	struct fn_sock *sk = accepted(plain_opts, 4);

	fn_sock_close(sk);
	settle();
	put(.flags = F | K, .seq = 1, .ack = 2);
	cr_assert_eq(st->tcp->tw_pool.used, 1);
	cr_assert_eq(st->tcp_pool.used, 0);
	drain();
}

Test(tcp_tw, a_new_syn_needs_a_listener_to_end_it)
{
	struct fn_sock *l;

	time_wait();
	put(.flags = S, .seq = 100000, .opt = plain_opts, .opt_len = 4);
	cr_assert_eq(st->tcp->tw_pool.used, 1);
	expect_seg(K, 2, 2, 0);		/* as to anything out of the window */
	l = make_listener(5);
	put(.flags = S, .seq = 100000, .opt = plain_opts, .opt_len = 4);
	cr_assert_eq(st->tcp->tw_pool.used, 0);
	cr_assert_eq(st->stats.tcp_time_wait_reused, 1);
	cr_assert(next_seg());
	cr_assert_eq(got.flags, S | K);
	fn_sock_close(l);
}

Test(tcp_tw, a_newer_timestamp_makes_a_syn_new_whatever_its_number)
{
	struct fn_sock *l;

	peer_ts = true;
	time_wait();
	l = make_listener(5);
	peer_tsval -= 10;
	put(.flags = S, .seq = 100000, .opt = plain_opts, .opt_len = 4);	/* an old duplicate */
	cr_assert_eq(st->tcp->tw_pool.used, 1);
	cr_assert_eq(st->stats.drop[FN_DROP_TCP_PAWS], 1);
	drain();
	peer_tsval += 20;
	put(.flags = S, .seq = 0x80000000, .opt = plain_opts, .opt_len = 4);
	cr_assert_eq(st->tcp->tw_pool.used, 0);
	cr_assert(next_seg());
	cr_assert_eq(got.flags, S | K);
	fn_sock_close(l);
}

Test(tcp_tw, the_new_connection_begins_beyond_the_old_one)
{
	struct fn_sock *l;
	uint32_t old;

	time_wait();
	old = my_isn;
	l = make_listener(5);
	put(.flags = S, .seq = 100000, .opt = plain_opts, .opt_len = 4);
	cr_assert(next_seg());
	cr_assert_gt(got.seq + my_isn - old, 65535);
	cr_assert_lt(got.seq + my_isn - old, 0x80000000);
	fn_sock_close(l);
}

Test(tcp_tw, old_data_is_acknowledged_and_a_reset_out_of_order_ignored)
{
	time_wait();
	put(.flags = K, .seq = 1, .ack = 2, .data = "x", .len = 1);
	expect_seg(K, 2, 2, 0);
	put(.flags = R, .seq = 500);
	cr_assert_eq(st->tcp->tw_pool.used, 1);
	expect_none();
	pass(61 * SEC);
	cr_assert_eq(st->tcp->tw_pool.used, 0);
}

Test(tcp_tw, without_objects_the_wait_is_given_up)
{
	struct fn_sock *sk = accepted(plain_opts, 4);

	st->tcp->tw_pool.max = 0;
	fn_sock_close(sk);
	settle();
	put(.flags = F | K, .seq = 1, .ack = 2);
	cr_assert_eq(st->tcp->tw_pool.used, 0);
	cr_assert_eq(st->tcp_pool.used, 0);
	cr_assert_gt(st->tcp->tw_pool.failed, 0);
}

Test(tcp_tw, its_port_is_refused_unless_the_kernel_has_given_it)
{
	struct fn_ep name = {.port = fn_be16(80)};
	struct fn_sock *l;

	time_wait();	/* accepted by a listener with SO_REUSEADDR, which has gone */
	l = fn_sock_open(st, FN_SOCK_TCP, &events);
	cr_assert(fn_sock_name_kept(st, FN_SOCK_TCP, &name, 0));
	cr_assert_not(fn_sock_name_kept(st, FN_SOCK_TCP, &name, FN_SO_REUSEADDR));
	cr_assert_eq(fn_sock_bind(l, &name), -EADDRINUSE);
	cr_assert_eq(fn_sock_bind_given(l, &name), 0);
	cr_assert_eq(fn_tcp_listen(l, 5), 0);
	fn_sock_close(l);
	pass(61 * SEC);
	cr_assert_not(fn_sock_name_kept(st, FN_SOCK_TCP, &name, 0));
}
