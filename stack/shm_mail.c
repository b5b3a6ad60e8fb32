/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * Connections to a group: offered in a page until one of its processes claims them. Owns what we know of our slots. A SYN is
 * answered here, in that process' place, and text is acknowledged: it lies where any of them finds it, we dead or alive.
 */
#include "shm_priv.h"

#include <errno.h>
#include <string.h>

#include "stack.h"
#include "wire.h"

#define BACK_STEP	4096u	/* bytes of a slot that get memory at once */

_Static_assert(FN_PAGE_BYTES == FN_OFFER_WINDOW, "what a SYN-ACK offers is what fits");

/* ---- slots ---- */

static unsigned bucket_of(uint16_t sport)
{
	return (sport ^ sport >> 8) % MAIL_BUCKETS;
}

/* Of our frames' ends: the SYN's. */
static struct parcel *find(struct mail *m, const struct fn_ip4_hdr *ip, const struct fn_tcp_hdr *th)
{
	for (uint16_t i = m->bucket[bucket_of(th->sport)]; i; i = m->slot[i - 1].chain) {
		struct parcel *c = &m->slot[i - 1];

		if (c->sport == th->sport && c->dport == th->dport && c->src == ip->src && c->dst == ip->dst)
			return c;
	}
	return NULL;
}

static unsigned index_of(const struct mail *m, const struct parcel *c)
{
	return (unsigned)(c - m->slot);
}

static struct parcel *get_slot(struct mail *m, const struct fn_ip4_hdr *ip, const struct fn_tcp_hdr *th)
{
	uint16_t *bucket = &m->bucket[bucket_of(th->sport)], i = m->free;
	struct parcel *c;

	if (!i)
		return NULL;
	c = &m->slot[i - 1];
	m->free = c->chain;
	*c = (struct parcel){ .src = ip->src, .dst = ip->dst, .sport = th->sport, .dport = th->dport, .backed = c->backed,
		.use = (uint16_t)(c->use + 1), .at = (uint16_t)m->count, .chain = *bucket };
	*bucket = i;
	m->used[m->count++] = (uint16_t)(i - 1);
	return c;
}

/* clear: in the page too. */
static void put_slot(struct mail *m, struct parcel *c, bool clear)
{
	uint16_t i = (uint16_t)(index_of(m, c) + 1), *link = &m->bucket[bucket_of(c->sport)];

	c->live = false;
	if (clear)
		fn_page_clear(m->page, i - 1u);
	while (*link != i)
		link = &m->slot[*link - 1].chain;
	*link = c->chain;
	m->used[c->at] = m->used[--m->count];
	m->slot[m->used[c->at]].at = c->at;
	c->chain = m->free;
	m->free = i;
}

/* ---- answers in the other's place ---- */

static void answer(struct shm *s, const struct peer *group, const struct parcel *c, uint8_t flags)
{
	uint32_t left = FN_PAGE_BYTES - fn_page_len(c->state);
	struct fn_shm_bare b = { .src = c->dst, .dst = c->src, .sport = c->dport, .dport = c->sport, .seq = c->isn + 1,
		.ack = c->next, .win = (uint16_t)(left >> FN_OFFER_WSCALE), .flags = flags };
	uint8_t ip[FN_SHM_BARE_MAX];

	if (flags & FN_TCP_SYN) {
		b.seq = c->isn;
		b.win = FN_OFFER_WINDOW;
	}
	fn_shm_answer(s, group, ip, fn_shm_bare(&b, FN_OFFER_MSS, FN_OFFER_WSCALE, ip));
}

/* ---- frames to a group ---- */

static bool back(struct shm *s, const struct peer *group, struct parcel *c, uint32_t len)
{
	struct mail *m = group->mail;
	size_t at = (size_t)(fn_page_bytes(m->page, index_of(m, c)) - (uint8_t *)m->page);
	uint32_t want = fn_min((len + BACK_STEP - 1) / BACK_STEP * BACK_STEP, FN_PAGE_STRIDE);

	if (fn_likely(want <= c->backed))
		return true;
	if (s->conf.back && !s->conf.back(s->conf.ctx, group->number, at + c->backed, at + want))
		return false;
	c->backed = want;
	return true;
}

/* NULL: as of a listener whose queue is full; the SYN comes again (tcp_listen.c). */
static struct parcel *post_syn(struct shm *s, struct peer *group, const struct fn_ip4_hdr *ip, const struct fn_tcp_hdr *th)
{
	struct mail *m = group->mail;
	struct parcel *c = find(m, ip, th);
	struct fn_page_slot slot = { .src = ip->src, .dst = ip->dst };

	if (c && c->syn == fn_be32(th->seq))	/* our SYN-ACK waits to be taken */
		return c;
	if (m->count > m->backlog || !(c = get_slot(m, ip, th)))
		return NULL;
	c->syn = fn_be32(th->seq);
	c->next = c->syn + 1;
	slot.since = (uint32_t)(s->nic.st->now / FN_MSEC);
	/* who may claim it could end it in any case: the number need not be hard to guess */
	slot.isn = c->isn = ~c->syn * 2654435761u + c->use;
	memcpy(slot.tcp, th, fn_min((th->off >> 4) * 4u, sizeof(slot.tcp)));
	c->live = true;
	c->state = fn_page_post(m->page, index_of(m, c), c->use, &slot);
	m->told = false;
	return c;
}

bool fn_shm_open(struct fn_nic *nic, uint16_t number, uint32_t src, uint32_t dst, const struct fn_tcp_hdr *syn, uint32_t *isn)
{
	struct fn_ip4_hdr ip = { .src = src, .dst = dst };
	struct shm *s = shm_of(nic);
	struct peer *group = peer_at(s, number);
	struct parcel *c;

	fn_shm_mend(s);
	c = group && group->mail && !group->dead && is_here(s, group) ? post_syn(s, group, &ip, syn) : NULL;
	if (!c)
		return false;
	*isn = c->isn;
	fn_shm_mail_ring(s, group);
	return true;
}

static void copy_text(uint8_t *to, const struct fn_pkt *p, uint32_t skip)
{
	for (; p; p = p->seg, skip = 0) {
		memcpy(to, p->data + skip, p->len - skip);
		to += p->len - skip;
	}
}

/*
 * Behind `have` bytes comes a segment whose urgent pointer is that. Where the last urgent byte is the first that would be read,
 * nobody will read it (tcp_check_urg).
 */
static void mark_urgent(struct mail *m, struct parcel *c, uint32_t have, uint32_t ptr)
{
	if (have + ptr <= c->urg)
		return;
	c->skip += c->urg == c->skip + 1 && have > c->skip;
	c->urg = have + ptr;
	fn_page_urgent(m->page, index_of(m, c), c->urg, c->skip);
}

/* Behind what lies in the slot. False: it has been claimed meanwhile. */
static bool add_text(struct shm *s, struct peer *group, struct parcel *c, const struct fn_pkt *p, const struct fn_tcp_hdr *th)
{
	struct mail *m = group->mail;
	uint32_t skip = FN_ETHER_LEN + fn_shm_headers(p), len = p->pkt_len - skip, have = fn_page_len(c->state);
	uint32_t fin = !!(th->flags & FN_TCP_FIN);
	unsigned i = index_of(m, c);

	if (!len && !fin && fn_be32(th->seq) == c->next)
		return true;	/* an ACK of what we have made ourselves */
	if (fn_be32(th->seq) == c->next && !(c->state & FN_PAGE_FIN) && len <= FN_PAGE_BYTES - have && back(s, group, c, have + len)) {
		copy_text(fn_page_bytes(m->page, i) + have, p, skip);
		if (fn_unlikely(th->flags & FN_TCP_URG))
			mark_urgent(m, c, have, fn_be16(th->urg));
		if (!fn_page_extend(m->page, i, &c->state, len, (fin ? FN_PAGE_FIN : 0) | (th->flags & FN_TCP_URG ? FN_PAGE_URG : 0)))
			return false;
		c->next += len + fin;
		if (!have && fn_page_speaks(m->page))
			m->told = false;
	}
	answer(s, group, c, FN_TCP_ACK);
	return true;
}

static struct peer *member(const struct shm *s, const struct peer *group, uint32_t id)
{
	for (uint32_t i = 1; i <= s->peers; i++) {
		struct peer *peer = peer_at(s, i);

		if (peer && peer->group == group->number && peer->id == id && !peer->dead)
			return peer;
	}
	return NULL;
}

/* Whoever has claimed it has introduced himself before, perhaps by a message that nobody has read. */
static struct peer *claimer(struct shm *s, const struct peer *group, uint64_t state)
{
	struct peer *peer = member(s, group, fn_page_id(state));

	if ((!peer || lies_ready(s, peer)) && s->conf.introduce) {
		s->conf.introduce(s->conf.ctx, group->number);
		peer = member(s, group, fn_page_id(state));
		s->introduced |= peer != NULL;
	}
	return peer;
}

/* Who has claimed something of that group may be one whose word cannot be read now. */
static bool is_deaf(const struct shm *s, const struct peer *group)
{
	return s->conf.deaf && s->conf.deaf(s->conf.ctx, group->number);
}

/* False: it has been claimed meanwhile. */
static bool reset(struct peer *group, struct parcel *c)
{
	struct mail *m = group->mail;
	unsigned i = index_of(m, c);

	/* Linux: what waits for TCP_DEFER_ACCEPT is a request still, which a reset ends (tcp_check_req) */
	if (fn_unlikely(fn_page_deferred(m->page)) && !fn_page_len(c->state) && !(c->state & FN_PAGE_FIN) &&
	    fn_page_withdraw(m->page, i, c->state)) {
		put_slot(m, c, true);
		return true;
	}
	return fn_page_extend(m->page, i, &c->state, 0, FN_PAGE_RST);
}

struct peer *fn_shm_mail_post(struct shm *s, struct peer *group, const struct fn_pkt *p)
{
	const struct fn_ip4_hdr *ip = (const void *)(p->data + FN_ETHER_LEN);
	const struct fn_tcp_hdr *th = (const void *)(ip + 1);
	struct parcel *c;
	struct peer *to;

	touch(s, group);
	if (ip->proto != FN_IPPROTO_TCP)
		return NULL;
	if (th->flags & FN_TCP_SYN) {
		c = post_syn(s, group, ip, th);
		if (c)
			answer(s, group, c, FN_TCP_SYN | FN_TCP_ACK);
		else
			s->nic.stats.tx_full++;
		return NULL;
	}
	c = find(group->mail, ip, th);
	if (!c)
		return NULL;
	if (fn_page_status(c->state) == FN_PAGE_OPEN) {
		if (th->flags & FN_TCP_RST ? reset(group, c) : add_text(s, group, c, p, th))
			return NULL;
	}
	to = claimer(s, group, c->state);
	if (!to && !(th->flags & FN_TCP_RST) && !is_deaf(s, group))
		answer(s, group, c, FN_TCP_RST | FN_TCP_ACK);
	return to;
}

void fn_shm_mail_ring(struct shm *s, struct peer *group)
{
	struct mail *m = group->mail;
	uint32_t joined;

	/* our own thread may sleep: there are answers */
	if (s->answers && s->conf.ring)
		s->conf.ring(s->conf.ctx, group->number);
	if (m->told)
		return;
	m->told = true;
	/* pairs with the fence in fn_shm_arm(): either who waits sees the slot, or we see that he waits */
	atomic_thread_fence(memory_order_seq_cst);
	joined = atomic_load_explicit(&m->page->joined, memory_order_relaxed);
	if (joined != m->joined && s->conf.introduce)
		s->conf.introduce(s->conf.ctx, group->number);
	m->joined = joined;
	for (uint32_t i = 1; i <= s->peers; i++) {
		struct peer *peer = peer_at(s, i);

		if (!peer || peer->group != group->number)
			continue;
		if (fn_unlikely(lies_ready(s, peer)) && s->conf.introduce)
			s->conf.introduce(s->conf.ctx, group->number);
		if (!has_ring(s, peer) || !fn_ring_sleeper(&peer->tx))
			continue;
		if (s->conf.ring)
			s->conf.ring(s->conf.ctx, (int)i);
		else
			s->bell[i / 64] |= 1ull << i % 64;
	}
}

/* ---- claimed ---- */

static bool is_of(const struct fn_pkt *p, const struct peer *group, const struct parcel *c)
{
	const struct fn_ip4_hdr *ip = (const void *)(p->data + FN_ETHER_LEN);
	const struct fn_tcp_hdr *th = (const void *)(ip + 1);

	return p->peer == group->number && th->dport == c->sport && th->sport == c->dport && ip->dst == c->src && ip->src == c->dst;
}

/* What is staged for the group goes to the claimer, and what we have answered in his place comes from him. */
static void readdress(struct shm *s, const struct peer *group, const struct parcel *c, uint16_t number)
{
	for (unsigned i = 0; i < s->burst_len; i++)
		if (is_of(s->burst[i], group, c))
			s->burst[i]->peer = number;
	for (struct rxbuf *r = s->answers; r; r = r->next)
		if (is_of(&r->p, group, c))
			r->p.peer = number;
	for (unsigned i = 0; i < s->nic.txq_len; i++) {
		uint8_t *mac = s->nic.txq[i]->buf + s->nic.txq[i]->l2;
		const struct fn_ip4_hdr *ip = (const void *)(mac + FN_ETHER_LEN);
		const struct fn_tcp_hdr *th = (const void *)(ip + 1);

		if ((mac[4] << 8 | mac[5]) != group->number || th->sport != c->sport || th->dport != c->dport ||
		    ip->src != c->src || ip->dst != c->dst)
			continue;
		mac[4] = (uint8_t)(number >> 8);
		mac[5] = (uint8_t)number;
	}
}

/* The connection in that slot is its claimer's, or lost, and the slot is free. */
static void hand_over(struct shm *s, struct peer *group, struct parcel *c, uint64_t state)
{
	struct peer *to = claimer(s, group, state);
	struct fn_ep local = { c->src, c->sport, 0 }, remote = { c->dst, c->dport, group->number };

	if (!to && is_deaf(s, group))
		return;			/* it stays until he joins (fn_shm_group_join()) */
	if (to) {
		readdress(s, group, c, to->number);
		if (s->conf.moved)
			s->conf.moved(s->conf.ctx, &local, &remote, to->number);
	} else {
		answer(s, group, c, FN_TCP_RST | FN_TCP_ACK);
	}
	put_slot(group->mail, c, true);
}

void fn_shm_mail_look(struct shm *s, struct peer *group)
{
	struct mail *m = group->mail;
	/* pairs with fn_page_done() */
	uint32_t claims = atomic_load_explicit(&m->page->claims, memory_order_acquire);

	if (fn_likely(claims == m->claims))
		return;
	m->claims = claims;
	for (uint32_t k = m->count; k-- > 0;) {
		struct parcel *c = &m->slot[m->used[k]];
		uint64_t state = fn_page_state(m->page, index_of(m, c));

		if (fn_page_status(state) == FN_PAGE_DONE)
			hand_over(s, group, c, state);
	}
}

void fn_shm_mail_leave(struct shm *s, struct peer *peer)
{
	struct peer *group = peer_at(s, peer->group);
	struct mail *m = group && is_here(s, group) ? group->mail : NULL;	/* else who has it does so (leave_group()) */

	for (uint32_t k = m ? m->count : 0; k-- > 0;) {
		struct parcel *c = &m->slot[m->used[k]];
		uint64_t state = fn_page_state(m->page, index_of(m, c));

		if (fn_page_status(state) >= FN_PAGE_TAKEN && fn_page_id(state) == peer->id)
			hand_over(s, group, c, state);
	}
}

void fn_shm_mail_end(struct shm *s, struct peer *group)
{
	struct mail *m = group->mail;

	while (m->count) {
		struct parcel *c = &m->slot[m->used[m->count - 1]];
		/* what no image has a page for any more is over */
		uint64_t state = group->images ? fn_page_state(m->page, index_of(m, c)) : FN_PAGE_OPEN;

		if (fn_page_status(state) >= FN_PAGE_TAKEN) {
			hand_over(s, group, c, state);
			continue;
		}
		answer(s, group, c, FN_TCP_RST | FN_TCP_ACK);
		put_slot(m, c, group->images);
	}
	/* its number may be another group's, of the same processes */
	for (uint32_t i = 1; i <= s->peers; i++)
		if (s->peer[i] && s->peer[i]->group == group->number)
			s->peer[i]->group = 0;
	s->mails--;
}

/* ---- after a death under the lock ---- */

/* A slot that was being offered, or given up, is nobody's: its SYN comes again. What lies in the others is as the page says. */
static bool is_live(struct parcel *c, uint64_t state)
{
	if (!c->live || fn_page_status(state) == FN_PAGE_FREE)
		return false;
	if (fn_page_status(state) == FN_PAGE_OPEN) {
		c->state = state;
		c->next = c->syn + 1 + fn_page_len(state) + !!(state & FN_PAGE_FIN);
	}
	return true;
}

void fn_shm_mail_recover(struct shm *s, struct peer *group)
{
	struct mail *m = group->mail;

	m->count = 0;
	m->free = 0;
	memset(m->bucket, 0, sizeof(m->bucket));
	for (unsigned i = FN_PAGE_SLOTS; i-- > 0;) {
		struct parcel *c = &m->slot[i];

		if (is_live(c, fn_page_state(m->page, i))) {
			c->chain = m->bucket[bucket_of(c->sport)];
			m->bucket[bucket_of(c->sport)] = (uint16_t)(i + 1);
			c->at = (uint16_t)m->count;
			m->used[m->count++] = (uint16_t)i;
			continue;
		}
		c->live = false;
		fn_page_clear(m->page, i);
		c->chain = m->free;
		m->free = (uint16_t)(i + 1);
	}
	m->claims = atomic_load_explicit(&m->page->claims, memory_order_relaxed) - 1;	/* to be looked at */
	m->told = false;
	touch(s, group);
}

/* Whoever offers what was being claimed takes it for ours; when no connection has come of it, it is reset (ENTRY_AGAIN). */
void fn_shm_page_recover(struct shm *s, struct peer *peer)
{
	for (unsigned i = 0; i < FN_PAGE_SLOTS; i++) {
		uint64_t state = fn_page_state(peer->page, i);

		if (fn_page_status(state) == FN_PAGE_TAKEN && fn_page_id(state) == s->claims_as)
			fn_page_done(peer->page, i, state);
	}
	peer->posted = atomic_load_explicit(&peer->page->posted, memory_order_relaxed) - 1;
}

/* ---- groups ---- */

int fn_shm_group_add(struct fn_nic *nic, struct fn_page *page, uint32_t backlog)
{
	struct shm *s = shm_of(nic);
	int number = fn_shm_number(s);
	struct peer *peer;
	struct mail *m;

	if (number < 0)
		return number;
	peer = s->peer[number];
	if (!peer->office)
		peer->office = fn_arena_alloc(s->arena, sizeof(*m));
	m = peer->office;
	if (!m)
		return -ENOMEM;
	memset(m, 0, sizeof(*m));
	m->page = page;
	fn_shm_spill_init(&m->spill, peer->number, page);
	atomic_store_explicit(&page->group, (uint32_t)number, memory_order_relaxed);
	m->backlog = backlog;
	m->told = true;
	for (unsigned i = FN_PAGE_SLOTS; i > 0; i--) {
		m->slot[i - 1].chain = m->free;
		m->free = (uint16_t)i;
	}
	peer->mail = m;
	peer->images = image_of(s);
	peer->life = ++s->lives;
	peer->used = true;
	s->mails++;
	s->peers = fn_max(s->peers, (uint32_t)number);
	return number;
}

void fn_shm_group_join(struct fn_nic *nic, int number, int group, uint32_t id)
{
	struct peer *peer = peer_at(shm_of(nic), (unsigned)number), *to = peer_at(shm_of(nic), (unsigned)group);

	if (!peer)
		return;
	peer->group = (uint16_t)group;
	peer->id = id;
	if (to && to->mail)
		to->mail->claims--;	/* what he has claimed may have been left because he was not known: it is looked at again */
}

void fn_shm_group_expect(struct fn_nic *nic, int number)
{
	struct peer *group = peer_at(shm_of(nic), (unsigned)number);

	if (group)
		group->expected = true;
}

/* ---- those who accept ---- */

void fn_shm_accepts_no_more(struct shm *s, struct peer *peer, uint64_t images)
{
	peer->accepts &= ~images;
	if (peer->accepts || !peer->page)
		return;
	s->pages--;
	peer->page = NULL;
}

void fn_shm_offers(struct fn_nic *nic, int number, struct fn_page *page)
{
	struct shm *s = shm_of(nic);
	struct peer *peer = peer_at(s, (unsigned)number);

	if (!peer)
		return;
	if (page) {
		s->pages += !peer->page;
		peer->page = page;
		peer->posted = 0;
		peer->accepts = image_of(s);
		peer->offers_as = atomic_load_explicit(&page->group, memory_order_relaxed);
		return;
	}
	fn_shm_accepts_no_more(s, peer, image_of(s));
}

bool fn_shm_offering(const struct fn_nic *nic, int number)
{
	const struct peer *group = peer_at(shm_of(nic), (unsigned)number);

	return group && group->mail && group->mail->count;
}

bool fn_shm_offering_to(const struct fn_nic *nic, int number, uint32_t *ip4, uint16_t *port)
{
	const struct mail *m = fn_shm_offering(nic, number) ? peer_at(shm_of(nic), (unsigned)number)->mail : NULL;

	if (!m)
		return false;
	*ip4 = m->slot[m->used[0]].dst;
	*port = fn_be16(m->slot[m->used[0]].dport);
	return true;
}

/* As we know it, and nobody has claimed it. */
static bool is_offered(const struct mail *m, unsigned slot)
{
	const struct parcel *c = &m->slot[slot];

	return c->live && fn_page_status(c->state) == FN_PAGE_OPEN && fn_page_state(m->page, slot) == c->state;
}

bool fn_shm_offer_from(const struct fn_nic *nic, int number, unsigned slot, struct fn_shm_offer *o)
{
	const struct mail *m = fn_shm_offering(nic, number) ? peer_at(shm_of(nic), (unsigned)number)->mail : NULL;
	const struct parcel *c;

	while (m && slot < FN_PAGE_SLOTS && !is_offered(m, slot))
		slot++;
	if (!m || slot == FN_PAGE_SLOTS)
		return false;
	c = &m->slot[slot];
	*o = (struct fn_shm_offer){ .slot = slot, .local = { c->src, c->sport, 0 },
		.remote = { c->dst, c->dport, (uint16_t)number }, .text = fn_page_bytes(m->page, slot),
		.len = fn_page_len(c->state), .next = c->syn + 1 + fn_page_len(c->state), .fin = c->state & FN_PAGE_FIN, .rst = c->state & FN_PAGE_RST,
		.urg = c->state & FN_PAGE_URG };
	return true;
}

bool fn_shm_take_back(struct fn_nic *nic, int number, const struct fn_shm_offer *o)
{
	struct mail *m = peer_at(shm_of(nic), (unsigned)number)->mail;
	struct parcel *c = &m->slot[o->slot];

	if (fn_page_len(c->state) != o->len || !fn_page_withdraw(m->page, o->slot, c->state))
		return false;
	put_slot(m, c, true);
	return true;
}

uint64_t fn_shm_accepting(const struct fn_nic *nic, int number)
{
	const struct peer *peer = peer_at(shm_of(nic), (unsigned)number);

	return peer ? peer->accepts : 0;
}

static struct fn_page_want want_of(const struct shm *s, uint64_t defer)
{
	return (struct fn_page_want){ .words = defer, .before = (uint32_t)((s->nic.st->now - defer) / FN_MSEC) };
}

bool fn_shm_offered(const struct fn_nic *nic, int number, uint64_t defer)
{
	const struct shm *s = shm_of(nic);
	const struct peer *peer = peer_at(s, (unsigned)number);
	struct fn_page_want want = want_of(s, defer);

	if (!peer || !(peer->accepts & image_of(s)))
		return false;
	if (fn_unlikely(defer))
		fn_page_defer(peer->page);
	return fn_page_offered(peer->page, &want);
}

uint64_t fn_shm_deferred(const struct fn_nic *nic, int number, uint64_t defer)
{
	const struct shm *s = shm_of(nic);
	const struct peer *peer = peer_at(s, (unsigned)number);
	struct fn_page_want want = want_of(s, defer);
	uint64_t age;
	uint32_t since;

	if (!peer || !(peer->accepts & image_of(s)) || !fn_page_silent(peer->page, &want, &since))
		return FN_NEVER;
	age = (uint64_t)((uint32_t)(s->nic.st->now / FN_MSEC) - since) * FN_MSEC;
	return s->nic.st->now + FN_MSEC + (age < defer ? defer - age : defer);	/* of a clock that is ahead of ours: no longer */
}

/* The SYN as a packet that has passed IP. */
static struct fn_pkt *syn_packet(struct shm *s, const struct peer *peer, const struct fn_page_slot *slot)
{
	struct fn_pkt *p = s->nic.ops->alloc(&s->nic);
	uint32_t len = (slot->tcp[12] >> 4) * 4u;
	struct fn_ip4_hdr *ip;

	if (!p)
		return NULL;
	p->peer = peer->number;
	p->flags = FN_PKT_IP_CSUM_OK | FN_PKT_L4_CSUM_OK;
	ip = (struct fn_ip4_hdr *)p->data;
	*ip = (struct fn_ip4_hdr){ .ver_ihl = 0x45, .ttl = 64, .proto = FN_IPPROTO_TCP, .src = slot->src, .dst = slot->dst };
	p->l3 = (uint16_t)(p->data - p->buf);
	p->l4 = (uint16_t)(p->l3 + FN_IP4_LEN);
	p->data += FN_IP4_LEN;
	memcpy(p->data, slot->tcp, len);
	p->len = p->pkt_len = len;
	return p;
}

/* False: no buffers were left. */
static bool take_text(struct shm *s, const struct peer *peer, const uint8_t *from, uint32_t len, struct fn_pktq *q)
{
	while (len) {
		struct fn_pkt *p = s->nic.ops->alloc(&s->nic);

		if (!p)
			return false;
		p->peer = peer->number;
		p->len = p->pkt_len = fn_min(len, s->nic.tx_payload);
		memcpy(p->data, from, p->len);
		from += p->len;
		len -= p->len;
		fn_pktq_push(q, p);
	}
	return true;
}

static bool is_syn(const struct fn_page_slot *slot)
{
	unsigned off = slot->tcp[12] >> 4, flags = slot->tcp[13];

	return off * 4 >= FN_TCP_LEN && off * 4 <= FN_PAGE_TCP && (flags & (FN_TCP_SYN | FN_TCP_ACK | FN_TCP_RST | FN_TCP_FIN)) == FN_TCP_SYN;
}

int fn_shm_claim(struct fn_nic *nic, int number, uint64_t defer, uint32_t id, struct fn_offer *o)
{
	struct shm *s = shm_of(nic);
	struct fn_page_want want = want_of(s, defer);
	struct peer *peer = peer_at(s, (unsigned)number);
	struct fn_page_slot slot;
	uint64_t state = 0;
	int i;

	fn_shm_mend(s);
	s->claims_as = id;
	i = peer && peer->accepts & image_of(s) ? fn_page_claim(peer->page, &want, id, &slot, &state) : -EAGAIN;

	if (i < 0)
		return i;
	*o = (struct fn_offer){ .isn = slot.isn, .fin = state & FN_PAGE_FIN, .rst = state & FN_PAGE_RST,
		.urg = state & FN_PAGE_URG ? fn_min((uint32_t)slot.urg, FN_PAGE_BYTES) : 0, .skip = (uint32_t)(slot.urg >> 32) };
	if (is_syn(&slot))
		o->syn = syn_packet(s, peer, &slot);
	/* without buffers it ends where they end */
	if (o->syn && !take_text(s, peer, fn_page_bytes(peer->page, (unsigned)i), fn_page_len(state), &o->text))
		o->rst = true;
	fn_page_done(peer->page, (unsigned)i, state);
	return o->syn ? 0 : -EPROTO;
}
