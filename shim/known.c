/* SPDX-License-Identifier: BSD-3-Clause */
/* A table of a few answers; see known.h. */
#include "shim/known.h"

#include <string.h>

#define KNOWN 64

static struct fn_known known[KNOWN];

static struct fn_known *place_of(uint32_t ip4, uint16_t port)
{
	return &known[(ip4 >> 24 ^ port ^ port >> 6) % KNOWN];
}

/* How often one of its claimers has left. */
static uint32_t left_of(const struct fn_page *page)
{
	/* pairs with fn_page_leave() */
	return page ? atomic_load_explicit(&page->left, memory_order_acquire) : 0;
}

int fn_known_find(uint32_t ip4, uint16_t port, uint64_t now, struct fn_known *at)
{
	const struct fn_known *k = place_of(ip4, port);
	bool hit = k->port == port && k->ip4 == ip4;

	/* what the page says now, before the kernel is asked: who leaves afterwards changes it */
	*at = (struct fn_known){ .until = now + FN_KNOWN_NS, .ip4 = ip4, .port = port };
	if (!hit)
		return 0;
	at->page = k->page;
	at->number = k->number;
	at->left = left_of(k->page);
	return now < k->until && at->left == k->left ? k->number : 0;
}

void fn_known_note(const struct fn_known *at, int number, const struct fn_page *page)
{
	struct fn_known *k = place_of(at->ip4, at->port);
	bool same = at->number == number && at->page == page;

	*k = *at;
	k->number = (uint16_t)number;
	k->page = page;
	if (same)
		return;
	/* what its page said before is not known: asked once more */
	k->until = 0;
}

void fn_known_forget(void)
{
	memset(known, 0, sizeof(known));
}
