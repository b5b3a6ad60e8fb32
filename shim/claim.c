/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * What other processes offer to a listener of ours: is there a connection that can be accepted, who waits for one, and its
 * claim. Owns no peer and no page (group.c). Everything with the engine's lock held.
 */
#include <errno.h>
#include <poll.h>

#include "shim/engine.h"
#include "shim/fabric_priv.h"
#include "stack/shm_page.h"

void fn_group_offered(void *ctx, int number)
{
	for (unsigned i = 0; i < fn_peers_top(); i++) {
		const struct peer *p = fn_peer_at(i);

		if (p->number != number || !p->listener)
			continue;
		fn_file_wake((struct fn_file *)p->listener, POLLIN | POLLRDNORM);
		/* other images have it too */
		if (p->listener->sk && p->listener->sk->images & ~fn_engine.mine)
			fn_engine_ready(NULL, p->listener->sk, POLLIN | POLLRDNORM);
	}
}

static bool offers_to(const struct peer *p, const struct fn_file *f)
{
	return p->listener == f && p->number > 0 && p->page;
}

/* Of the window that is offered: with so much in it a further segment may not fit. */
#define FULL	(FN_OFFER_WINDOW / 2)

/* TCP_DEFER_ACCEPT, ns. */
static uint64_t defer_of(const struct fn_file *f)
{
	int secs = 0;

	return f->sk && !fn_sock_getopt(f->sk, FN_OPT_DEFER_ACCEPT, &secs) && secs > 0 ? (uint64_t)secs * FN_NSEC : 0;
}

bool fn_fabric_offered(const struct fn_file *f)
{
	uint64_t defer = fn_fabric.nic ? defer_of(f) : 0;

	for (unsigned i = 0; fn_fabric.nic && i < fn_peers_top(); i++) {
		int number = fn_peer_at(i)->number;

		if (!offers_to(fn_peer_at(i), f))
			continue;
		if (fn_shm_offered(fn_fabric.nic, number, defer))
			return true;
		if (fn_unlikely(defer))
			fn_fabric.look = fn_min(fn_fabric.look, fn_shm_deferred(fn_fabric.nic, number, defer));
	}
	return false;
}

uint64_t fn_fabric_deadline(void)
{
	return fn_fabric.look;
}

/* Whoever waits on a listener looks again, and says when it is to be next. */
void fn_group_deferred(uint64_t now)
{
	if (fn_likely(now < fn_fabric.look))
		return;
	fn_fabric.look = FN_NEVER;
	for (unsigned i = 0; i < fn_peers_top(); i++)
		if (fn_peer_at(i)->listener && fn_peer_at(i)->number > 0)
			fn_group_offered(NULL, fn_peer_at(i)->number);
}

/*
 * What came earlier on other connections of that process goes first: a port may be in use again. Between claim and connection
 * nothing is received: what follows the text is in the ring already.
 */
static int claim(struct peer *p, const struct fn_file *f)
{
	uint64_t defer = defer_of(f);
	struct fn_offer o;
	int ret;

	if (!fn_shm_offered(fn_fabric.nic, p->number, defer))
		return -EAGAIN;
	if (!fn_shm_drained(fn_fabric.nic, p->number))
		fn_stack_poll(fn_engine.st, fn_engine.st->now);
	ret = fn_shm_claim(fn_fabric.nic, p->number, defer, p->us, &o);
	if (!ret && o.text.bytes >= FULL)
		fn_unsent_expect(p);
	if (!ret && !fn_tcp_claim(f->sk, &o) && p->state == FN_PEER_GONE) {
		fn_peer_take_left(p);
		fn_tcp_conn_gone(o.sk);
	}
	return ret;
}

bool fn_fabric_claim(const struct fn_file *f)
{
	unsigned top = fn_peers_top();

	for (unsigned k = 0; fn_fabric.nic && k < top; k++) {
		struct peer *p = fn_peer_at((fn_fabric.turn + k) % top);

		if (!offers_to(p, f) || claim(p, f) == -EAGAIN)
			continue;
		fn_fabric.turn = (fn_fabric.turn + k + 1) % top;
		return true;
	}
	return false;
}
