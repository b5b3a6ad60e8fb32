/* SPDX-License-Identifier: BSD-3-Clause */
/* The script's numbers and the wire's, and the comparison of a packet with the line that expects it. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "conn.h"
#include "stack/wire.h"

uint8_t pattern(uint32_t off)
{
	return (uint8_t)(off * 31 + (off >> 8) * 17 + 1);
}

void pattern_fill(uint8_t *p, uint32_t off, size_t len)
{
	for (size_t i = 0; i < len; i++)
		p[i] = pattern(off + (uint32_t)i);
}

int pattern_check(const uint8_t *p, uint32_t off, size_t len)
{
	for (size_t i = 0; i < len; i++) {
		if (p[i] != pattern(off + (uint32_t)i))
			return (int)i;
	}
	return -1;
}

struct conn *conn_get(struct conns *cs, uint16_t rport, uint16_t dflt)
{
	struct conn *c;

	if (!rport && cs->count)
		return &cs->conn[0];
	if (!rport)
		rport = dflt;
	for (unsigned i = 0; i < cs->count; i++) {
		if (cs->conn[i].rport == rport)
			return &cs->conn[i];
	}
	if (cs->count == CONNS_MAX)
		return NULL;
	c = &cs->conn[cs->count++];
	memset(c, 0, sizeof(*c));
	c->rport = rport;
	c->lport = cs->lport;
	return c;
}

void conn_to_wire(struct conn *c, const struct packet *p, struct packet *wire)
{
	*wire = *p;
	wire->lport = c->lport;
	wire->rport = c->rport;
	if (p->proto == PROTO_ICMP) {
		wire->seq = p->seq + c->l_base;
		return;
	}
	if (p->proto != PROTO_TCP)
		return;
	if (p->flags & FN_TCP_SYN && (!c->r_known || p->seq != c->r_isn)) {
		c->fresh = c->r_known;
		c->r_next_isn = p->seq;
		if (!c->r_known)
			c->r_isn = p->seq;
		c->r_known = true;
	}
	wire->seq = p->seq + CONN_REMOTE_BASE;
	if (p->has_ack)
		wire->ack = p->ack + c->l_base;
	for (int i = 0; i < wire->opts; i++) {
		struct tcpopt *o = &wire->opt[i];

		for (int k = 0; k < o->sacks; k++) {
			o->sack[k].left += c->l_base;
			o->sack[k].right += c->l_base;
		}
		if (o->kind == FN_TCPOPT_TS && p->has_ack && c->ts_known)
			o->b += c->ts_base;
	}
}

/* A SYN of the stack is where the script's numbers and the wire's are tied together. */
static void learn(struct conn *c, const struct packet *want, const struct packet *got)
{
	if (!(want->flags & got->flags & FN_TCP_SYN))
		return;
	if (c->l_known && !c->fresh && c->lport == got->lport)
		return;
	if (c->fresh)
		c->r_isn = c->r_next_isn;
	c->fresh = false;
	c->l_known = true;
	c->l_base = got->seq - want->seq;
	c->l_isn = want->seq;
	c->lport = got->lport;
	c->ts_known = false;
}

static void learn_ts(struct conn *c, const struct packet *want, const struct packet *got)
{
	for (int i = 0; i < want->opts && i < got->opts && !c->ts_known; i++) {
		if (want->opt[i].kind == FN_TCPOPT_TS && got->opt[i].kind == FN_TCPOPT_TS) {
			c->ts_known = true;
			c->ts_base = got->opt[i].a - want->opt[i].a;
		}
	}
}

static void to_script(const struct conn *c, struct packet *p)
{
	p->seq -= c->l_base;
	if (p->has_ack)
		p->ack -= CONN_REMOTE_BASE;
	for (int i = 0; i < p->opts; i++) {
		struct tcpopt *o = &p->opt[i];

		for (int k = 0; k < o->sacks; k++) {
			o->sack[k].left -= CONN_REMOTE_BASE;
			o->sack[k].right -= CONN_REMOTE_BASE;
		}
		if (o->kind == FN_TCPOPT_TS && c->ts_known)
			o->a -= c->ts_base;
	}
}

static bool same_opt(const struct tcpopt *want, const struct tcpopt *got, uint32_t slack)
{
	if (want->kind != got->kind)
		return false;
	if (want->kind == FN_TCPOPT_TS)
		return want->b == got->b && got->a - want->a + slack <= 2 * slack;
	if (want->kind == FN_TCPOPT_SACK)
		return want->sacks == got->sacks &&
		       !memcmp(want->sack, got->sack, sizeof(want->sack[0]) * (size_t)want->sacks);
	return want->a == got->a && want->b == got->b;
}

static bool same_opts(const struct packet *want, const struct packet *got, uint32_t slack)
{
	if (want->any_opts)
		return true;
	if (want->opts != got->opts)
		return false;
	for (int i = 0; i < want->opts; i++) {
		if (!same_opt(&want->opt[i], &got->opt[i], slack))
			return false;
	}
	return true;
}

static void differs(bool it_does, const char *what, char *diff, size_t room)
{
	size_t n = strlen(diff);

	if (it_does)
		snprintf(diff + n, room - n, "%s%s", n ? ", " : "", what);
}

static void match_tcp(struct conn *c, const struct packet *want, struct packet *got, uint32_t slack, char *diff,
		      size_t room)
{
	learn(c, want, got);
	learn_ts(c, want, got);
	to_script(c, got);
	differs(want->flags != got->flags, "flags", diff, room);
	differs(want->seq != got->seq, "sequence number", diff, room);
	differs(want->len != got->len, "length", diff, room);
	differs(want->has_ack && got->has_ack && want->ack != got->ack, "ack", diff, room);
	differs(want->has_win && want->win != got->win, "win", diff, room);
	differs(want->has_urg ? want->urg != got->urg : got->has_urg, "urg", diff, room);
	differs(!same_opts(want, got, slack), "options", diff, room);
	differs(c->l_known && pattern_check(got->payload, got->seq - c->l_isn - 1, got->len) >= 0, "payload", diff, room);
}

bool conn_match(struct conn *c, const struct packet *want, struct packet *got, uint32_t ts_slack, char *diff, size_t room)
{
	*diff = 0;
	if (want->proto != got->proto) {
		differs(true, "protocol", diff, room);
		return false;
	}
	differs(got->proto != PROTO_ICMP && got->rport != c->rport, "remote port", diff, room);
	differs(want->ecn >= 0 && want->ecn != got->ecn, "ECN", diff, room);
	differs(want->ttl >= 0 && want->ttl != got->ttl, "TTL", diff, room);
	differs(want->tos >= 0 && want->tos != got->tos, "TOS", diff, room);
	switch (want->proto) {
	case PROTO_TCP:
		if (!*diff)
			match_tcp(c, want, got, ts_slack, diff, room);
		break;
	case PROTO_UDP:
		c->lport = got->lport;
		differs(want->len != got->len, "length", diff, room);
		differs(pattern_check(got->payload, 0, got->len) >= 0, "payload", diff, room);
		break;
	case PROTO_ICMP:
		differs(want->type != got->type || want->code != got->code, "ICMP type or code", diff, room);
		differs(want->mtu != got->mtu, "MTU", diff, room);
		break;
	}
	/* show only what the script speaks about */
	got->ecn = want->ecn >= 0 ? got->ecn : -1;
	got->ttl = want->ttl >= 0 ? got->ttl : -1;
	got->tos = want->tos >= 0 ? got->tos : -1;
	got->rport = want->rport || got->rport != c->rport ? got->rport : 0;
	return !*diff;
}
