/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * Each reason to drop a segment, and each counter of TCP's: the segment that it is for counts there, once, and nowhere else.
 * What else the segments do is tcp_segment.c's.
 */
#include "tcp_peer.h"

TestSuite(tcp_drop, .init = peer_setup_default, .fini = peer_teardown);

static uint8_t bytes[1460];
static uint64_t before[FN_DROP_COUNT];

static const char *const names[] = {
#define FN_DROP(name, text) [FN_DROP_##name] = #name,
#include "stack/drop.def"
#undef FN_DROP
};

static void look(void)
{
	memcpy(before, st->stats.drop, sizeof(before));
}

/* Since look(): so many for this reason, none for another. */
static void only(enum fn_drop why, unsigned n, int line)
{
	for (unsigned i = 0; i < FN_DROP_COUNT; i++)
		cr_assert_eq(st->stats.drop[i] - before[i], i == why ? n : 0, "line %d: %u for %s", line,
			     (unsigned)(st->stats.drop[i] - before[i]), names[i] ? names[i] : "nothing");
}

#define dropped(why, ...) do { \
	look(); \
	put(__VA_ARGS__); \
	only(FN_DROP_##why, 1, __LINE__); \
} while (0)

/* A segment that is not dropped. */
#define taken(...) do { \
	look(); \
	put(__VA_ARGS__); \
	only(0, 0, __LINE__); \
} while (0)

Test(tcp_drop, headers)
{
	struct fn_sock *l = make_listener(5);

	dropped(TCP_SHORT, .flags = S, .only = 19);
	dropped(TCP_SHORT, .flags = S, .words = 6);		/* options behind the segment's end */
	dropped(TCP_HEADER, .flags = S, .words = 4);
	dropped(TCP_CSUM, .flags = S, .bad_csum = true);
	dropped(TCP_OPTION, .flags = S, .opt = (const uint8_t[]){77, 0, 1, 1}, .opt_len = 4);
	expect_none();
	taken(.flags = S);
	fn_sock_close(l);
}

Test(tcp_drop, nobody_there)
{
	dropped(TCP_NO_SOCK, .flags = S);
	dropped(TCP_NO_SOCK, .flags = K, .seq = 1, .ack = 1);
	dropped(TCP_NO_SOCK, .flags = R, .seq = 1);
	cr_assert_eq(st->stats.tcp_rst_out, 2);			/* none for the reset */
	drain();
	dropped(IP4_DST, .flags = S, .link_bcast = true);	/* RFC 1122 3.3.6 */
	dropped(TCP_BCAST, .flags = S, .dst = IP(10, 0, 0, 255), .link_bcast = true);
	dropped(TCP_BCAST, .flags = S, .dst = IP(10, 0, 0, 255));
	expect_none();
}

Test(tcp_drop, listener)
{
	struct fn_sock *l = make_listener(5);

	dropped(TCP_LISTEN, .flags = 0, .data = "x", .len = 1);
	dropped(TCP_LISTEN, .flags = R);
	dropped(TCP_LISTEN, .flags = K, .seq = 1, .ack = 99);	/* no cookie was sent */
	dropped(TCP_LISTEN, .flags = S | K, .seq = 1, .ack = 99);
	dropped(TCP_FLAGS, .flags = S | F);
	dropped(TCP_BCAST, .flags = S, .dst = IP(10, 0, 0, 255), .link_bcast = true);
	fn_sock_close(l);
}

Test(tcp_drop, half_open)
{
	struct fn_sock *l = make_listener(5);

	taken(.flags = S, .opt = plain_opts, .opt_len = 4);
	cr_assert(next_seg());
	pass(600 * MS);
	dropped(TCP_OLD, .flags = S, .opt = plain_opts, .opt_len = 4);	/* again: answered, and dropped as old */
	dropped(TCP_WINDOW, .flags = K, .seq = 0x10000000, .ack = 1);
	dropped(TCP_SYN_WINDOW, .flags = S, .seq = 5);
	dropped(TCP_NO_ACK, .flags = 0, .seq = 1, .data = "x", .len = 1);
	dropped(TCP_ACK_RANGE, .flags = K, .seq = 1, .ack = 5);
	dropped(TCP_RST_SEQ, .flags = R, .seq = 3);
	cr_assert_eq(st->stats.tcp_failed_open, 0);
	dropped(TCP_CLOSED, .flags = R, .seq = 1);
	cr_assert_eq(st->stats.tcp_failed_open, 1);
	fn_sock_close(l);
}

Test(tcp_drop, syn_sent)
{
	struct fn_sock *sk = connecting();

	dropped(TCP_ACK_RANGE, .flags = S | K, .ack = 2);
	dropped(TCP_RST_SEQ, .flags = R);
	dropped(TCP_FLAGS, .flags = K, .ack = 1);
	taken(.flags = R | K, .ack = 1);			/* accepted: tcp_rst_in counts that */
	cr_assert_eq(st->stats.tcp_rst_in, 1);
	cr_assert_eq(st->stats.tcp_failed_open, 1);
	cr_assert_eq(st->stats.tcp_established, 0);
	fn_sock_close(sk);
}

Test(tcp_drop, established)
{
	struct fn_sock *sk = accepted(plain_opts, 4);

	dropped(TCP_RST_SEQ, .flags = R, .seq = 100);
	dropped(TCP_WINDOW, .flags = R, .seq = 0x7000000);
	dropped(TCP_SYN_WINDOW, .flags = S, .seq = 5);
	dropped(TCP_WINDOW, .flags = S, .seq = 0x70000000);
	dropped(TCP_ACK_RANGE, .flags = K, .seq = 1, .ack = 500, .data = "x", .len = 1);
	dropped(TCP_ACK_RANGE, .flags = K, .seq = 1, .ack = 1 - 70000u, .data = "x", .len = 1);
	dropped(TCP_NO_ACK, .flags = 0, .seq = 1, .data = "x", .len = 1);
	dropped(TCP_CSUM, .flags = K, .seq = 1, .ack = 1, .data = "x", .len = 1, .bad_csum = true);
	dropped(TCP_HEADER, .flags = K, .seq = 1, .ack = 1, .words = 4);
	dropped(TCP_SHORT, .flags = K, .seq = 1, .ack = 1, .words = 6);
	taken(.flags = K, .seq = 1, .ack = 1, .data = "abc", .len = 3);
	pass(1 * SEC);
	dropped(TCP_OLD, .flags = K, .seq = 1, .ack = 1, .data = "abc", .len = 3);
	dropped(TCP_WINDOW, .flags = K, .seq = 1, .ack = 1, .data = "ab", .len = 2);	/* ends before what we have told */
	dropped(TCP_WINDOW, .flags = K, .seq = 0x7000000, .ack = 1, .data = "x", .len = 1);
	/* out of order: held, then all of it again */
	taken(.flags = K, .seq = 104, .ack = 1, .data = bytes, .len = 100);
	dropped(TCP_OLD, .flags = K, .seq = 124, .ack = 1, .data = bytes, .len = 50);
	fn_sock_close(sk);
}

/* RFC 5961 7: the stack's limit, whose height is random and about a thousand a second. */
Test(tcp_drop, challenges_beyond_the_limit)
{
	struct fn_sock *sk = accepted(plain_opts, 4);
	uint64_t *rate = &st->stats.drop[FN_DROP_TCP_CHALLENGE_RATE];

	put(.flags = R, .seq = 100);
	cr_assert_eq(st->stats.tcp_challenge_ack, 1);
	drain();
	now = now / SEC * SEC + 2 * SEC;
	st->tcp->challenge_epoch = now / SEC;
	st->tcp->challenge_left = 1;
	put(.flags = R, .seq = 100);
	expect_seg(K, 1, 1, 0);
	cr_assert_eq(*rate, 0);
	pass(600 * MS);					/* the connection's own limit is over, not the second */
	put(.flags = R, .seq = 100);
	expect_none();
	cr_assert_eq(*rate, 1);
	cr_assert_eq(st->stats.drop[FN_DROP_TCP_RST_SEQ], 3);
	cr_assert_eq(st->stats.tcp_challenge_ack, 2);
	pass(600 * MS);
	put(.flags = R, .seq = 100);
	expect_seg(K, 1, 1, 0);
	cr_assert_eq(*rate, 1);
	fn_sock_close(sk);
}

/* The peer sends what the window was before the buffer shrank to two of its segments. */
Test(tcp_drop, receive_buffer)
{
	struct fn_sock *sk = accepted(plain_opts, 4);

	taken(.flags = K, .seq = 1, .ack = 1, .data = bytes, .len = 1460);
	sk->rcvbuf = 2 * sk->rx_charged;
	taken(.flags = K, .seq = 1461, .ack = 1, .data = bytes, .len = 1460);
	dropped(TCP_RCVBUF, .flags = K, .seq = 2921, .ack = 1, .data = bytes, .len = 1460);
	cr_assert_eq(fn_tcp_readable(sk), 2920);
	fn_sock_close(sk);
}

Test(tcp_drop, out_of_order_queue)
{
	struct fn_sock *sk = accepted(sack_opts, 8);

	taken(.flags = K, .seq = 20001, .ack = 1, .data = bytes, .len = 1460);
	sk->rcvbuf = 2 * sk->rx_charged;
	taken(.flags = K, .seq = 22001, .ack = 1, .data = bytes, .len = 1460);
	dropped(TCP_OOO_FULL, .flags = K, .seq = 24001, .ack = 1, .data = bytes, .len = 1460);
	dropped(TCP_OOO_FULL, .flags = K, .seq = 10001, .ack = 1, .data = bytes, .len = 1460);	/* the furthest goes for it */
	fn_sock_close(sk);
}

Test(tcp_drop, behind_the_peers_fin)
{
	struct fn_sock *sk = accepted(plain_opts, 4);

	taken(.flags = F | K, .seq = 1, .ack = 1);
	dropped(TCP_CLOSED, .flags = K, .seq = 2, .ack = 1, .data = "x", .len = 1);
	cr_assert_eq(sk->tcp_state, FN_TCP_CLOSE_WAIT);
	fn_sock_close(sk);
}

Test(tcp_drop, text_that_nobody_will_read)
{
	struct fn_sock *sk = accepted(plain_opts, 4);

	fn_sock_close(sk);
	settle();
	dropped(TCP_CLOSED, .flags = K, .seq = 1, .ack = 1, .data = "x", .len = 1);
	cr_assert_eq(st->stats.tcp_rst_out, 1);
	cr_assert_eq(st->tcp_pool.used, 0);
}

Test(tcp_drop, fin_wait2_of_nobody)
{
	struct fn_sock *sk = accepted(plain_opts, 4);

	fn_sock_close(sk);
	taken(.flags = K, .seq = 1, .ack = 2);
	cr_assert_eq(st->tcp->tw_pool.used, 1);
	dropped(TCP_WINDOW, .flags = K, .seq = 0x70000000, .ack = 2);
	dropped(TCP_SYN_WINDOW, .flags = S, .seq = 5);
	dropped(TCP_CLOSED, .flags = K, .seq = 1, .ack = 2, .data = "x", .len = 1);
	cr_assert_eq(st->tcp->tw_pool.used, 0);
}

Test(tcp_drop, time_wait)
{
	struct fn_sock *sk = accepted(plain_opts, 4);

	fn_sock_close(sk);
	taken(.flags = F | K, .seq = 1, .ack = 2);
	cr_assert_eq(st->tcp->tw_pool.used, 1);
	taken(.flags = K, .seq = 2, .ack = 2);
	dropped(TCP_TIME_WAIT, .flags = F | K, .seq = 1, .ack = 2);
	dropped(TCP_TIME_WAIT, .flags = S, .seq = 1);
	dropped(TCP_TIME_WAIT, .flags = R, .seq = 7);
	cr_assert_eq(st->tcp->tw_pool.used, 1);
	taken(.flags = R, .seq = 2);
	cr_assert_eq(st->tcp->tw_pool.used, 0);
}

static void few_setup(void)
{
	peer_teardown();	/* the suite's comes first */
	fn_stack_conf_init(&conf);
	conf.max_tcp = 4;
	peer_setup();
}

Test(tcp_drop, out_of_sockets, .init = few_setup)
{
	struct fn_sock *l = make_listener(5), *sk[8];
	unsigned n = 0;

	while (n < 8 && (sk[n] = fn_sock_open(st, FN_SOCK_TCP, &events)))
		n++;
	cr_assert_leq(n, 4);
	cr_assert_eq(st->stats.sock_created, n + 1);
	cr_assert_eq(st->stats.sock_refused, 1);
	cr_assert_eq(st->stats.drop[FN_DROP_NO_SOCK_MEM], 1);
	taken(.flags = S, .opt = plain_opts, .opt_len = 4);
	cr_assert(next_seg());
	dropped(NO_SOCK_MEM, .flags = K, .seq = 1, .ack = 1);
	cr_assert_eq(st->stats.sock_refused, 2);
	while (n)
		fn_sock_close(sk[--n]);
	fn_sock_close(l);
}

/* ---- counters of what is not dropped ---- */

Test(tcp_drop, opened_and_failed_are_counted)
{
	struct fn_sock *l = make_listener(5), *sk;

	cr_assert_eq(st->stats.sock_created, 1);
	put(.flags = S, .opt = plain_opts, .opt_len = 4);
	cr_assert(next_seg());
	cr_assert_eq(st->stats.tcp_established, 0);
	put(.flags = K, .seq = 1, .ack = 1);
	cr_assert_eq(st->stats.tcp_established, 1);
	cr_assert_eq(st->stats.tcp_passive_open, 1);
	cr_assert_eq(st->stats.sock_created, 1);	/* nobody has it yet */
	sk = fn_tcp_accept(l, &events);
	cr_assert_eq(st->stats.sock_created, 2);
	cr_assert_eq(st->stats.tcp_rst_out, 0);
	put(.flags = K, .seq = 1, .ack = 1, .data = "x", .len = 1);
	fn_sock_close(sk);				/* unread: a reset */
	settle();
	cr_assert_eq(st->stats.tcp_rst_out, 1);
	peer_port++;
	put(.flags = S, .opt = plain_opts, .opt_len = 4);
	pass(70 * SEC);					/* given up */
	cr_assert_eq(st->stats.tcp_failed_open, 1);
	drain();
	sk = connecting();
	cr_assert_eq(st->stats.tcp_active_open, 1);
	put(.flags = S | K, .seq = 0, .ack = 1);
	cr_assert_eq(st->stats.tcp_established, 2);
	cr_assert_eq(st->stats.tcp_failed_open, 1);
	fn_sock_close(sk);
	settle();
	drain();
	sk = connecting();
	pass(150 * SEC);
	cr_assert_eq(st->stats.tcp_failed_open, 2);
	fn_sock_close(sk);
	fn_sock_close(l);
}

Test(tcp_drop, duplicate_acks_are_counted)
{
	struct fn_sock *sk = accepted(plain_opts, 4);

	put(.flags = K, .seq = 1, .ack = 1);			/* nothing is in flight: it is none */
	cr_assert_eq(st->stats.tcp_dup_ack, 0);
	cr_assert_eq(say(sk, bytes, 1460, 0), 1460);
	cr_assert_eq(say(sk, bytes, 1460, 0), 1460);
	put(.flags = K, .seq = 1, .ack = 1);
	put(.flags = K, .seq = 1, .ack = 1);
	cr_assert_eq(st->stats.tcp_dup_ack, 2);
	put(.flags = K, .seq = 1, .ack = 1, .win = 61000);	/* tells of a window */
	put(.flags = K, .seq = 1, .ack = 1, .win = 61000, .data = "x", .len = 1);
	put(.flags = K, .seq = 2, .ack = 1461, .win = 61000);
	cr_assert_eq(st->stats.tcp_dup_ack, 2);
	fn_sock_close(sk);
}

/* A receiver that has SACKed the head of what is in flight has taken it back (RFC 2018 8). */
Test(tcp_drop, a_reneging_receiver_is_counted)
{
	struct fn_sock *sk = accepted(sack_opts, 8);
	uint32_t edge[2] = {fn_be32(my_isn + 1461), fn_be32(my_isn + 2921)};
	uint8_t opt[12] = {1, 1, FN_TCPOPT_SACK, 10};

	memcpy(opt + 4, edge, 8);
	say(sk, bytes, 1460, 0);
	say(sk, bytes, 1460, 0);
	put(.flags = K, .seq = 1, .ack = 1, .opt = opt, .opt_len = 12);
	put(.flags = K, .seq = 1, .ack = 1461);
	cr_assert_eq(st->stats.tcp_sack_reneged, 0);
	drain();
	pass(2 * SEC);
	cr_assert_eq(st->stats.tcp_sack_reneged, 1);
	expect_seg(K, 1461, 1, 1460);				/* and it is sent again */
	fn_sock_close(sk);
}
