/* SPDX-License-Identifier: BSD-3-Clause */
/* Loss recovery: what is lost is sent again, by the right means and once; faults of every kind over many seeds. */
#include "tcp_fixture.h"

/* Frames with payload from A are counted; those in `drop` (1 is the first) are lost. */
static unsigned data_frames, dropped;
static const unsigned *drop_list;

static void setup(void)
{
	reset_conf();
	data_frames = dropped = 0;
	drop_list = NULL;
}

TestSuite(tcp_loss, .init = setup, .fini = tcp_teardown);

/* Lose chosen frames: the wire loses everything for the length of one transmission. */
static void before_frame(void *ctx, unsigned from, const void *frame, size_t len)
{
	const struct fn_ip4_hdr *ip = (const void *)((const uint8_t *)frame + FN_ETHER_LEN);
	const struct fn_tcp_hdr *th = (const void *)(ip + 1);
	bool lose = false;

	if (!from && ip->proto == FN_IPPROTO_TCP && fn_be16(ip->len) > FN_IP4_LEN + (th->off >> 4) * 4) {
		data_frames++;
		for (const unsigned *d = drop_list; d && *d; d++)
			lose |= *d == data_frames;
	}
	dropped += lose;
	fn_pair_conf(wire)->loss_ppm = lose ? 1000000 : 0;
}

static void start(const unsigned *drops)
{
	tcp_setup();
	connected_pair();
	drop_list = drops;
	fn_pair_set_tap(wire, before_frame, NULL);
}

static void finish(void)
{
	fn_pair_set_tap(wire, NULL, NULL);
	fn_sock_close(c);
	fn_sock_close(s);
	tcp_finish();
}

#define DROPS(...)	((const unsigned[]){__VA_ARGS__, 0})

Test(tcp_loss, one_hole_is_repaired_by_fast_retransmit)
{
	start(DROPS(5));
	cr_assert_eq(transfer(c, s, 100000, 10 * SEC), 100000);
	cr_assert_eq(dropped, 1);
	cr_assert_eq(A.st->stats.tcp_retrans, 1);
	cr_assert_eq(A.st->stats.tcp_fast_recovery, 1);
	cr_assert_eq(A.st->stats.tcp_rto, 0);
	finish();
}

Test(tcp_loss, several_holes_need_one_recovery_with_sack)
{
	start(DROPS(12, 14, 15, 19));
	cr_assert_eq(transfer(c, s, 200000, 10 * SEC), 200000);
	cr_assert_eq(A.st->stats.tcp_retrans, 4);
	cr_assert_eq(A.st->stats.tcp_fast_recovery, 1);
	cr_assert_eq(A.st->stats.tcp_rto, 0);
	finish();
}

Test(tcp_loss, several_holes_without_sack_newreno)
{
	start(DROPS(12, 14, 19));
	((struct fn_tcp *)c)->feat &= (uint8_t)~FN_TCP_F_SACK;
	((struct fn_tcp *)s)->feat &= (uint8_t)~FN_TCP_F_SACK;
	cr_assert_eq(transfer(c, s, 200000, 10 * SEC), 200000);
	cr_assert_eq(A.st->stats.tcp_retrans, 3);
	cr_assert_eq(A.st->stats.tcp_fast_recovery, 1);
	cr_assert_eq(A.st->stats.tcp_rto, 0);
	finish();
}

Test(tcp_loss, the_last_segment_is_repaired_by_the_timer)
{
	uint64_t began;
	char b[8];

	start(DROPS(1));
	began = now;
	cr_assert_eq(write_to(c, "x", 1, 0), 1);
	pass(150 * MS);
	cr_assert_eq(read_from(s, b, 8, 0), -EAGAIN);
	pass(150 * MS);
	cr_assert_eq(read_from(s, b, 8, 0), 1);
	cr_assert_eq(A.st->stats.tcp_rto, 1);
	cr_assert_lt(now - began, 301 * MS);
	finish();
}

Test(tcp_loss, the_timer_backs_off)
{
	char b[8];

	start(DROPS(1, 2, 3));		/* at about 0, 200, 600 ms; the fourth at 1,400 */
	cr_assert_eq(write_to(c, "x", 1, 0), 1);
	pass(1300 * MS);
	cr_assert_eq(read_from(s, b, 8, 0), -EAGAIN);
	cr_assert_eq(data_frames, 3);
	pass(200 * MS);
	cr_assert_eq(read_from(s, b, 8, 0), 1);
	cr_assert_eq(A.st->stats.tcp_rto, 3);
	finish();
}

Test(tcp_loss, a_lost_retransmission_waits_for_the_timer)
{
	start(DROPS(5, 11));
	cr_assert_eq(transfer(c, s, 50000, 10 * SEC), 50000);
	cr_assert_geq(A.st->stats.tcp_retrans, 2);
	finish();
}

Test(tcp_loss, a_reduction_halves_less_than_reno_with_cubic)
{
	const struct fn_tcp *tp;

	start(NULL);
	tp = (const struct fn_tcp *)c;
	cr_assert_eq(transfer(c, s, 400000, 10 * SEC), 400000);
	drop_list = DROPS(data_frames + 5);
	cr_assert_eq(transfer(c, s, 400000, 10 * SEC), 400000);
	cr_assert_eq(A.st->stats.tcp_fast_recovery, 1);
	cr_assert_lt(tp->ssthresh, tp->f.prior_cwnd / 100 * 71);	/* RFC 9438 4.6: 0.7 */
	cr_assert_gt(tp->ssthresh, tp->f.prior_cwnd / 100 * 69);
	finish();
}

Test(tcp_loss, reordering_alone_sends_nothing_twice_for_long)
{
	wire_conf.reorder_ppm = 20000;
	wire_conf.reorder_ns = 150000;
	tcp_setup();
	connected_pair();
	cr_assert_eq(transfer(c, s, 3000000, 60 * SEC), 3000000);
	cr_assert_eq(A.st->stats.tcp_rto, 0);
	fn_sock_close(c);
	fn_sock_close(s);
	tcp_finish();
}

/* The device reads a buffer for longer than a retransmission takes: its header must not be touched. */
Test(tcp_loss, a_retransmission_of_what_is_in_flight_is_a_copy)
{
	wire_conf.release_ns = 400 * MS;
	start(DROPS(3));
	cr_assert_eq(transfer(c, s, 20000, 10 * SEC), 20000);
	cr_assert_geq(A.st->stats.tcp_retrans, 1);
	finish();
}

static void faults(uint64_t seed, uint32_t loss, uint32_t dup, uint32_t reorder, uint32_t corrupt)
{
	reset_conf();
	wire_conf.seed = seed;
	wire_conf.release_ns = seed % 3 ? 300000 : 0;
	wire_conf.jitter_ns = 200000;
	tcp_setup();
	connected_pair();
	fn_pair_conf(wire)->loss_ppm = loss;
	fn_pair_conf(wire)->dup_ppm = dup;
	fn_pair_conf(wire)->reorder_ppm = reorder;
	fn_pair_conf(wire)->reorder_ns = 500000;
	fn_pair_conf(wire)->corrupt_ppm = corrupt;
	cr_assert_eq(transfer(c, s, 300000, 3000 * SEC), 300000, "seed %lu", seed);
	cr_assert_eq(transfer(s, c, 200000, 3000 * SEC), 200000, "seed %lu", seed);
	fn_pair_conf(wire)->corrupt_ppm = fn_pair_conf(wire)->dup_ppm = 0;
	fn_sock_close(c);
	fn_sock_close(s);
	tcp_finish();
	if (seed < 100)
		tcp_teardown();
}

Test(tcp_loss, every_byte_once_and_in_order_over_many_seeds)
{
	for (uint64_t seed = 1; seed < 60; seed++)
		faults(seed, seed % 5 * 20000, seed % 3 * 10000, seed % 4 * 30000, seed % 2 * 5000);
	faults(100, 200000, 50000, 100000, 10000);
}
