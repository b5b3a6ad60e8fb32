/* SPDX-License-Identifier: BSD-3-Clause */
/* Reason codes, made from reason.def, and their texts. Library and tools share them. Must not allocate or call the system. */
#ifndef FN_REASON_H
#define FN_REASON_H

#include "stack/compiler.h"

enum fn_reason {
#define FN_REASON(name, side, arg, text) FN_REASON_##name,
#include "shim/reason.def"
#undef FN_REASON
	FN_REASON_COUNT
};

/* The number that goes with a reason, for the option `name` of `level`. */
#define FN_REASON_OPTION(level, name)	((uint32_t)(level) << 16 | (uint16_t)(name))
/* … for rule `number` of FASTNET_RULES. */
#define FN_REASON_ENV_RULE		0x80000000u

/* True when the stack serves the socket (for FN_REASON_WILDCARD: the kernel does as well). */
bool fn_reason_stack(enum fn_reason r);
/* "PORT_HELD": the name of the counter. NULL for a number out of range. */
const char *fn_reason_name(unsigned r);

/*
 * The reason in words, "kernel: port held by PID 17", into buf. file: the configuration file's name; nic: the port's name
 * (each may be NULL: a number stands in). Any r and arg are accepted, as from another process's memory. Returns buf.
 */
const char *fn_reason_text(char *buf, size_t size, unsigned r, uint32_t arg, const char *file, const char *nic);

/* "AF_UNIX", "SOCK_RAW", "SCTP", "SO_MARK", or the number, into buf. */
const char *fn_family_name(char *buf, size_t size, unsigned family);
const char *fn_type_name(char *buf, size_t size, unsigned type);
const char *fn_proto_name(char *buf, size_t size, unsigned proto);
const char *fn_option_name(char *buf, size_t size, uint32_t option);

#endif
