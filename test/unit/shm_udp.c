/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * Datagrams between two stacks through the fabric's memory: whole at every length, from whom they say, no more of the
 * sender's memory than a share of it when nobody reads, and not to one who takes no more.
 */
#include <criterion/criterion.h>
#include <errno.h>
#include <poll.h>
#include <string.h>
#include <sys/socket.h>

#include "shm_fixture.h"

#define SERVER		fn_be16(5300)
#define CLIENT		fn_be16(40000)
#define PAYLOAD		(4u << 20)

/* A's socket has the port CLIENT, B's SERVER */
static struct side A = { .payload_len = PAYLOAD, .slots = 256 }, B = { .payload_len = PAYLOAD, .slots = 256 };
static unsigned events;
static bool honest;
static struct fn_ep asked_local, asked_remote;
static uint8_t out[65536], in[65536];

static void on_ready(void *ctx, struct fn_sock *sk, unsigned ev)
{
	events |= ev;
}

static bool from_peer(void *ctx, uint16_t peer, const struct fn_ep *local, const struct fn_ep *remote)
{
	asked_local = *local;
	asked_remote = *remote;
	return honest;
}

static struct fn_sock *socket_at(struct side *s, uint32_t ip4, uint16_t port, int expected)
{
	struct fn_sock *sk = fn_sock_open(s->st, FN_SOCK_UDP, s);

	cr_assert_eq(fn_udp_assume(sk, &(struct fn_ep){ .ip4 = ip4, .port = port }, &(struct fn_ep){ 0 }), expected);
	return sk;
}

static void setup(void)
{
	static const struct fn_stack_ops ops = { .ready = on_ready, .from_peer = from_peer };

	side_make(&A, 1, &ops, NULL, FN_NSEC);
	side_make(&B, 2, &ops, NULL, FN_NSEC);
	sides_meet(&A, &B);
	A.sk = socket_at(&A, LOOPBACK, CLIENT, 0);
	B.sk = socket_at(&B, 0, SERVER, 0);
	honest = true;
	for (unsigned i = 0; i < sizeof(out); i++)
		out[i] = (uint8_t)(i * 131 >> 3);
}

static void teardown(void)
{
	side_end(&A);
	side_end(&B);
}

TestSuite(shm_udp, .init = setup, .fini = teardown);

static void settle(void)
{
	for (unsigned i = 0; i < 8; i++) {
		fn_stack_poll(A.st, FN_NSEC);
		fn_stack_poll(B.st, FN_NSEC);
	}
}

static ssize_t send_to(struct side *s, uint16_t port, size_t len)
{
	struct fn_ep to = { .ip4 = LOOPBACK, .port = port, .peer = (uint16_t)s->peer };
	struct iovec iov = { out, len };
	ssize_t n = fn_udp_send(s->sk, &iov, 1, &to, NULL);

	fn_stack_flush(s->st);
	return n;
}

static ssize_t take(struct fn_sock *sk, struct fn_udp_meta *m)
{
	struct iovec iov = { in, sizeof(in) };

	return fn_udp_recv(sk, &iov, 1, 0, m);
}

static void nothing_left(void)
{
	settle();
	cr_expect_eq(fn_shm_outstanding(A.nic), 0);
	cr_expect_eq(fn_shm_outstanding(B.nic), 0);
	cr_expect_eq(fn_shm_lent(A.nic, A.peer), 0);
	cr_expect_eq(fn_shm_lent(B.nic, B.peer), 0);
}

Test(shm_udp, datagrams_of_every_length_come_whole)
{
	static const size_t lengths[] = { 0, 1, 64, 411, 412, 413, 1472, 3940, 3968, 3969, 8000, 32768, 65506, 65507 };
	struct fn_udp_meta m;

	for (unsigned i = 0; i < fn_array_size(lengths); i++) {
		ssize_t len = (ssize_t)lengths[i];

		cr_assert_eq(send_to(&A, SERVER, lengths[i]), len);
		settle();
		cr_assert_eq(take(B.sk, &m), len);
		cr_assert(!memcmp(in, out, lengths[i]), "%zd bytes", len);
		cr_assert_eq(m.from.ip4, LOOPBACK);
		cr_assert_eq(m.from.port, CLIENT);
		cr_assert_eq(m.to.ip4, LOOPBACK);
		cr_assert_eq(m.to.port, SERVER);
		cr_assert_eq(m.ttl, 64);
		cr_assert_eq(send_to(&B, CLIENT, lengths[i]), len);
		settle();
		cr_assert_eq(take(A.sk, NULL), len);
		cr_assert_eq(take(A.sk, NULL), -EAGAIN);
	}
	cr_assert_eq(send_to(&A, SERVER, 65508), -EMSGSIZE);
	nothing_left();
}

Test(shm_udp, who_lies_about_its_address_is_not_heard)
{
	honest = false;
	cr_assert_eq(send_to(&A, SERVER, 64), 64);
	settle();
	cr_assert_eq(take(B.sk, NULL), -EAGAIN);
	cr_assert_eq(B.st->stats.drop[FN_DROP_UDP_SOURCE], 1);
	cr_assert_eq(asked_local.port, SERVER);
	cr_assert_eq(asked_remote.ip4, LOOPBACK);
	cr_assert_eq(asked_remote.port, CLIENT);
	nothing_left();
}

Test(shm_udp, who_is_connected_hears_one_alone)
{
	struct fn_sock *other = socket_at(&A, LOOPBACK, fn_be16(40001), 0);
	struct fn_ep local = { .ip4 = LOOPBACK, .port = SERVER }, remote = { .ip4 = LOOPBACK, .port = CLIENT };
	struct fn_ep to = { .ip4 = LOOPBACK, .port = SERVER, .peer = (uint16_t)A.peer };
	struct iovec iov = { out, 3 };

	cr_assert_eq(fn_udp_assume(B.sk, &local, &remote), 0);
	cr_assert_eq(fn_udp_send(other, &iov, 1, &to, NULL), 3);
	cr_assert_eq(send_to(&A, SERVER, 5), 5);
	settle();
	cr_assert_eq(take(B.sk, NULL), 5);
	cr_assert_eq(take(B.sk, NULL), -EAGAIN);
	cr_assert_eq(fn_udp_assume(B.sk, &local, &(struct fn_ep){ 0 }), 0);
	cr_assert_eq(fn_udp_send(other, &iov, 1, &to, NULL), 3);
	settle();
	cr_assert_eq(take(B.sk, NULL), 3);
	nothing_left();
}

Test(shm_udp, names_are_taken_over)
{
	struct fn_sock *other;

	other = socket_at(&B, LOOPBACK, SERVER, -EADDRINUSE);
	cr_assert_eq(other->local.port, 0);
	cr_assert_eq(fn_udp_assume(B.sk, &(struct fn_ep){ .port = fn_be16(5301) }, &(struct fn_ep){ 0 }), 0);
	cr_assert_eq(fn_udp_assume(other, &(struct fn_ep){ .ip4 = LOOPBACK, .port = SERVER }, &(struct fn_ep){ 0 }), 0);
	cr_assert_eq(send_to(&A, SERVER, 7), 7);
	cr_assert_eq(send_to(&A, fn_be16(5301), 8), 8);
	settle();
	cr_assert_eq(take(other, NULL), 7);
	cr_assert_eq(take(B.sk, NULL), 8);
	cr_assert_eq(fn_udp_assume(other, &(struct fn_ep){ 0 }, &(struct fn_ep){ 0 }), 0);
	cr_assert_eq(send_to(&A, SERVER, 7), 7);
	settle();
	cr_assert_eq(take(other, NULL), -EAGAIN);
	cr_assert_eq(B.st->stats.drop[FN_DROP_UDP_NO_SOCK], 1);
	nothing_left();
}

/* Two who are sent large datagrams and small ones, and do not read: what is not taken the sender's other way has to carry. */
Test(shm_udp, who_does_not_read_has_a_share_of_the_memory)
{
	unsigned n = 0;

	while (fn_shm_takes(A.nic, A.peer, 60000)) {
		cr_assert_eq(send_to(&A, SERVER, 60000), 60000);
		cr_assert_lt(++n, 1000u);
	}
	cr_assert_gt(n, 2);
	cr_assert_leq(fn_shm_outstanding(A.nic), PAYLOAD / FN_SHM_BUF / 8);
	for (n = 0; fn_shm_takes(A.nic, A.peer, 64); n++) {
		cr_assert_eq(send_to(&A, SERVER, 64), 64);
		cr_assert_lt(n, 1000u);
	}
	cr_assert_gt(n, 32);
	/* it reads: more than its buffer takes is dropped there, and all memory comes back */
	settle();
	while (take(B.sk, NULL) >= 0)
		;
	nothing_left();
	cr_assert(fn_shm_takes(A.nic, A.peer, 60000));
}

Test(shm_udp, who_takes_no_more_is_sent_nothing)
{
	cr_assert(fn_shm_takes(A.nic, A.peer, 64));
	cr_assert(!fn_shm_untaken(A.nic, A.peer));
	cr_assert_eq(send_to(&A, SERVER, 64), 64);
	cr_assert(fn_shm_untaken(A.nic, A.peer));
	fn_shm_peer_close(B.nic, B.peer);
	cr_assert(!fn_shm_takes(A.nic, A.peer, 64));
	cr_assert(!fn_shm_untaken(A.nic, A.peer), "that is no sudden death");
	cr_assert(fn_shm_takes(B.nic, B.peer, 64), "the other direction is open");
	fn_shm_peer_dead(B.nic, B.peer);
	cr_assert(!fn_shm_takes(B.nic, B.peer, 64));
	cr_assert(!fn_shm_takes(A.nic, 99, 64));
}

Test(shm_udp, who_was_refused_hears_of_it_once)
{
	events = 0;
	fn_udp_refused(A.sk);
	cr_assert(events & POLLERR);
	cr_assert(fn_sock_poll(A.sk) & POLLERR);
	cr_assert_eq(take(A.sk, NULL), -ECONNREFUSED);
	cr_assert_eq(take(A.sk, NULL), -EAGAIN);
}
