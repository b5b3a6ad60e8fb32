/* SPDX-License-Identifier: BSD-3-Clause */
/* Flow control and buffers: a reader that stops, windows that open, tuning, what writers are told, sendfile's buffers;
 * and what a connection leaves behind for the next one. */
#include "tcp_fixture.h"

static void setup(void)
{
	reset_conf();
	tcp_setup();
}

TestSuite(tcp_flow, .init = setup, .fini = tcp_teardown);

static uint8_t block[65536];

static size_t fill(struct fn_sock *sk)
{
	size_t sent = 0;
	ssize_t n;

	for (unsigned i = 0; i < 2000; i++) {
		while ((n = write_to(sk, block, sizeof(block), 0)) > 0)
			sent += (size_t)n;
		pass(5 * MS);
	}
	cr_assert_eq(n, -EAGAIN);
	return sent;
}

static size_t drain_all(struct fn_sock *sk, uint64_t limit)
{
	size_t got = 0;
	uint64_t end = now + limit;
	ssize_t n;

	while (now < end) {
		while ((n = read_from(sk, block, sizeof(block), 0)) > 0)
			got += (size_t)n;
		pass(1 * MS);
	}
	return got;
}

Test(tcp_flow, a_reader_that_stops_stops_the_writer)
{
	size_t sent;

	connected_pair();
	sent = fill(c);
	cr_assert_gt(sent, 60000);
	cr_assert_leq(s->rx_charged, s->rcvbuf + 4096);
	cr_assert_leq(c->tx_charged, c->sndbuf + 4096);
	cr_assert_eq(fn_tcp_receive_window((struct fn_tcp *)s), 0);
	cr_assert(!(fn_sock_poll(c) & POLLOUT));
	pass(300 * SEC);			/* probes are answered: nobody gives up */
	cr_assert_eq(c->tcp_state, FN_TCP_ESTABLISHED);
	cr_assert_gt(A.st->stats.tcp_persist, 3);
	events_of(c);
	cr_assert_eq(drain_all(s, 200 * SEC), sent);
	cr_assert(events_of(c) & POLLOUT);
	cr_assert_eq(A.st->stats.tcp_rto, 0);
	fn_sock_close(c);
	fn_sock_close(s);
	tcp_finish();
}

Test(tcp_flow, the_window_update_wakes_the_writer_at_once)
{
	connected_pair();
	fill(c);
	pass(100 * SEC);			/* probes are two minutes apart by now */
	read_from(s, block, sizeof(block), 0);
	read_from(s, block, sizeof(block), 0);
	pass(2 * MS);
	cr_assert_gt(((struct fn_tcp *)c)->snd_wnd, 20000);
	fn_sock_close(c);
	fn_sock_close(s);
	tcp_finish();
}

/* One byte a segment does not pin a buffer a byte. */
Test(tcp_flow, tiny_segments_share_buffers)
{
	size_t sent = 0;

	connected_pair();
	fn_sock_setopt(c, FN_OPT_NODELAY, 1);
	fn_sock_setopt(c, FN_OPT_SNDBUF, 1000000);
	for (unsigned i = 0; i < 3000; i++) {
		sent += write_to(c, "x", 1, 0) == 1;
		pass(1 * MS / 2);
	}
	cr_assert_eq(sent, 3000);
	cr_assert_eq(fn_tcp_readable(s), 3000);
	cr_assert_leq(s->rxq.count, 3);
	cr_assert_eq(drain_all(s, 10 * MS), 3000);
	fn_sock_close(c);
	fn_sock_close(s);
	tcp_finish();
}

Test(tcp_flow, writers_are_told_when_a_third_is_free_and_not_before)
{
	ssize_t n;

	connected_pair();
	fn_sock_setopt(c, FN_OPT_SNDBUF, 40000);
	fill(c);
	events_of(c);
	cr_assert(c->nospace);
	while (!(events_of(c) & POLLOUT)) {
		cr_assert(!(fn_sock_poll(c) & POLLOUT));
		n = read_from(s, block, 1000, 0);
		cr_assert_gt(n, 0);
		pass(100 * MS);
	}
	cr_assert_leq(c->tx_charged, c->sndbuf * 2 / 3);
	cr_assert(fn_sock_poll(c) & POLLOUT);
	fn_sock_setopt(c, FN_OPT_LINGER, 0);
	fn_sock_close(c);
	fn_sock_close(s);
	tcp_finish();
}

/* On Linux 87,040 at first (20 segments of 4,352), and two windows of such segments later. */
Test(tcp_flow, a_send_buffer_takes_as_many_bytes_as_on_linux)
{
	size_t sent = 0, segments = 0;
	ssize_t n;

	connected_pair();
	while ((n = write_to(c, block, sizeof(block), 0)) > 0)
		sent += (size_t)n;
	cr_assert_geq(sent, 86000, "%zu", sent);
	cr_assert_leq(sent, 90000, "%zu", sent);
	for (unsigned i = 0; i < 100; i++) {
		pass(1 * MS);
		/* the widest that the window has been */
		segments = fn_max(segments, (size_t)((struct fn_tcp *)c)->cwnd / ((struct fn_tcp *)c)->mss);
		while ((n = write_to(c, block, sizeof(block), 0)) > 0)
			sent += (size_t)n;
	}
	cr_assert_geq(fn_tcp_outq(c), 2 * segments * 4300, "%zu for %zu segments", fn_tcp_outq(c), segments);
	cr_assert_leq(fn_tcp_outq(c), 2 * segments * 4500, "%zu for %zu segments", fn_tcp_outq(c), segments);
	cr_assert_eq(drain_all(s, 10 * SEC), sent);
	fn_sock_close(c);
	fn_sock_close(s);
	tcp_finish();
}

Test(tcp_flow, buffers_grow_with_a_long_path_unless_they_were_set)
{
	uint32_t before;

	fn_pair_conf(wire)->delay_ns = 20 * MS;
	fn_pair_conf(wire)->queue = 1024;
	connected_pair_slow();
	before = s->rcvbuf;
	cr_assert_eq(transfer(c, s, 4000000, 100 * SEC), 4000000);
	cr_assert_gt(s->rcvbuf, before);
	cr_assert_gt(c->sndbuf, 100000);
	cr_assert_leq(s->rcvbuf, stack_conf.rcvbuf_max);
	fn_sock_setopt(c, FN_OPT_RCVBUF, 50000);
	cr_assert_eq(transfer(s, c, 1000000, 100 * SEC), 1000000);
	cr_assert_eq(c->rcvbuf, 50000);
	fn_sock_close(c);
	fn_sock_close(s);
	tcp_finish();
}

Test(tcp_flow, without_window_scaling_64_kib_are_the_limit)
{
	connected_pair();
	((struct fn_tcp *)s)->rcv_wscale = ((struct fn_tcp *)c)->snd_wscale = 0;
	((struct fn_tcp *)c)->rcv_wscale = ((struct fn_tcp *)s)->snd_wscale = 0;
	cr_assert_eq(transfer(c, s, 2000000, 60 * SEC), 2000000);
	cr_assert_leq(((struct fn_tcp *)c)->max_window, 70000u << 7);
	fn_sock_close(c);
	fn_sock_close(s);
	tcp_finish();
}

Test(tcp_flow, sendfile_buffers_are_filled_and_committed)
{
	struct iovec iov[8];
	struct fn_pkt *chain;
	int cnt = 8, err;
	size_t room = 0, got;

	connected_pair();
	chain = fn_tcp_reserve(c, 5000, iov, &cnt, &err);
	cr_assert_not_null(chain);
	cr_assert_eq(cnt, 4);
	for (int i = 0; i < cnt; i++) {
		memset(iov[i].iov_base, 'a' + i, iov[i].iov_len);
		room += iov[i].iov_len;
	}
	cr_assert_eq(room, 5000);
	cr_assert_eq(fn_tcp_commit(c, chain, 3000, 0), 3000);	/* the file was shorter */
	pass(5 * MS);
	got = (size_t)read_from(s, block, sizeof(block), 0);
	cr_assert_eq(got, 3000);
	for (size_t i = 0; i < got; i++)
		cr_assert_eq(block[i], 'a' + i / iov[0].iov_len);
	cnt = 8;
	chain = fn_tcp_reserve(c, 5000, iov, &cnt, &err);
	cr_assert_eq(fn_tcp_commit(c, chain, 0, 0), 0);		/* nothing after all */
	cnt = 8;
	chain = fn_tcp_reserve(c, 5000, iov, &cnt, &err);
	fn_sock_setopt(s, FN_OPT_LINGER, 0);
	fn_sock_close(s);
	pass(5 * MS);
	cr_assert_eq(fn_tcp_commit(c, chain, 5000, 0), -ECONNRESET);	/* reset meanwhile */
	cr_assert_eq(c->tx_charged, 0);
	cnt = 8;
	cr_assert_null(fn_tcp_reserve(c, 5000, iov, &cnt, &err));
	cr_assert_eq(err, -EPIPE);
	fn_sock_close(c);
	tcp_finish();
}

Test(tcp_flow, gather_and_skip)
{
	struct iovec iov[4] = {{"abc", 3}, {NULL, 0}, {"defg", 4}, {"hi", 2}}, in[3];
	char a[2], b[3], d[10];

	connected_pair();
	cr_assert_eq(fn_tcp_send(c, iov, 4, 4, 0), 5);
	pass(1 * MS);
	in[0] = (struct iovec){a, 2};
	in[1] = (struct iovec){b, 3};
	in[2] = (struct iovec){d, 10};
	cr_assert_eq(fn_tcp_recv(s, in, 3, 1, 0, NULL), 5);
	cr_assert_eq(a[1], 'e');
	cr_assert_arr_eq(b, "fgh", 3);
	cr_assert_eq(d[0], 'i');
	cr_assert_eq(write_to(c, "trunc", 5, 0), 5);
	pass(1 * MS);
	cr_assert_eq(read_from(s, d, 10, MSG_TRUNC), 5);
	cr_assert_eq(fn_tcp_readable(s), 0);
	fn_sock_close(c);
	fn_sock_close(s);
	tcp_finish();
}

/* With the sum that the wire checks, which odd lengths turn. */
Test(tcp_flow, the_small_parts_of_an_answer_leave_as_one_segment)
{
	struct iovec parts[6] = {{"g", 1}, {"et ", 3}, {"x", 0}, {"a key of many bytes, ", 21}, {"odd", 3}, {"\r\n", 2}};
	const char *whole = "get a key of many bytes, odd\r\n";
	uint64_t before;
	char got[64];

	connected_pair();
	before = A.st->stats.tcp_out;
	for (size_t skip = 0; skip < 6; skip++) {
		ssize_t n = (ssize_t)(strlen(whole) - skip);

		cr_assert_eq(fn_tcp_send(c, parts, 6, skip, 0), n);
		cr_expect_eq(A.st->stats.tcp_out, ++before);
		pass(1 * MS);
		cr_assert_eq(read_from(s, got, sizeof(got), 0), n);
		cr_expect_arr_eq(got, whole + skip, (size_t)n);
		cr_assert_eq(write_to(s, "ok", 2, 0), 2);
		pass(1 * MS);
		cr_assert_eq(read_from(c, got, sizeof(got), 0), 2);
		before = A.st->stats.tcp_out;
	}
	fn_sock_close(c);
	fn_sock_close(s);
	tcp_finish();
}

Test(tcp_flow, a_port_in_time_wait_connects_again_when_timestamps_allow)
{
	struct fn_sock *l = listen_on(&B, 80, 5), *a;
	struct fn_ep me = at(&A, 3333), to = at(&B, 80);

	for (unsigned i = 0; i < 2; i++) {
		a = sock_on(&A);
		fn_sock_setopt(a, FN_OPT_REUSEADDR, 1);
		cr_assert_eq(fn_sock_bind(a, &me), 0);
		if (i)
			pass(2 * SEC);
		cr_assert_eq(fn_sock_connect(a, &to), -EINPROGRESS);
		pass(5 * MS);
		cr_assert_eq(a->tcp_state, FN_TCP_ESTABLISHED);
		s = fn_tcp_accept(l, watch_new());
		fn_sock_close(a);
		pass(5 * MS);
		fn_sock_close(s);
		pass(5 * MS);
		cr_assert_eq(A.st->tcp->tw_pool.used, 1);
	}
	cr_assert_eq(A.st->stats.tcp_time_wait_reused, 1);
	a = sock_on(&A);
	fn_sock_setopt(a, FN_OPT_REUSEADDR, 1);
	cr_assert_eq(fn_sock_bind(a, &me), 0);
	cr_assert_eq(fn_sock_connect(a, &to), -EADDRNOTAVAIL);	/* not a second yet */
	fn_sock_close(a);
	fn_sock_close(l);
	tcp_finish();
}

Test(tcp_flow, many_connections_and_nothing_left)
{
	struct fn_sock *l = listen_on(&B, 80, 1000), *cs[400], *ss[400];
	char b[4];

	for (unsigned i = 0; i < 400; i++) {
		watch_count = 10;
		cs[i] = connect_to(&A, &B, 80);
	}
	pass(3 * SEC);		/* some SYNs go again: ARP keeps a few only */
	for (unsigned i = 0; i < 400; i++) {
		watch_count = 10;
		cr_assert_eq(cs[i]->tcp_state, FN_TCP_ESTABLISHED);
		ss[i] = fn_tcp_accept(l, watch_new());
		cr_assert_not_null(ss[i]);
		write_to(ss[i], "hi", 2, 0);
	}
	pass(20 * MS);
	for (unsigned i = 0; i < 400; i++) {
		cr_assert_eq(read_from(cs[i], b, 4, 0), 2);
		fn_sock_close(i % 2 ? cs[i] : ss[i]);
	}
	pass(20 * MS);
	for (unsigned i = 0; i < 400; i++)
		fn_sock_close(i % 2 ? ss[i] : cs[i]);
	fn_sock_close(l);
	tcp_finish();
}

Test(tcp_flow, a_wire_without_buffers_is_waited_for)
{
	struct fn_pkt *hog[8192];
	unsigned n = 0;

	connected_pair();
	while (n < 8192 && (hog[n] = A.nic->ops->alloc(A.nic)))
		n++;
	cr_assert_eq(write_to(c, "data", 4, 0), -EAGAIN);
	cr_assert(c->nospace);
	fn_sock_shutdown(c, FN_SHUT_WR);		/* the FIN has no buffer either */
	pass(50 * MS);
	cr_assert_eq(s->tcp_state, FN_TCP_ESTABLISHED);
	while (n)
		fn_pkt_free(hog[--n]);
	pass(2 * SEC);
	cr_assert_eq(s->tcp_state, FN_TCP_CLOSE_WAIT);
	fn_sock_close(c);
	fn_sock_close(s);
	tcp_finish();
}
