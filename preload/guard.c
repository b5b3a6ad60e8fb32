/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * The wrappers that syscalls.def makes by itself. What a kernel descriptor pays for our being there is the first line of
 * each: a compare, a load, a tail call, and no frame (bench/fdcost). So what happens to a descriptor of ours is another
 * function, never inlined here.
 */
#include "preload/guard.h"

#define FN_FD(ret, name, params, args, raw)		\
	ret fn_wrap_##name params			\
	{						\
		if (fn_likely(!fn_ours(fd)))		\
			return fn_real.name args;	\
		return fn_ours_##name args;		\
	}
#define FN_SET(ret, name, params, args, raw)		\
	ret fn_wrap_##name params			\
	{						\
		if (fn_likely(!fn_any()))	\
			return fn_real.name args;	\
		return fn_ours_##name args;		\
	}
#define FN_LIVE(ret, name, params, args, raw)		\
	ret fn_wrap_##name params			\
	{						\
		if (fn_unlikely(!fn_active()))	\
			return fn_real.name args;	\
		return fn_ours_##name args;		\
	}
#define IDS(n, ...) fn_shim_identity(n, (const unsigned[3]){ __VA_ARGS__ })
#define FN_ID(ret, name, params, args, raw)		\
	ret fn_wrap_##name params			\
	{						\
		if (fn_active())			\
			fn_guarded_void(IDS raw);	\
		return fn_real.name args;		\
	}
#include "preload/syscalls.def"

fn_alias(__connect, connect);
fn_alias(__read, read);
fn_alias(__write, write);
fn_alias(__send, send);
fn_alias(preadv64v2, preadv2);
fn_alias(pwritev64v2, pwritev2);
fn_alias(__fcntl, fcntl);
fn_alias(fcntl64, fcntl);
fn_alias(__poll, poll);
fn_alias(__select, select);
