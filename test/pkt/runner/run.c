/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * Runs a script's events in order. A packet that the stack sends and no line expects is an error, at the latest when the
 * script moves on in time: silence is checked as well.
 */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "stack/wire.h"
#include "world.h"

/* "*" waits as long as that for a packet */
#define ANY_TIME (200000 * 1000000000ll)

static void show_sent(struct world *w, const struct sent *p, char *buf, size_t room)
{
	struct packet got;
	const char *bad = frame_decode(p->frame, p->len, &w->link, &got);
	struct conn *c;
	char diff[256];

	if (bad) {
		snprintf(buf, room, "%s", bad);
		return;
	}
	c = conn_get(&w->conns, got.rport, 0);
	if (c) {
		struct packet self = got;

		self.flags &= (uint8_t)~FN_TCP_SYN;	/* shown, not learned from */
		conn_match(c, &self, &got, 0, diff, sizeof(diff));
	}
	show_packet(buf, room, &got);
}

/* The oldest packet nobody expects was sent before t: the script is silent where the stack is not. */
static bool no_packet_before(struct world *w, struct pos pos, int64_t t)
{
	char text[512];

	if (!w->sent || w->sent->time >= t)
		return true;
	show_sent(w, w->sent, text, sizeof(text));
	return world_error(w, pos, "a packet that no line expects before this one\n    actual    %.6f %s",
			   (double)w->sent->time / 1e9, text);
}

static bool wait_until(struct world *w, const struct event *ev, int64_t t)
{
	if (w->pending.ev && t > w->pending.end + w->tolerance) {
		world_advance(w, w->pending.end + w->tolerance, false);
		if (!w->error[0])
			call_finish(w);
	}
	if (!w->error[0])
		world_advance(w, t, false);
	return !w->error[0] && no_packet_before(w, ev->pos, t - w->tolerance);
}

static bool run_inbound(struct world *w, const struct event *ev)
{
	static uint8_t frame[FRAME_MAX + 256], payload[FRAME_MAX];
	const struct packet *p = &ev->packet;
	struct conn *c = conn_get(&w->conns, p->rport, CONN_REMOTE_PORT);
	struct packet wire;
	uint32_t off = 0;

	if (!c)
		return world_error(w, ev->pos, "expected at most %d connections", CONNS_MAX);
	conn_to_wire(c, p, &wire);
	if (p->proto == PROTO_TCP) {
		off = p->seq - c->r_isn - 1 + (p->flags & FN_TCP_SYN ? 1 : 0);
		w->urgent |= p->flags & FN_TCP_URG;
	}
	pattern_fill(payload, off, p->len);
	world_inject(w, frame, frame_encode(frame, &w->link, &wire, payload));
	world_settle(w);
	return call_retry(w) && !w->error[0];
}

static bool mismatch(struct world *w, const struct event *ev, const struct sent *sent, const struct packet *got,
		     const char *diff)
{
	char want[512], have[512];

	show_packet(want, sizeof(want), &ev->packet);
	show_packet(have, sizeof(have), got);
	return world_error(w, ev->pos, "the packet differs in: %s\n    expected  %s\n    actual    %s\n    at %.6f s", diff,
			   want, have, (double)sent->time / 1e9);
}

static bool match_sent(struct world *w, const struct event *ev, const struct sent *sent)
{
	uint32_t slack = (uint32_t)(w->tolerance / 1000000) + 1;
	const struct packet *want = &ev->packet;
	struct packet got;
	const char *bad = frame_decode(sent->frame, sent->len, &w->link, &got);
	struct conn *c = conn_get(&w->conns, want->rport, got.rport ? got.rport : CONN_REMOTE_PORT);
	char diff[256], text[512];

	if (bad) {
		show_packet(text, sizeof(text), want);
		return world_error(w, ev->pos, "the stack sent %s\n    expected  %s", bad, text);
	}
	if (!c)
		return world_error(w, ev->pos, "expected at most %d connections", CONNS_MAX);
	if (!conn_match(c, want, &got, slack, diff, sizeof(diff)))
		return mismatch(w, ev, sent, &got, diff);
	return true;
}

static bool right_time(struct world *w, const struct event *ev, int64_t at, int64_t from, int64_t to)
{
	char text[512];

	if (ev->when == WHEN_ANY || (at >= from - w->tolerance && at <= to + w->tolerance))
		return true;
	show_packet(text, sizeof(text), &ev->packet);
	if (from == to)
		return world_error(w, ev->pos, "sent at %.6f s, expected at %.6f s\n    %s", (double)at / 1e9,
				   (double)from / 1e9, text);
	return world_error(w, ev->pos, "sent at %.6f s, expected at %.6f~%.6f s\n    %s", (double)at / 1e9,
			   (double)from / 1e9, (double)to / 1e9, text);
}

static bool run_outbound(struct world *w, const struct event *ev, int64_t from, int64_t to)
{
	int64_t limit = ev->when == WHEN_ANY ? w->now + ANY_TIME : to + w->tolerance;
	struct sent *sent;
	char text[512];
	bool ok;

	if (!w->sent)
		world_advance(w, limit, true);
	if (w->error[0])
		return false;
	sent = world_take(w);
	if (!sent) {
		show_packet(text, sizeof(text), &ev->packet);
		return world_error(w, ev->pos, "nothing was sent until %.6f s\n    expected  %s", (double)w->now / 1e9, text);
	}
	ok = match_sent(w, ev, sent) && right_time(w, ev, sent->time, from, to);
	/* "+" counts from when it was sent: the wheel's tick does not add up over a script */
	w->last = sent->time;
	free(sent);
	return ok;
}

static bool run_event(struct world *w, const struct event *ev)
{
	int64_t from = ev->from, to = ev->to;

	if (ev->when == WHEN_REL) {
		from += w->last;
		to += w->last;
	}
	if (ev->kind == EV_PACKET && ev->packet.out)
		return run_outbound(w, ev, from, to);
	if (from < w->now - w->tolerance)
		return world_error(w, ev->pos, "expected a time after the previous event, %.6f s", (double)w->now / 1e9);
	if (from > w->now && !wait_until(w, ev, from))
		return false;
	if (!no_packet_before(w, ev->pos, w->now - w->tolerance))
		return false;
	w->pending.end = w->pending.ev ? w->pending.end : ev->end + (ev->when == WHEN_REL ? w->last : 0);
	w->last = from;
	switch (ev->kind) {
	case EV_PACKET:
		return run_inbound(w, ev);
	case EV_CALL:
		if (!call_start(w, ev))
			return false;
		world_settle(w);
		return !w->error[0];
	case EV_CODE:
		return check_run(w, ev);
	}
	return false;
}

static bool end_script(struct world *w, struct pos pos)
{
	if (w->pending.ev && w->now < w->pending.end + w->tolerance)
		world_advance(w, w->pending.end + w->tolerance, false);
	if (w->error[0] || !call_finish(w))
		return false;
	return no_packet_before(w, pos, INT64_MAX);
}

bool run_script(struct world *w)
{
	struct pos last = { 1, 1 };

	for (const struct event *ev = w->s->events; ev; ev = ev->next) {
		if (ev->kind == EV_CALL && !call_known(w, &ev->call))
			return false;
	}
	for (const struct event *ev = w->s->events; ev; ev = ev->next) {
		if (!run_event(w, ev))
			return false;
		last = ev->pos;
	}
	return end_script(w, last);
}
