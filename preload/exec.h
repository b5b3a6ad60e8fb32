/* SPDX-License-Identifier: BSD-3-Clause */
/* Connections that leave the image, before they do. */
#ifndef FN_EXEC_H
#define FN_EXEC_H

#include "preload/real.h"

/* Convert what a new program is meant to inherit: 0 or -errno. */
fn_hidden int fn_exec_prepare(void);

/* Convert what a message hands over (SCM_RIGHTS): 0 or -errno. */
fn_hidden int fn_exec_convert_rights(const struct msghdr *msg);

/* A message from the kernel has been received: descriptors in it may be listeners that we can serve (shim/meet.h). */
fn_hidden void fn_exec_meet_rights(const struct msghdr *msg);

#endif
