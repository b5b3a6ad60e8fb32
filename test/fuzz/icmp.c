/* SPDX-License-Identifier: BSD-3-Clause */
/* ICMP messages with right checksums: free ones, and errors that quote the live connection or the UDP socket. */
#include <string.h>

#include "fuzz.h"

static size_t quote(struct fuzz *f, struct fuzz_in *in, uint8_t *to)
{
	uint8_t how = fuzz_u8(in);
	struct fn_ip4_hdr ip = {.ver_ihl = 0x45, .len = fn_be16(100), .ttl = 1, .proto = how & 1 ? FN_IPPROTO_UDP : FN_IPPROTO_TCP,
		.src = fn_be32(0x0a000001), .dst = fn_be32(0x0a000002)};
	struct fn_tcp_hdr th = {.sport = fn_be16(FUZZ_PORT), .dport = fn_be16(FUZZ_PEER_PORT), .off = 5 << 4,
		.seq = fn_be32(f->rcv_nxt - (how & 2 ? fuzz_u16(in) : 0))};
	size_t n = sizeof(ip) + (how & 4 ? fuzz_u8(in) % 21 : 8), at;

	if (how & 1) {
		th.sport = fn_be16(FUZZ_UDP_PORT);
		th.dport = fn_be16(4001);
	}
	memcpy(to, &ip, sizeof(ip));
	memcpy(to + sizeof(ip), &th, sizeof(th));
	if (how & 8) {
		at = fuzz_u8(in) % 40;
		to[at] ^= fuzz_u8(in);
	}
	return n;
}

static void message(struct fuzz *f, struct fuzz_in *in, uint8_t op)
{
	uint8_t msg[256] = {fuzz_u8(in), fuzz_u8(in)};
	size_t n = FN_ICMP_LEN;

	fuzz_bytes(in, msg + 4, 4);
	if (op & 4)
		n += quote(f, in, msg + n);
	else
		n += fuzz_bytes(in, msg + n, fuzz_u8(in) % 200);
	if (op & 8)
		n = fn_min(n, (size_t)fuzz_u8(in));
	fuzz_ip4(f, FN_IPPROTO_ICMP, 1, op & 16 ? fuzz_u16(in) : 0, msg, n, true);
	fuzz_poll(f);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	return fuzz_run(data, size, fuzz_open(NULL, 0, true), message);
}
