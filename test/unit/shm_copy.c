/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * The fabric between different users: what goes to a peer is copied into memory that it alone sees. A talks to B and C,
 * neither of which is of A's user. And a reader who holds too much of a sender's memory copies.
 */
#include <criterion/criterion.h>
#include <errno.h>
#include <poll.h>
#include <sys/socket.h>

#include "shm_fixture.h"
#include "stack/shm_priv.h"

#define PAYLOAD		(4u << 20)
#define SLOTS		256

/* Two sides that have met: numbers, rings and memory of [0] for [1] and the other way. */
struct meeting {
	struct side *side[2];
	int peer[2];
	void *ring[2];
	uint8_t *copies[2];
};

static struct side A = { .payload_len = PAYLOAD }, B = { .payload_len = PAYLOAD }, C = { .payload_len = PAYLOAD };
static struct meeting AB, AC;
static size_t copies_len = 1u << 20, backed, backed_limit = SIZE_MAX;
static uint64_t now = 1000 * FN_NSEC;

static int back(void *ctx, int number, size_t size)
{
	if (size > backed_limit)
		return -ENOSPC;
	backed = fn_max(backed, size);
	return 0;
}

static int half(struct meeting *m, unsigned i)
{
	struct fn_shm_pair pair = { .tx = m->ring[i], .rx = m->ring[!i], .tx_slots = SLOTS, .rx_slots = SLOTS,
		.payload = m->copies[!i], .payload_len = copies_len, .copies = m->copies[i], .copies_len = copies_len };

	m->peer[i] = fn_shm_peer_add(m->side[i]->nic, &pair);
	return m->peer[i];
}

static void meet(struct meeting *m, struct side *a, struct side *b)
{
	m->side[0] = a;
	m->side[1] = b;
	for (unsigned i = 0; i < 2; i++) {
		m->ring[i] = shm_memory(fn_ring_size(SLOTS));
		m->copies[i] = shm_memory(copies_len);
	}
	cr_assert_gt(half(m, 0), 0);
	cr_assert_gt(half(m, 1), 0);
}

static void setup(void)
{
	const struct fn_shm_conf conf = { .grow_copies = back };

	side_make(&A, 1, NULL, &conf, now);
	side_make(&B, 2, NULL, &conf, now);
	side_make(&C, 3, NULL, &conf, now);
	meet(&AB, &A, &B);
	meet(&AC, &A, &C);
}

static void setup_small(void)
{
	copies_len = 32 * FN_SHM_BUF;
	setup();
}

static void teardown(void)
{
	struct side *side[] = { &A, &B, &C };
	struct meeting *m[] = { &AB, &AC };

	for (unsigned i = 0; i < 3; i++) {
		free(side[i]->arena);
		free(side[i]->payload);
	}
	for (unsigned i = 0; i < 4; i++) {
		free(m[i / 2]->ring[i % 2]);
		free(m[i / 2]->copies[i % 2]);
	}
}

TestSuite(shm_copy, .init = setup, .fini = teardown);
TestSuite(shm_copy_small, .init = setup_small, .fini = teardown);

static void settle(void)
{
	unsigned idle = 0, rounds = 0;

	while (idle < 2) {
		cr_assert_lt(++rounds, 100000u, "a livelock at one moment");
		idle = fn_stack_poll(A.st, now) + fn_stack_poll(B.st, now) + fn_stack_poll(C.st, now) ? 0 : idle + 1;
	}
}

static void pass(uint64_t t)
{
	uint64_t end = now + t, next;

	settle();
	while ((next = fn_min(fn_min(fn_stack_deadline(A.st), fn_stack_deadline(B.st)), fn_stack_deadline(C.st))) <= end) {
		now = fn_max(next, now + 1);
		settle();
	}
	now = end;
	settle();
}

/* A connection from m's first side to the second: sk[0], sk[1]. */
static void pair_up(struct meeting *m, uint16_t port, struct fn_sock *sk[2])
{
	struct fn_sock *l = fn_sock_open(m->side[1]->st, FN_SOCK_TCP, m);
	struct fn_ep ep = { .ip4 = LOOPBACK, .port = fn_be16(port) };

	cr_assert_eq(fn_sock_bind(l, &ep), 0);
	cr_assert_eq(fn_tcp_listen(l, 16), 0);
	sk[0] = fn_sock_open(m->side[0]->st, FN_SOCK_TCP, m);
	ep.peer = (uint16_t)m->peer[0];
	cr_assert_eq(fn_sock_connect(sk[0], &ep), -EINPROGRESS);
	settle();
	sk[1] = fn_tcp_accept(l, m);
	cr_assert_not_null(sk[1]);
	fn_sock_close(l);
}

static void get_all(struct fn_sock *sk, void *data, size_t len)
{
	ssize_t did;

	for (size_t n = 0, rounds = 0; n < len; n += did > 0 ? (size_t)did : 0) {
		cr_assert_lt(++rounds, 1000u, "it does not come");
		pass(FN_MSEC);
		did = get(sk, (uint8_t *)data + n, len - n);
		cr_assert(did > 0 || did == -EAGAIN);
	}
}

/* A writes to B, which is not polled, until there is no room in their memory. */
static void choke(struct fn_sock *sk[4][2])
{
	static uint8_t data[50000];

	for (unsigned i = 0; i < 4; i++)
		pair_up(&AB, (uint16_t)(80 + i), sk[i]);
	for (unsigned i = 0; i < 20; i++) {
		give(sk[i % 4][0], data, sizeof(data));
		fn_stack_poll(A.st, now += 1000);
	}
	cr_assert(A.nic->choked);
	cr_assert_gt(fn_shm_lent(A.nic, AB.peer[0]), 32u);
}

static void nothing_left(void)
{
	pass(300 * FN_NSEC);
	cr_expect_eq(fn_shm_outstanding(A.nic) + fn_shm_outstanding(B.nic) + fn_shm_outstanding(C.nic), 0u);
	for (unsigned i = 0; i < 2; i++) {
		cr_expect_eq(fn_shm_lent(AB.side[i]->nic, AB.peer[i]), 0u);
		cr_expect_eq(fn_shm_lent(AC.side[i]->nic, AC.peer[i]), 0u);
	}
}

static void close_pair(struct fn_sock *sk[2])
{
	fn_sock_close(sk[0]);
	settle();
	fn_sock_close(sk[1]);
}

static void turn(void)
{
	fn_stack_poll(A.st, now);
	fn_stack_poll(B.st, now);
	now += 1000;
}

static void bulk(struct fn_sock *sk[2], uint32_t total)
{
	shm_bulk(sk, total, turn, pass);
}

Test(shm_copy, bulk_both_ways)
{
	struct fn_sock *sk[2];

	pair_up(&AB, 80, sk);
	bulk(sk, 8u << 20);
	cr_expect_gt(A.st->stats.tcp_tso, 100);
	close_pair(sk);
	nothing_left();
}

Test(shm_copy_small, bulk_both_ways_through_room_for_one_frame)
{
	struct fn_sock *sk[2];

	pair_up(&AB, 80, sk);
	bulk(sk, 4u << 20);
	close_pair(sk);
	nothing_left();
}

static bool contains(const uint8_t *mem, size_t len, const char *what, size_t n)
{
	return memmem(mem, len, what, n) != NULL;
}

/* C's memory never has a byte of what A said to B. */
Test(shm_copy, each_sees_its_own_only)
{
	static char secret[3000], plain[3000], in[3000];
	struct fn_sock *b[2], *c[2];

	pair_up(&AB, 80, b);
	pair_up(&AC, 80, c);
	for (unsigned i = 0; i < sizeof(secret); i++) {
		secret[i] = "secret!"[i % 7];
		plain[i] = "plain."[i % 6];
	}
	for (unsigned i = 0; i < 200; i++) {
		cr_assert_eq(give(b[0], secret, sizeof(secret)), (ssize_t)sizeof(secret));
		cr_assert_eq(give(c[0], plain, sizeof(plain)), (ssize_t)sizeof(plain));
		get_all(b[1], in, sizeof(in));
		cr_assert_arr_eq(in, secret, sizeof(in));
		get_all(c[1], in, sizeof(in));
		cr_assert_arr_eq(in, plain, sizeof(in));
	}
	cr_assert(contains(AB.copies[0], copies_len, "secret!", 7));
	cr_assert(contains(AC.copies[0], copies_len, "plain.", 6));
	cr_assert(!contains(AC.copies[0], copies_len, "secret", 6));
	cr_assert(!contains(AB.copies[0], copies_len, "plain", 5));
	close_pair(b);
	close_pair(c);
	nothing_left();
}

/* What B's program does not read on one connection keeps nothing from coming on another. */
Test(shm_copy_small, who_does_not_read_holds_up_one_connection)
{
	static uint8_t data[20000], in[20000];
	struct fn_sock *idle[2], *busy[2];
	uint32_t left = 0;
	ssize_t did;

	pair_up(&AB, 80, idle);
	pair_up(&AB, 81, busy);
	for (unsigned i = 0; i < 100; i++) {
		did = give(idle[0], data, sizeof(data));
		left += did > 0 ? (uint32_t)did : 0;
		pass(FN_MSEC);
	}
	cr_assert_gt(left, copies_len, "more than the memory of the pair has room for");
	for (unsigned i = 0; i < 50; i++) {
		memset(data, (int)i, sizeof(data));
		cr_assert_eq(give(busy[0], data, sizeof(data)), (ssize_t)sizeof(data));
		get_all(busy[1], in, sizeof(in));
		cr_assert_arr_eq(in, data, sizeof(in), "round %u", i);
	}
	for (; left >= sizeof(in); left -= sizeof(in))
		get_all(idle[1], in, sizeof(in));
	get_all(idle[1], in, left);
	close_pair(idle);
	close_pair(busy);
	nothing_left();
}

Test(shm_copy, memory_is_backed_as_it_is_used)
{
	static uint8_t data[50000];
	struct fn_sock *sk[2];

	cr_assert_eq(backed, 0);
	backed_limit = 64 * FN_SHM_BUF;
	pair_up(&AB, 80, sk);
	give(sk[0], data, sizeof(data));
	settle();
	cr_assert_eq(backed, backed_limit);
	get(sk[1], data, sizeof(data));
	bulk(sk, 2u << 20);	/* with what there is */
	close_pair(sk);
	nothing_left();
}

Test(shm_copy, too_little_for_a_frame_is_refused)
{
	cr_assert(fn_shm_peer_del(A.nic, AB.peer[0]));
	copies_len = 31 * FN_SHM_BUF;
	cr_assert_eq(half(&AB, 0), -ENOMEM);
	copies_len = 1u << 20;
	cr_assert_gt(half(&AB, 0), 0);
}

/* A peer that never gives anything back takes the pair's memory and what was kept for it, until it dies. */
Test(shm_copy_small, what_waits_for_a_dead_peer_is_free)
{
	static uint8_t data[4000], in[5000];
	struct fn_sock *b[4][2], *c[2];

	pair_up(&AC, 80, c);
	choke(b);
	cr_assert_eq(give(c[0], data, 4000), 4000);
	fn_stack_poll(A.st, now);
	fn_stack_poll(C.st, now);
	cr_assert_eq(get(c[1], in, sizeof(in)), 4000, "another peer's memory is its own");
	fn_shm_peer_dead(A.nic, AB.peer[0]);
	cr_assert_eq(fn_shm_lent(A.nic, AB.peer[0]), 0u);
	cr_assert(!A.nic->choked);
	for (unsigned i = 0; i < 8; i++)
		fn_sock_close(b[i / 2][i % 2]);
	pass(FN_NSEC);
	cr_assert(fn_shm_peer_del(A.nic, AB.peer[0]));
	close_pair(c);
	pass(300 * FN_NSEC);
	cr_assert_eq(fn_shm_outstanding(A.nic), 0u);
}

/* Returns of buffers that it has not got, of ours that wait to be copied among them. */
Test(shm_copy_small, a_peer_returns_what_it_has)
{
	/* 2 twice (0 and 1 never go out): the second time it is not the peer's; from 32 on there are only those that wait */
	uint32_t list[] = { 2, 2, UINT32_MAX, 32, 33, 40, 50, 60 }, n = sizeof(list) / sizeof(list[0]);
	struct fn_ring_piece piece = { list, sizeof(list) };
	struct fn_sock *sk[4][2];
	uint32_t lent;

	choke(sk);
	lent = fn_shm_lent(A.nic, AB.peer[0]);
	fn_ring_put(&peer_at(shm_of(B.nic), (unsigned)AB.peer[1])->tx, 2, 0, &piece, 1);
	A.nic->stats.rx_errors = 0;
	fn_stack_poll(A.st, now);
	cr_assert_eq(A.nic->stats.rx_errors, n - 1, "%u", (unsigned)A.nic->stats.rx_errors);
	cr_assert_geq(fn_shm_lent(A.nic, AB.peer[0]), lent - 1);
	cr_assert(!fn_shm_broken(A.nic, AB.peer[0]));
}
