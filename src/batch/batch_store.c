/* SPDX-License-Identifier: Apache-2.0 */
/* Writing. batch_store_open.c reads what an earlier command has written. */
#include "batch/batch_store.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/cleanup.h"
#include "base/error.h"
#include "base/fds.h"
#include "base/json_text.h"
#include "base/retry.h"

#define RESULTS_RESERVE_BYTES ((off_t)16 << 20) /* for the results of tasks that run when the disk is full */

static int write_failed(const struct batch_store *store, enum batch_file file, int sys_errno, pyexec_error *error)
{
    bool full = sys_errno == ENOSPC || sys_errno == EDQUOT || sys_errno == EFBIG;
    px_error_errno(error, PYEXEC_INTERNAL, sys_errno, "can't write '%s'", store->paths[file]);
    return px_error_hint(error, "%s",
                         full ? "Free some space." : "Is the folder still there, and may you write there?");
}

/* Appends whole lines. After a failure, what was written of them is cut off. */
static int append(struct batch_store *store, enum batch_file file, const struct px_buffer *text, pyexec_error *error)
{
    int fd = store->fds[file];
    if (!px_buffer_ok(text))
        return px_error_oom(error);
    if (store->broken[file])
        return write_failed(store, file, EIO, error);
    if (px_write_all(fd, text->data, text->length) == 0) {
        store->ends[file] += (off_t)text->length;
        return 0;
    }
    int saved = errno;
    store->broken[file] = px_ftruncate(fd, store->ends[file]) < 0;
    return write_failed(store, file, saved, error);
}

/* Makes sure that the results of the tasks in progress can be written. Not every file system can promise it. */
static int reserve(struct batch_store *store, pyexec_error *error)
{
    off_t end = store->ends[BATCH_RESULTS];
    if (end + RESULTS_RESERVE_BYTES / 2 <= store->reserved)
        return 0;
    if (px_fallocate(store->fds[BATCH_RESULTS], FALLOC_FL_KEEP_SIZE, end, RESULTS_RESERVE_BYTES) < 0 &&
        (errno == ENOSPC || errno == EDQUOT))
        return write_failed(store, BATCH_RESULTS, errno, error);
    store->reserved = end + RESULTS_RESERVE_BYTES;
    return 0;
}

static int write_hash(struct batch_store *store, const char *before, const struct batch_task *task, pyexec_error *error)
{
    char hex[BATCH_HASH_HEX + 1];
    px_auto_buffer struct px_buffer line = {0};
    batch_hash_format(&task->hash, hex);
    px_buffer_printf(&line, "%s%s\n", before, hex);
    return append(store, BATCH_STATE, &line, error);
}

int batch_store_start(struct batch_store *store, const struct batch_task *task, pyexec_error *error)
{
    return reserve(store, error) < 0 ? -1 : write_hash(store, "", task, error);
}

int batch_store_give_back(struct batch_store *store, const struct batch_task *task, pyexec_error *error)
{
    return write_hash(store, "-", task, error);
}

/* The beginning of a line: its id and its number. */
static void add_head(struct px_buffer *out, const struct batch_task *task)
{
    px_auto_free char *id = px_json_dumps(task->id, JSON_ENCODE_ANY | JSON_COMPACT);
    px_buffer_add_string(out, "{\"id\":");
    px_buffer_add_string(out, id);
    px_buffer_printf(out, ",\"line\":%llu", (unsigned long long)task->line);
}

int batch_store_result(struct batch_store *store, const struct batch_task *task, const char *result, size_t length,
                       pyexec_error *error)
{
    px_auto_buffer struct px_buffer line = {0};
    add_head(&line, task);
    px_buffer_add_string(&line, ",\"result\":");
    px_buffer_add(&line, result, length);
    px_buffer_add_string(&line, "}\n");
    return append(store, BATCH_RESULTS, &line, error);
}

static void add_text(struct px_buffer *out, const char *name, const char *text)
{
    px_buffer_printf(out, ",\"%s\":", name);
    px_json_text_string(out, text, strlen(text));
}

int batch_store_dead(struct batch_store *store, const struct batch_task *task, const struct batch_dead *dead,
                     pyexec_error *error)
{
    px_auto_buffer struct px_buffer line = {0};
    int *fd = &store->fds[BATCH_DEAD];
    if (*fd < 0) {
        *fd = px_open(store->paths[BATCH_DEAD], O_WRONLY | O_CREAT | O_APPEND | O_CLOEXEC | O_NOFOLLOW, 0666);
        if (*fd < 0)
            return write_failed(store, BATCH_DEAD, errno, error);
        store->ends[BATCH_DEAD] = lseek(*fd, 0, SEEK_END);
    }
    add_head(&line, task);
    add_text(&line, "reason", dead->reason);
    px_buffer_printf(&line, ",\"may_have_run\":%s", dead->may_have_run ? "true" : "false");
    add_text(&line, "code", dead->code);
    add_text(&line, "message", dead->message);
    add_text(&line, "hint", dead->hint);
    px_buffer_add_string(&line, "}\n");
    if (append(store, BATCH_DEAD, &line, error) < 0)
        return -1;
    return dead->may_have_run ? 0 : batch_store_give_back(store, task, error);
}

const struct batch_epoch *batch_store_started(const struct batch_store *store, const struct batch_task *task)
{
    const struct batch_id *slot = batch_ids_find(&store->open, &task->hash);
    return slot && !slot->settled ? &store->epochs[slot->number] : NULL;
}

void batch_store_close(struct batch_store *store)
{
    if (store->reserved && !store->broken[BATCH_RESULTS]) /* gives it back */
        (void)!px_ftruncate(store->fds[BATCH_RESULTS], store->ends[BATCH_RESULTS]);
    for (size_t i = 0; i < BATCH_FILES; i++) {
        px_close_fd(&store->fds[i]);
        free(store->paths[i]);
    }
    batch_ids_done(&store->ids);
    batch_ids_done(&store->open);
    free(store->epochs);
}
