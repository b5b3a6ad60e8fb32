/* SPDX-License-Identifier: BSD-3-Clause */
/* Whole frames, as they are or with their checksums made right, mixed with time and with what programs do. */
#include "fuzz.h"

static void step(struct fuzz *f, struct fuzz_in *in, uint8_t op)
{
	uint8_t frame[FUZZ_FRAME];
	size_t n = fuzz_bytes(in, frame, fuzz_u16(in) % (FUZZ_FRAME - 1));

	if (op & 1)
		fuzz_fix(frame, n);
	fuzz_frame(f, frame, n);
	if (!(op & 4))
		fuzz_poll(f);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	return fuzz_run(data, size, fuzz_open(NULL, 0, true), step);
}
