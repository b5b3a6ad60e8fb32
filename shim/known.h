/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * What connects have found out: who listens at an address of this host. The kernel alone knows, and a question costs more
 * than the rest of a connect. So its answer holds until one of those who accept there says in the page that it listens no
 * more, or all have hung up (who asks has looked for that, fn_engine.side_due), and FN_KNOWN_NS at most. Listeners of other
 * users are not kept: a port can be given up, and be somebody else's. Everything here with the engine's lock held.
 */
#ifndef FN_KNOWN_H
#define FN_KNOWN_H

#include <stdbool.h>
#include <stdint.h>

#include "stack/shm_page.h"

#define FN_KNOWN_NS	10000000	/* a question costs 3 us: three in ten thousand */

struct fn_known {
	uint64_t until;
	uint32_t ip4;		/* network order */
	uint16_t port;		/* host order; 0: free */
	uint16_t number;	/* nic_shm's */
	uint32_t left;		/* .page's */
	const struct fn_page *page;	/* NULL: we ourselves listen */
};

/* The peer number; 0: ask. *at is what fn_known_note() wants when the answer is there. */
int fn_known_find(uint32_t ip4, uint16_t port, uint64_t now, struct fn_known *at);
/* That number, met earlier, is the answer to the question that followed fn_known_find(). */
void fn_known_note(const struct fn_known *at, int number, const struct fn_page *page);
/* Somebody has gone, or we have changed: all is asked anew. */
void fn_known_forget(void);

#endif
