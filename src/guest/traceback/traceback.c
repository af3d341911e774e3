/* SPDX-License-Identifier: Apache-2.0 */
#include "guest/traceback/traceback.h"

#include <fcntl.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

#include "base/buffer.h"
#include "base/cleanup.h"
#include "base/fds.h"
#include "base/retry.h"
#include "guest/guard/guard.h"
#include "guest/pyobject_access.h"
#include "guest/traceback/caret.h"
#include "guest/traceback/suggest.h"
#include "guest/traceback/syntax.h"
#include "protocol/wire.h"

#define FRAMES_MAX 1000    /* frames that are shown of one exception; Python has the same limit */
#define REPEAT_MAX 3       /* equal frames in a row before the rest is only counted */
#define CHAIN_MAX 20       /* exceptions linked by __cause__ and __context__ */
#define GROUP_DEPTH_MAX 10 /* Python has the same limit */
#define GROUP_WIDTH_MAX 15 /* Python has the same limit */
#define EXCEPTIONS_MAX 100 /* the most exceptions in one traceback */
#define NOTES_MAX 100
#define TRACEBACK_MESSAGE_MAX (64u << 10)
#define TRACEBACK_NAME_MAX 512
#define MODULE_MAX (256 << 10) /* longest file whose lines are shown */

/* Attribute getters of the base types themselves: a subclass can't replace these by its own. */
static struct {
    PyObject *suppress_context, *type_module, *type_name, *type_qualname;
    PyObject *group_type, *group_exceptions; /* NULL before 3.11 */
} kept;

static PyObject *keep_getter(PyObject *type, const char *name)
{
    px_auto_object PyObject *dict = PyObject_GetAttrString(type, "__dict__");
    px_auto_object PyObject *descriptor = dict ? PyMapping_GetItemString(dict, name) : NULL;
    return descriptor ? PyObject_GetAttrString(descriptor, "__get__") : NULL;
}

int px_traceback_prepare(void)
{
    kept.suppress_context = keep_getter(PyExc_BaseException, "__suppress_context__");
    kept.type_module = keep_getter((PyObject *)&PyType_Type, "__module__");
    kept.type_qualname = keep_getter((PyObject *)&PyType_Type, "__qualname__");
    kept.type_name = keep_getter((PyObject *)&PyType_Type, "__name__");
    if (!kept.suppress_context || !kept.type_module || !kept.type_name || !kept.type_qualname)
        return -1;
    px_auto_object PyObject *builtins = PyImport_ImportModule("builtins");
    if (!builtins)
        return -1;
    kept.group_type = PyObject_GetAttrString(builtins, "BaseExceptionGroup");
    if (kept.group_type)
        kept.group_exceptions = keep_getter(kept.group_type, "exceptions");
    PyErr_Clear();
    return px_caret_prepare() < 0 || px_suggest_prepare() < 0 ? -1 : 0;
}

static PyObject *get(PyObject *read, PyObject *object)
{
    PyObject *value = PyObject_CallFunctionObjArgs(read, object, NULL);
    if (!value)
        PyErr_Clear();
    return value;
}

void px_traceback_type(struct px_buffer *to, PyObject *type, bool as_printed)
{
    bool prints_main = as_printed && px_python.version < 0x030b;
    px_auto_object PyObject *module = get(kept.type_module, type);
    bool bare = as_printed && px_python.version < 0x0309;
    px_auto_object PyObject *name = get(bare ? kept.type_name : kept.type_qualname, type);
    px_auto_buffer struct px_buffer text = {0};
    if (module && PyUnicode_Check(module))
        px_pyobject_text(&text, module, TRACEBACK_NAME_MAX / 2);
    else
        px_buffer_add_string(&text, "<unknown>");
    bool plain =
        !strcmp(px_buffer_shown(&text), "builtins") || (!prints_main && !strcmp(px_buffer_shown(&text), "__main__"));
    if (!plain) {
        px_buffer_add_buffer(to, &text);
        px_buffer_add_byte(to, '.');
    }
    text.length = 0;
    if (name && PyUnicode_Check(name))
        px_pyobject_text(&text, name, TRACEBACK_NAME_MAX / 2);
    px_buffer_add_string(to, px_buffer_length(&text) ? px_buffer_shown(&text) : "<unknown>");
}

void px_traceback_squeeze(struct px_buffer *text, size_t limit)
{
    static const char mark[] = "  [...]\n";
    if (!px_buffer_ok(text) || text->length <= limit || limit < 2 * sizeof mark)
        return;
    size_t head = limit / 4, tail = text->length - (limit - limit / 4 - sizeof mark);
    while (head > 0 && text->data[head - 1] != '\n')
        head--;
    while (tail < text->length && text->data[tail - 1] != '\n')
        tail++;
    if (tail == text->length) { /* a single very long line: keep its beginning */
        text->length = limit - sizeof mark;
        while (text->length > 0 && ((unsigned char)text->data[text->length] & 0xC0) == 0x80)
            text->length--;
        px_buffer_add_byte(text, '\n');
        return;
    }
    memcpy(text->data + head, mark, sizeof mark - 1);
    head += sizeof mark - 1;
    memmove(text->data + head, text->data + tail, text->length - tail + 1);
    text->length = head + text->length - tail;
}

/* ---- Frames ---- */

/* Walks over the frames of a traceback that are the script's, outermost first. */
struct frame_walk {
    PyObject *at;    /* the traceback entry to look at next */
    PyObject *entry; /* the traceback entry that was found */
    PyObject *code;  /* its code object */
    PyObject *file;  /* the name object of its file, whose text is in `filename` */
    struct px_buffer filename;
    long line; /* 0 when it is unknown */
    bool is_script;
};

static void walk_done(struct frame_walk *walk)
{
    px_drop_object(&walk->at);
    px_drop_object(&walk->entry);
    px_drop_object(&walk->code);
    px_drop_object(&walk->file);
    px_buffer_done(&walk->filename);
}

/* Frames of one file usually share the object of its name, so its text is read only when the object changes. */
static void walk_file(struct frame_walk *walk, PyObject *code)
{
    px_auto_object PyObject *file = px_pyobject_attribute(code, px_name.co_filename);
    if (file && file == walk->file)
        return;
    walk->filename.length = 0;
    if (file && PyUnicode_Check(file))
        px_pyobject_text(&walk->filename, file, TRACEBACK_NAME_MAX);
    walk->is_script = px_guard_is_script(px_buffer_shown(&walk->filename));
    px_drop_object(&walk->file);
    walk->file = TAKE_PTR(file);
}

static bool walk_next(struct frame_walk *walk)
{
    while (walk->at && walk->at != Py_None) {
        px_drop_object(&walk->entry);
        px_drop_object(&walk->code);
        walk->entry = TAKE_PTR(walk->at);
        walk->at = px_pyobject_attribute(walk->entry, px_name.tb_next);
        px_auto_object PyObject *frame = px_pyobject_attribute(walk->entry, px_name.tb_frame);
        walk->code = frame ? px_pyobject_attribute(frame, px_name.f_code) : NULL;
        if (!walk->code)
            continue;
        walk_file(walk, walk->code);
        if (!walk->is_script)
            continue;
        if (!px_pyobject_int(walk->entry, px_name.tb_lineno, &walk->line))
            walk->line = 0;
        return true;
    }
    return false;
}

static size_t count_frames(PyObject *traceback)
{
    px_auto(walk_done) struct frame_walk walk = {.at = traceback};
    Py_XINCREF(traceback);
    size_t count = 0;
    while (walk_next(&walk))
        count++;
    return count;
}

static void add_repeats(struct px_buffer *to, size_t count)
{
    if (count > REPEAT_MAX)
        px_buffer_printf(to, "  [Previous line repeated %zu more time%s]\n", count - REPEAT_MAX,
                         count - REPEAT_MAX > 1 ? "s" : "");
}

/* Reads the text of a module of the script. The caller calls free(). NULL when it can't be read. */
static char *read_module(const char *filename, size_t *ret_length)
{
    struct stat status;
    px_auto_fd int fd = filename[0] == '/' ? px_open(filename, O_RDONLY | O_CLOEXEC | O_NONBLOCK, 0) : -1;
    if (fd < 0 || fstat(fd, &status) < 0 || !S_ISREG(status.st_mode) || status.st_size > MODULE_MAX)
        return NULL;
    size_t size = (size_t)status.st_size;
    px_auto_free char *text = malloc(size + 1);
    ssize_t n = text ? px_pread(fd, text, size, 0) : -1;
    if (n < 0)
        return NULL;
    text[n] = '\0';
    *ret_length = (size_t)n;
    return TAKE_PTR(text);
}

static void add_frame(struct px_buffer *to, const struct frame_walk *walk, const char *name, struct px_source *sources)
{
    px_buffer_printf(to, "  File \"%s\", line %ld, in %s\n", px_buffer_shown(&walk->filename), walk->line, name);
    struct px_source module = {.filename = px_buffer_shown(&walk->filename), .next = sources};
    px_auto_free char *text = read_module(module.filename, &module.length);
    module.code = text ? text : "";
    px_caret_add(to, walk->code, walk->entry, walk->line, module.filename, text ? &module : sources);
    px_source_done(&module);
}

static void add_frames(struct px_buffer *to, PyObject *traceback, size_t total, struct px_source *sources)
{
    px_auto(walk_done) struct frame_walk walk = {.at = traceback};
    Py_INCREF(traceback);
    px_auto_object PyObject *last_code = NULL;
    px_auto_buffer struct px_buffer name = {0};
    long last_line = 0;
    size_t repeats = 0;
    for (size_t i = 0; walk_next(&walk); i++) {
        if (total - i > FRAMES_MAX && i < total)
            continue;
        if (walk.code != last_code || walk.line != last_line) {
            add_repeats(to, repeats);
            repeats = 0;
            px_drop_object(&last_code);
            Py_INCREF(walk.code);
            last_code = walk.code;
            last_line = walk.line;
            name.length = 0;
            px_pyobject_text_attribute(&name, walk.code, px_name.co_name, TRACEBACK_NAME_MAX);
        }
        if (++repeats <= REPEAT_MAX)
            add_frame(to, &walk, px_buffer_length(&name) ? px_buffer_shown(&name) : "?", sources);
    }
    add_repeats(to, repeats);
}

int px_traceback_line(PyObject *exception, const char *filename)
{
    long line = 0;
    if (PyErr_GivenExceptionMatches(exception, PyExc_SyntaxError)) {
        px_auto_buffer struct px_buffer name = {0};
        px_pyobject_text_attribute(&name, exception, px_name.filename, TRACEBACK_NAME_MAX);
        if (!strcmp(px_buffer_shown(&name), filename) && px_pyobject_int(exception, px_name.lineno, &line) &&
            line > 0 && line <= INT32_MAX)
            return (int)line;
        line = 0;
    }
    px_auto(walk_done) struct frame_walk walk = {.at = PyException_GetTraceback(exception)};
    while (walk_next(&walk))
        if (!strcmp(px_buffer_shown(&walk.filename), filename))
            line = walk.line;
    return line > 0 && line <= INT32_MAX ? (int)line : 0;
}

/* ---- One exception ---- */

struct format {
    struct px_buffer *to;
    struct px_source *sources;
    PyObject *top, *top_message;
    PyObject *seen[EXCEPTIONS_MAX]; /* only compared, never used */
    size_t seen_count;
    int depth; /* how many exception groups contain this exception */
    bool need_close;
};

/* Appends `text` line by line, with the margin of its group. */
static void emit(struct format *format, const char *text, char margin)
{
    while (*text) {
        const char *newline = strchr(text, '\n');
        size_t length = newline ? (size_t)(newline - text) + 1 : strlen(text);
        if (format->depth)
            px_buffer_printf(format->to, "%*s%c ", 2 * format->depth, "", margin);
        px_buffer_add(format->to, text, length);
        text += length;
    }
}

static void add_bounded(struct px_buffer *to, PyObject *text)
{
    if (!px_pyobject_text(to, text, TRACEBACK_MESSAGE_MAX))
        px_buffer_add_string(to, "...");
}

static void add_note(struct px_buffer *to, PyObject *note, PyObject *(*convert)(PyObject *), const char *failed)
{
    px_auto_object PyObject *text = px_pyobject_convert(note, convert);
    if (text)
        add_bounded(to, text);
    else
        px_buffer_add_string(to, failed);
    px_buffer_add_byte(to, '\n');
}

static void add_notes(struct px_buffer *to, PyObject *exception)
{
    px_auto_object PyObject *notes =
        px_python.version >= 0x030b ? px_pyobject_attribute(exception, px_name.__notes__) : NULL;
    if (!notes || notes == Py_None)
        return;
    if (!PyList_Check(notes) && !PyTuple_Check(notes)) {
        add_note(to, notes, PyObject_Repr, "<__notes__ repr() failed>");
        return;
    }
    /* The __str__ of a note may change the list, so this makes a copy. */
    px_auto_object PyObject *fixed = PySequence_Tuple(notes);
    if (!fixed)
        PyErr_Clear();
    Py_ssize_t count = fixed ? PyTuple_Size(fixed) : 0;
    for (Py_ssize_t i = 0; i < count && i < NOTES_MAX; i++)
        add_note(to, PyTuple_GetItem(fixed, i), PyObject_Str, "<note str() failed>");
}

static void add_message(struct px_buffer *to, PyObject *exception, const struct format *format)
{
    px_auto_object PyObject *text = NULL;
    if (exception == format->top) {
        Py_XINCREF(format->top_message);
        text = format->top_message;
    } else {
        text = px_pyobject_convert(exception, PyObject_Str);
    }
    px_traceback_type(to, (PyObject *)Py_TYPE(exception), true);
    px_auto_buffer struct px_buffer message = {0};
    if (text)
        add_bounded(&message, text);
    else
        px_buffer_add_string(&message, "<exception str() failed>");
    px_auto_buffer struct px_buffer suggestion = {0};
    px_suggest(&suggestion, exception, true);
    if (px_buffer_length(&message) || suggestion.length)
        px_buffer_printf(to, ": %s", px_buffer_shown(&message));
    if (px_buffer_length(&suggestion))
        px_buffer_printf(to, ". %s", px_buffer_shown(&suggestion));
    px_buffer_add_byte(to, '\n');
}

static bool is_group(PyObject *exception)
{
    return kept.group_exceptions && PyType_IsSubtype(Py_TYPE(exception), (PyTypeObject *)kept.group_type);
}

static void format_one(struct format *format, PyObject *exception)
{
    bool group = is_group(exception), outer = group && format->depth == 0;
    px_auto_object PyObject *traceback = PyException_GetTraceback(exception);
    size_t total = count_frames(traceback);
    px_auto_buffer struct px_buffer text = {0};
    if (outer)
        format->depth = 1;
    if (total) {
        emit(format,
             group ? "Exception Group Traceback (most recent call last):\n" : "Traceback (most recent call last):\n",
             outer ? '+' : '|');
        add_frames(&text, traceback, total, format->sources);
    }
    if (!px_syntax_add(&text, exception, format->sources))
        add_message(&text, exception, format);
    add_notes(&text, exception);
    px_traceback_squeeze(&text, PX_TRACEBACK_MAX);
    emit(format, px_buffer_shown(&text), '|');
    if (!px_buffer_ok(&text))
        format->to->failed = true;
    if (outer)
        format->depth = 0;
}

/* ---- Chains and groups ---- */

static void format_chain(struct format *format, PyObject *exception);

static bool seen(const struct format *format, PyObject *exception)
{
    for (size_t i = 0; i < format->seen_count; i++)
        if (format->seen[i] == exception)
            return true;
    return false;
}

static void format_member(struct format *format, PyObject *exceptions, Py_ssize_t i)
{
    px_buffer_printf(format->to, "%*s%s", 2 * format->depth, "", i == 0 ? "+-" : "  ");
    format->depth++;
    if (i < GROUP_WIDTH_MAX) {
        px_buffer_printf(format->to, "+---------------- %zd ----------------\n", i + 1);
        format_chain(format, PyTuple_GetItem(exceptions, i));
    } else {
        Py_ssize_t more = PyTuple_Size(exceptions) - i;
        char text[64];
        snprintf(text, sizeof text, "and %zd more exception%s\n", more, more > 1 ? "s" : "");
        px_buffer_add_string(format->to, "+---------------- ... ----------------\n");
        emit(format, text, '|');
    }
}

static void format_members(struct format *format, PyObject *group)
{
    px_auto_object PyObject *exceptions = get(kept.group_exceptions, group);
    if (!exceptions || !PyTuple_Check(exceptions))
        return;
    bool outer = format->depth == 0;
    if (outer)
        format->depth = 1;
    Py_ssize_t count = PyTuple_Size(exceptions);
    if (count > GROUP_WIDTH_MAX)
        count = GROUP_WIDTH_MAX + 1;
    format->need_close = false;
    for (Py_ssize_t i = 0; i < count; i++) {
        if (i == count - 1)
            format->need_close = true;
        format_member(format, exceptions, i);
        if (i == count - 1 && format->need_close) {
            px_buffer_printf(format->to, "%*s+------------------------------------\n", 2 * format->depth, "");
            format->need_close = false;
        }
        format->depth--;
    }
    if (outer)
        format->depth = 0;
}

/* Returns the exception that led to `exception` and that Python would print before it. */
static PyObject *earlier(const struct format *format, PyObject *exception, const char **ret_words)
{
    PyObject *cause = PyException_GetCause(exception);
    if (cause && !seen(format, cause)) {
        *ret_words = "\nThe above exception was the direct cause of the following exception:\n\n";
        return cause;
    }
    Py_XDECREF(cause);
    px_auto_object PyObject *suppressed = get(kept.suppress_context, exception);
    px_auto_object PyObject *context = PyException_GetContext(exception);
    if (!context || suppressed == Py_True || seen(format, context))
        return NULL;
    *ret_words = "\nDuring handling of the above exception, another exception occurred:\n\n";
    return TAKE_PTR(context);
}

static void format_chain(struct format *format, PyObject *exception)
{
    PyObject *chain[CHAIN_MAX];
    const char *words[CHAIN_MAX] = {NULL};
    size_t count = 0;
    PyObject *next = exception;
    Py_INCREF(next);
    while (next && count < CHAIN_MAX && format->seen_count < EXCEPTIONS_MAX) {
        format->seen[format->seen_count++] = next;
        chain[count] = next;
        next = earlier(format, next, &words[count]);
        count++;
    }
    if (next)
        emit(format, "[more exceptions are not shown]\n", '|');
    Py_XDECREF(next);
    while (count-- > 0) {
        if (words[count])
            emit(format, words[count], '|');
        if (is_group(chain[count]) && format->depth > GROUP_DEPTH_MAX) {
            emit(format, "... (max_group_depth is 10)\n", '|');
        } else {
            format_one(format, chain[count]);
            if (is_group(chain[count]))
                format_members(format, chain[count]);
        }
        Py_DECREF(chain[count]);
    }
}

void px_traceback_format(struct px_buffer *to, PyObject *exception, PyObject *message, struct px_source *sources)
{
    struct format format = {
        .to = to,
        .sources = sources,
        .top = exception,
        .top_message = message,
    };
    px_caret_begin();
    format_chain(&format, exception);
    px_traceback_squeeze(to, PX_TRACEBACK_MAX);
}
