/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * A connection goes to another program, by each function that starts one: it reads and writes there what the peer sends and
 * gets, whether the program is given the connection as its standard input or finds it under the number it had. What is not
 * found leaves everything as it was.
 */
#include <spawn.h>

#include "oracle.h"

extern char **environ;

static char buf[64], line[80];
/* A shell that sends back three bytes of what it reads; the first word is its name. */
static char *sh[] = { "sh", "-c", line, NULL };

/* The connection may be had by other programs from now on, and `line` tells the shell where. */
static void offer(int fd)
{
	fcntl(fd, F_SETFD, 0);
	snprintf(line, sizeof(line), "head -c 3 <&%d >&%d; exit 3", fd, fd);
}

/* ---- exec ---- */

static int by_execv(void)
{
	return execv("/bin/sh", sh);
}

static int by_execve(void)
{
	return execve("/bin/sh", sh, environ);
}

static int by_execvp(void)
{
	return execvp("sh", sh);
}

static int by_execvpe(void)
{
	return execvpe("sh", sh, environ);
}

static int by_execl(void)
{
	return execl("/bin/sh", "sh", "-c", line, NULL);
}

static int by_execle(void)
{
	return execle("/bin/sh", "sh", "-c", line, NULL, environ);
}

static int by_execlp(void)
{
	return execlp("sh", "sh", "-c", line, NULL);
}

static int by_fexecve(void)
{
	return fexecve(open("/bin/sh", O_RDONLY | O_CLOEXEC), sh, environ);
}

static int by_execveat(void)
{
	return execveat(open("/bin", O_PATH | O_DIRECTORY | O_CLOEXEC), "sh", sh, environ, 0);
}

static const struct {
	const char *name;
	int (*exec)(void);
} execs[] = {
	{ "execv", by_execv },	   { "execve", by_execve },	{ "execvp", by_execvp },
	{ "execvpe", by_execvpe }, { "execl", by_execl },	{ "execle", by_execle },
	{ "execlp", by_execlp },   { "fexecve", by_fexecve },	{ "execveat", by_execveat },
};

static void ends(int status)
{
	if (WIFEXITED(status))
		say("it exits with %d", WEXITSTATUS(status));
	else
		say("it is killed by %d", WTERMSIG(status));
}

/* The parent's number goes on beside the other program, or after it. */
static void over(int fd, int slot)
{
	say("peer got: %ld", peer("recv %d 3", slot));
	to_the_end(fd, slot);
}

static void executed(unsigned i, const struct way *w)
{
	int slot, fd = w->make(&slot), status = -1;
	pid_t pid;

	say("-- %s, %s", execs[i].name, w->name);
	peer("send %d 3", slot);
	offer(fd);
	fflush(stdout);
	pid = fork();
	if (!pid)
		_exit(execs[i].exec() ? 90 : 91);
	waitpid(pid, &status, 0);
	ends(status);
	over(fd, slot);
}

/* A program that is not there: the image and its connection go on. */
static void not_there(void)
{
	int slot, fd = connect_out(&slot);

	say("-- what is not there");
	fcntl(fd, F_SETFD, 0);
	peer("send %d 3", slot);
	TRY(execv("/nonexistent/program", sh));
	TRY(execvp("fastnet-nonexistent", sh));
	TRY(execlp("fastnet-nonexistent", "x", NULL));
	TRY(execveat(AT_FDCWD, "nonexistent/program", sh, environ, 0));
	TRY(fexecve(fd, sh, environ));
	GET(recv(fd, buf, 3, MSG_WAITALL), buf);
	TRY(send(fd, "abc", 3, 0));
	over(fd, slot);
}

/* ---- spawn ---- */

static void spawned(const struct way *w, bool by_path, bool named)
{
	int slot, fd = w->make(&slot), status = -1;
	posix_spawn_file_actions_t actions;
	pid_t pid = -1;

	say("-- posix_spawn%s, %s, %s", by_path ? "p" : "", named ? "actions" : "inherited", w->name);
	peer("send %d 3", slot);
	posix_spawn_file_actions_init(&actions);
	if (named) {
		snprintf(line, sizeof(line), "head -c 3; exit 3");
		TRY(posix_spawn_file_actions_adddup2(&actions, fd, 0));
		TRY(posix_spawn_file_actions_adddup2(&actions, 0, 1));
		TRY(posix_spawn_file_actions_addclose(&actions, fd));
		TRY(posix_spawn_file_actions_addopen(&actions, 5, "/dev/null", O_RDONLY, 0));
	} else {
		offer(fd);
	}
	fflush(stdout);
	TRY(by_path ? posix_spawnp(&pid, "sh", &actions, NULL, sh, environ) :
		      posix_spawn(&pid, "/bin/sh", &actions, NULL, sh, environ));
	waitpid(pid, &status, 0);
	ends(status);
	posix_spawn_file_actions_destroy(&actions);
	over(fd, slot);
}

static void not_spawned(void)
{
	int slot, fd = connect_out(&slot);
	posix_spawn_file_actions_t actions;
	pid_t pid;

	say("-- not spawned");
	posix_spawn_file_actions_init(&actions);
	TRY(posix_spawn_file_actions_adddup2(&actions, fd, -1));
	TRY(posix_spawn_file_actions_adddup2(&actions, fd, 0));
	TRY(posix_spawn(&pid, "/nonexistent/program", &actions, NULL, sh, environ));
	TRY(posix_spawnp(&pid, "fastnet-nonexistent", &actions, NULL, sh, environ));
	posix_spawn_file_actions_destroy(&actions);
	peer("send %d 3", slot);
	GET(recv(fd, buf, 3, MSG_WAITALL), buf);
	TRY(send(fd, "abc", 3, 0));
	over(fd, slot);
}

/* ---- by a shell ---- */

static void by_system(const struct way *w)
{
	int slot, fd = w->make(&slot);

	say("-- system, %s", w->name);
	TRY(system(NULL) != 0);
	peer("send %d 3", slot);
	offer(fd);
	fflush(stdout);
	ends(system(line));
	over(fd, slot);
}

static void by_popen(const struct way *w, const char *mode)
{
	int slot, fd = w->make(&slot);
	FILE *f;

	say("-- popen %s, %s", mode, w->name);
	fcntl(fd, F_SETFD, 0);
	fflush(stdout);
	if (*mode == 'r') {
		peer("send %d 3", slot);
		snprintf(line, sizeof(line), "head -c 3 <&%d; exit 4", fd);
		f = popen(line, mode);
		say("fgets '%s'", fgets(buf, sizeof(buf), f));
		TRY(send(fd, "abc", 3, 0));
	} else {
		snprintf(line, sizeof(line), "cat >&%d; exit 4", fd);
		f = popen(line, mode);
		say("fputs %d", fputs("abc", f) >= 0);
	}
	ends(pclose(f));
	over(fd, slot);
}

void t_program(void)
{
	for (unsigned i = 0; i < COUNT(execs); i++)
		executed(i, &ways[i % 2]);
	not_there();
	for (unsigned i = 0; i < COUNT(ways); i++) {
		for (int kind = 0; kind < 4; kind++)
			spawned(&ways[i], kind & 1, kind & 2);
		by_system(&ways[i]);
		by_popen(&ways[i], "r");
		by_popen(&ways[i], "w");
		by_popen(&ways[i], "re");
	}
	not_spawned();
}
