/* SPDX-License-Identifier: Apache-2.0 */
/* Short flags: one flag that sets several fields. */
#include <string.h>

#include "base/cleanup.h"
#include "policy/fields.h"

enum {
    FLAG_FILES,
    FLAG_NETWORK,
    FLAG_ANY_IMPORT,
    FLAG_IMPORTS,
    FLAG_ALLOW_IMPORT,
    FLAG_ALLOW_HOST,
    FLAG_VENV,
    FLAG_COUNT
};

static const struct px_flag_alias flags[FLAG_COUNT] = {
    [FLAG_FILES] = {"files", "none|read|full",
                    "Files of the working directory: none (disable_open), read "
                    "(allow_readonly_open) or full."},
    [FLAG_NETWORK] = {"network", NULL, "The host's network (disable_networking false)."},
    [FLAG_ANY_IMPORT] = {"any-import", NULL, "Any import (use_import_whitelist false, banned_imports empty)."},
    [FLAG_IMPORTS] = {"imports", "default|safe-stdlib",
                      "A set of allowed_imports: default, or all modules of the standard library that only "
                      "compute, such as typing, copy, dataclasses, enum, csv and io."},
    [FLAG_ALLOW_IMPORT] = {"allow-import", "NAMES", "Adds to allowed_imports."},
    [FLAG_VENV] = {"venv", "NAME", "Packages of an environment (environment)."},
    [FLAG_ALLOW_HOST] = {"allow-host", "NAME[:PORT]", "Adds to allowed_hosts."},
};

/* Modules of the standard library that are not for files, processes, the network or the interpreter itself. They
 * contain the default set. */
#define SAFE_STDLIB \
    "abc,array,ast,base64,binascii,bisect,calendar,cmath,codecs,collections,colorsys,contextlib,contextvars," \
    "copy,csv,dataclasses,datetime,decimal,difflib,enum,fnmatch,fractions,functools,graphlib,hashlib,heapq," \
    "hmac,html,io,ipaddress,itertools,json,keyword,math,numbers,operator,pprint,queue,random,re,reprlib," \
    "secrets,socket,statistics,string,struct,textwrap,time,timeit,tomllib,traceback,types,typing," \
    "unicodedata,uuid,warnings,weakref,zlib,zoneinfo"

/* The values of the fields as text. NULL is the default of the field. */
struct setting {
    enum px_policy_field field;
    const char *text;
};

static const struct meaning {
    int flag;
    const char *value;
    struct setting settings[2];
    size_t count;
} meanings[] = {
    {FLAG_FILES, "none", {{PX_FIELD_disable_open, "true"}, {PX_FIELD_allow_readonly_open, "false"}}, 2},
    {FLAG_FILES, "read", {{PX_FIELD_disable_open, "false"}, {PX_FIELD_allow_readonly_open, "true"}}, 2},
    {FLAG_FILES, "full", {{PX_FIELD_disable_open, "false"}, {PX_FIELD_allow_readonly_open, "false"}}, 2},
    {FLAG_NETWORK, "true", {{PX_FIELD_disable_networking, "false"}}, 1},
    {FLAG_NETWORK, "false", {{PX_FIELD_disable_networking, "true"}}, 1},
    {FLAG_ANY_IMPORT, "true", {{PX_FIELD_use_import_whitelist, "false"}, {PX_FIELD_banned_imports, ""}}, 2},
    {FLAG_ANY_IMPORT, "false", {{PX_FIELD_use_import_whitelist, "true"}, {PX_FIELD_banned_imports, NULL}}, 2},
    {FLAG_IMPORTS, "default", {{PX_FIELD_use_import_whitelist, "true"}, {PX_FIELD_allowed_imports, NULL}}, 2},
    {FLAG_IMPORTS,
     "safe-stdlib",
     {{PX_FIELD_use_import_whitelist, "true"}, {PX_FIELD_allowed_imports, SAFE_STDLIB}},
     2},
};

const struct px_flag_alias *px_policy_flag_aliases(size_t *count)
{
    *count = FLAG_COUNT;
    return flags;
}

static int find_flag(const char *name)
{
    for (int i = 0; i < FLAG_COUNT; i++)
        if (strcmp(flags[i].name, name) == 0)
            return i;
    return FLAG_COUNT;
}

static int apply(struct px_policy *policy, const struct meaning *meaning, enum px_origin origin, pyexec_error *error)
{
    for (size_t i = 0; i < meaning->count; i++) {
        const struct setting *setting = &meaning->settings[i];
        const struct px_field_info *info = px_policy_field_info(setting->field);
        const char *text = setting->text ? setting->text : info->default_text;
        if (px_policy_set_text(policy, info->name, text, origin, error) < 0)
            return -1;
    }
    return 0;
}

int px_policy_set_short(struct px_policy *policy, const char *flag, const char *value, enum px_origin origin,
                        pyexec_error *error)
{
    char shown[PX_SHOWN_MAX];
    int found = find_flag(flag);
    if (found == FLAG_COUNT)
        return px_error_set(error, PYEXEC_INVALID_POLICY, "there is no policy flag %s",
                            px_show(flag, strlen(flag), shown));
    if (!value)
        value = flags[found].argument ? "" : "true";
    if (found == FLAG_VENV)
        return px_policy_set_text(policy, "environment", value, origin, error);
    if (found == FLAG_ALLOW_IMPORT)
        return px_policy_add_names(policy, PX_FIELD_allowed_imports, value, origin, error);
    if (found == FLAG_ALLOW_HOST)
        return px_policy_add_names(policy, PX_FIELD_allowed_hosts, value, origin, error);
    px_auto_buffer struct px_buffer accepted = {0};
    for (size_t i = 0; i < PX_COUNT(meanings); i++) {
        if (meanings[i].flag != found)
            continue;
        if (strcmp(meanings[i].value, value) == 0)
            return apply(policy, &meanings[i], origin, error);
        px_buffer_printf(&accepted, "%s%s", accepted.length ? ", " : "", meanings[i].value);
    }
    return px_error_set(error, PYEXEC_INVALID_POLICY, "%s can't be %s; accepted is one of %s", flag,
                        px_show(value, strlen(value), shown), px_buffer_shown(&accepted));
}
