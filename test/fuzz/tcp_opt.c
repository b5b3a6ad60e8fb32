/* SPDX-License-Identifier: BSD-3-Clause */
/* TCP options: of a SYN, of the segments that follow it, and of a SYN-ACK that answers a connect. */
#include "fuzz.h"

static size_t options(struct fuzz_in *in, uint8_t *opt)
{
	return fuzz_bytes(in, opt, (fuzz_u8(in) % 11) * 4u);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	struct fuzz_in in = {data, size};
	static const uint8_t payload[100], reopen[2] = {6 << 5 | 2, 0};
	struct fuzz_in again = {reopen, 2};
	uint8_t opt[64];
	size_t n = options(&in, opt);
	struct fuzz *f = fuzz_open(opt, n, false);
	unsigned i;

	for (i = 0; i < 4 && in.left; i++) {
		struct fuzz_seg seg = {.seq = f->snd_nxt, .ack = f->rcv_nxt, .win = 1000, .flags = FN_TCP_ACK, .data = payload,
			.len = sizeof(payload), .opt = opt};

		seg.opt_len = options(&in, opt);
		f->snd_nxt += (uint32_t)seg.len;
		fuzz_tcp(f, &seg);
		fuzz_poll(f);
	}
	/* Now the stack connects, from a port of its choice. */
	fuzz_app(f, &again);
	if (f->conn && in.left) {
		struct fuzz_seg seg = {.seq = 5000, .ack = f->syn_nxt, .win = 1000, .flags = FN_TCP_SYN | FN_TCP_ACK, .opt = opt,
			.dport = fn_be16(f->conn->local.port)};

		seg.opt_len = options(&in, opt);
		fuzz_tcp(f, &seg);
		fuzz_poll(f);
	}
	fuzz_close(f);
	return 0;
}
