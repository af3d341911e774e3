/* SPDX-License-Identifier: Apache-2.0 */
/* E2B's files: /files and the Connect-RPC service filesystem.Filesystem (JSON). They work on the workspace of the
 * sandbox's default context. Each request is a call of that session and waits for its turn among the runs. The
 * script controls the workspace's content, so names and kinds are only shown, and links are never followed
 * (runner/workspace.c). */
#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "base/cleanup.h"
#include "base/error.h"
#include "base/json.h"
#include "serve/e2b_sandbox.h"
#include "serve/file_routes.h"
#include "serve/route.h"
#include "serve/run_request.h"
#include "serve/server.h"

#define TREE_ENTRIES_MAX 20000u /* entries that one request lists or removes */
#define TREE_PATHS_MAX_BYTES \
    (4ul << 20) /* bytes of all paths that one request lists; runner/workspace.c has the same limit */
#define TREE_DEPTH_MAX 64
#define FORM_BLOCK_BYTES 4096

/* ---- The session, and paths in it ---- */

int px_e2b_ensure_session(struct px_http_request *request, pyexec_error *error)
{
    pyexec_session_list *list = NULL;
    pyexec_result *result = NULL;
    if (pyexec_sessions(request->server->executor, request->session_key, &list, error) == 0) {
        pyexec_session_list_free(list);
        return 0;
    }
    if (error->code != PYEXEC_SESSION_NOT_FOUND)
        return -1;
    pyexec_request *run = pyexec_request_new();
    int status =
        !run || pyexec_request_set_code(run, "pass", 4) < 0 || pyexec_request_set_workspace_path(run, PX_E2B_HOME) < 0
            ? px_error_oom(error)
            : px_run_request(request, run, &result, error);
    pyexec_result_free(result);
    pyexec_request_free(run);
    return status;
}

const char *px_e2b_relative(const char *path, pyexec_error *error)
{
    size_t home = strlen(PX_E2B_HOME);
    if (path && strncmp(path, PX_E2B_HOME, home) == 0 && (!path[home] || path[home] == '/'))
        path += home + strspn(path + home, "/");
    else if (!path || *path == '/' || *path == '~') {
        px_error_set(error, PYEXEC_INVALID_REQUEST, "'%.200s' is not in " PX_E2B_HOME, path ? path : "");
        px_error_hint(error, "Give a path in " PX_E2B_HOME ", which is the sandbox's workspace, or a relative one.");
        return NULL;
    }
    return strncmp(path, "./", 2) == 0 ? path + 2 : strcmp(path, ".") == 0 ? "" : path;
}

static int join(char **ret, const char *folder, const char *name, pyexec_error *error)
{
    *ret = NULL;
    return asprintf(ret, "%s%s%s", folder, *folder ? "/" : "", name) < 0 ? px_error_oom(error) : 0;
}

/* ---- Answers ---- */

/* Answers as Connect and envd do. Both SDKs read `message`. */
static void answer_error(struct px_http_request *request, const pyexec_error *error)
{
    static const struct {
        int sys_errno, status;
        const char *code;
    } kinds[] = {
        {ENOENT, MHD_HTTP_NOT_FOUND, "not_found"},
        {EEXIST, MHD_HTTP_CONFLICT, "already_exists"},
        {ENOSPC, MHD_HTTP_INSUFFICIENT_STORAGE, "resource_exhausted"},
    };
    char text[sizeof error->message + sizeof error->hint + 2];
    const char *code = error->code == PYEXEC_SESSION_NOT_FOUND ? "not_found" : "invalid_argument";
    int status = px_status_of(error);
    if (px_dialect_failed(request, error))
        return;
    for (size_t i = 0; i < PX_COUNT(kinds); i++)
        if (error->code == PYEXEC_INVALID_REQUEST && error->sys_errno == kinds[i].sys_errno) {
            code = kinds[i].code;
            status = kinds[i].status;
        }
    snprintf(text, sizeof text, "%s. %s", error->message, error->hint);
    px_respond_json(request, status, px_json_take_text(json_pack("{s:s, s:s}", "code", code, "message", text)));
}

static int fail(pyexec_error *error, int sys_errno, const char *path)
{
    px_error_errno(error, PYEXEC_INVALID_REQUEST, sys_errno, "'%.200s'", path);
    return px_error_hint(error, "files.list() shows which files there are.");
}

static void show_permissions(char to[11], const char *kind, unsigned mode)
{
    to[0] = *kind == 'f' && kind[1] == 'o' ? 'd' : *kind == 'l' ? 'l' : '-';
    for (unsigned i = 0; i < 9; i++)
        to[1 + i] = mode >> (8 - i) & 1 ? "rwx"[i % 3] : '-';
    to[10] = '\0';
}

/* Makes an EntryInfo of filesystem.proto. `folder` is the folder of the entry. */
/* `name` is "" for the home folder itself. */
static json_t *describe(const char *folder, const char *name, const char *kind, uint64_t bytes, int mode,
                        int64_t modified_ns)
{
    time_t seconds = (time_t)(modified_ns / 1000000000);
    struct tm utc;
    char permissions[11], modified[32] = "1970-01-01T00:00:00Z", path[2048];
    bool is_link = strcmp(kind, "link") == 0;
    const char *type = strcmp(kind, "folder") == 0 ? "FILE_TYPE_DIRECTORY"
                       : strcmp(kind, "file") == 0 ? "FILE_TYPE_FILE"
                                                   : "FILE_TYPE_UNSPECIFIED";
    show_permissions(permissions, kind, (unsigned)mode);
    if (gmtime_r(&seconds, &utc) && utc.tm_year >= 70 && utc.tm_year < 8099)
        strftime(modified, sizeof modified, "%Y-%m-%dT%H:%M:%SZ", &utc);
    snprintf(path, sizeof path, PX_E2B_HOME "%s%s%s%s", *folder ? "/" : "", folder, *name ? "/" : "", name);
    return json_pack("{s:s, s:s, s:s, s:I, s:i, s:s, s:s, s:s, s:s, s:b}", "name", *name ? name : "user", "type",
                     is_link ? "FILE_TYPE_SYMLINK" : type, "path", path, "size", (json_int_t)bytes, "mode", mode,
                     "permissions", permissions, "owner", "user", "group", "user", "modifiedTime", modified,
                     "isSymlink", is_link);
}

static json_t *describe_entry(const char *folder, const pyexec_file *entry)
{
    const char *name = pyexec_file_path(entry), *kind = pyexec_file_kind(entry);
    return describe(folder, name, kind, pyexec_file_bytes(entry), pyexec_file_mode(entry),
                    pyexec_file_modified_ns(entry));
}

/* ---- Reading ---- */

static void drop_list(pyexec_file_list **list)
{
    pyexec_file_list_free(*list);
}
#define auto_list __attribute__((cleanup(drop_list)))

/* Returns NULL on failure. */
static pyexec_file_list *list_folder(struct px_http_request *request, const char *path, pyexec_error *error)
{
    pyexec_file_list *list = NULL;
    pyexec_session_files(request->server->executor, request->session_key, path, &list, error);
    return list;
}

/* Finds the entry of this path. *ret gets it as a new object in the SDK's form. */
static int look_up(struct px_http_request *request, const char *path, json_t **ret, pyexec_error *error)
{
    size_t length = strlen(path);
    while (length && path[length - 1] == '/')
        length--;
    const char *slash = memrchr(path, '/', length), *name = slash ? slash + 1 : path;
    px_auto_free char *wanted = strndup(name, length - (size_t)(name - path));
    px_auto_free char *folder = strndup(path, slash ? (size_t)(slash - path) : 0);
    *ret = NULL;
    if (!wanted || !folder)
        return px_error_oom(error);
    if (!*wanted) {
        *ret = describe(folder, "", "folder", 0, 0700, 0);
        return *ret ? 0 : px_error_oom(error);
    }
    pyexec_file_list *entries auto_list = list_folder(request, folder, error);
    if (!entries)
        return -1;
    for (size_t i = 0; i < pyexec_file_list_count(entries); i++) {
        const pyexec_file *entry = pyexec_file_list_get(entries, i);
        if (strcmp(pyexec_file_path(entry), wanted) != 0)
            continue;
        *ret = describe_entry(folder, entry);
        return *ret ? 0 : px_error_oom(error);
    }
    return fail(error, ENOENT, path);
}

static json_t *stat_path(struct px_http_request *request, const char *path, pyexec_error *error)
{
    json_t *entry = NULL;
    if (look_up(request, path, &entry, error) < 0)
        return NULL;
    json_t *object = json_pack("{s:o}", "entry", entry);
    if (!object)
        px_error_oom(error);
    return object;
}

/* ---- Everything below a folder ---- */

/* A walk over a folder tree: `enter` is called for an entry before its content, `leave` after it. `enter` returns
 * 1 to walk over the content, 0 not to, or -1. `leave` gets the status of the content and returns 0 or -1. */
struct tree_walk {
    struct px_http_request *request;
    int (*enter)(struct tree_walk *walk, const char *folder, const pyexec_file *entry, const char *path,
                 pyexec_error *error);
    int (*leave)(struct tree_walk *walk, const char *path, int status, pyexec_error *error);
    size_t left, bytes_left; /* how many entries may still be entered, and bytes of their paths */
    json_t *list;            /* used by enter_listed() */
};

static int walk_entries(struct tree_walk *walk, const char *folder, int depth, pyexec_error *error);

static int walk_one(struct tree_walk *walk, const char *folder, const pyexec_file *entry, const char *path, int depth,
                    pyexec_error *error)
{
    int status = walk->enter(walk, folder, entry, path, error);
    if (status <= 0)
        return status;
    return walk->leave(walk, path, depth ? walk_entries(walk, path, depth - 1, error) : 0, error);
}

/* `depth` is how many levels of folders below this one are read. */
static int walk_entries(struct tree_walk *walk, const char *folder, int depth, pyexec_error *error)
{
    pyexec_file_list *entries auto_list = list_folder(walk->request, folder, error);
    for (size_t i = 0; entries && i < pyexec_file_list_count(entries); i++) {
        const pyexec_file *entry = pyexec_file_list_get(entries, i);
        px_auto_free char *path = NULL;
        size_t bytes = strlen(folder) + 1 + strlen(pyexec_file_path(entry));
        if (!walk->left || bytes > walk->bytes_left)
            return 0;
        walk->left--;
        walk->bytes_left -= bytes;
        if (join(&path, folder, pyexec_file_path(entry), error) < 0 ||
            walk_one(walk, folder, entry, path, depth, error) < 0)
            return -1;
    }
    return entries ? 0 : -1;
}

static int enter_listed(struct tree_walk *walk, const char *folder, const pyexec_file *entry, const char *path,
                        pyexec_error *error)
{
    (void)path, (void)error;
    px_json_append(walk->list, describe_entry(folder, entry));
    return strcmp(pyexec_file_kind(entry), "folder") == 0;
}

/* The script may have removed the folder since, or changed its permissions. */
static int leave_listed(struct tree_walk *walk, const char *path, int status, pyexec_error *error)
{
    (void)walk, (void)path;
    return status < 0 && error->code != PYEXEC_INVALID_REQUEST ? -1 : 0;
}

static int enter_removed(struct tree_walk *walk, const char *folder, const pyexec_file *entry, const char *path,
                         pyexec_error *error)
{
    (void)folder, (void)entry;
    pyexec_executor *executor = walk->request->server->executor;
    if (pyexec_session_delete_file(executor, walk->request->session_key, path, error) == 0 ||
        error->sys_errno == ENOENT)
        return 0;
    return error->sys_errno == ENOTEMPTY ? 1 : -1;
}

static int leave_removed(struct tree_walk *walk, const char *path, int status, pyexec_error *error)
{
    pyexec_executor *executor = walk->request->server->executor;
    return status < 0 ? -1 : pyexec_session_delete_file(executor, walk->request->session_key, path, error);
}

static json_t *list_path(struct px_http_request *request, const char *path, pyexec_error *error)
{
    json_int_t depth = json_integer_value(json_object_get(request->json, "depth"));
    struct tree_walk walk = {request, enter_listed, leave_listed, TREE_ENTRIES_MAX, TREE_PATHS_MAX_BYTES, json_array()};
    int below = depth > TREE_DEPTH_MAX ? TREE_DEPTH_MAX - 1 : depth > 1 ? (int)depth - 1 : 0;
    if (walk_entries(&walk, path, below, error) == 0)
        return json_pack("{s:o}", "entries", walk.list);
    json_decref(walk.list);
    return NULL;
}

/* ---- Changing ---- */

static json_t *make_path(struct px_http_request *request, const char *path, pyexec_error *error)
{
    px_auto_json json_t *entry = NULL;
    if (look_up(request, path, &entry, error) == 0) {
        fail(error, EEXIST, path);
        return NULL;
    }
    if (error->sys_errno != ENOENT ||
        pyexec_session_make_folder(request->server->executor, request->session_key, path, error) < 0)
        return NULL;
    return stat_path(request, path, error);
}

/* Removes a file, a link, or a folder with all its content. */
static json_t *remove_path(struct px_http_request *request, const char *path, pyexec_error *error)
{
    struct tree_walk walk = {request, enter_removed, leave_removed, TREE_ENTRIES_MAX, SIZE_MAX, NULL};
    if (!*path) {
        px_error_set(error, PYEXEC_INVALID_REQUEST, PX_E2B_HOME " can't be removed");
        px_error_hint(error, "Remove what is in it, or kill the sandbox.");
        return NULL;
    }
    return walk_one(&walk, "", NULL, path, TREE_DEPTH_MAX, error) < 0 ? NULL : json_object();
}

static json_t *move_path(struct px_http_request *request, const char *path, pyexec_error *error)
{
    const char *to = px_e2b_relative(json_string_value(json_object_get(request->json, "destination")), error);
    px_auto_json json_t *entry = NULL;
    if (!to || look_up(request, path, &entry, error) < 0 ||
        pyexec_session_rename_file(request->server->executor, request->session_key, path, to, error) < 0)
        return NULL;
    return stat_path(request, to, error);
}

/* ---- The calls of filesystem.Filesystem ---- */

static void serve_call(struct px_http_request *request)
{
    static const struct {
        const char *name, *path;
        json_t *(*answer)(struct px_http_request *request, const char *path, pyexec_error *error);
    } calls[] = {
        {"Stat", "path", stat_path},     {"ListDir", "path", list_path}, {"MakeDir", "path", make_path},
        {"Remove", "path", remove_path}, {"Move", "source", move_path},
    };
    const char *name = strrchr(request->path, '/') + 1;
    pyexec_error error;
    for (size_t i = 0; i < PX_COUNT(calls); i++) {
        if (strcmp(name, calls[i].name) != 0)
            continue;
        const char *path = px_e2b_relative(json_string_value(json_object_get(request->json, calls[i].path)), &error);
        json_t *object =
            path && px_e2b_ensure_session(request, &error) == 0 ? calls[i].answer(request, path, &error) : NULL;
        if (object)
            px_respond_json(request, MHD_HTTP_OK, px_json_take_text(object));
        else
            answer_error(request, &error);
        return;
    }
    px_respond_json(
        request, MHD_HTTP_NOT_IMPLEMENTED,
        px_json_take_text(json_pack("{s:s, s:s}", "code", "unimplemented", "message",
                                    "pyexec does not have this call; it has Stat, ListDir, MakeDir, Remove and Move")));
}

/* Moves the request to the schedule of runs, among the calls of the sandbox's default context. */
static void move(struct px_http_request *request, void (*serve)(struct px_http_request *request))
{
    pyexec_error error;
    if (px_e2b_enter(request, PX_E2B_DEFAULT) && px_http_request_move(request, serve, &error) < 0)
        answer_error(request, &error);
}

void px_e2b_filesystem(struct px_http_request *request)
{
    pyexec_error error;
    if (px_dialect_body(request, &error))
        move(request, serve_call);
    else
        answer_error(request, &error);
}

/* ---- /files ---- */

/* Copies the path of the query to *ret, which the caller frees; NULL when there is none. libmicrohttpd decodes
 * only '+' in it. */
static int query_path(struct px_http_request *request, char **ret, pyexec_error *error)
{
    const char *given = MHD_lookup_connection_value(request->connection, MHD_GET_ARGUMENT_KIND, "path");
    px_auto_free char *path = given ? strdup(given) : NULL;
    *ret = NULL;
    if (given && !path)
        return px_error_oom(error);
    if (path && px_decode(path) < 0) {
        px_error_set(error, PYEXEC_INVALID_REQUEST, "the path of the query is malformed");
        return px_error_hint(error, "Encode it as UTF-8 with %%XX, without NUL.");
    }
    *ret = TAKE_PTR(path);
    return 0;
}

static void serve_read(struct px_http_request *request)
{
    pyexec_error error;
    px_auto_free char *given = NULL;
    const char *path = query_path(request, &given, &error) < 0 ? NULL : px_e2b_relative(given, &error);
    if (!path || px_e2b_ensure_session(request, &error) < 0)
        answer_error(request, &error);
    else
        px_file_routes_send(request, path, answer_error);
}

void px_e2b_file_read(struct px_http_request *request)
{
    move(request, serve_read);
}

/* The files of a form, and the one that is being received. */
struct e2b_upload {
    struct px_http_request *request;
    const char *path; /* the path of the query, when there is only one file; or NULL */
    char *name;       /* name of the file that is being received, or NULL */
    struct px_buffer bytes;
    json_t *written;
    pyexec_error error;
    bool failed;
};

static int write_one(struct e2b_upload *upload, const char *path, const void *bytes, size_t length)
{
    const char *relative = px_e2b_relative(path, &upload->error), *slash = relative ? strrchr(relative, '/') : NULL;
    char shown[2048];
    if (!relative || pyexec_session_write_file(upload->request->server->executor, upload->request->session_key,
                                               relative, bytes, length, &upload->error) < 0) {
        upload->failed = true;
        return -1;
    }
    snprintf(shown, sizeof shown, PX_E2B_HOME "/%s", relative);
    px_json_append(upload->written,
                   json_pack("{s:s, s:s, s:s}", "name", slash ? slash + 1 : relative, "type", "file", "path", shown));
    return 0;
}

static int finish_part(struct e2b_upload *upload)
{
    px_auto_free char *name = TAKE_PTR(upload->name);
    if (!name || upload->failed)
        return upload->failed ? -1 : 0;
    int status = px_buffer_ok(&upload->bytes)
                     ? write_one(upload, name, px_buffer_string(&upload->bytes), upload->bytes.length)
                     : px_error_oom(&upload->error);
    upload->failed |= status < 0;
    px_buffer_consume(&upload->bytes, upload->bytes.length);
    return status;
}

/* A MHD_PostDataIterator. */
static enum MHD_Result take_part(void *closure, enum MHD_ValueKind kind, const char *key, const char *filename,
                                 const char *type, const char *encoding, const char *bytes, uint64_t offset,
                                 size_t length)
{
    struct e2b_upload *upload = closure;
    (void)kind, (void)key, (void)type, (void)encoding;
    if (!filename)
        return MHD_YES;
    if (offset == 0) {
        if (finish_part(upload) < 0)
            return MHD_NO;
        upload->name = strdup(upload->path ? upload->path : filename);
    }
    px_buffer_add(&upload->bytes, bytes, length);
    return MHD_YES;
}

static int take_form(struct e2b_upload *upload)
{
    struct px_http_request *request = upload->request;
    struct MHD_PostProcessor *form =
        MHD_create_post_processor(request->connection, FORM_BLOCK_BYTES, take_part, upload);
    bool read = form && MHD_post_process(form, px_buffer_string(&request->body), request->body.length) == MHD_YES;
    if (form && MHD_destroy_post_processor(form) == MHD_NO)
        read = false;
    if (finish_part(upload) < 0 || upload->failed)
        return -1;
    if (read && json_array_size(upload->written))
        return 0;
    px_error_set(&upload->error, PYEXEC_INVALID_REQUEST, "the body is not a form with files");
    return px_error_hint(&upload->error, "Send multipart/form-data with a file, or application/octet-stream.");
}

static void serve_write(struct px_http_request *request)
{
    const char *type = px_http_request_header(request, "Content-Type");
    bool whole = type && strncmp(type, "application/octet-stream", 24) == 0;
    px_auto_free char *path = NULL;
    struct e2b_upload upload = {.request = request, .written = json_array()};
    int status = query_path(request, &path, &upload.error);
    upload.path = path;
    if (status == 0)
        status = px_e2b_ensure_session(request, &upload.error);
    if (status == 0 && px_http_request_header(request, "Content-Encoding")) {
        px_error_set(&upload.error, PYEXEC_INVALID_REQUEST, "the body is compressed");
        status = px_error_hint(&upload.error, "Send it without compression: gzip=False.");
    } else if (status == 0) {
        status = whole ? write_one(&upload, upload.path, px_buffer_string(&request->body), request->body.length)
                       : take_form(&upload);
    }
    if (status < 0) {
        answer_error(request, &upload.error);
        json_decref(upload.written);
    } else {
        px_respond_json(request, MHD_HTTP_OK, px_json_take_text(upload.written));
    }
    free(upload.name);
    px_buffer_done(&upload.bytes);
}

void px_e2b_file_write(struct px_http_request *request)
{
    move(request, serve_write);
}
