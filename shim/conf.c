/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * Settings: the table made from conf.def, the file and the environment, and the wording of errors. The file's INI syntax
 * is inih's (linked statically: no run-time dependency, and no allocation since it reads from us into its own frame).
 * NICs and rules have files of their own.
 */
#include "shim/conf_parse.h"

#include <ctype.h>
#include <errno.h>
#include <ini.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>

#ifndef FN_SYSCONFDIR
#define FN_SYSCONFDIR "/etc"
#endif
#define FN_CONF_DEFAULT FN_SYSCONFDIR "/fastnet/fastnet.conf"

enum kind { BOOL, UINT, AUTO, SIZE, ENUM, TEXT };

struct setting {
	const char *name;
	enum kind kind;
	bool env_only;
	size_t offset;
	uint64_t def, min, max;
	const char *def_text;
	const char *unit;
};

#define DEF_BOOL(d)	.def = d
#define DEF_UINT(d)	.def = d
#define DEF_AUTO(d)	.def = d
#define DEF_SIZE(d)	.def = d
#define DEF_ENUM(d)	.def = d
#define DEF_TEXT(d)	.def_text = d

static const struct setting settings[] = {
#define SETTING(k, n, d, lo, hi, u, env) \
	{ .name = #n, .kind = k, .env_only = env, .offset = offsetof(struct fn_conf, n), DEF_##k(d), .min = lo, .max = hi, \
	  .unit = u },
#define FN_CONF(k, n, d, lo, hi, u, h)		SETTING(k, n, d, lo, hi, u, false)
#define FN_CONF_ENV(k, n, d, lo, hi, u, h)	SETTING(k, n, d, lo, hi, u, true)
#include "shim/conf.def"
#undef FN_CONF
#undef FN_CONF_ENV
};

/* ---- errors ---- */

/* Append to a text that is at bytes long; what does not fit is cut. Returns the new length. */
static __attribute__((format(printf, 4, 5))) size_t append(char *buf, size_t size, size_t at, const char *fmt, ...)
{
	va_list ap;
	int n;

	va_start(ap, fmt);
	n = vsnprintf(buf + at, size - at, fmt, ap);
	va_end(ap);
	return n < 0 ? at : fn_min(at + (size_t)n, size - 1);
}

static size_t format_where(const struct fn_conf_parse *p, char *buf, size_t size)
{
	size_t n = append(buf, size, 0, "%s", p->file ? p->file : p->var);

	if (p->file && p->line)
		n = append(buf, size, n, ":%u", p->line);
	if (p->part)
		n = append(buf, size, n, ", part %u, character %u", p->part, p->column);
	n = append(buf, size, n, ": ");
	if (p->section)
		n = append(buf, size, n, "[%s] ", p->section);
	if (p->key)
		n = append(buf, size, n, "%s: ", p->key);
	return n;
}

/* "WHERE: text" to whoever listens. */
static void tell(struct fn_conf_parse *p, const char *fmt, va_list ap)
{
	/* a path, a section and a key (50 bytes each in inih), a value: cut when somebody overdoes it */
	char text[FN_CONF_PATH + 900];
	size_t n;

	if (!p->rep)
		return;
	n = format_where(p, text, FN_CONF_PATH + 300);
	vsnprintf(text + n, sizeof text - n, fmt, ap);
	p->rep->fn(p->rep->ctx, text);
}

void fn_conf_error(struct fn_conf_parse *p, const char *fmt, ...)
{
	va_list ap;

	p->c->errors++;
	p->nic_errors++;
	va_start(ap, fmt);
	tell(p, fmt, ap);
	va_end(ap);
}

/* The same for what is odd but harmless. */
static __attribute__((format(printf, 2, 3))) void remark(struct fn_conf_parse *p, const char *fmt, ...)
{
	va_list ap;

	va_start(ap, fmt);
	tell(p, fmt, ap);
	va_end(ap);
}

void fn_conf_expected(struct fn_conf_parse *p, const char *what, const char *value)
{
	fn_conf_error(p, "expected %s, not \"%s\"", what, value);
}

/* ---- settings ---- */

static void expected_setting(struct fn_conf_parse *p, const struct setting *s, const char *value)
{
	char what[160];
	unsigned long long min = s->min, max = s->max;

	switch (s->kind) {
	case BOOL:
		snprintf(what, sizeof what, "yes or no");
		break;
	case UINT:
		snprintf(what, sizeof what, "a number of %s from %llu to %llu", s->unit, min, max);
		if (!strcmp(s->unit, "number"))
			snprintf(what, sizeof what, "a number from %llu to %llu", min, max);
		break;
	case AUTO:
		snprintf(what, sizeof what, "auto or a number of %s from %llu to %llu", s->unit, min, max);
		break;
	case SIZE:
		snprintf(what, sizeof what, "bytes from %llu to %llu (K, M or G may follow)", min, max);
		break;
	case ENUM:
		snprintf(what, sizeof what, "one of %s", s->unit);
		break;
	case TEXT:
		snprintf(what, sizeof what, "%s of at most %llu characters", s->unit, max - 1);
		break;
	}
	fn_conf_expected(p, what, value);
}

/* A text whose unit lists words and `file` takes one of the words or an absolute path. */
static bool text_allowed(const struct setting *s, const char *value)
{
	return !strchr(s->unit, '|') || *value == '/' ||
	       (fn_conf_word(value, s->unit) >= 0 && strcmp(value, "file"));
}

static bool set_value(void *field, const struct setting *s, const char *value)
{
	uint64_t n;
	int word;

	switch (s->kind) {
	case BOOL:
		return fn_conf_bool(value, field);
	case AUTO:
		if (!strcmp(value, "auto")) {
			*(uint32_t *)field = FN_CONF_AUTO;
			return true;
		}
		/* fall through */
	case UINT:
		if (!fn_conf_number(value, s->min, s->max, &n))
			return false;
		*(uint32_t *)field = (uint32_t)n;
		return true;
	case SIZE:
		return fn_conf_size(value, s->min, s->max, field);
	case ENUM:
		word = fn_conf_word(value, s->unit);
		if (word >= 0)
			*(uint32_t *)field = (uint32_t)word;
		return word >= 0;
	case TEXT:
		return text_allowed(s, value) && fn_conf_copy(field, s->max, value);
	}
	return false;
}

static void set_setting(struct fn_conf_parse *p, const struct setting *s, const char *value)
{
	if (!set_value((char *)p->c + s->offset, s, value))
		expected_setting(p, s, value);
}

void fn_conf_init(struct fn_conf *c)
{
	memset(c, 0, sizeof *c);
	for (size_t i = 0; i < fn_array_size(settings); i++) {
		const struct setting *s = &settings[i];
		char *field = (char *)c + s->offset;

		if (s->kind == TEXT)
			fn_conf_copy(field, s->max, s->def_text);
		else if (s->kind == BOOL)
			*(bool *)field = s->def;
		else if (s->kind == SIZE)
			*(uint64_t *)field = s->def;
		else
			*(uint32_t *)field = (uint32_t)s->def;
	}
}

/* ---- the file ---- */

static const struct setting *find_setting(const char *key)
{
	for (size_t i = 0; i < fn_array_size(settings); i++)
		if (!strcmp(settings[i].name, key))
			return &settings[i];
	return NULL;
}

static void fastnet_key(struct fn_conf_parse *p, const char *key, const char *value)
{
	const struct setting *s = find_setting(key);

	if (!s)
		fn_conf_error(p, "no such setting");
	else if (s->env_only)
		fn_conf_error(p, "only the environment can say this");
	else
		set_setting(p, s, value);
}

struct text {
	struct fn_conf_parse p;
	struct fn_conf_lines *lines;
	char section[64];
};

/* inih's reader: a line at a time, without the indent, in which inih would see the continuation of the line before. */
static char *ini_line(char *out, int size, void *stream)
{
	struct text *t = stream;
	char *line = fn_conf_line(t->lines, out, (size_t)size);

	t->p.line = t->lines->line;
	if (line && t->lines->too_long) {
		t->p.section = t->p.key = NULL;
		fn_conf_error(&t->p, "expected at most %d characters in a line", size - 1);
		*line = 0;
	}
	return line;
}

static int ini_value(void *user, const char *section, const char *key, const char *value)
{
	struct text *t = user;
	struct fn_conf_parse *p = &t->p;

	if (strcmp(section, t->section)) {
		fn_conf_nic_end(p);
		snprintf(t->section, sizeof t->section, "%s", section);
	}
	/* inih's own buffer will hold the next section by the time a port's end is checked */
	p->section = t->section;
	p->key = key;
	if (!strcmp(section, "fastnet"))
		fastnet_key(p, key, value);
	else if (!strncmp(section, "nic ", 4))
		fn_conf_nic_key(p, section + 4, key, value);
	else if (!strcmp(section, "rules") && !strcmp(key, "rule"))
		fn_conf_rule(p, value);
	else if (!strcmp(section, "rules"))
		fn_conf_error(p, "expected rule = …");
	else
		fn_conf_error(p, "expected this in a section [fastnet], [nic NAME] or [rules]");
	return 1;
}

static void parse_lines(struct fn_conf *c, const char *name, struct fn_conf_lines *lines, const struct fn_conf_report *rep)
{
	struct text t = { .p = { .c = c, .rep = rep, .file = name }, .lines = lines };
	int bad = ini_parse_stream(ini_line, &t, ini_value, &t);

	fn_conf_nic_end(&t.p);
	if (bad > 0) {
		t.p.line = (unsigned)bad;
		t.p.section = t.p.key = NULL;
		fn_conf_error(&t.p, "expected [SECTION], KEY = VALUE or a comment");
	}
}

void fn_conf_text(struct fn_conf *c, const char *name, const char *text, size_t len, const struct fn_conf_report *rep)
{
	struct fn_conf_lines l;

	fn_conf_memory(&l, text, len);
	parse_lines(c, name, &l, rep);
}

/* must: the file was asked for by name. */
static void read_file(struct fn_conf *c, const char *path, bool must, const struct fn_conf_report *rep)
{
	struct fn_conf_parse p = { .c = c, .rep = rep, .var = "FASTNET_CONF" };
	struct fn_conf_lines l;
	int err = fn_conf_open(&l, path);

	if (err == -ENOENT && !must)
		return;
	if (!err) {
		fn_conf_copy(c->file, sizeof c->file, path);
		parse_lines(c, c->file, &l, rep);
		err = l.err;	/* a directory can be opened */
		fn_conf_close(&l);
	}
	if (err) {
		p.file = must ? NULL : path;
		fn_conf_error(&p, "cannot read %s: %s", path, strerrordesc_np(-err));
	}
}

/* ---- the environment ---- */

/* The part behind FASTNET_ in lower case, the value in *value; false for another variable. */
static bool env_key(const char *var, char *key, size_t size, const char **value)
{
	size_t n = 0;

	if (strncmp(var, "FASTNET_", 8))
		return false;
	for (var += 8; *var && *var != '='; var++)
		if (n + 1 < size)
			key[n++] = (char)tolower((unsigned char)*var);
	key[n] = 0;
	*value = var + 1;
	return *var == '=';
}

static const char *find_env(char *const envp[], const char *want)
{
	char key[64];
	const char *value;

	for (; envp && *envp; envp++)
		if (env_key(*envp, key, sizeof key, &value) && !strcmp(key, want))
			return value;
	return NULL;
}

static void env_value(struct fn_conf_parse *p, const char *key, const char *value)
{
	const struct setting *s = find_setting(key);

	if (!strcmp(key, "nic"))
		fn_conf_nic_env(p, value);
	else if (!strcmp(key, "rules"))
		fn_conf_rules_env(p, value);
	else if (s)
		set_setting(p, s, value);
	else
		/* the name may be somebody else's: a script's, a test's */
		remark(p, "no such setting; ignored");
}

void fn_conf_env(struct fn_conf *c, char *const envp[], const struct fn_conf_report *rep)
{
	char key[64], var[80];
	const char *value;

	for (; envp && *envp; envp++) {
		struct fn_conf_parse p = { .c = c, .rep = rep, .var = var };

		if (!env_key(*envp, key, sizeof key, &value))
			continue;
		snprintf(var, sizeof var, "%.*s", (int)(strcspn(*envp, "=")), *envp);
		env_value(&p, key, value);
	}
}

unsigned fn_conf_load(struct fn_conf *c, char *const envp[], bool secure, const struct fn_conf_report *rep)
{
	int saved = errno;
	const char *path = secure ? NULL : find_env(envp, "conf");
	bool named = path && *path;

	fn_conf_init(c);
	read_file(c, named ? path : FN_CONF_DEFAULT, named, rep);
	if (!secure)
		fn_conf_env(c, envp, rep);
	errno = saved;
	return c->errors;
}
