/* SPDX-License-Identifier: BSD-3-Clause */
/* What the relay gives up of the program that it was copied from. */
#ifndef FN_RELAY_IMAGE_H
#define FN_RELAY_IMAGE_H

/*
 * In the new process, before anything else: a session, a name and a directory of its own; no descriptor but the library's
 * internal ones; no large memory of the program. `bell` is this process's own from now on.
 */
void fn_relay_leave_program(int bell);

#endif
