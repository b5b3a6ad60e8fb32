/* SPDX-License-Identifier: BSD-3-Clause */
/* Listeners: backlog, SYN cookies, DEFER_ACCEPT, what a connection inherits, running out of objects. */
#include "tcp_peer.h"

TestSuite(tcp_queue, .init = peer_setup_default, .fini = peer_teardown);

static const uint8_t all_opts[] = {2, 4, 1400 >> 8, 1400 & 255, 1, 1, 4, 2, 1, 3, 3, 9};

/* SYN, and the ACK of what comes back, from another port each time; true when a SYN-ACK came. */
static bool syn_from(uint16_t port)
{
	peer_port = port;
	put(.flags = S, .opt = all_opts, .opt_len = 12);
	if (!next_seg() || (got.flags & (S | K)) != (S | K))
		return false;
	my_isn += got.seq;
	peer_tsecr = got.tsval;
	return true;
}

static bool open_from(uint16_t port)
{
	my_isn = 0;
	if (!syn_from(port))
		return false;
	put(.flags = K, .seq = 1, .ack = 1);
	return true;
}

static unsigned accept_all(struct fn_sock *l)
{
	struct fn_sock *sk;
	unsigned n = 0;

	while ((sk = fn_tcp_accept(l, &events))) {
		n++;
		fn_sock_close(sk);
	}
	settle();
	return n;
}

Test(tcp_queue, the_accept_queue_takes_one_more_than_backlog)
{
	struct fn_sock *l = make_listener(2);
	unsigned i;

	for (i = 0; i < 3; i++)
		cr_assert(open_from((uint16_t)(1000 + i)));
	cr_assert_eq(((struct fn_tcp *)l)->l.accept_len, 3);
	cr_assert(!open_from(1003));		/* dropped: the client tries again */
	cr_assert_eq(st->stats.drop[FN_DROP_TCP_BACKLOG], 1);
	cr_assert_eq(accept_all(l), 3);
	drain();
	cr_assert(open_from(1003));
	cr_assert_eq(accept_all(l), 1);
	fn_sock_close(l);
}

Test(tcp_queue, an_ack_that_finds_the_queue_full_may_come_again)
{
	struct fn_sock *l = make_listener(1);
	uint32_t isn3;

	cr_assert(open_from(1000));
	my_isn = 0;
	cr_assert(syn_from(1001));
	isn3 = my_isn;
	my_isn = 0;
	cr_assert(open_from(1002));		/* by cookie: the SYN queue is full too */
	peer_port = 1001;
	my_isn = isn3;
	put(.flags = K, .seq = 1, .ack = 1);
	cr_assert_eq(((struct fn_tcp *)l)->l.accept_len, 2);
	cr_assert_eq(accept_all(l), 2);
	drain();
	put(.flags = K, .seq = 1, .ack = 1);
	cr_assert_eq(accept_all(l), 1);
	fn_sock_close(l);
}

Test(tcp_queue, cookies_carry_mss_and_with_timestamps_the_rest)
{
	struct fn_sock *l = make_listener(2), *sk;
	struct fn_tcp *tp;

	peer_ts = true;
	cr_assert(syn_from(1000) && syn_from(1001));
	cr_assert_eq(st->stats.tcp_syn_cookies, 0);
	my_isn = 0;
	cr_assert(syn_from(1002));
	cr_assert_eq(st->stats.tcp_syn_cookies, 1);
	cr_assert(got.has_wscale && got.sack_perm && got.has_ts);
	cr_assert_eq(st->tcp->req_pool.used, 2);
	pass(30 * SEC);
	drain();
	put(.flags = K, .seq = 1, .ack = 1);
	sk = fn_tcp_accept(l, &events);
	cr_assert_not_null(sk);
	tp = (struct fn_tcp *)sk;
	cr_assert_eq(tp->snd_wscale, 9);
	cr_assert_eq(tp->feat, FN_TCP_F_TS | FN_TCP_F_SACK | FN_TCP_F_WSCALE);
	cr_assert_eq(tp->mss_clamp, 1300);	/* the table's next lower than 1400 */
	cr_assert_eq(st->stats.tcp_syn_cookies_ok, 1);
	fn_sock_close(sk);
	fn_sock_close(l);
}

Test(tcp_queue, cookies_without_timestamps_offer_nothing_to_remember)
{
	struct fn_sock *l = make_listener(1);

	cr_assert(syn_from(1000));
	my_isn = 0;
	cr_assert(syn_from(1001));
	cr_assert_eq(st->stats.tcp_syn_cookies, 1);
	cr_assert(!got.has_wscale && !got.sack_perm);
	put(.flags = K, .seq = 1, .ack = 1);
	cr_assert_eq(accept_all(l), 1);
	fn_sock_close(l);
}

Test(tcp_queue, forged_and_old_cookies_are_refused)
{
	struct fn_sock *l = make_listener(1);

	cr_assert(syn_from(1000));
	my_isn = 0;
	cr_assert(syn_from(1001));
	cr_assert_eq(st->stats.tcp_syn_cookies, 1);
	put(.flags = K, .seq = 1, .ack = 1000);
	cr_assert(next_seg());
	cr_assert_eq(got.flags, R);
	put(.flags = K, .seq = 7, .ack = 1);
	cr_assert(next_seg());
	cr_assert_eq(got.flags, R);
	cr_assert_eq(st->stats.drop[FN_DROP_TCP_COOKIE], 2);
	pass(130 * SEC);
	drain();
	put(.flags = K, .seq = 1, .ack = 1);
	cr_assert(next_seg());
	cr_assert_eq(got.flags, R);
	cr_assert_null(fn_tcp_accept(l, &events));
	fn_sock_close(l);
}

Test(tcp_queue, without_cookies_a_full_syn_queue_drops)
{
	struct fn_sock *l = make_listener(1);

	st->conf.syn_cookies = false;
	cr_assert(syn_from(1000));
	cr_assert(!syn_from(1001));
	cr_assert_eq(st->stats.drop[FN_DROP_TCP_SYN_QUEUE], 1);
	fn_sock_close(l);
}

Test(tcp_queue, defer_accept_waits_for_data)
{
	struct fn_sock *l = make_listener(5), *sk;
	int secs;
	char b[8];

	cr_assert_eq(fn_sock_setopt(l, FN_OPT_DEFER_ACCEPT, 5), 0);
	fn_sock_getopt(l, FN_OPT_DEFER_ACCEPT, &secs);
	cr_assert_eq(secs, 7);			/* 1 + 2 + 4 */
	cr_assert(open_from(1000));
	cr_assert_null(fn_tcp_accept(l, &events));
	cr_assert_eq(events, 0);
	put(.flags = K | P, .seq = 1, .ack = 1, .data = "hi", .len = 2);
	cr_assert(events & POLLIN);
	sk = fn_tcp_accept(l, &events);
	cr_assert_eq(hear(sk, b, 8, 0), 2);
	fn_sock_setopt(sk, FN_OPT_LINGER, 0);
	fn_sock_close(sk);
	settle();
	drain();
	/* a silent client gets a SYN-ACK when the time is over, and its ACK then counts */
	cr_assert(open_from(1001));
	pass(6 * SEC);
	expect_none();
	pass(2 * SEC);
	cr_assert(next_seg());
	cr_assert_eq(got.flags, S | K);
	put(.flags = K, .seq = 1, .ack = 1);
	cr_assert_eq(accept_all(l), 1);
	fn_sock_close(l);
}

Test(tcp_queue, what_a_connection_inherits)
{
	struct fn_sock *l = make_listener(5), *sk;
	int v;

	fn_sock_setopt(l, FN_OPT_NODELAY, 1);
	fn_sock_setopt(l, FN_OPT_KEEPALIVE, 1);
	fn_sock_setopt(l, FN_OPT_KEEPIDLE, 77);
	fn_sock_setopt(l, FN_OPT_LINGER, 4);
	fn_sock_setopt(l, FN_OPT_RCVBUF, 40000);
	fn_sock_setopt(l, FN_OPT_USER_TIMEOUT, 1234);
	fn_sock_setopt(l, FN_OPT_CONGESTION, FN_CC_RENO);
	cr_assert(open_from(1000));
	sk = fn_tcp_accept(l, &events);
	fn_sock_getopt(sk, FN_OPT_NODELAY, &v);
	cr_assert_eq(v, 1);
	fn_sock_getopt(sk, FN_OPT_KEEPALIVE, &v);
	cr_assert_eq(v, 1);
	fn_sock_getopt(sk, FN_OPT_KEEPIDLE, &v);
	cr_assert_eq(v, 77);
	fn_sock_getopt(sk, FN_OPT_LINGER, &v);
	cr_assert_eq(v, 4);
	fn_sock_getopt(sk, FN_OPT_RCVBUF, &v);
	cr_assert_eq(v, 40000);
	fn_sock_getopt(sk, FN_OPT_USER_TIMEOUT, &v);
	cr_assert_eq(v, 1234);
	fn_sock_getopt(sk, FN_OPT_CONGESTION, &v);
	cr_assert_eq(v, FN_CC_RENO);
	fn_sock_close(sk);
	fn_sock_close(l);
}

Test(tcp_queue, out_of_sockets_is_a_counted_refusal)
{
	struct fn_sock *l = make_listener(5), *more[8];
	unsigned n = 0;

	st->tcp_pool.max = st->tcp_pool.used + 4;	/* object 0 counts, and two for the bookkeeping below */
	while (n < 8 && (more[n] = fn_sock_open(st, FN_SOCK_TCP, &events)))
		n++;
	cr_assert_lt(n, 8);
	cr_assert_gt(n, 0);
	cr_assert(open_from(1000));
	cr_assert_null(fn_tcp_accept(l, &events));
	cr_assert_geq(st->stats.sock_refused, 2);
	fn_sock_close(more[--n]);
	put(.flags = K, .seq = 1, .ack = 1);		/* the client's next segment finds room */
	cr_assert_eq(accept_all(l), 1);
	while (n)
		fn_sock_close(more[--n]);
	fn_sock_close(l);
}

Test(tcp_queue, isns_differ_by_address_and_move_with_time)
{
	struct fn_ep a = {ME, fn_be16(80), 0}, b = {PEER, fn_be16(1000), 0}, c = {PEER, fn_be16(1001), 0};
	uint32_t first = fn_tcp_isn(st, &a, &b), again;

	cr_assert_neq(first, fn_tcp_isn(st, &a, &c));
	st->now += SEC;
	again = fn_tcp_isn(st, &a, &b);
	cr_assert_eq(again - first, SEC >> 6);
}

/* Each connection keeps what came behind a hole, until no buffer is left even for an ACK. */
static void starve(void)
{
	static const uint8_t data[1000];

	for (unsigned i = 0; i < 80 && !st->stats.drop[FN_DROP_NO_PKT_MEM]; i++) {
		my_isn = 0;
		cr_assert(open_from((uint16_t)(1000 + i)));
		for (uint32_t seq = 1001; seq < 55001 && !st->stats.drop[FN_DROP_NO_PKT_MEM]; seq += 1000) {
			put(.flags = K, .seq = seq, .ack = 1, .data = data, .len = sizeof(data));
			drain();
		}
	}
	cr_assert(st->stats.drop[FN_DROP_NO_PKT_MEM] > 0);
}

Test(tcp_queue, data_out_of_order_is_given_up_when_no_buffer_is_left_to_send_from)
{
	struct fn_sock *l = make_listener(128);

	starve();
	pass(SEC);
	drain();
	cr_assert_geq(st->stats.drop[FN_DROP_TCP_OOO_PRUNED], FN_NIC_BURST);
	my_isn = 0;
	cr_assert(open_from(2000));		/* others are served */
	/* a connection that lost its queue goes on from where it is, and SACKs nothing that is gone */
	peer_port = 1000;
	my_isn = ((struct fn_tcp *)((struct fn_tcp *)l)->l.accept_head)->snd_una - 1;
	put(.flags = K, .seq = 1, .ack = 1, .data = "abc", .len = 3);
	pass(SEC);
	cr_assert(next_seg());
	cr_assert_eq(got.ack, 4);
	cr_assert_eq(got.sacks, 0);
	accept_all(l);
	fn_sock_close(l);
}
