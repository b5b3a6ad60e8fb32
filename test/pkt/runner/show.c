/* SPDX-License-Identifier: BSD-3-Clause */
/* A packet as text, in the script's own syntax, so that an actual packet can be compared with the line that was expected. */
#include <stdarg.h>
#include <stdio.h>

#include "script.h"
#include "stack/wire.h"

struct out {
	char *p;
	size_t room;
};

static void __attribute__((format(printf, 2, 3))) put(struct out *o, const char *fmt, ...)
{
	va_list ap;
	int n;

	va_start(ap, fmt);
	n = vsnprintf(o->p, o->room, fmt, ap);
	va_end(ap);
	if (n < 0 || (size_t)n >= o->room)
		n = o->room ? (int)o->room - 1 : 0;
	o->p += n;
	o->room -= (size_t)n;
}

static void show_flags(struct out *o, uint8_t flags)
{
	static const char letter[] = "FSRP.UEW";

	if (!flags)
		put(o, "-");
	for (int i = 0; i < 8; i++) {
		/* the ACK dot is last, as in tcpdump */
		if (i != 4 && flags & (1 << i))
			put(o, "%c", letter[i]);
	}
	if (flags & FN_TCP_ACK)
		put(o, ".");
}

static void show_opt(struct out *o, const struct tcpopt *t)
{
	switch (t->kind) {
	case FN_TCPOPT_MSS:
		put(o, "mss %u", t->a);
		break;
	case FN_TCPOPT_WSCALE:
		put(o, "wscale %u", t->a);
		break;
	case FN_TCPOPT_SACK_PERM:
		put(o, "sackOK");
		break;
	case FN_TCPOPT_TS:
		put(o, "TS val %u ecr %u", t->a, t->b);
		break;
	case FN_TCPOPT_NOP:
		put(o, "nop");
		break;
	case FN_TCPOPT_EOL:
		put(o, "eol");
		break;
	case FN_TCPOPT_SACK:
		put(o, "sack");
		for (int i = 0; i < t->sacks; i++)
			put(o, " %u:%u", t->sack[i].left, t->sack[i].right);
		break;
	default:
		put(o, "kind-%u", t->kind);
	}
}

static void show_opts(struct out *o, const struct packet *p)
{
	if (p->any_opts)
		put(o, " <...>");
	if (!p->opts)
		return;
	for (int i = 0; i < p->opts; i++) {
		put(o, i ? "," : " <");
		show_opt(o, &p->opt[i]);
	}
	put(o, ">");
}

static void show_ip(struct out *o, const struct packet *p)
{
	static const char *const ecn[] = { "noecn", "ect1", "ect0", "ce" };

	if (p->rport)
		put(o, ":%u ", p->rport);
	if (p->ecn > 0)
		put(o, "[%s] ", ecn[p->ecn]);
	if (p->ttl >= 0)
		put(o, "[ttl %d] ", p->ttl);
	if (p->tos >= 0)
		put(o, "[tos 0x%x] ", p->tos);
}

static void show_icmp(struct out *o, const struct packet *p)
{
	put(o, "icmp type %u code %u", p->type, p->code);
	if (p->mtu)
		put(o, " mtu %u", p->mtu);
	if (p->has_quote && p->quote_proto == PROTO_UDP)
		put(o, " [udp (%u)]", p->len);
	else if (p->has_quote)
		put(o, " [%u:%u(%u)]", p->seq, p->seq + p->len, p->len);
}

void show_packet(char *buf, size_t room, const struct packet *p)
{
	struct out o = { buf, room };

	put(&o, "%c ", p->out ? '>' : '<');
	show_ip(&o, p);
	if (p->proto == PROTO_ICMP) {
		show_icmp(&o, p);
		return;
	}
	if (p->proto == PROTO_UDP) {
		put(&o, "udp (%u)", p->len);
		return;
	}
	show_flags(&o, p->flags);
	put(&o, " %u:%u(%u)", p->seq, p->seq + p->len, p->len);
	if (p->has_ack)
		put(&o, " ack %u", p->ack);
	if (p->has_win)
		put(&o, " win %u", p->win);
	if (p->has_urg)
		put(&o, " urg %u", p->urg);
	show_opts(&o, p);
}
