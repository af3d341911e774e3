/* SPDX-License-Identifier: Apache-2.0 */
/* The inside of pyexec_result: what the child claims, parsed field by field as hostile bytes, and what the host
 * knows. */
#ifndef PX_RESULT_RESULT_H
#define PX_RESULT_RESULT_H

#include "base/json.h"
#include <stdbool.h>

#include "base/buffer.h"
#include "base/layers.h"
#include "policy/policy.h"
#include "protocol/wire.h"
#include "pyexec.h"
#include "result/display_claims.h"
#include "result/file_list.h"
#include "result/tool_claims.h"

struct px_stream {
    struct px_buffer text; /* the kept bytes: raw while they arrive, valid UTF-8 at the end */
    uint64_t bytes;        /* all bytes that were written */
    bool truncated;
};

struct pyexec_denial {
    enum px_denial_layer layer;
    int line; /* 0: no line is known */
    struct px_buffer what, hint;
};

/* The fields that the child has sent so far: the members of child_fields.def, and its fields of other forms. */
struct px_child_result {
#define PX_CHILD_NUMBER(NAME, wire, type, member, ...) type member;
#define PX_CHILD_TEXT(NAME, member, ...) struct px_buffer member;
#define PX_CHILD_MARK(NAME, member) bool member;
#include "protocol/child_fields.def"
    bool locked;
    bool lost;                              /* a denial by the host could not be kept: no memory */
    uint64_t locked_cpu_ns, locked_real_ns; /* sent before any code of the script ran */
    uint32_t counts[PX_RESULT_KINDS];
    size_t sizes[PX_RESULT_KINDS];
    uint8_t crash[2]; /* the signal, and 1 if the address space was used up */
    struct pyexec_denial denials[PX_DENIALS_MAX];
    size_t denial_count;
    struct px_displays displays;
    struct px_tool_claims tools;
    pyexec_error setup; /* set by the field SETUP_ERROR */
};

/* The C types for the types of PX_RESULT_FIELD. Texts are constants. */
#define PX_FIELD_string const char *
#define PX_FIELD_nullable_string const char *
#define PX_FIELD_boolean bool
#define PX_FIELD_count uint64_t
#define PX_FIELD_code int
#define PX_FIELD_number double

struct pyexec_result {
    pyexec_status status;
    struct px_stream streams[2];
    struct px_child_result claims;
    bool has_value;
    bool has_value_json; /* claims.value_json is valid JSON on one line */
    char *error_repr, *error_type, *error_message, *error_hint, *traceback;
    int error_line;
    struct pyexec_file_list files;
    px_layers missing;
    uint64_t tool_calls;
    double tool_wait_ms; /* time with at least one unanswered call */
/* The fields with a PX_RESULT_FIELD row. */
#define PX_RESULT_FIELD(owner, type, key, says, meaning) PX_FIELD_##type key;
#define PX_RESULT(...)
#define PX_RESULT_OBJECT(...)
#define PX_RESULT_LIST(...)
#include "result/result.def"
#undef PX_RESULT
#undef PX_RESULT_FIELD
#undef PX_RESULT_OBJECT
#undef PX_RESULT_LIST
    struct {
        char *id; /* NULL: a run without a session */
        bool created;
        const char *restarted; /* NULL: the session kept its state, or had none */
        uint64_t calls;
        uint64_t restored_to; /* the call before which the session is again, because its process ended; or 0 */
        char *no_checkpoint;  /* NULL: the state was kept, or the policy has no auto_checkpoint */
    } session;
    struct {
        char name[PX_ENVIRONMENT_NAME_MAX + 1]; /* "": a run without an environment */
        char hash[PX_ENVIRONMENT_HASH_LENGTH + 1];
    } environment;
    json_t *network;    /* with allowed_hosts: what the script asked the proxy for, a list; else NULL */
    char *network_json; /* the same as text, if there was memory for it */
    char *json;         /* made when it is first asked for */
};

pyexec_result *px_result_new(void);

/* Takes one packet of the child. Returns 0, or -1 when it breaks the protocol; then *ret_why says how. Never
 * allocates more than the table of fields allows. */
int px_child_result_parse(struct px_child_result *claims, const char *packet, size_t size, const char **ret_why);

/* Called after DONE: checks the result as a whole, for strict UTF-8 in its texts and for an outcome that agrees
 * with its error. Returns what is wrong, or NULL. */
const char *px_child_result_check(const struct px_child_result *claims);

/* Adds a denial. When the list is full, it takes the place of the last one. Returns 0, or -1 when there is no
 * memory. */
int px_child_result_deny(struct px_child_result *claims, enum px_denial_layer layer, const char *what,
                         const char *hint);

/* Makes the kept bytes of a stream valid UTF-8 of at most `limit` bytes. Returns 0, or -1 when there is no memory. */
int px_stream_finish(struct px_stream *stream, size_t limit) __attribute__((warn_unused_result));

/* Sets error_repr, error_type and error_message; `type` and `message` are copied. Returns 0, or -1 when there is no
 * memory. */
int px_result_set_error(pyexec_result *result, const char *type, const char *message);

/* Says that the run had this environment; NULL: none. */
void px_result_set_environment(pyexec_result *result, const struct px_environment *environment);

/* Returns a hint for the error of a finished result, which the caller frees, or NULL (result/hints.c). */
char *px_hint_for(const pyexec_result *result, const struct px_policy *policy);

/* Returns the names of the layers in a set, as a JSON array. */
json_t *px_layers_to_json(px_layers layers);

#endif
