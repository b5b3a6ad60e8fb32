/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * Death under the lock of a stack that talks through the fabric, in the midst of it too: A's calls are left at any
 * instruction, B lives. Connections go on, byte for byte, or are reset; what the two have of each other is counted in the
 * end, and nothing is left over. B is of A's user, or of another one. Of two images that share A's stack one has met B; the
 * other one, which has not got B's memory, finds the lock as the first has left it, drives, and dies as well.
 */
#include <criterion/criterion.h>
#include <errno.h>
#include <sys/mman.h>
#include <sys/socket.h>

#include "death.h"
#include "flow.h"
#include "shm_fixture.h"
#include "stack/shm_priv.h"

#define PORT		fn_be16(8080)
#define PAYLOAD		(4u << 20)
#define SCARCE		(1u << 20)	/* large buffers are broken up */
#define PLENTY		(16u << 20)
#define COPIES		(1u << 20)
#define ARENA		(64u << 20)
#define SLOTS		64u		/* full now and then */
#define FLOWS		5
#define CHUNK		20000u
#define DEATHS		1200u

static struct side A = { .slots = SLOTS }, B = { .slots = SLOTS };
static struct flow flow[FLOWS];
static struct fn_sock *listener;
static uint64_t now = 1000 * FN_NSEC, image = 1;
static bool family;
static uint32_t chunk = CHUNK, payload = PAYLOAD;
static int user[FLOWS + 1];

static void again(void *ctx, int number)
{
	fn_tcp_peer_again(((struct side *)ctx)->st, (uint16_t)number);
}

static void late(void *ctx, int number)
{
	fn_tcp_peer_late(((struct side *)ctx)->st, (uint16_t)number);
}

static void *memory(size_t size)
{
	void *mem = mmap(NULL, size, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);

	cr_assert_neq(mem, MAP_FAILED);
	return mem;
}

static void make(struct side *s, bool strangers)
{
	struct fn_shm_conf conf = { .again = again, .late = late, .ctx = s, .image = s == &A ? &image : NULL };

	s->arena = fn_arena_init(memory(ARENA), ARENA, ARENA, NULL, NULL);
	s->payload_len = payload;
	s->payload = memory(payload);
	s->copies_len = COPIES;
	s->copies = strangers ? memory(COPIES) : NULL;
	s->ring = memory(fn_ring_size(SLOTS));
	side_make(s, s == &A, NULL, &conf, now);
}

static uint32_t piece(void)
{
	return 1 + draw(draw(2) ? 300 : chunk - 1);
}

/* ---- B, which lives ---- */

static void b_serve(unsigned i)
{
	struct fn_ep to = { .ip4 = LOOPBACK, .port = PORT, .peer = (uint16_t)B.peer };
	struct flow *f = &flow[i];
	uint32_t len = piece();
	ssize_t n;

	if (!f->b) {
		*f = (struct flow){ .b = fn_sock_open(B.st, FN_SOCK_TCP, &user[i]) };
		cr_assert_eq(fn_sock_connect(f->b, &to), -EINPROGRESS);
		return;
	}
	n = get(f->b, bytes, len);
	if (n > 0) {
		compare(i, false, f->got, n);
		f->got += (uint32_t)n;
	} else if (n != -EAGAIN && n != -ENOTCONN) {
		fn_sock_close(f->b);
		f->b = NULL;
		return;
	}
	fill(i, true, f->sent, len);
	n = give(f->b, bytes, len);
	f->sent += n > 0 ? (uint32_t)n : 0;
}

/* ---- A, which dies ---- */

static void a_poll(void *arg)
{
	fn_stack_poll(A.st, now);
}

static void a_write(void *arg)
{
	struct flow *f = arg;
	uint32_t len = piece();

	fill((unsigned)(f - flow), false, tp_of(f)->write_seq - f->wrote0, len);
	give(f->a, bytes, len);
	fn_stack_flush(A.st);
}

static void a_read(void *arg)
{
	struct flow *f = arg;
	uint32_t at = tp_of(f)->copied_seq - f->read0;

	compare((unsigned)(f - flow), true, at, get(f->a, bytes, piece()));
}

static void a_accept(void *arg)
{
	struct fn_sock *sk = fn_tcp_accept(listener, &user[FLOWS]);

	if (sk)
		sk->images = 1;
}

static void a_close(void *arg)
{
	struct fn_sock *sk = ((struct flow *)arg)->a;

	sk->images = 0;
	fn_sock_close(sk);
}

static bool is_held(const struct fn_sock *sk)
{
	return sk->kind && sk->user && sk->images && sk != listener;
}

static struct fn_sock *sock_at(uint32_t i)
{
	return fn_pool_at(&A.st->tcp_pool, i);
}

/* Which sockets A has now; a flow's is known by the other end's port. What belongs to none is closed. */
static void look_at_a(void)
{
	for (unsigned k = 0; k < FLOWS; k++) {
		struct fn_sock *was = flow[k].a;

		flow[k].a = NULL;
		for (uint32_t i = 1; flow[k].b && i < A.st->tcp_pool.made; i++)
			if (is_held(sock_at(i)) && sock_at(i)->remote.port == flow[k].b->local.port)
				flow[k].a = sock_at(i);
		if (flow[k].a && flow[k].a != was) {
			flow[k].wrote0 = tp_of(&flow[k])->write_seq;
			flow[k].read0 = tp_of(&flow[k])->copied_seq;
		}
	}
	for (uint32_t i = 1; i < A.st->tcp_pool.made; i++) {
		bool known = !is_held(sock_at(i));

		for (unsigned k = 0; k < FLOWS; k++)
			known |= flow[k].a == sock_at(i);
		if (!known)
			fn_sock_close(sock_at(i));
	}
}

static void put_right(void)
{
	fn_stack_recover(A.st);
	for (uint32_t i = 1; i < A.st->tcp_pool.made; i++)
		if (sock_at(i)->kind && sock_at(i)->user && !sock_at(i)->images)
			fn_sock_close(sock_at(i));
}

static void recover_call(void *arg)
{
	fn_stack_recover(A.st);
}

/* The other image runs: what B shares with the first one is not there. And the first one again. */
static void run_as(uint64_t bit)
{
	int prot = bit == 1 ? PROT_READ | PROT_WRITE : PROT_NONE;

	image = bit;
	mprotect(A.ring, fn_ring_size(SLOTS), prot);
	mprotect(B.ring, fn_ring_size(SLOTS), prot);
	mprotect(B.payload, payload, prot);
	if (A.copies) {
		mprotect(A.copies, COPIES, prot);
		mprotect(B.copies, COPIES, prot);
	}
}

static void sleep_once(void *arg)
{
	fn_stack_poll(A.st, now);
	fn_shm_arm(A.nic);
	cr_assert_not(A.nic->ops->rx_pending(A.nic));
	fn_shm_disarm(A.nic);
	fn_shm_run_on(A.nic, draw(4));
	cr_assert_not(fn_shm_beside(A.nic));
}

/* What it had of the first one's it closes, as after that one's death. */
static void other_drives(void)
{
	struct flow *f = &flow[draw(FLOWS)];

	run_as(2);
	put_right();
	look_at_a();
	for (unsigned n = draw(6); n; n--) {
		bool closes = !draw(8) && f->a && f->a->tcp_state == FN_TCP_ESTABLISHED;

		A.st->holder = 2;
		A.st->busy = NULL;
		if (dies(closes ? a_close : sleep_once, f, 1 + (long)draw(draw(4) ? 100 : 1000)))
			put_right();
		look_at_a();
		now += draw(20) ? 0 : 300 * FN_MSEC;	/* something is due */
	}
	run_as(1);
}

/* What the next holder of the lock does. */
static void inherit(void)
{
	if (family && draw(2))
		other_drives();
	else
		put_right();
}

static void (*const calls[])(void *arg) = { a_poll, a_poll, a_poll, a_write, a_write, a_read, a_read, a_accept, a_close };

static bool one_call(long after, bool closes)
{
	struct flow *f = &flow[draw(FLOWS)];
	unsigned i = draw(closes && !draw(8) ? 9 : 8);

	if (i > 2 && i != 7 && (!f->a || f->a->tcp_state != FN_TCP_ESTABLISHED))
		i = 0;
	A.st->holder = 1;
	A.st->busy = NULL;
	if (!dies(calls[i], f, after))
		return false;
	while (!draw(4) && dies(recover_call, NULL, 1 + (long)draw(3000)))	/* and the next one */
		;
	inherit();
	return true;
}

static void turn(void)
{
	for (unsigned i = 0; i < FLOWS; i++)
		b_serve(i);
	fn_stack_poll(B.st, now);
	look_at_a();
	now += draw(3) * 100000;
}

static void idle(uint64_t ns)
{
	for (uint64_t end = now + ns; now < end; now += ns / 1000)
		for (unsigned i = 0; i < 4; i++) {
			fn_stack_poll(A.st, now);
			fn_stack_poll(B.st, now);
		}
}

/* Every connection there is carries bytes both ways. */
static void all_go_on(void)
{
	uint32_t got[FLOWS], taken[FLOWS];

	/* a SYN that was lost is sent again after a second, and twice as long each time */
	for (unsigned n = 0; n < 1000; n++, now += (family ? 40 : 1) * FN_MSEC) {
		one_call(0x7fffffff, false);
		turn();
	}
	for (unsigned i = 0; i < FLOWS; i++) {
		cr_assert(flow[i].a && flow[i].b, "flow %u: %d %d", i, !!flow[i].a, !!flow[i].b);
		got[i] = flow[i].got;
		taken[i] = tp_of(&flow[i])->copied_seq;
	}
	for (unsigned n = 0; n < 2000; n++, now += FN_MSEC) {
		one_call(0x7fffffff, false);
		turn();
	}
	for (unsigned i = 0; i < FLOWS; i++) {
		cr_assert_neq(flow[i].got, got[i], "flow %u", i);
		cr_assert_neq(tp_of(&flow[i])->copied_seq, taken[i], "flow %u", i);
	}
}

static void nothing_is_left(struct side *s, const char *who)
{
	cr_expect_eq(s->st->tcp_pool.used, 0, "%s: %u connections", who, s->st->tcp_pool.used);
	cr_expect_eq(fn_shm_outstanding(s->nic), 0, "%s: %u buffers", who, fn_shm_outstanding(s->nic));
	cr_expect_eq(fn_shm_lent(s->nic, s->peer), 0, "%s: %u lent", who, fn_shm_lent(s->nic, s->peer));
	cr_expect_eq(peer_at(shm_of(s->nic), (unsigned)s->peer)->held, 0, "%s holds", who);
	cr_expect(!fn_shm_broken(s->nic, s->peer), "%s", who);
	cr_expect_eq(s->nic->stats.rx_errors, 0, "%s: %u errors", who, (unsigned)s->nic->stats.rx_errors);
}

/* Every buffer that there is can be had, and is nobody else's. */
static void all_can_be_had(struct side *s, const char *who)
{
	static struct fn_pkt *all[PLENTY / FN_SHM_BUF];
	const struct shm *shm = shm_of(s->nic);
	unsigned n = 0, want = payload / FN_SHM_BUF - 1;	/* the first one tells of the others */

	for (unsigned i = 0; i < fn_array_size(shm->table); i++)
		want -= !!shm->table[i];
	for (; n < fn_array_size(all) && (all[n] = fn_shm_alloc(s->nic)); n++)
		memset(all[n]->data, (int)n, FN_SHM_BUF - FN_PKT_HEADROOM);
	cr_expect_eq(n, want, "%s: %u buffers of %u", who, n, want);
	while (n--) {
		cr_assert_eq(all[n]->data[0], (uint8_t)n, "%s: buffer %u is another's too", who, n);
		fn_pkt_free(all[n]);
	}
}

static void begin(bool strangers)
{
	struct fn_ep at = { .port = PORT };

	make(&A, strangers);
	make(&B, strangers);
	sides_meet(&A, &B);
	listener = fn_sock_open(A.st, FN_SOCK_TCP, &user[FLOWS]);
	listener->images = 1;
	cr_assert(!fn_sock_bind(listener, &at) && !fn_tcp_listen(listener, 64));
}

static void run(uint64_t seed, bool strangers, bool shared)
{
	unsigned died = 0;

	rng = seed;
	family = shared;
	death_init();
	begin(strangers);
	for (unsigned n = 0; n < DEATHS; n++) {
		turn();
		died += one_call(1 + (long)draw(draw(4) ? 100 : 1000), true);
		look_at_a();
	}
	cr_assert_geq(died, DEATHS / 4, "%u deaths", died);
	all_go_on();
	for (unsigned i = 0; i < FLOWS; i++)
		if (flow[i].b)
			fn_sock_close(flow[i].b);
	memset(flow, 0, sizeof(flow));
	look_at_a();
	idle(FN_NSEC);
	look_at_a();
	fn_sock_close(listener);
	idle(400 * FN_NSEC);
	nothing_is_left(&A, "A");
	nothing_is_left(&B, "B");
	all_can_be_had(&A, "A");
	all_can_be_had(&B, "B");
}

Test(shm_recover, killed_at_any_instruction, .timeout = 120)
{
	run(1, false, false);
}

Test(shm_recover, killed_beside_another_user, .timeout = 120)
{
	run(2, true, false);
}

Test(shm_recover, killed_and_found_by_an_image_without_the_peer, .timeout = 120)
{
	run(3, false, true);
}

Test(shm_recover, killed_and_found_by_an_image_without_the_stranger, .timeout = 120)
{
	run(4, true, true);
}

Test(shm_recover, killed_with_large_buffers, .timeout = 120)
{
	chunk = FLOW_CHUNK;
	run(5, false, false);
}

Test(shm_recover, killed_with_large_buffers_that_are_broken_up, .timeout = 120)
{
	chunk = FLOW_CHUNK;
	payload = SCARCE;
	run(6, false, false);
}

/* ---- a large buffer is broken up ---- */

static void alloc_one(void *unused)
{
	fn_shm_alloc(A.nic);
}

/* What a survivor reads: from note to note, and the last one ends where the buffers do. None of them tells of a text. */
static void notes_are_right(void)
{
	const struct shm *s = shm_of(A.nic);
	struct fn_note note;
	uint32_t i;

	for (i = 1; i < s->made; i += fn_max((uint32_t)note.units, 1u)) {
		memcpy(&note, A.payload + (size_t)i * FN_SHM_BUF, sizeof(note));
		cr_assert(!note.text.len && note.units <= LARGE, "buffer %u of %u: %u bytes, %u units", i, s->made, note.text.len, note.units);
	}
	cr_assert_eq(i, s->made);
}

Test(shm_recover, killed_while_a_large_buffer_is_broken_up)
{
	struct fn_pkt *all[PLENTY / FN_SHM_BUF / LARGE];
	unsigned large = 0, died = 0, broken = 0;
	const struct shm *s;

	rng = 5;
	payload = PLENTY;
	death_init();
	make(&A, false);
	s = shm_of(A.nic);
	while ((all[large] = fn_shm_alloc_large(A.nic)))
		memset(all[large++]->data, 0xff, LARGE_PAYLOAD);	/* what a program writes looks like anything */
	while (large)
		fn_pkt_free(all[--large]);
	for (unsigned n = 0; n < 300; n++) {
		const struct txbuf *first;

		while (s->free_tx || s->made < s->bufs)
			fn_shm_alloc(A.nic);
		first = s->free_large;
		cr_assert_not_null(first);
		died += dies(alloc_one, NULL, 1 + n % 30);
		notes_are_right();
		fn_stack_recover(A.st);
		broken += first->units == 1;
		cr_assert_eq(fn_shm_outstanding(A.nic), 0);
	}
	cr_expect_geq(died, 100, "%u deaths", died);
	cr_expect(broken > 30 && broken < 300, "%u broken up", broken);
	notes_are_right();
	all_can_be_had(&A, "A");
}

/* ---- what is made once only ---- */

static void end(struct side *s)
{
	munmap(s->arena, ARENA);
	munmap(s->payload, payload);
	if (s->copies)
		munmap(s->copies, COPIES);
	munmap(s->ring, fn_ring_size(SLOTS));
}

/* Block by block: A dies of the first packet that ever came from B; the connection comes about all the same. */
Test(shm_recover, killed_with_the_first_packet, .timeout = 120)
{
	bool died = true;

	rng = 7;
	death_init();
	for (long after = 1; died; after++) {
		memset(flow, 0, sizeof(flow));
		begin(false);
		b_serve(0);
		fn_stack_poll(B.st, now);
		died = dies(a_poll, NULL, after);
		if (died)
			put_right();
		for (unsigned n = 0; n < 3000 && !flow[0].a; n++, now += FN_MSEC) {
			fn_stack_poll(A.st, now);
			fn_stack_poll(B.st, now);
			a_accept(NULL);
			look_at_a();
		}
		cr_assert(flow[0].a, "block %ld", after);
		end(&A);
		end(&B);
	}
}
