/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * Huge pages, kept for EAL until it takes them. That some are free means little: others have reserved them, or a control
 * group lets this process have none, or somebody is quicker; and EAL, once begun, cannot begin again without. So they
 * are taken here before it starts, all that will be needed, and given up piece by piece as its heap is about to grow.
 */
#include <errno.h>
#include <pthread.h>
#include <stdio.h>
#include <sys/mman.h>

#include <rte_errno.h>
#include <rte_memory.h>

#include "plugin/dpdk.h"

#define HUGE_2MB	(1ul << 21)
#define HUGE_1GB	(1ul << 30)
#define SIZE_FLAG(log2)	((log2) << 26)	/* MAP_HUGE_SHIFT */

#ifndef MADV_POPULATE_WRITE
#define MADV_POPULATE_WRITE	23	/* Linux 5.14 */
#endif

/* From `at` on, `len` bytes in whole pages. */
struct held {
	char *at;
	size_t len, page;
};

static struct {
	pthread_mutex_t lock;
	struct held small, large;
	size_t grown[RTE_MAX_NUMA_NODES];	/* what the heap of a node had been about to be */
	bool watching;
} huge = { .lock = PTHREAD_MUTEX_INITIALIZER };

static unsigned long count(const char *size, const char *what)
{
	unsigned long v = 0;
	char path[128];
	FILE *f;

	snprintf(path, sizeof(path), "/sys/kernel/mm/hugepages/hugepages-%s/%s_hugepages", size, what);
	f = fopen(path, "re");
	if (!f)
		return 0;
	if (fscanf(f, "%lu", &v) != 1)
		v = 0;
	fclose(f);
	return v;
}

/* Pages of a size that are free and that nobody has reserved. */
static unsigned long pages_free(const char *size)
{
	unsigned long all = count(size, "free"), reserved = count(size, "resv");

	return all > reserved ? all - reserved : 0;
}

unsigned long dpdk_huge_free_mb(void)
{
	return pages_free("2048kB") * 2 + pages_free("1048576kB") * 1024;
}

bool dpdk_huge_any(void)
{
	return count("2048kB", "nr") || count("1048576kB", "nr");
}

static bool take(struct held *h, unsigned long pages, size_t page, int flag)
{
	void *at = mmap(NULL, pages * page, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_HUGETLB | flag, -1, 0);

	if (at == MAP_FAILED)
		return false;
	/* a control group's limit shows when pages are touched only; before Linux 5.14 there is no asking */
	if (madvise(at, pages * page, MADV_POPULATE_WRITE) && errno != EINVAL) {
		munmap(at, pages * page);
		return false;
	}
	madvise(at, pages * page, MADV_DONTFORK);
	*h = (struct held){ at, pages * page, page };
	return true;
}

/* Give up `len` bytes, rounded up to pages; returns how many. */
static size_t give(struct held *h, size_t len)
{
	if (!h->len)
		return 0;
	len = fn_min((len + h->page - 1) / h->page * h->page, h->len);
	h->len -= len;
	munmap(h->at + h->len, len);
	return len;
}

static void give_up(size_t len)
{
	size_t n = give(&huge.small, len);

	if (n < len)
		give(&huge.large, len - n);
}

/* EAL is about to let the heap of a node grow to `size`. */
static int growing(int node, size_t limit, size_t size)
{
	pthread_mutex_lock(&huge.lock);
	if (node >= 0 && node < RTE_MAX_NUMA_NODES && size > huge.grown[node]) {
		give_up(size - huge.grown[node]);
		huge.grown[node] = size;
	}
	pthread_mutex_unlock(&huge.lock);
	return 0;
}

static bool watch(void)
{
	for (int i = 0; !huge.watching && i < RTE_MAX_NUMA_NODES; i++)
		if (rte_mem_alloc_validator_register("fastnet", growing, i, 0) && rte_errno != EEXIST)
			return false;
	huge.watching = true;
	return true;
}

bool dpdk_huge_hold(unsigned mb)
{
	unsigned long small = fn_min(pages_free("2048kB"), (mb + 1ul) / 2), rest;

	if (small && !take(&huge.small, small, HUGE_2MB, SIZE_FLAG(21)))
		small = 0;
	rest = mb > small * 2 ? mb - small * 2 : 0;
	if (rest && !take(&huge.large, (rest + 1023) / 1024, HUGE_1GB, SIZE_FLAG(30))) {
		dpdk_huge_drop();
		return false;
	}
	/* EAL wants to see a free one */
	give_up(1);
	if (!watch())
		dpdk_huge_drop();
	return true;
}

void dpdk_huge_drop(void)
{
	pthread_mutex_lock(&huge.lock);
	give(&huge.small, huge.small.len);
	give(&huge.large, huge.large.len);
	pthread_mutex_unlock(&huge.lock);
}
