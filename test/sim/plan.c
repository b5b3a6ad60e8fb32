/* SPDX-License-Identifier: BSD-3-Clause */
/* Draws a run from its seed: wire, stacks, programs. Does nothing yet. */
#include <string.h>

#include "sim.h"
#include "stack/wire.h"

uint64_t sim_log(struct sim_rng *r, uint64_t lo, uint64_t hi)
{
	unsigned bits = 0;
	uint64_t top;

	while (bits < 63 && (hi / (lo ? lo : 1)) >> (bits + 1))
		bits++;
	top = (lo ? lo : 1) << sim_range(r, 0, bits);
	top = sim_range(r, lo, fn_max(top * 2, lo));
	return fn_min(top, hi);
}

static int64_t choose(int64_t fixed, uint64_t drawn)
{
	return fixed >= 0 ? fixed : (int64_t)drawn;
}

static void plan_faults(struct sim *s)
{
	struct fn_pair_conf *w = &s->wire_conf;
	struct sim_rng *r = &s->rng;
	bool bad = sim_chance(r, 65);

	w->loss_ppm = (uint32_t)choose(s->opt->loss, bad && sim_chance(r, 70) ? sim_log(r, 100, 60000) : 0);
	w->dup_ppm = (uint32_t)choose(s->opt->dup, bad && sim_chance(r, 50) ? sim_log(r, 100, 50000) : 0);
	w->reorder_ppm = (uint32_t)choose(s->opt->reorder, bad && sim_chance(r, 50) ? sim_log(r, 100, 200000) : 0);
	w->corrupt_ppm = (uint32_t)choose(s->opt->corrupt, bad && sim_chance(r, 40) ? sim_log(r, 100, 20000) : 0);
	w->reorder_ns = sim_log(r, SIM_USEC, 20 * FN_MSEC);
	w->queue = sim_chance(r, 15) ? (uint32_t)sim_range(r, 16, 64) : 4096;
	s->lossy = w->loss_ppm || w->corrupt_ppm || w->queue < 4096;
}

static uint32_t plan_caps(struct sim *s)
{
	struct sim_rng *r = &s->rng;
	uint32_t caps = 0;

	if (sim_chance(r, 50))
		caps |= FN_NIC_RX_CSUM;
	if (sim_chance(r, 50))
		caps |= FN_NIC_TX_IP_CSUM | FN_NIC_TX_TCP_CSUM | FN_NIC_TX_UDP_CSUM;
	if (sim_chance(r, 25))
		caps |= FN_NIC_TX_SEGS;
	if (sim_chance(r, 25))
		caps |= FN_NIC_TX_SEGS | FN_NIC_TX_TSO | FN_NIC_TX_IP_CSUM | FN_NIC_TX_TCP_CSUM | FN_NIC_TX_UDP_CSUM;
	return caps;
}

static void plan_wire(struct sim *s)
{
	static const uint16_t mtus[] = {1500, 1500, 1500, 1500, 576, 1280, 9000, 296};
	struct fn_pair_conf *w = &s->wire_conf;
	struct sim_rng *r = &s->rng;

	*w = (struct fn_pair_conf){.seed = sim_random(r)};
	plan_faults(s);
	w->mtu = (uint32_t)choose(s->opt->mtu, mtus[sim_random(r) % fn_array_size(mtus)]);
	w->delay_ns = sim_chance(r, 10) ? 0 : sim_log(r, SIM_USEC, 100 * FN_MSEC);
	w->jitter_ns = sim_chance(r, 50) ? sim_log(r, SIM_USEC, 5 * FN_MSEC) : 0;
	w->release_ns = (uint64_t)choose(s->opt->release, sim_chance(r, 60) ? sim_log(r, SIM_USEC, 20 * FN_MSEC) : 0);
	w->caps = (uint32_t)choose(s->opt->caps, plan_caps(s));
	w->buf_payload = w->mtu + 64;
	s->starved = sim_chance(r, 5);
	w->buffers = s->starved ? (uint32_t)sim_log(r, 64, 1500) : 12000;
}

static void plan_stack(struct sim *s, unsigned side)
{
	struct fn_stack_conf *c = &s->conf[side];
	struct sim_rng *r = &s->rng;
	uint64_t word;
	unsigned i;

	fn_stack_conf_init(c);
	for (i = 0; i < sizeof(c->seed); i += 8) {
		word = sim_random(r);
		memcpy(c->seed + i, &word, 8);
	}
	c->max_tcp = 512;
	c->max_udp = 64;
	c->sndbuf = (uint32_t)sim_log(r, 4608, 256 << 10);
	c->rcvbuf = (uint32_t)sim_log(r, 4608, 256 << 10);
	c->tcp_sndbuf = c->sndbuf;
	c->tcp_rcvbuf = c->rcvbuf;
	c->sndbuf_max = fn_max(c->sndbuf, (uint32_t)sim_log(r, 16 << 10, 512 << 10));
	c->rcvbuf_max = fn_max(c->rcvbuf, (uint32_t)sim_log(r, 16 << 10, 512 << 10));
	c->time_wait_ms = (uint32_t)sim_log(r, 1000, 60000);
	c->fin_timeout_ms = 60000;
	c->rto_min_ms = sim_chance(r, 30) ? (uint32_t)sim_log(r, 5, 1000) : 200;
	c->delack_ms = (uint32_t)sim_range(r, 1, 200);
	c->cc = sim_chance(r, 50) ? FN_CC_CUBIC : FN_CC_RENO;
	c->syn_cookies = sim_chance(r, 50);
	/* A wire that loses a tenth must not end a connection that its programs mean to complete. */
	c->syn_retries = c->synack_retries = 12;
	if (sim_chance(r, 10))
		c->port_last = (uint16_t)(c->port_first + sim_range(r, 3, 63));
	/* Sockets run out: connections wait for those in TIME_WAIT to go. A cookie whose connection finds no socket is worth
	 * nothing to the FIN that comes next: that is a reset, so none here. */
	if (sim_chance(r, 5)) {
		c->syn_cookies = false;
		c->max_tcp = (uint32_t)sim_range(r, 8, 24);
		c->time_wait_ms = 1000;
	}
}

static void plan_end(struct sim *s, struct sim_flow *f, unsigned index, uint64_t size)
{
	struct sim_end *e = &f->end[index];
	struct sim_rng *r = &s->rng;

	e->app = (struct sim_app){.s = s, .due = FN_NEVER, .kind = SIM_END};
	e->flow = f;
	e->index = index;
	e->key = sim_random(r);
	e->total = sim_chance(r, 20) ? 0 : sim_log(r, 1, size);
	e->write_max = (uint32_t)sim_log(r, 1 + e->total / 400, 65536);
	e->read_max = (uint32_t)sim_log(r, 1 + size / 1000, 65536);
	e->read_pause = sim_chance(r, 30) ? (unsigned)sim_range(r, 1, 30) : 0;
	e->write_pause = sim_chance(r, 30) ? (unsigned)sim_range(r, 1, 30) : 0;
	e->pause_max = sim_log(r, 10 * SIM_USEC, sim_chance(r, 10) ? 5 * FN_NSEC : 50 * FN_MSEC);
	e->stop_at = sim_chance(r, 10) ? sim_range(r, 0, size) : UINT64_MAX;
	e->stop_for = sim_log(r, 100 * FN_MSEC, 30 * FN_NSEC);
	e->close_directly = sim_chance(r, 40);
	e->peek = sim_chance(r, 15);
	e->cork = sim_chance(r, 15);
	e->oob = sim_chance(r, 5);
	e->reserve = sim_chance(r, 15);
	e->nodelay = sim_chance(r, 40);
	e->quickack = sim_chance(r, 20);
	e->keepalive = sim_chance(r, 10);
	e->rcvlowat = sim_chance(r, 5) ? (uint32_t)sim_log(r, 2, 100000) : 0;
	e->clamp = sim_chance(r, 5) ? (uint32_t)sim_log(r, 1000, 65535) : 0;
	e->notsent = sim_chance(r, 10) ? (uint32_t)sim_log(r, 1, 100000) : 0;
	e->shut_rd = sim_chance(r, 50);
	e->sndbuf = sim_chance(r, 20) ? (uint32_t)sim_log(r, 4608, 128 << 10) : 0;
	e->rcvbuf = sim_chance(r, 20) ? (uint32_t)sim_log(r, 2304, 128 << 10) : 0;
	e->maxseg = sim_chance(r, 10) ? (uint32_t)sim_range(r, 88, 1400) : 0;
}

static enum flow_kind draw_kind(struct sim_rng *r)
{
	static const uint8_t weight[FLOW_KINDS] = {58, 6, 12, 12, 4, 8};
	unsigned i, x = (unsigned)sim_range(r, 0, 99);

	for (i = 0; x >= weight[i]; i++)
		x -= weight[i];
	return (enum flow_kind)i;
}

static void plan_flow(struct sim *s, struct sim_flow *f, uint64_t size)
{
	struct sim_rng *r = &s->rng;
	unsigned client = sim_chance(r, 50), server = sim_chance(r, 10) ? client : !client;
	unsigned quitter = sim_chance(r, 50);

	f->kind = (enum flow_kind)choose(s->opt->kind, draw_kind(r));
	if (s->conf[0].port_last - s->conf[0].port_first < 100 || s->conf[1].port_last - s->conf[1].port_first < 100)
		f->kind = f->kind == FLOW_CROSS ? FLOW_CROSS : FLOW_CLEAN;
	if (f->kind == FLOW_CROSS)
		server = !client;
	f->start = sim_chance(r, 50) ? sim_range(r, 0, 20 * SIM_USEC) : sim_range(r, 0, 300 * FN_MSEC);
	f->close_at = sim_chance(r, 25) ? f->start + sim_log(r, FN_MSEC, FN_NSEC) : 0;
	plan_end(s, f, 0, size);
	plan_end(s, f, 1, size);
	f->end[0].app.side = client;
	f->end[1].app.side = server;
	f->end[0].app.due = f->start;
	f->end[quitter].quits = f->kind == FLOW_EARLY || f->kind == FLOW_ABORT;
	f->end[quitter].quit_after = sim_range(r, 0, (f->end[0].total + f->end[1].total) * 5 / 4);
	if (f->kind == FLOW_CROSS)
		f->end[1].app.due = f->start;
	f->sport = f->kind == FLOW_CROSS ? fn_be16((uint16_t)(20000 + f->number)) :
		   f->kind == FLOW_REFUSED ? fn_be16(9) :
		   s->side[server].listener[f->kind == FLOW_CROWD].port;
}

static void plan_listeners(struct sim *s)
{
	unsigned side, i;

	for (side = 0; side < 2; side++)
		for (i = 0; i < 2; i++) {
			struct sim_listener *l = &s->side[side].listener[i];

			l->app = (struct sim_app){.s = s, .due = FN_NEVER, .kind = SIM_LISTENER, .side = side};
			l->port = fn_be16((uint16_t)(80 + i));
			/* Number 1 is the crowded one. */
			l->backlog = i ? (int)sim_range(&s->rng, 0, 3) : 128;
			l->delay = i || sim_chance(&s->rng, 20) ? sim_log(&s->rng, 10 * SIM_USEC, 2 * FN_NSEC) : 0;
		}
}

static void plan_dgrams(struct sim *s)
{
	unsigned i, side;

	s->dgrams = sim_chance(&s->rng, 50) ? (unsigned)sim_range(&s->rng, 1, SIM_DGRAMS) : 0;
	for (i = 0; i < s->dgrams; i++)
		for (side = 0; side < 2; side++) {
			struct sim_dgram *d = &s->dgram[side][i];

			d->app = (struct sim_app){.s = s, .due = 0, .kind = SIM_DGRAM, .side = side};
			d->peer = &s->dgram[!side][i];
			d->key = sim_random(&s->rng);
			d->port = fn_be16((uint16_t)(5000 + i));
			d->count = (uint32_t)sim_range(&s->rng, 0, fn_array_size(d->len));
			d->size_max = (uint32_t)sim_log(&s->rng, 8, sim_chance(&s->rng, 15) ? 65507 : 1472);
			/* Several damaged fragments can make up for each other in the checksum. */
			if (s->wire_conf.corrupt_ppm)
				d->size_max = fn_min(d->size_max, s->wire_conf.mtu - FN_IP4_LEN - FN_UDP_LEN);
			d->gap = sim_log(&s->rng, SIM_USEC, 50 * FN_MSEC);
			d->next = sim_range(&s->rng, 0, 10 * FN_MSEC);
			d->connected = sim_chance(&s->rng, 50);
		}
}

/* A wire as the fabric is, ordered and without loss: TCP does without congestion control and sends nothing again. */
static void plan_lossless(struct sim *s)
{
	struct fn_pair_conf *w = &s->wire_conf;
	unsigned i;

	if (s->lossy || w->dup_ppm || w->reorder_ppm || s->opt->caps >= 0 || !sim_chance(&s->rng, 15))
		return;
	w->caps |= FN_NIC_LOSSLESS;
	for (i = 0; i < 2; i++) {
		s->conf[i].sndbuf = s->conf[i].rcvbuf = s->conf[i].sndbuf_max = s->conf[i].rcvbuf_max = 64 << 10;
		s->conf[i].tcp_sndbuf = s->conf[i].tcp_rcvbuf = 64 << 10;
		s->conf[i].max_tcp = 512;
	}
	s->flows = fn_min(s->flows, 16u);
}

void sim_plan(struct sim *s)
{
	uint64_t size;
	unsigned i;

	plan_wire(s);
	plan_stack(s, 0);
	plan_stack(s, 1);
	plan_listeners(s);
	s->flows = (unsigned)choose(s->opt->flows, sim_log(&s->rng, 1, SIM_FLOWS));
	s->flows = fn_min(s->flows, (unsigned)SIM_FLOWS);
	plan_lossless(s);
	size = sim_chance(&s->rng, 20) ? 20000000 / s->flows : sim_log(&s->rng, 100, 8000000 / s->flows);
	for (i = 0; i < s->flows; i++) {
		s->flow[i].number = i;
		plan_flow(s, &s->flow[i], size);
	}
	plan_dgrams(s);
	s->unfinished = s->flows;
	s->lazy = sim_chance(&s->rng, 25) ? sim_log(&s->rng, 10 * SIM_USEC, 10 * FN_MSEC) : 1;
}
