/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * Two stacks that talk through the fabric's memory: a connection's life, bulk both ways through small rings, a reader who
 * does not read, a peer that lies. What a peer's end does: shm_end.c.
 */
#include <criterion/criterion.h>
#include <errno.h>
#include <linux/tcp.h>
#include <poll.h>
#include <sys/socket.h>

#include "shm_pair.h"

static void setup_small(void)
{
	A.slots = B.slots = FN_RING_SLOTS_MIN;
	setup();
}

TestSuite(nic_shm, .init = setup, .fini = teardown);
TestSuite(nic_shm_small, .init = setup_small, .fini = teardown);

Test(nic_shm, request_and_response)
{
	struct fn_sock *l, *a, *b;
	char buf[64];

	pair_up(&l, &a, &b);
	cr_assert_eq(b->remote.peer, B.peer);
	cr_assert_eq(b->remote.ip4, LOOPBACK);
	for (unsigned i = 0; i < 1000; i++) {
		cr_assert_eq(give(a, "ping", 4), 4);
		settle();
		cr_assert_eq(get(b, buf, sizeof(buf)), 4);
		cr_assert_arr_eq(buf, "ping", 4);
		cr_assert_eq(give(b, "pong!", 5), 5);
		settle();
		cr_assert_eq(get(a, buf, sizeof(buf)), 5, "round %u", i);
	}
	close_all(l, a, b);
}

Test(nic_shm, nobody_listens)
{
	struct fn_sock *a = connect_from(&A);

	settle();
	cr_assert_eq(fn_sock_take_error(a), ECONNREFUSED);
	fn_sock_close(a);
	nothing_left();
}

Test(nic_shm, end_of_file_at_once_and_no_time_wait)
{
	struct fn_sock *l, *a, *b;
	char c;

	pair_up(&l, &a, &b);
	fn_sock_close(a);
	settle();
	cr_assert_eq(get(b, &c, 1), 0);
	fn_sock_close(b);
	settle();
	cr_assert_eq(A.st->tcp->tw_pool.used, 0);
	fn_sock_close(l);
	nothing_left();
}

Test(nic_shm, bulk_both_ways)
{
	struct fn_sock *l, *a, *b;

	pair_up(&l, &a, &b);
	bulk(a, b, 8u << 20);
	/* the program's writes are of 50,000 bytes; acknowledgements are packets too */
	cr_expect_gt(A.nic->stats.tx_bytes, 10000 * A.nic->stats.tx_packets);
	close_all(l, a, b);
}

/* What is written at once travels in large segments, each in one buffer, and the receiver predicts them. */
Test(nic_shm, large_writes_are_large_segments)
{
	static uint8_t data[65536];
	struct fn_sock *l, *a, *b;
	uint64_t fast;

	pair_up(&l, &a, &b);
	give(a, "x", 1);	/* the answer tells of the window */
	settle();
	get(b, data, 1);
	pass(FN_NSEC);
	fast = B.st->stats.tcp_fast;
	cr_assert_eq(give(a, data, sizeof(data)), (ssize_t)sizeof(data));
	settle();
	cr_expect_eq(b->rxq.bytes, sizeof(data));
	cr_expect_eq(b->rxq.count, 2, "%u buffers", b->rxq.count);
	cr_expect_eq(B.st->stats.tcp_fast - fast, 2, "%u", (unsigned)(B.st->stats.tcp_fast - fast));
	cr_assert_eq(get(b, data, sizeof(data)), (ssize_t)sizeof(data));
	close_all(l, a, b);
}

/* What would leave most of a large one empty is not charged, nor lent, as one. */
Test(nic_shm, middling_writes_are_not_charged_as_large_ones)
{
	static uint8_t data[8192];
	struct fn_sock *l, *a, *b;

	pair_up(&l, &a, &b);
	give(a, "x", 1);
	settle();
	get(b, data, 1);
	pass(FN_NSEC);
	cr_assert_eq(give(a, data, sizeof(data)), (ssize_t)sizeof(data));
	cr_expect_leq(a->tx_charged, 3u * FN_SHM_BUF, "%u", a->tx_charged);
	settle();
	cr_assert_eq(get(b, data, sizeof(data)), (ssize_t)sizeof(data));
	close_all(l, a, b);
}

/* Of a window that has no room for two large ones they would be sent one at a time. */
Test(nic_shm, segments_are_small_where_the_window_is)
{
	static uint8_t data[65536];
	struct fn_sock *l = listener(&B, LOOPBACK), *a, *b;

	fn_sock_setopt(l, FN_OPT_RCVBUF, 20000);
	a = connect_from(&A);
	settle();
	b = fn_tcp_accept(l, &B);
	cr_assert_not_null(b);
	give(a, data, sizeof(data));
	settle();
	cr_expect_leq(2 * fn_tcp_sk(a)->mss, fn_tcp_sk(a)->max_window);
	while (get(b, data, sizeof(data)) > 0)
		pass(FN_MSEC);
	close_all(l, a, b);
}

/* Memory that was large buffers serves as ordinary ones when those are wanting. */
Test(nic_shm, large_buffers_are_broken_up)
{
	static struct fn_pkt *all[PAYLOAD / FN_SHM_BUF];
	const struct fn_nic_ops *ops = A.nic->ops;
	unsigned n = 0, large;

	while ((all[n] = ops->alloc_large(A.nic)))
		n++;
	large = n;
	cr_expect_gt(large, 100);
	cr_expect_gt(PAYLOAD / FN_SHM_BUF - fn_shm_outstanding(A.nic), PAYLOAD / FN_SHM_BUF / 16, "the rest is for what is no data");
	while (n)
		ops->free(A.nic, all[--n]);
	cr_expect_eq(fn_shm_outstanding(A.nic), 0);
	for (n = 0; n < fn_array_size(all) - 1; n++) {	/* the first one tells of the others */
		all[n] = ops->alloc(A.nic);
		cr_assert_not_null(all[n], "buffer %u", n);
		memset(all[n]->data, (int)n, fn_pkt_tailroom(all[n]));
	}
	cr_expect_null(ops->alloc(A.nic));
	while (n--) {
		for (unsigned i = 0; i < fn_pkt_tailroom(all[n]); i++)
			cr_assert_eq(all[n]->data[i], (uint8_t)n, "buffer %u is another's too", n);
		ops->free(A.nic, all[n]);
	}
	cr_expect_eq(fn_shm_outstanding(A.nic), 0);
}

/* Both write to each other until nothing more is taken, and nobody reads: ACKs still find a buffer, and a new connection. */
Test(nic_shm, writers_who_are_not_read_leave_buffers_for_the_others)
{
	enum { HOGS = 6 };
	static uint8_t out[65536];
	struct fn_sock *l, *a[HOGS], *b[HOGS], *x, *y;
	uint32_t room;

	pair_up(&l, &a[0], &b[0]);
	for (unsigned i = 1; i < HOGS; i++) {
		a[i] = connect_from(&A);
		settle();
		b[i] = fn_tcp_accept(l, &B);
	}
	for (unsigned i = 0; i < HOGS; i++) {
		fn_sock_setopt(a[i], FN_OPT_SNDBUF, 4 << 20);
		fn_sock_setopt(b[i], FN_OPT_SNDBUF, 4 << 20);
	}
	for (unsigned round = 0; round < 100; round++)
		for (unsigned i = 0; i < HOGS; i++) {
			give(a[i], out, sizeof(out));
			give(b[i], out, sizeof(out));
			settle();
		}
	cr_expect_eq(fn_sock_poll(a[0]) & POLLOUT, 0);
	room = PAYLOAD / FN_SHM_BUF - fn_shm_outstanding(A.nic);
	cr_expect_gt(room, PAYLOAD / FN_SHM_BUF / 16, "%u buffers are left", room);
	x = connect_from(&A);
	settle();
	y = fn_tcp_accept(l, &B);
	cr_assert_not_null(y);
	cr_expect(fn_sock_poll(x) & POLLOUT);
	bulk(x, y, 1u << 20);
	for (unsigned i = 0; i < HOGS; i++)
		while (get(a[i], out, sizeof(out)) > 0 || get(b[i], out, sizeof(out)) > 0)
			pass(FN_MSEC);
	cr_expect(fn_sock_poll(a[0]) & POLLOUT, "whoever waits is told");
	cr_expect_eq(A.st->stats.drop[FN_DROP_NO_PKT_MEM] + B.st->stats.drop[FN_DROP_NO_PKT_MEM], 0);
	for (unsigned i = 0; i < HOGS; i++) {
		fn_sock_close(a[i]);
		fn_sock_close(b[i]);
	}
	close_all(l, x, y);
}

/* A process that talks to itself: one ring is both, and what is received lies in the payload memory that it is sent from. */
Test(nic_shm, bulk_to_itself_takes_no_more_memory_than_is_in_flight)
{
	void *to_b = A.ring, *both = A.ring = shm_memory(fn_ring_size(A.slots));
	struct fn_sock *l, *a, *b;

	side_meet(&A, &A);
	A.ring = to_b;
	l = listener(&A, LOOPBACK);
	a = connect_from(&A);
	settle();
	b = fn_tcp_accept(l, &A);
	cr_assert_not_null(b);
	bulk(a, b, 2 * PAYLOAD);
	close_all(l, a, b);
	free(both);
}

Test(nic_shm_small, bulk_both_ways_through_small_rings)
{
	struct fn_sock *l, *a, *b;

	pair_up(&l, &a, &b);
	bulk(a, b, 2u << 20);
	close_all(l, a, b);
}

/* Many small writes to who does not read: a full ring holds the writer back, loses nothing, and goes on. */
Test(nic_shm_small, a_reader_who_is_stopped)
{
	struct fn_sock *l, *a, *b;
	uint8_t buf[64] = { 0 };
	uint32_t sent = 0, got = 0;
	ssize_t n;

	pair_up(&l, &a, &b);
	fn_sock_setopt(a, FN_OPT_NODELAY, 1);
	for (unsigned i = 0; i < 4000; i++) {	/* B is not polled */
		n = give(a, buf, sizeof(buf));
		sent += n > 0 ? (uint32_t)n : 0;
		fn_stack_poll(A.st, now += 1000);
	}
	cr_assert_geq(sent, 8192u);
	for (unsigned i = 0; i < 100000 && got < sent; i++) {
		pass(FN_MSEC);
		while ((n = get(b, buf, sizeof(buf))) > 0)
			got += (uint32_t)n;
	}
	cr_assert_eq(got, sent);
	close_all(l, a, b);
}

/* One peer's full ring is its own affair. */
Test(nic_shm_small, a_stopped_peer_holds_up_nobody_else)
{
	struct side C = { .payload_len = PAYLOAD, .slots = A.slots };
	struct fn_sock *l, *a, *b, *lc, *ac, *bc;
	struct fn_ep ep = { .ip4 = LOOPBACK, .port = PORT };
	uint8_t buf[512] = { 0 };
	int b_number = A.peer;
	void *to_b = A.ring;

	side_make(&C, 3, &stack_ops, NULL, now);
	pair_up(&l, &a, &b);
	A.ring = NULL;
	sides_meet(&A, &C);
	lc = listener(&C, LOOPBACK);
	ep.peer = (uint16_t)A.peer;
	ac = fn_sock_open(A.st, FN_SOCK_TCP, &A);
	fn_sock_connect(ac, &ep);
	for (unsigned i = 0; i < 8; i++) {
		fn_stack_poll(A.st, now);
		fn_stack_poll(C.st, now);
	}
	bc = fn_tcp_accept(lc, &C);
	cr_assert_not_null(bc);
	fn_sock_setopt(a, FN_OPT_NODELAY, 1);
	fn_sock_setopt(ac, FN_OPT_NODELAY, 1);
	for (unsigned i = 0; i < 2000; i++) {	/* B is stopped */
		give(a, buf, 100);
		fn_stack_poll(A.st, now += 1000);
	}
	cr_assert(A.nic->choked);
	for (unsigned i = 0; i < 200; i++) {
		cr_assert_eq(give(ac, buf, 300), 300);
		fn_stack_poll(A.st, now += 1000);
		fn_stack_poll(C.st, now);
		cr_assert_eq(get(bc, buf, sizeof(buf)), 300, "round %u", i);
		fn_stack_poll(C.st, now);
		fn_stack_poll(A.st, now);
	}
	A.peer = b_number;
	free(A.ring);
	A.ring = to_b;
	side_end(&C);
}

/* What is sent by probes is cut to the window, again and again, and the rest need not fit a small buffer. */
Test(nic_shm, a_window_smaller_than_what_was_written_at_once)
{
	static char data[65536], in[2 * sizeof(data)];
	struct fn_sock *l, *a, *b;
	size_t got = 0;
	ssize_t n;

	pair_up(&l, &a, &b);
	for (unsigned i = 0; i < sizeof(data); i++)
		data[i] = (char)(i * 7 >> 4);
	cr_assert_eq(give(a, data, sizeof(data)), sizeof(data));	/* the window as it was */
	settle();
	fn_sock_setopt(b, FN_OPT_RCVBUF, 8192);
	cr_assert_eq(give(a, data, sizeof(data)), sizeof(data));
	for (unsigned i = 0; i < 100 && got < sizeof(in); i++) {
		pass(500 * FN_MSEC);
		while ((n = get(b, in + got, sizeof(in) - got)) > 0)
			got += (size_t)n;
	}
	cr_assert_eq(got, sizeof(in), "%zu", got);
	cr_assert_arr_eq(in, data, sizeof(data));
	cr_assert_arr_eq(in + sizeof(data), data, sizeof(data));
	close_all(l, a, b);
}

/* B does not run: what lies in its ring has got there all the same. */
Test(nic_shm, what_the_peer_s_host_has_is_not_outstanding)
{
	struct fn_sock *l, *a, *b;
	struct tcp_info info;

	pair_up(&l, &a, &b);
	give(a, "abc", 3);
	fn_stack_flush(A.st);
	cr_assert_neq(fn_tcp_sk(a)->snd_una, fn_tcp_sk(a)->snd_nxt);
	cr_assert_eq(fn_tcp_outq(a), 0);
	fn_tcp_info(a, &info);
	cr_assert_eq(info.tcpi_unacked, 0);
	fn_sock_shutdown(a, FN_SHUT_WR);
	fn_stack_flush(A.st);
	cr_assert_eq(a->tcp_state, FN_TCP_FIN_WAIT1);
	cr_assert_not(fn_tcp_unsent(a));
	fn_tcp_info(a, &info);
	cr_assert_eq(info.tcpi_state, FN_TCP_FIN_WAIT2);
	close_all(l, a, b);
}

Test(nic_shm, a_peer_s_payload_memory_is_never_written)
{
	static char data[1500], in[2000];
	struct fn_sock *l, *a, *b;

	pair_up(&l, &a, &b);
	memset(data, 'x', sizeof(data));
	give(a, data, sizeof(data));	/* stays in A's memory */
	settle();
	give(a, "tail", 4);		/* comes through the ring, and would fit behind it */
	settle();
	cr_assert_eq(b->rxq.count, 2);
	cr_assert_eq(get(b, in, sizeof(in)), (ssize_t)sizeof(data) + 4);
	cr_assert_arr_eq(in + sizeof(data), "tail", 4);
	close_all(l, a, b);
}

Test(nic_shm, nothing_is_read_before_the_payload_memory_is_known)
{
	struct fn_sock *l, *a, *b;
	struct fn_shm_pair pair = { .tx = B.ring, .rx = A.ring, .tx_slots = A.slots, .rx_slots = A.slots };

	cr_assert(fn_shm_peer_del(B.nic, B.peer));
	B.peer = fn_shm_peer_add(B.nic, &pair);
	l = listener(&B, LOOPBACK);
	a = connect_from(&A);
	settle();
	cr_assert(!B.nic->ops->rx_pending(B.nic));
	cr_assert_eq(a->tcp_state, FN_TCP_SYN_SENT);
	fn_shm_peer_payload(B.nic, B.peer, A.payload, PAYLOAD);
	settle();
	b = fn_tcp_accept(l, &B);
	cr_assert_not_null(b);
	close_all(l, a, b);
}

static size_t backed;
static int back(void *ctx, size_t size)
{
	if (size > 1u << 20)
		return -ENOSPC;
	backed = size;
	return 0;
}

static int rung;
static void ring_bell(void *ctx, int number)
{
	rung = number;
}

Test(nic_shm, payload_memory_is_backed_as_it_is_used)
{
	struct fn_shm_conf conf = { .payload = A.payload, .payload_len = PAYLOAD, .grow = back, .ring = ring_bell };
	struct fn_nic *nic = fn_shm_create(A.arena, &conf);
	unsigned n = 0;

	cr_assert_eq(backed, 0);
	while (nic->ops->alloc(nic))
		cr_assert_leq(++n * FN_SHM_BUF, backed);
	cr_assert_gt(backed, 512u << 10);
}

/* Beyond the peer's window it is still the sender's to bring over. */
Test(nic_shm, what_the_window_holds_back_is_waited_for)
{
	static char data[200000];
	struct fn_sock *l, *a, *b;
	ssize_t n;

	pair_up(&l, &a, &b);
	while ((n = give(a, data, sizeof(data))) > 0)
		fn_stack_flush(A.st);
	fn_sock_close(a);
	fn_stack_flush(A.st);
	cr_assert_eq(fn_stack_draining(A.st), 1);
	fn_sock_close(b);
	fn_sock_close(l);
	nothing_left();
}

Test(nic_shm, who_shares_a_cpu_knows)
{
	struct fn_sock *l, *a, *b;

	fn_shm_run_on(A.nic, 0);
	fn_shm_run_on(B.nic, 1);
	pair_up(&l, &a, &b);
	cr_assert(!fn_shm_beside(A.nic));
	fn_shm_run_on(B.nic, 0);
	cr_assert(fn_shm_beside(A.nic));
	cr_assert(fn_shm_beside(B.nic));
	fn_shm_run_on(A.nic, 3);
	cr_assert(!fn_shm_beside(B.nic));
	fn_shm_peer_dead(A.nic, A.peer);
	cr_assert(!fn_shm_beside(A.nic));
}

Test(nic_shm, a_sleeper_is_rung_in_the_call_that_sends)
{
	const struct fn_shm_conf conf = { .ring = ring_bell };

	free(A.arena);
	A.arena = NULL;
	side_make(&A, 3, &stack_ops, &conf, now);
	side_meet(&A, &B);
	cr_assert(fn_shm_arm(B.nic));
	connect_from(&A);
	fn_stack_flush(A.st);
	cr_assert_eq(rung, A.peer);
	rung = 0;
	connect_from(&A);
	fn_stack_flush(A.st);
	cr_assert_eq(rung, 0, "it is on its way");
}

Test(nic_shm, a_new_peer_takes_the_number_of_one_that_is_gone)
{
	int old = B.peer;

	cr_assert(fn_shm_peer_del(B.nic, B.peer));
	side_meet(&B, &A);
	cr_assert_eq(B.peer, old);
}

Test(nic_shm, a_sleeper_is_to_be_rung_once)
{
	struct fn_sock *l, *a, *b;

	pair_up(&l, &a, &b);
	cr_assert(fn_shm_arm(B.nic));
	give(a, "x", 1);
	fn_stack_flush(A.st);
	cr_assert_eq(fn_shm_bell(A.nic), A.peer);
	cr_assert_eq(fn_shm_bell(A.nic), 0);
	fn_shm_disarm(B.nic);
	cr_assert(!fn_shm_arm(B.nic), "there is something already");
	fn_shm_disarm(B.nic);
	give(a, "x", 1);
	fn_stack_flush(A.st);
	cr_assert_eq(fn_shm_bell(A.nic), 0);
	settle();
	close_all(l, a, b);
}

static struct fn_ring_tx liar(void)
{
	struct fn_ring_tx r;

	memset(B.ring, 0, fn_ring_size(A.slots));
	fn_ring_tx_init(&r, B.ring, A.slots);
	return r;
}

Test(nic_shm, places_outside_the_payload_memory_break_the_peer)
{
	uint32_t place[2] = { PAYLOAD / FN_SHM_BUF, 4096u << 16 };	/* buffer behind the last */
	uint8_t ip[40] = { 0x45 };
	struct fn_ring_piece piece[2] = { { place, sizeof(place) }, { ip, sizeof(ip) } };
	struct fn_ring_tx r = liar();

	fn_ring_put(&r, 1, 1, piece, 2);
	fn_stack_poll(A.st, now);
	cr_assert(fn_shm_broken(A.nic, A.peer));
	cr_assert_gt(A.nic->stats.rx_errors, 0);
}

/* A place may be larger than a buffer, but its last byte is the memory's last one at most. */
Test(nic_shm, a_place_that_ends_behind_the_payload_memory_breaks_the_peer)
{
	uint32_t place[2] = { PAYLOAD / FN_SHM_BUF - 2, 2 * FN_SHM_BUF << 16 };	/* the last two buffers */
	uint8_t ip[40] = { 0x45 };
	struct fn_ring_piece piece[2] = { { place, sizeof(place) }, { ip, sizeof(ip) } };
	struct fn_ring_tx r = liar();

	fn_ring_put(&r, 1, 1, piece, 2);
	fn_stack_poll(A.st, now);
	cr_assert(!fn_shm_broken(A.nic, A.peer));
	place[1]++;	/* one byte further */
	fn_ring_put(&r, 1, 1, piece, 2);
	fn_stack_poll(A.st, now);
	cr_assert(fn_shm_broken(A.nic, A.peer));
}

Test(nic_shm, returns_of_what_was_not_lent_are_counted)
{
	uint32_t list[3] = { 0, 5, UINT32_MAX };
	struct fn_ring_piece piece = { list, sizeof(list) };
	struct fn_ring_tx r = liar();

	fn_ring_put(&r, 2, 0, &piece, 1);
	fn_stack_poll(A.st, now);
	cr_assert_eq(A.nic->stats.rx_errors, 3);
	cr_assert(!fn_shm_broken(A.nic, A.peer));
}

Test(nic_shm, an_unknown_entry_breaks_the_peer)
{
	struct fn_ring_tx r = liar();

	fn_ring_put(&r, 77, 0, &(struct fn_ring_piece){ "abcd", 4 }, 1);
	fn_stack_poll(A.st, now);
	cr_assert(fn_shm_broken(A.nic, A.peer));
}

/* Of a crowd of peers those are rung that sleep and were sent something. */
Test(nic_shm, bells_of_a_crowd)
{
	struct fn_ring_shared *tx[100], *rx[100];
	int number[100], bells[100] = { 0 }, bell;

	for (unsigned i = 0; i < 100; i++) {
		struct fn_shm_pair pair = { .tx_slots = A.slots, .rx_slots = A.slots, .payload = B.payload, .payload_len = PAYLOAD };

		tx[i] = aligned_alloc(64, fn_ring_size(A.slots));
		rx[i] = aligned_alloc(64, fn_ring_size(A.slots));
		memset(tx[i], 0, fn_ring_size(A.slots));
		memset(rx[i], 0, fn_ring_size(A.slots));
		pair.tx = tx[i];
		pair.rx = rx[i];
		number[i] = fn_shm_peer_add(A.nic, &pair);
		cr_assert_gt(number[i], 0);
		tx[i]->asleep = i % 3 == 0;
	}
	for (unsigned i = 0; i < 100; i += 2) {
		struct fn_ep ep = { .ip4 = LOOPBACK, .port = PORT, .peer = (uint16_t)number[i] };

		cr_assert_eq(fn_sock_connect(fn_sock_open(A.st, FN_SOCK_TCP, &A), &ep), -EINPROGRESS);
	}
	fn_stack_poll(A.st, now);
	while ((bell = fn_shm_bell(A.nic)))
		for (unsigned i = 0; i < 100; i++)
			bells[i] += number[i] == bell;
	for (unsigned i = 0; i < 100; i++)
		cr_expect_eq(bells[i], i % 6 == 0, "peer %u", i);
	for (unsigned i = 0; i < 100; i++) {
		fn_shm_peer_dead(A.nic, number[i]);
		free(tx[i]);
		free(rx[i]);
	}
}
