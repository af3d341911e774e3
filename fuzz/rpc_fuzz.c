/* Lines of an RPC client, served as `pyexec rpc` does, over a library whose executor runs nothing:
 * requests are taken and checked by the real code. Each answer must be one, and the line after
 * them all must be answered too. */
#include <sys/mman.h>
#include <unistd.h>

#include "base/cleanup.h"
#include "base/error.h"
#include "base/fds.h"
#include "engine/request.h"
#include "engine/result.h"
#include "front/rpc.h"
#include "fuzz.h"

#define LAST "\n{\"jsonrpc\":\"2.0\",\"id\":\"the last\",\"method\":\"ping\"}\n"

/* ---- The library ---- */

struct pyexec_executor {
    int unused;
};

int pyexec_executor_open(const char *config_json, pyexec_executor **ret, pyexec_error *error)
{
    json_t *config = json_loads(config_json, JSON_REJECT_DUPLICATES, NULL);
    require(json_is_object(config));
    json_decref(config);
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

const char *pyexec_executor_policy_json(pyexec_executor *executor)
{
    (void)executor;
    return "{}";
}

/* A run that writes its code. */
int pyexec_execute_once(pyexec_executor *executor, pyexec_request *request, pyexec_result **ret,
                        pyexec_error *error)
{
    (void)executor;
    if (px_request_check(request, error) < 0) {
        require_error(error, PYEXEC_INVALID_REQUEST);
        return -1;
    }
    if (request->output)
        request->output(request->output_data, 1, request->code, request->code_length / 2);
    *ret = px_result_new();
    require(*ret);
    px_buffer_add(&(*ret)->streams[0].text, request->code, request->code_length);
    return 0;
}

/* As the real ones take ids: C strings, that end up in messages. */
static int no_session(const char *id, pyexec_error *error)
{
    return px_error_set(error, PYEXEC_SESSION_NOT_FOUND, "session_id: '%.140s' is no session", id);
}

int pyexec_execute(pyexec_executor *executor, const char *id, pyexec_request *request,
                   pyexec_result **ret, pyexec_error *error)
{
    return strlen(id) > 20 ? no_session(id, error) : pyexec_execute_once(executor, request, ret, error);
}

int pyexec_session_interrupt(pyexec_executor *executor, const char *id, pyexec_error *error)
{
    (void)executor;
    return no_session(id, error);
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

int pyexec_stats_json(pyexec_executor *executor, char **ret, pyexec_error *error)
{
    (void)executor, (void)error;
    return give(ret, "{}");
}

int pyexec_doctor(const char *policy_json, const char *host_json, bool measure, char **ret,
                  pyexec_error *error)
{
    (void)policy_json, (void)host_json, (void)measure, (void)error;
    return give(ret, "{}");
}

int pyexec_session_list_files(pyexec_executor *executor, const char *id, char **ret,
                              pyexec_error *error)
{
    (void)executor;
    return strlen(id) > 20 ? no_session(id, error) : give(ret, "[]");
}

int pyexec_session_read_file(pyexec_executor *executor, const char *id, const char *path,
                             void **ret, size_t *ret_length, pyexec_error *error)
{
    (void)executor, (void)id;
    if (px_request_check_path(path, "path", error) < 0)
        return -1;
    *ret_length = strlen(path);
    return give((char **)ret, path);
}

int pyexec_session_write_file(pyexec_executor *executor, const char *id, const char *path,
                              const void *bytes, size_t length, pyexec_error *error)
{
    (void)executor, (void)id;
    require(length == 0 || ((const char *)bytes)[length] == '\0');
    return px_request_check_path(path, "path", error);
}

int pyexec_session_delete_file(pyexec_executor *executor, const char *id, const char *path,
                               pyexec_error *error)
{
    (void)executor, (void)id;
    return px_request_check_path(path, "path", error);
}

/* ---- The client ---- */

/* An id is echoed as it stands, and may be what the parser refuses. */
static void require_refused_id(const json_error_t *problem)
{
    enum json_error_code code = json_error_code(problem);
    require(code == json_error_numeric_overflow ||
            (code == json_error_invalid_syntax && strstr(problem->text, "Unicode")));
}

static void require_message(const char *line, size_t length)
{
    static const char head[] = "{\"jsonrpc\":\"2.0\",\"";
    json_error_t problem;
    require(length > sizeof head && memcmp(line, head, sizeof head - 1) == 0);
    require(px_utf8_valid(line, length, NULL));
    json_t *message = json_loadb(line, length, JSON_REJECT_DUPLICATES | JSON_ALLOW_NUL, &problem);
    if (!message) {
        require_refused_id(&problem);
        return;
    }
    json_t *error = json_object_get(message, "error"), *data = json_object_get(error, "data");
    require(json_object_get(message, "method") || json_object_get(message, "id"));
    require(!json_object_get(message, "method") + !error + !json_object_get(message, "result") == 2);
    require(!error || json_string_length(json_object_get(error, "message")));
    require((json_integer_value(json_object_get(error, "code")) == -32000) == (data != NULL));
    const char *code = json_string_value(json_object_get(data, "code"));
    require(!data || json_string_length(json_object_get(data, "hint")) ||
            (code && strcmp(code, "invalid_request") != 0));
    json_decref(message);
}

/* Whether the input may have ended it before the last line. */
static bool may_shut_down(const uint8_t *data, size_t size)
{
    return memmem(data, size, "shutdown", 8) || memmem(data, size, "\\u", 2);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    px_auto_fd int input = memfd_create("input", MFD_CLOEXEC);
    px_auto_fd int output = memfd_create("output", MFD_CLOEXEC);
    struct px_buffer px_auto_buffer answers = {0};
    require(input >= 0 && output >= 0 && px_write_all(input, data, size) == 0);
    require(px_write_all(input, LAST, sizeof LAST - 1) == 0 && lseek(input, 0, SEEK_SET) == 0);
    require(px_rpc_serve(input, output, -1) == 0);
    require(lseek(output, 0, SEEK_SET) == 0 && px_read_all(output, &answers, 1u << 30) == 0);
    const char *at = px_buffer_string(&answers), *end;
    bool answered = false;
    for (; (end = strchr(at, '\n')); at = end + 1) {
        require_message(at, (size_t)(end - at));
        answered = answered || memmem(at, (size_t)(end - at), "\"id\":\"the last\",\"result\":{}", 27);
    }
    require(!*at && (answered || may_shut_down(data, size)));
    return 0;
}
