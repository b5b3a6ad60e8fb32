/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * What loads and configures the library in the next program: LD_PRELOAD and FASTNET_* as this image found them. They are put
 * back when a program executes itself with an environment of its own making (nginx does, to replace its binary while it
 * serves); what another program is given is the caller's affair.
 */
#ifndef FN_ENV_H
#define FN_ENV_H

#include <alloca.h>
#include <stddef.h>

#include "preload/real.h"

/* Remember them; from the constructor, for a program may write over its first environment. */
fn_hidden void fn_env_save(void);

/* Entries that `envp`, for the program `path`, must have to be complete, its NULL included; 0: it is as it should be. */
fn_hidden size_t fn_env_missing(const char *path, char *const envp[]);

/* Fill `full`, of that many entries. */
fn_hidden char **fn_env_complete(char **full, char *const envp[]);

/* The environment to execute `path` with: envp, or a longer one in the caller's frame (no malloc between fork and exec). */
#define fn_env_for(path, envp)								\
	({										\
		size_t n_ = fn_env_missing(path, envp);					\
		n_ ? fn_env_complete(alloca(n_ * sizeof(char *)), envp) : (char **)(envp); \
	})

#endif
