/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * What two processes of the fabric hand each other over the socket by which they met: messages with one descriptor each,
 * and the bell, a message of one byte. Owns the memory files and the checks of what the other side sends. Knows no stack.
 *
 * The one who connects leaves INBOX with the listener's rendezvous, and in the inbox PAGE (group.c). The one who accepts sends ATTACH to the
 * inbox, with a socket; over that HELLO with the channel (both rings), and PAYLOAD with its payload memory. The first one's
 * answer is WELCOME, with its own or the reason why not. Payload memory is what all peers of our own user map,
 * or, for one of another user, memory that it alone gets; what a user is the kernel says.
 * HOLDER is a pidfd of an image of the sender's, once both have met (holders.h).
 * Who has got the listener and not its name sends JOIN instead, and is answered JOINED (handover.h).
 */
#ifndef FN_PEER_H
#define FN_PEER_H

#include <sys/types.h>

#include "stack/compiler.h"

/* Of the layout of ring and payload memory; processes of different versions meet in the kernel. */
#define FN_PEER_VERSION	11
#define FN_PEER_MAGIC	0x66617374u
#define FN_PEER_SLOTS	1024	/* of each ring: 64 KiB */
#define FN_PEER_PAYLOAD_MAX	(1ul << 30)	/* address space that one peer may make us reserve */

enum fn_peer_type { FN_PEER_HELLO = 1, FN_PEER_WELCOME, FN_PEER_PAYLOAD, FN_PEER_PAGE, FN_PEER_INBOX, FN_PEER_ATTACH,
	FN_PEER_JOIN, FN_PEER_JOINED, FN_PEER_HOLDER };

struct fn_peer_msg {
	uint32_t magic;
	uint16_t version;
	uint16_t type;		/* enum fn_peer_type */
	int32_t status;		/* WELCOME: 0, or -errno: no */
	uint32_t slots;		/* HELLO: of each ring */
	uint64_t cookie;	/* PAGE, INBOX, JOIN: of the listener; ATTACH: under which number the sender claims; HOLDER: which
				 * of the sender's images, and its life << 32 */
};

/* fd -1: none. 0, -errno. Never blocks. */
int fn_peer_send(int sock, enum fn_peer_type type, uint64_t cookie, int status, int fd);
/*
 * The next message: 1. *fd: its descriptor, the caller's, or -1; *uid: who sent it as the kernel says, when the socket has
 * SO_PASSCRED. 0: the bell; -EAGAIN: nothing more; -ECONNRESET: the other end is gone; -EPROTO: it talks nonsense.
 */
int fn_peer_recv(int sock, struct fn_peer_msg *m, int *fd, uid_t *uid);
/* The same, and the message stays where it is: *fd is a descriptor more. -EAGAIN: there is none, for whatever reason. */
int fn_peer_look(int sock, struct fn_peer_msg *m, int *fd);
void fn_peer_ring(int sock);

/* The kernel's word on who connected, or listened: effective user; -1: it does not say. */
uid_t fn_peer_uid(int sock);

/* Memory files. They never change their size; `shared`: written by both ends, else by us alone. Internal descriptor, or -errno. */
int fn_peer_memory(const char *name, size_t size, bool shared);
/* Ours is mapped; from now on nobody maps it to write. -errno. */
int fn_peer_seal(int fd);
/*
 * Payload memory for one peer alone: mapped, sealed, without memory behind it. Its internal descriptor, to be handed over and
 * then closed; -errno.
 */
int fn_peer_memory_alone(size_t size, void **mem);
/* Memory behind the first `size` bytes of what is mapped at mem; likewise. */
int fn_peer_back_mapped(void *mem, size_t size);
/* Memory behind the first `size` bytes; 0, -errno (an error here, not a SIGBUS later). */
int fn_peer_back(int fd, size_t size);
/* Ours, or a channel: NULL when it cannot be mapped. */
void *fn_peer_map(int fd, size_t size);
/* What a peer says is a channel, or a page: NULL unless it has that size and can never have another. room: where; NULL: anywhere. */
void *fn_peer_map_shared(int fd, void *room, size_t size);
/* What it says is its payload memory, to read: likewise, *size is told. room: where, and only if it is not more than that. */
const void *fn_peer_map_payload(int fd, void *room, size_t room_size, size_t *size);
/* Address space for it, in this image and those that are forked. NULL: there is none. */
void *fn_peer_room(size_t size);
void fn_peer_unmap(const void *mem, size_t size);

/* A channel: the ring of the one who connected, then the other's. */
size_t fn_peer_ring_size(void);
fn_inline size_t fn_peer_channel_size(void) { return 2 * fn_peer_ring_size(); }

#endif
