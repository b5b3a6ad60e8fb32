/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * What a process gives up, by each function that takes something from it, while it has a connection: users, groups, roots,
 * capabilities, namespaces. The same comes back as on Linux, and the connection goes on; that of the parent too, which
 * gives up nothing.
 */
#include <grp.h>
#include <linux/capability.h>
#include <sched.h>
#include <sys/prctl.h>
#include <sys/syscall.h>

#include "oracle.h"

#define NOBODY	65534

int capset(void *header, const void *data);

static char buf[64];

/* ---- steps: each in a child of its own ---- */

static int to_groups(void)
{
	return setgroups(0, NULL) ? -1 : getgroups(0, NULL);
}

static int to_initgroups(void)
{
	return initgroups("nobody", NOBODY);
}

static int to_uid(void)
{
	return setuid(NOBODY) || setuid(0) != -1;
}

static int to_gid(void)
{
	return setgid(NOBODY) || getegid() != NOBODY;
}

static int to_euid(void)
{
	return seteuid(NOBODY) || geteuid() != NOBODY || seteuid(0);
}

static int to_egid(void)
{
	return setegid(NOBODY) || getegid() != NOBODY;
}

static int to_reuid(void)
{
	return setreuid(NOBODY, NOBODY) || setreuid(0, 0) != -1;
}

static int to_regid(void)
{
	return setregid(NOBODY, NOBODY) || getgid() != NOBODY;
}

static int to_resuid(void)
{
	return setresuid(NOBODY, NOBODY, NOBODY) || setresuid(0, 0, 0) != -1;
}

static int to_resgid(void)
{
	return setresgid(NOBODY, NOBODY, NOBODY) || getgid() != NOBODY;
}

static int to_chroot(void)
{
	return chroot("/proc/self") || chdir("/") || access("/status", R_OK) || !access("/bin", F_OK);
}

static int to_capset(void)
{
	struct __user_cap_header_struct header = { .version = _LINUX_CAPABILITY_VERSION_3 };
	struct __user_cap_data_struct none[2] = { { 0 } };

	return capset(&header, none) || chroot("/") != -1;
}

static int to_nnp(void)
{
	return prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0) || prctl(PR_GET_NO_NEW_PRIVS, 0, 0, 0, 0) != 1;
}

static int to_undumpable(void)
{
	return prctl(PR_SET_DUMPABLE, 0, 0, 0, 0) || prctl(PR_GET_DUMPABLE, 0, 0, 0, 0) != 0;
}

static int to_new_names(void)
{
	return unshare(CLONE_NEWUTS | CLONE_NEWIPC) || sethostname("other", 5);
}

static int to_new_users(void)
{
	return unshare(CLONE_NEWUSER) || access("/proc/self/uid_map", R_OK);
}

/* That of a child. */
static int to_other_users(void)
{
	char path[40];
	int told[2], ns, ret;
	pid_t pid;

	if (pipe2(told, O_CLOEXEC))
		return -1;
	pid = fork();
	if (!pid) {
		ret = unshare(CLONE_NEWUSER);
		(void)!write(told[1], "x", 1);
		for (;;)
			pause();
	}
	(void)!read(told[0], buf, 1);
	snprintf(path, sizeof(path), "/proc/%d/ns/user", pid);
	ns = open(path, O_RDONLY | O_CLOEXEC);
	ret = setns(ns, CLONE_NEWUSER);
	if (ret)
		say("setns: %s", error_name(errno));
	kill(pid, SIGKILL);
	waitpid(pid, NULL, 0);
	return ret | close(ns) | close(told[0]) | close(told[1]);
}

static int to_new_mounts(void)
{
	return unshare(CLONE_NEWNS | CLONE_FS);
}

/* There and back: the namespace that it had is found again by its file. */
static int to_old_names(void)
{
	int was = open("/proc/self/ns/uts", O_RDONLY | O_CLOEXEC), ret = unshare(CLONE_NEWUTS) || sethostname("other", 5);
	char name[65] = "";

	ret |= setns(was, CLONE_NEWUTS) || gethostname(name, sizeof(name)) || !strcmp(name, "other");
	return ret | close(was);
}

/* Into the network namespace where the process is already: nothing changes. */
static int to_same_net(void)
{
	int was = open("/proc/self/ns/net", O_RDONLY | O_CLOEXEC), ret = setns(was, CLONE_NEWNET);

	return ret | close(was);
}

static int to_bad_setns(void)
{
	int was = open("/proc/self/ns/uts", O_RDONLY | O_CLOEXEC), fd = open("/dev/null", O_RDONLY | O_CLOEXEC);

	TRY(setns(was, CLONE_NEWNET));
	TRY(setns(fd, 0));
	TRY(setns(minus_one, 0));
	TRY(setns(was, 1));
	return close(was) | close(fd);
}

static int to_bad_ids(void)
{
	TRY(setgroups((size_t)minus_one, NULL));
	TRY(setresuid((uid_t)minus_one, (uid_t)minus_one, (uid_t)minus_one));
	TRY(setuid((uid_t)minus_one));
	TRY(chroot("/nonexistent"));
	TRY(unshare(minus_one));
	TRY(prctl(minus_one, 0, 0, 0, 0));
	TRY(capset(NULL, NULL));
	return 0;
}

static const struct {
	const char *name;
	int (*take)(void);
} steps[] = {
	{ "setgroups", to_groups },	    { "initgroups", to_initgroups }, { "setuid", to_uid },
	{ "setgid", to_gid },		    { "seteuid", to_euid },	     { "setegid", to_egid },
	{ "setreuid", to_reuid },	    { "setregid", to_regid },	     { "setresuid", to_resuid },
	{ "setresgid", to_resgid },	    { "chroot", to_chroot },	     { "capset", to_capset },
	{ "prctl, no new privileges", to_nnp }, { "prctl, not dumpable", to_undumpable },
	{ "unshare, names", to_new_names }, { "unshare, mounts", to_new_mounts },
	{ "unshare, users", to_new_users }, { "setns, users", to_other_users },
	{ "setns, there and back", to_old_names }, { "setns, where it is", to_same_net },
	{ "setns, refused", to_bad_setns }, { "refused", to_bad_ids },
};

/* ---- with a connection ---- */

/* Three bytes there and three back, of what has been going on n times. */
static int talks(int fd, int slot, int n)
{
	char in[4] = "";

	if (send(fd, "abcdefghi" + 3 * n, 3, 0) != 3 || peer("recv %d 3", slot) != 3)
		return 50;
	if (peer("send %d 3", slot) != 3 || recv(fd, in, 3, MSG_WAITALL) != 3)
		return 51;
	return 0;
}

/* The child gives up; its parent, which has the connection too, goes on afterwards. */
static void shared(unsigned i, const struct way *w)
{
	int slot, fd = w->make(&slot), status = -1;
	pid_t pid;

	say("-- %s, %s", steps[i].name, w->name);
	fflush(stdout);
	pid = fork();
	if (!pid) {
		int gave = steps[i].take();

		fflush(stdout);
		_exit(gave ? 40 : talks(fd, slot, 0));
	}
	waitpid(pid, &status, 0);
	say("child: %d", WIFEXITED(status) ? WEXITSTATUS(status) : -WTERMSIG(status));
	to_the_end(fd, slot);
}

/* The process that opened the port gives up what it can have back. */
static void own(const struct way *w)
{
	int slot, fd = w->make(&slot);

	say("-- the process itself, %s", w->name);
	TRY(seteuid(NOBODY));
	say("talks: %d", talks(fd, slot, 0));
	TRY(seteuid(0));
	TRY(to_old_names());
	say("talks: %d", talks(fd, slot, 1));
	TRY(to_same_net());
	say("talks: %d", talks(fd, slot, 2));
	close(fd);
	say("peer at end: %ld", peer("take %d", slot));
}

void t_give(void)
{
	for (unsigned i = 0; i < COUNT(steps); i++)
		shared(i, &ways[i % 2]);
	for (unsigned i = 0; i < COUNT(ways); i++)
		own(&ways[i]);
}
