/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * Frames to and from other processes through shared memory. Two kinds of entry: a frame, whole or its headers with the
 * places of its payload, and the return of payload buffers.
 *
 * A transmit buffer is free when the stack has released it and no peer holds it ("lent"). A receive descriptor of a
 * peer's payload goes back to it as a return entry when the stack frees it; returns wait in a list without bound of their
 * own, so that receiving never waits for sending.
 */
#include "shm_priv.h"

#include <string.h>

/* ---- buffers that are not needed any more ---- */

static void free_rx(struct shm *s, struct rxbuf *r)
{
	struct peer *peer = r->peer;
	struct rxbuf **list = peer ? &peer->returns : r->kind == RX_COPY ? &s->free_copy : r->kind == RX_HEAD ? &s->free_head : &s->free_frag;

	if (peer && (peer->dead || peer->broken)) {
		peer->held -= r->units;
		r->peer = NULL;
		list = &s->free_frag;
	}
	r->next = *list;
	*list = r;
}

static void shm_free(struct fn_nic *nic, struct fn_pkt *p)
{
	struct shm *s = shm_of(nic);
	struct txbuf *b;

	if (!is_tx(s, p)) {
		free_rx(s, p->priv);
		return;
	}
	b = p->priv;
	b->freed = true;
	if (!b->lent)
		put_tx(s, b);
}

static bool shm_in_flight(const struct fn_nic *nic, const struct fn_pkt *p)
{
	return is_tx(shm_of(nic), p) && ((const struct txbuf *)p->priv)->lent;
}

static void lend(struct shm *s, struct peer *peer, const struct place *place, unsigned n)
{
	step_begin(s, peer, peer->tx.head);
	for (unsigned i = 0; i < n; i++)
		step_add_tx(s, place[i].buf, s->txbuf[place[i].buf].lent);
	step_is(s, STEP_LEND);
	for (unsigned i = 0; i < n; i++) {
		s->txbuf[place[i].buf].peer = peer->number;
		s->txbuf[place[i].buf].lent++;
	}
	peer->lent += n;
}

static fn_cold void unlend(struct shm *s, struct peer *peer, const struct place *place, unsigned n)
{
	for (unsigned i = 0; i < n; i++)
		s->txbuf[place[i].buf].lent--;
	peer->lent -= n;
}

static bool is_lent(const struct shm *s, const struct peer *peer, uint32_t i)
{
	return i < s->made && s->txbuf[i].lent && s->txbuf[i].peer == peer->number;
}

static void take_back(struct shm *s, struct peer *peer, uint32_t i)
{
	struct txbuf *b = &s->txbuf[i];

	peer->lent--;
	if (!--b->lent && b->freed)
		put_tx(s, b);
}

/* ---- descriptors of what comes ---- */

struct rxbuf *fn_shm_rx_make(struct shm *s, enum rx_kind kind, size_t mem)
{
	struct rxbuf *r = fn_arena_alloc(s->arena, sizeof(*r) + mem);

	if (!r)
		return NULL;
	r->kind = (uint8_t)kind;
	r->all = s->all_rx;
	atomic_signal_fence(memory_order_seq_cst);
	s->all_rx = r;
	return r;
}

/* ---- transmit ---- */

static bool has_room(struct shm *s, struct peer *peer, uint32_t body)
{
	int room;

	if (fn_unlikely(!is_here(s, peer)))
		return false;
	room = fn_ring_room(&peer->tx);
	if (fn_unlikely(room < 0)) {
		peer->broken = true;
		s->nic.stats.rx_errors++;
		return false;
	}
	return (uint32_t)room > fn_ring_slots(body);	/* and the one behind it */
}

/* The ring is full, or another image's: keep the entry. Never more than what was staged when the ring became full (fn_nic_ops.full). */
static fn_cold bool keep(struct shm *s, struct peer *peer, bool ours, uint8_t arg, const struct fn_ring_piece *piece,
			 unsigned n)
{
	struct kept *k;

	if (!peer->backlog)
		peer->backlog = fn_arena_alloc(s->arena, BACKLOG * sizeof(*k));
	if (!peer->backlog || peer->backlog_len == BACKLOG)
		return false;
	k = &peer->backlog[(peer->backlog_head + peer->backlog_len) % BACKLOG];
	k->type = ENTRY_FRAME;
	k->arg = arg;
	k->ours = ours;
	k->len = 0;
	for (unsigned i = 0; i < n; i++) {
		memcpy(k->body + k->len, piece[i].p, piece[i].len);
		k->len = (uint16_t)(k->len + piece[i].len);
	}
	s->backlogs += !peer->backlog_len++;
	set_choked(s);
	if (has_ring(s, peer)) {
		if (peer->copies)
			fn_shm_keeps_back(peer->copies, KEPT_FOR_NOW, true);
		fn_ring_leave_behind(&peer->tx);
		touch(s, peer);
	}
	return true;
}

static bool put(struct shm *s, struct peer *peer, uint8_t arg, const struct fn_ring_piece *piece, unsigned n, uint32_t body)
{
	if (fn_unlikely(peer->backlog_len || !has_room(s, peer, body)))
		return !peer->broken && keep(s, peer, false, arg, piece, n);
	fn_ring_put(&peer->tx, ENTRY_FRAME, arg, piece, n);
	touch(s, peer);
	return true;
}

/* What was kept for want of room to copy it: now there is some, and our own buffers are free. */
static fn_cold bool copy_kept(struct shm *s, struct peer *peer, struct kept *k)
{
	struct place place[PLACES_MAX];
	size_t len = k->arg * sizeof(place[0]);

	memcpy(place, k->body, len);
	if (!fn_shm_copy_out(s, peer, place, k->arg))
		return false;
	for (unsigned i = 0; i < k->arg; i++) {
		struct place at;

		memcpy(&at, k->body + i * sizeof(at), sizeof(at));
		if (is_lent(s, peer, at.buf))
			take_back(s, peer, at.buf);
	}
	memcpy(k->body, place, len);
	return true;
}

static void backlog_flush(struct shm *s, struct peer *peer)
{
	while (peer->backlog_len) {
		struct kept *k = &peer->backlog[peer->backlog_head];
		struct fn_ring_piece piece = { k->body, k->len };

		if (!has_room(s, peer, k->len))
			return;
		step_begin(s, peer, peer->tx.head);
		s->step.flush = true;
		step_is(s, k->ours ? STEP_COPY : STEP_LEND);
		if (k->ours && !copy_kept(s, peer, k)) {
			step_is(s, STEP_NONE);
			return;
		}
		fn_ring_put(&peer->tx, k->type, k->arg, &piece, 1);
		touch(s, peer);
		peer->backlog_head = (peer->backlog_head + 1) % BACKLOG;
		s->backlogs -= !--peer->backlog_len;
		step_is(s, STEP_NONE);
	}
	if (peer->copies)
		fn_shm_keeps_back(peer->copies, KEPT_FOR_NOW, false);
	set_choked(s);
}

static bool send_inline(struct shm *s, struct peer *peer, struct fn_pkt *p)
{
	struct fn_ring_piece piece[PLACES_MAX];
	uint32_t body = 0;
	unsigned n = 0;

	for (const struct fn_pkt *b = p; b && n < PLACES_MAX; b = b->seg) {
		uint32_t skip = b == p ? FN_ETHER_LEN : 0;

		piece[n++] = (struct fn_ring_piece){ b->data + skip, b->len - skip };
		body += b->len - skip;
	}
	return put(s, peer, 0, piece, n, body);
}

/* The frame goes into the ring at once, its payload copied; false: it cannot. */
static bool send_copied(struct shm *s, struct peer *peer, struct place *place, unsigned n, const struct fn_ring_piece *piece,
			uint32_t body)
{
	bool sent;

	if (peer->backlog_len || !has_room(s, peer, body))
		return false;
	step_begin(s, peer, peer->tx.head);
	step_is(s, STEP_COPY);
	sent = fn_shm_copy_out(s, peer, place, n) && put(s, peer, (uint8_t)n, piece, 2, body);
	step_is(s, STEP_NONE);
	return sent;
}

static bool send_lent(struct shm *s, struct peer *peer, struct fn_pkt *p)
{
	struct fn_ring_piece piece[2];
	struct place place[PLACES_MAX];
	uint32_t head = fn_shm_headers(p), skip = FN_ETHER_LEN + head;
	struct fn_pkt *b;
	unsigned n = 0;
	bool sent;

	for (b = p; b; b = b->seg, skip = 0) {
		if (b->len == skip)
			continue;
		if (n == PLACES_MAX || !is_tx(s, b))
			return false;
		place[n++] = (struct place){ (uint32_t)((struct txbuf *)b->priv - s->txbuf),
			(uint16_t)(b->data + skip - b->buf), (uint16_t)(b->len - skip) };
	}
	piece[0] = (struct fn_ring_piece){ place, n * (uint32_t)sizeof(place[0]) };
	piece[1] = (struct fn_ring_piece){ p->data + FN_ETHER_LEN, head };
	if (peer->copies && send_copied(s, peer, place, n, piece, piece[0].len + head))
		return true;
	lend(s, peer, place, n);
	sent = peer->copies ? keep(s, peer, true, (uint8_t)n, piece, 2) : put(s, peer, (uint8_t)n, piece, 2, piece[0].len + head);
	if (fn_unlikely(!sent))
		unlend(s, peer, place, n);
	step_is(s, STEP_NONE);
	return sent;
}

static struct peer *dst_peer(const struct shm *s, const struct fn_pkt *p)
{
	const uint8_t *mac = p->buf + p->l2;	/* neigh.c: 02:00 and the next hop's address */

	return peer_at(s, (unsigned)mac[4] << 8 | mac[5]);
}

/* We have not got the peer's memory: it lies ready for us (fabric_half.c), or who has it is to run. */
static fn_cold bool fetch(struct shm *s, struct peer *peer)
{
	if (lies_ready(s, peer) && s->conf.introduce)
		s->conf.introduce(s->conf.ctx, peer->group);
	if (is_here(s, peer))
		return true;
	summon(s, peer);
	return false;
}

static void send_one(struct shm *s, struct fn_pkt *p)
{
	struct peer *peer = dst_peer(s, p);
	bool sent = false;

	/* a page that we have not got: what was posted in it stands; the rest is sent again by who has it (tcp_timer.c) */
	if (fn_unlikely(peer && peer->mail && !peer->dead)) {
		if (is_here(s, peer)) {
			peer = fn_shm_mail_post(s, peer, p);
			sent = !peer;
			/* claimed, which the stack does not know yet: what it has left behind is the claimer's to look for */
			if (peer && has_ring(s, peer))
				fn_ring_leave_behind(&peer->tx);
		} else {
			summon(s, peer);
			peer = NULL;
		}
	}
	if (peer && fn_unlikely(!peer->dead && !is_here(s, peer)))
		fetch(s, peer);
	if (sent)
		;
	else if (fn_likely(peer && !peer->dead && !peer->broken))
		sent = p->pkt_len - FN_ETHER_LEN <= INLINE_MAX ? send_inline(s, peer, p) : send_lent(s, peer, p);
	else if (peer)
		fn_shm_answer_for(s, peer, p);
	if (fn_likely(sent)) {
		s->nic.stats.tx_packets++;
		s->nic.stats.tx_bytes += p->pkt_len;
	} else {
		s->nic.stats.tx_full++;
	}
	if (!(p->flags & FN_PKT_KEEP))
		fn_pkt_free(p);
}

/* Who of those that were sent something sleeps? */
static void note_bells(struct shm *s)
{
	while (s->touched_words) {
		unsigned w = (unsigned)__builtin_ctz(s->touched_words), number = w * 64 + (unsigned)__builtin_ctzll(s->touched[w]);
		struct peer *peer = s->peer[number];

		s->touched[w] &= s->touched[w] - 1;
		if (!s->touched[w])
			s->touched_words &= s->touched_words - 1;
		if (peer->mail && is_here(s, peer))
			fn_shm_mail_ring(s, peer);
		if (!has_ring(s, peer) || !fn_ring_sleeper(&peer->tx))
			continue;
		if (s->conf.ring)
			s->conf.ring(s->conf.ctx, (int)number);
		else
			s->bell[w] |= 1ull << number % 64;
	}
}

static uint16_t shm_tx(struct fn_nic *nic, struct fn_pkt **burst, uint16_t n)
{
	struct shm *s = shm_of(nic);

	fn_shm_mend(s);
	for (unsigned i = 0; i < n; i++)
		send_one(s, burst[i]);
	note_bells(s);
	return n;
}

static bool shm_full(const struct fn_nic *nic, const struct fn_pkt *p)
{
	const struct peer *peer = dst_peer(shm_of(nic), p);

	return peer && peer->backlog_len;
}

/* ---- receive ---- */

struct fn_pkt *fn_shm_place_pkt(struct shm *s, struct peer *peer, const struct place *at)
{
	struct rxbuf *r = rx_get(s, false);
	struct fn_pkt *copy;
	uint8_t *buf;

	if (!r)
		return NULL;
	buf = (uint8_t *)peer->payload + (size_t)at->buf * FN_SHM_BUF;
	/* the buffer ends with the payload: it is the peer's, and nothing may be put behind it */
	fn_pkt_init(&r->p, &s->nic, buf, at->off + at->len, buf + at->off, at->len);
	r->units = (uint32_t)at->off + at->len > FN_SHM_BUF ? LARGE : 1;	/* so much the peer cannot use meanwhile */
	r->p.truesize = ((uint32_t)at->off + at->len + FN_SHM_BUF - 1) / FN_SHM_BUF * FN_SHM_BUF;
	r->p.peer = peer->number;
	r->p.priv = r;
	r->buf = at->buf;
	if (fn_likely(s->step.what == STEP_TAKE))
		step_add_rx(s, r);
	r->peer = peer;
	peer->held += r->units;
	if (fn_likely(peer->held <= peer->quota && !peer->narrow))
		return &r->p;
	copy = fn_shm_copy_in(s, peer, peer->payload, at);
	if (!copy && !peer->narrow)
		return &r->p;
	free_rx(s, r);	/* is returned */
	return copy;
}

/* The payload's pieces behind the headers. False: no descriptor was left, the pieces before are given back. */
static bool add_places(struct shm *s, struct peer *peer, struct fn_pkt *head, const struct place *place, unsigned n)
{
	struct fn_pkt **link = &head->seg;

	for (unsigned i = 0; i < n; i++) {
		struct fn_pkt *p = fn_shm_place_pkt(s, peer, &place[i]);

		if (!p)
			return false;
		for (*link = p; p; p = p->seg) {
			head->pkt_len += p->len;
			link = &p->seg;
		}
	}
	return true;
}

static fn_cold struct fn_pkt *bad_entry(struct shm *s, struct peer *peer, struct rxbuf *r)
{
	peer->broken = true;
	s->nic.stats.rx_errors++;
	free_rx(s, r);
	return NULL;
}

static struct fn_pkt *take_frame(struct shm *s, struct peer *peer, struct rxbuf *r, const struct fn_ring_head *head)
{
	struct place place[PLACES_MAX];
	uint32_t n = head->arg, skip = n * (uint32_t)sizeof(place[0]);
	uint8_t *body = r->mem + 16;
	struct fn_pkt *p;

	if (n > PLACES_MAX || head->len < skip + FN_IP4_LEN)
		return bad_entry(s, peer, r);
	memcpy(place, body, skip);
	for (unsigned i = 0; i < n; i++)
		if (!fn_shm_place_ok(peer->bufs, &place[i]))
			return bad_entry(s, peer, r);
	p = rx_head(s, peer, r, body + skip, head->len - skip);
	if (fn_likely(!n) || add_places(s, peer, p, place, n))
		return p;
	s->nic.stats.rx_missed++;
	fn_pkt_free(p);
	return NULL;
}

/* A peer can return only what it has, and once. */
static void note_back(struct shm *s, struct peer *peer, uint32_t i)
{
	bool ok = peer->copies ? fn_shm_copy_is_lent(peer, i) : is_lent(s, peer, i);

	for (unsigned k = 0; k < s->step.n; k++)
		ok = ok && s->step.tx[k].buf != i;
	if (ok && s->step.n < PLACES_MAX)
		step_add_tx(s, i, peer->copies ? 1 : s->txbuf[i].lent);
	else
		s->nic.stats.rx_errors++;
}

static void take_returns(struct shm *s, struct peer *peer, struct rxbuf *r, uint32_t len)
{
	uint32_t i;

	step_begin(s, peer, peer->rx.pos);
	for (uint32_t at = 0; at + sizeof(i) <= len; at += sizeof(i)) {
		memcpy(&i, r->mem + 16 + at, sizeof(i));
		note_back(s, peer, i);
	}
	step_is(s, STEP_BACK);
	fn_ring_took(&peer->rx, len);
	for (unsigned k = 0; k < s->step.n; k++) {
		if (peer->copies)
			fn_shm_copy_back(peer, s->step.tx[k].buf);
		else
			take_back(s, peer, s->step.tx[k].buf);
	}
	step_is(s, STEP_NONE);
	free_rx(s, r);
}

static struct fn_pkt *take_entry(struct shm *s, struct peer *peer, struct rxbuf *r, const struct fn_ring_head *head)
{
	struct fn_pkt *p = NULL;

	step_begin(s, peer, peer->rx.pos);
	step_is(s, STEP_TAKE);
	if (fn_unlikely(head->type == ENTRY_AGAIN)) {
		peer->resend = s->resends = true;
		free_rx(s, r);
	} else {
		p = take_frame(s, peer, r, head);
	}
	fn_ring_took(&peer->rx, head->len);
	step_is(s, STEP_NONE);
	return p;
}

/* The next frame of a peer; NULL: there is none. */
static struct fn_pkt *next_frame(struct shm *s, struct peer *peer)
{
	struct fn_ring_head head;
	struct fn_pkt *p;
	struct rxbuf *r;
	int len;

	while (!peer->broken && fn_ring_pending(&peer->rx)) {
		r = rx_get(s, true);
		if (!r)
			return NULL;	/* it waits in the ring: back-pressure */
		r->peer = NULL;
		len = fn_ring_look(&peer->rx, &head, r->mem + 16);
		if (fn_unlikely(len < 0 || head.type < ENTRY_FRAME || head.type > ENTRY_AGAIN))
			return bad_entry(s, peer, r);
		if (head.type == ENTRY_RETURN) {
			take_returns(s, peer, r, (uint32_t)len);
			continue;
		}
		p = take_entry(s, peer, r, &head);
		if (p)
			return p;
	}
	return NULL;
}

static void send_returns(struct shm *s, struct peer *peer)
{
	while (peer->returns && has_room(s, peer, RETURNS * 4)) {
		uint32_t list[RETURNS];
		struct fn_ring_piece piece = { list, 0 };
		struct rxbuf *r = peer->returns;

		step_begin(s, peer, peer->tx.head);
		for (unsigned n = 0; n < RETURNS && r; n++, r = r->next) {
			list[n] = r->buf;
			piece.len += sizeof(list[0]);
			step_add_rx(s, r);
		}
		step_is(s, STEP_RETURN);
		fn_ring_put(&peer->tx, ENTRY_RETURN, 0, &piece, 1);
		for (unsigned n = 0; n < s->step.n; n++) {
			r = s->step.rx[n];
			peer->returns = r->next;
			r->peer = NULL;
			peer->held -= r->units;
			r->next = s->free_frag;
			s->free_frag = r;
		}
		step_is(s, STEP_NONE);
		touch(s, peer);
	}
}

/* After a death under our lock: what we had taken, and what is on its way to us, may be lost. */
static fn_cold void tell_again(struct shm *s, struct peer *peer)
{
	if (!has_room(s, peer, 0))
		return;
	fn_ring_put(&peer->tx, ENTRY_AGAIN, 0, NULL, 0);
	peer->again = false;
	touch(s, peer);
}

static fn_cold void run_late(struct shm *s, struct peer *peer)
{
	peer->late = false;
	if (s->conf.late)
		s->conf.late(s->conf.ctx, peer->number);
}

static uint16_t rx_peer(struct shm *s, struct peer *peer, struct fn_pkt **burst, uint16_t n)
{
	uint16_t got = 0;
	struct fn_pkt *p;

	if (fn_unlikely(peer->again))
		tell_again(s, peer);
	if (fn_unlikely(peer->backlog_len))
		backlog_flush(s, peer);
	if (fn_unlikely(peer->late))
		run_late(s, peer);
	if (peer->returns)
		send_returns(s, peer);
	while (got < n && (p = next_frame(s, peer))) {
		s->nic.stats.rx_packets++;
		s->nic.stats.rx_bytes += p->pkt_len;
		burst[got++] = p;
	}
	if (fn_unlikely(peer->returns != NULL))		/* beyond the quota: the peer may be waiting for them */
		send_returns(s, peer);
	if (fn_unlikely(peer->backlog_len && peer->copies))	/* buffers may have come back */
		backlog_flush(s, peer);
	if (got)
		s->heard = peer;
	return got;
}

/* Behind the rings: whoever sends something on a connection that he has claimed has said so before. */
static void look_at_pages(struct shm *s)
{
	for (uint32_t i = 1; i <= s->peers; i++) {
		struct peer *peer = s->peer[i];

		if (!peer || !(peer->mail || peer->page) || !peer->used)
			continue;
		if (peer->mail && !peer->dead && is_here(s, peer)) {
			fn_shm_mail_look(s, peer);
			if (fn_unlikely(peer->late))
				run_late(s, peer);
		}
		if (has_offers(s, peer)) {
			/* pairs with fn_page_post(): what it counts is there */
			peer->posted = atomic_load_explicit(&peer->page->posted, memory_order_acquire);
			if (s->conf.offered)
				s->conf.offered(s->conf.ctx, (int)i);
		}
	}
}

/* Most of many have none. */
fn_inline bool has_work(const struct peer *peer)
{
	return fn_ring_pending(&peer->rx) || peer->returns || peer->backlog_len || peer->again || peer->late;
}

/* The peers in turn, beginning with another one each time: none starves the others. How many there are in the burst then. */
static uint16_t rx_rings(struct shm *s, struct fn_pkt **burst, uint16_t got, uint16_t n)
{
	uint64_t image = image_of(s);

	for (uint32_t k = 0, i = s->turn; k < s->peers && got < n; k++) {
		struct peer *peer;

		i = i < s->peers ? i + 1 : 1;
		peer = s->peer[i];
		if (peer && peer->used && !peer->dead && peer->ready & image && has_work(peer))
			got = (uint16_t)(got + rx_peer(s, peer, burst + got, (uint16_t)(n - got)));
	}
	return got;
}

static uint16_t shm_rx(struct fn_nic *nic, struct fn_pkt **burst, uint16_t n)
{
	struct shm *s = shm_of(nic);
	uint16_t got = 0;

	fn_shm_mend(s);
	if (fn_unlikely(s->answers != NULL))
		got = fn_shm_rx_answers(s, burst, n);
	s->burst = burst;
	s->burst_len = got;
	/* who has been introduced just now may have said something before: it is there for whoever looks */
	do {
		s->introduced = false;
		got = rx_rings(s, burst, got, n);
		if (s->mails || s->pages)
			look_at_pages(s);
	} while (fn_unlikely(s->introduced) && got < n);
	s->burst_len = 0;
	if (fn_unlikely(s->resends))
		fn_shm_resend(s);
	s->turn = s->turn < s->peers ? s->turn + 1 : 0;
	note_bells(s);
	return got;
}

/* Without the lock: .rx is read first, for this may be about to be another peer, which other images have. */
static bool is_pending(const struct peer *peer, uint64_t image)
{
	struct fn_ring_rx rx = peer->rx;

	atomic_signal_fence(memory_order_seq_cst);
	return !peer->dead && !peer->broken && peer->ready & image && (fn_ring_pending(&rx) || peer->late);
}

static bool shm_rx_pending(const struct fn_nic *nic)
{
	const struct shm *s = shm_of(nic);

	uint64_t image = image_of(s);

	for (uint32_t i = 1; i <= s->peers; i++) {
		const struct peer *peer = s->peer[i];

		/* a group has neither ring nor offers */
		if (peer && peer->used && !peer->mail && (is_pending(peer, image) || has_offers(s, peer)))
			return true;
	}
	return fn_unlikely(s->answers != NULL) && fn_shm_has_answers(s);
}

static bool shm_has(const struct fn_nic *nic, uint16_t number)
{
	const struct peer *peer = peer_at(shm_of(nic), number);

	return !peer || !peer->copies || is_here(shm_of(nic), peer);
}

/* Is the peer's memory another image's? What is due is its to do. */
static bool shm_absent(const struct fn_nic *nic, uint16_t number)
{
	struct shm *s = shm_of(nic);
	struct peer *peer = peer_at(s, number);

	if (fn_likely(!peer || peer->dead || is_here(s, peer)) || fetch(s, peer))
		return false;
	peer->late = true;
	return true;
}

/* ---- life ---- */

static const struct fn_nic_ops shm_ops = {
	.rx = shm_rx,
	.tx = shm_tx,
	.alloc = fn_shm_alloc,
	.alloc_large = fn_shm_alloc_large,
	.takes_large = fn_shm_takes_large,
	.free = shm_free,
	.in_flight = shm_in_flight,
	.rx_pending = shm_rx_pending,
	.full = shm_full,
	.reads = fn_shm_reads,
	.each = fn_shm_each,
	.reclaim = fn_shm_reclaim,
	.has = shm_has,
	.holders = fn_shm_holders,
	.spill = fn_shm_spill,
	.absent = shm_absent,
	.open = fn_shm_open,
};

struct fn_nic *fn_shm_create(struct fn_arena *a, const struct fn_shm_conf *conf)
{
	struct shm *s = fn_arena_alloc(a, sizeof(*s));

	if (!s)
		return NULL;
	s->arena = a;
	s->payload = conf->payload;
	s->bufs = (uint32_t)(conf->payload_len / FN_SHM_BUF);
	s->backed = conf->grow ? 0 : s->bufs;
	s->made = 1;		/* the first one tells of the others */
	s->conf = *conf;
	s->txbuf = fn_arena_alloc(a, s->bufs * sizeof(s->txbuf[0]));
	if (!s->txbuf)
		return NULL;
	note_left(s);
	s->nic.ops = &shm_ops;
	s->nic.priv = s;
	s->nic.caps = FN_NIC_NO_ARP | FN_NIC_LOSSLESS | FN_NIC_NOTES | FN_NIC_TX_SEGS | FN_NIC_TX_TSO | FN_NIC_TX_IP_CSUM |
		      FN_NIC_TX_TCP_CSUM | FN_NIC_TX_UDP_CSUM | FN_NIC_RX_CSUM;
	s->nic.mtu = 65535;
	s->nic.tso_max = 65535 - HEAD_MAX;	/* nobody cuts it: the peer gets it whole */
	s->nic.tso_segs = PLACES_MAX;
	s->nic.tx_payload = FN_SHM_BUF - FN_PKT_HEADROOM;
	s->nic.tx_large = LARGE_PAYLOAD;
	s->nic.mac[0] = 2;
	memcpy(s->nic.name, "fabric", 7);
	return &s->nic;
}
