/* SPDX-License-Identifier: BSD-3-Clause */
/* Where libfastnet.so is, seen from a tool: the build tree, beside an installed (or moved) tool, the configured libdir. */
#ifndef FN_LOCATE_H
#define FN_LOCATE_H

#include <limits.h>
#include <stdbool.h>
#include <stddef.h>

/* The library's path; false when it is in none of the places (path: the last one). */
bool fn_locate_library(char path[PATH_MAX]);

/* The relative way from directory `from` to directory `to`, both absolute: "../lib/x86_64-linux-gnu". */
void fn_locate_relative(char *out, size_t size, const char *from, const char *to);

#endif
