/* SPDX-License-Identifier: Apache-2.0 */
/* Finds interpreters by running them: only they know their version and their path. */
#include "env_build/env_python.h"

#include <dirent.h>
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "base/buffer.h"
#include "base/cleanup.h"
#include "base/error.h"
#include "base/paths.h"
#include "base/python_versions.h"
#include "env_build/env_command.h"
#include "policy/fields.h"

#define PYTHONS_MAX 64

void env_python_done(struct env_python *python)
{
    free(python->path);
    *python = (struct env_python){0};
}

/* ---- Asking one ---- */

/* -I -S: nothing of the user's own is imported. In a virtual environment it is the interpreter below it. */
static const char question[] =
    "import os,platform,sys,sysconfig\n"
    "exe=getattr(sys,'_base_executable',None) or sys.executable\n"
    "gil=not sysconfig.get_config_var('Py_GIL_DISABLED')\n"
    "print('pyexec-python',platform.python_implementation(),'%d.%d.%d'%sys.version_info[:3],int(gil),os.path.realpath(exe))\n";

/* Runs code, and returns the exit status, or -1. */
static int run(const char *program, const char *code, struct px_buffer *output, pyexec_error *error)
{
    px_auto(px_texts_done) struct px_texts environment = {0};
    struct env_command command = {.environment = &environment, .lock = -1};
    const char *const arguments[] = {program, "-I", "-S", "-c", code};
    env_command_environment(&environment, false, NULL);
    for (size_t i = 0; i < PX_COUNT(arguments); i++)
        px_texts_add(&command.arguments, arguments[i]);
    int status = env_command_run(&command, output, error);
    px_texts_done(&command.arguments);
    return status;
}

/* Returns 0, or -1 if it is not an interpreter that pyexec can use. */
static int ask(const char *program, struct env_python *ret)
{
    pyexec_error error;
    px_auto_buffer struct px_buffer output = {0};
    int status = run(program, question, &output, &error);
    const char *answer = status == 0 ? strstr(px_buffer_shown(&output), "pyexec-python CPython ") : NULL;
    unsigned major, minor, micro, gil;
    int path_at = 0;
    if (!answer ||
        sscanf(answer, "pyexec-python CPython %u.%u.%u %u %n", &major, &minor, &micro, &gil, &path_at) != 4 ||
        !path_at || major != 3 || minor < PX_PYTHON_OLDEST_MINOR || !gil)
        return -1;
    ret->path = strndup(answer + path_at, strcspn(answer + path_at, "\n"));
    snprintf(ret->version, sizeof ret->version, "%u.%u.%u", major, minor, micro);
    if (!ret->path || access(ret->path, X_OK) < 0) {
        env_python_done(ret);
        return -1;
    }
    return 0;
}

/* sys.stdlib_module_names is not enough: Python 3.8 and 3.9 do not have it, and it lacks the modules that a distribution adds.
 * So the names in the folders of the standard library count too. */
static const char modules_question[] =
    "import os,sys,sysconfig\n"
    "names=set(sys.builtin_module_names)|set(getattr(sys,'stdlib_module_names',()))\n"
    "for folder in (sysconfig.get_path('stdlib'),sysconfig.get_path('platstdlib'),sysconfig.get_config_var('DESTSHARED')):\n"
    "    if folder and os.path.isdir(folder): names.update(name.split('.')[0] for name in os.listdir(folder))\n"
    "sys.stdout.write('pyexec-modules '+' '.join(sorted(name for name in names if name.isidentifier() and name.isascii()))+'\\n')\n";

int env_python_modules(const struct env_python *python, struct px_texts *ret, pyexec_error *error)
{
    px_auto_buffer struct px_buffer output = {0};
    int status = run(python->path, modules_question, &output, error);
    char *answer = status == 0 ? strstr(px_buffer_shown(&output), "pyexec-modules ") : NULL;
    if (status < 0)
        return -1;
    if (!answer) {
        px_error_set(error, PYEXEC_INTERNAL, "'%s' does not list its standard library: %.300s", python->path,
                     px_buffer_shown(&output));
        return px_error_hint(error, "Look whether this Python is whole, or choose another one with --python.");
    }
    char *rest = answer + strlen("pyexec-modules ");
    rest[strcspn(rest, "\n")] = '\0';
    for (const char *name; (name = strsep(&rest, " "));)
        px_texts_add(ret, name);
    return ret->failed ? px_error_oom(error) : 0;
}

/* ---- Those that are there ---- */

struct candidates {
    struct env_python items[PYTHONS_MAX];
    size_t count;
};

static void candidates_done(struct candidates *candidates)
{
    for (size_t i = 0; i < candidates->count; i++)
        env_python_done(&candidates->items[i]);
}

/* Returns false, so that a search offers the next one. */
static bool add_program(void *closure, const char *program)
{
    struct candidates *candidates = closure;
    struct env_python found = {0};
    if (candidates->count == PYTHONS_MAX || access(program, X_OK) < 0 || ask(program, &found) < 0)
        return false;
    for (size_t i = 0; i < candidates->count; i++)
        if (strcmp(candidates->items[i].path, found.path) == 0) {
            env_python_done(&found);
            return false;
        }
    candidates->items[candidates->count++] = found;
    return false;
}

/* A path, or a name that is looked up in PATH: then all that have this name. */
static void add_named(struct candidates *candidates, const char *name)
{
    if (strchr(name, '/'))
        add_program(candidates, name);
    else
        px_path_search(name, add_program, candidates);
}

/* uv installs interpreters into folders of its own, as cpython-3.12.1-linux-x86_64-gnu. */
static void add_those_of_uv(struct candidates *candidates)
{
    char root[2048], program[4096];
    const char *own = getenv("UV_PYTHON_INSTALL_DIR"), *data = getenv("XDG_DATA_HOME"), *home = getenv("HOME");
    if (own && *own)
        snprintf(root, sizeof root, "%s", own);
    else if (data && *data == '/')
        snprintf(root, sizeof root, "%s/uv/python", data);
    else
        snprintf(root, sizeof root, "%s/.local/share/uv/python", home ? home : "");
    px_auto_folder DIR *folder = opendir(root);
    for (const struct dirent *entry; folder && (entry = readdir(folder));) {
        if (strncmp(entry->d_name, "cpython-3.", 10) != 0)
            continue;
        snprintf(program, sizeof program, "%s/%s/bin/python3", root, entry->d_name);
        add_program(candidates, program);
    }
}

static void add_all(struct candidates *candidates, const char *default_python)
{
    char name[32];
    if (default_python && *default_python)
        add_named(candidates, default_python);
    add_named(candidates, "python3");
    for (int minor = PX_PYTHON_NEWEST_MINOR; minor >= PX_PYTHON_OLDEST_MINOR; minor--) {
        snprintf(name, sizeof name, "python3.%d", minor);
        add_named(candidates, name);
    }
    add_those_of_uv(candidates);
}

/* ---- Choosing ---- */

static bool is_version(const char *text)
{
    return text[0] >= '0' && text[0] <= '9' && strspn(text, "0123456789.") == strlen(text);
}

/* "3.12" is any 3.12.x; "3" any 3.x. */
static bool has_version(const struct env_python *python, const char *wanted)
{
    size_t length = strlen(wanted);
    return strncmp(python->version, wanted, length) == 0 &&
           (!python->version[length] || python->version[length] == '.');
}

static int refuse(const struct candidates *candidates, const char *what, const char *wanted, pyexec_error *error)
{
    px_auto_buffer struct px_buffer list = {0};
    for (size_t i = 0; i < candidates->count && list.length < 700; i++)
        px_buffer_printf(&list, "%s%s (%s)", i ? ", " : "", candidates->items[i].version, candidates->items[i].path);
    px_error_set(error, PYEXEC_PYTHON_NOT_FOUND, "no Python on this machine %s %.100s", what, wanted);
    return px_error_hint(error,
                         "There are: %s. pyexec takes " PX_PYTHON_VERSIONS
                         ". Install another one from the distribution, or with `uv "
                         "python install`, or give the path of an interpreter: --python /PATH/bin/python3.",
                         px_buffer_length(&list) ? px_buffer_shown(&list) : "none");
}

static int take(struct env_python *from, struct env_python *ret)
{
    *ret = *from;
    *from = (struct env_python){0};
    return 0;
}

static bool take_any(void *closure, const char *program)
{
    (void)closure;
    (void)program;
    return true;
}

static bool is_there(const char *program)
{
    return strchr(program, '/') ? access(program, X_OK) == 0 : px_path_search(program, take_any, NULL);
}

static int find_program(const char *program, struct env_python *ret, pyexec_error *error)
{
    px_auto(candidates_done) struct candidates named = {0};
    add_named(&named, program);
    if (named.count)
        return take(&named.items[0], ret);
    const char *what = is_there(program)      ? "is not a Python that pyexec can use"
                       : strchr(program, '/') ? "is not a program"
                                              : "is not a program in the folders of PATH";
    px_error_set(error, PYEXEC_PYTHON_NOT_FOUND, "'%.200s' %s", program, what);
    return px_error_hint(error, "pyexec needs " PX_PYTHON_VERSIONS
                                ". Install python3, or name another one: --python with a version "
                                "such as 3.12, a path, or a name in PATH.");
}

int env_python_find(const struct env_python_wish *wish, struct env_python *ret, pyexec_error *error)
{
    const char *wanted = wish->python && *wish->python ? wish->python : NULL;
    const char *requires = wish->requires && *wish->requires ? wish->requires : NULL;
    bool valid = true;
    if (requires)
        env_python_satisfies("3.8.0", requires, &valid);
    if (!valid) {
        char shown[PX_SHOWN_MAX];
        px_error_set(error, PYEXEC_INVALID_REQUEST, "requires-python: %s can't be read",
                     px_show(requires, strlen(requires), shown));
        return px_error_hint(error, "Write version specifiers such as >=3.11 or >=3.9,<3.13.");
    }
    if (wanted && !is_version(wanted))
        return find_program(wanted, ret, error);
    if (!wanted && !requires)
        return find_program(wish->default_python && *wish->default_python ? wish->default_python : "python3", ret,
                            error);
    px_auto(candidates_done) struct candidates all = {0};
    add_all(&all, wish->default_python);
    for (size_t i = 0; i < all.count; i++)
        if ((!wanted || has_version(&all.items[i], wanted)) &&
            (!requires || env_python_satisfies(all.items[i].version, requires, &valid)))
            return take(&all.items[i], ret);
    return wanted ? refuse(&all, "is version", wanted, error)
                  : refuse(&all, "satisfies requires-python", requires, error);
}
