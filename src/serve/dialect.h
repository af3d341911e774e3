/* SPDX-License-Identifier: Apache-2.0 */
/* Routes of other servers, for clients that already exist: E2B's code interpreter, dify-sandbox and SandboxFusion.
 * Each is off unless it is configured. Such a request runs as every other one does: with principal, ceiling, queue
 * and the check of Host and Origin. Two things differ: who may call, and the form of requests, results and errors.
 *
 * With a token file every caller needs a token. It may also be the password of HTTP Basic (so that it can be part
 * of a URL), or come in the header that clients of the dialect use. Without a token file these routes exist only
 * on loopback addresses and UNIX sockets, and tokens are ignored. */
#ifndef PX_SERVE_DIALECT_H
#define PX_SERVE_DIALECT_H

#include "base/json.h"

#include "base/buffer.h"
#include "policy/config.h"
#include "pyexec.h"

struct px_http_request;
struct px_principal;

#define PX_E2B 1u
#define PX_DIFY_SANDBOX 2u
#define PX_SANDBOX_FUSION 4u

/* The dialects that are on. */
unsigned px_dialects(const struct px_serve_config *config);

/* Returns the caller of a dialect's route, or NULL when the caller is unknown. */
struct px_principal *px_dialect_principal(struct px_http_request *request);

/* Parses the request's body and keeps it in request->json. Returns NULL when it is not a JSON object. */
json_t *px_dialect_body(struct px_http_request *request, pyexec_error *error);

/* Makes a new run of the code, and hashes the code for the audit log. Returns NULL when there is no memory. */
pyexec_request *px_dialect_run(struct px_http_request *request, const json_t *code, pyexec_error *error);

/* Records a failure of the host. A failure that is not about the request itself (busy, shutting down) is also
 * answered here, as pyexec answers it. Returns true if it was answered. */
bool px_dialect_failed(struct px_http_request *request, const pyexec_error *error);

/* Appends what a person should read beside stdout, for clients that show only stderr: stderr, then the parts of
 * the error that it does not contain, the hint, and which output was cut. */
void px_dialect_add_stderr(struct px_buffer *out, const pyexec_result *result);
/* Appends only which output was cut, one line for each. */
void px_dialect_add_cut(struct px_buffer *out, const pyexec_result *result);
/* The same for one stream, and any line; not if `out` has this text already. `text` may be NULL. */
void px_dialect_add_cut_stream(struct px_buffer *out, const char *stream, uint64_t bytes);
void px_dialect_add_line(struct px_buffer *out, const char *text);

void px_dialect_health(struct px_http_request *request);

/* In dialect_e2b.c and e2b_sandbox.c: the contexts and sandboxes of each principal. */
struct px_contexts;
int px_contexts_new(pyexec_executor *executor, struct px_contexts **ret, pyexec_error *error);
void px_contexts_free(struct px_contexts *contexts);

void px_e2b_execute(struct px_http_request *request);
void px_e2b_create(struct px_http_request *request);
void px_e2b_list(struct px_http_request *request);
void px_e2b_delete(struct px_http_request *request);
void px_e2b_restart(struct px_http_request *request);
void px_e2b_sandbox_create(struct px_http_request *request);
void px_e2b_sandbox_connect(struct px_http_request *request);
void px_e2b_sandbox_timeout(struct px_http_request *request);
void px_e2b_sandbox_kill(struct px_http_request *request);

/* e2b_files.c, e2b_commands.c */
void px_e2b_filesystem(struct px_http_request *request);
void px_e2b_file_read(struct px_http_request *request);
void px_e2b_file_write(struct px_http_request *request);
void px_e2b_start(struct px_http_request *request);
void px_e2b_process(struct px_http_request *request);

/* dialect_dify.c */
void px_dify_run(struct px_http_request *request);
void px_dify_dependencies(struct px_http_request *request);
void px_dify_update(struct px_http_request *request);

/* dialect_fusion.c, fusion_submit.c */
void px_fusion_submit(struct px_http_request *request);
void px_fusion_run_code(struct px_http_request *request);
void px_fusion_ping(struct px_http_request *request);

#endif
