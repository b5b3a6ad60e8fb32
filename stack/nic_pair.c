/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * The test wire's two NICs: buffers, the frames between them, the faults drawn from the seed, and a device that goes on
 * reading a transmitted buffer until its release time. Must not know a protocol: what a device computes about a packet
 * (checksums, TSO) is in nic_pair_offload.c.
 *
 * A frame is copied once, when it is sent: into buffers of the receiving end, where it waits until it is due. So a
 * frame on the wire counts as a buffer in use at the end that it goes to.
 *
 * With .release_ns set the wire is suspicious: the bytes of a transmitted buffer are digested and must be the same when
 * the device lets go of it, and a free buffer is filled with a pattern. A stack that fails this would corrupt what a
 * real device sends, so the process is aborted. Under AddressSanitizer free buffers and descriptors are poisoned too.
 */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "nic_pair.h"
#include "nic_pair_offload.h"

#if defined(__has_feature)
#if __has_feature(address_sanitizer)
#define PAIR_ASAN 1
#endif
#endif
#if defined(__SANITIZE_ADDRESS__) || defined(PAIR_ASAN)
#include <sanitizer/asan_interface.h>
#define pair_hide(p, n)		__asan_poison_memory_region(p, n)
#define pair_show(p, n)		__asan_unpoison_memory_region(p, n)
#else
#define pair_hide(p, n)		((void)0)
#define pair_show(p, n)		((void)0)
#endif

#define PAIR_FREE_BYTE	0x6b

/* A buffer's state; its descriptor and its bytes lie in arrays of their own, so that they can be poisoned. */
struct pair_buf {
	struct fn_pkt *pkt;
	uint8_t *mem;
	struct pair_buf *next, *prev;	/* free list, or the wire's queue */
	uint64_t due;			/* on the wire: arrival */
	uint32_t device;		/* transmissions that the device has not released */
	uint32_t hints;			/* enum fn_pair_hint of a frame on the wire */
	bool held;			/* the stack, or the wire, has a reference */
};

/* What the device still reads. */
struct pair_loan {
	struct pair_buf *b;
	const uint8_t *data;
	uint32_t len;
	uint64_t due;
	uint64_t digest;
};

struct pair_end {
	struct fn_nic nic;		/* first: ops get this pointer */
	struct fn_pair *w;
	struct fn_pkt *pkts;
	struct pair_buf *bufs;
	uint8_t *mem;
	struct pair_buf *free;
	uint32_t outstanding;
	struct pair_buf *head, *tail;	/* frames towards this end, by arrival */
	uint32_t queued;
	uint64_t last_due;		/* latest arrival of a frame that was not reordered */
	struct pair_loan *loan;		/* a ring */
	uint32_t loan_head, loans, loan_max;
};

struct fn_pair {
	struct fn_pair_conf conf;
	uint64_t now;
	uint64_t rng;
	struct pair_end end[2];
	void (*tap)(void *ctx, unsigned from, const void *frame, size_t len);
	void *tap_ctx;
	uint8_t *tso;			/* the bytes of a TSO packet */
	uint8_t *tapped;		/* the bytes of a frame for the tap */
};

static fn_cold void pair_fail(const char *what, const struct pair_buf *b)
{
	fprintf(stderr, "nic_pair: %s (descriptor %p, buffer %p)\n", what, (void *)b->pkt, (void *)b->mem);
	abort();
}

/* SplitMix64 (Steele, Lea, Flood 2014). */
static uint64_t pair_random(struct fn_pair *w)
{
	uint64_t z = (w->rng += 0x9e3779b97f4a7c15ull);

	z = (z ^ (z >> 30)) * 0xbf58476d1ce4e5b9ull;
	z = (z ^ (z >> 27)) * 0x94d049bb133111ebull;
	return z ^ (z >> 31);
}

static bool pair_chance(struct fn_pair *w, uint32_t ppm)
{
	return ppm && pair_random(w) % 1000000 < ppm;
}

static uint64_t pair_digest(const uint8_t *p, uint32_t len)
{
	uint64_t h = 0xcbf29ce484222325ull ^ len, word = 0;

	for (; len >= 8; p += 8, len -= 8) {
		memcpy(&word, p, 8);
		h = (h ^ word) * 0x9fb21c651e98df25ull;
		h ^= h >> 29;
	}
	word = 0;
	memcpy(&word, p, len);
	h = (h ^ word) * 0x9fb21c651e98df25ull;
	return h ^ (h >> 32);
}

/* ---- buffers ---- */

static struct fn_pkt *buf_get(struct pair_end *e)
{
	struct pair_buf *b = e->free;

	if (!b)
		return NULL;
	e->free = b->next;
	e->outstanding++;
	b->held = true;
	b->hints = 0;
	pair_show(b->pkt, sizeof(*b->pkt));
	pair_show(b->mem, FN_PKT_HEADROOM + e->nic.tx_payload);
	fn_pkt_init(b->pkt, &e->nic, b->mem, FN_PKT_HEADROOM + e->nic.tx_payload, b->mem + FN_PKT_HEADROOM, 0);
	b->pkt->priv = b;
	return b->pkt;
}

static void buf_put(struct pair_end *e, struct pair_buf *b)
{
	pair_hide(b->mem, FN_PKT_HEADROOM + e->nic.tx_payload);
	pair_hide(b->pkt, sizeof(*b->pkt));
	b->next = e->free;
	e->free = b;
	e->outstanding--;
}

/* The last reference has gone. */
static void buf_recycle(struct pair_end *e, struct pair_buf *b)
{
	if (e->w->conf.release_ns)
		memset(b->mem, PAIR_FREE_BYTE, FN_PKT_HEADROOM + e->nic.tx_payload);
	buf_put(e, b);
}

static void buf_release(struct pair_end *e, struct pair_buf *b)
{
	if (!b->held)
		pair_fail("a buffer was freed twice", b);
	b->held = false;
	if (!b->device)
		buf_recycle(e, b);
}

static void buf_release_chain(struct pair_end *e, struct fn_pkt *p)
{
	while (p) {
		struct fn_pkt *seg = p->seg;

		buf_release(e, p->priv);
		p = seg;
	}
}

/* ---- the device's loan of transmitted buffers ---- */

static void loan_add(struct pair_end *e, struct fn_pkt *p)
{
	struct pair_loan *l = &e->loan[(e->loan_head + e->loans++) % e->loan_max];

	l->b = p->priv;
	l->b->device++;
	l->data = p->data;
	l->len = p->len;
	l->due = e->w->now + e->w->conf.release_ns;
	l->digest = pair_digest(p->data, p->len);
}

static void loan_end(struct pair_end *e, const struct pair_loan *l)
{
	if (pair_digest(l->data, l->len) != l->digest)
		pair_fail("a transmitted buffer changed while the device was reading it", l->b);
	if (!--l->b->device && !l->b->held)
		buf_recycle(e, l->b);
}

static void loans_expire(struct pair_end *e, uint64_t now)
{
	while (e->loans && e->loan[e->loan_head].due <= now) {
		const struct pair_loan *l = &e->loan[e->loan_head];

		e->loan_head = (e->loan_head + 1) % e->loan_max;
		e->loans--;
		loan_end(e, l);
	}
}

static uint32_t chain_count(const struct fn_pkt *p)
{
	uint32_t n = 0;

	for (; p; p = p->seg)
		n++;
	return n;
}

/* ---- the wire ---- */

static void queue_insert(struct pair_end *to, struct pair_buf *b)
{
	struct pair_buf *at = to->tail;

	while (at && at->due > b->due)
		at = at->prev;
	b->prev = at;
	b->next = at ? at->next : to->head;
	if (b->next)
		b->next->prev = b;
	else
		to->tail = b;
	if (at)
		at->next = b;
	else
		to->head = b;
	to->queued++;
}

static struct pair_buf *queue_pop(struct pair_end *to)
{
	struct pair_buf *b = to->head;

	to->head = b->next;
	if (to->head)
		to->head->prev = NULL;
	else
		to->tail = NULL;
	to->queued--;
	return b;
}

/* Copy a frame into buffers of the end that it goes to; NULL: they are used up. */
static struct fn_pkt *frame_copy(struct pair_end *to, const struct fn_pkt *src)
{
	struct fn_pkt *first = buf_get(to), *p = first;
	const struct fn_pkt *s;

	for (s = src; s && p; s = s->seg) {
		uint32_t done = 0, n;

		while (p && done < s->len) {
			n = fn_min(s->len - done, to->nic.tx_payload - p->len);
			memcpy(p->data + p->len, s->data + done, n);
			p->len += n;
			done += n;
			if (done < s->len || (s->seg && p->len == to->nic.tx_payload))
				p = p->seg = buf_get(to);
		}
	}
	if (!p && first)
		buf_release_chain(to, first);
	if (!p)
		return NULL;
	first->pkt_len = src->pkt_len;
	return first;
}

static uint64_t frame_due(struct fn_pair *w, struct pair_end *to)
{
	uint64_t due = w->now + w->conf.delay_ns;

	if (w->conf.jitter_ns)
		due += pair_random(w) % w->conf.jitter_ns;
	due = fn_max(due, to->last_due);
	if (pair_chance(w, w->conf.reorder_ppm))
		return due + w->conf.reorder_ns;
	to->last_due = due;
	return due;
}

/* One copy of a frame sets out. */
static void wire_put(struct pair_end *to, const struct fn_pkt *src, uint32_t hints, bool corrupt)
{
	struct pair_buf *b;
	struct fn_pkt *p;

	if (to->queued >= to->w->conf.queue || !(p = frame_copy(to, src))) {
		to->nic.stats.rx_missed++;
		return;
	}
	b = p->priv;
	b->hints = hints;
	b->due = frame_due(to->w, to);
	if (corrupt && !fn_pair_corrupt(p, &b->hints, pair_random(to->w))) {
		to->nic.stats.rx_errors++;
		buf_release_chain(to, p);
		return;
	}
	queue_insert(to, b);
}

static void wire_tap(struct fn_pair *w, unsigned from, const struct fn_pkt *p, uint32_t hints)
{
	uint32_t len = fn_pair_linear(p, w->tapped);

	fn_pair_finish_csum(w->tapped, len, &hints);
	w->tap(w->tap_ctx, from, w->tapped, len);
}

/* A frame enters the wire: the tap sees it, then it is lost, doubled, damaged or delayed. */
static void wire_send(struct pair_end *from, const struct fn_pkt *p, uint32_t hints)
{
	struct fn_pair *w = from->w;
	unsigned index = from == &w->end[1];
	struct pair_end *to = &w->end[!index];

	if (fn_unlikely(w->tap))
		wire_tap(w, index, p, hints);
	if (pair_chance(w, w->conf.loss_ppm))
		return;
	if (pair_chance(w, w->conf.dup_ppm))
		wire_put(to, p, hints, false);
	wire_put(to, p, hints, pair_chance(w, w->conf.corrupt_ppm));
}

/* ---- struct fn_nic_ops ---- */

static uint16_t pair_rx(struct fn_nic *nic, struct fn_pkt **burst, uint16_t n)
{
	struct pair_end *e = (struct pair_end *)nic;
	uint16_t got = 0;

	while (got < n && e->head && e->head->due <= e->w->now) {
		struct pair_buf *b = queue_pop(e);

		if (nic->caps & FN_NIC_RX_CSUM)
			fn_pair_rx_csum(b->pkt, b->hints);
		else if (b->hints)
			fn_pair_finish_csum_pkt(b->pkt, &b->hints);
		b->pkt->time = b->due;
		nic->stats.rx_packets++;
		nic->stats.rx_bytes += b->pkt->pkt_len;
		burst[got++] = b->pkt;
	}
	return got;
}

static void tx_tso_frame(void *ctx, const struct fn_pkt *frame, uint32_t hints)
{
	wire_send(ctx, frame, hints);
}

static void tx_one(struct pair_end *e, struct fn_pkt *p)
{
	bool keep_all = p->flags & FN_PKT_KEEP, lend = e->w->conf.release_ns != 0;
	struct fn_pkt *seg;

	e->nic.stats.tx_packets++;
	e->nic.stats.tx_bytes += p->pkt_len;
	if (fn_unlikely(p->flags & FN_PKT_TX_TSO)) {
		fn_pair_linear(p, e->w->tso);
		fn_pair_tso(p, e->w->tso, tx_tso_frame, e);
	} else {
		if (p->pkt_len > e->nic.mtu + FN_PAIR_LINK_MAX)
			pair_fail("a frame larger than the MTU was sent", p->priv);
		wire_send(e, p, fn_pair_hints(p));
	}
	for (; p; p = seg) {
		seg = p->seg;
		if (lend)
			loan_add(e, p);
		if (!keep_all && !(p->flags & FN_PKT_KEEP))
			buf_release(e, p->priv);
		else if (!keep_all)
			p->seg = NULL;
	}
}

static uint16_t pair_tx(struct fn_nic *nic, struct fn_pkt **burst, uint16_t n)
{
	struct pair_end *e = (struct pair_end *)nic;
	uint16_t i;

	for (i = 0; i < n; i++) {
		if (e->w->conf.release_ns && e->loans + chain_count(burst[i]) > e->loan_max)
			break;
		tx_one(e, burst[i]);
	}
	return i;
}

/* An eighth is for receiving alone, as the buffers in a device's receive ring are: what is sent cannot use up everything. */
static struct fn_pkt *pair_alloc(struct fn_nic *nic)
{
	struct pair_end *e = (struct pair_end *)nic;

	if (e->outstanding >= e->w->conf.buffers - e->w->conf.buffers / 8)
		return NULL;
	return buf_get(e);
}

static void pair_free(struct fn_nic *nic, struct fn_pkt *p)
{
	buf_release((struct pair_end *)nic, p->priv);
}

static bool pair_in_flight(const struct fn_nic *nic, const struct fn_pkt *p)
{
	return ((const struct pair_buf *)p->priv)->device != 0;
}

static bool pair_rx_pending(const struct fn_nic *nic)
{
	const struct pair_end *e = (const struct pair_end *)nic;

	return e->head && e->head->due <= e->w->now;
}

/* ---- after a death under the stack's lock ---- */

/* What waits on the wire is the wire's. */
static void wire_mark(struct pair_end *e, bool on)
{
	for (struct pair_buf *b = e->head; b; b = b->next)
		for (struct fn_pkt *p = b->pkt; p; p = p->seg)
			p->flags = (uint16_t)(on ? p->flags | FN_PKT_MARK : p->flags & ~FN_PKT_MARK);
}

static void pair_each(struct fn_nic *nic, void (*fn)(void *ctx, struct fn_pkt *p), void *ctx)
{
	struct pair_end *e = (struct pair_end *)nic;

	for (uint32_t i = 0; i < e->w->conf.buffers; i++)
		if (e->bufs[i].held)
			fn(ctx, e->bufs[i].pkt);
}

static void pair_reclaim(struct fn_nic *nic)
{
	struct pair_end *e = (struct pair_end *)nic;

	wire_mark(e, true);
	for (uint32_t i = 0; i < e->w->conf.buffers; i++)
		if (e->bufs[i].held && !(e->bufs[i].pkt->flags & FN_PKT_MARK))
			buf_release(e, &e->bufs[i]);
	wire_mark(e, false);
}

static const struct fn_nic_ops pair_ops = {
	.each = pair_each,
	.reclaim = pair_reclaim,
	.rx = pair_rx,
	.tx = pair_tx,
	.alloc = pair_alloc,
	.free = pair_free,
	.in_flight = pair_in_flight,
	.rx_pending = pair_rx_pending,
};

/* ---- life ---- */

static void conf_defaults(struct fn_pair_conf *c)
{
	c->mtu = c->mtu ? c->mtu : 1500;
	c->buffers = c->buffers ? c->buffers : 4096;
	c->buf_payload = c->buf_payload ? c->buf_payload : 2048 - FN_PKT_HEADROOM;
	c->tso_segs = c->tso_segs ? c->tso_segs : UINT16_MAX;
	c->queue = c->queue ? c->queue : 1024;
}

static size_t buf_stride(const struct fn_pair_conf *c)
{
	return (FN_PKT_HEADROOM + c->buf_payload + 63) & ~(size_t)63;
}

static int end_init(struct fn_pair *w, unsigned index)
{
	struct pair_end *e = &w->end[index];
	size_t stride = buf_stride(&w->conf);
	uint32_t i, n = w->conf.buffers;

	e->w = w;
	e->nic = (struct fn_nic){.ops = &pair_ops, .caps = w->conf.caps, .mtu = w->conf.mtu, .up = true,
		.tx_payload = w->conf.buf_payload, .tso_max = w->conf.caps & FN_NIC_TX_TSO ? FN_PAIR_TSO_MAX : 0,
		.tso_segs = w->conf.tso_segs,
		.mac = {2, 0, 0, 0, 0, (uint8_t)(index + 1)}, .priv = e};
	snprintf(e->nic.name, sizeof(e->nic.name), "pair%u", index);
	e->loan_max = 2 * n;
	e->pkts = calloc(n, sizeof(*e->pkts));
	e->bufs = calloc(n, sizeof(*e->bufs));
	e->loan = calloc(e->loan_max, sizeof(*e->loan));
	e->mem = aligned_alloc(64, stride * n);
	if (!e->pkts || !e->bufs || !e->loan || !e->mem)
		return -1;
	for (i = n, e->outstanding = n; i-- > 0;) {
		e->bufs[i].pkt = &e->pkts[i];
		e->bufs[i].mem = e->mem + i * stride;
		buf_put(e, &e->bufs[i]);
	}
	return 0;
}

static void end_free(struct pair_end *e, const struct fn_pair_conf *c)
{
	if (e->mem)
		pair_show(e->mem, buf_stride(c) * c->buffers);
	if (e->pkts)
		pair_show(e->pkts, sizeof(*e->pkts) * c->buffers);
	free(e->mem);
	free(e->pkts);
	free(e->bufs);
	free(e->loan);
}

struct fn_pair *fn_pair_create(const struct fn_pair_conf *conf)
{
	struct fn_pair *w = aligned_alloc(64, (sizeof(*w) + 63) & ~(size_t)63);

	if (!w)
		return NULL;
	memset(w, 0, sizeof(*w));
	w->conf = *conf;
	conf_defaults(&w->conf);
	w->rng = conf->seed;
	w->tso = malloc(FN_PAIR_FRAME_MAX);
	w->tapped = malloc(FN_PAIR_FRAME_MAX);
	if (!w->tso || !w->tapped || end_init(w, 0) || end_init(w, 1)) {
		fn_pair_destroy(w);
		return NULL;
	}
	return w;
}

void fn_pair_destroy(struct fn_pair *w)
{
	end_free(&w->end[0], &w->conf);
	end_free(&w->end[1], &w->conf);
	free(w->tso);
	free(w->tapped);
	free(w);
}

struct fn_nic *fn_pair_nic(struct fn_pair *w, unsigned end)
{
	return &w->end[end].nic;
}

struct fn_pair_conf *fn_pair_conf(struct fn_pair *w)
{
	return &w->conf;
}

unsigned fn_pair_outstanding(const struct fn_pair *w, unsigned end)
{
	return w->end[end].outstanding;
}

void fn_pair_set_tap(struct fn_pair *w, void (*tap)(void *ctx, unsigned from, const void *frame, size_t len), void *ctx)
{
	w->tap = tap;
	w->tap_ctx = ctx;
}

/* ---- time ---- */

void fn_pair_set_time(struct fn_pair *w, uint64_t now)
{
	fn_assert(now >= w->now);
	w->now = now;
	loans_expire(&w->end[0], now);
	loans_expire(&w->end[1], now);
}

uint64_t fn_pair_next(const struct fn_pair *w)
{
	uint64_t a = w->end[0].head ? w->end[0].head->due : UINT64_MAX;
	uint64_t b = w->end[1].head ? w->end[1].head->due : UINT64_MAX;

	return fn_min(a, b);
}

/* ---- the other end played by hand ---- */

int fn_pair_inject(struct fn_pair *w, unsigned end, const void *frame, size_t len)
{
	struct fn_pkt src = {.data = (uint8_t *)frame, .len = (uint32_t)len, .pkt_len = (uint32_t)len};

	if (len > FN_PAIR_FRAME_MAX)
		return -1;
	wire_send(&w->end[!end], &src, 0);
	return 0;
}

size_t fn_pair_sniff(struct fn_pair *w, unsigned end, void *frame, size_t room)
{
	struct pair_end *to = &w->end[!end];
	struct pair_buf *b = to->head;
	uint32_t len;

	if (!b || b->pkt->pkt_len > room)
		return 0;
	queue_pop(to);
	len = fn_pair_linear(b->pkt, frame);
	fn_pair_finish_csum(frame, len, &b->hints);
	buf_release_chain(to, b->pkt);
	return len;
}
