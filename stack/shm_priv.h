/* SPDX-License-Identifier: BSD-3-Clause */
/* Between nic_shm.c, shm_peer.c and shm_copy.c: the fabric's records. */
#ifndef FN_SHM_PRIV_H
#define FN_SHM_PRIV_H

#include "nic_shm.h"

enum entry_type {
	ENTRY_FRAME = 1,	/* arg: pieces of payload; body: struct place each, then the frame from its IP header on */
	ENTRY_RETURN,		/* body: buffer numbers, 4 bytes each */
};

#define INLINE_MAX	440	/* bytes of IP packet that travel in the ring: with its head seven slots */
#define HEAD_MAX	120	/* IPv4 and TCP headers with options */
#define PLACES_MAX	32
#define RETURNS		14	/* in an entry of one slot */
#define BACKLOG		FN_NIC_TXQ
#define BELL_WORDS	(FN_SHM_PEERS / 64)
#define RX_MEM		(16 + FN_RING_ENTRY_MAX)
#define COPY_BUFS	(FN_SHM_COPIES / FN_SHM_BUF)

_Static_assert(PLACES_MAX * 8 + HEAD_MAX <= FN_RING_ENTRY_MAX, "a frame's places and headers are one entry");
_Static_assert(INLINE_MAX <= FN_RING_ENTRY_MAX, "an inline frame is one entry");

struct place {
	uint32_t buf;
	uint16_t off, len;
};

/* One of our payload buffers. */
struct txbuf {
	struct fn_pkt p;
	struct txbuf *next;	/* in the free list */
	uint32_t lent;		/* times that it was sent and has not come back */
	uint16_t peer;		/* to whom */
	bool freed;		/* the stack has released it */
};

/* What a packet from a peer needs here: a descriptor, and memory for what was in the ring. */
struct rxbuf {
	struct fn_pkt p;
	struct rxbuf *next;	/* free, or waits to be returned */
	struct peer *peer;	/* .p's bytes lie in its payload memory; NULL: in .mem */
	uint32_t buf;
	bool copy;		/* .mem has FN_SHM_BUF bytes */
	uint8_t mem[];		/* else RX_MEM bytes, when it came from the pool for those */
};

/* An entry that found the ring full. */
struct kept {
	uint16_t len;
	uint8_t type, arg;
	bool ours;		/* its places are in our own memory, and not copied yet */
	uint8_t body[FN_RING_ENTRY_MAX];
};

/* Our payload memory for one peer alone. */
struct copies {
	uint8_t *mem;
	uint32_t bufs, backed;	/* of them, those with memory behind them */
	uint32_t made;		/* used at some time */
	uint32_t out;		/* the peer has them */
	uint16_t free;		/* the first free one */
	uint16_t next[COPY_BUFS];
};

struct peer {
	struct fn_ring_tx tx;
	struct fn_ring_rx rx;
	const uint8_t *payload;
	uint32_t bufs;		/* of its payload memory */
	uint16_t number;
	bool used, dead, broken, touched;
	bool ready;		/* its payload memory is known */
	uint32_t held;		/* buffers of its that we hold or have not returned */
	uint32_t quota;		/* of .held; beyond it data is copied */
	uint32_t lent;		/* of ours that it holds, or that wait in .backlog to be copied */
	struct copies *copies;	/* of another user: what it may see of us; NULL: .payload of struct shm */
	struct copies *pool;	/* memory for .copies; stays with the number */
	struct rxbuf *returns;
	struct kept *backlog;	/* BACKLOG of them, made when first needed */
	uint32_t backlog_head, backlog_len;
};

struct shm {
	struct fn_nic nic;
	struct fn_arena *arena;
	uint8_t *payload;
	uint32_t bufs, made, used;
	uint32_t backed;	/* of bufs: those with memory behind them */
	struct fn_shm_conf conf;
	struct txbuf *txbuf;	/* bufs of them */
	struct txbuf *free_tx;
	struct rxbuf *free_head, *free_frag, *free_copy;
	struct rxbuf *answers;	/* resets that dead peers would have sent */
	uint32_t backlogs;	/* peers whose backlog is not empty */
	uint32_t peers;		/* highest number in use */
	uint32_t turn;		/* the peer that is asked first */
	uint32_t cpu;		/* ours, plus 1 */
	struct peer *heard;	/* who sent last */
	uint64_t bell[BELL_WORDS];
	struct peer *peer[FN_SHM_PEERS];
};

fn_inline struct shm *shm_of(const struct fn_nic *nic) { return nic->priv; }

fn_inline struct peer *peer_at(const struct shm *s, unsigned number)
{
	struct peer *peer = number < FN_SHM_PEERS ? s->peer[number] : NULL;

	return peer && peer->used ? peer : NULL;
}

/* A sixteenth is for what is no data: its frames leave the buffer at once, for the ring. */
fn_inline void note_left(struct shm *s)
{
	s->nic.tx_left = ((int64_t)s->bufs - s->bufs / 16 - s->used) * FN_SHM_BUF;
}

fn_inline void put_tx(struct shm *s, struct txbuf *b)
{
	b->next = s->free_tx;
	s->free_tx = b;
	s->used--;
	note_left(s);
}

fn_inline void set_choked(struct shm *s)
{
	s->nic.choked = s->backlogs != 0;
}

/* ---- shm_copy.c ---- */
/* The peer's own payload memory of `len` bytes, all of it free. pool: from an earlier peer of that number, or NULL. */
bool fn_shm_copies_init(struct shm *s, struct peer *peer, struct copies *pool, void *mem, size_t len);
/* Copy what lies at these places of our memory into the peer's, and say where it is now. False: there is no room. */
bool fn_shm_copy_out(struct shm *s, const struct peer *peer, struct place *place, unsigned n);
/* The peer has given buffer i of its memory back; false: it has not got it. */
bool fn_shm_copy_back(struct peer *peer, uint32_t i);
/* A copy of what the peer has there, which is then the peer's again. NULL: no memory. */
struct fn_pkt *fn_shm_copy_in(struct shm *s, const struct peer *peer, const struct place *at);

#endif
