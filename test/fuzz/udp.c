/* SPDX-License-Identifier: BSD-3-Clause */
/* Datagrams to the bound socket and beside it, with lengths and checksums right or not. */
#include <string.h>

#include "fuzz.h"

static void datagram(struct fuzz *f, struct fuzz_in *in, uint8_t op)
{
	uint8_t buf[FUZZ_FRAME] = {0};
	size_t n = fuzz_u16(in) % 1473;
	struct fn_udp_hdr uh = {.sport = fn_be16(4001), .dport = fn_be16(op & 4 ? fuzz_u16(in) : FUZZ_UDP_PORT),
		.len = fn_be16((uint16_t)(FN_UDP_LEN + n))};

	if (op & 8)
		uh.len = fn_be16(fuzz_u16(in));
	if (op & 16)
		uh.csum = fn_be16(fuzz_u16(in));
	memcpy(buf, &uh, sizeof(uh));
	if (op & 32)
		fuzz_bytes(in, buf + FN_UDP_LEN, n);
	n = op & 64 ? fn_min(n, (size_t)fuzz_u8(in)) : FN_UDP_LEN + n;
	fuzz_ip4(f, FN_IPPROTO_UDP, 1, 0, buf, n, !(op & 16));
	fuzz_poll(f);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	return fuzz_run(data, size, fuzz_open(NULL, 0, true), datagram);
}
