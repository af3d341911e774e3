/* SPDX-License-Identifier: Apache-2.0 */
/* The environment that a policy names: it brings an interpreter, modules, and limits with which its packages work. */
#include <stdlib.h>
#include <string.h>

#include "policy/policy.h"

/* The limits that an environment may need. */
static const struct {
    enum px_policy_field field;
    size_t need, value; /* members of struct px_environment and of struct px_policy */
} limits[] = {
#define LIMIT(name) \
    { \
        PX_FIELD_##name, offsetof(struct px_environment, name), offsetof(struct px_policy, name) \
    }
    LIMIT(address_space_bytes),
    LIMIT(max_threads),
    LIMIT(cpu_time_seconds),
    LIMIT(timeout_ms),
#undef LIMIT
};

#define LIMIT_COUNT (sizeof limits / sizeof *limits)

int64_t px_environment_need(const struct px_environment *environment, enum px_policy_field field)
{
    for (size_t i = 0; environment && i < LIMIT_COUNT; i++) {
        int64_t need = *(const int64_t *)((const char *)environment + limits[i].need);
        if (limits[i].field == field)
            return need == PX_ENVIRONMENT_ABSENT ? 0 : need;
    }
    return 0;
}

static int64_t *value_of(struct px_policy *policy, size_t limit)
{
    return (int64_t *)((char *)policy + limits[limit].value);
}

void px_policy_raise(struct px_policy *policy, const struct px_environment *environment)
{
    for (size_t i = 0; environment && i < LIMIT_COUNT; i++) {
        int64_t need = px_environment_need(environment, limits[i].field), *value = value_of(policy, i);
        if (policy->origin[limits[i].field] == PX_ORIGIN_DEFAULT && *value != PX_NONE && *value < need)
            *value = need;
    }
}

/* Another environment may have raised them. */
static int lower_to_defaults(struct px_policy *policy, pyexec_error *error)
{
    for (size_t i = 0; policy->env && i < LIMIT_COUNT; i++) {
        const struct px_field_info *info = px_policy_field_info(limits[i].field);
        if (policy->origin[limits[i].field] == PX_ORIGIN_DEFAULT &&
            px_policy_set_text(policy, info->name, info->default_text, PX_ORIGIN_DEFAULT, error) < 0)
            return -1;
    }
    return 0;
}

int px_policy_find_environment(struct px_policy *policy, struct px_environments *store, pyexec_error *error)
{
    const struct px_environment *found = NULL;
    if (*policy->environment && !store) {
        px_error_set(error, PYEXEC_INVALID_POLICY, "environment: there is no folder for the environments of this user");
        return px_error_hint(error, "Set [env] root, or the variable HOME, and start pyexec again.");
    }
    if (*policy->environment && px_environments_get(store, policy->environment, &found, error) < 0)
        return -1;
    if (found != policy->env && lower_to_defaults(policy, error) < 0) {
        px_environment_unref(found);
        return -1;
    }
    px_environment_unref(policy->env);
    policy->env = found;
    px_policy_raise(policy, found);
    return 0;
}

bool px_policy_allows_environment(const struct px_policy *ceiling, const char *name)
{
    return !*name || strcmp(ceiling->environment, name) == 0 || px_strings_has(&ceiling->allowed_environments, name) ||
           px_strings_has(&ceiling->allowed_environments, PX_ANY_ENVIRONMENT);
}

const char *px_policy_python(const struct px_policy *policy)
{
    return policy->env ? policy->env->python : policy->python_bin;
}

bool px_policy_isolates(const struct px_policy *policy)
{
    return !policy->env && policy->isolate_site;
}
