/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * The family: process images that share one stack, because one of them forked while it had live connections, or handed one
 * to the relay. Who they are, the stack's lock from then on, and the death of a member. Owns the shared page's members and
 * lock; must not know a kind of file.
 *
 * An image holds a robust lock of its own for its life. The kernel marks it when the thread that took it ends, which is
 * the hint; that the process has ended, or has announced an exec and lost the lock, decides.
 */
#ifndef FN_FAMILY_H
#define FN_FAMILY_H

#include "shim/robust.h"
#include "stack/sock.h"

#define FN_IMAGES	64			/* bits of fn_sock.images */
#define FN_RELAY_IMAGE	(FN_IMAGES - 1)		/* the relay's place: no fork takes it */
#define FN_SHARED_EVENTS 512

struct fn_member {
	_Atomic(int32_t) pid;		/* 0: free; FN_MEMBER_BORN: forked, has not said anything yet */
	_Atomic(bool) leaving;		/* is about to exec */
	uint32_t serial;		/* counts the lives of this place */
	_Atomic(int32_t) self;		/* what it calls itself, and its PID namespace (an inode); 0: not said */
	uint64_t self_ns;
	uint64_t born;			/* ns: when the place was taken */
	uint64_t suspect;		/* ns: .leaving and its lock lost since; 0: not */
	struct fn_robust life;
};
#define FN_MEMBER_BORN	(-1)

/*
 * What images that share a stack have in common: the lock, who they are, and the events that one of them saw on the
 * others' sockets. Its own mapping, made anew in a child that shares no stack. All but atomics under the lock.
 */
struct fn_shared {
	struct fn_robust lock;
	uint32_t conversions;		/* of connections that more than one image held: see convert.h */
	_Atomic(uint32_t) changes;	/* members that came, went, or are about to go */
	uint32_t untold;		/* holders of connections that somebody could not announce (holders.h) */
	bool relay;			/* FN_RELAY_IMAGE has the relay */
	struct fn_ep ceded;		/* the last listener of the fabric whose connection was converted (fn_fabric_cede()), */
	uint32_t cedes;			/* and how many there have been */
	uint64_t asleep;		/* images (a bit each) that sleep and hear their bell */
	uint64_t rung;			/* images with letters in their bell */
	uint64_t bell_key;		/* in the names of the bells */
	uint64_t bell_secret;		/* in their letters; of members alone */
	uint32_t bells[FN_IMAGES];	/* bells that an image number has had */
	uint8_t holders[FN_IMAGES];	/* letters about a peer's holders that lie in its bell */
	uint64_t untaken;		/* images whose bells had no room for a converted connection's end: the relay keeps it */
	uint64_t head;			/* events written so far */
	struct {
		struct fn_sock *sk;
		unsigned events;
	} event[FN_SHARED_EVENTS];
	struct fn_member member[FN_IMAGES];
};

/* ---- the lock, once fn_engine.shares is set: for fn_engine_lock() and its kin only ---- */
void fn_family_lock(void);
bool fn_family_trylock(void);
void fn_family_unlock(void);

/* ---- how it comes about: with the lock held, but fn_family_join() ---- */
/* From now on the stack's lock is the shared one, which the caller holds then instead of its image's own. */
void fn_family_found(void);
/* A place for a child of fork: its image number, or -1: none left. */
int fn_family_expect(void);
/* The place of the relay, which is free. */
void fn_family_expect_relay(void);
/* The fork has failed. */
void fn_family_cancel(int image);
/* In the parent, once it knows; without the lock. */
void fn_family_named(int image, int pid);
/* In the child: it is that image from now on. Without the lock, which its parent may hold. False: it was taken for dead
 * meanwhile, and has nothing any more. */
bool fn_family_join(int image);
/* This image goes, and holds nothing any more. */
void fn_family_leave(void);
/* The same for an image that lives on: its references in the stack are given back before. With the lock held. */
void fn_family_resign(void);
/* An image whose bell has gone: what it held is closed, unless that has happened already. */
void fn_family_lost(int image);
/* In a child that shares nothing: descriptors of the family are closed. */
void fn_family_forget(void);

/* ---- life ---- */
/* This image is about to exec, or that has failed. With the lock held. */
void fn_family_leaving(bool on);
/* Somebody is about to exec: his sockets may be for the others to close soon. With the lock held. */
bool fn_family_somebody_leaves(void);
/* Are there others? With the lock held. */
bool fn_family_others(void);
/* A pidfd of that image, to be closed if *opened; -EAGAIN: not now, or -errno. With the lock held. */
int fn_family_pidfd(unsigned image, bool *opened);
/* Has the process of that pidfd ended? No number of a pidfd is no answer: false. */
bool fn_family_ended(int pidfd);
/* How many there are, we included; 0: the stack has never been shared. With the lock held. */
unsigned fn_family_size(void);

/* One round of whoever drives: who has died. With the lock held. */
void fn_family_round(uint64_t now);
/* Somebody may have died just now: looked at without delay. With the lock held. */
void fn_family_look(void);
/* A thread of this image is about to sleep for the stack: the descriptor that must be in its ppoll (-1: none), and *until,
 * brought forward when somebody must look. And after the sleep. With the lock held. */
int fn_family_sleep(uint64_t now, uint64_t *until);
void fn_family_woken(uint64_t now);

#endif
