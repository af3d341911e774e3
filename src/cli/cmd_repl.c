/* SPDX-License-Identifier: Apache-2.0 */
/* pyexec repl: an interactive session. */
#include <errno.h>
#include <string.h>
#include <unistd.h>
#include <wchar.h>
#include <wctype.h>

#include "base/cleanup.h"
#include "base/error.h"
#include "base/json.h"
#include "cli/cli_signals.h"
#include "cli/commands.h"
#include "cli/handles.h"
#include "cli/print.h"
#include "cli/repl_ask.h"
#include "cli/repl_commands.h"
#include "cli/repl_read.h"
#include "cli/run_command.h"

#define FIRST_SESSION "repl"
#define BRANCHES_MAX 1001 /* with the policy forkable: the first session and its branches */
#define COMPLETION_MS 300

struct repl {
    struct repl_sessions sessions;
    json_t *cell_policy; /* the part of the policy that later calls may change */
    json_t *completion_policy;
    char restarted[32]; /* why the state was lost, if the user was not told yet; else "" */
};

static void repl_done(struct repl *repl)
{
    pyexec_executor_free(repl->sessions.executor);
    json_decref(repl->cell_policy);
    json_decref(repl->completion_policy);
}

static void free_reader(struct repl_reader **reader)
{
    repl_reader_free(*reader);
}

/* ---- Calls ---- */

static void note_restart(struct repl *repl, pyexec_result *result)
{
    const char *reason = pyexec_result_session_restarted(result);
    if (reason)
        snprintf(repl->restarted, sizeof repl->restarted, "%s", reason);
}

static void say_restart(struct repl *repl)
{
    if (!*repl->restarted)
        return;
    px_auto_buffer struct px_buffer line = {0};
    px_buffer_printf(&line, "the session was restarted (%s): its names and files are gone", repl->restarted);
    *repl->restarted = 0;
    cli_say(px_buffer_shown(&line), NULL);
}

/* Runs our own code in the session, without output. `result` may be NULL on return. */
static int execute_quietly(struct repl *repl, const char *code, json_t *policy, pyexec_result **ret,
                           pyexec_error *error)
{
    cli_auto_request pyexec_request *request = pyexec_request_new();
    cli_auto_result pyexec_result *result = NULL;
    if (!request || pyexec_request_set_code(request, code, strlen(code)) < 0 ||
        pyexec_request_set_policy_object(request, policy) < 0)
        return px_error_exhausted(error, errno, "can't make the request");
    pyexec_request_set_silent(request, 1);
    if (pyexec_execute(repl->sessions.executor, repl->sessions.current, request, &result, error) < 0)
        return -1;
    note_restart(repl, result);
    if (ret)
        *ret = TAKE_PTR(result);
    return 0;
}

/* ---- Completion ---- */

/* True for a dotted name, which can be put into code as it is. */
static bool is_dotted_name(const char *word)
{
    bool at_start = true;
    for (const char *c = word; *c; c++) {
        if (at_start && (*c == '.' || (*c >= '0' && *c <= '9')))
            return false;
        at_start = *c == '.';
    }
    return true;
}

/* True for a name: it has no characters that a terminal would act on. */
static bool is_name(const char *text, size_t length)
{
    mbstate_t state = {0};
    wchar_t c;
    size_t at = 0;
    while (at < length) {
        size_t n = mbrtowc(&c, text + at, length - at, &state);
        if (n == 0 || n > length || !(c == L'_' || iswalnum((wint_t)c)))
            return false;
        at += n;
    }
    return length && length <= REPL_WORD_MAX;
}

static void add_names(struct px_buffer *names, const char *text)
{
    while (*text) {
        size_t length = strcspn(text, "\n");
        if (is_name(text, length)) {
            if (names->length)
                px_buffer_add_byte(names, '\n');
            px_buffer_add(names, text, length);
        }
        text += length + (text[length] == '\n');
    }
}

/* A repl_complete_fn. The script's session makes the list, so it can't be trusted. */
static void complete(void *userdata, const char *word, struct px_buffer *names)
{
    static const char keywords[] =
        "'and as assert async await break class continue def del elif else except False finally "
        "for from global if import in is lambda None nonlocal not or pass raise return True try "
        "while with yield'.split()";
    struct repl *repl = userdata;
    if (!is_dotted_name(word))
        return;
    px_auto_buffer struct px_buffer code = {0};
    const char *dot = strrchr(word, '.'), *prefix = dot ? dot + 1 : word;
    px_buffer_add_string(&code, "print(*[n for n in sorted({*");
    if (dot)
        px_buffer_printf(&code, "dir(%.*s)", (int)(dot - word), word);
    else
        px_buffer_printf(&code, "globals(), *dir(__builtins__), *%s", keywords);
    px_buffer_printf(&code, "}) if n.startswith('%s')%s][:100], sep='\\n')", prefix, *prefix ? "" : " and n[0] != '_'");
    cli_auto_result pyexec_result *result = NULL;
    pyexec_error error;
    if (!px_buffer_ok(&code) ||
        execute_quietly(repl, px_buffer_string(&code), repl->completion_policy, &result, &error) < 0)
        return;
    if (pyexec_result_status(result) == PYEXEC_STATUS_OK)
        add_names(names, pyexec_result_stdout(result, NULL));
}

/* ---- Cells ---- */

struct output {
    struct run_stream stream;
    atomic_bool open_line; /* standard output's last byte was not a newline */
};

static void output_done(struct output *output)
{
    run_stream_done(&output->stream);
}

static int write_output(void *userdata, int stream, const char *bytes, size_t length)
{
    struct output *output = userdata;
    if (stream == 1 && length)
        output->open_line = bytes[length - 1] != '\n';
    return run_stream_write(&output->stream, stream, bytes, length);
}

/* True if the cell may read standard input itself. Python reads more bytes than the cell needs, so cells
 * that do not read it get none: text that is typed or pasted meanwhile is the next cell. */
static bool may_read_stdin(const char *code)
{
    return strstr(code, "stdin") || strstr(code, "fileinput");
}

/* Lets a cell from a terminal read standard input itself, or single lines with input() and getpass.getpass(). */
static int offer_terminal(pyexec_request *request, const char *code, struct output *output, pyexec_error *error)
{
    if (!may_read_stdin(code))
        return pyexec_request_add_tool(request, "input", NULL, repl_ask, &output->open_line, error);
    pyexec_request_set_stdin_fd(request, STDIN_FILENO);
    return 0;
}

static void say_exit(const pyexec_result *result)
{
    const char *type = pyexec_result_error_type(result), *repr = pyexec_result_error_repr(result);
    if (type && repr && strcmp(type, "SystemExit") == 0)
        cli_say(repr, "The session continues; Ctrl-D leaves.");
}

/* Shows how the cell ended. Returns the exit status if nobody reads any more, else 0. */
static int show_end(struct repl *repl, struct output *output, bool interactive, const pyexec_result *result)
{
    pyexec_error error;
    px_auto(run_outcome_done) struct run_outcome outcome = {0};
    if (run_outcome_of_result(&outcome, result, &error) < 0)
        return cli_fail(&error);
    int status = run_output(&output->stream, &outcome, cli_signals_terminated());
    if (output->stream.write_errno && output->stream.write_errno != ECANCELED)
        return status;
    if (interactive && output->open_line && !pyexec_result_last_value(result))
        cli_write(STDOUT_FILENO, "\n", 1);
    say_exit(result);
    if (pyexec_result_session_restored_to(result))
        cli_say("the session is as it was before this cell", NULL);
    /* The next call would find out that the process is gone. It is better to say it now. */
    if (pyexec_result_status(result) > PYEXEC_STATUS_ERROR && !repl_ending_signal() &&
        execute_quietly(repl, "pass", repl->cell_policy, NULL, &error) < 0)
        cli_fail(&error);
    say_restart(repl);
    return 0;
}

static int run_cell(struct repl *repl, const struct px_buffer *cell, bool interactive)
{
    pyexec_error error;
    px_auto(output_done) struct output output = {0};
    cli_auto_request pyexec_request *request = pyexec_request_new();
    cli_auto_result pyexec_result *result = NULL;
    if (!request || !px_buffer_ok(cell) || pyexec_request_set_code(request, px_buffer_string(cell), cell->length) < 0 ||
        pyexec_request_set_policy_object(request, repl->cell_policy) < 0) {
        px_error_oom(&error);
        return cli_fail(&error);
    }
    if (interactive && offer_terminal(request, px_buffer_string(cell), &output, &error) < 0)
        return cli_fail(&error);
    pyexec_request_set_output(request, write_output, &output);
    pyexec_request_set_display_object(request, run_display_write, &output.stream);
    repl_signals_hold(request);
    int executed = pyexec_execute(repl->sessions.executor, repl->sessions.current, request, &result, &error);
    repl_signals_release();
    if (executed < 0) {
        cli_fail(&error);
        return error.code == PYEXEC_SHUTTING_DOWN ? CLI_EXIT_FAILED : CLI_EXIT_OK;
    }
    note_restart(repl, result);
    return show_end(repl, &output, interactive, result);
}

/* exit, quit, exit() or quit() alone, or with a number, which is the exit status; else -1. */
static int exit_status(const char *cell)
{
    size_t blank = strspn(cell, " \t\n"), length = 4;
    if (strncmp(cell + blank, "exit", length) != 0 && strncmp(cell + blank, "quit", length) != 0)
        return -1;
    const char *rest = cell + blank + length;
    int status = 0;
    if (*rest == '(') {
        size_t digits = strspn(++rest, "0123456789");
        status = digits <= 3 ? atoi(rest) & 0xff : 0xff;
        rest += digits;
        if (*rest++ != ')')
            return -1;
    }
    return rest[strspn(rest, " \t\r\n;")] ? -1 : status;
}

static bool is_blank(const char *cell)
{
    return !cell[strspn(cell, " \t\f\r\n")];
}

static int loop(struct repl *repl, struct repl_reader *reader)
{
    bool interactive = repl_reader_interactive(reader);
    for (int status = 0; status == 0 && !repl_ending_signal();) {
        px_auto_buffer struct px_buffer cell = {0};
        enum repl_read got = repl_read_cell(reader, &cell);
        if (got == REPL_END)
            break;
        if (got == REPL_DROPPED || (px_buffer_ok(&cell) && is_blank(px_buffer_string(&cell))))
            continue;
        int leaving = px_buffer_ok(&cell) ? exit_status(px_buffer_string(&cell)) : -1;
        if (leaving >= 0)
            return leaving;
        if (px_buffer_ok(&cell) && repl_command(&repl->sessions, px_buffer_string(&cell)))
            continue;
        status = run_cell(repl, &cell, interactive);
        if (status)
            return status;
    }
    return repl_ending_signal() ? PYEXEC_EXIT_SIGNAL + repl_ending_signal() : CLI_EXIT_OK;
}

/* ---- Start ---- */

/* Returns the values of the policy for the keys that a call sends. */
static json_t *call_policy(const json_t *policy)
{
    static const char *const keys[] = {"timeout_ms", "max_stdout_bytes", "print_last_expression"};
    json_t *object = json_object();
    for (size_t i = 0; object && i < PX_COUNT(keys); i++)
        px_json_set(object, keys[i], json_incref(json_object_get(policy, keys[i])));
    return object;
}

static int set_policies(struct repl *repl, const json_t *policy, pyexec_error *error)
{
    repl->cell_policy = call_policy(policy);
    json_t *completion = repl->completion_policy = px_json_copy(repl->cell_policy);
    if (json_integer_value(json_object_get(policy, "timeout_ms")) > COMPLETION_MS)
        px_json_set(completion, "timeout_ms", json_integer(COMPLETION_MS));
    px_json_set(completion, "max_stdout_bytes", json_integer(16 << 10));
    px_json_set(completion, "print_last_expression", json_false());
    return json_is_object(repl->cell_policy) && json_is_object(completion) ? 0 : px_error_oom(error);
}

/* Sessions that wait for their user for ever. */
static int open_executor(struct repl *repl, struct cli_settings *settings, pyexec_error *error)
{
    settings->host.zygotes = 1;
    if (cli_settings_find_environment(settings, error) < 0)
        return -1;
    px_auto_json json_t *config = cli_settings_config(settings, NULL, error);
    px_auto_json json_t *policy = px_policy_to_json(&settings->policy);
    if (!config || set_policies(repl, policy, error) < 0)
        return -1;
    repl->sessions.forkable = settings->policy.forkable;
    px_json_set(
        config, "session",
        json_pack("{s:i, s:n, s:n}", "max_count", repl->sessions.forkable ? BRANCHES_MAX : 1, "idle_ttl", "hard_ttl"));
    snprintf(repl->sessions.current, sizeof repl->sessions.current, FIRST_SESSION);
    if (!json_is_object(config))
        return px_error_oom(error);
    if (pyexec_executor_open_object(config, &repl->sessions.executor, error) < 0)
        return -1;
    return execute_quietly(repl, "pass", repl->cell_policy, NULL, error);
}

/* NULL: no history. */
static char *history_path(void)
{
    const char *state = getenv("XDG_STATE_HOME"), *home = getenv("HOME");
    px_auto_buffer struct px_buffer path = {0};
    if (state && *state == '/')
        px_buffer_printf(&path, "%s/pyexec/history", state);
    else if (home && *home == '/')
        px_buffer_printf(&path, "%s/.local/state/pyexec/history", home);
    return path.length ? px_buffer_take(&path) : NULL;
}

static void greet(struct repl *repl)
{
    const char *python = pyexec_executor_python(repl->sessions.executor);
    px_auto_buffer struct px_buffer line = {0};
    px_buffer_printf(&line, "pyexec %s, Python %.*s in a sandbox. Ctrl-D leaves.\n", pyexec_version(),
                     (int)strcspn(python, " "), python);
    cli_print(&line);
}

static int run(const struct cli_arguments *arguments, void *target)
{
    (void)target;
    pyexec_error error;
    px_auto(cli_settings_done) struct cli_settings settings = {0};
    px_auto(repl_done) struct repl repl = {0};
    if (cli_settings_load(&settings, arguments, &error) < 0)
        return cli_fail(&error);
    cli_signals_catch_pipe();
    px_auto(free_reader) struct repl_reader *reader = repl_reader_new(complete, &repl, history_path());
    if (!reader)
        px_error_oom(&error);
    if (!reader || open_executor(&repl, &settings, &error) < 0)
        return cli_fail(&error);
    if (repl_reader_interactive(reader))
        greet(&repl);
    return loop(&repl, reader);
}

const struct cli_command cmd_repl = {
    .name = "repl",
    .summary = "an interactive session",
    .description =
        "Reads Python as its prompt does and runs it in one sandboxed session, which keeps its "
        "state; limits hold for each cell. Ctrl-C interrupts the running cell and keeps the "
        "state, a second Ctrl-C ends what doesn't stop; at the prompt it drops the line. Tab "
        "completes names, Ctrl-D leaves. input() and getpass.getpass() ask at the terminal; the "
        "time that they wait does not count. With --forkable, %fork makes new sessions that go on from the "
        "state of this one, %switch ID continues in one of them, and %sessions lists them. With --auto-checkpoint, %undo undoes the last cell. History is in $XDG_STATE_HOME/pyexec/history "
        "(~/.local/state/pyexec/history). Without a terminal there are no prompts.",
    .policy_flags = true,
    .run = run,
};
