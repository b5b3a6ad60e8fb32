/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * What a process has written beyond what its peer's window, a ring or a page takes is sent by itself, when it comes back into
 * the library. If it does not, because it computes, sleeps or waits for something else, whoever waits for the rest takes it
 * from where it lies. Owns when that is done; where it lies is nic_shm's, what comes of it TCP's.
 */
#include "shim/engine.h"
#include "shim/fabric_priv.h"

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

/* Texts taken. */
static unsigned take(struct peer *p)
{
	struct fn_nic *nic = fn_fabric.nic;
	unsigned n = 0;

	p->more = false;
	fn_shm_behind_seen(nic, p->number);
	for (unsigned where = FN_LEFT_OURS; where <= FN_LEFT_PAGE; where++) {
		struct fn_left left = { .where = (uint8_t)where };

		while (fn_shm_unsent(nic, p->number, &left)) {
			int ret = fn_tcp_wants(fn_engine.st, &left);

			p->more |= ret < 0;
			left.text = ret > 0 ? fn_shm_unsent_text(nic, p->number, &left) : NULL;
			if (!left.text)
				continue;
			fn_tcp_take_written(fn_engine.st, &left);
			n++;
		}
	}
	p->looks = (uint8_t)(p->looks - (p->looks && !n));
	return n;
}

static void look_at(struct peer *p, uint64_t now)
{
	uint32_t heard = fn_shm_heard(fn_fabric.nic, p->number);

	if (!p->more && !p->looks && !fn_shm_behind(fn_fabric.nic, p->number)) {
		p->look_at = 0;
		return;
	}
	if (!p->look_at || heard != p->heard) {
		p->look_ns = LOOK_NS;
	} else if (now < p->look_at) {
		return;
	} else {
		p->look_ns = take(p) ? LOOK_NS : fn_min(2 * p->look_ns, (uint64_t)LOOK_MAX_NS);
	}
	p->heard = heard;
	p->look_at = now + p->look_ns;
}

/* When the first of the peers is to be looked at. */
static uint64_t look_at_all(uint64_t now)
{
	uint64_t first = FN_NEVER;

	for (unsigned i = 0; i < fn_peers_top(); i++) {
		struct peer *p = fn_peer_at(i);

		if (p->number <= 0 || p->self || (p->state != FN_PEER_UP && p->state != FN_PEER_GREETED))
			continue;
		look_at(p, now);
		if (p->look_at)
			first = fn_min(first, p->look_at);
	}
	return first;
}

void fn_unsent_tick(uint64_t now)
{
	fn_fabric.look_at = look_at_all(now);
}

uint64_t fn_fabric_due(uint64_t now)
{
	if (fn_fabric.nic)
		fn_unsent_tick(now);
	return fn_fabric.nic ? fn_fabric.look_at : FN_NEVER;
}
