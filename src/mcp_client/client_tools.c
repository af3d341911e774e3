/* SPDX-License-Identifier: Apache-2.0 */
/* Makes functions in modules of the servers' tools: names that Python allows, and definitions from the servers' lists. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/buffer.h"
#include "base/cleanup.h"
#include "base/error.h"
#include "base/spelling.h"
#include "mcp_client/client_private.h"

#define MODULE_NAME_MAX 48
#define TOOL_NAME_MAX 76
#define NAMES_TRIED 1000

/* Top-level modules of Python 3.8 to 3.14. A server's module with such a name would hide the standard module from the script. */
static const char standard_modules[] =
    " "
    "abc aifc annotationlib argparse array ast asynchat asyncio asyncore atexit audioop base64 bdb "
    "binascii binhex bisect builtins bz2 cProfile calendar cgi cgitb chunk cmath cmd code codecs codeop "
    "collections colorsys compileall compression concurrent configparser contextlib contextvars copy "
    "copyreg crypt csv ctypes curses dataclasses datetime dbm decimal difflib dis distutils doctest "
    "dummy_threading email encodings ensurepip enum errno faulthandler fcntl filecmp fileinput fnmatch "
    "formatter fractions ftplib functools gc genericpath getopt getpass gettext glob graphlib grp gzip "
    "hashlib heapq hmac html http imaplib imghdr imp importlib inspect io ipaddress itertools json "
    "keyword linecache locale logging lzma macpath mailbox mailcap marshal math mimetypes mmap "
    "modulefinder multiprocessing netrc nis nntplib ntpath numbers opcode operator optparse os "
    "ossaudiodev parser pathlib pdb pickle pickletools pipes pkgutil platform plistlib poplib posix "
    "posixpath pprint profile pstats pty pwd py_compile pyclbr pydoc pydoc_data pyexpat pyrepl queue "
    "quopri random re readline reprlib resource rlcompleter runpy sched secrets select selectors shelve "
    "shlex shutil signal site smtpd smtplib sndhdr socket socketserver spwd sqlite3 sre_compile "
    "sre_constants sre_parse ssl stat statistics string stringprep struct subprocess sunau symbol "
    "symtable sys sysconfig syslog tabnanny tarfile telnetlib tempfile termios textwrap threading time "
    "timeit tkinter token tokenize tomllib trace traceback tracemalloc tty turtle types typing "
    "unicodedata unittest urllib uu uuid venv warnings wave weakref webbrowser wsgiref xdrlib xml xmlrpc "
    "zipapp zipfile zipimport zlib zoneinfo ";

/* Copies the name, at most `size` - 1 bytes. Characters that Python does not allow in a name become '_'. */
static void map_name(const char *name, const char *before_digit, char *ret, size_t size)
{
    size_t length = 0;
    while (*name == '_')
        name++;
    if (!*name || (*name >= '0' && *name <= '9'))
        length = (size_t)snprintf(ret, size, "%s", before_digit);
    for (; *name && length + 1 < size; name++) {
        bool good = (*name >= '0' && *name <= '9') || (*name >= 'A' && *name <= 'Z') ||
                    (*name >= 'a' && *name <= 'z') || *name == '_';
        /* The result must not begin with '_'. */
        if (good || length)
            ret[length++] = good ? *name : '_';
    }
    if (!length)
        length = (size_t)snprintf(ret, size, "%s", before_digit);
    ret[length] = '\0';
}

/* ---- Modules ---- */

static bool module_is_taken(const struct px_client_server *servers, size_t before, const char *name)
{
    pyexec_error ignored;
    pyexec_tools *trial = pyexec_tools_new();
    bool taken = !trial || pyexec_tools_add(trial, name, "f", NULL, NULL, NULL, &ignored) < 0 ||
                 px_word_is_listed(standard_modules, name);
    pyexec_tools_free(trial);
    for (size_t i = 0; i < before && !taken; i++)
        taken = strcmp(servers[i].module, name) == 0;
    return taken;
}

void px_client_name_modules(struct px_client_server *servers, size_t count)
{
    for (size_t i = 0; i < count; i++) {
        char name[MODULE_NAME_MAX + 1];
        map_name(servers[i].entry->name, "mcp_", name, sizeof name);
        snprintf(servers[i].module, sizeof servers[i].module, "%s", name);
        for (int n = 2; n < NAMES_TRIED && module_is_taken(servers, i, servers[i].module); n++)
            snprintf(servers[i].module, sizeof servers[i].module, "%s_%d", name, n);
    }
}

/* ---- Definitions ---- */

/* Returns the schema of the tool's arguments. If the server's is unusable, the new one allows any arguments. */
static json_t *parameters_of(const json_t *tool)
{
    json_t *schema = json_object_get(tool, "inputSchema");
    const json_t *type = json_object_get(schema, "type"), *properties = json_object_get(schema, "properties");
    bool usable = json_is_object(schema) && json_is_string(type) && strcmp(json_string_value(type), "object") == 0 &&
                  (!properties || json_is_object(properties));
    if (!usable || !properties)
        return json_pack("{s:s, s:b}", "type", "object", "additionalProperties",
                         !usable || !json_is_false(json_object_get(schema, "additionalProperties")));
    return json_incref(schema);
}

static bool needs_approval(const struct px_client_entry *entry, const char *original)
{
    size_t i;
    json_t *name;
    json_array_foreach(entry->approval, i, name)
        if (strcmp(json_string_value(name), original) == 0)
            return true;
    return json_is_true(entry->approval);
}

static char *definition_of(const json_t *tool, const char *name, bool schemas, bool approval)
{
    px_auto_buffer struct px_buffer text = {0};
    const json_t *described = json_object_get(tool, "description");
    json_t *returns = json_object_get(tool, "outputSchema");
    const char *original = json_string_value(json_object_get(tool, "name"));
    px_buffer_add(&text, json_string_value(described), json_string_length(described));
    if (strcmp(original, name) != 0)
        px_buffer_printf(&text, "%sThe tool '%s' of the MCP server.", text.length ? "\n\n" : "", original);
    json_t *definition =
        json_pack("{s:s%, s:o}", "description", px_buffer_shown(&text), px_buffer_length(&text), "parameters",
                  schemas ? parameters_of(tool) : json_pack("{s:s, s:b}", "type", "object", "additionalProperties", 1));
    if (definition && schemas && json_is_object(returns))
        px_json_set(definition, "returns", json_incref(returns));
    px_json_set(definition, "approval", json_boolean(approval));
    return px_json_take_text(definition);
}

static void call_tool(void *data, pyexec_tool_call *call)
{
    const struct px_client_tool *tool = data;
    px_client_server_call(tool->server, tool->name, call);
}

/* ---- The set ---- */

struct making {
    struct px_client_set *set;
    json_t *taken; /* "MODULE.NAME" of the tools added so far */
    size_t bytes;
    struct px_buffer problems, names;
};

static bool name_is_taken(const struct making *making, const char *module, const char *name)
{
    char whole[160];
    snprintf(whole, sizeof whole, "%s.%s", module, name);
    return strcmp(name, "aio") == 0 || json_object_get(making->taken, whole);
}

static void name_tool(const struct making *making, const char *module, const char *original, char *ret, size_t size)
{
    char name[TOOL_NAME_MAX + 1];
    map_name(original, "tool_", name, sizeof name - 1);
    if (px_name_is_keyword(name))
        strcat(name, "_");
    snprintf(ret, size, "%s", name);
    for (int n = 2; n < NAMES_TRIED && name_is_taken(making, module, ret); n++)
        snprintf(ret, size, "%s_%d", name, n);
}

/* Returns false if there is no room for the tool, or if it has no name. */
static bool add_tool(struct making *making, struct px_client_server *server, const json_t *tool)
{
    pyexec_error error;
    char name[TOOL_NAME_MAX + 16], whole[160];
    const json_t *original = json_object_get(tool, "name");
    struct px_client_set *set = making->set;
    if (!json_is_string(original) || strlen(json_string_value(original)) != json_string_length(original) ||
        set->shown.count == PX_CLIENT_TOOLS_MAX)
        return false;
    name_tool(making, server->module, json_string_value(original), name, sizeof name);
    struct px_client_tool *item = &set->items[set->shown.count];
    *item = (struct px_client_tool){server, strdup(json_string_value(original))};
    bool added = false;
    /* If the schema is too large or no function can have it, the tool is added without: then it accepts any arguments. */
    for (int schemas = 1; schemas >= 0 && !added && item->name; schemas--) {
        px_auto_free char *definition = definition_of(tool, name, schemas, needs_approval(server->entry, item->name));
        size_t length = definition ? strlen(definition) + 100 : PX_CLIENT_TOOLS_BYTES;
        added = making->bytes + length < PX_CLIENT_TOOLS_BYTES &&
                pyexec_tools_add(set->shown.tools, server->module, name, definition, call_tool, item, &error) == 0;
        making->bytes += added ? length : 0;
    }
    snprintf(whole, sizeof whole, "%s.%s", server->module, name);
    if (added && json_object_set_new(making->taken, whole, json_true()) == 0)
        set->shown.count++;
    else
        free(item->name);
    return added;
}

/* Reports names in `approval` that no tool has: a spelling mistake would leave a tool without approval. The caller holds the
 * server's lock. */
static void report_unknown(struct making *making, const struct px_client_server *server)
{
    size_t i, j;
    json_t *name, *tool;
    json_array_foreach(server->entry->approval, i, name) {
        bool known = !server->tools;
        json_array_foreach(server->tools, j, tool)
            known = known || json_equal(json_object_get(tool, "name"), name);
        if (!known)
            px_buffer_printf(&making->problems, "MCP server '%s' has no tool '%.100s', but approval names it\n",
                             server->entry->name, json_string_value(name));
    }
}

/* The caller holds the server's lock. */
static void add_server(struct making *making, struct px_client_server *server)
{
    size_t i, added = 0, count = json_array_size(server->tools);
    json_t *tool;
    json_array_foreach(server->tools, i, tool)
        added += add_tool(making, server, tool);
    if (server->tools)
        px_buffer_printf(&making->names, "%s: %zu tools of the MCP server '%s'\n", server->module, added,
                         server->entry->name);
    bool starting = server->state == PX_CLIENT_STARTING && !server->tools;
    if (*server->problem)
        px_buffer_printf(&making->problems, "%s%s\n", server->problem, starting ? "; it is being started again" : "");
    else if (starting)
        px_buffer_printf(&making->problems, "MCP server '%s' (module %s) is still starting\n", server->entry->name,
                         server->module);
    report_unknown(making, server);
    if (server->cut || added < count)
        px_buffer_printf(&making->problems, "MCP server '%s' has more tools than can be offered\n",
                         server->entry->name);
}

void px_client_set_free(struct px_client_set *set)
{
    if (!set)
        return;
    pyexec_tools_free(set->shown.tools);
    for (size_t i = 0; i < set->shown.count; i++)
        free(set->items[i].name);
    free(set->items);
    free(set->shown.problems);
    free(set->shown.names);
    free(set);
}

struct px_client_set *px_client_set_new(struct px_clients *clients)
{
    struct making making = {.set = calloc(1, sizeof *making.set), .taken = json_object()};
    if (making.set) {
        making.set->shown = (struct px_client_tools){.tools = pyexec_tools_new(), .clients = clients, .references = 1};
        making.set->items = calloc(PX_CLIENT_TOOLS_MAX, sizeof *making.set->items);
    }
    bool good = making.set && making.set->shown.tools && making.set->items;
    for (size_t i = 0; i < clients->count && good; i++) {
        pthread_mutex_lock(&clients->servers[i].lock);
        add_server(&making, &clients->servers[i]);
        pthread_mutex_unlock(&clients->servers[i].lock);
    }
    json_decref(making.taken);
    px_buffer_add(&making.problems, "", 0);
    px_buffer_add(&making.names, "", 0);
    if (good) {
        making.set->shown.problems = strdup(px_buffer_shown(&making.problems));
        making.set->shown.names = strdup(px_buffer_shown(&making.names));
        good = making.set->shown.problems && making.set->shown.names;
    }
    px_buffer_done(&making.problems);
    px_buffer_done(&making.names);
    if (good)
        return making.set;
    px_client_set_free(making.set);
    return NULL;
}
