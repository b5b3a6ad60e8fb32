/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * ICMP (RFC 792, RFC 1122 3.2.2): echo, errors that come for our packets, errors that we send. Must not know a socket: an
 * error goes to the protocol whose packet it quotes.
 */
#include <errno.h>
#include <string.h>

#include "cksum.h"
#include "net.h"

#define QUOTE_MAX	(576 - FN_IP4_LEN - FN_ICMP_LEN)	/* RFC 1812 4.3.2.3, as Linux quotes */
#define QUOTE_MIN	(FN_IP4_LEN + 8)			/* RFC 792: the header and 64 bits */
#define RATE		1000	/* errors a second, and at once: Linux icmp_msgs_per_sec, icmp_msgs_burst */
#define BURST		50
#define PORTS_LEN	8	/* ports, and a TCP sequence number, of what is quoted */

/* Beyond wire.h's: types that are seen but do nothing here. */
#define TYPE_SOURCE_QUENCH	4	/* RFC 6633: ignored */
#define TYPE_REDIRECT		5	/* not followed, as Linux does without accept_redirects */

struct fn_icmp {
	uint64_t tokens;	/* 1/RATE s each, in ns, up to BURST of them */
	uint64_t filled;	/* when that was */
};

int fn_icmp_init(struct fn_stack *st)
{
	st->icmp = fn_arena_alloc(st->arena, sizeof(*st->icmp));
	if (!st->icmp)
		return -ENOMEM;
	*st->icmp = (struct fn_icmp){.tokens = BURST * (FN_NSEC / RATE), .filled = st->now};
	return 0;
}

/* ---- what an error means ---- */

int fn_icmp_errno(uint8_t type, uint8_t code, bool *fatal)
{
	static const struct {
		int error;
		bool fatal;
	} unreach[] = {
		{ENETUNREACH, false}, {EHOSTUNREACH, false}, {ENOPROTOOPT, true}, {ECONNREFUSED, true}, {EMSGSIZE, false},
		{EOPNOTSUPP, false}, {ENETUNREACH, true}, {EHOSTDOWN, true}, {ENONET, true}, {ENETUNREACH, true},
		{EHOSTUNREACH, true}, {ENETUNREACH, false}, {EHOSTUNREACH, false}, {EHOSTUNREACH, true},
		{EHOSTUNREACH, true}, {EHOSTUNREACH, true},
	};

	*fatal = false;
	switch (type) {
	case FN_ICMP_UNREACH:
		if (code >= fn_array_size(unreach))
			return 0;
		*fatal = unreach[code].fatal;
		return unreach[code].error;
	case FN_ICMP_TIME_EXCEEDED:
		return EHOSTUNREACH;
	case FN_ICMP_PARAM:
		*fatal = true;
		return EPROTO;
	default:
		return 0;
	}
}

int fn_icmp_quoted(struct fn_stack *st, const void *quote, size_t len, uint8_t type, uint8_t code, uint32_t mtu)
{
	const struct fn_ip4_hdr *h = quote;
	struct fn_ep local = {0}, remote = {0};
	const uint8_t *l4;
	unsigned hlen;
	uint32_t seq;

	if (len < QUOTE_MIN || h->ver_ihl >> 4 != 4)
		return -FN_DROP_ICMP_SHORT;
	hlen = (h->ver_ihl & 15) * 4u;
	if (hlen < FN_IP4_LEN || len < hlen + PORTS_LEN)
		return -FN_DROP_ICMP_SHORT;
	if (h->frag & fn_be16(FN_IP4_OFFSET) || !fn_stack_is_local(st, h->src))
		return -FN_DROP_ICMP_NO_SOCK;
	l4 = (const uint8_t *)quote + hlen;
	local.ip4 = h->src;
	remote.ip4 = h->dst;
	memcpy(&local.port, l4, 2);
	memcpy(&remote.port, l4 + 2, 2);
	memcpy(&seq, l4 + 4, 4);
	if (h->proto == FN_IPPROTO_TCP)
		return fn_tcp_icmp(st, &local, &remote, fn_be32(seq), type, code, mtu);
	if (h->proto == FN_IPPROTO_UDP)
		return fn_udp_icmp(st, &local, &remote, type, code, mtu);
	return -FN_DROP_ICMP_NO_SOCK;
}

/* ---- input ---- */

/* The next hop's MTU; routers older than RFC 1191 leave it 0, then the next lower plateau (its section 7.1) is taken. */
static uint32_t next_hop_mtu(const struct fn_icmp_hdr *icmp, const struct fn_ip4_hdr *quoted)
{
	static const uint16_t plateau[] = {32000, 17914, 8166, 4352, 2002, 1492, 1006, 508, 296, 68};
	uint32_t mtu = fn_be16(icmp->frag.mtu), len = fn_be16(quoted->len);

	for (unsigned i = 0; !mtu && i < fn_array_size(plateau); i++)
		if (plateau[i] < len)
			mtu = plateau[i];
	return fn_max(mtu, 68u);
}

static int icmp_error(struct fn_stack *st, struct fn_pkt *p)
{
	const struct fn_icmp_hdr *icmp = (const struct fn_icmp_hdr *)p->data;
	const struct fn_ip4_hdr *quoted = (const struct fn_ip4_hdr *)(p->data + FN_ICMP_LEN);
	uint32_t mtu = 0;
	int err;

	if (p->len < FN_ICMP_LEN + QUOTE_MIN)
		return fn_drop(st, p, FN_DROP_ICMP_SHORT);
	if (icmp->type == FN_ICMP_UNREACH && icmp->code == FN_ICMP_UNREACH_FRAG)
		mtu = next_hop_mtu(icmp, quoted);
	err = fn_icmp_quoted(st, quoted, p->len - FN_ICMP_LEN, icmp->type, icmp->code, mtu);
	if (err)
		return fn_drop(st, p, (enum fn_drop)-err);
	fn_pkt_free(p);
	return 0;
}

/* The answer is a copy: what a NIC received may be memory that it cannot send from. */
static int icmp_echo(struct fn_stack *st, struct fn_pkt *p)
{
	const struct fn_ip4_hdr *h = fn_pkt_ip4(p);
	struct fn_icmp_hdr *icmp;
	struct fn_path path;
	struct fn_pkt *r;

	if (p->flags & FN_PKT_LINK_BCAST)	/* RFC 1122 3.2.2.6 lets us */
		return fn_drop(st, p, FN_DROP_ICMP_BCAST);
	if (fn_path_init(st, &path, h->src, h->dst, FN_IPPROTO_ICMP))
		return fn_drop(st, p, FN_DROP_IP4_NO_ROUTE);
	path.tos = h->tos;
	path.df = false;
	r = fn_nic_copy(path.nic, p);
	fn_pkt_free(p);
	if (!r)
		return -FN_DROP_NO_PKT_MEM;
	icmp = (struct fn_icmp_hdr *)r->data;
	icmp->type = FN_ICMP_ECHO_REPLY;
	icmp->csum = 0;
	icmp->csum = fn_cksum_fold(fn_cksum_pkt(r, 0));
	st->stats.icmp_out++;
	fn_ip4_output(st, &path, r);
	return 0;
}

int fn_icmp_input(struct fn_stack *st, struct fn_pkt *p)
{
	const struct fn_icmp_hdr *icmp = (const struct fn_icmp_hdr *)p->data;

	if (p->peer)		/* another process may not speak of connections that are not its own */
		return fn_drop(st, p, FN_DROP_ICMP_TYPE);
	if (p->len < FN_ICMP_LEN)
		return fn_drop(st, p, FN_DROP_ICMP_SHORT);
	if (!(p->flags & FN_PKT_LOOP) && fn_cksum_fold(fn_cksum_pkt(p, 0)))
		return fn_drop(st, p, FN_DROP_ICMP_CSUM);
	st->stats.icmp_in++;
	switch (icmp->type) {
	case FN_ICMP_ECHO:
		return icmp_echo(st, p);
	case FN_ICMP_UNREACH:
	case FN_ICMP_TIME_EXCEEDED:
	case FN_ICMP_PARAM:
		return icmp_error(st, p);
	case TYPE_SOURCE_QUENCH:
	case TYPE_REDIRECT:
	default:	/* RFC 1122 3.2.2: unknown types are silently discarded */
		return fn_drop(st, p, FN_DROP_ICMP_TYPE);
	}
}

/* ---- errors that we send ---- */

static bool one_host(const struct fn_stack *st, uint32_t ip4)
{
	uint32_t a = fn_be32(ip4);

	return a >> 24 && a >> 24 != 127 && a < 0xe0000000 && !fn_ip4_is_bcast(st, ip4);
}

/* An ICMP error, or one whose type cannot be seen. */
static bool is_icmp_error(const struct fn_pkt *p, const struct fn_ip4_hdr *h, uint32_t have)
{
	unsigned hlen = (h->ver_ihl & 15) * 4u;
	uint8_t type;

	if (h->proto != FN_IPPROTO_ICMP)
		return false;
	if (have <= hlen)
		return true;
	type = ((const uint8_t *)h)[hlen];
	return type != FN_ICMP_ECHO && type != FN_ICMP_ECHO_REPLY;
}

/* RFC 1122 3.2.2: no error about an ICMP error, a broadcast or multicast, a fragment other than the first, or a source that
 * is not one host. */
static bool error_allowed(const struct fn_stack *st, const struct fn_pkt *p, const struct fn_ip4_hdr *h, uint32_t have)
{
	if (p->flags & FN_PKT_LINK_BCAST || fn_ip4_is_bcast(st, h->dst) || h->frag & fn_be16(FN_IP4_OFFSET))
		return false;
	if (!one_host(st, h->src) && !(p->flags & FN_PKT_LOOP))
		return false;
	return !is_icmp_error(p, h, have);
}

static bool take_token(struct fn_stack *st)
{
	struct fn_icmp *ic = st->icmp;
	uint64_t cost = FN_NSEC / RATE;

	ic->tokens = fn_min(ic->tokens + (st->now - ic->filled), BURST * cost);
	ic->filled = st->now;
	if (ic->tokens < cost)
		return false;
	ic->tokens -= cost;
	return true;
}

/* The first bytes of p from its IP header on; what a chain holds behind its first buffer is not quoted. */
static uint32_t quotable(const struct fn_pkt *p)
{
	const uint8_t *h = p->buf + p->l3;
	uint32_t have = (uint32_t)(p->data + p->len - h);

	return fn_min(have, (uint32_t)fn_be16(fn_pkt_ip4(p)->len));
}

void fn_icmp_send_error(struct fn_stack *st, const struct fn_pkt *p, uint8_t type, uint8_t code, uint32_t mtu)
{
	const struct fn_ip4_hdr *h = fn_pkt_ip4(p);
	uint32_t have = quotable(p);
	struct fn_icmp_hdr *icmp;
	struct fn_path path;
	struct fn_pkt *e;

	if (p->peer || !error_allowed(st, p, h, have))	/* processes hear of errors in other ways */
		return;
	if (!take_token(st)) {
		st->stats.drop[FN_DROP_ICMP_RATE]++;
		return;
	}
	if (fn_path_init(st, &path, h->src, fn_stack_is_local(st, h->dst) ? h->dst : 0, FN_IPPROTO_ICMP) ||
	    !(e = fn_nic_alloc(path.nic)))
		return;
	have = fn_min(have, (uint32_t)QUOTE_MAX);
	have = fn_min(have, path.mtu - FN_IP4_LEN - FN_ICMP_LEN);
	path.df = false;
	path.tos = (uint8_t)((h->tos & 0x1e) | 0xc0);	/* RFC 1812 4.3.2.5: precedence 6 */
	icmp = (struct fn_icmp_hdr *)e->data;
	*icmp = (struct fn_icmp_hdr){.type = type, .code = code};
	if (type == FN_ICMP_UNREACH && code == FN_ICMP_UNREACH_FRAG)
		icmp->frag.mtu = fn_be16((uint16_t)mtu);
	memcpy(icmp + 1, h, have);
	e->len = e->pkt_len = FN_ICMP_LEN + have;
	icmp->csum = fn_cksum_fold(fn_cksum_add(0, icmp, e->len));
	st->stats.icmp_out++;
	fn_ip4_output(st, &path, e);
}
