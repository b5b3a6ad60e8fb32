/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * What preload/ calls besides the operations of a file: calls that make descriptors, that take several, or that end or
 * multiply the process. All return >= 0, -errno, or FN_TO_KERNEL (nothing of ours is concerned: make the call).
 */
#ifndef FN_SHIM_H
#define FN_SHIM_H

#include <poll.h>
#include <signal.h>
#include <sys/select.h>

#include "shim/fdtable.h"
#include "shim/file.h"

/* From the constructor: configuration that decides whether the library is inert. Makes no descriptor, no thread. */
void fn_shim_init(const char *program);
/* False: FASTNET_DISABLE, a set-uid program, or the constructor has not run: every call goes to the kernel. */
extern bool fn_shim_active;

/* socket(2): a kernel socket, with an entry of ours when it may be accelerated. */
int fn_shim_socket(int domain, int type, int protocol);
/* epoll_create1(2). */
int fn_shim_epoll_create1(int flags);

/* poll and select in all forms; ts is relative, NULL for ever; it is not changed (the wrapper computes what is left). */
int fn_shim_poll(struct pollfd *fds, nfds_t n, const struct timespec *ts, const sigset_t *mask);
int fn_shim_select(int n, fd_set *rd, fd_set *wr, fd_set *ex, const struct timespec *ts, const sigset_t *mask);

/* pthread_atfork: also daemon(), forkpty(), system() run them. */
void fn_shim_fork_prepare(void);
void fn_shim_fork_parent(void);
void fn_shim_fork_child(void);
/* The last one in a child that libc has not made (clone by number). */
void fn_shim_clone_child(void);
/* May a child run in this image's memory until it execs? Not while the stack is there: what it passes on may be ours. */
bool fn_shim_may_share(void);
/*
 * A child is about to come that will share memory or descriptors with this image for good, and cannot be told from it: the
 * library becomes inert, 0; -EPERM when the stack is there already. Called without locks.
 */
int fn_shim_retire(void);
/*
 * The calling thread is about to have descriptors of its own: unshare(CLONE_FILES), close_range(CLOSE_RANGE_UNSHARE). Its
 * numbers would stand for something else than the other threads', whom the table is for as well: as fn_shim_retire() when
 * there are others, else 0. The keeper is stopped; fn_shim_together() follows.
 */
int fn_shim_own_files(void);
/* After the hooks, where the result is known: the child's PID, or -1 when there is no child. */
void fn_shim_fork_done(int pid);

/* A child has been waited for: what it alone had of ours is closed. */
void fn_shim_reaped(void);

/* Before exit, _exit, quick_exit and at the end of main: unsent data leaves (FASTNET_EXIT_DRAIN_MS at most). */
void fn_shim_exit(void);
/* Before a program image is replaced by exec, and when it was not. */
void fn_shim_exec(void);
void fn_shim_exec_failed(void);
/*
 * What the next program is to be told in its environment, when it will have the library: the bytes that it takes at most, 0:
 * nothing; and the text, "NAME=value": false: nothing after all.
 */
size_t fn_shim_exec_word_size(void);
bool fn_shim_exec_word(char *text);
/* Before setgroups, initgroups, prctl(PR_CAPBSET_DROP): open what needs privileges. */
void fn_shim_privileges(void);
/* Before system call n, a set*id, with those arguments: likewise, and what other images share is left if an ID changes. */
void fn_shim_identity(long n, const unsigned id[3]);
/* Before chroot: likewise, and what lies in files. */
void fn_shim_chroot(void);
/* A system call by which the calling thread gives something up: capset, set*id by number, prctl(PR_SET_SECCOMP), seccomp.
 * Made here, and of the library's thread as well; >= 0 or -errno. */
long fn_shim_confine(long n, long a, long b, long c, long d, long e);

/* Around setns and unshare, which refuse a process that has threads: the keeper stops, and starts anew. */
void fn_shim_alone(void);
void fn_shim_together(void);
/* The image is in another user or, `net`, network namespace. */
void fn_shim_namespace(bool net);

/* The calling thread opens a port, or is a driver's: what it calls is none of our business. The second makes it one, for
 * its life. */
bool fn_shim_inside(void);
void fn_shim_begin_inside(void);

/* The calling thread is about to end by pthread_exit(). The main one's end is not the process's, nor must ours delay that. */
void fn_shim_thread_exit(void);

/* Likewise by exit(2), past libc. When it is the program's last one the process ends here, with that status. */
void fn_shim_thread_exit_raw(int status);

/* A handler of the program is about to run, as the kernel called it. True: not now; the signal comes again when the call
 * in progress is left. Async-signal-safe. */
bool fn_shim_signal(int sig, siginfo_t *info, void *context);
/* The same for the signal of a fault that is none: somebody has sent it. */
bool fn_shim_sent_fault(int sig, const siginfo_t *info, void *context);
/* pthread_cancel() has marked that thread (a pthread_t): it leaves the wait it may be in. */
void fn_shim_cancelled(unsigned long thread);

#endif
