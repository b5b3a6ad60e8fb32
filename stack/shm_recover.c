/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * The fabric after a death under the stack's lock (recover.c): whoever held it stopped between any two instructions. What a
 * peer has of ours, and we of its, changes by one store into a ring, or into a position of ours; beforehand it is written
 * down what goes with it (struct step), so that it is done or undone here. Everything else is derived, and made anew.
 *
 * What was on its way between a ring and the stack is lost: each side is told to send again what is not acknowledged.
 */
#include "shm_priv.h"

/* ---- what was being done ---- */

/* The number of our buffer that entry k names there. */
static uint32_t place_of(const struct kept *k, unsigned n)
{
	struct place at;

	memcpy(&at, k->body + n * sizeof(at), sizeof(at));
	return at.buf;
}

/*
 * Whether an entry was put into a ring that is another image's is not seen here: until one looks that has it (undo()), what
 * was lent counts as lent, and what was to be returned is still to be.
 */
static void put_off(const struct shm *s, const struct step *step, struct peer *peer)
{
	struct step *later = &peer->undone;

	*later = *step;
	later->what = STEP_NONE;
	if (step->flush && step->what == STEP_LEND) {	/* they had been lent when the entry was kept */
		const struct kept *k = &peer->backlog[step->head];

		for (later->n = 0; later->n < k->arg; later->n++)
			later->tx[later->n].buf = place_of(k, later->n);
	}
	atomic_signal_fence(memory_order_seq_cst);
	later->what = step->what;
	atomic_signal_fence(memory_order_seq_cst);
}

static bool has_happened(const struct shm *s, const struct step *step, struct peer *peer)
{
	if (step->what == STEP_TAKE || step->what == STEP_BACK)
		return peer->rx.pos != step->pos;
	if (step->what == STEP_DROP || step->what == STEP_UNDO || (!step->flush && peer->backlog_len != step->kept))
		return true;
	if (is_here(s, peer))
		return peer->tx.head != step->pos;
	/* no image that has it has been here since; what is for a copy of its own was kept, or not */
	if (peer->mend || (peer->copies && step->what == STEP_LEND))
		return false;
	put_off(s, step, peer);
	return step->what != STEP_RETURN;
}

static void finish_tx(struct shm *s, const struct step *step, const struct peer *peer, bool happened)
{
	for (unsigned i = 0; i < step->n; i++) {
		uint32_t buf = step->tx[i].buf, was = step->tx[i].was;

		if (step->what == STEP_LEND)
			s->txbuf[buf].lent = was + happened;
		else if (step->what == STEP_DROP || step->what == STEP_UNDO)
			s->txbuf[buf].lent = was - 1;
		else if (step->what == STEP_COPY)
			fn_shm_copy_set(peer->copies, buf, happened);
		else if (happened && peer->copies)
			fn_shm_copy_set(peer->copies, buf, false);
		else if (happened)
			s->txbuf[buf].lent = was - 1;
	}
}

/* Not taken: the entry is read again. Returned: they are the peer's. */
static void finish_rx(const struct step *step, bool happened)
{
	for (unsigned i = 0; i < step->n; i++)
		if (happened == (step->what == STEP_RETURN))
			step->rx[i]->peer = NULL;
}

/* As often as it takes: a death here finds the same. */
static void finish_step(struct shm *s)
{
	const struct step *step = &s->step;
	struct peer *peer = peer_at(s, step->peer);
	bool happened;

	if (step->what && peer && is_ring(peer)) {
		happened = has_happened(s, step, peer);
		if (step->what == STEP_TAKE || step->what == STEP_RETURN)
			finish_rx(step, happened);
		else
			finish_tx(s, step, peer, happened);
		if (step->flush && happened)
			peer->backlog_head = (step->head + 1) % BACKLOG;
		if ((step->flush && happened) || step->what == STEP_DROP)
			peer->backlog_len = step->kept - 1;
		if (step->what == STEP_UNDO)
			peer->undone.what = STEP_NONE;
	}
	step_is(s, STEP_NONE);
}

/* ---- a peer ---- */

/* What waits for room is dropped, the last one first: it is sent again. Of our own memory the entries hold what they name. */
static void drop_backlog(struct shm *s, struct peer *peer)
{
	if (peer->copies)
		peer->backlog_len = 0;
	while (peer->backlog_len) {
		const struct kept *k = &peer->backlog[(peer->backlog_head + peer->backlog_len - 1) % BACKLOG];

		step_begin(s, peer, peer->tx.head);
		for (unsigned n = 0; n < k->arg; n++)
			step_add_tx(s, place_of(k, n), s->txbuf[place_of(k, n)].lent);
		step_is(s, STEP_DROP);
		finish_step(s);
	}
}

/* What lies in the memory that the peer shares with us, which is here. */
static void settle_shared(struct shm *s, struct peer *peer)
{
	if (peer->page && peer->accepts & image_of(s))
		fn_shm_page_recover(s, peer);
	if (peer->mail && !peer->dead)
		fn_shm_mail_recover(s, peer);
	if (!peer->used || !has_ring(s, peer))
		return;
	fn_ring_tell_again(&peer->rx);
	touch(s, peer);
}

static void settle_peer(struct shm *s, struct peer *peer)
{
	peer->lent = peer->held = 0;
	peer->returns = NULL;
	if (peer->used && is_ring(peer)) {
		drop_backlog(s, peer);
		peer->again = true;
	}
	if (is_here(s, peer)) {
		settle_shared(s, peer);
	} else if (peer->used) {
		peer->mend = s->mends = true;
		summon(s, peer);
	}
}

static void settle_copies(struct shm *s, struct peer *peer)
{
	if (peer->used && !peer->dead && (peer->mail || peer->copies))
		fn_shm_copies_recover(s, peer->mail ? &peer->mail->spill : peer->copies);
}

/* The entry was not put: what was lent with it is back. */
static void undo_lend(struct shm *s, struct peer *peer)
{
	const struct step *undone = &peer->undone;

	step_begin(s, peer, peer->tx.head);
	for (unsigned i = 0; i < undone->n; i++)
		step_add_tx(s, undone->tx[i].buf, s->txbuf[undone->tx[i].buf].lent);
	step_is(s, STEP_UNDO);
	for (unsigned i = 0; i < undone->n; i++) {
		struct txbuf *b = &s->txbuf[undone->tx[i].buf];

		peer->lent--;
		if (!--b->lent && b->freed)
			put_tx(s, b);
	}
}

/* It was: they are the peer's. */
static void finish_return(struct shm *s, struct peer *peer)
{
	struct rxbuf **link = &peer->returns, *r;

	finish_rx(&peer->undone, true);
	while ((r = *link)) {
		if (r->peer) {
			link = &r->next;
			continue;
		}
		*link = r->next;
		peer->held -= r->units;
		r->next = s->free_frag;
		s->free_frag = r;
	}
}

/* What put_off() has left open: an entry that was put is seen now. */
static void undo(struct shm *s, struct peer *peer)
{
	const struct step *undone = &peer->undone;
	bool happened = peer->tx.head != undone->pos;

	if (undone->what == STEP_LEND && !happened)
		undo_lend(s, peer);
	else if (undone->what == STEP_RETURN && happened)
		finish_return(s, peer);
	else if (undone->what == STEP_COPY)
		finish_tx(s, undone, peer, happened);
	peer->undone.what = STEP_NONE;
	step_is(s, STEP_NONE);
}

void fn_shm_mend_slow(struct shm *s)
{
	bool more = false;

	for (uint32_t i = 1; i <= s->peers; i++) {
		struct peer *peer = peer_at(s, i);

		if (!peer || !peer->mend)
			continue;
		if (!is_here(s, peer)) {
			more = true;
			continue;
		}
		if (has_ring(s, peer)) {
			fn_ring_put_again(&peer->tx);
			undo(s, peer);
		}
		settle_shared(s, peer);
		settle_copies(s, peer);
		peer->mend = false;
	}
	s->mends = more;
}

/* ---- buffers ---- */

static bool is_table(const struct shm *s, const uint8_t *mem)
{
	for (unsigned i = 0; i < TABLES; i++)
		if (s->table[i] == mem)
			return true;
	return false;
}

static void settle_txbuf(struct shm *s, struct txbuf *b, uint8_t *mem)
{
	struct peer *peer = b->lent ? peer_at(s, b->peer) : NULL;

	if (is_table(s, mem))
		return;
	/* what a stranger is sent it has a copy of */
	if (!peer || !is_ring(peer) || peer->copies)
		b->lent = 0;
	else
		peer->lent += b->lent;
	((struct fn_note *)mem)->units = b->units;
	s->used += b->units;
	b->freed = !(b->p.flags & FN_PKT_MARK);
	if (!b->freed)
		return;
	b->spill = 0;
	b->p.buf = mem;
	if (b->lent)
		((struct fn_note *)mem)->text = (struct fn_note_text){ 0 };
	else
		put_tx(s, b);
}

static void settle_rxbuf(struct shm *s, struct rxbuf *r)
{
	struct rxbuf **list = r->kind == RX_COPY ? &s->free_copy : r->kind == RX_HEAD ? &s->free_head : &s->free_frag;
	bool kept = r->p.flags & FN_PKT_MARK;

	if (r->peer && !kept && (r->peer->dead || r->peer->broken))
		r->peer = NULL;
	if (r->peer)
		r->peer->held += r->units;
	if (kept)
		return;
	if (r->peer)
		list = &r->peer->returns;
	r->next = *list;
	*list = r;
}

static void settle_buffers(struct shm *s)
{
	s->free_tx = s->free_large = NULL;
	s->used = 0;
	for (uint32_t i = 1; i < s->made; i += s->txbuf[i].units)
		settle_txbuf(s, &s->txbuf[i], s->payload + (size_t)i * FN_SHM_BUF);
	note_left(s);
	s->free_head = s->free_frag = s->free_copy = NULL;
	for (struct rxbuf *r = s->all_rx; r; r = r->all)
		settle_rxbuf(s, r);
}

/* ---- fn_nic_ops ---- */

void fn_shm_each(struct fn_nic *nic, void (*fn)(void *ctx, struct fn_pkt *p), void *ctx)
{
	struct shm *s = shm_of(nic);

	for (uint32_t i = 1; i < s->made; i += s->txbuf[i].units)
		fn(ctx, &s->txbuf[i].p);
	for (struct rxbuf *r = s->all_rx; r; r = r->all)
		fn(ctx, &r->p);
}

void fn_shm_reclaim(struct fn_nic *nic)
{
	struct shm *s = shm_of(nic);

	s->answers = NULL;
	s->burst_len = 0;
	s->touched_words = 0;
	memset(s->touched, 0, sizeof(s->touched));
	for (uint32_t i = 1; i <= s->peers; i++)
		if (peer_at(s, i) && s->peer[i]->used && has_ring(s, s->peer[i]))
			fn_ring_put_again(&s->peer[i]->tx);
	finish_step(s);
	s->mails = s->pages = s->backlogs = 0;
	for (uint32_t i = 1; i <= s->peers; i++) {
		struct peer *peer = peer_at(s, i);

		if (!peer)
			continue;
		s->mails += peer->used && peer->mail && !peer->dead;
		s->pages += peer->used && peer->page;
		settle_peer(s, peer);
	}
	set_choked(s);
	settle_buffers(s);
	for (uint32_t i = 1; i <= s->peers; i++) {
		struct peer *peer = peer_at(s, i);

		if (peer && is_here(s, peer))
			settle_copies(s, peer);
	}
}

void fn_shm_resend(struct shm *s)
{
	s->resends = false;
	for (uint32_t i = 1; i <= s->peers; i++) {
		struct peer *peer = peer_at(s, i);

		if (!peer || !peer->resend)
			continue;
		peer->resend = false;
		if (s->conf.again && !peer->dead)
			s->conf.again(s->conf.ctx, (int)i);
	}
}
