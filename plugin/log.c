/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * Where the words of DPDK and of the libraries under it go: to the host's log, never to the program's standard output or
 * error, on which EAL prints its help, getopt its complaints, and libbpf what it thinks.
 */
#include <dlfcn.h>
#include <errno.h>
#include <pthread.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>

#include <rte_log.h>

#include "plugin/dpdk.h"

static bool keep;		/* between dpdk_log_keep() and dpdk_log_kept() */
static char kept[200];

static enum fn_plugin_level level_of(int rte_level)
{
	if (rte_level <= (int)RTE_LOG_ERR)
		return FN_PLUGIN_ERROR;
	if (rte_level == (int)RTE_LOG_WARNING)
		return FN_PLUGIN_WARNING;
	if (rte_level == (int)RTE_LOG_NOTICE)
		return FN_PLUGIN_NOTICE;
	return rte_level == (int)RTE_LOG_INFO ? FN_PLUGIN_INFO : FN_PLUGIN_DEBUG;
}

/* While .open runs, what goes wrong is a detail of the text that it returns, of which the last error is a part. */
static ssize_t log_write(void *cookie, const char *buf, size_t len)
{
	enum fn_plugin_level level = level_of(rte_log_cur_msg_loglevel());
	size_t n = len;

	while (n && (buf[n - 1] == '\n' || buf[n - 1] == ' '))
		n--;
	if (!n)
		return (ssize_t)len;
	if (keep && level == FN_PLUGIN_ERROR)
		snprintf(kept, sizeof(kept), "%.*s", (int)n, buf);
	if (level < FN_PLUGIN_INFO && (keep || level == FN_PLUGIN_NOTICE))
		level = FN_PLUGIN_INFO;
	fn_log(level, "dpdk: %.*s", (int)n, buf);
	return (ssize_t)len;
}

void dpdk_log_keep(void)
{
	keep = true;
	kept[0] = 0;
}

const char *dpdk_log_kept(void)
{
	keep = false;
	return kept;
}

static int library_print(int level, const char *fmt, va_list ap)
{
	char line[256];
	int n = vsnprintf(line, sizeof(line), fmt, ap);

	if (n > 0 && line[strcspn(line, "\n")] == '\n')
		line[strcspn(line, "\n")] = 0;
	fn_log(level ? FN_PLUGIN_DEBUG : FN_PLUGIN_INFO, "%s", line);
	return n;
}

/* The libraries under net_af_xdp write to standard error unless they are told where to; they are there if EAL loaded it. */
void dpdk_log_libraries(void)
{
	static const struct {
		const char *file, *symbol;
	} libs[] = {
		{ "libbpf.so.1", "libbpf_set_print" },
		{ "libxdp.so.1", "libxdp_set_print" },
	};

	for (size_t i = 0; i < fn_array_size(libs); i++) {
		void *lib = dlopen(libs[i].file, RTLD_LAZY | RTLD_NOLOAD);
		void *(*set)(int (*)(int, const char *, va_list));

		if (!lib)
			continue;
		*(void **)&set = dlsym(lib, libs[i].symbol);
		if (set)
			set(library_print);
	}
}

int dpdk_log_open(void)
{
	FILE *f = fopencookie(NULL, "w", (cookie_io_functions_t){ .write = log_write });

	if (!f)
		return -ENOMEM;
	setvbuf(f, NULL, _IOLBF, 1024);
	if (fn_host->level >= FN_PLUGIN_DEBUG) {
		rte_log_set_global_level(RTE_LOG_DEBUG);
		rte_log_set_level_pattern("pmd.*", RTE_LOG_DEBUG);
	}
	return rte_openlog_stream(f) ? -ENOMEM : 0;
}

/* ---- standard output and error while EAL starts ---- */

/* A stream in place of a standard one: what EAL's thread writes goes to the log, what others write goes on. */
struct divert {
	FILE *to, *original;
	pthread_t eal;
};

static ssize_t divert_write(void *cookie, const char *buf, size_t len)
{
	struct divert *d = cookie;
	const char *end = memchr(buf, '\n', len);

	if (pthread_equal(d->eal, pthread_self()))
		fn_log(FN_PLUGIN_DEBUG, "dpdk: %.*s", end ? (int)(end - buf) : (int)len, buf);
	else if (fwrite(buf, 1, len, d->original) != len)
		return 0;
	return (ssize_t)len;
}

static void divert_on(struct divert *d, FILE **stream)
{
	/* Never closed: another thread may still be in it when the original is back. */
	if (!d->to)
		d->to = fopencookie(d, "w", (cookie_io_functions_t){ .write = divert_write });
	if (!d->to)
		return;
	setvbuf(d->to, NULL, _IONBF, 0);
	d->eal = pthread_self();
	d->original = *stream;
	*stream = d->to;
}

static void divert_off(struct divert *d, FILE **stream)
{
	if (d->to)
		*stream = d->original;
}

void dpdk_log_divert(bool on)
{
	static struct divert out, err;

	if (on) {
		divert_on(&out, &stdout);
		divert_on(&err, &stderr);
	} else {
		divert_off(&out, &stdout);
		divert_off(&err, &stderr);
	}
}
