/* SPDX-License-Identifier: BSD-3-Clause */
/* What only the kernel knows about an IPv4 address (network order); answers are kept for FN_KROUTE_NS. */
#ifndef FN_KROUTE_H
#define FN_KROUTE_H

#include <stdbool.h>
#include <stdint.h>

#define FN_KROUTE_NS	1000000000ull

/* It is one of the host's own (a local route, RTN_LOCAL). */
bool fn_kroute_is_host(uint32_t ip4);
/* The address from which the kernel sends to it when a socket has none; itself when the kernel names none. */
uint32_t fn_kroute_source(uint32_t ip4);
/* The kernel has a route to it that is more specific than its default. */
bool fn_kroute_specific(uint32_t ip4);

#endif
