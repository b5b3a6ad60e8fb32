/* SPDX-License-Identifier: BSD-3-Clause */
/* Memory near the port. libnuma is linked to the plugin only: its constructor's calls must not run in every program. */
#include "config.h"

#include "plugin/dpdk.h"

#ifdef HAVE_NUMA
#include <numa.h>

bool dpdk_numa_many(void)
{
	return numa_available() >= 0 && numa_num_configured_nodes() > 1;
}

void dpdk_numa_bind(void *addr, size_t len, int node)
{
	if (node >= 0 && dpdk_numa_many())
		numa_tonode_memory(addr, len, node);
}

#else

bool dpdk_numa_many(void)
{
	return false;
}

void dpdk_numa_bind(void *addr, size_t len, int node)
{
}
#endif
