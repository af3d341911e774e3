/* SPDX-License-Identifier: Apache-2.0 */
/* One execution inside the interpreter: from the run message to the result message. The zygote calls
 * px_script_prepare() once, while it has one thread and no children; a child calls px_script_warm() before it says
 * "ready", and px_script_execute() once it is locked: one time, or for each call of a session. The code here is C:
 * the script may have replaced any Python object, so after the script has begun nothing here looks a builtin up.
 * px_script_prepare() keeps the objects that are needed. */
#ifndef PX_GUEST_SCRIPT_H
#define PX_GUEST_SCRIPT_H

#include "base/file_access.h" /* only enum px_files is used: the guest links no jansson */
#include "guest/python.h"     /* Py_LIMITED_API and Python.h */
#include "protocol/wire.h"

/* The contents of the run message: the members of run_fields.def, and its lists. The struct owns the strings; the
 * sets are frozensets of str. */
struct px_script {
/* Ends with a NUL; "" when there is none. */
#define PX_RUN_LONG(NAME, member, ...) \
    char *member; \
    size_t member##_length;
#define PX_RUN_NUMBER(NAME, wire, type, member, ...) type member;
#define PX_RUN_TEXT(NAME, member, ...) char *member;
#include "protocol/run_fields.def"
    PyObject *allowed, *banned;
    bool new_input;             /* descriptor 0 is not the same as in the last call */
    char **env;                 /* NAME=VALUE, with NULL at the end */
    struct px_wire_writer *out; /* the channel to the host */
};

/* Reads the run message from the channel into *run, and waits for it. First frees what *run holds of the last run,
 * except sets of imports that stay the same. Returns 0, or -1 when the host is gone or the message is not valid;
 * the child then exits. */
int px_script_receive(int channel, struct px_script *run);

/* Called in the zygote: keeps the builtins that are needed, imports _ast, installs the Python-level handlers of
 * PX_SIGNAL_TIMEOUT and PX_SIGNAL_CPU (which raise TimeoutError) and the default SIGINT handler, and makes
 * sys.stdout and sys.stderr line-buffered. Returns 0, or -1 with a Python exception set. */
int px_script_prepare(void);

/* Called in a branch or a checkpoint: renews what a copy of a process can't use, which is the event loop of top-level await.
 * `reseed`: gives new random state to all generators, and not only to OpenSSL's. */
void px_script_forked(bool reseed);

/* Called in the child, before lock-down: compiles, evaluates and prints constant code on the same path as a
 * script's, so that the copy-on-write faults happen before a request comes. */
void px_script_warm(void);

/* Called in the locked child: runs the script, flushes the streams, and sends the whole result up to DONE. Returns
 * the exit status for _exit(); never raises. In a session (PX_RUN_FLAG_SESSION) the names of __main__, threads and
 * modules stay for the next call, and the environment is restored afterwards. */
int px_script_execute(struct px_script *run);

/* Ends the run at once from anywhere in the child (the SIGSYS handler calls this): flushes the standard streams as
 * far as possible, sends `outcome`, `exit_code` and DONE, and calls _exit. */
void px_script_abort(enum px_outcome outcome, int exit_code) __attribute__((noreturn));

#endif
