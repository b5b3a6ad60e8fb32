/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * Where data is copied on its way through the fabric. To a peer of another user: into payload memory that this peer alone
 * maps, so that it sees no byte that is not for it. From a peer of whose buffers we hold too many: out of them, so that
 * data which our program does not read keeps nothing else from coming. Owns who has which buffer of a pair's memory.
 */
#include <string.h>

#include "shm_priv.h"

#define NONE	0xffff		/* in .next and .free: no further one */
#define LENT	0xfffe		/* in .next: the peer has it */

_Static_assert(COPY_BUFS < LENT, "a buffer's number is none of the marks");

bool fn_shm_copies_init(struct shm *s, struct peer *peer, struct copies *old, void *mem, size_t len)
{
	struct copies *c = old ? old : fn_arena_alloc(s->arena, sizeof(*c));

	peer->pool = c;
	if (!c || len / FN_SHM_BUF < PLACES_MAX)	/* a frame must fit */
		return false;
	*c = (struct copies){ .mem = mem, .bufs = (uint32_t)fn_min(len / FN_SHM_BUF, (size_t)COPY_BUFS), .free = NONE };
	c->backed = s->conf.grow_copies ? 0 : c->bufs;
	peer->copies = c;
	return true;
}

static fn_cold bool back_more(struct shm *s, const struct peer *peer)
{
	struct copies *c = peer->copies;
	uint32_t want = fn_min(c->backed + fn_max(c->backed, 64u), c->bufs);

	if (c->backed == c->bufs || s->conf.grow_copies(s->conf.ctx, peer->number, (size_t)want * FN_SHM_BUF))
		return false;
	c->backed = want;
	return true;
}

static bool have(struct shm *s, const struct peer *peer, unsigned n)
{
	struct copies *c = peer->copies;

	/* what was made and is not lent is in the list */
	while (c->backed - c->out < n)
		if (!back_more(s, peer))
			return false;
	return true;
}

static uint16_t take(struct copies *c)
{
	uint16_t i = c->free;

	if (i == NONE)
		i = (uint16_t)c->made++;
	else
		c->free = c->next[i];
	c->next[i] = LENT;
	c->out++;
	return i;
}

bool fn_shm_copy_out(struct shm *s, const struct peer *peer, struct place *place, unsigned n)
{
	struct copies *c = peer->copies;

	if (!have(s, peer, n))
		return false;
	for (unsigned k = 0; k < n; k++) {
		uint16_t i = take(c);

		memcpy(c->mem + (size_t)i * FN_SHM_BUF, s->payload + (size_t)place[k].buf * FN_SHM_BUF + place[k].off,
		       place[k].len);
		place[k].buf = i;
		place[k].off = 0;
	}
	return true;
}

bool fn_shm_copy_back(struct peer *peer, uint32_t i)
{
	struct copies *c = peer->copies;

	if (i >= c->made || c->next[i] != LENT)
		return false;
	c->next[i] = c->free;
	c->free = (uint16_t)i;
	c->out--;
	return true;
}

struct fn_pkt *fn_shm_copy_in(struct shm *s, const struct peer *peer, const struct place *at)
{
	struct rxbuf *r = s->free_copy;

	if (r)
		s->free_copy = r->next;
	else
		r = fn_arena_alloc(s->arena, sizeof(*r) + FN_SHM_BUF);
	if (!r)
		return NULL;
	memcpy(r->mem, peer->payload + (size_t)at->buf * FN_SHM_BUF + at->off, at->len);
	fn_pkt_init(&r->p, &s->nic, r->mem, at->len, r->mem, at->len);
	r->p.truesize = FN_SHM_BUF;
	r->p.peer = peer->number;
	r->p.priv = r;
	r->peer = NULL;
	r->copy = true;
	return &r->p;
}
