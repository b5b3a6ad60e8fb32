/* SPDX-License-Identifier: BSD-3-Clause */
/* Prints the settings of conf.def as mdoc(7) items, for fastnet.conf(5). Runs at build time only. */
#include <ctype.h>
#include <stdio.h>
#include <string.h>

#include "shim/conf.h"

enum kind { BOOL, UINT, AUTO, SIZE, ENUM, TEXT };

struct doc {
	enum kind kind;
	const char *name, *unit, *help;
	unsigned long long def, min, max;
	const char *text;
	bool env_only;
};

#define DEF_BOOL(d)	.def = d
#define DEF_UINT(d)	.def = d
#define DEF_AUTO(d)	.def = d
#define DEF_SIZE(d)	.def = d
#define DEF_ENUM(d)	.def = d
#define DEF_TEXT(d)	.text = d

static const struct doc docs[] = {
#define DOC(k, n, d, lo, hi, u, h, env) \
	{ .kind = k, .name = #n, .unit = u, .help = h, DEF_##k(d), .min = lo, .max = hi, .env_only = env },
#define FN_CONF(k, n, d, lo, hi, u, h)		DOC(k, n, d, lo, hi, u, h, false)
#define FN_CONF_ENV(k, n, d, lo, hi, u, h)	DOC(k, n, d, lo, hi, u, h, true)
#include "shim/conf.def"
};

/* Number i of "a|b|c". */
static void print_word(const char *words, unsigned long long i)
{
	for (; i; i--)
		words = strchr(words, '|') + 1;
	printf("%.*s", (int)strcspn(words, "|"), words);
}

static void print_item(const struct doc *d)
{
	printf(".It ");
	if (!d->env_only)
		printf("Cm %s , ", d->name);
	printf("Ev FASTNET_");
	for (const char *s = d->name; *s; s++)
		putchar(toupper((unsigned char)*s));
	putchar('\n');
}

/* Lines of at most 78 bytes, and a new one for each sentence, as mdoc wants it. */
static void print_help(const char *help)
{
	size_t column = 0;

	while (*help) {
		size_t len = strcspn(help, " ");

		if (column && column + 1 + len > 78) {
			putchar('\n');
			column = 0;
		}
		column += (size_t)printf("%s%.*s", column ? " " : "", (int)len, help);
		if (help[len - 1] == '.') {
			putchar('\n');
			column = 0;
		}
		help += len;
		help += strspn(help, " ");
	}
}

static void print_range(const struct doc *d)
{
	const char *unit = strcmp(d->unit, "number") ? d->unit : "";

	switch (d->kind) {
	case BOOL:
		printf("Yes or no; default: %s.\n", d->def ? "yes" : "no");
		break;
	case UINT:
	case SIZE:
		printf("%llu to %llu%s%s; default: %llu.\n", d->min, d->max, *unit ? " " : "", unit, d->def);
		break;
	case AUTO:
		printf("auto, or %llu to %llu %s; default: auto.\n", d->min, d->max, d->unit);
		break;
	case ENUM:
		printf("One of %s; default: ", d->unit);
		print_word(d->unit, d->def);
		puts(".");
		break;
	case TEXT:
		printf("%s%s; default: %s.\n", strchr(d->unit, '|') ? "One of " : "Text: ", d->unit,
		       *d->text ? d->text : "none");
		break;
	}
}

int main(void)
{
	puts(".Bl -tag -width Ds");
	for (size_t i = 0; i < fn_array_size(docs); i++) {
		print_item(&docs[i]);
		print_help(docs[i].help);
		print_range(&docs[i]);
	}
	puts(".El");
	return ferror(stdout);
}
