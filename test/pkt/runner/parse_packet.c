/* SPDX-License-Identifier: BSD-3-Clause */
/* A packet line: "< [ce] :40001 S. 0:0(0) ack 1 win 100 urg 0 <mss 1000>", "> udp (10)", "< icmp …". */
#include <ctype.h>
#include <string.h>

#include "script.h"
#include "stack/wire.h"

static bool parse_flags(struct scan *c, struct packet *p)
{
	static const struct {
		char ch;
		uint8_t flag;
	} flags[] = {
		{ 'F', FN_TCP_FIN }, { 'S', FN_TCP_SYN }, { 'R', FN_TCP_RST }, { 'P', FN_TCP_PSH }, { '.', FN_TCP_ACK },
		{ 'U', FN_TCP_URG }, { 'E', FN_TCP_ECE }, { 'W', FN_TCP_CWR },
	};
	const char *start = c->p;

	if (scan_take(c, "-"))
		return true;
	for (;; c->p++) {
		size_t i = 0;

		while (i < sizeof(flags) / sizeof(flags[0]) && flags[i].ch != *c->p)
			i++;
		if (i == sizeof(flags) / sizeof(flags[0]))
			break;
		p->flags |= flags[i].flag;
	}
	if (c->p == start || (*c->p != ' ' && *c->p != '\t'))
		return scan_expected(c, "TCP flags (of FSRP.UEW, or - for none), udp or icmp");
	scan_blank(c);
	return true;
}

/* 1:1001(1000) */
static bool parse_range(struct scan *c, struct packet *p)
{
	struct pos pos = scan_pos(c);
	uint32_t end;

	if (!scan_u32(c, &p->seq, "a sequence number") || !scan_need(c, ":") ||
	    !scan_u32(c, &end, "the sequence number behind the last byte") || !scan_need(c, "(") ||
	    !scan_u32(c, &p->len, "a length in bytes") || !scan_need(c, ")"))
		return false;
	if (end - p->seq != p->len)
		return scan_error(c, pos, "expected %u:%u(%u), or another range that adds up", p->seq, p->seq + p->len,
				  p->len);
	if (p->len > 65000)
		return scan_error(c, pos, "expected at most 65000 bytes in a packet");
	return true;
}

static bool parse_sack(struct scan *c, struct tcpopt *o)
{
	o->kind = FN_TCPOPT_SACK;
	do {
		if (o->sacks == SACKS_MAX)
			return scan_expected(c, "at most 4 SACK blocks");
		if (!scan_u32(c, &o->sack[o->sacks].left, "the left edge of a SACK block") || !scan_need(c, ":") ||
		    !scan_u32(c, &o->sack[o->sacks].right, "the right edge of a SACK block"))
			return false;
		o->sacks++;
	} while (isdigit((unsigned char)*c->p));
	return true;
}

static bool parse_option(struct scan *c, struct tcpopt *o)
{
	if (scan_take(c, "mss")) {
		o->kind = FN_TCPOPT_MSS;
		return scan_u32(c, &o->a, "the MSS");
	}
	if (scan_take(c, "wscale")) {
		o->kind = FN_TCPOPT_WSCALE;
		return scan_u32(c, &o->a, "the window scale");
	}
	if (scan_take(c, "TS")) {
		o->kind = FN_TCPOPT_TS;
		return scan_need(c, "val") && scan_u32(c, &o->a, "a timestamp") && scan_need(c, "ecr") &&
		       scan_u32(c, &o->b, "an echoed timestamp");
	}
	if (scan_take(c, "sackOK"))
		o->kind = FN_TCPOPT_SACK_PERM;
	else if (scan_take(c, "nop"))
		o->kind = FN_TCPOPT_NOP;
	else if (scan_take(c, "eol"))
		o->kind = FN_TCPOPT_EOL;
	else if (scan_take(c, "sack"))
		return parse_sack(c, o);
	else
		return scan_expected(c, "a TCP option (mss, wscale, sackOK, sack, TS, nop, eol)");
	return true;
}

static bool parse_opts(struct scan *c, struct packet *p)
{
	if (!scan_take(c, "<"))
		return true;
	if (scan_take(c, "...")) {
		p->any_opts = true;
		return scan_need(c, ">");
	}
	while (!scan_take(c, ">")) {
		if (p->opts && !scan_take(c, ","))
			return scan_expected(c, "\",\" or \">\"");
		if (p->opts == OPTS_MAX)
			return scan_expected(c, "at most 16 options");
		if (!parse_option(c, &p->opt[p->opts++]))
			return false;
	}
	return true;
}

static bool parse_tcp(struct scan *c, struct packet *p)
{
	p->proto = PROTO_TCP;
	if (!parse_flags(c, p) || !parse_range(c, p))
		return false;
	for (;;) {
		if (scan_take(c, "ack")) {
			p->has_ack = true;
			if (!scan_u32(c, &p->ack, "an acknowledgment number"))
				return false;
		} else if (scan_take(c, "win")) {
			p->has_win = true;
			if (!scan_u32(c, &p->win, "a window"))
				return false;
		} else if (scan_take(c, "urg")) {
			p->has_urg = true;
			if (!scan_u32(c, &p->urg, "an urgent pointer"))
				return false;
		} else {
			break;
		}
	}
	if (!(p->flags & FN_TCP_ACK) != !p->has_ack)
		return scan_expected(c, p->has_ack ? "the flag \".\" with an ack" : "\"ack\" with the flag \".\"");
	return parse_opts(c, p);
}

/* Names of ICMP types and codes, as packetdrill has them. */
static const struct {
	const char *name;
	uint8_t type, code;
	bool is_code;
} icmp_names[] = {
	{ "unreachable", FN_ICMP_UNREACH, 0, false }, { "time_exceeded", FN_ICMP_TIME_EXCEEDED, 0, false },
	{ "parameter_problem", FN_ICMP_PARAM, 0, false }, { "echo_request", FN_ICMP_ECHO, 0, false },
	{ "echo_reply", FN_ICMP_ECHO_REPLY, 0, false }, { "source_quench", 4, 0, false },
	{ "net_unreachable", FN_ICMP_UNREACH, 0, true }, { "host_unreachable", FN_ICMP_UNREACH, 1, true },
	{ "protocol_unreachable", FN_ICMP_UNREACH, 2, true }, { "port_unreachable", FN_ICMP_UNREACH, 3, true },
	{ "frag_needed", FN_ICMP_UNREACH, 4, true }, { "source_route_failed", FN_ICMP_UNREACH, 5, true },
	{ "net_unknown", FN_ICMP_UNREACH, 6, true }, { "host_unknown", FN_ICMP_UNREACH, 7, true },
	{ "net_prohibited", FN_ICMP_UNREACH, 9, true }, { "host_prohibited", FN_ICMP_UNREACH, 10, true },
	{ "packet_filtered", FN_ICMP_UNREACH, 13, true }, { "ttl_exceeded", FN_ICMP_TIME_EXCEEDED, 0, true },
	{ "fragment_reassembly", FN_ICMP_TIME_EXCEEDED, 1, true },
};

static bool take_icmp_name(struct scan *c, struct packet *p, bool is_code)
{
	for (size_t i = 0; i < sizeof(icmp_names) / sizeof(icmp_names[0]); i++) {
		if (icmp_names[i].is_code != is_code || (is_code && icmp_names[i].type != p->type))
			continue;
		if (scan_take(c, icmp_names[i].name)) {
			p->type = icmp_names[i].type;
			p->code = icmp_names[i].code;
			return true;
		}
	}
	return false;
}

/* The quoted packet of an ICMP error: [1:1001(1000)] or [udp (1000)] */
static bool parse_quote(struct scan *c, struct packet *p)
{
	p->has_quote = true;
	if (scan_take(c, "udp")) {
		p->quote_proto = PROTO_UDP;
		return scan_need(c, "(") && scan_u32(c, &p->len, "a length in bytes") && scan_need(c, ")") &&
		       scan_need(c, "]");
	}
	return parse_range(c, p) && scan_need(c, "]");
}

/* icmp unreachable frag_needed mtu 1400 [1:1461(1460)] */
static bool parse_icmp(struct scan *c, struct packet *p)
{
	p->proto = PROTO_ICMP;
	if (!take_icmp_name(c, p, false))
		return scan_expected(c, "an ICMP type (unreachable, time_exceeded, …)");
	if (!take_icmp_name(c, p, true) && (p->type == FN_ICMP_UNREACH || p->type == FN_ICMP_TIME_EXCEEDED))
		return scan_expected(c, "an ICMP code of that type (host_unreachable, frag_needed, …)");
	if (scan_take(c, "mtu") && !scan_u32(c, &p->mtu, "an MTU"))
		return false;
	return !scan_take(c, "[") || parse_quote(c, p);
}

/* [ect0], [ce], [noecn], [tos 0x10], [ttl 64], joined by commas */
static bool parse_bracket(struct scan *c, struct packet *p)
{
	uint32_t v;

	do {
		if (scan_take(c, "noecn"))
			p->ecn = 0;
		else if (scan_take(c, "ect1"))
			p->ecn = 1;
		else if (scan_take(c, "ect0"))
			p->ecn = 2;
		else if (scan_take(c, "ce"))
			p->ecn = 3;
		else if (scan_take(c, "tos") && scan_u32(c, &v, "a TOS byte"))
			p->tos = (int)(v & 0xff);
		else if (scan_take(c, "ttl") && scan_u32(c, &v, "a TTL"))
			p->ttl = (int)(v & 0xff);
		else
			return scan_expected(c, "ect0, ect1, ce, noecn, tos or ttl");
	} while (scan_take(c, ","));
	return scan_need(c, "]");
}

/* ":40001": the remote end's port; it names one of several connections (not packetdrill's) */
static bool parse_port(struct scan *c, struct packet *p)
{
	uint32_t v;

	if (!scan_take(c, ":"))
		return true;
	if (!scan_u32(c, &v, "the remote port"))
		return false;
	if (!v || v > 65535)
		return scan_expected(c, "a port between 1 and 65535");
	p->rport = (uint16_t)v;
	return true;
}

bool parse_packet(struct scan *c, struct packet *p)
{
	p->ecn = p->ttl = p->tos = -1;
	p->out = *c->p == '>';
	c->p++;
	scan_blank(c);
	if (!parse_port(c, p))
		return false;
	while (scan_take(c, "[")) {
		if (!parse_bracket(c, p))
			return false;
	}
	if (scan_take(c, "icmp"))
		return parse_icmp(c, p);
	if (scan_take(c, "udp")) {
		p->proto = PROTO_UDP;
		return scan_need(c, "(") && scan_u32(c, &p->len, "a length in bytes") && scan_need(c, ")");
	}
	return parse_tcp(c, p);
}
