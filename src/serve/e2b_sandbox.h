/* SPDX-License-Identifier: Apache-2.0 */
/* Sandboxes and contexts of E2B's SDK. A sandbox is named by the header E2b-Sandbox-Id; a request without
 * it means the sandbox without a name. A context is a session: SANDBOX:CONTEXT, or CONTEXT in the sandbox
 * without a name. A sandbox's workspace, which its files and commands use, is its default context's. */
#ifndef PX_SERVE_E2B_SANDBOX_H
#define PX_SERVE_E2B_SANDBOX_H

#include "base/json.h"
#include "serve/http.h"

#define PX_E2B_DEFAULT "e2b-default"
#define PX_E2B_HOME "/home/user"

/* The context of the request's sandbox becomes the request's session. False: answered. */
bool px_e2b_enter(struct px_http_request *request, const char *context);

/* The id of the session's context, as its clients know it: a part of `session`. */
const char *px_e2b_context_id(const char *session);

/* A copy of the folder of the request's context, for free(); NULL: there is no such context. */
char *px_e2b_use_context(struct px_http_request *request);

/* Makes a context in the request's sandbox, which becomes the request's session. */
int px_e2b_add_context(struct px_http_request *request, const char *cwd, pyexec_error *error);

/* False: there was no such context. */
bool px_e2b_forget_context(struct px_http_request *request);

/* What clients know of a context; all of them in the request's sandbox. */
json_t *px_e2b_describe(const char *id, const char *cwd);
json_t *px_e2b_contexts(struct px_http_request *request);

/* Answers as plain text, as E2B's code interpreter does. */
void px_e2b_answer_text(struct px_http_request *request, int status, const char *text);
void px_e2b_refuse(struct px_http_request *request, const char *text);
void px_e2b_answer_unknown(struct px_http_request *request, const char *context);
void px_e2b_answer_failure(struct px_http_request *request, const pyexec_error *error);

/* dialect_e2b.c: the members of an object of texts become variables of the run. */
int px_e2b_add_environment(pyexec_request *run, json_t *variables, pyexec_error *error);

/* e2b_files.c, on a thread of the schedule of runs. Makes the session if there is none. */
int px_e2b_ensure_session(struct px_http_request *request, pyexec_error *error);
/* A path of the workspace, relative to it: a part of `path`. NULL: it is outside of PX_E2B_HOME. */
const char *px_e2b_relative(const char *path, pyexec_error *error);

/* Where a traceback begins in output, that of a syntax error too; its length when none does. */
size_t px_e2b_find_traceback(const char *bytes, size_t length);

#endif
