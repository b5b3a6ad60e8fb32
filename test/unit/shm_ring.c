/* SPDX-License-Identifier: BSD-3-Clause */
/* The shared ring: order and bytes over many laps, room, the sleeper's bell, and sides that lie. */
#include <criterion/criterion.h>
#include <pthread.h>
#include <stdlib.h>
#include <string.h>

#include "stack/shm_ring.h"

#define SLOTS	32

static struct fn_ring_tx tx;
static struct fn_ring_rx rx;
static void *mem;

static void setup(void)
{
	mem = aligned_alloc(64, fn_ring_size(SLOTS));
	memset(mem, 0, fn_ring_size(SLOTS));
	fn_ring_tx_init(&tx, mem, SLOTS);
	fn_ring_rx_init(&rx, mem, SLOTS);
}

static void teardown(void)
{
	free(mem);
}

TestSuite(shm_ring, .init = setup, .fini = teardown);

static bool room_for(uint32_t len)
{
	return fn_ring_room(&tx) > (int)fn_ring_slots(len);
}

/* Every byte depends on the entry's number and its place. */
static void pattern(uint8_t *to, uint32_t n, uint32_t seed)
{
	for (uint32_t i = 0; i < n; i++)
		to[i] = (uint8_t)(seed * 31 + i * 7 + (seed >> 8));
}

static void put(uint32_t seed, uint32_t len)
{
	uint8_t body[FN_RING_ENTRY_MAX];
	uint32_t cut = len / 3;
	struct fn_ring_piece piece[2] = { { body, cut }, { body + cut, len - cut } };

	pattern(body, len, seed);
	fn_ring_put(&tx, (uint8_t)(seed % 5 + 1), (uint8_t)seed, piece, 2);
}

static void expect(uint32_t seed, uint32_t len)
{
	uint8_t body[FN_RING_ENTRY_MAX], want[FN_RING_ENTRY_MAX];
	struct fn_ring_head head;

	pattern(want, len, seed);
	cr_assert_eq(fn_ring_get(&rx, &head, body), (int)len);
	cr_assert_eq(head.type, seed % 5 + 1);
	cr_assert_eq(head.arg, (uint8_t)seed);
	cr_assert_arr_eq(body, want, len);
}

Test(shm_ring, entries_of_all_sizes_come_out_in_order_over_many_laps)
{
	uint32_t in = 0, out = 0, len;

	while (out < 5000) {
		while (len = in * 37 % (FN_RING_ENTRY_MAX + 1), in < 5000 && room_for(len))
			put(in++, len);
		cr_assert(fn_ring_pending(&rx));
		for (unsigned i = 0; i < 3 && out < in; i++, out++)
			expect(out, out * 37 % (FN_RING_ENTRY_MAX + 1));
	}
	cr_assert(!fn_ring_pending(&rx));
	cr_assert_eq(fn_ring_get(&rx, &(struct fn_ring_head){ 0 }, (uint8_t[FN_RING_ENTRY_MAX]){ 0 }), -EAGAIN);
}

/* What an entry carries looks like the mark of the slot it lies in: it must not be taken for an entry. */
Test(shm_ring, payload_that_looks_like_a_mark_is_no_entry)
{
	uint8_t body[FN_RING_ENTRY_MAX];

	for (unsigned lap = 0; lap < 200; lap++) {
		uint32_t len = 120 + lap % 3 * 64, slots = fn_ring_slots(len);

		for (uint32_t s = 1; s < slots; s++) {	/* the mark that this slot would have a lap later */
			uint32_t mark = (tx.head + s + SLOTS) << 1 | 1;

			memcpy(body + s * FN_RING_SLOT - sizeof(struct fn_ring_head), &mark, sizeof(mark));
		}
		fn_ring_put(&tx, 1, 0, &(struct fn_ring_piece){ body, len }, 1);
		cr_assert_eq(fn_ring_get(&rx, &(struct fn_ring_head){ 0 }, body), (int)len);
		cr_assert(!fn_ring_pending(&rx), "lap %u", lap);
	}
}

Test(shm_ring, a_full_ring_has_room_again_when_it_was_read)
{
	unsigned n = 0, again = 0;

	while (room_for(56))
		put(n++, 56);
	cr_assert_geq(n, SLOTS - 2);
	for (unsigned i = 0; i < n; i++)
		expect(i, 56);
	fn_ring_tell(&rx);
	while (room_for(56))
		put(again++, 56);
	cr_assert_geq(again, SLOTS - 2);
}

Test(shm_ring, only_a_sleeper_wants_its_bell)
{
	put(1, 8);
	cr_assert(!fn_ring_sleeper(&tx));
	fn_ring_arm(&rx);
	cr_assert(fn_ring_sleeper(&tx));
	cr_assert(fn_ring_pending(&rx), "what came before is seen after arming");
	fn_ring_disarm(&rx);
	cr_assert(!fn_ring_sleeper(&tx));
}

Test(shm_ring, a_consumer_that_claims_too_much_is_found_out)
{
	struct fn_ring_shared *shared = mem;

	for (unsigned i = 0; i < SLOTS / 2 + 1; i++)
		put(i, 8);
	shared->taken = SLOTS;
	cr_assert_eq(fn_ring_room(&tx), -EPROTO);
}

Test(shm_ring, an_entry_longer_than_there_can_be_is_found_out)
{
	struct fn_ring_shared *shared = mem;
	struct fn_ring_head *h = (void *)shared->slot[0];

	put(1, 8);
	h->len = FN_RING_ENTRY_MAX + 1;
	cr_assert_eq(fn_ring_get(&rx, &(struct fn_ring_head){ 0 }, (uint8_t[FN_RING_ENTRY_MAX]){ 0 }), -EPROTO);
}

#define RACE	200000u

static void *producer(void *arg)
{
	for (uint32_t i = 0; i < RACE; i++) {
		while (!room_for(i % 200))
			;
		put(i, i % 200);
	}
	return NULL;
}

Test(shm_ring, two_threads)
{
	pthread_t t;

	pthread_create(&t, NULL, producer, NULL);
	for (uint32_t i = 0; i < RACE; i++) {
		while (!fn_ring_pending(&rx))
			fn_ring_tell(&rx);
		expect(i, i % 200);
	}
	pthread_join(t, NULL);
}
