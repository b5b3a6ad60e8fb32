/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * What Linux leaves open and only the run can tell: when two calls sleep, which of them gets what comes is a race. So a
 * second call that may sleep is not made while one is blocked; nor is the number closed that it sleeps on.
 */
#include <sys/stat.h>

#include "seq.h"

#define MUCH	40000	/* a send buffer takes less at once */

static struct {
	uint64_t held;	/* of the peer's slots, the script's orders */
	bool much;	/* something has been sent that is much */
} lot;

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

void rule_order(const char *order)
{
	unsigned slot, on;

	if (sscanf(order, "hold %u %u", &slot, &on) == 2 && slot < 64)
		lot.held = (lot.held & ~(1ull << slot)) | (uint64_t)!!on << slot;
}

void rule_forget(void)
{
	lot.held = 0;
	lot.much = false;
}

/*
 * A peer that reads nothing: what its window and the send buffer take together is open, which grows with all that has
 * been sent. The first lot tells nevertheless, if it is far from it.
 */
#define ALL_TAKEN	70000	/* by the window (64 KB), and a send buffer for two windows of ten segments */
#define NEVER_TAKEN	1000000	/* Linux takes 840,000 (BBR) of a connection that has sent nothing before */
static bool may_fit(const struct op *op)
{
	bool first = !lot.much;

	lot.much = true;
	/* over the fabric, as over loopback, there is room for more than a script writes */
	return lot.held && !getenv("SEQ_APART") && !(first && (op->arg[1] <= ALL_TAKEN || op->arg[1] >= NEVER_TAKEN));
}

/* How much of a lot a call takes that does not wait is open, and how much two buffers take together. */
bool takes_some(const struct op *op)
{
	int fd = actors_world()->fd[op->arg[0]];

	return is_much(op) && (nonblocking(fd) || to_self(fd) || may_fit(op));
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
