/* SPDX-License-Identifier: Apache-2.0 */
/* pyexec env: named environments with packages. src/env_build/ makes them; here are the options and what is printed. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/cleanup.h"
#include "base/error.h"
#include "base/spelling.h"
#include "cli/commands.h"
#include "cli/env_print.h"
#include "cli/print.h"
#include "cli/settings.h"
#include "env_build/env_build.h"

#define DAY_SECONDS INT64_C(86400)

struct env_arguments {
    struct cli_list files;
    const char *python;
    const char *preload;
    bool build;
    bool json;
    bool verbose;
    const char *unused;
    const char *config;
};

static const struct cli_option rows[] = {
    {"requirements", 'r', "FILE", "create, update: install what this requirements file lists. May be repeated.",
     CLI_INTO(struct env_arguments, files)},
    {"python", 0, "X.Y", "create, update: the Python of the environment: a version that is on this machine, or a path.",
     CLI_INTO(struct env_arguments, python)},
    {"preload", 0, "MODULES",
     "create, update: modules that each warm parent imports once, so that scripts start with them (comma-separated).",
     CLI_INTO(struct env_arguments, preload)},
    {"build-from-source", 0, NULL,
     "create, update: also take packages that have no wheel. Building runs their code outside of any sandbox, with your "
     "rights.",
     CLI_INTO(struct env_arguments, build)},
    {"json", 0, NULL, "Print JSON.", CLI_INTO(struct env_arguments, json)},
    {"verbose", 'v', NULL, "create, update: show the output of uv or pip.", CLI_INTO(struct env_arguments, verbose)},
    {"unused-days", 0, "NUMBER", "prune: remove cached environments that were not used for so many days. Default: 30.",
     CLI_INTO(struct env_arguments, unused)},
    {"config", 0, "FILE", "Configuration file, instead of /etc/pyexec/pyexec.conf.",
     CLI_INTO(struct env_arguments, config)},
};

/* What a subcommand gets. */
struct env_call {
    const struct env_arguments *arguments;
    const struct cli_settings *settings;
    const char *name;     /* of the environment, or NULL */
    struct cli_list rest; /* the other operands */
};

static void say_progress(void *closure, const char *line)
{
    (void)closure;
    cli_say(line, NULL);
}

static struct env_options options_of(const struct env_call *call, const json_t *host)
{
    return (struct env_options){
        .config = &call->settings->env,
        .host = host,
        .default_python = call->settings->policy.python_bin,
        .python = call->arguments->python,
        .packages = call->rest.items,
        .package_count = call->rest.count,
        .files = call->arguments->files.items,
        .file_count = call->arguments->files.count,
        .preload = call->arguments->preload,
        .build = call->arguments->build,
        .show = call->arguments->verbose,
        .say = say_progress,
    };
}

static int print_document(const struct env_call *call, const char *name, const json_t *document)
{
    px_auto_buffer struct px_buffer out = {0};
    if (call->arguments->json)
        cli_env_add_json(&out, document);
    else
        cli_env_add_document(&out, name, document);
    return cli_print(&out);
}

static int fail(const struct env_call *call, const pyexec_error *error)
{
    return cli_fail_as(call->arguments->json, error);
}

static int run_create(const struct env_call *call, pyexec_error *error)
{
    px_auto_json json_t *document = NULL, *host = px_host_to_json(&call->settings->host);
    const struct env_options options = options_of(call, host);
    if (!options.package_count && !options.file_count) {
        px_error_set(error, PYEXEC_INVALID_REQUEST, "env create: no packages given");
        px_error_hint(error,
                      "The first word is the name of the new environment. Packages follow, or a file of them: `pyexec "
                      "env create %s pandas`, `pyexec env create %s -r requirements.txt`.",
                      call->name, call->name);
        return fail(call, error);
    }
    if (env_create(&options, call->name, &document, error) < 0)
        return fail(call, error);
    cli_env_warn(document);
    return print_document(call, call->name, document);
}

/* For programs: the name of the environment for these packages, made if it is not there. */
static int run_cached(const struct env_call *call, pyexec_error *error)
{
    char name[PX_ENVIRONMENT_NAME_MAX + 1];
    px_auto_json json_t *host = px_host_to_json(&call->settings->host);
    px_auto_buffer struct px_buffer out = {0};
    const struct env_options options = options_of(call, host);
    if (!options.package_count && !options.file_count) {
        px_error_set(error, PYEXEC_INVALID_REQUEST, "env cached: no packages given");
        px_error_hint(error, "Name packages, or a file of them: `pyexec env cached pandas`.");
        return fail(call, error);
    }
    if (env_cached(&options, name, error) < 0)
        return fail(call, error);
    if (call->arguments->json)
        px_buffer_printf(&out, "{\"name\":\"%s\"}\n", name);
    else
        px_buffer_printf(&out, "%s\n", name);
    return cli_print(&out);
}

static int run_update(const struct env_call *call, pyexec_error *error)
{
    bool changed = false;
    px_auto_json json_t *document = NULL, *host = px_host_to_json(&call->settings->host);
    const struct env_options options = options_of(call, host);
    if (env_update(&options, call->name, &document, &changed, error) < 0)
        return fail(call, error);
    cli_say(changed ? "updated; sessions that have the old one keep it" : "nothing has changed", NULL);
    cli_env_warn(document);
    return print_document(call, call->name, document);
}

static int run_show(const struct env_call *call, pyexec_error *error)
{
    px_auto(env_store_done) struct env_store store = {.fd = -1};
    px_auto_json json_t *document = NULL;
    if (env_store_open(&store, &call->settings->env, false, error) < 0 ||
        env_document_read(&store, call->name, &document, error) < 0)
        return fail(call, error);
    return print_document(call, call->name, document);
}

static int run_freeze(const struct env_call *call, pyexec_error *error)
{
    px_auto(env_store_done) struct env_store store = {.fd = -1};
    px_auto_json json_t *document = NULL;
    px_auto_buffer struct px_buffer out = {0};
    if (env_store_open(&store, &call->settings->env, false, error) < 0 ||
        env_document_read(&store, call->name, &document, error) < 0)
        return fail(call, error);
    cli_env_add_freeze(&out, document);
    return cli_print(&out);
}

static int run_list(const struct env_call *call, pyexec_error *error)
{
    px_auto(env_store_done) struct env_store store = {.fd = -1};
    px_auto(px_texts_done) struct px_texts names = {0};
    size_t cached = 0;
    px_auto_buffer struct px_buffer out = {0};
    px_auto_json json_t *list = json_array();
    if (env_store_open(&store, &call->settings->env, false, error) < 0 ||
        px_environment_names_given(store.root, &names, &cached, error) < 0)
        return fail(call, error);
    for (size_t i = 0; i < names.count; i++) {
        px_auto_json json_t *document = NULL;
        if (env_document_read(&store, names.items[i], &document, error) < 0)
            cli_say(error->message, error->hint);
        else
            px_json_append(list, cli_env_entry(names.items[i], document));
    }
    if (call->arguments->json)
        cli_env_add_json(&out, list);
    else
        cli_env_add_list(&out, list, cached, store.root);
    return cli_print(&out);
}

static int run_remove(const struct env_call *call, pyexec_error *error)
{
    px_auto(env_store_done) struct env_store store = {.fd = -1};
    bool used = false;
    if (env_name_check(call->name, error) < 0 || env_store_open(&store, &call->settings->env, false, error) < 0 ||
        env_store_remove(&store, call->name, &used, error) < 0)
        return fail(call, error);
    if (used)
        cli_say("the name is gone; its files are in use, and the next `pyexec env` command after that removes them",
                NULL);
    return CLI_EXIT_OK;
}

static int run_prune(const struct env_call *call, pyexec_error *error)
{
    px_auto(env_store_done) struct env_store store = {.fd = -1};
    px_auto_buffer struct px_buffer out = {0};
    unsigned removed = 0;
    char *end = NULL;
    const char *text = call->arguments->unused ? call->arguments->unused : "30";
    long days = strtol(text, &end, 10);
    if (end == text || *end || days < 0 || days > 36500) {
        px_error_set(error, PYEXEC_INVALID_REQUEST, "--unused-days: '%.100s' is not a number of days", text);
        px_error_hint(error, "Give a number from 0 to 36500. 0 removes all that nobody uses at this moment.");
        return fail(call, error);
    }
    if (env_store_open(&store, &call->settings->env, false, error) < 0 ||
        env_store_clean(&store, days * DAY_SECONDS, &removed, error) < 0)
        return fail(call, error);
    px_buffer_printf(&out, "removed %u\n", removed);
    return cli_print(&out);
}

/* ---- The command ---- */

enum {
    FILES = 1,
    PYTHON = 2,
    PRELOAD = 4,
    BUILD = 8,
    JSON = 16,
    VERBOSE = 32,
    UNUSED = 64,
    MAKES = FILES | PYTHON | PRELOAD | BUILD | JSON | VERBOSE
};

static const struct subcommand {
    const char *name;
    bool named;    /* it takes the name of an environment */
    bool packages; /* and packages after it */
    int options;
    int (*run)(const struct env_call *call, pyexec_error *error);
} subcommands[] = {
    {"create", true, true, MAKES, run_create},
    {"list", false, false, JSON, run_list},
    {"show", true, false, JSON, run_show},
    {"update", true, true, MAKES, run_update},
    {"remove", true, false, 0, run_remove},
    {"freeze", true, false, 0, run_freeze},
    {"cached", false, true, FILES | PYTHON | BUILD | JSON | VERBOSE, run_cached},
    {"prune", false, false, UNUSED, run_prune},
};

static const struct subcommand *find_subcommand(const char *name, pyexec_error *error)
{
    struct px_spelling nearest = {.wanted = name ? name : ""};
    for (size_t i = 0; i < PX_COUNT(subcommands); i++) {
        if (name && strcmp(subcommands[i].name, name) == 0)
            return &subcommands[i];
        px_spelling_offer(&nearest, subcommands[i].name);
    }
    px_error_set(error, PYEXEC_INVALID_REQUEST, name ? "env: unknown subcommand '%.100s'" : "env: no subcommand given",
                 name);
    if (name && nearest.best)
        px_error_hint(error, "Did you mean `pyexec env %s`?", nearest.best);
    else
        px_error_hint(
            error,
            "Write create, list, show, update, remove, freeze, cached or prune: `pyexec env create data pandas`.");
    return NULL;
}

static int check_options(const struct subcommand *subcommand, const struct env_arguments *arguments,
                         pyexec_error *error)
{
    const struct {
        bool given;
        int option;
        const char *name;
    } all[] = {{arguments->files.count > 0, FILES, "-r"},   {arguments->python, PYTHON, "--python"},
               {arguments->preload, PRELOAD, "--preload"},  {arguments->build, BUILD, "--build-from-source"},
               {arguments->json, JSON, "--json"},           {arguments->verbose, VERBOSE, "--verbose"},
               {arguments->unused, UNUSED, "--unused-days"}};
    for (size_t i = 0; i < PX_COUNT(all); i++)
        if (all[i].given && !(subcommand->options & all[i].option)) {
            px_error_set(error, PYEXEC_INVALID_REQUEST, "env %s: it has no option %s", subcommand->name, all[i].name);
            return px_error_hint(error, "`pyexec env --help` says which subcommand has which option.");
        }
    return 0;
}

static int check_operands(const struct subcommand *subcommand, const struct cli_list *operands, pyexec_error *error)
{
    size_t least = subcommand->named ? 2 : 1;
    if (operands->count < least) {
        px_error_set(error, PYEXEC_INVALID_REQUEST, "env %s: no name given", subcommand->name);
        if (subcommand->run == run_create)
            return px_error_hint(error, "Give the new environment a name, then its packages: `pyexec env create data "
                                        "pandas`.");
        return px_error_hint(error, "Name the environment: `pyexec env %s data`. `pyexec env list` lists the names.",
                             subcommand->name);
    }
    if (operands->count > least && !subcommand->packages) {
        px_error_set(error, PYEXEC_INVALID_REQUEST, "env %s: unexpected argument '%.100s'", subcommand->name,
                     operands->items[least]);
        if (subcommand->run == run_list)
            return px_error_hint(error, "`pyexec env show %s` shows one environment.", operands->items[least]);
        return px_error_hint(error, "`pyexec env --help` says what it takes.");
    }
    return 0;
}

static int run(const struct cli_arguments *arguments, void *target)
{
    const struct env_arguments *own = target;
    const struct cli_list *operands = &arguments->operands;
    pyexec_error error = {0};
    px_auto(cli_settings_done) struct cli_settings settings = {0};
    const struct cli_arguments load = {.config = own->config};
    const struct subcommand *subcommand = find_subcommand(operands->count ? operands->items[0] : NULL, &error);
    if (!subcommand || check_options(subcommand, own, &error) < 0 || check_operands(subcommand, operands, &error) < 0 ||
        cli_settings_load(&settings, &load, &error) < 0)
        return cli_fail(&error);
    size_t taken = subcommand->named ? 2 : 1;
    const struct env_call call = {own,
                                  &settings,
                                  subcommand->named ? operands->items[1] : NULL,
                                  {operands->items + taken, operands->count - taken}};
    return subcommand->run(&call, &error);
}

const struct cli_command cmd_env = {
    .name = "env",
    .summary = "environments: named sets of packages for scripts",
    .description =
        "create NAME installs packages into a new environment, measures what their imports need, and keeps limits with which "
        "they work. list, show and freeze print environments. update resolves the requirements again and switches the name "
        "in one step; sessions that have the old one keep it. remove removes a name. cached makes an environment without a name for these packages, if it is not there, and prints the name by which --environment finds it. prune removes what `pyexec run --with` "
        "made and nobody uses. Packages are installed with uv, or with pip if uv is not there, from wheels only, "
        "because building a package runs its code outside of any sandbox. The index is the one of your pip or uv.",
    .operands = "create|list|show|update|remove|freeze|cached|prune [NAME] [PACKAGE...]",
    .max_operands = 1000,
    .options = rows,
    .option_count = PX_COUNT(rows),
    .options_size = sizeof(struct env_arguments),
    .run = run,
};
