/* SPDX-License-Identifier: Apache-2.0 */
/* Reads the run message. The host is trusted, but this checks the lengths that it sends all the same: an error in
 * the host must end only this child. */
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

#define RUN_NAMES_MAX 65536 /* names in one import set */
#define RUN_ENV_MAX 4096    /* variables */
#define RUN_PATH_MAX 4096

struct intake {
    struct px_script *run;
    struct px_buffer tools, code, variables, filename, workspace, working_dir;
    uint64_t tools_length, code_length, variables_length; /* lengths of the parts that are in memory files */
    bool has_tools, has_code, has_variables, has_input, ended;
    int fds[4]; /* those memory files and stdin, those that have arrived */
    size_t fd_count;
    size_t env_count, env_capacity;
    PyObject *allowed, *banned; /* lists; they become frozensets at the end */
};

static void intake_done(struct intake *in)
{
    px_buffer_done(&in->tools);
    px_buffer_done(&in->code);
    px_buffer_done(&in->variables);
    px_buffer_done(&in->filename);
    px_buffer_done(&in->workspace);
    px_buffer_done(&in->working_dir);
    px_close_fds(in->fds, PX_COUNT(in->fds));
    px_drop_object(&in->allowed);
    px_drop_object(&in->banned);
}

static int take_number(const struct px_wire_field *field, void *ret, size_t size)
{
    if (field->length != size)
        return -1;
    memcpy(ret, field->bytes, size);
    return 0;
}

static int take_bytes(struct px_buffer *to, const struct px_wire_field *field, size_t limit)
{
    if (field->length > limit - to->length)
        return -1;
    px_buffer_add(to, field->bytes, field->length);
    return px_buffer_ok(to) ? 0 : -1;
}

static int take_name(PyObject *names, const struct px_wire_field *field)
{
    if (PyList_Size(names) >= RUN_NAMES_MAX)
        return -1;
    PyObject *name = PyUnicode_DecodeUTF8(field->bytes, (Py_ssize_t)field->length, NULL);
    if (!name)
        return -1;
    int failed = PyList_Append(names, name);
    Py_DECREF(name);
    return failed;
}

static int take_env(struct intake *in, const struct px_wire_field *field)
{
    const char *equals = memchr(field->bytes, '=', field->length);
    if (!equals || equals == field->bytes || memchr(field->bytes, '\0', field->length) || in->env_count >= RUN_ENV_MAX)
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

static int take_files(struct px_script *run, const struct px_wire_field *field)
{
    uint8_t files;
    if (take_number(field, &files, sizeof files) < 0 || files > PX_FILES_FULL)
        return -1;
    run->files = (enum px_files)files;
    return 0;
}

static int take_value_json(struct px_script *run, const struct px_wire_field *field)
{
    uint8_t value_json;
    if (take_number(field, &value_json, sizeof value_json) < 0 || value_json >= PX_VALUE_JSON_KINDS)
        return -1;
    run->value_json = (enum px_value_json)value_json;
    return 0;
}

static int take_field(struct intake *in, const struct px_wire_field *field)
{
    struct px_script *run = in->run;
    switch ((enum px_run_field)field->kind) {
    case PX_RUN_FLAGS:
        return take_number(field, &run->flags, sizeof run->flags);
    case PX_RUN_TOOLS:
        return take_bytes(&in->tools, field, PX_TOOLS_TEXT_MAX);
    case PX_RUN_TOOLS_FILE:
        in->has_tools = true;
        return take_number(field, &in->tools_length, sizeof in->tools_length);
    case PX_RUN_CODE:
        return take_bytes(&in->code, field, PX_CODE_MAX);
    case PX_RUN_CODE_FILE:
        in->has_code = true;
        return take_number(field, &in->code_length, sizeof in->code_length);
    case PX_RUN_VARIABLES:
        return take_bytes(&in->variables, field, PX_CODE_MAX);
    case PX_RUN_VARIABLES_FILE:
        in->has_variables = true;
        return take_number(field, &in->variables_length, sizeof in->variables_length);
    case PX_RUN_INPUT:
        in->has_input = true;
        return 0;
    case PX_RUN_FILENAME:
        return take_bytes(&in->filename, field, RUN_PATH_MAX);
    case PX_RUN_MAX_VALUE:
        return take_number(field, &run->max_value, sizeof run->max_value);
    case PX_RUN_VALUE_JSON:
        return take_value_json(run, field);
    case PX_RUN_MAX_DISPLAYS:
        return take_number(field, &run->max_displays, sizeof run->max_displays);
    case PX_RUN_MAX_DISPLAY_BYTES:
        return take_number(field, &run->max_display_bytes, sizeof run->max_display_bytes);
    case PX_RUN_TIMEOUT_MS:
        return take_number(field, &run->timeout_ms, sizeof run->timeout_ms);
    case PX_RUN_CPU_SECONDS:
        return take_number(field, &run->cpu_seconds, sizeof run->cpu_seconds);
    case PX_RUN_MEMORY_BYTES:
        return take_number(field, &run->memory_bytes, sizeof run->memory_bytes);
    case PX_RUN_MAX_OPEN_FILES:
        return take_number(field, &run->max_open_files, sizeof run->max_open_files);
    case PX_RUN_MAX_THREADS:
        return take_number(field, &run->max_threads, sizeof run->max_threads);
    case PX_RUN_FILES:
        return take_files(run, field);
    case PX_RUN_WORKSPACE:
        return take_bytes(&in->workspace, field, RUN_PATH_MAX);
    case PX_RUN_WORKING_DIR:
        return take_bytes(&in->working_dir, field, RUN_PATH_MAX);
    case PX_RUN_ALLOWED_IMPORT:
        return take_name(in->allowed, field);
    case PX_RUN_BANNED_IMPORT:
        return take_name(in->banned, field);
    case PX_RUN_ENV:
        return take_env(in, field);
    case PX_RUN_END:
        in->ended = true;
        return 0;
    case PX_RUN_NONE:
    case PX_RUN_TOOL_ANSWER:
    case PX_RUN_TOOL_TEXT:
    case PX_RUN_KINDS:
        break;
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

static int read_file(const struct intake *in, size_t index, uint64_t length, struct px_buffer *ret)
{
    if (in->fd_count <= index || length > PX_CODE_MAX || ret->length)
        return -1;
    char *to = px_buffer_reserve(ret, (size_t)length);
    if (!to)
        return -1;
    size_t have = 0;
    while (have < length) {
        ssize_t n = px_pread(in->fds[index], to + have, (size_t)length - have, (off_t)have);
        if (n <= 0)
            return -1;
        have += (size_t)n;
    }
    to[have] = '\0';
    ret->length = have;
    return 0;
}

static int read_files(struct intake *in)
{
    size_t tools = in->has_tools, code = in->has_code;
    if (in->has_tools && read_file(in, 0, in->tools_length, &in->tools) < 0)
        return -1;
    if (in->has_code && read_file(in, tools, in->code_length, &in->code) < 0)
        return -1;
    return in->has_variables ? read_file(in, tools + code, in->variables_length, &in->variables) : 0;
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

/* Replaces descriptor 0 with the standard input of this call. A call without input gets /dev/null. */
static int place_input(const struct intake *in)
{
    in->run->new_input = in->has_input || !is_null_device(0);
    if (!in->run->new_input)
        return 0;
    if (!in->has_input) {
        px_auto_fd int null_fd = px_open("/dev/null", O_RDONLY | O_CLOEXEC, 0);
        return null_fd >= 0 && dup2(null_fd, 0) == 0 ? 0 : -1;
    }
    size_t index = (size_t)in->has_tools + in->has_code + in->has_variables;
    return in->fd_count > index && dup2(in->fds[index], 0) == 0 ? 0 : -1;
}

static int hand_over(struct intake *in)
{
    struct px_script *run = in->run;
    run->tools_length = in->tools.length;
    run->tools = px_buffer_take(&in->tools);
    run->code_length = in->code.length;
    run->code = px_buffer_take(&in->code);
    run->variables_length = in->variables.length;
    run->variables = px_buffer_take(&in->variables);
    if (!in->filename.length)
        px_buffer_add_string(&in->filename, "<cell>");
    run->filename = px_buffer_take(&in->filename);
    run->workspace = px_buffer_take(&in->workspace);
    run->working_dir = px_buffer_take(&in->working_dir);
    if (!run->env)
        run->env = calloc(1, sizeof *run->env);
    if (!(run->flags & PX_RUN_FLAG_SAME_IMPORTS)) {
        Py_XDECREF(run->allowed);
        Py_XDECREF(run->banned);
        run->allowed = PyFrozenSet_New(in->allowed);
        run->banned = PyFrozenSet_New(in->banned);
    }
    return run->tools && run->code && run->variables && run->filename && run->workspace && run->working_dir &&
                   run->env && run->allowed && run->banned
               ? 0
               : -1;
}

static void forget_last(struct px_script *run)
{
    free(run->tools);
    free(run->code);
    free(run->variables);
    free(run->filename);
    free(run->workspace);
    free(run->working_dir);
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
    px_auto(intake_done) struct intake in = {
        .run = run,
        .fds = {-1, -1, -1, -1},
        .allowed = PyList_New(0),
        .banned = PyList_New(0),
    };
    px_auto_free char *packet = malloc(PX_PACKET_MAX);
    int failed = packet && in.allowed && in.banned ? 0 : -1;
    while (!failed && !in.ended)
        failed = take_packet(channel, packet, &in);
    if (!failed)
        failed = read_files(&in);
    if (!failed && (in.has_input || run->flags & PX_RUN_FLAG_SESSION))
        failed = place_input(&in);
    if (!failed)
        failed = hand_over(&in);
    if (failed)
        PyErr_Clear();
    return failed ? -1 : 0;
}
