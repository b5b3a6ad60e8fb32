/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * A stack that two process images share, each with peers that the other has not got: image 1 has B. While image 2 runs, B's
 * memory is not there, so that whoever touches it dies; and what is for B alone, who may be another user's, is not either.
 */
#include <criterion/criterion.h>
#include <sys/mman.h>

#include "shm_fixture.h"
#include "stack/shm_page.h"

#define PORT		fn_be16(8080)
#define PAYLOAD		(4u << 20)
#define SLOTS		256
#define COPIES		(1u << 20)

static struct side A = { .payload_len = PAYLOAD, .slots = SLOTS }, B = { .payload_len = PAYLOAD, .slots = SLOTS };
static uint8_t *ring;		/* both */
static size_t ring_size;
static uint64_t now = 1000 * FN_NSEC, image = 1;
static unsigned rung, late;

static void on_ring(void *ctx, int number)
{
	rung++;
}

static void on_late(void *ctx, int number)
{
	late++;
	fn_tcp_peer_late(A.st, (uint16_t)number);
}

static void run_as(uint64_t bit);

/* What lies ready for the image that runs is there now. */
static void on_introduce(void *ctx, int number)
{
	if (fn_shm_peer_have(A.nic, A.peer, B.payload))
		run_as(image);
}

/* What B sends from. */
static uint8_t *payload_of_b(size_t *len)
{
	*len = B.copies ? COPIES : PAYLOAD;
	return B.copies ? B.copies : B.payload;
}

static void *memory(size_t size)
{
	void *mem = mmap(NULL, size, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);

	cr_assert_neq(mem, MAP_FAILED);
	return mem;
}

static void setup(void)
{
	const struct fn_shm_conf conf = { .image = &image, .ring = on_ring, .late = on_late, .introduce = on_introduce };

	ring_size = (fn_ring_size(SLOTS) + 4095) & ~4095ul;
	ring = memory(2 * ring_size);
	A.ring = ring;
	B.ring = ring + ring_size;
	A.payload = memory(PAYLOAD);
	B.payload = memory(PAYLOAD);
	side_make(&A, 1, NULL, &conf, now);
	side_make(&B, 2, NULL, NULL, now);
	sides_meet(&A, &B);
}

static void teardown(void)
{
	munmap(ring, 2 * ring_size);
	munmap(A.payload, PAYLOAD);
	munmap(B.payload, PAYLOAD);
	if (A.copies) {
		munmap(A.copies, COPIES);
		munmap(B.copies, COPIES);
	}
	free(A.arena);
	free(B.arena);
}

/* They are different users'. */
static void setup_strangers(void)
{
	A.copies = memory(COPIES);
	B.copies = memory(COPIES);
	A.copies_len = B.copies_len = COPIES;
	setup();
}

TestSuite(shm_images, .init = setup, .fini = teardown);
TestSuite(shm_images_strangers, .init = setup_strangers, .fini = teardown);

/* From now on A's stack is run by that image. */
static void run_as(uint64_t bit)
{
	int has = fn_shm_images(A.nic, A.peer) & bit ? PROT_READ | PROT_WRITE : PROT_NONE;
	size_t len;
	uint8_t *payload = payload_of_b(&len);

	image = bit;
	mprotect(ring, 2 * ring_size, has);
	if (A.copies)
		mprotect(A.copies, COPIES, has);
	mprotect(payload, len, fn_shm_is_ready(A.nic, A.peer) ? PROT_READ | PROT_WRITE : PROT_NONE);
}

/* Image 2 runs A's stack for a while, and B does not run. */
static void meanwhile(uint64_t ns)
{
	uint64_t end = now + ns;

	run_as(2);
	for (; now < end; now += FN_MSEC) {
		fn_stack_poll(A.st, now);
		fn_shm_arm(A.nic);
		fn_shm_disarm(A.nic);
		fn_shm_run_on(A.nic, now / FN_MSEC % 8);
		cr_assert_not(fn_shm_beside(A.nic));
		cr_assert_not(A.nic->ops->rx_pending(A.nic));
	}
	run_as(1);
}

static void settle(void)
{
	for (unsigned idle = 0, rounds = 0; idle < 2; rounds++) {
		cr_assert_lt(rounds, 100000u);
		idle = fn_stack_poll(A.st, now) + fn_stack_poll(B.st, now) ? 0 : idle + 1;
	}
}

static void pair_on(uint16_t port, struct fn_sock **a, struct fn_sock **b)
{
	struct fn_sock *l = fn_sock_open(B.st, FN_SOCK_TCP, &B);
	struct fn_ep ep = { .ip4 = LOOPBACK, .port = port }, to = { .ip4 = LOOPBACK, .port = port, .peer = (uint16_t)A.peer };

	cr_assert(!fn_sock_bind(l, &ep) && !fn_tcp_listen(l, 16));
	*a = fn_sock_open(A.st, FN_SOCK_TCP, &A);
	cr_assert_eq(fn_sock_connect(*a, &to), -EINPROGRESS);
	settle();
	*b = fn_tcp_accept(l, &B);
	cr_assert_not_null(*b);
	fn_sock_close(l);
}

static void pair_up(struct fn_sock **a, struct fn_sock **b)
{
	pair_on(PORT, a, b);
}

static size_t drain(struct fn_sock *sk)
{
	static uint8_t buf[65536];
	size_t got = 0;

	for (ssize_t n; (n = get(sk, buf, sizeof(buf))) > 0; got += (size_t)n)
		settle();
	return got;
}

Test(shm_images, what_comes_waits_for_the_image_that_has_the_peer)
{
	static uint8_t data[20000];
	struct fn_sock *a, *b;

	pair_up(&a, &b);
	cr_assert_eq(give(b, data, sizeof(data)), sizeof(data));
	fn_stack_poll(B.st, now);
	meanwhile(FN_NSEC);
	cr_assert_eq(get(a, data, 1), -EAGAIN);
	settle();
	cr_assert_eq(drain(a), sizeof(data));
}

Test(shm_images, what_another_image_sends_is_kept)
{
	struct fn_sock *a, *b;
	char buf[100];

	pair_up(&a, &b);
	run_as(2);
	cr_assert_eq(give(a, "from afar", 9), 9);
	fn_sock_close(a);
	fn_stack_flush(A.st);
	meanwhile(FN_NSEC);
	cr_expect_gt(rung, 0);
	settle();
	cr_assert_eq(get(b, buf, sizeof(buf)), 9);
	cr_assert_eq(get(b, buf, sizeof(buf)), 0);
	fn_sock_close(b);
	settle();
	cr_expect_eq(A.st->tcp_pool.used, 0);
}

/* B does not read: probes are due again and again. */
Test(shm_images, what_is_due_waits_for_the_image_that_has_the_peer)
{
	static uint8_t data[4 << 20];
	struct fn_sock *a, *b;
	size_t sent = 0, got = 0;
	ssize_t n;

	pair_up(&a, &b);
	while ((n = give(a, data, sizeof(data))) > 0) {
		sent += (size_t)n;
		settle();
	}
	meanwhile(600 * FN_NSEC);
	cr_expect_gt(rung, 0);
	cr_expect_eq(late, 0);
	cr_assert_eq(a->tcp_state, FN_TCP_ESTABLISHED);
	for (unsigned i = 0; i < 10000 && got < sent; i++) {
		settle();
		got += drain(b);
		now += 10 * FN_MSEC;
	}
	cr_expect_eq(got, sent, "%zu of %zu", got, sent);
	cr_expect_gt(late, 0);
}

/* Image 2 is forked from 1, and has what 1 has; then 1 goes. */
Test(shm_images, a_child_has_its_parents_peers)
{
	struct fn_sock *a, *b;
	char buf[100];

	pair_up(&a, &b);
	fn_shm_image_born(A.nic, 1, 2);
	cr_assert_eq(fn_shm_images(A.nic, A.peer), 3);
	fn_shm_image_gone(A.nic, 1);
	cr_assert_eq(fn_shm_orphan(A.nic, 1), 0);
	run_as(2);
	cr_assert_eq(give(a, "still here", 10), 10);
	settle();
	cr_assert_eq(get(b, buf, sizeof(buf)), 10);
}

static bool held_by_none_but(uint64_t gone, struct fn_held *held)
{
	*held = (struct fn_held){ 0 };
	return fn_shm_held(B.nic, B.peer, gone, held);
}

static void is_held_by(struct fn_sock *sk, uint64_t images)
{
	sk->images = images;
	fn_tcp_held(sk);
}

/* B finds in A's memory which images of A hold a connection, and which of all that have had that place they are. */
Test(shm_images, who_holds_a_connection_stands_where_its_far_end_looks)
{
	struct fn_held held, next;
	struct fn_sock *a, *b;

	pair_up(&a, &b);
	is_held_by(a, 1);
	cr_assert_not(held_by_none_but(~0ull, &held), "a process alone says nothing");
	fn_shm_image_life(A.nic, 0, 7);
	fn_shm_image_life(A.nic, 1, 9);
	fn_shm_image_born(A.nic, 1, 2);
	is_held_by(a, 3);
	cr_assert_not(held_by_none_but(2, &held));
	cr_assert(held_by_none_but(3, &held));
	is_held_by(a, 2);
	cr_assert_not(fn_shm_still_held(&held));
	cr_assert_not(held_by_none_but(1, &held));
	cr_assert(held_by_none_but(2, &held));
	cr_assert_eq(held.left.local.port, b->local.port);
	cr_assert_eq(held.left.remote.port, a->local.port);
	cr_assert_eq(held.left.seq, ((struct fn_tcp *)a)->copied_seq);
	cr_assert(fn_shm_still_held(&held));
	next = held;
	cr_assert_not(fn_shm_held(B.nic, B.peer, 2, &next), "there is one");
	cr_assert_eq(fn_shm_life_there(B.nic, B.peer, 0), 7);
	cr_assert_eq(fn_shm_life_there(B.nic, B.peer, 1), 9);
	is_held_by(a, 0);
	cr_assert_not(held_by_none_but(~0ull, &held), "closed: its stack goes on with it");
}

/* Image 3 has it without B: it can hand it on, and cannot say so. */
Test(shm_images, nothing_is_said_of_who_has_a_connection_without_its_peer)
{
	struct fn_held held;
	struct fn_sock *a, *b;

	pair_up(&a, &b);
	fn_shm_image_born(A.nic, 1, 2);
	is_held_by(a, 4);
	cr_assert_not(held_by_none_but(~0ull, &held));
	is_held_by(a, 6);
	cr_assert_not(held_by_none_but(~0ull, &held));
	is_held_by(a, 2);
	cr_assert(held_by_none_but(~0ull, &held));
	fn_sock_close(a);
	fn_sock_close(b);
	settle();
	cr_assert_not(fn_shm_still_held(&held));
}

/* Who gets the lock after a death under it has not got B: what it said of who holds a connection goes on, and is kept right. */
Test(shm_images_strangers, what_is_said_of_holders_outlasts_a_death_under_the_lock)
{
	struct fn_held held;
	struct fn_sock *a, *b;

	pair_up(&a, &b);
	fn_shm_image_born(A.nic, 8, 2);
	is_held_by(a, 1);
	cr_assert(held_by_none_but(1, &held));
	run_as(2);
	fn_stack_recover(A.st);
	run_as(1);
	cr_assert(held_by_none_but(1, &held));
	is_held_by(a, 5);
	cr_assert_not(held_by_none_but(1, &held), "the other one has it");
	is_held_by(a, 1);
	cr_assert(held_by_none_but(1, &held));
}

/* One far end of two images dies: its connection is nobody's, and the other one with the same peer goes on. */
Test(shm_images, a_connection_ends_without_its_peer)
{
	struct fn_sock *a, *b, *c, *d;
	struct fn_held held;
	char buf[10];
	int nobody;

	pair_up(&a, &b);
	cr_assert_eq(give(b, "unread", 6), 6);
	pair_on(PORT + 1, &c, &d);
	fn_shm_image_born(A.nic, 1, 2);
	is_held_by(a, 2);
	is_held_by(c, 3);
	cr_assert(held_by_none_but(2, &held));
	cr_assert(fn_tcp_left_whole(B.st, &held.left));
	fn_tcp_left(B.st, &held.left);
	nobody = fn_shm_nobody(B.nic);
	cr_assert_gt(nobody, 0);
	cr_assert_neq(nobody, B.peer);
	cr_assert_eq(fn_tcp_peer_moved(B.st, &held.left.local, &held.left.remote, (uint16_t)nobody), b);
	fn_tcp_conn_gone(b);
	cr_assert_eq(get(b, buf, sizeof(buf)), -ECONNRESET);
	cr_assert_eq(give(d, "still", 5), 5);
	settle();
	cr_assert_eq(get(c, buf, sizeof(buf)), 5);
	cr_assert_eq(fn_shm_nobody(B.nic), nobody);
	fn_shm_image_gone(B.nic, 2);
	cr_assert_eq(fn_shm_orphan(B.nic, 1), 0);
	cr_assert(fn_shm_is_dead(B.nic, nobody));
}

/* Who does not listen any more, and hears the bell for an offer, tells these. */
Test(shm_images, what_is_offered_to_its_parent_is_offered_to_a_child)
{
	struct fn_page *page = memory(sizeof(*page));

	cr_assert_eq(fn_shm_accepting(A.nic, A.peer), 0);
	fn_shm_offers(A.nic, A.peer, page);
	fn_shm_image_born(A.nic, 1, 2);
	cr_assert_eq(fn_shm_accepting(A.nic, A.peer), 3);
	image = 2;
	fn_shm_offers(A.nic, A.peer, NULL);
	cr_assert_eq(fn_shm_accepting(A.nic, A.peer), 1);
	fn_shm_image_gone(A.nic, 1);
	cr_assert_eq(fn_shm_accepting(A.nic, A.peer), 0);
	munmap(page, sizeof(*page));
}

/* What it has been sent must not be overwritten: it may read on, and nobody hears of it any more. */
Test(shm_images, the_last_image_of_a_peer_dies)
{
	static uint8_t data[20000];
	struct fn_sock *a, *b;
	uint32_t lent;

	pair_up(&a, &b);
	cr_assert_eq(give(a, data, sizeof(data)), sizeof(data));
	fn_stack_flush(A.st);
	lent = fn_shm_lent(A.nic, A.peer);
	cr_assert_gt(lent, 0);
	fn_shm_image_gone(A.nic, 1);
	run_as(2);
	cr_assert_eq(fn_shm_orphan(A.nic, 1), A.peer);
	fn_shm_peer_dead(A.nic, A.peer);
	fn_tcp_peer_gone(A.st, (uint16_t)A.peer);
	fn_stack_poll(A.st, now);
	fn_sock_close(a);
	fn_stack_poll(A.st, now);
	cr_expect_eq(A.st->tcp_pool.used, 0);
	cr_expect(fn_shm_peer_del(A.nic, A.peer));
	cr_expect_eq(fn_shm_orphan(A.nic, 1), 0);
	cr_expect_geq(fn_shm_outstanding(A.nic), lent);
}

/* ---- B's payload memory comes when image 1 has forked ---- */

static void meet_anew(void)
{
	struct fn_shm_pair pair = { .tx = A.ring, .rx = B.ring, .tx_slots = SLOTS, .rx_slots = SLOTS,
		.copies = A.copies, .copies_len = COPIES };

	cr_assert(fn_shm_peer_del(A.nic, A.peer));
	A.peer = fn_shm_peer_add(A.nic, &pair);
	cr_assert_gt(A.peer, 0);
}

static void meet_half(bool expected)
{
	meet_anew();
	if (expected)
		fn_shm_peer_expect(A.nic, A.peer, B.payload);
	fn_shm_image_born(A.nic, 1, 2);
}

static void payload_comes(uint64_t bit)
{
	size_t len;
	uint8_t *payload = payload_of_b(&len);

	run_as(bit);
	cr_assert_not(fn_shm_is_ready(A.nic, A.peer));
	fn_shm_peer_payload(A.nic, A.peer, payload, len);
	cr_assert(fn_shm_is_ready(A.nic, A.peer));
	run_as(bit);
}

Test(shm_images, a_peer_whose_memory_nobody_expects_is_its_parents)
{
	meet_half(false);
	cr_assert_eq(fn_shm_images(A.nic, A.peer), 1);
}

/* What it reads was copied for it; how far it has, it can tell nobody. */
Test(shm_images_strangers, a_child_without_its_parents_peer_reads_what_has_come)
{
	struct fn_sock *a, *b;
	char buf[10];

	meet_half(false);
	payload_comes(1);
	pair_up(&a, &b);
	cr_assert_eq(give(b, "for both", 8), 8);
	settle();
	run_as(2);
	cr_assert_eq(get(a, buf, 4), 4);
	cr_assert_arr_eq(buf, "for ", 4);
	run_as(1);
	cr_assert_eq(get(a, buf, 4), 4);
	cr_assert_arr_eq(buf, "both", 4);
}

Test(shm_images, memory_is_there_for_each_image)
{
	static uint8_t data[20000];
	struct fn_sock *a, *b;
	ssize_t n;

	meet_half(true);
	cr_assert_eq(fn_shm_images(A.nic, A.peer), 3);
	payload_comes(1);
	pair_up(&a, &b);

	/* image 2 has the ring, and leaves in it what it could not read */
	cr_assert_eq(give(b, data, sizeof(data)), sizeof(data));
	fn_stack_poll(B.st, now);
	meanwhile(10 * FN_MSEC);
	image = 2;
	cr_expect(fn_shm_drained(A.nic, A.peer));
	cr_assert_eq(get(a, data, 1), -EAGAIN);

	/* what image 1 takes is copied, for the other one reads it, too */
	run_as(1);
	cr_expect_not(fn_shm_drained(A.nic, A.peer));
	settle();
	cr_expect_eq(fn_shm_lent(B.nic, B.peer), 0);
	run_as(2);
	for (size_t got = 0; got < sizeof(data); got += (size_t)n) {
		n = get(a, data, sizeof(data));
		cr_assert_gt(n, 0);
	}

	/* it has it all: what comes stays where it is */
	payload_comes(2);
	cr_assert_eq(give(b, data, sizeof(data)), sizeof(data));
	settle();
	cr_expect_gt(fn_shm_lent(B.nic, B.peer), 0);
	fn_shm_image_gone(A.nic, 1);
	cr_assert_eq(drain(a), sizeof(data));
}

/* Its child has the ring, and will have the memory. */
Test(shm_images, who_has_the_memory_ends_before_its_child_has_it)
{
	static uint8_t data[20000];
	struct fn_sock *a, *b;

	meet_half(true);
	payload_comes(1);
	pair_up(&a, &b);
	cr_assert_eq(give(b, data, sizeof(data)), sizeof(data));
	fn_stack_poll(B.st, now);
	fn_shm_image_gone(A.nic, 1);
	cr_assert_eq(fn_shm_orphan(A.nic, 1), 0);
	run_as(2);
	fn_stack_poll(A.st, now);
	cr_assert_eq(get(a, data, 1), -EAGAIN);
	payload_comes(2);
	settle();
	cr_assert_eq(drain(a), sizeof(data));
	cr_assert_eq(give(a, data, sizeof(data)), sizeof(data));
	settle();
	cr_assert_eq(drain(b), sizeof(data));
}

/* A grandchild has what its parent has, and no more. */
Test(shm_images, a_child_of_one_without_the_memory_has_none)
{
	meet_half(true);
	payload_comes(1);
	fn_shm_image_born(A.nic, 2, 4);
	fn_shm_image_born(A.nic, 1, 8);
	cr_assert_eq(fn_shm_images(A.nic, A.peer), 15);
	image = 4;
	cr_expect_not(fn_shm_is_ready(A.nic, A.peer));
	image = 8;
	cr_expect(fn_shm_is_ready(A.nic, A.peer));
}

/* ---- B was met by image 1, and lies ready for 2, which was there before ---- */

Test(shm_images, who_lies_ready_for_an_image_is_no_orphan)
{
	static uint8_t data[20000];
	struct fn_sock *a, *b;

	fn_shm_peer_want(A.nic, A.peer, 2);
	cr_assert_eq(fn_shm_wanted(A.nic, A.peer), 2);
	pair_up(&a, &b);
	cr_assert_eq(give(b, data, sizeof(data)), sizeof(data));
	settle();
	cr_expect_eq(fn_shm_lent(B.nic, B.peer), 0, "not copied");
	cr_assert_eq(drain(a), sizeof(data));
	fn_shm_image_gone(A.nic, 1);
	cr_assert_eq(fn_shm_orphan(A.nic, 1), 0);
	image = 2;
	cr_assert(fn_shm_peer_have(A.nic, A.peer, B.payload));
	cr_assert_eq(fn_shm_images(A.nic, A.peer), 2);
	run_as(2);
	cr_assert_eq(give(b, data, sizeof(data)), sizeof(data));
	settle();
	cr_expect_gt(fn_shm_lent(B.nic, B.peer), 0, "copied still");
	cr_assert_eq(drain(a), sizeof(data));
}

/* The other one may sleep elsewhere for long. */
Test(shm_images, who_sends_fetches_what_lies_ready)
{
	struct fn_sock *a, *b;
	char buf[10];

	pair_up(&a, &b);
	fn_shm_peer_want(A.nic, A.peer, 2);
	run_as(2);
	cr_assert_eq(give(a, "at once", 7), 7);
	fn_stack_flush(A.st);
	fn_stack_poll(B.st, now);
	cr_assert_eq(get(b, buf, sizeof(buf)), 7);
	cr_expect_eq(rung, 0);
	cr_expect_eq(fn_shm_images(A.nic, A.peer), 3);
}

/* And its children with it; what it cannot have is the first one's. */
Test(shm_images, it_is_had_at_one_place_by_all)
{
	fn_shm_peer_want(A.nic, A.peer, 2);
	fn_shm_image_born(A.nic, 2, 4);
	cr_assert_eq(fn_shm_wanted(A.nic, A.peer), 6);
	image = 4;
	cr_assert_not(fn_shm_peer_have(A.nic, A.peer, B.payload + 4096));
	cr_assert_eq(fn_shm_images(A.nic, A.peer), 1);
	cr_assert_eq(fn_shm_wanted(A.nic, A.peer), 2);
	fn_shm_image_gone(A.nic, 2);
	cr_assert_eq(fn_shm_orphan(A.nic, 1), 0);
	fn_shm_image_gone(A.nic, 1);
	cr_assert_eq(fn_shm_orphan(A.nic, 1), A.peer);
}

/* ---- B is of a group, to which connections were offered that another image has, and is met by image 1 alone ---- */

/* The group is told of as one whose children have nothing of it, or as one that image 2 has as well. */
static void claimer_alone(bool expected)
{
	struct fn_page *page = memory(FN_PAGE_SIZE);
	int group = fn_shm_group_add(A.nic, page, 16);

	cr_assert_gt(group, 0);
	if (expected)
		fn_shm_group_expect(A.nic, group);
	else
		fn_shm_peer_apart(A.nic, group);
	fn_shm_image_born(A.nic, 1, 2);
	meet_anew();
	fn_shm_group_join(A.nic, A.peer, group, 1);
	fn_shm_peer_apart(A.nic, A.peer);
	payload_comes(1);
}

static void copied_for_the_other(void)
{
	static uint8_t data[20000];
	struct fn_sock *a, *b;

	pair_up(&a, &b);
	cr_assert_eq(give(b, data, sizeof(data)), sizeof(data));
	settle();
	cr_expect_eq(fn_shm_lent(B.nic, B.peer), 0, "not copied");
	run_as(2);
	for (size_t got = 0; got < sizeof(data);) {
		ssize_t n = get(a, data, sizeof(data));

		cr_assert_gt(n, 0);
		got += (size_t)n;
	}
}

Test(shm_images, who_has_an_offered_connection_reads_of_a_claimer_that_it_has_not_got)
{
	claimer_alone(true);
	copied_for_the_other();
}

Test(shm_images, so_does_a_child_that_has_not_got_the_group)
{
	claimer_alone(false);
	copied_for_the_other();
}

Test(shm_images, a_claimer_whom_all_have_is_read_where_it_writes)
{
	static uint8_t data[20000];
	struct fn_page *page = memory(FN_PAGE_SIZE);
	int group = fn_shm_group_add(A.nic, page, 16);
	struct fn_sock *a, *b;

	fn_shm_image_born(A.nic, 1, 2);
	fn_shm_image_gone(A.nic, 2);
	fn_shm_group_join(A.nic, A.peer, group, 1);
	fn_shm_peer_apart(A.nic, A.peer);
	pair_up(&a, &b);
	cr_assert_eq(give(b, data, sizeof(data)), sizeof(data));
	settle();
	cr_expect_gt(fn_shm_lent(B.nic, B.peer), 0, "copied");
}
