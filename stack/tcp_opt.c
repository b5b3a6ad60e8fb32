/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * TCP options on the wire: one bounded iterator in, and the writers out. Owns their layout (RFC 9293 3.2, RFC 7323,
 * RFC 2018); knows nothing about what they mean to a connection.
 */
#include <string.h>

#include "tcp.h"

static uint32_t get32(const uint8_t *o)
{
	uint32_t v;

	memcpy(&v, o, 4);
	return fn_be32(v);
}

static uint8_t *put32(uint8_t *o, uint32_t v)
{
	v = fn_be32(v);
	memcpy(o, &v, 4);
	return o + 4;
}

/* One option of `len` bytes at o. A known kind has its one length; an unknown one is skipped (RFC 9293 MUST-6). */
static bool take(struct fn_tcp_seg *seg, const uint8_t *o, unsigned len, bool syn)
{
	switch (o[0]) {
	case FN_TCPOPT_MSS:
		if (len != 4)
			return false;
		if (syn)
			seg->mss = (uint16_t)(o[2] << 8 | o[3]);
		return true;
	case FN_TCPOPT_WSCALE:
		if (len != 3)
			return false;
		if (syn) {
			seg->has_wscale = true;
			seg->wscale = fn_min(o[2], FN_TCP_WSCALE_MAX);
		}
		return true;
	case FN_TCPOPT_SACK_PERM:
		if (len != 2)
			return false;
		seg->sack_perm = syn;
		return true;
	case FN_TCPOPT_SACK:
		if (len < 10 || (len - 2) % 8)
			return false;
		seg->sack = o + 2;
		seg->sacks = (uint8_t)((len - 2) / 8);
		return true;
	case FN_TCPOPT_TS:
		if (len != 10)
			return false;
		seg->has_ts = true;
		seg->tsval = get32(o + 2);
		seg->tsecr = get32(o + 6);
		return true;
	default:
		return true;
	}
}

int fn_tcp_parse_opts(struct fn_tcp_seg *seg, const struct fn_tcp_hdr *th)
{
	const uint8_t *o = (const uint8_t *)(th + 1);
	unsigned left = (th->off >> 4) * 4u - FN_TCP_LEN;
	bool syn = th->flags & FN_TCP_SYN;

	/* as RFC 7323 appendix A recommends, and nearly all segments have it */
	if (left == 12 && get32(o) == fn_be32(FN_TCP_TS_WORD)) {
		take(seg, o + 2, 10, syn);
		return 0;
	}
	while (left) {
		unsigned len;

		if (o[0] == FN_TCPOPT_EOL)
			return 0;
		if (o[0] == FN_TCPOPT_NOP) {
			o++;
			left--;
			continue;
		}
		if (left < 2)
			return -FN_DROP_TCP_OPTION;
		len = o[1];
		if (len < 2 || len > left || !take(seg, o, len, syn))
			return -FN_DROP_TCP_OPTION;
		o += len;
		left -= len;
	}
	return 0;
}

struct fn_sack fn_tcp_sack_at(const struct fn_tcp_seg *seg, unsigned i)
{
	return (struct fn_sack){ get32(seg->sack + 8 * i), get32(seg->sack + 8 * i + 4) };
}

/* Linux's order, which middleboxes have seen most. */
unsigned fn_tcp_put_syn_opts(uint8_t *o, const struct fn_tcp_syn_opts *so)
{
	uint8_t *start = o;

	o = put32(o, (uint32_t)(FN_TCPOPT_MSS << 24 | 4 << 16) | so->mss);
	if (so->feat & FN_TCP_F_TS) {
		fn_tcp_put_ts(o, so->tsval, so->tsecr);
		if (so->feat & FN_TCP_F_SACK) {
			o[0] = FN_TCPOPT_SACK_PERM;
			o[1] = 2;
		}
		o += 12;
	} else if (so->feat & FN_TCP_F_SACK) {
		o = put32(o, FN_TCPOPT_NOP << 24 | FN_TCPOPT_NOP << 16 | FN_TCPOPT_SACK_PERM << 8 | 2);
	}
	if (so->feat & FN_TCP_F_WSCALE)
		o = put32(o, (uint32_t)(FN_TCPOPT_NOP << 24 | FN_TCPOPT_WSCALE << 16 | 3 << 8) | so->wscale);
	return (unsigned)(o - start);
}

/* D-SACK first (RFC 2883 4), then the blocks, most recent first (RFC 2018 4), as many as `room` bytes take. */
unsigned fn_tcp_put_sacks(uint8_t *o, const struct fn_tcp *tp, unsigned room)
{
	const struct fn_tcp_flow *f = &tp->f;
	uint8_t *start = o, *len_at = o + 3;
	unsigned n = 0, max = room < 12 ? 0 : (room - 4) / 8;

	if (max > FN_TCP_SACKS)
		max = FN_TCP_SACKS;
	o += 4;
	if (n < max && f->dsack.start != f->dsack.end) {
		o = put32(put32(o, f->dsack.start), f->dsack.end);
		n++;
	}
	for (unsigned i = 0; i < FN_TCP_SACKS && n < max && f->sacks[i].start != f->sacks[i].end; i++, n++)
		o = put32(put32(o, f->sacks[i].start), f->sacks[i].end);
	if (!n)
		return 0;
	start[0] = start[1] = FN_TCPOPT_NOP;
	start[2] = FN_TCPOPT_SACK;
	*len_at = (uint8_t)(2 + 8 * n);
	return 4 + 8 * n;
}
