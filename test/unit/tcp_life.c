/* SPDX-License-Identifier: BSD-3-Clause */
/* A connection's life: handshake, data both ways, close in every order, resets, what poll says meanwhile. */
#include "tcp_fixture.h"

static void setup(void)
{
	reset_conf();
	tcp_setup();
}

TestSuite(tcp_life, .init = setup, .fini = tcp_teardown);

Test(tcp_life, three_way_handshake)
{
	struct fn_sock *l = listen_on(&B, 80, 16);

	c = connect_to(&A, &B, 80);
	cr_assert_eq(c->tcp_state, FN_TCP_SYN_SENT);
	cr_assert_eq(fn_sock_poll(c), 0);
	pass(5 * MS);
	cr_assert_eq(c->tcp_state, FN_TCP_ESTABLISHED);
	cr_assert_eq(fn_sock_poll(c), POLLOUT | POLLWRNORM);
	cr_assert(events_of(c) & POLLOUT);
	cr_assert(events_of(l) & POLLIN);
	cr_assert_eq(fn_sock_poll(l), POLLIN | POLLRDNORM);
	s = fn_tcp_accept(l, watch_new());
	cr_assert_not_null(s);
	cr_assert_null(fn_tcp_accept(l, NULL));
	cr_assert_eq(fn_sock_poll(l), 0);
	cr_assert_eq(s->remote.port, c->local.port);
	cr_assert_eq(s->remote.ip4, A.ip);
	cr_assert_eq(fn_sock_take_error(c), 0);
	fn_sock_close(c);
	fn_sock_close(s);
	fn_sock_close(l);
	tcp_finish();
}

Test(tcp_life, request_and_response)
{
	char buf[100];

	connected_pair();
	cr_assert_eq(write_to(c, "hello", 5, 0), 5);
	pass(1 * MS);
	cr_assert(events_of(s) & POLLIN);
	cr_assert_eq(fn_tcp_readable(s), 5);
	cr_assert_eq(read_from(s, buf, 100, MSG_PEEK), 5);
	cr_assert_eq(read_from(s, buf, 100, 0), 5);
	cr_assert_arr_eq(buf, "hello", 5);
	cr_assert_eq(read_from(s, buf, 100, 0), -EAGAIN);
	cr_assert_eq(write_to(s, "world!", 6, 0), 6);
	pass(1 * MS);
	cr_assert_eq(read_from(c, buf, 3, 0), 3);
	cr_assert_eq(read_from(c, buf + 3, 100, 0), 3);
	cr_assert_arr_eq(buf, "world!", 6);
	pass(500 * MS);
	cr_assert_eq(fn_tcp_outq(c), 0);
	cr_assert_eq(fn_tcp_outq(s), 0);
	cr_assert_eq(c->tx_charged, 0);
	cr_assert_eq(s->rx_charged, 0);
	cr_assert_eq(fn_pair_outstanding(wire, 0) + fn_pair_outstanding(wire, 1), 0);
	fn_sock_close(c);
	fn_sock_close(s);
	tcp_finish();
}

Test(tcp_life, megabytes_both_ways)
{
	connected_pair();
	cr_assert_eq(transfer(c, s, 3000000, 60 * SEC), 3000000);
	cr_assert_eq(transfer(s, c, 3000001, 60 * SEC), 3000001);
	cr_assert_eq(A.st->stats.tcp_retrans + B.st->stats.tcp_retrans, 0);
	cr_assert(B.st->stats.tcp_fast > 1500);
	fn_sock_close(c);
	fn_sock_close(s);
	tcp_finish();
}

Test(tcp_life, active_close_then_passive)
{
	char b[8];

	connected_pair();
	cr_assert_eq(write_to(c, "bye", 3, 0), 3);
	fn_sock_close(c);
	pass(5 * MS);
	cr_assert_eq(s->tcp_state, FN_TCP_CLOSE_WAIT);
	cr_assert(events_of(s) & POLLRDHUP);
	cr_assert_eq(fn_sock_poll(s), POLLIN | POLLRDNORM | POLLRDHUP | POLLOUT | POLLWRNORM);
	cr_assert_eq(read_from(s, b, 8, 0), 3);
	cr_assert_eq(read_from(s, b, 8, 0), 0);
	cr_assert_eq(read_from(s, b, 8, 0), 0);
	pass(100 * MS);
	cr_assert_eq(A.st->tcp_pool.used, 0);		/* FIN_WAIT2 of nobody is a slim object */
	cr_assert_eq(A.st->tcp->tw_pool.used, 1);
	fn_sock_close(s);
	pass(5 * MS);
	cr_assert_eq(B.st->tcp_pool.used, 0);
	cr_assert_eq(A.st->tcp->tw_pool.used, 1);
	pass(59 * SEC);
	cr_assert_eq(A.st->tcp->tw_pool.used, 1);
	pass(2 * SEC);
	cr_assert_eq(A.st->tcp->tw_pool.used, 0);
	expect_nothing_left();
}

Test(tcp_life, half_close_goes_on_sending_the_other_way)
{
	char b[8];

	connected_pair();
	cr_assert_eq(fn_sock_shutdown(c, FN_SHUT_WR), 0);
	pass(100 * MS);
	cr_assert_eq(c->tcp_state, FN_TCP_FIN_WAIT2);
	cr_assert_eq(write_to(c, "x", 1, 0), -EPIPE);
	cr_assert_eq(read_from(s, b, 8, 0), 0);
	cr_assert_eq(write_to(s, "still", 5, 0), 5);
	pass(100 * MS);
	cr_assert_eq(read_from(c, b, 8, 0), 5);
	cr_assert_eq(transfer(s, c, 200000, 10 * SEC), 200000);
	fn_sock_close(s);
	pass(100 * MS);
	cr_assert_eq(read_from(c, b, 8, 0), 0);
	cr_assert_eq(fn_sock_poll(c), POLLIN | POLLRDNORM | POLLRDHUP | POLLHUP | POLLOUT | POLLWRNORM);
	fn_sock_close(c);
	tcp_finish();
}

Test(tcp_life, simultaneous_close)
{
	connected_pair();
	fn_sock_close(c);
	fn_sock_close(s);
	pass(10 * MS);
	cr_assert_eq(A.st->tcp->tw_pool.used, 1);
	cr_assert_eq(B.st->tcp->tw_pool.used, 1);
	tcp_finish();
}

Test(tcp_life, simultaneous_open)
{
	struct fn_sock *a = sock_on(&A), *b = sock_on(&B);
	struct fn_ep la = at(&A, 1000), lb = at(&B, 2000);

	cr_assert_eq(fn_sock_bind(a, &la), 0);
	cr_assert_eq(fn_sock_bind(b, &lb), 0);
	cr_assert_eq(fn_sock_connect(a, &lb), -EINPROGRESS);
	cr_assert_eq(fn_sock_connect(b, &la), -EINPROGRESS);
	pass(10 * MS);
	cr_assert_eq(a->tcp_state, FN_TCP_ESTABLISHED);
	cr_assert_eq(b->tcp_state, FN_TCP_ESTABLISHED);
	cr_assert(events_of(a) & POLLOUT);
	cr_assert_eq(transfer(a, b, 50000, 10 * SEC), 50000);
	fn_sock_close(a);
	fn_sock_close(b);
	tcp_finish();
}

Test(tcp_life, a_connection_with_itself)
{
	struct fn_sock *a = sock_on(&A);
	struct fn_ep la = at(&A, 1000);
	char b[8];

	cr_assert_eq(fn_sock_bind(a, &la), 0);
	cr_assert_eq(fn_sock_connect(a, &la), -EINPROGRESS);
	pass(10 * MS);
	cr_assert_eq(a->tcp_state, FN_TCP_ESTABLISHED);
	cr_assert_eq(write_to(a, "me", 2, 0), 2);
	pass(10 * MS);
	cr_assert_eq(read_from(a, b, 8, 0), 2);
	fn_sock_close(a);
	tcp_finish();
}

Test(tcp_life, a_stack_reaches_itself)
{
	struct fn_sock *l = listen_on(&A, 80, 5), *x, *y;

	x = connect_to(&A, &A, 80);
	pass(10 * MS);
	cr_assert_eq(x->tcp_state, FN_TCP_ESTABLISHED);
	y = fn_tcp_accept(l, watch_new());
	cr_assert_not_null(y);
	cr_assert_eq(transfer(x, y, 500000, 10 * SEC), 500000);
	cr_assert_eq(transfer(y, x, 500000, 10 * SEC), 500000);
	fn_sock_close(x);
	fn_sock_close(y);
	fn_sock_close(l);
	tcp_finish();
}

Test(tcp_life, nobody_listens)
{
	char b[8];

	c = connect_to(&A, &B, 81);
	pass(5 * MS);
	cr_assert_eq(c->tcp_state, FN_TCP_CLOSED);
	cr_assert(events_of(c) & POLLERR);
	cr_assert(fn_sock_poll(c) & POLLERR);
	cr_assert(fn_sock_poll(c) & POLLHUP);
	cr_assert_eq(fn_sock_take_error(c), ECONNREFUSED);
	cr_assert_eq(fn_sock_take_error(c), 0);
	cr_assert_eq(read_from(c, b, 8, 0), 0);
	fn_sock_close(c);
	tcp_finish();
}

Test(tcp_life, unread_data_turns_close_into_reset)
{
	char b[8];

	connected_pair();
	cr_assert_eq(write_to(c, "data", 4, 0), 4);
	pass(5 * MS);
	fn_sock_close(s);
	pass(5 * MS);
	cr_assert_eq(c->tcp_state, FN_TCP_CLOSED);
	cr_assert_eq(fn_sock_poll(c) & (POLLERR | POLLHUP | POLLIN | POLLOUT), POLLERR | POLLHUP | POLLIN | POLLOUT);
	cr_assert_eq(read_from(c, b, 8, 0), -ECONNRESET);
	cr_assert_eq(read_from(c, b, 8, 0), 0);
	cr_assert_eq(write_to(c, "x", 1, 0), -EPIPE);
	fn_sock_close(c);
	pass(1 * SEC);
	expect_nothing_left();
}

Test(tcp_life, reset_in_close_wait_is_epipe)
{
	connected_pair();
	fn_sock_shutdown(c, FN_SHUT_WR);
	pass(5 * MS);
	cr_assert_eq(s->tcp_state, FN_TCP_CLOSE_WAIT);
	cr_assert_eq(write_to(s, "data", 4, 0), 4);
	pass(5 * MS);
	fn_sock_close(c);	/* unread: reset */
	pass(5 * MS);
	cr_assert_eq(s->tcp_state, FN_TCP_CLOSED);
	cr_assert_eq(fn_sock_take_error(s), EPIPE);
	fn_sock_close(s);
	tcp_finish();
}

Test(tcp_life, linger_zero_resets)
{
	connected_pair();
	fn_sock_setopt(c, FN_OPT_LINGER, 0);
	fn_sock_close(c);
	pass(5 * MS);
	cr_assert_eq(s->tcp_state, FN_TCP_CLOSED);
	cr_assert_eq(fn_sock_take_error(s), ECONNRESET);
	fn_sock_close(s);
	pass(1 * SEC);
	expect_nothing_left();
}

Test(tcp_life, data_after_close_is_answered_by_reset)
{
	connected_pair();
	fn_sock_close(c);
	pass(5 * MS);
	cr_assert_eq(write_to(s, "too late", 8, 0), 8);
	pass(5 * MS);
	cr_assert_eq(s->tcp_state, FN_TCP_CLOSED);
	cr_assert_eq(fn_sock_take_error(s), EPIPE);
	fn_sock_close(s);
	tcp_finish();
}

Test(tcp_life, shutdown_of_sockets_without_connection)
{
	struct fn_sock *f = sock_on(&A), *l = listen_on(&A, 90, 1);
	char b[8];

	cr_assert_eq(fn_sock_poll(f), POLLOUT | POLLWRNORM | POLLHUP);
	cr_assert_eq(read_from(f, b, 8, 0), -ENOTCONN);
	cr_assert_eq(write_to(f, "x", 1, 0), -EPIPE);
	cr_assert_eq(fn_sock_shutdown(f, FN_SHUT_RD | FN_SHUT_WR), -ENOTCONN);
	cr_assert_eq(read_from(l, b, 8, 0), -ENOTCONN);
	cr_assert_eq(fn_sock_shutdown(l, FN_SHUT_RD), 0);
	cr_assert_eq(l->tcp_state, FN_TCP_CLOSED);
	fn_sock_close(l);
	fn_sock_close(f);
	expect_nothing_left();
}

Test(tcp_life, disconnect_and_connect_again)
{
	struct fn_sock *l = listen_on(&B, 80, 16);
	struct fn_ep ep = at(&B, 80);

	c = connect_to(&A, &B, 80);
	pass(5 * MS);
	cr_assert_eq(fn_sock_connect(c, &ep), -EISCONN);
	cr_assert_eq(fn_sock_disconnect(c), 0);
	cr_assert_eq(c->tcp_state, FN_TCP_CLOSED);
	fn_sock_take_error(c);
	cr_assert_eq(fn_sock_connect(c, &ep), -EINPROGRESS);
	cr_assert_eq(fn_sock_connect(c, &ep), -EALREADY);
	pass(5 * MS);
	cr_assert_eq(c->tcp_state, FN_TCP_ESTABLISHED);
	s = fn_tcp_accept(l, watch_new());
	cr_assert_eq(s->tcp_state, FN_TCP_CLOSED);	/* the first one, reset before it was accepted */
	fn_sock_close(s);
	s = fn_tcp_accept(l, watch_new());
	cr_assert_eq(transfer(s, c, 1000, SEC), 1000);
	fn_sock_close(s);
	fn_sock_close(c);
	fn_sock_close(l);
	tcp_finish();
}

Test(tcp_life, closing_a_listener_resets_what_waits)
{
	struct fn_sock *l = listen_on(&B, 80, 16);

	c = connect_to(&A, &B, 80);
	pass(5 * MS);
	fn_sock_close(l);
	pass(5 * MS);
	cr_assert_eq(fn_sock_take_error(c), ECONNRESET);
	fn_sock_close(c);
	pass(1 * SEC);
	expect_nothing_left();
}

Test(tcp_life, close_drains_what_was_written)
{
	static uint8_t big[60000];
	size_t got = 0;
	ssize_t n;

	connected_pair();
	n = write_to(c, big, sizeof(big), 0);
	cr_assert(n > 20000);
	cr_assert(fn_tcp_unsent(c));
	fn_sock_close(c);
	cr_assert_eq(fn_stack_draining(A.st), 1);
	while (s->tcp_state != FN_TCP_CLOSE_WAIT || fn_tcp_readable(s)) {
		ssize_t m = read_from(s, big, sizeof(big), 0);

		got += m > 0 ? (size_t)m : 0;
		pass(1 * MS);
	}
	cr_assert_eq(got, (size_t)n);
	fn_sock_close(s);
	pass(100 * MS);
	cr_assert_eq(fn_stack_draining(A.st), 0);
	tcp_finish();
}
