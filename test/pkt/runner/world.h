/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * What a script runs in: one stack at one end of a test wire, the script at the other, file descriptors, and the virtual
 * time that moves only when an event of the script needs it to.
 */
#ifndef PKT_WORLD_H
#define PKT_WORLD_H

#include "conn.h"
#include "stack/nic_pair.h"
#include "stack/stack.h"

#define FDS_MAX 128
#define FD_FIRST 3

/* One frame that the stack has sent and no line of the script has expected yet. */
struct sent {
	struct sent *next;
	int64_t time;
	size_t len;
	uint8_t frame[];
};

struct file {
	bool used;
	struct fn_sock *sk;
	bool tcp, nonblock;
	uint32_t wr_off, rd_off;	/* bytes written to and read from it: where the pattern goes on */
	int linger;			/* SO_LINGER's seconds; -1: off */
};

/* A call that waits, "+0...0.2 read(…)". */
struct pending {
	const struct event *ev;		/* NULL: none */
	int64_t start, end;		/* when it was called, when it must return */
	size_t done;			/* bytes moved so far */
	bool started;
};

struct world {
	const struct script *s;
	struct fn_stack *st;
	struct fn_pair *wire;
	void *mem;			/* the arena */
	struct link link;
	struct conns conns;
	struct file file[FDS_MAX];
	int last_fd;			/* of the last connect or accept: whom %{ }% asks */
	bool urgent;			/* urgent data came in: reads do not follow the pattern any more */
	int64_t base;			/* the stack's clock at the script's time 0 */
	int64_t now;			/* the script's time, ns */
	int64_t last;			/* when the last event happened: relative times count from here */
	int64_t tolerance;
	struct sent *sent, **sent_tail;
	struct pending pending;
	char error[2048];		/* the first thing that went wrong */
};

/* Everything at time 0 with the script's --options. False: w->error says why. */
bool world_open(struct world *w, const struct script *s, bool tso);
/* Closes what the script left open, waits until the stack has let go of it, and finds leaks (true: none). */
bool world_close(struct world *w);

/* Notes an error at pos ("path:line:col: …"), the first one only; returns false. */
bool world_error(struct world *w, struct pos pos, const char *fmt, ...) __attribute__((format(printf, 3, 4)));

/* Let the stack work at the present time until it has nothing to do; sniffs what it sends. */
void world_settle(struct world *w);
/* Move time on to t; with stop_at_packet only until the stack has sent something. */
void world_advance(struct world *w, int64_t t, bool stop_at_packet);
/* Put a frame on the wire towards the stack. */
void world_inject(struct world *w, const uint8_t *frame, size_t len);
/* Take the oldest frame the stack has sent; the caller frees it. NULL: none. */
struct sent *world_take(struct world *w);

/* ---- calls (call.c, sockopt.c) ---- */
/* Is it a call that there is, with enough arguments? False: w->error. */
bool call_known(struct world *w, const struct call *call);
/* Run ev, or begin it if it may block. False: w->error. */
bool call_start(struct world *w, const struct event *ev);
/* After anything has happened: let a waiting call go on. */
bool call_retry(struct world *w);
/* Time has come to the end of a waiting call: it must return now. */
bool call_finish(struct world *w);

/* An argument that must be a number, of call argument i. */
bool arg_int(struct world *w, const struct call *call, int i, int64_t *v);
const struct expr *arg_at(const struct call *call, int i);
struct file *arg_file(struct world *w, const struct call *call, int i);
/* -E*, or the result; *ok false: w->error is set. */
int64_t call_setsockopt(struct world *w, const struct call *call, bool *ok);
int64_t call_getsockopt(struct world *w, const struct call *call, bool *ok);

/* ---- checks (check.c) ---- */
bool check_run(struct world *w, const struct event *ev);

/* ---- the script (run.c) ---- */
/* False: w->error. */
bool run_script(struct world *w);

#endif
