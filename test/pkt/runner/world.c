/* SPDX-License-Identifier: BSD-3-Clause */
/* The stack, the wire, the options and the virtual time of one script. Knows no event. */
#include <arpa/inet.h>
#include <errno.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>

#include "world.h"

#define ARENA_SIZE (64u << 20)
#define LOCAL_IP 0xc0a80001u	/* 192.168.0.1, as packetdrill */
#define REMOTE_IP 0xc0000201u	/* 192.0.2.1, behind the gateway */
#define GATEWAY_IP 0xc0a80002u
#define CLOCK_BASE (1000 * 1000000000ll)
/* A stack that finds work again and again at one moment is stuck. */
#define SETTLE_ROUNDS 100000

bool world_error(struct world *w, struct pos pos, const char *fmt, ...)
{
	va_list ap;
	int n;

	if (w->error[0])
		return false;
	n = snprintf(w->error, sizeof(w->error), "%s:%d:%d: ", w->s->path, pos.line, pos.col);
	if (n < 0 || (size_t)n >= sizeof(w->error))
		return false;
	va_start(ap, fmt);
	vsnprintf(w->error + n, sizeof(w->error) - (size_t)n, fmt, ap);
	va_end(ap);
	return false;
}

/* ---- options ---- */

struct settings {
	struct fn_stack_conf conf;
	uint32_t mtu;
	uint32_t tolerance_usecs;
};

#define SETTING(name, member, low, high) { name, offsetof(struct settings, member), \
	sizeof(((struct settings *)0)->member), low, high }
static const struct {
	const char *name;
	size_t offset, size;
	uint32_t low, high;
} settings[] = {
	SETTING("tolerance_usecs", tolerance_usecs, 0, 10000000),
	SETTING("mtu", mtu, 68, 9000),
	SETTING("max_tcp", conf.max_tcp, 1, 100000),
	SETTING("sndbuf", conf.sndbuf, 1, UINT32_MAX),
	SETTING("rcvbuf", conf.rcvbuf, 1, UINT32_MAX),
	SETTING("sndbuf_max", conf.sndbuf_max, 1, UINT32_MAX),
	SETTING("rcvbuf_max", conf.rcvbuf_max, 1, UINT32_MAX),
	SETTING("time_wait_ms", conf.time_wait_ms, 1, UINT32_MAX),
	SETTING("fin_timeout_ms", conf.fin_timeout_ms, 1, UINT32_MAX),
	SETTING("rto_min_ms", conf.rto_min_ms, 1, 10000),
	SETTING("delack_ms", conf.delack_ms, 1, 500),
	SETTING("syn_retries", conf.syn_retries, 0, 127),
	SETTING("synack_retries", conf.synack_retries, 0, 127),
	SETTING("retries2", conf.retries2, 0, 127),
	SETTING("syn_cookies", conf.syn_cookies, 0, 1),
};
#undef SETTING

static bool set_number(struct world *w, struct settings *set, const struct option *o, size_t i)
{
	char *end;
	unsigned long v = strtoul(o->value, &end, 0);
	uint8_t *at = (uint8_t *)set + settings[i].offset;
	uint32_t v4 = (uint32_t)v;

	if (end == o->value || *end || v < settings[i].low || v > settings[i].high)
		return world_error(w, o->pos, "expected --%s=%u…%u, found \"%s\"", o->name, settings[i].low,
				   settings[i].high, o->value);
	if (settings[i].size == 1)
		*at = (uint8_t)v;
	else
		memcpy(at, &v4, 4);
	return true;
}

static bool set_option(struct world *w, struct settings *set, const struct option *o)
{
	for (size_t i = 0; i < sizeof(settings) / sizeof(settings[0]); i++) {
		if (!strcmp(settings[i].name, o->name))
			return set_number(w, set, o, i);
	}
	if (!strcmp(o->name, "cc") && (!strcmp(o->value, "cubic") || !strcmp(o->value, "reno"))) {
		set->conf.cc = o->value[0] == 'c' ? FN_CC_CUBIC : FN_CC_RENO;
		return true;
	}
	if (!strcmp(o->name, "cc"))
		return world_error(w, o->pos, "expected --cc=cubic or --cc=reno, found \"%s\"", o->value);
	return world_error(w, o->pos, "expected an option of the runner (see README), found \"--%s\"", o->name);
}

/* ---- life ---- */

static void on_ready(void *ctx, struct fn_sock *sk, unsigned events)
{
	/* a waiting call is tried again after every step of the stack: nothing to note */
	(void)ctx;
	(void)sk;
	(void)events;
}

static int no_growth(void *ctx, size_t size)
{
	(void)ctx;
	(void)size;
	return -ENOMEM;
}

static bool make_stack(struct world *w, const struct settings *set, bool tso)
{
	static const struct fn_stack_ops ops = { .ready = on_ready };
	struct fn_pair_conf pc = { .mtu = set->mtu };
	struct fn_arena *arena;
	struct fn_nic *nic;

	w->mem = mmap(NULL, ARENA_SIZE, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
	if (w->mem == MAP_FAILED) {
		w->mem = NULL;
		return false;
	}
	if (tso)
		pc.caps = FN_NIC_TX_TSO | FN_NIC_TX_SEGS | FN_NIC_TX_IP_CSUM | FN_NIC_TX_TCP_CSUM | FN_NIC_TX_UDP_CSUM;
	w->wire = fn_pair_create(&pc);
	arena = fn_arena_init(w->mem, ARENA_SIZE, ARENA_SIZE, no_growth, NULL);
	if (!w->wire || !arena)
		return false;
	w->st = fn_stack_create(arena, &set->conf, &ops, w, (uint64_t)w->base);
	if (!w->st)
		return false;
	nic = fn_pair_nic(w->wire, 0);
	nic->ip4 = w->link.our_ip;
	nic->ip4_mask = htonl(0xffffff00);
	nic->ip4_gw = htonl(GATEWAY_IP);
	memcpy(w->link.our_mac, nic->mac, 6);
	memcpy(w->link.their_mac, fn_pair_nic(w->wire, 1)->mac, 6);
	fn_pair_set_time(w->wire, (uint64_t)w->base);
	return fn_stack_add_nic(w->st, nic) == 0;
}

bool world_open(struct world *w, const struct script *s, bool tso)
{
	struct settings set = { .mtu = 1500, .tolerance_usecs = 2500 };

	memset(w, 0, sizeof(*w));
	w->s = s;
	w->sent_tail = &w->sent;
	w->base = CLOCK_BASE;
	w->last_fd = -1;
	w->conns.lport = CONN_LOCAL_PORT;
	w->link.our_ip = htonl(LOCAL_IP);
	w->link.their_ip = htonl(REMOTE_IP);
	fn_stack_conf_init(&set.conf);
	memset(set.conf.seed, 0x5a, sizeof(set.conf.seed));
	for (const struct option *o = s->options; o; o = o->next) {
		if (!set_option(w, &set, o))
			return false;
	}
	w->tolerance = set.tolerance_usecs * PKT_USEC;
	if (!make_stack(w, &set, tso))
		return world_error(w, (struct pos){ 1, 1 }, "the stack cannot be made");
	world_settle(w);
	return true;
}

static void drop_sent(struct world *w)
{
	struct sent *p;

	while ((p = world_take(w)) != NULL)
		free(p);
}

/* Every object and buffer must come back once the sockets are closed and every timer has run out. */
static bool find_leaks(struct world *w)
{
	unsigned held, buffers;

	for (int i = 0; i < FDS_MAX; i++) {
		if (!w->file[i].used)
			continue;
		if (w->file[i].tcp)
			fn_sock_setopt(w->file[i].sk, FN_OPT_LINGER, 0);
		fn_sock_close(w->file[i].sk);
		w->file[i].used = false;
	}
	world_settle(w);
	drop_sent(w);
	/* orphans give up after at most retries2 timeouts, 924 s with Linux's default */
	for (int i = 0; i < 40 && w->st->tcp_pool.used; i++) {
		world_advance(w, w->now + 100 * 1000000000ll, false);
		drop_sent(w);
	}
	world_settle(w);
	drop_sent(w);
	held = w->st->tcp_pool.used + w->st->udp_pool.used;
	buffers = fn_pair_outstanding(w->wire, 0);
	if (!held && !buffers)
		return true;
	return world_error(w, (struct pos){ 1, 1 }, "after the script: %u sockets and %u packet buffers were not given back",
			   held, buffers);
}

bool world_close(struct world *w)
{
	bool clean = true;

	if (w->st && !w->error[0])
		clean = find_leaks(w);
	drop_sent(w);
	if (w->wire)
		fn_pair_destroy(w->wire);
	if (w->mem)
		munmap(w->mem, ARENA_SIZE);
	return clean;
}

/* ---- time ---- */

void world_inject(struct world *w, const uint8_t *frame, size_t len)
{
	fn_pair_inject(w->wire, 0, frame, len);
}

struct sent *world_take(struct world *w)
{
	struct sent *p = w->sent;

	if (!p)
		return NULL;
	w->sent = p->next;
	if (!w->sent)
		w->sent_tail = &w->sent;
	return p;
}

/* Take what the stack has sent: ARP is answered here, the rest waits for the script. True: something went in. */
static bool sniff(struct world *w)
{
	static uint8_t frame[FRAME_MAX];
	uint8_t reply[64];
	size_t len, reply_len;
	bool injected = false;

	while ((len = fn_pair_sniff(w->wire, 0, frame, sizeof(frame))) != 0) {
		struct sent *p;

		if (frame_is_arp(frame, len)) {
			if (frame_answer_arp(frame, len, &w->link, reply, &reply_len)) {
				world_inject(w, reply, reply_len);
				injected = true;
			}
			continue;
		}
		p = malloc(sizeof(*p) + len);
		if (!p)
			abort();
		p->next = NULL;
		p->time = w->now;
		p->len = len;
		memcpy(p->frame, frame, len);
		*w->sent_tail = p;
		w->sent_tail = &p->next;
	}
	return injected;
}

void world_settle(struct world *w)
{
	uint64_t now = (uint64_t)(w->base + w->now);

	for (int i = 0; i < SETTLE_ROUNDS; i++) {
		unsigned work = fn_stack_poll(w->st, now);
		bool injected;

		fn_stack_flush(w->st);
		injected = sniff(w);
		if (!work && !injected)
			return;
	}
	world_error(w, (struct pos){ 1, 1 }, "at %.6f s the stack does not come to rest", (double)w->now / 1e9);
}

/* The next moment, after now and not after t, at which something may happen. */
static int64_t next_moment(struct world *w, int64_t t)
{
	uint64_t now = (uint64_t)(w->base + w->now), at = (uint64_t)(w->base + t);
	uint64_t due = fn_stack_deadline(w->st), wire = fn_pair_next(w->wire);

	/* a deadline that has passed already was a hint: look again a little later */
	if (due <= now)
		due = now + 10 * PKT_USEC;
	if (wire > now && wire < due)
		due = wire;
	/* a call that is to time out: no packet and no timer of the stack will say so */
	if (w->pending.ev && w->pending.end > w->now && (uint64_t)(w->base + w->pending.end) < due)
		due = (uint64_t)(w->base + w->pending.end);
	return due < at ? (int64_t)due - w->base : t;
}

void world_advance(struct world *w, int64_t t, bool stop_at_packet)
{
	world_settle(w);
	while (w->now < t && !w->error[0] && !(stop_at_packet && w->sent)) {
		if (!call_retry(w))
			return;
		w->now = next_moment(w, t);
		fn_pair_set_time(w->wire, (uint64_t)(w->base + w->now));
		world_settle(w);
	}
	call_retry(w);
}
