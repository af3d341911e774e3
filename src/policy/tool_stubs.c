/* SPDX-License-Identifier: Apache-2.0 */
/* The functions that a script may call, as text for a model: the functions of src/guest/tools/tools.py, with the
 * same parameters, defaults and docstrings. The text is valid Python, whatever a definition contains. */
#include <stdlib.h>
#include <string.h>

#include "base/cleanup.h"
#include "base/error.h"
#include "base/json.h"
#include "base/utf8.h"
#include "policy/inputs.h"
#include "policy/tool_types.h"
#include "policy/tools.h"

#define SHORTEST 1000u       /* the smallest size that a caller may ask for */
#define DEFAULT_BYTES 200u   /* a longer default is shown as `...` */
#define BRIEF_BYTES 160u     /* length of a description when there is no room for all of it */
#define NOTE_BYTES 300u      /* reserved for the note about what was left out */
#define LIST_MAX (16u << 20) /* the most bytes of all definitions */

enum detail { WHOLE, BRIEF, NONE, DETAILS };

/* One function: its text at each level of detail. */
struct stub {
    const char *name, *module; /* NULL: a global function */
    struct px_buffer text[DETAILS];
};

struct stubs {
    json_t *list;
    struct stub *items;
    size_t count;
    unsigned uses; /* PX_TYPING_… */
};

static void stubs_done(struct stubs *stubs)
{
    for (size_t i = 0; i < stubs->count; i++)
        for (size_t level = 0; level < DETAILS; level++)
            px_buffer_done(&stubs->items[i].text[level]);
    free(stubs->items);
    json_decref(stubs->list);
}

/* ---- The parameters of a function ---- */

struct shape {
    const json_t *root;
    json_t *members;  /* every argument: its name and its schema */
    json_t *required; /* the required ones, as an object */
    bool more;        /* the function takes arguments that the schema does not name */
    bool others;      /* it has arguments whose names can't be parameters */
};

static void shape_done(struct shape *shape)
{
    json_decref(shape->members);
    json_decref(shape->required);
}

static bool is_parameter(const char *name)
{
    return px_tool_type_is_parameter(name, strlen(name));
}

static int shape_init(struct shape *shape, const json_t *definition)
{
    const json_t *schema = json_object_get(definition, "parameters");
    const json_t *more = json_object_get(schema, "additionalProperties");
    const char *key;
    json_t *value;
    size_t i;
    shape->root = schema;
    shape->members = json_object();
    shape->required = json_object();
    shape->more = json_is_true(more) || json_is_object(more);
    json_object_foreach(json_object_get(schema, "properties"), key, value)
        if (json_object_set_new(shape->members, key, json_incref(value)) < 0)
            return -1;
    json_array_foreach(json_object_get(schema, "required"), i, value) {
        key = json_string_value(value);
        /* A key with a NUL can't be one of the properties. */
        if (strlen(key) != json_string_length(value))
            continue;
        if (json_object_set_new(shape->required, key, json_true()) < 0 ||
            (!json_object_get(shape->members, key) && json_object_set_new(shape->members, key, json_true()) < 0))
            return -1;
    }
    json_object_foreach(shape->members, key, value)
        shape->others |= !is_parameter(key);
    return shape->members && shape->required ? 0 : -1;
}

static void write_default(const json_t *schema, struct px_buffer *out)
{
    px_auto_buffer struct px_buffer text = {0};
    const json_t *value = json_object_get(schema, "default");
    if (value)
        px_tool_type_value(&text, value);
    px_buffer_add_string(out, " = ");
    px_buffer_add_string(out, text.length && text.length <= DEFAULT_BYTES ? px_buffer_string(&text) : "...");
    out->failed |= text.failed;
}

/* Required parameters come first, because in Python a parameter without a default can't follow one with a default. */
static void write_signature(const char *name, const struct shape *shape, const json_t *returns, unsigned *uses,
                            struct px_buffer *out)
{
    const char *key;
    json_t *schema;
    size_t count = 0;
    px_buffer_printf(out, "def %s(", name);
    for (int optional = 0; optional < 2; optional++)
        json_object_foreach(shape->members, key, schema) {
            bool must = json_object_get(shape->required, key) != NULL;
            if (!is_parameter(key) || must != (optional == 0))
                continue;
            px_buffer_printf(out, "%s%s: ", count++ ? ", " : "", key);
            px_tool_type_write(out, schema, shape->root, uses);
            if (optional)
                write_default(schema, out);
        }
    if (shape->more || shape->others) {
        *uses |= PX_TYPING_ANY;
        px_buffer_printf(out, "%s**_pyexec_more: Any", count ? ", " : "");
    }
    px_buffer_add_string(out, ") -> ");
    px_tool_type_write(out, returns, returns, uses);
    px_buffer_add_byte(out, ':');
}

/* ---- Docstrings ---- */

static void begin_block(struct px_buffer *out)
{
    if (out->length)
        px_buffer_add_string(out, "\n\n");
}

static const char *description_of(const json_t *schema, size_t *ret_length)
{
    const json_t *text = json_object_get(schema, "description");
    *ret_length = json_is_string(text) ? json_string_length(text) : 0;
    return json_string_value(text);
}

static void describe_arguments(const struct shape *shape, struct px_buffer *out)
{
    const char *key;
    json_t *schema;
    size_t length, count = 0;
    json_object_foreach(shape->members, key, schema) {
        const char *text = description_of(schema, &length);
        if (!text)
            continue;
        if (!count++) {
            begin_block(out);
            px_buffer_add_string(out, "Args:");
        }
        px_buffer_printf(out, "\n    %s: ", key);
        px_buffer_add(out, text, length);
    }
}

static void describe_others(const struct shape *shape, struct px_buffer *out)
{
    const char *key;
    json_t *schema;
    size_t count = 0;
    if (!shape->others)
        return;
    begin_block(out);
    px_buffer_add_string(out, "Arguments whose names are not identifiers. Pass them as **{name: value}: ");
    json_object_foreach(shape->members, key, schema)
        if (!is_parameter(key)) {
            px_buffer_add_string(out, count++ ? ", " : "");
            px_tool_type_string(out, key, strlen(key));
        }
}

/* Makes the same text as docstring() in tools.py. */
static void write_description(const json_t *definition, const struct shape *shape, struct px_buffer *out)
{
    size_t length;
    const char *text = description_of(definition, &length);
    px_buffer_add(out, text, length);
    describe_arguments(shape, out);
    describe_others(shape, out);
    text = description_of(json_object_get(definition, "returns"), &length);
    if (!text)
        return;
    begin_block(out);
    px_buffer_add_string(out, "Returns:\n    ");
    px_buffer_add(out, text, length);
}

/* The first line of the description, cut when it is long. */
static void write_brief(const json_t *definition, const struct shape *shape, struct px_buffer *out)
{
    size_t length;
    const char *text = description_of(definition, &length);
    size_t line = 0, shown;
    while (length && strchr(" \t\r\n", *text) && *text) {
        text++;
        length--;
    }
    while (line < length && text[line] != '\n' && text[line] != '\r')
        line++;
    shown = px_utf8_truncate(text, line, BRIEF_BYTES);
    px_buffer_add(out, text, shown);
    if (shown < length)
        px_buffer_add_string(out, "...");
    describe_others(shape, out);
}

static void add_literal(struct px_buffer *out, const char *indent, const struct px_buffer *text)
{
    const unsigned char *bytes = (const unsigned char *)px_buffer_shown(text);
    px_buffer_printf(out, "%s\"\"\"", indent);
    bool lines = false;
    for (size_t i = 0, n; i < text->length; i += n) {
        n = px_utf8_sequence(bytes + i, text->length - i);
        n = n ? n : 1;
        if (bytes[i] == '\n') {
            lines = true;
            px_buffer_add_byte(out, '\n');
            if (i + 1 < text->length && bytes[i + 1] != '\n')
                px_buffer_add_string(out, indent);
        } else if (bytes[i] == '"' && (i + 1 == text->length || bytes[i + 1] == '"')) {
            px_buffer_add_string(out, "\\\"");
        } else {
            px_tool_type_character(out, (const char *)bytes + i, n);
        }
    }
    if (lines)
        px_buffer_printf(out, "\n%s", indent);
    px_buffer_add_string(out, "\"\"\"\n");
}

static void add_function(struct px_buffer *out, bool in_module, const struct px_buffer *signature,
                         const struct px_buffer *text)
{
    px_buffer_add_string(out, in_module ? "    " : "");
    px_buffer_add(out, signature->data, signature->length);
    px_buffer_add_string(out, text->length ? "\n" : " ...\n");
    if (text->length)
        add_literal(out, in_module ? "        " : "    ", text);
    out->failed |= signature->failed || text->failed;
}

static int stub_init(struct stub *stub, json_t *definition, unsigned *uses, pyexec_error *error)
{
    px_auto(shape_done) struct shape shape = {0};
    px_auto_buffer struct px_buffer signature = {0}, whole = {0}, brief = {0}, none = {0};
    stub->name = json_string_value(json_object_get(definition, "name"));
    stub->module = json_string_value(json_object_get(definition, "module"));
    if (shape_init(&shape, definition) < 0)
        return px_error_oom(error);
    write_signature(stub->name, &shape, json_object_get(definition, "returns"), uses, &signature);
    write_description(definition, &shape, &whole);
    write_brief(definition, &shape, &brief);
    add_function(&stub->text[WHOLE], stub->module, &signature, &whole);
    add_function(&stub->text[BRIEF], stub->module, &signature, &brief);
    add_function(&stub->text[NONE], stub->module, &signature, &none);
    for (size_t level = 0; level < DETAILS; level++)
        if (!px_buffer_ok(&stub->text[level]))
            return px_error_oom(error);
    return 0;
}

/* ---- All functions ---- */

static int take_definitions(struct stubs *stubs, const struct px_tools *tools, pyexec_error *error)
{
    stubs->list = json_array();
    for (size_t i = 0; i < tools->count; i++)
        px_json_append(stubs->list, px_json_loads(tools->items[i]->definition, JSON_ALLOW_NUL, NULL));
    return json_array_size(stubs->list) == tools->count ? 0 : px_error_oom(error);
}

static int read_list(struct stubs *stubs, const char *tools_json, pyexec_error *error)
{
    json_error_t problem = {0};
    size_t length = strlen(tools_json);
    px_auto(px_drop_tools) struct px_tools *tools = px_tools_new();
    if (length > LIST_MAX) {
        px_error_set(error, PYEXEC_INVALID_REQUEST, "tools: more than %u bytes", LIST_MAX);
        return px_error_hint(error, "Give fewer tools.");
    }
    px_auto_json json_t *list = px_json_read(tools_json, length, JSON_REJECT_DUPLICATES | JSON_ALLOW_NUL, &problem);
    if (!tools || (!list && px_json_no_memory(&problem)))
        return px_error_oom(error);
    if (!list) {
        px_error_set(error, PYEXEC_INVALID_REQUEST, "tools: not JSON: line %d: %.200s", problem.line, problem.text);
        return px_error_hint(error, "Give a JSON list of tools, in the same form as tools of a request.");
    }
    return px_tools_add_list(tools, list, NULL, NULL, error) < 0 ? -1 : take_definitions(stubs, tools, error);
}

static void add_head(const struct stubs *stubs, struct px_buffer *out)
{
    bool modules = stubs->count && stubs->items[0].module;
    static const char *const names[] = {"Any", "Literal", "NotRequired", "TypedDict"};
    size_t count = 0;
    px_buffer_printf(out,
                     "# Functions that the script can call. Several at once: await %s.aio.NAME(...). A failed call "
                     "raises ToolError.\n",
                     modules ? "MODULE" : "tools");
    for (size_t i = 0; i < PX_COUNT(names); i++)
        if (stubs->uses & (1u << i))
            px_buffer_printf(out, "%s%s", count++ ? ", " : "from typing import ", names[i]);
    px_buffer_add_string(out, count ? "\n\n" : "\n");
}

/* Adds a function, and before the first one of a module its class. Returns false when the text gets longer than
 * `max_bytes`. */
static bool add_stub(const struct stub *stub, enum detail level, size_t max_bytes, const char **module,
                     struct px_buffer *out)
{
    const struct px_buffer *text = &stub->text[level];
    bool begins = stub->module && (!*module || strcmp(*module, stub->module) != 0);
    size_t head = begins ? strlen(stub->module) + strlen("\nclass :  # import \n") + strlen(stub->module) : 0;
    if (out->length + text->length + head > max_bytes)
        return false;
    if (begins)
        px_buffer_printf(out, "\nclass %s:  # import %s\n", stub->module, stub->module);
    px_buffer_add(out, text->data, text->length);
    *module = stub->module;
    return true;
}

/* Writes all functions at one level of detail. Returns false when the text is longer than `max_bytes`. */
static bool write_all(const struct stubs *stubs, enum detail level, size_t max_bytes, struct px_buffer *out)
{
    const char *module = NULL;
    for (size_t i = 0; i < stubs->count; i++)
        if (!add_stub(&stubs->items[i], level, max_bytes, &module, out))
            return false;
    return true;
}

/* Writes the functions for which there is room, and the names of as many others as possible. */
static void write_some(const struct stubs *stubs, size_t max_bytes, struct px_buffer *out)
{
    px_auto_buffer struct px_buffer names = {0};
    const char *module = NULL;
    size_t left_out = 0, named = 0;
    for (size_t i = 0; i < stubs->count; i++) {
        if (add_stub(&stubs->items[i], NONE, max_bytes, &module, out))
            continue;
        left_out++;
        if (names.length + strlen(stubs->items[i].name) + 2 > NOTE_BYTES - 100)
            continue;
        px_buffer_printf(&names, "%s%s", named++ ? ", " : "", stubs->items[i].name);
    }
    px_buffer_printf(out, "\n# Left out to save space: %zu of %zu functions%s%s%s\n", left_out, stubs->count,
                     named ? ": " : "", px_buffer_shown(&names), named < left_out ? ", ..." : "");
}

/* Writes all functions at the highest level of detail that fits. */
static void write_fitting(const struct stubs *stubs, bool docstrings, size_t max_bytes, struct px_buffer *out)
{
    static const char *const notes[DETAILS] = {
        "", "\n# Left out to save space: all but the first line of each description. help(NAME) has the rest.\n",
        "\n# Left out to save space: descriptions. help(NAME) has them.\n"};
    size_t room = max_bytes - NOTE_BYTES;
    for (enum detail level = docstrings ? WHOLE : NONE; level < DETAILS; level++) {
        px_auto_buffer struct px_buffer text = {0};
        add_head(stubs, &text);
        if (!write_all(stubs, level, level == WHOLE ? max_bytes : room, &text))
            continue;
        px_buffer_add(out, text.data, text.length);
        px_buffer_add_string(out, docstrings ? notes[level] : "");
        out->failed |= text.failed;
        return;
    }
    add_head(stubs, out);
    write_some(stubs, room, out);
}

static int check_size(size_t max_bytes, pyexec_error *error)
{
    if (!max_bytes || max_bytes >= SHORTEST)
        return 0;
    px_error_set(error, PYEXEC_INVALID_REQUEST, "max_bytes: %zu is less than %u", max_bytes, SHORTEST);
    return px_error_hint(error, "Give at least %u, or 0 for no limit.", SHORTEST);
}

static int write_stubs(struct stubs *stubs, unsigned flags, size_t max_bytes, char **ret, pyexec_error *error)
{
    px_auto_buffer struct px_buffer text = {0};
    size_t i;
    json_t *definition;
    stubs->items = calloc(json_array_size(stubs->list) + 1, sizeof *stubs->items);
    if (!stubs->items)
        return px_error_oom(error);
    json_array_foreach(stubs->list, i, definition) {
        stubs->count++;
        if (stub_init(&stubs->items[i], definition, &stubs->uses, error) < 0)
            return -1;
    }
    write_fitting(stubs, !(flags & PYEXEC_STUBS_NO_DOCSTRINGS), max_bytes ? max_bytes : SIZE_MAX, &text);
    *ret = px_buffer_take(&text);
    return *ret ? 0 : px_error_oom(error);
}

int pyexec_tool_stubs(const char *tools_json, unsigned flags, size_t max_bytes, char **ret, pyexec_error *error)
{
    px_auto(stubs_done) struct stubs stubs = {0};
    if (check_size(max_bytes, error) < 0 || read_list(&stubs, tools_json, error) < 0)
        return -1;
    return write_stubs(&stubs, flags, max_bytes, ret, error);
}

int pyexec_tools_stubs(const pyexec_tools *tools, unsigned flags, size_t max_bytes, char **ret, pyexec_error *error)
{
    px_auto(stubs_done) struct stubs stubs = {0};
    if (check_size(max_bytes, error) < 0 || take_definitions(&stubs, tools, error) < 0)
        return -1;
    return write_stubs(&stubs, flags, max_bytes, ret, error);
}
