/* SPDX-License-Identifier: BSD-3-Clause */
/* Checksums that the sender's kernel has left to a device that is not there. No DPDK here. */
#ifndef FN_PLUGIN_CSUM_H
#define FN_PLUGIN_CSUM_H

#include "stack/compiler.h"

/* True when an IPv4 TCP or UDP checksum in a frame of len bytes holds just the pseudo header's sum (CHECKSUM_PARTIAL). */
bool dpdk_csum_unfinished(const uint8_t *frame, uint32_t len);

#endif
