/* SPDX-License-Identifier: BSD-3-Clause */
/* Copies of memory that the program named: every size, bad from every byte on, at either end. */
#include <criterion/criterion.h>
#include <signal.h>
#include <string.h>
#include <sys/mman.h>
#include <ucontext.h>

#include "stack/user.h"

#define PAGE	4096u
#define MOST	(17 * PAGE)	/* beyond what user_copy.S copies itself */

static char *edge;	/* MOST good bytes before it, none behind */
static char good[MOST + 64];

static void on_fault(int sig, siginfo_t *info, void *context)
{
	ucontext_t *uc = context;
	uintptr_t ip = (uintptr_t)uc->uc_mcontext.gregs[REG_RIP];

	if (!fn_user_fixup(&ip))
		_Exit(99);
	uc->uc_mcontext.gregs[REG_RIP] = (greg_t)ip;
}

static void setup(void)
{
	struct sigaction act = { .sa_sigaction = on_fault, .sa_flags = SA_SIGINFO };
	char *p = mmap(NULL, MOST + 2 * PAGE, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);

	mprotect(p + MOST, 2 * PAGE, PROT_NONE);
	edge = p + MOST;
	for (unsigned i = 0; i < sizeof(good); i++)
		good[i] = (char)(i * 7 + i / 256);
	sigaction(SIGSEGV, &act, NULL);
}

/* n bytes of which `ok` can be accessed at the far end. */
static void to_bad(size_t n, size_t ok)
{
	char *to = edge - ok;

	memset(to, 0, ok);
	cr_assert_eq(fn_user_copy(to, good, n), n - ok, "to: %zu of %zu", ok, n);
	cr_assert(!memcmp(to, good, ok), "to: %zu of %zu", ok, n);
}

static void from_bad(size_t n, size_t ok)
{
	static char to[MOST + 64];
	char *from = edge - ok;

	memcpy(from, good, ok);
	memset(to, 0, n + 1);
	cr_assert_eq(fn_user_copy(to, from, n), n - ok, "from: %zu of %zu", ok, n);
	cr_assert(!memcmp(to, good, ok) && !to[n], "from: %zu of %zu", ok, n);
}

Test(user, copies_end_where_the_pointer_is_bad, .init = setup)
{
	static const size_t large[] = { 1000, 2047, 2048, 4095, 4096, 4097, 8192, 9000 };
	static const size_t huge[] = { 65535, 65536, 65537, MOST };

	for (size_t n = 0; n <= 300; n++)
		for (size_t ok = 0; ok <= n; ok++) {
			to_bad(n, ok);
			from_bad(n, ok);
		}
	for (size_t i = 0; i < fn_array_size(large); i++)
		for (size_t ok = 0; ok <= large[i]; ok += ok + 97 < large[i] ? 97 : 1) {
			to_bad(large[i], ok);
			from_bad(large[i], ok);
		}
	for (size_t i = 0; i < fn_array_size(huge); i++)
		for (size_t left = 0; left <= huge[i]; left += left < 70 ? 1 : 4999) {
			to_bad(huge[i], huge[i] - left);
			from_bad(huge[i], huge[i] - left);
		}
}

Test(user, probes_say_what_is_there, .init = setup)
{
	uint64_t word[2] = { 0 };

	for (size_t n = 0; n <= 2 * PAGE + 5; n += 61) {
		cr_assert_eq(fn_user_readable(edge - n, n), n);
		cr_assert_eq(fn_user_readable(edge - n, n + 1), n);
		cr_assert_eq(fn_user_readable(edge - n, n + PAGE + 9), n);
	}
	cr_assert_eq(fn_user_readable(NULL, 0), 0);
	cr_assert_eq(fn_user_readable(NULL, 10), 0);
	cr_assert(fn_user_may_read(edge - 1) && !fn_user_may_read(edge) && !fn_user_may_read(NULL));
	cr_assert(fn_user_may_write(edge - 1) && !fn_user_may_write(edge) && !fn_user_may_write(NULL));
	cr_assert(fn_user_may_read_all(edge - 8, 8) && !fn_user_may_read_all(edge - 8, 9));
	cr_assert(fn_user_may_write_all(edge - 8, 8) && !fn_user_may_write_all(edge - 8, 9));
	mprotect(edge, PAGE, PROT_READ);
	cr_assert(fn_user_may_read(edge) && !fn_user_may_write(edge));
	cr_assert(fn_user_put32(&word[0], 5) && fn_user_put64(&word[1], 6) && word[0] == 5 && word[1] == 6);
	cr_assert(!fn_user_put32(edge, 5) && !fn_user_put64(edge, 6));
	cr_assert(!fn_user_get(word, edge - 8, 16) && fn_user_put(edge - 8, word, 16) == -EFAULT);
}

Test(user, other_faults_are_not_mended)
{
	uintptr_t ip = (uintptr_t)on_fault, was = ip;

	cr_assert(!fn_user_fixup(&ip));
	cr_assert_eq(ip, was);
}
