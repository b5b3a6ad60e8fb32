/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * The fabric when process images share a stack: which of them has a peer, what a child keeps of its parent's, what becomes of
 * the peers of one that has gone. Everything with the engine's lock held, or in a child that has no other thread yet.
 */
#include "shim/dgram.h"
#include "shim/engine.h"
#include "shim/fabric_priv.h"
#include "shim/family.h"
#include "shim/fdtable.h"
#include "shim/known.h"
#include "stack/shm_page.h"

#define CROWD	40	/* images of FN_IMAGES: then the kernel has new clients until there are fewer */

bool fn_fabric_room(void)
{
	return !fn_engine.shares || (!fn_engine.shared->relay && fn_family_size() <= CROWD);
}

/* Peers of images that have gone: their process has seen that. */
static void tick_orphans(void)
{
	for (int i = 0; (i = fn_shm_orphan(fn_fabric.nic, i + 1));)
		if (!fn_tcp_peer_used(fn_engine.st, (uint16_t)i))
			fn_shm_peer_del(fn_fabric.nic, i);
}

/* No names while there are too many of us: whoever comes to one could not be served. */
static void tick_names(void)
{
	if (fn_fabric_room())
		fn_rendezvous_resume(fn_fabric_watch_place);
	else
		fn_rendezvous_pause();
}

void fn_fabric_tick_images(void)
{
	tick_names();
	if (fn_engine.shares)
		tick_orphans();
}

/* Whoever was not met altogether, and is not expected to be, and the groups, are the parent's (fn_shm_image_born()). */
static void keep_peers(void)
{
	for (unsigned i = 0; i < fn_peers_top(); i++) {
		struct peer *p = fn_peer_at(i);

		if (p->state == FN_PEER_FREE || p->state == FN_PEER_UP || p->state == FN_PEER_GONE || fn_half_shared(p))
			continue;
		if (p->state == FN_PEER_GREETED)
			fn_group_again(p);
		fn_peer_free(p);
	}
	fn_sys(SYS_getrandom, &fn_fabric.id, sizeof(fn_fabric.id), 0);
	fn_fabric.id = 1 + fn_fabric.id % FN_PAGE_ID_MAX;
}

void fn_fabric_image_born(unsigned image)
{
	const struct fn_member *m = fn_engine.shared->member;

	if (!fn_fabric.nic)
		return;
	fn_shm_image_life(fn_fabric.nic, fn_engine.image, m[fn_engine.image].serial);
	fn_shm_image_life(fn_fabric.nic, image, m[image].serial);
	fn_shm_image_born(fn_fabric.nic, fn_engine.bit, 1ull << image);
}

bool fn_fabric_elsewhere(uint16_t number, uint64_t image)
{
	uint64_t images = fn_fabric.nic ? fn_shm_images(fn_fabric.nic, number) : 0;

	return images & ~image && !(images & fn_engine.bit) && !fn_shm_is_dead(fn_fabric.nic, number) &&
	       !fn_shm_is_group(fn_fabric.nic, number);
}

void fn_fabric_image_gone(uint64_t image)
{
	if (!fn_fabric.nic)
		return;
	fn_shm_image_gone(fn_fabric.nic, image);
	for (int i = 0; (i = fn_shm_orphan(fn_fabric.nic, i + 1));) {
		if (fn_shm_is_dead(fn_fabric.nic, i))
			continue;
		fn_shm_peer_dead(fn_fabric.nic, i);
		fn_tcp_peer_gone(fn_engine.st, (uint16_t)i);
	}
}

void fn_fabric_relay(void)
{
	keep_peers();
	fn_fabric_offer_nothing();
	fn_rendezvous_leave();
}

void fn_fabric_forked(bool child, bool shares)
{
	fn_rendezvous_forked(child);
	fn_known_forget();
	if (child && shares)
		keep_peers();
	if (!child)
		fn_dgram_forked();
	if (!child || shares)
		return;
	fn_peers_forget();
	fn_peer_unmap(fn_fabric.payload, fn_config.fabric_memory & ~4095ul);
	fn_fd_internal_close(fn_fabric.payload_fd);
	fn_fabric.payload_fd = -1;
	fn_fabric.payload = NULL;
	fn_fabric.nic = NULL;
	fn_engine.fabric = false;
}
