#include "serve/files.h"

#include <archive.h>
#include <archive_entry.h>
#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include <jansson.h>

#include "base/cleanup.h"
#include "base/error.h"
#include "base/json.h"
#include "serve/server.h"

#define BLOCK 65536

static void answer_error(struct px_request *request, const pyexec_error *error)
{
    if (error->code == PYEXEC_INVALID_REQUEST && error->sys_errno == ENOENT)
        px_answer_problem(request, MHD_HTTP_NOT_FOUND, "not_found", error->message,
                          "GET the list of files.");
    else if (error->sys_errno == ENOSPC || error->sys_errno == EDQUOT || error->sys_errno == EFBIG)
        px_answer_problem(request, MHD_HTTP_INSUFFICIENT_STORAGE, "invalid_request", error->message,
                          "Delete files, or have the policy's workspace_bytes raised.");
    else
        px_answer_error(request, error);
}

/* ---- One file ---- */

int px_files_open(struct px_request *request, pyexec_error *error)
{
    uint64_t ignored;
    return pyexec_session_open_file(request->server->executor, request->session_key, request->rest,
                                    true, &request->body_fd, &ignored, error);
}

void px_files_put(struct px_request *request)
{
    pyexec_error error;
    if (request->body_fd < 0 && px_files_open(request, &error) < 0)
        answer_error(request, &error);
    else
        px_answer_empty(request, MHD_HTTP_NO_CONTENT);
}

void px_files_delete(struct px_request *request)
{
    pyexec_error error;
    if (pyexec_session_delete_file(request->server->executor, request->session_key, request->rest, &error) < 0)
        answer_error(request, &error);
    else
        px_answer_empty(request, MHD_HTTP_NO_CONTENT);
}

/* RFC 9110, section 14: one range of bytes. 1 with it, 0: the whole file is meant, -1: outside. */
static int parse_range(const char *header, uint64_t size, uint64_t *ret_first, uint64_t *ret_count)
{
    char *end;
    if (!header || strncmp(header, "bytes=", 6) != 0 || strchr(header, ','))
        return 0;
    header += 6;
    bool suffix = *header == '-';
    if (!(suffix ? header[1] >= '0' && header[1] <= '9' : *header >= '0' && *header <= '9'))
        return 0;
    uint64_t first = strtoull(header + suffix, &end, 10), last = size - 1;
    if (suffix) {
        if (*end || !first || !size)
            return *end ? 0 : -1;
        *ret_first = first < size ? size - first : 0;
        *ret_count = size - *ret_first;
        return 1;
    }
    if (*end != '-')
        return 0;
    if (end[1]) {
        char *rest;
        if (end[1] < '0' || end[1] > '9')
            return 0;
        last = strtoull(end + 1, &rest, 10);
        if (*rest || last < first)
            return 0;
    }
    if (first >= size)
        return -1;
    *ret_first = first;
    *ret_count = (last < size ? last + 1 : size) - first;
    return 1;
}

/* The response owns the descriptor. */
static struct MHD_Response *respond_with(struct px_request *request, int *fd, uint64_t first,
                                         uint64_t count, const char *type)
{
    struct MHD_Response *response = MHD_create_response_from_fd_at_offset64(count, *fd, first);
    if (!response)
        return NULL;
    (void)TAKE_FD(*fd);
    MHD_add_response_header(response, "Content-Type", type);
    MHD_add_response_header(response, "Content-Disposition", "attachment");
    MHD_add_response_header(response, "Cache-Control", "no-store");
    request->answer_bytes += count;
    return response;
}

void px_files_get(struct px_request *request)
{
    pyexec_error error;
    px_auto_fd int fd = -1;
    uint64_t size = 0, first = 0, count;
    char text[64];
    if (pyexec_session_open_file(request->server->executor, request->session_key, request->rest,
                                 false, &fd, &size, &error) < 0) {
        answer_error(request, &error);
        return;
    }
    count = size;
    int range = parse_range(px_request_header(request, "Range"), size, &first, &count);
    if (range < 0) {
        snprintf(text, sizeof text, "The file has %llu bytes.", (unsigned long long)size);
        px_answer_problem(request, MHD_HTTP_RANGE_NOT_SATISFIABLE, "invalid_request",
                          "the range is outside the file", text);
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
    px_answer(request, range ? MHD_HTTP_PARTIAL_CONTENT : MHD_HTTP_OK, response);
}

/* ---- All of them ---- */

/* Archives are made in, and unpacked from, a file without a name: constant memory. */
static int temporary(pyexec_error *error)
{
    const char *folder = getenv("TMPDIR");
    int fd = open(folder && *folder == '/' ? folder : "/tmp", O_TMPFILE | O_RDWR | O_CLOEXEC, 0600);
    if (fd < 0)
        px_error_errno(error, PYEXEC_INTERNAL, errno, "can't make a temporary file");
    return fd;
}

static int fail(struct archive *archive, const char *what, pyexec_error *error)
{
    int code = archive_errno(archive);
    px_error_set(error, PYEXEC_INVALID_REQUEST, "%s: %s", what, archive_error_string(archive));
    error->sys_errno = code > 0 ? code : 0;
    return px_error_hint(error, "Send a tar archive of regular files, and leave room for it.");
}

static int pack_one(struct px_request *request, struct archive *archive, const char *path,
                    pyexec_error *error)
{
    px_auto_fd int fd = -1;
    uint64_t size = 0, done = 0;
    char block[BLOCK];
    /* It may be gone since it was listed. */
    if (pyexec_session_open_file(request->server->executor, request->session_key, path, false, &fd,
                                 &size, error) < 0)
        return error->sys_errno == ENOENT ? 0 : -1;
    struct archive_entry *entry = archive_entry_new();
    archive_entry_set_pathname(entry, path);
    archive_entry_set_size(entry, (la_int64_t)size);
    archive_entry_set_filetype(entry, AE_IFREG);
    archive_entry_set_perm(entry, 0644);
    int status = archive_write_header(archive, entry) == ARCHIVE_OK ? 0 : fail(archive, path, error);
    archive_entry_free(entry);
    while (status == 0 && done < size) {
        size_t want = size - done < BLOCK ? (size_t)(size - done) : BLOCK;
        ssize_t n = read(fd, block, want);
        if (n < 0 && errno == EINTR)
            continue;
        if (n <= 0)         /* it shrank: libarchive fills up with zeros */
            break;
        if (archive_write_data(archive, block, (size_t)n) < 0)
            status = fail(archive, path, error);
        done += (uint64_t)n;
    }
    return status;
}

static int pack(struct px_request *request, const json_t *files, int fd, pyexec_error *error)
{
    struct archive *archive = archive_write_new();
    size_t i;
    json_t *file;
    int status = archive && archive_write_set_format_pax_restricted(archive) == ARCHIVE_OK &&
                         archive_write_open_fd(archive, fd) == ARCHIVE_OK
                     ? 0
                     : px_error_oom(error);
    json_array_foreach(files, i, file)
        if (status == 0)
            status = pack_one(request, archive, json_string_value(json_object_get(file, "path")), error);
    if (status == 0 && archive_write_close(archive) != ARCHIVE_OK)
        status = fail(archive, "the archive", error);
    archive_write_free(archive);
    return status;
}

static void answer_archive(struct px_request *request, const json_t *files)
{
    pyexec_error error;
    px_auto_fd int fd = temporary(&error);
    if (fd < 0 || pack(request, files, fd, &error) < 0) {
        answer_error(request, &error);
        return;
    }
    off_t size = lseek(fd, 0, SEEK_END);
    px_answer(request, MHD_HTTP_OK, respond_with(request, &fd, 0, (uint64_t)size, "application/x-tar"));
}

void px_files_list(struct px_request *request)
{
    pyexec_error error;
    px_auto_free char *text = NULL;
    const char *accept = px_request_header(request, "Accept");
    if (pyexec_session_list_files(request->server->executor, request->session_key, &text, &error) < 0) {
        answer_error(request, &error);
        return;
    }
    json_t *files = json_loads(text, 0, NULL);
    if (accept && strstr(accept, "application/x-tar")) {
        answer_archive(request, files);
        json_decref(files);
        return;
    }
    px_answer_json(request, MHD_HTTP_OK, px_json_take_text(json_pack("{s:o*}", "files", files)));
}

int px_files_open_archive(struct px_request *request, pyexec_error *error)
{
    request->body_fd = temporary(error);
    return request->body_fd < 0 ? -1 : 0;
}

static int unpack_one(struct px_request *request, struct archive *archive,
                      struct archive_entry *entry, pyexec_error *error)
{
    const char *path = archive_entry_pathname(entry);
    px_auto_fd int fd = -1;
    uint64_t ignored;
    if (archive_entry_filetype(entry) == AE_IFDIR && !archive_entry_hardlink(entry))
        return 0;       /* made with what is in it */
    if (!path || archive_entry_filetype(entry) != AE_IFREG || archive_entry_hardlink(entry)) {
        px_error_set(error, PYEXEC_INVALID_REQUEST, "'%.200s' in the archive is not a regular file",
                     path ? path : "?");
        return px_error_hint(error, "Leave links and special files out.");
    }
    if (strncmp(path, "./", 2) == 0)
        path += 2;
    if (pyexec_session_open_file(request->server->executor, request->session_key, path, true, &fd,
                                 &ignored, error) < 0)
        return -1;
    return archive_read_data_into_fd(archive, fd) == ARCHIVE_OK ? 0 : fail(archive, path, error);
}

static int unpack(struct px_request *request, pyexec_error *error)
{
    struct archive *archive = archive_read_new();
    struct archive_entry *entry;
    int status = archive && archive_read_support_format_tar(archive) == ARCHIVE_OK &&
                         lseek(request->body_fd, 0, SEEK_SET) == 0
                     ? 0
                     : px_error_oom(error);
    if (status == 0 && archive_read_open_fd(archive, request->body_fd, BLOCK) != ARCHIVE_OK)
        status = fail(archive, "the archive", error);
    while (status == 0) {
        int next = archive_read_next_header(archive, &entry);
        if (next == ARCHIVE_EOF)
            break;
        status = next == ARCHIVE_OK ? unpack_one(request, archive, entry, error)
                                    : fail(archive, "the archive", error);
    }
    archive_read_free(archive);
    return status;
}

void px_files_unpack(struct px_request *request)
{
    pyexec_error error;
    if (request->body_fd < 0) {
        px_error_set(&error, PYEXEC_INVALID_REQUEST, "there is no archive in the body");
        px_error_hint(&error, "Send a tar archive.");
        answer_error(request, &error);
    } else if (unpack(request, &error) < 0) {
        answer_error(request, &error);
    } else {
        px_answer_empty(request, MHD_HTTP_NO_CONTENT);
    }
}
