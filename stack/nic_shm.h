/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * The memory side of the same-host fabric: a NIC whose peers are other processes. Small frames travel in a ring of shared
 * memory, larger ones stay in the sender's payload memory, which the receiver maps read-only, until it has been read.
 * Knows memory only: who the peers are, how memory gets to them and how a sleeper is woken is the shim's.
 *
 * A peer has a number in this NIC, from 1 up: the link address of its frames, and fn_pkt.peer of what comes from it. The
 * NIC is ordered and lossless; a ring that is full holds its peer's packets back (fn_nic_ops.full), and nobody else's.
 *
 * Everything a peer writes is copied and then checked. What cannot be true ends the traffic with it (fn_shm_broken()).
 *
 * Of several process images that share the stack, each has the memory of the peers that it has met, and of those that it has
 * inherited. Nobody else touches it: what another image would send is kept, what it would receive stays in the ring, until
 * one of them runs, for which it is rung.
 */
#ifndef FN_NIC_SHM_H
#define FN_NIC_SHM_H

#include "arena.h"
#include "nic.h"
#include "shm_ring.h"
#include "sock.h"

#define FN_SHM_PEERS	1024	/* numbers 1 … FN_SHM_PEERS-1 */
#define FN_SHM_BUF	4096	/* bytes of a payload buffer, headroom included */
#define FN_SHM_IMAGES	64	/* bits of fn_sock.images */
#define FN_SHM_COPIES	(4u << 20)	/* the most payload memory that is one peer's alone */

/* The link's next hop for a peer: an address of class E (RFC 1112 4), which no IP packet carries. */
#define FN_SHM_HOP(number)	(0xf0000000u | (number))

struct fn_page;

struct fn_shm_conf {
	void *payload;		/* our payload memory: shared, page-aligned; peers map it read-only */
	size_t payload_len;
	/* Back its first `size` bytes (they are, of a fresh one, not); 0 or -E*, as fn_arena_grow_fn. NULL: all of it is there. */
	int (*grow)(void *ctx, size_t size);
	/* Likewise of that peer's own memory (fn_shm_pair.copies). */
	int (*grow_copies)(void *ctx, int number, size_t size);
	/* A sleeper was sent something: rung at once, with the stack's lock held. NULL: fn_shm_bell() tells who it was. */
	void (*ring)(void *ctx, int number);
	/* That peer may have lost what it has not acknowledged: fn_tcp_peer_again(). From a round of the stack. */
	void (*again)(void *ctx, int number);
	/* ---- with groups (below); all with the stack's lock held ---- */
	/* Peer `number` offers connections that it has not offered before: from a round of the stack. */
	void (*offered)(void *ctx, int number);
	/* Some process of the group has claimed something, or begun to wait, that has not been introduced: it has sent word. */
	void (*introduce)(void *ctx, int group);
	/* That word cannot be read now, but will be: whoever has claimed something of the group is waited for. NULL: it can. */
	bool (*deaf)(void *ctx, int group);
	/* The connection local > remote, whose .peer is a group, is that process' now: fn_tcp_peer_moved(). */
	void (*moved)(void *ctx, const struct fn_ep *local, const struct fn_ep *remote, int number);
	/* Back [from, to) of the group's page; false: no memory. NULL: all of it is there. */
	bool (*back)(void *ctx, int group, size_t from, size_t to);
	/* What was due on that peer's connections while an image ran that has not got its memory: fn_tcp_peer_late(). */
	void (*late)(void *ctx, int number);
	void *ctx;
	const uint64_t *image;	/* the bit of the image that runs, in memory of its own; NULL: there is only one */
};

/* What a pair of processes shares, as one of them sees it. */
struct fn_shm_pair {
	void *tx, *rx;		/* fn_ring_size(slots) bytes each, zeroed at first: ours to write, theirs to write */
	uint32_t tx_slots, rx_slots;	/* powers of two, FN_RING_SLOTS_MIN … FN_RING_SLOTS_MAX */
	const void *payload;	/* the peer's payload memory; NULL: not here yet (fn_shm_peer_payload()) */
	size_t payload_len;
	void *copies;		/* memory of ours that this peer alone maps, to read: what it is sent is copied there; NULL: it */
	size_t copies_len;	/* maps fn_shm_conf.payload */
};

/* In the arena; no address, no route: its paths are opened by peer (fn_path_to()). NULL: no memory. */
struct fn_nic *fn_shm_create(struct fn_arena *a, const struct fn_shm_conf *conf);

/* A new peer; its number, or -ENOSPC, -ENOMEM, -EINVAL. The memory must stay until fn_shm_peer_del() has returned true. */
int fn_shm_peer_add(struct fn_nic *nic, const struct fn_shm_pair *pair);

/*
 * Its payload memory, of one that was added without. Until then nothing is read from its ring. Of several images each says so
 * when it has it, at the same place; what comes is copied until all have.
 */
void fn_shm_peer_payload(struct fn_nic *nic, int number, const void *payload, size_t payload_len);
/* Every image will have its payload memory there: a child has the peer, too, though its memory is still to come. */
void fn_shm_peer_expect(struct fn_nic *nic, int number, const void *payload);
/* A child is to have that group, too: what was offered there before it was forked. */
void fn_shm_group_expect(struct fn_nic *nic, int number);
/*
 * This image has met a peer that all of `images` can have: it lies ready for them, and is no orphan. Each says what has become
 * of that: it has all of the peer, at the same places (false: no), or cannot (NULL). And who has not said so yet.
 */
void fn_shm_peer_want(struct fn_nic *nic, int number, uint64_t images);
bool fn_shm_peer_have(struct fn_nic *nic, int number, const void *payload);
uint64_t fn_shm_wanted(const struct fn_nic *nic, int number);
/*
 * Children have what was offered to that group, without it: others meet who claims that. Or: this image alone has met that
 * process of a group; what it has claimed may be connections of others, if what was offered there was.
 */
void fn_shm_peer_apart(struct fn_nic *nic, int number);
/* Has this image its payload memory? */
bool fn_shm_is_ready(const struct fn_nic *nic, int number);

/*
 * The peer is gone, or not wanted: nothing more is sent to it or read from it, so the rings may be unmapped, and what it
 * held of our memory is free. Segments to it are answered with a reset, as its kernel would.
 */
void fn_shm_peer_dead(struct fn_nic *nic, int number);

/*
 * Forget one that is dead, or bury it first. True when no packet refers to its payload memory any more, so that it may be
 * unmapped, and its number may become another's; else ask again later.
 */
bool fn_shm_peer_del(struct fn_nic *nic, int number);

/* ---- the images of a shared stack ---- */
/* Which of all peers that have come has that number? 0: none. */
uint32_t fn_shm_life(const struct fn_nic *nic, int number);
/* Some image has declared it dead, or forgotten it. */
bool fn_shm_is_dead(const struct fn_nic *nic, int number);
/* The images (bits) that have the memory of the peer; 0: none, or there is no such peer. */
uint64_t fn_shm_images(const struct fn_nic *nic, int number);
/*
 * A child is about to be forked by image `parent`: it has all that its parent has of peers with which the meeting is over, or
 * that are expected. Others, whom we are about to meet, and groups, stay the parent's.
 */
void fn_shm_image_born(struct fn_nic *nic, uint64_t parent, uint64_t child);
/* Which of all images that have had bit `place` has it now: before anything is held by it. And whether peer `number` has been
 * sent the means to see the end of that one. */
void fn_shm_image_life(struct fn_nic *nic, unsigned place, uint32_t life);
bool fn_shm_announced(const struct fn_nic *nic, int number, unsigned place);
void fn_shm_announce(struct fn_nic *nic, int number, unsigned place);
/* An image has nothing any more. */
void fn_shm_image_gone(struct fn_nic *nic, uint64_t image);
/* A number whose peer is dead, and will never be another: for connections whose far end has gone without it. 0: there is none. */
int fn_shm_nobody(struct fn_nic *nic);
/* The first peer from number `from` on that no image has, or will: it is to be declared dead, and forgotten; 0: none. */
int fn_shm_orphan(const struct fn_nic *nic, int from);

/* It is no process, but a group (below). */
bool fn_shm_is_group(const struct fn_nic *nic, int number);

/* The peer has written what cannot be. */
bool fn_shm_broken(const struct fn_nic *nic, int number);
/*
 * What a peer that has ended has left behind in its memory for us, beyond the ring: the next thing, for fn_tcp_left(); false:
 * no more. *left: all zero at first but .where. LEFT_OURS is asked before fn_shm_peer_dead().
 */
enum fn_left_where {
	FN_LEFT_OURS,		/* in its payload memory, of what it had with us */
	FN_LEFT_OFFERED,	/* of what it had offered, and we have claimed */
	FN_LEFT_PAGE,		/* the same, in its page; the last one */
};
bool fn_shm_left(struct fn_nic *nic, int number, struct fn_left *left);
/*
 * What a peer that lives has written, and not sent: nobody drives its stack while its program does something else. The next
 * piece in its memory, with ends, .seq, .off, .len and .fin, as above; and a copy of it, NULL when there is none (any more).
 */
bool fn_shm_unsent(struct fn_nic *nic, int number, struct fn_left *left);
struct fn_pkt *fn_shm_unsent_text(struct fn_nic *nic, int number, const struct fn_left *left);
/*
 * Of a peer that lives, and is several images: the next connection that only some of `gone` hold, or fewer, with its ends and
 * how far it was read in .left; all zero at first. Afterwards, is that still so? And the life of that place, as it says.
 */
struct fn_held {
	struct fn_left left;
	uint64_t images;
	uint32_t changes;
	const struct fn_read *at;
};
bool fn_shm_held(struct fn_nic *nic, int number, uint64_t gone, struct fn_held *held);
bool fn_shm_still_held(const struct fn_held *held);
uint32_t fn_shm_life_there(struct fn_nic *nic, int number, unsigned place);
/* Something that it has not sent lies where we do not see it. */
bool fn_shm_keeps(struct fn_nic *nic, int number);
/* Has it said that there is something, and does not wait in the library now, where it would be rung? And it is looked for. */
bool fn_shm_behind(const struct fn_nic *nic, int number);
void fn_shm_behind_seen(struct fn_nic *nic, int number);
/* Changes with every entry that comes from it. */
uint32_t fn_shm_heard(const struct fn_nic *nic, int number);
/* Nothing of what it has sent waits in the ring. */
bool fn_shm_drained(const struct fn_nic *nic, int number);
/* Buffers of ours that the peer has not given back: bytes that its program may not have read. */
uint32_t fn_shm_lent(const struct fn_nic *nic, int number);

/* Tell the peer that we take nothing more; it sees that the next time it asks fn_shm_takes(). */
void fn_shm_peer_close(struct fn_nic *nic, int number);
/*
 * Would a datagram of so many bytes lie in the peer's ring at once, and not keep more than a share of our memory until the peer
 * reads it? Who has another way takes that.
 */
bool fn_shm_takes(struct fn_nic *nic, int number, size_t len);
/* Something that we have sent has not been taken out of the ring, as far as the peer has told, and it has not said that it takes no more. */
bool fn_shm_untaken(const struct fn_nic *nic, int number);

/* A peer that sleeps and has been sent something since it was asked last: its number, then the next one's; 0: no more. */
int fn_shm_bell(struct fn_nic *nic);

/* We run on that CPU: peers are told when it is another one. And: does the one that sent last run there too? Spinning for it
 * would keep it from running. */
void fn_shm_run_on(struct fn_nic *nic, uint32_t cpu);
bool fn_shm_beside(const struct fn_nic *nic);

/* Before a sleep: ask all peers for a bell; false: there is something already. And after it. */
bool fn_shm_arm(struct fn_nic *nic);
/* That peer has rung: it is to ring again. */
void fn_shm_rearm(struct fn_nic *nic, int number);
void fn_shm_disarm(struct fn_nic *nic);

/* ---- shm_frame.c: p is a frame that we have built, its headers in the first buffer ---- */
/* Length of the IPv4 header and TCP's or UDP's. */
uint32_t fn_shm_headers(const struct fn_pkt *p);
/*
 * What a host answers to p whose process has ended: an IPv4 packet in `out`, FN_SHM_RESET_LEN bytes. What is in its FIN_WAIT2
 * takes ACK and FIN still; bytes for a process that is not there are answered with a reset. False: nothing.
 */
#define FN_SHM_RESET_LEN 40
bool fn_shm_reset(const struct fn_pkt *p, uint8_t *out);
/* A segment that another host would have sent; FN_SHM_BARE_MAX bytes in `out` at most. Its length. */
struct fn_shm_bare {
	uint32_t src, dst, seq, ack;	/* numbers in host order */
	uint16_t sport, dport, win;
	uint8_t flags;			/* with SYN: the options, too */
};
#define FN_SHM_BARE_MAX 48
uint32_t fn_shm_bare(const struct fn_shm_bare *b, uint16_t mss, uint8_t wscale, uint8_t *out);

/*
 * ---- groups: the processes that accept from one listener (shm_mail.c) ----
 *
 * A group has a number as a peer has. What is sent to it lies in a page (shm_page.h) that its processes share with us: a SYN
 * is answered at once, by ourselves, text is acknowledged; whoever of them accepts takes the connection over, and it is moved
 * to that process' number. So nobody need be there when we connect, and nothing is lost with us, or with one of them.
 */
/* page: FN_PAGE_SIZE bytes, zeroed. Its number, or -ENOSPC, -ENOMEM. It ends as a peer does: fn_shm_peer_dead(), then _del(). */
int fn_shm_group_add(struct fn_nic *nic, struct fn_page *page, uint32_t backlog);
/* Peer `number` is a process of that group, and claims under `id`. */
void fn_shm_group_join(struct fn_nic *nic, int number, int group, uint32_t id);

/* And their side: peer `number` offers connections in that page. NULL: no more to this image. */
void fn_shm_offers(struct fn_nic *nic, int number, struct fn_page *page);
/* Can one of them be claimed? `defer`, ns: not before it has said something, or so much time has passed (TCP_DEFER_ACCEPT). */
bool fn_shm_offered(const struct fn_nic *nic, int number, uint64_t defer);
/* When one will be claimed that has said nothing; FN_NEVER: there is none. */
uint64_t fn_shm_deferred(const struct fn_nic *nic, int number, uint64_t defer);
/* The images (bits) to which it offers them; 0: it offers none. */
uint64_t fn_shm_accepting(const struct fn_nic *nic, int number);
/* What we offer to that group, and nobody has claimed yet, or we have not seen it. */
bool fn_shm_offering(const struct fn_nic *nic, int number);
/* And the address to which one of them was made: network order, and host order. False: there is none. */
bool fn_shm_offering_to(const struct fn_nic *nic, int number, uint32_t *ip4, uint16_t *port);
/*
 * What nobody claims can be taken back. Those that could be, from `slot` on, one after the other: false when there is no
 * other. .text is what has been written to it, and stays until the next frame to the group.
 */
struct fn_shm_offer {
	unsigned slot;
	struct fn_ep local, remote;
	const uint8_t *text;
	uint32_t len;
	uint32_t next;		/* the sequence number behind it */
	bool fin, rst, urg;
};
bool fn_shm_offer_from(const struct fn_nic *nic, int number, unsigned slot, struct fn_shm_offer *o);
/* Nobody will claim o, and no frame of its connection goes anywhere. False: somebody has claimed it, or *o is not all of it. */
bool fn_shm_take_back(struct fn_nic *nic, int number, const struct fn_shm_offer *o);
/* Claim one under `id`, ours in that group, for fn_tcp_claim(). 0, -EAGAIN: there is none; -EPROTO: what was there is none. */
int fn_shm_claim(struct fn_nic *nic, int number, uint64_t defer, uint32_t id, struct fn_offer *o);

/* Packet buffers of ours that are neither free nor never used: for tests and tools. */
uint32_t fn_shm_outstanding(const struct fn_nic *nic);

#endif
