/* SPDX-License-Identifier: BSD-3-Clause */
/* The script's outline: option lines, then events with their times, calls and checks. Packets are parse_packet.c's. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "script.h"

/* A block of script_alloc(), in a list for script_free(). */
struct block {
	struct block *next;
	_Alignas(16) uint8_t data[];
};

void *script_alloc(struct script *s, size_t size)
{
	struct block *b = calloc(1, sizeof(*b) + size);

	if (!b) {
		fputs("out of memory\n", stderr);
		exit(2);
	}
	b->next = s->blocks;
	s->blocks = b;
	return b->data;
}

void script_free(struct script *s)
{
	struct block *b = s->blocks, *next;

	for (; b; b = next) {
		next = b->next;
		free(b);
	}
	free(s->text);
}

static char *read_file(const char *path)
{
	FILE *f = fopen(path, "r");
	char *text = NULL;
	size_t used = 0, room = 0, n;

	if (!f)
		return NULL;
	do {
		if (used + 4096 > room) {
			char *more = realloc(text, room = room * 2 + 8192);

			if (!more)
				break;
			text = more;
		}
		n = fread(text + used, 1, room - used - 1, f);
		used += n;
	} while (n);
	fclose(f);
	if (text)
		text[used] = 0;
	return text;
}

/* --name=value, one a line, before the first event */
static bool parse_options(struct scan *c)
{
	struct option **tail = &c->s->options;

	for (scan_space(c); c->p[0] == '-' && c->p[1] == '-'; scan_space(c)) {
		struct option *o = script_alloc(c->s, sizeof(*o));
		size_t n;
		char *value;

		o->pos = scan_pos(c);
		c->p += 2;
		o->name = scan_word(c);
		if (!o->name)
			return scan_expected(c, "an option's name");
		if (*c->p != '=')
			return scan_expected(c, "\"=\"");
		c->p++;
		n = strcspn(c->p, " \t\r\n");
		value = script_alloc(c->s, n + 1);
		memcpy(value, c->p, n);
		o->value = value;
		c->p += n;
		*tail = o;
		tail = &o->next;
	}
	return true;
}

/* "0.1", "+.1", "*", "0.1~0.2", "+0~+.1", and for calls "+0...0.2" */
static bool parse_time(struct scan *c, struct event *ev)
{
	static const char what[] = "a time (0.1, +.1, * or 1~2)";

	ev->end = -1;
	if (scan_take(c, "*")) {
		ev->when = WHEN_ANY;
		return true;
	}
	ev->when = WHEN_ABS;
	if (*c->p == '+') {
		ev->when = WHEN_REL;
		c->p++;
	}
	if (!scan_seconds(c, &ev->from, what))
		return false;
	ev->to = ev->from;
	if (!strncmp(c->p, "...", 3)) {
		c->p += 3;
		if (*c->p == '+')
			c->p++;
		if (!scan_seconds(c, &ev->end, "the time when the call returns"))
			return false;
	} else if (*c->p == '~') {
		c->p++;
		if (*c->p == '+')
			c->p++;
		if (!scan_seconds(c, &ev->to, "the end of a range of time"))
			return false;
		if (ev->to < ev->from)
			return scan_expected(c, "a range that ends after it begins");
	}
	if (*c->p != ' ' && *c->p != '\t')
		return scan_expected(c, "a blank after the time");
	scan_blank(c);
	return true;
}

/* "= 3", "= -1 EAGAIN (Resource temporarily unavailable)", "= ..." */
static bool parse_result(struct scan *c, struct call *call)
{
	struct pos pos;
	const char *name;
	int64_t v;

	if (!scan_need(c, "="))
		return false;
	pos = scan_pos(c);
	if (!parse_expr(c, &call->result))
		return false;
	if (call->result->kind != EX_INT && call->result->kind != EX_ANY)
		return scan_error(c, pos, "expected a number or \"...\" as the result");
	pos = scan_pos(c);
	name = scan_word(c);
	if (!name)
		return true;
	if (name[0] != 'E' || !name_value(name, &v))
		return scan_error(c, pos, "expected an errno name, found \"%s\"", name);
	call->err = (int)v;
	if (*c->p == '(') {
		c->p += strcspn(c->p, ")\n");
		return scan_need(c, ")");
	}
	return true;
}

static bool parse_call(struct scan *c, struct event *ev)
{
	struct call *call = &ev->call;
	struct expr **tail = &call->args;

	ev->kind = EV_CALL;
	call->name_pos = scan_pos(c);
	call->name = scan_word(c);
	if (!call->name || *c->p != '(')
		return scan_expected(c, "a packet (< or >), a call or %{ }%");
	scan_take(c, "(");
	scan_space(c);
	while (!scan_take(c, ")")) {
		if (call->nargs && !scan_take(c, ","))
			return scan_expected(c, "\",\" or \")\"");
		scan_space(c);
		if (!parse_expr(c, tail))
			return false;
		tail = &(*tail)->next;
		call->nargs++;
		scan_space(c);
	}
	return parse_result(c, call);
}

/* %{ assert EXPR[, anything to the end of the line] … }% */
static bool parse_code(struct scan *c, struct event *ev)
{
	struct expr **tail = &ev->code;

	ev->kind = EV_CODE;
	for (scan_space(c); !scan_take(c, "}%"); scan_space(c)) {
		if (scan_take(c, ";"))
			continue;
		if (!scan_take(c, "assert"))
			return scan_expected(c, "\"assert\" or \"}%\"");
		if (!parse_expr(c, tail))
			return false;
		tail = &(*tail)->next;
		/* packetdrill's Python prints what follows the comma; the runner prints every value itself */
		if (*c->p == ',') {
			while (*c->p && *c->p != '\n' && *c->p != ';' && strncmp(c->p, "}%", 2) != 0)
				c->p++;
		}
	}
	return true;
}

static bool parse_event(struct scan *c, struct event *ev)
{
	ev->pos = scan_pos(c);
	if (!parse_time(c, ev))
		return false;
	if (*c->p == '<' || *c->p == '>') {
		if (ev->end >= 0)
			return scan_expected(c, "a call: packets do not block");
		ev->kind = EV_PACKET;
		if (*c->p == '<' && ev->to != ev->from)
			return scan_expected(c, "an exact time for a packet to the stack");
		return parse_packet(c, &ev->packet);
	}
	if (ev->when == WHEN_ANY || ev->to != ev->from)
		return scan_expected(c, "a packet from the stack (>): only that may have an open time");
	if (scan_take(c, "%{"))
		return parse_code(c, ev);
	return parse_call(c, ev);
}

static bool parse_script(struct scan *c)
{
	struct event **tail = &c->s->events;

	if (!parse_options(c))
		return false;
	for (scan_space(c); *c->p; scan_space(c)) {
		struct event *ev = script_alloc(c->s, sizeof(*ev));
		int line;

		if (!parse_event(c, ev))
			return false;
		*tail = ev;
		tail = &ev->next;
		line = c->line;
		scan_blank(c);
		if (*c->p == ';')
			scan_take(c, ";");
		scan_space(c);
		if (*c->p && c->line == line)
			return scan_expected(c, "the end of the line");
	}
	if (!c->s->events)
		return scan_expected(c, "at least one event");
	return true;
}

bool script_read(struct script *s, const char *path)
{
	struct scan c = { .s = s, .line = 1 };

	memset(s, 0, sizeof(*s));
	s->path = path;
	s->text = read_file(path);
	if (!s->text) {
		snprintf(s->error, sizeof(s->error), "%s: cannot be read", path);
		return false;
	}
	c.p = c.line_start = s->text;
	return parse_script(&c);
}
