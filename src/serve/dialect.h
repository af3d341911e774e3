/* SPDX-License-Identifier: Apache-2.0 */
/* Other servers' routes, for clients that exist already: E2B's code interpreter, dify-sandbox and
 * SandboxFusion. Each is off unless configured. They run as all else does: by principal, ceiling,
 * turn and queue; Host and Origin are checked first. What differs is who may call (below), and the
 * form of requests, results and errors.
 *
 * With a token file every caller has a token, which may also come as HTTP Basic's password (so that it
 * can stand in a URL) or as that dialect's clients send it. Without one, only listeners on loopback
 * addresses and UNIX sockets are there, and no token is looked at. */
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

/* Those that are on. */
unsigned px_dialects(const struct px_serve_config *config);

/* Who calls a dialect's route; NULL: nobody known. */
struct px_principal *px_dialect_principal(struct px_http_request *request);

/* The request's body, kept in request->json; NULL: it is no JSON object. */
json_t *px_dialect_body(struct px_http_request *request, pyexec_error *error);

/* A new run of the code, which is hashed for the audit log. NULL: out of memory. */
pyexec_request *px_dialect_run(struct px_http_request *request, const json_t *code, pyexec_error *error);

/* Notes what a host-side failure was, and answers those that do not concern the request itself (busy,
 * shutting down), as pyexec does. True: answered. */
bool px_dialect_failed(struct px_http_request *request, const pyexec_error *error);

/* What a person should read beside stdout, for clients that know stderr alone: stderr, then what it
 * does not say already of the error, its hint, and what was cut. */
void px_dialect_add_stderr(struct px_buffer *out, const pyexec_result *result);
/* The latter alone, a line each. */
void px_dialect_add_cut(struct px_buffer *out, const pyexec_result *result);

void px_dialect_health(struct px_http_request *request);

/* dialect_e2b.c, e2b_sandbox.c. The contexts and sandboxes that it has made, by principal. */
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

/* dialect_fusion.c */
void px_fusion_run_code(struct px_http_request *request);
void px_fusion_ping(struct px_http_request *request);

#endif
