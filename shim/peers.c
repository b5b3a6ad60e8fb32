/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * The table of peers of this image: a place each from the first message to the end of its memory. Must not know what a
 * message says. With the engine's lock held.
 */
#include "shim/engine.h"
#include "shim/fabric_priv.h"
#include "shim/fdtable.h"
#include "shim/holders.h"
#include "shim/known.h"
#include "shim/uid.h"
#include "stack/shm_page.h"

static struct peer peers[FN_SHM_PEERS];
static unsigned top;			/* peers in use are below */
static struct peer *by_number[FN_SHM_PEERS];

unsigned fn_peers_top(void)
{
	return top;
}

struct peer *fn_peer_at(unsigned i)
{
	return &peers[i];
}

struct peer *fn_peer_new(enum fn_peer_state state, int sock)
{
	unsigned i;

	for (i = 0; i < FN_SHM_PEERS && peers[i].state != FN_PEER_FREE; i++)
		;
	if (i == FN_SHM_PEERS) {
		fn_fd_internal_close(sock);
		return NULL;
	}
	top = fn_max(top, i + 1);
	peers[i] = (struct peer){ .state = (uint8_t)state, .sock = sock, .inbox = -1, .page_fd = -1, .tell = -1,
		.told = -1, .copies_fd = -1, .uid = (uid_t)-1, .met_as = fn_uid_own(), .since = fn_now() };
	if (sock >= 0)
		fn_fd_internal_track(&peers[i].sock);
	return &peers[i];
}

uint64_t fn_peer_images(int number)
{
	return fn_shm_images(fn_fabric.nic, number) | fn_shm_wanted(fn_fabric.nic, number);
}

bool fn_peer_lives(const struct peer *p)
{
	return p->number > 0 && fn_shm_life(fn_fabric.nic, p->number) == p->life;
}

struct peer *fn_peer_by_number(unsigned number)
{
	struct peer *p = number < FN_SHM_PEERS ? by_number[number] : NULL;

	return p && fn_peer_lives(p) ? p : NULL;
}

void fn_peer_numbered(struct peer *p, int number)
{
	p->number = number;
	p->life = fn_shm_life(fn_fabric.nic, number);
	by_number[number] = p;
	fn_engine.st->stats.fabric_peers++;
}

size_t fn_peer_copies_size(void)
{
	return fn_min(fn_config.fabric_memory & ~4095ul, (size_t)FN_SHM_COPIES);
}

void fn_peer_unmap_channel(struct peer *p)
{
	if (p->channel)
		fn_peer_unmap(p->channel, p->channel_size);
	else
		fn_peer_unmap(p->channel_room, fn_peer_channel_size());
	p->channel = p->channel_room = NULL;
}

void fn_peer_hang_up(struct peer *p)
{
	fn_half_end(p);
	fn_holders_forget(p);
	fn_fd_internal_close(p->sock);
	p->sock = -1;
}

void fn_peer_free(struct peer *p)
{
	fn_known_forget();
	fn_peer_hang_up(p);
	fn_fd_internal_close(p->inbox);
	fn_fd_internal_close(p->page_fd);
	if (p->number > 0 && by_number[p->number] == p)
		by_number[p->number] = NULL;
	fn_peer_unmap_channel(p);
	if (!p->self)
		fn_peer_unmap(p->payload, p->payload_size);
	fn_peer_unmap(p->room, p->room_size);
	fn_fd_internal_close(p->copies_fd);
	fn_peer_unmap(p->copies, fn_peer_copies_size());
	fn_peer_unmap(p->page, FN_PAGE_SIZE);
	for (unsigned i = 0; i < top; i++)
		if (peers[i].group == p)
			peers[i].group = NULL;
	*p = (struct peer){ .sock = -1, .inbox = -1, .page_fd = -1, .tell = -1, .told = -1, .copies_fd = -1 };
}

void fn_peers_forget(void)
{
	for (unsigned i = 0; i < top; i++)
		if (peers[i].state != FN_PEER_FREE)
			fn_peer_free(&peers[i]);
	top = 0;
	fn_holders_forget_ours();
	fn_engine.to_itself = false;
}
