/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * Buffers to send from: our payload memory, cut into units of FN_SHM_BUF, handed out by one or by LARGE in a row. Owns how
 * much of it has memory behind it, what was ever used, and what is free (put_tx() gives back). Knows no peer's state but
 * whether it may be sent a large one.
 */
#include "shm_priv.h"

/* A step at a time, half of what there is: 64 buffers, 256 KiB, at least. */
static fn_cold bool back_more(struct shm *s)
{
	uint32_t want = fn_min(s->backed + fn_max(s->backed / 2, 64u), s->bufs);

	if (s->backed == s->bufs || s->conf.grow(s->conf.ctx, (size_t)want * FN_SHM_BUF))
		return false;
	if (!s->backed)
		fn_shm_publish_lives(s, s->payload);
	s->backed = want;
	return true;
}

static struct fn_note *note_of(const struct shm *s, const struct txbuf *b)
{
	return (struct fn_note *)(s->payload + (size_t)(b - s->txbuf) * FN_SHM_BUF);
}

/* Buffers that were never used, so many in a row; NULL: there are none. */
static struct txbuf *make_tx(struct shm *s, unsigned units)
{
	struct txbuf *b = &s->txbuf[s->made];

	while (fn_unlikely(s->made + units > s->backed))
		if (!back_more(s))
			return NULL;
	*note_of(s, b) = (struct fn_note){ .units = (uint16_t)units };
	b->units = (uint8_t)units;
	/* who finds it after our end goes from one to the next by their units */
	atomic_signal_fence(memory_order_release);
	s->made += units;
	fn_shm_publish_made(s->payload, s->made);
	return b;
}

/* A large one that is free becomes ordinary ones, for good: the first of them. What lies behind it is no note until now. */
static fn_cold struct txbuf *split_large(struct shm *s)
{
	struct txbuf *b = s->free_large;

	if (!b)
		return NULL;
	s->free_large = b->next;
	for (unsigned i = LARGE - 1; i; i--) {
		*note_of(s, &b[i]) = (struct fn_note){ .units = 1 };
		b[i].units = 1;
		b[i].next = s->free_tx;
		s->free_tx = &b[i];
	}
	/* as in fn_tcp_note() */
	atomic_signal_fence(memory_order_release);
	note_of(s, b)->units = b->units = 1;
	return b;
}

fn_inline struct fn_pkt *hand_out(struct shm *s, struct txbuf *b, unsigned units)
{
	uint8_t *mem = s->payload + (size_t)(b - s->txbuf) * FN_SHM_BUF;

	s->used += units;
	note_left(s);
	fn_pkt_init(&b->p, &s->nic, mem, units * FN_SHM_BUF, mem + FN_PKT_HEADROOM, 0);
	b->p.priv = b;
	b->freed = false;
	return &b->p;
}

struct fn_pkt *fn_shm_alloc(struct fn_nic *nic)
{
	struct shm *s = shm_of(nic);
	struct txbuf *b = s->free_tx;

	if (fn_likely(b != NULL))
		s->free_tx = b->next;
	else if (!(b = make_tx(s, 1)) && !(b = split_large(s)))
		return NULL;
	return hand_out(s, b, 1);
}

/* Of what is for data. */
struct fn_pkt *fn_shm_alloc_large(struct fn_nic *nic)
{
	struct shm *s = shm_of(nic);
	struct txbuf *b = s->free_large;

	if (fn_unlikely(nic->tx_left < (int64_t)LARGE * FN_SHM_BUF))
		return NULL;
	if (fn_likely(b != NULL))
		s->free_large = b->next;
	else if (!(b = make_tx(s, LARGE)))
		return NULL;
	return hand_out(s, b, LARGE);
}

/* A process that maps our payload memory; what is for others is copied to buffers of one unit. */
bool fn_shm_takes_large(const struct fn_nic *nic, uint16_t number)
{
	const struct peer *peer = peer_at(shm_of(nic), number);

	return peer && !peer->mail && !peer->copies;
}
