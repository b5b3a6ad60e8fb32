/* SPDX-License-Identifier: BSD-3-Clause */
/* Comparisons in sequence space (RFC 9293 3.4): modulo 2^32, right while the two are less than 2^31 apart. */
#ifndef FN_TCP_SEQ_H
#define FN_TCP_SEQ_H

#include "compiler.h"

fn_inline bool fn_seq_lt(uint32_t a, uint32_t b) { return (int32_t)(a - b) < 0; }
fn_inline bool fn_seq_leq(uint32_t a, uint32_t b) { return (int32_t)(a - b) <= 0; }
fn_inline bool fn_seq_gt(uint32_t a, uint32_t b) { return (int32_t)(a - b) > 0; }
fn_inline bool fn_seq_geq(uint32_t a, uint32_t b) { return (int32_t)(a - b) >= 0; }
/* low =< x =< high */
fn_inline bool fn_seq_between(uint32_t x, uint32_t low, uint32_t high) { return high - low >= x - low; }
fn_inline uint32_t fn_seq_max(uint32_t a, uint32_t b) { return fn_seq_gt(a, b) ? a : b; }
fn_inline uint32_t fn_seq_min(uint32_t a, uint32_t b) { return fn_seq_lt(a, b) ? a : b; }

#endif
