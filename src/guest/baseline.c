/* SPDX-License-Identifier: Apache-2.0 */
/* The baselines that `pyexec bench` compares runs with: how long this machine takes to clone this same
 * interpreter, with a run's namespaces and without them, and to send a message to a waiting child and get the
 * answer. */
#include <errno.h>
#include <linux/sched.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/wait.h>
#include <unistd.h>

#include "base/clock.h"
#include "base/retry.h"
#include "guest/zygote.h"
#include "sandbox/namespaces.h"

static void await(pid_t pid)
{
    (void)!px_waitpid(pid, NULL, 0);
}

/* Returns the repr of 1+1 as bytes, or NULL. */
static PyObject *evaluate(PyObject *globals)
{
    PyObject *code = Py_CompileString("1+1", "<floor>", Py_eval_input);
    PyObject *value = code ? PyEval_EvalCode(code, globals, globals) : NULL;
    PyObject *text = value ? PyObject_Repr(value) : NULL;
    PyObject *bytes = text ? PyUnicode_AsUTF8String(text) : NULL;
    Py_XDECREF(text);
    Py_XDECREF(value);
    Py_XDECREF(code);
    return bytes;
}

/* The child evaluates once before the first message, as a waiting child of the pool does. So the measured time is
 * only the time of a message. */
static void echo(int channel)
{
    char byte;
    PyOS_AfterFork_Child();
    PyObject *globals = PyDict_New();
    PyObject *bytes = globals ? evaluate(globals) : NULL;
    while (bytes && px_recv(channel, &byte, 1, 0) == 1) {
        Py_DECREF(bytes);
        bytes = evaluate(globals);
        if (!bytes || px_send(channel, PyBytes_AsString(bytes), (size_t)PyBytes_Size(bytes), MSG_NOSIGNAL) < 0)
            break;
    }
    _exit(EXIT_SUCCESS);
}

int px_baseline_run(struct px_zygote *zygote, const struct px_clone_request *request, const int *fds,
                    struct px_clone_reply *reply)
{
    bool namespaces = request->op == PX_CLONE_BASELINE_NAMESPACES;
    bool with_echo = request->op == PX_CLONE_BASELINE_ECHO;
    int64_t before = px_now_ns();
    if (with_echo)
        PyOS_BeforeFork();
    /* The supervisor must reap the echoing child, as it reaps the child of a run. */
    pid_t pid = px_clone3((namespaces ? px_child_namespaces(zygote) : 0) | (with_echo ? CLONE_PARENT : 0),
                          with_echo ? 0 : SIGCHLD, NULL);
    if (pid == 0) {
        close(zygote->host);
        if (with_echo)
            echo(fds[0]);
        _exit(EXIT_SUCCESS);
    }
    if (with_echo)
        PyOS_AfterFork_Parent();
    if (pid < 0)
        return px_error_errno(&reply->error, PYEXEC_INTERNAL, errno, "can't clone");
    if (!with_echo)
        await(pid);
    reply->elapsed_ns = (uint64_t)(px_now_ns() - before);
    reply->pid = pid;
    return 0;
}
