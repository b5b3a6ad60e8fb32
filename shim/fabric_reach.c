/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * Who listens at an address, and is it a peer? The answer to a connect: from what is known, or by asking the kernel and
 * meeting whoever it names. Takes the engine's lock piece by piece, for the kernel is asked without it; has no table.
 */
#include "shim/fabric_priv.h"

#include <errno.h>

#include "shim/engine.h"
#include "shim/fdtable.h"
#include "shim/known.h"
#include "shim/listen.h"
#include "shim/room.h"
#include "shim/uid.h"

#define SINGLE_ASKS	7		/* of two listeners the same one is named to all in 1 of 128 cases */

/* Does the kernel name the same listener to whoever asks? Of several (SO_REUSEPORT) each connect is to have its own. */
static bool is_single(const struct fn_known *known, const struct fn_rendezvous *at)
{
	struct fn_rendezvous again;

	for (unsigned i = 0; i < SINGLE_ASKS; i++)
		if (fn_rendezvous_find(known->ip4, known->port, &again) < 0 || again.cookie != at->cookie)
			return false;
	return true;
}

/* The answer is kept for the next connects. */
static void note(const struct fn_known *known, int number)
{
	const struct peer *p;

	fn_engine_lock();
	p = fn_peer_by_number((unsigned)number);
	if (p)
		fn_known_note(known, number, p->page);
	fn_engine_unlock();
}

/* Whoever of us accepts from sk has the peer that we are to ourselves. */
static bool is_ours(const struct fn_sock *sk)
{
	const struct peer *self = fn_peer_self();

	if (self && fn_peer_by_number((unsigned)self->number))
		return !(sk->images & ~fn_shm_images(fn_fabric.nic, self->number));
	return sk->images == fn_engine.mine;
}

/* The listener is this image's, and no other image's as far as can be known: its number, or that of the peer that we are
 * to ourselves. 0: neither. */
static int own(const struct fn_rendezvous *at, const struct fn_known *known)
{
	bool forked = false;
	struct fn_file *f;
	int fd = -1, ret = 0;

	fn_engine_lock();
	f = fn_rendezvous_own(at->cookie, &forked);
	if (f && !f->sk && !forked)
		fd = fn_fd_number(f, -1);
	if (fd >= 0)
		fn_file_hold(f);
	fn_engine_unlock();
	if (fd >= 0) {
		fn_listen_attach(f, fd);
		fn_file_put(f);
	}
	fn_engine_lock();
	f = fn_rendezvous_own(at->cookie, &forked);
	if (f && f->sk && is_ours(f->sk))
		ret = fn_fabric_self();
	if (ret > 0)
		fn_known_note(known, ret, NULL);
	fn_engine_unlock();
	return ret;
}

int fn_fabric_meet(struct fn_rendezvous *at, int (*over)(struct fn_rendezvous *at, int sock))
{
	int sock = fn_rendezvous_connect(at), ret;

	if (sock < 0)
		return sock == -ECONNREFUSED ? 0 : sock;
	if (!fn_room_now()) {
		fn_fd_internal_close(sock);
		return -EMFILE;
	}
	if (!fn_engine_start(false) || !fn_fabric.nic) {
		fn_fd_internal_close(sock);
		return -ENOMEM;
	}
	fn_engine_lock();
	ret = over(at, sock);
	fn_engine_unlock();
	return ret;
}

/* The number of the listener at `at`, if it has been met, and is kept for the next connects to it unless another user's. */
static int met(struct fn_rendezvous *at, const struct fn_known *known)
{
	int ret;

	if (!fn_engine.fabric)
		return 0;
	fn_engine_lock();
	ret = fn_group_known(at);
	fn_engine_unlock();
	if (ret > 0 && at->uid == fn_uid_own() && is_single(known, at))
		note(known, ret);
	return ret;
}

int fn_fabric_reach(uint32_t ip4, uint16_t port)
{
	struct fn_known known;
	struct fn_rendezvous at;
	uint64_t now;
	int ret;

	if (!fn_config.fabric)
		return 0;
	if (fn_fabric.closed)
		return fn_fabric.closed;
	now = fn_now();
	fn_engine_lock();
	if (now >= fn_engine.side_due)	/* who has hung up? */
		fn_dual_check(now);
	/* what is offered says when: of a process that has done nothing for long the stack's clock stands */
	if (fn_engine.st && now >= fn_engine.st->now + FN_MSEC)
		fn_engine_poll(now);
	ret = fn_known_find(ip4, port, now, &known);
	fn_engine_unlock();
	if (ret)
		return ret;
	ret = fn_rendezvous_find(ip4, port, &at);
	if (ret < 0)
		return ret == -ENOENT ? 0 : ret;
	ret = own(&at, &known);
	if (!ret)
		ret = met(&at, &known);
	return ret ? ret : fn_fabric_meet(&at, fn_group_meet);
}
