/* SPDX-License-Identifier: Apache-2.0 */
/* A replacement of the library for targets that serve clients. The real code checks each request, but the executor runs nothing: the
 * output of a run is its code. */
#include "base/cleanup.h"
#include "base/error.h"
#include "base/json.h"
#include "fuzz.h"
#include "policy/request.h"
#include "result/result.h"

struct pyexec_executor {
    int unused;
};

const char *pyexec_version(void)
{
    return "0";
}

int pyexec_executor_open(const char *config_json, pyexec_executor **ret, pyexec_error *error)
{
    json_t *config = json_loads(config_json, JSON_REJECT_DUPLICATES, NULL);
    int result = pyexec_executor_open_object(config, ret, error);
    json_decref(config);
    return result;
}

int pyexec_executor_open_object(json_t *config, pyexec_executor **ret, pyexec_error *error)
{
    require(json_is_object(config));
    *ret = calloc(1, sizeof **ret);
    return *ret ? 0 : px_error_oom(error);
}

void pyexec_executor_free(pyexec_executor *executor)
{
    free(executor);
}

const char *pyexec_executor_info_json(pyexec_executor *executor)
{
    (void)executor;
    return "{\"version\":\"0\"}";
}

bool pyexec_executor_has_tracing(const pyexec_executor *executor)
{
    return executor;
}

const char *pyexec_executor_python(pyexec_executor *executor)
{
    (void)executor;
    return "3.11.2 (fuzz)";
}

const char *pyexec_executor_policy_json(pyexec_executor *executor)
{
    (void)executor;
    return "{}";
}

/* The output of this run is its code, and it has one display. */
int pyexec_execute_once(pyexec_executor *executor, pyexec_request *request, pyexec_result **ret, pyexec_error *error)
{
    (void)executor;
    if (px_request_check(request, error) < 0) {
        require_error(error, PYEXEC_INVALID_REQUEST);
        return -1;
    }
    if (request->output)
        request->output(request->output_data, 1, request->code, request->code_length / 2);
    static const char shown[] = "{\"data\":{\"text/plain\":\"5\"},\"metadata\":{},\"last_value\":false}";
    if (request->display)
        request->display(request->display_data, shown, sizeof shown - 1);
    fuzz_call_tools(request);
    *ret = px_result_new();
    require(*ret);
    px_buffer_add(&(*ret)->streams[0].text, request->code, request->code_length);
    return 0;
}

/* The error has the id in its message, like the error of the real library. */
static int no_session(const char *id, pyexec_error *error)
{
    return px_error_set(error, PYEXEC_SESSION_NOT_FOUND, "session_id: '%.140s' is not a session", id);
}

int pyexec_execute(pyexec_executor *executor, const char *id, pyexec_request *request, pyexec_result **ret,
                   pyexec_error *error)
{
    if (strlen(id) > 20)
        return no_session(id, error);
    if (request->arrived) /* the server reads the next request only after this */
        request->arrived(request->arrived_data);
    return pyexec_execute_once(executor, request, ret, error);
}

int pyexec_session_interrupt(pyexec_executor *executor, const char *id, pyexec_error *error)
{
    (void)executor;
    return no_session(id, error);
}

int pyexec_session_fork(pyexec_executor *executor, const char *id, const char *const *ids, size_t count, char **ret,
                        pyexec_error *error)
{
    (void)executor, (void)ids, (void)ret;
    require(count > 0);
    return no_session(id, error);
}

int pyexec_session_fork_object(pyexec_executor *executor, pyexec_turn *turn, const char *id, const char *const *ids,
                               size_t count, json_t **ret, pyexec_error *error)
{
    (void)turn, (void)ret;
    return pyexec_session_fork(executor, id, ids, count, NULL, error);
}

int pyexec_verify_object(pyexec_executor *executor, pyexec_request *request, json_t *object, char **ret,
                         pyexec_verify_counts *ret_counts, pyexec_error *error)
{
    (void)executor, (void)request, (void)ret, (void)ret_counts;
    require(json_is_object(object));
    return px_error_set(error, PYEXEC_INVALID_REQUEST, "tests: not a list");
}

int pyexec_session_undo(pyexec_executor *executor, const char *id, uint64_t to, char **ret, pyexec_error *error)
{
    (void)executor, (void)to, (void)ret;
    return no_session(id, error);
}

int pyexec_session_reset(pyexec_executor *executor, const char *id, char **ret, pyexec_error *error)
{
    return pyexec_session_undo(executor, id, 0, ret, error);
}

int pyexec_session_close(pyexec_executor *executor, const char *id, pyexec_error *error)
{
    (void)executor;
    return no_session(id, error);
}

void pyexec_session_close_all(pyexec_executor *executor)
{
    (void)executor;
}

static int give(char **ret, const char *text)
{
    *ret = strdup(text);
    require(*ret);
    return 0;
}

int pyexec_sessions_json(pyexec_executor *executor, char **ret, pyexec_error *error)
{
    (void)executor, (void)error;
    return give(ret, "[]");
}

int pyexec_environments_json(pyexec_executor *executor, const char *ceiling_json, char **ret, pyexec_error *error)
{
    (void)executor, (void)ceiling_json, (void)error;
    return give(ret, "[]");
}

int pyexec_environments_object(pyexec_executor *executor, json_t *ceiling, json_t **ret, pyexec_error *error)
{
    (void)executor, (void)ceiling, (void)error;
    *ret = json_array();
    return *ret ? 0 : -1;
}

int pyexec_stats_json(pyexec_executor *executor, char **ret, pyexec_error *error)
{
    (void)executor, (void)error;
    return give(ret, "{}");
}

int pyexec_executor_doctor_json(pyexec_executor *executor, char **ret, pyexec_error *error)
{
    (void)executor, (void)error;
    return give(ret, "{}");
}

int pyexec_session_list_files(pyexec_executor *executor, const char *id, char **ret, pyexec_error *error)
{
    (void)executor;
    return strlen(id) > 20 ? no_session(id, error) : give(ret, "[]");
}

int pyexec_session_files(pyexec_executor *executor, const char *id, const char *path, pyexec_file_list **ret,
                         pyexec_error *error)
{
    (void)executor, (void)path;
    if (strlen(id) > 20)
        return no_session(id, error);
    *ret = calloc(1, sizeof **ret);
    require(*ret && px_file_list_add(*ret, id));
    return 0;
}

int pyexec_session_read_file(pyexec_executor *executor, const char *id, const char *path, void **ret,
                             size_t *ret_length, pyexec_error *error)
{
    (void)executor, (void)id;
    if (px_request_check_path(path, "path", error) < 0)
        return -1;
    *ret_length = strlen(path);
    return give((char **)ret, path);
}

int pyexec_session_write_file(pyexec_executor *executor, const char *id, const char *path, const void *bytes,
                              size_t length, pyexec_error *error)
{
    (void)executor, (void)id;
    require(length == 0 || ((const char *)bytes)[length] == '\0');
    return px_request_check_path(path, "path", error);
}

int pyexec_session_delete_file(pyexec_executor *executor, const char *id, const char *path, pyexec_error *error)
{
    (void)executor, (void)id;
    return px_request_check_path(path, "path", error);
}

int pyexec_session_create_tools_object(pyexec_executor *executor, const char *id, json_t *policy, json_t *ceiling,
                                       json_t *tools, pyexec_tool_fn callback, void *userdata, pyexec_error *error)
{
    (void)executor, (void)policy, (void)ceiling, (void)tools, (void)callback, (void)userdata;
    return strlen(id) > 20 ? no_session(id, error) : 0;
}

int pyexec_session_create_object(pyexec_executor *executor, const char *id, json_t *policy, json_t *ceiling,
                                 pyexec_error *error)
{
    (void)executor, (void)policy, (void)ceiling;
    return strlen(id) > 20 ? no_session(id, error) : 0;
}
