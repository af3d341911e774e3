/* SPDX-License-Identifier: Apache-2.0 */
/* A whole policy: made, copied, merged and freed by its table. */
#include "policy/policy.h"

#include <stdlib.h>
#include <string.h>

#include "base/cleanup.h"
#include "policy/fields.h"

static const struct px_field fields[PX_FIELD_COUNT] = {
#define PX_FIELD(kind, name, ceiling, session, ...) \
    [PX_FIELD_##name] = PX_ROW(struct px_policy, kind, name, #name, __VA_ARGS__),
#include "policy/policy.def"
#undef PX_FIELD
};

const struct px_table px_policy_table = {
    .name = "policy",
    .about = "What a script may do.",
    .hint = "See `pyexec policy --help` for the keys and their ranges.",
    .fields = fields,
    .count = PX_FIELD_COUNT,
    .size = sizeof(struct px_policy),
};

const char *px_origin_name(enum px_origin origin)
{
    static const char *const names[] = {
        [PX_ORIGIN_DEFAULT] = "default", [PX_ORIGIN_FILE] = "file",       [PX_ORIGIN_ENVIRONMENT] = "environment",
        [PX_ORIGIN_FLAG] = "flag",       [PX_ORIGIN_REQUEST] = "request",
    };
    return (size_t)origin < PX_COUNT(names) ? names[origin] : "unknown";
}

enum px_files px_policy_files(const struct px_policy *policy)
{
    if (policy->disable_open)
        return PX_FILES_NONE;
    return policy->allow_readonly_open ? PX_FILES_READ : PX_FILES_FULL;
}

int px_policy_init(struct px_policy *policy, pyexec_error *error)
{
    /* An origin of zero is PX_ORIGIN_DEFAULT. */
    return px_table_init(&px_policy_table, policy, error);
}

int px_policy_copy(struct px_policy *ret, const struct px_policy *from, pyexec_error *error)
{
    if (px_table_copy(&px_policy_table, ret, from, error) < 0)
        return -1;
    memcpy(ret->origin, from->origin, sizeof ret->origin);
    ret->env = px_environment_ref(from->env);
    return 0;
}

bool px_policy_equal(const struct px_policy *one, const struct px_policy *other)
{
    return one->env == other->env && px_table_equal(&px_policy_table, one, other);
}

void px_policy_done(struct px_policy *policy)
{
    px_environment_unref(policy->env);
    px_table_done(&px_policy_table, policy);
}

/* A request for no files is meant to replace the read-only access of an outer setting, so this is not a
 * contradiction. */
static void take_back_readonly(struct px_policy *policy, enum px_origin origin)
{
    policy->allow_readonly_open = false;
    policy->origin[PX_FIELD_allow_readonly_open] = (uint8_t)origin;
}

/* Names are less than the whole network, so who asks for names does not want the network of an outer setting, and who asks for the
 * whole network does not want its names. */
static void keep_by_name(struct px_policy *policy, enum px_origin origin)
{
    if (policy->disable_networking)
        return;
    policy->disable_networking = true;
    policy->origin[PX_FIELD_disable_networking] = (uint8_t)origin;
}

static void take_back_hosts(struct px_policy *policy, enum px_origin origin)
{
    px_strings_done(&policy->allowed_hosts);
    policy->origin[PX_FIELD_allowed_hosts] = (uint8_t)origin;
}

int px_policy_merge_json(struct px_policy *policy, const json_t *object, enum px_origin origin, pyexec_error *error)
{
    if (px_table_merge_json(&px_policy_table, policy, object, error) < 0)
        return -1;
    for (size_t i = 0; i < PX_FIELD_COUNT; i++)
        if (json_object_get(object, fields[i].info.name))
            policy->origin[i] = (uint8_t)origin;
    if (json_is_true(json_object_get(object, fields[PX_FIELD_disable_open].info.name)) &&
        !json_object_get(object, fields[PX_FIELD_allow_readonly_open].info.name))
        take_back_readonly(policy, origin);
    const json_t *hosts = json_object_get(object, fields[PX_FIELD_allowed_hosts].info.name);
    const json_t *networking = json_object_get(object, fields[PX_FIELD_disable_networking].info.name);
    if (json_array_size(hosts) && !networking)
        keep_by_name(policy, origin);
    if (json_is_false(networking) && !hosts && policy->allowed_hosts.count)
        take_back_hosts(policy, origin);
    return 0;
}

int px_policy_set_text(struct px_policy *policy, const char *name, const char *text, enum px_origin origin,
                       pyexec_error *error)
{
    if (px_table_set_text(&px_policy_table, policy, name, text, error) < 0)
        return -1;
    enum px_policy_field field = px_policy_find(name);
    policy->origin[field] = (uint8_t)origin;
    if (field == PX_FIELD_disable_open && policy->disable_open && policy->origin[PX_FIELD_allow_readonly_open] < origin)
        take_back_readonly(policy, origin);
    if (field == PX_FIELD_allowed_hosts && policy->allowed_hosts.count &&
        policy->origin[PX_FIELD_disable_networking] < origin)
        keep_by_name(policy, origin);
    if (field == PX_FIELD_disable_networking && !policy->disable_networking && policy->allowed_hosts.count &&
        policy->origin[PX_FIELD_allowed_hosts] < origin)
        take_back_hosts(policy, origin);
    return 0;
}

int px_policy_add_names(struct px_policy *policy, enum px_policy_field field, const char *comma_list,
                        enum px_origin origin, pyexec_error *error)
{
    if (fields[field].kind->shape != PX_SHAPE_STRINGS)
        return px_error_set(error, PYEXEC_INTERNAL, "%s is not a set", fields[field].info.name);
    struct px_strings *list = px_field_in(&fields[field], policy);
    if (px_field_add_items(&px_policy_table, &fields[field], list, comma_list, error) < 0)
        return -1;
    policy->origin[field] = (uint8_t)origin;
    if (field == PX_FIELD_allowed_hosts && policy->allowed_hosts.count &&
        policy->origin[PX_FIELD_disable_networking] < origin)
        keep_by_name(policy, origin);
    return 0;
}

json_t *px_policy_to_json(const struct px_policy *policy)
{
    return px_table_to_json(&px_policy_table, policy);
}

json_t *px_policy_given_to_json(const struct px_policy *policy)
{
    json_t *json = px_policy_to_json(policy);
    /* An environment is stronger than the interpreter of a weaker origin. Without origins, the two would contradict. */
    bool hides = *policy->environment && policy->origin[PX_FIELD_environment] > policy->origin[PX_FIELD_python_bin];
    for (size_t i = 0; json && i < PX_FIELD_COUNT; i++)
        if (policy->origin[i] == PX_ORIGIN_DEFAULT || (hides && i == PX_FIELD_python_bin))
            json_object_del(json, fields[i].info.name);
    return json;
}

const struct px_field_info *px_policy_field_info(enum px_policy_field field)
{
    return &fields[field].info;
}

enum px_policy_field px_policy_find(const char *name)
{
    return (enum px_policy_field)px_table_find(&px_policy_table, name);
}
