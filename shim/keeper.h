/* SPDX-License-Identifier: BSD-3-Clause */
/* The keeper: a thread that drives the stack of a process with ports, or with files that send signals, while the program does
 * something else. */
#ifndef FN_KEEPER_H
#define FN_KEEPER_H

#include <stdbool.h>

/* Start it if there is none in this image (with the lock held); stop it and wait for it (without the lock). */
void fn_keeper_start(void);
void fn_keeper_stop(void);
/*
 * Before exec and exit, without the lock: from now on the keeper does not touch the stack, which others may share: it would
 * be ended in the middle of that, with the lock held. Does not wait for its end. After an exec that failed
 * fn_keeper_need() makes another one.
 */
void fn_keeper_quit(void);
/* The last sleeper has left: the keeper, if it parks without a tick, begins to tick again. */
void fn_keeper_wake(void);
/* Before the stack is used: start it in a child of fork, where it was forgotten. With the lock held. */
void fn_keeper_need(void);
/* There is not to be another one in this image and its children. */
void fn_keeper_forbid(void);
/* A thread's end takes system calls that a filter refuses: this one sleeps for good instead, and is not waited for. */
void fn_keeper_stay(void);
/*
 * Around what closes numbers or puts something on them: one that is free has no descriptor of the keeper's meanwhile, not
 * even for a moment (one that a peer has sent, say). Not with any lock held. fn_keeper_let() takes what the first has said.
 */
bool fn_keeper_hold(void);
void fn_keeper_let(bool held);
/* The keeper, if there is one, drives once, then makes a system call too, which concerns nobody but the calling thread.
 * Waits for it, without the lock. */
void fn_keeper_repeat(long n, const long arg[5]);
/* In a forked child: the thread does not exist there. */
void fn_keeper_forget(void);

#endif
