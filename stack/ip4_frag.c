/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * Fragments: putting packets together (RFC 791 3.2, RFC 1122 3.3.2, RFC 815's bookkeeping replaced by a sorted list) within
 * limits of memory and time, and cutting them. Overlaps void the whole packet (RFC 5722 3, as Linux does for IPv4 too).
 * A fragment's place in the packet stands in its descriptor as .seq and .end_seq.
 */
#include <errno.h>
#include <string.h>

#include "ip4.h"
#include "recover.h"

#define PACKETS_MAX	64		/* being put together at a time */
#define HELD_MAX	512		/* buffers held: they are the device's */
#define TIMEOUT_NS	(30 * FN_NSEC)	/* Linux ipfrag_time */
#define PACKET_MAX	65535

struct fn_frag {
	struct fn_frag *next;		/* by age, oldest first */
	struct fn_stack *st;
	uint32_t src, dst;		/* RFC 791: these four name a packet */
	uint16_t id;
	uint8_t proto;
	bool has_last;
	uint32_t total;			/* payload bytes, known from the last fragment */
	struct fn_pktq q;		/* sorted; .data at the payload */
	struct fn_timer timer;
};

struct fn_frags {
	struct fn_frag *oldest;
	struct fn_pool pool;
	uint32_t held;			/* buffers */
};

int fn_frags_init(struct fn_stack *st)
{
	st->ip4->frags = fn_arena_alloc(st->arena, sizeof(*st->ip4->frags));
	if (!st->ip4->frags)
		return -ENOMEM;
	fn_pool_init(&st->ip4->frags->pool, st->arena, sizeof(struct fn_frag), 8, PACKETS_MAX);
	return 0;
}

/* ---- the packets being put together ---- */

static struct fn_frag *frag_find(const struct fn_frags *fs, const struct fn_ip4_hdr *h)
{
	struct fn_frag *f = fs->oldest;

	while (f && !(f->id == h->id && f->src == h->src && f->dst == h->dst && f->proto == h->proto))
		f = f->next;
	return f;
}

static void frag_end(struct fn_stack *st, struct fn_frag *f)
{
	struct fn_frags *fs = st->ip4->frags;
	struct fn_frag **at = &fs->oldest;

	while (*at != f)
		at = &(*at)->next;
	*at = f->next;
	fn_timer_cancel(&st->wheel, &f->timer);
	fs->held -= f->q.count;
	fn_pool_free(&fs->pool, f);
}

static void frag_discard(struct fn_stack *st, struct fn_frag *f, enum fn_drop reason)
{
	struct fn_pktq q = f->q;

	st->stats.drop[reason] += q.count;
	frag_end(st, f);
	fn_pktq_purge(&q);
}

/* RFC 1122 3.3.2: the source is told, if the first fragment has come. */
static void frag_timeout(struct fn_timer *t, uint64_t now)
{
	struct fn_frag *f = fn_container_of(t, struct fn_frag, timer);

	if (f->q.head && !f->q.head->seq)
		fn_icmp_send_error(f->st, f->q.head, FN_ICMP_TIME_EXCEEDED, 1, 0);
	frag_discard(f->st, f, FN_DROP_IP4_FRAG_TIMEOUT);
}

static struct fn_frag *frag_new(struct fn_stack *st, const struct fn_ip4_hdr *h)
{
	struct fn_frags *fs = st->ip4->frags;
	struct fn_frag *f, **at;

	if (fs->pool.used == PACKETS_MAX)
		frag_discard(st, fs->oldest, FN_DROP_IP4_FRAG_FULL);
	f = fn_pool_alloc(&fs->pool);
	if (!f)
		return NULL;
	f->st = st;
	f->src = h->src;
	f->dst = h->dst;
	f->id = h->id;
	f->proto = h->proto;
	f->timer.fn = frag_timeout;
	fn_timer_arm(&st->wheel, &f->timer, st->now + TIMEOUT_NS);
	for (at = &fs->oldest; *at; at = &(*at)->next)
		;
	*at = f;
	return f;
}

static bool frag_used(const void *obj)
{
	return false;
}

void fn_frags_recover(struct fn_stack *st)
{
	struct fn_frags *fs = st->ip4->frags;

	fs->oldest = NULL;
	fs->held = 0;
	fn_pool_rebuild(&fs->pool, frag_used);
}

/* ---- one fragment ---- */

/* Where p lies in its packet; false: no packet can have such a fragment. */
static bool frag_place(struct fn_pkt *p, const struct fn_ip4_hdr *h, unsigned hlen)
{
	uint32_t len = p->pkt_len - hlen, off = (fn_be16(h->frag) & FN_IP4_OFFSET) * 8u;
	bool more = h->frag & fn_be16(FN_IP4_MF);

	p->seq = off;
	p->end_seq = off + len;
	return len && !(more && len % 8) && p->end_seq + hlen <= PACKET_MAX;
}

/* Put p where it belongs: 0, 1 for an exact duplicate, -1 for an overlap or a contradiction. */
static int frag_insert(struct fn_frag *f, struct fn_pkt *p, bool more)
{
	struct fn_pkt *at = f->q.tail, *after;

	while (at && at->seq >= p->seq) {
		if (at->seq == p->seq && at->end_seq == p->end_seq)
			return 1;
		at = at->prev;
	}
	after = at ? at->next : f->q.head;
	if ((at && at->end_seq > p->seq) || (after && after->seq < p->end_seq))
		return -1;
	if (f->has_last ? p->end_seq > f->total || (!more && p->end_seq != f->total) : !more && after)
		return -1;
	if (!more) {
		f->has_last = true;
		f->total = p->end_seq;
	}
	fn_pktq_insert_after(&f->q, at, p);
	return 0;
}

/* All of it is there: chain the payloads behind the first fragment's header. */
static struct fn_pkt *frag_join(struct fn_stack *st, struct fn_frag *f)
{
	struct fn_pkt *first = f->q.head, *p, *last = NULL;
	struct fn_ip4_hdr *h = fn_pkt_ip4(first);
	uint32_t total = f->total, hlen = (uint32_t)(first->data - (uint8_t *)h);

	for (p = first; p; p = p->next) {
		if (last)
			last->seg = p;
		for (last = p; last->seg; last = last->seg)
			;
	}
	frag_end(st, f);
	fn_pkt_push(first, hlen);
	first->pkt_len = hlen + total;
	h->len = fn_be16((uint16_t)(hlen + total));
	h->frag = 0;
	st->stats.ip4_reassembled++;
	return first;
}

static bool frag_complete(const struct fn_frag *f)
{
	uint32_t have = 0;

	if (!f->has_last)
		return false;
	for (const struct fn_pkt *p = f->q.head; p; p = p->next)
		have += p->end_seq - p->seq;
	return have == f->total;
}

struct fn_pkt *fn_ip4_reassemble(struct fn_stack *st, struct fn_pkt *p, unsigned hlen, int *reason)
{
	const struct fn_ip4_hdr *h = fn_pkt_ip4(p);
	struct fn_frags *fs = st->ip4->frags;
	struct fn_frag *f;
	int err;

	if (!frag_place(p, h, hlen)) {
		*reason = fn_drop(st, p, FN_DROP_IP4_FRAG_BAD);
		return NULL;
	}
	while (fs->held >= HELD_MAX && fs->oldest)
		frag_discard(st, fs->oldest, FN_DROP_IP4_FRAG_FULL);
	f = frag_find(fs, h);
	if (!f && !(f = frag_new(st, h))) {
		*reason = fn_drop(st, p, FN_DROP_IP4_FRAG_FULL);
		return NULL;
	}
	fn_pkt_pull(p, hlen);
	err = frag_insert(f, p, h->frag & fn_be16(FN_IP4_MF));
	if (err) {
		*reason = fn_drop(st, p, FN_DROP_IP4_FRAG_BAD);
		if (err < 0)
			frag_discard(st, f, FN_DROP_IP4_FRAG_BAD);
		return NULL;
	}
	fs->held++;
	return frag_complete(f) ? frag_join(st, f) : NULL;
}

/* ---- cutting ---- */

/* RFC 6864 4.2: unique for a while for each source, destination and protocol, and not to be guessed (RFC 7739). */
static uint16_t next_id(struct fn_stack *st, const struct fn_path *path)
{
	uint32_t key[3] = {path->src, path->dst, path->proto};
	uint64_t h = fn_siphash(st->key, key, sizeof(key));

	return fn_be16((uint16_t)((h >> 32) + st->ip4->ident[h % fn_array_size(st->ip4->ident)]++));
}

/* Copy len bytes of a chain, from its offset off on. */
static void chain_copy(uint8_t *to, const struct fn_pkt *p, uint32_t off, uint32_t len)
{
	for (; len; p = p->seg) {
		uint32_t n = off < p->len ? fn_min(len, p->len - off) : 0;

		memcpy(to, p->data + fn_min(off, p->len), n);
		off -= fn_min(off, p->len);
		to += n;
		len -= n;
	}
}

static int send_piece(struct fn_stack *st, const struct fn_path *path, const struct fn_pkt *src, uint32_t off, uint32_t len,
		      uint16_t id)
{
	struct fn_pkt *p = fn_nic_alloc(path->nic);
	uint16_t frag = (uint16_t)(off / 8);

	if (!p)
		return -ENOBUFS;
	chain_copy(p->data, src, off, len);
	p->len = p->pkt_len = len;
	if (off + len < src->pkt_len)
		frag |= FN_IP4_MF;
	st->stats.ip4_frags_out++;
	return fn_ip4_emit(st, path, p, fn_be16(frag), id);
}

int fn_ip4_fragment(struct fn_stack *st, const struct fn_path *path, struct fn_pkt *p)
{
	uint32_t piece = fn_min(path->mtu - FN_IP4_LEN, path->nic->tx_payload) & ~7u, off, n = p->pkt_len / piece + 1;
	uint16_t id = next_id(st, path);
	int err = 0;

	if (!path->local && fn_nic_tx_room(path->nic) < n)
		fn_nic_flush(path->nic);
	if (!path->local && fn_nic_tx_room(path->nic) < n) {
		st->stats.drop[FN_DROP_TX_FULL]++;
		err = -ENOBUFS;
	}
	for (off = 0; !err && off < p->pkt_len; off += piece)
		err = send_piece(st, path, p, off, fn_min(piece, p->pkt_len - off), id);
	fn_pkt_free(p);
	return err;
}
