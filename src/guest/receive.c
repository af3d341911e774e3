/* SPDX-License-Identifier: Apache-2.0 */
/* Reads the run message. The host is trusted, but this still checks the fields that it sends: an error in
 * the host must end only this child. */
#include <errno.h>
#include <fcntl.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/sysmacros.h>
#include <unistd.h>

#include "base/cleanup.h"
#include "base/fds.h"
#include "base/retry.h"
#include "guest/pyobject_access.h"
#include "guest/script.h"

/* A text that comes in the message or, if it is long, in a memory file. */
struct long_text {
    struct px_buffer text;
    uint64_t file_length;
    bool in_file;
};

struct intake {
    struct px_script *run;
#define PX_RUN_MARK(NAME, member) bool member;
#define PX_RUN_LONG(NAME, member, ...) struct long_text member;
#define PX_RUN_TEXT(NAME, member, ...) struct px_buffer member;
#include "protocol/run_fields.def"
    uint32_t counts[PX_RUN_KINDS];
    int fds[PX_RUN_FILES_MAX + 1]; /* the memory files and stdin, those that have arrived */
    size_t fd_count;
    size_t env_count, env_capacity;
    PyObject *allowed, *banned; /* lists; they become frozensets at the end */
};

static void intake_done(struct intake *in)
{
#define PX_RUN_LONG(NAME, member, ...) px_buffer_done(&in->member.text);
#define PX_RUN_TEXT(NAME, member, ...) px_buffer_done(&in->member);
#include "protocol/run_fields.def"
    px_close_fds(in->fds, PX_COUNT(in->fds));
    px_drop_object(&in->allowed);
    px_drop_object(&in->banned);
}

/* ---- Lists ---- */

static int take_name(PyObject *names, const struct px_wire_field *field)
{
    PyObject *name = PyUnicode_DecodeUTF8(field->bytes, (Py_ssize_t)field->length, NULL);
    if (!name)
        return -1;
    int failed = PyList_Append(names, name);
    Py_DECREF(name);
    return failed;
}

static int take_allowed_import(struct intake *in, const struct px_wire_field *field)
{
    return take_name(in->allowed, field);
}

static int take_banned_import(struct intake *in, const struct px_wire_field *field)
{
    return take_name(in->banned, field);
}

static int take_env(struct intake *in, const struct px_wire_field *field)
{
    const char *equals = memchr(field->bytes, '=', field->length);
    if (!equals || equals == field->bytes || memchr(field->bytes, '\0', field->length))
        return -1;
    if (in->env_count + 1 >= in->env_capacity) {
        size_t capacity = in->env_capacity ? in->env_capacity * 2 : 16;
        char **env = realloc(in->run->env, capacity * sizeof *env);
        if (!env)
            return -1;
        in->run->env = env;
        in->env_capacity = capacity;
    }
    char *entry = strndup(field->bytes, field->length);
    in->run->env[in->env_count] = entry;
    in->run->env[in->env_count + 1] = NULL;
    in->env_count++;
    return entry ? 0 : -1;
}

/* ---- The table ---- */

enum run_form { RUN_MARK = 1, RUN_TEXT, RUN_FILE, RUN_NUMBER, RUN_LIST };

static const struct run_row {
    enum run_form form;
    uint32_t count;               /* how often the field may come */
    size_t offset;                /* place of the mark or text in struct intake */
    uint64_t maximum;             /* the most bytes of a text */
    struct px_wire_number number; /* for a number: its place in struct px_script, its type and range */
    int (*take)(struct intake *in, const struct px_wire_field *field);
} rows[PX_RUN_KINDS] = {
#define PX_RUN_MARK(NAME, member) \
    [PX_RUN_##NAME] = {.form = RUN_MARK, .count = 1, .offset = offsetof(struct intake, member)},
#define PX_RUN_LONG(NAME, member, maximum_, ...) \
    [PX_RUN_## \
        NAME] = {.form = RUN_TEXT, .count = 1, .offset = offsetof(struct intake, member.text), .maximum = (maximum_)}, \
      [PX_RUN_##NAME## \
          _FILE] = {.form = RUN_FILE, .count = 1, .offset = offsetof(struct intake, member), .maximum = (maximum_)},
#define PX_RUN_NUMBER(NAME, wire, type, member, maximum_, value) \
    [PX_RUN_##NAME] = { \
        .form = RUN_NUMBER, .count = 1, .number = PX_WIRE_NUMBER(wire, struct px_script, member, 0, maximum_)},
#define PX_RUN_TEXT(NAME, member, maximum_, text) \
    [PX_RUN_##NAME] = {.form = RUN_TEXT, .count = 1, .offset = offsetof(struct intake, member), .maximum = (maximum_)},
#define PX_RUN_LIST(NAME, maximum_, take_, add) \
    [PX_RUN_##NAME] = {.form = RUN_LIST, .count = (maximum_), .take = take_},
#include "protocol/run_fields.def"
};

static int take_file(struct long_text *to, const struct px_wire_field *field, uint64_t maximum)
{
    const struct px_wire_number length = PX_WIRE_NUMBER(uint64_t, struct long_text, file_length, 0, maximum);
    to->in_file = true;
    return px_wire_take_number(&length, field, to);
}

static int take_field(struct intake *in, const struct px_wire_field *field)
{
    if (field->kind >= PX_RUN_KINDS)
        return -1;
    const struct run_row *row = &rows[field->kind];
    char *member = (char *)in + row->offset;
    if (in->counts[field->kind]++ >= row->count)
        return -1;
    switch (row->form) {
    case RUN_MARK:
        *(bool *)member = true;
        return field->length ? -1 : 0;
    case RUN_TEXT:
        return px_wire_take_text((struct px_buffer *)member, field, row->maximum);
    case RUN_FILE:
        return take_file((struct long_text *)member, field, row->maximum);
    case RUN_NUMBER:
        return px_wire_take_number(&row->number, field, in->run);
    case RUN_LIST:
        return row->take(in, field);
    }
    return -1;
}

/* Reads one packet. The descriptors of the message come with its first packet. */
static int take_packet(int channel, char *packet, struct intake *in)
{
    size_t count = 0, offset = 0;
    ssize_t size = px_receive_fds(channel, packet, PX_PACKET_MAX, in->fds + in->fd_count,
                                  PX_COUNT(in->fds) - in->fd_count, &count);
    if (size <= 0)
        return -1;
    in->fd_count += count;
    struct px_wire_field field;
    int more;
    while (!in->ended && (more = px_wire_next(packet, (size_t)size, &offset, &field)) != 0)
        if (more < 0 || take_field(in, &field) < 0)
            return -1;
    return in->ended && offset != (size_t)size ? -1 : 0;
}

static int read_file(int fd, struct long_text *long_text)
{
    size_t length = (size_t)long_text->file_length;
    char *to = long_text->text.length ? NULL : px_buffer_reserve(&long_text->text, length);
    if (!to)
        return -1;
    size_t have = 0;
    while (have < length) {
        ssize_t n = px_pread(fd, to + have, length - have, (off_t)have);
        if (n <= 0)
            return -1;
        have += (size_t)n;
    }
    to[have] = '\0';
    long_text->text.length = have;
    return 0;
}

/* Reads the memory files. Their descriptors come in the order of the table. */
static int read_files(struct intake *in, size_t *ret_count)
{
    *ret_count = 0;
    for (size_t kind = 0; kind < PX_RUN_KINDS; kind++) {
        struct long_text *long_text = (struct long_text *)((char *)in + rows[kind].offset);
        if (rows[kind].form != RUN_FILE || !long_text->in_file)
            continue;
        if (*ret_count >= in->fd_count || read_file(in->fds[(*ret_count)++], long_text) < 0)
            return -1;
    }
    return 0;
}

/* True if the descriptor is still as it was opened here: /dev/null without any flag that F_SETFL can set
 * (fcntl(2)). */
static bool is_null_device(int fd)
{
    const int settable = O_APPEND | O_ASYNC | O_DIRECT | O_NOATIME | O_NONBLOCK;
    struct stat status;
    return fstat(fd, &status) == 0 && S_ISCHR(status.st_mode) && status.st_rdev == makedev(1, 3) &&
           (fcntl(fd, F_GETFL) & (O_ACCMODE | settable)) == O_RDONLY;
}

static int open_null_input(void)
{
    px_auto_fd int null_fd = px_open("/dev/null", O_RDONLY | O_CLOEXEC, 0);
    if (null_fd < 0 && errno == EMFILE) {
        /* The script has opened as many files as it may. Descriptor 0 can still be replaced. */
        close(0);
        null_fd = px_open("/dev/null", O_RDONLY | O_CLOEXEC, 0);
    }
    if (null_fd == 0) {
        null_fd = -1;
        return fcntl(0, F_SETFD, 0);
    }
    return null_fd >= 0 && dup2(null_fd, 0) == 0 ? 0 : -1;
}

/* Replaces descriptor 0 with the standard input of this call, whose descriptor comes after those of the `files`
 * memory files. A call without input gets /dev/null. */
static int place_input(const struct intake *in, size_t files)
{
    in->run->new_input = in->has_input || !is_null_device(0);
    if (!in->run->new_input)
        return 0;
    if (!in->has_input)
        return open_null_input();
    return in->fd_count > files && dup2(in->fds[files], 0) == 0 ? 0 : -1;
}

static int hand_over(struct intake *in)
{
    struct px_script *run = in->run;
    bool whole = true;
    if (!in->filename.length)
        px_buffer_add_string(&in->filename, "<cell>");
#define PX_RUN_LONG(NAME, member, ...) \
    run->member##_length = in->member.text.length; \
    run->member = px_buffer_take(&in->member.text); \
    whole = whole && run->member;
#define PX_RUN_TEXT(NAME, member, ...) \
    run->member = px_buffer_take(&in->member); \
    whole = whole && run->member;
#include "protocol/run_fields.def"
    if (!run->env)
        run->env = calloc(1, sizeof *run->env);
    if (!(run->flags & PX_RUN_FLAG_SAME_IMPORTS)) {
        Py_XDECREF(run->allowed);
        Py_XDECREF(run->banned);
        run->allowed = PyFrozenSet_New(in->allowed);
        run->banned = PyFrozenSet_New(in->banned);
    }
    return whole && run->env && run->allowed && run->banned ? 0 : -1;
}

static void forget_last(struct px_script *run)
{
#define PX_RUN_LONG(NAME, member, ...) free(run->member);
#define PX_RUN_TEXT(NAME, member, ...) free(run->member);
#include "protocol/run_fields.def"
    for (char **entry = run->env; entry && *entry; entry++)
        free(*entry);
    free(run->env);
    *run = (struct px_script){.out = run->out,
                              .max_value = 65536,
                              .max_open_files = UINT64_MAX,
                              .allowed = run->allowed,
                              .banned = run->banned};
}

int px_script_receive(int channel, struct px_script *run)
{
    forget_last(run);
    size_t files = 0;
    px_auto(intake_done) struct intake in = {.run = run, .allowed = PyList_New(0), .banned = PyList_New(0)};
    memset(in.fds, -1, sizeof in.fds);
    px_auto_free char *packet = malloc(PX_PACKET_MAX);
    int failed = packet && in.allowed && in.banned ? 0 : -1;
    while (!failed && !in.ended)
        failed = take_packet(channel, packet, &in);
    if (!failed)
        failed = read_files(&in, &files);
    if (!failed && (in.has_input || run->flags & PX_RUN_FLAG_SESSION))
        failed = place_input(&in, files);
    if (!failed)
        failed = hand_over(&in);
    if (failed)
        PyErr_Clear();
    return failed ? -1 : 0;
}
