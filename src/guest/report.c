/* SPDX-License-Identifier: Apache-2.0 */
#include "guest/report.h"

#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>

#include "base/buffer.h"
#include "base/cleanup.h"
#include "base/utf8.h"
#include "guest/display/display.h"
#include "guest/guard/guard.h"
#include "guest/pyobject_access.h"
#include "guest/signals.h"
#include "guest/traceback/advice.h"
#include "guest/traceback/suggest.h"
#include "guest/traceback/syntax.h"
#include "guest/traceback/traceback.h"

#define RESERVE_BYTES (2u << 20)
#define TRACEBACK_KEPT (16u << 10) /* in the result; the whole traceback is on stderr */

/* Address space that nothing uses. It is given back when the script has used up all the rest, so that the error
 * can be reported. */
static void *reserve;

void px_report_done(struct px_report *report)
{
#define PX_CHILD_TEXT(NAME, member, ...) px_buffer_done(&report->member);
#include "protocol/child_fields.def"
    px_buffer_done(&report->printed);
}

int px_report_prepare(void)
{
    if (px_traceback_prepare() < 0)
        return -1;
    reserve = mmap(NULL, RESERVE_BYTES, PROT_NONE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    if (reserve == MAP_FAILED) {
        reserve = NULL;
        PyErr_NoMemory();
        return -1;
    }
    return 0;
}

static void release_reserve(void)
{
    if (reserve)
        munmap(reserve, RESERVE_BYTES);
    reserve = NULL;
}

static size_t value_limit(const struct px_script *run)
{
    return run->max_value < PX_VALUE_MAX ? (size_t)run->max_value : PX_VALUE_MAX;
}

int px_report_value(struct px_report *report, const struct px_script *run, PyObject *value)
{
    px_auto_object PyObject *text = PyObject_Repr(value);
    if (!text)
        return -1;
    report->has_value = true;
    report->value_truncated = !px_pyobject_text(&report->value, text, value_limit(run));
    return px_display_value_json(run, value, &report->value_json, &report->value_json_error) < 0
               ? -1
               : px_display_value(value, text);
}

/* ---- Exceptions ---- */

/* Takes the pending exception as an instance with its traceback: a new reference. NULL only when there is not even
 * memory for that. */
static PyObject *take_exception(void)
{
    PyObject *type = NULL, *value = NULL, *traceback = NULL;
    PyErr_Fetch(&type, &value, &traceback);
    PyErr_NormalizeException(&type, &value, &traceback);
    if (value && traceback && PyException_SetTraceback(value, traceback) < 0)
        PyErr_Clear();
    Py_XDECREF(type);
    Py_XDECREF(traceback);
    return value;
}

static void add_memory_message(struct px_buffer *to, const struct px_script *run, bool compiling)
{
    if (compiling)
        px_buffer_add_string(to, "the code is nested too deeply for Python's parser; "
                                 "split the expression or statement into smaller ones");
    else if (run->memory_bytes)
        px_buffer_printf(to,
                         "the script reached address_space_bytes=%" PRIu64 " (%" PRIu64
                         " MiB); process the data in smaller parts, or raise the limit",
                         run->memory_bytes, run->memory_bytes >> 20);
    else
        px_buffer_add_string(to, "the machine has no more memory for the script; "
                                 "process the data in smaller parts");
}

static void describe_error(struct px_report *report, const struct px_script *run, PyObject *exception)
{
    report->has_error = true;
    report->outcome = PX_OUTCOME_ERROR;
    px_traceback_type(&report->type, (PyObject *)Py_TYPE(exception), false);
    report->line = px_traceback_line(exception, run->filename);
}

static void describe(struct px_report *report, const struct px_script *run, PyObject *exception, PyObject *message,
                     bool compiling)
{
    describe_error(report, run, exception);
    report->exit_code = EXIT_FAILURE;
    bool memory = PyErr_GivenExceptionMatches(exception, PyExc_MemoryError);
    if (memory && !compiling)
        report->outcome = PX_OUTCOME_MEMORY;
    if (!message)
        px_buffer_add_string(&report->message, "<exception str() failed>");
    else if (memory && PyUnicode_GetLength(message) == 0)
        add_memory_message(&report->message, run, compiling);
    else
        px_pyobject_text(&report->message, message, value_limit(run));
}

/* Follows Python's rules for sys.exit(): no value or None means 0, an int is the exit code, and everything else is
 * printed to stderr. */
static void describe_exit(struct px_report *report, PyObject *exception, const struct px_script *run)
{
    px_auto_object PyObject *code = px_pyobject_attribute(exception, px_name.code);
    if (code == Py_None)
        return;
    px_auto_object PyObject *text = px_pyobject_convert(code ? code : exception, PyObject_Str);
    if (code && PyLong_Check(code)) {
        long number = PyLong_AsLong(code);
        PyErr_Clear(); /* a number that is too large counts as -1 */
        report->exit_code = (int)(number & 0xFF);
        if (report->exit_code == 0)
            return;
    } else {
        report->exit_code = EXIT_FAILURE;
        if (text)
            px_pyobject_text(&report->printed, text, PX_TRACEBACK_MAX);
        px_buffer_add_byte(&report->printed, '\n');
    }
    describe_error(report, run, exception);
    if (text)
        px_pyobject_text(&report->message, text, value_limit(run));
}

void px_report_exception(struct px_report *report, const struct px_script *run, struct px_source *sources,
                         bool compiling)
{
    if (PyErr_ExceptionMatches(PyExc_MemoryError))
        release_reserve();
    PyObject *exception = take_exception();
    if (!exception) {
        report->has_error = true;
        report->outcome = PX_OUTCOME_MEMORY;
        report->exit_code = EXIT_FAILURE;
        px_buffer_add_string(&report->type, "MemoryError");
        add_memory_message(&report->message, run, false);
        return;
    }
    if (PyErr_GivenExceptionMatches(exception, PyExc_SystemExit)) {
        describe_exit(report, exception, run);
    } else {
        px_syntax_name_character(exception, sources);
        px_auto_object PyObject *message = px_pyobject_convert(exception, PyObject_Str);
        describe(report, run, exception, message, compiling);
        px_guard_explain(exception, report->line);
        px_suggest(&report->suggestion, exception, false);
        px_advice_add(&report->advice, exception, px_buffer_shown(&report->message), run, sources);
        px_traceback_format(&report->traceback, exception, message, sources);
        px_buffer_add_buffer(&report->printed, &report->traceback);
        px_traceback_squeeze(&report->traceback, TRACEBACK_KEPT);
    }
    /* The exception holds the last references to the variables of its frames. Releasing them closes files and runs
     * __del__ methods. */
    bool allowed = px_signals_allow(true);
    Py_DECREF(exception);
    px_signals_allow(allowed);
    PyErr_Clear();
}

/* ---- Sending ---- */

static int put_text(struct px_wire_writer *out, uint16_t kind, const struct px_buffer *text, size_t limit)
{
    const char *bytes = px_buffer_shown(text);
    return px_wire_put(out, kind, bytes, px_utf8_truncate(bytes, px_buffer_length(text), limit));
}

int px_report_send(struct px_report *report, const struct px_script *run)
{
    struct px_wire_writer *out = run->out;
    bool gone = false;
    report->denials_dropped = px_guard_denials_dropped();
    report->displays_dropped = px_display_dropped();
#define PX_CHILD_NUMBER(NAME, wire, type, member, minimum, maximum, when) \
    if (!gone && (when)) { \
        wire number = (wire)report->member; \
        gone = px_wire_put(out, PX_RESULT_##NAME, &number, sizeof number) < 0; \
    }
#define PX_CHILD_TEXT(NAME, member, size, count, check, when) \
    if (!gone && (when)) \
        gone = put_text(out, PX_RESULT_##NAME, &report->member, size) < 0;
#include "protocol/child_fields.def"
    return gone || px_wire_put(out, PX_RESULT_DONE, NULL, 0) < 0 ? -1 : px_wire_flush(out);
}
