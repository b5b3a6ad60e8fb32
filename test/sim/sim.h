/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * The simulator: two stacks, a bad wire between them, and programs that do at random what programs do. Everything, time
 * included, comes from one seed. The parts: plan.c draws a run, world.c drives it and judges its end, flow.c and dgram.c
 * are the programs, trace.c writes the wire down, sim.c is the command.
 */
#ifndef SIM_H
#define SIM_H

#include <setjmp.h>

#include "stack/nic_pair.h"
#include "stack/stack.h"

#define SIM_FLOWS	48
#define SIM_LISTENERS	4
#define SIM_DGRAMS	4
#define SIM_USEC	1000ull
#define SIM_ARENA	(64ull << 20)

/* ---- random numbers (SplitMix64) ---- */
struct sim_rng {
	uint64_t s;
};

fn_inline uint64_t sim_mix(uint64_t z)
{
	z = (z ^ (z >> 30)) * 0xbf58476d1ce4e5b9ull;
	z = (z ^ (z >> 27)) * 0x94d049bb133111ebull;
	return z ^ (z >> 31);
}

fn_inline uint64_t sim_random(struct sim_rng *r)
{
	return sim_mix(r->s += 0x9e3779b97f4a7c15ull);
}

/* lo … hi, both included. */
fn_inline uint64_t sim_range(struct sim_rng *r, uint64_t lo, uint64_t hi)
{
	return lo + sim_random(r) % (hi - lo + 1);
}

fn_inline bool sim_chance(struct sim_rng *r, unsigned percent)
{
	return sim_random(r) % 100 < percent;
}

/* lo … hi, each order of magnitude as likely as the next. */
uint64_t sim_log(struct sim_rng *r, uint64_t lo, uint64_t hi);

/* Byte streams that can be made and checked from any offset on. check returns the first wrong offset, or off + len. */
void sim_stream_fill(uint64_t key, uint64_t off, uint8_t *buf, size_t len);
uint64_t sim_stream_check(uint64_t key, uint64_t off, const uint8_t *buf, size_t len);

/* ---- what the command line fixes; -1: drawn ---- */
struct sim_options {
	int64_t loss, dup, reorder, corrupt, mtu, flows, caps, release, kind;
	bool trace;
};

/* ---- programs ---- */
enum sim_kind {
	SIM_END,
	SIM_LISTENER,
	SIM_DGRAM,
};

/* What is stored in fn_sock.user: something that runs when its socket is ready or its time has come. */
struct sim_app {
	struct sim *s;
	struct sim_app *next_ready;
	uint64_t due;			/* wants to run then; FN_NEVER */
	unsigned side;
	unsigned events;		/* what ready() told since the last run */
	enum sim_kind kind;
	bool ready;
};

enum flow_kind {
	FLOW_CLEAN,	/* both directions in full, orderly end */
	FLOW_CROSS,	/* the same, opened from both sides at once */
	FLOW_EARLY,	/* one side closes before it has read everything */
	FLOW_ABORT,	/* one side resets: SO_LINGER 0 */
	FLOW_REFUSED,	/* nobody listens there */
	FLOW_CROWD,	/* a listener with next to no backlog: may be refused any way TCP has */
	FLOW_KINDS
};

enum end_phase {
	END_IDLE,
	END_CONNECTING,
	END_OPEN,
	END_DONE,
};

/* One end of a connection: what its program means to do, and how far it is. */
struct sim_end {
	struct sim_app app;
	struct sim_flow *flow;
	struct fn_sock *sk;
	enum end_phase phase;
	unsigned index;			/* 0: the one that connects */
	uint64_t key;			/* of the stream that it sends */
	uint64_t total, sent, rcvd;
	uint64_t fin_at;		/* bytes before its FIN, once .wr_done */
	uint64_t quit_after;		/* EARLY, ABORT: closes when sent + rcvd reach it */
	uint32_t write_max, read_max;
	unsigned read_pause, write_pause;	/* percent of calls after which it thinks */
	uint64_t pause_max;
	uint64_t read_at, write_at;	/* thinks until then */
	uint64_t stop_at, stop_for;	/* stops reading at that byte, once, so long that windows close */
	bool quits;			/* it is the one that ends EARLY or ABORT */
	bool close_directly;		/* close() instead of shutdown() and waiting for EOF */
	bool oob, peek, cork, reserve;
	bool wr_done, eof, failed, aborted;
	int error;
	uint32_t sndbuf, rcvbuf, maxseg;	/* 0: default */
	uint32_t rcvlowat, clamp, notsent;	/* 0: not set */
	bool nodelay, quickack, keepalive;
	bool shut_rd;			/* quits (EARLY) by SHUT_RD first */
};

struct sim_flow {
	struct sim_end end[2];
	enum flow_kind kind;
	unsigned number;
	uint64_t start, close_at, give_up;
	uint16_t cport, sport;		/* network order, cport once known */
	unsigned tries;
	bool accepted;
};

struct sim_listener {
	struct sim_app app;
	struct fn_sock *sk;
	uint16_t port;
	int backlog;
	uint64_t delay;			/* between readiness and accept */
	uint64_t accept_at;
};

struct sim_dgram {
	struct sim_app app;
	struct fn_sock *sk;
	struct sim_dgram *peer;
	uint64_t key;
	uint16_t port;
	uint32_t count, sent, got, size_max;
	uint64_t gap;
	uint64_t next;
	bool connected;
	uint16_t len[64];
	uint8_t seen[64];
};

/* ---- a run ---- */
struct sim_side {
	struct fn_arena *arena;
	struct fn_stack *st;
	struct fn_nic *nic;
	struct sim_app *ready, **ready_tail;
	struct sim_listener listener[SIM_LISTENERS];
	uint8_t *mem;
};

struct sim {
	uint64_t seed, now;
	struct sim_rng rng;
	const struct sim_options *opt;
	struct fn_pair_conf wire_conf;
	struct fn_stack_conf conf[2];
	struct fn_pair *wire;
	struct sim_side side[2];
	struct sim_flow flow[SIM_FLOWS];
	struct sim_dgram dgram[2][SIM_DGRAMS];
	unsigned flows, listeners, dgrams;
	unsigned unfinished;		/* flows with an end that is not DONE */
	uint64_t progress;		/* when something last moved */
	uint64_t wire_hash, frames;
	uint64_t bytes;			/* delivered */
	uint64_t lazy;			/* ns; the programs are busy elsewhere up to that long between two looks */
	bool starved;			/* too few packet buffers: connections may die of it, but nothing else may */
	bool lossy;			/* the wire may lose or damage */
	bool closing;
	jmp_buf fail;
	char why[512];
};

/* Ends the run as failed. */
void sim_fail(struct sim *s, const char *fmt, ...) __attribute__((noreturn, format(printf, 2, 3)));
#define sim_check(s, cond, ...)	do { if (!(cond)) sim_fail(s, __VA_ARGS__); } while (0)

/* plan.c */
void sim_plan(struct sim *s);

/* world.c. mem: two arenas' memory, zeroed. sim_run returns true when everything was as it must be; sim_free afterwards. */
bool sim_run(struct sim *s, uint64_t seed, const struct sim_options *opt, uint8_t *mem[2]);
void sim_free(struct sim *s);
uint32_t sim_ip(unsigned side);
void sim_note(struct sim *s, const struct sim_app *app, const char *fmt, ...) __attribute__((format(printf, 3, 4)));

/* flow.c */
void sim_end_run(struct sim_end *e);
void sim_listener_open(struct sim_listener *l);
void sim_listener_run(struct sim_listener *l);
void sim_end_describe(const struct sim_end *e, char *buf, size_t size);

/* dgram.c */
void sim_dgram_open(struct sim_dgram *d);
void sim_dgram_run(struct sim_dgram *d);
bool sim_dgram_done(const struct sim_dgram *d);
void sim_dgram_judge(struct sim_dgram *d);

/* trace.c */
void sim_trace_frame(uint64_t now, unsigned from, const uint8_t *frame, size_t len);

#endif
