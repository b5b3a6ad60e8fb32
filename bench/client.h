/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * What the load programs of bench/compare have in common: connecting, the clock, and how a run ends. They are the
 * kernel's clients, but for compare --local. Each prints one line, "ops=N rate=R …", and exits with 1, after a text
 * on stderr, when anything went wrong, so that a faulty run is never a figure.
 */
#ifndef BENCH_CLIENT_H
#define BENCH_CLIENT_H

#include <netinet/in.h>
#include <stdint.h>
#include <sys/types.h>

/* Ends the program with 1 and "NAME: text: errno's text". */
__attribute__((noreturn)) void client_die(const char *text);

/* HOST (dotted) and PORT as an address; ends the program when they are none. */
struct sockaddr_in client_addr(const char *host, const char *port);

/* A connected blocking socket with TCP_NODELAY; ends the program when there is none. */
int client_connect(const struct sockaddr_in *to);

/* The same for datagrams. */
int client_connect_udp(const struct sockaddr_in *to);

/* Monotonic time in ns. */
uint64_t client_now(void);

/* Seconds, as an argument, in ns; ends the program when it is no positive number. */
uint64_t client_seconds(const char *text);

#endif
