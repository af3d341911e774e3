/* SPDX-License-Identifier: Apache-2.0 */
/* pyexec_request's inside. */
#ifndef PX_POLICY_REQUEST_H
#define PX_POLICY_REQUEST_H

#include "base/json.h"
#include <stdatomic.h>
#include <stdbool.h>

#include "policy/policy.h"
#include "protocol/wire.h"
#include "pyexec.h"

enum px_stop { PX_STOP_NONE, PX_STOP_INTERRUPT, PX_STOP_CANCEL };

struct px_request_file {
    char *path; /* relative to the workspace */
    char *bytes;
    size_t length;
};

struct pyexec_request {
    char *code;
    size_t code_length;
    json_t *ceiling;         /* a partial object, or NULL */
    json_t *policy;          /* a partial object, or NULL */
    json_t *session_policy;  /* the same, for a session that this call makes; ignored by one that is there */
    json_t *policy_defaults; /* lowest-priority policy; ignored for an existing session; values above the
                                ceiling are lowered */
    char *working_dir, *workspace;
    char *workspace_path;  /* where a session in memory sees its own, or NULL */
    struct px_strings env; /* NAME=VALUE */
    size_t env_bytes;      /* of them all, with their ends */
    char *bad_env;         /* a name that can't be one, or NULL */
    char *input;
    size_t input_length;
    int input_fd; /* borrowed, or -1 */
    struct px_request_file *files;
    size_t file_count;
    struct px_strings return_files;
    json_t *inputs;    /* an object, or NULL */
    char *inputs_text; /* the same as text, once it has been checked */
    size_t inputs_length;
    enum px_value_json value_json;
    pyexec_output_fn output;
    void *output_data;
    pyexec_display_fn display;
    void *display_data;
    pyexec_arrived_fn arrived;
    void *arrived_data;
    bool sent;        /* the code of the last execution, to a process */
    bool silent;      /* a session does not count it */
    _Atomic int stop; /* enum px_stop, taken by the run */
    int wake;         /* eventfd; readable when stop was set */
};

static inline void px_request_done(pyexec_request **request)
{
    pyexec_request_free(*request);
}

/* What can be said of a request without an executor; also makes inputs_text. 0, or -1 with invalid_request. */
int px_request_check(pyexec_request *request, pyexec_error *error);

/* The policy that holds for the request: `base`, checked already, or `merged`, which becomes base
 * with the request's own over it; between them policy_defaults, and session_policy of a call that
 * makes a session. Below the request's ceiling, which is over `own`, the executor's. NULL with an error. */
const struct px_policy *px_request_policy(const pyexec_request *request, bool makes_session,
                                          const struct px_policy *own, const struct px_policy *base,
                                          struct px_policy *merged, pyexec_error *error);

/* A relative path without "", "." and ".." parts. `what` names it in the error, which says
 * "outside sandbox" where the path would leave the workspace. */
int px_request_check_path(const char *path, const char *what, pyexec_error *error);

#endif
