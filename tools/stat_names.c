/* SPDX-License-Identifier: BSD-3-Clause */
/* The words that fastnet-stat uses in text and JSON. */
#include <arpa/inet.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>

#include "shim/policy.h"
#include "tools/stat_print.h"

const char *fn_state_name(const struct fn_target_sock *s)
{
	/* numbers of enum fn_tcp_state, words of ss(8) */
	static const char *const names[] = {
		"?", "ESTAB", "SYN-SENT", "SYN-RECV", "FIN-WAIT-1", "FIN-WAIT-2", "TIME-WAIT", "CLOSED", "CLOSE-WAIT",
		"LAST-ACK", "LISTEN", "CLOSING", "SYN-RECV",
	};

	if (s->kind == FN_SOCK_UDP)
		return s->remote.port ? "ESTAB" : "UNCONN";
	return s->state < fn_array_size(names) ? names[s->state] : names[0];
}

const char *fn_cc_name(unsigned cc_id)
{
	return cc_id == FN_CC_CUBIC ? "cubic" : cc_id == FN_CC_RENO ? "reno" : "?";
}

const char *fn_port_state_name(unsigned state)
{
	static const char *const names[] = { "closed", "open", "held", "failed" };

	return state < fn_array_size(names) ? names[state] : "?";
}

const char *fn_ip4_text(char *buf, size_t size, uint32_t ip4)
{
	const char *text = inet_ntop(AF_INET, &ip4, buf, (socklen_t)size);

	return text ? text : "?";
}

const char *fn_ep_text(char *buf, size_t size, const struct fn_ep *ep)
{
	char addr[INET_ADDRSTRLEN], port[8] = "*";

	if (ep->port)
		snprintf(port, sizeof port, "%u", ntohs(ep->port));
	snprintf(buf, size, "%s:%s", ep->ip4 ? fn_ip4_text(addr, sizeof addr, ep->ip4) : "*", port);
	return buf;
}

const char *fn_verb_name(unsigned verb)
{
	static const char *const names[] = { "listen", "connect", "socket" };

	return verb < fn_array_size(names) ? names[verb] : "?";
}

const char *fn_decision_addr(char *buf, size_t size, const struct fn_info_decision *d)
{
	char addr[INET6_ADDRSTRLEN];

	*buf = 0;
	if (d->verb == FN_POLICY_SOCKET)
		return buf;
	if (d->family == AF_INET && inet_ntop(AF_INET, d->addr, addr, sizeof addr))
		snprintf(buf, size, "%s:%u", addr, d->port);
	else if (d->family == AF_INET6 && inet_ntop(AF_INET6, d->addr, addr, sizeof addr))
		snprintf(buf, size, "[%s]:%u", addr, d->port);
	return buf;
}

const char *fn_decision_reason(char *buf, size_t size, const struct fn_target *t, const struct fn_info_decision *d)
{
	const char *nic = d->arg < t->info.ports ? t->info.port[d->arg].name : NULL;

	return fn_reason_text(buf, size, d->reason, d->arg, t->info.file, nic);
}

static int older(const void *a, const void *b)
{
	const struct fn_info_decision *const *x = a, *const *y = b;

	return (*x)->seq < (*y)->seq ? -1 : (*x)->seq > (*y)->seq;
}

unsigned fn_decisions(const struct fn_target *t, const struct fn_info_decision *list[FN_INFO_DECISIONS])
{
	unsigned n = 0;

	for (unsigned i = 0; i < FN_INFO_DECISIONS; i++)
		if (t->info.ring[i].seq)
			list[n++] = &t->info.ring[i];
	qsort(list, n, sizeof *list, older);
	return n;
}

const char *fn_reason_general(char *buf, size_t size, unsigned reason)
{
	static const char *const texts[] = {
#define FN_REASON(n, s, a, t) [FN_REASON_##n] = t,
#include "shim/reason.def"
#undef FN_REASON
	};
	const char *mark = strstr(texts[reason], "%s");

	if (mark)
		snprintf(buf, size, "%.*s…%s", (int)(mark - texts[reason]), texts[reason], mark + 2);
	else
		snprintf(buf, size, "%s", texts[reason]);
	return buf;
}

void fn_reason_sums(const struct fn_info *i, uint64_t *stack, uint64_t *kernel)
{
	*stack = *kernel = 0;
	for (unsigned r = 0; r < FN_REASON_COUNT; r++)
		*(fn_reason_stack((enum fn_reason)r) ? stack : kernel) += i->reasons[r];
}
