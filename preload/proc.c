/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * Processes: what ends one, replaces its program, multiplies it past pthread_atfork, or takes its privileges. The shim is
 * told before; what it does about it is its own affair.
 */
#include <alloca.h>
#include <fcntl.h>
#include <limits.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/stat.h>
#include <unistd.h>

#include "preload/env.h"
#include "preload/exec.h"
#include "preload/guard.h"

/*
 * What the new program is to have is converted; then the image gives up the rest. False: errno says why not. A file that
 * is not there or cannot be executed is no reason to give anything up: what can be known of a failure beforehand is asked.
 */
static bool before_exec(int dir, const char *path, int flags)
{
	struct stat st;
	int ret;

	if (!fn_active() || fstatat(dir, path, &st, flags & AT_EMPTY_PATH) || !S_ISREG(st.st_mode) ||
	    (!(flags & AT_EMPTY_PATH) && faccessat(dir, path, X_OK, AT_EACCESS)))
		return true;
	ret = fn_exec_prepare();
	if (ret < 0)
		return !fn_errno(ret);
	fn_guarded_void(fn_shim_exec());
	return true;
}

/* The first file of that name in PATH that could be executed, as execvpe() searches; NULL: there is none. */
static const char *search(const char *file, char path[PATH_MAX])
{
	const char *dir = getenv("PATH"), *end;

	if (strchr(file, '/'))
		return file;
	for (dir = dir ? dir : "/bin:/usr/bin"; dir; dir = *end ? end + 1 : NULL) {
		end = strchrnul(dir, ':');
		if (snprintf(path, PATH_MAX, "%.*s%s%s", (int)(end - dir), dir, end > dir ? "/" : "", file) < PATH_MAX &&
		    !faccessat(AT_FDCWD, path, X_OK, AT_EACCESS))
			return path;
	}
	return NULL;
}

/* An exec has returned, so it has failed. */
static int exec_failed(int ret)
{
	int err = errno;

	if (fn_active())
		fn_guarded_void(fn_shim_exec_failed());
	errno = err;
	return ret;
}

static void before_privileges(void)
{
	if (fn_active())
		fn_guarded_void(fn_shim_privileges());
}

int fn_wrap_chroot(const char *path)
{
	if (fn_active())
		fn_guarded_void(fn_shim_chroot());
	return fn_real.chroot(path);
}

long fn_confine(long n, long a, long b, long c, long d, long e)
{
	return fn_errno(fn_guarded(false, fn_shim_confine(n, a, b, c, d, e)));
}

int fn_wrap_capset(void *hdr, const void *data)
{
	if (!fn_active())
		return fn_real.capset(hdr, data);
	return (int)fn_confine(SYS_capset, (long)hdr, (long)data, 0, 0, 0);
}

/* exit() and the end of main come by on_exit() instead (init.c). */
void fn_wrap__exit(int status)
{
	if (fn_active()) {
		fn_guard_enter(false);	/* for good: no handler runs any more */
		fn_shim_exit();
	}
	fn_real._exit(status);
}
fn_alias(_Exit, _exit);

/* pthread_atfork does the work; its handlers do not learn the child's number. */
static pid_t forked(pid_t pid)
{
	if (fn_active() && pid)
		fn_guarded_void(fn_shim_fork_done(pid));
	return pid;
}

pid_t fn_wrap_fork(void)
{
	return forked(fn_real.fork());
}
fn_alias(__fork, fork);

pid_t fn_wrap_forkpty(int *master, char *name, const struct termios *term, const struct winsize *size)
{
	return forked(fn_real.forkpty(master, name, term, size));
}

/* fork() without the pthread_atfork handlers, so ours are called here. */
pid_t fn_wrap__Fork(void)
{
	pid_t pid;

	fn_fork_prepare();
	pid = fn_real._Fork();
	if (pid) {
		fn_fork_parent();
		forked(pid);
	} else {
		fn_fork_child();
	}
	return pid;
}

/* A child has ended, perhaps one that had connections: who waits for children may look at no socket for long. */
static pid_t reaped(pid_t pid)
{
	if (pid > 0 && fn_active())
		fn_guarded_void(fn_shim_reaped());
	return pid;
}

pid_t fn_wrap_waitpid(pid_t pid, int *status, int options)
{
	return reaped(fn_real.waitpid(pid, status, options));
}
fn_alias(__waitpid, waitpid);

pid_t fn_wrap_wait(int *status)
{
	return reaped(fn_real.wait(status));
}
fn_alias(__wait, wait);

pid_t fn_wrap_wait3(int *status, int options, struct rusage *use)
{
	return reaped(fn_real.wait3(status, options, use));
}

pid_t fn_wrap_wait4(pid_t pid, int *status, int options, struct rusage *use)
{
	return reaped(fn_real.wait4(pid, status, options, use));
}

int fn_wrap_waitid(idtype_t type, id_t id, siginfo_t *info, int options)
{
	int ret = fn_real.waitid(type, id, info, options);

	reaped(ret == 0 ? 1 : 0);
	return ret;
}

int fn_wrap_execve(const char *path, char *const argv[], char *const envp[])
{
	return before_exec(AT_FDCWD, path, 0) ? exec_failed(fn_real.execve(path, argv, fn_env_for(path, envp))) : -1;
}

int fn_wrap_execveat(int dir, const char *path, char *const argv[], char *const envp[], int flags)
{
	return before_exec(dir, path, flags) ? exec_failed(fn_real.execveat(dir, path, argv, envp, flags)) : -1;
}

int fn_wrap_fexecve(int fd, char *const argv[], char *const envp[])
{
	return before_exec(fd, "", AT_EMPTY_PATH) ? exec_failed(fn_real.fexecve(fd, argv, envp)) : -1;
}

int fn_wrap_execvpe(const char *file, char *const argv[], char *const envp[])
{
	char buf[PATH_MAX];
	const char *path = fn_active() ? search(file, buf) : file;

	if (path && !before_exec(AT_FDCWD, path, 0))
		return -1;
	return exec_failed(fn_real.execvpe(file, argv, fn_env_for(path, envp)));
}

int fn_wrap_execv(const char *path, char *const argv[])
{
	return fn_wrap_execve(path, argv, environ);
}

int fn_wrap_execvp(const char *file, char *const argv[])
{
	return fn_wrap_execvpe(file, argv, environ);
}

/* How many pointers an argument list has, its NULL included. */
static size_t list_length(const char *arg, va_list *rest)
{
	size_t n = 1;

	for (; arg; arg = va_arg(*rest, const char *))
		n++;
	return n;
}

/* Copy the list, its NULL included; `rest` stands behind it afterwards, where execle() has its environment. */
static void list_copy(char **argv, const char *arg, va_list *rest)
{
	for (; arg; arg = va_arg(*rest, const char *))
		*argv++ = (char *)arg;
	*argv = NULL;
}

/* The vector must live in the caller's frame: there is no malloc between fork and exec. */
#define list_to_argv(arg, ap, rest)					\
	({								\
		char **argv_;						\
		va_start(ap, arg);					\
		argv_ = alloca(list_length(arg, &(ap)) * sizeof(*argv_)); \
		va_end(ap);						\
		va_start(rest, arg);					\
		list_copy(argv_, arg, &(rest));				\
		argv_;							\
	})

int fn_wrap_execl(const char *path, const char *arg, ...)
{
	va_list ap, rest;
	char **argv = list_to_argv(arg, ap, rest);

	va_end(rest);
	return fn_wrap_execve(path, argv, environ);
}

int fn_wrap_execlp(const char *file, const char *arg, ...)
{
	va_list ap, rest;
	char **argv = list_to_argv(arg, ap, rest);

	va_end(rest);
	return fn_wrap_execvpe(file, argv, environ);
}

int fn_wrap_execle(const char *path, const char *arg, ...)
{
	va_list ap, rest;
	char **argv = list_to_argv(arg, ap, rest), **envp = va_arg(rest, char **);

	va_end(rest);
	return fn_wrap_execve(path, argv, envp);
}

int fn_wrap_setgroups(size_t n, const gid_t *list)
{
	before_privileges();
	return fn_real.setgroups(n, list);
}

int fn_wrap_initgroups(const char *user, gid_t group)
{
	before_privileges();
	return fn_real.initgroups(user, group);
}

int fn_wrap_prctl(int op, unsigned long b, unsigned long c, unsigned long d, unsigned long e)
{
	if (op == PR_SET_SECCOMP && fn_active())
		return (int)fn_confine(SYS_prctl, op, (long)b, (long)c, (long)d, (long)e);
	if (op == PR_CAPBSET_DROP)
		before_privileges();
	return fn_real.prctl(op, b, c, d, e);
}

/* The kernel refuses what concerns users, memory or the file system's root to a process that has several threads. */
int fn_together(int ret)
{
	int err = errno;

	if (fn_active())
		fn_guarded_void(fn_shim_together());
	errno = err;
	return ret;
}

/* Without a flag that says so it may be any namespace. */
static int moved(int ret, int flags)
{
	if (!ret && fn_active() && flags & (CLONE_NEWNET | CLONE_NEWUSER))
		fn_guarded_void(fn_shim_namespace(flags & CLONE_NEWNET));
	return ret;
}

int fn_own_files(void)
{
	int ret = fn_active() ? (int)fn_guarded(false, fn_shim_own_files()) : 0;

	return ret < 0 ? fn_together((int)fn_errno(ret)) : 0;
}

/* Refusing flags that are not for several threads is left to the kernel (check_unshare_flags() in kernel/fork.c). */
static bool own_files(int flags)
{
	return flags & CLONE_FILES && !(flags & (CLONE_THREAD | CLONE_SIGHAND | CLONE_VM | CLONE_NEWUSER));
}

int fn_wrap_unshare(int flags)
{
	if (own_files(flags) && fn_own_files() < 0)
		return -1;
	if (fn_active())
		fn_guarded_void(fn_shim_alone());
	return fn_together(moved(fn_real.unshare(flags), flags));
}

int fn_wrap_setns(int fd, int type)
{
	if (fn_active())
		fn_guarded_void(fn_shim_alone());
	return fn_together(moved(fn_real.setns(fd, type), type ? type : CLONE_NEWNET));
}
