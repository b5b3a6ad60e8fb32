/* SPDX-License-Identifier: BSD-3-Clause */
/* A peer of the fabric ends: what it had sent is read, what it held is free, connections in every stage end with it. */
#include <criterion/criterion.h>
#include <errno.h>
#include <poll.h>
#include <sys/socket.h>

#include "shm_pair.h"

TestSuite(shm_end, .init = setup, .fini = teardown);

Test(shm_end, what_a_dead_peer_held_is_free_and_what_it_sent_can_be_read)
{
	static uint8_t data[60000], in[60000];
	struct fn_sock *l, *a, *b;
	ssize_t n, got = 0;

	pair_up(&l, &a, &b);
	memset(data, 7, sizeof(data));
	n = give(a, data, 16000);
	cr_assert_gt(n, 0);
	fn_stack_flush(A.st);
	give(b, data, 16000);	/* lent to A, which dies without reading */
	fn_stack_flush(B.st);
	while (!fn_shm_drained(B.nic, B.peer))
		fn_stack_poll(B.st, now);
	cr_assert_gt(fn_shm_lent(B.nic, B.peer), 0);
	cr_assert(!fn_shm_peer_del(B.nic, B.peer), "its bytes wait to be read");
	cr_assert_eq(fn_shm_lent(B.nic, B.peer), 0);
	got = get(b, in, sizeof(in));
	cr_assert_gt(got, 0);
	cr_assert_arr_eq(in, data, (size_t)got);
	cr_assert(fn_shm_peer_del(B.nic, B.peer));
}

/* A's process is gone: what it published is taken, then the news. */
static void a_dies(void)
{
	struct fn_left left = { .where = FN_LEFT_OURS };

	while (!fn_shm_drained(B.nic, B.peer))
		fn_stack_poll(B.st, now);
	while (fn_shm_left(B.nic, B.peer, &left))
		fn_tcp_left(B.st, &left);
	fn_shm_peer_dead(B.nic, B.peer);
	fn_tcp_peer_gone(B.st, (uint16_t)B.peer);
	fn_stack_poll(B.st, now);
}

Test(shm_end, a_dead_peer_s_bytes_are_read_and_then_the_end)
{
	struct fn_sock *l, *a, *b;
	char buf[64];

	pair_up(&l, &a, &b);
	give(a, "last words", 10);
	fn_stack_flush(A.st);
	a_dies();
	cr_assert_eq(get(b, buf, sizeof(buf)), 10);
	cr_assert_arr_eq(buf, "last words", 10);
	cr_assert_eq(get(b, buf, sizeof(buf)), 0);
	/* as to a host whose process has gone: taken, then refused */
	cr_assert_eq(give(b, "x", 1), 1);
	fn_stack_poll(B.st, now);
	fn_stack_poll(B.st, now);
	cr_assert_eq(give(b, "x", 1), -EPIPE);
	cr_assert(fn_tcp_peer_used(B.st, (uint16_t)B.peer) == false);
	fn_sock_close(b);
	fn_sock_close(l);
	cr_assert(fn_shm_peer_del(B.nic, B.peer));
	cr_expect_eq(fn_shm_outstanding(B.nic), 0);
}

Test(shm_end, a_dead_peer_that_left_bytes_unread_resets)
{
	struct fn_sock *l, *a, *b;
	char c;

	pair_up(&l, &a, &b);
	give(a, "y", 1);
	fn_stack_flush(A.st);
	give(b, "unread", 6);
	fn_stack_flush(B.st);
	a_dies();
	cr_assert_eq(get(b, &c, 1), 1);
	cr_assert_eq(get(b, &c, 1), -ECONNRESET);
	fn_sock_close(b);
	fn_sock_close(l);
	fn_stack_poll(B.st, now);
	cr_expect_eq(fn_shm_outstanding(B.nic), 0);
	cr_assert(fn_shm_peer_del(B.nic, B.peer));
}

Test(shm_end, a_connect_to_a_peer_that_dies_is_refused)
{
	struct fn_ep ep = { .ip4 = LOOPBACK, .port = PORT, .peer = (uint16_t)B.peer };
	struct fn_sock *sk = fn_sock_open(B.st, FN_SOCK_TCP, &B);

	cr_assert_eq(fn_sock_connect(sk, &ep), -EINPROGRESS);
	fn_stack_flush(B.st);
	a_dies();
	cr_assert_eq(fn_sock_take_error(sk), ECONNREFUSED);
	cr_assert_eq(fn_sock_connect(sk, &ep), -EINPROGRESS);	/* and one that comes later */
	fn_stack_poll(B.st, now);
	fn_stack_poll(B.st, now);
	cr_assert_eq(fn_sock_take_error(sk), ECONNREFUSED);
	fn_sock_close(sk);
	cr_assert(fn_shm_peer_del(B.nic, B.peer));
}

/* One more connection of A to the listener of B. */
static void another(struct fn_sock *l, struct fn_sock **a, struct fn_sock **b)
{
	*a = connect_from(&A);
	settle();
	*b = fn_tcp_accept(l, &B);
	cr_assert_not_null(*b);
}

Test(shm_end, connections_in_every_stage_of_closing_end_with_their_peer)
{
	struct fn_sock *l, *a, *b;

	pair_up(&l, &a, &b);		/* B has closed, and waits for A's FIN */
	fn_sock_close(b);
	settle();
	another(l, &a, &b);		/* A has closed, B's own FIN is on its way */
	fn_sock_close(a);
	settle();
	fn_sock_close(b);
	fn_stack_flush(B.st);
	another(l, &a, &b);		/* B's FIN is on its way */
	fn_sock_close(b);
	fn_stack_flush(B.st);
	connect_from(&A);		/* half open */
	fn_stack_flush(A.st);
	a_dies();
	fn_sock_close(l);
	cr_expect_eq(B.st->tcp_pool.used, 0);
	cr_expect_eq(B.st->tcp->tw_pool.used, 0);
	cr_expect_eq(B.st->tcp->req_pool.used, 0);
	cr_expect_eq(fn_shm_outstanding(B.nic), 0);
}

Test(shm_end, what_lies_in_the_ring_needs_no_more_of_its_sender)
{
	static char data[3000], in[3000];
	struct fn_sock *l, *a, *b;
	ssize_t n, got = 0;

	pair_up(&l, &a, &b);
	cr_assert_eq(give(a, data, sizeof(data)), (ssize_t)sizeof(data));
	fn_sock_close(a);
	fn_stack_flush(A.st);
	cr_assert_eq(fn_stack_draining(A.st), 0);
	a_dies();
	while ((n = get(b, in, sizeof(in))) > 0)
		got += n;
	cr_assert_eq(got, (ssize_t)sizeof(data));
	cr_assert_eq(n, 0);
	fn_sock_close(b);
	fn_sock_close(l);
}
