/* SPDX-License-Identifier: Apache-2.0 */
/* The heads of HTTP messages to and from a host with secrets. The request's is written again, so that the server sees exactly what was
 * checked, with the secret in its field; a field of the same name from the script is left out. */
#ifndef PX_EGRESS_SECRET_HTTP_H
#define PX_EGRESS_SECRET_HTTP_H

#include "base/buffer.h"
#include "egress/http_head.h"
#include "egress/scrub.h"
#include "egress/secret_store.h"

/* What a request is, for its response. */
struct px_secret_request {
    enum px_http_framing framing;
    uint64_t length;
    bool no_body; /* the response has no body: HEAD */
    bool websocket, closes;
};

enum px_secret_refusal { PX_SECRET_GOOD, PX_SECRET_BAD_PROTOCOL, PX_SECRET_OTHER_HOST };

/* Checks a request to host:port and appends its new head to `to`, without ever copying a secret out of a buffer that grows. On a refusal
 * *ret_why says what is wrong, for a sentence. */
enum px_secret_refusal px_secret_http_request(const struct px_http_head *head, size_t head_length, const char *host,
                                              uint16_t port, const struct px_secret_use *uses, size_t count,
                                              struct px_secret_request *ret, struct px_buffer *to,
                                              const char **ret_why);

/* Appends the new head of a response. Returns NULL, or what is wrong. A body that has no length goes on in chunks. */
const char *px_secret_http_response(const struct px_http_head *head, const struct px_secret_request *request,
                                    enum px_http_framing *ret, uint64_t *ret_length, struct px_buffer *to);

#endif
