/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * The native-versus-preloaded program. The subject makes calls on sockets and prints one line an observation: the call,
 * its result, errno; no times, ports or amounts that depend on buffers. A peer plays the other end as the subject tells
 * it over an AF_UNIX connection: native and in another network namespace, or, over the fabric, as the subject is and on
 * its host. What the subject prints natively and under libfastnet.so must be the same.
 */
#ifndef ORACLE_H
#define ORACLE_H

#include <arpa/inet.h>
#include <errno.h>
#include <fcntl.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <poll.h>
#include <signal.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/ioctl.h>
#include <sys/select.h>
#include <sys/socket.h>
#include <sys/uio.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#define COUNT(a) (sizeof(a) / sizeof((a)[0]))

struct oracle {
	struct in_addr local, peer;	/* the subject's and the peer's address */
	struct in_addr nobody;		/* an address of the same network that nobody has */
	int control;			/* to the peer */
};
extern struct oracle o;
extern volatile int minus_one;	/* what compilers would refuse as a constant */

/* ---- report.c: lines ---- */
void begin(const char *section);
void say(const char *format, ...) __attribute__((format(printf, 1, 2)));
/* "call -> 5" or "call -> -1 EAGAIN"; with sign only ">0", "0". */
void observe(const char *call, long ret, int err, bool sign);
#define TRY(expr)	({ errno = 0; long ret_ = (long)(expr); observe(#expr, ret_, errno, false); ret_; })
#define TRY_SIGN(expr)	({ errno = 0; long ret_ = (long)(expr); observe(#expr, ret_, errno, true); ret_; })
/* The bytes that a call gave, and how many. */
void got(const char *call, long n, int err, const char *buf);
#define GET(expr, buf)	({ errno = 0; long ret_ = (long)(expr); got(#expr, ret_, errno, buf); ret_; })
const char *events(unsigned ev);
const char *error_name(int err);
/* poll, select and a fresh level-triggered epoll on fd, now. */
void masks(const char *when, int fd);
/* An address without its port: "subject", "peer", "any", "other"; mapped ones are marked. */
const char *who(const struct sockaddr_storage *ss);
void name_of(const char *call, int ret, const struct sockaddr_storage *ss, const socklen_t *len);
/* SIGPIPE and other signals counted by a handler. */
extern volatile sig_atomic_t signals;
void on_signal(int sig, int flags);
/* ms since the last call. */
long elapsed(void);

/* ---- link.c: the peer, and connections with it ---- */
/* Give the peer an order (see peer.c); its answer. Ends the program when the peer has failed. */
long peer(const char *format, ...) __attribute__((format(printf, 1, 2)));
/* The same where the peer gets what is still to be sent on fd: over the fabric its writer must be in a call on sockets. */
long peer_beside(int fd, const char *format, ...) __attribute__((format(printf, 2, 3)));
struct sockaddr_in addr_of(struct in_addr ip, int port);
int port_of(int fd);
/* A connected pair: the subject's descriptor, and the peer's slot in *slot. */
int connect_out(int *slot);
int accept_in(int *slot);
/* A listener of the subject on its own address. */
int listen_on(int backlog);
/* Subject and peer have one host, over whose loopback, or shared memory, they talk. */
bool one_host(void);
/* Poll fd until one of the events is there (3 s at most). */
unsigned until(int fd, unsigned ev);
/* Wait until fd has n bytes to read. */
void until_readable(int fd, int n);
/* Three bytes each way over a connected pair, then the subject closes. Said, what the peer found included. */
void to_the_end(int fd, int slot);
/* Wait until that process sleeps, and goes on to: it is in a call that waits. */
void until_asleep(pid_t pid);
void nonblock(int fd, bool on);
int set_int(int fd, int level, int name, int value);
/* Both ways to be connected, for behaviour that must not differ between them. */
struct way {
	const char *name;
	int (*make)(int *slot);
};
extern const struct way ways[2];


int run_peer(const char *path, struct in_addr own, struct in_addr subject);

/* ---- t_*.c: sections ---- */
void t_connect(void);
void t_life(void);
void t_data(void);
void t_flags(void);
void t_block(void);
void t_signal(void);
void t_handler(void);
void t_eintr(void);
void t_thread(void);
void t_epoll(void);
void t_listen(void);
void t_options(void);
void t_convert(void);
void t_fd(void);
void t_file(void);
void t_udp(void);
void t_ubind(void);
void t_frag(void);
void t_give(void);
void t_names(void);
void t_plain(void);
void t_program(void);
void t_async(void);
void t_efault(void);
void t_clone(void);
void t_apart(void);
void t_raw(void);

#endif
