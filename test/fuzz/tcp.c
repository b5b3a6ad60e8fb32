/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * Segments into an established connection, checksums right, sequence numbers near what the connection expects: the
 * states behind the handshake, which blind frames do not reach.
 */
#include <string.h>

#include "fuzz.h"

/* What the SYN offered: all of it, so that every feature is on. */
static const uint8_t syn_opt[] = {FN_TCPOPT_MSS, 4, 5, 0xb4, FN_TCPOPT_SACK_PERM, 2, FN_TCPOPT_TS, 10, 0, 0, 0, 1, 0, 0, 0, 0,
	FN_TCPOPT_NOP, FN_TCPOPT_WSCALE, 3, 7};

/* Options with a timestamp that passes, unless the fuzzer wants others. */
static size_t seg_options(struct fuzz *f, struct fuzz_in *in, uint8_t how, uint8_t *opt)
{
	uint32_t ts;

	if (how & 1)
		return fuzz_bytes(in, opt, how >> 1 & 0x3c);
	memcpy(opt, (uint8_t[4]){FN_TCPOPT_NOP, FN_TCPOPT_NOP, FN_TCPOPT_TS, 10}, 4);
	ts = fn_be32((uint32_t)(f->now / FN_MSEC) + (how & 2 ? 0 : 2));
	memcpy(opt + 4, &ts, 4);
	memcpy(opt + 8, &f->ts, 4);
	return 12;
}

/* Two bits choose exact, a little before, a little behind, or far. */
static uint32_t around(uint32_t base, uint8_t how, uint16_t by)
{
	switch (how & 3) {
	case 0:
		return base;
	case 1:
		return base - by;
	case 2:
		return base + by;
	}
	return base + (uint32_t)by * 65536;
}

static void segment(struct fuzz *f, struct fuzz_in *in, uint8_t op)
{
	static const uint8_t payload[1460];
	uint8_t how = fuzz_u8(in), opt[64];
	struct fuzz_seg seg = {.flags = fuzz_u8(in), .win = fuzz_u16(in)};

	seg.seq = around(f->snd_nxt, how, how & 3 ? fuzz_u16(in) : 0);
	seg.ack = around(f->rcv_nxt, how >> 2, how >> 2 & 3 ? fuzz_u16(in) : 0);
	seg.urg = seg.flags & FN_TCP_URG ? fuzz_u16(in) : 0;
	seg.len = how & 0x10 ? fuzz_u16(in) % 1461 : 0;
	seg.data = payload;
	seg.opt = opt;
	seg.opt_len = seg_options(f, in, fuzz_u8(in), opt);
	seg.dport = how & 0x80 ? FUZZ_PORT + 1 : 0;
	seg.sport = how & 0x40 ? FUZZ_PEER_PORT + 1 : 0;
	fuzz_tcp(f, &seg);
	if (!(how & 0x83))
		f->snd_nxt += (uint32_t)seg.len + !!(seg.flags & FN_TCP_FIN);
	if (!(op & 4))
		fuzz_poll(f);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	return fuzz_run(data, size, fuzz_open(syn_opt, sizeof(syn_opt), true), segment);
}
