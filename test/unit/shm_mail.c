/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * A group: A connects, B and C accept from one listener. A connection is complete before anybody looks; whoever accepts has
 * it, with what was sent meanwhile, whether A lives or not; what one of them has not claimed is the other's.
 */
#include <criterion/criterion.h>
#include <errno.h>
#include <poll.h>
#include <stdio.h>
#include <sys/mman.h>
#include <sys/socket.h>

#include "shm_fixture.h"
#include "stack/shm_page.h"

#define PORT		fn_be16(8080)
#define PAYLOAD		(1u << 20)
#define SLOTS		256u
#define WORKERS		2

struct process {
	struct fn_arena *arena;
	struct fn_stack *st;
	struct fn_nic *nic;
	uint8_t *payload;
	struct fn_sock *listener;
	int client;		/* A's number here */
	int number;		/* its own at A; 0: not introduced */
	void *ring[2];
	unsigned told;		/* of offers */
};

static struct process A, W[WORKERS];
static struct fn_page *page;
static int group;
static uint64_t now = 1000 * FN_NSEC;
static unsigned introductions;
static bool deaf;		/* A cannot read who has come */

static void on_ready(void *ctx, struct fn_sock *sk, unsigned ev)
{
}

static void on_offer(void *ctx, int number)
{
	((struct process *)ctx)->told++;
}

static void introduce(struct process *w)
{
	struct fn_shm_pair pair = { .tx = w->ring[1], .rx = w->ring[0], .tx_slots = SLOTS, .rx_slots = SLOTS,
		.payload = w->payload, .payload_len = PAYLOAD };

	if (w->number)
		return;
	w->number = fn_shm_peer_add(A.nic, &pair);
	cr_assert_gt(w->number, 0);
	fn_shm_group_join(A.nic, w->number, group, (uint32_t)(w - W) + 1);
}

/* A reads only now who has come: as late as can be. */
static void on_introduce(void *ctx, int number)
{
	introductions++;
	cr_assert_eq(number, group);
	for (unsigned i = 0; i < WORKERS && !deaf; i++)
		introduce(&W[i]);
}

static bool on_deaf(void *ctx, int number)
{
	cr_assert_eq(number, group);
	return deaf;
}

static void on_moved(void *ctx, const struct fn_ep *local, const struct fn_ep *remote, int number)
{
	fn_tcp_peer_moved(A.st, local, remote, (uint16_t)number);
}

static void make(struct process *s, unsigned seed)
{
	static const struct fn_stack_ops ops = { .ready = on_ready };
	struct fn_shm_conf conf = { .payload_len = PAYLOAD, .offered = on_offer, .introduce = on_introduce, .deaf = on_deaf,
		.moved = on_moved, .ctx = s };
	struct fn_stack_conf sc;

	fn_stack_conf_init(&sc);
	sc.seed[0] = (uint8_t)seed;
	s->arena = test_arena(16u << 20);
	s->st = fn_stack_create(s->arena, &sc, &ops, NULL, now);
	cr_assert_not_null(s->st);
	conf.payload = s->payload = aligned_alloc(4096, PAYLOAD);
	s->nic = fn_shm_create(s->arena, &conf);
	cr_assert_eq(fn_stack_add_nic(s->st, s->nic), 0);
	for (unsigned i = 0; i < 2; i++) {
		s->ring[i] = aligned_alloc(64, fn_ring_size(SLOTS));
		memset(s->ring[i], 0, fn_ring_size(SLOTS));
	}
}

/* w has found A's page. */
static void attach(struct process *w)
{
	struct fn_shm_pair pair = { .tx = w->ring[0], .rx = w->ring[1], .tx_slots = SLOTS, .rx_slots = SLOTS, .payload = A.payload,
		.payload_len = PAYLOAD };
	struct fn_ep ep = { .ip4 = LOOPBACK, .port = PORT };

	w->client = fn_shm_peer_add(w->nic, &pair);
	cr_assert_gt(w->client, 0);
	fn_shm_offers(w->nic, w->client, page);
	atomic_fetch_add(&page->joined, 1);
	w->listener = fn_sock_open(w->st, FN_SOCK_TCP, w);
	cr_assert(!fn_sock_bind(w->listener, &ep) && !fn_tcp_listen(w->listener, 16));
}

static void setup_backlog(unsigned backlog)
{
	make(&A, 1);
	page = mmap(NULL, FN_PAGE_SIZE, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
	cr_assert_neq(page, MAP_FAILED);
	group = fn_shm_group_add(A.nic, page, backlog);
	cr_assert_gt(group, 0);
	for (unsigned i = 0; i < WORKERS; i++)
		make(&W[i], 2 + i);
}

static void setup(void)
{
	setup_backlog(100);
}

static void drop(struct process *s)
{
	free(s->arena);
	free(s->payload);
	free(s->ring[0]);
	free(s->ring[1]);
}

static void teardown(void)
{
	drop(&A);
	for (unsigned i = 0; i < WORKERS; i++)
		drop(&W[i]);
	munmap(page, FN_PAGE_SIZE);
}

TestSuite(shm_mail, .init = setup, .fini = teardown);

static void poll_one(struct process *s)
{
	for (unsigned i = 0; i < 4; i++)
		fn_stack_poll(s->st, now += 1000);
}

static void poll_all(void)
{
	for (unsigned i = 0; i < 8; i++) {
		fn_stack_poll(A.st, now += 1000);
		for (unsigned k = 0; k < WORKERS; k++)
			fn_stack_poll(W[k].st, now);
	}
}

static struct fn_sock *connect_a(void)
{
	struct fn_sock *sk = fn_sock_open(A.st, FN_SOCK_TCP, &A);
	struct fn_ep ep = { .ip4 = LOOPBACK, .port = PORT, .peer = (uint16_t)group };

	cr_assert_eq(fn_sock_connect(sk, &ep), -EINPROGRESS);
	poll_one(&A);
	return sk;
}

static struct fn_sock *accept_by(struct process *w)
{
	struct fn_offer o;
	int ret = fn_shm_claim(w->nic, w->client, 0, (uint32_t)(w - W) + 1, &o);

	if (ret)
		return NULL;
	cr_assert_eq(fn_tcp_claim(w->listener, &o), 0);
	return fn_tcp_accept(w->listener, w);
}

static void expect(struct fn_sock *sk, const char *text)
{
	char buf[100] = "";

	cr_expect_eq(get(sk, buf, sizeof(buf) - 1), (ssize_t)strlen(text), "wanted %s", text);
	cr_expect_str_eq(buf, text);
}

static void nothing_left(struct process *s)
{
	now += 300 * FN_NSEC;
	poll_all();
	cr_expect_eq(s->st->tcp_pool.used, 0);
	cr_expect_eq(fn_shm_outstanding(s->nic), 0);
}

Test(shm_mail, complete_before_anybody_is_there)
{
	struct fn_sock *a = connect_a(), *b;

	cr_assert_eq(a->tcp_state, FN_TCP_ESTABLISHED);
	cr_assert_eq(give(a, "early", 5), 5);
	poll_one(&A);
	cr_expect_eq(fn_tcp_outq(a), 0, "acknowledged");
	attach(&W[0]);
	poll_one(&W[0]);
	cr_expect_eq(W[0].told, 1);
	b = accept_by(&W[0]);
	cr_assert_not_null(b);
	cr_expect_eq(b->remote.port, a->local.port);
	expect(b, "early");
	cr_assert_eq(give(b, "answer", 6), 6);
	poll_all();
	cr_expect_gt(introductions, 0);
	expect(a, "answer");
	cr_expect_eq(a->remote.peer, W[0].number);
	give(a, "more", 4);
	poll_all();
	expect(b, "more");
	fn_sock_close(a);
	poll_all();
	cr_expect_eq(get(b, &(char){ 0 }, 1), 0);
	fn_sock_close(b);
	fn_sock_close(W[0].listener);
	nothing_left(&A);
	nothing_left(&W[0]);
}

/* connect() puts the SYN into the page and has its answer: no packet, no round. Who waits for it is rung. */
Test(shm_mail, opened_by_a_word_in_the_page)
{
	struct fn_sock *a = fn_sock_open(A.st, FN_SOCK_TCP, &A), *b;
	struct fn_ep ep = { .ip4 = LOOPBACK, .port = PORT, .peer = (uint16_t)group };

	attach(&W[0]);
	introduce(&W[0]);
	cr_assert(fn_shm_arm(W[0].nic));
	cr_assert_eq(fn_sock_connect(a, &ep), -EINPROGRESS);
	cr_expect_eq(a->tcp_state, FN_TCP_ESTABLISHED);
	cr_expect_eq(A.nic->txq_len, 0);
	cr_expect_eq(A.nic->stats.tx_packets, 0);
	cr_expect_eq(fn_shm_bell(A.nic), W[0].number);
	b = accept_by(&W[0]);
	cr_assert_not_null(b);
	cr_assert_eq(give(b, "first", 5), 5);
	poll_all();
	expect(a, "first");
	cr_assert_eq(give(a, "second", 6), 6);
	poll_all();
	expect(b, "second");
}

/* What nobody will take can go another way: nobody claims it then. What has grown meanwhile, or is claimed, is not taken back. */
Test(shm_mail, taken_back)
{
	struct fn_sock *a = connect_a(), *b;
	struct fn_shm_offer o = { 0 }, old;

	attach(&W[0]);
	cr_assert_eq(give(a, "early", 5), 5);
	poll_one(&A);
	cr_assert(fn_shm_offer_from(A.nic, group, 0, &old));
	cr_expect(old.local.port == a->local.port && old.remote.port == PORT && old.remote.ip4 == LOOPBACK);
	cr_expect_not(fn_shm_offer_from(A.nic, group, old.slot + 1, &o));
	cr_assert_eq(give(a, "late", 4), 4);
	fn_sock_shutdown(a, FN_SHUT_WR);
	poll_one(&A);
	cr_expect_not(fn_shm_take_back(A.nic, group, &old));
	cr_assert(fn_shm_offer_from(A.nic, group, 0, &o));
	cr_expect(o.len == 9 && !memcmp(o.text, "earlylate", 9) && o.fin && !o.rst && !o.urg);
	cr_assert(fn_shm_take_back(A.nic, group, &o));
	cr_expect_null(accept_by(&W[0]));
	cr_expect_not(fn_shm_offering(A.nic, group));
	b = connect_a();
	cr_assert(fn_shm_offer_from(A.nic, group, 0, &o));
	cr_assert_not_null(accept_by(&W[0]));
	cr_expect_not(fn_shm_take_back(A.nic, group, &o));
	poll_all();
	cr_expect_eq(b->remote.peer, W[0].number);
	cr_expect_not(fn_shm_offer_from(A.nic, group, 0, &o));
}

struct collected {
	uint8_t text[1u << 20];
	size_t len;
};

static bool collect(void *ctx, const uint8_t *data, uint32_t len)
{
	struct collected *c = ctx;

	memcpy(c->text + c->len, data, len);
	c->len += len;
	return true;
}

/* What had no room in the page is known as well. */
Test(shm_mail, all_that_was_written_is_known)
{
	static struct collected c;
	struct fn_sock *a = connect_a();
	struct fn_shm_offer o = { 0 };
	uint8_t piece[1000];
	size_t n = 0;
	ssize_t ret;

	do {
		for (size_t i = 0; i < sizeof(piece); i++)
			piece[i] = (uint8_t)((n + i) * 7 >> 3);
		ret = give(a, piece, sizeof(piece));
		n += ret > 0 ? (size_t)ret : 0;
		poll_one(&A);
	} while (ret > 0);
	cr_assert(fn_shm_offer_from(A.nic, group, 0, &o));
	cr_assert_gt(n, o.len, "more than the page takes");
	collect(&c, o.text, o.len);
	cr_expect(fn_tcp_text_from(a, o.next, collect, &c));
	cr_assert_eq(c.len, n);
	for (size_t i = 0; i < n; i++)
		cr_assert_eq(c.text[i], (uint8_t)(i * 7 >> 3));
}

/* A claimer of whom nothing can be heard (no descriptors are left) is waited for: the connection is not lost. */
Test(shm_mail, one_who_cannot_be_heard_yet_is_waited_for)
{
	struct fn_sock *a, *b;

	deaf = true;
	attach(&W[0]);
	a = connect_a();
	cr_assert_eq(give(a, "first", 5), 5);
	poll_one(&A);
	b = accept_by(&W[0]);
	cr_assert_not_null(b);
	cr_assert_eq(give(b, "second", 6), 6);
	cr_assert_eq(give(a, "third", 5), 5);
	poll_all();
	cr_assert_eq(a->tcp_state, FN_TCP_ESTABLISHED);
	cr_assert_eq(a->remote.peer, group);
	cr_assert_gt(introductions, 0);
	deaf = false;
	introduce(&W[0]);
	poll_all();
	cr_assert_eq(a->remote.peer, W[0].number);
	expect(a, "second");
	expect(b, "first");
	now += FN_NSEC;		/* what was written meanwhile is sent again */
	poll_all();
	expect(b, "third");
}

/* The end of the one before has left when the next one is offered: whoever claims that finds the port free. */
Test(shm_mail, what_was_staged_leaves_before_the_next_is_offered)
{
	struct fn_ep ep = { .ip4 = LOOPBACK, .port = PORT, .peer = (uint16_t)group };
	struct fn_sock *a, *b;

	attach(&W[0]);
	a = connect_a();
	b = accept_by(&W[0]);
	poll_all();
	cr_assert_eq(a->remote.peer, W[0].number);
	fn_sock_close(a);
	cr_assert_gt(A.nic->txq_len, 0, "its FIN is staged");
	cr_assert_eq(fn_sock_connect(fn_sock_open(A.st, FN_SOCK_TCP, &A), &ep), -EINPROGRESS);
	cr_expect_eq(A.nic->txq_len, 0);
	cr_expect_not(fn_shm_drained(W[0].nic, W[0].client));
	fn_stack_poll(W[0].st, now);
	cr_expect_eq(b->tcp_state, FN_TCP_CLOSE_WAIT);
	cr_expect_not_null(accept_by(&W[0]));
}

/* One accepts, the other is there and does nothing: nobody waits for it, and each connection is somebody's once. */
Test(shm_mail, whoever_accepts_has_the_next_one)
{
	struct fn_sock *a[30], *b;
	unsigned n[WORKERS] = { 0 };

	attach(&W[0]);
	attach(&W[1]);
	for (unsigned i = 0; i < 30; i++) {
		char text[16];

		a[i] = connect_a();
		cr_assert_eq(a[i]->tcp_state, FN_TCP_ESTABLISHED);
		give(a[i], text, (size_t)sprintf(text, "I am %u", i));
		poll_one(&A);
	}
	for (unsigned i = 0; i < 30; i++) {
		char text[16];
		unsigned by = i % 3 == 0;

		sprintf(text, "I am %u", i);
		b = accept_by(&W[by]);
		cr_assert_not_null(b, "%u", i);
		expect(b, text);	/* in the order in which they came */
		give(b, text, strlen(text));
		poll_all();
		expect(a[i], text);
		cr_expect_eq(a[i]->remote.peer, W[by].number);
		n[by]++;
	}
	cr_expect_null(accept_by(&W[0]));
	cr_expect_null(accept_by(&W[1]));
	cr_expect_eq(n[0], 20);
}

/* A dies: the bytes and the end of file are there, and the number is nobody's until they have been read. */
Test(shm_mail, what_a_dead_client_left_is_accepted)
{
	struct fn_sock *a = connect_a(), *b, *c;

	give(a, "last words", 10);
	fn_sock_close(a);
	poll_one(&A);
	a = connect_a();
	give(a, "and these", 9);
	fn_stack_flush(A.st);
	attach(&W[0]);
	fn_shm_peer_dead(W[0].nic, W[0].client);
	b = accept_by(&W[0]);
	cr_assert_not_null(b);
	expect(b, "last words");
	cr_expect_eq(get(b, &(char){ 0 }, 1), 0);
	c = accept_by(&W[0]);
	cr_assert_not_null(c);
	fn_tcp_conn_gone(c);
	expect(c, "and these");
	cr_expect_eq(get(c, &(char){ 0 }, 1), 0);
	fn_sock_close(b);
	fn_sock_close(c);
	fn_sock_close(W[0].listener);
	for (unsigned i = 0; i < 8; i++)
		fn_stack_poll(W[0].st, now += 1000);
	cr_expect_eq(W[0].st->tcp_pool.used, 0);
	cr_expect_eq(fn_shm_outstanding(W[0].nic), 0);
}

Test(shm_mail, what_a_dead_worker_had_claimed_ends_and_the_rest_is_the_other_s)
{
	struct fn_sock *a[3], *b;

	attach(&W[0]);
	attach(&W[1]);
	for (unsigned i = 0; i < 3; i++)
		a[i] = connect_a();
	cr_assert_not_null(accept_by(&W[0]));
	/* A has not looked since */
	introduce(&W[0]);
	introduce(&W[1]);
	fn_shm_peer_dead(A.nic, W[0].number);
	fn_tcp_peer_gone(A.st, (uint16_t)W[0].number);
	poll_one(&A);
	cr_expect_eq(get(a[0], &(char){ 0 }, 1), 0);
	for (unsigned i = 1; i < 3; i++) {
		b = accept_by(&W[1]);
		cr_assert_not_null(b);
		give(b, "served", 6);
		poll_all();
		expect(a[i], "served");
	}
}

Test(shm_mail, the_last_one_ends_and_who_waits_is_reset)
{
	struct fn_sock *a = connect_a();

	fn_shm_peer_dead(A.nic, group);
	poll_one(&A);
	cr_expect_eq(fn_sock_take_error(a), ECONNRESET);
	fn_sock_close(a);
	cr_expect(fn_shm_peer_del(A.nic, group));
	nothing_left(&A);
}

/* FIN_WAIT2 after close(): the other end's FIN is awaited, and is not answered with a reset. Nothing waits after it. */
Test(shm_mail, who_closed_first_hears_the_other_end)
{
	struct fn_sock *a = connect_a(), *b;

	attach(&W[0]);
	b = accept_by(&W[0]);
	cr_assert_not_null(b);
	poll_all();
	fn_sock_close(a);
	poll_all();
	now += FN_NSEC;
	poll_all();
	cr_expect_eq(get(b, &(char){ 0 }, 1), 0);
	cr_expect_eq(A.st->tcp->tw_pool.used, 1);
	cr_expect_eq(fn_sock_shutdown(b, FN_SHUT_WR), 0);
	poll_all();
	cr_expect_eq(fn_sock_take_error(b), 0);
	cr_expect_eq(W[0].st->stats.tcp_rst_in, 0);
	cr_expect_eq(A.st->tcp->tw_pool.used, 0);
	fn_sock_close(b);
	fn_sock_close(W[0].listener);
	nothing_left(&A);
	nothing_left(&W[0]);
}

/* Whoever closes when he has read the end answers it with his own. */
Test(shm_mail, the_end_is_answered_by_one_packet)
{
	struct fn_sock *a = connect_a(), *b;
	uint64_t before;

	attach(&W[0]);
	b = accept_by(&W[0]);
	cr_assert_not_null(b);
	poll_all();
	before = A.nic->stats.rx_packets;
	fn_sock_close(a);
	poll_all();
	cr_expect_eq(get(b, &(char){ 0 }, 1), 0);
	fn_sock_close(b);
	poll_all();
	cr_expect_eq(A.nic->stats.rx_packets, before + 1);
	cr_expect_eq(A.st->tcp->tw_pool.used, 0);
	cr_expect_eq(A.st->tcp_pool.used, 0);
}

/* The same process accepts from the next one, under the same id, by another channel: the number of the group is the same. */
Test(shm_mail, another_group_has_the_number_and_other_peers)
{
	int before = group;
	struct fn_sock *a;

	attach(&W[0]);
	introduce(&W[0]);
	fn_shm_peer_dead(A.nic, group);
	poll_one(&A);
	cr_expect(fn_shm_peer_del(A.nic, group));
	memset(page, 0, sizeof(*page));
	group = fn_shm_group_add(A.nic, page, 100);
	cr_assert_eq(group, before);
	attach(&W[1]);
	a = connect_a();
	cr_assert_eq(fn_shm_claim(W[1].nic, W[1].client, 0, 1, &(struct fn_offer){ 0 }), 0);
	introduce(&W[1]);
	fn_shm_group_join(A.nic, W[1].number, group, 1);
	poll_one(&A);
	cr_expect_eq(a->remote.peer, W[1].number);
	fn_sock_close(a);
}

Test(shm_mail, a_full_backlog_holds_up_the_next_and_loses_nobody)
{
	struct fn_sock *a[4], *b;

	teardown();
	setup_backlog(2);
	attach(&W[0]);
	for (unsigned i = 0; i < 4; i++)
		a[i] = connect_a();
	cr_expect_eq(a[2]->tcp_state, FN_TCP_ESTABLISHED, "one more than the backlog, as Linux");
	cr_expect_eq(a[3]->tcp_state, FN_TCP_SYN_SENT);
	for (unsigned i = 0; i < 4; i++) {
		b = accept_by(&W[0]);
		cr_assert_not_null(b, "%u", i);
		now += 4 * FN_NSEC;	/* the SYN comes again */
		poll_all();
		cr_expect_eq(b->remote.port, a[i]->local.port);
	}
	cr_expect_eq(a[3]->tcp_state, FN_TCP_ESTABLISHED);
}

/* Many small pieces, and more than fits: what has been acknowledged is all there, the rest follows by the ring. */
Test(shm_mail, more_than_the_page_holds)
{
	static char out[200000], in[200000];
	struct fn_sock *a = connect_a(), *b;
	uint32_t sent = 0, got = 0;
	ssize_t n;

	fn_sock_setopt(a, FN_OPT_NODELAY, 1);
	fn_sock_setopt(a, FN_OPT_SNDBUF, 400000);
	for (unsigned i = 0; i < sizeof(out); i++)
		out[i] = (char)(i * 7 >> 3);
	for (unsigned i = 0; i < 300; i++) {
		n = give(a, out + sent, i < 200 ? 3 : 1000);
		sent += n > 0 ? (uint32_t)n : 0;
		poll_one(&A);
	}
	cr_assert_gt(sent, FN_PAGE_BYTES);
	attach(&W[0]);
	b = accept_by(&W[0]);
	cr_assert_not_null(b);
	for (unsigned i = 0; i < 10000 && got < sent; i++) {
		n = get(b, in + got, sizeof(in) - got);
		got += n > 0 ? (uint32_t)n : 0;
		now += FN_MSEC;
		poll_all();
	}
	cr_assert_eq(got, sent);
	cr_expect_arr_eq(in, out, sent);
}

static ssize_t urgent(struct fn_sock *sk, char c)
{
	struct iovec iov = { &c, 1 };

	return fn_tcp_send(sk, &iov, 1, 0, MSG_OOB);
}

/* Linux: what comes before the accept has its mark, whatever follows it. */
Test(shm_mail, an_urgent_byte_before_the_claim)
{
	struct fn_sock *a, *b;
	char c = 0;
	struct iovec iov = { &c, 1 };

	attach(&W[0]);
	a = connect_a();
	give(a, "ab", 2);
	cr_assert_eq(urgent(a, '!'), 1);
	give(a, "cd", 2);
	poll_one(&A);
	b = accept_by(&W[0]);
	cr_assert_not_null(b);
	cr_expect(fn_sock_poll(b) & POLLPRI);
	cr_expect_eq(fn_tcp_recv(b, &iov, 1, 0, MSG_OOB, NULL), 1);
	cr_expect_eq(c, '!');
	expect(b, "ab");
	expect(b, "cd");
}

/* Linux: urgent bytes at the beginning that nobody can have read are not read as others, but for the last one's mark. */
Test(shm_mail, urgent_bytes_before_the_claim)
{
	static const char *const sent[] = { "!!", "!!!", "!a!", "a!!", "!!a!" }, *const read[] = { "", "", "a", "a!", "a" };

	attach(&W[0]);
	introduce(&W[0]);
	for (unsigned i = 0; i < fn_array_size(sent); i++)
		for (int in_line = 0; in_line < 2; in_line++) {
			struct fn_sock *a, *b;
			char buf[8] = "", urg;
			struct iovec iov = { &urg, 1 };

			fn_sock_setopt(W[0].listener, FN_OPT_OOBINLINE, in_line);
			a = connect_a();
			for (const char *c = sent[i]; *c; c++)
				cr_assert_eq(*c == '!' ? urgent(a, '!') : fn_tcp_send(a, &(struct iovec){ (char *)c, 1 }, 1, 0, 0), 1);
			poll_one(&A);
			b = accept_by(&W[0]);
			cr_assert_not_null(b);
			if (!in_line)
				cr_expect_eq(fn_tcp_recv(b, &iov, 1, 0, MSG_OOB, NULL), 1);
			get(b, buf, sizeof(buf) - 1);
			cr_expect_eq(strlen(buf), in_line ? strlen(sent[i]) - 1 : strlen(read[i]), "%s: %s", sent[i], buf);
		}
}

#define DEFER FN_SEC_NS

/* TCP_DEFER_ACCEPT: what has said nothing is nobody's until its time is over; bytes or an end are something. */
Test(shm_mail, who_wants_words_waits_for_them)
{
	struct fn_sock *a;
	struct fn_offer o;

	attach(&W[0]);
	introduce(&W[0]);
	connect_a();
	poll_one(&W[0]);
	cr_expect_not(fn_shm_offered(W[0].nic, W[0].client, DEFER));
	cr_expect_eq(fn_shm_claim(W[0].nic, W[0].client, DEFER, 1, &o), -EAGAIN);
	cr_expect_leq(fn_shm_deferred(W[0].nic, W[0].client, DEFER), now + DEFER + FN_MSEC);
	cr_expect(fn_shm_offered(W[0].nic, W[0].client, 0), "to others it is");
	a = connect_a();
	poll_one(&W[0]);
	cr_assert(fn_shm_arm(W[0].nic));
	give(a, "word", 4);
	poll_one(&A);
	cr_expect_eq(fn_shm_bell(A.nic), W[0].number, "who waits for it is rung");
	cr_assert(fn_shm_offered(W[0].nic, W[0].client, DEFER));
	cr_assert_eq(fn_shm_claim(W[0].nic, W[0].client, DEFER, 1, &o), 0);
	cr_expect_eq(o.text.head->pkt_len, 4, "the second one");
	cr_assert_eq(fn_tcp_claim(W[0].listener, &o), 0);
	poll_all();
	cr_expect_not(fn_shm_offered(W[0].nic, W[0].client, DEFER));
	fn_sock_shutdown(connect_a(), FN_SHUT_WR);
	poll_one(&A);
	cr_expect(fn_shm_offered(W[0].nic, W[0].client, DEFER));
	cr_assert_eq(fn_shm_claim(W[0].nic, W[0].client, DEFER, 1, &o), 0);
	cr_expect(o.fin);
	cr_assert_eq(fn_tcp_claim(W[0].listener, &o), 0);
	now += DEFER + FN_MSEC;
	poll_all();
	cr_expect(fn_shm_offered(W[0].nic, W[0].client, DEFER), "long enough");
	cr_expect_eq(fn_shm_deferred(W[0].nic, W[0].client, DEFER), FN_NEVER);
}

/* Linux: that is a request still, and a reset ends it. */
Test(shm_mail, a_reset_ends_what_has_said_nothing)
{
	struct fn_sock *a;

	attach(&W[0]);
	introduce(&W[0]);
	for (int words = 0; words < 2; words++) {
		a = connect_a();
		poll_one(&W[0]);
		cr_expect_not(fn_shm_offered(W[0].nic, W[0].client, DEFER));
		if (words)
			give(a, "word", 4);
		fn_sock_setopt(a, FN_OPT_LINGER, 0);
		fn_sock_close(a);
		poll_one(&A);
		now += DEFER + FN_MSEC;
		poll_all();
		cr_expect_eq(fn_shm_offered(W[0].nic, W[0].client, DEFER), words);
		cr_expect_eq(fn_shm_offering(A.nic, group), words);
	}
}

Test(shm_mail, reset_before_it_was_accepted)
{
	struct fn_sock *a = connect_a(), *b;

	give(a, "never mind", 10);
	poll_one(&A);
	fn_sock_setopt(a, FN_OPT_LINGER, 0);
	fn_sock_close(a);
	poll_one(&A);
	attach(&W[0]);
	b = accept_by(&W[0]);
	cr_assert_not_null(b, "as Linux hands it out");
	cr_expect_eq(fn_sock_take_error(b), ECONNRESET);
}
