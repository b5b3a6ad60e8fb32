/* SPDX-License-Identifier: BSD-3-Clause */
/* Messages: each is one line, formatted on the stack and given to the kernel in one call. The file or syslog's socket is
 * opened for each message: a descriptor that stays open would be in the program's way. A process with a stack has internal
 * descriptors anyway and keeps the file open, for it may give up the right to open it (fn_log_keep). */
#include "shim/conf_parse.h"
#include "shim/log.h"
#include "shim/sys.h"

#include <errno.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>
#include <sys/un.h>
#include <syslog.h>

#define LINE_MAX_BYTES	600
#define LIMIT_NS	10000000000ull

enum target { NOWHERE, STDERR, SYSLOG, FILE_PATH };

static struct {
	enum target target;
	uint32_t level;
	char path[FN_CONF_PATH];
	const int *kept;	/* the caller's descriptor of the file; NULL: none */
} sink;

void fn_log_init(const struct fn_conf *conf)
{
	int word = fn_conf_word(conf->log, "none|stderr|syslog");

	sink.level = conf->log_level;
	memcpy(sink.path, conf->log, sizeof sink.path);
	sink.target = word < 0 ? FILE_PATH : (enum target)word;
}

bool fn_log_on(enum fn_log_level level)
{
	return sink.target != NOWHERE && level <= sink.level;
}

static uint64_t now_ns(clockid_t clock)
{
	struct timespec ts;

	clock_gettime(clock, &ts);
	return (uint64_t)ts.tv_sec * 1000000000u + (uint64_t)ts.tv_nsec;
}

bool fn_log_limit(struct fn_log_limit *l, uint32_t *dropped)
{
	uint64_t now = now_ns(CLOCK_MONOTONIC);
	uint64_t next = __atomic_load_n(&l->next, __ATOMIC_RELAXED);

	/* one of several threads that come together wins; relaxed: nothing hangs on it but the message */
	if (now < next || !__atomic_compare_exchange_n(&l->next, &next, now + LIMIT_NS, false, __ATOMIC_RELAXED,
						       __ATOMIC_RELAXED)) {
		__atomic_add_fetch(&l->dropped, 1, __ATOMIC_RELAXED);
		return false;
	}
	*dropped = __atomic_exchange_n(&l->dropped, 0, __ATOMIC_RELAXED);
	return true;
}

/* UTC as in RFC 3339. Not gmtime_r: that takes libc's time-zone lock. Days to a date: Hinnant, "chrono-Compatible
 * Low-Level Date Algorithms", civil_from_days. */
static int format_time(char *buf, size_t size)
{
	uint64_t ns = now_ns(CLOCK_REALTIME), sec = ns / 1000000000u;
	unsigned day = (unsigned)(sec / 86400), tod = (unsigned)(sec % 86400);
	unsigned z = day + 719468, era = z / 146097, doe = z % 146097;
	unsigned yoe = (doe - doe / 1460 + doe / 36524 - doe / 146096) / 365;
	unsigned doy = doe - (365 * yoe + yoe / 4 - yoe / 100), mp = (5 * doy + 2) / 153;
	unsigned month = mp < 10 ? mp + 3 : mp - 9;

	return snprintf(buf, size, "%04u-%02u-%02uT%02u:%02u:%02u.%03uZ ", yoe + era * 400 + (month <= 2), month,
			doy - (153 * mp + 2) / 5 + 1, tod / 3600, tod / 60 % 60, tod % 60,
			(unsigned)(ns / 1000000u % 1000u));
}

static const char *level_name(enum fn_log_level level)
{
	static const char *const names[] = { "error", "warning", "notice", "info", "debug" };

	return names[level];
}

/* What stands before the text, as the target wants it. */
static int format_head(char *buf, size_t size, enum fn_log_level level)
{
	static const int priorities[] = { LOG_ERR, LOG_WARNING, LOG_NOTICE, LOG_INFO, LOG_DEBUG };
	int pid = (int)fn_sys(SYS_getpid, 0), n = 0;

	/* what syslogd wants from /dev/log: <priority>tag[pid]: it adds the time itself */
	if (sink.target == SYSLOG)
		return snprintf(buf, size, "<%d>fastnet[%d]: %.32s: ", LOG_DAEMON | priorities[level], pid,
				program_invocation_short_name);
	if (sink.target == FILE_PATH)
		n = format_time(buf, size);
	return n + snprintf(buf + n, size - (size_t)n, "fastnet: %.32s[%d]: %s: ", program_invocation_short_name, pid,
			    level_name(level));
}

static void to_syslog(const char *line, size_t len)
{
	static const struct sockaddr_un addr = { .sun_family = AF_UNIX, .sun_path = "/dev/log" };
	int fd = fn_sys_socket(AF_UNIX, SOCK_DGRAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);

	if (fd < 0)
		return;
	fn_sys(SYS_sendto, fd, line, len, MSG_NOSIGNAL | MSG_DONTWAIT, &addr, sizeof addr);
	fn_sys_close(fd);
}

int fn_log_open(void)
{
	int flags = O_WRONLY | O_APPEND | O_CREAT | O_CLOEXEC | O_NOCTTY | O_NONBLOCK;

	return sink.target == FILE_PATH ? (int)fn_sys(SYS_open, sink.path, flags, 0640) : -ENOENT;
}

void fn_log_keep(const int *fd)
{
	sink.kept = fd;
}

void fn_log_end(void)
{
	sink.target = NOWHERE;
}

static void to_file(const char *line, size_t len)
{
	int fd;

	if (sink.kept && *sink.kept >= 0) {
		fn_sys_write(*sink.kept, line, len);
		return;
	}
	fd = fn_log_open();
	if (fd < 0)
		return;
	fn_sys_write(fd, line, len);
	fn_sys_close(fd);
}

void fn_log(enum fn_log_level level, const char *fmt, ...)
{
	char line[LINE_MAX_BYTES];
	int saved = errno, n;
	size_t len;
	va_list ap;

	if (!fn_log_on(level))
		return;
	len = (size_t)format_head(line, sizeof line, level);
	va_start(ap, fmt);
	n = vsnprintf(line + len, sizeof line - 1 - len, fmt, ap);
	va_end(ap);
	if (n > 0)
		len = fn_min(len + (size_t)n, sizeof line - 2);
	if (sink.target != SYSLOG)
		line[len++] = '\n';
	if (sink.target == SYSLOG)
		to_syslog(line, len);
	else if (sink.target == STDERR)
		fn_sys_write(2, line, len);
	else
		to_file(line, len);
	errno = saved;
}
