/* SPDX-License-Identifier: Apache-2.0 */
/* Sandboxes and contexts of E2B's SDK. The header E2b-Sandbox-Id names a sandbox; a request without it uses the
 * sandbox without a name. A context is a session with the id SANDBOX:CONTEXT, or CONTEXT in the sandbox without a
 * name. Files and commands of a sandbox use the workspace of its default context. */
#ifndef PX_SERVE_E2B_SANDBOX_H
#define PX_SERVE_E2B_SANDBOX_H

#include "base/json.h"
#include "serve/http.h"

#define PX_E2B_DEFAULT "e2b-default"
#define PX_E2B_HOME "/home/user"

/* Makes the context of the request's sandbox the request's session. Returns false when the request has been
 * answered. */
bool px_e2b_enter(struct px_http_request *request, const char *context);

/* Returns the id of the session's context in the form that clients know: a part of `session`. */
const char *px_e2b_context_id(const char *session);

/* Returns a copy of the folder of the request's context, which the caller frees. NULL when there is no such
 * context. */
char *px_e2b_use_context(struct px_http_request *request);

/* Makes a context in the request's sandbox. It becomes the request's session. */
int px_e2b_add_context(struct px_http_request *request, const char *cwd, pyexec_error *error);

/* Returns false when there was no such context. */
bool px_e2b_forget_context(struct px_http_request *request);

/* The form in which clients see a context, and all contexts of the request's sandbox. */
json_t *px_e2b_describe(const char *id, const char *cwd);
json_t *px_e2b_contexts(struct px_http_request *request);

/* Answers with plain text, as E2B's code interpreter does. */
void px_e2b_answer_text(struct px_http_request *request, int status, const char *text);
void px_e2b_refuse(struct px_http_request *request, const char *text);
void px_e2b_answer_unknown(struct px_http_request *request, const char *context);
void px_e2b_answer_failure(struct px_http_request *request, const pyexec_error *error);

/* dialect_e2b.c: makes each member of the object, whose values are strings, an environment variable of the run. */
int px_e2b_add_environment(pyexec_request *run, json_t *variables, pyexec_error *error);

/* e2b_files.c. Called on a thread of the schedule of runs. Makes the session if there is none. */
int px_e2b_ensure_session(struct px_http_request *request, pyexec_error *error);
/* Returns the path relative to the workspace: a part of `path`. NULL when it is outside of PX_E2B_HOME. */
const char *px_e2b_relative(const char *path, pyexec_error *error);

/* Returns where a traceback begins in the output, also that of a SyntaxError; the output's length when there is
 * none. */
size_t px_e2b_find_traceback(const char *bytes, size_t length);

#endif
