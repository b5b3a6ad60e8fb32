/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * The configuration: what fastnet.conf and FASTNET_* say, checked, in one record without pointers.
 *
 * Owns the syntax of both and every message about a wrong value. Must not print, allocate, call a wrapped socket
 * function, or act on what it reads: it runs inside somebody else's program, perhaps in its first socket call.
 * fastnet-run and fastnet-stat are built with it too.
 */
#ifndef FN_CONF_H
#define FN_CONF_H

#include <netinet/in.h>
#include <sys/types.h>

#include "stack/compiler.h"
#include "stack/nic.h"

#define FN_CONF_NICS	8		/* FN_NICS_MAX of stack.h */
#define FN_CONF_RULES	64
#define FN_CONF_PATH	256
#define FN_CONF_DEVARGS	256
#define FN_CONF_AUTO	UINT32_MAX	/* of an AUTO setting */

enum fn_on_error { FN_ON_ERROR_KERNEL, FN_ON_ERROR_ABORT };
enum fn_log_level { FN_LOG_ERROR, FN_LOG_WARNING, FN_LOG_NOTICE, FN_LOG_INFO, FN_LOG_DEBUG };
enum fn_hugepages { FN_HUGEPAGES_AUTO, FN_HUGEPAGES_YES, FN_HUGEPAGES_NO };
enum fn_conf_cc { FN_CONF_CUBIC, FN_CONF_RENO };	/* the values of enum fn_cc_id */

/* What is done with checksums of received packets that the device has not verified: the values of enum fn_port_csum. */
enum fn_nic_csum {
	FN_NIC_CSUM_AUTO,	/* an unfinished one counts as good on a virtual interface; all others are computed */
	FN_NIC_CSUM_VERIFY,	/* all are computed */
	FN_NIC_CSUM_TRUST,	/* all count as good */
};

/* Whether the device cuts TCP segments: the values of enum fn_port_tso. */
enum fn_nic_tso {
	FN_NIC_TSO_AUTO,	/* where it does so in hardware */
	FN_NIC_TSO_ON,		/* also where its driver does it in software */
	FN_NIC_TSO_OFF,
};

/* One DPDK port, from a [nic NAME] section or one part of FASTNET_NIC. Addresses in network byte order. */
struct fn_nic_conf {
	char name[FN_NIC_NAME];
	char devargs[FN_CONF_DEVARGS];	/* what EAL's --vdev or -a takes: "net_af_packet0,iface=veth1", "0000:01:00.0" */
	uint32_t ip4, ip4_mask;
	uint32_t ip4_gw;		/* 0: none */
	uint8_t mac[6];
	bool has_mac;			/* else the device's own */
	uint32_t mtu;			/* 0: the device's own */
	uint32_t queues;		/* 0: what the device needs */
	uint32_t buffers;		/* packet buffers; 0: what the plugin thinks right */
	enum fn_nic_csum csum;
	enum fn_nic_tso tso;
	unsigned line;			/* in the file, for messages; 0: from FASTNET_NIC */
};

enum fn_rule_verdict { FN_RULE_ACCELERATE, FN_RULE_KERNEL };
enum fn_rule_proto { FN_RULE_ANY_PROTO, FN_RULE_TCP, FN_RULE_UDP };
enum fn_rule_verb { FN_RULE_ANY_VERB, FN_RULE_LISTEN, FN_RULE_CONNECT };

/* One line `rule = …`. A field that the line does not name matches everything. */
struct fn_rule {
	enum fn_rule_verdict verdict;
	enum fn_rule_proto proto;
	enum fn_rule_verb verb;
	uint8_t family;			/* AF_INET or AF_INET6; 0: any address */
	uint8_t prefix;			/* bits of addr that count */
	uint8_t addr[16];		/* network byte order, an IPv4 address in the first four */
	uint16_t port_first, port_last;	/* host order */
	char program[64];		/* last part of the program's path; "": any */
	bool has_uid;
	uid_t uid;
	unsigned line;			/* in the file; 0: from FASTNET_RULES, then .number tells which */
	unsigned number;		/* 1 and up, in order */
};

#define FN_CONF_DECL_BOOL(name, max)	bool name;
#define FN_CONF_DECL_UINT(name, max)	uint32_t name;
#define FN_CONF_DECL_AUTO(name, max)	uint32_t name;
#define FN_CONF_DECL_ENUM(name, max)	uint32_t name;
#define FN_CONF_DECL_SIZE(name, max)	uint64_t name;
#define FN_CONF_DECL_TEXT(name, max)	char name[max];

struct fn_conf {
#define FN_CONF(kind, name, def, min, max, unit, help) FN_CONF_DECL_##kind(name, max)
#include "shim/conf.def"
#undef FN_CONF
#undef FN_CONF_ENV
	struct fn_nic_conf nics[FN_CONF_NICS];
	unsigned nnics;
	struct fn_rule rules[FN_CONF_RULES];
	unsigned nrules;
	char file[FN_CONF_PATH];	/* the file that was read; "": none */
	unsigned errors;		/* wrong values met; each left its default in place */
};

/*
 * Told each error, and each FASTNET_* variable that is none of ours (no error), as one line without newline: "FILE:LINE: [SECTION] KEY: expected …, not "…"", or
 * "FASTNET_NIC, port 2, character 31: …". text lives for the call only.
 */
struct fn_conf_report {
	void (*fn)(void *ctx, const char *text);
	void *ctx;
};

/* Every setting at its default; no NIC, no rule, no file. */
void fn_conf_init(struct fn_conf *c);

/*
 * Initialise *c, then read the file (FASTNET_CONF, else SYSCONFDIR/fastnet/fastnet.conf if it exists), then FASTNET_* in
 * envp, which win; FASTNET_NIC replaces the file's ports, FASTNET_RULES come before the file's rules. `secure` (AT_SECURE)
 * leaves the environment unread. rep may be NULL. Returns the number of errors. Keeps errno.
 */
unsigned fn_conf_load(struct fn_conf *c, char *const envp[], bool secure, const struct fn_conf_report *rep);

/* The parts of fn_conf_load(), for tests and fuzzing: add to *c what a text (a file's contents, called name in messages)
 * or an environment says. */
void fn_conf_text(struct fn_conf *c, const char *name, const char *text, size_t len, const struct fn_conf_report *rep);
void fn_conf_env(struct fn_conf *c, char *const envp[], const struct fn_conf_report *rep);

/* Last part of a program's path. */
const char *fn_conf_basename(const char *path);

#endif
