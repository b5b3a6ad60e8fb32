/* SPDX-License-Identifier: BSD-3-Clause */
/* Between nic_shm.c and the shm_*.c: the fabric's records. */
#ifndef FN_SHM_PRIV_H
#define FN_SHM_PRIV_H

#include <string.h>

#include "nic_shm.h"
#include "shm_page.h"
#include "wire.h"

enum entry_type {
	ENTRY_FRAME = 1,	/* arg: pieces of payload; body: struct place each, then the frame from its IP header on */
	ENTRY_RETURN,		/* body: buffer numbers, 4 bytes each */
	ENTRY_AGAIN,		/* what has not been acknowledged may be lost: to be sent again */
};

#define INLINE_MAX	440	/* bytes of IP packet that travel in the ring: with its head seven slots */
#define HEAD_MAX	120	/* IPv4 and TCP headers with options */
#define DATAGRAM_HEAD	28	/* IPv4 and UDP headers */
#define PLACES_MAX	32
#define RETURNS		14	/* in an entry of one slot */
#define BACKLOG		FN_NIC_TXQ
#define BELL_WORDS	(FN_SHM_PEERS / 64)
#define RX_MEM		(16 + FN_RING_ENTRY_MAX)
#define TABLES		900	/* of how far sockets have read, 127 each; buffer 0 says where they are */
#define COPY_BUFS	(FN_SHM_COPIES / FN_SHM_BUF)
/*
 * A write of many bytes goes to buffers of so many units: a segment's descriptor, its place and its return are paid for once
 * in 32 KiB instead of eight times. Twice that is the window a connection begins with (tcp_rcvbuf), and what most programs
 * that write much write at once is a multiple of it.
 */
#define LARGE_PAYLOAD	32768u
#define LARGE		((LARGE_PAYLOAD + FN_PKT_HEADROOM + FN_SHM_BUF - 1) / FN_SHM_BUF)

_Static_assert(PLACES_MAX * 8 + HEAD_MAX <= FN_RING_ENTRY_MAX, "a frame's places and headers are one entry");
_Static_assert(BELL_WORDS <= 32, "touched_words has a bit for each");
_Static_assert(INLINE_MAX <= FN_RING_ENTRY_MAX, "an inline frame is one entry");

struct place {
	uint32_t buf;
	uint16_t off, len;
};

/* One of our payload buffers, or LARGE of them in a row. */
struct txbuf {
	struct fn_pkt p;
	struct txbuf *next;	/* in the free list */
	uint32_t lent;		/* times that it was sent and has not come back */
	uint16_t peer;		/* to whom */
	bool freed;		/* the stack has released it */
	uint8_t units;		/* buffers that it takes, the ones behind it: 1 or LARGE */
	uint16_t spill;		/* the copy of it in .spilt; 0: none */
	struct copies *spilt;
};

/* What a packet from a peer needs here: a descriptor, and memory for what was in the ring. */
enum rx_kind { RX_FRAG, RX_HEAD, RX_COPY };
struct rxbuf {
	struct fn_pkt p;
	struct rxbuf *next;	/* free, or waits to be returned */
	struct rxbuf *all;	/* every one that was made */
	uint8_t kind;		/* enum rx_kind */
	struct peer *peer;	/* .p's bytes lie in its payload memory; NULL: in .mem */
	uint32_t buf;
	uint8_t units;		/* buffers of the peer's that it keeps, from .buf on */
	uint8_t mem[];		/* RX_HEAD: RX_MEM bytes, RX_COPY: FN_SHM_BUF */
};

/* An entry that found the ring full. */
struct kept {
	uint16_t len;
	uint8_t type, arg;
	bool ours;		/* its places are in our own memory, and not copied yet */
	uint8_t body[FN_RING_ENTRY_MAX];
};

/* Our payload memory for one peer alone, or of a page. */
struct copies {
	uint8_t *mem;
	bool in_page;
	uint16_t number;	/* the peer's */
	uint32_t bufs, backed;	/* of them, those with memory behind them */
	uint32_t made;		/* used at some time */
	uint32_t out;		/* the peer has them */
	uint32_t own;		/* what never goes out: the first one, tables */
	uint8_t *table[TABLES];
	uint16_t free;		/* the first free one */
	uint16_t next[COPY_BUFS];
};

/* One of our slots in a group's page. */
struct parcel {
	uint64_t state;		/* as we know it */
	uint32_t src, dst;	/* of its frames */
	uint16_t sport, dport;
	uint32_t syn, isn;	/* numbers of SYN and SYN-ACK */
	uint32_t next;		/* of what it sends: expected */
	uint32_t backed;	/* bytes with memory behind them */
	uint32_t urg, skip;	/* as in its struct fn_page_slot */
	uint16_t use;		/* how often it has been used */
	uint16_t at;		/* in .used */
	bool live;		/* offered, or about to be */
	uint16_t chain;		/* in its bucket, or free: the next one's number and 1 */
};

/*
 * What goes with a store that is about to be made, into a ring, a position of ours, or the backlog's length, for who finds the
 * lock after a death (shm_recover.c). Filled in first, then .what.
 */
enum step_what {
	STEP_NONE,
	STEP_LEND,		/* an entry is put: .tx are lent */
	STEP_COPY,		/* the same of a pair's own memory */
	STEP_BACK,		/* an entry is taken: .tx have come back */
	STEP_TAKE,		/* .rx are held */
	STEP_RETURN,		/* an entry is put: .rx are not held any more */
	STEP_DROP,		/* the backlog's last entry goes: .tx have come back */
	STEP_UNDO,		/* .undone has not happened: .tx have come back */
};
struct step {
	uint8_t what;		/* enum step_what */
	bool flush;		/* what is put is the backlog's first entry */
	uint16_t peer, n;
	uint32_t pos;		/* of the ring: .tx.head, or .rx.pos */
	uint32_t kept, head;	/* .backlog_len, .backlog_head */
	union {
		struct rxbuf *rx[PLACES_MAX];
		struct {
			uint32_t buf, was;
		} tx[PLACES_MAX];
	};
};

#define MAIL_BUCKETS	256

/* The processes that accept from one listener, to whom we offer connections. */
struct mail {
	struct fn_page *page;
	uint32_t backlog;	/* slots that may be open, and one more */
	uint32_t claims, joined;	/* of the page's, those that we have looked at */
	uint32_t count;		/* of .used */
	uint16_t free;
	bool told;		/* a SYN has been put there: somebody must be rung */
	uint16_t used[FN_PAGE_SLOTS];
	uint16_t bucket[MAIL_BUCKETS];
	struct parcel slot[FN_PAGE_SLOTS];
	struct copies spill;
};

struct peer {
	struct fn_ring_tx tx;
	struct fn_ring_rx rx;
	const uint8_t *payload;
	uint32_t bufs;		/* of its payload memory */
	uint64_t images;	/* of the process: those that have its memory; what follows here is touched by them only */
	uint64_t ready;		/* of them, those that have its payload memory: others do not read what comes */
	uint64_t wanted;	/* other images that will have it all, if they can: it lies ready for them */
	struct rxbuf *returns;	/* with what each round asks of every peer */
	struct mail *mail;	/* it is no process, but a group */
	struct fn_page *page;	/* it offers connections to us there; NULL: no */
	uint32_t backlog_len;
	uint64_t accepts;	/* of them, those to which .page is offered */
	uint32_t life;		/* counts the peers that have come */
	uint16_t number;
	bool used, dead, broken;
	bool expected;		/* where its payload memory will lie is known: .payload; of a group: a child is to have it */
	bool again;		/* it is to be told ENTRY_AGAIN */
	bool resend;		/* it has told us so */
	bool apart;		/* images without its memory have connections with it */
	bool narrow;		/* so, or not all that have it are .ready: what comes is copied */
	_Atomic(bool) late;	/* something is due that an image without its memory has met */
	bool mend;		/* after a death under the lock, ring and page are still to be put right */
	uint32_t held;		/* buffers of its that we hold or have not returned */
	uint32_t quota;		/* of .held; beyond it data is copied */
	uint32_t lent;		/* of ours that it holds, or that wait in .backlog to be copied */
	struct copies *copies;	/* of another user: what it may see of us; NULL: .payload of struct shm */
	struct copies *pool;	/* memory for .copies; stays with the number */
	struct mail *office;	/* memory for .mail; stays with the number */
	uint16_t group;		/* one of that group's processes, which claims under .id */
	uint32_t id;
	uint32_t posted;	/* of the page's, what we have seen */
	uint32_t offers_as;	/* and the number of the group to which it does */
	struct kept *backlog;	/* BACKLOG of them, made when first needed */
	uint32_t backlog_head;
	struct step undone;	/* with .mend: what its ring will tell whether it has happened */
	uint32_t announced[FN_SHM_IMAGES];	/* the lives of our images that it can see the end of */
};

struct shm {
	struct fn_nic nic;
	struct fn_arena *arena;
	uint8_t *payload;
	uint32_t bufs, made, used;
	uint32_t backed;	/* of bufs: those with memory behind them */
	struct fn_shm_conf conf;
	struct txbuf *txbuf;	/* bufs of them */
	struct txbuf *free_tx, *free_large;
	struct rxbuf *free_head, *free_frag, *free_copy;
	uint8_t *table[TABLES];	/* shm_left.c: how far our programs have read */
	struct rxbuf *answers;	/* resets that dead peers would have sent */
	uint32_t backlogs;	/* peers whose backlog is not empty */
	uint32_t peers;		/* highest number in use */
	uint32_t lives;		/* peers that have come */
	uint32_t life[FN_SHM_IMAGES];	/* of our images: which of all that have had that bit */
	bool family;		/* there has been more than one */
	uint16_t nobody;	/* a peer that is always dead; 0: not made */
	bool mends;		/* some peer is still to be put right (.mend) */
	uint32_t turn;		/* the peer that is asked first */
	uint32_t cpu;		/* ours, plus 1 */
	struct peer *heard;	/* who sent last */
	uint32_t mails, pages;	/* groups that we offer to, peers that offer */
	struct rxbuf *all_rx;
	struct step step;
	bool resends;		/* a peer has .resend */
	uint32_t claims_as;	/* under which we have claimed last */
	struct fn_pkt **burst;	/* answers that this round's burst begins with */
	uint16_t burst_len;
	bool introduced;		/* who has claimed something has become known in this round */
	uint64_t bell[BELL_WORDS];
	uint64_t touched[BELL_WORDS];	/* peers that were sent something and have not been asked yet whether they sleep */
	uint32_t touched_words;		/* of .touched, those with a bit */
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

/* The image that runs this: a bit. */
fn_inline uint64_t image_of(const struct shm *s) { return s->conf.image ? *s->conf.image : 1; }

/* Has this image the peer's memory? */
fn_inline bool is_here(const struct shm *s, const struct peer *peer) { return peer->images & image_of(s); }

/* May what comes stay where it is? Only what all images see, now. */
fn_inline void set_narrow(struct peer *peer) { peer->narrow = peer->apart || (peer->images | peer->wanted) & ~peer->ready; }

/* Is there a process at the other end of a ring? */
fn_inline bool is_ring(const struct peer *peer) { return !peer->dead && !peer->mail; }

/* And have we it? */
fn_inline bool has_ring(const struct shm *s, const struct peer *peer)
{
	return is_ring(peer) && is_here(s, peer);
}

/* .page is read first: without the lock, this may be about to be another peer, which has other images */
fn_inline bool has_offers(const struct shm *s, const struct peer *peer)
{
	struct fn_page *page = *(struct fn_page *const volatile *)&peer->page;

	atomic_signal_fence(memory_order_seq_cst);
	return page && peer->accepts & image_of(s) && atomic_load_explicit(&page->posted, memory_order_relaxed) != peer->posted;
}

void fn_shm_unspill(struct shm *s, struct txbuf *b);

fn_inline void put_tx(struct shm *s, struct txbuf *b)
{
	struct txbuf **list = b->units == 1 ? &s->free_tx : &s->free_large;

	if (fn_unlikely(b->spill))
		fn_shm_unspill(s, b);
	((struct fn_note *)b->p.buf)->text = (struct fn_note_text){ 0 };
	atomic_signal_fence(memory_order_seq_cst);	/* before anything else comes there (struct fn_note) */
	b->next = *list;
	*list = b;
	s->used -= b->units;
	note_left(s);
}

/* Another image has met the peer, and this one can. */
fn_inline bool lies_ready(const struct shm *s, const struct peer *peer) { return peer->wanted & image_of(s); }

/* Who has the peer's memory is to run. */
fn_inline void summon(struct shm *s, const struct peer *peer)
{
	if (s->conf.ring)
		s->conf.ring(s->conf.ctx, peer->number);
}

fn_inline void touch(struct shm *s, const struct peer *peer)
{
	s->touched[peer->number / 64] |= 1ull << peer->number % 64;
	s->touched_words |= 1u << peer->number / 64;
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
/* The peer has buffer i of its memory; and it has given it back. */
bool fn_shm_copy_is_lent(const struct peer *peer, uint32_t i);
void fn_shm_copy_back(struct peer *peer, uint32_t i);
/* A copy of what the peer has there, in its memory at `mem`: a chain of buffers; it is then the peer's again. NULL: no memory. */
struct fn_pkt *fn_shm_copy_in(struct shm *s, const struct peer *peer, const uint8_t *mem, const struct place *at);
/* fn_nic_ops.spill; and b's copy is not needed any more (also declared above) */
bool fn_shm_spill(struct fn_nic *nic, uint16_t number, struct fn_pkt *p);
/* The page's room for what its slots have none for; all of it is free. */
void fn_shm_spill_init(struct copies *c, uint16_t number, struct fn_page *page);

/* A buffer that the peer sees and is never sent. NULL: there is none. */
uint8_t *fn_shm_copy_table(struct shm *s, struct peer *peer);

/* Buffer i is lent, or not; after a death. And all that is derived of it, when spills are right. */
void fn_shm_copy_set(struct copies *c, uint32_t i, bool lent);
void fn_shm_copies_recover(struct shm *s, struct copies *c);

/* ---- shm_recover.c ---- */
void fn_shm_each(struct fn_nic *nic, void (*fn)(void *ctx, struct fn_pkt *p), void *ctx);
void fn_shm_reclaim(struct fn_nic *nic);
/* Peers have said that they have lost something (peer.resend): it goes out again. */
fn_cold void fn_shm_resend(struct shm *s);

/* A step is written down, then it is in force; the compiler keeps the order, which is all that a death sees. */
fn_inline void step_begin(struct shm *s, const struct peer *peer, uint32_t pos)
{
	s->step.flush = false;
	s->step.peer = peer->number;
	s->step.n = 0;
	s->step.pos = pos;
	s->step.kept = peer->backlog_len;
	s->step.head = peer->backlog_head;
}
fn_inline void step_is(struct shm *s, enum step_what what)
{
	atomic_signal_fence(memory_order_seq_cst);
	s->step.what = (uint8_t)what;
	atomic_signal_fence(memory_order_seq_cst);
}
fn_inline void step_more(struct shm *s)
{
	atomic_signal_fence(memory_order_seq_cst);
	s->step.n++;
	atomic_signal_fence(memory_order_seq_cst);
}
fn_inline void step_add_tx(struct shm *s, uint32_t buf, uint32_t was)
{
	s->step.tx[s->step.n].buf = buf;
	s->step.tx[s->step.n].was = was;
	step_more(s);
}
fn_inline void step_add_rx(struct shm *s, struct rxbuf *r)
{
	s->step.rx[s->step.n] = r;
	step_more(s);
}

/* ---- shm_left.c ---- */
/* Buffers of `mem`, payload memory of ours, below `made` have been used. */
void fn_shm_publish_made(uint8_t *mem, uint32_t made);
/* There is memory behind the first buffer of `mem`: the lives of our images; and when one has changed, wherever we can. */
void fn_shm_publish_lives(const struct shm *s, uint8_t *mem);
void fn_shm_lives_changed(struct shm *s);
/* The peer whose memory c is will not find there all that it has not got yet: for now, or for good. */
enum { KEPT_FOR_NOW = 1, KEPT_FOR_GOOD = 2 };
void fn_shm_keeps_back(const struct copies *c, unsigned how, bool on);
/* fn_nic_ops.holders */
uint64_t fn_shm_holders(const struct fn_nic *nic, uint16_t number, uint64_t images);
/* fn_nic_ops.reads */
struct fn_read *fn_shm_reads(struct fn_nic *nic, uint16_t number, uint32_t index, bool *apart);

/* ---- shm_buf.c: fn_nic_ops.alloc, .alloc_large, .takes_large ---- */
struct fn_pkt *fn_shm_alloc(struct fn_nic *nic);
struct fn_pkt *fn_shm_alloc_large(struct fn_nic *nic);
bool fn_shm_takes_large(const struct fn_nic *nic, uint16_t number);

/* ---- nic_shm.c ---- */
/* Payload of a peer's that stays where it is: is there such a place, of `bufs`, and a packet of it; NULL: no descriptor. */
fn_inline bool fn_shm_place_ok(uint32_t bufs, const struct place *at)
{
	return at->buf < bufs && at->len && (uint32_t)at->off + at->len <= (uint64_t)(bufs - at->buf) * FN_SHM_BUF;
}
/* p is in a buffer that shm_alloc() gave; the place of its bytes does not tell: what we sent ourselves is in our payload
 * memory too. */
fn_inline bool is_tx(const struct shm *s, const struct fn_pkt *p)
{
	const struct txbuf *b = p->priv;

	return b >= s->txbuf && b < s->txbuf + s->bufs;
}
struct fn_pkt *fn_shm_place_pkt(struct shm *s, struct peer *peer, const struct place *at);
/* A new one with so many bytes; NULL: no memory. */
struct rxbuf *fn_shm_rx_make(struct shm *s, enum rx_kind kind, size_t mem);
fn_inline struct rxbuf *rx_get(struct shm *s, bool mem)
{
	struct rxbuf **list = mem ? &s->free_head : &s->free_frag, *r = *list;

	if (fn_likely(r != NULL))
		*list = r->next;
	else
		r = fn_shm_rx_make(s, mem ? RX_HEAD : RX_FRAG, mem ? RX_MEM : 0);
	return r;
}

/* The fields of a received descriptor; `data` has room for an Ethernet header in front. */
fn_inline struct fn_pkt *rx_head(struct shm *s, const struct peer *peer, struct rxbuf *r, uint8_t *data, uint32_t len)
{
	struct fn_pkt *p = &r->p;

	data -= FN_ETHER_LEN;
	memcpy(data, s->nic.mac, 6);
	memset(data + 6, 0, 6);
	memcpy(data + 12, &(uint16_t){ fn_be16(FN_ETHER_TYPE_IP4) }, 2);
	fn_pkt_init(p, &s->nic, r->mem, RX_MEM, data, len + FN_ETHER_LEN);
	p->flags = FN_PKT_IP_CSUM_OK | FN_PKT_L4_CSUM_OK;
	p->peer = peer->number;
	p->priv = r;
	r->peer = NULL;
	return p;
}

/* ---- shm_answer.c ---- */
/* An IPv4 packet of `len` bytes comes in from the peer with the next burst. */
void fn_shm_answer(struct shm *s, const struct peer *peer, const void *ip, uint32_t len);
/* So does what the kernel of the dead peer would say to p. */
fn_cold void fn_shm_answer_for(struct shm *s, const struct peer *peer, const struct fn_pkt *p);
/* Those that this image is to hear: taken, n at most; is there one? */
fn_cold uint16_t fn_shm_rx_answers(struct shm *s, struct fn_pkt **burst, uint16_t n);
bool fn_shm_has_answers(const struct shm *s);

/* ---- shm_peer.c ---- */
/* A number that is free, and its record at s->peer[], not used yet; -ENOSPC, -ENOMEM. */
int fn_shm_number(struct shm *s);

/* ---- shm_mail.c ---- */
/* A frame to a group: the process to whose ring it goes. NULL: it lies in the page now, or nobody wants it. */
struct peer *fn_shm_mail_post(struct shm *s, struct peer *group, const struct fn_pkt *p);
/* fn_nic_ops.open: to a group. */
bool fn_shm_open(struct fn_nic *nic, uint16_t number, uint32_t src, uint32_t dst, const struct fn_tcp_hdr *syn, uint32_t *isn);
/* Connections that have been claimed are their claimers' from now on. */
void fn_shm_mail_look(struct shm *s, struct peer *group);
/* Whoever sleeps is to hear of what was put there. */
void fn_shm_mail_ring(struct shm *s, struct peer *group);
/* The group is dead. */
void fn_shm_mail_end(struct shm *s, struct peer *group);
/* After a death under the lock: what we know of our slots, anew; and, in a peer's page, what was being claimed is done. */
void fn_shm_mail_recover(struct shm *s, struct peer *group);
void fn_shm_page_recover(struct shm *s, struct peer *peer);
/* Whoever got the lock then had not the memory of these; we have: before anything of it is used. */
void fn_shm_mend_slow(struct shm *s);
fn_inline void fn_shm_mend(struct shm *s)
{
	if (fn_unlikely(s->mends))
		fn_shm_mend_slow(s);
}
/* Peer `peer` offers nothing to these images any more. */
void fn_shm_accepts_no_more(struct shm *s, struct peer *peer, uint64_t images);
/* Process `peer` is about to be: what it has claimed is its. */
void fn_shm_mail_leave(struct shm *s, struct peer *peer);

#endif
