/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * DPDK's environment layer inside somebody else's program: brought up once, without arguments that touch what is the
 * program's: affinity, signals, PCI devices it did not name, the identity in syslog.
 */
#include <errno.h>
#include <fcntl.h>
#include <pthread.h>
#include <sched.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <syslog.h>
#include <unistd.h>

#include <rte_eal.h>
#include <rte_errno.h>

#include "plugin/dpdk.h"

#define EAL_ARGS	48
#define EAL_ARG_LEN	512
#define MB		(1024 * 1024u)

struct eal_args;

static struct {
	bool tried;
	pid_t owner;		/* who started it */
	int rc;
	char err[256];
	bool hugepages;
	struct eal_args *args;	/* EAL keeps pointers into them */
	int fds[16];
	int nb_fds;
} eal;

struct eal_args {
	int n;
	char *v[EAL_ARGS + 1];
	char text[EAL_ARGS][EAL_ARG_LEN];
};

/* ---- arguments ---- */

__attribute__((format(printf, 2, 3)))
static void arg(struct eal_args *a, const char *fmt, ...)
{
	va_list ap;

	if (a->n == EAL_ARGS)
		return;
	va_start(ap, fmt);
	vsnprintf(a->text[a->n], EAL_ARG_LEN, fmt, ap);
	va_end(ap);
	a->v[a->n] = a->text[a->n];
	a->v[++a->n] = NULL;
}

/* Packet memory of all ports, and what EAL and the drivers take beside it. */
static unsigned need_mb(const struct fn_port_conf *conf, const struct dpdk_devargs *dev)
{
	uint64_t object = (uint64_t)dev->room + 1024;

	return (unsigned)((dev->buffers * object / MB + 16) * fn_max(conf->ports, 1u) + 32);
}

/* One lcore that may run on every CPU that the calling thread may use: EAL binds the thread to it. */
static void arg_lcores(struct eal_args *a, const cpu_set_t *cpus)
{
	char list[EAL_ARG_LEN] = "";
	size_t len = 0;
	int first;

	for (int i = 0; i < CPU_SETSIZE && len < sizeof(list) - 16; i++) {
		if (!CPU_ISSET(i, cpus))
			continue;
		first = i;
		while (i + 1 < CPU_SETSIZE && CPU_ISSET(i + 1, cpus))
			i++;
		len += (size_t)snprintf(list + len, sizeof(list) - len, "%s%d-%d", len ? "," : "", first, i);
	}
	arg(a, "--lcores=0@(%s)", list);
}

/* Whether there will be huge pages, as configured: eal.hugepages; they are held until EAL takes them. */
static int choose_memory(const struct fn_port_conf *conf, unsigned need, char *err, size_t errlen)
{
	unsigned long have;

	eal.hugepages = conf->hugepages != FN_PORT_HUGE_NO && dpdk_huge_hold(need);
	if (eal.hugepages || conf->hugepages == FN_PORT_HUGE_NO)
		return 0;
	have = dpdk_huge_free_mb();
	if (conf->hugepages == FN_PORT_HUGE_YES) {
		snprintf(err, errlen, "hugepages = yes, but the %u MB that are needed cannot be had (%lu MB are free)", need,
			 have);
		return -ENOMEM;
	}
	if (dpdk_huge_any())
		fn_log(FN_PLUGIN_INFO, "without huge pages: the %u MB that are needed cannot be had (%lu MB are free)", need,
		       have);
	return 0;
}

static void build_args(struct eal_args *a, const struct fn_port_conf *conf, unsigned need, const cpu_set_t *cpus)
{
	char extra[EAL_ARG_LEN], *save, *word;

	memset(a, 0, sizeof(*a));
	arg(a, "%s", program_invocation_short_name);	/* EAL makes it the syslog identity: as libc would */
	arg_lcores(a, cpus);
	arg(a, "--no-telemetry");
	arg(a, "--syslog=user");
	if (eal.hugepages) {
		arg(a, "--in-memory");
	} else {
		/* 22.11 refuses --in-memory together with --no-huge. */
		arg(a, "--no-huge");
		arg(a, "--no-shconf");
		arg(a, "-m");
		arg(a, "%u", need);
	}
	if (!conf->pci) {
		arg(a, "--no-pci");
		arg(a, "--iova-mode=va");
	} else if (strchr(conf->devargs, ':')) {
		arg(a, "-a");
		arg(a, "%s", conf->devargs);
	}
	snprintf(extra, sizeof(extra), "%s", conf->eal_args ? conf->eal_args : "");
	for (word = strtok_r(extra, " ", &save); word; word = strtok_r(NULL, " ", &save))
		arg(a, "%s", word);
	for (int i = 1; i < a->n; i++)
		fn_log(FN_PLUGIN_DEBUG, "EAL argument: %s", a->v[i]);
}

/* ---- init ---- */

/* EAL's threads inherit a mask with everything blocked; the caller's mask and affinity are put back. */
static int init_guarded(struct eal_args *a, const cpu_set_t *cpus)
{
	sigset_t all, old;
	cpu_set_t now;
	int rc;

	sigfillset(&all);
	pthread_sigmask(SIG_BLOCK, &all, &old);
	dpdk_log_divert(true);
	rc = rte_eal_init(a->n, a->v);
	dpdk_log_divert(false);
	pthread_sigmask(SIG_SETMASK, &old, NULL);
	if (!sched_getaffinity(0, sizeof(now), &now) && !CPU_EQUAL(&now, cpus))
		sched_setaffinity(0, sizeof(*cpus), cpus);
	return rc;
}

/*
 * EAL found no huge page after all. What it says before it has begun anything lets it be called again; after that it is
 * "already initialized", and the error stands.
 */
static bool may_try_again(void)
{
	if (rte_errno != EACCES)
		return false;
	fn_log(FN_PLUGIN_INFO, "without huge pages: they have gone since they were seen (%s)", dpdk_log_kept());
	dpdk_huge_drop();
	eal.hugepages = false;
	return true;
}

/* EAL opened the log of syslog(3) for itself; back to libc's defaults. */
static void restore_syslog(void)
{
	openlog(program_invocation_short_name, 0, LOG_USER);
	closelog();
}

static int eal_start(const struct fn_port_conf *conf, const struct dpdk_devargs *dev, char *err, size_t errlen)
{
	unsigned need = need_mb(conf, dev);
	struct eal_args *a;
	cpu_set_t cpus;
	int rc;

	if (sched_getaffinity(0, sizeof(cpus), &cpus))
		return -errno;
	if (dpdk_log_open())
		return -ENOMEM;
	a = calloc(1, sizeof(*a));
	if (!a)
		return -ENOMEM;
	rc = choose_memory(conf, need, err, errlen);
	if (rc)
		goto out;
	dpdk_log_keep();
	build_args(a, conf, need, &cpus);
	rc = init_guarded(a, &cpus);
	if (rc < 0 && eal.hugepages && conf->hugepages == FN_PORT_HUGE_AUTO && may_try_again()) {
		build_args(a, conf, need, &cpus);
		rc = init_guarded(a, &cpus);
	}
	if (rc < 0) {
		rc = rte_errno ? -rte_errno : -EIO;
		snprintf(err, errlen, "DPDK's EAL cannot start: %s (%s)", rte_strerror(-rc), dpdk_log_kept());
	} else {
		rc = 0;
		dpdk_log_kept();
		dpdk_log_libraries();
	}
	restore_syslog();
out:
	if (rc) {
		free(a);
		dpdk_huge_drop();
	} else {
		eal.args = a;
	}
	return rc;
}

void dpdk_eal_fds_closed(void)
{
	int n = 0;

	for (int i = 0; i < eal.nb_fds; i++)
		if (fcntl(eal.fds[i], F_GETFD) >= 0)
			eal.fds[n++] = eal.fds[i];
	eal.nb_fds = n;
}

int dpdk_eal_fds(int *fds, int max)
{
	int n = fn_min(eal.nb_fds, max);

	memcpy(fds, eal.fds, (size_t)n * sizeof(*fds));
	return n;
}

int dpdk_eal_init(const struct fn_port_conf *conf, const struct dpdk_devargs *dev, char *err, size_t errlen)
{
	static struct dpdk_fdset before;

	if (eal.tried) {
		if (eal.rc)
			snprintf(err, errlen, "%s", eal.err);
		/* its memory is shared with the parent, and with whatever other children open */
		if (!eal.rc && eal.owner != getpid()) {
			snprintf(err, errlen, "DPDK was started before a fork");
			return -EBUSY;
		}
		return eal.rc;
	}
	eal.owner = getpid();
	dpdk_thread_born(conf->fd_floor);
	snprintf(err, errlen, "DPDK's EAL cannot start: out of memory");
	dpdk_fds_snapshot(&before);
	eal.rc = eal_start(conf, dev, err, errlen);
	eal.nb_fds = dpdk_fds_collect(eal.fds, (int)fn_array_size(eal.fds), &before, 2);
	/* EAL can be started once only; but nothing has been started when its arguments were refused. */
	eal.tried = !eal.rc || eal.rc != -ENOMEM;
	if (eal.rc)
		snprintf(eal.err, sizeof(eal.err), "%s", err);
	return eal.rc;
}

bool dpdk_eal_hugepages(void)
{
	return eal.hugepages;
}

unsigned dpdk_eal_lcore(void)
{
	return rte_get_main_lcore();
}
