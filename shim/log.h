/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * Messages to a file, syslog or stderr by raw system calls: no stdio, no malloc, no lock, no descriptor kept open, errno
 * kept. May be called from any thread and from signal handlers; never while the stack's lock is held.
 */
#ifndef FN_LOG_H
#define FN_LOG_H

#include "shim/conf.h"

/* Where messages go from now on: conf->log and conf->log_level. Before the first call they go nowhere. */
void fn_log_init(const struct fn_conf *conf);

/* A descriptor of the log file, the caller's to close; -ENOENT when messages do not go to a file, or another -E*. */
int fn_log_open(void);
/* Write to the log file through *fd as long as that is not negative; it may change. NULL: open it for each message. */
void fn_log_keep(const int *fd);

/* From now on nothing is written any more. */
void fn_log_end(void);

bool fn_log_on(enum fn_log_level level);

/* One line, formatted as printf does (vsnprintf; cut at 500 bytes), with program name and PID in front. */
void fn_log(enum fn_log_level level, const char *fmt, ...) __attribute__((format(printf, 2, 3)));

/* A message that may repeat for ever: at most one in ten seconds a call site, with the number of those left out. */
struct fn_log_limit {
	uint64_t next;		/* monotonic ns; atomic */
	uint32_t dropped;	/* atomic */
};
/* True when it may be written now; *dropped: how many were not since the last. */
bool fn_log_limit(struct fn_log_limit *l, uint32_t *dropped);

#define fn_log_limited(level, fmt, ...)							\
	do {										\
		static struct fn_log_limit limit_;					\
		uint32_t dropped_;							\
		if (fn_log_on(level) && fn_log_limit(&limit_, &dropped_)) {		\
			if (dropped_)							\
				fn_log(level, fmt " (%u more like this)", ##__VA_ARGS__, dropped_); \
			else								\
				fn_log(level, fmt, ##__VA_ARGS__);			\
		}									\
	} while (0)

#endif
