/* SPDX-License-Identifier: BSD-3-Clause */
/* Calls that wait for events. What is ready is told in the order of handles: the order of a ready list is left open. */
#include "seq.h"

#define ALL (POLLIN | POLLPRI | POLLOUT | POLLRDNORM | POLLRDBAND | POLLWRNORM | POLLWRBAND | POLLRDHUP)

static void outcome(struct result *r, long ret)
{
	r->ret = ret;
	r->err = ret < 0 ? errno : 0;
}

static void tell_poll(struct result *r, unsigned mask)
{
	char text[160];

	mask_text(text, 'p', mask);
	detail(r, " %s", text);
}

static void tell_epoll(struct result *r, unsigned mask)
{
	char text[160];

	mask_text(text, 'e', mask);
	detail(r, "%s", text);
}

void call_poll(struct world *w, const long *a, struct result *r)
{
	struct pollfd p = { .fd = w->fd[a[0]], .events = (short)a[1] };

	outcome(r, poll(&p, 1, (int)a[2]));
	tell_poll(r, (unsigned short)p.revents);
}

void call_pollmany(struct world *w, const long *a, struct result *r)
{
	struct pollfd p[2] = { { .fd = w->fd[a[0]], .events = (short)a[2] },
			       { .fd = w->fd[a[1]], .events = (short)a[2] } };

	outcome(r, poll(p, 2, (int)a[3]));
	tell_poll(r, (unsigned short)p[0].revents);
	tell_poll(r, (unsigned short)p[1].revents);
}

void call_pollall(struct world *w, const long *a, struct result *r)
{
	struct pollfd p[HANDLES];

	(void)a;
	for (int i = 0; i < HANDLES; i++)
		p[i] = (struct pollfd){ .fd = w->fd[i], .events = ALL };
	outcome(r, poll(p, HANDLES, 0));
	for (int i = 0; i < HANDLES; i++)
		if (p[i].revents) {
			detail(r, " f%d", i);
			tell_poll(r, (unsigned short)p[i].revents);
		}
}

static int select_one(int fd, long ms, char text[4])
{
	struct timeval tv = { ms / 1000, ms % 1000 * 1000 };
	fd_set sets[3];
	int n;

	for (int i = 0; i < 3; i++) {
		FD_ZERO(&sets[i]);
		if (fd >= 0)
			FD_SET(fd, &sets[i]);
	}
	n = select(fd + 1, &sets[0], &sets[1], &sets[2], ms < 0 ? NULL : &tv);
	strcpy(text, "---");
	for (int i = 0; i < 3 && n > 0; i++)
		if (FD_ISSET(fd, &sets[i]))
			text[i] = "rwx"[i];
	return n;
}

void call_select(struct world *w, const long *a, struct result *r)
{
	char text[4];

	outcome(r, select_one(w->fd[a[0]], a[1], text));
	detail(r, " %s", text);
}

void call_masks(struct world *w, const long *a, struct result *r)
{
	struct epoll_event ev = { .events = ALL }, out = { 0 };
	struct pollfd p = { .fd = w->fd[a[0]], .events = ALL };
	int ep = epoll_create1(EPOLL_CLOEXEC), n;
	char text[4];

	poll(&p, 1, 0);
	select_one(w->fd[a[0]], 0, text);
	epoll_ctl(ep, EPOLL_CTL_ADD, w->fd[a[0]], &ev);
	n = epoll_wait(ep, &out, 1, 0);
	close(ep);
	outcome(r, n);
	tell_poll(r, (unsigned short)p.revents);
	detail(r, " %s ", text);
	tell_epoll(r, n > 0 ? out.events : 0);
}

/* ---- epoll ---- */

void call_epcreate(struct world *w, const long *a, struct result *r)
{
	int fd = epoll_create1(0);

	if (fd >= 0 && w->fd[a[0]] >= 0)
		close(w->fd[a[0]]);
	if (fd >= 0)
		w->fd[a[0]] = fd;
	outcome(r, fd);
}

static void ctl(struct world *w, const long *a, long data, struct result *r)
{
	struct epoll_event ev = { .events = (uint32_t)a[3], .data.u64 = (uint64_t)data };

	outcome(r, epoll_ctl(w->fd[a[0]], (int)a[1], w->fd[a[2]], &ev));
}

void call_epctl(struct world *w, const long *a, struct result *r)
{
	ctl(w, a, a[2], r);
}

void call_epctldata(struct world *w, const long *a, struct result *r)
{
	ctl(w, a, a[4], r);
}

static int by_data(const void *a, const void *b)
{
	const struct epoll_event *x = a, *y = b;

	return x->data.u64 < y->data.u64 ? -1 : x->data.u64 > y->data.u64 ? 1 :
	       x->events < y->events ? -1 : x->events > y->events;
}

static void ready(struct result *r, struct epoll_event *ev, int n)
{
	outcome(r, n);
	if (n > 0)
		qsort(ev, (size_t)n, sizeof(*ev), by_data);
	for (int i = 0; i < n; i++) {
		detail(r, " f%llu:", (unsigned long long)ev[i].data.u64);
		tell_epoll(r, ev[i].events);
	}
}

void call_epwait(struct world *w, const long *a, struct result *r)
{
	struct epoll_event ev[HANDLES];

	ready(r, ev, epoll_wait(w->fd[a[0]], ev, HANDLES, (int)a[1]));
}

/* How many; which of them is left open. */
void call_epmax(struct world *w, const long *a, struct result *r)
{
	struct epoll_event ev[HANDLES];
	long max = a[1] > HANDLES ? HANDLES : a[1];

	outcome(r, epoll_wait(w->fd[a[0]], ev, (int)max, (int)a[2]));
}

void call_eppwait(struct world *w, const long *a, struct result *r)
{
	struct epoll_event ev[HANDLES];
	sigset_t mask;

	sigemptyset(&mask);
	sigaddset(&mask, SIGPIPE);
	ready(r, ev, epoll_pwait(w->fd[a[0]], ev, HANDLES, (int)a[1], &mask));
}
