/* SPDX-License-Identifier: Apache-2.0 */
/* The isolation layers and sets of them. */
#ifndef PX_BASE_LAYERS_H
#define PX_BASE_LAYERS_H

#include <stdbool.h>
#include <stdint.h>

enum px_layer {
#define PX_LAYER(constant, ...) PX_LAYER_##constant,
#include "base/layers.def"
#undef PX_LAYER
    PX_LAYER_COUNT
};

/* A set of layers, bit 1 << layer. */
typedef uint32_t px_layers;
#define PX_LAYER_BIT(layer) ((px_layers)1 << (layer))

struct px_layer_info {
    const char *name;
    bool required;
    const char *gives;
    const char *remedy;
};
const struct px_layer_info *px_layer_info(enum px_layer layer);

/* The layer of a name, or PX_LAYER_COUNT. */
enum px_layer px_layer_find(const char *name);

/* The name of the tier for containers without user namespaces. It stands for all the layers that are not available
 * there. Landlock, seccomp, rlimits and the drop of privileges remain. */
#define PX_TIER_CONTAINER "container"

/* The layers that a name in `allow_missing` stands for: one layer, or those of PX_TIER_CONTAINER. 0 for an
 * unknown name. */
px_layers px_layers_find(const char *name);

/* A text for hints: what a script can do when the layers of PX_TIER_CONTAINER are missing. */
#define PX_TIER_CONTAINER_LOSS \
    "scripts run as the container's own user beside its other processes, and only Landlock, seccomp and rlimits " \
    "keep them apart; docs/security.md says what is lost"

/* All required layers. */
px_layers px_layers_required(void);

#endif
