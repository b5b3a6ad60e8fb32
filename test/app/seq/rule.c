/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * What Linux leaves open and only the run can tell: when two calls sleep, which of them gets what comes is a race. So a
 * second call that may sleep is not made while one is blocked; nor is the number closed that it sleeps on.
 */
#include <sys/stat.h>

#include "seq.h"

#define MUCH	40000	/* a send buffer takes less at once */

static bool nonblocking(int fd)
{
	int fl = fcntl(fd, F_GETFL);

	return fl < 0 || fl & O_NONBLOCK;
}

bool may_sleep(const struct op *op)
{
	int fd = actors_world()->fd[op->arg[0]];
	const char *args = verbs[op->verb].args, *flags = strchr(args, 'm');

	switch (op->verb) {
	case V_poll: case V_select: case V_pollmany: case V_epwait: case V_epmax: case V_eppwait:
		return op->arg[strrchr(args, 'n') - args];
	case V_masks: case V_pollall: case V_epctl: case V_epctldata: case V_set: case V_setlen: case V_shutdown:
	case V_fork: case V_dup: case V_dup2: case V_dup3: case V_bind: case V_listen: case V_close:
		return false;
	default:
		return verbs[op->verb].net && !(flags && op->arg[flags - args] & MSG_DONTWAIT) &&
		       (op->actor == A_CHILD || !nonblocking(fd));
	}
}

bool is_much(const struct op *op)
{
	return (op->verb == V_write || op->verb == V_send) && op->arg[1] > MUCH;
}

/* Of a connection to the subject itself nobody reads a lot while it is sent. */
static bool to_self(int fd)
{
	struct sockaddr_storage ss = { 0 };
	socklen_t len = sizeof(ss);
	struct result r = { .ret = 0 };

	if (!getpeername(fd, (struct sockaddr *)&ss, &len))
		address_text(actors_world(), &ss, len, &r);
	return strstr(r.detail, "self");
}

/* How much of a lot a call takes that does not wait is open, and how much two buffers take together. */
bool takes_some(const struct op *op)
{
	int fd = actors_world()->fd[op->arg[0]];

	return is_much(op) && (nonblocking(fd) || to_self(fd));
}

static bool splicing(void)
{
	for (int i = 0; i < ACTORS; i++)
		if (actor_blocked(i) && actor_op(i)->verb == V_splice)
			return true;
	return false;
}

/* Linux holds a pipe's lock while a splice into it sleeps on a socket; whoever moves bytes there sleeps as well. */
bool meets_splice(const struct op *op)
{
	const char *handle = strchr(verbs[op->verb].args, 'f');
	struct stat st;

	return handle && splicing() && !fstat(actors_world()->fd[op->arg[handle - verbs[op->verb].args]], &st) &&
	       S_ISFIFO(st.st_mode);
}

static bool used(long handle)
{
	for (int i = 0; i < ACTORS; i++) {
		const struct op *b = actor_op(i);

		if (actor_blocked(i) && (b->arg[0] == handle || (b->verb == V_pollmany && b->arg[1] == handle)))
			return true;
	}
	return false;
}

bool closes_one(const struct op *op)
{
	const char *args = verbs[op->verb].args;

	for (int i = 0; args[i]; i++)
		if (args[i] == 'F' && (op->actor == A_CHILD || actors_world()->fd[op->arg[i]] >= 0))
			return true;
	return false;
}

bool takes_away(const struct op *op)
{
	const char *args = verbs[op->verb].args;

	for (int i = 0; args[i]; i++)
		if (args[i] == 'F' && used(op->arg[i]))
			return true;
	return (op->verb == V_close && used(op->arg[0])) ||
	       ((op->verb == V_dup2 || op->verb == V_dup3) && used(op->arg[1]));
}
