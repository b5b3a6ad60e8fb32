/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * What a process has written beyond what its peer's window, a ring or a page takes is sent by itself, when it comes back into
 * the library. If it does not, because it computes, sleeps or waits for something else, whoever waits for the rest takes it
 * from where it lies. Owns when that is done; where it lies is nic_shm's, what comes of it TCP's.
 */
#include "shim/engine.h"
#include "shim/fabric_priv.h"
#include "shim/holders.h"

/* A process that is silent for so long does something else: many times what one that is at work takes to answer. */
#define LOOK_NS		(2 * FN_MSEC)
/* A look goes along all its buffers (some ms for 64 MiB of them): what there is no room for is not looked at more often. */
#define LOOK_MAX_NS	(256 * FN_MSEC)
/* Who has just connected may be in the midst of writing, and cannot say that there is more: half a second of looks. */
#define LOOKS		8

void fn_unsent_expect(struct peer *p)
{
	p->looks = LOOKS;
}

/* Text that was seen before its turn: so much of it is remembered that a walk along the buffers brings some hundred kilobytes. */
#define AHEAD		64
/* And so many walks are made at once. */
#define WALKS		8

struct ahead {
	unsigned n;
	bool lost;		/* there was more; these are the nearest to their turn */
	int64_t dist[AHEAD];
	struct fn_left left[AHEAD];
};

static unsigned farthest(const struct ahead *a)
{
	unsigned far = 0;

	for (unsigned i = 1; i < a->n; i++)
		if (a->dist[i] > a->dist[far])
			far = i;
	return far;
}

static void remember(struct ahead *a, const struct fn_left *left, int64_t dist)
{
	unsigned at = a->n;

	if (a->n < AHEAD) {
		a->n++;
	} else {
		a->lost = true;
		at = farthest(a);
		if (dist >= a->dist[at])
			return;
	}
	a->left[at] = *left;
	a->dist[at] = dist;
}

/* False: it is not there any more, or there is no room for it. */
static bool take_one(const struct peer *p, struct fn_left *left)
{
	left->text = fn_shm_unsent_text(fn_fabric.nic, p->number, left);
	return left->text && fn_tcp_take_written(fn_engine.st, left);
}

static bool take_ahead(struct peer *p, struct ahead *a)
{
	bool took = false, again;

	do {
		again = false;
		for (unsigned i = 0; i < a->n; i++) {
			if (fn_tcp_wants(fn_engine.st, &a->left[i]))
				continue;
			again |= take_one(p, &a->left[i]);
			a->left[i--] = a->left[--a->n];
		}
		took |= again;
	} while (again);
	return took;
}

/* Along all its buffers: what is next is taken. */
static bool walk(struct peer *p, struct ahead *a)
{
	bool took = false;

	a->n = 0;
	a->lost = false;
	for (unsigned where = FN_LEFT_OURS; where <= FN_LEFT_PAGE; where++) {
		struct fn_left left = { .where = (uint8_t)where };

		while (fn_shm_unsent(fn_fabric.nic, p->number, &left)) {
			int64_t dist = fn_tcp_wants(fn_engine.st, &left);

			p->more |= dist == -EAGAIN;
			if (!dist)
				took |= take_one(p, &left);
			else if (dist > 0)
				remember(a, &left, dist);
		}
	}
	return take_ahead(p, a) || took;
}

/* Something was taken. */
static bool take(struct peer *p)
{
	bool took = false;
	struct ahead a;

	p->more = false;
	fn_shm_behind_seen(fn_fabric.nic, p->number);
	for (unsigned k = 0; k < WALKS && walk(p, &a); k++) {
		took = true;
		if (!a.lost)
			break;
	}
	/* what is before it has not come yet, or was being written */
	p->more |= a.n;
	p->looks = (uint8_t)(p->looks - (p->looks && !took));
	if (took)
		fn_tcp_written_taken(fn_engine.st);
	return took;
}

/* Has the time come to look for what p has left? */
static bool is_due(struct peer *p, uint64_t now)
{
	uint32_t heard = fn_shm_heard(fn_fabric.nic, p->number);

	if (!p->more && !p->looks && !fn_shm_behind(fn_fabric.nic, p->number)) {
		p->look_at = 0;
		return false;
	}
	if (p->look_at && heard == p->entries)
		return now >= p->look_at;
	p->entries = heard;
	p->look_ns = LOOK_NS;
	p->look_at = now + LOOK_NS;
	return false;
}

/* When the first of the peers is to be looked at; and whose time has come is, if `look`. */
static uint64_t look_at_all(uint64_t now, bool look)
{
	uint64_t first = FN_NEVER;

	for (unsigned i = 0; i < fn_peers_top(); i++) {
		struct peer *p = fn_peer_at(i);

		if (p->number <= 0 || p->self || (p->state != FN_PEER_UP && p->state != FN_PEER_GREETED))
			continue;
		if (is_due(p, now) && look) {
			p->look_ns = take(p) ? LOOK_NS : fn_min(2 * p->look_ns, (uint64_t)LOOK_MAX_NS);
			p->look_at = now + p->look_ns;
		}
		if (p->look_at)
			first = fn_min(first, p->look_at);
	}
	return first;
}

void fn_unsent_tick(uint64_t now)
{
	fn_fabric.look_at = look_at_all(now, true);
}

uint64_t fn_fabric_due(uint64_t now)
{
	uint64_t due;

	if (!fn_fabric.nic)
		return FN_NEVER;
	fn_fabric.look_at = look_at_all(now, false);
	due = fn_group_looks_again() ? 0 : fn_holders_due();
	return fn_min(fn_fabric.look_at, fn_max(due, fn_fabric.tick));
}
