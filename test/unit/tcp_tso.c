/* SPDX-License-Identifier: BSD-3-Clause */
/* Segments that leave as one packet which the device cuts: how they look on the wire, what holds their buffers, when not. */
#include "stack/cksum.h"
#include "tcp_fixture.h"

#define TSO	(FN_NIC_TX_TSO | FN_NIC_TX_SEGS | FN_NIC_TX_IP_CSUM | FN_NIC_TX_TCP_CSUM)

/* What the tap has seen of A's data. */
static unsigned frames, pushes, fins, bad, lost;
static unsigned drop_at;		/* number of the data frame that is lost; 0: none */
static uint32_t next_seq;
static uint16_t next_id;
static struct fn_nic_ops stopped_ops;	/* A's device, with `takes` packets left that it takes */
static const struct fn_nic_ops *real_ops;
static unsigned takes;

static void setup(void)
{
	reset_conf();
	wire_conf.caps = TSO;
	frames = pushes = fins = bad = lost = drop_at = 0;
	next_seq = next_id = 0;
}

TestSuite(tcp_tso, .init = setup, .fini = tcp_teardown);

static void on_frame(void *ctx, unsigned from, const void *frame, size_t len)
{
	const struct fn_ip4_hdr *ip = (const void *)((const uint8_t *)frame + FN_ETHER_LEN);
	const struct fn_tcp_hdr *th = (const void *)(ip + 1);
	uint32_t payload, seq;

	fn_pair_conf(wire)->loss_ppm = 0;
	if (from || ip->proto != FN_IPPROTO_TCP)
		return;
	payload = fn_be16(ip->len) - FN_IP4_LEN - (th->off >> 4) * 4u;
	seq = fn_be32(th->seq);
	fins += th->flags & FN_TCP_FIN;
	if (!payload)
		return;
	frames++;
	pushes += !!(th->flags & FN_TCP_PSH);
	bad += fn_cksum_fold(fn_cksum_add(0, ip, FN_IP4_LEN)) != 0;
	bad += fn_cksum_fold(fn_cksum_add(fn_cksum_pseudo4(ip->src, ip->dst, FN_IPPROTO_TCP, fn_be16(ip->len) - FN_IP4_LEN),
					  th, fn_be16(ip->len) - FN_IP4_LEN)) != 0;
	bad += fn_be16(ip->len) > 1500 || len != FN_ETHER_LEN + (size_t)fn_be16(ip->len);
	bad += next_seq && seq != next_seq && !lost;
	bad += ip->id && fn_be16(ip->id) != next_id;	/* 0 begins a packet */
	next_id = (uint16_t)(fn_be16(ip->id) + 1);
	next_seq = seq + payload;
	if (frames == drop_at) {
		fn_pair_conf(wire)->loss_ppm = 1000000;
		lost++;
	}
}

static void start(void)
{
	tcp_setup();
	connected_pair();
	fn_pair_set_tap(wire, on_frame, NULL);
}

static void finish(void)
{
	fn_pair_set_tap(wire, NULL, NULL);
	fn_sock_close(c);
	fn_sock_close(s);
	tcp_finish();
}

Test(tcp_tso, what_the_device_cuts_are_ordinary_segments)
{
	start();
	cr_assert_eq(transfer(c, s, 1000000, 60 * SEC), 1000000);
	cr_assert_eq(bad, 0);
	cr_assert_eq(A.st->stats.tcp_retrans, 0);
	cr_assert_gt(A.st->stats.tcp_tso, 0);
	cr_assert_gt(A.st->stats.tcp_tso_segs, frames / 2);
	cr_assert_eq(A.st->stats.tcp_out, B.st->stats.tcp_in, "each segment is counted");
	finish();
}

/* One write in an empty window: one packet, its mark on the last segment. */
Test(tcp_tso, push_and_fin_stand_on_the_last_segment)
{
	static uint8_t data[10 * 1448 - 100];
	uint64_t before;

	start();
	before = A.st->stats.tx_packets;
	cr_assert_eq(write_to(c, data, sizeof(data), MSG_MORE), (ssize_t)sizeof(data));
	fn_sock_close(c);
	fn_stack_flush(A.st);
	cr_assert_eq(A.st->stats.tcp_tso, 1);
	cr_assert_eq(A.st->stats.tcp_tso_segs, 9, "a corked end waits");
	cr_assert_eq(A.st->stats.tx_packets - before, 2);
	pass(10 * MS);
	cr_assert_eq(frames, 10);
	cr_assert_eq(fins, 1);
	cr_assert_eq(bad, 0);
	fn_pair_set_tap(wire, NULL, NULL);
	fn_sock_close(s);
	tcp_finish();
}

Test(tcp_tso, a_short_end_goes_along_when_nothing_holds_it)
{
	static uint8_t data[5 * 1448 + 1];

	start();
	fn_sock_setopt(c, FN_OPT_NODELAY, 1);
	cr_assert_eq(write_to(c, data, sizeof(data), 0), (ssize_t)sizeof(data));
	cr_assert_eq(A.st->stats.tcp_tso_segs, 6);
	pass(10 * MS);
	cr_assert_eq(frames, 6);
	cr_assert_eq(pushes, 1);
	cr_assert_eq(bad, 0);
	finish();
}

/* Nagle's algorithm counts what goes in the same packet as sent: the end waits while an earlier small one is out. */
Test(tcp_tso, nagle_holds_the_end_back)
{
	static uint8_t data[3 * 1448 + 50];

	start();
	cr_assert_eq(write_to(c, data, 10, 0), 10);
	cr_assert_eq(write_to(c, data, sizeof(data), 0), (ssize_t)sizeof(data));
	fn_stack_flush(A.st);
	cr_assert_eq(A.st->stats.tcp_tso_segs, 3);
	cr_assert_eq(frames, 4);
	pass(100 * MS);
	cr_assert_eq(frames, 5);
	finish();
}

Test(tcp_tso, the_devices_limits_are_kept)
{
	static uint8_t data[14480];

	wire_conf.tso_segs = 4;
	start();
	cr_assert_eq(write_to(c, data, sizeof(data), 0), (ssize_t)sizeof(data));
	cr_assert_eq(A.st->stats.tcp_tso, 3, "a header and three segments each, and one is left");
	cr_assert_eq(A.st->stats.tcp_tso_segs, 9);
	A.nic->tso_max = 0;
	pass(10 * MS);
	cr_assert_eq(write_to(c, data, sizeof(data), 0), (ssize_t)sizeof(data));
	cr_assert_eq(A.st->stats.tcp_tso, 3, "the device has lost it");
	finish();
}

/* The device reads a segment for longer than its repair takes: that one is a copy, its neighbours are left alone. */
Test(tcp_tso, a_lost_segment_inside_is_sent_again_alone)
{
	wire_conf.release_ns = 400 * MS;
	drop_at = 3;
	start();
	cr_assert_eq(transfer(c, s, 30000, 10 * SEC), 30000);
	cr_assert_eq(lost, 1);
	cr_assert_eq(A.st->stats.tcp_retrans, 1);
	cr_assert_eq(A.st->stats.tcp_rto, 0);
	cr_assert_eq(bad, 0);
	finish();
}

static uint16_t stopped_tx(struct fn_nic *nic, struct fn_pkt **burst, uint16_t n)
{
	uint16_t sent = real_ops->tx(nic, burst, (uint16_t)fn_min((unsigned)n, takes));

	takes -= sent;
	return sent;
}

static void stop_device(void)
{
	real_ops = A.nic->ops;
	stopped_ops = *real_ops;
	stopped_ops.tx = stopped_tx;
	A.nic->ops = &stopped_ops;
	takes = 0;
}

Test(tcp_tso, a_connection_ends_while_its_segments_are_staged)
{
	static uint8_t data[14480];

	start();
	stop_device();
	cr_assert_eq(write_to(c, data, sizeof(data), 0), (ssize_t)sizeof(data));
	cr_assert_gt(A.nic->txq_len, 0);
	cr_assert_gt(A.st->stats.tcp_tso, 0);
	fn_sock_setopt(c, FN_OPT_LINGER, 0);
	fn_sock_close(c);
	settle();
	cr_assert_gt(A.nic->txq_len, 0, "they are still staged");
	takes = UINT32_MAX;
	pass(10 * MS);
	cr_assert_eq(fn_pair_outstanding(wire, 0), 0);
	cr_assert_eq(bad, 0);
	fn_pair_set_tap(wire, NULL, NULL);
	fn_sock_close(s);
	tcp_finish();
}

/* The queue is full: the run is refused as a whole, and goes later as if nothing had been. */
/* close() finds a segment staged, and a run of them, whose header is not theirs. */
Test(tcp_tso, fin_joins_a_staged_segment_but_no_run)
{
	static const uint8_t two[2 * 1448];

	start();
	cr_assert_eq(write_to(s, two, 3, 0), 3);
	cr_assert_eq(fn_sock_shutdown(s, FN_SHUT_WR), 0);
	cr_assert_eq(((struct fn_tcp *)s)->rtxq.count, 1);
	cr_assert_eq(write_to(c, two, sizeof(two), 0), sizeof(two));
	cr_assert_eq(A.st->stats.tcp_tso, 1);
	cr_assert_eq(fn_sock_shutdown(c, FN_SHUT_WR), 0);
	cr_assert_eq(((struct fn_tcp *)c)->rtxq.count, 3);
	pass(10 * MS);
	cr_assert_eq(bad, 0);
	cr_assert_eq(fn_tcp_readable(s), sizeof(two));
	cr_assert_eq(fn_tcp_readable(c), 3);
	cr_assert(fn_sock_poll(s) & fn_sock_poll(c) & POLLHUP);
	cr_assert_eq(A.st->stats.tcp_retrans + B.st->stats.tcp_retrans, 0);
	finish();
}

Test(tcp_tso, a_full_queue_refuses_a_run)
{
	static uint8_t data[14480];
	unsigned i;

	start();
	stop_device();
	for (i = 0; fn_nic_tx_room(A.nic); i++)
		fn_tcp_send_ack((struct fn_tcp *)c);
	cr_assert_eq(write_to(c, data, sizeof(data), 0), (ssize_t)sizeof(data));
	cr_assert_eq(A.st->stats.tcp_tso, 0);
	cr_assert_eq(((struct fn_tcp *)c)->sndq.bytes, sizeof(data));
	takes = UINT32_MAX;
	cr_assert_eq(transfer(c, s, 0, 0), 0);
	pass(100 * MS);
	cr_assert_eq(frames, 10);
	cr_assert_gt(A.st->stats.tcp_tso, 0);
	cr_assert_eq(bad, 0);
	finish();
}

static void faults(uint64_t seed)
{
	reset_conf();
	wire_conf = (struct fn_pair_conf){ .seed = seed, .caps = TSO, .jitter_ns = 200000,
		.release_ns = seed % 3 ? 300000 : 0, .tso_segs = (uint16_t)(seed % 4 ? 3 + seed : 0) };
	tcp_setup();
	connected_pair();
	fn_pair_conf(wire)->loss_ppm = seed % 5 * 20000;
	fn_pair_conf(wire)->dup_ppm = seed % 3 * 10000;
	fn_pair_conf(wire)->reorder_ppm = seed % 4 * 30000;
	fn_pair_conf(wire)->reorder_ns = 500000;
	cr_assert_eq(transfer(c, s, 300000, 3000 * SEC), 300000, "seed %lu", seed);
	cr_assert_eq(transfer(s, c, 200000, 3000 * SEC), 200000, "seed %lu", seed);
	cr_assert_gt(A.st->stats.tcp_tso, 0);
	fn_pair_conf(wire)->dup_ppm = 0;
	fn_sock_close(c);
	fn_sock_close(s);
	tcp_finish();
	if (seed < 30)
		tcp_teardown();
}

Test(tcp_tso, every_byte_once_and_in_order_over_many_seeds)
{
	for (uint64_t seed = 1; seed <= 30; seed++)
		faults(seed);
}
