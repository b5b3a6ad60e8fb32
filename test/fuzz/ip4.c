/* SPDX-License-Identifier: BSD-3-Clause */
/* IPv4: fragments in any order, overlapping, too many, too late; and headers with options. */
#include <string.h>

#include "fuzz.h"

static void fragment(struct fuzz *f, struct fuzz_in *in, uint8_t op)
{
	static const uint8_t protos[4] = {FN_IPPROTO_UDP, FN_IPPROTO_TCP, FN_IPPROTO_ICMP, 99};
	uint8_t buf[1480] = {0x0f, 0xa1, 0, FUZZ_UDP_PORT}, how = fuzz_u8(in);
	uint16_t frag = (uint16_t)((how & 0x80 ? FN_IP4_MF : 0) | (op & 4 ? fuzz_u16(in) & 0x1fff : fuzz_u8(in)));
	size_t n = op & 8 ? fuzz_u16(in) % 1481 : fuzz_u8(in) * 8u % 1481;

	if (op & 16)
		fuzz_bytes(in, buf, fuzz_u8(in));
	fuzz_ip4(f, protos[how & 3], how >> 2 & 7, frag, buf, n, false);
	fuzz_poll(f);
}

static void header(struct fuzz *f, struct fuzz_in *in, uint8_t op)
{
	uint8_t frame[FUZZ_FRAME] = {2, 0, 0, 0, 0, 1, 2, 0, 0, 0, 0, 2, 8, 0};
	struct fn_ip4_hdr ip = {.ver_ihl = 0x45, .ttl = 64, .proto = FN_IPPROTO_ICMP, .src = fn_be32(0x0a000002),
		.dst = fn_be32(0x0a000001)};
	size_t opt = op & 4 ? (fuzz_u8(in) % 11) * 4u : 0, n = FN_ETHER_LEN + FN_IP4_LEN;
	uint8_t at;

	ip.ver_ihl = (uint8_t)(0x45 + opt / 4);
	ip.len = fn_be16((uint16_t)(FN_IP4_LEN + opt + FN_ICMP_LEN));
	memcpy(frame + FN_ETHER_LEN, &ip, sizeof(ip));
	fuzz_bytes(in, frame + n, opt);
	n += opt;
	frame[n] = FN_ICMP_ECHO;
	n += FN_ICMP_LEN;
	if (op & 8) {
		at = fuzz_u8(in) % FN_IP4_LEN;
		frame[FN_ETHER_LEN + at] ^= fuzz_u8(in);
	}
	fuzz_fix(frame, n);
	fuzz_frame(f, frame, op & 16 ? fn_min(n, (size_t)fuzz_u8(in)) : n);
	fuzz_poll(f);
}

static void step(struct fuzz *f, struct fuzz_in *in, uint8_t op)
{
	if (op & 1)
		header(f, in, op);
	else
		fragment(f, in, op);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	return fuzz_run(data, size, fuzz_open(NULL, 0, true), step);
}
