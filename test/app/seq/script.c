/* SPDX-License-Identifier: BSD-3-Clause */
/* Lines of a script: text to operations and back. Orders to the peer stay text; the peer reads them. */
#include <stdarg.h>

#include "seq.h"

const struct verb verbs[] = {
#define VERB(id, args, net)	{ #id, call_##id, args, net },
#include "op.def"
#undef VERB
};

static int verb_of(const char *text)
{
	for (int i = 0; i < VERBS; i++)
		if (!strcmp(verbs[i].name, text))
			return i;
	return -1;
}

bool op_parse(struct op *op, const char *line)
{
	char copy[LINE], *rest = copy, *word;
	long actor;

	snprintf(copy, sizeof(copy), "%s", line);
	*op = (struct op){ 0 };
	word = strsep(&rest, " ");
	if (!value_of('a', word, &actor))
		return false;
	op->actor = (int)actor;
	if (actor == A_PEER)
		return rest;
	word = strsep(&rest, " ");
	op->verb = word ? verb_of(word) : -1;
	if (op->verb < 0)
		return false;
	for (int i = 0; verbs[op->verb].args[i]; i++) {
		word = strsep(&rest, " ");
		if (!word || !value_of(verbs[op->verb].args[i], word, &op->arg[i]))
			return false;
	}
	return !rest;
}

void op_format(char *line, const struct op *op)
{
	const struct verb *v = &verbs[op->verb];
	int n = snprintf(line, LINE, "%s %s", name_of('a', op->actor), v->name);

	for (int i = 0; v->args[i]; i++)
		n += snprintf(line + n, (size_t)(LINE - n), " %s", name_of(v->args[i], op->arg[i]));
}

bool script_add(struct script *s, const char *format, ...)
{
	va_list args;

	if (s->count == LINES)
		return false;
	va_start(args, format);
	vsnprintf(s->line[s->count++], LINE, format, args);
	va_end(args);
	return true;
}
