/* SPDX-License-Identifier: BSD-3-Clause */
/* DPDK ports in the configuration: the keys of a [nic NAME] section, and the same keys in FASTNET_NIC. A port that has a
 * wrong or missing value is left out as a whole. */
#include "shim/conf_parse.h"

#include <arpa/inet.h>
#include <string.h>

enum nic_key { TYPE, DEVARGS, ADDRESS, GATEWAY, MAC, MTU, QUEUES, BUFFERS, CSUM, TSO };
static const char nic_keys[] = "type|devargs|address|gateway|mac|mtu|queues|buffers|csum|tso";
#define SEEN(key)	(1u << (key))
#define OPEN		(1u << 31)

/* RFC 791 asks 68 of every link; 9,000 is the usual jumbo frame, 65,535 IPv4's limit (net_tap, loopback-like devices). */
#define MTU_MIN		68
#define MTU_MAX		65535
#define QUEUES_MAX	16	/* FN_DPDK_QUEUES */
#define BUFFERS_MIN	512
#define BUFFERS_MAX	4194304

/* ---- one key ---- */

static bool is_unicast(uint32_t ip4)
{
	uint32_t a = ntohl(ip4);

	return a >> 24 != 0 && a >> 24 != 127 && a < 0xe0000000u;
}

static bool parse_address(struct fn_nic_conf *n, const char *value)
{
	uint8_t addr[16], family, prefix;
	uint32_t ip4, mask, host;

	if (!strchr(value, '/') || !fn_conf_prefix(value, addr, &family, &prefix) || family != AF_INET || prefix == 0)
		return false;
	memcpy(&ip4, addr, sizeof ip4);
	mask = htonl(UINT32_MAX << (32 - prefix));
	host = ip4 & ~mask;
	/* the subnet's own and its broadcast address are no host's; RFC 3021: a /31 has neither */
	if (!is_unicast(ip4) || (prefix < 31 && (host == 0 || host == ~mask)))
		return false;
	n->ip4 = ip4;
	n->ip4_mask = mask;
	return true;
}

static void set_number(struct fn_conf_parse *p, const char *value, uint64_t min, uint64_t max, uint32_t *out,
		       const char *expected)
{
	uint64_t n;

	if (fn_conf_number(value, min, max, &n))
		*out = (uint32_t)n;
	else
		fn_conf_expected(p, expected, value);
}

static void set_devargs(struct fn_conf_parse *p, const char *value)
{
	if (!*value || strpbrk(value, " \t\"'") || !fn_conf_copy(p->nic.devargs, sizeof p->nic.devargs, value))
		fn_conf_expected(p, "DEVICE[,KEY=VALUE…] as DPDK takes it, without blanks, of at most 255 characters", value);
}

static void set_key(struct fn_conf_parse *p, enum nic_key key, const char *value)
{
	struct fn_nic_conf *n = &p->nic;
	int word;

	switch (key) {
	case TYPE:
		if (strcmp(value, "dpdk"))
			fn_conf_expected(p, "dpdk", value);
		break;
	case DEVARGS:
		set_devargs(p, value);
		break;
	case ADDRESS:
		if (!parse_address(n, value))
			fn_conf_expected(p, "the IPv4 address of a host with its prefix, as 10.9.0.2/24", value);
		break;
	case GATEWAY:
		if (!fn_conf_ip4(value, &n->ip4_gw) || !is_unicast(n->ip4_gw))
			fn_conf_expected(p, "an IPv4 address, as 10.9.0.1", value);
		break;
	case MAC:
		n->has_mac = fn_conf_mac(value, n->mac);
		if (!n->has_mac)
			fn_conf_expected(p, "a unicast MAC address, as 02:00:00:00:00:01", value);
		break;
	case MTU:
		set_number(p, value, MTU_MIN, MTU_MAX, &n->mtu, "bytes from 68 to 65535");
		break;
	case QUEUES:
		set_number(p, value, 1, QUEUES_MAX, &n->queues, "a number from 1 to 16");
		break;
	case BUFFERS:
		set_number(p, value, BUFFERS_MIN, BUFFERS_MAX, &n->buffers, "a number from 512 to 4194304");
		break;
	case CSUM:
		word = fn_conf_word(value, "auto|verify|trust");
		if (word < 0)
			fn_conf_expected(p, "one of auto|verify|trust", value);
		else
			n->csum = (enum fn_nic_csum)word;
		break;
	case TSO:
		word = fn_conf_word(value, "auto|on|off");
		if (word < 0)
			fn_conf_expected(p, "one of auto|on|off", value);
		else
			n->tso = (enum fn_nic_tso)word;
		break;
	}
}

static void read_key(struct fn_conf_parse *p, const char *key, const char *value)
{
	int k = fn_conf_word(key, nic_keys);

	if (k < 0) {
		fn_conf_error(p, "no such key; a port has %s", nic_keys);
		return;
	}
	p->nic_seen |= SEEN(k);
	set_key(p, (enum nic_key)k, value);
}

/* ---- one port ---- */

static void nic_begin(struct fn_conf_parse *p)
{
	memset(&p->nic, 0, sizeof p->nic);
	p->nic.line = p->file ? p->line : 0;
	p->nic_seen = OPEN;
	p->nic_errors = 0;
}

static bool name_ok(const char *name)
{
	size_t len = strlen(name);

	return len && len < FN_NIC_NAME && strspn(name, "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ"
							"0123456789_.-:") == len;
}

static void set_name(struct fn_conf_parse *p, const char *name)
{
	if (!name_ok(name) || !fn_conf_copy(p->nic.name, sizeof p->nic.name, name))
		fn_conf_expected(p, "a port's name of 1 to 15 letters, digits and _ . - :", name);
}

static void check_gateway(struct fn_conf_parse *p)
{
	const struct fn_nic_conf *n = &p->nic;

	if (!n->ip4_gw || !n->ip4)
		return;
	p->key = "gateway";
	if ((n->ip4_gw ^ n->ip4) & n->ip4_mask)
		fn_conf_error(p, "expected an address inside the port's own subnet");
	else if (n->ip4_gw == n->ip4)
		fn_conf_error(p, "expected another address than the port's own");
}

static void check_unique(struct fn_conf_parse *p)
{
	for (unsigned i = 0; i < p->c->nnics; i++) {
		const struct fn_nic_conf *o = &p->c->nics[i];

		p->key = NULL;
		if (!strcmp(o->name, p->nic.name))
			fn_conf_error(p, "there is a port %s already", o->name);
		p->key = "devargs";
		if (!strcmp(o->devargs, p->nic.devargs))
			fn_conf_error(p, "port %s has this device already", o->name);
		p->key = "address";
		if (o->ip4 == p->nic.ip4)
			fn_conf_error(p, "port %s has this address already", o->name);
	}
}

void fn_conf_nic_end(struct fn_conf_parse *p)
{
	unsigned line = p->line;

	if (!p->nic_seen)
		return;
	p->line = p->nic.line;
	for (unsigned k = TYPE; k <= ADDRESS; k++)
		if (!(p->nic_seen & SEEN(k))) {
			p->key = k == TYPE ? "type" : k == DEVARGS ? "devargs" : "address";
			fn_conf_error(p, "missing; a port needs it");
		}
	check_gateway(p);
	if (!p->nic_errors)
		check_unique(p);
	p->key = NULL;
	if (!p->nic_errors && p->c->nnics == FN_CONF_NICS)
		fn_conf_error(p, "expected at most %d ports", FN_CONF_NICS);
	if (!p->nic_errors)
		p->c->nics[p->c->nnics++] = p->nic;
	p->nic_seen = 0;
	p->line = line;
}

void fn_conf_nic_key(struct fn_conf_parse *p, const char *name, const char *key, const char *value)
{
	if (!p->nic_seen) {
		nic_begin(p);
		p->key = NULL;
		set_name(p, name);
		p->key = key;
	}
	read_key(p, key, value);
}

/* ---- FASTNET_NIC ---- */

/* The first word of a part: TYPE:DEVARGS. The port is named after the device until name= says otherwise. */
static void env_device(struct fn_conf_parse *p, char *word)
{
	char *colon = strchr(word, ':');

	if (!colon) {
		fn_conf_expected(p, "dpdk:DEVICE[,KEY=VALUE…] KEY=VALUE …", word);
		return;
	}
	*colon++ = 0;
	p->key = "type";
	read_key(p, "type", word);
	p->column += (unsigned)(colon - word);
	p->key = "devargs";
	read_key(p, "devargs", colon);
	memcpy(p->nic.name, p->nic.devargs, sizeof p->nic.name);
	p->nic.name[sizeof p->nic.name - 1] = 0;
	p->nic.name[strcspn(p->nic.name, ",")] = 0;
}

static void env_word(struct fn_conf_parse *p, char *word)
{
	char *equals = strchr(word, '=');

	p->key = NULL;
	if (!(p->nic_seen & SEEN(TYPE))) {
		p->nic_seen |= SEEN(TYPE) | SEEN(DEVARGS);
		env_device(p, word);
	} else if (!equals) {
		fn_conf_expected(p, "KEY=VALUE", word);
	} else {
		*equals++ = 0;
		p->key = word;
		p->column += (unsigned)(equals - word);
		if (strcmp(word, "name"))
			read_key(p, word, equals);
		else
			set_name(p, equals);
	}
	p->key = NULL;
}

static char *cut(char *word, const char *s, size_t n)
{
	memcpy(word, s, n);
	word[n] = 0;
	return word;
}

/* One part, up to len characters: words separated by blanks. start: the part's first character. */
static void env_part(struct fn_conf_parse *p, const char *value, const char *start, size_t len)
{
	char word[FN_CONF_DEVARGS + 64];
	const char *s = start, *end = start + len;

	nic_begin(p);
	while (s < end) {
		size_t n = strcspn(s, " \t;");

		p->key = NULL;
		p->column = (unsigned)(s - value) + 1;
		if (n >= sizeof word)
			fn_conf_error(p, "expected a word of at most %zu characters", sizeof word - 1);
		else if (n)
			env_word(p, cut(word, s, n));
		s += n ? n : 1;
	}
	p->column = (unsigned)(start - value) + 1;
	fn_conf_nic_end(p);
}

void fn_conf_nic_env(struct fn_conf_parse *p, const char *value)
{
	const char *s = value;

	p->c->nnics = 0;
	while (*s) {
		size_t len = strcspn(s, ";");

		p->part++;
		if (strspn(s, " \t") < len)
			env_part(p, value, s, len);
		s += len + (s[len] == ';');
	}
}
