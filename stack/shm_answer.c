/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * What comes in from a peer without its saying so: what its kernel, or a dead peer's, would have said. Owns the list of these
 * packets, which the next burst begins with (fn_nic_ops.rx).
 */
#include "shm_priv.h"

#include <string.h>

void fn_shm_answer(struct shm *s, const struct peer *peer, const void *ip, uint32_t len)
{
	struct rxbuf *r = rx_get(s, true);

	if (!r)
		return;
	memcpy(r->mem + 16, ip, len);
	rx_head(s, peer, r, r->mem + 16, len);
	r->next = s->answers;
	s->answers = r;
}

void fn_shm_answer_for(struct shm *s, const struct peer *peer, const struct fn_pkt *p)
{
	uint8_t ip[FN_SHM_RESET_LEN];

	if (fn_shm_reset(p, ip))
		fn_shm_answer(s, peer, ip, sizeof(ip));
}

/* What is said in a peer's place is heard by the images that would hear itself. */
static bool is_heard(const struct shm *s, const struct rxbuf *r)
{
	const struct peer *peer = peer_at(s, r->p.peer);

	return !peer || peer->dead || is_here(s, peer);
}

uint16_t fn_shm_rx_answers(struct shm *s, struct fn_pkt **burst, uint16_t n)
{
	struct rxbuf **link = &s->answers, *r;
	uint16_t got = 0;

	while ((r = *link) && got < n) {
		if (!is_heard(s, r)) {
			link = &r->next;
			continue;
		}
		*link = r->next;
		burst[got++] = &r->p;
	}
	return got;
}

bool fn_shm_has_answers(const struct shm *s)
{
	for (const struct rxbuf *r = s->answers; r; r = r->next)
		if (is_heard(s, r))
			return true;
	return false;
}
