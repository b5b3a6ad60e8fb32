/* SPDX-License-Identifier: BSD-3-Clause */
/* Calls that move bytes. What is sent depends on the line only; of what is received the length and a checksum are told. */
#include <netinet/ip.h>
#include <sys/sendfile.h>

#include "seq.h"

uint32_t crc32(uint32_t crc, const void *data, size_t n)
{
	const uint8_t *p = data;

	crc = ~crc;
	while (n--) {
		crc ^= *p++;
		for (int k = 0; k < 8; k++)
			crc = crc >> 1 ^ (crc & 1 ? 0xedb88320 : 0);
	}
	return ~crc;
}

static size_t size_of(long n)
{
	return n < 0 ? 0 : n > BUFFER ? BUFFER : (size_t)n;
}

static void *filled(struct world *w, size_t n)
{
	for (size_t i = 0; i < n; i++)
		w->buf[i] = (char)('A' + (i + (size_t)w->line * 7) % 26);
	return w->buf;
}

static void outcome(struct result *r, long ret)
{
	r->ret = ret;
	r->err = ret < 0 ? errno : 0;
	if (sigpipes)
		detail(r, " SIGPIPE");
	sigpipes = 0;
}

static void bytes(struct result *r, const void *data, long n)
{
	if (n > 0)
		detail(r, " %08x", crc32(0, data, (size_t)n));
}

/* n bytes of the buffer in three parts, one of them empty. */
static void thirds(struct world *w, size_t n, struct iovec iov[3])
{
	iov[0] = (struct iovec){ w->buf, n / 3 };
	iov[1] = (struct iovec){ w->buf + n / 3, 0 };
	iov[2] = (struct iovec){ w->buf + n / 3, n - n / 3 };
}

/* ---- out ---- */

void call_send(struct world *w, const long *a, struct result *r)
{
	outcome(r, send(w->fd[a[0]], filled(w, size_of(a[1])), size_of(a[1]), (int)a[2]));
}

void call_write(struct world *w, const long *a, struct result *r)
{
	outcome(r, write(w->fd[a[0]], filled(w, size_of(a[1])), size_of(a[1])));
}

void call_writev(struct world *w, const long *a, struct result *r)
{
	struct iovec iov[3];

	filled(w, size_of(a[1]));
	thirds(w, size_of(a[1]), iov);
	outcome(r, writev(w->fd[a[0]], iov, 3));
}

void call_sendto(struct world *w, const long *a, struct result *r)
{
	int fd = w->fd[a[0]];
	struct sockaddr_storage ss;
	socklen_t len = target_address(w, fd, a[3], false, &ss);

	outcome(r, sendto(fd, filled(w, size_of(a[1])), size_of(a[1]), (int)a[2],
			  a[3] == T_NULL ? NULL : (struct sockaddr *)&ss, len));
}

static struct msghdr message(struct world *w, const long *a, struct sockaddr_storage *ss, struct iovec iov[3])
{
	socklen_t len = target_address(w, w->fd[a[0]], a[3], false, ss);

	filled(w, size_of(a[1]));
	thirds(w, size_of(a[1]), iov);
	return (struct msghdr){ .msg_name = a[3] == T_NULL ? NULL : ss, .msg_namelen = len, .msg_iov = iov,
				.msg_iovlen = 3 };
}

void call_sendmsg(struct world *w, const long *a, struct result *r)
{
	struct sockaddr_storage ss;
	struct iovec iov[3];
	struct msghdr msg = message(w, a, &ss, iov);

	outcome(r, sendmsg(w->fd[a[0]], &msg, (int)a[2]));
}

void call_sendmmsg(struct world *w, const long *a, struct result *r)
{
	struct sockaddr_storage ss;
	struct iovec iov[3];
	struct mmsghdr m[3] = { { .msg_hdr = message(w, a, &ss, iov) } };

	m[2] = m[1] = m[0];
	outcome(r, sendmmsg(w->fd[a[0]], m, 3, (int)a[2]));
	for (int i = 0; i < r->ret; i++)
		detail(r, " %u", m[i].msg_len);
}

/* ---- in ---- */

void call_recv(struct world *w, const long *a, struct result *r)
{
	long n = recv(w->fd[a[0]], w->buf, size_of(a[1]), (int)a[2]);

	outcome(r, n);
	bytes(r, w->buf, n < a[1] ? n : a[1]);
}

void call_read(struct world *w, const long *a, struct result *r)
{
	long n = read(w->fd[a[0]], w->buf, size_of(a[1]));

	outcome(r, n);
	bytes(r, w->buf, n);
}

void call_readv(struct world *w, const long *a, struct result *r)
{
	struct iovec iov[3];
	long n;

	thirds(w, size_of(a[1]), iov);
	n = readv(w->fd[a[0]], iov, 3);
	outcome(r, n);
	bytes(r, w->buf, n);
}

void call_recvfrom(struct world *w, const long *a, struct result *r)
{
	struct sockaddr_storage ss = { 0 };
	socklen_t len = sizeof(ss);
	long n = recvfrom(w->fd[a[0]], w->buf, size_of(a[1]), (int)a[2], (struct sockaddr *)&ss, &len);

	outcome(r, n);
	bytes(r, w->buf, n < a[1] ? n : a[1]);
	if (n >= 0)
		address_text(w, &ss, len, r);
}

static void controls(struct msghdr *msg, struct result *r)
{
	for (struct cmsghdr *c = CMSG_FIRSTHDR(msg); c; c = CMSG_NXTHDR(msg, c))
		detail(r, " cmsg %d/%d length %zu", c->cmsg_level, c->cmsg_type, (size_t)c->cmsg_len);
}

void call_recvmsg(struct world *w, const long *a, struct result *r)
{
	struct sockaddr_storage ss = { 0 };
	char control[256];
	struct iovec iov[3];
	struct msghdr msg = { .msg_name = &ss, .msg_namelen = sizeof(ss), .msg_iov = iov, .msg_iovlen = 3,
			      .msg_control = control, .msg_controllen = sizeof(control) };
	long n;

	thirds(w, size_of(a[1]), iov);
	n = recvmsg(w->fd[a[0]], &msg, (int)a[2]);
	outcome(r, n);
	bytes(r, w->buf, n < a[1] ? n : a[1]);
	if (n < 0)
		return;
	detail(r, " flags %s", name_of('m', msg.msg_flags));
	address_text(w, &ss, msg.msg_namelen, r);
	controls(&msg, r);
}

void call_recvmmsg(struct world *w, const long *a, struct result *r)
{
	struct iovec iov[3];
	struct mmsghdr m[3];
	size_t n = size_of(a[1]) / 3;

	memset(m, 0, sizeof(m));
	for (unsigned i = 0; i < 3; i++) {
		iov[i] = (struct iovec){ w->buf + i * n, n };
		m[i].msg_hdr = (struct msghdr){ .msg_iov = &iov[i], .msg_iovlen = 1 };
	}
	outcome(r, recvmmsg(w->fd[a[0]], m, 3, (unsigned)a[2], NULL));
	for (int i = 0; i < r->ret; i++) {
		detail(r, " %u", m[i].msg_len);
		bytes(r, iov[i].iov_base, m[i].msg_len < n ? m[i].msg_len : n);
	}
}

/* ---- between descriptors ---- */

void call_sendfile(struct world *w, const long *a, struct result *r)
{
	outcome(r, sendfile(w->fd[a[0]], w->fd[a[1]], NULL, size_of(a[2])));
}

void call_splice(struct world *w, const long *a, struct result *r)
{
	outcome(r, splice(w->fd[a[0]], NULL, w->fd[a[1]], NULL, size_of(a[2]), SPLICE_F_NONBLOCK));
}
