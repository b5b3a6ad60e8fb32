/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * A process of the fabric that writes what it likes into pages: into its own, from which we accept, and, as one that accepts
 * with us, into ours, in which we offer connections. Whatever it did, when it is gone nothing of it is left, and no buffer is
 * lost.
 */
#include "shm_world.h"
#include "stack/shm_page.h"

#define CONNS		4
#define OUR_ID		7
#define ITS_ID		9

struct world {
	struct shm_world s;
	struct fn_sock *conn[CONNS], *accepted[CONNS];
	int group;
	bool joined;
};

static struct fn_page *page[2];		/* its, in which it offers; ours */
static struct world *world;

static void on_moved(void *ctx, const struct fn_ep *local, const struct fn_ep *remote, int number)
{
	fn_tcp_peer_moved(world->s.st, local, remote, (uint16_t)number);
}

static void on_introduce(void *ctx, int group)
{
	if (!world->joined && world->s.peer > 0)
		fn_shm_group_join(world->s.nic, world->s.peer, group, ITS_ID);
	world->joined = true;
}

static void open_world(struct world *w)
{
	if (!page[0]) {
		page[0] = memory(FN_PAGE_SIZE);
		page[1] = memory(FN_PAGE_SIZE);
	}
	madvise(page[0], FN_PAGE_SIZE, MADV_DONTNEED);
	madvise(page[1], FN_PAGE_SIZE, MADV_DONTNEED);
	world = w;
	shm_world_open(&w->s, (struct fn_shm_conf){ .moved = on_moved, .introduce = on_introduce });
	fn_shm_offers(w->s.nic, w->s.peer, page[0]);
	w->group = fn_shm_group_add(w->s.nic, page[1], 2);
	need(w->group > 0);
}

/* ---- what the liar writes ---- */

/* A slot in which more or less a SYN for our listener lies. */
static void offer(struct fuzz_in *in, uint8_t op)
{
	unsigned i = fuzz_u8(in) % 4 * 150;
	struct fn_page_slot slot = { .src = LOOPBACK, .dst = LOOPBACK, .isn = fuzz_u16(in) };
	struct fn_tcp_hdr th = { .sport = fn_be16(fuzz_u8(in)), .dport = fn_be16(FUZZ_PORT), .seq = fuzz_u16(in),
		.off = FN_TCP_LEN << 2, .flags = FN_TCP_SYN, .win = 0xffff };
	uint64_t state = FN_PAGE_OPEN;

	if (op & 8)
		th.off = fuzz_u8(in);
	if (op & 16)
		th.flags = fuzz_u8(in);
	memcpy(slot.tcp, &th, sizeof(th));
	fuzz_bytes(in, slot.tcp + sizeof(th), fuzz_u8(in) % (FN_PAGE_TCP - sizeof(th) + 1));
	if (op & 32) {
		fuzz_bytes(in, (uint8_t *)&slot, 12);
		fuzz_bytes(in, (uint8_t *)&slot.urg, sizeof(slot.urg));
	}
	page[0]->slot[i] = slot;
	page[0]->ticket[i] = fuzz_u8(in);
	if (op & 64)
		fuzz_bytes(in, (uint8_t *)&state, sizeof(state));
	else
		state |= (uint64_t)fuzz_u16(in) << 48 | (fuzz_u8(in) & 0x70);
	atomic_store(&page[0]->state[i], state);
	atomic_fetch_or(&page[0]->open[i / 64], 1ull << i % 64);
	atomic_fetch_add(&page[0]->posted, 1);
}

/* Anything into the words of either page. */
static void scribble(struct fuzz_in *in, uint8_t op)
{
	uint16_t where = fuzz_u16(in);
	uint8_t *at = (uint8_t *)page[op >> 4 & 1] + where % (offsetof(struct fn_page, slot) - 64);

	fuzz_bytes(in, at, 1 + fuzz_u8(in) % 32);
}

/* It claims one of our connections, or says so. */
static void claim(struct fuzz_in *in, uint8_t op)
{
	struct fn_page_slot slot;
	uint64_t state = 0;
	int i = op & 8 ? fuzz_u8(in) : fn_page_claim(page[1], &(struct fn_page_want){ 0 }, op & 16 ? fuzz_u8(in) : ITS_ID, &slot, &state);

	if (i < 0)
		return;
	atomic_fetch_add(&page[1]->joined, op >> 6 & 1);
	if (op & 8)
		state = FN_PAGE_TAKEN | ITS_ID << 8 | (uint64_t)fuzz_u8(in) << 32;
	if (!(op & 32))
		fn_page_done(page[1], (unsigned)i, state);
}

/* ---- the program ---- */

static struct fn_sock *next(struct world *w)
{
	struct fn_sock *sk = fn_tcp_accept(w->s.listener, w);
	struct fn_offer o;

	if (!sk && fn_shm_offered(w->s.nic, w->s.peer, 0) && !fn_shm_claim(w->s.nic, w->s.peer, 0, OUR_ID, &o))
		fn_tcp_claim(w->s.listener, &o);
	return sk ? sk : fn_tcp_accept(w->s.listener, w);
}

static struct fn_sock *dial(struct world *w)
{
	struct fn_ep to = { LOOPBACK, fn_be16(FUZZ_PEER_PORT), (uint16_t)w->group };
	struct fn_sock *sk = fn_sock_open(w->s.st, FN_SOCK_TCP, w);

	need(sk != NULL);
	fn_sock_connect(sk, &to);
	return sk;
}

static void program(struct world *w, struct fuzz_in *in, uint8_t op)
{
	struct fn_sock **sk = op & 0x40 ? &w->accepted[op >> 4 & 3] : &w->conn[op >> 4 & 3];

	if (!*sk)
		*sk = op & 0x40 ? next(w) : dial(w);
	if (*sk)
		use(in, sk, op);
}

static void step(struct world *w, struct fuzz_in *in)
{
	uint8_t op = fuzz_u8(in);

	switch (op & 3) {
	case 0:
		offer(in, op);
		break;
	case 1:
		program(w, in, op);
		break;
	case 2:
		if (op & 4)
			scribble(in, op);
		else
			claim(in, op);
		break;
	case 3:
		sleep_for(&w->s, op & 4 ? (uint64_t)fuzz_u8(in) * 10 * FN_MSEC : 0);
		break;
	}
	if (!(op & 0x80))
		work(&w->s);
}

/* It is gone, and with it the last one that accepts: nothing of it stays. */
static void close_world(struct world *w)
{
	work(&w->s);
	fn_shm_offers(w->s.nic, w->s.peer, NULL);
	fn_shm_peer_dead(w->s.nic, w->s.peer);
	fn_tcp_peer_gone(w->s.st, (uint16_t)w->s.peer);
	fn_shm_peer_dead(w->s.nic, w->group);
	work(&w->s);
	fn_tcp_peer_gone(w->s.st, (uint16_t)w->group);
	for (unsigned i = 0; i < CONNS; i++) {
		if (w->conn[i])
			fn_sock_close(w->conn[i]);
		if (w->accepted[i])
			fn_sock_close(w->accepted[i]);
	}
	fn_sock_close(w->s.listener);
	sleep_for(&w->s, 200 * FN_NSEC);
	need(!w->s.st->tcp_pool.used && !w->s.st->tcp->req_pool.used);
	need(fn_shm_peer_del(w->s.nic, w->s.peer) && fn_shm_peer_del(w->s.nic, w->group));
	need(!fn_shm_outstanding(w->s.nic));
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	struct fuzz_in in = { data, size };
	struct world w = { 0 };

	open_world(&w);
	while (in.left)
		step(&w, &in);
	close_world(&w);
	return 0;
}
