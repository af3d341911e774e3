/* SPDX-License-Identifier: Apache-2.0 */
#include "serve/file_routes.h"

#include <archive.h>
#include <archive_entry.h>
#include <errno.h>
#include <fcntl.h>
#include <locale.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "base/cleanup.h"
#include "base/error.h"
#include "base/json.h"
#include "base/retry.h"
#include "serve/range.h"
#include "serve/server.h"

#define FILE_BLOCK_BYTES 65536
#define SPOOLS_MAX 64 /* how many archives may be in temporary files at once */
#define UPLOAD_PREFIX ".pyexec-upload-"

void px_file_routes_answer_error(struct px_http_request *request, const pyexec_error *error)
{
    if (error->code == PYEXEC_INVALID_REQUEST && error->sys_errno == ENOENT)
        px_respond_problem(request, MHD_HTTP_NOT_FOUND, "not_found", error->message, "GET the list of files.");
    else if (error->sys_errno == ENOSPC || error->sys_errno == EDQUOT || error->sys_errno == EFBIG)
        px_respond_problem(request, MHD_HTTP_INSUFFICIENT_STORAGE, "invalid_request", error->message,
                           "Delete files, or ask the operator of the server to raise workspace_bytes of the policy.");
    else
        px_respond_error(request, error);
}

/* ---- One file ---- */

int px_file_routes_open(struct px_http_request *request, pyexec_error *error)
{
    if (!request->upload)
        request->upload = px_random_name(UPLOAD_PREFIX);
    if (!request->upload)
        return px_error_oom(error);
    return pyexec_session_open_file(request->server->executor, request->session_key, request->upload, true,
                                    &request->body_fd, &request->body_room, error);
}

void px_file_routes_abandon(struct px_http_request *request)
{
    pyexec_error ignored;
    if (request->upload && request->body_fd >= 0)
        pyexec_session_delete_file(request->server->executor, request->session_key, request->upload, &ignored);
}

void px_file_routes_put(struct px_http_request *request)
{
    pyexec_error error;
    if ((request->body_fd < 0 && px_file_routes_open(request, &error) < 0) ||
        pyexec_session_rename_file(request->server->executor, request->session_key, request->upload, request->rest,
                                   &error) < 0) {
        px_file_routes_answer_error(request, &error);
    } else {
        free(TAKE_PTR(request->upload));
        px_respond_empty(request, MHD_HTTP_NO_CONTENT);
    }
}

void px_file_routes_delete(struct px_http_request *request)
{
    pyexec_error error;
    if (pyexec_session_delete_file(request->server->executor, request->session_key, request->rest, &error) < 0)
        px_file_routes_answer_error(request, &error);
    else
        px_respond_empty(request, MHD_HTTP_NO_CONTENT);
}

/* The response owns the descriptor. */
static struct MHD_Response *respond_with(struct px_http_request *request, int *fd, uint64_t first, uint64_t count,
                                         const char *type)
{
    struct MHD_Response *response = MHD_create_response_from_fd_at_offset64(count, *fd, first);
    if (!response)
        return NULL;
    (void)TAKE_FD(*fd);
    MHD_add_response_header(response, "Content-Type", type);
    MHD_add_response_header(response, "Content-Disposition", "attachment");
    MHD_add_response_header(response, "Cache-Control", "no-store");
    if (strcmp(request->method, "HEAD") != 0)
        request->answer_bytes += count;
    return response;
}

void px_file_routes_send(struct px_http_request *request, const char *path,
                         void (*answer_error)(struct px_http_request *request, const pyexec_error *error))
{
    pyexec_error error;
    px_auto_fd int fd = -1;
    uint64_t size = 0, first = 0, count;
    char text[64];
    if (pyexec_session_open_file(request->server->executor, request->session_key, path, false, &fd, &size, &error) <
        0) {
        answer_error(request, &error);
        return;
    }
    count = size;
    /* No response has a validator that If-Range could match. */
    const char *header = px_http_request_header(request, "If-Range") ? NULL : px_http_request_header(request, "Range");
    int range = px_range_parse(header, size, &first, &count);
    if (range < 0) {
        snprintf(text, sizeof text, "bytes */%llu", (unsigned long long)size);
        px_respond_problem_with(request, MHD_HTTP_RANGE_NOT_SATISFIABLE, "invalid_request",
                                "the range is outside the file", "Content-Range says how long it is.", "Content-Range",
                                text);
        return;
    }
    struct MHD_Response *response = respond_with(request, &fd, first, count, "application/octet-stream");
    if (response)
        MHD_add_response_header(response, "Accept-Ranges", "bytes");
    if (response && range) {
        snprintf(text, sizeof text, "bytes %llu-%llu/%llu", (unsigned long long)first,
                 (unsigned long long)(first + count - 1), (unsigned long long)size);
        MHD_add_response_header(response, "Content-Range", text);
    }
    px_respond(request, range ? MHD_HTTP_PARTIAL_CONTENT : MHD_HTTP_OK, response);
}

void px_file_routes_get(struct px_http_request *request)
{
    px_file_routes_send(request, request->rest, px_file_routes_answer_error);
}

/* ---- All files, as an archive ---- */

/* An archive is made in a temporary file without a name, and unpacked from one, so that it takes a constant amount
 * of memory. */
static int temporary(struct px_http_request *request, pyexec_error *error)
{
    /* One principal may have half of them. */
    long all = ++request->server->spools, own = ++request->principal->spools;
    if (all > SPOOLS_MAX || own > SPOOLS_MAX / 2) {
        --request->server->spools;
        --request->principal->spools;
        px_error_set(error, PYEXEC_OVERLOADED, "too many archives are being sent (limit %d, and %d for each caller)",
                     SPOOLS_MAX, SPOOLS_MAX / 2);
        error->retry_after_ms = 1000;
        return px_error_hint(error, "Send it again later, or file by file.");
    }
    request->spools++;
    const char *folder = getenv("TMPDIR");
    int fd = px_open(folder && *folder == '/' ? folder : "/var/tmp", O_TMPFILE | O_RDWR | O_CLOEXEC, 0600);
    if (fd < 0) {
        px_error_errno(error, PYEXEC_INTERNAL, errno, "can't make a temporary file");
        px_error_hint(error, "Set TMPDIR to a folder that the server can write to.");
    }
    return fd;
}

/* libarchive converts names by the thread's locale. In "C" it knows only ASCII, and version 3.6 even aborts when
 * it has to write a UTF-8 name. So the thread gets a UTF-8 locale (uselocale(3)). */
struct locale_scope {
    locale_t own, before;
};

static struct locale_scope enter_utf8(void)
{
    locale_t own = newlocale(LC_CTYPE_MASK, "C.UTF-8", (locale_t)0);
    return (struct locale_scope){own, own ? uselocale(own) : (locale_t)0};
}

static void leave_utf8(struct locale_scope *scope)
{
    if (!scope->own)
        return;
    uselocale(scope->before);
    freelocale(scope->own);
}

static int fail(struct archive *archive, const char *what, pyexec_error *error)
{
    int code = archive_errno(archive);
    px_error_set(error, PYEXEC_INVALID_REQUEST, "%s: %s", what, archive_error_string(archive));
    error->sys_errno = code > 0 ? code : 0;
    return px_error_hint(error, "Send a tar archive of regular files, and leave room for it.");
}

static int pack_one(struct px_http_request *request, struct archive *archive, const char *path, pyexec_error *error)
{
    px_auto_fd int fd = -1;
    uint64_t size = 0, done = 0;
    char block[FILE_BLOCK_BYTES];
    /* The file may have been deleted since it was listed. */
    if (pyexec_session_open_file(request->server->executor, request->session_key, path, false, &fd, &size, error) < 0)
        return error->sys_errno == ENOENT ? 0 : -1;
    struct archive_entry *entry = archive_entry_new();
    archive_entry_set_pathname(entry, path);
    archive_entry_set_size(entry, (la_int64_t)size);
    archive_entry_set_filetype(entry, AE_IFREG);
    archive_entry_set_perm(entry, 0644);
    int status = archive_write_header(archive, entry) >= ARCHIVE_WARN ? 0 : fail(archive, path, error);
    archive_entry_free(entry);
    while (status == 0 && done < size) {
        size_t want = size - done < FILE_BLOCK_BYTES ? (size_t)(size - done) : FILE_BLOCK_BYTES;
        ssize_t n = px_read(fd, block, want);
        if (n <= 0) /* the file became shorter: libarchive fills the rest with zeros */
            break;
        if (archive_write_data(archive, block, (size_t)n) < 0)
            status = fail(archive, path, error);
        done += (uint64_t)n;
    }
    return status;
}

static int pack(struct px_http_request *request, const pyexec_file_list *files, int fd, pyexec_error *error)
{
    px_auto(leave_utf8) struct locale_scope scope = enter_utf8();
    struct archive *archive = archive_write_new();
    int status = archive && archive_write_set_format_pax_restricted(archive) == ARCHIVE_OK &&
                         archive_write_open_fd(archive, fd) == ARCHIVE_OK
                     ? 0
                     : px_error_oom(error);
    for (size_t i = 0; status == 0 && i < pyexec_file_list_count(files); i++)
        status = pack_one(request, archive, pyexec_file_path(pyexec_file_list_get(files, i)), error);
    if (status == 0 && archive_write_close(archive) != ARCHIVE_OK)
        status = fail(archive, "the archive", error);
    archive_write_free(archive);
    return status;
}

static void answer_archive(struct px_http_request *request, const pyexec_file_list *files)
{
    pyexec_error error;
    px_auto_fd int fd = temporary(request, &error);
    if (fd < 0 || pack(request, files, fd, &error) < 0) {
        px_file_routes_answer_error(request, &error);
        return;
    }
    off_t size = lseek(fd, 0, SEEK_END);
    px_respond(request, MHD_HTTP_OK, respond_with(request, &fd, 0, (uint64_t)size, "application/x-tar"));
}

static void answer_list(struct px_http_request *request, const pyexec_file_list *files)
{
    json_t *list = json_array();
    for (size_t i = 0; i < pyexec_file_list_count(files); i++) {
        const pyexec_file *file = pyexec_file_list_get(files, i);
        px_json_append(list, json_pack("{s:s, s:I}", "path", pyexec_file_path(file), "bytes",
                                       (json_int_t)pyexec_file_bytes(file)));
    }
    px_respond_json(request, MHD_HTTP_OK, px_json_take_text(json_pack("{s:o}", "files", list)));
}

void px_file_routes_list(struct px_http_request *request)
{
    pyexec_error error;
    pyexec_file_list *files = NULL;
    const char *accept = px_http_request_header(request, "Accept");
    if (pyexec_session_files(request->server->executor, request->session_key, NULL, &files, &error) < 0)
        px_file_routes_answer_error(request, &error);
    else if (accept && strstr(accept, "application/x-tar"))
        answer_archive(request, files);
    else
        answer_list(request, files);
    pyexec_file_list_free(files);
}

/* Because of headers and padding, an archive may have twice the bytes that the workspace may have. */
static int archive_room(struct px_http_request *request, pyexec_error *error)
{
    pyexec_session_list *list = NULL;
    if (pyexec_sessions(request->server->executor, request->session_key, &list, error) < 0)
        return -1;
    request->body_room = 2 * pyexec_session_info_workspace_bytes(pyexec_session_list_get(list, 0)) + (1u << 20);
    pyexec_session_list_free(list);
    return 0;
}

int px_file_routes_open_archive(struct px_http_request *request, pyexec_error *error)
{
    if (archive_room(request, error) < 0)
        return -1;
    request->body_fd = temporary(request, error);
    return request->body_fd < 0 ? -1 : 0;
}

/* Returns the entry's path in *ret_path, or NULL for a folder. A folder is not unpacked: it is made with the files
 * in it. */
static int check_entry(struct archive_entry *entry, const char **ret_path, pyexec_error *error)
{
    const char *path = archive_entry_pathname(entry);
    if (!path) /* the machine has no UTF-8 locale */
        path = archive_entry_pathname_utf8(entry);
    *ret_path = NULL;
    if (archive_entry_filetype(entry) == AE_IFDIR && !archive_entry_hardlink(entry))
        return 0;
    if (!path || archive_entry_filetype(entry) != AE_IFREG || archive_entry_hardlink(entry)) {
        px_error_set(error, PYEXEC_INVALID_REQUEST, "'%.200s' in the archive is not a regular file", path ? path : "?");
        return px_error_hint(error, "Leave links and special files out.");
    }
    *ret_path = strncmp(path, "./", 2) == 0 ? path + 2 : path;
    return 0;
}

/* Writes one entry as if it were the only upload. */
static int unpack_one(struct px_http_request *request, struct archive *archive, struct archive_entry *entry,
                      pyexec_error *error)
{
    pyexec_executor *executor = request->server->executor;
    const char *path;
    px_auto_fd int fd = -1;
    uint64_t room;
    if (check_entry(entry, &path, error) < 0)
        return -1;
    if (!path)
        return 0;
    if (!request->upload)
        request->upload = px_random_name(UPLOAD_PREFIX);
    if (!request->upload)
        return px_error_oom(error);
    if (pyexec_session_open_file(executor, request->session_key, request->upload, true, &fd, &room, error) < 0)
        return -1;
    if (archive_entry_size(entry) < 0 || (uint64_t)archive_entry_size(entry) > room) {
        px_error_errno(error, PYEXEC_INVALID_REQUEST, ENOSPC, "can't unpack '%.200s'", path);
        return px_error_hint(error,
                             "Delete files, or ask the operator of the server to raise workspace_bytes of the policy.");
    }
    if (archive_read_data_into_fd(archive, fd) != ARCHIVE_OK)
        return fail(archive, path, error);
    return pyexec_session_rename_file(executor, request->session_key, request->upload, path, error);
}

static int unpack(struct px_http_request *request, pyexec_error *error)
{
    px_auto(leave_utf8) struct locale_scope scope = enter_utf8();
    struct archive *archive = archive_read_new();
    struct archive_entry *entry;
    int status =
        archive && archive_read_support_format_tar(archive) == ARCHIVE_OK && lseek(request->body_fd, 0, SEEK_SET) == 0
            ? 0
            : px_error_oom(error);
    if (status == 0 && archive_read_open_fd(archive, request->body_fd, FILE_BLOCK_BYTES) != ARCHIVE_OK)
        status = fail(archive, "the archive", error);
    while (status == 0) {
        int next = archive_read_next_header(archive, &entry);
        if (next == ARCHIVE_EOF)
            break;
        /* ARCHIVE_WARN: the locale can't represent a name. */
        status =
            next >= ARCHIVE_WARN ? unpack_one(request, archive, entry, error) : fail(archive, "the archive", error);
    }
    archive_read_free(archive);
    return status;
}

void px_file_routes_unpack(struct px_http_request *request)
{
    pyexec_error error;
    if (request->body_fd < 0) {
        px_error_set(&error, PYEXEC_INVALID_REQUEST, "there is no archive in the body");
        px_error_hint(&error, "Send a tar archive.");
        px_file_routes_answer_error(request, &error);
    } else if (unpack(request, &error) < 0) {
        px_file_routes_answer_error(request, &error);
    } else {
        px_respond_empty(request, MHD_HTTP_NO_CONTENT);
    }
}
