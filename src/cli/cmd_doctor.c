/* SPDX-License-Identifier: Apache-2.0 */
/* pyexec doctor: prints what pyexec_doctor() found. With --json it is the library's own JSON. */
#include <string.h>
#include <unistd.h>

#include "base/json.h"

#include "base/cleanup.h"
#include "base/error.h"
#include "cli/commands.h"
#include "cli/doctor_environments.h"
#include "cli/doctor_fix.h"
#include "cli/help.h"
#include "cli/print.h"
#include "cli/settings.h"

struct doctor_options {
    bool json, fix, yes;
    const char *unit;
};

static const struct cli_option doctor_rows[] = {
    {"json", 0, NULL, "Print the findings as JSON.", CLI_INTO(struct doctor_options, json)},
    {"fix", 0, NULL,
     "Print what to change on this machine so that the layers hold, with what each change weakens, and ask.",
     CLI_INTO(struct doctor_options, fix)},
    {"yes", 0, NULL, "With --fix: make the changes without a question. Needs root.",
     CLI_INTO(struct doctor_options, yes)},
    {"unit", 0, "NAME", "With --fix: delegate a cgroup to this systemd service by a drop-in.",
     CLI_INTO(struct doctor_options, unit)},
};

enum colour { GOOD, BAD, DIM };

struct page {
    struct px_buffer out;
    bool colours;
};

/* A word in a column of `width`; colour codes do not count. */
static void add_word(struct page *page, enum colour colour, int width, const char *word)
{
    static const char *const codes[] = {[GOOD] = "32", [BAD] = "1;31", [DIM] = "2"};
    if (page->colours)
        px_buffer_printf(&page->out, "\033[%sm%-*s\033[0m", codes[colour], width, word);
    else
        px_buffer_printf(&page->out, "%-*s", width, word);
}

static const char *text_of(const json_t *object, const char *key)
{
    const char *text = json_string_value(json_object_get(object, key));
    return text ? text : "";
}

static bool is_true(const json_t *object, const char *key)
{
    return json_is_true(json_object_get(object, key));
}

/* "  why: …", if there is a reason. */
static void add_remark(struct page *page, const char *name, const char *text)
{
    if (!*text)
        return;
    px_buffer_printf(&page->out, "    %-8s", name);
    cli_help_wrap(&page->out, 12, text);
}

static void add_head(struct page *page, const json_t *doctor)
{
    const json_t *user = json_object_get(doctor, "user"), *python = json_object_get(doctor, "python");
    px_buffer_printf(&page->out, "pyexec  %s\nkernel  %s\nuser    %lld%s\n", text_of(doctor, "version"),
                     text_of(doctor, "kernel"), (long long)json_integer_value(json_object_get(user, "uid")),
                     is_true(user, "root") ? " (root)" : "");
    bool ok = is_true(python, "ok");
    px_buffer_printf(&page->out, "python  %s%s%s  ", text_of(python, "path"), *text_of(python, "version") ? " " : "",
                     text_of(python, "version"));
    add_word(page, ok ? GOOD : BAD, 0, ok ? "ok" : "can't be used");
    px_buffer_add_byte(&page->out, '\n');
    const json_t *error = json_object_get(python, "error");
    add_remark(page, "why", text_of(error, "message"));
    add_remark(page, "remedy", text_of(error, "hint"));
    cli_add_importable(&page->out, python);
}

/* Returns how many required layers are missing. */
static size_t add_layers(struct page *page, const json_t *layers)
{
    size_t index, missing = 0;
    const json_t *layer;
    px_buffer_printf(&page->out, "\n%-19s%-10s%-9s%s\n", "layer", "required", "present", "gives");
    json_array_foreach((json_t *)(uintptr_t)layers, index, layer) {
        bool required = is_true(layer, "required"), present = is_true(layer, "present");
        px_buffer_printf(&page->out, "%-19s%-10s", text_of(layer, "name"), required ? "yes" : "no");
        add_word(page, present ? GOOD : required ? BAD : DIM, 9, present ? "yes" : "no");
        cli_help_wrap(&page->out, 38, text_of(layer, "gives"));
        if (present)
            continue;
        missing += required;
        add_remark(page, "why", text_of(layer, "why"));
        add_remark(page, "remedy", text_of(layer, "remedy"));
    }
    return missing;
}

/* Returns how many attempts were not stopped. */
static size_t add_selftest(struct page *page, const json_t *attempts)
{
    size_t index, escaped = 0;
    const json_t *attempt;
    if (!json_array_size(attempts))
        return 0;
    px_buffer_printf(&page->out, "\n%-19s%-9s%s\n", "self-test", "held", "attempt");
    json_array_foreach((json_t *)(uintptr_t)attempts, index, attempt) {
        bool held = is_true(attempt, "held");
        px_buffer_printf(&page->out, "%-19s", text_of(attempt, "layer"));
        add_word(page, held ? GOOD : BAD, 9, held ? "yes" : "NO");
        cli_help_wrap(&page->out, 28, text_of(attempt, "attempt"));
        if (!held)
            add_remark(page, "detail", text_of(attempt, "detail"));
        escaped += !held;
    }
    return escaped;
}

/* A flat object as rows of key and value. */
static void add_pairs(struct page *page, const char *title, json_t *object)
{
    const char *key;
    json_t *value;
    if (!json_object_size(object))
        return;
    px_buffer_printf(&page->out, "\n%s\n", title);
    json_object_foreach(object, key, value) {
        px_auto_free char *text = json_is_string(value) ? NULL : px_json_dumps(value, JSON_ENCODE_ANY | JSON_COMPACT);
        px_buffer_printf(&page->out, "  %-24s", key);
        cli_help_wrap(&page->out, 26, text ? text : json_string_value(value));
    }
}

static void add_verdict(struct page *page, bool possible, size_t missing, size_t escaped)
{
    px_buffer_add_byte(&page->out, '\n');
    if (escaped)
        add_word(page, BAD, 0, "A self-test got through: don't run untrusted code here.");
    else if (!possible)
        add_word(page, BAD, 0, "Runs are not possible here; see the remedies above.");
    else if (missing)
        add_word(page, BAD, 0, "Runs are possible, but with less protection than required.");
    else
        add_word(page, GOOD, 0, "All required layers hold.");
    px_buffer_add_byte(&page->out, '\n');
}

/* Fills the page; returns the exit status. */
static int render(struct page *page, const json_t *doctor)
{
    bool possible = is_true(doctor, "ok");
    add_head(page, doctor);
    size_t missing = add_layers(page, json_object_get(doctor, "layers"));
    size_t escaped = add_selftest(page, json_object_get(doctor, "selftest"));
    add_pairs(page, "machine", json_object_get(doctor, "details"));
    cli_doctor_add_environments(&page->out, json_object_get(doctor, "environments"));
    add_pairs(page, "limits of a run", json_object_get(doctor, "limits"));
    add_verdict(page, possible, missing, escaped);
    return possible && !missing && !escaped ? CLI_EXIT_OK : CLI_EXIT_UNSAFE;
}

/* Takes the findings. */
static int report(json_t *doctor, bool as_json, pyexec_error *error)
{
    struct page page = {.colours = cli_colours()};
    int status = render(&page, doctor);
    px_auto_free char *text = px_json_take_text(doctor);
    if (as_json && !text) {
        px_buffer_done(&page.out);
        return px_error_oom(error);
    }
    if (as_json) {
        page.out.length = 0;
        px_buffer_printf(&page.out, "%s\n", text);
    }
    int printed = cli_print(&page.out);
    px_buffer_done(&page.out);
    return printed ? printed : status;
}

static int run(const struct cli_arguments *arguments, void *target)
{
    const struct doctor_options *options = target;
    pyexec_error error = {0};
    if (options->fix && !options->json)
        return cli_doctor_fix(options->yes, options->unit);
    if (options->fix || options->yes || options->unit) {
        px_error_set(&error, PYEXEC_INVALID_REQUEST, "%s",
                     options->fix ? "--fix has no JSON" : "--yes and --unit need --fix");
        px_error_hint(&error, "Use --yes and --unit only together with --fix, and --fix without --json.");
        return cli_fail(&error);
    }
    json_t *doctor;
    px_auto(cli_settings_done) struct cli_settings settings = {0};
    if (cli_settings_load(&settings, arguments, &error) < 0 || cli_settings_find_environment(&settings, &error) < 0 ||
        cli_settings_examine(&settings, true, &doctor, &error) < 0)
        return cli_fail(&error);
    px_json_set(doctor, "environments", cli_doctor_environments(&settings, doctor));
    int status = report(doctor, options->json, &error);
    return status < 0 ? cli_fail(&error) : status;
}

const struct cli_command cmd_doctor = {
    .name = "doctor",
    .summary = "which layers hold here, what is missing, how to get it",
    .description = "Tries each isolation layer on this machine, says what is missing and how to get it, "
                   "and attempts one escape per layer from inside a sandbox. The exit status is 1 when a "
                   "required layer is missing or an attempt got through.",
    .options = doctor_rows,
    .option_count = PX_COUNT(doctor_rows),
    .options_size = sizeof(struct doctor_options),
    .policy_flags = true,
    .run = run,
};
