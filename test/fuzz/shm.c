/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * A process of the fabric that writes what it likes into its channel: entries with a right mark and anything behind it, bytes
 * in either ring, segments that fit a live connection with places that do not. Whatever it did, when it is gone nothing of
 * it is left, and no buffer is lost.
 */
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/socket.h>

#include "fuzz.h"
#include "stack/net.h"
#include "stack/nic_shm.h"
#include "stack/tcp.h"

#define ARENA		(16u << 20)
#define PAYLOAD		(64u * FN_SHM_BUF)
#define SLOTS		FN_RING_SLOTS_MIN
#define LOOPBACK	fn_be32(0x7f000001)
#define ROUNDS_MAX	10000

struct world {
	struct fn_stack *st;
	struct fn_nic *nic;
	struct fn_sock *listener, *conn, *accepted[4];
	struct fn_ring_tx ring;		/* the liar's end */
	uint8_t *to, *from;		/* rings: what it writes, what it reads */
	int peer;
	uint64_t now;
};

static uint8_t *arena, *ours, *theirs, *rings;
static const size_t ring_size = (sizeof(struct fn_ring_shared) + SLOTS * FN_RING_SLOT + 63) & ~(size_t)63;

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

static void *memory(size_t size)
{
	void *mem = mmap(NULL, size, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);

	need(mem != MAP_FAILED);
	return mem;
}

static void open_world(struct world *w)
{
	static const struct fn_stack_ops ops = { .ready = on_ready };
	struct fn_shm_conf conf = { .payload_len = PAYLOAD };
	struct fn_shm_pair pair = { .tx_slots = SLOTS, .rx_slots = SLOTS, .payload_len = PAYLOAD };
	struct fn_ep at = { LOOPBACK, fn_be16(FUZZ_PORT), 0 }, to = { LOOPBACK, fn_be16(FUZZ_PEER_PORT), 0 };
	struct fn_stack_conf sc;

	if (!arena) {
		arena = memory(ARENA);
		ours = memory(PAYLOAD);
		theirs = memory(PAYLOAD);
		rings = memory(2 * ring_size);
	}
	madvise(arena, ARENA, MADV_DONTNEED);
	memset(rings, 0, 2 * ring_size);
	w->now = 1000 * FN_NSEC;
	fn_stack_conf_init(&sc);
	w->st = fn_stack_create(fn_arena_init(arena, ARENA, ARENA, grow, NULL), &sc, &ops, NULL, w->now);
	need(w->st != NULL);
	conf.payload = ours;
	w->nic = fn_shm_create(w->st->arena, &conf);
	need(w->nic && !fn_stack_add_nic(w->st, w->nic));
	w->from = rings;
	w->to = rings + ring_size;
	pair.tx = w->from;
	pair.rx = w->to;
	pair.payload = theirs;
	w->peer = fn_shm_peer_add(w->nic, &pair);
	need(w->peer > 0);
	fn_ring_tx_init(&w->ring, w->to, SLOTS);
	w->listener = fn_sock_open(w->st, FN_SOCK_TCP, w);
	need(!fn_sock_bind(w->listener, &at) && !fn_tcp_listen(w->listener, 4));
	to.peer = (uint16_t)w->peer;
	w->conn = fn_sock_open(w->st, FN_SOCK_TCP, w);
	need(fn_sock_connect(w->conn, &to) == -EINPROGRESS);
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

/* Headers of a segment for the connection it was asked for, or for the listener; its numbers fit more or less. */
static size_t headers(struct world *w, struct fuzz_in *in, uint8_t *to, size_t payload)
{
	const struct fn_tcp *tp = (const struct fn_tcp *)w->conn;
	uint8_t how = fuzz_u8(in), flags = fuzz_u8(in);
	struct fn_ip4_hdr ip = { .ver_ihl = 0x45, .ttl = 64, .proto = how & 0x40 ? fuzz_u8(in) : FN_IPPROTO_TCP,
		.src = LOOPBACK, .dst = LOOPBACK };
	struct fn_tcp_hdr th = { .sport = fn_be16(FUZZ_PEER_PORT), .dport = fn_be16(FUZZ_PORT), .off = FN_TCP_LEN << 2,
		.flags = flags, .win = fuzz_u16(in), .seq = fn_be32(how & 2 ? fuzz_u16(in) : 1000) };

	if (how & 1 && w->conn) {
		th.dport = w->conn->local.port;
		th.seq = fn_be32(tp->rcv_nxt + (how & 2 ? (uint32_t)fuzz_u8(in) - 128 : 0));
		th.ack = fn_be32(tp->snd_nxt - (how & 4 ? fuzz_u8(in) : 0));
	}
	if (how & 8)
		th.off = fuzz_u8(in);
	ip.len = fn_be16((uint16_t)(how & 16 ? fuzz_u16(in) : sizeof(ip) + sizeof(th) + payload));
	if (how & 32)
		ip.ver_ihl = fuzz_u8(in);
	memcpy(to, &ip, sizeof(ip));
	memcpy(to + sizeof(ip), &th, sizeof(th));
	return sizeof(ip) + sizeof(th);
}

static void entry(struct world *w, struct fuzz_in *in, uint8_t op)
{
	uint8_t body[FN_RING_ENTRY_MAX] = { 0 }, n = op >> 4 & 3, type = op & 8 ? fuzz_u8(in) : 1;
	struct fn_ring_piece piece = { body, 0 };
	size_t payload = 0;

	for (unsigned i = 0; i < n; i++) {
		uint32_t buf = fuzz_u8(in) % 70;
		uint16_t off = fuzz_u16(in) % 4400, len = fuzz_u16(in) % 4400;

		memcpy(body + i * 8, &buf, 4);
		memcpy(body + i * 8 + 4, &off, 2);
		memcpy(body + i * 8 + 6, &len, 2);
		payload += len;
	}
	piece.len = n * 8u;
	if (!n)
		payload = fuzz_u8(in);
	if (!(op & 4))
		piece.len += (uint32_t)headers(w, in, body + piece.len, payload);
	if (!n)
		piece.len += (uint32_t)fuzz_bytes(in, body + piece.len, payload);
	if (fn_ring_room(&w->ring) > (int)fn_ring_slots(piece.len))
		fn_ring_put(&w->ring, type, op & 0x40 ? fuzz_u8(in) : n, &piece, 1);
}

/* It gives back what it has, and what it has not. */
static void returns(struct world *w, struct fuzz_in *in)
{
	uint32_t list[8], n = fuzz_u8(in) % 9;
	struct fn_ring_piece piece = { list, n * 4 };

	for (unsigned i = 0; i < n; i++)
		list[i] = fuzz_u8(in) % 80;
	if (fn_ring_room(&w->ring) > (int)fn_ring_slots(piece.len))
		fn_ring_put(&w->ring, 2, 0, &piece, 1);
}

static void scribble(struct world *w, struct fuzz_in *in)
{
	uint16_t where = fuzz_u16(in);
	uint8_t *ring = where & 0x8000 ? w->to : w->from;
	size_t at = where % (ring_size - 64);

	fuzz_bytes(in, ring + at, 1 + fuzz_u8(in) % 32);
}

/* It reads, so that its positions move on as an honest one's. */
static void take(struct world *w, struct fuzz_in *in)
{
	struct fn_ring_shared *r = (void *)w->from;

	atomic_store(&r->taken, atomic_load(&r->taken) + fuzz_u8(in) % 20);
	if (fuzz_u8(in) & 1)
		atomic_store(&r->asleep, 1);
}

/* ---- the program ---- */

static void transfer(struct world *w, struct fuzz_in *in, struct fn_sock *sk)
{
	static uint8_t data[20000];
	struct iovec iov = { data, fuzz_u16(in) % sizeof(data) };

	if (fuzz_u8(in) & 1)
		fn_tcp_send(sk, &iov, 1, 0, 0);
	else
		fn_tcp_recv(sk, &iov, 1, 0, 0, NULL);
}

static void program(struct world *w, struct fuzz_in *in, uint8_t op)
{
	struct fn_sock **sk = op & 0x40 ? &w->accepted[op >> 4 & 3] : &w->conn;

	if (!*sk && sk != &w->conn)
		*sk = fn_tcp_accept(w->listener, w);
	if (!*sk)
		return;
	if (op & 8) {
		fn_sock_close(*sk);
		*sk = NULL;
	} else if (op & 4) {
		fn_sock_shutdown(*sk, FN_SHUT_WR);
	} else {
		transfer(w, in, *sk);
	}
}

static void step(struct world *w, struct fuzz_in *in)
{
	uint8_t op = fuzz_u8(in);

	switch (op & 3) {
	case 0:
		entry(w, in, op);
		break;
	case 1:
		program(w, in, op);
		break;
	case 2:
		if (op & 4)
			returns(w, in);
		else if (op & 8)
			scribble(w, in);
		else
			take(w, in);
		break;
	case 3:
		if (op & 4)
			sleep_for(w, (uint64_t)fuzz_u8(in) * 10 * FN_MSEC);
		break;
	}
	if (!(op & 0x80))
		work(w);
}

/* It is gone: nothing of it stays. */
static void close_world(struct world *w)
{
	work(w);
	fn_shm_peer_dead(w->nic, w->peer);
	fn_tcp_peer_gone(w->st, (uint16_t)w->peer);
	work(w);
	if (w->conn)
		fn_sock_close(w->conn);
	for (unsigned i = 0; i < fn_array_size(w->accepted); i++)
		if (w->accepted[i])
			fn_sock_close(w->accepted[i]);
	fn_sock_close(w->listener);
	sleep_for(w, 200 * FN_NSEC);
	need(!w->st->tcp_pool.used && !w->st->tcp->req_pool.used);
	need(fn_shm_peer_del(w->nic, w->peer));
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
