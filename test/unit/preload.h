/* SPDX-License-Identifier: BSD-3-Clause */
/* How the tests of preload/ talk to the double of the shim (preload_double.c) that the wrappers under test call. */
#ifndef FN_TEST_PRELOAD_H
#define FN_TEST_PRELOAD_H

#include <signal.h>
#include <stdbool.h>
#include <stdint.h>
#include <sys/socket.h>
#include <sys/uio.h>
#include <time.h>

#define DOUBLE_API __attribute__((visibility("default")))
#define DOUBLE_RESULTS 8
#define DOUBLE_TO_KERNEL INT32_MIN

/* The last call of an operation or of the shim, and what it is to return. */
struct double_state {
	const char *op;		/* name of the last; NULL: none */
	char log[256];		/* names of all, a space after each */
	int calls;
	int fd;
	long arg[6];
	unsigned flags;
	struct iovec iov;	/* the first element */
	int iovcnt;
	struct timespec ts;	/* a timeout */
	bool forever;
	bool has_mask;
	sigset_t mask;
	struct msghdr msg;	/* as it was handed over */
	char copied[128];	/* what was behind a pointer that is a copy's: an address, an epoll_event */
	long result[DOUBLE_RESULTS]; /* of the calls in their order; the last one stays */
	int results;
	int msg_flags;		/* what recvmsg writes */
	socklen_t namelen;	/* likewise */
	uint64_t now;		/* of fn_now() */
	uint64_t takes;		/* ns that pass in a wait */
	int internal_fd;	/* one of the library's own */
	unsigned signals;	/* times that fn_shim_signal() was called */
	int last_signal;
	int exit_fd;		/* fn_shim_exit() writes an x there when it is positive */
	bool may_share;		/* a vfork is one */
	int met;		/* the last descriptor that fn_meet() was asked about */
};

DOUBLE_API struct double_state *double_state(void);
/* Forget everything that was recorded; results become one: `result`. */
DOUBLE_API struct double_state *double_returns(long result);
/* From that number on the library may have descriptors of its own. */
DOUBLE_API void double_lowest(int fd);
/* A socket's number with a file whose operations are the double's; the kernel's end of a pair is *peer (may be NULL). */
DOUBLE_API int double_file(int *peer);
/* A file that has no operation at all. */
DOUBLE_API int double_file_bare(int *peer);
/* References to the file behind fd. */
DOUBLE_API unsigned double_refs(int fd);
/* The library under test is started, and not inert. */
DOUBLE_API bool double_is_active(void);
DOUBLE_API void double_active(bool active);
/* What the library says of a signal to the shim: SA_RESTART. */
DOUBLE_API bool double_restarts(int sig);

/* What preload_early.c, whose constructor runs before ours, saw. */
struct early {
	bool before_us;		/* the library under test was not started yet */
	long wrote, got;	/* through a pipe */
	int socket, epoll, closed, bad_errno, ready;
	long pid;		/* by syscall() */
	int child;		/* exit status of a child forked there */
	bool handler_ran;
};
DOUBLE_API extern struct early early;

#endif
