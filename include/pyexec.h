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
 *    The "out" parameter is set only on success.
 *  - A script that fails is a result, not an error. Errors are failures of the host side.
 *  - Strings that go in are copied. Strings that come out belong to the object that they
 *    were asked of and live as long as it does.
 *  - An executor may be used from any number of threads at once. A request or a result
 *    belongs to one thread at a time. Free functions accept NULL.
 *  - The library installs no signal handler, never calls wait on a process that it did not
 *    start, and writes nothing to the standard streams. After fork() in the host, only the
 *    parent may go on using an executor.
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

/* Host-side failures. The names in JSON, HTTP and Java are these in lower case. */
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
} pyexec_code;

/* What failed, with the offending value, and what to do next. Always terminated. */
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

/* Parts of a result, which own nothing and live as long as it does: what the script displayed, what it was refused. */
typedef struct pyexec_display pyexec_display;
typedef struct pyexec_denial pyexec_denial;

/* A file, and a list of them. What a result has lives as long as it does. */
typedef struct pyexec_file pyexec_file;
typedef struct pyexec_file_list pyexec_file_list;

/* What is known of a session, and a list of that. */
typedef struct pyexec_session_info pyexec_session_info;
typedef struct pyexec_session_list pyexec_session_list;

/* How a run ended; see docs/results.md for which of them are facts of the kernel. */
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

/* The exit codes that pyexec itself gives; docs/results.md has the whole table. */
enum {
    PYEXEC_EXIT_TIMEOUT = 124,   /* as timeout(1) */
    PYEXEC_EXIT_SIGNAL = 128,    /* + the signal's number, as a shell says it */
    PYEXEC_EXIT_CANCELLED = 130, /* as of a program that Ctrl-C has ended */
    PYEXEC_EXIT_KILLED = 137,    /* SIGKILL */
};

/* The library's version, "MAJOR.MINOR.PATCH". */
PYEXEC_API const char *pyexec_version(void);

/* The name of a code as JSON has it ("invalid_policy"), or "unknown". */
PYEXEC_API const char *pyexec_code_name(pyexec_code code);

/* The name of a status as JSON has it ("cpu_limit"), or "unknown". */
PYEXEC_API const char *pyexec_status_name(pyexec_status status);

/* Creates an executor.
 *
 * policy_json  a JSON object with the policy's keys (docs/configuration.md), or NULL for the
 *              defaults. Keys that are left out have their defaults.
 * host_json    a JSON object with the keys of the configuration's [host] section, or NULL.
 * ret          the executor; free it with pyexec_executor_free().
 *
 * Starts the supervisor and the first zygote, and so takes about as long as starting the
 * interpreter and importing `preload_imports`; at most 30 seconds.
 * Errors: PYEXEC_INVALID_POLICY, PYEXEC_PYTHON_NOT_FOUND, PYEXEC_PYTHON_UNSUPPORTED,
 * PYEXEC_SANDBOX_UNAVAILABLE (names the missing layer and its remedy), PYEXEC_INTERNAL. */
PYEXEC_API int pyexec_executor_new(const char *policy_json, const char *host_json, pyexec_executor **ret,
                                   pyexec_error *error);

/* The same with sessions configured: one JSON object with the optional members "policy",
 * "session" and "host" (docs/configuration.md). pyexec_executor_new() has the default sessions. */
PYEXEC_API int pyexec_executor_open(const char *config_json, pyexec_executor **ret, pyexec_error *error);

/* Session ids are "PRINCIPAL/ID" from now on: callers who know nothing of each other, each with its
 * own sessions, of which it may have `max_count`, and its own folder of workspaces (ROOT/PRINCIPAL/ID;
 * none is adopted). PRINCIPAL is 1 to 64 and ID 1 to 128 of a session id's characters. Results and
 * errors name the ID alone. Call it before the first session is made. */
PYEXEC_API void pyexec_executor_use_principals(pyexec_executor *executor);

/* Another number of sessions for one principal than `max_count`; 0: that one again. Those that it
 * has already stay. */
PYEXEC_API int pyexec_executor_limit_sessions(pyexec_executor *executor, const char *principal, int64_t max_count,
                                              pyexec_error *error);

/* Ends every run, waits for calls in progress in other threads to return, and removes all
 * that the executor made: processes, descriptors, mounts, cgroups. No call may start after. */
PYEXEC_API void pyexec_executor_free(pyexec_executor *executor);

/* The effective policy as a JSON object. Lives as long as the executor. */
PYEXEC_API const char *pyexec_executor_policy_json(pyexec_executor *executor);

/* Names of the isolation layers that this executor runs without, as a JSON array;
 * "[]" unless `allow_missing` named some. Lives as long as the executor. */
PYEXEC_API const char *pyexec_executor_missing_layers_json(pyexec_executor *executor);

/* {"version", "python": text, "layers": [names that hold], "missing_layers": [names]} as JSON.
 * Lives as long as the executor. */
PYEXEC_API const char *pyexec_executor_info_json(pyexec_executor *executor);

/* The interpreter's version, such as "3.11.2 (main, …)". Lives as long as the executor. */
PYEXEC_API const char *pyexec_executor_python(pyexec_executor *executor);

/* What one execution is asked to do. NULL: out of memory or descriptors (it holds one). */
PYEXEC_API pyexec_request *pyexec_request_new(void);
PYEXEC_API void pyexec_request_free(pyexec_request *request);

/* The script: UTF-8, at most 10 MiB, without NUL bytes (checked when it is executed). */
PYEXEC_API int pyexec_request_set_code(pyexec_request *request, const char *code, size_t length);

/* A partial policy, merged by key over the executor's; arrays replace. JSON object. */
PYEXEC_API int pyexec_request_set_policy(pyexec_request *request, const char *policy_json);

/* The most that the request's policy may come to: a partial policy, merged over the executor's as
 * the request's own is. What the request asks for beyond it makes the execution fail with
 * PYEXEC_INVALID_POLICY; what it does not mention is lowered to it. For callers that are not
 * trusted (docs/c-api.md). JSON object. */
PYEXEC_API int pyexec_request_set_ceiling(pyexec_request *request, const char *policy_json);

/* A folder relative to the workspace, made if missing. */
PYEXEC_API int pyexec_request_set_working_dir(pyexec_request *request, const char *path);

/* An absolute folder of the host to work in. Used, never removed. */
PYEXEC_API int pyexec_request_set_workspace(pyexec_request *request, const char *path);

/* Where the session that this call makes sees its workspace: an absolute path, such as /home/user. Only
 * for a workspace in memory; ignored with workspace_root, and by a session that is there. */
PYEXEC_API int pyexec_request_set_workspace_path(pyexec_request *request, const char *path);

/* An environment variable of the script. A later value for the same name replaces. With a name
 * that is empty or has a '=', the execution fails with PYEXEC_INVALID_REQUEST. */
PYEXEC_API int pyexec_request_set_env(pyexec_request *request, const char *name, const char *value);

/* The bytes that the script reads from its standard input. Default: none. */
PYEXEC_API int pyexec_request_set_stdin(pyexec_request *request, const void *bytes, size_t length);

/* Feeds the script's standard input from a descriptor of the caller's, as the script reads.
 * Borrowed for the call; not closed. Replaces pyexec_request_set_stdin. -1: none. */
PYEXEC_API int pyexec_request_set_stdin_fd(pyexec_request *request, int fd);

/* A file put into the workspace before the run; path is relative to it. Needs file access. */
PYEXEC_API int pyexec_request_add_file(pyexec_request *request, const char *path, const void *bytes, size_t length);

/* A glob pattern; the contents of changed files that match it come with the result. */
PYEXEC_API int pyexec_request_add_return_file(pyexec_request *request, const char *pattern);

/* Keys that pyexec_request_set_json() refuses from now on with PYEXEC_INVALID_REQUEST, for callers who are not trusted
 * with them. PYEXEC_NO_HOST_WORKSPACE: `workspace`, a folder of the host. */
enum { PYEXEC_NO_HOST_WORKSPACE = 1 };
PYEXEC_API void pyexec_request_restrict(pyexec_request *request, unsigned what);

/* Everything of an execute request as one JSON object (docs/rpc.md, execute_once). */
PYEXEC_API int pyexec_request_set_json(pyexec_request *request, const char *json, size_t length, pyexec_error *error);

/* Output as it comes. stream is 1 or 2. Called on the thread that executes, before
 * pyexec_execute_once() returns; bytes beyond the output limits are not shown. Must not
 * call back into the executor with this request. A return other than 0 cancels the run. */
typedef int (*pyexec_output_fn)(void *userdata, int stream, const char *bytes, size_t length);
PYEXEC_API void pyexec_request_set_output(pyexec_request *request, pyexec_output_fn fn, void *userdata);

/* Displays as they come, each as pyexec_result_display_json() has it. Called and answered like
 * pyexec_output_fn; what the script wrote before has been shown before. */
typedef int (*pyexec_display_fn)(void *userdata, const char *json, size_t length);
PYEXEC_API void pyexec_request_set_display(pyexec_request *request, pyexec_display_fn fn, void *userdata);

/* The same with the display itself, which lives for the call only. */
typedef int (*pyexec_display_object_fn)(void *userdata, const pyexec_display *display);
PYEXEC_API void pyexec_request_set_display_object(pyexec_request *request, pyexec_display_object_fn fn, void *userdata);

/* A variable of the script, from JSON: `name` is a Python identifier of ASCII letters, digits and
 * '_'. In a session it stays. A later value for the same name replaces. 0, or -1: `value_json` is
 * not JSON, or out of memory. What can't be a name makes the execution fail with
 * PYEXEC_INVALID_REQUEST. */
PYEXEC_API int pyexec_request_set_input(pyexec_request *request, const char *name, const char *value_json);

/* Asks for the last value as JSON: tables as "records" or "split"; NULL: not at all. 0, or -1: any
 * other word. */
PYEXEC_API int pyexec_request_set_value_json(pyexec_request *request, const char *tables);

/* A call of a session that its user does not see, as for completion: it takes no number, so that
 * execution_count and the "<cell N>" of tracebacks count the others only. */
PYEXEC_API void pyexec_request_set_silent(pyexec_request *request, int silent);

/* Told, on the thread that executes, when a session call has its place in its session's order:
 * from then on calls that come later run later. Must not call back into pyexec. */
typedef void (*pyexec_arrived_fn)(void *userdata);
PYEXEC_API void pyexec_request_set_arrived(pyexec_request *request, pyexec_arrived_fn fn, void *userdata);

/* A turn of `max_concurrent`, for a server that has a queue of its own: it takes a turn, chooses which of its
 * callers gets it, and executes that request with it. Waits until there is one, however long the executor's own
 * queue is; free it after the execution. Errors: PYEXEC_SHUTTING_DOWN, PYEXEC_INTERNAL.
 * pyexec_executor_free_turns() says how many could be taken now without waiting. */
PYEXEC_API int pyexec_turn_take(pyexec_executor *executor, pyexec_turn **ret, pyexec_error *error);
PYEXEC_API void pyexec_turn_free(pyexec_turn *turn);
PYEXEC_API int pyexec_executor_free_turns(pyexec_executor *executor);

/* Executes the request with this turn instead of one of its own. Borrowed; one execution at a time. A session's
 * call that must wait for another call of its session gives the turn back meanwhile. NULL: none. */
PYEXEC_API void pyexec_request_set_turn(pyexec_request *request, pyexec_turn *turn);

/* Tools: functions of the host that the script calls (docs/tools.md).
 *
 * One call of a script, which waits for its answer. The callback gets it and owns it: it answers, at once or later and
 * from any thread, and then frees it. A call that is freed without an answer gets an error. */
typedef struct pyexec_tool_call pyexec_tool_call;
typedef void (*pyexec_tool_fn)(void *userdata, pyexec_tool_call *call);

/* Offers a tool to the script of this request.
 *
 * name         a Python identifier of at most 128 ASCII letters, digits and '_'; no keyword, name of a built-in or
 *              leading underscore, nor `tools`, `aio` and `ToolError`. A later tool of the same name replaces.
 * schema_json  a JSON object {"description": text, "parameters": the JSON Schema of an object, "returns": a JSON Schema},
 *              each of which may be left out; or NULL.
 * callback     called on a thread of pyexec's that enforces no limit; several at once when the script has several calls
 *              under way (at most 64). What the script sends is hostile. An execution does not wait for a callback
 *              that still runs when it ends; pyexec_request_free() does, so don't call that in a callback.
 *
 * Errors: PYEXEC_INVALID_REQUEST (names the tool and what is wrong; at most 256 tools). */
PYEXEC_API int pyexec_request_add_tool(pyexec_request *request, const char *name, const char *schema_json,
                                       pyexec_tool_fn callback, void *userdata, pyexec_error *error);

/* Offers several: `tools_json` is a list of such objects, each with its "name" too. They all have this callback, which
 * asks pyexec_tool_call_name(). Errors: as above. */
PYEXEC_API int pyexec_request_add_tools(pyexec_request *request, const char *tools_json, pyexec_tool_fn callback,
                                        void *userdata, pyexec_error *error);

/* The call's id, unlike that of any other call; the tool's name; its arguments, a JSON object on one line, of at most
 * 8 MiB, with integers of 64 bits, no key twice and at most 200 levels. */
PYEXEC_API const char *pyexec_tool_call_id(const pyexec_tool_call *call);
PYEXEC_API const char *pyexec_tool_call_name(const pyexec_tool_call *call);
PYEXEC_API const char *pyexec_tool_call_arguments(const pyexec_tool_call *call, size_t *length);

/* Whether the script still waits for the answer: 1 or 0. */
PYEXEC_API int pyexec_tool_call_waits(pyexec_tool_call *call);

/* Answers: with a result, any JSON value of at most 8 MiB; with an error, which the script sees as a ToolError with this
 * text and `data` (JSON or NULL); with a refusal, which it sees as a PermissionError. From any thread. The call is still
 * to be freed.
 *
 * Errors: PYEXEC_CALL_NOT_FOUND (it was answered, or the script no longer waits), PYEXEC_INVALID_REQUEST (not JSON, or
 * too large; the call still waits). */
PYEXEC_API int pyexec_tool_call_answer(pyexec_tool_call *call, const char *result_json, size_t length,
                                       pyexec_error *error);
PYEXEC_API int pyexec_tool_call_fail(pyexec_tool_call *call, const char *message, const char *data_json,
                                     pyexec_error *error);
PYEXEC_API int pyexec_tool_call_deny(pyexec_tool_call *call, const char *reason, pyexec_error *error);
PYEXEC_API void pyexec_tool_call_free(pyexec_tool_call *call);

/* Stops a run that another thread is executing with this request, or the next one if none
 * is. May be called from any thread and from a signal handler. `interrupt` raises
 * KeyboardInterrupt in the script, as Ctrl-C would; `cancel` does the same, kills it 500 ms
 * later, and makes the status `cancelled`. */
PYEXEC_API void pyexec_request_interrupt(pyexec_request *request);
PYEXEC_API void pyexec_request_cancel(pyexec_request *request);

/* Whether the code of the request's last execution was sent to a process: 1 or 0. After an execution that
 * failed with 0 the code never started; with 1 it may have run, in part or whole. For audits, and for
 * callers who try again. Call it on the thread that executed, after the execution has returned. */
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

/* Runs code in a session, which keeps its state between calls: made by its first call, whose
 * policy it keeps. Later calls may change timeout_ms, cpu_time_seconds, the output and value
 * limits and print_last_expression. Calls of one session run one after another in order of
 * arrival, those of different sessions at once.
 *
 * session_id  1 to 128 of A-Z a-z 0-9 . _ : -, and not "." or ".."; after
 *             pyexec_executor_use_principals() a principal's name and a '/' before it.
 *
 * Errors: those of pyexec_execute_once(), and PYEXEC_SESSION_LIMIT (all are busy),
 * PYEXEC_SESSION_NOT_FOUND (closed while this call waited). */
PYEXEC_API int pyexec_execute(pyexec_executor *executor, const char *session_id, pyexec_request *request,
                              pyexec_result **ret, pyexec_error *error);

/* Makes a session ahead of its first call, with its process ready, so that files can be put first.
 *
 * policy_json, ceiling_json  as of a request, or NULL.
 *
 * Takes the time of a run's start. Errors: those of pyexec_execute(), and PYEXEC_INVALID_REQUEST
 * with sys_errno EEXIST when there is a session of this id. */
PYEXEC_API int pyexec_session_create(pyexec_executor *executor, const char *session_id, const char *policy_json,
                                     const char *ceiling_json, pyexec_error *error);

/* Interrupts the running call as Ctrl-C would; nothing when none is running. */
PYEXEC_API int pyexec_session_interrupt(pyexec_executor *executor, const char *session_id, pyexec_error *error);

/* Ends a session and removes what is its own. A running call ends as `cancelled`, waiting ones
 * get PYEXEC_SESSION_NOT_FOUND. Errors: PYEXEC_SESSION_NOT_FOUND. */
PYEXEC_API int pyexec_session_close(pyexec_executor *executor, const char *session_id, pyexec_error *error);
PYEXEC_API void pyexec_session_close_all(pyexec_executor *executor);

/* For a server whose executors follow one another (docs/c-api.md, Restarts).
 *
 * Told of each session as it begins (`ended` NULL) and ends: why, as in `restarted`, or "" when it has had no call
 * and its id none before. Called with a lock held: it must not wait, and must not call this library. */
typedef void (*pyexec_session_fn)(void *userdata, const char *session_id, const char *ended);

/* fn NULL: nobody is told any more. When this returns, no earlier fn is being called. */
PYEXEC_API int pyexec_executor_watch_sessions(pyexec_executor *executor, pyexec_session_fn fn, void *userdata,
                                              pyexec_error *error);

/* Remembers why a session ended that an earlier executor had: `restarted` of the next one of this id says so. It
 * is one of the 10,000 ended ones that are remembered. Nothing happens while a session of this id is live.
 *
 * why  a reason as in `restarted`; "host_restart" for one that was live when its executor ended.
 *
 * Errors: PYEXEC_INVALID_REQUEST for an id or a reason that can't be. */
PYEXEC_API int pyexec_executor_remember_session(pyexec_executor *executor, const char *session_id, const char *why,
                                                pyexec_error *error);

/* From now on no session is made: what would make one gets PYEXEC_SHUTTING_DOWN. Those that are there go on. */
PYEXEC_API int pyexec_executor_refuse_sessions(pyexec_executor *executor, pyexec_error *error);

/* The live sessions as a JSON array of {"id", "principal", "busy", "execution_count", "age_ms",
 * "idle_ms"}; one of them, with "restarted" and its effective "policy" too; counters as a JSON
 * object (docs/c-api.md). Free them with free(). */
PYEXEC_API int pyexec_sessions_json(pyexec_executor *executor, char **ret, pyexec_error *error);
PYEXEC_API int pyexec_session_json(pyexec_executor *executor, const char *session_id, char **ret, pyexec_error *error);
PYEXEC_API int pyexec_stats_json(pyexec_executor *executor, char **ret, pyexec_error *error);

/* The same as data: the live sessions, or the one of an id with `restarted` and its policy too. Free the list.
 * Errors: PYEXEC_SESSION_NOT_FOUND. */
PYEXEC_API int pyexec_sessions(pyexec_executor *executor, const char *session_id, pyexec_session_list **ret,
                               pyexec_error *error);
PYEXEC_API void pyexec_session_list_free(pyexec_session_list *list);
PYEXEC_API size_t pyexec_session_list_count(const pyexec_session_list *list);
PYEXEC_API const pyexec_session_info *pyexec_session_list_get(const pyexec_session_list *list, size_t index);
PYEXEC_API const char *pyexec_session_info_id(const pyexec_session_info *info);
PYEXEC_API const char *pyexec_session_info_principal(const pyexec_session_info *info); /* NULL: none */
PYEXEC_API bool pyexec_session_info_busy(const pyexec_session_info *info);
PYEXEC_API uint64_t pyexec_session_info_execution_count(const pyexec_session_info *info);
PYEXEC_API int64_t pyexec_session_info_age_ms(const pyexec_session_info *info);
PYEXEC_API int64_t pyexec_session_info_idle_ms(const pyexec_session_info *info);
PYEXEC_API const char *pyexec_session_info_restarted(const pyexec_session_info *info); /* NULL: it was not */
/* Of one that was asked for by its id: its policy as a JSON object, and the quota of its workspace. */
PYEXEC_API const char *pyexec_session_info_policy_json(const pyexec_session_info *info);
PYEXEC_API uint64_t pyexec_session_info_workspace_bytes(const pyexec_session_info *info);

/* The counters of pyexec_stats_json(), one call each: the key, for counters of several things the thing ("status",
 * "layer", "reason" by its value, such as "timeout"; else NULL), and the number. */
typedef void (*pyexec_stat_fn)(void *userdata, const char *key, const char *thing, uint64_t value);
PYEXEC_API int pyexec_stats(pyexec_executor *executor, pyexec_stat_fn fn, void *userdata, pyexec_error *error);

/* The workspace of a session: its files as a JSON array of {"path", "bytes"};
 * the bytes of one (free them with free(); at most 64 MiB); a file written or deleted. Paths are
 * relative; symbolic links are never followed. Errors: PYEXEC_SESSION_NOT_FOUND,
 * PYEXEC_INVALID_REQUEST. */
PYEXEC_API int pyexec_session_list_files(pyexec_executor *executor, const char *session_id, char **ret,
                                         pyexec_error *error);
PYEXEC_API int pyexec_session_read_file(pyexec_executor *executor, const char *session_id, const char *path, void **ret,
                                        size_t *ret_length, pyexec_error *error);
PYEXEC_API int pyexec_session_write_file(pyexec_executor *executor, const char *session_id, const char *path,
                                         const void *bytes, size_t length, pyexec_error *error);
PYEXEC_API int pyexec_session_delete_file(pyexec_executor *executor, const char *session_id, const char *path,
                                          pyexec_error *error);

/* One folder of the workspace ("" is the workspace itself), not what is below: a JSON object {"entries":
 * [{"name", "kind", "bytes", "mode", "modified_ns"}], "truncated"} with at most 20,000 entries; kind is "file",
 * "folder", "link" (not followed) or "other". Free it with free(). sys_errno is ENOENT when there is none.
 * And a folder made, with those above it; one that is there is no error. Errors: as above. */
PYEXEC_API int pyexec_session_list_folder(pyexec_executor *executor, const char *session_id, const char *path,
                                          char **ret, pyexec_error *error);
PYEXEC_API int pyexec_session_make_folder(pyexec_executor *executor, const char *session_id, const char *path,
                                          pyexec_error *error);

/* Both as data: all files of the workspace, or with a path the entries of one folder, whose `path` is their name.
 * Free the list. Errors: as above. */
PYEXEC_API int pyexec_session_files(pyexec_executor *executor, const char *session_id, const char *path,
                                    pyexec_file_list **ret, pyexec_error *error);
PYEXEC_API void pyexec_file_list_free(pyexec_file_list *list);
PYEXEC_API size_t pyexec_file_list_count(const pyexec_file_list *list);
PYEXEC_API const pyexec_file *pyexec_file_list_get(const pyexec_file_list *list, size_t index);
PYEXEC_API bool pyexec_file_list_truncated(const pyexec_file_list *list);
/* Of a folder's entries: "file", "folder", "link" or "other", the permissions, and when it was changed. */
PYEXEC_API const char *pyexec_file_kind(const pyexec_file *file);
PYEXEC_API int pyexec_file_mode(const pyexec_file *file);
PYEXEC_API int64_t pyexec_file_modified_ns(const pyexec_file *file);

/* The same as a stream: a descriptor, which the caller closes, of a regular file in the workspace.
 *
 * write      false: for reading, *ret_bytes is its size. PYEXEC_INVALID_REQUEST has sys_errno ENOENT
 *            when there is none. True: it is made, with the folders above it, or emptied;
 *            *ret_bytes is how many bytes the quota leaves for it.
 *
 * The kernel keeps the quota of a workspace in memory: write(2) fails with ENOSPC. Into a folder of
 * the host (workspace_root) the caller writes no more than *ret_bytes. The script may change the file
 * meanwhile. Errors: those of pyexec_session_read_file(). */
PYEXEC_API int pyexec_session_open_file(pyexec_executor *executor, const char *session_id, const char *path, bool write,
                                        int *ret_fd, uint64_t *ret_bytes, pyexec_error *error);

/* Gives a file of the workspace another path, in one step; folders above it are made, a file that
 * is there is replaced. Errors: as above. */
PYEXEC_API int pyexec_session_rename_file(pyexec_executor *executor, const char *session_id, const char *from,
                                          const char *to, pyexec_error *error);

PYEXEC_API void pyexec_result_free(pyexec_result *result);

PYEXEC_API pyexec_status pyexec_result_status(const pyexec_result *result);
PYEXEC_API int pyexec_result_exit_code(const pyexec_result *result);

/* Kept output, valid UTF-8 (bytes that were not are U+FFFD), NUL-terminated. length may be
 * NULL. `bytes` is how much the script wrote in all. */
PYEXEC_API const char *pyexec_result_stdout(const pyexec_result *result, size_t *length);
PYEXEC_API const char *pyexec_result_stderr(const pyexec_result *result, size_t *length);
PYEXEC_API bool pyexec_result_stdout_truncated(const pyexec_result *result);
PYEXEC_API bool pyexec_result_stderr_truncated(const pyexec_result *result);
PYEXEC_API uint64_t pyexec_result_stdout_bytes(const pyexec_result *result);
PYEXEC_API uint64_t pyexec_result_stderr_bytes(const pyexec_result *result);

/* The repr of the last expression, or NULL when there was none or it was None. */
PYEXEC_API const char *pyexec_result_last_value(const pyexec_result *result);
/* The same, which may have NUL characters, with its length. */
PYEXEC_API const char *pyexec_result_last_value_text(const pyexec_result *result, size_t *length);
PYEXEC_API bool pyexec_result_last_value_truncated(const pyexec_result *result);

/* The last value as JSON text, when the request asked for it (`value_json`; docs/results.md has the
 * mapping). NULL: not asked for, no value, or none that can be written so, which the error says. */
PYEXEC_API const char *pyexec_result_last_value_json(const pyexec_result *result);
PYEXEC_API const char *pyexec_result_last_value_json_error(const pyexec_result *result);

/* What the script displayed, in order: each {"data": {MIME type: data}, "metadata": {…},
 * "last_value": bool} as JSON text on one line. NULL: no such index. */
PYEXEC_API size_t pyexec_result_display_count(const pyexec_result *result);
PYEXEC_API const char *pyexec_result_display_json(const pyexec_result *result, size_t index);
PYEXEC_API const pyexec_display *pyexec_result_display(const pyexec_result *result, size_t index);
/* Its forms: MIME type ("text/html") and data, which is UTF-8 for text, JSON text for JSON, and the bytes for all
 * others; NUL-terminated. NULL: no such index. `metadata` is a JSON object. */
PYEXEC_API size_t pyexec_display_form_count(const pyexec_display *display);
PYEXEC_API const char *pyexec_display_form_type(const pyexec_display *display, size_t index);
PYEXEC_API const char *pyexec_display_form_data(const pyexec_display *display, size_t index, size_t *length);
PYEXEC_API const char *pyexec_display_metadata_json(const pyexec_display *display);
/* Whether it is the last expression's value. */
PYEXEC_API bool pyexec_display_last_value(const pyexec_display *display);
/* How many did not fit max_displays and max_display_bytes. */
PYEXEC_API uint64_t pyexec_result_display_dropped(const pyexec_result *result);

/* "Type: message" of what went wrong, or NULL. */
PYEXEC_API const char *pyexec_result_error_repr(const pyexec_result *result);
/* Parts of it; NULL or 0 where there is none. */
PYEXEC_API const char *pyexec_result_error_type(const pyexec_result *result);
PYEXEC_API const char *pyexec_result_error_message(const pyexec_result *result);
PYEXEC_API int pyexec_result_error_line(const pyexec_result *result);
PYEXEC_API const char *pyexec_result_error_traceback(const pyexec_result *result);
PYEXEC_API const char *pyexec_result_error_hint(const pyexec_result *result);

/* What the script was refused: the layer ("imports", "files", "network", "syscall", "processes"), what it tried, its
 * line or 0, and what to do instead. The texts may have NUL bytes; length may be NULL. NULL: no such index. */
PYEXEC_API size_t pyexec_result_denial_count(const pyexec_result *result);
PYEXEC_API const pyexec_denial *pyexec_result_denial(const pyexec_result *result, size_t index);
PYEXEC_API const char *pyexec_denial_layer(const pyexec_denial *denial);
PYEXEC_API const char *pyexec_denial_what(const pyexec_denial *denial, size_t *length);
PYEXEC_API int pyexec_denial_line(const pyexec_denial *denial);
PYEXEC_API const char *pyexec_denial_hint(const pyexec_denial *denial, size_t *length);
/* How many more were refused than are kept. */
PYEXEC_API uint64_t pyexec_result_denials_dropped(const pyexec_result *result);

/* Files that the script changed, sorted by path: the path in the workspace, the size, "created", "modified" or
 * "deleted", and the bytes of those that the request's return_files match (else NULL). NULL: no such index.
 * `files_truncated`: files or contents were left out. */
PYEXEC_API size_t pyexec_result_file_count(const pyexec_result *result);
PYEXEC_API const pyexec_file *pyexec_result_file(const pyexec_result *result, size_t index);
PYEXEC_API const char *pyexec_file_path(const pyexec_file *file);
PYEXEC_API uint64_t pyexec_file_bytes(const pyexec_file *file);
PYEXEC_API const char *pyexec_file_change(const pyexec_file *file);
PYEXEC_API const char *pyexec_file_content(const pyexec_file *file, size_t *length);
PYEXEC_API bool pyexec_result_files_truncated(const pyexec_result *result);

/* The session of a call, which `id` is NULL without: whether this call made it, why the state that the id had is
 * gone (NULL: it is not), and the calls that it has had. */
PYEXEC_API const char *pyexec_result_session_id(const pyexec_result *result);
PYEXEC_API bool pyexec_result_session_created(const pyexec_result *result);
PYEXEC_API const char *pyexec_result_session_restarted(const pyexec_result *result);
PYEXEC_API uint64_t pyexec_result_session_execution_count(const pyexec_result *result);

/* The name of what kept the run apart: "full", "container" or "reduced" (docs/security.md), and the names of the
 * layers that it went without. NULL: no such index. */
PYEXEC_API const char *pyexec_result_tier(const pyexec_result *result);
PYEXEC_API size_t pyexec_result_missing_layer_count(const pyexec_result *result);
PYEXEC_API const char *pyexec_result_missing_layer(const pyexec_result *result, size_t index);

/* From the kernel: milliseconds of wall and CPU time, and the process's lifetime peak of
 * resident memory, pages shared with the warm parent included. */
PYEXEC_API double pyexec_result_wall_ms(const pyexec_result *result);
PYEXEC_API double pyexec_result_cpu_ms(const pyexec_result *result);
PYEXEC_API uint64_t pyexec_result_peak_memory_bytes(const pyexec_result *result);

/* Calls of tools: how many, and the milliseconds with at least one under way. */
PYEXEC_API uint64_t pyexec_result_tool_calls_count(const pyexec_result *result);
PYEXEC_API double pyexec_result_tool_calls_wait_ms(const pyexec_result *result);

/* The whole result object (docs/results.md) on one line. NULL: out of memory. */
PYEXEC_API const char *pyexec_result_json(pyexec_result *result);

/* What this machine offers: layers with remedies, interpreter, limits and, with selftest,
 * one escape attempt per layer, as JSON. Never fails because a layer is missing.
 *
 * ret  a JSON object; free it with free(). `ok` in it says whether runs are possible. */
PYEXEC_API int pyexec_doctor(const char *policy_json, const char *host_json, bool selftest, char **ret,
                             pyexec_error *error);

/* Measures this machine's floors inside the executor's own zygote, `iterations` times each:
 * a bare clone of the warm interpreter with exit and wait, the same with a run's namespaces,
 * and a socket round trip to a waiting child that evaluates 1+1 without any layer: again and
 * again to one child, and once each to children of their own (a fifth as many).
 *
 * ret  a JSON object {"clone": {"p50": µs, "p90": µs, "p99": µs}, "clone_namespaces": {…},
 *      "socket_round_trip": {…}, "socket_round_trip_first": {…}}; free it with free(). */
PYEXEC_API int pyexec_measure_floors(pyexec_executor *executor, int iterations, char **ret, pyexec_error *error);

/* ---- For programs that use jansson themselves ----
 *
 * The same as the functions of these names without "_object", with a json_t in place of text: nothing is written and
 * parsed again. It must be the jansson that the library is linked with. Objects that go in are shared, not copied, and
 * must not change as long as the request lives; an object that comes out is the caller's (json_decref()). */
struct json_t;
PYEXEC_API int pyexec_request_set_object(pyexec_request *request, struct json_t *object, pyexec_error *error);
PYEXEC_API int pyexec_request_add_tools_object(pyexec_request *request, struct json_t *tools, pyexec_tool_fn callback,
                                               void *userdata, pyexec_error *error);
PYEXEC_API void pyexec_request_set_ceiling_object(pyexec_request *request, struct json_t *policy);
PYEXEC_API int pyexec_session_create_object(pyexec_executor *executor, const char *session_id, struct json_t *policy,
                                            struct json_t *ceiling, pyexec_error *error);
PYEXEC_API int pyexec_doctor_object(const char *policy_json, const char *host_json, bool selftest, struct json_t **ret,
                                    pyexec_error *error);

#ifdef __cplusplus
}
#endif
#endif
