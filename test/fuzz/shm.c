/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * A process of the fabric that writes what it likes into its channel: entries with a right mark and anything behind it, bytes
 * in either ring, segments that fit a live connection with places that do not. Whatever it did, when it is gone nothing of
 * it is left, and no buffer is lost.
 */
#include <errno.h>

#include "shm_world.h"


struct world {
	struct shm_world s;
	struct fn_sock *conn, *accepted[4];
	struct fn_ring_tx ring;		/* the liar's end */
	uint8_t *to, *from;		/* rings: what it writes, what it reads */
};


static void open_world(struct world *w)
{
	struct fn_ep to = { LOOPBACK, fn_be16(FUZZ_PEER_PORT), 0 };

	shm_world_open(&w->s, (struct fn_shm_conf){ 0 });
	w->from = w->s.rings;
	w->to = w->s.rings + ring_size;
	fn_ring_tx_init(&w->ring, w->to, SLOTS);
	to.peer = (uint16_t)w->s.peer;
	w->conn = fn_sock_open(w->s.st, FN_SOCK_TCP, w);
	need(fn_sock_connect(w->conn, &to) == -EINPROGRESS);
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

static void program(struct world *w, struct fuzz_in *in, uint8_t op)
{
	struct fn_sock **sk = op & 0x40 ? &w->accepted[op >> 4 & 3] : &w->conn;

	if (!*sk && sk != &w->conn)
		*sk = fn_tcp_accept(w->s.listener, w);
	if (*sk)
		use(in, sk, op);
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
			sleep_for(&w->s, (uint64_t)fuzz_u8(in) * 10 * FN_MSEC);
		break;
	}
	if (!(op & 0x80))
		work(&w->s);
}

/* It is gone: nothing of it stays. */
static void close_world(struct world *w)
{
	work(&w->s);
	fn_shm_peer_dead(w->s.nic, w->s.peer);
	fn_tcp_peer_gone(w->s.st, (uint16_t)w->s.peer);
	work(&w->s);
	if (w->conn)
		fn_sock_close(w->conn);
	for (unsigned i = 0; i < fn_array_size(w->accepted); i++)
		if (w->accepted[i])
			fn_sock_close(w->accepted[i]);
	fn_sock_close(w->s.listener);
	sleep_for(&w->s, 200 * FN_NSEC);
	need(!w->s.st->tcp_pool.used && !w->s.st->tcp->req_pool.used);
	need(fn_shm_peer_del(w->s.nic, w->s.peer));
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
