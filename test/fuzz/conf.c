/* SPDX-License-Identifier: BSD-3-Clause */
/* The configuration: a file's text, or, when the input begins with '$', an environment, one variable a line. */
#include <stdlib.h>
#include <string.h>

#include "shim/conf.h"
#include "shim/policy.h"

#define VARS_MAX	32

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

/* A message is one line. */
static void check_message(void *ctx, const char *text)
{
	if (!*text || strchr(text, '\n'))
		abort();
	++*(unsigned *)ctx;
}

static void environment(struct fn_conf *c, const char *text, const struct fn_conf_report *rep)
{
	char *copy = strdup(text), *envp[VARS_MAX + 1], *save = NULL;
	unsigned n = 0;

	if (!copy)
		return;
	for (char *line = strtok_r(copy, "\n", &save); line && n < VARS_MAX; line = strtok_r(NULL, "\n", &save))
		envp[n++] = line;
	envp[n] = NULL;
	fn_conf_env(c, envp, rep);
	free(copy);
}

static void check(const struct fn_conf *c, unsigned told)
{
	unsigned i;

	/* remarks are told as well, and are no errors */
	if (c->errors > told || c->nnics > FN_CONF_NICS || c->nrules > FN_CONF_RULES)
		abort();
	for (i = 0; i < c->nrules; i++)
		if (c->rules[i].port_first > c->rules[i].port_last || c->rules[i].prefix > 128)
			abort();
	for (i = 0; i < c->nnics; i++)
		if (!memchr(c->nics[i].name, 0, sizeof(c->nics[i].name)))
			abort();
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	static struct fn_conf c;
	unsigned told = 0;
	struct fn_conf_report rep = {check_message, &told};
	char *text = malloc(size + 1);

	if (!text)
		return 0;
	memcpy(text, data, size);
	text[size] = 0;
	fn_conf_init(&c);
	if (size && text[0] == '$')
		environment(&c, text + 1, &rep);
	else
		fn_conf_text(&c, "fuzz", text, size, &rep);
	check(&c, told);
	free(text);
	return 0;
}
