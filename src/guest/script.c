/* SPDX-License-Identifier: Apache-2.0 */
#include "guest/script.h"

#include <stdlib.h>
#include <string.h>
#include <sys/random.h>
#include <time.h>
#include <unistd.h>

#include "base/buffer.h"
#include "base/cleanup.h"
#include "base/fds.h"
#include "base/retry.h"
#include "guest/builtins.h"
#include "guest/display/display.h"
#include "guest/embedded_python.h"
#include "guest/guard/denial.h"
#include "guest/guard/guard.h"
#include "guest/modules.h"
#include "guest/program.h"
#include "guest/pyobject_access.h"
#include "guest/report.h"
#include "guest/reseed.h"
#include "guest/session_history.h"
#include "guest/signals.h"
#include "guest/streams.h"
#include "guest/threads.h"
#include "guest/tools/guest_tools.h"
#include "guest/verify_call.h"

/* References taken before the script runs, because it can replace these objects in their modules. */
static struct {
    PyObject *names; /* the dictionary of __main__ */
    PyObject *builtins, *builtins_names;
    PyObject *environ; /* posix.environ, which os.environ wraps */
    PyObject *run_exit_functions;
} kept;

static const struct px_script *current; /* the run that px_script_abort() ends */

/* ---- Zygote ---- */

static PyObject *keep(const char *module_name, const char *name)
{
    px_auto_object PyObject *module = PyImport_ImportModule(module_name);
    return module ? PyObject_GetAttrString(module, name) : NULL;
}

int px_script_prepare(void)
{
    PyObject *module = PyImport_AddModule("__main__"); /* borrowed reference */
    if (!module || !(kept.names = PyModule_GetDict(module)))
        return -1;
    /* These references keep the module and its dictionary alive when the script deletes sys.modules['__main__']. */
    Py_INCREF(module);
    Py_INCREF(kept.names);
    kept.builtins = PyImport_ImportModule("builtins");
    kept.builtins_names = kept.builtins ? PyModule_GetDict(kept.builtins) : NULL;
    kept.environ = keep("posix", "environ");
    kept.run_exit_functions = keep("atexit", "_run_exitfuncs");
    if (!kept.builtins || !kept.environ || !kept.run_exit_functions)
        return -1;
    if (px_pyobject_prepare() < 0 || px_builtins_prepare() < 0 || px_modules_prepare() < 0 ||
        px_program_prepare() < 0 || px_report_prepare() < 0 || px_signals_prepare() < 0 || px_streams_prepare() < 0 ||
        px_threads_install() < 0)
        return -1;
    return 0;
}

/* ---- Before the script ---- */

static int set_variable(char *entry, bool *has_zone)
{
    char *equals = strchr(entry, '=');
    if (!equals)
        return 0;
    *equals = '\0';
    if (!strcmp(entry, "TZ"))
        *has_zone = true;
    int failed = setenv(entry, equals + 1, 1);
    px_auto_object PyObject *name = PyBytes_FromString(entry);
    px_auto_object PyObject *value = PyBytes_FromString(equals + 1);
    *equals = '=';
    if (failed < 0)
        PyErr_NoMemory();
    return failed < 0 || !name || !value ? -1 : PyDict_SetItem(kept.environ, name, value);
}

static int apply_environment(const struct px_script *run)
{
    bool has_zone = false;
    for (char **entry = run->env; entry && *entry; entry++)
        if (set_variable(*entry, &has_zone) < 0)
            return -1;
    if (!has_zone)
        return 0;
    /* An interpreter that is started with TZ set also has it in time.timezone. */
    tzset();
    px_auto_object PyObject *module = px_pyobject_module("time");
    px_auto_object PyObject *result = module ? PyObject_CallMethod(module, "tzset", NULL) : NULL;
    PyErr_Clear();
    return 0;
}

/* Gives `names` the names that a new module __main__ has. */
static int reset_names(PyObject *names)
{
    PyObject *const none[] = {px_name.__doc__, px_name.__loader__, px_name.__package__, px_name.__spec__};
    PyDict_Clear(names);
    for (size_t i = 0; i < PX_COUNT(none); i++)
        if (PyDict_SetItem(names, none[i], Py_None) < 0)
            return -1;
    if (PyDict_SetItem(names, px_name.__name__, px_name.__main__) < 0 ||
        PyDict_SetItem(names, px_name.__builtins__, kept.builtins) < 0)
        return -1;
    if (px_python.version >= 0x030e)
        return 0;
    px_auto_object PyObject *annotations = PyDict_New();
    return annotations ? PyDict_SetItem(names, px_name.__annotations__, annotations) : -1;
}

static struct px_source source_of(const struct px_script *run)
{
    struct px_source source = {
        .filename = run->filename,
        .code = run->code,
        .length = run->code_length,
    };
    /* Python skips a byte order mark at the start of a file. */
    if (source.length >= 3 && !memcmp(source.code, "\xEF\xBB\xBF", 3)) {
        source.code += 3;
        source.length -= 3;
    }
    return source;
}

/* ---- The script ---- */

static bool awaited; /* the event loop of loop.py may hold tasks */

void px_script_forked(bool reseed)
{
    if (reseed)
        px_reseed();
    else
        px_reseed_openssl();
    px_auto_object PyObject *none = awaited ? px_embedded_call_file("loop.py", "renew_loop", PyTuple_New(0)) : NULL;
    PyErr_Clear();
}

static PyObject *await_value(PyObject *coroutine)
{
    awaited = true;
    return px_embedded_call_file("loop.py", "await_value", PyTuple_Pack(1, coroutine));
}

static PyObject *evaluate_code(PyObject *code, PyObject *names, bool awaits)
{
    if (!awaits)
        return PyEval_EvalCode(code, names, names);
    px_auto_object PyObject *coroutine = px_program_is_coroutine(code)
                                             ? PyEval_EvalCode(code, names, names)
                                             : px_embedded_call_file("loop.py", "inside", PyTuple_Pack(2, code, names));
    return coroutine ? await_value(coroutine) : NULL;
}

static int evaluate(const struct px_program *program, PyObject *names, const struct px_script *run,
                    struct px_report *report)
{
    px_auto_object PyObject *value = NULL;
    bool awaits = (program->body && px_program_is_coroutine(program->body)) ||
                  (program->value && px_program_is_coroutine(program->value));
    if (program->body) {
        px_auto_object PyObject *none = evaluate_code(program->body, names, awaits);
        if (!none)
            return -1;
    }
    if (program->value && !(value = evaluate_code(program->value, names, awaits)))
        return -1;
    /* The display hook of the interactive interpreter also keeps the last value in `_`. */
    if (value && value != Py_None && run->flags & PX_RUN_FLAG_SESSION)
        PyDict_SetItemString(kept.builtins_names, "_", value);
    if (value && value != Py_None && px_report_value(report, run, value) < 0)
        return -1;
    if (run->flags & PX_RUN_FLAG_TEST)
        px_buffer_add_string(&report->value_json, "null");
    /* A signal that came during the last call is raised here, so that it counts for the script and not for the
     * report. */
    return PyErr_CheckSignals();
}

/* True if the cause would also interrupt drawing the figures. */
static bool was_stopped(const struct px_report *report)
{
    return report->outcome == PX_OUTCOME_MEMORY || strcmp(px_buffer_shown(&report->type), "KeyboardInterrupt") == 0;
}

/* Shows figures at the end of a cell, as Jupyter does, also after an exception. */
static void show_figures(const struct px_script *run, struct px_source *source, struct px_report *report)
{
    px_signals_allow(true);
    int failed = px_display_figures() < 0 ? -1 : PyErr_CheckSignals();
    px_signals_allow(false);
    if (failed < 0 && !report->has_error)
        px_report_exception(report, run, source, false);
    PyErr_Clear();
}

/* A program that is compiled once and then run in branches (PX_RUN_FLAG_COMPILE). */
static struct {
    struct px_program program;
    struct px_source source;
} ahead;

static void run_code(const struct px_script *run, PyObject *names, struct px_source *source, struct px_report *report)
{
    px_auto(px_program_done) struct px_program program = {0};
    bool split = run->flags & PX_RUN_FLAG_LAST_EXPRESSION;
    bool ready = run->flags & (PX_RUN_FLAG_COMPILED | PX_RUN_FLAG_CALL);
    px_signals_allow(true);
    int compiled = ready ? 0 : px_program_compile(&program, source, split, run->flags & PX_RUN_FLAG_SESSION);
    unsigned fired = px_signals_fired();
    int failed = compiled < 0                        ? -1
                 : run->flags & PX_RUN_FLAG_CALL     ? px_verify_call(run, names, report)
                 : run->flags & PX_RUN_FLAG_COMPILED ? evaluate(&ahead.program, names, run, report)
                                                     : evaluate(&program, names, run, report);
    px_signals_allow(false);
    /* A syntax tree takes up to a hundred times the memory of its source. So if the source is shorter than that, a
     * MemoryError means that the code is nested too deeply. */
    bool small = !run->memory_bytes || source->length < run->memory_bytes / 128;
    if (failed < 0)
        px_report_exception(report, run, source, compiled < 0 && small);
    if (px_display_has_figures() && px_signals_fired() == fired && !was_stopped(report))
        show_figures(run, source, report);
}

/* ---- After the script ---- */

static void flush_streams(void)
{
    bool allowed = px_signals_allow(true);
    px_streams_flush(true);
    px_signals_allow(allowed);
}

/* Writes to the descriptor and not to sys.stderr, which the script may have replaced. */
static void print_error(struct px_report *report)
{
    if (!report->printed.length)
        return;
    flush_streams();
    px_write_all(STDERR_FILENO, px_buffer_shown(&report->printed), px_buffer_length(&report->printed));
    px_buffer_done(&report->printed);
}

/* Waits for the threads that are not daemons. If a limit ends this wait, that is the script's error, unless it has
 * one already. From 3.13 on threading._shutdown() swallows the exception, so it is raised again here. */
static void join_threads(const struct px_script *run, struct px_source *source, struct px_report *report)
{
    px_auto_object PyObject *threading = PyImport_GetModule(px_name.threading);
    px_auto_object PyObject *shutdown = threading ? px_pyobject_attribute(threading, px_name._shutdown) : NULL;
    PyErr_Clear();
    if (!shutdown)
        return;
    unsigned fired = px_signals_fired();
    px_auto_object PyObject *result = PyObject_CallObject(shutdown, NULL);
    if (result && px_signals_fired() != fired)
        px_signals_raise_last();
    if (!report->has_error && PyErr_Occurred())
        px_report_exception(report, run, source, false);
    PyErr_Clear();
    print_error(report);
}

/* Sets all names to None, in the order of _PyModule_ClearDict(). This runs destructors and closes files. */
static void clear_names(PyObject *names, bool private)
{
    px_auto_object PyObject *keys = PyDict_Keys(names);
    Py_ssize_t count = keys ? PyList_Size(keys) : 0;
    for (Py_ssize_t i = 0; i < count; i++) {
        PyObject *key = PyList_GetItem(keys, i);
        Py_ssize_t length = PyUnicode_Check(key) ? PyUnicode_GetLength(key) : 0;
        bool underscore = length > 0 && PyUnicode_ReadChar(key, 0) == '_';
        bool is_private = underscore && (length < 2 || PyUnicode_ReadChar(key, 1) != '_');
        if (length > 0 && is_private == private && PyUnicode_CompareWithASCIIString(key, "__builtins__") != 0 &&
            PyDict_SetItem(names, key, Py_None) < 0)
            PyErr_Clear();
    }
    PyErr_Clear();
}

/* Cancels the tasks that top-level await has left unfinished, as asyncio.run() does. */
static void end_loop(const struct px_script *run, struct px_source *source, struct px_report *report)
{
    if (!awaited)
        return;
    px_auto_object PyObject *none = px_embedded_call_file("loop.py", "end_loop", PyTuple_New(0));
    if (!none && !report->has_error)
        px_report_exception(report, run, source, false);
    PyErr_Clear();
    print_error(report);
}

static void end_script(const struct px_script *run, struct px_source *source, struct px_report *report)
{
    px_signals_allow(true);
    end_loop(run, source, report);
    join_threads(run, source, report);
    px_auto_object PyObject *result = PyObject_CallObject(kept.run_exit_functions, NULL);
    PyErr_Clear(); /* atexit has already printed the exceptions of its functions */
    clear_names(kept.names, true);
    clear_names(kept.names, false);
    flush_streams();
    px_signals_allow(false);
    PyErr_Clear();
}

static int execute_once(struct px_script *run)
{
    px_auto(px_report_done) struct px_report report = {0};
    px_auto(px_source_done) struct px_source source = {0};
    source = run->flags & PX_RUN_FLAG_COMPILED ? ahead.source : source_of(run);
    px_display_arm(run, &source);
    if (apply_environment(run) < 0 || reset_names(kept.names) < 0 || px_display_set_variables(run, kept.names) < 0 ||
        px_tools_begin(run, kept.names) < 0 || px_modules_begin(run, &source) < 0 || px_guard_arm(run) < 0)
        px_report_exception(&report, run, &source, false);
    else
        run_code(run, kept.names, &source, &report);
    print_error(&report);
    end_script(run, &source, &report);
    px_tools_end();
    px_report_send(&report, run);
    px_display_arm(NULL, NULL);
    return report.exit_code;
}

/* The variables of a call are its arguments. */
static int set_variables(const struct px_script *run)
{
    if (run->flags & PX_RUN_FLAG_PREPARE_CALLS && px_verify_prepare(kept.names) < 0)
        return -1;
    return run->flags & PX_RUN_FLAG_CALL ? 0 : px_display_set_variables(run, kept.names);
}

static int execute_call(struct px_script *run)
{
    px_auto(px_report_done) struct px_report report = {0};
    px_auto(px_session_environment_restore) struct px_session_environment before = {0};
    static bool begun;
    struct px_source *source = px_session_history_add(run);
    if (!source)
        return 1;
    px_display_arm(run, source);
    if (run->new_input || !px_streams_input_works())
        px_streams_renew_input();
    px_streams_restore_output();
    if ((!begun && reset_names(kept.names) < 0) || px_session_environment_save(&before, kept.environ, run->env) < 0 ||
        apply_environment(run) < 0 || set_variables(run) < 0 || px_tools_begin(run, kept.names) < 0 ||
        px_modules_begin(run, source) < 0 || px_guard_arm(run) < 0)
        px_report_exception(&report, run, source, false);
    else
        run_code(run, kept.names, source, &report);
    begun = true;
    print_error(&report);
    flush_streams();
    px_tools_end();
    px_report_send(&report, run);
    /* A refusal in a thread between two calls belongs to neither call. */
    px_denial_arm(NULL);
    px_display_arm(NULL, NULL);
    return report.exit_code;
}

/* Compiles the code without running any of it. */
static int compile_ahead(struct px_script *run)
{
    px_auto(px_report_done) struct px_report report = {0};
    ahead.source = source_of(run);
    ahead.source.filename = strdup(run->filename);
    run->code = NULL; /* the source keeps it */
    px_signals_allow(true);
    int failed = ahead.source.filename ? px_program_compile(&ahead.program, &ahead.source, false, false) : -1;
    px_signals_allow(false);
    if (failed < 0)
        px_report_exception(&report, run, &ahead.source, true);
    flush_streams();
    px_report_send(&report, run);
    return report.exit_code;
}

int px_script_execute(struct px_script *run)
{
    current = run;
    px_signals_limits(run);
    if (run->flags & PX_RUN_FLAG_COMPILE)
        return compile_ahead(run);
    return run->flags & PX_RUN_FLAG_SESSION ? execute_call(run) : execute_once(run);
}

/* ---- Warming up, and ending early ---- */

static void warm(const char *code)
{
    struct px_script run = {
        .flags = PX_RUN_FLAG_LAST_EXPRESSION,
        .code = (char *)(uintptr_t)code,
        .code_length = strlen(code),
        .filename = (char *)(uintptr_t) "<cell>",
        .max_value = 4096,
    };
    px_auto(px_report_done) struct px_report report = {0};
    px_auto(px_source_done) struct px_source source = source_of(&run);
    px_auto_object PyObject *names = PyDict_New();
    if (names && reset_names(names) == 0)
        run_code(&run, names, &source, &report);
    PyErr_Clear();
}

void px_script_warm(void)
{
    warm("def f(a, *b):\n"
         "    return [a + 1, {'b': b}, f'{a}']\n"
         "x = f(1, 2.5)\n"
         "print(end='')\n"
         "x, [str(i) for i in x]\n");
    warm("1 / 0\n");
    px_display_arm(NULL, NULL);
    reset_names(kept.names);
    flush_streams();
    PyErr_Clear();
}

void px_script_abort(enum px_outcome outcome, int exit_code)
{
    if (!current)
        _exit(exit_code);
    if (!px_has_gil())
        PyGILState_Ensure(); /* held until _exit(), so that no other thread sends anything */
    px_signals_allow(false);
    struct px_report report = {.outcome = outcome, .exit_code = exit_code};
    px_streams_flush(false);
    px_report_send(&report, current);
    _exit(exit_code);
}
