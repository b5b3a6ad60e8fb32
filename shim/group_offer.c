/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * What we offer to a group (group.c): a page and an inbox, left with the listener's rendezvous, and left again when whoever
 * had them has gone.
 */
#include <errno.h>
#include <stdatomic.h>
#include <sys/socket.h>

#include "shim/engine.h"
#include "shim/fabric_priv.h"
#include "shim/fdtable.h"
#include "shim/known.h"
#include "shim/uid.h"
#include "stack/shm_page.h"

/* Whoever we met when we were another user, or before we forked, is met anew. */
int fn_group_known(struct fn_rendezvous *at)
{
	uid_t us = fn_uid_own();

	for (unsigned i = 0; i < fn_peers_top(); i++) {
		const struct peer *p = fn_peer_at(i);

		if (p->state != FN_PEER_GROUP || p->cookie != at->cookie || p->met_as != us || fn_half_shared(p) ||
		    fn_page_ceded(p->page))
			continue;
		at->speaker = p->speaker;
		if (fn_rendezvous_speaks(at))
			return p->number;
	}
	return 0;
}

int fn_peer_pair(int end[2])
{
	int ret = (int)fn_sys(SYS_socketpair, AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC | SOCK_NONBLOCK, 0, end);

	if (ret < 0)
		return ret;
	end[0] = fn_fd_internal(end[0]);
	end[1] = fn_fd_internal(end[1]);
	if (end[0] >= 0 && end[1] >= 0)
		return 0;
	fn_fd_internal_close(end[0]);
	fn_fd_internal_close(end[1]);
	return -EMFILE;
}

static int make_page(struct peer *p)
{
	int fd = fn_peer_memory("fastnet-page", FN_PAGE_SIZE, true), ret;

	if (fd < 0)
		return fd;
	ret = fn_peer_back(fd, FN_PAGE_HEAD);
	p->page = ret ? NULL : fn_peer_map(fd, FN_PAGE_SIZE);
	if (p->page) {
		atomic_store(&p->page->memory, (uint32_t)(fn_config.fabric_memory / 4096));
		return fd;
	}
	fn_fd_internal_close(fd);
	return ret ? ret : -ENOMEM;
}

/*
 * The inbox, in which the page lies, goes into the rendezvous that sock is connected to: whoever takes that one message has
 * all. p->sock is the inbox' other end.
 */
static int leave(struct peer *p, int sock)
{
	int end[2], ret = fn_peer_pair(end);

	if (ret < 0)
		return ret;
	ret = fn_peer_send(end[0], FN_PEER_PAGE, p->cookie, 0, p->page_fd);
	if (ret >= 0)
		ret = fn_peer_send(sock, FN_PEER_INBOX, p->cookie, 0, end[1]);
	fn_fd_internal_close(end[1]);
	if (ret < 0) {
		fn_fd_internal_close(end[0]);
		return ret;
	}
	fn_fd_internal_close(p->sock);
	p->sock = end[0];
	fn_fd_internal_track(&p->sock);
	fn_peer_watch(p);
	return 0;
}

/* Nothing can be asked or left now, which says nothing about who listens. */
static bool not_now(int err)
{
	return err == -EMFILE || err == -ENFILE || err == -ENOMEM || err == -ENOBUFS;
}

#define AGAIN_MAX	16	/* times a second: who refuses us, or lies, closes what we have left, too */

/*
 * Until somebody has claimed it an offer is ours, and whoever took it from the rendezvous had only a copy: one who closes the
 * listener, or is killed, before he has told the others of us takes nothing with him. The name is the same user's as before.
 */
static int leave_again(struct peer *p)
{
	struct fn_rendezvous at = { .cookie = p->cookie, .uid = p->speaker };
	int sock, ret = -ECONNREFUSED;
	uint64_t now = fn_now();

	if (now - p->since >= FN_NSEC) {
		p->since = now;
		p->tries = 0;
	}
	while (p->tries++ < AGAIN_MAX && !fn_fabric.closed) {
		sock = fn_rendezvous_connect(&at);
		if (sock < 0) {
			p->tries--;
			return sock;
		}
		ret = leave(p, sock);
		fn_fd_internal_close(sock);
		p->tries -= not_now(ret);
		if (ret != -EPIPE && ret != -ECONNRESET)
			return ret;
	}
	return ret;
}

/* That long at most is waited for what cannot be the kernel's. */
#define ADRIFT_NS (2 * FN_NSEC)

/* Whoever has got the listener from the one that had its name makes the name anew, when he finds that it has gone. */
static bool listener_lives(const struct peer *p)
{
	struct fn_rendezvous at;
	uint32_t ip4;
	uint16_t port;
	int ret;

	if (!fn_shm_offering_to(fn_fabric.nic, p->number, &ip4, &port))
		return false;
	ret = fn_rendezvous_find(ip4, port, &at);
	return not_now(ret) || (!ret && at.cookie == p->cookie);
}

bool fn_group_hung_up(struct peer *p)
{
	uint64_t now = fn_now();
	bool waits;
	int ret;

	fn_known_forget();
	if (!p->cookie || !fn_peer_lives(p) || !fn_shm_offering(fn_fabric.nic, p->number))
		return false;
	ret = leave_again(p);
	if (ret == 0) {
		p->adrift = 0;
		return true;
	}
	p->adrift = p->adrift && !not_now(ret) ? p->adrift : now;
	if (not_now(ret))
		return true;
	if (!listener_lives(p))
		return false;
	waits = now - p->adrift < ADRIFT_NS;
	if (ret == -EAGAIN && waits)	/* he is behind with those who come */
		return true;
	return fn_fallback(p) || (waits && fn_shm_offering(fn_fabric.nic, p->number));
}

static int offer(struct peer *p, const struct fn_rendezvous *at, int sock)
{
	int ret;

	p->cookie = at->cookie;
	p->speaker = at->speaker;
	p->page_fd = make_page(p);
	if (p->page_fd < 0)
		return p->page_fd;
	fn_fd_internal_track(&p->page_fd);
	ret = fn_shm_group_add(fn_fabric.nic, p->page, at->backlog);
	if (ret < 0)
		return ret;
	fn_peer_numbered(p, ret);
	ret = leave(p, sock);
	return ret == -EPIPE || ret == -ECONNRESET ? leave_again(p) : ret;
}

static int meet(struct fn_rendezvous *at, int sock)
{
	int ret = fn_group_known(at);
	struct peer *p;

	if (ret)
		return ret;
	if (!fn_fabric_room())
		return -EBUSY;
	p = fn_peer_new(FN_PEER_GROUP, -1);
	if (!p)
		return -ENOSPC;
	ret = offer(p, at, sock);
	if (ret >= 0)
		return p->number;
	fn_peer_bury(p);
	return ret;
}

int fn_group_meet(struct fn_rendezvous *at, int sock)
{
	int ret = meet(at, sock);

	fn_fd_internal_close(sock);
	return ret;
}
