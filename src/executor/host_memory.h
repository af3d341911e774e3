/* SPDX-License-Identifier: Apache-2.0 */
/* The memory that this process may use: that of the machine, or that of a cgroup above the process if it is less. */
#ifndef PX_EXECUTOR_HOST_MEMORY_H
#define PX_EXECUTOR_HOST_MEMORY_H

#include <stdint.h>

struct px_host_memory {
    uint64_t total_bytes, available_bytes; /* UINT64_MAX: unknown */
};

/* Reads /proc/meminfo, and the limits of cgroup v2. Takes about 50 µs. */
void px_host_memory_read(struct px_host_memory *ret);

#endif
