/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * A server that binds as root and gives up its privileges in the order of its arguments, then answers each line with the
 * line:
 *
 *	server PORT STEP…
 *
 *	chroot=DIR	chroot, chdir
 *	nobody		setgroups, setresgid, setresuid
 *	raw		the same by number, for the calling thread alone
 *	capset		capset: no capability is left
 *	nnp		no_new_privs
 *	filter=all	a seccomp filter that kills for whatever is not the program's own or in shim/seccomp.def
 *	filter=serve	only what that file has in its group SERVE
 *	filter=own	only the program's own
 *	tsync=all	as filter=all, by seccomp(2), for all threads (tsync=own too)
 *	meet		serves until a client says "go"
 *	strict		PR_SET_SECCOMP's strict mode: that client is served, and no other, until its end of file
 */
#include <errno.h>
#include <fcntl.h>
#include <grp.h>
#include <linux/audit.h>
#include <linux/capability.h>
#include <linux/filter.h>
#include <linux/futex.h>
#include <linux/seccomp.h>
#include <signal.h>
#include <netinet/in.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/ioctl.h>
#include <sys/prctl.h>
#include <sys/socket.h>
#include <sys/syscall.h>
#include <unistd.h>

#define NOBODY	65534

static void must(int ok, const char *what)
{
	if (ok)
		return;
	fprintf(stderr, "%s: %s\n", what, strerror(errno));
	exit(1);
}

/* ---- steps ---- */

enum { GROUP_OWN, GROUP_SERVE, GROUP_GROW, GROUP_THREAD, GROUP_LINK, GROUP_LOG, GROUP_SIGNAL, GROUP_EXAMINE, GROUP_PLAIN, GROUP_YIELD, GROUP_NAME,
       GROUP_FAMILY, GROUP_FABRIC, GROUP_START };

static const struct {
	int group;
	long number;
} calls[] = {
#define OWN(call)	{ GROUP_OWN, SYS_##call }
	OWN(epoll_wait), OWN(epoll_ctl), OWN(accept4), OWN(read), OWN(write), OWN(close), OWN(exit_group), OWN(prctl),
	OWN(seccomp),
#define FN_CALL(group, call, second, third, what)	{ GROUP_##group, SYS_##call },
#include "shim/seccomp.def"
};

/* An allow list: each call is two instructions. */
static struct sock_fprog make_filter(int last_group)
{
	static struct sock_filter code[512];
	unsigned n = 0;

	code[n++] = (struct sock_filter)BPF_STMT(BPF_LD | BPF_W | BPF_ABS, offsetof(struct seccomp_data, arch));
	code[n++] = (struct sock_filter)BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, AUDIT_ARCH_X86_64, 1, 0);
	code[n++] = (struct sock_filter)BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_KILL_PROCESS);
	code[n++] = (struct sock_filter)BPF_STMT(BPF_LD | BPF_W | BPF_ABS, offsetof(struct seccomp_data, nr));
	for (size_t i = 0; i < sizeof(calls) / sizeof(calls[0]); i++) {
		if (calls[i].group > last_group)
			continue;
		code[n++] = (struct sock_filter)BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, (unsigned)calls[i].number, 0, 1);
		code[n++] = (struct sock_filter)BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_ALLOW);
	}
	code[n++] = (struct sock_filter)BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_KILL_PROCESS);
	return (struct sock_fprog){ .len = (unsigned short)n, .filter = code };
}

static void install(const char *which, int tsync)
{
	struct sock_fprog prog = make_filter(!strcmp(which, "all") ? GROUP_START :
					     !strcmp(which, "serve") ? GROUP_SERVE : GROUP_OWN);

	must(!prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0), "no_new_privs");
	if (tsync)
		must(!syscall(SYS_seccomp, SECCOMP_SET_MODE_FILTER, SECCOMP_FILTER_FLAG_TSYNC, &prog), "seccomp");
	else
		must(!prctl(PR_SET_SECCOMP, SECCOMP_MODE_FILTER, &prog, 0, 0), "PR_SET_SECCOMP");
}

static void no_capability(void)
{
	struct __user_cap_header_struct h = { .version = _LINUX_CAPABILITY_VERSION_3 };
	struct __user_cap_data_struct d[_LINUX_CAPABILITY_U32S_3] = { 0 };

	must(!syscall(SYS_capset, &h, d), "capset");
}

/* read and write are left. */
static void serve_strictly(int c)
{
	char buf[4096];
	ssize_t n;

	must(c >= 0 && !prctl(PR_SET_SECCOMP, SECCOMP_MODE_STRICT), "strict");
	while ((n = read(c, buf, sizeof(buf))) > 0 && write(c, buf, (size_t)n) == n)
		;
	syscall(SYS_exit, 0);
}

static void step(const char *name)
{
	if (!strncmp(name, "chroot=", 7)) {
		must(!chroot(name + 7) && !chdir("/"), name);
	} else if (!strcmp(name, "nobody")) {
		must(!setgroups(0, NULL) && !setresgid(NOBODY, NOBODY, NOBODY) && !setresuid(NOBODY, NOBODY, NOBODY), name);
	} else if (!strcmp(name, "raw")) {
		must(!syscall(SYS_setgroups, 0, NULL) && !syscall(SYS_setresgid, NOBODY, NOBODY, NOBODY) &&
		     !syscall(SYS_setresuid, NOBODY, NOBODY, NOBODY), name);
	} else if (!strcmp(name, "capset")) {
		no_capability();
	} else if (!strncmp(name, "filter=", 7)) {
		install(name + 7, 0);
	} else if (!strncmp(name, "tsync=", 6)) {
		install(name + 6, 1);
	} else {
		errno = EINVAL;
		must(0, name);
	}
}

/* ---- service ---- */

static int listen_on(int port)
{
	struct sockaddr_in any = { .sin_family = AF_INET, .sin_port = htons((unsigned short)port) };
	int s = socket(AF_INET, SOCK_STREAM | SOCK_NONBLOCK, 0), one = 1;

	must(s >= 0 && !setsockopt(s, SOL_SOCKET, SO_REUSEADDR, &one, sizeof(one)) &&
	     !bind(s, (struct sockaddr *)&any, sizeof(any)) && !listen(s, 64), "listen");
	return s;
}

/* Was it "go"? */
static int answer(int c)
{
	char buf[4096];
	ssize_t n = read(c, buf, sizeof(buf));

	if (n > 0 && !memcmp(buf, "quit", 4))
		exit(0);
	if (n <= 0 || write(c, buf, (size_t)n) != n)
		close(c);
	return n >= 2 && !memcmp(buf, "go", 2);
}

/* The client that said "go", when it is to return then. */
static int serve(int s, int ep, int returns)
{
	struct epoll_event ev[16];

	for (;;) {
		int n = epoll_wait(ep, ev, 16, -1);

		for (int i = 0; i < n; i++) {
			int c = ev[i].data.fd;

			if (c != s) {
				if (answer(c) && returns)
					return c;
				continue;
			}
			c = accept4(s, NULL, NULL, SOCK_CLOEXEC);
			ev[i] = (struct epoll_event){ .events = EPOLLIN, .data.fd = c };
			if (c >= 0)
				epoll_ctl(ep, EPOLL_CTL_ADD, c, &ev[i]);
		}
	}
}

int main(int argc, char **argv)
{
	struct epoll_event ev = { .events = EPOLLIN };
	int s, c = -1, ep = epoll_create1(EPOLL_CLOEXEC);

	if (argc < 2)
		return 2;
	s = ev.data.fd = listen_on(atoi(argv[1]));
	must(ep >= 0 && !epoll_ctl(ep, EPOLL_CTL_ADD, s, &ev), "epoll");
	printf("listening\n");
	fflush(stdout);
	for (int i = 2; i < argc; i++) {
		if (!strcmp(argv[i], "meet"))
			c = serve(s, ep, 1);
		else if (!strcmp(argv[i], "strict"))
			serve_strictly(c);
		else
			step(argv[i]);
	}
	serve(s, ep, 0);
	return 0;
}
