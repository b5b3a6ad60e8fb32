/* SPDX-License-Identifier: BSD-3-Clause */
/* Single segments against RFC 9293 3.10.7, RFC 5961, RFC 7323 and RFC 2018, the peer played by hand. */
#include "tcp_peer.h"

TestSuite(tcp_segment, .init = peer_setup_default, .fini = peer_teardown);

static uint8_t bytes[1460];

Test(tcp_segment, what_our_syn_offers)
{
	struct fn_sock *sk = connecting();

	cr_assert_eq(got.mss, 1460);
	cr_assert(got.has_ts && got.has_wscale && got.sack_perm);
	cr_assert_eq(got.wscale, 7);
	cr_assert_gt(got.win, 60000);
	fn_sock_close(sk);
}

Test(tcp_segment, only_what_was_offered_is_answered)
{
	struct fn_sock *l = make_listener(5);

	put(.flags = S, .opt = plain_opts, .opt_len = 4);
	expect_seg(S | K, 0, 1, 0);
	cr_assert(!got.has_ts && !got.has_wscale && !got.sack_perm);
	cr_assert_eq(got.mss, 1460);
	fn_sock_close(l);
}

Test(tcp_segment, syn_is_sent_again_and_given_up)
{
	struct fn_sock *sk = connecting();
	unsigned n = 0;

	pass(125 * SEC);
	while (next_seg())
		n += got.flags == S;
	cr_assert_eq(n, 6);
	cr_assert_eq(sk->tcp_state, FN_TCP_SYN_SENT);
	pass(5 * SEC);
	cr_assert_eq(sk->tcp_state, FN_TCP_CLOSED);
	cr_assert_eq(fn_sock_take_error(sk), ETIMEDOUT);
	fn_sock_close(sk);
}

Test(tcp_segment, syn_sent_wants_its_own_number_acknowledged)
{
	struct fn_sock *sk = connecting();

	put(.flags = S | K, .seq = 0, .ack = 2);
	cr_assert(next_seg());
	cr_assert_eq(got.flags, R);
	cr_assert_eq(got.seq, 2);
	cr_assert_eq(sk->tcp_state, FN_TCP_SYN_SENT);
	put(.flags = R, .seq = 0);		/* a reset without ACK is nobody's */
	cr_assert_eq(sk->tcp_state, FN_TCP_SYN_SENT);
	put(.flags = R | K, .seq = 0, .ack = 7);
	cr_assert_eq(sk->tcp_state, FN_TCP_SYN_SENT);
	put(.flags = R | K, .seq = 0, .ack = 1);
	cr_assert_eq(fn_sock_take_error(sk), ECONNREFUSED);
	fn_sock_close(sk);
}

Test(tcp_segment, the_syn_ack_may_bring_data_and_fin)
{
	struct fn_sock *sk = connecting();
	char b[8];

	put(.flags = S | K | F, .seq = 0, .ack = 1, .data = "abc", .len = 3);
	cr_assert_eq(sk->tcp_state, FN_TCP_CLOSE_WAIT);
	cr_assert_eq(hear(sk, b, 8, 0), 3);
	cr_assert_eq(hear(sk, b, 8, 0), 0);
	expect_seg(K, 1, 5, 0);
	fn_sock_close(sk);
}

Test(tcp_segment, a_closed_port_answers_with_the_right_reset)
{
	put(.flags = S, .seq = 0);
	cr_assert(next_seg());
	cr_assert_eq(got.flags, R | K);
	cr_assert_eq(got.ack, 1);
	my_isn = 0;
	put(.flags = K, .seq = 5, .ack = 1234);
	cr_assert(next_seg());
	cr_assert_eq(got.flags, R);
	cr_assert_eq(got.seq, 1234);
	put(.flags = R, .seq = 5);
	put(.flags = R | K, .seq = 5, .ack = 8);
	expect_none();
}

Test(tcp_segment, a_listener_ignores_resets_and_resets_acks)
{
	struct fn_sock *l = make_listener(5);

	put(.flags = R, .seq = 0);
	put(.flags = 0, .seq = 0, .data = "x", .len = 1);
	put(.flags = S | F, .seq = 0);
	expect_none();
	put(.flags = K, .seq = 1, .ack = 99);
	cr_assert(next_seg());
	cr_assert_eq(got.flags, R);
	put(.flags = S | K, .seq = 1, .ack = 99);
	cr_assert(next_seg());
	cr_assert_eq(got.flags, R);
	fn_sock_close(l);
}

Test(tcp_segment, a_lost_syn_ack_is_sent_again)
{
	struct fn_sock *l = make_listener(5);

	put(.flags = S, .opt = plain_opts, .opt_len = 4);
	expect_seg(S | K, 0, 1, 0);
	pass(1100 * MS);
	expect_seg(S | K, 0, 1, 0);
	put(.flags = S, .opt = plain_opts, .opt_len = 4);
	expect_seg(S | K, 0, 1, 0);
	pass(70 * SEC);
	cr_assert_eq(st->tcp->req_pool.used, 0);
	fn_sock_close(l);
}

Test(tcp_segment, half_open_wants_the_right_ack)
{
	struct fn_sock *l = make_listener(5);

	put(.flags = S, .opt = plain_opts, .opt_len = 4);
	expect_seg(S | K, 0, 1, 0);
	put(.flags = K, .seq = 1, .ack = 5);
	cr_assert(next_seg());
	cr_assert_eq(got.flags, R);
	cr_assert_eq(got.seq, 5);
	put(.flags = R, .seq = 3);		/* in the window, not the number: ignored */
	cr_assert_eq(st->tcp->req_pool.used, 1);
	put(.flags = R, .seq = 1);
	cr_assert_eq(st->tcp->req_pool.used, 0);
	cr_assert_null(fn_tcp_accept(l, &events));
	fn_sock_close(l);
}

Test(tcp_segment, data_may_come_with_the_third_segment)
{
	struct fn_sock *l = make_listener(5), *sk;
	char b[8];

	put(.flags = S, .opt = plain_opts, .opt_len = 4);
	expect_seg(S | K, 0, 1, 0);
	put(.flags = K | P, .seq = 1, .ack = 1, .data = "GET", .len = 3);
	sk = fn_tcp_accept(l, &events);
	cr_assert_eq(hear(sk, b, 8, 0), 3);
	expect_seg(K, 1, 4, 0);
	fn_sock_close(sk);
	fn_sock_close(l);
}

Test(tcp_segment, a_reset_must_hit_rcv_nxt)
{
	struct fn_sock *sk = accepted(plain_opts, 4);

	put(.flags = R, .seq = 100);
	expect_seg(K, 1, 1, 0);			/* challenge */
	cr_assert_eq(sk->tcp_state, FN_TCP_ESTABLISHED);
	put(.flags = R, .seq = 200);
	expect_none();				/* not more than two a second */
	put(.flags = R, .seq = 0x7000000);	/* out of the window */
	expect_none();
	cr_assert_eq(sk->tcp_state, FN_TCP_ESTABLISHED);
	put(.flags = R, .seq = 1);
	cr_assert_eq(sk->tcp_state, FN_TCP_CLOSED);
	cr_assert_eq(fn_sock_take_error(sk), ECONNRESET);
	fn_sock_close(sk);
}

Test(tcp_segment, a_syn_in_a_connection_is_challenged)
{
	struct fn_sock *sk = accepted(plain_opts, 4);

	put(.flags = S, .seq = 5);
	expect_seg(K, 1, 1, 0);
	pass(1 * SEC);
	put(.flags = S, .seq = 0x70000000);
	expect_seg(K, 1, 1, 0);
	cr_assert_eq(sk->tcp_state, FN_TCP_ESTABLISHED);
	cr_assert_eq(st->stats.tcp_challenge_ack, 2);
	fn_sock_close(sk);
}

Test(tcp_segment, an_ack_of_what_was_not_sent_or_long_ago)
{
	struct fn_sock *sk = accepted(plain_opts, 4);
	char b[8];

	put(.flags = K, .seq = 1, .ack = 500, .data = "x", .len = 1);
	expect_seg(K, 1, 1, 0);
	cr_assert_eq(hear(sk, b, 8, 0), -EAGAIN);
	pass(1 * SEC);
	put(.flags = K, .seq = 1, .ack = 1 - 70000u, .data = "x", .len = 1);
	expect_seg(K, 1, 1, 0);
	cr_assert_eq(hear(sk, b, 8, 0), -EAGAIN);
	put(.flags = 0, .seq = 1, .data = "x", .len = 1);	/* no ACK at all */
	cr_assert_eq(hear(sk, b, 8, 0), -EAGAIN);
	put(.flags = K, .seq = 1, .ack = 1, .data = "x", .len = 1);
	cr_assert_eq(hear(sk, b, 8, 0), 1);
	fn_sock_close(sk);
}

Test(tcp_segment, paws_drops_old_timestamps)
{
	struct fn_sock *sk;
	char b[8];

	peer_ts = true;
	sk = accepted(plain_opts, 4);
	peer_tsval += 100;
	put(.flags = K, .seq = 1, .ack = 1, .data = "new", .len = 3);
	cr_assert_eq(hear(sk, b, 8, 0), 3);
	drain();
	peer_tsval -= 50;
	put(.flags = K, .seq = 4, .ack = 1, .data = "old", .len = 3);
	expect_seg(K, 1, 4, 0);
	cr_assert_eq(got.tsecr, peer_tsval + 50);
	cr_assert_eq(hear(sk, b, 8, 0), -EAGAIN);
	cr_assert_eq(st->stats.drop[FN_DROP_TCP_PAWS], 1);
	put(.flags = R, .seq = 4);			/* a reset needs no timestamp */
	cr_assert_eq(sk->tcp_state, FN_TCP_CLOSED);
	fn_sock_close(sk);
}

Test(tcp_segment, sack_blocks_tell_of_the_newest_first)
{
	struct fn_sock *sk = accepted(sack_opts, 8);

	put(.flags = K, .seq = 101, .ack = 1, .data = bytes, .len = 100);
	expect_seg(K, 1, 1, 0);
	cr_assert_eq(got.sacks, 1);
	cr_assert(got.sack[0].start == 101 && got.sack[0].end == 201);
	put(.flags = K, .seq = 401, .ack = 1, .data = bytes, .len = 100);
	expect_seg(K, 1, 1, 0);
	cr_assert_eq(got.sacks, 2);
	cr_assert(got.sack[0].start == 401 && got.sack[1].start == 101);
	put(.flags = K, .seq = 201, .ack = 1, .data = bytes, .len = 100);
	expect_seg(K, 1, 1, 0);
	cr_assert_eq(got.sacks, 2);
	cr_assert(got.sack[0].start == 101 && got.sack[0].end == 301 && got.sack[1].start == 401);
	put(.flags = K, .seq = 1, .ack = 1, .data = bytes, .len = 100);
	expect_seg(K, 1, 301, 0);
	cr_assert_eq(got.sacks, 1);
	cr_assert(got.sack[0].start == 401 && got.sack[0].end == 501);
	put(.flags = K, .seq = 301, .ack = 1, .data = bytes, .len = 100);
	expect_seg(K, 1, 501, 0);
	cr_assert_eq(got.sacks, 0);
	cr_assert_eq(fn_tcp_readable(sk), 500);
	fn_sock_close(sk);
}

Test(tcp_segment, dsack_reports_what_came_twice)
{
	struct fn_sock *sk = accepted(sack_opts, 8);

	put(.flags = K, .seq = 1, .ack = 1, .data = bytes, .len = 100);
	drain();
	put(.flags = K, .seq = 1, .ack = 1, .data = bytes, .len = 100);
	expect_seg(K, 1, 101, 0);
	cr_assert_eq(got.sacks, 1);
	cr_assert(got.sack[0].start == 1 && got.sack[0].end == 101);
	put(.flags = K, .seq = 301, .ack = 1, .data = bytes, .len = 100);
	expect_seg(K, 1, 101, 0);
	cr_assert_eq(got.sacks, 1);		/* told once */
	put(.flags = K, .seq = 351, .ack = 1, .data = bytes, .len = 100);
	expect_seg(K, 1, 101, 0);
	cr_assert_eq(got.sacks, 2);
	cr_assert(got.sack[0].start == 351 && got.sack[0].end == 401);
	cr_assert(got.sack[1].start == 301 && got.sack[1].end == 451);
	put(.flags = K, .seq = 51, .ack = 1, .data = bytes, .len = 250);	/* half old, closes the gap */
	expect_seg(K, 1, 451, 0);
	cr_assert_eq(fn_tcp_readable(sk), 450);
	fn_sock_close(sk);
}

Test(tcp_segment, overlapping_pieces_make_one_stream)
{
	struct fn_sock *sk = accepted(plain_opts, 4);
	static const char text[] = "abcdefghijklmnopqrstuvwxyz";
	char b[32];

	put(.flags = K, .seq = 1 + 10, .ack = 1, .data = text + 10, .len = 5);
	put(.flags = K, .seq = 1 + 20, .ack = 1, .data = text + 20, .len = 4);
	put(.flags = K | F, .seq = 1 + 8, .ack = 1, .data = text + 8, .len = 18);
	put(.flags = K, .seq = 1 + 3, .ack = 1, .data = text + 3, .len = 9);
	put(.flags = K, .seq = 1 + 23, .ack = 1, .data = text + 23, .len = 3);
	put(.flags = K, .seq = 1, .ack = 1, .data = text, .len = 5);
	cr_assert_eq(hear(sk, b, 32, 0), 26);
	cr_assert_arr_eq(b, text, 26);
	put(.flags = K | F, .seq = 27, .ack = 1);
	cr_assert_eq(hear(sk, b, 32, 0), 0);
	fn_sock_close(sk);
}

Test(tcp_segment, fin_out_of_order_waits_for_the_gap)
{
	struct fn_sock *sk = accepted(plain_opts, 4);
	char b[8];

	put(.flags = K | F, .seq = 4, .ack = 1, .data = "def", .len = 3);
	cr_assert_eq(sk->tcp_state, FN_TCP_ESTABLISHED);
	put(.flags = K, .seq = 1, .ack = 1, .data = "abc", .len = 3);
	cr_assert_eq(sk->tcp_state, FN_TCP_CLOSE_WAIT);
	cr_assert_eq(hear(sk, b, 8, 0), 6);
	cr_assert_eq(hear(sk, b, 8, 0), 0);
	fn_sock_close(sk);
}

Test(tcp_segment, malformed_options_and_headers)
{
	static const uint8_t zero_len[] = {77, 0, 1, 1}, too_long[] = {77, 9, 1, 1}, bad_mss[] = {2, 3, 1, 1};
	static const uint8_t unknown[] = {254, 4, 1, 1, 1, 1, 1, 0};
	struct fn_sock *l = make_listener(5);

	put(.flags = S, .opt = zero_len, .opt_len = 4);
	put(.flags = S, .opt = too_long, .opt_len = 4);
	put(.flags = S, .opt = bad_mss, .opt_len = 4);
	expect_none();
	cr_assert_eq(st->stats.drop[FN_DROP_TCP_OPTION], 3);
	put(.flags = S, .opt = unknown, .opt_len = 8);
	expect_seg(S | K, 0, 1, 0);
	fn_sock_close(l);
}

Test(tcp_segment, time_wait_acks_fins_and_yields_to_a_new_syn)
{
	struct fn_sock *sk = accepted(plain_opts, 4), *l;

	fn_sock_close(sk);
	settle();
	expect_seg(F | K, 1, 1, 0);
	put(.flags = K, .seq = 1, .ack = 2);
	put(.flags = F | K, .seq = 1, .ack = 2);
	expect_seg(K, 2, 2, 0);
	cr_assert_eq(st->tcp->tw_pool.used, 1);
	pass(50 * SEC);
	put(.flags = F | K, .seq = 1, .ack = 2);		/* our ACK was lost */
	expect_seg(K, 2, 2, 0);
	pass(50 * SEC);						/* counted anew */
	cr_assert_eq(st->tcp->tw_pool.used, 1);
	l = make_listener(5);
	put(.flags = S, .seq = 1, .opt = plain_opts, .opt_len = 4);	/* an old SYN */
	cr_assert_eq(st->tcp->tw_pool.used, 1);
	drain();
	put(.flags = S, .seq = 100000, .opt = plain_opts, .opt_len = 4);
	cr_assert_eq(st->tcp->tw_pool.used, 0);
	cr_assert(next_seg());
	cr_assert_eq(got.flags, S | K);
	cr_assert_eq(got.ack, 100001);
	fn_sock_close(l);
}

Test(tcp_segment, reset_ends_time_wait)
{
	struct fn_sock *sk = accepted(plain_opts, 4);

	fn_sock_close(sk);
	put(.flags = F | K, .seq = 1, .ack = 2);
	cr_assert_eq(st->tcp->tw_pool.used, 1);
	put(.flags = R, .seq = 2);
	cr_assert_eq(st->tcp->tw_pool.used, 0);
}

Test(tcp_segment, fin_wait2_of_nobody_resets_data)
{
	struct fn_sock *sk = accepted(plain_opts, 4);

	fn_sock_close(sk);
	put(.flags = K, .seq = 1, .ack = 2);
	cr_assert_eq(st->tcp->tw_pool.used, 1);
	cr_assert_eq(st->tcp_pool.used, 0);
	drain();
	put(.flags = K, .seq = 1, .ack = 2, .data = "x", .len = 1);
	cr_assert(next_seg());
	cr_assert_eq(got.flags, R);
	cr_assert_eq(got.seq, 2);
	cr_assert_eq(st->tcp->tw_pool.used, 0);
}

Test(tcp_segment, fin_wait2_of_nobody_ends_by_itself)
{
	struct fn_sock *sk = accepted(plain_opts, 4);

	fn_sock_close(sk);
	put(.flags = K, .seq = 1, .ack = 2);
	pass(59 * SEC);
	cr_assert_eq(st->tcp->tw_pool.used, 1);
	pass(2 * SEC);
	cr_assert_eq(st->tcp->tw_pool.used, 0);
}

Test(tcp_segment, closing_and_last_ack)
{
	struct fn_sock *sk = accepted(plain_opts, 4);

	put(.flags = F | K, .seq = 1, .ack = 1);
	cr_assert_eq(sk->tcp_state, FN_TCP_CLOSE_WAIT);
	fn_sock_close(sk);
	drain();
	cr_assert_eq(st->tcp_pool.used, 1);
	put(.flags = K, .seq = 2, .ack = 1);
	cr_assert_eq(st->tcp_pool.used, 1);
	put(.flags = K, .seq = 2, .ack = 2);
	cr_assert_eq(st->tcp_pool.used, 0);
	cr_assert_eq(st->tcp->tw_pool.used, 0);
}

Test(tcp_segment, a_fin_is_sent_again_until_acknowledged)
{
	struct fn_sock *sk = accepted(plain_opts, 4);
	unsigned n = 0;

	fn_sock_close(sk);
	pass(4 * SEC);
	while (next_seg())
		n += got.flags & F;
	cr_assert_geq(n, 4);
	pass(1000 * SEC);
	cr_assert_eq(st->tcp_pool.used, 0);	/* an orphan is not kept for ever */
}

/* Written and closed before the device was given anything: one segment, with the right sum, and it counts as a FIN. */
static void write_and_close(void)
{
	struct fn_sock *sk = accepted(plain_opts, 4);
	struct iovec iov = {"bye", 3};

	cr_assert_eq(fn_tcp_send(sk, &iov, 1, 0, 0), 3);
	fn_sock_close(sk);
	expect_none();
	settle();
	expect_seg(F | K, 1, 1, 3);
	expect_none();
	pass(300 * MS);
	expect_seg(F | K, 1, 1, 3);		/* again, for nobody has acknowledged it */
	put(.flags = K, .seq = 1, .ack = 5);
	cr_assert_eq(st->tcp_pool.used, 0);
	cr_assert_eq(st->tcp->tw_pool.used, 1);
	put(.flags = F | K, .seq = 1, .ack = 5);
	expect_seg(K, 5, 2, 0);
	put(.flags = R, .seq = 2);
}

Test(tcp_segment, close_marks_the_segment_that_has_not_left)
{
	write_and_close();
	peer_ts = true;
	peer_port++;
	my_isn = 0;
	write_and_close();
}

Test(tcp_segment, what_has_left_gets_no_fin)
{
	struct fn_sock *sk = accepted(plain_opts, 4);
	struct iovec iov = {"bye", 3};
	char b;

	say(sk, "one", 3, 0);
	fn_sock_close(sk);
	settle();
	expect_seg(K, 1, 1, 3);
	expect_seg(F | K, 4, 1, 0);
	put(.flags = R | K, .seq = 1, .ack = 5);
	/* nor does a segment that fills the peer's window */
	peer_port++;
	my_isn = 0;
	sk = accepted(plain_opts, 4);
	put(.flags = K, .seq = 1, .ack = 1, .win = 3, .data = "x", .len = 1);
	expect_seg(K, 1, 2, 0);
	hear(sk, &b, 1, 0);
	cr_assert_eq(fn_tcp_send(sk, &iov, 1, 0, 0), 3);
	fn_sock_close(sk);
	settle();
	expect_seg(K, 1, 2, 3);
	put(.flags = K, .seq = 2, .ack = 4, .win = 3);
	expect_seg(F | K, 4, 2, 0);
}

Test(tcp_segment, urgent_data)
{
	struct fn_sock *sk = accepted(plain_opts, 4);
	char b[16];

	put(.flags = K | U | P, .seq = 1, .ack = 1, .data = "abX", .len = 3, .urg = 3);
	cr_assert(events & POLLPRI);
	cr_assert(fn_sock_poll(sk) & POLLPRI);
	cr_assert_eq(fn_tcp_readable(sk), 2);
	cr_assert(!fn_tcp_at_mark(sk));
	put(.flags = K | P, .seq = 4, .ack = 1, .data = "cd", .len = 2);
	cr_assert_eq(hear(sk, b, 16, 0), 2);	/* stops at the mark */
	cr_assert_arr_eq(b, "ab", 2);
	cr_assert(fn_tcp_at_mark(sk));
	cr_assert_eq(hear(sk, b, 16, MSG_OOB), 1);
	cr_assert_eq(b[0], 'X');
	cr_assert_eq(hear(sk, b, 16, MSG_OOB), -EINVAL);
	cr_assert_eq(hear(sk, b, 16, 0), 2);
	cr_assert_arr_eq(b, "cd", 2);
	cr_assert(!(fn_sock_poll(sk) & POLLPRI));
	fn_sock_setopt(sk, FN_OPT_OOBINLINE, 1);
	put(.flags = K | U | P, .seq = 6, .ack = 1, .data = "efYgh", .len = 5, .urg = 3);
	cr_assert_eq(hear(sk, b, 16, 0), 2);
	cr_assert(fn_tcp_at_mark(sk));
	cr_assert_eq(hear(sk, b, 16, 0), 3);
	cr_assert_arr_eq(b, "Ygh", 3);
	cr_assert_eq(say(sk, "uvW", 3, MSG_OOB), 3);
	while (next_seg() && !got.len)
		;
	cr_assert(got.flags & U);
	cr_assert_eq(got.urg, 3);
	fn_sock_close(sk);
}

Test(tcp_segment, zero_window_is_probed)
{
	struct fn_sock *sk = accepted(plain_opts, 4);
	unsigned n = 0;

	put(.flags = K, .seq = 1, .ack = 1, .win = NO_WIN);
	cr_assert_eq(say(sk, "data", 4, 0), 4);
	expect_none();
	pass(3 * SEC);
	while (next_seg()) {
		cr_assert_eq(got.seq, 0);
		cr_assert_eq(got.len, 0);
		n++;
	}
	cr_assert_geq(n, 3);
	put(.flags = K, .seq = 1, .ack = 1, .win = NO_WIN);	/* answered: for ever */
	pass(10 * SEC);
	drain();
	put(.flags = K, .seq = 1, .ack = 1, .win = 2);	/* room for a part: the probe takes it */
	pass(30 * SEC);
	cr_assert(next_seg());
	cr_assert_eq(got.len, 2);
	drain();
	put(.flags = K, .seq = 1, .ack = 3);
	expect_seg(K, 3, 1, 2);
	put(.flags = K, .seq = 1, .ack = 5);
	fn_sock_close(sk);
}

Test(tcp_segment, icmp_errors_need_a_number_in_flight)
{
	struct fn_sock *sk = connecting();
	struct fn_ep peer = {PEER, fn_be16(peer_port), 0};

	cr_assert_eq(fn_tcp_icmp(st, &sk->local, &peer, my_isn + 5, 3, 1, 0), -FN_DROP_ICMP_SEQ);
	cr_assert_eq(fn_tcp_icmp(st, &sk->local, &peer, my_isn, 3, 1, 0), 0);
	cr_assert_eq(fn_sock_take_error(sk), EHOSTUNREACH);
	cr_assert_eq(sk->tcp_state, FN_TCP_CLOSED);
	fn_sock_close(sk);
}

Test(tcp_segment, icmp_frag_needed_lowers_the_mss)
{
	struct fn_sock *sk = accepted(plain_opts, 4);

	cr_assert_eq(say(sk, bytes, 1460, 0), 1460);
	expect_seg(K, 1, 1, 1460);
	cr_assert_eq(fn_tcp_icmp(st, &sk->local, &sk->remote, my_isn + 1, 3, 4, 1000), 0);
	settle();
	expect_seg(K, 1, 1, 960);
	expect_seg(K, 961, 1, 500);
	put(.flags = K, .seq = 1, .ack = 1461);
	cr_assert_eq(say(sk, bytes, 1460, 0), 1460);
	expect_seg(K, 1461, 1, 960);
	fn_sock_close(sk);
}

Test(tcp_segment, an_open_connection_survives_a_soft_error)
{
	struct fn_sock *sk = accepted(plain_opts, 4);

	say(sk, "x", 1, 0);
	cr_assert_eq(fn_tcp_icmp(st, &sk->local, &sk->remote, my_isn + 1, 3, 0, 0), 0);
	cr_assert_eq(sk->tcp_state, FN_TCP_ESTABLISHED);
	cr_assert_eq(sk->error, 0);
	pass(2000 * SEC);
	cr_assert_eq(fn_sock_take_error(sk), ENETUNREACH);	/* rather than ETIMEDOUT */
	fn_sock_close(sk);
}

/* A device that tells its hash of each frame: DPDK's RSS. Not the stack's own, so that one shows which was used. */
static const struct fn_nic_ops *plain_ops;

static uint16_t rx_hashed(struct fn_nic *n, struct fn_pkt **burst, uint16_t max)
{
	uint16_t got_now = plain_ops->rx(n, burst, max);

	for (uint16_t i = 0; i < got_now; i++) {
		burst[i]->hash = 0x5eed;
		burst[i]->flags |= FN_PKT_HASH_VALID;
	}
	return got_now;
}

Test(tcp_segment, the_hash_of_the_device_is_used)
{
	struct fn_nic_ops hashed = *nic->ops;
	struct fn_sock *sk;

	plain_ops = nic->ops;
	hashed.rx = rx_hashed;
	nic->ops = &hashed;
	sk = accepted(plain_opts, 4);
	cr_assert_eq(sk->hash, 0x5eed);
	put(.flags = K, .seq = 1, .ack = 1, .data = "abc", .len = 3);
	cr_assert_eq(fn_tcp_readable(sk), 3);
	nic->ops = plain_ops;
	fn_sock_close(sk);
}
