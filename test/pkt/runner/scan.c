/* SPDX-License-Identifier: BSD-3-Clause */
/* The cursor over a script's text: blanks, comments, numbers, words, and errors that say where. No grammar here. */
#include <ctype.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "script.h"

/* Beyond what any script means, and far from where sums of them overflow. */
#define NUMBER_MAX	(1ll << 40)
#define SECONDS_MAX	1000000ll

struct pos scan_pos(const struct scan *c)
{
	return (struct pos){ c->line, (int)(c->p - c->line_start) + 1 };
}

bool scan_error(const struct scan *c, struct pos pos, const char *fmt, ...)
{
	struct script *s = c->s;
	va_list ap;
	int n;

	if (s->error[0])
		return false;
	n = snprintf(s->error, sizeof(s->error), "%s:%d:%d: ", s->path, pos.line, pos.col);
	if (n < 0 || (size_t)n >= sizeof(s->error))
		return false;
	va_start(ap, fmt);
	vsnprintf(s->error + n, sizeof(s->error) - (size_t)n, fmt, ap);
	va_end(ap);
	return false;
}

bool scan_expected(const struct scan *c, const char *what)
{
	size_t n = strcspn(c->p, " \t\n");

	if (!*c->p)
		return scan_error(c, scan_pos(c), "expected %s, found the end of the file", what);
	if (!n)
		return scan_error(c, scan_pos(c), "expected %s, found the end of the line", what);
	return scan_error(c, scan_pos(c), "expected %s, found \"%.*s\"", what, (int)(n < 24 ? n : 24), c->p);
}

void scan_blank(struct scan *c)
{
	while (*c->p == ' ' || *c->p == '\t')
		c->p++;
}

void scan_space(struct scan *c)
{
	for (;;) {
		scan_blank(c);
		if (c->p[0] == '/' && c->p[1] == '/') {
			c->p += strcspn(c->p, "\n");
		} else if (c->p[0] == '/' && c->p[1] == '*' && strstr(c->p, "*/")) {
			const char *end = strstr(c->p, "*/") + 2;

			for (; c->p < end; c->p++) {
				if (*c->p == '\n') {
					c->line++;
					c->line_start = c->p + 1;
				}
			}
		} else if (*c->p == '\n' || *c->p == '\r') {
			if (*c->p == '\n') {
				c->line++;
				c->line_start = c->p + 1;
			}
			c->p++;
		} else {
			return;
		}
	}
}

static bool word_char(char ch)
{
	return isalnum((unsigned char)ch) || ch == '_';
}

bool scan_take(struct scan *c, const char *text)
{
	size_t n = strlen(text);

	if (strncmp(c->p, text, n) != 0)
		return false;
	if (word_char(text[n - 1]) && word_char(c->p[n]))
		return false;
	c->p += n;
	scan_blank(c);
	return true;
}

bool scan_need(struct scan *c, const char *text)
{
	char what[32];

	if (scan_take(c, text))
		return true;
	snprintf(what, sizeof(what), "\"%s\"", text);
	return scan_expected(c, what);
}

bool scan_number(struct scan *c, int64_t *v, const char *what)
{
	char *end;

	if (!isdigit((unsigned char)*c->p))
		return scan_expected(c, what);
	*v = (int64_t)strtoull(c->p, &end, c->p[0] == '0' && (c->p[1] | 0x20) == 'x' ? 16 : 10);
	if (*v < 0 || *v > NUMBER_MAX)
		return scan_error(c, scan_pos(c), "expected %s of at most %lld", what, NUMBER_MAX);
	c->p = end;
	scan_blank(c);
	return true;
}

bool scan_u32(struct scan *c, uint32_t *v, const char *what)
{
	struct pos pos = scan_pos(c);
	int64_t n;

	if (!scan_number(c, &n, what))
		return false;
	if (n < 0 || n > UINT32_MAX)
		return scan_error(c, pos, "expected %s within 32 bits", what);
	*v = (uint32_t)n;
	return true;
}

bool scan_seconds(struct scan *c, int64_t *ns, const char *what)
{
	const char *p = c->p;
	int64_t v = 0, unit = 1000000000;
	bool digits = false;

	for (; isdigit((unsigned char)*p); p++, digits = true) {
		v = v * 10 + (*p - '0');
		if (v > SECONDS_MAX)
			return scan_error(c, scan_pos(c), "expected %s of at most %lld s", what, SECONDS_MAX);
	}
	v *= unit;
	/* "0...0.2" is a blocking call's range, not a fraction */
	if (p[0] == '.' && isdigit((unsigned char)p[1])) {
		for (p++; isdigit((unsigned char)*p); p++, digits = true) {
			unit /= 10;
			v += unit * (*p - '0');
		}
	}
	if (!digits)
		return scan_expected(c, what);
	*ns = v;
	c->p = p;
	return true;
}

static const char *scan_copy(struct scan *c, const char *from, size_t n)
{
	char *s = script_alloc(c->s, n + 1);

	memcpy(s, from, n);
	return s;
}

const char *scan_word(struct scan *c)
{
	const char *start = c->p;

	if (!isalpha((unsigned char)*start) && *start != '_')
		return NULL;
	while (word_char(*c->p))
		c->p++;
	start = scan_copy(c, start, (size_t)(c->p - start));
	scan_blank(c);
	return start;
}

const char *scan_string(struct scan *c)
{
	const char *start = c->p + 1;
	size_t n;

	if (*c->p != '"')
		return NULL;
	n = strcspn(start, "\"\n");
	if (start[n] != '"')
		return NULL;
	c->p = start + n + 1;
	scan_blank(c);
	return scan_copy(c, start, n);
}
