/* SPDX-License-Identifier: Apache-2.0 */
/* Hosts in HTTP requests: NAME:PORT of CONNECT, http://NAME:PORT/PATH, and the field Host. */
#ifndef PX_EGRESS_HTTP_TARGET_H
#define PX_EGRESS_HTTP_TARGET_H

#include <stdint.h>

#include "base/host_entry.h"
#include "egress/http_head.h"

struct px_http_authority {
    char name[PX_HOST_NAME_MAX + 1]; /* as px_host_name_parse() makes it */
    uint16_t port;
    bool has_port;
    /* What the request has as its name, for messages: printable ASCII, at most PX_HOST_NAME_MAX bytes. */
    char shown[PX_HOST_NAME_MAX + 1];
};

/* `port` is the default. Returns NULL, or what is wrong, for a sentence. `shown` and `port` are set in both cases, the port to 0 if
 * it is no port. */
const char *px_http_authority_parse(struct px_http_text text, uint16_t port, struct px_http_authority *ret);

/* Parses http://NAME[:PORT][/PATH][?QUERY]. *ret_path points into the text; it is empty if there is no path. */
const char *px_http_absolute_parse(struct px_http_text target, struct px_http_authority *ret,
                                   struct px_http_text *ret_path);

#endif
