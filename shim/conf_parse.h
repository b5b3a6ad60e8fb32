/* SPDX-License-Identifier: BSD-3-Clause */
/* Between the files that read the configuration (conf*.c): where a value stands, and how a wrong one is reported. */
#ifndef FN_CONF_PARSE_H
#define FN_CONF_PARSE_H

#include "shim/conf.h"

/* Where the value being read stands. */
struct fn_conf_parse {
	struct fn_conf *c;
	const struct fn_conf_report *rep;
	const char *file;		/* name in messages; NULL: from the environment */
	const char *var;		/* the environment variable */
	unsigned line;			/* of the file */
	unsigned part, column;		/* of a variable that is a list: number of the part and of the character; 0: none */
	const char *section, *key;	/* NULL: the message is about the line */
	/* the [nic] section that is being read */
	struct fn_nic_conf nic;
	unsigned nic_seen;		/* bits of the keys met; 0: no section is open */
	unsigned nic_errors;
};

/* Count an error and report "WHERE: text". */
fn_cold void fn_conf_error(struct fn_conf_parse *p, const char *fmt, ...) __attribute__((format(printf, 2, 3)));
/* … "WHERE: expected WHAT, not "VALUE"". */
fn_cold void fn_conf_expected(struct fn_conf_parse *p, const char *what, const char *value);

/* Values: false when text is none; *out untouched then. Whole text, no blanks. */
bool fn_conf_number(const char *text, uint64_t min, uint64_t max, uint64_t *out);
bool fn_conf_size(const char *text, uint64_t min, uint64_t max, uint64_t *out);	/* 65536, 64K, 4M, 1G */
bool fn_conf_bool(const char *text, bool *out);			/* yes no true false on off 1 0 */
int fn_conf_word(const char *text, const char *words);		/* number of text in "a|b|c", or -1 */
bool fn_conf_ip4(const char *text, uint32_t *ip4);		/* network order */
/* "10.0.0.0/8", "::1", …: without /PREFIX the whole address counts. */
bool fn_conf_prefix(const char *text, uint8_t addr[16], uint8_t *family, uint8_t *prefix);
bool fn_conf_mac(const char *text, uint8_t mac[6]);
/* A number, or a name from /etc/passwd (no NSS: that would open sockets inside the program). */
bool fn_conf_user(const char *text, uid_t *uid);
/* Copy text, which must be shorter than size. */
bool fn_conf_copy(char *dst, size_t size, const char *text);

/* [nic NAME]: one key; the section's end; FASTNET_NIC as a whole. */
void fn_conf_nic_key(struct fn_conf_parse *p, const char *name, const char *key, const char *value);
void fn_conf_nic_end(struct fn_conf_parse *p);
void fn_conf_nic_env(struct fn_conf_parse *p, const char *value);

/* One rule, appended to p->c->rules; FASTNET_RULES as a whole. */
void fn_conf_rule(struct fn_conf_parse *p, const char *text);
void fn_conf_rules_env(struct fn_conf_parse *p, const char *value);

/* Lines of a text in memory or of a file (raw system calls, no allocation). */
struct fn_conf_lines {
	int fd;			/* -1: memory only */
	const char *pos, *end;
	unsigned line;		/* number of the last one */
	bool too_long;		/* the last one did not fit and was cut */
	int err;		/* -errno of the read that ended it, or 0 */
	char buf[4096];
};
int fn_conf_open(struct fn_conf_lines *l, const char *path);	/* 0 or -errno */
void fn_conf_memory(struct fn_conf_lines *l, const char *text, size_t len);
/* The next line without its newline and leading blanks, cut to size; NULL at the end. */
char *fn_conf_line(struct fn_conf_lines *l, char *out, size_t size);
void fn_conf_close(struct fn_conf_lines *l);

#endif
