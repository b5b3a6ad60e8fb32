/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * SYN cookies (RFC 4987 3.6; Bernstein 1996): a half-open connection that lives in the sequence number alone. The MSS
 * goes there; window scale and SACK go into the timestamp, so without timestamps they are not offered.
 */
#include "tcp.h"

#define MINUTE		(60 * FN_SEC_NS)
#define MAX_AGE		2		/* minutes, MAX_SYNCOOKIE_AGE */
#define LOW24		0xffffffu
#define TS_BITS		6
#define TS_NO_WSCALE	0xfu
#define TS_SACK		0x10u

/* Values seen most (Linux's table): a cookie has two bits for them. */
static const uint16_t mss_table[] = { 536, 1300, 1440, 1460 };

/*
 * The peer's ISN is hashed, not only added as in Linux: else the segment after a lost one of one to three bytes would pass
 * as the first, with another MSS, and the lost bytes would be acknowledged and never delivered.
 */
static uint32_t hash(const struct fn_stack *st, const struct fn_tcp_req *req, uint32_t count, uint32_t which)
{
	const struct fn_sock *sk = fn_mini_sk((void *)req);
	uint32_t id[6] = {
		sk->local.ip4, sk->remote.ip4, (uint32_t)sk->local.port << 16 | sk->remote.port, req->rcv_isn, count,
		0x434b00 + which,
	};

	return (uint32_t)fn_siphash(st->key, id, sizeof(id));
}

static uint32_t minutes(const struct fn_stack *st)
{
	return (uint32_t)(st->now / MINUTE);
}

/* What the peer can do, in the last bits of the timestamp that it will echo. */
static void encode_ts(struct fn_stack *st, struct fn_tcp_req *req)
{
	uint32_t now = fn_tcp_clock(st) + req->ts_off, bits;

	bits = req->feat & FN_TCP_F_WSCALE ? req->snd_wscale : TS_NO_WSCALE;
	if (req->feat & FN_TCP_F_SACK)
		bits |= TS_SACK;
	req->cookie_ts = (now >> TS_BITS << TS_BITS) | bits;
	if ((int32_t)(req->cookie_ts - now) > 0)	/* never ahead of the clock */
		req->cookie_ts -= 1u << TS_BITS;
}

void fn_tcp_cookie_make(struct fn_stack *st, struct fn_tcp_req *req)
{
	uint32_t count = minutes(st), i = fn_array_size(mss_table) - 1;

	while (i && mss_table[i] > req->mss)
		i--;
	if (req->feat & FN_TCP_F_TS) {
		encode_ts(st, req);
	} else {
		req->feat = 0;
		req->snd_wscale = req->rcv_wscale = 0;
	}
	req->snd_isn = hash(st, req, 0, 0) + req->rcv_isn + (count << 24) + ((hash(st, req, count, 1) + i) & LOW24);
	st->tcp->cookies_sent = true;
	st->tcp->cookie_time = st->now;
}

static void decode_ts(struct fn_tcp_req *req, const struct fn_tcp_seg *seg)
{
	uint32_t bits = seg->tsecr & ((1u << TS_BITS) - 1), scale = bits & 0xf;

	req->feat = FN_TCP_F_TS | (bits & TS_SACK ? FN_TCP_F_SACK : 0);
	if (scale == TS_NO_WSCALE) {
		req->snd_wscale = req->rcv_wscale = 0;
		return;
	}
	req->feat |= FN_TCP_F_WSCALE;
	req->snd_wscale = (uint8_t)fn_min(scale, (uint32_t)FN_TCP_WSCALE_MAX);
	req->rcv_wscale = fn_tcp_pick_wscale(req->listener);
}

bool fn_tcp_cookie_check(struct fn_stack *st, struct fn_tcp_req *req, const struct fn_tcp_seg *seg)
{
	uint32_t isn = seg->ack - 1, count = minutes(st), age, i, rest;

	if (!st->tcp->cookies_sent || st->now - st->tcp->cookie_time > MAX_AGE * MINUTE)
		return false;
	req->rcv_isn = seg->seq - 1;
	req->snd_isn = isn;
	rest = isn - hash(st, req, 0, 0) - req->rcv_isn;
	age = (count - (rest >> 24)) & 0xff;
	if (age >= MAX_AGE)
		return false;
	i = (rest - hash(st, req, count - age, 1)) & LOW24;
	if (i >= fn_array_size(mss_table))
		return false;
	req->mss = mss_table[i];
	req->feat = 0;
	req->rcv_wscale = req->snd_wscale = 0;
	if (seg->has_ts)
		decode_ts(req, seg);
	return true;
}
