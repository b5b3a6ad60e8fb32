/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * Meetings that are not over when a process forks: parent and child have the peer both then. Of one who comes to us the rings
 * are there, and where its payload memory will lie in all images is reserved. The message that brings that memory (WELCOME)
 * comes once, to whoever reads it first. Who does puts it up in a socket pair of the peer's before he takes it, whose queue is
 * only looked at: the others find it there, he alive or not.
 *
 * To a group we have offered connections that nobody has claimed. All have its page, and hear of claimers (ATTACH), of whom
 * there can be a few: for each of them there is a berth, where its channel and its memory will lie, and memory for what it is
 * sent. Who reads of a claimer meets it, and puts up in the group's pair what the others need to have it as well: ATTACH with
 * the socket, HELLO with the channel, PAYLOAD. New connections to that listener go to another group, and when nothing is
 * offered any more this one ends. With the engine's lock held, or in a child that has no other thread yet.
 */
#include "shim/engine.h"
#include "shim/fabric_priv.h"
#include "shim/fdtable.h"
#include "shim/holders.h"

/* Linux 3.4, not in every libc header */
#ifndef SO_PEEK_OFF
#define SO_PEEK_OFF 42
#endif

bool fn_half_shared(const struct peer *p)
{
	return p->told >= 0;
}

/* ---- berths: in p->room, one behind the other ---- */

static size_t payload_room(void)
{
	return fn_config.fabric_memory & ~4095ul;
}

static size_t berth_size(void)
{
	return fn_peer_channel_size() + payload_room();
}

static uint8_t *berth_at(const struct peer *group, unsigned i)
{
	return (uint8_t *)group->room + i * berth_size();
}

static void lose_berth(struct peer *group)
{
	struct fn_berth *b = &group->berth[group->taken];

	fn_fd_internal_close(b->fd);
	fn_peer_unmap(b->copies, fn_peer_copies_size());
	fn_peer_unmap(berth_at(group, group->taken++), berth_size());
}

/* Those that have not been taken. */
static void free_berths(struct peer *group)
{
	while (group->taken < group->berths)
		lose_berth(group);
	group->taken = group->berths = 0;
	group->room = NULL;
}

/* As many as there is memory and descriptors for. */
static bool make_berths(struct peer *group)
{
	group->room = fn_peer_room(FN_BERTHS * berth_size());
	for (group->berths = 0; group->room && group->berths < FN_BERTHS; group->berths++) {
		struct fn_berth *b = &group->berth[group->berths];

		b->fd = fn_peer_memory_alone(fn_peer_copies_size(), &b->copies);
		if (b->fd < 0)
			break;
		fn_fd_internal_track(&b->fd);
	}
	if (group->room && group->berths < FN_BERTHS)
		fn_peer_unmap(berth_at(group, group->berths), (FN_BERTHS - group->berths) * berth_size());
	if (group->berths)
		return true;
	group->room = NULL;
	return false;
}

/* The next one is p's. */
static void take_berth(struct peer *p, struct peer *group)
{
	struct fn_berth *b = &group->berth[group->taken];

	if (group->taken == group->berths)
		return;
	p->channel_room = berth_at(group, group->taken++);
	p->room = p->channel_room + fn_peer_channel_size();
	p->room_size = payload_room();
	p->copies = b->copies;
	fn_fd_internal_moved(&b->fd, &p->copies_fd);
}

bool fn_peer_take_payload(struct peer *p, int fd)
{
	p->payload = fd >= 0 ? fn_peer_map_payload(fd, p->room, p->room_size, &p->payload_size) : NULL;
	if (!p->payload && p->channel_room && fd >= 0) {	/* more than there is room for: it is this image's alone */
		fn_peer_unmap(p->room, p->room_size);
		p->room = p->channel_room = NULL;
		p->payload = fn_peer_map_payload(fd, NULL, 0, &p->payload_size);
	}
	if (p->payload && p->room) {
		fn_peer_unmap((uint8_t *)p->room + p->payload_size, p->room_size - p->payload_size);
		p->room = NULL;
	}
	return p->payload != NULL;
}

/* ---- before a fork ---- */

static bool make_pair(struct peer *p)
{
	int end[2];

	if (fn_peer_pair(end) < 0)
		return false;
	p->tell = end[0];
	p->told = end[1];
	p->heard = 0;
	fn_fd_internal_track(&p->tell);
	fn_fd_internal_track(&p->told);
	fn_peer_watch(p);
	return true;
}

void fn_half_end(struct peer *p)
{
	if (p->state == FN_PEER_GROUP)
		free_berths(p);
	fn_fd_internal_close(p->tell);
	fn_fd_internal_close(p->told);
	p->tell = p->told = -1;
}

/* Without memory, or descriptors, it stays this image's, and the others'; a child has not got it. */
static void expect(struct peer *p)
{
	p->room = p->room_size <= FN_PEER_PAYLOAD_MAX ? fn_peer_room(p->room_size) : NULL;
	if (!p->room)
		return;
	if (make_pair(p)) {
		fn_shm_peer_expect(fn_fabric.nic, p->number, p->room);
		return;
	}
	fn_peer_unmap(p->room, p->room_size);
	p->room = NULL;
}

static void expect_group(struct peer *p)
{
	if (!fn_shm_offering(fn_fabric.nic, p->number) && !fn_tcp_peer_used(fn_engine.st, (uint16_t)p->number))
		return;
	if (!make_berths(p)) {
		fn_shm_peer_apart(fn_fabric.nic, p->number);
	} else if (make_pair(p)) {
		fn_shm_group_expect(fn_fabric.nic, p->number);
	} else {
		free_berths(p);
		fn_shm_peer_apart(fn_fabric.nic, p->number);
	}
}

void fn_fabric_expect(void)
{
	for (unsigned i = 0; fn_fabric.nic && i < fn_peers_top(); i++) {
		struct peer *p = fn_peer_at(i);

		if (p->number <= 0 || fn_half_shared(p))
			continue;
		if (p->state == FN_PEER_GREETED)
			expect(p);
		else if (p->state == FN_PEER_GROUP)
			expect_group(p);
	}
}

/* ---- who came to us ---- */

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

static bool greeted_event(struct peer *p)
{
	struct fn_peer_msg m;
	bool ok;
	int fd;

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

/* ---- who claims what we have offered ---- */

/* The next of what was put up that this image has neither put up itself nor seen. */
static bool look(struct peer *group, struct fn_peer_msg *m, int *fd)
{
	int at = (int)(group->heard * sizeof(*m)), off = -1, ret;

	fn_sys_setsockopt(group->told, SOL_SOCKET, SO_PEEK_OFF, &at, sizeof(at));
	ret = fn_peer_look(group->told, m, fd);
	fn_sys_setsockopt(group->told, SOL_SOCKET, SO_PEEK_OFF, &off, sizeof(off));
	group->heard += ret == 1;
	return ret == 1;
}

/* berth: its number, of ATTACH. */
static bool put_up(const struct peer *p, enum fn_peer_type type, uint64_t cookie, int berth, int fd)
{
	struct peer *group = p->group;

	if (!p->channel_room || !group || !fn_half_shared(group) || fn_peer_send(group->tell, type, cookie, berth, fd) < 0)
		return false;
	group->heard++;
	return true;
}

void fn_half_introduced(struct peer *p)
{
	if (!fn_half_shared(p->group))
		return;
	take_berth(p, p->group);
	put_up(p, FN_PEER_ATTACH, p->id, (int)p->group->taken - 1, p->sock);
}

void fn_half_channel(const struct peer *p, int fd)
{
	put_up(p, FN_PEER_HELLO, 0, 0, fd);
}

void fn_half_payload(const struct peer *p, int fd)
{
	uint64_t others = p->group ? fn_shm_images(fn_fabric.nic, p->group->number) & ~fn_engine.bit : 0;

	if (put_up(p, FN_PEER_PAYLOAD, (uint64_t)p->life << 32 | (unsigned)p->number, 0, fd))
		fn_shm_peer_want(fn_fabric.nic, p->number, others);
	else
		fn_shm_peer_apart(fn_fabric.nic, p->number);
}

/* A claimer whom another image has met; nothing is read from it, until all is there. */
static struct peer *attached(struct peer *group, const struct fn_peer_msg *m, int sock)
{
	int fd = fn_fd_internal(sock);
	struct peer *p = fd >= 0 ? fn_peer_new(FN_PEER_WELCOMED, fd) : NULL;

	/* whoever took one before and could not say so */
	while (group->taken < group->berths && group->taken < (unsigned)m->status)
		lose_berth(group);
	if (!p)
		return NULL;
	p->group = group;
	p->id = (uint32_t)m->cookie;
	p->uid = fn_peer_uid(p->sock);
	take_berth(p, group);
	return p;
}

static bool have(struct peer *p, int number, int fd)
{
	if (!p->channel || !fn_peer_take_payload(p, fd))
		return false;
	if (!fn_shm_peer_have(fn_fabric.nic, number, p->payload))
		return false;
	fn_fd_internal_close(p->copies_fd);
	p->copies_fd = -1;
	fn_peer_numbered(p, number);
	p->state = FN_PEER_UP;
	fn_peer_watch(p);
	fn_fabric_held_with(number);
	return true;
}

/* p: whom we are being told of; who that is then. */
static struct peer *take(struct peer *group, struct peer *p, const struct fn_peer_msg *m, int *fd)
{
	int number = (int)(m->cookie & (FN_SHM_PEERS - 1));
	bool lives, ok;

	if (m->type == FN_PEER_ATTACH) {
		if (p)
			fn_peer_free(p);
		p = attached(group, m, *fd);
		*fd = -1;
		return p;
	}
	if (m->type == FN_PEER_HELLO) {
		if (p && p->channel_room)
			p->channel = fn_peer_map_shared(*fd, p->channel_room, fn_peer_channel_size());
		if (p)
			p->channel_size = fn_peer_channel_size();
		return p;
	}
	lives = fn_shm_life(fn_fabric.nic, number) == m->cookie >> 32 && !fn_shm_is_dead(fn_fabric.nic, number);
	ok = lives && p && have(p, number, *fd);
	if (lives && !ok)
		fn_shm_peer_have(fn_fabric.nic, number, NULL);
	if (p && !ok)
		fn_peer_free(p);
	return NULL;
}

static void group_event(struct peer *group)
{
	struct peer *p = NULL;
	struct fn_peer_msg m;
	int fd;

	while (look(group, &m, &fd)) {
		p = take(group, p, &m, &fd);
		if (fd >= 0)
			fn_sys_close(fd);
	}
	if (p)	/* who met it has died meanwhile */
		fn_peer_free(p);
}

bool fn_half_event(struct peer *p)
{
	if (!fn_half_shared(p))
		return true;
	if (p->state == FN_PEER_GREETED)
		return greeted_event(p);
	if (p->state == FN_PEER_GROUP)
		group_event(p);
	return true;
}

bool fn_half_over(const struct peer *p)
{
	return p->state == FN_PEER_GROUP && fn_half_shared(p) && !fn_shm_offering(fn_fabric.nic, p->number) &&
	       !fn_tcp_peer_used(fn_engine.st, (uint16_t)p->number);
}
