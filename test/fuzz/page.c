/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * A process of the fabric that writes what it likes into pages: into its own, from which we accept, and, as one that accepts
 * with us, into ours, in which we offer connections. Whatever it did, when it is gone nothing of it is left, and no buffer is
 * lost.
 */
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/socket.h>

#include "fuzz.h"
#include "stack/net.h"
#include "stack/nic_shm.h"
#include "stack/shm_page.h"
#include "stack/tcp.h"

#define ARENA		(16u << 20)
#define PAYLOAD		(64u * FN_SHM_BUF)
#define SLOTS		FN_RING_SLOTS_MIN
#define LOOPBACK	fn_be32(0x7f000001)
#define ROUNDS_MAX	10000
#define CONNS		4
#define OUR_ID		7
#define ITS_ID		9

struct world {
	struct fn_stack *st;
	struct fn_nic *nic;
	struct fn_sock *listener, *conn[CONNS], *accepted[CONNS];
	int peer, group;
	bool joined;
	uint64_t now;
};

static uint8_t *arena, *ours, *theirs, *rings;
static struct fn_page *page[2];		/* its, in which it offers; ours */
static const size_t ring_size = (sizeof(struct fn_ring_shared) + SLOTS * FN_RING_SLOT + 63) & ~(size_t)63;
static struct world *world;

static void need(bool ok)
{
	if (!ok)
		abort();
}

static void on_ready(void *ctx, struct fn_sock *sk, unsigned events)
{
}

static int grow(void *ctx, size_t size)
{
	return size <= ARENA ? 0 : -1;
}

static void on_moved(void *ctx, const struct fn_ep *local, const struct fn_ep *remote, int number)
{
	fn_tcp_peer_moved(world->st, local, remote, (uint16_t)number);
}

static void on_introduce(void *ctx, int group)
{
	if (!world->joined && world->peer > 0)
		fn_shm_group_join(world->nic, world->peer, group, ITS_ID);
	world->joined = true;
}

static void *memory(size_t size)
{
	void *mem = mmap(NULL, size, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);

	need(mem != MAP_FAILED);
	return mem;
}

static void clean_memory(void)
{
	if (!arena) {
		arena = memory(ARENA);
		ours = memory(PAYLOAD);
		theirs = memory(PAYLOAD);
		rings = memory(2 * ring_size);
		page[0] = memory(FN_PAGE_SIZE);
		page[1] = memory(FN_PAGE_SIZE);
	}
	madvise(arena, ARENA, MADV_DONTNEED);
	madvise(page[0], FN_PAGE_SIZE, MADV_DONTNEED);
	madvise(page[1], FN_PAGE_SIZE, MADV_DONTNEED);
	memset(rings, 0, 2 * ring_size);
}

static void open_world(struct world *w)
{
	static const struct fn_stack_ops ops = { .ready = on_ready };
	struct fn_shm_conf conf = { .payload_len = PAYLOAD, .moved = on_moved, .introduce = on_introduce };
	struct fn_shm_pair pair = { .tx_slots = SLOTS, .rx_slots = SLOTS, .payload_len = PAYLOAD };
	struct fn_ep at = { LOOPBACK, fn_be16(FUZZ_PORT), 0 };
	struct fn_stack_conf sc;

	clean_memory();
	world = w;
	w->now = 1000 * FN_NSEC;
	fn_stack_conf_init(&sc);
	w->st = fn_stack_create(fn_arena_init(arena, ARENA, ARENA, grow, NULL), &sc, &ops, NULL, w->now);
	need(w->st != NULL);
	conf.payload = ours;
	w->nic = fn_shm_create(w->st->arena, &conf);
	need(w->nic && !fn_stack_add_nic(w->st, w->nic));
	pair.tx = rings;
	pair.rx = rings + ring_size;
	pair.payload = theirs;
	w->peer = fn_shm_peer_add(w->nic, &pair);
	need(w->peer > 0);
	fn_shm_offers(w->nic, w->peer, page[0]);
	w->group = fn_shm_group_add(w->nic, page[1], 2);
	need(w->group > 0);
	w->listener = fn_sock_open(w->st, FN_SOCK_TCP, w);
	need(!fn_sock_bind(w->listener, &at) && !fn_tcp_listen(w->listener, 4));
}

static void work(struct world *w)
{
	unsigned rounds = 0;

	while (fn_stack_poll(w->st, w->now))
		need(++rounds < ROUNDS_MAX);
	fn_stack_flush(w->st);
	while (fn_shm_bell(w->nic))
		;
}

static void sleep_for(struct world *w, uint64_t ns)
{
	uint64_t until = w->now + ns;
	unsigned rounds = 0;

	while (w->now < until) {
		w->now = fn_min(fn_max(fn_stack_deadline(w->st), w->now + 1), until);
		work(w);
		need(++rounds < ROUNDS_MAX);
	}
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
	if (op & 32)
		fuzz_bytes(in, (uint8_t *)&slot, 12);
	page[0]->slot[i] = slot;
	page[0]->ticket[i] = fuzz_u8(in);
	if (op & 64)
		fuzz_bytes(in, (uint8_t *)&state, sizeof(state));
	else
		state |= (uint64_t)fuzz_u16(in) << 48 | (fuzz_u8(in) & 0x30);
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
	int i = op & 8 ? fuzz_u8(in) : fn_page_claim(page[1], op & 16 ? fuzz_u8(in) : ITS_ID, &slot, &state);

	if (i < 0)
		return;
	atomic_fetch_add(&page[1]->joined, op >> 6 & 1);
	if (op & 8)
		state = FN_PAGE_TAKEN | ITS_ID << 8 | (uint64_t)fuzz_u8(in) << 32;
	if (!(op & 32))
		fn_page_done(page[1], (unsigned)i, state);
}

/* ---- the program ---- */

static void transfer(struct fuzz_in *in, struct fn_sock *sk)
{
	static uint8_t data[20000];
	struct iovec iov = { data, fuzz_u16(in) % sizeof(data) };

	if (fuzz_u8(in) & 1)
		fn_tcp_send(sk, &iov, 1, 0, 0);
	else
		fn_tcp_recv(sk, &iov, 1, 0, 0, NULL);
}

static struct fn_sock *next(struct world *w)
{
	struct fn_sock *sk = fn_tcp_accept(w->listener, w);
	struct fn_offer o;

	if (!sk && fn_shm_offered(w->nic, w->peer) && !fn_shm_claim(w->nic, w->peer, OUR_ID, &o))
		fn_tcp_claim(w->listener, &o);
	return sk ? sk : fn_tcp_accept(w->listener, w);
}

static struct fn_sock *dial(struct world *w)
{
	struct fn_ep to = { LOOPBACK, fn_be16(FUZZ_PEER_PORT), (uint16_t)w->group };
	struct fn_sock *sk = fn_sock_open(w->st, FN_SOCK_TCP, w);

	need(sk != NULL);
	fn_sock_connect(sk, &to);
	return sk;
}

static void program(struct world *w, struct fuzz_in *in, uint8_t op)
{
	struct fn_sock **sk = op & 0x40 ? &w->accepted[op >> 4 & 3] : &w->conn[op >> 4 & 3];

	if (!*sk)
		*sk = op & 0x40 ? next(w) : dial(w);
	if (!*sk)
		return;
	if (op & 8) {
		fn_sock_close(*sk);
		*sk = NULL;
	} else if (op & 4) {
		fn_sock_shutdown(*sk, FN_SHUT_WR);
	} else {
		transfer(in, *sk);
	}
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
		sleep_for(w, op & 4 ? (uint64_t)fuzz_u8(in) * 10 * FN_MSEC : 0);
		break;
	}
	if (!(op & 0x80))
		work(w);
}

/* It is gone, and with it the last one that accepts: nothing of it stays. */
static void close_world(struct world *w)
{
	work(w);
	fn_shm_offers(w->nic, w->peer, NULL);
	fn_shm_peer_dead(w->nic, w->peer);
	fn_tcp_peer_gone(w->st, (uint16_t)w->peer);
	fn_shm_peer_dead(w->nic, w->group);
	work(w);
	fn_tcp_peer_gone(w->st, (uint16_t)w->group);
	for (unsigned i = 0; i < CONNS; i++) {
		if (w->conn[i])
			fn_sock_close(w->conn[i]);
		if (w->accepted[i])
			fn_sock_close(w->accepted[i]);
	}
	fn_sock_close(w->listener);
	sleep_for(w, 200 * FN_NSEC);
	need(!w->st->tcp_pool.used && !w->st->tcp->req_pool.used);
	need(fn_shm_peer_del(w->nic, w->peer) && fn_shm_peer_del(w->nic, w->group));
	need(!fn_shm_outstanding(w->nic));
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
