/* SPDX-License-Identifier: BSD-3-Clause */
/* Expressions: the arguments and results of calls, and the checks in %{ }%. Reads them; folds nothing, runs nothing. */
#include <arpa/inet.h>
#include <stdio.h>
#include <string.h>

#include "script.h"

static struct expr *new_expr(struct scan *c, enum expr_kind kind, struct pos pos, int64_t value)
{
	struct expr *e = script_alloc(c->s, sizeof(*e));

	e->kind = kind;
	e->pos = pos;
	e->value = value;
	return e;
}

/* Elements up to `close`, linked by .next; {a=1} gives an element its name. */
static bool parse_elements(struct scan *c, struct expr *e, const char *close)
{
	struct expr **tail = &e->kid;

	scan_space(c);
	if (scan_take(c, close))
		return true;
	for (;;) {
		const char *before = c->p, *name = NULL;

		scan_space(c);
		if (e->kind == EX_STRUCT) {
			name = scan_word(c);
			if (name && (c->p[0] != '=' || c->p[1] == '=' || !scan_take(c, "="))) {
				name = NULL;
				c->p = before;
				scan_blank(c);
			}
		}
		if (!parse_expr(c, tail))
			return false;
		(*tail)->name = name ? name : (*tail)->name;
		tail = &(*tail)->next;
		scan_space(c);
		if (scan_take(c, close))
			return true;
		if (!scan_take(c, ","))
			return scan_expected(c, close[0] == ']' ? "\",\" or \"]\"" : "\",\" or \"}\"");
	}
}

/* htons(), htonl() and inet_addr(): values as the program would store them. */
static bool parse_function(struct scan *c, struct pos pos, const char *name, struct expr **out)
{
	struct expr *arg;
	uint32_t v;

	if (!scan_need(c, "(") || !parse_expr(c, &arg) || !scan_need(c, ")"))
		return false;
	if (!strcmp(name, "inet_addr")) {
		if (arg->kind != EX_STR || inet_pton(AF_INET, arg->name, &v) != 1)
			return scan_error(c, arg->pos, "expected an IPv4 address in quotes");
	} else if (arg->kind != EX_INT) {
		return scan_error(c, arg->pos, "expected a number");
	} else if (!strcmp(name, "htons")) {
		v = htons((uint16_t)arg->value);
	} else if (!strcmp(name, "htonl")) {
		v = htonl((uint32_t)arg->value);
	} else {
		return scan_error(c, pos, "expected htons, htonl or inet_addr, found \"%s\"", name);
	}
	*out = new_expr(c, EX_INT, pos, v);
	return true;
}

static bool parse_name(struct scan *c, struct pos pos, struct expr **out)
{
	const char *name = scan_word(c);
	int64_t v;

	if (*c->p == '(')
		return parse_function(c, pos, name, out);
	if (!strncmp(name, "tcpi_", 5)) {
		v = info_field(name);
		if (v < 0)
			return scan_error(c, pos, "expected a field of struct tcp_info, found \"%s\"", name);
		*out = new_expr(c, EX_INFO, pos, v);
		(*out)->name = name;
		return true;
	}
	if (!name_value(name, &v))
		return scan_error(c, pos, "expected a constant, found unknown name \"%s\"", name);
	*out = new_expr(c, EX_INT, pos, v);
	return true;
}

static bool parse_number(struct scan *c, struct pos pos, struct expr **out)
{
	int64_t v;

	if (!scan_number(c, &v, "a value"))
		return false;
	*out = new_expr(c, EX_INT, pos, v);
	return true;
}

static bool parse_primary(struct scan *c, struct expr **out)
{
	struct pos pos = scan_pos(c);

	if (scan_take(c, "...")) {
		*out = new_expr(c, EX_ANY, pos, 0);
		return true;
	}
	if (scan_take(c, "[")) {
		*out = new_expr(c, EX_LIST, pos, 0);
		return parse_elements(c, *out, "]");
	}
	if (scan_take(c, "{")) {
		*out = new_expr(c, EX_STRUCT, pos, 0);
		return parse_elements(c, *out, "}");
	}
	if (scan_take(c, "("))
		return parse_expr(c, out) && scan_need(c, ")");
	if (*c->p == '"') {
		*out = new_expr(c, EX_STR, pos, 0);
		(*out)->name = scan_string(c);
		return (*out)->name ? true : scan_expected(c, "a closed string");
	}
	if ((*c->p >= 'A' && *c->p <= 'Z') || (*c->p >= 'a' && *c->p <= 'z') || *c->p == '_')
		return parse_name(c, pos, out);
	return parse_number(c, pos, out);
}

static bool parse_unary(struct scan *c, struct expr **out)
{
	struct pos pos = scan_pos(c);
	struct expr *kid;
	enum expr_op op;

	if (scan_take(c, "-"))
		op = OP_NEG;
	else if (scan_take(c, "not") || (c->p[0] == '!' && c->p[1] != '=' && scan_take(c, "!")))
		op = OP_NOT;
	else
		return parse_primary(c, out);
	if (!parse_unary(c, &kid))
		return false;
	if (op == OP_NEG && kid->kind == EX_INT) {
		kid->value = -kid->value;
		*out = kid;
		return true;
	}
	*out = new_expr(c, EX_OP, pos, op);
	(*out)->kid = kid;
	return true;
}

/* Binary operators, loosest first; a level's operators are left-associative. */
static const struct {
	const char *text;
	enum expr_op op;
	int level;
} operators[] = {
	{ "||", OP_OR, 0 }, { "or", OP_OR, 0 }, { "&&", OP_AND, 1 }, { "and", OP_AND, 1 },
	{ "==", OP_EQ, 2 }, { "!=", OP_NE, 2 }, { "<=", OP_LE, 2 }, { ">=", OP_GE, 2 }, { "<", OP_LT, 2 },
	{ ">", OP_GT, 2 }, { "|", OP_BITOR, 3 }, { "+", OP_ADD, 4 }, { "-", OP_SUB, 4 }, { "*", OP_MUL, 5 },
	{ "/", OP_DIV, 5 },
};
#define LEVELS 6

static int take_operator(struct scan *c, int level)
{
	for (size_t i = 0; i < sizeof(operators) / sizeof(operators[0]); i++) {
		if (operators[i].level != level)
			continue;
		if (operators[i].op == OP_BITOR && c->p[1] == '|')
			continue;
		if (operators[i].op == OP_DIV && c->p[1] == '/')
			continue;
		if (scan_take(c, operators[i].text))
			return (int)operators[i].op;
	}
	return -1;
}

static struct expr *fold(struct expr *e)
{
	struct expr *a = e->kid, *b = a->next;

	if (e->value != OP_BITOR || a->kind != EX_INT || b->kind != EX_INT)
		return e;
	a->value |= b->value;
	a->next = NULL;
	return a;
}

static bool parse_level(struct scan *c, int level, struct expr **out)
{
	int op;

	if (level == LEVELS)
		return parse_unary(c, out);
	if (!parse_level(c, level + 1, out))
		return false;
	while ((op = take_operator(c, level)) >= 0) {
		struct expr *e = new_expr(c, EX_OP, (*out)->pos, op);

		e->kid = *out;
		if (!parse_level(c, level + 1, &e->kid->next))
			return false;
		*out = fold(e);
	}
	return true;
}

bool parse_expr(struct scan *c, struct expr **e)
{
	return parse_level(c, 0, e);
}
