/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * The truth table of events: every state of a socket times every transition, with the socket in one epoll set for each
 * pair of trigger mode and wanted events. Sets are waited on twice before and twice after the transition, are armed anew
 * by EPOLL_CTL_MOD and waited on twice again; poll and select are asked as well. The socket is f0.
 */
#include "seq.h"

#define SETS	10	/* the first handle of a set */

static const char *const modes[] = { "0", "ET", "ONESHOT", "ET|ONESHOT", "EXCLUSIVE" };
static const char *const wanted[] = { "0", "IN", "OUT", "RDHUP", "PRI", "IN|OUT|RDHUP|PRI" };

#define CONNECTED	"a0 socket f0 inet stream\na0 connect f0 peer\n"
#define LISTENING	"a0 socket f0 inet nonblock|stream\na0 bind f0 self\na0 listen f0 8\n"
#define DATAGRAMS	"a0 socket f0 inet nonblock|dgram\na0 bind f0 self\n"

struct row {
	const char *name, *lines;
};

static const struct row states[] = {
	{ "fresh", "a0 socket f0 inet nonblock|stream\n" },
	{ "bound", "a0 socket f0 inet nonblock|stream\na0 bind f0 self\n" },
	{ "connecting", "a0 socket f0 inet nonblock|stream\na0 connect f0 dark\n" },
	{ "refused", "a0 socket f0 inet nonblock|stream\na0 connect f0 closed\n" },
	{ "connected", CONNECTED },
	{ "accepted", "a0 socket f1 inet stream\na0 bind f1 self\na0 listen f1 8\npeer connect f1\na0 accept f1 f0\n" },
	{ "data", CONNECTED "peer send 0 10\n" },
	{ "urgent", CONNECTED "peer oob 0\n" },
	{ "peer shut", CONNECTED "peer shut 0\n" },
	{ "data, peer shut", CONNECTED "peer send 0 10\npeer shut 0\n" },
	{ "receiving shut", CONNECTED "a0 shutdown f0 rd\n" },
	{ "sending shut", CONNECTED "a0 shutdown f0 wr\n" },
	{ "all shut", CONNECTED "a0 shutdown f0 rdwr\n" },
	{ "both closed", CONNECTED "a0 shutdown f0 wr\npeer shut 0\n" },
	{ "reset", CONNECTED "peer rst 0\n" },
	{ "reset, told", CONNECTED "peer rst 0\na0 get f0 error\n" },
	{ "data, reset", CONNECTED "peer send 0 10\npeer rst 0\n" },
	{ "disconnected", CONNECTED "a0 connect f0 unspec\n" },
	{ "listening", LISTENING },
	{ "listening, one waits", LISTENING "peer connect f0\n" },
	{ "listener shut", LISTENING "a0 shutdown f0 rd\n" },
	{ "datagrams, fresh", "a0 socket f0 inet nonblock|dgram\n" },
	{ "datagrams, bound", DATAGRAMS },
	{ "datagrams, one waits", DATAGRAMS "peer datagram f0 10\n" },
	{ "datagrams, connected", DATAGRAMS "a0 connect f0 peer\n" },
	{ "datagrams, refused", DATAGRAMS "a0 connect f0 closed\na0 send f0 1 0\n" },
	{ "datagrams, shut", DATAGRAMS "a0 connect f0 peer\na0 shutdown f0 rd\n" },
};

static const struct row transitions[] = {
	{ "nothing", "" },
	{ "data", "peer send 0 5\n" },
	{ "datagram", "peer datagram f0 5\n" },
	{ "urgent", "peer oob 0\n" },
	{ "peer shuts", "peer shut 0\n" },
	{ "peer closes", "peer close 0\n" },
	{ "peer resets", "peer rst 0\n" },
	{ "peer connects", "peer connect f0\n" },
	{ "a part is read", "a0 recv f0 3 DONTWAIT\n" },
	{ "all is read", "a0 recv f0 1000 DONTWAIT\na0 recv f0 1000 DONTWAIT\n" },
	{ "sends", "a0 send f0 5 NOSIGNAL|DONTWAIT\n" },
	{ "shuts sending", "a0 shutdown f0 wr\n" },
	{ "shuts receiving", "a0 shutdown f0 rd\n" },
	{ "shuts all", "a0 shutdown f0 rdwr\n" },
	{ "error taken", "a0 get f0 error\n" },
	{ "connects", "a0 nonblock f0 1\na0 connect f0 peer\n" },
	{ "connects, refused", "a0 nonblock f0 1\na0 connect f0 closed\n" },
	{ "disconnects", "a0 connect f0 unspec\n" },
	{ "a dup is closed", "a0 dup f0 f2\na0 close f2\n" },
	{ "closed", "a0 close f0\n" },
	{ "closed, a dup stays", "a0 dup f0 f2\na0 close f0\n" },
};

int table_count(void)
{
	return (int)(COUNT(states) * COUNT(transitions));
}

static const struct row *state_of(int i)
{
	return &states[(unsigned)i / COUNT(transitions)];
}

static const struct row *transition_of(int i)
{
	return &transitions[(unsigned)i % COUNT(transitions)];
}

const char *table_name(int i)
{
	static char name[128];

	snprintf(name, sizeof(name), "%s: %s", state_of(i)->name, transition_of(i)->name);
	return name;
}

static void add_lines(struct script *s, const char *lines)
{
	while (*lines) {
		size_t len = strcspn(lines, "\n");

		script_add(s, "%.*s", (int)len, lines);
		lines += len + 1;
	}
}

static void each_set(struct script *s, const char *format)
{
	unsigned h = SETS;

	for (unsigned m = 0; m < COUNT(modes); m++)
		for (unsigned w = 0; w < COUNT(wanted); w++, h++)
			if (strstr(format, "%s"))
				script_add(s, format, h, modes[m], wanted[w]);
			else
				script_add(s, format, h);
}

void table_script(struct script *s, int i)
{
	add_lines(s, state_of(i)->lines);
	each_set(s, "a0 epcreate f%u");
	each_set(s, "a0 epctl f%u add f0 %s|%s");
	each_set(s, "a0 epwait f%u 0");
	each_set(s, "a0 epwait f%u 0");
	add_lines(s, transition_of(i)->lines);
	add_lines(s, "a0 masks f0\n");
	each_set(s, "a0 epwait f%u 0");
	each_set(s, "a0 epwait f%u 0");
	each_set(s, "a0 epctl f%u mod f0 %s|%s");
	each_set(s, "a0 epwait f%u 0");
	each_set(s, "a0 epwait f%u 0");
}
