/* SPDX-License-Identifier: BSD-3-Clause */
/* Whole frames, as they are or with their checksums made right, mixed with time and with what programs do. */
#include "fuzz.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	struct fuzz_in in = {data, size};
	struct fuzz *f = fuzz_open(NULL, 0, true);
	uint8_t frame[FUZZ_FRAME], op;
	size_t n;

	while (in.left) {
		op = fuzz_u8(&in);
		switch (op & 3) {
		case 0:
		case 1:
			n = fuzz_bytes(&in, frame, fuzz_u16(&in) % (FUZZ_FRAME - 1));
			if (op & 1)
				fuzz_fix(frame, n);
			fuzz_frame(f, frame, n);
			if (!(op & 4))
				fuzz_poll(f);
			break;
		case 2:
			fuzz_sleep(f, 1000ull << (op >> 2) % 28);
			break;
		case 3:
			fuzz_app(f, &in);
			break;
		}
	}
	fuzz_close(f);
	return 0;
}
