/* SPDX-License-Identifier: Apache-2.0 */
/* Counts what an executor did, for pyexec_stats(). They live longer than the zygotes and pools that use them. */
#ifndef PX_RUNNER_COUNTERS_H
#define PX_RUNNER_COUNTERS_H

#include <stdatomic.h>
#include <stdint.h>

#include "protocol/wire.h"
#include "pyexec.h"

/* What became of the requests of scripts with allowed_hosts (protocol/egress.h). */
#define PX_NETWORK_VERDICTS "allowed", "denied", "failed"

struct px_counters {
    _Atomic uint64_t forks; /* children that zygotes cloned */
    _Atomic uint64_t zygote_starts;
    _Atomic uint64_t
        zygote_restarts; /* how many of them replaced a zygote that had died or had made its 10,000 clones */
    _Atomic uint64_t pool_hits, pool_misses; /* runs that found a waiting child, and runs that did not */
    _Atomic uint64_t pool_refills;           /* children that were put into a pool */
    _Atomic uint64_t executions[PYEXEC_STATUS_CANCELLED + 1];
    _Atomic uint64_t denials[PX_DENIAL_KINDS];
    _Atomic uint64_t output_bytes[2];        /* bytes that scripts wrote, kept or not */
    _Atomic uint64_t network_connections[3]; /* to the proxy, by PX_NETWORK_VERDICTS */
    _Atomic uint64_t network_bytes[2];       /* sent and received over it */
};

static inline void px_count(_Atomic uint64_t *counter, uint64_t by)
{
    atomic_fetch_add_explicit(counter, by, memory_order_relaxed);
}

#endif
