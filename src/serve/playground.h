/* SPDX-License-Identifier: Apache-2.0 */
/* The page for people at "/". It is made from web/ when the module is built, and served from memory. It calls the
 * API as any client does. It has no principal of its own and contains no secret. */
#ifndef PX_SERVE_PLAYGROUND_H
#define PX_SERVE_PLAYGROUND_H

#include <stddef.h>

struct px_http_request;

/* The files that tools/playground.sh writes. The page has the path "". The list ends with the path NULL; without
 * the page it is empty. */
struct px_asset {
    const char *path, *type, *etag;
    const unsigned char *bytes;
    size_t length;
    const unsigned char *gzip;
    size_t gzip_length;
};
extern const struct px_asset px_assets[];

/* GET /, and GET /playground/{path}. */
void px_playground_page(struct px_http_request *request);
void px_playground_file(struct px_http_request *request);

#endif
