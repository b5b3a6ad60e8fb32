/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * Where processes of this host meet: an abstract UNIX socket for each listener of a Fastnet process, named after the
 * SO_COOKIE of the kernel's listening socket, and the layout (FN_PEER_VERSION), so that those of another are not met. The
 * kernel alone says who has a port: the name counts only for the socket that sock_diag finds at an address now, and only if
 * who called listen() on the name (SO_PEERCRED) is the user of that socket, or root. So nobody can answer for somebody
 * else's listener, whatever names there are.
 */
#ifndef FN_RENDEZVOUS_H
#define FN_RENDEZVOUS_H

#include "shim/board.h"
#include "shim/file.h"
#include "shim/handover.h"

#define FN_RENDEZVOUS_MAX 256	/* listeners of an image; further ones are the kernel's only */

/* A listener as the kernel knows it. */
struct fn_rendezvous {
	uint64_t cookie;
	uid_t uid;
	uint32_t backlog;
	uid_t speaker;	/* who has made its name; by fn_rendezvous_connect() */
};

/*
 * f, whose number is fd, has just begun to listen: make its name. Failing is no error of the program's: nobody will come by
 * the fabric then. If the kernel's socket is another image's listener as well, what that one has comes with the program
 * (handover.h), or is asked for: the answer comes in time. Called without locks, in the call that listens.
 */
void fn_rendezvous_open(struct fn_file *f, int fd);
/* The end of f: the name goes. With the engine's lock held. Its cookie, 0: there was none. */
uint64_t fn_rendezvous_close(const struct fn_file *f);

/* Whose socket listens at ip4 (network order), port (host order)? 0, -ENOENT: none; -errno: the kernel does not tell. */
int fn_rendezvous_find(uint32_t ip4, uint16_t port, struct fn_rendezvous *at);
/* Likewise: which datagram socket gets what is sent from `from` to `to`? .backlog is not set. */
int fn_rendezvous_find_datagram(const struct fn_ep *from, const struct fn_ep *to, struct fn_rendezvous *at);
/* An internal descriptor connected to the name of `at`, SO_PASSCRED set. -ECONNREFUSED: no Fastnet process; -EPERM: the
 * name is somebody else's; -errno. */
int fn_rendezvous_connect(struct fn_rendezvous *at);
/* Has an image of ours the listener fd by the fabric? */
bool fn_rendezvous_is_named(int fd);
/* Does at->speaker's word count for that listener? Only its user's, or root's. */
bool fn_rendezvous_speaks(const struct fn_rendezvous *at);
/* The cookie in the name of a descriptor that listens at a rendezvous of our layout; 0: it is something else. */
uint64_t fn_rendezvous_named(int fd);
/* The image is in other namespaces, or another image: the kernel is to be asked anew. */
void fn_rendezvous_namespace(void);

/* ---- the image's own; with the engine's lock held ---- */
/* The file that listens by that cookie, and whether a child may be the one that accepts, or reads; NULL: not ours. */
struct fn_file *fn_rendezvous_own(uint64_t cookie, bool *forked);
struct fn_file *fn_rendezvous_by(uint64_t cookie);
/*
 * Of datagrams: f is read from by this image from now on; have other images the socket of place i, or had they (kin.h)? And do
 * none of them read from it, for a second now? True of listeners, which have groups.
 */
void fn_rendezvous_reads(const struct fn_file *f);
bool fn_rendezvous_has_kin(unsigned i);
bool fn_rendezvous_alone(unsigned i);
/* What is to be watched for that: descriptors, and zeros. Their number. */
unsigned fn_rendezvous_kin(unsigned i, const int **end);
/* Number of places, and the descriptor in place i that is to be watched: f waits for connections. -1: none. */
unsigned fn_rendezvous_count(void);
int fn_rendezvous_watched(unsigned i);
/* And the board of place i, when other images have the listener too and it is watched; NULL. */
struct fn_board *fn_rendezvous_board(unsigned i);
/* Before a fork: listeners that have a name get a board. */
void fn_rendezvous_fork_prepare(void);
const struct fn_file *fn_rendezvous_file(unsigned i);
int fn_rendezvous_place(const struct fn_file *f);
/* f has opened its stack side: its place, to be watched from now on; -1: it has no name. */
int fn_rendezvous_watch(const struct fn_file *f);
/* What place i has for other images: a board too, the name perhaps; -errno. */
int fn_rendezvous_share(unsigned i, struct fn_handover *h);
/* The socket by which place i has asked another image for it; -1. */
int fn_rendezvous_asking(unsigned i);
/* May a process of that user, who asks for what belongs to the listener of that cookie, have what place i has? */
bool fn_rendezvous_may_have(unsigned i, uint64_t cookie, uid_t uid);
/* Somebody waits at place i whom there is no number to receive by. */
void fn_rendezvous_waits(unsigned i, bool yes);
bool fn_rendezvous_waiting(unsigned i);
/* Nobody new comes to place i, if it has no other image's; who has come still waits. Does it? */
void fn_rendezvous_refuse(unsigned i);
bool fn_rendezvous_refuses(unsigned i);
/*
 * Whoever connects to place i from now on is the kernel's, in whatever image that has its name: they find it shut down
 * (fn_group_come()). Who has come still waits. False: it has been so before.
 */
bool fn_rendezvous_cede(unsigned i);
bool fn_rendezvous_ceded(unsigned i);
/* The name of place i goes: a connection's until there are descriptors again, a datagram socket's for good. */
void fn_rendezvous_shut(unsigned i);
/*
 * f goes to another program in a message. Who has accepted from it answers what that one asks for; who has not may do
 * something else for good, and clients would wait for him: the name goes, and both have the kernel's connections.
 */
void fn_rendezvous_give(const struct fn_file *f);
/* No name is ours any more; and again, those whose user we still are. */
void fn_rendezvous_pause(void);
/*
 * Now and then: names that we have not got are made, or asked for. What has one then, and what asks by a socket, is told to
 * be watched.
 */
void fn_rendezvous_resume(void (*watch)(unsigned place));
/* All names go for good: the image has left the network namespace that they are in. */
void fn_rendezvous_leave(void);
/* In the child of a fork: the parent may be the one that accepts. */
void fn_rendezvous_forked(bool child);

#endif
