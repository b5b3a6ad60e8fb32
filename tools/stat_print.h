/* SPDX-License-Identifier: BSD-3-Clause */
/* What fastnet-stat prints, as text (stat_text.c) and as JSON (stat_json.c), and what both need. */
#ifndef FN_STAT_PRINT_H
#define FN_STAT_PRINT_H

#include <jansson.h>

#include "tools/target.h"

/* ---- text, to standard output ---- */
void fn_text_list_head(void);
void fn_text_list(const struct fn_target *t);
/* all: counters that are zero, and every decision that is still known. */
void fn_text_process(const struct fn_target *t, bool all);

/* ---- JSON: one object a process ---- */
json_t *fn_json_process(const struct fn_target *t);

/* ---- stat_names.c: the words of both ---- */
/* "ESTAB", as ss(8) has it. */
const char *fn_state_name(const struct fn_target_sock *s);
const char *fn_cc_name(unsigned cc_id);
const char *fn_port_state_name(unsigned state);
/* "10.9.0.2:80", "*:80" */
const char *fn_ep_text(char *buf, size_t size, const struct fn_ep *ep);
const char *fn_ip4_text(char *buf, size_t size, uint32_t ip4);
/* "listen", "connect", "socket" */
const char *fn_verb_name(unsigned verb);
/* The address of a decision, "10.9.0.7:80", "[::1]:80", or "" where there is none. */
const char *fn_decision_addr(char *buf, size_t size, const struct fn_info_decision *d);
const char *fn_decision_reason(char *buf, size_t size, const struct fn_target *t, const struct fn_info_decision *d);
/* The decisions in the ring, oldest first: returns how many into list. */
unsigned fn_decisions(const struct fn_target *t, const struct fn_info_decision *list[FN_INFO_DECISIONS]);
/* A reason with a placeholder for what differs from case to case: "kernel: port held by PID ..." */
const char *fn_reason_general(char *buf, size_t size, unsigned reason);
/* Sockets that the stack got, and that the kernel kept, by the counters of reasons. */
void fn_reason_sums(const struct fn_info *i, uint64_t *stack, uint64_t *kernel);

#endif
