/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * What the survivor of a connection finds: every byte that the dead end had been given to send, wherever it was, and then the
 * end, or a reset when the dead program had left something unread. One end is of the same user, or of another one.
 */
#include <criterion/criterion.h>
#include <errno.h>
#include <sys/mman.h>
#include <sys/socket.h>

#include "shm_fixture.h"
#include "stack/shm_page.h"

#define PORT		fn_be16(8080)
#define PAYLOAD		(8u << 20)
#define COPIES		(1u << 20)
#define SLOTS		256u
#define MUCH		3000000u

/* [0] dies. */
static struct side side[2] = { { .payload_len = PAYLOAD, .copies_len = COPIES, .slots = SLOTS },
			       { .payload_len = PAYLOAD, .copies_len = COPIES, .slots = SLOTS } };
static struct fn_sock *listener;
static uint64_t now = 1000 * FN_NSEC;
static uint8_t out[MUCH], in[MUCH];

static void settle(void)
{
	unsigned idle = 0;

	while (idle < 2)
		idle = fn_stack_poll(side[0].st, now) + fn_stack_poll(side[1].st, now) ? 0 : idle + 1;
}

/* The dead one has connected, or the survivor has. */
static void connect_ends(unsigned from)
{
	side_make(&side[0], 0, NULL, NULL, now);
	side_make(&side[1], 1, NULL, NULL, now);
	/* their numbers differ, so that nobody takes one's for the other's */
	fn_shm_group_add(side[0].nic, calloc(1, FN_PAGE_HEAD), 1);
	sides_meet(&side[0], &side[1]);
	listener = sides_connect(&side[from], &side[!from], PORT, settle);
	for (unsigned i = 0; i < MUCH; i++)
		out[i] = (uint8_t)(i * 131 >> 3);
}

static void setup(void)
{
	connect_ends(1);
}

static void setup_strangers(void)
{
	for (unsigned i = 0; i < 2; i++) {	/* pages that can be taken away */
		side[i].copies = mmap(NULL, COPIES, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
		cr_assert_neq(side[i].copies, MAP_FAILED);
	}
	connect_ends(0);
}

TestSuite(shm_left, .init = setup, .timeout = 60);
TestSuite(shm_left_strangers, .init = setup_strangers, .timeout = 60);

static void dies(void)
{
	struct fn_left left = { .where = FN_LEFT_OURS };
	struct side *s = &side[1];

	while (!fn_shm_drained(s->nic, s->peer))
		fn_stack_poll(s->st, now);
	while (fn_shm_left(s->nic, s->peer, &left))
		fn_tcp_left(s->st, &left);
	fn_shm_peer_dead(s->nic, s->peer);
	fn_tcp_peer_gone(s->st, (uint16_t)s->peer);
	if (s->copies)
		mprotect(s->copies, COPIES, PROT_NONE);		/* it is unmapped */
	fn_stack_poll(s->st, now);
}

/* The survivor reads `len` bytes of out[], and then `end`; nothing of it is left anywhere. */
static void expect(uint32_t len, ssize_t end)
{
	uint32_t got = 0;
	ssize_t n;

	while ((n = get(side[1].sk, in + got, MUCH - got)) > 0)
		got += (uint32_t)n;
	cr_assert_eq(got, len, "%u bytes of %u", got, len);
	cr_assert_arr_eq(in, out, len);
	cr_assert_eq(n, end, "%zd", n);
	fn_sock_close(side[1].sk);
	for (unsigned i = 0; i < 4; i++)	/* its FIN is answered */
		fn_stack_poll(side[1].st, now);
	cr_assert(fn_shm_peer_del(side[1].nic, side[1].peer), "its memory is in use");
	cr_expect_eq(fn_shm_outstanding(side[1].nic), 0);
}

/* As much as is taken, in pieces of that length. */
static uint32_t fill(size_t piece)
{
	uint32_t sent = 0;
	ssize_t n;

	while (sent + piece <= MUCH && (n = give(side[0].sk, out + sent, piece)) > 0) {
		sent += (uint32_t)n;
		fn_stack_poll(side[0].st, now += 1000);
	}
	return sent;
}

Test(shm_left, what_was_received_and_not_read_is_a_reset)
{
	give(side[1].sk, "unread", 6);
	settle();
	now += FN_NSEC;
	settle();
	cr_assert_eq(fn_tcp_outq(side[1].sk), 0, "it has been acknowledged");
	dies();
	expect(0, -ECONNRESET);
}

Test(shm_left, what_was_read_in_part_is_a_reset)
{
	give(side[0].sk, out, 10);
	give(side[1].sk, "unread", 6);
	settle();
	get(side[0].sk, in, 5);
	dies();
	expect(10, -ECONNRESET);
}

Test(shm_left, what_was_read_and_not_acknowledged_yet_is_an_end)
{
	give(side[1].sk, "request", 7);
	fn_stack_flush(side[1].st);
	fn_stack_poll(side[0].st, now);
	cr_assert_eq(get(side[0].sk, in, 100), 7);
	cr_assert_neq(fn_tcp_sk(side[1].sk)->snd_una, fn_tcp_sk(side[1].sk)->snd_nxt);
	dies();
	expect(0, 0);
}

Test(shm_left, who_has_closed_its_half_had_read_all)
{
	give(side[0].sk, out, 1000);
	fn_sock_shutdown(side[0].sk, FN_SHUT_WR);
	give(side[1].sk, "x", 1);
	settle();
	cr_assert_eq(get(side[0].sk, in, 100), 1);
	dies();
	expect(1000, 0);
}

Test(shm_left, all_that_was_written_beyond_the_window)
{
	uint32_t sent = fill(50000);

	cr_assert_gt(sent, 500000u);
	settle();
	dies();
	expect(sent, 0);
}

/* In small pieces the ring fills first; nobody has looked at it. */
Test(shm_left, all_that_was_written_beyond_the_ring)
{
	uint32_t sent;

	fn_sock_setopt(side[0].sk, FN_OPT_NODELAY, 1);
	sent = fill(100);
	cr_assert(side[0].nic->choked);
	cr_assert_gt(sent, SLOTS * 64);
	dies();
	expect(sent, 0);
}

/* As within a batch of events. */
Test(shm_left, what_was_staged_only)
{
	give(side[0].sk, out, 100);
	give(side[0].sk, out + 100, 5000);
	cr_assert_gt(side[0].st->staged, 0);
	dies();
	expect(5100, 0);
}

/* A large buffer's inside is text, whatever it looks like. */
Test(shm_left, what_the_program_writes_is_no_note)
{
	const struct fn_tcp *tp = fn_tcp_sk(side[0].sk);
	struct fn_note forged = { .ends = { tp->rx_addrs, tp->rx_ports, side[0].sk->remote.peer, 0 }, .off = FN_PKT_HEADROOM, .text.len = 100 };

	give(side[0].sk, "x", 1);	/* the answer tells of the window */
	settle();
	cr_assert_eq(get(side[1].sk, in, 1), 1);
	now += FN_NSEC;
	settle();
	forged.seq = tp->write_seq + 32768;
	for (uint32_t at = FN_SHM_BUF - FN_PKT_HEADROOM; at + sizeof(forged) <= 32768; at += FN_SHM_BUF)
		memcpy(out + at, &forged, sizeof(forged));
	cr_assert_eq(give(side[0].sk, out, 32768), 32768);
	cr_assert_eq(tp->rtxq.count + tp->sndq.count, 1, "in one buffer");
	dies();
	expect(32768, 0);
}

Test(shm_left, half_of_it_was_read_before)
{
	uint32_t sent = fill(30000), got = 0;

	for (unsigned i = 0; i < 20; i++) {
		got += (uint32_t)fn_max(get(side[1].sk, in, 20011), 0);
		settle();
	}
	memmove(out, out + got, MUCH - got);
	dies();
	expect(sent - got, 0);
}

Test(shm_left, what_is_found_of_other_connections_is_theirs)
{
	struct fn_ep ep = { .ip4 = LOOPBACK, .port = PORT, .peer = (uint16_t)side[1].peer };
	struct fn_sock *sk = fn_sock_open(side[1].st, FN_SOCK_TCP, &side[1]), *other;
	uint32_t sent;

	cr_assert_eq(fn_sock_connect(sk, &ep), -EINPROGRESS);
	settle();
	other = fn_tcp_accept(listener, &side[0]);
	give(other, "other", 5);
	give(sk, "unread", 6);
	sent = fill(40000);
	settle();
	dies();
	cr_assert_eq(get(sk, in, 100), 5);
	cr_assert_arr_eq(in, "other", 5);
	cr_assert_eq(get(sk, in, 100), -ECONNRESET);
	fn_sock_close(sk);
	expect(sent, 0);
}

/* A dead one's memory says what it likes. */
Test(shm_left, nonsense_is_passed_over)
{
	uint64_t rng = 1;

	give(side[0].sk, out, 5000);
	settle();
	for (unsigned i = 0; i < PAYLOAD; i += FN_SHM_BUF)
		for (unsigned k = 0; k < sizeof(struct fn_note); k++)
			side[0].payload[i + k] = (uint8_t)((rng = rng * 6364136223846793005ull + 1442695040888963407ull) >> 56);
	*(uint32_t *)side[0].payload = UINT32_MAX;
	for (unsigned i = FN_SHM_BUF; i < PAYLOAD; i += FN_SHM_BUF)
		((struct fn_note *)(side[0].payload + i))->ends.peer = i & 1u << 13 ? 0xffff : (uint16_t)side[0].peer;
	dies();
	expect(5000, 0);
}

Test(shm_left_strangers, what_was_received_and_not_read_is_a_reset)
{
	give(side[0].sk, out, 3000);
	give(side[1].sk, in, 2000);
	settle();
	now += FN_NSEC;
	settle();
	cr_assert_eq(fn_tcp_outq(side[1].sk), 0);
	dies();
	expect(3000, -ECONNRESET);
}

Test(shm_left_strangers, what_was_read_is_an_end)
{
	give(side[0].sk, out, 3000);
	give(side[1].sk, in, 2000);
	settle();
	cr_assert_eq(get(side[0].sk, in, MUCH), 2000);
	dies();
	expect(3000, 0);
}

Test(shm_left_strangers, what_was_written_beyond_the_window)
{
	uint32_t sent = 0;
	ssize_t n;

	for (unsigned i = 0; i < 9 && (n = give(side[0].sk, out + sent, 50000)) > 0; i++) {
		sent += (uint32_t)n;
		fn_stack_poll(side[0].st, now += 1000);
	}
	cr_assert_gt(fn_tcp_outq_unsent(side[0].sk), 100000u);
	settle();
	dies();
	expect(sent, 0);
}
