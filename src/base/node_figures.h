/* SPDX-License-Identifier: Apache-2.0 */
/* Figures that `pyexec-worker` counts and the server below it shows at /metrics. They are in memory that both processes have mapped,
 * so that a scrape asks nobody. The server only prints the numbers: it trusts nothing that is in them. */
#ifndef PX_BASE_NODE_FIGURES_H
#define PX_BASE_NODE_FIGURES_H

#include <stdatomic.h>
#include <stdint.h>

struct px_node_figures {
#define PX_NODE_METRIC(name, type, help)
#define PX_NODE_FIGURE(member, label, value) _Atomic uint64_t member;
#include "base/node_figures.def"
#undef PX_NODE_METRIC
#undef PX_NODE_FIGURE
};

#endif
