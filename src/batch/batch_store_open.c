/* SPDX-License-Identifier: Apache-2.0 */
/* Reads what an earlier `pyexec batch` has written to the same output. A half of a line at the end of a file is cut off. */
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <time.h>

#include "base/cleanup.h"
#include "base/error.h"
#include "base/fds.h"
#include "base/json_find.h"
#include "base/retry.h"
#include "base/trace_context.h"
#include "batch/batch_store.h"

#define STATE_HEAD "pyexec-batch 1"
#define RESULT_HEAD_BYTES 8192 /* of a result: its id is in them */
#define DEAD_BYTES 131072      /* the longest dead letter */
#define DEAD_NEW ".new"        /* the file that takes the place of the dead letters */

typedef int line_fn(struct batch_store *store, const struct batch_line *line, pyexec_error *error);

static int not_ours(const struct batch_store *store, enum batch_file file, uint64_t line, pyexec_error *error)
{
    px_error_set(error, PYEXEC_INVALID_REQUEST, "'%s': line %llu was not written by `pyexec batch run`",
                 store->paths[file], (unsigned long long)line);
    return px_error_hint(error, "Give another --output, or remove the files of this one to run all tasks again.");
}

static int read_failed(const struct batch_store *store, enum batch_file file, pyexec_error *error)
{
    px_error_errno(error, PYEXEC_INTERNAL, errno, "can't read '%s'", store->paths[file]);
    return px_error_hint(error, "Give another --output.");
}

/* Calls `take` for each line. */
static int scan(struct batch_store *store, enum batch_file file, size_t keep, line_fn *take, pyexec_error *error)
{
    px_auto(batch_lines_done) struct batch_lines lines;
    struct batch_line line;
    int status, fd = store->fds[file];
    batch_lines_init(&lines, fd, keep);
    while ((status = batch_lines_next(&lines, &line)) > 0 && line.complete)
        if (take(store, &line, error) < 0)
            return -1;
    if (status < 0)
        return read_failed(store, file, error);
    store->ends[file] = line.offset;
    if (status > 0) {
        store->cut++;
        if (px_ftruncate(fd, line.offset) < 0)
            return read_failed(store, file, error);
    }
    return 0;
}

/* ---- The journal ---- */

static int add_epoch(struct batch_store *store, int64_t began_s, const char *number, pyexec_error *error)
{
    struct batch_epoch *epochs = reallocarray(store->epochs, store->epoch_count + 1, sizeof *epochs);
    if (!epochs || store->epoch_count >= BATCH_NUMBER_MAX)
        return px_error_oom(error);
    store->epochs = epochs;
    struct batch_epoch *epoch = &epochs[store->epoch_count++];
    *epoch = (struct batch_epoch){.began_s = began_s};
    snprintf(epoch->number, sizeof epoch->number, "%s", number);
    return 0;
}

static int take_state(struct batch_store *store, const struct batch_line *line, pyexec_error *error)
{
    struct batch_hash hash;
    long long began;
    char number[BATCH_NUMBER_HEX + 1];
    const char *text = line->text;
    if (line->number == 1)
        return strcmp(text, STATE_HEAD) == 0 ? 0 : not_ours(store, BATCH_STATE, 1, error);
    if (sscanf(text, "@ %19lld %32[0-9a-f]", &began, number) == 2)
        return add_epoch(store, began, number, error);
    bool back = *text == '-';
    if (line->length != (size_t)BATCH_HASH_HEX + back || !store->epoch_count || !batch_hash_parse(text + back, &hash))
        return not_ours(store, BATCH_STATE, line->number, error);
    struct batch_id *slot = batch_ids_add(&store->open, &hash);
    if (!slot)
        return px_error_oom(error);
    slot->number = (uint32_t)(store->epoch_count - 1) & BATCH_NUMBER_MAX;
    slot->settled = back;
    return 0;
}

/* ---- Results and dead letters ---- */

/* The id of a line, which begins {"id":ID. Returns false if it has none. */
static bool id_of(const struct batch_line *line, struct batch_hash *ret)
{
    struct px_json_span id = px_json_find((struct px_json_span){line->text, line->length}, "id");
    json_error_t problem;
    px_auto_json json_t *value =
        id.at ? px_json_read(id.at, id.length, JSON_DECODE_ANY | JSON_ALLOW_NUL, &problem) : NULL;
    return batch_task_id_hash(value, ret);
}

static int settle(struct batch_store *store, const struct batch_hash *hash, pyexec_error *error)
{
    struct batch_id *slot = batch_ids_add(&store->ids, hash), *open = batch_ids_find(&store->open, hash);
    if (!slot)
        return px_error_oom(error);
    slot->settled = 1;
    if (open)
        open->settled = 1;
    return 0;
}

static int take_result(struct batch_store *store, const struct batch_line *line, pyexec_error *error)
{
    struct batch_hash hash;
    if (!id_of(line, &hash))
        return not_ours(store, BATCH_RESULTS, line->number, error);
    return settle(store, &hash, error);
}

/* A task that certainly did not run is run again, so its dead letter is dropped; with --retry-lost each is. */
static int keep_dead(struct batch_store *store, const struct batch_line *line, int fd, bool retry_lost,
                     pyexec_error *error)
{
    struct batch_hash hash;
    json_error_t problem;
    px_auto_json json_t *dead = line->whole ? px_json_read(line->text, line->length, JSON_ALLOW_NUL, &problem) : NULL;
    if (!batch_task_id_hash(json_object_get(dead, "id"), &hash))
        return not_ours(store, BATCH_DEAD, line->number, error);
    if (retry_lost || !json_is_true(json_object_get(dead, "may_have_run"))) {
        struct batch_id *open = batch_ids_find(&store->open, &hash);
        if (open)
            open->settled = 1;
        return 0;
    }
    store->dead_before++;
    if (px_write_all(fd, line->text, line->length) < 0 || px_write_all(fd, "\n", 1) < 0) {
        px_error_errno(error, PYEXEC_INTERNAL, errno, "can't write '%s%s'", store->paths[BATCH_DEAD], DEAD_NEW);
        return px_error_hint(error, "Free some space.");
    }
    return settle(store, &hash, error);
}

static int copy_dead(struct batch_store *store, int from, int to, bool retry_lost, pyexec_error *error)
{
    px_auto(batch_lines_done) struct batch_lines lines;
    struct batch_line line;
    int status;
    batch_lines_init(&lines, from, DEAD_BYTES);
    while ((status = batch_lines_next(&lines, &line)) > 0 && line.complete)
        if (keep_dead(store, &line, to, retry_lost, error) < 0)
            return -1;
    store->cut += status > 0;
    return status < 0 ? read_failed(store, BATCH_DEAD, error) : 0;
}

/* Writes the dead letters that stay into a new file, which takes the place of the old one. */
static int rewrite_dead(struct batch_store *store, bool retry_lost, pyexec_error *error)
{
    const char *path = store->paths[BATCH_DEAD];
    px_auto_buffer struct px_buffer other = {0};
    px_auto_fd int from = px_open(path, O_RDONLY | O_CLOEXEC | O_NOFOLLOW | O_NONBLOCK, 0);
    if (from < 0)
        return errno == ENOENT ? 0 : read_failed(store, BATCH_DEAD, error);
    px_buffer_printf(&other, "%s%s", path, DEAD_NEW);
    if (!px_buffer_ok(&other))
        return px_error_oom(error);
    unlink(other.data); /* of a command that was killed */
    px_auto_fd int to = px_open(other.data, O_WRONLY | O_CREAT | O_EXCL | O_NOFOLLOW | O_CLOEXEC, 0666);
    if (to < 0) {
        px_error_errno(error, PYEXEC_INTERNAL, errno, "can't make '%s'", other.data);
        return px_error_hint(error, "Remove what has this name, and give an --output in a folder where you may write.");
    }
    if (copy_dead(store, from, to, retry_lost, error) < 0) {
        unlink(other.data);
        return -1;
    }
    if (px_fsync(to) == 0 && rename(other.data, path) == 0 && (store->dead_before || unlink(path) == 0))
        return 0;
    px_error_errno(error, PYEXEC_INTERNAL, errno, "can't replace '%s'", path);
    unlink(other.data);
    return px_error_hint(error, "Free some space, or give another --output.");
}

/* ---- Opening ---- */

/* results.jsonl → results.state, results.dead.jsonl */
static int name_files(struct batch_store *store, const char *output, pyexec_error *error)
{
    static const char ending[] = ".jsonl";
    size_t length = strlen(output), tail = sizeof ending - 1;
    bool has = length > tail && strcmp(output + length - tail, ending) == 0;
    int stem = (int)(has ? length - tail : length);
    if (asprintf(&store->paths[BATCH_STATE], "%.*s.state", stem, output) < 0)
        store->paths[BATCH_STATE] = NULL;
    if (asprintf(&store->paths[BATCH_DEAD], "%.*s.dead.jsonl", stem, output) < 0)
        store->paths[BATCH_DEAD] = NULL;
    store->paths[BATCH_RESULTS] = strdup(output);
    return store->paths[0] && store->paths[1] && store->paths[2] ? 0 : px_error_oom(error);
}

static int open_file(struct batch_store *store, enum batch_file file, pyexec_error *error)
{
    const char *path = store->paths[file];
    struct stat info;
    int follow = file == BATCH_RESULTS ? 0 : O_NOFOLLOW; /* the user has named only the results */
    int fd = store->fds[file] =
        px_open(path, O_RDWR | O_CREAT | O_APPEND | O_CLOEXEC | O_NOCTTY | O_NONBLOCK | follow, 0666);
    if (fd < 0 || fstat(fd, &info) < 0) {
        px_error_errno(error, PYEXEC_INVALID_REQUEST, errno, "can't open '%s'", path);
        return px_error_hint(error, "Give an --output in a folder where you may write.");
    }
    if (S_ISREG(info.st_mode))
        return 0;
    px_error_set(error, PYEXEC_INVALID_REQUEST, "'%s' is not a file", path);
    return px_error_hint(error, "Results are read again when the batch continues: give a file as --output.");
}

/* Results without a journal, or the other way round, are not those of one batch. */
static int check_pair(const struct batch_store *store, bool had_results, pyexec_error *error)
{
    bool had_state = store->ends[BATCH_STATE] > 0;
    if (had_state == had_results)
        return 0;
    px_error_set(error, PYEXEC_INVALID_REQUEST, "'%s' is there, and '%s' is not",
                 store->paths[had_state ? BATCH_STATE : BATCH_RESULTS],
                 store->paths[had_state ? BATCH_RESULTS : BATCH_STATE]);
    return px_error_hint(error, "They belong together. Give another --output, or remove both to run all tasks again.");
}

static int begin_epoch(struct batch_store *store, pyexec_error *error)
{
    px_auto_buffer struct px_buffer text = {0};
    char number[BATCH_NUMBER_HEX + 1];
    int64_t now = (int64_t)time(NULL);
    if (px_trace_make_id(number, BATCH_NUMBER_HEX) < 0)
        return px_error_errno(error, PYEXEC_INTERNAL, errno, "can't make a random number");
    if (!store->ends[BATCH_STATE])
        px_buffer_printf(&text, "%s\n", STATE_HEAD);
    px_buffer_printf(&text, "@ %lld %s\n", (long long)now, number);
    int fd = store->fds[BATCH_STATE];
    if (!px_buffer_ok(&text) || px_write_all(fd, text.data, text.length) < 0 || px_fsync(fd) < 0) {
        int saved = errno;
        (void)!px_ftruncate(fd, store->ends[BATCH_STATE]);
        px_error_errno(error, PYEXEC_INTERNAL, saved, "can't write '%s'", store->paths[BATCH_STATE]);
        return px_error_hint(error, "Free some space, or give another --output.");
    }
    store->ends[BATCH_STATE] += (off_t)text.length;
    return add_epoch(store, now, number, error);
}

static int lock(struct batch_store *store, pyexec_error *error)
{
    if (px_lock_file(store->fds[BATCH_STATE], true) == 0)
        return 0;
    px_error_set(error, PYEXEC_INVALID_REQUEST, "another `pyexec batch run` writes '%s'", store->paths[BATCH_RESULTS]);
    return px_error_hint(error, "Wait until it has ended, or give another --output.");
}

int batch_store_open(struct batch_store *ret, const char *output, bool retry_lost, pyexec_error *error)
{
    struct stat info;
    *ret = (struct batch_store){.fds = {-1, -1, -1}};
    if (name_files(ret, output, error) < 0)
        return -1;
    bool had_results = stat(output, &info) == 0 && info.st_size > 0;
    if (open_file(ret, BATCH_STATE, error) < 0 || lock(ret, error) < 0 ||
        scan(ret, BATCH_STATE, 128, take_state, error) < 0)
        return -1;
    had_results = had_results || (ret->ends[BATCH_STATE] && stat(output, &info) == 0);
    if (check_pair(ret, had_results, error) < 0) {
        if (!ret->ends[BATCH_STATE])
            unlink(ret->paths[BATCH_STATE]);
        return -1;
    }
    return open_file(ret, BATCH_RESULTS, error) < 0 ||
                   scan(ret, BATCH_RESULTS, RESULT_HEAD_BYTES, take_result, error) < 0 ||
                   rewrite_dead(ret, retry_lost, error) < 0 || begin_epoch(ret, error) < 0
               ? -1
               : 0;
}
