/* SPDX-License-Identifier: BSD-3-Clause */
/* The stack of another process: its record, its NICs, and its sockets by pool and index. See target.h for the trust. */
#include <stdlib.h>
#include <string.h>

#include "stack/tcp.h"
#include "tools/target.h"
#include "tools/target_mem.h"

/* More is no pool of ours (max_tcp's limit twice over), and keeps a lying process from filling our memory. */
#define OBJECTS_MAX	(2u << 20)
#define OBJ_SIZE_MAX	65536u
#define CHUNK_BYTES_MAX	(64u << 20)

/* Copy a record that lies in the arena. */
static bool read_arena(struct fn_target *t, uint64_t addr, void *buf, size_t size)
{
	uint64_t base = t->info.arena, off = addr - base;

	if (addr >= base && off < t->info.arena_reserve && size <= t->info.arena_reserve - off && addr % 8 == 0 &&
	    !fn_target_mem(t->pid, addr, buf, size))
		return true;
	t->damaged = true;
	return false;
}

/* ---- pools ---- */

typedef void object_fn(struct fn_target *t, const void *object);

static bool pool_sane(const struct fn_pool *p, size_t want)
{
	return p->obj_size >= want && p->obj_size <= OBJ_SIZE_MAX && p->per_chunk &&
	       !(p->per_chunk & (p->per_chunk - 1)) && (uint64_t)p->per_chunk * p->obj_size <= CHUNK_BYTES_MAX &&
	       p->made <= OBJECTS_MAX && (p->made + (uint64_t)p->per_chunk - 1) / p->per_chunk <= FN_POOL_CHUNKS;
}

/* Call fn for every object in use: objects 1 … made-1 whose record begins like a struct fn_sock of some kind. */
static void each_object(struct fn_target *t, const struct fn_pool *p, size_t want, object_fn *fn)
{
	uint8_t *buf;

	/* object 0 is never handed out, and not even there before the first one is */
	if (p->made <= 1)
		return;
	if (!pool_sane(p, want)) {
		t->damaged = true;
		return;
	}
	buf = malloc((size_t)p->per_chunk * p->obj_size);
	for (uint32_t first = 0; buf && first < p->made; first += p->per_chunk) {
		uint32_t n = fn_min(p->per_chunk, p->made - first);

		if (!read_arena(t, (uintptr_t)p->chunk[first / p->per_chunk], buf, (size_t)n * p->obj_size))
			continue;
		for (uint32_t i = first ? 0 : 1; i < n; i++)
			fn(t, buf + (size_t)i * p->obj_size);
	}
	free(buf);
}

/* ---- sockets ---- */

/* A bool that another process wrote may be neither of its values. */
static bool flag(const bool *b)
{
	uint8_t byte;

	memcpy(&byte, b, sizeof byte);
	return byte != 0;
}

static struct fn_target_sock *add(struct fn_target *t)
{
	/* grows by doubling, at powers of two */
	if (!(t->socks & (t->socks - 1))) {
		size_t room = t->socks ? t->socks * 2 : 1;
		struct fn_target_sock *more = reallocarray(t->sock, room, sizeof *more);

		if (!more) {
			t->damaged = true;
			return NULL;
		}
		t->sock = more;
	}
	memset(&t->sock[t->socks], 0, sizeof *t->sock);
	return &t->sock[t->socks++];
}

/* A distance in sequence space; a half-changed record may give nonsense, which shows as 0. */
static uint64_t distance(uint32_t from, uint32_t to)
{
	int32_t d = (int32_t)(to - from);

	return d > 0 ? (uint64_t)d : 0;
}

static void set_queues(struct fn_target_sock *s, const struct fn_tcp *tp)
{
	if (s->state == FN_TCP_LISTEN) {
		s->recvq = tp->l.accept_len;
		s->sendq = tp->l.backlog;
	} else if (s->state != FN_TCP_CLOSED && s->state != FN_TCP_SYN_SENT) {
		s->recvq = distance(tp->copied_seq, tp->rcv_nxt);
		s->sendq = distance(tp->snd_una, tp->write_seq);
	}
}

static void take_tcp(struct fn_target *t, const void *object)
{
	const struct fn_tcp *tp = object;
	struct fn_target_sock *s = tp->sk.kind == FN_SOCK_TCP ? add(t) : NULL;

	if (!s)
		return;
	s->kind = FN_SOCK_TCP;
	s->state = tp->sk.tcp_state;
	s->local = tp->sk.local;
	s->remote = tp->sk.remote;
	s->full = true;
	s->lossless = flag(&tp->lossless);
	s->tcp = *tp;
	set_queues(s, tp);
}

/* The head that every slim object shares with struct fn_sock. */
static void take_mini(struct fn_target *t, const void *object)
{
	struct fn_sock head = { 0 };
	struct fn_target_sock *s;

	memcpy(&head, object, offsetof(struct fn_sock, rxq));
	if (!head.kind)
		return;
	s = add(t);
	if (!s)
		return;
	s->kind = FN_SOCK_TCP;
	s->state = head.tcp_state;
	s->local = head.local;
	s->remote = head.remote;
}

static void take_udp(struct fn_target *t, const void *object)
{
	const struct fn_sock *sk = object;
	struct fn_target_sock *s = sk->kind == FN_SOCK_UDP ? add(t) : NULL;

	if (!s)
		return;
	s->kind = FN_SOCK_UDP;
	s->local = sk->local;
	s->remote = sk->remote;
	s->recvq = sk->rxq.bytes;
	s->sendq = sk->tx_charged;
}

static void read_sockets(struct fn_target *t)
{
	struct fn_tcp_stack tcp;

	each_object(t, &t->stack.tcp_pool, sizeof(struct fn_tcp), take_tcp);
	each_object(t, &t->stack.udp_pool, sizeof(struct fn_sock), take_udp);
	if (!t->stack.tcp || !read_arena(t, (uintptr_t)t->stack.tcp, &tcp, sizeof tcp))
		return;
	each_object(t, &tcp.req_pool, offsetof(struct fn_sock, rxq), take_mini);
	each_object(t, &tcp.tw_pool, offsetof(struct fn_sock, rxq), take_mini);
}

/* A NIC's record may lie outside the arena: nothing in the copy is followed. */
static void read_nics(struct fn_target *t)
{
	unsigned n = fn_min(t->stack.nics, (uint8_t)FN_NICS_MAX);

	for (unsigned i = 0; i < n; i++) {
		struct fn_nic *nic = &t->nic[t->nics];

		if (fn_target_mem(t->pid, (uintptr_t)t->stack.nic[i], nic, sizeof *nic)) {
			t->damaged = true;
			continue;
		}
		nic->up = flag(&nic->up);
		nic->name[FN_NIC_NAME - 1] = 0;
		for (char *c = nic->name; *c; c++)
			if (*c < ' ' || *c > '~')
				*c = '?';
		t->nics++;
	}
}

void fn_target_read(struct fn_target *t)
{
	if (!t->info.stack || !t->info.arena || !read_arena(t, t->info.stack, &t->stack, sizeof t->stack))
		return;
	t->has_stack = true;
	read_nics(t);
	read_sockets(t);
}

void fn_target_free(struct fn_target *t)
{
	free(t->sock);
	t->sock = NULL;
	t->socks = 0;
}
