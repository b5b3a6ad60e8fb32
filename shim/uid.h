/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * Users, as the kernel names them to us: whose word counts, and who may see what this process has in memory. Owns no state
 * but what it has read of the kernel's settings.
 */
#ifndef FN_UID_H
#define FN_UID_H

#include <stdbool.h>
#include <stddef.h>
#include <sys/types.h>

/* The first bytes of a file under /proc, as a string; false: it cannot be read. */
bool fn_read_text(const char *path, char *buf, size_t size);

/* Our effective user. */
uid_t fn_uid_own(void);
/* Does uid name one user? In a user namespace the overflow uid stands for all those that it does not map. */
bool fn_uid_known(uid_t uid);
/*
 * May a process of that user see memory in which we have had data of our own since we were `since`? Only when it is ours, we
 * are nobody else at the same time (set-user-ID programs), and have not been.
 */
bool fn_uid_may_see(uid_t peer, uid_t since);

#endif
