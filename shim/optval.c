/* SPDX-License-Identifier: BSD-3-Clause */
/* Option values in and out; see optval.h. Must not know a file or a socket. */
#include "shim/optval.h"

#include <errno.h>
#include <limits.h>
#include <string.h>
#include <sys/time.h>

#include "shim/sys.h"
#include "stack/sock.h"
#include "stack/stack.h"
#include "stack/user.h"

/* include/net/sock.h: SOCK_MIN_SNDBUF, SOCK_MIN_RCVBUF on x86-64 (TCP_SKB_MIN_TRUESIZE is 2304). */
#define SNDBUF_MIN	4608
#define RCVBUF_MIN	2304
/* net.core.wmem_max where /proc cannot be read (a chroot): its default. */
#define BUF_MAX_DEFAULT	212992

int fn_optval_get_int(const void *value, socklen_t len, int *v)
{
	if (len < sizeof(*v))
		return -EINVAL;
	return fn_user_get(v, value, sizeof(*v));
}

int fn_optval_get_byte(const void *value, socklen_t len, bool some, int *v)
{
	*v = 0;
	if (!len)
		return some ? -EINVAL : 0;
	/* little endian: a byte alone is the number */
	return fn_user_get(v, value, len >= sizeof(*v) ? sizeof(*v) : 1);
}

/* 1/HZ, which is the coarse clock's resolution. */
static uint64_t tick_ns(void)
{
	struct timespec ts = { 0, 4000000 };

	fn_sys(SYS_clock_getres, CLOCK_MONOTONIC_COARSE, &ts);
	return (uint64_t)ts.tv_nsec;
}

int fn_optval_get_timeo(const void *value, socklen_t len, uint64_t *ns)
{
	struct timeval tv;
	uint64_t tick;

	if (len < sizeof(tv))
		return -EINVAL;
	if (fn_user_get(&tv, value, sizeof(tv)))
		return -EFAULT;
	if (tv.tv_usec < 0 || tv.tv_usec >= 1000000)
		return -EDOM;
	if (tv.tv_sec < 0) {
		*ns = 1;
		return 0;
	}
	*ns = 0;
	if ((uint64_t)tv.tv_sec >= UINT64_MAX / FN_NSEC / 2)
		return 0;
	tick = tick_ns();
	*ns = (uint64_t)tv.tv_sec * FN_NSEC + ((uint64_t)tv.tv_usec * 1000 + tick - 1) / tick * tick;
	return 0;
}

int fn_optval_put_timeo(uint64_t ns, void *value, socklen_t *len)
{
	struct timeval tv = { .tv_sec = (time_t)(ns / FN_NSEC), .tv_usec = (suseconds_t)(ns % FN_NSEC / 1000) };

	return fn_optval_put(&tv, sizeof(tv), value, len);
}

static int read_limit(const char *path)
{
	char text[24] = "";
	int fd = (int)fn_sys(SYS_openat, AT_FDCWD, path, O_RDONLY | O_CLOEXEC), n = 0;
	ssize_t got = fd >= 0 ? fn_sys_read(fd, text, sizeof(text) - 1) : -1;

	if (fd >= 0)
		fn_sys_close(fd);
	for (const char *p = text; got > 0 && *p >= '0' && *p <= '9' && n < INT_MAX / 10 - 10; p++)
		n = n * 10 + (*p - '0');
	return n ? n : BUF_MAX_DEFAULT;
}

/* Read once; two threads may do so at once and find the same. */
static int buf_max(bool send)
{
	static _Atomic(int) cached[2];
	int max = cached[send];

	if (!max) {
		max = read_limit(send ? "/proc/sys/net/core/wmem_max" : "/proc/sys/net/core/rmem_max");
		cached[send] = max;
	}
	return max;
}

int fn_optval_buf(bool send, int value, bool force)
{
	/* compared as unsigned: -1 asks for the maximum; forced, it asks for nothing */
	uint32_t want = force ? (uint32_t)fn_max(value, 0) : fn_min((uint32_t)value, (uint32_t)buf_max(send));

	want = fn_min(want, (uint32_t)INT_MAX / 2) * 2;
	return fn_max((int)want, send ? SNDBUF_MIN : RCVBUF_MIN);
}

static const char *const cc_name[] = { [FN_CC_CUBIC] = "cubic", [FN_CC_RENO] = "reno" };

int fn_optval_cc(const void *value, socklen_t len)
{
	char name[FN_CC_NAME_MAX] = "";

	if (!len)
		return -EINVAL;
	if (fn_user_get(name, value, fn_min(len, sizeof(name) - 1)))
		return -EFAULT;
	for (unsigned i = 0; i < fn_array_size(cc_name); i++)
		if (!strcmp(name, cc_name[i]))
			return (int)i;
	return -ENOENT;
}

const char *fn_optval_cc_name(int id)
{
	return (unsigned)id < fn_array_size(cc_name) ? cc_name[id] : "";
}

int fn_optval_put(const void *from, socklen_t size, void *value, socklen_t *len)
{
	*len = fn_min(*len, size);
	return fn_user_put(value, from, *len);
}

int fn_optval_put_byte(int v, void *value, socklen_t *len)
{
	uint8_t byte = (uint8_t)v;

	if (*len && *len < sizeof(v) && v >= 0 && v <= 255)
		return fn_optval_put(&byte, sizeof(byte), value, len);
	return fn_optval_put(&v, sizeof(v), value, len);
}
