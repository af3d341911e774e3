/* SPDX-License-Identifier: Apache-2.0 */
#include "base/fork_ids.h"

#include <stdlib.h>
#include <string.h>

#include "base/error.h"

static int refuse(const char *what, pyexec_error *error)
{
    px_error_set(error, PYEXEC_INVALID_REQUEST, "%s", what);
    return px_error_hint(error, "Send \"ids\", a list of new ids, or \"count\", from 1 to %d.", PX_FORK_IDS_MAX);
}

static int read_list(const json_t *list, struct px_fork_ids *ret, pyexec_error *error)
{
    size_t count = json_array_size(list);
    if (!json_is_array(list))
        return refuse("ids: not a list", error);
    if (count < 1 || count > PX_FORK_IDS_MAX)
        return refuse("ids: not a list of 1 to 1000 ids", error);
    ret->ids = calloc(count, sizeof *ret->ids);
    if (!ret->ids)
        return px_error_oom(error);
    ret->count = count;
    for (size_t i = 0; i < count; i++) {
        const json_t *id = json_array_get(list, i);
        ret->ids[i] = json_string_value(id);
        if (!ret->ids[i] || strlen(ret->ids[i]) != json_string_length(id))
            return refuse("ids: each must be a string without NUL characters", error);
    }
    return 0;
}

int px_fork_ids_read(const json_t *object, struct px_fork_ids *ret, pyexec_error *error)
{
    const json_t *list = json_object_get(object, "ids"), *count = json_object_get(object, "count");
    json_int_t number = count ? json_integer_value(count) : 1;
    *ret = (struct px_fork_ids){0};
    if (list && count)
        return refuse("ids and count: only one of them can be given", error);
    if (list)
        return read_list(list, ret, error);
    if (number < 1 || number > PX_FORK_IDS_MAX)
        return refuse("count: not a number from 1 to 1000", error);
    ret->count = (size_t)number;
    return 0;
}

void px_fork_ids_done(struct px_fork_ids *ids)
{
    free(ids->ids);
    *ids = (struct px_fork_ids){0};
}
