/* SPDX-License-Identifier: BSD-3-Clause */
/* Between the files of the fabric: the table of peers. With the engine's lock held, unless it is said otherwise. */
#ifndef FN_FABRIC_PRIV_H
#define FN_FABRIC_PRIV_H

#include "shim/fabric.h"
#include "shim/peer.h"
#include "shim/rendezvous.h"
#include "stack/nic_shm.h"

enum fn_peer_state {
	FN_PEER_FREE,
	FN_PEER_MET,		/* somebody has come to a listener of ours: his page and his inbox are to follow */
	FN_PEER_CALLED,		/* for datagrams: it is to accept, and to answer our HELLO */
	FN_PEER_GREETED,	/* we have sent HELLO */
	FN_PEER_WELCOMED,	/* we have answered it, or are to; its payload memory is to come */
	FN_PEER_UP,
	FN_PEER_GROUP,		/* no process, but those that accept from one listener: they send word to its socket */
	FN_PEER_GONE,		/* dead, or not wanted; its memory may still be read by our program */
};

/* For one who accepts from those to whom we have offered something before we forked; made before that. Further ones are met by
 * one image alone, which must go on for the others to have what those claim. */
#define FN_BERTHS	16u
struct fn_berth {
	void *copies;			/* our payload memory for him alone */
	int fd;				/* of it: internal */
};

struct peer {
	uint8_t state;			/* enum fn_peer_state */
	bool self;
	int number;			/* nic_shm's; 0: none yet */
	uint32_t life;			/* which of all that have had that number */
	int sock;			/* internal; -1 */
	uid_t uid;
	uid_t met_as;			/* who we were then */
	uid_t sender;			/* of the last message, as the kernel says; -1: it does not */
	uint64_t since;
	void *channel;
	size_t channel_size;
	const void *payload;
	size_t payload_size;
	void *room;			/* address space for .payload, when other images are to have it there; NULL. Of a group: for berths */
	uint8_t *channel_room;		/* and for .channel, of whom a berth of our group was for; NULL */
	int copies_fd;			/* that of .copies, until it is handed over: internal; -1 */
	size_t room_size;		/* of one who is to send it: what he says he needs */
	int tell, told;			/* what comes of .payload goes from one image to the others (fabric_half.c): internal; -1 */
	bool met_twice;			/* it came so: perhaps it comes once more */
	void *copies;			/* of another user: our payload memory for it alone */
	/* of a group, and of one who offers connections to a listener of ours: */
	struct fn_page *page;
	uint64_t cookie;		/* group, or called: of the listener; 0: it has ended */
	bool calls;			/* we have called it, for datagrams */
	bool leaves;			/* of datagrams: nothing more is taken from it, at .since it is buried */
	uid_t speaker;			/* who made the name of that listener */
	const struct fn_file *listener;	/* whom it offers them to; NULL: nobody any more */
	int page_fd;			/* MET, of one that no board tells of, and of a group, to leave it again: internal; -1 */
	unsigned tries;			/* group: how often that was done in the second after .since */
	uint64_t adrift;		/* group: ns, since when nobody has it; 0: somebody has (fn_group_hung_up()) */
	uint64_t notice;		/* on the listener's board; 0: none */
	int inbox;			/* internal: where it hears from us; open as long as we may accept; -1 */
	uint32_t us;			/* under which number we claim them: ours, or of the image from which we have the peer */
	/* of a process of a group of whom we know: */
	struct peer *group;
	uint32_t id;			/* under which it claims */
	bool deaf;			/* it, or a group: there are no numbers for what its message brings (fn_group_hears()) */
	/* of a group that other images are to have (fabric_half.c): */
	struct fn_berth berth[FN_BERTHS];
	unsigned berths, taken;		/* of them, those that are there, and of these those that somebody has */
	unsigned heard;			/* of what was put up, what is known here */
	/* unsent.c: */
	uint64_t look_at;		/* ns: when its memory is looked at for what it has not sent; 0: not */
	uint64_t look_ns;		/* how long it has to be silent before */
	uint32_t entries;		/* fn_shm_heard() then */
	bool more;			/* something was there for which there was no room */
	uint64_t held_at;		/* holders.c: ns, when what an image's end asks for is tried again; 0: all is done */
	uint8_t held_tries;		/* so often it was in vain */
	uint8_t looks;			/* so many in vain before it is believed that there is nothing */
};

struct fn_fabric {
	struct fn_nic *nic;		/* NULL: no fabric */
	int payload_fd;			/* internal */
	void *payload;
	uid_t payload_uid;		/* who we were when it was made */
	uint64_t tick;
	uint64_t look;			/* when a connection that has said nothing can be accepted all the same */
	uint64_t look_at;		/* the first of the peers' (unsent.c) */
	int closed;			/* nobody is met any more: -errno; 0 */
	unsigned unprivileged;		/* the first port that any user may have */
	uint32_t id;			/* under which we claim */
	unsigned turn;			/* whose offers are looked at first */
};
extern struct fn_fabric fn_fabric;

/* ---- peers.c ---- */
unsigned fn_peers_top(void);
struct peer *fn_peer_at(unsigned i);
/* Takes sock; NULL: no place, and sock is closed. */
struct peer *fn_peer_new(enum fn_peer_state state, int sock);
void fn_peer_free(struct peer *p);
/* It has no socket any more, or no channel. */
void fn_peer_hang_up(struct peer *p);
void fn_peer_unmap_channel(struct peer *p);
/* A child that shares no stack has no peers: their sockets would keep them from hearing that we are gone. */
void fn_peers_forget(void);
struct peer *fn_peer_by_number(unsigned number);
/* nic_shm has given it that number. */
void fn_peer_numbered(struct peer *p, int number);
/* Its number is still its own. */
bool fn_peer_lives(const struct peer *p);
/* The images that have it, or will. */
uint64_t fn_peer_images(int number);
/* How large our payload memory for a peer alone is. */
size_t fn_peer_copies_size(void);

/* ---- fabric.c ---- */
void fn_peer_watch(struct peer *p);
void fn_fabric_watch_holder(int fd, unsigned i);
/* Its channel is made: descriptor to be sent and closed, -errno. */
int fn_peer_channel(struct peer *p);
/* p, over whose socket nothing has been said, is to be a peer with a number: a channel is made and sent. -errno. */
int fn_peer_greet(struct peer *p);
/* p, which we have called, has answered with its payload memory fd: it is up. False: it cannot be. */
bool fn_peer_join_called(struct peer *p, int fd);
/* The peer that we are to ourselves; NULL: there is none yet. */
struct peer *fn_peer_self(void);
/* Its number; it is made when there is none; -errno. */
int fn_fabric_self(void);
/* It is gone: all that it published is taken, then its connections end. */
void fn_peer_bury(struct peer *p);
/* It has ended: what is found in its memory for connections of ours. */
void fn_peer_take_left(const struct peer *p);
/* The message that brings its payload memory has come. False: it cannot be. */
bool fn_peer_welcomed(struct peer *p, const struct fn_peer_msg *m, int fd);
/* What it has sent is read; to_up: only until it can be talked to, and nobody is buried. */
void fn_peer_event(struct peer *p, bool to_up);
/* Where clients come to place i of the rendezvous, where other images tell of them, and where one is to answer: watched. */
void fn_fabric_watch_place(unsigned i);

/* ---- fabric_reach.c ---- */
/*
 * Meet whoever listens at `at`: with the lock held, `over` gets a socket that is connected to its rendezvous, and takes it. What
 * that returns; 0: nobody is there; -errno. Without the lock.
 */
int fn_fabric_meet(struct fn_rendezvous *at, int (*over)(struct fn_rendezvous *at, int sock));

/* ---- fabric_fork.c ---- */
/* Peers that no image has any more; may new ones come? */
void fn_fabric_tick_images(void);

/* ---- unsent.c ---- */
/* Who has left something in its memory and does something else: it is taken from there. With the lock held. */
void fn_unsent_tick(uint64_t now);
/* A connection has just been claimed from p with so much text that there may be more. */
void fn_unsent_expect(struct peer *p);
/* Is there room in the family for what comes with a new peer: children for its connections? */
bool fn_fabric_room(void);

/* ---- fabric_half.c ---- */
/* Other images are to meet p, too, or have already. */
bool fn_half_shared(const struct peer *p);
/* Before what p has sent is read: from other images, and for them. False: it is to be buried. */
bool fn_half_event(struct peer *p);
/* Its payload memory is mapped, in its room if it has one. False: it cannot be. */
bool fn_peer_take_payload(struct peer *p, int fd);
/* There is nothing more to be told of p. */
void fn_half_end(struct peer *p);
/* p, of a group of ours, is going to be met; has sent its channel; its payload memory, which is mapped. */
void fn_half_introduced(struct peer *p);
void fn_half_channel(const struct peer *p, int fd);
void fn_half_payload(const struct peer *p, int fd);
/* p is a group for what was offered before a fork, and nothing of that is left. */
bool fn_half_over(const struct peer *p);

/* ---- group_offer.c ---- */
/* Two internal descriptors, a pair of sockets that keep messages apart; -errno. */
int fn_peer_pair(int end[2]);
/* The number of the group that accepts from that listener; 0: none is known. at->speaker is filled in. */
int fn_group_known(struct fn_rendezvous *at);
/* Offer ourselves to it by a socket that is connected to its rendezvous, and is closed: its number, or -errno. */
int fn_group_meet(struct fn_rendezvous *at, int sock);
/* Nobody has the inbox of that group any more. True: it has been left again for somebody who listens, or will be (.adrift). */
bool fn_group_hung_up(struct peer *p);

/* ---- group.c ---- */
/* A message to one that is MET, or to a GROUP's socket. False: nonsense. Takes *fd when it sets it to -1. */
bool fn_group_message(struct peer *p, const struct fn_peer_msg *m, int *fd, bool to_up);
/* May a message of p's be read? One of a group's, or of its claimer's, brings descriptors, and stays while there are no
 * numbers for them (fn_group_look_again()). */
bool fn_group_hears(struct peer *p);
/* Somebody has come to that place of the rendezvous' table. False: there is no number to receive him by, he waits on. */
bool fn_group_come(unsigned place);
/*
 * p is a group that takes nothing from us any more, whose listener is the kernel's still: what nobody has claimed goes on
 * there. True: something will, soon.
 */
bool fn_fallback(struct peer *p);
/* Notices on that place's board are read. */
void fn_group_read(unsigned place);
/* TCP_DEFER_ACCEPT: has a connection been silent long enough? */
void fn_group_deferred(uint64_t now);
/* Boards on which another process may have kept us from seeing something; those for whom there was no descriptor. */
void fn_group_look_again(void);
/* There are such, or a group of ours is adrift: fn_fabric_tick() is to be called, though nothing else may happen. */
bool fn_group_looks_again(void);
/* Other images are to have that place's listener: whom we have met before it had a board is put up there. */
void fn_group_post(unsigned place);
/* In a child: p, which it does not get from its parent, is to be met by itself. */
void fn_group_again(const struct peer *p);
/* No listener of this image is anybody's any more. */
void fn_fabric_offer_nothing(void);
/* p, of a group of ours, has a number: it may be rung and claim. */
void fn_group_joined(struct peer *p);
/* nic_shm's questions (fn_shm_conf). */
void fn_group_offered(void *ctx, int number);
void fn_group_introduce(void *ctx, int group);
bool fn_group_deaf(void *ctx, int group);
void fn_group_moved(void *ctx, const struct fn_ep *local, const struct fn_ep *remote, int number);
bool fn_group_back(void *ctx, int group, size_t from, size_t to);

#endif
