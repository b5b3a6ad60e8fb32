/* SPDX-License-Identifier: BSD-3-Clause */
/* Values of the configuration: numbers, sizes, words, addresses, users. Each takes a whole text or refuses it. */
#include "shim/conf_parse.h"

#include <arpa/inet.h>
#include <ctype.h>
#include <string.h>

/* Digits only, no sign, no blanks, no overflow; *end is behind them. */
static bool digits(const char *text, uint64_t *out, const char **end)
{
	uint64_t n = 0;
	const char *s = text;

	for (; *s >= '0' && *s <= '9'; s++)
		if (__builtin_mul_overflow(n, 10u, &n) || __builtin_add_overflow(n, (uint64_t)(*s - '0'), &n))
			return false;
	*out = n;
	*end = s;
	return s != text;
}

bool fn_conf_number(const char *text, uint64_t min, uint64_t max, uint64_t *out)
{
	uint64_t n;
	const char *end;

	if (!digits(text, &n, &end) || *end || n < min || n > max)
		return false;
	*out = n;
	return true;
}

bool fn_conf_size(const char *text, uint64_t min, uint64_t max, uint64_t *out)
{
	uint64_t n;
	const char *end;
	unsigned shift = 0;

	if (!digits(text, &n, &end))
		return false;
	switch (toupper((unsigned char)*end)) {
	case 'K': shift = 10; break;
	case 'M': shift = 20; break;
	case 'G': shift = 30; break;
	}
	if (shift)
		end++;
	if (*end || n > UINT64_MAX >> shift || n << shift < min || n << shift > max)
		return false;
	*out = n << shift;
	return true;
}

bool fn_conf_bool(const char *text, bool *out)
{
	/* odd places are false */
	int n = fn_conf_word(text, "yes|no|1|0|true|false|on|off");

	if (n < 0)
		return false;
	*out = !(n & 1);
	return true;
}

int fn_conf_word(const char *text, const char *words)
{
	size_t len = strlen(text);

	for (int n = 0;; n++) {
		size_t word = strcspn(words, "|");

		if (word == len && !memcmp(words, text, len))
			return n;
		words += word;
		if (!*words++)
			return -1;
	}
}

bool fn_conf_ip4(const char *text, uint32_t *ip4)
{
	struct in_addr a;

	if (inet_pton(AF_INET, text, &a) != 1)
		return false;
	*ip4 = a.s_addr;
	return true;
}

bool fn_conf_prefix(const char *text, uint8_t addr[16], uint8_t *family, uint8_t *prefix)
{
	char host[INET6_ADDRSTRLEN];
	const char *slash = strchrnul(text, '/');
	size_t len = (size_t)(slash - text);
	uint8_t a[16] = { 0 };
	uint64_t bits;
	int af = memchr(text, ':', len) ? AF_INET6 : AF_INET;

	if (len >= sizeof host)
		return false;
	memcpy(host, text, len);
	host[len] = 0;
	if (inet_pton(af, host, a) != 1)
		return false;
	bits = af == AF_INET ? 32 : 128;
	if (*slash && !fn_conf_number(slash + 1, 0, bits, &bits))
		return false;
	memcpy(addr, a, sizeof a);
	*family = (uint8_t)af;
	*prefix = (uint8_t)bits;
	return true;
}

static int hex(char c)
{
	if (c >= '0' && c <= '9')
		return c - '0';
	c |= 0x20;
	return c >= 'a' && c <= 'f' ? c - 'a' + 10 : -1;
}

bool fn_conf_mac(const char *text, uint8_t mac[6])
{
	uint8_t m[6];

	for (int i = 0; i < 6; i++, text += 3) {
		int high = hex(text[0]);
		int low = high < 0 ? -1 : hex(text[1]);

		if (low < 0 || text[2] != (i < 5 ? ':' : 0))
			return false;
		m[i] = (uint8_t)(high << 4 | low);
	}
	/* a station's own address is neither a group's nor zero */
	if (m[0] & 1 || !(m[0] | m[1] | m[2] | m[3] | m[4] | m[5]))
		return false;
	memcpy(mac, m, sizeof m);
	return true;
}

bool fn_conf_user(const char *text, uid_t *uid)
{
	struct fn_conf_lines l;
	char line[512], *field;
	uint64_t n;
	bool found = false;

	if (fn_conf_number(text, 0, UINT32_MAX - 1, &n)) {
		*uid = (uid_t)n;
		return true;
	}
	if (!*text || strchr(text, ':') || fn_conf_open(&l, "/etc/passwd"))
		return false;
	while (!found && fn_conf_line(&l, line, sizeof line)) {
		/* name:password:uid:… */
		size_t len = strcspn(line, ":");

		if (len != strlen(text) || memcmp(line, text, len) || !line[len])
			continue;
		field = strchr(line + len + 1, ':');
		if (!field)
			continue;
		field[1 + strcspn(field + 1, ":")] = 0;
		found = fn_conf_number(field + 1, 0, UINT32_MAX - 1, &n);
	}
	fn_conf_close(&l);
	if (found)
		*uid = (uid_t)n;
	return found;
}

bool fn_conf_copy(char *dst, size_t size, const char *text)
{
	size_t len = strlen(text);

	if (len >= size)
		return false;
	memcpy(dst, text, len + 1);
	return true;
}

const char *fn_conf_basename(const char *path)
{
	const char *slash = strrchr(path, '/');

	return slash ? slash + 1 : path;
}
