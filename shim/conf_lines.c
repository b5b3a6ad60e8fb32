/* SPDX-License-Identifier: BSD-3-Clause */
/* Lines of a configuration text or of /etc/passwd: raw system calls and a caller's buffer, so that it works wherever the
 * program happens to be (in malloc, in a signal handler, before main). Knows no syntax. */
#include "shim/conf_parse.h"
#include "shim/sys.h"

#include <errno.h>

int fn_conf_open(struct fn_conf_lines *l, const char *path)
{
	long fd = fn_sys(SYS_open, path, O_RDONLY | O_CLOEXEC | O_NOCTTY | O_NONBLOCK);

	l->fd = fd < 0 ? -1 : (int)fd;
	l->pos = l->end = l->buf;
	l->line = 0;
	l->err = 0;
	return fd < 0 ? (int)fd : 0;
}

void fn_conf_memory(struct fn_conf_lines *l, const char *text, size_t len)
{
	l->fd = -1;
	l->pos = text;
	l->end = text + len;
	l->line = 0;
	l->err = 0;
}

void fn_conf_close(struct fn_conf_lines *l)
{
	if (l->fd >= 0)
		fn_sys_close(l->fd);
	l->fd = -1;
}

/* The next byte, or -1 at the end (a read error ends it too, and is kept). */
static int next_byte(struct fn_conf_lines *l)
{
	long n;

	if (l->pos == l->end) {
		if (l->fd < 0)
			return -1;
		do
			n = fn_sys_read(l->fd, l->buf, sizeof l->buf);
		while (n == -EINTR);
		if (n < 0)
			l->err = (int)n;
		if (n <= 0)
			return -1;
		l->pos = l->buf;
		l->end = l->buf + n;
	}
	return (unsigned char)*l->pos++;
}

char *fn_conf_line(struct fn_conf_lines *l, char *out, size_t size)
{
	size_t len = 0;
	int b = next_byte(l);

	if (b < 0)
		return NULL;
	l->line++;
	l->too_long = false;
	for (; b >= 0 && b != '\n'; b = next_byte(l)) {
		if (len == 0 && (b == ' ' || b == '\t' || b == '\r'))
			continue;
		if (b == 0)
			b = '?';
		if (len + 1 < size)
			out[len++] = (char)b;
		else
			l->too_long = true;
	}
	out[len] = 0;
	return out;
}
