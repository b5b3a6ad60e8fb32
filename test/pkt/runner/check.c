/* SPDX-License-Identifier: BSD-3-Clause */
/* %{ assert … }%: expressions over the tcp_info of the connection that connect or accept returned last. */
#include <linux/tcp.h>
#include <stdio.h>
#include <string.h>

#include "world.h"

static int64_t eval(const struct expr *e, const void *info)
{
	int64_t a, b;

	if (e->kind == EX_INT)
		return e->value;
	if (e->kind == EX_INFO)
		return info_value(info, (int)e->value);
	if (e->kind != EX_OP)
		return 0;
	a = eval(e->kid, info);
	if (e->value == OP_NOT)
		return !a;
	if (e->value == OP_NEG)
		return -a;
	b = eval(e->kid->next, info);
	switch ((enum expr_op)e->value) {
	case OP_OR: return a || b;
	case OP_AND: return a && b;
	case OP_EQ: return a == b;
	case OP_NE: return a != b;
	case OP_LE: return a <= b;
	case OP_GE: return a >= b;
	case OP_LT: return a < b;
	case OP_GT: return a > b;
	case OP_BITOR: return a | b;
	case OP_ADD: return a + b;
	case OP_SUB: return a - b;
	case OP_MUL: return (int64_t)((uint64_t)a * (uint64_t)b);
	case OP_DIV: return b ? a / b : 0;
	case OP_NOT:
	case OP_NEG:
		break;
	}
	return 0;
}

/* "tcpi_snd_cwnd is 9; …" for every field that e names */
static void describe(const struct expr *e, const void *info, char *buf, size_t room)
{
	size_t n = strlen(buf);

	if (e->kind == EX_INFO)
		snprintf(buf + n, room - n, "%s%s is %lld", n ? ", " : "", e->name,
			 (long long)info_value(info, (int)e->value));
	if (e->kind == EX_OP) {
		describe(e->kid, info, buf, room);
		if (e->kid->next)
			describe(e->kid->next, info, buf, room);
	}
}

bool check_run(struct world *w, const struct event *ev)
{
	union {
		struct tcp_info info;
		uint8_t room[1024];	/* the stack's struct may be an older, shorter or a newer, longer one */
	} u;
	char text[512] = "";

	memset(&u, 0, sizeof(u));
	if (w->last_fd < 0 || !w->file[w->last_fd].used || !w->file[w->last_fd].tcp)
		return world_error(w, ev->pos, "expected a connection (connect or accept) before a check");
	fn_tcp_info(w->file[w->last_fd].sk, &u.info);
	for (const struct expr *e = ev->code; e; e = e->next) {
		if (eval(e, &u))
			continue;
		describe(e, &u, text, sizeof(text));
		return world_error(w, e->pos, "the check fails: %s", text);
	}
	return true;
}
