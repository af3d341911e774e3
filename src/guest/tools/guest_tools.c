/* SPDX-License-Identifier: Apache-2.0 */
/* Any number of threads may wait for answers. One of them, the reader, reads the channel for all. A thread holds
 * the GIL everywhere in this file except where it waits. The reader first waits until a message is there, and
 * reads it only when it has the GIL again. So if its run has ended by then, it leaves the next run's message in
 * the channel. */
#include "guest/tools/guest_tools.h"

#include <errno.h>
#include <poll.h>
#include <pthread.h>
#include <semaphore.h>
#include <signal.h>
#include <string.h>
#include <sys/socket.h>

#include "base/cleanup.h"
#include "base/retry.h"
#include "guest/embedded_python.h"
#include "guest/guard/guard.h"
#include "guest/pyobject_access.h"
#include "guest/tools/plain_json.h"

/* A waiting call: it waits for its answer or, while `number` is 0, for room to be sent. */
struct tool_waiter {
    struct tool_waiter *next;
    uint64_t number;
    size_t bytes;      /* length of its arguments */
    PyObject *deliver; /* the function that gets the answer; NULL: a thread waits, and this struct is on its stack */
    sem_t wake;
    bool done;
    int kind;            /* enum px_tool_answer, or ENDED */
    PyObject *text;      /* a bytes object */
    Py_ssize_t received; /* how much of `text` has arrived */
};

#define ENDED PX_TOOL_ANSWERS

static struct {
    const struct px_script *run; /* NULL: the present run has no tools */
    uint64_t last;               /* number of the last call */
    struct tool_waiter *first;
    size_t calls,
        bytes; /* the number of calls that were sent and have no answer yet, and the bytes of their arguments */
    struct tool_waiter *reader;
    pthread_t reader_thread;
    struct tool_waiter *coming;   /* the call whose answer has arrived in part */
    struct tool_waiter *finished; /* the calls whose answers must be delivered */
} state;

static void complete(struct tool_waiter *waiter, int kind);

/* ---- The list of waiting calls ---- */

static void enlist(struct tool_waiter *waiter)
{
    struct tool_waiter **at = &state.first;
    while (*at)
        at = &(*at)->next;
    *at = waiter;
    waiter->next = NULL;
    if (waiter->number) {
        state.calls++;
        state.bytes += waiter->bytes;
    }
}

static void unlist(struct tool_waiter *waiter)
{
    struct tool_waiter **at = &state.first;
    while (*at && *at != waiter)
        at = &(*at)->next;
    if (!*at)
        return;
    *at = waiter->next;
    if (state.coming == waiter)
        state.coming = NULL;
    if (waiter->number) {
        state.calls--;
        state.bytes -= waiter->bytes;
    }
}

static bool has_room(size_t bytes)
{
    return state.calls < PX_TOOL_CALLS_AT_ONCE && state.bytes + bytes <= PX_TOOL_ARGUMENTS_AT_ONCE;
}

/* If there is room, lets the call that has waited for room the longest continue. */
static void give_room(void)
{
    for (struct tool_waiter *waiter = state.first; waiter; waiter = waiter->next)
        if (!waiter->number && !waiter->done) {
            if (has_room(waiter->bytes))
                complete(waiter, PX_TOOL_RESULT);
            return;
        }
}

/* Called when this thread stops reading: wakes another thread, which then reads. */
static void pass_on_reading(void)
{
    for (struct tool_waiter *waiter = state.first; waiter && !state.reader; waiter = waiter->next)
        if (!waiter->deliver && !waiter->done) {
            sem_post(&waiter->wake);
            return;
        }
}

/* Ends the wait of this call. */
static void complete(struct tool_waiter *waiter, int kind)
{
    unlist(waiter);
    waiter->done = true;
    waiter->kind = kind;
    if (!waiter->deliver) {
        sem_post(&waiter->wake);
        if (waiter == state.reader)
            pthread_kill(state.reader_thread, PX_SIGNAL_NUDGE);
        return;
    }
    waiter->next = state.finished;
    state.finished = waiter;
}

/* Runs Python code, so other threads may run in the middle of it: call this only when the state is consistent. A
 * pending exception stays set. */
static void deliver_finished(void)
{
    PyObject *type, *value, *traceback;
    PyErr_Fetch(&type, &value, &traceback);
    for (struct tool_waiter *waiter; (waiter = state.finished);) {
        state.finished = waiter->next;
        px_auto_object PyObject *deliver = waiter->deliver;
        px_auto_object PyObject *text = waiter->text;
        int kind = waiter->kind;
        free(waiter);
        px_auto_object PyObject *none = PyObject_CallFunction(deliver, "iO", kind, text ? text : Py_None);
        PyErr_Clear();
    }
    PyErr_Restore(type, value, traceback);
}

/* ---- Receiving ---- */

bool px_tools_is_answer(uint16_t kind)
{
    return kind == PX_RUN_TOOL_ANSWER || kind == PX_RUN_TOOL_TEXT;
}

static struct tool_waiter *find(uint64_t number)
{
    struct tool_waiter *waiter = state.first;
    while (waiter && waiter->number != number)
        waiter = waiter->next;
    return number ? waiter : NULL;
}

static void begin_answer(const struct px_wire_field *field)
{
    uint64_t number;
    uint32_t length;
    state.coming = NULL;
    if (field->length != sizeof number + 1 + sizeof length)
        return;
    memcpy(&number, field->bytes, sizeof number);
    memcpy(&length, field->bytes + sizeof number + 1, sizeof length);
    struct tool_waiter *waiter = find(number);
    if (!waiter || length > 2 * PX_TOOL_VALUE_MAX)
        return;
    waiter->kind = (unsigned char)field->bytes[sizeof number];
    Py_XDECREF(waiter->text);
    waiter->text = PyBytes_FromStringAndSize(NULL, (Py_ssize_t)length);
    waiter->received = 0;
    state.coming = waiter;
}

static void add_text(const struct px_wire_field *field)
{
    struct tool_waiter *waiter = state.coming;
    if (!waiter)
        return;
    Py_ssize_t length = waiter->text ? PyBytes_Size(waiter->text) : -1;
    if (length >= 0 && (Py_ssize_t)field->length <= length - waiter->received)
        memcpy(PyBytes_AsString(waiter->text) + waiter->received, field->bytes, field->length);
    else
        px_drop_object(&waiter->text); /* no memory: the waiting thread raises MemoryError */
    waiter->received += (Py_ssize_t)field->length;
    PyErr_Clear();
    if (waiter->received >= length)
        complete(waiter, waiter->kind);
}

/* Reads the answers that have arrived. Returns false when the host is gone, or when another kind of message comes
 * next. */
static bool take_answers(void)
{
    char packet[PX_PACKET_MAX];
    while (state.run) {
        uint16_t kind = PX_RUN_NONE;
        ssize_t n = px_recv(state.run->out->socket, &kind, sizeof kind, MSG_PEEK | MSG_DONTWAIT);
        if (n < 0 && errno == EAGAIN)
            return true;
        if (n != sizeof kind || !px_tools_is_answer(kind))
            return false;
        n = px_recv(state.run->out->socket, packet, sizeof packet, MSG_DONTWAIT);
        struct px_wire_field field;
        size_t offset = 0;
        while (n > 0 && px_wire_next(packet, (size_t)n, &offset, &field) > 0)
            if (field.kind == PX_RUN_TOOL_ANSWER)
                begin_answer(&field);
            else if (field.kind == PX_RUN_TOOL_TEXT)
                add_text(&field);
        give_room();
        deliver_finished();
    }
    return true;
}

static int lost_host(void)
{
    PyErr_SetString(PyExc_RuntimeError, "the host of this script has ended");
    return -1;
}

static int read_for_all(struct tool_waiter *self)
{
    struct pollfd polled = {state.run->out->socket, POLLIN, 0};
    sigset_t nudge, before, waiting;
    /* The signal is blocked except during ppoll(). So a nudge that arrives just before the wait still ends it. */
    sigemptyset(&nudge);
    sigaddset(&nudge, PX_SIGNAL_NUDGE);
    pthread_sigmask(SIG_BLOCK, &nudge, &before);
    waiting = before;
    sigdelset(&waiting, PX_SIGNAL_NUDGE);
    state.reader = self;
    state.reader_thread = pthread_self();
    Py_BEGIN_ALLOW_THREADS(void) !px_ppoll_or_signal(&polled, 1, &waiting);
    Py_END_ALLOW_THREADS state.reader = NULL;
    pthread_sigmask(SIG_SETMASK, &before, NULL);
    if (self->done || !state.run || !polled.revents)
        return 0;
    return take_answers() ? 0 : lost_host();
}

/* Waits until the call is done. Returns -1 with the exception that a signal raised. */
static int wait_for(struct tool_waiter *waiter)
{
    int failed = 0;
    while (!waiter->done && !failed) {
        if (!state.reader) {
            failed = read_for_all(waiter);
        } else {
            Py_BEGIN_ALLOW_THREADS(void) !px_sem_wait_or_signal(&waiter->wake);
            Py_END_ALLOW_THREADS
        }
        if (!failed && PyErr_CheckSignals() < 0)
            failed = -1;
    }
    return failed;
}

/* ---- Making a call ---- */

static bool send_call(uint64_t number, const char *name, const char *text, size_t length)
{
    static struct px_wire_writer
        writer; /* a separate writer, because the run's writer may already have half a result */
    char head[sizeof number + PX_TOOL_NAME_MAX];
    size_t name_length = strlen(name);
    if (name_length > PX_TOOL_NAME_MAX)
        return false;
    memcpy(head, &number, sizeof number);
    memcpy(head + sizeof number, name, name_length);
    writer.socket = state.run->out->socket;
    writer.length = 0;
    return px_wire_put(&writer, PX_RESULT_TOOL_CALL, head, sizeof number + name_length) == 0 &&
           px_wire_put(&writer, PX_RESULT_TOOL_ARGUMENTS, text, length) == 0 &&
           px_wire_put(&writer, PX_RESULT_TOOL_CALL_END, NULL, 0) == 0 && px_wire_flush(&writer) == 0;
}

static void send_abandon(uint64_t number)
{
    struct px_wire_writer writer = {.socket = state.run->out->socket};
    if (px_wire_put(&writer, PX_RESULT_TOOL_ABANDON, &number, sizeof number) == 0)
        (void)!px_wire_flush(&writer);
}

static PyObject *answer(struct tool_waiter *waiter)
{
    if (waiter->kind != ENDED && !waiter->text)
        return PyErr_NoMemory();
    return Py_BuildValue("iO", waiter->kind, waiter->text ? waiter->text : Py_None);
}

static void waiter_done(struct tool_waiter *waiter)
{
    unlist(waiter);
    px_drop_object(&waiter->text);
    sem_destroy(&waiter->wake);
    pass_on_reading();
}

/* Waits for room, sends the call, and waits for its answer. Returns NULL with the exception that a signal raised. */
static PyObject *call_and_wait(const char *name, const char *text, size_t length)
{
    px_auto(waiter_done) struct tool_waiter waiter = {.bytes = length};
    sem_init(&waiter.wake, 0, 0);
    while (state.run && !has_room(length)) {
        waiter.done = false;
        enlist(&waiter);
        if (wait_for(&waiter) < 0)
            return NULL;
        if (waiter.kind == ENDED)
            return answer(&waiter);
    }
    waiter.done = false;
    waiter.kind = ENDED;
    if (!state.run)
        return answer(&waiter);
    waiter.number = ++state.last;
    if (!send_call(waiter.number, name, text, length)) {
        lost_host();
        return NULL;
    }
    enlist(&waiter);
    if (wait_for(&waiter) == 0)
        return answer(&waiter);
    if (!waiter.done && state.run)
        send_abandon(waiter.number);
    unlist(&waiter);
    give_room();
    deliver_finished();
    return NULL;
}

/* tool_call(name, arguments as JSON) returns (kind, text as bytes). */
static PyObject *tool_call(PyObject *self, PyObject *arguments)
{
    (void)self;
    const char *name, *text;
    Py_ssize_t length;
    return PyArg_ParseTuple(arguments, "ss#", &name, &text, &length) ? call_and_wait(name, text, (size_t)length) : NULL;
}

/* tool_start(name, arguments as JSON, deliver) returns the call's number. It returns 0 when there is no room: then
 * `deliver` is called once there is. It returns None when the run has ended. */
static PyObject *tool_start(PyObject *self, PyObject *arguments)
{
    (void)self;
    const char *name, *text;
    Py_ssize_t length;
    PyObject *deliver;
    if (!PyArg_ParseTuple(arguments, "ss#O", &name, &text, &length, &deliver))
        return NULL;
    if (!state.run)
        Py_RETURN_NONE;
    struct tool_waiter *waiter = calloc(1, sizeof *waiter);
    if (!waiter)
        return PyErr_NoMemory();
    waiter->bytes = (size_t)length;
    waiter->number = has_room((size_t)length) ? ++state.last : 0;
    if (waiter->number && !send_call(waiter->number, name, text, (size_t)length)) {
        free(waiter);
        lost_host();
        return NULL;
    }
    Py_INCREF(deliver);
    waiter->deliver = deliver;
    uint64_t number = waiter->number;
    enlist(waiter);
    return PyLong_FromUnsignedLongLong(number);
}

static void forget(struct tool_waiter *waiter)
{
    unlist(waiter);
    Py_XDECREF(waiter->text);
    Py_XDECREF(waiter->deliver);
    free(waiter);
}

/* tool_abandon(number): nothing waits for the answer of this call any more. */
static PyObject *tool_abandon(PyObject *self, PyObject *number)
{
    (void)self;
    struct tool_waiter *waiter = find(PyLong_AsUnsignedLongLong(number));
    PyErr_Clear();
    if (waiter && waiter->deliver && state.run) {
        send_abandon(waiter->number);
        forget(waiter);
        give_room();
        deliver_finished();
    }
    Py_RETURN_NONE;
}

/* tool_read() reads the answers that have arrived, without waiting. */
static PyObject *tool_read(PyObject *self, PyObject *none)
{
    (void)self, (void)none;
    if (state.run && !take_answers() && state.run) {
        lost_host();
        return NULL;
    }
    Py_RETURN_NONE;
}

/* tool_channel() returns the descriptor that becomes readable when answers arrive. */
static PyObject *tool_channel(PyObject *self, PyObject *none)
{
    (void)self, (void)none;
    return PyLong_FromLong(state.run ? state.run->out->socket : -1);
}

static PyObject *tool_denied(PyObject *self, PyObject *arguments)
{
    (void)self;
    const char *what, *hint;
    if (!PyArg_ParseTuple(arguments, "ss", &what, &hint))
        return NULL;
    px_guard_deny(PX_DENIAL_TOOLS, what, hint);
    Py_RETURN_NONE;
}

static PyMethodDef functions[] = {
    {"tool_call", tool_call, METH_VARARGS, NULL},      {"tool_start", tool_start, METH_VARARGS, NULL},
    {"tool_abandon", tool_abandon, METH_O, NULL},      {"tool_read", tool_read, METH_NOARGS, NULL},
    {"tool_channel", tool_channel, METH_NOARGS, NULL}, {"tool_denied", tool_denied, METH_VARARGS, NULL},
    {"plain_json", px_plain_json, METH_VARARGS, NULL},
};

PyMethodDef *px_tools_functions(size_t *ret_count)
{
    *ret_count = PX_COUNT(functions);
    return functions;
}

/* ---- A run ---- */

static bool published;    /* the script's names include names of tools */
static PyObject *modules; /* names of modules of tools, a set */

bool px_tools_has_module(const char *name)
{
    if (!state.run || strcmp(name, "tools") == 0)
        return state.run != NULL;
    px_auto_object PyObject *key = modules ? PyUnicode_FromString(name) : NULL;
    bool found = key && PySet_Contains(modules, key) == 1;
    PyErr_Clear();
    return found;
}

int px_tools_begin(const struct px_script *run, PyObject *names)
{
    if (!run->tools_length && !published)
        return 0;
    published = run->tools_length > 0;
    state.run = published ? run : NULL;
    px_drop_object(&modules);
    modules =
        px_embedded_call("tools_begin", Py_BuildValue("(s#O)", run->tools, (Py_ssize_t)run->tools_length, names), NULL);
    if (!modules)
        state.run = NULL;
    return modules ? 0 : -1;
}

void px_tools_end(void)
{
    if (!state.run)
        return;
    state.run = NULL;
    state.coming = NULL;
    while (state.first)
        complete(state.first, ENDED);
    deliver_finished();
    px_auto_object PyObject *none = px_embedded_call("tools_end", PyTuple_New(0), NULL);
    PyErr_Clear();
}
