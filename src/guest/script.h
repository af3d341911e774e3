/* SPDX-License-Identifier: Apache-2.0 */
/* One execution inside the interpreter: from the run message to the result message.
 *
 * px_script_prepare() is called once in the zygote, while it is still single-threaded and before
 * any child; px_script_warm() by a child before it says "ready"; px_script_execute() in a locked
 * child, once (stateless run). Everything is C: the script may have replaced any Python
 * object, so nothing here looks a builtin up after the script has begun; what is needed is
 * kept from px_script_prepare() on. */
#ifndef PX_GUEST_SCRIPT_H
#define PX_GUEST_SCRIPT_H

#include "base/file_access.h" /* enum px_files only: the guest links no jansson */
#include "guest/python.h"     /* Py_LIMITED_API and Python.h */
#include "protocol/wire.h"

/* The run message, unpacked. Strings are owned; sets are frozensets of str. */
struct px_script {
    uint32_t flags; /* PX_RUN_FLAG_… */
    char *code;     /* terminated */
    size_t code_length;
    char *filename; /* "<cell>" */
    uint64_t max_value;
    char *variables; /* JSON: name to value; "" when there are none */
    size_t variables_length;
    char *tools; /* a JSON array; "" when there are none */
    size_t tools_length;
    enum px_value_json value_json;
    uint64_t max_displays, max_display_bytes;
    uint64_t timeout_ms, cpu_seconds, memory_bytes, max_open_files, max_threads;
    enum px_files files;
    char *workspace;   /* "" when there is none */
    char *working_dir; /* absolute; the child has already changed to it */
    PyObject *allowed, *banned;
    bool new_input;             /* descriptor 0 is another than it was */
    char **env;                 /* NAME=VALUE, NULL-terminated */
    struct px_wire_writer *out; /* the channel to the host */
};

/* Unpacks the messages of the channel into *run, blocking; what *run holds of the run before is
 * freed, but imports that are to stay. 0, or -1 when the host is gone or
 * the message is not ours (the child then exits). Owned by the child module. */
int px_script_receive(int channel, struct px_script *run);

/* Zygote: keeps the builtins needed, imports _ast, installs the Python-level handlers of
 * PX_SIGNAL_TIMEOUT, PX_SIGNAL_CPU (raise TimeoutError) and the default SIGINT handler, and
 * makes sys.stdout and sys.stderr line-buffered. 0, or -1 with a Python exception set. */
int px_script_prepare(void);

/* Child, just after the clone: fresh state for the generators that it shares with its siblings
 * (random, numpy.random, OpenSSL). What reads urandom needs none. */
void px_script_reseed(void);

/* Child, before lock-down: compiles, evaluates and reprs constant code through the same path,
 * so that copy-on-write faults are paid ahead of the request. */
void px_script_warm(void);

/* Child, locked: runs the script, flushes, and sends the whole result up to DONE. Returns the
 * exit status for _exit(); never raises. In a session (PX_RUN_FLAG_SESSION) the names of __main__,
 * threads and modules stay for the next call; the environment is as before after it. */
int px_script_execute(struct px_script *run);

/* Ends the run at once from anywhere in the child (the SIGSYS handler): flushes the standard
 * streams as far as that works, sends `outcome` and `exit_code` and DONE, and calls _exit. */
void px_script_abort(enum px_outcome outcome, int exit_code) __attribute__((noreturn));

#endif
