/* SPDX-License-Identifier: BSD-3-Clause */
/* The names that stand for numbers in scripts and traces. */
#include <linux/sockios.h>

#include "seq.h"

struct name {
	const char *text;
	long value;
};

#define LIST(kind)	static const struct name kind[]

LIST(msg_flags) = {
	{ "PEEK", MSG_PEEK }, { "DONTWAIT", MSG_DONTWAIT }, { "WAITALL", MSG_WAITALL }, { "TRUNC", MSG_TRUNC },
	{ "OOB", MSG_OOB }, { "MORE", MSG_MORE }, { "NOSIGNAL", MSG_NOSIGNAL }, { "CTRUNC", MSG_CTRUNC },
	{ "EOR", MSG_EOR }, { "ERRQUEUE", MSG_ERRQUEUE }, { "CONFIRM", MSG_CONFIRM }, { "DONTROUTE", MSG_DONTROUTE },
	{ "CMSG_CLOEXEC", MSG_CMSG_CLOEXEC },
};
LIST(epoll_events) = {
	{ "IN", EPOLLIN }, { "PRI", EPOLLPRI }, { "OUT", EPOLLOUT }, { "ERR", EPOLLERR }, { "HUP", EPOLLHUP },
	{ "RDNORM", EPOLLRDNORM }, { "RDBAND", EPOLLRDBAND }, { "WRNORM", EPOLLWRNORM }, { "WRBAND", EPOLLWRBAND },
	{ "RDHUP", EPOLLRDHUP }, { "ET", EPOLLET }, { "ONESHOT", EPOLLONESHOT }, { "EXCLUSIVE", EPOLLEXCLUSIVE },
	{ "WAKEUP", EPOLLWAKEUP },
};
LIST(poll_events) = {
	{ "IN", POLLIN }, { "PRI", POLLPRI }, { "OUT", POLLOUT }, { "ERR", POLLERR }, { "HUP", POLLHUP },
	{ "NVAL", POLLNVAL }, { "RDNORM", POLLRDNORM }, { "RDBAND", POLLRDBAND }, { "WRNORM", POLLWRNORM },
	{ "WRBAND", POLLWRBAND }, { "RDHUP", POLLRDHUP },
};
LIST(types) = {
	{ "nonblock", SOCK_NONBLOCK }, { "cloexec", SOCK_CLOEXEC }, { "seqpacket", SOCK_SEQPACKET },
	{ "stream", SOCK_STREAM }, { "dgram", SOCK_DGRAM },
};
LIST(accept_flags) = { { "nonblock", SOCK_NONBLOCK }, { "cloexec", SOCK_CLOEXEC } };
LIST(targets) = {
	{ "peer", T_PEER }, { "closed", T_CLOSED }, { "dark", T_DARK }, { "loop", T_LOOP }, { "unspec", T_UNSPEC },
	{ "short", T_SHORT }, { "self", T_SELF }, { "any", T_ANY }, { "mapped", T_MAPPED }, { "foreign", T_FOREIGN },
	{ "null", T_NULL },
};
LIST(domains) = { { "inet", AF_INET }, { "inet6", AF_INET6 }, { "unix", AF_UNIX } };
LIST(ctl_ops) = { { "add", EPOLL_CTL_ADD }, { "mod", EPOLL_CTL_MOD }, { "del", EPOLL_CTL_DEL } };
LIST(hows) = { { "rd", SHUT_RD }, { "wr", SHUT_WR }, { "rdwr", SHUT_RDWR }, { "wrong", 7 } };
LIST(ioctls) = { { "fionread", FIONREAD }, { "outq", SIOCOUTQ }, { "fionbio", FIONBIO }, { "atmark", SIOCATMARK } };
LIST(signals) = { { "restart", SIGUSR2 }, { "interrupt", SIGUSR1 } };
LIST(actors) = { { "a0", 0 }, { "a1", 1 }, { "a2", 2 }, { "c0", A_CHILD }, { "peer", A_PEER } };

/* `mask`: values that are or'ed together. */
static const struct kind {
	char letter;
	bool mask;
	const struct name *names;
	int count;
} kinds[] = {
	{ 'm', true, msg_flags, COUNT(msg_flags) },	{ 'e', true, epoll_events, COUNT(epoll_events) },
	{ 'p', true, poll_events, COUNT(poll_events) }, { 'y', true, types, COUNT(types) },
	{ 'k', true, accept_flags, COUNT(accept_flags) }, { 't', false, targets, COUNT(targets) },
	{ 'd', false, domains, COUNT(domains) },	{ 'c', false, ctl_ops, COUNT(ctl_ops) },
	{ 'w', false, hows, COUNT(hows) },		{ 'q', false, ioctls, COUNT(ioctls) },
	{ 's', false, signals, COUNT(signals) },	{ 'a', false, actors, COUNT(actors) },
};

static const struct kind *kind_of(char letter)
{
	for (unsigned i = 0; i < COUNT(kinds); i++)
		if (kinds[i].letter == letter)
			return &kinds[i];
	return NULL;
}

int names_count(char kind)
{
	return kind == 'o' ? options_count() : kind_of(kind)->count;
}

long names_value(char kind, int i)
{
	return kind == 'o' ? i : kind_of(kind)->names[i].value;
}

/* SOCK_SEQPACKET is STREAM|DGRAM|4: a value counts when all of its bits are there, the larger ones first. */
void mask_text(char *to, char kind, unsigned mask)
{
	const struct kind *k = kind_of(kind);
	char *t = to;

	*t = 0;
	for (int i = 0; i < k->count; i++) {
		unsigned bits = (unsigned)k->names[i].value;

		if ((mask & bits) == bits) {
			t += sprintf(t, "%s%s", t == to ? "" : "|", k->names[i].text);
			mask &= ~bits;
		}
	}
	if (mask || t == to)
		sprintf(t, mask ? "%s%#x" : "%s0", t == to ? "" : "|", mask);
}

const char *name_of(char kind, long value)
{
	static __thread char text[4][256];
	static __thread unsigned turn;
	const struct kind *k = kind_of(kind);
	char *t = text[turn++ % 4];

	if (kind == 'o')
		return value >= 0 && value < options_count() ? options[value].name : "none";
	if (!k) {
		snprintf(t, 256, kind == 'n' ? "%ld" : "f%ld", value);
	} else if (k->mask) {
		mask_text(t, kind, (unsigned)value);
	} else {
		snprintf(t, 256, "%ld", value);
		for (int i = 0; i < k->count; i++)
			if (k->names[i].value == value)
				snprintf(t, 256, "%s", k->names[i].text);
	}
	return t;
}

static bool one_name(const struct kind *k, const char *text, size_t len, long *value)
{
	char *end;

	for (int i = 0; i < k->count; i++)
		if (strlen(k->names[i].text) == len && !strncmp(k->names[i].text, text, len)) {
			*value |= k->names[i].value;
			return true;
		}
	*value |= strtol(text, &end, 0);
	return end == text + len && len;
}

static bool option_value(const char *text, long *value)
{
	for (int i = 0; i < options_count(); i++)
		if (!strcmp(options[i].name, text)) {
			*value = i;
			return true;
		}
	return false;
}

bool value_of(char kind, const char *text, long *value)
{
	const struct kind *k = kind_of(kind);
	char *end;

	if (kind == 'o')
		return option_value(text, value);
	*value = 0;
	if (!k) {
		text += kind != 'n' && *text == 'f';
		*value = strtol(text, &end, 0);
		return *text && !*end && (kind == 'n' || (*value >= 0 && *value < HANDLES));
	}
	for (;;) {
		size_t len = strcspn(text, "|");

		if (!one_name(k, text, len, value))
			return false;
		if (!text[len])
			return true;
		text += len + 1;
	}
}

const char *error_name(int err)
{
	const char *name = strerrorname_np(err);

	return name ? name : "?";
}
