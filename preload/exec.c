/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * Where a connection goes to code that does not pass here: another program (exec, spawn, system, popen, a message with
 * descriptors) or libc's own stdio. The connections concerned are converted before (shim/convert.h); what cannot be
 * converted makes the call fail with that error. execve() and its kin are in proc.c.
 */
#include <spawn.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "preload/exec.h"
#include "preload/guard.h"
#include "shim/convert.h"
#include "shim/meet.h"

int fn_exec_prepare(void)
{
	return fn_any() ? (int)fn_guarded(false, fn_convert_inheritable()) : 0;
}

/* ---- children that libc makes by itself ---- */

int fn_wrap_posix_spawn(pid_t *pid, const char *path, const posix_spawn_file_actions_t *actions,
			const posix_spawnattr_t *attr, char *const argv[], char *const envp[])
{
	int ret = fn_exec_prepare();

	return ret < 0 ? -ret : fn_real.posix_spawn(pid, path, actions, attr, argv, envp);
}

int fn_wrap_posix_spawnp(pid_t *pid, const char *file, const posix_spawn_file_actions_t *actions,
			 const posix_spawnattr_t *attr, char *const argv[], char *const envp[])
{
	int ret = fn_exec_prepare();

	return ret < 0 ? -ret : fn_real.posix_spawnp(pid, file, actions, attr, argv, envp);
}

/* What is named here is meant for the child; the struct itself is libc's secret. */
int fn_wrap_posix_spawn_file_actions_adddup2(posix_spawn_file_actions_t *actions, int fd, int to)
{
	int ret = fn_ours(fd) ? (int)fn_guarded(false, fn_convert_fd(fd)) : 0;

	return ret < 0 ? -ret : fn_real.posix_spawn_file_actions_adddup2(actions, fd, to);
}

int fn_wrap_system(const char *command)
{
	int ret = fn_exec_prepare();

	return ret < 0 ? (int)fn_errno(ret) : fn_real.system(command);
}

FILE *fn_wrap_popen(const char *command, const char *mode)
{
	int ret = fn_exec_prepare();

	if (ret < 0) {
		errno = -ret;
		return NULL;
	}
	return fn_real.popen(command, mode);
}

/* ---- stdio ---- */

FILE *fn_wrap_fdopen(int fd, const char *mode)
{
	int ret = fn_ours(fd) ? (int)fn_guarded(false, fn_convert_fd(fd)) : 0;

	if (ret < 0) {
		errno = -ret;
		return NULL;
	}
	return fn_real.fdopen(fd, mode);
}

/* What vdprintf() would write, written by our own write(). */
static int print_ours(int fd, const char *format, va_list ap)
{
	char *text;
	int len = vasprintf(&text, format, ap), done = 0;

	if (len < 0)
		return -1;
	while (done < len) {
		ssize_t n = fn_wrap_write(fd, text + done, (size_t)(len - done));

		if (n <= 0)
			break;
		done += (int)n;
	}
	free(text);
	return done == len ? len : -1;
}

int fn_wrap_vdprintf(int fd, const char *format, va_list ap)
{
	return fn_ours(fd) ? print_ours(fd, format, ap) : fn_real.vdprintf(fd, format, ap);
}

int fn_wrap___vdprintf_chk(int fd, int flag, const char *format, va_list ap)
{
	return fn_ours(fd) ? print_ours(fd, format, ap) : fn_real.__vdprintf_chk(fd, flag, format, ap);
}

int fn_wrap_dprintf(int fd, const char *format, ...)
{
	va_list ap;
	int ret;

	va_start(ap, format);
	ret = fn_wrap_vdprintf(fd, format, ap);
	va_end(ap);
	return ret;
}

int fn_wrap___dprintf_chk(int fd, int flag, const char *format, ...)
{
	va_list ap;
	int ret;

	va_start(ap, format);
	ret = fn_wrap___vdprintf_chk(fd, flag, format, ap);
	va_end(ap);
	return ret;
}

/* ---- descriptors in a message ---- */

/* Each descriptor of a message, until `fn` gives an error, which is returned. */
static int each_right(const struct msghdr *msg, int (*fn)(int fd))
{
	struct msghdr m = *msg;

	for (struct cmsghdr *c = CMSG_FIRSTHDR(&m); c; c = CMSG_NXTHDR(&m, c)) {
		size_t n = c->cmsg_len >= CMSG_LEN(0) ? (c->cmsg_len - CMSG_LEN(0)) / sizeof(int) : 0;

		if (c->cmsg_level != SOL_SOCKET || c->cmsg_type != SCM_RIGHTS)
			continue;
		for (size_t i = 0; i < n; i++) {
			int fd, ret;

			memcpy(&fd, CMSG_DATA(c) + i * sizeof(fd), sizeof(fd));
			ret = fn(fd);
			if (ret < 0)
				return ret;
		}
	}
	return 0;
}

static int convert_right(int fd)
{
	return fn_ours(fd) ? (int)fn_guarded(false, fn_convert_sent(fd)) : 0;
}

static int meet_right(int fd)
{
	fn_guarded_void(fn_meet(fd, true));
	return 0;
}

int fn_exec_convert_rights(const struct msghdr *msg)
{
	return each_right(msg, convert_right);
}

void fn_exec_meet_rights(const struct msghdr *msg)
{
	int saved = errno;

	each_right(msg, meet_right);
	errno = saved;
}

/* fdinfo of a pidfd names the process (proc_pid_fdinfo(5)), as its own PID namespace does. */
static bool is_self(int pidfd)
{
	char path[64], text[512], *pid;
	int fd;
	ssize_t n;

	snprintf(path, sizeof(path), "/proc/self/fdinfo/%d", pidfd);
	fd = (int)fn_sys(SYS_openat, AT_FDCWD, path, O_RDONLY | O_CLOEXEC, 0);
	n = fd < 0 ? 0 : fn_sys_read(fd, text, sizeof(text) - 1);
	if (fd >= 0)
		fn_sys_close(fd);
	text[n > 0 ? n : 0] = 0;
	pid = strstr(text, "\nPid:");
	return pid && atoi(pid + 5) == getpid();
}

/* Of this process it is a dup; of another one what the kernel has, which is no connection where that one's is ours. */
int fn_ours_pidfd_getfd(int pidfd, int target, unsigned flags)
{
	int fd = fn_real.pidfd_getfd(pidfd, target, flags);

	if (fd >= 0 && fn_fd_ours(target) && is_self(pidfd)) {
		fn_sys_close(fd);
		return (int)fn_errno(fn_guarded(true, fn_fd_fcntl_dup(target, F_DUPFD_CLOEXEC, 0)));
	}
	if (fd >= 0)
		meet_right(fd);
	return fd;
}
