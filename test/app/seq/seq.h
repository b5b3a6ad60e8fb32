/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * Random sequences of socket calls, natively and under libfastnet.so. A script is lines of text; a line is one call by
 * one actor of the subject (threads a0 to a2, a forked child c0) or one order to the peer, a kernel program in another
 * network namespace. The subject runs a script in lock-step: after each line it waits until the network and all actors
 * are quiet, so results do not depend on time. What it prints natively and under the library must be the same.
 *
 * The driver makes scripts from seeds, feeds them to both subjects, compares, and shrinks what differs.
 */
#ifndef SEQ_H
#define SEQ_H

#include <arpa/inet.h>
#include <errno.h>
#include <fcntl.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <poll.h>
#include <semaphore.h>
#include <signal.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/ioctl.h>
#include <sys/select.h>
#include <sys/socket.h>
#include <sys/uio.h>
#include <sys/un.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#define COUNT(a)	(sizeof(a) / sizeof((a)[0]))
#define HANDLES		100	/* f0 to f99: a descriptor, or none */
#define ARGS		5
#define LINE		160	/* the longest line of a script */
#define LINES		400	/* the longest script */
#define DETAIL		1400	/* what a call has returned besides its result */

enum { A_THREADS = 3, A_CHILD = A_THREADS, ACTORS, A_PEER = ACTORS };

/* ---- script.c, names.c: text ---- */
struct op {
	int actor, verb;
	long arg[ARGS];
};
struct script {
	int count;
	char line[LINES][LINE];
};
bool op_parse(struct op *op, const char *line);
void op_format(char *line, const struct op *op);
/* Names of flags and of values; `kind` is a letter of a verb's arguments (op.def). */
const char *name_of(char kind, long value);
bool value_of(char kind, const char *text, long *value);
int names_count(char kind);
long names_value(char kind, int i);
const char *error_name(int err);
/* One line into the script; false when it is full. */
bool script_add(struct script *s, const char *format, ...) __attribute__((format(printf, 2, 3)));

/* ---- calls: what a verb does ---- */
struct result {
	long ret;
	int err;
	char detail[DETAIL];
};
struct world {
	int *fd;				/* of each handle, -1: none; one table a process */
	struct in_addr local, peer, dark;	/* dark: an address of the network that nobody has */
	int peer_port;				/* of its listener */
	int peer_udp;				/* of its datagram socket */
	int line;				/* number of the line, for the bytes that are sent */
	char *buf;				/* an actor's own: BUFFER bytes */
};
#define BUFFER	(1 << 20)
typedef void call_fn(struct world *w, const long *arg, struct result *r);
struct verb {
	const char *name;
	call_fn *run;
	const char *args;	/* letters: see op.def */
	bool net;		/* may send packets */
};
enum {
#define VERB(id, args, net)	V_##id,
#include "op.def"
#undef VERB
	VERBS
};
extern const struct verb verbs[];
#define VERB(id, args, net)	call_fn call_##id;
#include "op.def"
#undef VERB
void detail(struct result *r, const char *format, ...) __attribute__((format(printf, 2, 3)));
/* Options: the index is a value of kind 'o'. */
struct option {
	const char *name;
	int level, name_value;
};
extern const struct option options[];
int options_count(void);
/* The address that a target stands for, for that descriptor; its length. */
socklen_t target_address(const struct world *w, int fd, long target, bool binding, struct sockaddr_storage *ss);
void address_text(const struct world *w, const struct sockaddr_storage *ss, socklen_t len, struct result *r);
void mask_text(char *to, char kind, unsigned mask);
uint32_t crc32(uint32_t crc, const void *data, size_t n);

/* ---- targets of connect and sendto, values of kind 't' ---- */
enum target { T_PEER, T_CLOSED, T_DARK, T_LOOP, T_UNSPEC, T_SHORT, T_SELF, T_ANY, T_MAPPED, T_FOREIGN, T_NULL };

/* ---- actor.c: who makes the calls ---- */
void actors_start(struct world *w);
/* false: it is busy, or there is no such child. */
bool actor_issue(int actor, const struct op *op, int line);
/* Wait for the call that was issued: true when it is done, false when it is blocked. */
bool actor_await(int actor);
/* A blocked one that has finished meanwhile; looks as long as it takes to be sure that it sleeps. */
bool actor_settle(int actor);
bool actor_blocked(int actor);
const struct result *actor_result(int actor);
const struct op *actor_op(int actor);
int actor_line(int actor);
void actor_signal(int actor, int sig);
/* A blocked call is interrupted until it comes back; false: it does not. */
bool actor_interrupt(int actor);
/* After a fork: the main thread begins to watch the child. */
void actor_watch_child(void);
/* The child's end: its wait status, or -1 when it had to be killed. */
int actor_end_child(void);
/* Every handle is closed. */
void actors_forget(void);
struct world *actors_world(void);
/* In a0's fork call: makes the child actor of this process's copy. Does not return in the child. */
long actor_fork(void);
extern __thread volatile int sigpipes;

/* ---- rule.c ---- */
bool may_sleep(const struct op *op);
/* Does it send more than a buffer takes at once? */
bool is_much(const struct op *op);
bool takes_some(const struct op *op);
/* An order for the peer, of this script; and the script is over. */
void rule_order(const char *order);
void rule_forget(void);
/* Is it a call on a pipe while a splice sleeps? */
bool meets_splice(const struct op *op);
/* Does it set a handle that has a descriptor, which is closed? */
bool closes_one(const struct op *op);
/* Does it end a number that a blocked call uses? */
bool takes_away(const struct op *op);

/* ---- subject.c, peer.c ---- */
int run_subject(const char *control, struct in_addr own, struct in_addr peer, int cpu);
int run_peer(const char *control, struct in_addr own, struct in_addr subject, int cpu);
void pin(int cpu);

/* ---- gen.c, table.c: scripts ---- */
void generate(struct script *s, uint64_t seed);
int table_count(void);
void table_script(struct script *s, int i);
const char *table_name(int i);

/* ---- drive.c, shrink.c ---- */
struct trace {
	char *text;
	size_t len, room;
	bool ended;	/* the subject came to the end of the script */
};
struct subject {
	const char *command;
	pid_t pid;
	int in, out;
	bool used;	/* has run something since it was started */
};
int run_drive(int argc, char **argv);
/* Both run it; do they say the same? */
bool same(const struct script *s, struct trace *a, struct trace *b);
/* The smallest script that still differs. */
void shrink(struct script *s);

#endif
