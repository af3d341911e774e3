/* SPDX-License-Identifier: Apache-2.0 */
/* Ceilings: the most that a caller who is not trusted may ask for. A column of policy.def says how each field
 * is compared. Values that the caller did not set itself are lowered without a message. */
#include <inttypes.h>
#include <string.h>

#include "base/buffer.h"
#include "base/cleanup.h"
#include "base/host_entry.h"
#include "base/json.h"
#include "policy/fields.h"

enum rule { FREE, MOST, TRUE, FALSE, SAME, FILES, IMPORTS, HOSTS, ENVIRONMENT };
enum session { FIXED, LATER };

static const struct {
    enum rule rule;
    enum session session;
} columns[PX_FIELD_COUNT] = {
#define PX_FIELD(kind, name, ceiling, session, ...) [PX_FIELD_##name] = {ceiling, session},
#include "policy/policy.def"
#undef PX_FIELD
};

bool px_policy_changes_later(enum px_policy_field field)
{
    return columns[field].session == LATER;
}

struct judged {
    struct px_policy *policy;
    const struct px_policy *ceiling;
    bool later;
    pyexec_error *error;
};

static const struct px_field *row(enum px_policy_field field)
{
    return &px_policy_table.fields[field];
}

static bool may_lower(const struct judged *judged, enum px_policy_field field)
{
    return judged->policy->origin[field] != PX_ORIGIN_REQUEST && (!judged->later || px_policy_changes_later(field));
}

static int lower(const struct judged *judged, enum px_policy_field field)
{
    return px_field_replace(row(field), px_field_in(row(field), judged->policy),
                            px_field_of(row(field), judged->ceiling), judged->error);
}

/* Compares the values as JSON. */
static char *shown(enum px_policy_field field, const struct px_policy *policy)
{
    json_t *value = px_field_to_json(row(field), px_field_of(row(field), policy));
    char *text = px_json_dumps(value, JSON_ENCODE_ANY | JSON_COMPACT);
    json_decref(value);
    return text;
}

static int refuse(const struct judged *judged, enum px_policy_field field)
{
    const char *name = row(field)->info.name, *most = columns[field].rule == MOST ? "at most " : "";
    px_auto_free char *asked = shown(field, judged->policy);
    px_auto_free char *allowed = shown(field, judged->ceiling);
    if (!asked || !allowed)
        return px_error_oom(judged->error);
    px_error_set(judged->error, PYEXEC_INVALID_POLICY, "%s: %.300s is beyond this caller's ceiling, which is %.300s",
                 name, asked, allowed);
    return px_error_hint(judged->error, "Ask for %s%.500s, or leave %s out.", most, allowed, name);
}

static int64_t height(int64_t number)
{
    return number == PX_NONE ? INT64_MAX : number;
}

static bool same_member(enum px_policy_field field, const void *a, const void *b)
{
    const struct px_strings *one = a, *other = b;
    if (row(field)->kind->shape == PX_SHAPE_STRING)
        return strcmp(*(char *const *)a, *(char *const *)b) == 0;
    bool same = one->count == other->count;
    for (size_t i = 0; same && i < one->count; i++)
        same = strcmp(one->items[i], other->items[i]) == 0;
    return same;
}

/* Compares a field that does not depend on others. */
static bool is_beyond(const struct judged *judged, enum px_policy_field field)
{
    const void *value = px_field_of(row(field), judged->policy);
    const void *most = px_field_of(row(field), judged->ceiling);
    switch (columns[field].rule) {
    case MOST:
        return height(*(const int64_t *)value) > height(*(const int64_t *)most);
    case TRUE:
        return *(const bool *)most && !*(const bool *)value;
    case FALSE:
        return !*(const bool *)most && *(const bool *)value;
    case SAME:
        return !same_member(field, value, most);
    default:
        return false;
    }
}

static int judge_files(const struct judged *judged)
{
    static const struct {
        const char *name, *fields;
    } depths[] = {
        [PX_FILES_NONE] = {"no", "disable_open true"},
        [PX_FILES_READ] = {"read", "disable_open false with allow_readonly_open true"},
        [PX_FILES_FULL] = {"full", "disable_open false"},
    };
    enum px_files asked = px_policy_files(judged->policy), most = px_policy_files(judged->ceiling);
    if (asked <= most)
        return 0;
    if (may_lower(judged, PX_FIELD_disable_open) && may_lower(judged, PX_FIELD_allow_readonly_open))
        return lower(judged, PX_FIELD_disable_open) < 0 ? -1 : lower(judged, PX_FIELD_allow_readonly_open);
    bool open = judged->policy->origin[PX_FIELD_allow_readonly_open] != PX_ORIGIN_REQUEST ||
                judged->policy->origin[PX_FIELD_disable_open] == PX_ORIGIN_REQUEST;
    px_error_set(judged->error, PYEXEC_INVALID_POLICY,
                 "%s: %s file access is beyond this caller's ceiling, which is %s access",
                 open ? "disable_open" : "allow_readonly_open", depths[asked].name, depths[most].name);
    return px_error_hint(judged->error, "Ask for at most %s, or leave both out.", depths[most].fields);
}

static bool may_import(const struct px_policy *policy, const char *name)
{
    return policy->use_import_whitelist ? px_strings_has(&policy->allowed_imports, name)
                                        : !px_strings_has(&policy->banned_imports, name);
}

/* Checks that each name of a whitelist can be imported under the ceiling. */
static int judge_allowed(const struct judged *judged)
{
    struct px_strings *names = &judged->policy->allowed_imports;
    bool lowers = may_lower(judged, PX_FIELD_allowed_imports);
    char name[PX_SHOWN_MAX];
    size_t kept = 0;
    for (size_t i = 0; i < names->count; i++) {
        if (may_import(judged->ceiling, names->items[i])) {
            names->items[kept++] = names->items[i];
        } else if (lowers) {
            free(names->items[i]);
        } else {
            px_show(names->items[i], strlen(names->items[i]), name);
            px_error_set(judged->error, PYEXEC_INVALID_POLICY,
                         "allowed_imports: %s is beyond this caller's ceiling, which %s it", name,
                         judged->ceiling->use_import_whitelist ? "does not allow" : "bans");
            if (!judged->ceiling->use_import_whitelist)
                return px_error_hint(judged->error, "Leave %s out.", name);
            px_auto_free char *most = shown(PX_FIELD_allowed_imports, judged->ceiling);
            return px_error_hint(judged->error, "Ask for at most %s.", most ? most : "less");
        }
    }
    names->count = kept;
    return 0;
}

/* Checks that a ban list also contains the ceiling's names. */
static int judge_banned(const struct judged *judged)
{
    const struct px_strings *wanted = &judged->ceiling->banned_imports;
    struct px_strings *names = &judged->policy->banned_imports;
    char name[PX_SHOWN_MAX];
    for (size_t i = 0; i < wanted->count; i++) {
        const char *item = wanted->items[i];
        if (px_strings_has(names, item))
            continue;
        if (!may_lower(judged, PX_FIELD_banned_imports)) {
            px_error_set(judged->error, PYEXEC_INVALID_POLICY,
                         "banned_imports: without %s it is beyond this caller's ceiling, which "
                         "bans it",
                         px_show(item, strlen(item), name));
            return px_error_hint(judged->error, "Add %s, or leave banned_imports out.", name);
        }
        if (px_strings_add(names, item, strlen(item)) < 0)
            return px_error_oom(judged->error);
    }
    return 0;
}

static int judge_imports(const struct judged *judged)
{
    if (judged->ceiling->use_import_whitelist && !judged->policy->use_import_whitelist) {
        if (!may_lower(judged, PX_FIELD_use_import_whitelist))
            return refuse(judged, PX_FIELD_use_import_whitelist);
        judged->policy->use_import_whitelist = true;
        if (may_lower(judged, PX_FIELD_allowed_imports))
            return lower(judged, PX_FIELD_allowed_imports);
    }
    return judged->policy->use_import_whitelist ? judge_allowed(judged) : judge_banned(judged);
}

static struct px_host_entry host_entry(const char *text)
{
    struct px_host_entry entry;
    px_host_entry_parse(text, strlen(text), &entry);
    return entry;
}

static bool may_reach(const struct px_policy *policy, const char *text)
{
    struct px_host_entry wanted = host_entry(text);
    for (size_t i = 0; i < policy->allowed_hosts.count; i++) {
        struct px_host_entry entry = host_entry(policy->allowed_hosts.items[i]);
        if (px_host_entry_covers(&entry, &wanted))
            return true;
    }
    return !policy->disable_networking;
}

/* Checks that the ceiling covers each entry. A ceiling with the whole network covers every name. */
static int judge_hosts(const struct judged *judged)
{
    struct px_strings *hosts = &judged->policy->allowed_hosts;
    bool lowers = may_lower(judged, PX_FIELD_allowed_hosts);
    size_t kept = 0;
    for (size_t i = 0; i < hosts->count; i++) {
        if (may_reach(judged->ceiling, hosts->items[i])) {
            hosts->items[kept++] = hosts->items[i];
        } else if (lowers) {
            free(hosts->items[i]);
        } else {
            px_error_set(judged->error, PYEXEC_INVALID_POLICY,
                         "allowed_hosts: '%.100s' is beyond this caller's ceiling, which does not allow it",
                         hosts->items[i]);
            px_auto_free char *most = shown(PX_FIELD_allowed_hosts, judged->ceiling);
            if (!judged->ceiling->allowed_hosts.count)
                return px_error_hint(judged->error, "Leave allowed_hosts out: this caller's scripts have no network.");
            return px_error_hint(judged->error, "Ask for at most %.500s.", most ? most : "less");
        }
    }
    hosts->count = kept;
    return 0;
}

/* The environments of a ceiling as a sentence: "'data', 'ml'". */
static void add_allowed(struct px_buffer *out, const struct px_policy *ceiling)
{
    if (*ceiling->environment)
        px_buffer_printf(out, "'%s'", ceiling->environment);
    for (size_t i = 0; i < ceiling->allowed_environments.count; i++)
        if (strcmp(ceiling->allowed_environments.items[i], ceiling->environment) != 0)
            px_buffer_printf(out, "%s'%s'", out->length ? ", " : "", ceiling->allowed_environments.items[i]);
}

/* It is stronger than the executor's interpreter, also when a later call of a session checks the session's policy again. */
static int take_ceilings_environment(const struct judged *judged)
{
    struct px_policy *policy = judged->policy;
    if (lower(judged, PX_FIELD_environment) < 0)
        return -1;
    if (!*policy->environment)
        return 0;
    policy->origin[PX_FIELD_python_bin] = PX_ORIGIN_DEFAULT;
    if (policy->origin[PX_FIELD_environment] == PX_ORIGIN_DEFAULT)
        policy->origin[PX_FIELD_environment] = PX_ORIGIN_FILE;
    return 0;
}

int px_policy_limit_environment(struct px_policy *policy, const struct px_policy *ceiling, bool later,
                                pyexec_error *error)
{
    const struct judged judged = {policy, ceiling, later, error};
    /* The call that made the session was allowed to have its packages, and later calls can't name others. */
    if (later && px_environment_name_is_cached(policy->environment))
        return 0;
    /* The environment in the line of a token is for all runs of this caller that name none. */
    bool own = ceiling->origin[PX_FIELD_environment] == PX_ORIGIN_REQUEST;
    bool names = policy->origin[PX_FIELD_environment] == PX_ORIGIN_REQUEST || later || !own;
    if (names && px_policy_allows_environment(ceiling, policy->environment))
        return 0;
    if (may_lower(&judged, PX_FIELD_environment))
        return take_ceilings_environment(&judged);
    px_auto_buffer struct px_buffer allowed = {0};
    add_allowed(&allowed, ceiling);
    px_error_set(error, PYEXEC_INVALID_POLICY, "environment: '%s' is beyond this caller's ceiling, which allows %.300s",
                 policy->environment, px_buffer_length(&allowed) ? px_buffer_shown(&allowed) : "none");
    return px_error_hint(
        error,
        "%s%.300s. The operator can allow others with allowed_environments in the server's policy, or in "
        "the line of the caller's token.",
        px_buffer_length(&allowed) ? "Leave it out, or ask for " : "Leave it out",
        px_buffer_length(&allowed) ? px_buffer_shown(&allowed) : "");
}

/* A ceiling below what the packages of the environment need. The request did not ask for less, so this is said now, and not
 * by a failed import. */
static int refuse_needed(const struct judged *judged, enum px_policy_field field)
{
    const struct px_policy *policy = judged->policy;
    const char *name = row(field)->info.name;
    px_auto_free char *allowed = shown(field, judged->ceiling);
    if (!allowed)
        return px_error_oom(judged->error);
    int64_t need = px_environment_need(policy->env, field);
    px_error_set(judged->error, PYEXEC_INVALID_POLICY,
                 "%s: the environment '%s' needs %" PRId64 ", and this caller's ceiling is %s", name,
                 policy->environment, need, allowed);
    return px_error_hint(judged->error,
                         "The operator can set %s to %" PRId64
                         " in the server's policy, or in the line of the caller's "
                         "token. To try with less, ask for %s %s.",
                         name, need, name, allowed);
}

static bool lacks(const struct judged *judged, enum px_policy_field field, bool beyond)
{
    const struct px_policy *policy = judged->policy;
    int64_t need = px_environment_need(policy->env, field);
    return need && policy->origin[field] != PX_ORIGIN_REQUEST &&
           (beyond || policy->origin[PX_FIELD_environment] == PX_ORIGIN_REQUEST) &&
           height(*(const int64_t *)px_field_of(row(field), judged->ceiling)) < need;
}

int px_policy_limit(struct px_policy *policy, const struct px_policy *ceiling, bool later, pyexec_error *error)
{
    struct judged judged = {policy, ceiling, later, error};
    if (px_policy_limit_environment(policy, ceiling, later, error) < 0)
        return -1;
    for (enum px_policy_field field = 0; field < PX_FIELD_COUNT; field++) {
        bool beyond = is_beyond(&judged, field);
        if (lacks(&judged, field, beyond))
            return refuse_needed(&judged, field);
        if (!beyond)
            continue;
        if (!may_lower(&judged, field))
            return refuse(&judged, field);
        if (lower(&judged, field) < 0)
            return -1;
    }
    return judge_files(&judged) < 0 || judge_hosts(&judged) < 0 ? -1 : judge_imports(&judged);
}
