/* SPDX-License-Identifier: Apache-2.0 */
/* libpyexec: run untrusted Python in a fresh, kernel-isolated process.
 *
 * The pattern of use:
 *
 *     pyexec_error error;
 *     pyexec_executor *executor = NULL;
 *     if (pyexec_executor_new("{\"timeout_ms\": 2000}", NULL, &executor, &error) < 0)
 *         errx(1, "%s (%s)", error.message, error.hint);
 *
 *     pyexec_request *request = pyexec_request_new();
 *     pyexec_request_set_code(request, "6 * 7", 5);
 *     pyexec_result *result = NULL;
 *     if (pyexec_execute_once(executor, request, &result, &error) == 0)
 *         puts(pyexec_result_last_value(result));                // 42
 *
 *     pyexec_result_free(result);
 *     pyexec_request_free(request);
 *     pyexec_executor_free(executor);                            // nothing is left behind
 *
 * Rules that hold for every call:
 *  - Functions that can fail return 0, or -1 after filling *error, which needs no freeing.
 *    The output parameter is set only on success.
 *  - A script that fails is a result, not an error. Errors are failures of the host.
 *  - Strings that go in are copied. Strings that come out belong to the object that the
 *    function was called with, and live as long as it does.
 *  - An executor may be used from any number of threads at once. A request or a result
 *    belongs to one thread at a time. Free functions accept NULL.
 *  - The library installs no signal handler, never calls wait on a process that it did not
 *    start, and writes nothing to the standard streams. After fork() in the host, only the
 *    parent may continue to use an executor.
 */
#ifndef PYEXEC_H
#define PYEXEC_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#ifdef __cplusplus
extern "C" {
#endif

#define PYEXEC_API __attribute__((visibility("default")))

/* Failures of the host. JSON, HTTP and Java use the same names in lower case. */
typedef enum pyexec_code {
    PYEXEC_OK = 0,
    PYEXEC_INVALID_POLICY,
    PYEXEC_INVALID_REQUEST,
    PYEXEC_PYTHON_NOT_FOUND,
    PYEXEC_PYTHON_UNSUPPORTED,
    PYEXEC_SANDBOX_UNAVAILABLE,
    PYEXEC_SESSION_LIMIT,
    PYEXEC_SESSION_NOT_FOUND,
    PYEXEC_OVERLOADED,
    PYEXEC_SHUTTING_DOWN,
    PYEXEC_INTERNAL,
    PYEXEC_CALL_NOT_FOUND,
    PYEXEC_SESSION_BUSY,
    PYEXEC_SESSION_NOT_FORKABLE,
} pyexec_code;

/* The message says what failed, with the wrong value. The hint says what to do next. Both texts always end with a NUL. */
typedef struct pyexec_error {
    pyexec_code code;
    int sys_errno;      /* errno of the system call behind it, or 0 */
    int retry_after_ms; /* with PYEXEC_OVERLOADED: when to try again; else 0 */
    char message[1024];
    char hint[1024];
} pyexec_error;

typedef struct pyexec_executor pyexec_executor;
typedef struct pyexec_request pyexec_request;
typedef struct pyexec_result pyexec_result;
typedef struct pyexec_turn pyexec_turn;

/* Parts of a result: an object that the script displayed, and an action that the script was refused. They belong
 * to the result and live as long as it does. */
typedef struct pyexec_display pyexec_display;
typedef struct pyexec_denial pyexec_denial;

/* A file, and a list of files. Those of a result live as long as it does. */
typedef struct pyexec_file pyexec_file;
typedef struct pyexec_file_list pyexec_file_list;

/* Facts about a session, and a list of them. */
typedef struct pyexec_session_info pyexec_session_info;
typedef struct pyexec_session_list pyexec_session_list;

/* How a run ended. docs/results.md says which of these are facts of the kernel. */
typedef enum pyexec_status {
    PYEXEC_STATUS_OK = 0,
    PYEXEC_STATUS_ERROR,
    PYEXEC_STATUS_TIMEOUT,
    PYEXEC_STATUS_CPU_LIMIT,
    PYEXEC_STATUS_MEMORY_LIMIT,
    PYEXEC_STATUS_KILLED,
    PYEXEC_STATUS_CRASHED,
    PYEXEC_STATUS_CANCELLED,
} pyexec_status;

/* The exit codes that pyexec itself sets; docs/results.md has the whole table. */
enum {
    PYEXEC_EXIT_TIMEOUT = 124,   /* the same as timeout(1) */
    PYEXEC_EXIT_SIGNAL = 128,    /* plus the signal's number, as in a shell */
    PYEXEC_EXIT_CANCELLED = 130, /* the same as a program that Ctrl-C has ended */
    PYEXEC_EXIT_KILLED = 137,    /* SIGKILL */
};

/* Returns the library's version, "MAJOR.MINOR.PATCH". */
PYEXEC_API const char *pyexec_version(void);

/* Returns the name of a code in JSON ("invalid_policy"), or "unknown". */
PYEXEC_API const char *pyexec_code_name(pyexec_code code);

/* Returns the name of a status in JSON ("cpu_limit"), or "unknown". */
PYEXEC_API const char *pyexec_status_name(pyexec_status status);

/* Creates an executor.
 *
 * policy_json  a JSON object with the policy's keys (docs/configuration.md), or NULL for the
 *              defaults. Keys that are missing have their defaults.
 * host_json    a JSON object with the keys of the configuration's [host] section, or NULL.
 * ret          the executor; free it with pyexec_executor_free().
 *
 * Starts the supervisor and the first zygote. So it takes about as long as starting the
 * interpreter and importing `preload_imports`: at most 30 seconds.
 * Errors: PYEXEC_INVALID_POLICY, PYEXEC_PYTHON_NOT_FOUND, PYEXEC_PYTHON_UNSUPPORTED,
 * PYEXEC_SANDBOX_UNAVAILABLE (names the missing layer and its remedy), PYEXEC_INTERNAL. */
PYEXEC_API int pyexec_executor_new(const char *policy_json, const char *host_json, pyexec_executor **ret,
                                   pyexec_error *error);

/* The same, with sessions configured: one JSON object with the optional members "policy", "session", "host", "egress" and "env"
 * (docs/configuration.md), or NULL for the defaults. pyexec_executor_new() uses the default [session] section. */
PYEXEC_API int pyexec_executor_open(const char *config_json, pyexec_executor **ret, pyexec_error *error);

/* From now on session ids are "PRINCIPAL/ID". Principals are callers that know nothing of each other: each has its
 * own sessions, at most `max_count` of them, and its own folder of workspaces (ROOT/PRINCIPAL/ID; a folder that
 * exists already is not used). PRINCIPAL has 1 to 64 and ID 1 to 128 of the characters of a session id. Results
 * and errors name only the ID. Call this before the first session is made. */
PYEXEC_API void pyexec_executor_use_principals(pyexec_executor *executor);

/* Sets a limit of sessions for one principal, which replaces `max_count` for it. 0: `max_count` again. Existing
 * sessions stay. */
PYEXEC_API int pyexec_executor_limit_sessions(pyexec_executor *executor, const char *principal, int64_t max_count,
                                              pyexec_error *error);

/* A function that gets the spans of an execution that has ended: `count` spans as OTLP/JSON, with commas between them, as in the
 * `spans` of a ScopeSpans. It is called on the thread that executed, and must not wait. */
typedef void (*pyexec_spans_fn)(void *userdata, const char *json, size_t length, size_t count);

/* Makes spans of all executions from now on (docs/observability.md). Call it before the first execution; without it no span is made.
 * sampler  the word of OTEL_TRACES_SAMPLER: "always_on", "always_off", "traceidratio", or one of these with "parentbased_" before it
 * ratio    for the samplers with a ratio: 0 to 1
 * flags    PYEXEC_TRACE_SESSION_IDS: spans have the session's id. PYEXEC_TRACE_ERRORS: spans have the script's error message, which
 *          the script chooses. Without flags, nothing in a span comes from the script or its code.
 * Errors: PYEXEC_INVALID_REQUEST for other values. */
enum { PYEXEC_TRACE_SESSION_IDS = 1, PYEXEC_TRACE_ERRORS = 2 };
PYEXEC_API int pyexec_executor_set_tracing(pyexec_executor *executor, const char *sampler, double ratio, unsigned flags,
                                           pyexec_spans_fn fn, void *userdata, pyexec_error *error);
/* True if pyexec_executor_set_tracing() was called: only then does a request need data for its spans. */
PYEXEC_API bool pyexec_executor_has_tracing(const pyexec_executor *executor);

/* Ends every run, waits until calls in other threads have returned, and removes everything that the executor made:
 * processes, descriptors, mounts, cgroups. No call may start after this. */
PYEXEC_API void pyexec_executor_free(pyexec_executor *executor);

/* Returns the policy in force as a JSON object. It lives as long as the executor. */
PYEXEC_API const char *pyexec_executor_policy_json(pyexec_executor *executor);

/* Returns the names of the isolation layers that this executor runs without, as a JSON array; "[]" unless
 * `allow_missing` named some. It lives as long as the executor. */
PYEXEC_API const char *pyexec_executor_missing_layers_json(pyexec_executor *executor);

/* Returns {"version", "python": text, "layers": [names of active layers], "missing_layers": [names]} as JSON. It
 * lives as long as the executor. */
PYEXEC_API const char *pyexec_executor_info_json(pyexec_executor *executor);

/* Returns the interpreter's version, such as "3.11.2 (main, …)". It lives as long as the executor. */
PYEXEC_API const char *pyexec_executor_python(pyexec_executor *executor);

/* Makes a request: everything about one execution. Returns NULL when there is no memory or no descriptor (a
 * request holds one). */
PYEXEC_API pyexec_request *pyexec_request_new(void);
PYEXEC_API void pyexec_request_free(pyexec_request *request);

/* Sets the script: UTF-8, at most 10 MiB, without NUL bytes (checked when it is executed). */
PYEXEC_API int pyexec_request_set_code(pyexec_request *request, const char *code, size_t length);

/* Sets a partial policy as a JSON object. Its keys replace those of the executor's policy; arrays are replaced,
 * not merged. */
PYEXEC_API int pyexec_request_set_policy(pyexec_request *request, const char *policy_json);

/* Sets a ceiling: the most that the request's policy may allow, for callers that are not trusted (docs/c-api.md).
 * It is a partial policy as a JSON object. Its keys replace those of the executor's policy. If the request asks for
 * more, the execution fails with PYEXEC_INVALID_POLICY. Values that the request does not mention are lowered to the
 * ceiling. */
PYEXEC_API int pyexec_request_set_ceiling(pyexec_request *request, const char *policy_json);

/* Sets the working directory: a folder relative to the workspace, made if it is missing. */
PYEXEC_API int pyexec_request_set_working_dir(pyexec_request *request, const char *path);

/* Sets an absolute folder of the host as the workspace. It is never removed. */
PYEXEC_API int pyexec_request_set_workspace(pyexec_request *request, const char *path);

/* Sets where the script sees the workspace of the session that this call makes: an absolute path, such as
 * /home/user. Only for a workspace in memory: it is ignored with workspace_root and for an existing session. */
PYEXEC_API int pyexec_request_set_workspace_path(pyexec_request *request, const char *path);

/* Sets an environment variable of the script. A later value for the same name replaces it. If the name is empty or
 * has a '=', the execution fails with PYEXEC_INVALID_REQUEST. */
PYEXEC_API int pyexec_request_set_env(pyexec_request *request, const char *name, const char *value);

/* Sets the names of the secrets ([egress] secrets, docs/network.md) that the request's caller may use, with commas between them; "": none.
 * A program with several callers decides this for each of them. NULL, the default: all, or none after
 * pyexec_executor_use_principals(). A session has the secrets of the call that makes its process. Returns 0, or -1 when there is no memory. */
PYEXEC_API int pyexec_request_set_secrets(pyexec_request *request, const char *names);

/* Traces (docs/observability.md). The first sets the span of the caller from the W3C headers `traceparent` and `tracestate`
 * (NULL: none): the execution becomes a part of this trace, and the caller's tools get it (pyexec_tool_call_traceparent()). Returns -1
 * for a traceparent that is not valid, which then counts as none; a tracestate that is not valid is dropped. */
PYEXEC_API int pyexec_request_set_traceparent(pyexec_request *request, const char *traceparent, const char *tracestate);

/* Describes the span of the execution for pyexec_executor_set_tracing(). name: NULL for the name of the function. kind:
 * PYEXEC_SPAN_INTERNAL, or PYEXEC_SPAN_SERVER if the request came from another program. span_id: its id, 16 lower-case
 * hexadecimal digits; NULL: a random one. attributes_json: a JSON object of strings, numbers and booleans; NULL: none. Returns -1
 * for other values. */
enum { PYEXEC_SPAN_INTERNAL = 1, PYEXEC_SPAN_SERVER = 2 };
PYEXEC_API int pyexec_request_set_span(pyexec_request *request, const char *name, int kind, const char *span_id,
                                       const char *attributes_json);

/* Sets the bytes that the script reads from its standard input. Default: none. */
PYEXEC_API int pyexec_request_set_stdin(pyexec_request *request, const void *bytes, size_t length);

/* Sets a descriptor of the caller from which the script's standard input is read, as fast as the script reads it.
 * It is used during the call and not closed. It replaces pyexec_request_set_stdin(). -1: none. */
PYEXEC_API int pyexec_request_set_stdin_fd(pyexec_request *request, int fd);

/* Adds a file that is put into the workspace before the run. `path` is relative to the workspace. Needs file
 * access. */
PYEXEC_API int pyexec_request_add_file(pyexec_request *request, const char *path, const void *bytes, size_t length);

/* Adds a glob pattern. The result has the content of changed files that match it. */
PYEXEC_API int pyexec_request_add_return_file(pyexec_request *request, const char *pattern);

/* Makes pyexec_request_set_json() refuse some keys from now on, with PYEXEC_INVALID_REQUEST, for callers that are
 * not trusted with them. PYEXEC_NO_HOST_WORKSPACE: the key `workspace`, a folder of the host. */
enum { PYEXEC_NO_HOST_WORKSPACE = 1 };
PYEXEC_API void pyexec_request_restrict(pyexec_request *request, unsigned what);

/* Sets everything of an execute request from one JSON object (docs/rpc.md, execute_once). */
PYEXEC_API int pyexec_request_set_json(pyexec_request *request, const char *json, size_t length, pyexec_error *error);

/* A function that gets the script's output during the run. `stream` is 1 or 2. It is called on the thread that
 * executes, before pyexec_execute_once() returns. It does not get bytes beyond the output limits. It must not call
 * the executor with this request. If it does not return 0, the run is cancelled. */
typedef int (*pyexec_output_fn)(void *userdata, int stream, const char *bytes, size_t length);
PYEXEC_API void pyexec_request_set_output(pyexec_request *request, pyexec_output_fn fn, void *userdata);

/* A function that gets each display during the run, in the form of pyexec_result_display_json(). It is called like
 * a pyexec_output_fn and may cancel the run in the same way. Output that the script wrote before a display
 * is passed on before the display. */
typedef int (*pyexec_display_fn)(void *userdata, const char *json, size_t length);
PYEXEC_API void pyexec_request_set_display(pyexec_request *request, pyexec_display_fn fn, void *userdata);

/* The same with the display itself, which lives only during the call. */
typedef int (*pyexec_display_object_fn)(void *userdata, const pyexec_display *display);
PYEXEC_API void pyexec_request_set_display_object(pyexec_request *request, pyexec_display_object_fn fn, void *userdata);

/* Sets a variable of the script from JSON. `name` is a Python identifier of ASCII letters, digits and '_'. In a
 * session the variable stays. A later value for the same name replaces it. Returns 0, or -1 when `value_json` is
 * not JSON or there is no memory. If the name can't be used, the execution fails with PYEXEC_INVALID_REQUEST. */
PYEXEC_API int pyexec_request_set_input(pyexec_request *request, const char *name, const char *value_json);

/* Asks for the last value as JSON, with tables as "records" or "split"; NULL: no JSON. Returns 0, or -1 for any
 * other word. */
PYEXEC_API int pyexec_request_set_value_json(pyexec_request *request, const char *tables);

/* Marks a call of a session that the user does not see, such as completion. The call gets no number, so
 * execution_count and the "<cell N>" of tracebacks count only the other calls. */
PYEXEC_API void pyexec_request_set_silent(pyexec_request *request, int silent);

/* A call of a session: 1 keeps the state of the session before the call, for pyexec_session_undo(); 0 does not, although the policy
 * has auto_checkpoint. The session needs the policy forkable or auto_checkpoint. If the state can't be kept, the call is refused. */
PYEXEC_API void pyexec_request_set_checkpoint(pyexec_request *request, int checkpoint);

/* A function that is called on the thread that executes when a call of a session has its place in the order of the
 * session: calls that come later run later. It must not call pyexec. */
typedef void (*pyexec_arrived_fn)(void *userdata);
PYEXEC_API void pyexec_request_set_arrived(pyexec_request *request, pyexec_arrived_fn fn, void *userdata);

/* The queue of an executor, for a server. Its requests wait there as jobs, and need no thread while they wait. Executions of other
 * threads wait in the same order. Principals take turns, and one principal may fill half of the queue (`[host] queue_length`).
 * The jobs of a session begin in the order in which they were added, each after the end of the one before.
 * principal_jobs: how many jobs of one principal may be in progress; 0: no limit. pyexec_queue_new_plain() makes a separate
 * queue for work other than runs: `jobs` are in progress at once, and up to `length` wait. Free a queue before the executor,
 * when no job waits and all turns are freed. */
typedef struct pyexec_queue pyexec_queue;
PYEXEC_API int pyexec_queue_new(pyexec_executor *executor, uint64_t principal_jobs, pyexec_queue **ret,
                                pyexec_error *error);
PYEXEC_API int pyexec_queue_new_plain(uint64_t jobs, uint64_t length, uint64_t principal_jobs, pyexec_queue **ret,
                                      pyexec_error *error);
PYEXEC_API void pyexec_queue_free(pyexec_queue *queue);

/* Sets the limits of one principal's jobs from now on. max_concurrent: how many of them may be in progress
 * (0: principal_jobs). rate: how many of them the queue accepts in a second (0: any number). */
PYEXEC_API int pyexec_queue_limit(pyexec_queue *queue, const char *principal, int64_t max_concurrent, double rate,
                                  pyexec_error *error);

/* Adds a job; session_id may be NULL. Errors: PYEXEC_OVERLOADED with retry_after_ms, and with sys_errno EAGAIN when the
 * principal exceeds its rate. */
PYEXEC_API int pyexec_queue_add(pyexec_queue *queue, const char *principal, const char *session_id, void *job,
                                pyexec_error *error);

/* The same for a job that can begin at once: when a turn is free and no other job is before it, *ret_turn is its turn, and the
 * caller's thread does the job. Otherwise *ret_turn is NULL, and nothing was added. */
PYEXEC_API int pyexec_queue_begin(pyexec_queue *queue, const char *principal, const char *session_id, void *job,
                                  pyexec_turn **ret_turn, pyexec_error *error);

/* Waits until a job is next and has a turn, and returns it with its turn; call it only while jobs are in the queue. The
 * job ends when its turn is freed. When the executor is being closed, jobs are returned too, and their executions fail
 * with PYEXEC_SHUTTING_DOWN. */
PYEXEC_API pyexec_turn *pyexec_queue_next(pyexec_queue *queue, void **ret_job);
PYEXEC_API void pyexec_turn_free(pyexec_turn *turn);
/* Ends the job before its turn is freed. Call it after the job's last execution, so that another job can begin. */
PYEXEC_API void pyexec_turn_give_back(pyexec_turn *turn);

/* Gives the turn back for the time in which the job waits for something else than a run. The job goes on: other jobs of its session wait
 * for its end. Its next execution takes a turn again. */
PYEXEC_API void pyexec_turn_pause(pyexec_turn *turn);

/* Executes the request with this turn; the request does not wait for another one. The turn is borrowed, and can be used by one
 * execution at a time. A call that must wait for another call of its session gives the turn back during that time. NULL: no
 * turn. */
PYEXEC_API void pyexec_request_set_turn(pyexec_request *request, pyexec_turn *turn);

/* Tools: functions of the host that the script calls (docs/tools.md).
 *
 * This is one call of a script, which waits for its answer. The callback gets the call and owns it: it answers at
 * once, or later from any thread, and then frees the call. A call that is freed without an answer gets an error. */
typedef struct pyexec_tool_call pyexec_tool_call;
typedef void (*pyexec_tool_fn)(void *userdata, pyexec_tool_call *call);

/* Offers a tool to the script of this request.
 *
 * name         a Python identifier of at most 128 ASCII letters, digits and '_', without a leading underscore.
 *              Keywords, names of built-ins, `tools`, `aio` and `ToolError` are refused. A later tool of the same
 *              name replaces it. A tool called `input` answers the script's input() (docs/tools.md).
 * schema_json  a JSON object {"description": text, "parameters": the JSON Schema of an object,
 *              "returns": a JSON Schema, "approval": true or false}, of which each member may be missing; or NULL.
 * callback     called on a thread of pyexec. It may take long: limits are enforced on other threads. When the script
 *              makes several calls at once, several callbacks run at once (at most 64). Do not trust what the script sends. An execution does
 *              not wait for a callback that still runs when it ends; pyexec_request_free() does, so do not call it
 *              in a callback.
 *
 * Errors: PYEXEC_INVALID_REQUEST (names the tool and the problem; more than 256 tools). */
PYEXEC_API int pyexec_request_add_tool(pyexec_request *request, const char *name, const char *schema_json,
                                       pyexec_tool_fn callback, void *userdata, pyexec_error *error);

/* Offers several tools. `tools_json` is a list of such objects, which also have the tool's "name". All have the
 * same callback; pyexec_tool_call_name() tells which tool was called. Errors: as above. */
PYEXEC_API int pyexec_request_add_tools(pyexec_request *request, const char *tools_json, pyexec_tool_fn callback,
                                        void *userdata, pyexec_error *error);

/* A set of tools that is made once, and that many requests can offer. A tool may be a function of a module. The module is a global
 * name, and every policy allows its import: `github.create_issue(...)`, awaitable as `github.aio.create_issue(...)`.
 *
 * module       NULL, or a name with the same rules as a tool's name. The module hides an installed module with this name.
 *              pyexec_tool_call_name() is then "MODULE.NAME". In a module, NAME may be the name of a built-in.
 *
 * A set has at most 1000 tools. A request borrows the set until the request is freed. If the request itself has a tool with the
 * same name, that tool is used. pyexec_tools_free() waits for callbacks that still run. A call of a tool with "approval": true
 * waits for the approver of the request, and is denied if there is no approver. Errors: as above. */
typedef struct px_tools pyexec_tools;
PYEXEC_API pyexec_tools *pyexec_tools_new(void);
PYEXEC_API void pyexec_tools_free(pyexec_tools *tools);
PYEXEC_API int pyexec_tools_add(pyexec_tools *tools, const char *module, const char *name, const char *schema_json,
                                pyexec_tool_fn callback, void *userdata, pyexec_error *error);
PYEXEC_API void pyexec_request_set_tools(pyexec_request *request, pyexec_tools *tools);

/* Sets the approver: a function that decides about the calls of tools with "approval": true. The approver gets such a call first,
 * and owns it like a callback. It allows the call, and then the tool's callback gets it too. Or it answers the call, usually with a
 * refusal. It may do this at once or later, from any thread; then it frees the call. Set the approver before tools are added to
 * the request: without an approver, adding a tool with "approval": true fails with PYEXEC_INVALID_REQUEST. */
PYEXEC_API int pyexec_request_set_approver(pyexec_request *request, pyexec_tool_fn approver, void *userdata,
                                           pyexec_error *error);

/* Allows a call that waits for the approver. The call must still be freed.
 * Errors: PYEXEC_CALL_NOT_FOUND (it does not wait for approval, it was answered, or the script no longer waits). */
PYEXEC_API int pyexec_tool_call_allow(pyexec_tool_call *call, pyexec_error *error);

/* Sets the function that gets the calls of those tools of a session that have no callback of their own. See
 * pyexec_session_create_tools(). NULL: no function. */
PYEXEC_API void pyexec_request_set_tool_callback(pyexec_request *request, pyexec_tool_fn callback, void *userdata);

/* The id of the call, which no other call has; the name of the tool; and the arguments: a JSON object of at most 8 MiB on one line,
 * with integers of 64 bits, without duplicate keys, and with at most 200 levels. */
PYEXEC_API const char *pyexec_tool_call_id(const pyexec_tool_call *call);
PYEXEC_API const char *pyexec_tool_call_name(const pyexec_tool_call *call);
PYEXEC_API const char *pyexec_tool_call_arguments(const pyexec_tool_call *call, size_t *length);

/* The trace of the call as W3C headers, for requests that the tool makes; NULL: there is none. */
PYEXEC_API const char *pyexec_tool_call_traceparent(const pyexec_tool_call *call);
PYEXEC_API const char *pyexec_tool_call_tracestate(const pyexec_tool_call *call);

/* Returns 1 if the script still waits for the answer, else 0. */
PYEXEC_API int pyexec_tool_call_waits(pyexec_tool_call *call);

/* Answers a call: with a result, any JSON value of at most 8 MiB; with an error, which the script sees as a
 * ToolError with this text and `data` (JSON or NULL); or with a refusal, which it sees as a PermissionError. May
 * be called from any thread. The call must still be freed.
 *
 * Errors: PYEXEC_CALL_NOT_FOUND (it was answered, or the script no longer waits), PYEXEC_INVALID_REQUEST (not
 * JSON, or too large; the call still waits). */
PYEXEC_API int pyexec_tool_call_answer(pyexec_tool_call *call, const char *result_json, size_t length,
                                       pyexec_error *error);
PYEXEC_API int pyexec_tool_call_fail(pyexec_tool_call *call, const char *message, const char *data_json,
                                     pyexec_error *error);
PYEXEC_API int pyexec_tool_call_deny(pyexec_tool_call *call, const char *reason, pyexec_error *error);
PYEXEC_API void pyexec_tool_call_free(pyexec_tool_call *call);

/* Describes tools as a script sees them, as the text of a Python stub file (.pyi) for a model: a function for each
 * tool, with its types, defaults and docstring. It always parses as Python, and has the parameters that inspect.signature() shows in the script.
 *
 * tools_json   a JSON list of objects as of pyexec_request_add_tool(), each with its "name".
 * flags        0, or PYEXEC_STUBS_NO_DOCSTRINGS.
 * max_bytes    the longest text, at least 1000; 0: no limit. If the text is too long, descriptions are cut
 *              after their first line; then they are left out, and then functions. A comment at the end says so.
 * ret          the text; free it with free().
 *
 * Errors: PYEXEC_INVALID_REQUEST (names the tool and the problem). */
enum { PYEXEC_STUBS_NO_DOCSTRINGS = 1 };
PYEXEC_API int pyexec_tool_stubs(const char *tools_json, unsigned flags, size_t max_bytes, char **ret,
                                 pyexec_error *error);
/* The same for a set of tools. A module becomes a class. */
PYEXEC_API int pyexec_tools_stubs(const pyexec_tools *tools, unsigned flags, size_t max_bytes, char **ret,
                                  pyexec_error *error);

/* Stops the run that another thread executes with this request, or its next run if none is in progress. May be
 * called from any thread and from a signal handler. `interrupt` raises KeyboardInterrupt in the script, as Ctrl-C does.
 * `cancel` does the same, kills the script 500 ms later, and makes the status `cancelled`. */
PYEXEC_API void pyexec_request_interrupt(pyexec_request *request);
PYEXEC_API void pyexec_request_cancel(pyexec_request *request);

/* Returns 1 if the code of the request's last execution was sent to a process, else 0. After a failed execution, 0
 * means that the code never started; 1 means that it may have run, partly or completely. For audits, and for
 * callers that try again. Call it on the thread that executed, after the execution has returned. */
PYEXEC_API int pyexec_request_was_sent(const pyexec_request *request);

/* Runs one script in a fresh process, and returns when it has ended or a limit has ended it.
 *
 * ret  the result; free it with pyexec_result_free().
 *
 * Blocks for at most `timeout_ms` plus 500 ms, and the time to start or queue the run.
 * Thread-safe; at most `max_concurrent` runs use the CPUs at once, `max_asleep` others sleep, and `queue_length`
 * wait for a turn.
 * Errors: PYEXEC_INVALID_POLICY, PYEXEC_INVALID_REQUEST, PYEXEC_PYTHON_NOT_FOUND,
 * PYEXEC_PYTHON_UNSUPPORTED, PYEXEC_SANDBOX_UNAVAILABLE, PYEXEC_OVERLOADED (the code never
 * started), PYEXEC_SHUTTING_DOWN, PYEXEC_INTERNAL. */
PYEXEC_API int pyexec_execute_once(pyexec_executor *executor, pyexec_request *request, pyexec_result **ret,
                                   pyexec_error *error);

/* Runs code in a session, which keeps its state between calls. The first call with an id makes the session, and the
 * session keeps the policy of that call. Later calls may change timeout_ms, cpu_time_seconds,
 * print_last_expression and the limits of output, values, displays and tool calls. Calls of one session run one
 * after another in order of arrival; calls of different sessions run at the same time.
 *
 * session_id  1 to 128 of A-Z a-z 0-9 . _ : -, and not "." or ".."; after
 *             pyexec_executor_use_principals() with a principal's name and a '/' before it.
 *
 * Errors: those of pyexec_execute_once(), and PYEXEC_SESSION_LIMIT (all are busy),
 * PYEXEC_SESSION_NOT_FOUND (closed while this call waited). */
PYEXEC_API int pyexec_execute(pyexec_executor *executor, const char *session_id, pyexec_request *request,
                              pyexec_result **ret, pyexec_error *error);

/* Makes a session before its first call, with its process ready, so that files can be written first.
 *
 * policy_json, ceiling_json  the same as for a request, or NULL.
 *
 * Takes as long as the start of a run. Errors: those of pyexec_execute(), and PYEXEC_INVALID_REQUEST
 * with sys_errno EEXIST when a session with this id exists. */
PYEXEC_API int pyexec_session_create(pyexec_executor *executor, const char *session_id, const char *policy_json,
                                     const char *ceiling_json, pyexec_error *error);

/* The same, with tools for all calls of the session. If the request of a call has a tool with the same name, that tool is used in
 * this call.
 *
 * tools_json  the same as for pyexec_request_add_tools(), or NULL.
 * callback    called with `userdata` when a script calls these tools. NULL: the function that pyexec_request_set_tool_callback()
 *             has set for the request is called; a request without such a function is refused.
 *
 * `userdata` must stay valid until the session and its branches (pyexec_session_fork()) have ended and all requests that were executed
 * in them are freed. */
PYEXEC_API int pyexec_session_create_tools(pyexec_executor *executor, const char *session_id, const char *policy_json,
                                           const char *ceiling_json, const char *tools_json, pyexec_tool_fn callback,
                                           void *userdata, pyexec_error *error);

/* Interrupts the running call, as Ctrl-C does. Does nothing when no call is running. */
PYEXEC_API int pyexec_session_interrupt(pyexec_executor *executor, const char *session_id, pyexec_error *error);

/* Makes new sessions that go on from the state of this one, which stays as it is. The session needs the policy `forkable`. None of
 * its calls may run or wait. Each new session has a copy of the interpreter's state and of the workspace, and the same policy and tools.
 * It has its own limits, output streams and time limits, and it counts against max_count. docs/branches.md says what is the same and what is not.
 *
 * ids    the new ids; NULL: pyexec makes them up
 * count  how many, 1 to 1000. If one can't be made, all are closed again
 * *ret   JSON text, which the caller gives to free(): {"sessions": [ID, ...], "pause_ms": how long this session stood still}
 *
 * Errors: PYEXEC_SESSION_NOT_FORKABLE (the message says why), PYEXEC_SESSION_BUSY, PYEXEC_SESSION_LIMIT,
 * PYEXEC_SESSION_NOT_FOUND, PYEXEC_INVALID_REQUEST (an id that is not valid or is taken). */
PYEXEC_API int pyexec_session_fork(pyexec_executor *executor, const char *session_id, const char *const *ids,
                                   size_t count, char **ret, pyexec_error *error);

/* Returns a session to a state that it has kept (policy auto_checkpoint, pyexec_request_set_checkpoint()): variables and files are as
 * they were before that call, and the next call has its number again. None of its calls may run or wait. The states that were kept
 * later are dropped, and so is this one (docs/branches.md).
 *
 * to    the execution count of the call; 0: the last one for which a state is kept
 * *ret  JSON text, which the caller gives to free(): {"to": the execution count, "checkpoints": [COUNT, ...]: the states that are
 *       still kept, "pause_ms": how long it took}
 *
 * Errors: PYEXEC_INVALID_REQUEST (no such state is kept), PYEXEC_SESSION_BUSY, PYEXEC_SESSION_NOT_FOUND. After other errors the
 * session has ended. */
PYEXEC_API int pyexec_session_undo(pyexec_executor *executor, const char *session_id, uint64_t to, char **ret,
                                   pyexec_error *error);

/* The same, to the state before the first call, which is kept if that call keeps a state; it does not count against max_checkpoints,
 * and is not removed to make room for a new one. A session that has had no call stays as it is. */
PYEXEC_API int pyexec_session_reset(pyexec_executor *executor, const char *session_id, char **ret, pyexec_error *error);

/* Runs a solution against many tests, each in a process of its own that is forked from the solution's (docs/verify.md).
 *
 * request  a request of the caller with everything that is not in the JSON: its ceiling, its turn. It can be used to cancel.
 * json     {"solution": code, "tests": [...], "compare", "stop_on_fail", "each", "output_bytes"} and the members that an
 *          execution has: "policy", "timeout_ms", "env", "files", "working_dir"
 * *ret     JSON text, which the caller gives to free(): {"passed", "summary", "solution", "tests"}
 * counts   NULL, or gets the numbers of the answer
 *
 * Expected values are compared in this process, and never sent to another one. Uses as many threads as the machine has CPUs, and
 * a turn for each. A solution that fails is a verdict and no error. Errors: those of pyexec_execute_once(). */
typedef struct pyexec_verify_counts {
    size_t tests, passed;
    double cpu_ms; /* of all tests */
} pyexec_verify_counts;
PYEXEC_API int pyexec_verify(pyexec_executor *executor, pyexec_request *request, const char *json, size_t length,
                             char **ret, pyexec_verify_counts *ret_counts, pyexec_error *error);

/* Ends a session and removes everything that belongs to it. A running call ends as `cancelled`; waiting calls get
 * PYEXEC_SESSION_NOT_FOUND. Errors: PYEXEC_SESSION_NOT_FOUND. */
PYEXEC_API int pyexec_session_close(pyexec_executor *executor, const char *session_id, pyexec_error *error);
PYEXEC_API void pyexec_session_close_all(pyexec_executor *executor);

/* For a server that restarts with a new executor (docs/c-api.md, Restarts).
 *
 * A function that is called when a session begins (`ended` NULL) and when it ends. `ended` is then the reason, as
 * in `restarted`, or "" when the session had no call and no earlier session had its id. It is called with a lock
 * held: it must not wait, and must not call this library. */
typedef void (*pyexec_session_fn)(void *userdata, const char *session_id, const char *ended);

/* Sets the function; `fn` NULL: none. When this returns, no earlier function is running. */
PYEXEC_API int pyexec_executor_watch_sessions(pyexec_executor *executor, pyexec_session_fn fn, void *userdata,
                                              pyexec_error *error);

/* Records why a session of an earlier executor ended: the next session with this id gets this reason as
 * `restarted`. It is one of the 10,000 ended sessions that are remembered. Does nothing while a session with this
 * id is live.
 *
 * why  a reason as in `restarted`; "host_restart" for a session that was live when its executor ended.
 *
 * Errors: PYEXEC_INVALID_REQUEST for an id or a reason that is not valid. */
PYEXEC_API int pyexec_executor_remember_session(pyexec_executor *executor, const char *session_id, const char *why,
                                                pyexec_error *error);

/* From now on no new session is made: a call that needs a new session fails with PYEXEC_SHUTTING_DOWN. Existing sessions stay. */
PYEXEC_API int pyexec_executor_refuse_sessions(pyexec_executor *executor, pyexec_error *error);

/* The environments that a request with this ceiling may choose (the policy's `environment`), as a JSON array, which the caller
 * gives to free(): each has name, hash, created, python, requirements, packages, imports, limits and preload. One that can't be
 * used has name, error and hint.
 *
 * ceiling_json  as in pyexec_request_set_ceiling(), or NULL: all environments of the store ([env] root). */
PYEXEC_API int pyexec_environments_json(pyexec_executor *executor, const char *ceiling_json, char **ret,
                                        pyexec_error *error);

/* These return JSON text, which the caller gives to free(). pyexec_sessions_json(): an array of the live sessions, each
 * {"id", "principal", "busy", "execution_count", "age_ms", "idle_ms"}. pyexec_session_json(): one session, which also
 * has "restarted", the "policy" in force, the "tools" of all its calls and its memory. pyexec_stats_json(): an object of counters (docs/c-api.md). */
PYEXEC_API int pyexec_sessions_json(pyexec_executor *executor, char **ret, pyexec_error *error);
PYEXEC_API int pyexec_session_json(pyexec_executor *executor, const char *session_id, char **ret, pyexec_error *error);
PYEXEC_API int pyexec_stats_json(pyexec_executor *executor, char **ret, pyexec_error *error);

/* The live sessions as data, or only the one with this id, then also with `restarted` and its policy. Free the
 * list. Errors: PYEXEC_SESSION_NOT_FOUND. */
PYEXEC_API int pyexec_sessions(pyexec_executor *executor, const char *session_id, pyexec_session_list **ret,
                               pyexec_error *error);
PYEXEC_API void pyexec_session_list_free(pyexec_session_list *list);
PYEXEC_API size_t pyexec_session_list_count(const pyexec_session_list *list);
PYEXEC_API const pyexec_session_info *pyexec_session_list_get(const pyexec_session_list *list, size_t index);
PYEXEC_API const char *pyexec_session_info_id(const pyexec_session_info *info);
PYEXEC_API const char *pyexec_session_info_principal(const pyexec_session_info *info); /* NULL: no principals */
PYEXEC_API bool pyexec_session_info_busy(const pyexec_session_info *info);
PYEXEC_API uint64_t pyexec_session_info_execution_count(const pyexec_session_info *info);
PYEXEC_API int64_t pyexec_session_info_age_ms(const pyexec_session_info *info);
PYEXEC_API int64_t pyexec_session_info_idle_ms(const pyexec_session_info *info);
PYEXEC_API const char *pyexec_session_info_restarted(const pyexec_session_info *info); /* NULL: its state is not lost */
/* Only for a session that was asked for by its id: its policy as a JSON object, its tools as a JSON list of their
 * definitions, the quota of its workspace, and the name of its environment ("": none). */
PYEXEC_API const char *pyexec_session_info_policy_json(const pyexec_session_info *info);
PYEXEC_API const char *pyexec_session_info_tools_json(const pyexec_session_info *info);
PYEXEC_API uint64_t pyexec_session_info_workspace_bytes(const pyexec_session_info *info);
PYEXEC_API const char *pyexec_session_info_environment(const pyexec_session_info *info);
/* Also only for such a session. Its memory now, read at the first call of one of the two: where processes share a page, each has an
 * equal part of it; and the part that no other process shares. 0: a call is in progress, or the kernel does not tell. */
PYEXEC_API uint64_t pyexec_session_info_memory_bytes(const pyexec_session_info *info);
PYEXEC_API uint64_t pyexec_session_info_private_memory_bytes(const pyexec_session_info *info);

/* Calls `fn` once for each counter of pyexec_stats_json(). `key` is the counter's name. Some counters have one number
 * for each status, layer or reason; `thing` is then this status, layer or reason, such as "timeout". Else it is NULL. */
typedef void (*pyexec_stat_fn)(void *userdata, const char *key, const char *thing, uint64_t value);
PYEXEC_API int pyexec_stats(pyexec_executor *executor, pyexec_stat_fn fn, void *userdata, pyexec_error *error);

/* These list, read, write and delete files in the workspace of a session. The list is a JSON array of {"path",
 * "bytes"}. A file that is read may have at most 64 MiB. The caller gives the list and the bytes to free(). Paths are
 * relative; symbolic links are never followed. Errors: PYEXEC_SESSION_NOT_FOUND, PYEXEC_INVALID_REQUEST. */
PYEXEC_API int pyexec_session_list_files(pyexec_executor *executor, const char *session_id, char **ret,
                                         pyexec_error *error);
PYEXEC_API int pyexec_session_read_file(pyexec_executor *executor, const char *session_id, const char *path, void **ret,
                                        size_t *ret_length, pyexec_error *error);
PYEXEC_API int pyexec_session_write_file(pyexec_executor *executor, const char *session_id, const char *path,
                                         const void *bytes, size_t length, pyexec_error *error);
PYEXEC_API int pyexec_session_delete_file(pyexec_executor *executor, const char *session_id, const char *path,
                                          pyexec_error *error);

/* pyexec_session_list_folder() lists one folder of the workspace ("" is the workspace itself) without the folders
 * below it. It returns a JSON object {"entries": [{"name", "kind", "bytes", "mode", "modified_ns"}], "truncated"} with
 * at most 20,000 entries; the caller gives it to free(). `kind` is "file", "folder", "link" (not followed) or "other".
 * sys_errno is ENOENT when the folder does not exist. pyexec_session_make_folder() makes a folder, and the folders
 * above it; it also succeeds if the folder exists. Errors: as above. */
PYEXEC_API int pyexec_session_list_folder(pyexec_executor *executor, const char *session_id, const char *path,
                                          char **ret, pyexec_error *error);
PYEXEC_API int pyexec_session_make_folder(pyexec_executor *executor, const char *session_id, const char *path,
                                          pyexec_error *error);

/* Lists files as data: all files of the workspace (`path` NULL), or the entries of one folder. The `path` of such an
 * entry is its name. Free the list. Errors: as above. */
PYEXEC_API int pyexec_session_files(pyexec_executor *executor, const char *session_id, const char *path,
                                    pyexec_file_list **ret, pyexec_error *error);
PYEXEC_API void pyexec_file_list_free(pyexec_file_list *list);
PYEXEC_API size_t pyexec_file_list_count(const pyexec_file_list *list);
PYEXEC_API const pyexec_file *pyexec_file_list_get(const pyexec_file_list *list, size_t index);
PYEXEC_API bool pyexec_file_list_truncated(const pyexec_file_list *list);
/* Only for entries of a folder: "file", "folder", "link" or "other"; the permissions; and when it was changed. */
PYEXEC_API const char *pyexec_file_kind(const pyexec_file *file);
PYEXEC_API int pyexec_file_mode(const pyexec_file *file);
PYEXEC_API int64_t pyexec_file_modified_ns(const pyexec_file *file);

/* Opens a regular file in the workspace, to read or write it in parts. The caller closes the descriptor.
 *
 * write      false: opens it for reading; *ret_bytes is its size. PYEXEC_INVALID_REQUEST has sys_errno
 *            ENOENT when there is no such file. true: makes it, with the folders above it, or empties
 *            it; *ret_bytes is how many bytes the quota leaves for it.
 *
 * The kernel enforces the quota of a workspace in memory: write(2) fails with ENOSPC. In a folder of
 * the host (workspace_root) the caller must not write more than *ret_bytes. The script may change the
 * file at the same time. Errors: those of pyexec_session_read_file(). */
PYEXEC_API int pyexec_session_open_file(pyexec_executor *executor, const char *session_id, const char *path, bool write,
                                        int *ret_fd, uint64_t *ret_bytes, pyexec_error *error);

/* Renames a file of the workspace in one step. Makes the folders above the new path, and replaces an existing file. Errors: as above. */
PYEXEC_API int pyexec_session_rename_file(pyexec_executor *executor, const char *session_id, const char *from,
                                          const char *to, pyexec_error *error);

PYEXEC_API void pyexec_result_free(pyexec_result *result);

PYEXEC_API pyexec_status pyexec_result_status(const pyexec_result *result);
PYEXEC_API int pyexec_result_exit_code(const pyexec_result *result);

/* The kept output: valid UTF-8 (U+FFFD in place of other bytes), with a NUL at the end. `length` may be NULL.
 * `bytes` is how many bytes the script wrote in all. */
PYEXEC_API const char *pyexec_result_stdout(const pyexec_result *result, size_t *length);
PYEXEC_API const char *pyexec_result_stderr(const pyexec_result *result, size_t *length);
PYEXEC_API bool pyexec_result_stdout_truncated(const pyexec_result *result);
PYEXEC_API bool pyexec_result_stderr_truncated(const pyexec_result *result);
PYEXEC_API uint64_t pyexec_result_stdout_bytes(const pyexec_result *result);
PYEXEC_API uint64_t pyexec_result_stderr_bytes(const pyexec_result *result);

/* The repr of the last expression, or NULL when there was none or its value was None. */
PYEXEC_API const char *pyexec_result_last_value(const pyexec_result *result);
/* The same with its length, because it may contain NUL characters. */
PYEXEC_API const char *pyexec_result_last_value_text(const pyexec_result *result, size_t *length);
PYEXEC_API bool pyexec_result_last_value_truncated(const pyexec_result *result);

/* The last value as JSON text, if the request asked for it (`value_json`; docs/results.md says how values are
 * written). NULL when the request did not ask, when there is no value, or when the value can't be written as JSON.
 * The second function then tells why. */
PYEXEC_API const char *pyexec_result_last_value_json(const pyexec_result *result);
PYEXEC_API const char *pyexec_result_last_value_json_error(const pyexec_result *result);

/* What the script displayed, in order. In JSON each is {"data": {MIME type: data}, "metadata": {…}, "last_value":
 * bool} on one line. NULL: there is no such index. */
PYEXEC_API size_t pyexec_result_display_count(const pyexec_result *result);
PYEXEC_API const char *pyexec_result_display_json(const pyexec_result *result, size_t index);
PYEXEC_API const pyexec_display *pyexec_result_display(const pyexec_result *result, size_t index);
/* The forms of a display: MIME type ("text/html") and data. The data is UTF-8 for text, JSON text for JSON, and
 * the bytes themselves for all other types, always with a NUL at the end. NULL: there is no such index. `metadata`
 * is a JSON object. */
PYEXEC_API size_t pyexec_display_form_count(const pyexec_display *display);
PYEXEC_API const char *pyexec_display_form_type(const pyexec_display *display, size_t index);
PYEXEC_API const char *pyexec_display_form_data(const pyexec_display *display, size_t index, size_t *length);
PYEXEC_API const char *pyexec_display_metadata_json(const pyexec_display *display);
/* True if it is the value of the last expression. */
PYEXEC_API bool pyexec_display_last_value(const pyexec_display *display);
/* How many displays did not fit max_displays and max_display_bytes. */
PYEXEC_API uint64_t pyexec_result_display_dropped(const pyexec_result *result);

/* "Type: message" of the error, or NULL. */
PYEXEC_API const char *pyexec_result_error_repr(const pyexec_result *result);
/* The parts of the error; NULL or 0 when there is none. */
PYEXEC_API const char *pyexec_result_error_type(const pyexec_result *result);
PYEXEC_API const char *pyexec_result_error_message(const pyexec_result *result);
PYEXEC_API int pyexec_result_error_line(const pyexec_result *result);
PYEXEC_API const char *pyexec_result_error_traceback(const pyexec_result *result);
PYEXEC_API const char *pyexec_result_error_hint(const pyexec_result *result);

/* What the script was refused: the layer ("imports", "files", "network", "syscall", "processes" or "tools"), what
 * it tried, its line or 0, and what to do instead. The texts may contain NUL bytes; `length` may be NULL. NULL:
 * there is no such index. */
PYEXEC_API size_t pyexec_result_denial_count(const pyexec_result *result);
PYEXEC_API const pyexec_denial *pyexec_result_denial(const pyexec_result *result, size_t index);
PYEXEC_API const char *pyexec_denial_layer(const pyexec_denial *denial);
PYEXEC_API const char *pyexec_denial_what(const pyexec_denial *denial, size_t *length);
PYEXEC_API int pyexec_denial_line(const pyexec_denial *denial);
PYEXEC_API const char *pyexec_denial_hint(const pyexec_denial *denial, size_t *length);
/* What the script asked the proxy for, with allowed_hosts: a JSON list of objects with host, port, verdict ("allowed", "denied" or
 * "failed"), why, address, connections, sent and received (bytes); at most 100. "[]" without it. These are facts. */
PYEXEC_API const char *pyexec_result_network_json(const pyexec_result *result);

/* How many denials there were beyond those that are kept. */
PYEXEC_API uint64_t pyexec_result_denials_dropped(const pyexec_result *result);

/* Files that the script changed, sorted by path: the path in the workspace, the size, "created", "modified" or
 * "deleted", and the bytes if the request's return_files match (else NULL). NULL: there is no such index.
 * `files_truncated`: some files or contents were left out. */
PYEXEC_API size_t pyexec_result_file_count(const pyexec_result *result);
PYEXEC_API const pyexec_file *pyexec_result_file(const pyexec_result *result, size_t index);
PYEXEC_API const char *pyexec_file_path(const pyexec_file *file);
PYEXEC_API uint64_t pyexec_file_bytes(const pyexec_file *file);
PYEXEC_API const char *pyexec_file_change(const pyexec_file *file);
PYEXEC_API const char *pyexec_file_content(const pyexec_file *file, size_t *length);
PYEXEC_API bool pyexec_result_files_truncated(const pyexec_result *result);

/* The session of a call; `id` is NULL for a run without one. `created`: this call made it. `restarted`: why
 * the earlier state of this id is lost, or NULL. `execution_count`: how many calls it has had. `no_checkpoint`: why auto_checkpoint
 * could not keep the state before this call, or NULL. `restored`: the call ended the process, and the session returned to the state
 * before it: that call's execution count, or 0; and the status that says why. */
PYEXEC_API const char *pyexec_result_session_id(const pyexec_result *result);
PYEXEC_API bool pyexec_result_session_created(const pyexec_result *result);
PYEXEC_API const char *pyexec_result_session_restarted(const pyexec_result *result);
PYEXEC_API uint64_t pyexec_result_session_execution_count(const pyexec_result *result);
PYEXEC_API const char *pyexec_result_session_no_checkpoint(const pyexec_result *result);
PYEXEC_API uint64_t pyexec_result_session_restored_to(const pyexec_result *result);
PYEXEC_API const char *pyexec_result_session_restored_why(const pyexec_result *result);

/* The environment whose packages the run could import: its name, and the hash of the version that it used. NULL for a run without
 * one. */
PYEXEC_API const char *pyexec_result_environment_name(const pyexec_result *result);
PYEXEC_API const char *pyexec_result_environment_hash(const pyexec_result *result);

/* The name of the protection that the run had: "full", "container" or "reduced" (docs/security.md); and the names
 * of the layers that were missing. NULL: there is no such index. */
PYEXEC_API const char *pyexec_result_tier(const pyexec_result *result);
PYEXEC_API size_t pyexec_result_missing_layer_count(const pyexec_result *result);
PYEXEC_API const char *pyexec_result_missing_layer(const pyexec_result *result, size_t index);

/* Measured by the kernel: milliseconds of wall-clock and CPU time, and the process's maximum of resident memory,
 * which includes pages that it shares with the warm parent. */
PYEXEC_API double pyexec_result_wall_ms(const pyexec_result *result);
PYEXEC_API double pyexec_result_cpu_ms(const pyexec_result *result);
PYEXEC_API uint64_t pyexec_result_peak_memory_bytes(const pyexec_result *result);

/* Calls of tools: how many there were, and for how many milliseconds at least one of them had no answer yet. */
PYEXEC_API uint64_t pyexec_result_tool_calls_count(const pyexec_result *result);
PYEXEC_API double pyexec_result_tool_calls_wait_ms(const pyexec_result *result);

/* Returns the whole result object (docs/results.md) on one line, or NULL when there is no memory. */
PYEXEC_API const char *pyexec_result_json(pyexec_result *result);

/* Finds out what this machine offers, as JSON: layers with remedies, interpreter, limits and, with `selftest`, one
 * attempt to escape per layer. If a layer is missing, the call still succeeds.
 *
 * ret  a JSON object, which the caller gives to free(). Its `ok` says whether runs are possible. */
PYEXEC_API int pyexec_doctor(const char *policy_json, const char *host_json, bool selftest, char **ret,
                             pyexec_error *error);

/* The same without attempts to escape, for the settings of this executor: its policy, its host and its [egress]. */
PYEXEC_API int pyexec_executor_doctor_json(pyexec_executor *executor, char **ret, pyexec_error *error);

/* Measures the baselines of this machine inside the executor's own zygote, `iterations` times each: cloning the
 * warm interpreter and waiting for its exit; the same with a run's namespaces; and a socket round trip to a
 * waiting child without any layer, which evaluates 1+1: many times to one child, and once each to other children
 * (a fifth as many).
 *
 * ret  a JSON object {"clone": {"p50": µs, "p90": µs, "p99": µs}, "clone_namespaces": {…},
 *      "socket_round_trip": {…}, "socket_round_trip_first": {…}}, which the caller gives to free(). */
PYEXEC_API int pyexec_measure_floors(pyexec_executor *executor, int iterations, char **ret, pyexec_error *error);

/* The same as data: percentiles in µs. */
typedef struct pyexec_floor {
    double p50, p90, p99;
} pyexec_floor;
typedef struct pyexec_floors {
    pyexec_floor clone, clone_namespaces, socket_round_trip, socket_round_trip_first;
} pyexec_floors;
PYEXEC_API int pyexec_floors_measure(pyexec_executor *executor, int iterations, pyexec_floors *ret,
                                     pyexec_error *error);

/* ---- For programs that use jansson themselves ----
 *
 * The same as the functions of these names without "_object", but with a json_t in place of text, so nothing is
 * written and parsed again. It must be the jansson that the library is linked with. An object that goes in is
 * shared, not copied, and must not change as long as the request lives. An object that comes out belongs to the
 * caller (json_decref()). */
struct json_t;
PYEXEC_API int pyexec_executor_open_object(struct json_t *config, pyexec_executor **ret, pyexec_error *error);
/* The list of pyexec_result_network_json(), which belongs to the result; NULL without allowed_hosts. */
PYEXEC_API struct json_t *pyexec_result_network_object(const pyexec_result *result);
PYEXEC_API int pyexec_request_set_object(pyexec_request *request, struct json_t *object, pyexec_error *error);
PYEXEC_API int pyexec_request_set_span_object(pyexec_request *request, const char *name, int kind, const char *span_id,
                                              struct json_t *attributes);
/* The request came as a message over a queue: a span of kind CONSUMER with this name, above that of the execution, has the time since it
 * arrived (CLOCK_MONOTONIC). attributes: as for pyexec_request_set_span(). Returns 0, or -1 when there is no memory. */
PYEXEC_API int pyexec_request_set_message_object(pyexec_request *request, const char *name, int64_t arrived_ns,
                                                 struct json_t *attributes);
PYEXEC_API int pyexec_request_set_policy_object(pyexec_request *request, struct json_t *policy);
PYEXEC_API int pyexec_request_add_tools_object(pyexec_request *request, struct json_t *tools, pyexec_tool_fn callback,
                                               void *userdata, pyexec_error *error);
PYEXEC_API void pyexec_request_set_ceiling_object(pyexec_request *request, struct json_t *policy);
PYEXEC_API int pyexec_session_create_object(pyexec_executor *executor, const char *session_id, struct json_t *policy,
                                            struct json_t *ceiling, pyexec_error *error);
PYEXEC_API int pyexec_session_create_tools_object(pyexec_executor *executor, const char *session_id,
                                                  struct json_t *policy, struct json_t *ceiling, struct json_t *tools,
                                                  pyexec_tool_fn callback, void *userdata, pyexec_error *error);
/* `turn` is a turn that the caller has (pyexec_queue_next()), so that the fork does not wait for another one. It is borrowed. NULL:
 * none. */
PYEXEC_API int pyexec_session_fork_object(pyexec_executor *executor, pyexec_turn *turn, const char *session_id,
                                          const char *const *ids, size_t count, struct json_t **ret,
                                          pyexec_error *error);
PYEXEC_API int pyexec_verify_object(pyexec_executor *executor, pyexec_request *request, struct json_t *object,
                                    char **ret, pyexec_verify_counts *ret_counts, pyexec_error *error);
/* `ceiling` may be NULL. */
PYEXEC_API int pyexec_environments_object(pyexec_executor *executor, struct json_t *ceiling, struct json_t **ret,
                                          pyexec_error *error);
PYEXEC_API int pyexec_doctor_object(struct json_t *policy, struct json_t *host, struct json_t *egress, bool selftest,
                                    struct json_t **ret, pyexec_error *error);

#ifdef __cplusplus
}
#endif
#endif
