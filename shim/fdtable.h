/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * Which number is whose. Every number is a descriptor of the kernel; a table entry says that a file of ours stands
 * behind it as well. An entry is cleared before the kernel's number is released, and set after it is got.
 */
#ifndef FN_FDTABLE_H
#define FN_FDTABLE_H

#include "shim/file.h"

/* Reserved as address space only (8 bytes an entry); numbers beyond are the kernel's. fs.nr_open's default. */
#define FN_FD_MAX	(1 << 20)
/* Internal descriptors are moved here first, then up: above what shells and FD_SETSIZE loops of small programs use. */
#define FN_FD_INTERNAL	192

struct fn_fdtable {
	_Atomic(struct fn_file *) *file;	/* FN_FD_MAX entries; NULL until the first file of ours exists */
	unsigned floor;				/* FASTNET_FD_BASE: lower numbers are the kernel's */
	unsigned size;				/* 0 until the first file of ours exists, then FN_FD_MAX */
	_Atomic(unsigned) top;			/* no entry at or above it was ever set */
	_Atomic(unsigned) near;			/* the program's numbers from here on: fn_room_look() */
	_Atomic(int) lowest;			/* no internal descriptor was ever below, not for a moment */
	struct fn_lock lock;			/* makes entry and descriptor change together; held over fork */
};
extern struct fn_fdtable fn_fdtable;

/* Is there an entry? The hot check: one compare and one load. */
fn_inline bool fn_fd_ours(int fd)
{
	/* pairs with the release in fn_fdtable_init(): who sees the size sees the table */
	return fn_unlikely((unsigned)fd < __atomic_load_n(&fn_fdtable.size, __ATOMIC_ACQUIRE)) &&
	       fn_unlikely(atomic_load_explicit(&fn_fdtable.file[fd], memory_order_relaxed) != NULL);
}

/* A reference to the file behind fd, or NULL: the kernel's. */
struct fn_file *fn_fd_get_slow(int fd);
fn_inline struct fn_file *fn_fd_get(int fd)
{
	return fn_fd_ours(fd) ? fn_fd_get_slow(fd) : NULL;
}

/* fd, or another number of f when fd stands for it no more; -1: none. With the engine locked. */
int fn_fd_number(const struct fn_file *f, int fd);
/* A reference to f, if it has a number still; f is there, for the engine is locked, without which nothing is released. */
bool fn_fd_hold(struct fn_file *f);

/* Make room for entries; -ENOMEM. Called before the first fn_fd_install(). */
int fn_fdtable_init(unsigned floor);

/* fd, just got from the kernel, stands for f from now on; takes over the caller's reference. false: fd is below the floor
 * or beyond the table (the caller keeps the reference and leaves fd to the kernel). */
bool fn_fd_install(int fd, struct fn_file *f);
/* fd, just got from the kernel, for a file of ours: a number from the floor on instead, where there is one (fd_base). 0 to
 * 2 stay what Linux gives. */
int fn_fd_raise(int fd, bool cloexec);
/* Clear the entry; the file's reference goes to the caller, NULL when there was none. */
struct fn_file *fn_fd_remove(int fd);
/* Replace whatever fd stands for when it is still `f` (a decision for the kernel: NULL). */
void fn_fd_forget(int fd, struct fn_file *f);

/* ---- the calls that change the table; the kernel's descriptor and ours together. Return as the system call, -errno ---- */
int fn_fd_close(int fd);
int fn_fd_dup(int fd);
int fn_fd_dup2(int from, int to, int flags, bool is_dup3);	/* flags: O_CLOEXEC */
int fn_fd_fcntl_dup(int fd, int cmd, int min);			/* F_DUPFD, F_DUPFD_CLOEXEC */
int fn_fd_close_range(unsigned first, unsigned last, int flags);
/* closefrom(3): everything from `first` but internal descriptors */
void fn_fd_closefrom(int first);

/*
 * Was fd made inheritable on purpose, by a dup without O_CLOEXEC, F_SETFD or FIONCLEX? What another program is to have is
 * seen by that, not by the flag: accept() and socket() give descriptors that are inheritable by accident.
 */
bool fn_fd_meant(int fd);
/* fd was (F_SETFD, FIONCLEX), or is close-on-exec again. */
void fn_fd_mean(int fd, bool meant);

/* In a process that goes on without the program: every descriptor but internal ones is closed, the table left alone. */
void fn_fd_close_program(void);

/* ---- internal descriptors ---- */
/* Move fd (just made) out of the program's way and remember it; returns its new number, or -errno with fd closed. */
int fn_fd_internal(int fd);
/* Likewise, but not when few numbers are left to the program (room.h): -EMFILE. For all that a socket of the kernel's
 * does without. */
int fn_fd_internal_if_room(int fd);
/* fd, opened by somebody else inside the library (a plugin), is one from now on; its number stays. */
void fn_fd_internal_claim(int fd);
/* How many there are, and how many below RLIMIT_NOFILE. */
unsigned fn_fd_internal_count(void);
unsigned fn_fd_internal_below(void);
/* All that are below that number and may move go above it. False: some could not. With the engine's lock and the table's. */
bool fn_fd_internal_lift(int number);
/* Is fd one of them? close and close_range leave it alone (EBADF), dup2 onto it moves it. */
bool fn_fd_is_internal(int fd);
/* Close one. */
void fn_fd_internal_close(int fd);
/* `where` holds the number of an internal descriptor: told when it moves. */
void fn_fd_internal_track(int *where);
/* What `from` was told is told to `to`, which holds the number now. */
void fn_fd_internal_moved(int *from, int *to);
/* Close the one there, which stays tracked: -1, and soon another one's number. */
void fn_fd_internal_close_at(int *where);

#endif
