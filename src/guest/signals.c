/* SPDX-License-Identifier: Apache-2.0 */
#include "guest/signals.h"

#include <inttypes.h>
#include <signal.h>
#include <stdio.h>

#include "guest/pyobject_access.h"

static struct {
    bool allowed;
    uint64_t timeout_ms;
    uint64_t cpu_seconds;
    unsigned fired;
    char text[256]; /* the exception of the last signal */
} state;

void px_signals_limits(const struct px_script *run)
{
    state.timeout_ms = run->timeout_ms;
    state.cpu_seconds = run->cpu_seconds;
}

bool px_signals_allow(bool allow)
{
    bool before = state.allowed;
    state.allowed = allow;
    return before;
}

unsigned px_signals_fired(void)
{
    return state.fired;
}

void px_signals_raise_last(void)
{
    PyErr_SetString(PyExc_TimeoutError, state.text);
}

static PyObject *raise_limit(void)
{
    state.fired++;
    px_signals_raise_last();
    return NULL;
}

static PyObject *on_timeout(PyObject *self, PyObject *args)
{
    (void)self, (void)args;
    if (!state.allowed)
        Py_RETURN_NONE;
    snprintf(state.text, sizeof state.text,
             "timeout: the script ran longer than timeout_ms=%" PRIu64
             " (%g s of wall-clock time). Do less per call, or raise timeout_ms.",
             state.timeout_ms, (double)state.timeout_ms / 1000.0);
    return raise_limit();
}

static PyObject *on_cpu(PyObject *self, PyObject *args)
{
    (void)self, (void)args;
    if (!state.allowed)
        Py_RETURN_NONE;
    snprintf(state.text, sizeof state.text,
             "timeout: the script used more than cpu_time_seconds=%" PRIu64 " (%" PRIu64
             " s of CPU time). Do less work per call, or raise cpu_time_seconds.",
             state.cpu_seconds, state.cpu_seconds);
    return raise_limit();
}

static int install(PyObject *module, int number, PyObject *handler)
{
    px_auto_object PyObject *before = handler ? PyObject_CallMethod(module, "signal", "iO", number, handler) : NULL;
    return before ? 0 : -1;
}

static void do_nothing(int number)
{
    (void)number;
}

void px_signals_drop(void)
{
    if (PyErr_CheckSignals() < 0)
        PyErr_Clear();
}

int px_signals_prepare(void)
{
    struct sigaction nudge = {.sa_handler = do_nothing}; /* no SA_RESTART, so that the signal interrupts a wait */
    static PyMethodDef timeout = {"timeout_limit", on_timeout, METH_VARARGS, NULL};
    static PyMethodDef cpu = {"cpu_limit", on_cpu, METH_VARARGS, NULL};
    px_auto_object PyObject *module = PyImport_ImportModule("_signal");
    if (!module)
        return -1;
    px_auto_object PyObject *on_timeout_object = PyCFunction_New(&timeout, NULL);
    px_auto_object PyObject *on_cpu_object = PyCFunction_New(&cpu, NULL);
    /* Python installs no handler for SIGINT when it was started with SIGINT ignored. */
    px_auto_object PyObject *on_interrupt = PyObject_GetAttrString(module, "default_int_handler");
    if (sigaction(PX_SIGNAL_NUDGE, &nudge, NULL) < 0 || install(module, PX_SIGNAL_TIMEOUT, on_timeout_object) < 0 ||
        install(module, PX_SIGNAL_CPU, on_cpu_object) < 0 || install(module, SIGINT, on_interrupt) < 0)
        return -1;
    return 0;
}
