/* SPDX-License-Identifier: Apache-2.0 */
#include "result/result_rows.h"

#include <string.h>

#include "base/cleanup.h"
#include "pyexec.h"

const struct px_result_row px_result_rows[] = {
#define PX_RESULT(owner, type, key, says, value, meaning) \
    {PX_OWNER_##owner, PX_TYPE_##type, PX_OWNER_COUNT, false, #key, #says, meaning},
#define PX_RESULT_OBJECT(owner, of, key, says, present, value, meaning) \
    {PX_OWNER_##owner, PX_TYPE_OBJECT, PX_OWNER_##of, #present[0] != 't', #key, #says, meaning},
#define PX_RESULT_LIST(owner, of, key, says, count, value, meaning) \
    {PX_OWNER_##owner, PX_TYPE_LIST, PX_OWNER_##of, false, #key, #says, meaning},
#include "result/result.def"
#undef PX_RESULT
#undef PX_RESULT_OBJECT
#undef PX_RESULT_LIST
};
const size_t px_result_row_count = PX_COUNT(px_result_rows);

static const struct {
    const char *schema;
    bool null;
} types[PX_TYPE_COUNT] = {
#define PX_TYPE(name, schema, null) [PX_TYPE_##name] = {schema, null},
    PX_RESULT_TYPES(PX_TYPE)
#undef PX_TYPE
};

static const char *const owners[] = {
#define PX_OWNER(name) #name,
    PX_RESULT_OWNERS(PX_OWNER)
#undef PX_OWNER
};

/* ---- Schemas ---- */

static json_t *statuses(void)
{
    json_t *names = json_array();
    for (int status = PYEXEC_STATUS_OK; status <= PYEXEC_STATUS_CANCELLED; status++)
        px_json_append(names, json_string(pyexec_status_name((pyexec_status)status)));
    return names;
}

static json_t *nested(enum px_result_owner of, const char *prefix)
{
    return prefix ? json_pack("{s:o}", "$ref", json_sprintf("%s%s", prefix, owners[of])) : px_result_schema(of, NULL);
}

static json_t *member_schema(const struct px_result_row *row, const char *prefix)
{
    const char *type = types[row->type].schema;
    if (row->type == PX_TYPE_LIST)
        return json_pack("{s:s, s:o}", "type", "array", "items", nested(row->of, prefix));
    if (row->type == PX_TYPE_OBJECT && !row->null)
        return nested(row->of, prefix);
    if (row->type == PX_TYPE_OBJECT)
        return json_pack("{s:[o, {s:s}]}", "anyOf", nested(row->of, prefix), "type", "null");
    if (row->type == PX_TYPE_Policy && prefix)
        return json_pack("{s:o}", "$ref", json_sprintf("%sPolicy", prefix));
    if (!*type)
        return json_object();
    json_t *schema =
        types[row->type].null ? json_pack("{s:[s, s]}", "type", type, "null") : json_pack("{s:s}", "type", type);
    if (row->type == PX_TYPE_status)
        px_json_set(schema, "enum", statuses());
    if (row->type == PX_TYPE_count)
        px_json_set(schema, "minimum", json_integer(0));
    if (row->type == PX_TYPE_Tools && prefix)
        px_json_set(schema, "items", json_pack("{s:o}", "$ref", json_sprintf("%sTool", prefix)));
    if (row->type == PX_TYPE_layers)
        px_json_set(schema, "items", json_pack("{s:s}", "type", "string"));
    return schema;
}

json_t *px_result_schema(enum px_result_owner owner, const char *prefix)
{
    json_t *properties = json_object();
    for (size_t i = 0; i < px_result_row_count; i++) {
        const struct px_result_row *row = &px_result_rows[i];
        if (row->owner != owner)
            continue;
        json_t *schema = member_schema(row, prefix);
        px_json_set(schema, "description", json_string(row->meaning));
        px_json_set(properties, row->key, schema);
    }
    return json_pack("{s:s, s:o}", "type", "object", "properties", properties);
}

/* ---- Documentation ---- */

static void describe(struct px_buffer *out, enum px_result_owner owner, const char *above)
{
    static const char *const words[][2] = {{"FACT", "fact"}, {"CLAIM", "claim"}, {"EITHER", "either"}};
    for (size_t i = 0; i < px_result_row_count; i++) {
        const struct px_result_row *row = &px_result_rows[i];
        bool list = row->type == PX_TYPE_LIST, layers = row->type == PX_TYPE_layers;
        const char *says = "", *type = types[row->type].schema;
        if (row->owner != owner)
            continue;
        type = type ? type : "";
        for (size_t w = 0; w < PX_COUNT(words); w++)
            if (strcmp(words[w][0], row->says) == 0)
                says = words[w][1];
        px_buffer_printf(out, "| `%s%s` | %s%s | %s | %s |\n", above, row->key,
                         list                          ? "list of objects"
                         : layers                      ? "list of strings"
                         : row->type == PX_TYPE_OBJECT ? "object"
                         : *type                       ? type
                                                       : "any",
                         (types[row->type].null && *type) || row->null ? " or null" : "", says, row->meaning);
        px_auto_buffer struct px_buffer below = {0};
        px_buffer_printf(&below, "%s%s%s.", above, row->key, list ? "[]" : "");
        if (list || row->type == PX_TYPE_OBJECT)
            describe(out, row->of, px_buffer_shown(&below));
    }
}

void px_result_describe(struct px_buffer *out)
{
    px_buffer_add_string(out, "| key | type | says | meaning |\n|---|---|---|---|\n");
    describe(out, PX_OWNER_Result, "");
}

json_t *px_result_table(void)
{
    json_t *rows = json_array();
    for (size_t i = 0; i < px_result_row_count; i++) {
        const struct px_result_row *row = &px_result_rows[i];
        const char *type = row->type == PX_TYPE_OBJECT ? "object"
                           : row->type == PX_TYPE_LIST ? "array"
                                                       : types[row->type].schema;
        if (row->owner == PX_OWNER_Result)
            px_json_append(rows, json_pack("{s:s, s:s, s:b, s:s}", "key", row->key, "type", type, "null",
                                           row->null || types[row->type].null, "meaning", row->meaning));
    }
    return rows;
}
