/* SPDX-License-Identifier: Apache-2.0 */
#include "policy/tools.h"

#include <stdlib.h>
#include <string.h>

#include "base/cleanup.h"
#include "base/error.h"
#include "base/json.h"
#include "base/spelling.h"
#include "base/utf8.h"
#include "policy/inputs.h"

#define SCHEMA_MAX (256u << 10) /* bytes of one definition */
#define SCHEMA_DEPTH_MAX 64
#define OWN_TOOLS_MAX 256 /* the most tools of one request */

/* Built-in names of Python 3.8 to 3.14, and ours. A tool with such a name would hide it from the script. The exception is
 * PX_TOOL_INPUT, which is meant to. */
static const char builtin_names[] =
    " ArithmeticError AssertionError AttributeError BaseException BaseExceptionGroup BlockingIOError "
    "BrokenPipeError BufferError BytesWarning ChildProcessError ConnectionAbortedError ConnectionError "
    "ConnectionRefusedError ConnectionResetError DeprecationWarning EOFError Ellipsis EncodingWarning "
    "EnvironmentError Exception ExceptionGroup FileExistsError FileNotFoundError FloatingPointError FutureWarning "
    "GeneratorExit IOError ImportError ImportWarning IndentationError IndexError InterruptedError "
    "IsADirectoryError KeyError KeyboardInterrupt LookupError MemoryError ModuleNotFoundError NameError "
    "NotADirectoryError NotImplemented NotImplementedError OSError OverflowError PendingDeprecationWarning "
    "PermissionError ProcessLookupError PythonFinalizationError RecursionError ReferenceError ResourceWarning "
    "RuntimeError RuntimeWarning StopAsyncIteration StopIteration SyntaxError SyntaxWarning SystemError SystemExit "
    "TabError TimeoutError TypeError UnboundLocalError UnicodeDecodeError UnicodeEncodeError UnicodeError "
    "UnicodeTranslateError UnicodeWarning UserWarning ValueError Warning ZeroDivisionError abs aiter all anext any "
    "ascii bin bool breakpoint bytearray bytes callable chr classmethod compile complex copyright credits delattr "
    "dict dir display divmod enumerate eval exec exit filter float format frozenset getattr globals hasattr hash "
    "help hex id input int isinstance issubclass iter len license list locals map max memoryview min next object "
    "oct open ord pow print property quit range repr reversed round set setattr slice sorted staticmethod str sum "
    "super tuple type vars zip ";

/* Names of pyexec that a script must be able to use. */
static const char own_names[] = " tools aio ToolError ";

struct px_tools *px_tools_new(void)
{
    struct px_tools *tools = calloc(1, sizeof *tools);
    if (!tools)
        return NULL;
    pthread_mutex_init(&tools->lock, NULL);
    pthread_cond_init(&tools->quiet, NULL);
    tools->most = OWN_TOOLS_MAX;
    return tools;
}

static void free_tool(struct px_tool *tool)
{
    free(tool->name);
    free(tool->definition);
    free(tool);
}

void px_tools_free(struct px_tools *tools)
{
    if (!tools)
        return;
    pthread_mutex_lock(&tools->lock);
    while (tools->threads)
        pthread_cond_wait(&tools->quiet, &tools->lock);
    pthread_mutex_unlock(&tools->lock);
    px_threads_join(tools->ended);
    for (size_t i = 0; i < tools->count; i++)
        free_tool(tools->items[i]);
    free(tools->items);
    pthread_cond_destroy(&tools->quiet);
    pthread_mutex_destroy(&tools->lock);
    free(tools);
}

void px_tools_enter(struct px_tools *tools)
{
    pthread_mutex_lock(&tools->lock);
    tools->threads++;
    pthread_mutex_unlock(&tools->lock);
}

/* The caller holds the lock; this function releases it. */
static void leave(struct px_tools *tools)
{
    if (--tools->threads == 0)
        pthread_cond_broadcast(&tools->quiet);
    pthread_mutex_unlock(&tools->lock);
}

void px_tools_leave(struct px_tools *tools)
{
    pthread_mutex_lock(&tools->lock);
    leave(tools);
}

void px_tools_end_thread(struct px_tools *tools)
{
    pthread_mutex_lock(&tools->lock);
    struct px_ended_threads before = px_threads_leave(&tools->ended);
    leave(tools);
    px_threads_join(before);
}

/* ---- Definitions ---- */

static int refuse_name(const char *name, const char *why, pyexec_error *error)
{
    px_error_set(error, PYEXEC_INVALID_REQUEST, "tools: '%.200s' can't be a tool's name: it %s", name, why);
    return px_error_hint(error,
                         "Use ASCII letters, digits and underscores, with a letter first, at most %d of them, and "
                         "no name that Python or pyexec uses.",
                         PX_TOOL_NAME_MAX);
}

static int check_name(const char *name, pyexec_error *error)
{
    if (name[0] == '_')
        return refuse_name(name, "begins with an underscore", error);
    if (strlen(name) > PX_TOOL_NAME_MAX || !px_inputs_is_identifier(name))
        return refuse_name(name, "is not a Python identifier", error);
    if (px_name_is_keyword(name))
        return refuse_name(name, "is a keyword of Python", error);
    if (px_word_is_listed(builtin_names, name) && strcmp(name, PX_TOOL_INPUT) != 0)
        return refuse_name(name, "is the name of a built-in", error);
    return px_word_is_listed(own_names, name) ? refuse_name(name, "is a name of pyexec's", error) : 0;
}

/* In a module a name hides nothing of the script's. */
static int check_names(const char *module, const char *name, pyexec_error *error)
{
    if (!module)
        return check_name(name, error);
    if (check_name(module, error) < 0)
        return -1;
    if (name[0] == '_' || !px_inputs_is_identifier(name) || px_name_is_keyword(name) || strcmp(name, "aio") == 0)
        return refuse_name(name, "begins with an underscore, or is 'aio', a keyword or not an identifier", error);
    return strlen(module) + 1 + strlen(name) > PX_TOOL_NAME_MAX ? refuse_name(name, "is too long", error) : 0;
}

static int refuse(const char *name, const char *key, const char *wanted, pyexec_error *error)
{
    px_error_set(error, PYEXEC_INVALID_REQUEST, "tools: %.100s: %s: not %s", name, key, wanted);
    return px_error_hint(error, "A tool is {\"name\", \"description\", \"parameters\": the JSON Schema of an object, "
                                "\"returns\": a JSON Schema, \"approval\": true or false}; only the name is required.");
}

static int check_parameters(const char *name, const json_t *schema, pyexec_error *error)
{
    const json_t *type = json_object_get(schema, "type"), *properties = json_object_get(schema, "properties");
    const json_t *required = json_object_get(schema, "required");
    size_t i;
    json_t *item;
    if (type && (!json_is_string(type) || strcmp(json_string_value(type), "object") != 0))
        return refuse(name, "parameters", "the schema of an object: its type must be \"object\"", error);
    if (properties && !json_is_object(properties))
        return refuse(name, "parameters", "a schema: its properties must be an object", error);
    if (required && !json_is_array(required))
        return refuse(name, "parameters", "a schema: required must be a list of names", error);
    json_array_foreach(required, i, item)
        if (!json_is_string(item))
            return refuse(name, "parameters", "a schema: required must be a list of names", error);
    return 0;
}

static bool is_known(const char *key)
{
    static const char *const keys[] = {"description", "parameters", "returns", "approval"};
    for (size_t i = 0; i < PX_COUNT(keys); i++)
        if (strcmp(keys[i], key) == 0)
            return true;
    return false;
}

static int check_definition(const char *name, json_t *definition, bool approver, pyexec_error *error)
{
    const char *key;
    json_t *value;
    json_object_foreach(definition, key, value) {
        if (strcmp(key, "description") == 0 && !json_is_string(value))
            return refuse(name, key, "a string", error);
        if (strcmp(key, "parameters") == 0 &&
            (json_is_object(value) ? check_parameters(name, value, error) : refuse(name, key, "an object", error)) < 0)
            return -1;
        if (strcmp(key, "returns") == 0 && !json_is_object(value))
            return refuse(name, key, "an object", error);
        if (strcmp(key, "approval") == 0 && !json_is_boolean(value))
            return refuse(name, key, "true or false", error);
        if (strcmp(key, "approval") == 0 && json_is_true(value) && !approver)
            return refuse(name, key, "false: nobody approves calls here", error);
        if (!is_known(key))
            return refuse(name, key, "known in a tool", error);
    }
    return 0;
}

/* Returns the definition as one line of text, with the name; NULL with `error`. */
static char *make_definition(const char *module, const char *name, const char *schema_json, bool approver,
                             bool *ret_approval, pyexec_error *error)
{
    size_t length = schema_json ? strlen(schema_json) : 0;
    json_error_t problem = {0};
    if (length > SCHEMA_MAX || (length && px_json_memory_estimate(schema_json, length).depth > SCHEMA_DEPTH_MAX)) {
        refuse(name, "the definition", "smaller than 256 KiB and less than 64 levels deep", error);
        return NULL;
    }
    px_auto_json json_t *definition =
        length ? px_json_read(schema_json, length, JSON_REJECT_DUPLICATES | JSON_ALLOW_NUL, &problem) : json_object();
    if (!definition && px_json_no_memory(&problem)) {
        px_error_oom(error);
        return NULL;
    }
    if (!json_is_object(definition)) {
        refuse(name, "the definition", "a JSON object", error);
        return NULL;
    }
    if (check_definition(name, definition, approver, error) < 0)
        return NULL;
    *ret_approval = json_is_true(json_object_get(definition, "approval"));
    json_object_del(definition, "approval");
    px_json_set(definition, "name", json_string(name));
    if (module)
        px_json_set(definition, "module", json_string(module));
    char *text = px_json_dumps(definition, JSON_COMPACT | JSON_REAL_PRECISION(17));
    if (!text)
        px_error_oom(error);
    return text;
}

static int put(struct px_tools *tools, struct px_tool *tool, pyexec_error *error)
{
    for (size_t i = 0; i < tools->count; i++)
        if (strcmp(tools->items[i]->name, tool->name) == 0) {
            free_tool(tools->items[i]);
            tools->items[i] = tool;
            return 0;
        }
    if (tools->count == tools->most) {
        px_error_set(error, PYEXEC_INVALID_REQUEST, "tools: more than %zu", tools->most);
        return px_error_hint(error, "Offer fewer tools, or one tool that takes the name of the action as an argument.");
    }
    struct px_tool **items = realloc(tools->items, (tools->count + 1) * sizeof(struct px_tool *));
    if (!items)
        return px_error_oom(error);
    tools->items = items;
    items[tools->count++] = tool;
    return 0;
}

int px_tools_add(struct px_tools *tools, const char *module, const char *name, const char *schema_json,
                 pyexec_tool_fn callback, void *userdata, pyexec_error *error)
{
    char whole[2 * PX_TOOL_NAME_MAX];
    if (check_names(module, name, error) < 0)
        return -1;
    bool approval = false;
    snprintf(whole, sizeof whole, "%s%s%s", module ? module : "", module ? "." : "", name);
    char *definition = make_definition(module, name, schema_json, tools->shared || tools->approver, &approval, error);
    if (!definition)
        return -1;
    struct px_tool *tool = calloc(1, sizeof *tool);
    if (tool)
        *tool = (struct px_tool){strdup(whole), definition, strlen(definition), approval, callback, userdata, tools};
    if (!tool || !tool->name) {
        free(definition);
        free(tool);
        return px_error_oom(error);
    }
    int result = put(tools, tool, error);
    if (result < 0)
        free_tool(tool);
    return result;
}

static int refuse_list(const char *what, pyexec_error *error)
{
    px_error_set(error, PYEXEC_INVALID_REQUEST, "tools: %s", what);
    return px_error_hint(error, "Send a list of objects such as {\"name\": \"lookup\", \"description\": \"...\", "
                                "\"parameters\": {\"type\": \"object\", \"properties\": {}}}.");
}

static int add_item(struct px_tools *tools, const json_t *item, pyexec_tool_fn callback, void *userdata,
                    pyexec_error *error)
{
    const json_t *name = json_object_get(item, "name");
    if (!json_is_object(item))
        return refuse_list("not a list of objects", error);
    if (!json_is_string(name) || strlen(json_string_value(name)) != json_string_length(name))
        return refuse_list("a tool has no name, or its name is not a string, or has NUL characters", error);
    px_auto_json json_t *definition = px_json_copy(item);
    json_object_del(definition, "name");
    px_auto_free char *text = px_json_dumps(definition, JSON_COMPACT | JSON_REAL_PRECISION(17));
    return text ? px_tools_add(tools, NULL, json_string_value(name), text, callback, userdata, error)
                : px_error_oom(error);
}

int px_tools_add_list(struct px_tools *tools, const json_t *list, pyexec_tool_fn callback, void *userdata,
                      pyexec_error *error)
{
    size_t i;
    json_t *item;
    if (!json_is_array(list))
        return refuse_list("not a list", error);
    json_array_foreach(list, i, item)
        if (add_item(tools, item, callback, userdata, error) < 0)
            return -1;
    return 0;
}

int pyexec_request_add_tools_object(pyexec_request *request, json_t *tools, pyexec_tool_fn callback, void *userdata,
                                    pyexec_error *error)
{
    if (!request->tools && !(request->tools = px_tools_new()))
        return px_error_oom(error);
    return px_tools_add_list(request->tools, tools, callback, userdata, error);
}

int px_tools_read_list(const char *tools_json, json_t **ret, pyexec_error *error)
{
    json_error_t problem = {0};
    *ret = px_json_read(tools_json, strlen(tools_json), JSON_REJECT_DUPLICATES | JSON_ALLOW_NUL, &problem);
    if (*ret)
        return 0;
    return px_json_no_memory(&problem) ? px_error_oom(error) : refuse_list("not JSON", error);
}

int pyexec_request_add_tools(pyexec_request *request, const char *tools_json, pyexec_tool_fn callback, void *userdata,
                             pyexec_error *error)
{
    px_auto_json json_t *list = NULL;
    if (px_tools_read_list(tools_json, &list, error) < 0)
        return -1;
    return pyexec_request_add_tools_object(request, list, callback, userdata, error);
}

int pyexec_request_set_approver(pyexec_request *request, pyexec_tool_fn approver, void *userdata, pyexec_error *error)
{
    if (!request->tools && !(request->tools = px_tools_new()))
        return px_error_oom(error);
    request->tools->approver = approver;
    request->tools->approver_data = userdata;
    return 0;
}

int pyexec_request_add_tool(pyexec_request *request, const char *name, const char *schema_json, pyexec_tool_fn callback,
                            void *userdata, pyexec_error *error)
{
    if (!request->tools && !(request->tools = px_tools_new()))
        return px_error_oom(error);
    return px_tools_add(request->tools, NULL, name, schema_json, callback, userdata, error);
}

pyexec_tools *pyexec_tools_new(void)
{
    struct px_tools *tools = px_tools_new();
    if (tools) {
        tools->most = PX_TOOLS_MAX - OWN_TOOLS_MAX;
        tools->shared = true;
    }
    return tools;
}

void pyexec_tools_free(pyexec_tools *tools)
{
    px_tools_free(tools);
}

int pyexec_tools_add(pyexec_tools *tools, const char *module, const char *name, const char *schema_json,
                     pyexec_tool_fn callback, void *userdata, pyexec_error *error)
{
    return px_tools_add(tools, module, name, schema_json, callback, userdata, error);
}

void pyexec_request_set_tools(pyexec_request *request, pyexec_tools *tools)
{
    request->shared_tools = tools;
}

/* ---- The tools of one execution ---- */

const struct px_tool *px_tool_list_find(const struct px_tool_list *list, const char *name)
{
    for (size_t i = 0; i < list->count; i++)
        if (strcmp(list->items[i]->name, name) == 0)
            return list->items[i];
    return NULL;
}

static int add_to_list(struct px_tool_list *list, const struct px_tools *tools, size_t *bytes, pyexec_error *error)
{
    size_t before = list->count;
    for (size_t i = 0; tools && i < tools->count; i++) {
        const struct px_tool *tool = tools->items[i];
        if (before && px_tool_list_find(list, tool->name))
            continue;
        *bytes += tool->length + 1;
        if (list->count == PX_TOOLS_MAX || *bytes + 2 > PX_TOOLS_TEXT_MAX) {
            px_error_set(error, PYEXEC_INVALID_REQUEST, "tools: more than %d, or more than %u bytes together",
                         PX_TOOLS_MAX, PX_TOOLS_TEXT_MAX);
            return px_error_hint(error, "Offer fewer tools, or shorter schemas.");
        }
        list->items[list->count++] = tool;
    }
    return 0;
}

int px_tool_list_fill(struct px_tool_list *list, const pyexec_request *request, pyexec_error *error)
{
    const struct px_tools *const all[] = {request->tools, request->shared_tools, request->session_tools};
    size_t bytes = 0;
    list->count = 0;
    list->approver = request->tools && request->tools->approver ? request->tools : NULL;
    for (size_t i = 0; i < PX_COUNT(all); i++)
        if (add_to_list(list, all[i], &bytes, error) < 0)
            return -1;
    return 0;
}

void px_tool_list_write(const struct px_tool_list *list, struct px_buffer *out)
{
    px_buffer_add_byte(out, '[');
    for (size_t i = 0; i < list->count; i++) {
        if (i)
            px_buffer_add_byte(out, ',');
        px_buffer_add(out, list->items[i]->definition, list->items[i]->length);
    }
    px_buffer_add_byte(out, ']');
}

void px_tools_write(const struct px_tools *tools, struct px_buffer *out)
{
    px_buffer_add_byte(out, '[');
    for (size_t i = 0; tools && i < tools->count; i++) {
        const struct px_tool *tool = tools->items[i];
        px_buffer_add_string(out, i ? "," : "");
        px_buffer_add(out, tool->definition, tool->length - 1);
        px_buffer_add_string(out, tool->approval ? ",\"approval\":true}" : "}");
    }
    px_buffer_add_byte(out, ']');
}

/* ---- The tools of a session ---- */

void pyexec_request_set_tool_callback(pyexec_request *request, pyexec_tool_fn callback, void *userdata)
{
    request->tool_callback = callback;
    request->tool_callback_data = userdata;
}

static int copy_tool(struct px_tools *tools, const struct px_tool *from, pyexec_tool_fn callback, void *userdata,
                     pyexec_error *error)
{
    struct px_tool *tool = calloc(1, sizeof *tool);
    if (!tool)
        return px_error_oom(error);
    *tool = (struct px_tool){
        strdup(from->name), strdup(from->definition), from->length, from->approval, callback, userdata, tools};
    if (tool->name && tool->definition && put(tools, tool, error) == 0)
        return 0;
    if (tool->name && tool->definition) {
        free_tool(tool);
        return -1;
    }
    free_tool(tool);
    return px_error_oom(error);
}

struct px_tools *px_tools_copy(const struct px_tools *tools, pyexec_error *error)
{
    struct px_tools *copy = px_tools_new();
    int failed = copy ? 0 : px_error_oom(error);
    if (copy)
        copy->shared = tools->shared;
    for (size_t i = 0; i < tools->count && !failed; i++)
        failed = copy_tool(copy, tools->items[i], tools->items[i]->callback, tools->items[i]->userdata, error);
    if (failed)
        px_drop_tools(&copy);
    return copy;
}

static int refuse_session(pyexec_error *error)
{
    px_error_set(error, PYEXEC_INVALID_REQUEST,
                 "the session has tools, and this request does not say who answers their calls");
    return px_error_hint(error, "Over HTTP, send \"Accept: text/event-stream\" or \"detach\": true. In C, use "
                                "pyexec_request_set_tool_callback().");
}

int px_tools_inherit(pyexec_request *request, const struct px_tools *session_tools, pyexec_error *error)
{
    px_drop_tools(&request->session_tools);
    if (!session_tools)
        return 0;
    if (!(request->session_tools = px_tools_new()))
        return px_error_oom(error);
    for (size_t i = 0; i < session_tools->count; i++) {
        const struct px_tool *tool = session_tools->items[i];
        pyexec_tool_fn callback = tool->callback ? tool->callback : request->tool_callback;
        if (!callback)
            return refuse_session(error);
        if (copy_tool(request->session_tools, tool, callback,
                      tool->callback ? tool->userdata : request->tool_callback_data, error) < 0)
            return -1;
    }
    return 0;
}
