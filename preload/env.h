/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * What loads and configures the library in the next program: LD_PRELOAD and FASTNET_* as this image found them. They are put
 * back when a program executes itself with an environment of its own making (nginx does, to replace its binary while it
 * serves); what another program is given is the caller's affair. And what the library tells itself there
 * (shim/handover.h), where the next program will have it.
 */
#ifndef FN_ENV_H
#define FN_ENV_H

#include <alloca.h>
#include <stddef.h>

#include "preload/real.h"

/* Remember them; from the constructor, for a program may write over its first environment. */
fn_hidden void fn_env_save(void);

/*
 * The environment to execute `path` with, NULL: it is not known which file that is. Entries that it has at most, its NULL
 * included, and bytes of text beside; 0 entries: envp is as it should be.
 */
struct fn_env_room {
	size_t entries, text;
};
fn_hidden struct fn_env_room fn_env_room(const char *path, char *const envp[]);

/* Fill `full` and `text`, of that size. */
fn_hidden char **fn_env_complete(const struct fn_env_room *room, char **full, char *text, char *const envp[]);

/* envp, or a longer one in the caller's frame (no malloc between fork and exec). */
#define fn_env_for(path, envp)										\
	({												\
		struct fn_env_room room_ = fn_env_room(path, envp);					\
		!room_.entries ? (char **)(envp) :							\
			fn_env_complete(&room_, alloca(room_.entries * sizeof(char *)),			\
					room_.text ? alloca(room_.text) : NULL, envp);			\
	})

#endif
