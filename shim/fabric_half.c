/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * Meetings that are not over when a process forks. Parent and child have the peer both then: its rings are there, and where
 * its payload memory will lie in all images is reserved. The message that brings that memory (WELCOME) comes once, to whoever
 * reads it first. Who does puts it up in a socket pair of the peer's before he takes it, whose queue is only looked at: the
 * others find it there, he alive or not. With the engine's lock held, or in a child that has no other thread yet.
 */
#include "shim/engine.h"
#include "shim/fabric_priv.h"
#include "shim/fdtable.h"

bool fn_half_shared(const struct peer *p)
{
	return p->told >= 0;
}

void fn_half_end(struct peer *p)
{
	fn_fd_internal_close(p->tell);
	fn_fd_internal_close(p->told);
	p->tell = p->told = -1;
}

/* False: it stays this image's, and the others'; a child has not got it. */
static bool expect(struct peer *p)
{
	int end[2];

	p->room = fn_peer_room(p->room_size);
	if (!p->room)
		return false;
	if (fn_peer_pair(end) < 0) {
		fn_peer_unmap(p->room, p->room_size);
		p->room = NULL;
		return false;
	}
	p->tell = end[0];
	p->told = end[1];
	fn_fd_internal_track(&p->tell);
	fn_fd_internal_track(&p->told);
	fn_peer_watch(p);
	fn_shm_peer_expect(fn_fabric.nic, p->number, p->room);
	return true;
}

void fn_fabric_expect(void)
{
	for (unsigned i = 0; fn_fabric.nic && i < fn_peers_top(); i++) {
		struct peer *p = fn_peer_at(i);

		if (p->state == FN_PEER_GREETED && p->number > 0 && !p->room)
			expect(p);
	}
}

/* Whoever dies in between leaves the message where it is, and puts it up twice. */
static void hand_on(const struct peer *p)
{
	struct fn_peer_msg m;
	int fd;

	if (fn_peer_look(p->sock, &m, &fd) < 0)
		return;
	if (m.type == FN_PEER_WELCOME)
		fn_peer_send(p->tell, FN_PEER_WELCOME, 0, m.status, fd);
	if (fd >= 0)
		fn_sys_close(fd);
}

bool fn_half_event(struct peer *p)
{
	struct fn_peer_msg m;
	bool ok;
	int fd;

	if (p->state != FN_PEER_GREETED || !fn_half_shared(p))
		return true;
	if (fn_peer_look(p->told, &m, &fd) < 0) {
		if (p->sock >= 0)
			hand_on(p);
		return true;
	}
	ok = fn_peer_welcomed(p, &m, fd);
	if (fd >= 0)
		fn_sys_close(fd);
	return ok;
}
