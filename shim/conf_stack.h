/* SPDX-License-Identifier: BSD-3-Clause */
/* From the settings to the stack's configuration. */
#ifndef FN_CONF_STACK_H
#define FN_CONF_STACK_H

#include "shim/conf.h"
#include "stack/stack.h"

/* *c as `f` says; what is no setting has the stack's default, and .seed is zero. */
void fn_conf_stack(struct fn_stack_conf *c, const struct fn_conf *f);

#endif
