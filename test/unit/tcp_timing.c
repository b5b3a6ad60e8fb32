/* SPDX-License-Identifier: BSD-3-Clause */
/* When something is sent: Nagle, CORK, delayed and quick ACKs, keepalive, user time-out. */
#include "tcp_peer.h"

TestSuite(tcp_timing, .init = peer_setup_default, .fini = peer_teardown);

static uint8_t bytes[20000];

Test(tcp_timing, nagle_holds_the_second_small_segment)
{
	struct fn_sock *sk = accepted(plain_opts, 4);

	say(sk, "a", 1, 0);
	expect_seg(K, 1, 1, 1);
	say(sk, "b", 1, 0);
	say(sk, "c", 1, 0);
	expect_none();
	put(.flags = K, .seq = 1, .ack = 2);
	expect_seg(K, 2, 1, 2);
	fn_sock_close(sk);
}

Test(tcp_timing, minshall_lets_a_tail_follow_full_segments)
{
	struct fn_sock *sk = accepted(plain_opts, 4);

	say(sk, bytes, 1460 + 100, 0);
	expect_seg(K, 1, 1, 1460);
	expect_seg(K, 1461, 1, 100);
	say(sk, bytes, 100, 0);
	expect_none();
	fn_sock_setopt(sk, FN_OPT_NODELAY, 1);
	settle();
	expect_seg(K, 1561, 1, 100);
	say(sk, "x", 1, 0);
	expect_seg(K, 1661, 1, 1);
	fn_sock_close(sk);
}

Test(tcp_timing, cork_holds_for_200_ms)
{
	struct fn_sock *sk = accepted(plain_opts, 4);

	fn_sock_setopt(sk, FN_OPT_CORK, 1);
	say(sk, "header", 6, 0);
	say(sk, bytes, 1460, 0);
	expect_seg(K, 1, 1, 1460);
	put(.flags = K, .seq = 1, .ack = 1461);
	expect_none();
	pass(195 * MS);
	expect_none();
	pass(15 * MS);
	expect_seg(K, 1461, 1, 6);
	put(.flags = K, .seq = 1, .ack = 1467);
	say(sk, "tail", 4, 0);
	expect_none();
	fn_sock_setopt(sk, FN_OPT_CORK, 0);
	settle();
	expect_seg(K, 1467, 1, 4);
	fn_sock_close(sk);
}

Test(tcp_timing, msg_more_is_a_cork_for_one_write)
{
	struct fn_sock *sk = accepted(plain_opts, 4);

	say(sk, "he", 2, MSG_MORE);
	expect_none();
	say(sk, "llo", 3, 0);
	expect_seg(K, 1, 1, 5);
	fn_sock_close(sk);
}

Test(tcp_timing, small_requests_are_acked_with_the_answer_or_late)
{
	struct fn_sock *sk = accepted(plain_opts, 4);
	uint32_t seq = 1, mine = 1;
	char b[8];

	for (unsigned i = 0; i < 5; i++) {
		put(.flags = K | P, .seq = seq, .ack = mine, .data = "ping", .len = 4);
		seq += 4;
		drain();
		hear(sk, b, 8, 0);
		say(sk, "pong", 4, 0);
		mine += 4;
		pass(3 * MS);
	}
	drain();
	/* a dialogue by now: no ACK of its own */
	put(.flags = K | P, .seq = seq, .ack = mine, .data = "ping", .len = 4);
	hear(sk, b, 8, 0);
	pass(30 * MS);
	expect_none();
	pass(15 * MS);
	expect_seg(K, mine, seq + 4, 0);
	put(.flags = K | P, .seq = seq + 4, .ack = mine, .data = "ping", .len = 4);
	hear(sk, b, 8, 0);
	fn_sock_setopt(sk, FN_OPT_QUICKACK, 1);
	settle();
	expect_seg(K, mine, seq + 8, 0);
	fn_sock_close(sk);
}

Test(tcp_timing, two_full_segments_are_acked_at_once)
{
	struct fn_sock *sk = accepted(plain_opts, 4);

	((struct fn_tcp *)sk)->pingpong = true;
	put(.flags = K, .seq = 1, .ack = 1, .data = bytes, .len = 1460);
	expect_none();
	put(.flags = K, .seq = 1461, .ack = 1, .data = bytes, .len = 1460);
	expect_seg(K, 1, 2921, 0);
	put(.flags = K, .seq = 2921, .ack = 1, .data = bytes, .len = 1460);
	expect_none();
	fn_sock_close(sk);
}

Test(tcp_timing, quickack_acks_the_first_segment_of_a_stream_at_once)
{
	struct fn_sock *sk = accepted(plain_opts, 4);

	put(.flags = K, .seq = 1, .ack = 1, .data = bytes, .len = 500);
	expect_seg(K, 1, 501, 0);
	fn_sock_close(sk);
}

Test(tcp_timing, an_answer_carries_the_first_ack)
{
	struct fn_sock *sk = accepted(plain_opts, 4);
	struct iovec iov = {"pong", 4};

	polls = 1;	/* as a driver does it: poll, the program, poll */
	put(.flags = K | P, .seq = 1, .ack = 1, .data = "ping", .len = 4);
	expect_none();
	cr_assert_eq(fn_tcp_send(sk, &iov, 1, 0, 0), 4);
	settle();
	expect_seg(K, 1, 5, 4);
	fn_sock_close(sk);
}

Test(tcp_timing, the_first_ack_waits_for_a_server_that_polls_once_more)
{
	struct fn_sock *sk = accepted(plain_opts, 4);
	struct iovec iov = {"pong", 4};

	polls = 1;	/* the poll that tells of the connection, accept, the one that tells of the request */
	put(.flags = K | P, .seq = 1, .ack = 1, .data = "ping", .len = 4);
	settle();
	expect_none();
	cr_assert_eq(fn_tcp_send(sk, &iov, 1, 0, 0), 4);
	settle();
	expect_seg(K, 1, 5, 4);
	/* a server that has no answer: a few polls, or the next tick */
	((struct fn_tcp *)sk)->pingpong = false;
	put(.flags = K | P, .seq = 5, .ack = 5, .data = bytes, .len = 500);
	expect_none();
	pass(2 * MS);
	expect_seg(K, 5, 505, 0);
	fn_sock_close(sk);
}

Test(tcp_timing, our_fin_carries_the_ack_of_theirs)
{
	struct fn_sock *sk = accepted(plain_opts, 4);

	polls = 1;
	put(.flags = K | F, .seq = 1, .ack = 1);
	settle();
	expect_none();
	fn_sock_close(sk);
	settle();
	expect_seg(F | K, 1, 2, 0);
	put(.flags = K, .seq = 2, .ack = 2);
	/* who does not close yet: a few polls */
	peer_port++;
	my_isn = 0;
	polls = 5;
	sk = accepted(plain_opts, 4);
	put(.flags = K | F, .seq = 1, .ack = 1);
	expect_seg(K, 1, 2, 0);
	fn_sock_close(sk);
}

/* A request that comes before its connection is accepted. */
static struct fn_sock *early_request(void)
{
	struct fn_sock *l = make_listener(5);

	put(.flags = S, .opt = plain_opts, .opt_len = 4);
	expect_seg(S | K, 0, 1, 0);
	put(.flags = K | P, .seq = 1, .ack = 1, .data = "ping", .len = 4);
	return l;
}

Test(tcp_timing, the_first_ack_waits_for_accept)
{
	struct fn_sock *l = early_request(), *sk;
	struct iovec iov = {"pong", 4};

	pass(MS / 2);
	sk = fn_tcp_accept(l, &events);
	polls = 1;
	settle();
	expect_none();
	cr_assert_eq(fn_tcp_send(sk, &iov, 1, 0, 0), 4);
	settle();
	expect_seg(K, 1, 5, 4);
	fn_sock_close(sk);
	fn_sock_close(l);
}

Test(tcp_timing, the_first_ack_waits_for_accept_no_longer_than_two_ms)
{
	struct fn_sock *l = early_request(), *sk;

	pass(MS / 2);
	expect_none();
	pass(2 * MS);
	expect_seg(K, 1, 5, 0);
	sk = fn_tcp_accept(l, &events);
	settle();
	expect_none();
	fn_sock_close(sk);
	fn_sock_close(l);
}

Test(tcp_timing, who_accepts_and_does_not_answer_acks_soon)
{
	struct fn_sock *l = early_request(), *sk = fn_tcp_accept(l, &events);

	settle();
	expect_seg(K, 1, 5, 0);
	fn_sock_close(sk);
	fn_sock_close(l);
}

Test(tcp_timing, keepalive_probes_and_gives_up)
{
	struct fn_sock *sk = accepted(plain_opts, 4);
	unsigned n = 0;

	fn_sock_setopt(sk, FN_OPT_KEEPALIVE, 1);
	fn_sock_setopt(sk, FN_OPT_KEEPIDLE, 10);
	fn_sock_setopt(sk, FN_OPT_KEEPINTVL, 2);
	fn_sock_setopt(sk, FN_OPT_KEEPCNT, 3);
	pass(9900 * MS);
	expect_none();
	pass(200 * MS);
	expect_seg(K, 0, 1, 0);
	put(.flags = K, .seq = 1, .ack = 1);		/* alive */
	pass(9900 * MS);
	expect_none();
	pass(10 * SEC);
	while (next_seg())
		n += got.flags == K ? 1 : 100;
	cr_assert_eq(n, 3 + 100);			/* three probes, and the reset */
	cr_assert_eq(sk->tcp_state, FN_TCP_CLOSED);
	cr_assert_eq(fn_sock_take_error(sk), ETIMEDOUT);
	cr_assert_eq(st->stats.tcp_keepalive, 4);
	fn_sock_close(sk);
}

Test(tcp_timing, a_peers_keepalive_is_answered)
{
	struct fn_sock *sk = accepted(plain_opts, 4);

	pass(10 * SEC);
	put(.flags = K, .seq = 0, .ack = 1);
	expect_seg(K, 1, 1, 0);
	fn_sock_close(sk);
}

Test(tcp_timing, user_timeout_bounds_retransmission)
{
	struct fn_sock *sk = accepted(plain_opts, 4);

	cr_assert_eq(fn_sock_setopt(sk, FN_OPT_USER_TIMEOUT, 3000), 0);
	say(sk, "x", 1, 0);
	pass(2500 * MS);
	cr_assert_eq(sk->tcp_state, FN_TCP_ESTABLISHED);
	pass(4 * SEC);
	cr_assert_eq(sk->tcp_state, FN_TCP_CLOSED);
	cr_assert_eq(fn_sock_take_error(sk), ETIMEDOUT);
	cr_assert(events & POLLERR);
	fn_sock_close(sk);
}

Test(tcp_timing, retransmission_gives_up_after_retries2)
{
	struct fn_sock *sk = accepted(plain_opts, 4);

	say(sk, "x", 1, 0);
	pass(900 * SEC);
	cr_assert_eq(sk->tcp_state, FN_TCP_ESTABLISHED);
	pass(200 * SEC);
	cr_assert_eq(fn_sock_take_error(sk), ETIMEDOUT);
	fn_sock_close(sk);
}

Test(tcp_timing, the_rto_follows_the_round_trip)
{
	struct fn_sock *sk = accepted(plain_opts, 4);
	const struct fn_tcp *tp = (const struct fn_tcp *)sk;

	for (uint32_t i = 1; i < 60; i++) {
		say(sk, "x", 1, 0);
		pass(400 * MS);
		put(.flags = K, .seq = 1, .ack = i + 1);
	}
	cr_assert_gt(tp->rto, 500 * MS);
	cr_assert_lt(tp->rto, 1000 * MS);
	cr_assert_gt(tp->srtt >> 3, 350000);
	fn_sock_close(sk);
}

Test(tcp_timing, an_idle_connection_asks_for_no_time)
{
	struct fn_sock *sk = accepted(plain_opts, 4);
	char b[8];

	put(.flags = K | P, .seq = 1, .ack = 1, .data = "ping", .len = 4);
	hear(sk, b, 8, 0);
	say(sk, "pong", 4, 0);
	put(.flags = K, .seq = 5, .ack = 5);
	pass(10 * SEC);
	cr_assert_eq(fn_stack_deadline(st), FN_NEVER);
	fn_sock_close(sk);
}

/* A closed socket's segment stays with the device, and there is no buffer for a copy: it can never leave again. */
Test(tcp_timing, what_cannot_be_sent_again_is_given_up_in_the_end)
{
	static struct fn_pkt *held[8192];
	struct fn_sock *sk = accepted(plain_opts, 4);
	unsigned n = 0;

	fn_pair_conf(wire)->release_ns = 100000 * SEC;
	say(sk, "data", 4, 0);
	expect_seg(K, 1, 1, 4);
	while (n < 8192 && (held[n] = nic->ops->alloc(nic)))
		n++;
	fn_sock_close(sk);
	pass(90 * SEC);
	cr_assert_eq(st->tcp_pool.used, 1);
	pass(200 * SEC);
	cr_assert_eq(st->tcp_pool.used, 0);
	while (n)
		nic->ops->free(nic, held[--n]);
}
