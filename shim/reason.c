/* SPDX-License-Identifier: BSD-3-Clause */
/* Texts of reason codes, and the names that stand in them. */
#include "shim/reason.h"

#include <netinet/in.h>
#include <netinet/tcp.h>
#include <netinet/udp.h>
#include <stdio.h>
#include <string.h>
#include <sys/socket.h>

enum side { KERNEL, STACK, BOTH };
enum arg { NONE, FAMILY, TYPE, PROTO, OPTION, RULE, PID, NIC, ERRNO };

static const struct reason {
	const char *name, *text;
	enum side side;
	enum arg arg;
} reasons[FN_REASON_COUNT] = {
#define FN_REASON(n, s, a, t) { .name = #n, .text = t, .side = s, .arg = a },
#include "shim/reason.def"
#undef FN_REASON
};

struct name {
	uint32_t number;
	const char *name;
};

#define N(x)	{ x, #x }
static const struct name families[] = {
	N(AF_UNSPEC), N(AF_UNIX), N(AF_INET), N(AF_INET6), N(AF_NETLINK), N(AF_PACKET), N(AF_ALG), N(AF_BLUETOOTH),
	N(AF_CAN), N(AF_VSOCK), N(AF_XDP), N(AF_KEY), N(AF_TIPC), N(AF_SMC), N(AF_KCM),
};

static const struct name types[] = {
	N(SOCK_STREAM), N(SOCK_DGRAM), N(SOCK_RAW), N(SOCK_RDM), N(SOCK_SEQPACKET), N(SOCK_DCCP), N(SOCK_PACKET),
};

static const struct name protos[] = {
	{ IPPROTO_ICMP, "ICMP" }, { IPPROTO_TCP, "TCP" }, { IPPROTO_UDP, "UDP" }, { IPPROTO_DCCP, "DCCP" },
	{ IPPROTO_ICMPV6, "ICMPv6" }, { IPPROTO_SCTP, "SCTP" }, { IPPROTO_UDPLITE, "UDP-Lite" }, { 262, "MPTCP" },
};

static const struct name options[] = {
#define FN_OPTION(level, x, how, form, arg)	{ FN_REASON_OPTION(level, x), #x },
#define FN_OPTION_PLAIN(level, x, how, form)	{ FN_REASON_OPTION(level, x), #x },
#include "shim/opt.def"
#undef FN_OPTION
#undef FN_OPTION_PLAIN
};

static const char *lookup(const struct name *names, size_t n, uint32_t number)
{
	for (size_t i = 0; i < n; i++)
		if (names[i].number == number)
			return names[i].name;
	return NULL;
}

static const char *name_or_number(char *buf, size_t size, const char *name, const char *kind, uint32_t number)
{
	if (name)
		snprintf(buf, size, "%s", name);
	else
		snprintf(buf, size, "%s %u", kind, number);
	return buf;
}

const char *fn_family_name(char *buf, size_t size, unsigned family)
{
	return name_or_number(buf, size, lookup(families, fn_array_size(families), family), "family", family);
}

const char *fn_type_name(char *buf, size_t size, unsigned type)
{
	return name_or_number(buf, size, lookup(types, fn_array_size(types), type), "type", type);
}

const char *fn_proto_name(char *buf, size_t size, unsigned proto)
{
	return name_or_number(buf, size, lookup(protos, fn_array_size(protos), proto), "number", proto);
}

const char *fn_option_name(char *buf, size_t size, uint32_t option)
{
	const char *name = lookup(options, fn_array_size(options), option);

	if (name)
		return name_or_number(buf, size, name, NULL, 0);
	snprintf(buf, size, "level %u number %u", option >> 16, option & 0xffff);
	return buf;
}

bool fn_reason_stack(enum fn_reason r)
{
	return r < FN_REASON_COUNT && reasons[r].side != KERNEL;
}

const char *fn_reason_name(unsigned r)
{
	return r < FN_REASON_COUNT ? reasons[r].name : NULL;
}

static const char *rule_name(char *buf, size_t size, uint32_t arg, const char *file)
{
	const char *slash = file ? strrchr(file, '/') : NULL;

	if (arg & FN_REASON_ENV_RULE)
		snprintf(buf, size, "FASTNET_RULES, number %u", arg & ~FN_REASON_ENV_RULE);
	else if (file && *file)
		snprintf(buf, size, "%s:%u", slash ? slash + 1 : file, arg);
	else
		snprintf(buf, size, "line %u", arg);
	return buf;
}

static const char *arg_text(char *buf, size_t size, enum arg kind, uint32_t arg, const char *file, const char *nic)
{
	const char *desc;

	switch (kind) {
	case NONE:	return "";
	case FAMILY:	return fn_family_name(buf, size, arg);
	case TYPE:	return fn_type_name(buf, size, arg);
	case PROTO:	return fn_proto_name(buf, size, arg);
	case OPTION:	return fn_option_name(buf, size, arg);
	case RULE:	return rule_name(buf, size, arg, file);
	case NIC:	return name_or_number(buf, size, nic && *nic ? nic : NULL, "number", arg);
	case ERRNO:
		desc = arg < 4096 ? strerrordesc_np((int)arg) : NULL;
		return name_or_number(buf, size, desc, "error", arg);
	case PID:
		snprintf(buf, size, "%u", arg);
		return buf;
	}
	return "";
}

const char *fn_reason_text(char *buf, size_t size, unsigned r, uint32_t arg, const char *file, const char *nic)
{
	const struct reason *reason;
	const char *mark;
	char text[160];

	if (r >= FN_REASON_COUNT) {
		snprintf(buf, size, "reason %u", r);
		return buf;
	}
	reason = &reasons[r];
	mark = strstr(reason->text, "%s");
	if (mark)
		snprintf(buf, size, "%.*s%s%s", (int)(mark - reason->text), reason->text,
			 arg_text(text, sizeof text, reason->arg, arg, file, nic), mark + 2);
	else
		snprintf(buf, size, "%s", reason->text);
	return buf;
}
