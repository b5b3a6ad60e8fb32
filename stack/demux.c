/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * From a packet to its socket: the Toeplitz hash, the table of connections, the sockets on each local port, and the
 * choice of ephemeral ports. Must not know states; TCP alone says what a TIME_WAIT may be reused for.
 *
 * The table of connections is a linear hash (Litwin 1980): each insertion beyond one connection a bucket splits the next
 * bucket, so it begins small, never stops to be rebuilt, and wastes nothing in an arena that frees nothing.
 */
#include <errno.h>
#include <string.h>

#include "recover.h"

#define CHUNK		1024		/* buckets an allocation, 8 KiB */
#define CHUNKS		256		/* 262,144 buckets; beyond it chains grow */
#define PORT_PAGE	256		/* ports an allocation, 4 KiB */
#define PERTURB		256		/* RFC 6056 3.3.4: TABLE_LENGTH */

/* What is known of one local port. */
struct port {
	struct fn_sock *socks;		/* bound to it, by bind_next */
	uint32_t conns;			/* connections on it */
};

struct fn_demux {
	uint32_t toeplitz[12][256];	/* contribution of each value of each byte of the 4-tuple */
	struct fn_sock **chunk[CHUNKS];
	uint32_t mask;			/* buckets of the present round - 1 */
	uint32_t split;			/* buckets of the round that are split already */
	uint32_t conns;
	struct port *ports[FN_SOCK_UDP + 1][65536 / PORT_PAGE];
	uint32_t perturb[PERTURB];
};

/* ---- the hash ---- */

static uint32_t key_bits(const uint8_t key[40], unsigned bit)
{
	uint64_t v = 0;

	for (unsigned i = 0; i < 5; i++)
		v = v << 8 | key[bit / 8 + i];
	return (uint32_t)(v >> (8 - bit % 8));
}

/* The hash is linear, so the values of single bits give those of all bytes. */
static void toeplitz_init(struct fn_demux *d, const uint8_t key[40])
{
	unsigned byte, bit, v;

	for (byte = 0; byte < 12; byte++)
		for (bit = 0; bit < 8; bit++)
			for (v = 0; v < 256; v++)
				if (v & 0x80u >> bit)
					d->toeplitz[byte][v] ^= key_bits(key, byte * 8 + bit);
}

uint32_t fn_hash4(const struct fn_stack *st, uint32_t src, uint32_t dst, uint16_t sport, uint16_t dport)
{
	const uint32_t (*t)[256] = (const uint32_t (*)[256])st->demux->toeplitz;
	const uint8_t *s = (const uint8_t *)&src, *d = (const uint8_t *)&dst;
	const uint8_t *sp = (const uint8_t *)&sport, *dp = (const uint8_t *)&dport;

	return t[0][s[0]] ^ t[1][s[1]] ^ t[2][s[2]] ^ t[3][s[3]] ^ t[4][d[0]] ^ t[5][d[1]] ^ t[6][d[2]] ^ t[7][d[3]] ^
	       t[8][sp[0]] ^ t[9][sp[1]] ^ t[10][dp[0]] ^ t[11][dp[1]];
}

int fn_demux_init(struct fn_stack *st)
{
	struct fn_demux *d = fn_arena_alloc(st->arena, sizeof(*d));

	if (!d)
		return -ENOMEM;
	d->chunk[0] = fn_arena_alloc(st->arena, CHUNK * sizeof(d->chunk[0][0]));
	if (!d->chunk[0])
		return -ENOMEM;
	d->mask = CHUNK - 1;
	toeplitz_init(d, st->rss_key);
	for (unsigned i = 0; i < PERTURB; i++)
		d->perturb[i] = (uint32_t)fn_stack_random(st);
	st->demux = d;
	return 0;
}

/* ---- connections ---- */

static bool ep_equal(const struct fn_ep *a, const struct fn_ep *b)
{
	return a->ip4 == b->ip4 && a->port == b->port && a->peer == b->peer;
}

/* A device with several queues picks one by the hash's low bits, so those are the same for all of a stack: use others. */
static uint32_t spread(uint32_t hash)
{
	return hash >> 8 | hash << 24;
}

static struct fn_sock **bucket_at(const struct fn_demux *d, uint32_t i)
{
	return &d->chunk[i / CHUNK][i % CHUNK];
}

static struct fn_sock **bucket_of(const struct fn_demux *d, uint32_t hash)
{
	uint32_t h = spread(hash), i = h & d->mask;

	if (i < d->split)
		i = h & (d->mask * 2 + 1);
	return bucket_at(d, i);
}

struct fn_sock *fn_demux_conn(const struct fn_stack *st, uint32_t hash, const struct fn_ep *local,
			      const struct fn_ep *remote)
{
	struct fn_sock *sk = *bucket_of(st->demux, hash);

	while (sk && !(sk->hash == hash && ep_equal(&sk->remote, remote) && ep_equal(&sk->local, local)))
		sk = sk->hash_next;
	return sk;
}

/* Split the next bucket in two; without memory the chains grow instead. */
static void table_grow(struct fn_stack *st, struct fn_demux *d)
{
	uint32_t to = d->split + d->mask + 1;
	struct fn_sock **from, *sk;

	if (to == CHUNK * CHUNKS)
		return;
	if (!d->chunk[to / CHUNK]) {
		d->chunk[to / CHUNK] = fn_arena_alloc(st->arena, CHUNK * sizeof(d->chunk[0][0]));
		if (!d->chunk[to / CHUNK])
			return;
	}
	from = bucket_at(d, d->split++);
	while ((sk = *from)) {
		if (spread(sk->hash) & (d->mask + 1)) {
			*from = sk->hash_next;
			sk->hash_next = *bucket_at(d, to);
			*bucket_at(d, to) = sk;
		} else {
			from = &sk->hash_next;
		}
	}
	if (d->split > d->mask) {
		d->mask = d->mask * 2 + 1;
		d->split = 0;
	}
}

/* ---- local ports ---- */

static struct port *port_find(const struct fn_demux *d, unsigned kind, uint16_t port)
{
	struct port *page = d->ports[kind][fn_be16(port) / PORT_PAGE];

	return page ? &page[fn_be16(port) % PORT_PAGE] : NULL;
}

static struct port *port_make(struct fn_stack *st, unsigned kind, uint16_t port)
{
	struct port **page = &st->demux->ports[kind][fn_be16(port) / PORT_PAGE];

	if (!*page)
		*page = fn_arena_alloc(st->arena, PORT_PAGE * sizeof(**page));
	return *page ? &(*page)[fn_be16(port) % PORT_PAGE] : NULL;
}

fn_inline void conn_link(struct fn_stack *st, struct fn_sock *sk, uint32_t hash)
{
	struct fn_demux *d = st->demux;
	struct fn_sock **bucket;

	if (++d->conns > d->mask + 1 + d->split)
		table_grow(st, d);
	sk->hash = hash;
	bucket = bucket_of(d, sk->hash);
	sk->hash_next = *bucket;
	*bucket = sk;
}

static uint32_t hash_of(const struct fn_stack *st, const struct fn_sock *sk)
{
	return fn_hash4(st, sk->remote.ip4, sk->local.ip4, sk->remote.port, sk->local.port);
}

void fn_demux_add_hashed(struct fn_stack *st, struct fn_sock *sk, uint32_t hash)
{
	struct port *port = port_make(st, sk->kind, sk->local.port);

	fn_assert(!(sk->opts & FN_SO_IN_CONN));
	conn_link(st, sk, hash);
	sk->opts |= FN_SO_IN_CONN;
	if (port)
		port->conns++;
}

void fn_demux_del_conn(struct fn_stack *st, struct fn_sock *sk)
{
	struct fn_demux *d = st->demux;
	struct fn_sock **at;
	struct port *port;

	if (!(sk->opts & FN_SO_IN_CONN))
		return;
	port = port_find(d, sk->kind, sk->local.port);
	if (st->last_conn == sk)
		st->last_conn = NULL;
	if ((void *)st->express == sk)
		st->express = NULL;
	for (at = bucket_of(d, sk->hash); *at != sk; at = &(*at)->hash_next)
		;
	*at = sk->hash_next;
	sk->hash_next = NULL;
	sk->opts &= (uint16_t)~FN_SO_IN_CONN;
	d->conns--;
	if (port && port->conns)	/* 0: there was no memory for it when sk came */
		port->conns--;
}

/* The port's count of connections stays: they have the same ends. */
void fn_demux_replace_conn(struct fn_stack *st, struct fn_sock *old, struct fn_sock *sk)
{
	struct fn_sock **at = bucket_of(st->demux, old->hash);

	fn_assert(old->opts & FN_SO_IN_CONN && !(sk->opts & FN_SO_IN_CONN));
	while (*at != old)
		at = &(*at)->hash_next;
	*at = sk;
	sk->hash = old->hash;
	sk->hash_next = old->hash_next;
	sk->opts |= FN_SO_IN_CONN;
	old->hash_next = NULL;
	old->opts &= (uint16_t)~FN_SO_IN_CONN;
	st->last_conn = sk;
	if ((void *)st->express == old)
		st->express = NULL;
}

/* ---- bound sockets ---- */

/*
 * How well sk fits: -1 not at all. As Linux's compute_score: a connected socket wants its remote end, a bound address
 * counts more than any, and for TCP one that listens counts more than one that is only bound.
 */
static int score(const struct fn_sock *sk, const struct fn_ep *local, const struct fn_ep *remote)
{
	int s = 0;

	if (sk->local.ip4) {
		if (sk->local.ip4 != local->ip4)
			return -1;
		s = 1;
	}
	if (sk->kind == FN_SOCK_TCP)
		return s + (sk->opts & FN_SO_LISTENING ? 8 : 0);
	if (sk->remote.port || sk->remote.ip4) {
		if (!ep_equal(&sk->remote, remote))
			return -1;
		s += 2;
	}
	return s;
}

/* Among n equals with SO_REUSEPORT: the hash decides (Linux reciprocal_scale). */
static struct fn_sock *pick_equal(struct fn_sock *sk, const struct fn_ep *local, const struct fn_ep *remote, int best,
				  unsigned n, uint32_t hash)
{
	unsigned pick = (unsigned)((uint64_t)hash * n >> 32);

	for (; sk; sk = sk->bind_next)
		if (score(sk, local, remote) == best && !pick--)
			break;
	return sk;
}

struct fn_sock *fn_demux_bound(const struct fn_stack *st, enum fn_sock_kind kind, const struct fn_ep *local,
			       const struct fn_ep *remote, uint32_t hash)
{
	const struct port *port = port_find(st->demux, kind, local->port);
	struct fn_sock *sk, *found = NULL;
	unsigned equals = 0;
	int s, best = -1;

	for (sk = port ? port->socks : NULL; sk; sk = sk->bind_next) {
		s = score(sk, local, remote);
		if (s > best) {
			best = s;
			found = sk;
			equals = 1;
		} else if (s >= 0 && s == best) {
			equals++;
		}
	}
	if (fn_unlikely(equals > 1) && found->opts & FN_SO_REUSEPORT)
		found = pick_equal(port->socks, local, remote, best, equals, hash);
	return found;
}

struct fn_sock *fn_demux_next(const struct fn_stack *st, enum fn_sock_kind kind, const struct fn_ep *local,
			      const struct fn_ep *remote, const struct fn_sock *after)
{
	const struct port *port = port_find(st->demux, kind, local->port);
	struct fn_sock *sk = after ? after->bind_next : port ? port->socks : NULL;

	while (sk && score(sk, local, remote) < 0)
		sk = sk->bind_next;
	return sk;
}

static bool addr_clash(const struct fn_sock *a, const struct fn_sock *b)
{
	return !a->local.ip4 || !b->local.ip4 || a->local.ip4 == b->local.ip4;
}

/*
 * Two sockets on one port: Linux inet_csk_bind_conflict and inet_rcv_saddr_equal, all of one user. But a port that the
 * stack has chosen for a connection can be named all the same: names are given out by the host's kernel, which does not
 * know of our choice.
 */
static bool bind_clash(const struct fn_sock *sk, const struct fn_sock *other)
{
	uint16_t both = sk->opts & other->opts;

	if (sk == other || !addr_clash(sk, other) || both & FN_SO_REUSEPORT || other->opts & FN_SO_EPHEMERAL)
		return false;
	return !(both & FN_SO_REUSEADDR) || other->opts & FN_SO_LISTENING;
}

bool fn_demux_conns_clash(const struct fn_stack *st, const struct fn_sock *sk)
{
	const struct fn_demux *d = st->demux;
	const struct port *port = port_find(d, sk->kind, sk->local.port);
	uint32_t i, n = port && port->conns ? d->mask + 1 + d->split : 0;
	const struct fn_sock *c;

	for (i = 0; i < n; i++)
		for (c = *bucket_at(d, i); c; c = c->hash_next)
			if (c->local.port == sk->local.port && c->kind == sk->kind && bind_clash(sk, c))
				return true;
	return false;
}

int fn_demux_bind(struct fn_stack *st, struct fn_sock *sk)
{
	struct port *port = port_make(st, sk->kind, sk->local.port);
	const struct fn_sock *other;

	if (!port)
		return -ENOMEM;
	fn_assert(!(sk->opts & FN_SO_IN_BOUND));
	for (other = port->socks; other; other = other->bind_next)
		if (bind_clash(sk, other))
			return -EADDRINUSE;
	sk->bind_next = port->socks;
	port->socks = sk;
	sk->opts |= FN_SO_IN_BOUND;
	return 0;
}

void fn_demux_unbind(struct fn_stack *st, struct fn_sock *sk)
{
	struct port *port = port_find(st->demux, sk->kind, sk->local.port);
	struct fn_sock **at;

	if (!(sk->opts & FN_SO_IN_BOUND))
		return;
	fn_assert(port);
	for (at = &port->socks; *at != sk; at = &(*at)->bind_next)
		;
	*at = sk->bind_next;
	sk->bind_next = NULL;
	sk->opts &= (uint16_t)~(FN_SO_IN_BOUND | FN_SO_LISTENING);
}

int fn_demux_listen(struct fn_stack *st, struct fn_sock *sk)
{
	const struct port *port = port_find(st->demux, sk->kind, sk->local.port);
	const struct fn_sock *other;

	fn_assert(port && sk->opts & FN_SO_IN_BOUND);
	for (other = port->socks; other; other = other->bind_next)
		if (other->opts & FN_SO_LISTENING && bind_clash(sk, other))
			return -EADDRINUSE;
	sk->opts |= FN_SO_LISTENING;
	return 0;
}

/* ---- after a death under the lock ---- */

void fn_demux_reset(struct fn_stack *st)
{
	struct fn_demux *d = st->demux;

	for (unsigned i = 0; i < CHUNKS && d->chunk[i]; i++)
		memset(d->chunk[i], 0, CHUNK * sizeof(d->chunk[i][0]));
	d->mask = CHUNK - 1;
	d->split = d->conns = 0;
	for (unsigned kind = 0; kind < fn_array_size(d->ports); kind++)
		for (unsigned i = 0; i < fn_array_size(d->ports[kind]); i++)
			if (d->ports[kind][i])
				memset(d->ports[kind][i], 0, PORT_PAGE * sizeof(struct port));
}

void fn_demux_relink(struct fn_stack *st, struct fn_sock *sk)
{
	struct port *port = port_make(st, sk->kind, sk->local.port);

	sk->hash_next = sk->bind_next = NULL;
	if (sk->opts & FN_SO_IN_CONN) {
		conn_link(st, sk, hash_of(st, sk));
		if (port)
			port->conns++;
	}
	if (sk->opts & FN_SO_IN_BOUND && port) {
		sk->bind_next = port->socks;
		port->socks = sk;
	}
}

/* ---- ephemeral ports ---- */

/* Whether sk may take `port` (host order) for a connection to remote, or, remote NULL, for itself alone. */
static bool port_free(struct fn_stack *st, const struct fn_sock *sk, uint32_t laddr, const struct fn_ep *remote,
		      uint16_t host_port)
{
	struct fn_ep local = {.ip4 = laddr, .port = fn_be16(host_port)};
	const struct port *port = port_find(st->demux, sk->kind, local.port);
	const struct fn_sock *other;

	if (!port || (!port->socks && !port->conns))
		return true;
	if (port->socks || !remote)
		return false;
	other = fn_demux_conn(st, fn_hash4(st, remote->ip4, laddr, remote->port, local.port), &local, remote);
	return !other || fn_tcp_tw_reusable(other);
}

/* RFC 6056 3.3.4: F() and G() of the connection's identifiers; here the halves of one keyed hash. */
static uint64_t port_secret(const struct fn_stack *st, uint32_t laddr, const struct fn_ep *remote)
{
	uint32_t id[3] = {laddr, remote->ip4, remote->port};

	return fn_siphash(st->key, id, sizeof(id));
}

uint16_t fn_demux_ephemeral(struct fn_stack *st, struct fn_sock *sk, uint32_t laddr, const struct fn_ep *remote)
{
	bool fabric = remote && remote->peer;
	uint32_t first = fabric ? st->conf.fabric_first : st->conf.port_first;
	uint32_t num = (fabric ? st->conf.fabric_last : st->conf.port_last) - first + 1u, i, *table, dummy;
	uint64_t f = remote ? port_secret(st, laddr, remote) : fn_stack_random(st);
	uint32_t offset = (uint32_t)f;

	table = remote ? &st->demux->perturb[(f >> 32) % PERTURB] : &dummy;
	if (!remote)
		dummy = 0;
	offset += *table;
	for (i = 0; i < num; i++) {
		uint16_t port = (uint16_t)(first + (offset + i) % num);

		if (port_free(st, sk, laddr, remote, port)) {
			*table += i + 1;
			return fn_be16(port);
		}
	}
	return 0;
}
