/* SPDX-License-Identifier: BSD-3-Clause */
/* What the plugin's test programs share: loading the plugin and opening a port as libfastnet.so would. */
#ifndef TEST_PLUGIN_HOST_H
#define TEST_PLUGIN_HOST_H

#include "plugin/plugin.h"

struct host_options {
	const char *plugin;	/* path of fastnet-nic-dpdk.so */
	struct fn_port_conf conf;
	bool spin;		/* poll without sleeping */
	int port;		/* of the services */
	bool fork_test;
	bool death_test;
	unsigned instants;	/* deaths at any instruction */
};

/* PLUGIN DEVARGS [mac=…] [mtu=…] [csum=…] [queues=…] [spin] [fork] [deaths] [instants=N] [huge=yes|no]; exits with usage. */
void host_parse(struct host_options *o, int argc, char **argv);

/* Load the plugin and open the port; says on stdout how long it took and what it found. Exits when it cannot. */
const struct fn_plugin_ops *host_open(const struct host_options *o, struct fn_nic *nic, struct fn_port **port);

uint64_t host_now(void);

/* Whether .rx may have something. */
bool host_pending(const struct fn_nic *nic);

/* Arm, receive once more, and sleep on the port's descriptors for at most `ns` if there was nothing; receive again. serve
 * receives and returns what it did. Counts in host_slept. */
void host_sleep(const struct fn_plugin_ops *ops, struct fn_port *port, uint64_t ns, unsigned (*serve)(struct fn_nic *nic));

struct host_sleep_stats {
	uint64_t sleeps;	/* times ppoll was entered */
	uint64_t woken;		/* it returned because of a descriptor */
	uint64_t idle;		/* … and there was nothing to receive */
};
extern struct host_sleep_stats host_slept;

extern volatile int host_stop;	/* set by SIGTERM and SIGINT */

#endif
