/* SPDX-License-Identifier: Apache-2.0 */
/* The policy: what a script may do. One table (policy.def) is the source of the struct, the
 * JSON keys, the flags, the help texts and the configuration reference.
 *
 *     struct px_policy policy;
 *     if (px_policy_init(&policy, error) < 0 ||
 *         px_policy_merge_json(&policy, json, PX_ORIGIN_REQUEST, error) < 0 ||
 *         px_policy_check(&policy, error) < 0) …
 *     px_policy_done(&policy);
 */
#ifndef PX_POLICY_POLICY_H
#define PX_POLICY_POLICY_H

#include "base/json.h"
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>

#include "base/buffer.h"
#include "base/error.h"
#include "base/file_access.h"
#include "environments/environment.h"

/* The value of an integer that is null: pyexec sets no limit. */
#define PX_NONE INT64_MIN

/* A list of strings in the given order, without repetitions. Owns them. */
struct px_strings {
    char **items;
    size_t count;
};

bool px_strings_has(const struct px_strings *strings, const char *item);
/* Returns 0, or -1 when there is no memory. Adding a string that is in the list already does nothing. */
int px_strings_add(struct px_strings *strings, const char *item, size_t length);
void px_strings_done(struct px_strings *strings);

/* The kinds of fields. A kind is a C type, a JSON type and a form as text. */
typedef char *px_field_string;
typedef int64_t px_field_duration; /* milliseconds; text with a unit */
typedef int64_t px_field_integer;  /* PX_NONE where null is allowed */
typedef int64_t px_field_size;     /* bytes; text with K, M, G */
typedef bool px_field_boolean;
typedef struct px_strings px_field_names; /* set of top-level module names */
typedef struct px_strings px_field_hosts; /* set of host names with ports, in lower case; see base/host_entry.h */
typedef struct px_strings px_field_list;
typedef char *px_field_environment;              /* a name; "" for none */
typedef struct px_strings px_field_environments; /* names, or PX_ANY_ENVIRONMENT */

#define PX_ANY_ENVIRONMENT "*"

/* The origin of a value, the one with the lowest priority first (`pyexec policy --origin`). */
enum px_origin {
    PX_ORIGIN_DEFAULT,
    PX_ORIGIN_FILE,
    PX_ORIGIN_ENVIRONMENT,
    PX_ORIGIN_FLAG,
    PX_ORIGIN_REQUEST,
};
const char *px_origin_name(enum px_origin origin);

enum px_policy_field {
#define PX_FIELD(kind, name, ...) PX_FIELD_##name,
#include "policy/policy.def"
#undef PX_FIELD
    PX_FIELD_COUNT
};

struct px_policy {
#define PX_FIELD(kind, name, ...) px_field_##kind name;
#include "policy/policy.def"
#undef PX_FIELD
    uint8_t origin[PX_FIELD_COUNT];   /* enum px_origin */
    const struct px_environment *env; /* the one that `environment` names, once it was found; else NULL */
};

/* The three values of file access, which two booleans express. */
enum px_files px_policy_files(const struct px_policy *policy);

/* Sets the defaults. Returns 0, or -1 when there is no memory. */
int px_policy_init(struct px_policy *policy, pyexec_error *error);
int px_policy_copy(struct px_policy *ret, const struct px_policy *from, pyexec_error *error);
void px_policy_done(struct px_policy *policy);
/* True if both have the same values, also the same names in the same order. */
bool px_policy_equal(const struct px_policy *one, const struct px_policy *other);

/* Merges a JSON object key by key; arrays replace the old value. On failure, invalid_policy names the key, the
 * value and what is accepted; for an unknown key it names the most similar known one. After a failure the policy
 * can't be used, but px_policy_done must still be called. A duration or a size may be a string with a unit
 * ("timeout_ms": "5s"). An object that sets disable_open and does not mention allow_readonly_open removes an
 * earlier allow_readonly_open. */
int px_policy_merge_json(struct px_policy *policy, const json_t *object, enum px_origin origin, pyexec_error *error);

/* Sets one field from text, as flags, the environment and configuration files give it: durations and sizes with
 * units, "none" for null, true/false, comma-separated lists. `name` is the JSON key, the same with '-' for '_', or
 * an alias ("timeout"). A disable_open removes an allow_readonly_open of a weaker origin. */
int px_policy_set_text(struct px_policy *policy, const char *name, const char *text, enum px_origin origin,
                       pyexec_error *error);

/* Adds names, separated by commas, to a set or list, as `--allow-import a,b` does. */
int px_policy_add_names(struct px_policy *policy, enum px_policy_field field, const char *comma_list,
                        enum px_origin origin, pyexec_error *error);

/* Flags that set several fields. */
struct px_flag_alias {
    const char *name;     /* without the dashes */
    const char *argument; /* the name of its value in the help, or NULL if it takes none */
    const char *meaning;
};
const struct px_flag_alias *px_policy_flag_aliases(size_t *count);

/* Applies one. A flag without a value has the value "true" (also when it is NULL) or "false". */
int px_policy_set_short(struct px_policy *policy, const char *flag, const char *value, enum px_origin origin,
                        pyexec_error *error);

/* Checks the ranges, and contradictions between fields. Call it after the last merge. */
int px_policy_check(const struct px_policy *policy, pyexec_error *error);

/* Keeps a request's policy below a ceiling. Values that the request itself set above it (their origin is
 * PX_ORIGIN_REQUEST) are refused with invalid_policy; other values are lowered. `later`: this is the policy of an
 * existing session. Then only fields that later calls may change are lowered, and the others are refused. */
int px_policy_limit(struct px_policy *policy, const struct px_policy *ceiling, bool later, pyexec_error *error);

/* True if later calls of a session may change this field. */
bool px_policy_changes_later(enum px_policy_field field);

/* ---- The environment of a policy (policy_environment.c) ---- */

/* Finds the environment that the policy names, and holds it in policy->env. Where nobody gave another value, its limits become
 * those of the policy. Call it again when `environment` may have changed. */
int px_policy_find_environment(struct px_policy *policy, struct px_environments *store, pyexec_error *error);
/* Keeps `environment` below a ceiling, before it is looked for. An environment of the ceiling itself (PX_ORIGIN_REQUEST) is the default. As px_policy_limit(), which also does this. */
int px_policy_limit_environment(struct px_policy *policy, const struct px_policy *ceiling, bool later,
                                pyexec_error *error);
/* Raises the limits of a ceiling that nobody gave to what an environment needs, because whoever allows an environment wants it
 * to work. `environment` may be NULL. */
void px_policy_raise(struct px_policy *ceiling, const struct px_environment *environment);
/* The least value of a limit with which the environment's packages work, or 0 when the defaults are enough. */
int64_t px_environment_need(const struct px_environment *environment, enum px_policy_field field);
bool px_policy_allows_environment(const struct px_policy *ceiling, const char *name);

/* What a run uses: of the environment, or else of the fields of the same name. */
const char *px_policy_python(const struct px_policy *policy);
bool px_policy_isolates(const struct px_policy *policy);

/* Returns the policy as a JSON object with every key, or NULL when there is no memory. */
json_t *px_policy_to_json(const struct px_policy *policy);
/* The same with only the keys that somebody gave: merged over the defaults, it makes the same policy. */
json_t *px_policy_given_to_json(const struct px_policy *policy);

/* The text that `pyexec policy --help` prints. */
void px_policy_describe_help(struct px_buffer *out);

/* Facts about the fields, for flags, completion and tests. */
struct px_field_info {
    const char *name;         /* "cpu_time_seconds" */
    const char *alias;        /* "timeout" for timeout_ms, else NULL */
    const char *kind;         /* "integer", "size", "duration", "boolean", "names", "hosts", "list", "string" */
    const char *default_text; /* in the form of a flag's value */
    const char *meaning;      /* one or two sentences */
    int64_t minimum, maximum; /* numbers only */
    bool nullable;
};
const struct px_field_info *px_policy_field_info(enum px_policy_field field);

/* Returns the field of a key, flag name or alias ('-' and '_' are equal), or PX_FIELD_COUNT when it is unknown. */
enum px_policy_field px_policy_find(const char *name);

#endif
