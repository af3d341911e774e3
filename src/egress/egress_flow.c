/* SPDX-License-Identifier: Apache-2.0 */
/* Back-pressure between the two sides of a connection. */
#include <event2/buffer.h>

#include "egress/egress_private.h"

void px_egress_flow_hold(struct bufferevent *from, struct bufferevent *to)
{
    if (evbuffer_get_length(bufferevent_get_output(to)) >= EGRESS_WRITE_HIGH)
        bufferevent_disable(from, EV_READ);
}

void px_egress_flow_go_on(struct bufferevent *from, struct bufferevent *to)
{
    if (from && evbuffer_get_length(bufferevent_get_output(to)) <= EGRESS_WRITE_LOW &&
        !(bufferevent_get_enabled(from) & EV_READ))
        bufferevent_enable(from, EV_READ);
}
