/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * Options of a converted connection. What concerns the connection is asked of the relay, which has it, over a datagram
 * socket; what concerns the descriptor (timeouts, buffers) is the kernel's end's own. Owns the question and its answer.
 */
#ifndef FN_CONVERT_OPT_H
#define FN_CONVERT_OPT_H

#include <stdint.h>
#include <sys/un.h>

#include "shim/convert.h"

/* The longest value of an option: TCP_INFO of Linux 6.1 has 240 bytes. */
#define FN_OPT_VALUE 512

struct fn_opt_question {
	uint32_t set;
	int32_t level, name;
	uint32_t len;		/* of .value, or of the room there is for the answer's */
	uint8_t value[FN_OPT_VALUE];
};

struct fn_opt_answer {
	int32_t ret;		/* as of an operation: 0, -errno, FN_TO_KERNEL (a fresh socket of TCP knows as much) */
	uint32_t len;
	uint8_t value[FN_OPT_VALUE];
};

/*
 * Where the relay of a stack is asked; `key` is the bells' (bell.h). A question brings the program's end of the connection
 * along, which names it and proves that the asker has it.
 */
socklen_t fn_convert_opt_address(uint64_t key, struct sockaddr_un *un);

/* ---- the relay's side: relay_opt.c ---- */
/* The relay's socket for questions: an internal descriptor, or -errno. */
int fn_relay_opt_open(uint64_t key);
/* Answer what has been asked on fd. `find` knows the file of the connection with that number; NULL: there is none. Without
 * the lock. */
void fn_relay_opt_serve(int fd, struct fn_file *(*find)(uint32_t number));

#endif
