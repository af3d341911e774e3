/* SPDX-License-Identifier: Apache-2.0 */
/* pyexec_request's inside. */
#ifndef PX_POLICY_REQUEST_H
#define PX_POLICY_REQUEST_H

#include "base/json.h"
#include <stdatomic.h>
#include <stdbool.h>

#include "base/trace_context.h"
#include "policy/policy.h"
#include "policy/tools.h"
#include "protocol/wire.h"
#include "pyexec.h"

enum px_stop { PX_STOP_NONE, PX_STOP_INTERRUPT, PX_STOP_CANCEL };

struct px_request_file {
    char *path; /* relative to the workspace */
    char *bytes;
    size_t length;
};

struct px_trace;

/* The span of the whole request, as its front describes it. */
struct px_request_span {
    char *name; /* NULL: the name of the function that executes */
    int kind;   /* PYEXEC_SPAN_… */
    char id[17];
    json_t *attributes; /* an object of strings, numbers and booleans, or NULL */
};

/* The message with which the request came, if it came over a queue. Its span is above that of the request. */
struct px_request_message {
    char *name; /* NULL: there was none */
    int64_t arrived_ns;
    json_t *attributes; /* as above */
};

struct pyexec_request {
    char *code;
    size_t code_length;
    json_t *ceiling;         /* a partial object, or NULL */
    json_t *policy;          /* a partial object, or NULL */
    json_t *session_policy;  /* the same, for a session that this call makes; ignored when the session exists */
    json_t *policy_defaults; /* weaker than the other two; ignored for an existing session; a ceiling lowers it */
    char *working_dir, *workspace;
    char *workspace_path;  /* the path at which the script sees a workspace in memory, or NULL */
    char *secrets;         /* names of secrets that its caller may use, or NULL */
    struct px_strings env; /* NAME=VALUE */
    size_t env_bytes;      /* length of all of them, with their NULs */
    char *bad_env;         /* a name that can't be used, or NULL */
    char *input;
    size_t input_length;
    int input_fd; /* borrowed, or -1 */
    struct px_request_file *files;
    size_t file_count;
    struct px_strings return_files;
    json_t *inputs;    /* an object, or NULL */
    char *inputs_text; /* the inputs as text, after they have been checked */
    size_t inputs_length;
    enum px_value_json value_json;
    struct px_tools *tools;              /* or NULL */
    const struct px_tools *shared_tools; /* or NULL; borrowed */
    struct px_tools *session_tools;      /* copies of the tools of the session that it is executed in; or NULL */
    pyexec_tool_fn tool_callback;        /* for tools without their own callback; or NULL */
    void *tool_callback_data;
    pyexec_output_fn output;
    void *output_data;
    pyexec_display_fn display;
    void *display_data;
    pyexec_display_object_fn display_object;
    void *display_object_data;
    pyexec_arrived_fn arrived;
    void *arrived_data;
    struct pyexec_turn *turn;       /* taken before the execution, or NULL */
    struct px_trace_context parent; /* the caller's span; trace_id "": none */
    char *tracestate;               /* the caller's, or NULL */
    struct px_request_span span;
    struct px_request_message message;
    struct px_trace *trace; /* the trace of the execution in progress; NULL: it is not traced */
    unsigned restricted;    /* PYEXEC_NO_… */
    bool sent;              /* the code of the last execution, as it is sent to a process */
    bool silent;            /* true: a session does not count this call */
    enum {
        PX_CHECKPOINT_BY_POLICY,
        PX_CHECKPOINT_NO,
        PX_CHECKPOINT_YES
    } checkpoint;     /* keep the state before the call */
    _Atomic int stop; /* enum px_stop; the run takes it */
    int wake;         /* an eventfd, readable after stop was set */
};

static inline void px_request_done(pyexec_request **request)
{
    pyexec_request_free(*request);
}

/* A function that shows a display to the caller, who may want its JSON. It returns 0, or another value to cancel
 * the run. */
int px_request_show(const pyexec_request *request, const pyexec_display *display, const struct px_buffer *json);

/* Checks everything that needs no executor, and makes inputs_text. Returns 0, or -1 with invalid_request. */
int px_request_check(pyexec_request *request, pyexec_error *error);

/* Returns the policy for the request, or NULL with `error`. This is `base`, which has been checked; or `merged`, a
 * copy of `base` with the settings of the request over it: policy_defaults, then session_policy if the call makes
 * a session, then policy. The policy is kept below the request's ceiling, or below `own`, the executor's, when it
 * has none. `store` has the environments. */
const struct px_policy *px_request_policy(const pyexec_request *request, bool makes_session,
                                          const struct px_policy *own, const struct px_policy *base,
                                          struct px_environments *store, struct px_policy *merged, pyexec_error *error);

/* Checks for a relative path without the parts "", "." and "..". `what` names it in the error; the error says
 * "outside sandbox" if the path would leave the workspace. */
int px_request_check_path(const char *path, const char *what, pyexec_error *error);

#endif
