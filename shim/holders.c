/* SPDX-License-Identifier: BSD-3-Clause */
/* See holders.h. */
#include "shim/holders.h"

#include <errno.h>
#include <stdio.h>
#include <string.h>

#include "shim/engine.h"
#include "shim/fabric_priv.h"
#include "shim/family.h"
#include "shim/fdtable.h"
#include "shim/uid.h"

_Static_assert(FN_SHM_IMAGES == FN_IMAGES, "both are the bits of fn_sock.images");

/* ---- ours: who holds it ---- */

static unsigned seen;		/* of .untold, what was seen here */
static bool again;		/* somebody could not be told: no room, or it is not there yet */
static bool looks_again;	/* some peer has .held_at */

/* What could not be ended at once is tried again so much later, and after each time in vain twice that: 320 ms at most. */
#define RETRY_NS	(10 * FN_MSEC)
#define RETRY_MAX	5

/* What the far end is sent of an image: its place, and which of all that have had it. */
static uint64_t cookie_of(unsigned place, uint32_t life)
{
	return (uint64_t)life << 32 | place;
}

static int announce(struct peer *p, unsigned place)
{
	bool opened = false;
	int fd = fn_family_pidfd(place, &opened), ret;

	if (fd < 0)
		return fd;
	ret = fn_peer_send(p->sock, FN_PEER_HOLDER, cookie_of(place, fn_engine.shared->member[place].serial), 0, fd);
	if (opened)
		fn_sys_close(fd);
	if (!ret)
		fn_shm_announce(fn_fabric.nic, p->number, place);
	return ret;
}

static bool takes_part(const struct fn_sock *sk)
{
	return sk->kind == FN_SOCK_TCP && sk->remote.peer && fn_fabric.nic;
}

/* The peer of sk is sent what it needs to see the end of each holder. False: some holder could not be announced by us. */
static bool tell(const struct fn_sock *sk)
{
	int number = sk->remote.peer;
	struct peer *p = fn_peer_by_number((unsigned)number);
	bool all = true;

	/* when all that have the peer have gone its socket tells */
	if (!(fn_shm_images(fn_fabric.nic, number) & ~sk->images) || fn_shm_is_dead(fn_fabric.nic, number) ||
	    fn_shm_is_group(fn_fabric.nic, number) || (p && p->self))
		return true;
	for (uint64_t left = sk->images; left; left &= left - 1) {
		unsigned place = (unsigned)__builtin_ctzll(left);
		int ret;

		if (fn_shm_announced(fn_fabric.nic, number, place))
			continue;
		ret = p && p->sock >= 0 ? announce(p, place) : -ENOENT;
		again |= ret == -EAGAIN || ret == -ETOOMANYREFS;
		all &= !ret;
	}
	return all;
}

void fn_fabric_held(struct fn_sock *sk)
{
	if (!fn_engine.shares || !takes_part(sk))
		return;
	fn_tcp_held(sk);
	if (!tell(sk))
		fn_engine.shared->untold++;	/* who has the peer, or is the holder, does it at its next tick */
}

void fn_fabric_held_with(int number)
{
	struct fn_pool *pool = &fn_engine.st->tcp_pool;

	for (uint32_t i = 1; i < pool->made; i++) {
		struct fn_sock *sk = fn_pool_at(pool, i);

		if (takes_part(sk) && sk->images && (!number || sk->remote.peer == number)) {
			fn_tcp_held(sk);
			tell(sk);
		}
	}
}

void fn_fabric_held_again(void)
{
	if (fn_likely(!fn_engine.shares || (!again && seen == fn_engine.shared->untold)) || !fn_fabric.nic)
		return;
	seen = fn_engine.shared->untold;
	again = false;
	fn_fabric_held_with(0);
}

void fn_holders_forget_ours(void)
{
	seen = 0;
	again = false;
}

/* ---- a peer's: who lives ---- */

#define HOLDERS		512
/* Of them, those that other users' processes may make us keep descriptors for. */
#define STRANGERS	(HOLDERS / 4)

static struct holder {
	struct peer *peer;	/* NULL: free */
	int fd;			/* internal: a pidfd; -1: it has ended */
	uint32_t life;
	uint8_t place;
	bool stranger;
} holders[HOLDERS];
static unsigned top, strangers;

static void drop(struct holder *h)
{
	if (!h->peer)
		return;
	strangers -= h->stranger;
	fn_fd_internal_close(h->fd);
	*h = (struct holder){ .fd = -1 };
}

void fn_holders_forget(const struct peer *p)
{
	for (unsigned i = 0; i < top; i++)
		if (holders[i].peer == p)
			drop(&holders[i]);
}

/* That of place `place` of p, or a free one; NULL: there is none. */
static struct holder *place_for(const struct peer *p, unsigned place)
{
	struct holder *free = NULL;

	for (unsigned i = 0; i < top; i++) {
		if (holders[i].peer == p && holders[i].place == place)
			return &holders[i];
		if (!holders[i].peer && !free)
			free = &holders[i];
	}
	return free ? free : top < HOLDERS ? &holders[top++] : NULL;
}

/* fdinfo of a pidfd alone names a process (proc_pid_fdinfo(5)). Of anything else not even its poll is harmless (FUSE). */
static bool is_pidfd(int fd)
{
	char path[40], info[512];

	snprintf(path, sizeof(path), "/proc/self/fdinfo/%d", fd);
	return fn_read_text(path, info, sizeof(info)) && strstr(info, "\nPid:\t");
}

/* Takes fd. Who had that place before may be told of later: by a letter, which is read after what comes by the socket. */
static void take(struct peer *p, unsigned place, uint32_t life, int fd)
{
	struct holder *h = place_for(p, place);
	bool stranger = p->uid != fn_uid_own();

	if (!h || (h->peer && (int32_t)(life - h->life) <= 0) || (!h->peer && stranger && strangers == STRANGERS) ||
	    !is_pidfd(fd)) {
		fn_sys_close(fd);
		return;
	}
	drop(h);
	fd = fn_fd_internal_if_room(fd);
	if (fd < 0)
		return;
	*h = (struct holder){ .peer = p, .fd = fd, .place = (uint8_t)place, .life = life, .stranger = stranger };
	strangers += stranger;
	fn_fd_internal_track(&h->fd);
	fn_fabric_watch_holder(h->fd, (unsigned)(h - holders));
}

/* Letters of which a bell takes no more than these: it has ten places, and what stands for a connection must find one. */
#define LETTERS_MAX	4

/* Only what is read from the socket is handed on: it comes once, to one of us. */
static void hand_on(const struct peer *p, uint64_t cookie, int fd)
{
	struct fn_letter l = { .kind = FN_LETTER_HOLDER, .number = (uint32_t)p->number, .life = p->life, .cookie = cookie };
	uint64_t others = fn_engine.shares ? fn_shm_images(fn_fabric.nic, p->number) & ~fn_engine.bit : 0;

	for (; others; others &= others - 1) {
		unsigned i = (unsigned)__builtin_ctzll(others);

		if (i != FN_RELAY_IMAGE && fn_engine.shared->holders[i] < LETTERS_MAX && !fn_bell_send(i, &l, fd))
			fn_engine.shared->holders[i]++;
	}
}

static const struct holder *known(const struct peer *p, unsigned place, uint32_t life)
{
	for (unsigned i = 0; i < top; i++)
		if (holders[i].peer == p && holders[i].place == place && holders[i].life == life && holders[i].fd >= 0)
			return &holders[i];
	return NULL;
}

bool fn_holder_come(struct peer *p, uint64_t cookie, int *fd)
{
	unsigned place = (unsigned)(cookie & UINT32_MAX);
	uint32_t life = (uint32_t)(cookie >> 32);
	const struct holder *h;

	if (p->number <= 0 || p->self || place >= FN_IMAGES)
		return false;
	if (*fd < 0)	/* we had no number for it: that one counts as alive */
		return true;
	h = known(p, place, life);
	take(p, place, life, *fd);
	*fd = -1;
	if (!h && (h = known(p, place, life)))
		hand_on(p, cookie, h->fd);
	return true;
}

void fn_holder_letter(const struct fn_letter *l, int fd)
{
	struct peer *p = fn_fabric.nic ? fn_peer_by_number(l->number) : NULL;

	if (!p || p->life != l->life || p->state == FN_PEER_GONE || (l->cookie & UINT32_MAX) >= FN_IMAGES)
		fn_sys_close(fd);
	else
		take(p, (unsigned)(l->cookie & UINT32_MAX), (uint32_t)(l->cookie >> 32), fd);
}

/* ---- its end ---- */

/* The places of p whose last announced holder has ended, and is who has the place, as p says now. */
static uint64_t ended(const struct peer *p)
{
	uint64_t places = 0;

	for (unsigned i = 0; i < top; i++) {
		const struct holder *h = &holders[i];

		if (h->peer == p && h->fd < 0 && fn_shm_life_there(fn_fabric.nic, p->number, h->place) == h->life)
			places |= 1ull << h->place;
	}
	return places;
}

static bool is_of(const struct fn_left *text, const struct fn_left *held)
{
	return text->local.ip4 == held->local.ip4 && text->local.port == held->local.port &&
	       text->remote.ip4 == held->remote.ip4 && text->remote.port == held->remote.port;
}

/* Connections whose holders have all ended: what was left for them is found in one walk. */
#define ENDS	64
/* Records that say of a connection what cannot be used: an honest peer has few. */
#define VAIN	1024

static struct ends {
	struct fn_held at, held[ENDS];
	bool moves[ENDS];	/* some of its text was being changed */
	unsigned n, vain;
} ends;

/* Which of them; ends.n: none. */
static unsigned find(const struct fn_left *left)
{
	unsigned i;

	for (i = 0; i < ends.n && !is_of(left, &ends.held[i].left); i++)
		;
	return i;
}

/* The next ones. False: these were the last. */
static bool collect(const struct peer *p, uint64_t gone)
{
	for (ends.n = 0; ends.n < ENDS && ends.vain < VAIN;) {
		if (!fn_shm_held(fn_fabric.nic, p->number, gone, &ends.at))
			return false;
		/* a place is another's before that one holds anything: this is asked behind what it holds */
		if (!fn_tcp_left_known(fn_engine.st, &ends.at.left) || find(&ends.at.left) < ends.n ||
		    ends.at.images & ~ended(p)) {
			ends.vain++;
			continue;
		}
		ends.moves[ends.n] = false;
		ends.held[ends.n++] = ends.at;
	}
	return ends.vain < VAIN;
}

/* What stands in its memory for them. */
static void take_text(const struct peer *p)
{
	for (unsigned where = FN_LEFT_OURS; where <= FN_LEFT_PAGE; where++) {
		struct fn_left left = { .where = (uint8_t)where, .urgent = true };

		while (fn_shm_unsent(fn_fabric.nic, p->number, &left)) {
			unsigned i = find(&left);

			if (i == ends.n || ends.moves[i])
				continue;
			left.text = fn_shm_unsent_text(fn_fabric.nic, p->number, &left);
			if (left.text)
				fn_tcp_left(fn_engine.st, &left);
			else
				ends.moves[i] = true;
		}
	}
}

/* Nobody has its other end any more. False: its family is to say so, or it is looked at again. */
static bool end(const struct fn_held *held, int nobody)
{
	const struct fn_left *left = &held->left;
	struct fn_stack *st = fn_engine.st;
	struct fn_sock *sk;

	if (!fn_shm_still_held(held) || !fn_tcp_left_whole(st, left))
		return false;
	fn_tcp_left(st, left);
	sk = fn_tcp_peer_moved(st, &left->local, &left->remote, (uint16_t)nobody);
	if (sk)
		fn_tcp_conn_gone(sk);
	return true;
}

static bool end_all(const struct peer *p)
{
	int nobody = fn_shm_nobody(fn_fabric.nic);
	bool all = nobody;

	if (nobody)
		take_text(p);
	for (unsigned i = 0; nobody && i < ends.n; i++)
		all &= !ends.moves[i] && end(&ends.held[i], nobody);
	return all;
}

/* What is in the ring comes first; what p keeps back is put there by others of it. */
static bool look(struct peer *p)
{
	bool kept = fn_shm_keeps(fn_fabric.nic, p->number), all = true, more = true;
	uint64_t gone = ended(p);

	for (unsigned i = 0; i < FN_PEER_SLOTS && !fn_shm_drained(fn_fabric.nic, p->number); i++)
		fn_stack_poll(fn_engine.st, fn_engine.st->now);
	ends = (struct ends){ .n = 0 };
	while (more && all) {
		more = collect(p, gone);
		if (ends.n)
			all = !kept && end_all(p);
	}
	fn_stack_flush(fn_engine.st);
	return all;
}

static void look_now(struct peer *p)
{
	/* before its memory is here nothing can be seen there */
	bool all = p->state == FN_PEER_UP && look(p);

	p->held_at = all ? 0 : fn_now() + (RETRY_NS << p->held_tries);
	p->held_tries = all ? 0 : (uint8_t)fn_min(p->held_tries + 1, RETRY_MAX);
	looks_again |= !all;
}

/* at_once: whether a look has just been in vain or not. That may be a walk through all that p has, and p may lie. */
static void see(unsigned i, bool at_once)
{
	struct holder *h = &holders[i];
	struct peer *p = i < top ? h->peer : NULL;

	if (!p || h->fd < 0 || !fn_family_ended(h->fd))
		return;
	fn_fd_internal_close(h->fd);
	h->fd = -1;
	if (at_once || !p->held_at || p->held_at <= fn_now())
		look_now(p);
}

void fn_holder_event(unsigned i)
{
	see(i, false);
}

void fn_holders_tick(void)
{
	uint64_t now;

	fn_fabric_held_again();
	if (fn_likely(!looks_again))
		return;
	looks_again = false;
	now = fn_now();
	for (unsigned i = 0; i < fn_peers_top(); i++) {
		struct peer *p = fn_peer_at(i);

		if (p->held_at && p->held_at <= now && p->state == FN_PEER_UP)
			look_now(p);
		looks_again |= p->held_at && p->state != FN_PEER_GONE;
	}
}

uint64_t fn_holders_due(void)
{
	uint64_t first = FN_NEVER;

	for (unsigned i = 0; looks_again && i < fn_peers_top(); i++)
		if (fn_peer_at(i)->held_at && fn_peer_at(i)->state == FN_PEER_UP)
			first = fn_min(first, fn_peer_at(i)->held_at);
	return first;
}

void fn_holders_look(void)
{
	for (unsigned i = 0; i < top; i++)
		see(i, true);
}

void fn_holders_watch_all(void)
{
	for (unsigned i = 0; i < top; i++)
		if (holders[i].peer && holders[i].fd >= 0)
			fn_fabric_watch_holder(holders[i].fd, i);
}
