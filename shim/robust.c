/* SPDX-License-Identifier: BSD-3-Clause */
/* See robust.h. The protocol is the kernel's (Documentation/locking/robust-futex-ABI.rst). */
#include "shim/robust.h"

#include <errno.h>
#include <stddef.h>

#include "shim/lock.h"

#define NEXT_OFFSET	offsetof(struct fn_robust, next)
_Static_assert(offsetof(struct fn_robust, next) == 32, "nptl's place of __list.__next");

/* What this thread is to the kernel. */
static __thread struct {
	uint32_t tid;			/* 0: not asked yet */
	struct robust_list_head *head;	/* NULL: the kernel would not find our locks */
} self;

/* The list of a bare child; what stands before the head is the first entry's way back, as in libc's. */
static struct {
	void *prev;
	struct robust_list_head head;
} bare;

static fn_cold void find_self(void)
{
	struct robust_list_head *head = NULL;
	size_t len = 0;

	self.tid = (uint32_t)fn_sys(SYS_gettid, 0);
	if (fn_sys(SYS_get_robust_list, 0, &head, &len) == 0 && head && head->futex_offset == -(long)NEXT_OFFSET)
		self.head = head;
	else
		self.head = NULL;
}

fn_inline uint32_t own_tid(void)
{
	if (fn_unlikely(!self.tid))
		find_self();
	return self.tid;
}

void fn_robust_child(void)
{
	self.tid = 0;
}

void fn_robust_bare_child(void)
{
	bare.head.list.next = &bare.head.list;
	bare.head.futex_offset = -(long)NEXT_OFFSET;
	bare.head.list_op_pending = NULL;
	fn_sys(SYS_set_robust_list, &bare.head, sizeof(bare.head));
	self.tid = 0;
}

/* ---- the list ---- */

/* An address of a list's .next, without the mark of priority inheritance that libc's entries may carry. */
fn_inline void **link_of(void *p)
{
	return (void **)((uintptr_t)p & ~1ul);
}

fn_inline void enlist(struct fn_robust *l)
{
	struct robust_list_head *head = self.head;

	if (fn_unlikely(!head))
		return;
	l->next = head->list.next;
	l->prev = &head->list;
	link_of(l->next)[-1] = &l->next;
	atomic_signal_fence(memory_order_seq_cst);	/* the kernel may walk at any instruction */
	head->list.next = (void *)&l->next;
}

fn_inline void unlist(struct fn_robust *l)
{
	if (fn_unlikely(!self.head))
		return;
	link_of(l->next)[-1] = l->prev;
	*link_of(l->prev) = l->next;
	atomic_signal_fence(memory_order_seq_cst);
}

/* What is between the word and the list: the kernel looks here too. A mutex of libc's that a signal interrupted in the
 * same place is put back afterwards. */
fn_inline void *announce(struct fn_robust *l)
{
	void *before = NULL;

	if (fn_likely(self.head != NULL)) {
		before = self.head->list_op_pending;
		self.head->list_op_pending = (void *)&l->next;
	}
	atomic_signal_fence(memory_order_seq_cst);
	return before;
}

fn_inline void announced(void *before)
{
	atomic_signal_fence(memory_order_seq_cst);
	if (fn_likely(self.head != NULL))
		self.head->list_op_pending = before;
}

/* ---- the word ---- */

/* One attempt: 0, -EOWNERDEAD, -EBUSY. Pairs with the release in fn_robust_unlock(). `waiters` is FUTEX_WAITERS when
 * others may sleep too. */
fn_inline int attempt(struct fn_robust *l, uint32_t waiters)
{
	uint32_t old = 0;

	if (fn_likely(atomic_compare_exchange_strong_explicit(&l->word, &old, self.tid | waiters, memory_order_acquire,
							      memory_order_relaxed)))
		return 0;
	while (fn_unlikely(!(old & FUTEX_TID_MASK))) {
		uint32_t mine = self.tid | waiters | (old & FUTEX_WAITERS);

		if (atomic_compare_exchange_weak_explicit(&l->word, &old, mine, memory_order_acquire,
							  memory_order_relaxed))
			return old & FUTEX_OWNER_DIED ? -EOWNERDEAD : 0;
	}
	return -EBUSY;
}

/*
 * Who is woken may be killed before it has the lock, and the next wake-up with it, when somebody else took the lock
 * meanwhile: that one knows of no sleeper, and the kernel, which wakes another for the dead one only if it finds the lock
 * free (handle_futex_death), finds it held. So nobody sleeps without looking again.
 */
static const struct timespec look_again = { .tv_nsec = 20000000 };

static fn_cold int wait_for(struct fn_robust *l)
{
	int ret = -EBUSY;

	for (int i = 0; ret == -EBUSY && i < FN_LOCK_SPINS; i++) {
		__builtin_ia32_pause();
		ret = attempt(l, 0);
	}
	while (ret == -EBUSY) {
		uint32_t old = atomic_load_explicit(&l->word, memory_order_relaxed);

		if ((old & FUTEX_TID_MASK) &&
		    ((old & FUTEX_WAITERS) ||
		     atomic_compare_exchange_strong_explicit(&l->word, &old, old | FUTEX_WAITERS, memory_order_relaxed,
							     memory_order_relaxed)))
			fn_sys_futex((uint32_t *)&l->word, FUTEX_WAIT, old | FUTEX_WAITERS, &look_again);
		ret = attempt(l, FUTEX_WAITERS);
	}
	return ret;
}

int fn_robust_lock(struct fn_robust *l)
{
	void *before;
	int ret;

	own_tid();
	before = announce(l);
	ret = attempt(l, 0);
	if (fn_unlikely(ret == -EBUSY))
		ret = wait_for(l);
	enlist(l);
	announced(before);
	return ret;
}

int fn_robust_try(struct fn_robust *l)
{
	void *before;
	int ret;

	own_tid();
	before = announce(l);
	ret = attempt(l, 0);
	if (ret != -EBUSY)
		enlist(l);
	announced(before);
	return ret;
}

void fn_robust_unlock(struct fn_robust *l)
{
	void *before = announce(l);

	unlist(l);
	/* pairs with the acquire in attempt() */
	if (fn_unlikely(atomic_exchange_explicit(&l->word, 0, memory_order_release) & FUTEX_WAITERS))
		fn_sys_futex((uint32_t *)&l->word, FUTEX_WAKE, 1, NULL);
	announced(before);
}
