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
#define KEPT	0xfffd		/* in .next: a table of ours */

_Static_assert(COPY_BUFS < KEPT, "a buffer's number is none of the marks");

bool fn_shm_copies_init(struct shm *s, struct peer *peer, struct copies *old, void *mem, size_t len)
{
	struct copies *c = old ? old : fn_arena_alloc(s->arena, sizeof(*c));

	peer->pool = c;
	if (!c || len / FN_SHM_BUF < PLACES_MAX)	/* a frame must fit */
		return false;
	*c = (struct copies){ .mem = mem, .number = peer->number, .bufs = (uint32_t)fn_min(len / FN_SHM_BUF, (size_t)COPY_BUFS), .free = NONE,
		.made = 1, .own = 1 };
	c->backed = s->conf.grow_copies ? 0 : c->bufs;
	if (c->backed)
		fn_shm_publish_lives(s, c->mem);
	peer->copies = c;
	return true;
}

static fn_cold bool back_more(struct shm *s, const struct peer *peer, struct copies *c)
{
	uint32_t want = fn_min(c->backed + fn_max(c->backed, 64u), c->bufs);
	size_t from = (size_t)c->backed * FN_SHM_BUF, to = (size_t)want * FN_SHM_BUF;

	if (c->backed == c->bufs)
		return false;
	if (c->in_page ? s->conf.back && !s->conf.back(s->conf.ctx, peer->number, FN_PAGE_SPILL + from, FN_PAGE_SPILL + to) :
			 s->conf.grow_copies(s->conf.ctx, peer->number, to))
		return false;
	if (!c->backed && !c->in_page)
		fn_shm_publish_lives(s, c->mem);
	c->backed = want;
	return true;
}

static bool have(struct shm *s, const struct peer *peer, struct copies *c, unsigned n)
{
	/* what was made and is not lent is in the list */
	while (c->backed < c->out + c->own + n)
		if (!back_more(s, peer, c))
			return false;
	return true;
}

static uint16_t next_free(const struct copies *c)
{
	return c->free == NONE ? (uint16_t)c->made : c->free;
}

/* i is next_free(). Who dies before it is marked has not taken it. */
static void take(struct copies *c, uint16_t i, uint16_t mark)
{
	if (c->free == NONE) {
		c->made++;
		fn_shm_publish_made(c->mem, c->made);
	} else {
		c->free = c->next[i];
	}
	c->next[i] = mark;
}

bool fn_shm_copy_out(struct shm *s, const struct peer *peer, struct place *place, unsigned n)
{
	struct copies *c = peer->copies;

	if (!have(s, peer, c, n))
		return false;
	for (unsigned k = 0; k < n; k++) {
		uint16_t i = next_free(c);

		fn_assert(place[k].len <= FN_SHM_BUF - FN_PKT_HEADROOM);	/* fn_shm_takes_large() */
		step_add_tx(s, i, 0);
		take(c, i, LENT);
		c->out++;
		/* what looks like a note is none */
		memcpy(c->mem + (size_t)i * FN_SHM_BUF + FN_PKT_HEADROOM,
		       s->payload + (size_t)place[k].buf * FN_SHM_BUF + place[k].off, place[k].len);
		place[k].buf = i;
		place[k].off = FN_PKT_HEADROOM;
	}
	return true;
}

/* A buffer that is never sent. */
static uint16_t take_own(struct copies *c)
{
	uint16_t i = next_free(c);

	take(c, i, KEPT);
	c->own++;
	return i;
}

uint8_t *fn_shm_copy_table(struct shm *s, struct peer *peer)
{
	struct copies *c = peer->copies;

	return have(s, peer, c, 1) ? c->mem + (size_t)take_own(c) * FN_SHM_BUF : NULL;
}

/* ---- what cannot be sent yet ---- */

void fn_shm_spill_init(struct copies *c, uint16_t number, struct fn_page *page)
{
	*c = (struct copies){ .mem = (uint8_t *)page + FN_PAGE_SPILL, .number = number, .in_page = true, .free = NONE, .made = 1, .own = 1,
		.bufs = (FN_PAGE_SIZE - FN_PAGE_SPILL) / FN_SHM_BUF };
}

void fn_shm_unspill(struct shm *s, struct txbuf *b)
{
	struct copies *c = b->spilt;
	const struct peer *peer = peer_at(s, c->number);

	/* where the memory is not, a peer has ended, or will soon */
	if (peer && is_here(s, peer))
		((struct fn_note *)(c->mem + (size_t)b->spill * FN_SHM_BUF))->text = (struct fn_note_text){ 0 };
	atomic_signal_fence(memory_order_seq_cst);	/* as in put_tx() */
	c->next[b->spill] = c->free;
	c->free = b->spill;
	c->own--;
	b->spill = 0;
}

/* Half of what a stranger sees is for what is sent, and two frames at least. */
static uint16_t spill_to(struct shm *s, const struct peer *peer, struct copies *c)
{
	if (!c->in_page && (c->own >= c->bufs / 2 || !have(s, peer, c, 1 + 2 * PLACES_MAX)))
		return 0;
	return have(s, peer, c, 1) ? take_own(c) : 0;
}

/* Something is left behind: the peer is to look, or whoever may have claimed the connection that was offered to a group. */
static void tell(const struct shm *s, const struct peer *peer)
{
	if (has_ring(s, peer))
		fn_ring_leave_behind(&peer->tx);
	for (uint32_t i = 1; peer->mail && i <= s->peers; i++) {
		const struct peer *claimer = peer_at(s, i);

		if (claimer && claimer->group == peer->number && has_ring(s, claimer))
			fn_ring_leave_behind(&claimer->tx);
	}
}

bool fn_shm_spill(struct fn_nic *nic, uint16_t number, struct fn_pkt *p)
{
	struct shm *s = shm_of(nic);
	const struct peer *peer = peer_at(s, number);
	struct copies *c = !peer || peer->dead ? NULL : peer->mail ? &peer->mail->spill : peer->copies;
	const struct fn_note *note = (const struct fn_note *)p->buf;
	struct txbuf *b = p->priv;
	struct fn_note *to;
	uint32_t have;

	fn_shm_mend(s);
	fn_assert(!c || p->buf_len <= FN_SHM_BUF);	/* fn_shm_takes_large() */
	if (peer && !peer->dead)
		tell(s, peer);
	if (!c || !is_here(s, peer) || !is_tx(s, p) || (b->spill && b->spilt != c))
		return false;
	if (!b->spill) {
		b->spill = spill_to(s, peer, c);
		b->spilt = c;
	}
	if (fn_unlikely(!b->spill))
		fn_shm_keeps_back(c, KEPT_FOR_GOOD, true);
	to = (struct fn_note *)(c->mem + (size_t)b->spill * FN_SHM_BUF);
	have = *(volatile uint16_t *)&to->text.len;	/* in a page, others write as well */
	if (!b->spill || (have == note->text.len && to->text.fin == note->text.fin))
		return false;
	if (have > note->text.len)
		have = 0;
	memcpy((uint8_t *)to + note->off + have, p->buf + note->off + have, note->text.len - have);
	to->ends = note->ends;
	to->seq = note->seq;
	to->off = note->off;
	to->text.fin = note->text.fin;
	/* as in fn_tcp_note() */
	atomic_signal_fence(memory_order_release);
	to->text.len = note->text.len;
	return true;
}

/* ---- and what comes back ---- */

bool fn_shm_copy_is_lent(const struct peer *peer, uint32_t i)
{
	return i < peer->copies->made && peer->copies->next[i] == LENT;
}

void fn_shm_copy_back(struct peer *peer, uint32_t i)
{
	struct copies *c = peer->copies;

	c->next[i] = c->free;
	c->free = (uint16_t)i;
	c->out--;
}

/* ---- after a death under the lock ---- */

void fn_shm_copy_set(struct copies *c, uint32_t i, bool lent)
{
	c->next[i] = lent ? LENT : NONE;
}

/* What is in use beside what is lent: tables, spills. */
static void find_own(const struct shm *s, struct copies *c)
{
	for (unsigned t = 0; t < TABLES; t++)
		if (c->table[t])
			c->next[(size_t)(c->table[t] - c->mem) / FN_SHM_BUF] = KEPT;
	for (uint32_t i = 1; i < s->made; i++)
		if (s->txbuf[i].spill && s->txbuf[i].spilt == c)
			c->next[s->txbuf[i].spill] = KEPT;
}

void fn_shm_copies_recover(struct shm *s, struct copies *c)
{
	c->free = NONE;
	c->own = 1;
	c->out = 0;
	for (uint32_t i = 1; i < c->made; i++)
		if (c->next[i] != LENT)
			c->next[i] = NONE;
	find_own(s, c);
	for (uint32_t i = 1; i < c->made; i++) {
		c->out += c->next[i] == LENT;
		c->own += c->next[i] == KEPT;
		if (c->next[i] == LENT || c->next[i] == KEPT)
			continue;
		((struct fn_note *)(c->mem + (size_t)i * FN_SHM_BUF))->text = (struct fn_note_text){ 0 };
		c->next[i] = c->free;
		c->free = (uint16_t)i;
	}
}

static struct fn_pkt *copy_one(struct shm *s, const struct peer *peer, const uint8_t *from, uint32_t len)
{
	struct rxbuf *r = s->free_copy;

	if (r)
		s->free_copy = r->next;
	else
		r = fn_shm_rx_make(s, RX_COPY, FN_SHM_BUF);
	if (!r)
		return NULL;
	memcpy(r->mem, from, len);
	fn_pkt_init(&r->p, &s->nic, r->mem, len, r->mem, len);
	r->p.truesize = FN_SHM_BUF;
	r->p.peer = peer->number;
	r->p.priv = r;
	r->peer = NULL;
	return &r->p;
}

struct fn_pkt *fn_shm_copy_in(struct shm *s, const struct peer *peer, const uint8_t *mem, const struct place *at)
{
	const uint8_t *from = mem + (size_t)at->buf * FN_SHM_BUF + at->off;
	struct fn_pkt *first = NULL, **link = &first;

	for (uint32_t done = 0; done < at->len; done += FN_SHM_BUF) {
		*link = copy_one(s, peer, from + done, fn_min(at->len - done, (uint32_t)FN_SHM_BUF));
		if (!*link) {
			if (first)
				fn_pkt_free(first);
			return NULL;
		}
		link = &(*link)->seg;
	}
	first->pkt_len = at->len;
	return first;
}
