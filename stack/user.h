/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * Memory that the program named. A pointer may be bad: a copy then ends early and says how much is left, where the
 * process' fault handler asks fn_user_fixup() (shim/fault.c); without one it is a fault like any other. Everything that
 * follows a pointer of the program's copies through here, as the kernel does through its exception table.
 */
#ifndef FN_USER_H
#define FN_USER_H

#include <errno.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/uio.h>

#include "stack/compiler.h"

/* Copy n bytes that do not overlap; how many were not copied, the last ones. */
size_t fn_user_copy(void *to, const void *from, size_t n);
/* As many bytes of [p, p + n) as can be read, counted from p; touches a byte a page. */
size_t fn_user_readable(const void *p, size_t n);

/* The same inside one page, or known to be valid between its ends: one instruction each, and none for the answer. An entry
 * of the table fn_user_table says where a fault goes on, both as distances from the entry. Writing is tried by writing what
 * is there: for what nobody else writes meanwhile. */
#define FN_USER_PROBE(insn, p, bad)							\
	__asm__ goto("1:\t" insn "\n\t"						\
		     ".pushsection fn_user_table, \"a\"\n\t"				\
		     ".balign 4\n\t.long 1b - ., %l1 - .\n\t"			\
		     ".popsection" : : "r" (p) : "cc", "memory" : bad)
fn_inline bool fn_user_may_read(const void *p)
{
	FN_USER_PROBE("testb %%al, (%0)", p, bad);
	return true;
bad:
	return false;
}
fn_inline bool fn_user_may_write(void *p)
{
	FN_USER_PROBE("orb $0, (%0)", p, bad);
	return true;
bad:
	return false;
}
/* An object of n bytes, 1 to 4096. */
fn_inline bool fn_user_may_read_all(const void *p, size_t n)
{
	return fn_user_may_read(p) && fn_user_may_read((const char *)p + n - 1);
}
fn_inline bool fn_user_may_write_all(void *p, size_t n)
{
	return fn_user_may_write(p) && fn_user_may_write((char *)p + n - 1);
}

/* One word stored: as quick as any store. */
#define FN_USER_STORE(insn, p, v, bad)							\
	__asm__ goto("1:\t" insn "\n\t"						\
		     ".pushsection fn_user_table, \"a\"\n\t"				\
		     ".balign 4\n\t.long 1b - ., %l2 - .\n\t"			\
		     ".popsection" : : "r" (p), "r" (v) : "memory" : bad)
fn_inline bool fn_user_put32(void *p, uint32_t v)
{
	FN_USER_STORE("movl %1, (%0)", p, v, bad);
	return true;
bad:
	return false;
}
fn_inline bool fn_user_put64(void *p, uint64_t v)
{
	FN_USER_STORE("movq %1, (%0)", p, v, bad);
	return true;
bad:
	return false;
}

/* A fault at instruction *ip: true when it was in one of these, and *ip is where it goes on. Async-signal-safe. */
bool fn_user_fixup(uintptr_t *ip);

/* 0 or -EFAULT: all of it, or an unknown part of it. */
fn_inline int fn_user_get(void *to, const void *from, size_t n)
{
	return fn_unlikely(fn_user_copy(to, from, n)) ? -EFAULT : 0;
}

fn_inline int fn_user_put(void *to, const void *from, size_t n)
{
	return fn_unlikely(fn_user_copy(to, from, n)) ? -EFAULT : 0;
}

#endif
