/* SPDX-License-Identifier: Apache-2.0 */
/* Checks all values together: contradictions between fields, and the ranges again, because a struct may have been
 * filled without a parser. A limit that has no effect beside another (a ban list under a whitelist) is not a
 * contradiction. */
#include <string.h>

#include "base/spelling.h"
#include "policy/fields.h"

static int check_strings(const struct px_table *table, const struct px_field *field, const struct px_strings *list,
                         pyexec_error *error)
{
    char shown[PX_SHOWN_MAX];
    for (size_t i = 0; i < list->count; i++)
        if (!field->kind->valid(list->items[i], strlen(list->items[i])))
            return px_field_refuse(table, field, px_show(list->items[i], strlen(list->items[i]), shown), error);
    return 0;
}

static int check_member(const struct px_table *table, const struct px_field *field, const void *member,
                        pyexec_error *error)
{
    char shown[PX_SHOWN_MAX];
    switch (field->kind->shape) {
    case PX_SHAPE_NUMBER: {
        int64_t value = *(const int64_t *)member;
        if (px_field_in_range(field, value))
            return 0;
        snprintf(shown, sizeof shown, "%lld", (long long)value);
        return px_field_refuse(table, field, value == PX_NONE ? "null" : shown, error);
    }
    case PX_SHAPE_STRING: {
        const char *text = *(char *const *)member;
        if (text ? field->kind->valid(text, strlen(text)) : field->info.nullable)
            return 0;
        return px_field_refuse(table, field, text ? px_show(text, strlen(text), shown) : "null", error);
    }
    case PX_SHAPE_STRINGS:
        return check_strings(table, field, member, error);
    case PX_SHAPE_BOOLEAN:
        break;
    }
    return 0;
}

int px_table_check(const struct px_table *table, const void *base, pyexec_error *error)
{
    for (size_t i = 0; i < table->count; i++)
        if (check_member(table, &table->fields[i], px_field_of(&table->fields[i], base), error) < 0)
            return -1;
    return 0;
}

/* The caller asked for read access, which is not the default, and also for no access. */
static int check_files(const struct px_policy *policy, pyexec_error *error)
{
    if (!policy->disable_open || !policy->allow_readonly_open)
        return 0;
    px_error_set(error, PYEXEC_INVALID_POLICY,
                 "allow_readonly_open can't be true (from: %s) while disable_open is true "
                 "(from: %s); accepted is false, or true with disable_open false",
                 px_origin_name(policy->origin[PX_FIELD_allow_readonly_open]),
                 px_origin_name(policy->origin[PX_FIELD_disable_open]));
    return px_error_hint(error, "To read files of the working directory set disable_open to "
                                "false too (--files read).");
}

/* One key would allow such a name, and the other would refuse it. */
static int check_dunders(const struct px_policy *policy, pyexec_error *error)
{
    char shown[PX_SHOWN_MAX];
    if (!policy->use_import_whitelist || !policy->block_dunder_imports)
        return 0;
    for (size_t i = 0; i < policy->allowed_imports.count; i++) {
        const char *name = policy->allowed_imports.items[i];
        if (!px_name_is_dunder(name))
            continue;
        px_error_set(error, PYEXEC_INVALID_POLICY,
                     "allowed_imports can't have %s while block_dunder_imports is true; accepted "
                     "are names that neither begin nor end with two underscores",
                     px_show(name, strlen(name), shown));
        return px_error_hint(error, "Remove it, or set block_dunder_imports to false.");
    }
    return 0;
}

/* With the whole network a list of names would mean nothing. */
static int check_hosts(const struct px_policy *policy, pyexec_error *error)
{
    if (!policy->allowed_hosts.count)
        return 0;
    if (!policy->disable_networking) {
        px_error_set(error, PYEXEC_INVALID_POLICY,
                     "allowed_hosts can't have names (from: %s) while disable_networking is false (from: %s), which "
                     "gives the script the whole network; accepted is an empty list",
                     px_origin_name(policy->origin[PX_FIELD_allowed_hosts]),
                     px_origin_name(policy->origin[PX_FIELD_disable_networking]));
        return px_error_hint(error, "For these hosts alone set disable_networking to true, or leave it out.");
    }
    if (!policy->forkable && !policy->auto_checkpoint)
        return 0;
    px_error_set(
        error, PYEXEC_INVALID_POLICY,
        "%s can't be true while allowed_hosts has names: a session and its branches or checkpoints would share "
        "one network and its open connections",
        policy->forkable ? "forkable" : "auto_checkpoint");
    return px_error_hint(error, "Leave one of the two out.");
}

/* An environment has its own interpreter. It may replace the interpreter of a weaker origin, as a flag replaces a line of the
 * file. The default interpreter is what remains when nobody gave one, also when a client sends all values. */
static int check_python(const struct px_policy *policy, pyexec_error *error)
{
    char shown[PX_SHOWN_MAX];
    const char *python = policy->python_bin;
    if (!*policy->environment || strcmp(python, px_policy_field_info(PX_FIELD_python_bin)->default_text) == 0 ||
        policy->origin[PX_FIELD_environment] > policy->origin[PX_FIELD_python_bin])
        return 0;
    px_error_set(
        error, PYEXEC_INVALID_POLICY,
        "python_bin (%s) and environment ('%s') are both given, and each chooses an interpreter; accepted is one "
        "of them",
        px_show(python, strlen(python), shown), policy->environment);
    return px_error_hint(error,
                         "Leave python_bin out to use the environment, or set environment to \"\" to use python_bin.");
}

int px_policy_check(const struct px_policy *policy, pyexec_error *error)
{
    if (px_table_check(&px_policy_table, policy, error) < 0 || check_files(policy, error) < 0 ||
        check_hosts(policy, error) < 0 || check_python(policy, error) < 0)
        return -1;
    return check_dunders(policy, error);
}

int px_session_config_check(const struct px_session_config *session, pyexec_error *error)
{
    if (px_table_check(&px_session_config_table, session, error) < 0)
        return -1;
    if (!session->adopt_workspace || session->workspace_root)
        return 0;
    px_error_set(error, PYEXEC_INVALID_POLICY,
                 "adopt_workspace can't be true without a workspace_root; accepted is false");
    return px_error_hint(error, "Set workspace_root to the folder that has the workspaces.");
}
