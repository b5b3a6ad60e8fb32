/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * What a process has written beyond window and ring, and not sent, for it does something else: its peer takes it from where it
 * lies, while the buffers may be used again at any moment, and both go on with what comes afterwards.
 */
#include <criterion/criterion.h>
#include <errno.h>
#include <pthread.h>
#include <sched.h>
#include <sys/socket.h>

#include "shm_fixture.h"
#include "stack/shm_priv.h"

#define PORT		fn_be16(8080)
#define MUCH		3000000u

static struct side side[2] = { { .payload_len = 8u << 20, .slots = 256 }, { .payload_len = 8u << 20, .slots = 256 } };
static uint64_t now = 1000 * FN_NSEC;
static uint8_t out[MUCH + 1000], in[MUCH + 1000];

static void settle(void)
{
	unsigned idle = 0;

	while (idle < 2)
		idle = fn_stack_poll(side[0].st, now) + fn_stack_poll(side[1].st, now) ? 0 : idle + 1;
}

static void setup(void)
{
	side_make(&side[0], 0, NULL, NULL, now);
	side_make(&side[1], 1, NULL, NULL, now);
	sides_meet(&side[0], &side[1]);
	sides_connect(&side[1], &side[0], PORT, settle);
	for (uint32_t i = 0; i < sizeof(out); i++)
		out[i] = (uint8_t)(i * 131 >> 3);
}

TestSuite(shm_unsent, .init = setup, .timeout = 60);

/* As much as is taken, in pieces of that length. */
static uint32_t fill(struct side *s, size_t piece)
{
	uint32_t sent = 0;
	ssize_t n;

	while (sent + piece <= MUCH && (n = give(s->sk, out + sent, piece)) > 0) {
		sent += (uint32_t)n;
		fn_stack_poll(s->st, now += 1000);
	}
	return sent;
}

/* Once along the other one's buffers: what is next is taken. */
static unsigned walk(struct side *s)
{
	struct fn_left left = { .where = FN_LEFT_OURS };
	unsigned n = 0;

	while (fn_shm_unsent(s->nic, s->peer, &left)) {
		if (fn_tcp_wants(s->st, &left))
			continue;
		left.text = fn_shm_unsent_text(s->nic, s->peer, &left);
		n += left.text && fn_tcp_take_written(s->st, &left);
	}
	fn_tcp_written_taken(s->st);
	return n;
}

/* The other one does something else: s takes what it has left, and reads. */
static uint32_t find(struct side *s)
{
	uint32_t got = 0;
	unsigned took;
	ssize_t n;

	cr_assert(fn_shm_behind(s->nic, s->peer), "it has said so");
	fn_shm_behind_seen(s->nic, s->peer);
	do {
		while (fn_stack_poll(s->st, now += FN_MSEC))	/* the window that is open now is told */
			;
		took = walk(s);
		while ((n = get(s->sk, in + got, sizeof(in) - got)) > 0)
			got += (uint32_t)n;
	} while (took);
	return got;
}

/* All is acknowledged, whether it was ever sent or not. */
static void over(void)
{
	for (unsigned i = 0; i < 50; i++) {	/* an ACK may be delayed */
		settle();
		now += 20 * FN_MSEC;
	}
	for (unsigned i = 0; i < 2; i++) {
		cr_assert_eq(fn_tcp_outq(side[i].sk), 0, "%u bytes of side %u", fn_tcp_outq(side[i].sk), i);
		cr_expect_eq(side[i].st->stats.drop[FN_DROP_TCP_ACK_RANGE], 0);
		cr_expect_eq(side[i].st->stats.drop[FN_DROP_TCP_WINDOW], 0);
		cr_expect_eq(side[i].st->stats.tcp_retrans, 0);
	}
}

static void and_more(struct side *from, struct side *to)
{
	give(from->sk, "more", 4);
	settle();
	cr_assert_eq(get(to->sk, in, 100), 4);
	cr_assert_arr_eq(in, "more", 4);
}

static void lives(uint32_t sent)
{
	uint32_t got = find(&side[1]);

	cr_assert_eq(got, sent, "%u bytes of %u", got, sent);
	cr_assert_arr_eq(in, out, sent);
	over();
}

Test(shm_unsent, beyond_the_window)
{
	uint32_t sent = fill(&side[0], 50000);

	cr_assert_gt(sent, 500000u);
	lives(sent);
	and_more(&side[0], &side[1]);
}

Test(shm_unsent, beyond_the_ring)
{
	fn_sock_setopt(side[0].sk, FN_OPT_NODELAY, 1);
	lives(fill(&side[0], 100));
	and_more(&side[0], &side[1]);
}

Test(shm_unsent, the_end_behind_it)
{
	uint32_t sent = fill(&side[0], 50000);

	fn_sock_shutdown(side[0].sk, FN_SHUT_WR);
	lives(sent);
	cr_assert_eq(get(side[1].sk, in, 1), 0);
}

/* The window is full to the last byte, and nothing waits but the end. */
Test(shm_unsent, the_end_behind_a_full_window)
{
	const struct fn_tcp *tp = fn_tcp_sk(side[0].sk);
	uint32_t sent = tp->snd_una + tp->snd_wnd - tp->snd_nxt;

	cr_assert_eq(give(side[0].sk, out, sent), sent);
	cr_assert_null(tp->sndq.head);
	fn_sock_shutdown(side[0].sk, FN_SHUT_WR);
	fn_stack_poll(side[0].st, now);
	while (fn_stack_poll(side[1].st, now))
		;
	cr_assert_eq(get(side[1].sk, in, MUCH), sent);
	cr_assert_eq(get(side[1].sk, in, 1), 0);
}

/* Each has more of the other's than that one knows of: what it acknowledges counts all the same. */
Test(shm_unsent, both_ways)
{
	uint32_t sent[2];

	for (unsigned i = 0; i < 2; i++)
		sent[i] = fill(&side[i], 50000);
	for (unsigned i = 0; i < 2; i++) {
		cr_assert_eq(find(&side[!i]), sent[i]);
		cr_assert_arr_eq(in, out, sent[i]);
	}
	over();
	and_more(&side[0], &side[1]);
	and_more(&side[1], &side[0]);
}

/* What is acknowledged ends within a buffer that has not been sent; and no more is put into that one. */
Test(shm_unsent, a_part_of_a_buffer)
{
	struct fn_left left = { .where = FN_LEFT_OURS };
	uint32_t sent = fill(&side[0], 50000), got = 0;
	struct fn_tcp *tp = fn_tcp_sk(side[1].sk);
	ssize_t n;

	while (fn_stack_poll(side[1].st, now))
		;
	while ((n = get(side[1].sk, in + got, sizeof(in) - got)) > 0)
		got += (uint32_t)n;
	while (fn_shm_unsent(side[1].nic, side[1].peer, &left) && fn_tcp_wants(side[1].st, &left))
		;
	left.len /= 3;
	left.text = fn_shm_unsent_text(side[1].nic, side[1].peer, &left);
	cr_assert(left.text && fn_tcp_take_written(side[1].st, &left));
	cr_assert_eq(tp->rcv_nxt, left.seq + left.len);
	fn_tcp_written_taken(side[1].st);
	for (unsigned k = 0; k < 200; k++) {
		settle();
		now += FN_MSEC;
		sent += (uint32_t)fn_max(give(side[0].sk, out + sent, k % 7), 0);
		while ((n = get(side[1].sk, in + got, sizeof(in) - got)) > 0)
			got += (uint32_t)n;
	}
	settle();
	while ((n = get(side[1].sk, in + got, sizeof(in) - got)) > 0)
		got += (uint32_t)n;
	cr_assert_eq(got, sent, "%u bytes of %u", got, sent);
	cr_assert_arr_eq(in, out, sent);
	over();
}

/* ---- between a look at the note and the end of the copy ---- */

static struct fn_note *note_of(const struct fn_left *left)
{
	return (struct fn_note *)(side[0].payload + (size_t)left->at * FN_SHM_BUF);
}

static struct fn_left some(void)
{
	struct fn_left left = { .where = FN_LEFT_OURS };

	fill(&side[0], 50000);
	while (fn_stack_poll(side[1].st, now))
		;
	cr_assert(fn_shm_unsent(side[1].nic, side[1].peer, &left));
	return left;
}

static bool still_there(const struct fn_left *left)
{
	struct fn_pkt *p = fn_shm_unsent_text(side[1].nic, side[1].peer, left);

	if (p)
		fn_pkt_free(p);
	return p;
}

Test(shm_unsent, a_note_that_has_changed_is_none)
{
	struct fn_left left = some();
	struct fn_note was = *note_of(&left), *note = note_of(&left);

#define CHANGED(what) do { note->what; cr_expect(!still_there(&left), #what); *note = was; } while (0)
	cr_assert(still_there(&left));
	CHANGED(text.len = 0);
	CHANGED(text.len--);
	CHANGED(seq++);
	CHANGED(off++);
	CHANGED(ends.addrs++);
	CHANGED(ends.ports++);
	CHANGED(ends.peer++);
	note->text.len++;	/* it goes on, and so it may end */
	note->text.fin = FN_NOTE_FIN;
	cr_expect(still_there(&left));
	left.note.text.fin = FN_NOTE_FIN;
	note->text.fin = 0;
	cr_expect(!still_there(&left));
}

Test(shm_unsent, urgent_text_waits_to_be_sent)
{
	struct fn_left left = { .where = FN_LEFT_OURS };
	struct iovec iov = { out, 1 };
	uint32_t before = 0, behind = 0;

	fill(&side[0], 50000);
	while (fn_stack_poll(side[1].st, now))
		;
	while (fn_shm_unsent(side[1].nic, side[1].peer, &left))
		before++;
	side[0].sk->sndbuf = INT32_MAX / 2;
	cr_assert_eq(fn_tcp_send(side[0].sk, &iov, 1, 0, MSG_OOB), 1);
	left = (struct fn_left){ .where = FN_LEFT_OURS };
	while (fn_shm_unsent(side[1].nic, side[1].peer, &left))
		behind++;
	cr_assert_leq(behind, before);
}

/* Nonsense in the other one's notes: nothing is read out of bounds, and what is not next does not come. */
Test(shm_unsent, whatever_the_notes_say)
{
	uint32_t sent = fill(&side[0], 50000), x = 1;
	const struct fn_tcp *tp = fn_tcp_sk(side[1].sk);

	while (fn_stack_poll(side[1].st, now))
		;
	for (unsigned round = 0; round < 200; round++) {
		uint8_t *buf = side[0].payload + (size_t)(1 + round % 64) * FN_SHM_BUF;
		uint32_t before = tp->rcv_nxt, win = fn_tcp_receive_window(tp);

		for (unsigned k = 16; k < sizeof(struct fn_note); k++)
			buf[k] = (uint8_t)((x = x * 1664525 + 1013904223) >> 24);
		walk(&side[1]);
		cr_assert_leq(tp->rcv_nxt - before, win + UINT16_MAX + 1);
		while (get(side[1].sk, in, sizeof(in)) > 0)
			;
		fn_stack_poll(side[1].st, now += FN_MSEC);
	}
	cr_assert_gt(sent, 0);
}

/* ---- both run, each on its own ---- */

struct runner {
	struct side *s;
	uint32_t sent, got;
	const char *wrong;
};
static _Atomic(unsigned) finished;
#define EACH	12000000u

static uint8_t byte_at(uint32_t i)
{
	return (uint8_t)(i * 2654435761u >> 24);
}

/* Writes much and little, is away now and then, and looks for what the other one has left at any moment, not only when it is silent. */
static void *run(void *arg)
{
	static _Thread_local uint8_t buf[40000];
	struct runner *r = arg;
	uint64_t t = now;
	uint32_t x = 1 + (r->s == &side[1]);

	for (uint32_t rounds = 0; atomic_load(&finished) < 2 && rounds < 3000000; rounds++) {
		bool unfinished = r->sent < EACH || r->got < EACH;
		uint32_t n = fn_min(EACH - r->sent, (x = x * 1664525 + 1013904223) >> 29 ? x % 5000 : x % sizeof(buf));
		ssize_t done;

		for (uint32_t k = 0; k < n; k++)
			buf[k] = byte_at(r->sent + k);
		done = n ? give(r->s->sk, buf, n) : 0;
		r->sent += done > 0 ? (uint32_t)done : 0;
		if (x >> 11 & 3)
			fn_stack_poll(r->s->st, t += 1000);
		if (!(x >> 13 & 7))
			walk(r->s);
		done = x >> 17 & 1 ? get(r->s->sk, buf, sizeof(buf)) : 0;
		for (ssize_t k = 0; k < done; k++)
			if (buf[k] != byte_at(r->got + (uint32_t)k))
				r->wrong = "wrong bytes";
		r->got += done > 0 ? (uint32_t)done : 0;
		if (unfinished && r->sent == EACH && r->got == EACH)
			atomic_fetch_add(&finished, 1);
		if (done <= 0)
			sched_yield();
	}
	return NULL;
}

Test(shm_unsent, at_any_moment)
{
	struct runner r[2] = { { .s = &side[0] }, { .s = &side[1] } };
	pthread_t t[2];

	for (unsigned i = 0; i < 2; i++)
		cr_assert(!pthread_create(&t[i], NULL, run, &r[i]));
	for (unsigned i = 0; i < 2; i++)
		pthread_join(t[i], NULL);
	for (unsigned i = 0; i < 2; i++) {
		cr_expect_null(r[i].wrong, "%s", r[i].wrong);
		cr_expect_eq(r[i].got, EACH, "%u got, %u sent", r[i].got, r[i].sent);
		cr_expect_gt(side[i].st->stats.fabric_found, 0);
	}
}
