/* SPDX-License-Identifier: Apache-2.0 */
#include "base/layers.h"

#include <string.h>

static const struct px_layer_info layers[PX_LAYER_COUNT] = {
#define PX_LAYER(constant, name, required, gives, remedy) [PX_LAYER_##constant] = {name, required, gives, remedy},
#include "base/layers.def"
#undef PX_LAYER
};

const struct px_layer_info *px_layer_info(enum px_layer layer)
{
    return &layers[layer];
}

enum px_layer px_layer_find(const char *name)
{
    for (enum px_layer layer = 0; layer < PX_LAYER_COUNT; layer++)
        if (strcmp(layers[layer].name, name) == 0)
            return layer;
    return PX_LAYER_COUNT;
}

px_layers px_layers_find(const char *name)
{
    if (strcmp(name, PX_TIER_CONTAINER) == 0)
        return PX_LAYER_BIT(PX_LAYER_USER_NAMESPACE) | PX_LAYER_BIT(PX_LAYER_PID_NAMESPACE) |
               PX_LAYER_BIT(PX_LAYER_MOUNT_NAMESPACE) | PX_LAYER_BIT(PX_LAYER_NETWORK_NAMESPACE) |
               PX_LAYER_BIT(PX_LAYER_IPC_NAMESPACE) | PX_LAYER_BIT(PX_LAYER_UTS_NAMESPACE) |
               PX_LAYER_BIT(PX_LAYER_TIME_NAMESPACE);
    enum px_layer layer = px_layer_find(name);
    return layer < PX_LAYER_COUNT ? PX_LAYER_BIT(layer) : 0;
}

px_layers px_layers_required(void)
{
    px_layers required = 0;
    for (enum px_layer layer = 0; layer < PX_LAYER_COUNT; layer++)
        if (layers[layer].required)
            required |= PX_LAYER_BIT(layer);
    return required;
}
