/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * A packet script as it is read: a list of timed events, each a packet, a call or a check. The syntax is packetdrill's;
 * README beside this folder says what differs. Here are the tree and its readers; nothing here runs anything.
 */
#ifndef PKT_SCRIPT_H
#define PKT_SCRIPT_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#define PKT_USEC 1000ll

struct pos {
	int line, col;
};

/* ---- expressions: arguments of calls, results, checks ---- */
enum expr_kind {
	EX_INT,		/* .value */
	EX_ANY,		/* ... */
	EX_STR,		/* .name is the text */
	EX_INFO,	/* a tcp_info field: .value is its number (info.c) */
	EX_LIST,	/* [a, b]: .kid, linked by .next */
	EX_STRUCT,	/* {a=1, b=2} or {1, 2}: .kid, each with its .name or NULL */
	EX_OP,		/* .value is an enum expr_op; .kid and .kid->next */
};

enum expr_op { OP_OR, OP_AND, OP_EQ, OP_NE, OP_LE, OP_GE, OP_LT, OP_GT, OP_BITOR, OP_ADD, OP_SUB, OP_MUL, OP_DIV, OP_NOT,
	OP_NEG };

struct expr {
	enum expr_kind kind;
	struct pos pos;
	int64_t value;
	const char *name;
	struct expr *kid, *next;
};

/* ---- packets ---- */
enum proto { PROTO_TCP, PROTO_UDP, PROTO_ICMP };

#define OPTS_MAX 16
#define SACKS_MAX 4
struct tcpopt {
	uint8_t kind;
	uint32_t a, b;			/* mss, wscale; TS val, ecr */
	int sacks;
	struct { uint32_t left, right; } sack[SACKS_MAX];
};

/* One packet, of a script (script's numbers) or of the wire (the wire's numbers). */
struct packet {
	bool out;			/* sent by the stack: '>' */
	enum proto proto;
	uint16_t lport, rport;		/* host order; 0: not said */
	int ecn, ttl, tos;		/* -1: not said */
	/* TCP; UDP has len alone */
	uint8_t flags;
	uint32_t seq, len, ack, win, urg;
	bool has_ack, has_win, has_urg;
	bool any_opts;			/* <...> */
	int opts;
	struct tcpopt opt[OPTS_MAX];
	const uint8_t *payload;		/* decoded packets */
	/* ICMP: what it quotes (TCP: seq and len, UDP: len) */
	uint8_t type, code;
	uint32_t mtu;
	bool has_quote;
	enum proto quote_proto;
};

/* ---- events ---- */
enum when { WHEN_ABS, WHEN_REL, WHEN_ANY };
enum event_kind { EV_PACKET, EV_CALL, EV_CODE };

struct call {
	const char *name;
	struct pos name_pos;
	struct expr *args;		/* linked by .next */
	int nargs;
	struct expr *result;		/* EX_INT or EX_ANY */
	int err;			/* errno, 0: none said */
};

struct event {
	enum event_kind kind;
	struct pos pos;
	enum when when;
	int64_t from, to;		/* ns; equal unless it is a range */
	int64_t end;			/* ns: when a blocking call returns; -1: it does not block */
	union {
		struct packet packet;
		struct call call;
		struct expr *code;	/* checks, linked by .next */
	};
	struct event *next;
};

struct option {
	struct pos pos;
	const char *name, *value;
	struct option *next;
};

struct script {
	const char *path;
	char *text;
	struct option *options;
	struct event *events;
	void *blocks;			/* everything allocated for the tree */
	char error[512];		/* "path:line:col: …" when reading failed */
};

/* Reads and parses; false: s->error says where and what was expected. script_free() in either case. */
bool script_read(struct script *s, const char *path);
void script_free(struct script *s);
/* Zeroed memory that lives as long as s. */
void *script_alloc(struct script *s, size_t size);

/* ---- cursor (scan.c) ---- */
struct scan {
	struct script *s;
	const char *p;
	int line;
	const char *line_start;
};

struct pos scan_pos(const struct scan *c);
/* Fills s->error unless it is set already ("path:line:col: expected WHAT, found …"); returns false. */
bool scan_expected(const struct scan *c, const char *what);
bool scan_error(const struct scan *c, struct pos pos, const char *fmt, ...) __attribute__((format(printf, 3, 4)));
/* Blanks within a line; blanks, newlines and // comments. */
void scan_blank(struct scan *c);
void scan_space(struct scan *c);
/* Takes literal text if it is next (a word only whole). */
bool scan_take(struct scan *c, const char *text);
bool scan_need(struct scan *c, const char *text);
/* Decimal or 0x number. */
bool scan_number(struct scan *c, int64_t *v, const char *what);
bool scan_u32(struct scan *c, uint32_t *v, const char *what);
/* Seconds with decimals, as ns. */
bool scan_seconds(struct scan *c, int64_t *ns, const char *what);
/* [A-Za-z_][A-Za-z0-9_]*; NULL: none. */
const char *scan_word(struct scan *c);
/* "text" without escapes. */
const char *scan_string(struct scan *c);

/* ---- parts of the grammar ---- */
bool parse_expr(struct scan *c, struct expr **e);
bool parse_packet(struct scan *c, struct packet *p);

/* ---- names (names.c) ---- */
/* Value of a constant such as SO_LINGER or EAGAIN. */
bool name_value(const char *name, int64_t *v);
/* "EAGAIN", or a number in text. */
const char *name_errno(int err);
/* Number of a tcp_info field; -1: none such. Its value in a struct tcp_info. */
int info_field(const char *name);
int64_t info_value(const void *info, int field);

/* ---- printing (show.c): in the script's syntax ---- */
void show_packet(char *buf, size_t room, const struct packet *p);

#endif
