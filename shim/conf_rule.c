/* SPDX-License-Identifier: BSD-3-Clause */
/* Policy rules in the configuration: `rule = …` lines of the [rules] section and FASTNET_RULES. What they mean is
 * policy.c's. */
#include "shim/conf_parse.h"

#include <stdio.h>
#include <string.h>

#define RULE_SYNTAX	"accelerate|kernel [tcp|udp] [listen|connect] [address=ADDRESS[/PREFIX]] [port=FIRST[-LAST]] " \
			"[program=NAME] [user=NAME]"

static bool parse_ports(struct fn_rule *r, const char *text)
{
	char first[8];
	size_t len = strcspn(text, "-");
	uint64_t a, b;

	if (len >= sizeof first)
		return false;
	memcpy(first, text, len);
	first[len] = 0;
	if (!fn_conf_number(first, 0, UINT16_MAX, &a))
		return false;
	b = a;
	if (text[len] && !fn_conf_number(text + len + 1, a, UINT16_MAX, &b))
		return false;
	r->port_first = (uint16_t)a;
	r->port_last = (uint16_t)b;
	return true;
}

/* A word without `=`: verdict first, then protocol and verb. */
static bool plain_word(struct fn_rule *r, const char *word, bool first)
{
	int n = fn_conf_word(word, first ? "accelerate|kernel" : "tcp|udp|listen|connect");

	if (n < 0)
		return false;
	if (first)
		r->verdict = (enum fn_rule_verdict)n;
	else if (n < 2)
		r->proto = n ? FN_RULE_UDP : FN_RULE_TCP;
	else
		r->verb = n == 2 ? FN_RULE_LISTEN : FN_RULE_CONNECT;
	return true;
}

static bool rule_word(struct fn_conf_parse *p, struct fn_rule *r, char *word, bool first)
{
	char *value = first ? NULL : strchr(word, '=');
	static const char *const expected[] = {
		"an address or prefix, as 10.0.0.0/8 or 2001:db8::/32",
		"a port or a range of ports, as 80 or 8000-8999",
		"a program's name without its path, of at most 63 characters",
		"a number or a name from /etc/passwd",
	};
	bool ok = false;
	int key;

	if (!value) {
		ok = plain_word(r, word, first);
		if (!ok)
			fn_conf_expected(p, RULE_SYNTAX, word);
		return ok;
	}
	*value++ = 0;
	key = fn_conf_word(word, "address|port|program|user");
	switch (key) {
	case 0: ok = fn_conf_prefix(value, r->addr, &r->family, &r->prefix); break;
	case 1: ok = parse_ports(r, value); break;
	case 2: ok = *value && !strchr(value, '/') && fn_conf_copy(r->program, sizeof r->program, value); break;
	case 3: ok = r->has_uid = fn_conf_user(value, &r->uid); break;
	default:
		fn_conf_expected(p, RULE_SYNTAX, word);
		return false;
	}
	if (!ok)
		fn_conf_error(p, "%s: expected %s, not \"%s\"", word, expected[key], value);
	return ok;
}

/* Words up to len characters into *r; false (reported) for a wrong one. base: where characters are counted from. */
static bool parse_rule(struct fn_conf_parse *p, struct fn_rule *r, const char *base, const char *text, size_t len)
{
	char word[128];
	const char *s = text, *end = text + len;
	bool first = true;

	*r = (struct fn_rule){ .port_last = UINT16_MAX, .line = p->file ? p->line : 0 };
	while (s < end) {
		size_t n = strcspn(s, " \t;");

		p->column = (unsigned)(s - base) + 1;
		if (n >= sizeof word) {
			fn_conf_error(p, "expected a word of at most %zu characters", sizeof word - 1);
			return false;
		}
		if (n) {
			memcpy(word, s, n);
			word[n] = 0;
			if (!rule_word(p, r, word, first))
				return false;
			first = false;
		}
		s += n ? n : 1;
	}
	if (first)
		fn_conf_expected(p, RULE_SYNTAX, "");
	return !first;
}

static void add_rule(struct fn_conf_parse *p, unsigned at, struct fn_rule *r)
{
	struct fn_conf *c = p->c;

	if (c->nrules == FN_CONF_RULES) {
		fn_conf_error(p, "expected at most %d rules", FN_CONF_RULES);
		return;
	}
	memmove(&c->rules[at + 1], &c->rules[at], (c->nrules - at) * sizeof *r);
	r->number = at + 1;
	c->rules[at] = *r;
	c->nrules++;
}

void fn_conf_rule(struct fn_conf_parse *p, const char *text)
{
	struct fn_rule r;

	if (parse_rule(p, &r, text, text, strlen(text)))
		add_rule(p, p->c->nrules, &r);
}

void fn_conf_rules_env(struct fn_conf_parse *p, const char *value)
{
	const char *s = value;
	unsigned at = 0;
	struct fn_rule r;

	while (*s) {
		size_t len = strcspn(s, ";");

		p->part++;
		if (strspn(s, " \t") < len && parse_rule(p, &r, value, s, len))
			add_rule(p, at++, &r);
		s += len + (s[len] == ';');
	}
}
