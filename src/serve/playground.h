/* SPDX-License-Identifier: Apache-2.0 */
/* The page for people at "/": made from web/ when the module is built, served from memory. It asks the API as
 * any client does; it is nobody's principal, and has no secret in it. */
#ifndef PX_SERVE_PLAYGROUND_H
#define PX_SERVE_PLAYGROUND_H

#include <stddef.h>

struct px_http_request;

/* What tools/playground.sh writes: the page has the path "". Ends with a NULL path, which is the first one where
 * the module was built without the page. */
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
