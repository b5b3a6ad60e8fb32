/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * The relay's end of a converted connection has a name, which is the record of what the connection is: the kernel's
 * getpeername() of the program's end gives it in every image, as long as the descriptor lives.
 */
#ifndef FN_CONVERT_NAME_H
#define FN_CONVERT_NAME_H

#include "shim/convert.h"

/* Name `far`, the relay's end of f's connection. Without a name only the addresses are lost. */
void fn_convert_bind_name(int far, const struct fn_file *f);

/* The number in the name of `far`, and its connection's domain; 0 when it has none. */
uint32_t fn_convert_own_name(int far, int *domain);

#endif
