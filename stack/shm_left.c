/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * What a process of the fabric leaves behind in the memory that its peers map: how many buffers of it were ever used, a note
 * of the text in each (nic.h), and tables of how far its programs have read. Owns the layout of that memory, ours and a dead
 * peer's. What is read of a peer's is copied, then checked.
 */
#include "shm_priv.h"

#define READS	((FN_SHM_BUF - sizeof(struct fn_note)) / sizeof(struct fn_read))
#define IS_READS 0xffff		/* a note's .ends.peer: the buffer is a table */

/* Buffer 0. */
struct region_head {
	_Atomic(uint32_t) made;		/* buffers below have been used */
	_Atomic(uint32_t) keeps;	/* KEPT_*: there is text that is not here */
	_Atomic(uint32_t) life[FN_SHM_IMAGES];
	_Atomic(uint32_t) table[TABLES];	/* the buffers that are tables; 0: not made */
};

struct table {
	struct fn_note note;
	struct fn_read read[READS];
};

_Static_assert(sizeof(struct region_head) <= FN_SHM_BUF, "what is said of all is one buffer");
_Static_assert(sizeof(struct table) <= FN_SHM_BUF, "a table is a buffer");
_Static_assert(FN_SHM_PEERS < IS_READS, "no peer has that number");
_Static_assert(sizeof(struct fn_note) + 14 + 20 + 60 <= FN_PKT_HEADROOM, "a note stands in front of all headers");

/* ---- ours ---- */

void fn_shm_publish_made(uint8_t *mem, uint32_t made)
{
	/* pairs with begin(), after our end */
	atomic_store_explicit(&((struct region_head *)mem)->made, made, memory_order_relaxed);
}

void fn_shm_publish_lives(const struct shm *s, uint8_t *mem)
{
	struct region_head *head = (struct region_head *)mem;

	/* before any connection says that it is held by one of them; pairs with fn_shm_life_there(), behind read_held() */
	for (unsigned i = 0; i < FN_SHM_IMAGES; i++)
		atomic_store_explicit(&head->life[i], s->life[i], memory_order_release);
}

void fn_shm_lives_changed(struct shm *s)
{
	if (s->backed)
		fn_shm_publish_lives(s, s->payload);
	for (uint32_t i = 1; i <= s->peers; i++) {
		const struct peer *peer = peer_at(s, i);

		if (peer && has_ring(s, peer) && peer->copies && peer->copies->backed)
			fn_shm_publish_lives(s, peer->copies->mem);
	}
}

void fn_shm_keeps_back(const struct copies *c, unsigned how, bool on)
{
	_Atomic(uint32_t) *keeps = &((struct region_head *)c->mem)->keeps;
	uint32_t was = atomic_load_explicit(keeps, memory_order_relaxed), is = on ? was | how : was & ~how;

	if (c->backed && is != was)		/* without memory nothing is there at all */
		atomic_store_explicit(keeps, is, memory_order_release);
}

uint64_t fn_shm_holders(const struct fn_nic *nic, uint16_t number, uint64_t images)
{
	const struct shm *s = shm_of(nic);
	const struct peer *peer = peer_at(s, number);

	/* who has it without the peer hands it on without being able to say so */
	return s->family && peer && !(images & ~peer->images) ? images : 0;
}

static uint8_t *new_table(struct shm *s, struct peer *peer, uint32_t i)
{
	struct region_head *head = (struct region_head *)(peer->copies ? peer->copies->mem : s->payload);
	struct fn_pkt *p;
	uint8_t *mem;

	if (peer->copies) {
		mem = fn_shm_copy_table(s, peer);
	} else {
		p = s->nic.ops->alloc(&s->nic);
		mem = p ? p->buf : NULL;
		s->used -= !!p;		/* it is nobody's to give back */
	}
	if (mem) {
		memset(mem, 0, FN_SHM_BUF);
		((struct table *)mem)->note.ends.peer = IS_READS;
		/* pairs with fn_shm_held() */
		atomic_store_explicit(&head->table[i], (uint32_t)((size_t)(mem - (uint8_t *)head) / FN_SHM_BUF), memory_order_release);
	}
	return mem;
}

struct fn_read *fn_shm_reads(struct fn_nic *nic, uint16_t number, uint32_t index, bool *apart)
{
	struct shm *s = shm_of(nic);
	struct peer *peer = peer_at(s, number);
	uint32_t i = index / READS;
	uint8_t **table;

	fn_shm_mend(s);
	if (!peer || peer->dead || peer->mail || !is_here(s, peer) || i >= TABLES)
		return NULL;
	*apart = peer->copies;
	table = *apart ? &peer->copies->table[i] : &s->table[i];
	if (!*table)
		*table = new_table(s, peer, i);
	return *table ? &((struct table *)*table)->read[index % READS] : NULL;
}

/* ---- a dead peer's ---- */

/* Its memory that is looked at: payload, or what its page has behind the slots. */
static const uint8_t *memory_of(const struct shm *s, const struct peer *peer, const struct fn_left *left)
{
	if (left->where == FN_LEFT_PAGE)
		return peer->accepts & image_of(s) ? (const uint8_t *)peer->page + FN_PAGE_SPILL : NULL;
	return peer->ready & image_of(s) ? peer->payload : NULL;
}

static void begin(const struct peer *peer, struct fn_left *left, const uint8_t *mem)
{
	uint32_t most = left->where == FN_LEFT_PAGE ? (uint32_t)((FN_PAGE_SIZE - FN_PAGE_SPILL) / FN_SHM_BUF) : peer->bufs;

	left->buf = 1;
	left->bufs = fn_min(atomic_load_explicit(&((const struct region_head *)mem)->made, memory_order_relaxed), most);
	/* what it called us, or the group to which it offered */
	if (left->where != FN_LEFT_OURS)
		left->number = peer->offers_as;
	else
		left->number = peer->dead ? 0 : atomic_load_explicit(&peer->tx.mem->number, memory_order_relaxed);
}

/* Its ends are ours the other way round. */
static void set_ends(const struct peer *peer, struct fn_left *left, const struct fn_ends *e)
{
	left->local = (struct fn_ep){ (uint32_t)e->addrs, (uint16_t)e->ports, 0 };
	left->remote = (struct fn_ep){ (uint32_t)(e->addrs >> 32), (uint16_t)(e->ports >> 16), peer->number };
}

static bool next_read(const struct peer *peer, struct fn_left *left, const struct table *t)
{
	struct fn_read r;

	while (left->entry < READS) {
		memcpy(&r, &t->read[left->entry++], sizeof(r));
		if (r.ends.peer != left->number)
			continue;
		set_ends(peer, left, &r.ends);
		left->seq = r.seq;
		left->text = NULL;
		return true;
	}
	left->entry = 0;
	return false;
}

static bool take_text(struct shm *s, struct peer *peer, struct fn_left *left, const uint8_t *mem, const struct fn_note *note)
{
	struct place at = { left->buf, note->off, note->text.len };

	if (note->ends.peer != left->number || !fn_shm_place_ok(left->bufs, &at))
		return false;
	/* the page goes with the listener */
	left->text = left->where == FN_LEFT_PAGE ? fn_shm_copy_in(s, peer, mem, &at) : fn_shm_place_pkt(s, peer, &at);
	if (!left->text)
		return false;
	set_ends(peer, left, &note->ends);
	left->seq = note->seq;
	return true;
}

bool fn_shm_left(struct fn_nic *nic, int number, struct fn_left *left)
{
	struct shm *s = shm_of(nic);
	struct peer *peer = peer_at(s, (unsigned)number);
	const uint8_t *mem = peer && !peer->mail && !peer->broken && is_here(s, peer) ? memory_of(s, peer, left) : NULL;
	struct fn_note note;

	if (!mem)
		return false;
	if (!left->buf && peer->group && !peer->dead)
		fn_shm_mail_leave(s, peer);	/* what it has claimed is its, whether we have looked or not */
	if (!left->buf)
		begin(peer, left, mem);
	while (left->number && left->buf < left->bufs) {
		const uint8_t *buf = mem + (size_t)left->buf * FN_SHM_BUF;
		bool found;

		memcpy(&note, buf, sizeof(note));
		if (note.ends.peer != IS_READS)
			found = take_text(s, peer, left, mem, &note);
		else if (next_read(peer, left, (const void *)buf))
			return true;	/* there may be more */
		else
			found = false;
		left->buf += fn_min(fn_max((uint32_t)note.units, 1u), left->bufs - left->buf);
		if (found)
			return true;
	}
	return false;
}

/* ---- a peer's that lives ---- */

static const uint8_t *unsent_memory(struct shm *s, struct peer **peer, int number, const struct fn_left *left)
{
	*peer = peer_at(s, (unsigned)number);
	return *peer && has_ring(s, *peer) && !(*peer)->broken ? memory_of(s, *peer, left) : NULL;
}

/* .text.len last; pairs with fn_tcp_note(). */
static void read_note(struct fn_note *note, const uint8_t *buf)
{
	memcpy(note, buf, sizeof(*note));
	atomic_thread_fence(memory_order_acquire);
	note->text.len = __atomic_load_n(&((const struct fn_note *)buf)->text.len, __ATOMIC_ACQUIRE);
}

/*
 * What was read of `note` before still holds, and so does what has been copied since. .text.len first: it was 0 before anything
 * else in the buffer has changed, and stays so until the note is another one.
 */
static bool still_is(const struct fn_note *note, uint16_t len, const uint8_t *buf)
{
	struct fn_note now;
	uint16_t now_len;

	atomic_thread_fence(memory_order_acquire);
	now_len = __atomic_load_n(&((const struct fn_note *)buf)->text.len, __ATOMIC_ACQUIRE);	/* pairs with put_tx() */
	memcpy(&now, buf, sizeof(now));
	return now_len >= len && now.ends.addrs == note->ends.addrs && now.ends.ports == note->ends.ports &&
	       now.ends.peer == note->ends.peer && now.seq == note->seq && now.off == note->off &&
	       (now.text.fin & note->text.fin) == note->text.fin;
}

bool fn_shm_unsent(struct fn_nic *nic, int number, struct fn_left *left)
{
	struct peer *peer;
	const uint8_t *mem = unsent_memory(shm_of(nic), &peer, number, left);
	struct fn_note *note = &left->note;

	if (!mem)
		return false;
	if (!left->buf)
		begin(peer, left, mem);
	while (left->number && left->buf < left->bufs) {
		struct place at;

		read_note(note, mem + (size_t)left->buf * FN_SHM_BUF);
		at = (struct place){ left->buf, note->off, note->text.len };
		left->at = left->buf;
		left->buf += fn_min(fn_max((uint32_t)note->units, 1u), left->bufs - left->buf);
		if (note->ends.peer != left->number || (note->text.fin & FN_NOTE_URGENT && !left->urgent) ||
		    !fn_shm_place_ok(left->bufs, &at))
			continue;
		set_ends(peer, left, &note->ends);
		left->seq = note->seq;
		left->len = note->text.len;
		left->fin = note->text.fin & FN_NOTE_FIN;
		return true;
	}
	return false;
}

struct fn_pkt *fn_shm_unsent_text(struct fn_nic *nic, int number, const struct fn_left *left)
{
	struct place at = { left->at, left->note.off, left->len };
	struct shm *s = shm_of(nic);
	struct peer *peer;
	const uint8_t *mem = unsent_memory(s, &peer, number, left);
	struct fn_pkt *p = mem ? fn_shm_copy_in(s, peer, mem, &at) : NULL;

	if (!p || still_is(&left->note, left->len, mem + (size_t)left->at * FN_SHM_BUF))
		return p;
	fn_pkt_free(p);
	return NULL;
}

/* ---- a peer's some of whose images live ---- */

static bool read_held(struct fn_held *held, uint64_t gone)
{
	const struct fn_read *r = held->at;

	held->changes = atomic_load_explicit(&r->changes, memory_order_acquire);
	held->images = atomic_load_explicit(&r->images, memory_order_acquire);
	if (fn_likely(!held->images || held->images & ~gone || held->changes & 1 || r->ends.peer != held->left.number))
		return false;
	held->left.note.ends = r->ends;
	held->left.seq = atomic_load_explicit(&r->seq, memory_order_relaxed);
	atomic_thread_fence(memory_order_acquire);
	return fn_shm_still_held(held) && held->left.note.ends.peer == held->left.number;
}

bool fn_shm_still_held(const struct fn_held *held)
{
	atomic_thread_fence(memory_order_acquire);
	return atomic_load_explicit(&held->at->images, memory_order_acquire) == held->images &&
	       atomic_load_explicit(&held->at->changes, memory_order_relaxed) == held->changes;
}

/* .at: of the tables; .entry: in that one. */
bool fn_shm_held(struct fn_nic *nic, int number, uint64_t gone, struct fn_held *held)
{
	struct fn_left *left = &held->left;
	struct peer *peer;
	const uint8_t *mem = unsent_memory(shm_of(nic), &peer, number, left);
	const struct region_head *head = (const void *)mem;

	if (!mem)
		return false;
	if (!left->buf)
		begin(peer, left, mem);
	for (; left->number && left->at < TABLES; left->at++, left->entry = 0) {
		uint32_t table = atomic_load_explicit(&head->table[left->at], memory_order_acquire);

		while (table && table < left->bufs && left->entry < READS) {
			held->at = &((const struct table *)(mem + (size_t)table * FN_SHM_BUF))->read[left->entry++];
			if (!read_held(held, gone))
				continue;
			set_ends(peer, left, &left->note.ends);
			return true;
		}
	}
	return false;
}

uint32_t fn_shm_life_there(struct fn_nic *nic, int number, unsigned place)
{
	const struct fn_left left = { .where = FN_LEFT_OURS };
	struct peer *peer;
	const uint8_t *mem = unsent_memory(shm_of(nic), &peer, number, &left);

	return mem && place < FN_SHM_IMAGES ? atomic_load_explicit(&((const struct region_head *)mem)->life[place],
								   memory_order_acquire) : 0;
}

bool fn_shm_keeps(struct fn_nic *nic, int number)
{
	uint32_t keeps = 0;

	for (unsigned where = FN_LEFT_OURS; where <= FN_LEFT_PAGE; where++) {
		const struct fn_left left = { .where = (uint8_t)where };
		struct peer *peer;
		const uint8_t *mem = unsent_memory(shm_of(nic), &peer, number, &left);

		if (mem)
			keeps |= atomic_load_explicit(&((const struct region_head *)mem)->keeps, memory_order_acquire);
	}
	return keeps;
}

bool fn_shm_behind(const struct fn_nic *nic, int number)
{
	const struct shm *s = shm_of(nic);
	const struct peer *peer = peer_at(s, (unsigned)number);

	return peer && has_ring(s, peer) && peer->ready && atomic_load_explicit(&peer->rx.mem->behind, memory_order_relaxed) &&
	       !atomic_load_explicit(&peer->tx.mem->asleep, memory_order_relaxed);
}

void fn_shm_behind_seen(struct fn_nic *nic, int number)
{
	struct shm *s = shm_of(nic);
	struct peer *peer = peer_at(s, (unsigned)number);

	/* what is left afterwards sets it anew; before the notes are looked at */
	if (peer && has_ring(s, peer))
		atomic_exchange(&peer->rx.mem->behind, 0);
}

uint32_t fn_shm_heard(const struct fn_nic *nic, int number)
{
	const struct shm *s = shm_of(nic);
	const struct peer *peer = peer_at(s, (unsigned)number);

	return peer && has_ring(s, peer) ? peer->rx.pos : 0;
}
