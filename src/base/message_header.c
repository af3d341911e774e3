/* SPDX-License-Identifier: Apache-2.0 */
#include "base/message_header.h"

#include <stdio.h>

#include "base/cleanup.h"
#include "base/spelling.h"

/* Two numbers of 20 bytes, the names, four spaces. */
_Static_assert(2 * 20 + sizeof(struct px_message_header) - 2 * sizeof(long long) + 4 <= PX_MESSAGE_HEADER_SIZE,
               "each header fits");
_Static_assert(sizeof((struct px_message_header){0}.node) == PX_NODE_NAME_MAX + 1, "each node's name fits");

void px_message_header_format(const struct px_message_header *header, char ret[PX_MESSAGE_HEADER_SIZE])
{
    snprintf(ret, PX_MESSAGE_HEADER_SIZE, "%lld %lld %s %s %s", header->arrived_ns, header->bytes, header->node,
             header->destination, header->queue);
}

bool px_message_header_parse(const char *value, struct px_message_header *ret)
{
    *ret = (struct px_message_header){0};
    return sscanf(value, "%lld %lld %64s %127s %64s", &ret->arrived_ns, &ret->bytes, ret->node, ret->destination,
                  ret->queue) >= 4;
}
