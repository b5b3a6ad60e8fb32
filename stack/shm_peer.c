/* SPDX-License-Identifier: BSD-3-Clause */
/* The fabric's peers: they come, they sleep and are to be rung, they go with all that they held of ours. */
#include "shm_priv.h"

#include <errno.h>

static bool pair_ok(const struct fn_shm_pair *pair)
{
	return !(pair->tx_slots & (pair->tx_slots - 1)) && !(pair->rx_slots & (pair->rx_slots - 1)) && pair->tx_slots >= FN_RING_SLOTS_MIN &&
	       pair->rx_slots >= FN_RING_SLOTS_MIN && pair->tx_slots <= FN_RING_SLOTS_MAX &&
	       pair->rx_slots <= FN_RING_SLOTS_MAX && pair->payload_len / FN_SHM_BUF < UINT32_MAX;
}

/* A free number, and a record for it that keeps what an earlier one of that number had of the arena. */
int fn_shm_number(struct shm *s)
{
	struct kept *backlog;
	struct mail *office;
	struct copies *pool;
	struct peer *peer;
	int i = 1;

	while (i < FN_SHM_PEERS && s->peer[i] && s->peer[i]->used)
		i++;
	if (i == FN_SHM_PEERS)
		return -ENOSPC;
	if (!s->peer[i])
		s->peer[i] = fn_arena_alloc(s->arena, sizeof(*peer));
	peer = s->peer[i];
	if (!peer)
		return -ENOMEM;
	backlog = peer->backlog;
	office = peer->office;
	pool = peer->pool;
	*peer = (struct peer){ .number = (uint16_t)i, .backlog = backlog, .office = office, .pool = pool };
	return i;
}

int fn_shm_peer_add(struct fn_nic *nic, const struct fn_shm_pair *pair)
{
	struct shm *s = shm_of(nic);
	struct peer *peer;
	int number;

	if (!pair_ok(pair))
		return -EINVAL;
	number = fn_shm_number(s);
	if (number < 0)
		return number;
	peer = s->peer[number];
	peer->images = image_of(s);
	peer->life = ++s->lives;
	peer->used = true;
	if (pair->copies && !fn_shm_copies_init(s, peer, peer->pool, pair->copies, pair->copies_len)) {
		peer->used = false;
		return -ENOMEM;
	}
	fn_ring_tx_init(&peer->tx, pair->tx, pair->tx_slots);
	fn_ring_rx_init(&peer->rx, pair->rx, pair->rx_slots);
	fn_ring_run_on(&peer->rx, s->cpu);
	atomic_store_explicit(&peer->rx.mem->number, (uint32_t)number, memory_order_relaxed);
	s->peers = fn_max(s->peers, (uint32_t)number);
	if (pair->payload)
		fn_shm_peer_payload(nic, number, pair->payload, pair->payload_len);
	return number;
}

int fn_shm_nobody(struct fn_nic *nic)
{
	struct shm *s = shm_of(nic);
	struct peer *peer;
	int number;

	if (s->nobody)
		return s->nobody;
	number = fn_shm_number(s);
	if (number < 0)
		return 0;
	peer = s->peer[number];
	peer->images = ~0ull;
	peer->life = ++s->lives;
	peer->dead = true;
	peer->used = true;
	s->peers = fn_max(s->peers, (uint32_t)number);
	s->nobody = (uint16_t)number;
	return number;
}

void fn_shm_peer_expect(struct fn_nic *nic, int number, const void *payload)
{
	struct peer *peer = peer_at(shm_of(nic), (unsigned)number);

	if (!peer || peer->ready)
		return;
	peer->payload = payload;
	peer->expected = true;
}

void fn_shm_peer_payload(struct fn_nic *nic, int number, const void *payload, size_t payload_len)
{
	struct shm *s = shm_of(nic);
	struct peer *peer = peer_at(s, (unsigned)number);

	if (!peer || peer->ready & image_of(s) || ((peer->ready || peer->expected) && payload != peer->payload))
		return;
	peer->payload = payload;
	peer->bufs = (uint32_t)(payload_len / FN_SHM_BUF);
	peer->quota = peer->bufs / 2;
	peer->ready |= image_of(s);
	set_narrow(peer);
}

void fn_shm_peer_want(struct fn_nic *nic, int number, uint64_t images)
{
	struct peer *peer = peer_at(shm_of(nic), (unsigned)number);

	if (!peer)
		return;
	peer->wanted = images;
	set_narrow(peer);
}

bool fn_shm_peer_have(struct fn_nic *nic, int number, const void *payload)
{
	struct shm *s = shm_of(nic);
	struct peer *peer = peer_at(s, (unsigned)number);
	bool all = peer && payload && payload == peer->payload;

	if (!peer || !(peer->wanted & image_of(s)))
		return false;
	peer->wanted &= ~image_of(s);
	if (all) {
		if (peer->copies && peer->copies->backed)	/* of whoever was forked while it was another image's alone */
			fn_shm_publish_lives(s, peer->copies->mem);
		peer->images |= image_of(s);
		peer->ready |= image_of(s);
	} else {
		peer->apart = true;
	}
	set_narrow(peer);
	return all;
}

void fn_shm_peer_apart(struct fn_nic *nic, int number)
{
	struct shm *s = shm_of(nic);
	struct peer *peer = peer_at(s, (unsigned)number);
	const struct peer *group = peer && peer->group ? peer_at(s, peer->group) : NULL;

	if (!peer || !(peer->mail || (group && (group->apart || group->images & ~peer->images))))
		return;
	peer->apart = true;
	set_narrow(peer);
}

uint64_t fn_shm_wanted(const struct fn_nic *nic, int number)
{
	const struct peer *peer = peer_at(shm_of(nic), (unsigned)number);

	return peer ? peer->wanted : 0;
}

bool fn_shm_is_ready(const struct fn_nic *nic, int number)
{
	const struct shm *s = shm_of(nic);
	const struct peer *peer = peer_at(s, (unsigned)number);

	return peer && peer->ready & image_of(s);
}

/* What it has claimed is its. Its group's page may be another image's, which does it then. */
static void leave_group(struct shm *s, struct peer *peer)
{
	const struct peer *group = peer->group ? peer_at(s, peer->group) : NULL;

	if (group && !group->dead && !is_here(s, group))
		return;
	if (group && !group->dead)
		fn_shm_mail_leave(s, peer);
	peer->group = 0;
}

/* What it held of ours is free; what we were to return needs no return. */
static void bury(struct shm *s, struct peer *peer)
{
	/* of one that no image has, nobody knows whether it still reads: what it has is lost, unless it was copied for it */
	bool lost = !peer->images && !peer->copies;
	struct rxbuf *r;

	if (peer->mail)
		fn_shm_mail_end(s, peer);
	peer->dead = true;
	for (uint32_t i = 0; i < s->made; i++) {
		struct txbuf *b = &s->txbuf[i];

		if (b->spill && b->spilt == (peer->mail ? &peer->mail->spill : peer->copies))
			b->spill = 0;
		if (!b->lent || b->peer != peer->number)
			continue;
		peer->lent -= b->lent;
		if (lost) {
			b->peer = 0;
			continue;
		}
		b->lent = 0;
		if (b->freed)
			put_tx(s, b);
	}
	if (peer->copies)
		peer->copies->out = 0;
	while ((r = peer->returns)) {
		peer->returns = r->next;
		r->peer = NULL;
		peer->held -= r->units;
		r->next = s->free_frag;
		s->free_frag = r;
	}
	s->backlogs -= peer->backlog_len != 0;
	peer->backlog_len = 0;
	set_choked(s);
	s->bell[peer->number / 64] &= ~(1ull << peer->number % 64);
}

void fn_shm_peer_dead(struct fn_nic *nic, int number)
{
	struct shm *s = shm_of(nic);
	struct peer *peer = peer_at(s, (unsigned)number);

	if (!peer)
		return;
	leave_group(s, peer);
	if (!peer->dead)
		bury(s, peer);
}

bool fn_shm_peer_del(struct fn_nic *nic, int number)
{
	struct peer *peer = peer_at(shm_of(nic), (unsigned)number);

	if (!peer)
		return true;
	fn_shm_peer_dead(nic, number);
	fn_shm_accepts_no_more(shm_of(nic), peer, image_of(shm_of(nic)));
	if (peer->held || peer->group || peer->accepts)
		return false;
	peer->images = peer->ready = peer->wanted = 0;
	peer->used = false;
	return true;
}

/* ---- images ---- */

uint32_t fn_shm_life(const struct fn_nic *nic, int number)
{
	const struct peer *peer = peer_at(shm_of(nic), (unsigned)number);

	return peer ? peer->life : 0;
}

bool fn_shm_is_dead(const struct fn_nic *nic, int number)
{
	const struct peer *peer = peer_at(shm_of(nic), (unsigned)number);

	return !peer || peer->dead;
}

uint64_t fn_shm_images(const struct fn_nic *nic, int number)
{
	const struct peer *peer = peer_at(shm_of(nic), (unsigned)number);

	return peer ? peer->images : 0;
}

void fn_shm_image_born(struct fn_nic *nic, uint64_t parent, uint64_t child)
{
	struct shm *s = shm_of(nic);

	s->family = true;
	for (uint32_t i = 1; i <= s->peers; i++) {
		struct peer *peer = peer_at(s, i);

		if (!peer || i == s->nobody || !((peer->images | peer->wanted) & parent))
			continue;
		if (peer->wanted & parent)
			peer->wanted |= child;
		if (!(peer->images & parent)) {
			set_narrow(peer);
			continue;
		}
		if (!(peer->ready & parent || peer->expected)) {
			peer->apart |= !peer->mail;	/* of a group the shim knows (fn_shm_peer_apart()) */
			set_narrow(peer);
			continue;
		}
		peer->images |= child;
		if (peer->ready & parent)
			peer->ready |= child;
		set_narrow(peer);
		if (peer->accepts & parent)
			peer->accepts |= child;
	}
}

void fn_shm_image_life(struct fn_nic *nic, unsigned place, uint32_t life)
{
	struct shm *s = shm_of(nic);

	if (s->life[place] == life)
		return;
	s->life[place] = life;
	fn_shm_lives_changed(s);
}

bool fn_shm_announced(const struct fn_nic *nic, int number, unsigned place)
{
	const struct shm *s = shm_of(nic);
	const struct peer *peer = peer_at(s, (unsigned)number);

	return peer && peer->announced[place] == s->life[place];
}

void fn_shm_announce(struct fn_nic *nic, int number, unsigned place)
{
	struct shm *s = shm_of(nic);
	struct peer *peer = peer_at(s, (unsigned)number);

	if (peer)
		peer->announced[place] = s->life[place];
}

void fn_shm_image_gone(struct fn_nic *nic, uint64_t image)
{
	struct shm *s = shm_of(nic);

	for (uint32_t i = 1; i <= s->peers; i++) {
		struct peer *peer = peer_at(s, i);

		if (!peer || i == s->nobody)
			continue;
		peer->images &= ~image;
		peer->ready &= ~image;
		peer->wanted &= ~image;
		set_narrow(peer);
		fn_shm_accepts_no_more(s, peer, image);
	}
}

int fn_shm_orphan(const struct fn_nic *nic, int from)
{
	const struct shm *s = shm_of(nic);

	for (uint32_t i = (uint32_t)from; i <= s->peers; i++)
		if (peer_at(s, i) && !s->peer[i]->images && !s->peer[i]->wanted)
			return (int)i;
	return 0;
}

bool fn_shm_is_group(const struct fn_nic *nic, int number)
{
	const struct peer *peer = peer_at(shm_of(nic), (unsigned)number);

	return peer && peer->mail;
}

bool fn_shm_broken(const struct fn_nic *nic, int number)
{
	const struct peer *peer = peer_at(shm_of(nic), (unsigned)number);

	return peer && peer->broken;
}

bool fn_shm_drained(const struct fn_nic *nic, int number)
{
	const struct shm *s = shm_of(nic);
	const struct peer *peer = peer_at(s, (unsigned)number);

	return !peer || !has_ring(s, peer) || peer->broken || !(peer->ready & image_of(s)) || !fn_ring_pending(&peer->rx);
}

uint32_t fn_shm_lent(const struct fn_nic *nic, int number)
{
	const struct peer *peer = peer_at(shm_of(nic), (unsigned)number);

	return peer ? peer->lent + (peer->copies ? peer->copies->out : 0) : 0;
}

void fn_shm_peer_close(struct fn_nic *nic, int number)
{
	struct shm *s = shm_of(nic);
	struct peer *peer = peer_at(s, (unsigned)number);

	if (peer && has_ring(s, peer))
		fn_ring_close(&peer->rx);
}

/* Datagrams that nobody reads have an eighth of our buffers at most. */
#define DATAGRAM_SHARE 8

bool fn_shm_takes(struct fn_nic *nic, int number, size_t len)
{
	struct shm *s = shm_of(nic);
	struct peer *peer = peer_at(s, (unsigned)number);
	uint32_t bufs = len + DATAGRAM_HEAD > INLINE_MAX ? (uint32_t)(len / nic->tx_payload + 1) : 0;

	if (!peer || !has_ring(s, peer) || !(peer->ready & image_of(s)) || peer->broken || peer->backlog_len || fn_ring_closed(&peer->tx))
		return false;
	if (bufs && (peer->lent + bufs > s->bufs / DATAGRAM_SHARE ||
		     (peer->copies && peer->copies->out + bufs > peer->copies->bufs)))
		return false;
	return fn_ring_room(&peer->tx) > (int)fn_ring_slots(FN_RING_ENTRY_MAX);
}

bool fn_shm_untaken(const struct fn_nic *nic, int number)
{
	const struct shm *s = shm_of(nic);
	const struct peer *peer = peer_at(s, (unsigned)number);

	return peer && has_ring(s, peer) && !fn_ring_closed(&peer->tx) && (peer->backlog_len ||
		peer->tx.head != atomic_load_explicit(&peer->tx.mem->taken, memory_order_relaxed));
}

int fn_shm_bell(struct fn_nic *nic)
{
	struct shm *s = shm_of(nic);

	for (unsigned w = 0; w < BELL_WORDS; w++) {
		if (s->bell[w]) {
			unsigned bit = (unsigned)__builtin_ctzll(s->bell[w]);

			s->bell[w] &= s->bell[w] - 1;
			return (int)(w * 64 + bit);
		}
	}
	return 0;
}

bool fn_shm_arm(struct fn_nic *nic)
{
	struct shm *s = shm_of(nic);

	for (uint32_t i = 1; i <= s->peers; i++)
		if (peer_at(s, i) && has_ring(s, s->peer[i]))
			fn_ring_arm(&s->peer[i]->rx);
	return !nic->ops->rx_pending(nic);
}

void fn_shm_rearm(struct fn_nic *nic, int number)
{
	struct shm *s = shm_of(nic);
	struct peer *peer = peer_at(s, (unsigned)number);

	if (peer && has_ring(s, peer))
		fn_ring_arm(&peer->rx);
}

void fn_shm_disarm(struct fn_nic *nic)
{
	struct shm *s = shm_of(nic);

	for (uint32_t i = 1; i <= s->peers; i++)
		if (peer_at(s, i) && has_ring(s, s->peer[i]))
			fn_ring_disarm(&s->peer[i]->rx);
}

uint32_t fn_shm_outstanding(const struct fn_nic *nic)
{
	return shm_of(nic)->used;
}

void fn_shm_run_on(struct fn_nic *nic, uint32_t cpu)
{
	struct shm *s = shm_of(nic);

	if (fn_likely(s->cpu == cpu + 1))
		return;
	s->cpu = cpu + 1;
	for (uint32_t i = 1; i <= s->peers; i++)
		if (peer_at(s, i) && has_ring(s, s->peer[i]))
			fn_ring_run_on(&s->peer[i]->rx, s->cpu);
}

bool fn_shm_beside(const struct fn_nic *nic)
{
	const struct shm *s = shm_of(nic);
	const struct peer *peer = s->heard;

	/* the ring that is both is our own */
	return peer && peer->used && has_ring(s, peer) && peer->tx.mem != peer->rx.mem && s->cpu && fn_ring_runs_on(&peer->tx) == s->cpu;
}
