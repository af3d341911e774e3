/* SPDX-License-Identifier: Apache-2.0 */
#include "serve/playground.h"

#include <stdlib.h>
#include <string.h>

#include "base/buffer.h"
#include "base/cleanup.h"
#include "base/error.h"
#include "policy/config.h"
#include "serve/server.h"

#define SCRIPT_MARK "{{script}}"
#define STYLE_MARK "{{style}}"

static const struct px_asset *find(const char *path)
{
    const struct px_asset *asset = px_assets;
    while (asset->path && strcmp(asset->path, path) != 0)
        asset++;
    return asset->path ? asset : NULL;
}

static bool is_off(struct px_http_request *request)
{
    if (request->server->options->config->playground)
        return false;
    px_respond_problem(request, MHD_HTTP_NOT_FOUND, "not_found", "there is no such path",
                       "GET /openapi.json lists the routes; [serve] playground is false.");
    return true;
}

static void explain_absence(struct px_http_request *request)
{
    static const char text[] =
        "This is pyexec. Its playground, a page to try it, is not part of this build: npm was not installed,\n"
        "its registry could not be reached, or -Dplayground=disabled was set. Install npm, then run `make`.\n"
        "The API is complete; GET /openapi.json lists its routes.\n";
    px_respond_text(request, MHD_HTTP_NOT_FOUND, "text/plain; charset=utf-8", text, sizeof text - 1);
}

/* Returns 128 random bits, which nobody can guess, as text. The caller frees it. */
static char *make_nonce(void)
{
    px_auto_free char *half = px_random_name("");
    return half ? px_random_name(half) : NULL;
}

static void add_replaced(struct px_buffer *out, const struct px_asset *page, const char *script, const char *style)
{
    const char *at = (const char *)page->bytes, *end = at + page->length, *mark;
    while ((mark = memmem(at, (size_t)(end - at), "{{", 2))) {
        bool is_script =
            (size_t)(end - mark) >= strlen(SCRIPT_MARK) && memcmp(mark, SCRIPT_MARK, strlen(SCRIPT_MARK)) == 0;
        px_buffer_add(out, at, (size_t)(mark - at));
        px_buffer_add_string(out, is_script ? script : style);
        at = mark + strlen(is_script ? SCRIPT_MARK : STYLE_MARK);
    }
    px_buffer_add(out, at, (size_t)(end - at));
}

/* Adds a policy for the page: it runs only our script and styles and sends requests only to this server. It makes
 * HTML of text in one place only, which puts it into sandboxed frames (web/src/frame.ts). The frames inherit this
 * policy, so the styles of displayed HTML need a second nonce. */
static void add_policy(struct MHD_Response *response, const char *script, const char *style)
{
    char policy[512];
    snprintf(policy, sizeof policy,
             "default-src 'none'; script-src 'nonce-%s'; style-src 'nonce-%s'; img-src data:; connect-src 'self'; "
             "base-uri 'none'; form-action 'none'; frame-ancestors 'none'; "
             "require-trusted-types-for 'script'; trusted-types frame",
             script, style);
    MHD_add_response_header(response, "Content-Security-Policy", policy);
    MHD_add_response_header(response, "Cache-Control", "no-store");
    MHD_add_response_header(response, "X-DNS-Prefetch-Control", "off");
}

static void answer(struct px_http_request *request, int status, struct MHD_Response *response, const char *type,
                   size_t length)
{
    if (response) {
        MHD_add_response_header(response, "Content-Type", type);
        MHD_add_response_header(response, "Referrer-Policy", "no-referrer");
        MHD_add_response_header(response, "Cross-Origin-Opener-Policy", "same-origin");
        MHD_add_response_header(response, "Cross-Origin-Resource-Policy", "same-origin");
        if (strcmp(request->method, "HEAD") != 0)
            request->answer_bytes += length;
    }
    px_respond(request, status, response);
}

void px_playground_page(struct px_http_request *request)
{
    const struct px_asset *page = find("");
    px_auto_free char *script = make_nonce(), *style = make_nonce();
    px_auto_buffer struct px_buffer text = {0};
    if (is_off(request))
        return;
    if (!page) {
        explain_absence(request);
        return;
    }
    if (script && style)
        add_replaced(&text, page, script, style);
    if (!text.length || !px_buffer_ok(&text)) {
        pyexec_error error;
        px_error_oom(&error);
        px_respond_error(request, &error);
        return;
    }
    struct MHD_Response *response = MHD_create_response_from_buffer(text.length, text.data, MHD_RESPMEM_MUST_COPY);
    if (response)
        add_policy(response, script, style);
    answer(request, MHD_HTTP_OK, response, page->type, text.length);
}

void px_playground_file(struct px_http_request *request)
{
    const struct px_asset *file = find(request->rest);
    if (is_off(request))
        return;
    if (!file) {
        px_respond_problem(request, MHD_HTTP_NOT_FOUND, "not_found", "there is no such path", "GET / has the page.");
        return;
    }
    const char *known = px_http_request_header(request, "If-None-Match");
    const char *accepts = px_http_request_header(request, "Accept-Encoding");
    bool fresh = known && strstr(known, file->etag), packed = accepts && strstr(accepts, "gzip");
    size_t length = fresh ? 0 : packed ? file->gzip_length : file->length;
    struct MHD_Response *response =
        MHD_create_response_from_buffer(length, (void *)(packed ? file->gzip : file->bytes), MHD_RESPMEM_PERSISTENT);
    if (response) {
        MHD_add_response_header(response, "ETag", file->etag);
        MHD_add_response_header(response, "Cache-Control", "no-cache");
        MHD_add_response_header(response, "Vary", "Accept-Encoding");
        if (packed && !fresh)
            MHD_add_response_header(response, "Content-Encoding", "gzip");
    }
    answer(request, fresh ? MHD_HTTP_NOT_MODIFIED : MHD_HTTP_OK, response, file->type, length);
}
