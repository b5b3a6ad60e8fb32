/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * A stack on the fabric with one peer, which is the liar, and a listener: what the targets share that attack shared memory.
 * The memory is made once and is the same for every input.
 */
#ifndef FUZZ_SHM_WORLD_H
#define FUZZ_SHM_WORLD_H

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

static const size_t ring_size = (sizeof(struct fn_ring_shared) + SLOTS * FN_RING_SLOT + 63) & ~(size_t)63;

struct shm_world {
	struct fn_stack *st;
	struct fn_nic *nic;
	struct fn_sock *listener;
	int peer;
	uint64_t now;
	uint8_t *arena, *ours, *theirs;
	uint8_t *rings;		/* what it reads, then what it writes */
};

static void need(bool ok)
{
	if (!ok)
		abort();
}

static void shm_on_ready(void *ctx, struct fn_sock *sk, unsigned events)
{
}

static int shm_grow(void *ctx, size_t size)
{
	return size <= ARENA ? 0 : -1;
}

static void *memory(size_t size)
{
	void *mem = mmap(NULL, size, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);

	need(mem != MAP_FAILED);
	return mem;
}

/* conf: what the target wants to hear of; its payload is filled in. */
static void shm_world_open(struct shm_world *w, struct fn_shm_conf conf)
{
	static const struct fn_stack_ops ops = { .ready = shm_on_ready };
	static uint8_t *arena, *ours, *theirs, *rings;
	struct fn_shm_pair pair = { .tx_slots = SLOTS, .rx_slots = SLOTS, .payload_len = PAYLOAD };
	struct fn_ep at = { LOOPBACK, fn_be16(FUZZ_PORT), 0 };
	struct fn_stack_conf sc;

	if (!arena) {
		arena = memory(ARENA);
		ours = memory(PAYLOAD);
		theirs = memory(PAYLOAD);
		rings = memory(2 * ring_size);
	}
	madvise(arena, ARENA, MADV_DONTNEED);
	memset(rings, 0, 2 * ring_size);
	w->arena = arena;
	w->ours = ours;
	w->theirs = theirs;
	w->rings = rings;
	w->now = 1000 * FN_NSEC;
	fn_stack_conf_init(&sc);
	w->st = fn_stack_create(fn_arena_init(arena, ARENA, ARENA, shm_grow, NULL), &sc, &ops, NULL, w->now);
	need(w->st != NULL);
	conf.payload = ours;
	conf.payload_len = PAYLOAD;
	w->nic = fn_shm_create(w->st->arena, &conf);
	need(w->nic && !fn_stack_add_nic(w->st, w->nic));
	pair.tx = rings;
	pair.rx = rings + ring_size;
	pair.payload = theirs;
	w->peer = fn_shm_peer_add(w->nic, &pair);
	need(w->peer > 0);
	w->listener = fn_sock_open(w->st, FN_SOCK_TCP, w);
	need(!fn_sock_bind(w->listener, &at) && !fn_tcp_listen(w->listener, 4));
}

static void work(struct shm_world *w)
{
	unsigned rounds = 0;

	while (fn_stack_poll(w->st, w->now))
		need(++rounds < ROUNDS_MAX);
	fn_stack_flush(w->st);
	while (fn_shm_bell(w->nic))
		;
}

static void sleep_for(struct shm_world *w, uint64_t ns)
{
	uint64_t until = w->now + ns;
	unsigned rounds = 0;

	while (w->now < until) {
		w->now = fn_min(fn_max(fn_stack_deadline(w->st), w->now + 1), until);
		work(w);
		need(++rounds < ROUNDS_MAX);
	}
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

/* It closes *sk, ends its sending half, or sends or receives. */
static void use(struct fuzz_in *in, struct fn_sock **sk, uint8_t op)
{
	if (op & 8) {
		fn_sock_close(*sk);
		*sk = NULL;
	} else if (op & 4) {
		fn_sock_shutdown(*sk, FN_SHUT_WR);
	} else {
		transfer(in, *sk);
	}
}

#endif
