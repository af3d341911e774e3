/* SPDX-License-Identifier: Apache-2.0 */
/* The virtual environment has no pip of its own: scripts can't use it. A pip from outside installs into it. */
#include "env_build/env_install.h"

#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/buffer.h"
#include "base/cleanup.h"
#include "base/error.h"
#include "base/fds.h"
#include "base/paths.h"
#include "base/retry.h"

#define CONFIGURATION_LONGEST ((size_t)64 << 10)

/* ---- Programs ---- */

static bool take_program(void *closure, const char *program)
{
    char **found = closure;
    *found = strdup(program);
    return true;
}

/* Returns the path of a program for free(), or NULL. */
static char *find_program(const char *name)
{
    char *found = NULL;
    if (strchr(name, '/'))
        return access(name, X_OK) == 0 ? realpath(name, NULL) : NULL;
    px_path_search(name, take_program, &found);
    return found;
}

struct installer {
    char *uv;  /* NULL: pip */
    char *pip; /* the folder of the package pip, when it is needed */
    char tool[ENV_TOOL_MAX];
    struct px_texts environment;
};

static void installer_done(struct installer *installer)
{
    free(installer->uv);
    free(installer->pip);
    px_texts_done(&installer->environment);
}

/* Runs it, and takes the arguments. */
static int run(const struct env_install *install, const struct installer *installer, struct px_texts arguments,
               bool show, struct px_buffer *output, pyexec_error *error)
{
    /* pip takes files, and uv its configuration, from the folder in which it runs: not from that of the caller, which may hold code of
     * others. */
    struct env_command command = {arguments, &installer->environment, install->lock, show, install->folder};
    int status = env_command_run(&command, output, error);
    px_texts_done(&command.arguments);
    return status;
}

static void add_all(struct px_texts *texts, const char *const *items, size_t count)
{
    for (size_t i = 0; i < count; i++)
        px_texts_add(texts, items[i]);
}

/* ---- The virtual environment ---- */

static int make_venv(const struct env_install *install, const struct installer *installer, const char *name,
                     bool with_pip, pyexec_error *error)
{
    px_auto_buffer struct px_buffer output = {0};
    struct px_texts arguments = {0};
    const char *const start[] = {install->python->path, "-I", "-m", "venv", "--symlinks"};
    add_all(&arguments, start, PX_COUNT(start));
    if (!with_pip)
        px_texts_add(&arguments, "--without-pip");
    px_texts_addf(&arguments, "%s/%s", install->folder, name);
    int status = run(install, installer, arguments, false, &output, error);
    if (status <= 0)
        return status;
    px_error_set(error, PYEXEC_PYTHON_UNSUPPORTED, "'%s' can't make a virtual environment: %.600s",
                 install->python->path, px_buffer_shown(&output));
    if (strstr(px_buffer_shown(&output), "No space left")) {
        error->sys_errno = ENOSPC;
        return px_error_hint(error, "The disk is full. `pyexec env remove` and `pyexec env prune` free space.");
    }
    return px_error_hint(error,
                         "Its module venv must be there, on Debian and Ubuntu: apt install python3-venv. uv needs no "
                         "pip; choose another Python with --python.");
}

/* ---- pip ---- */

/* Finds the folder of the interpreter's own pip. Returns 0, or -1 if it has none. */
static int ask_for_pip(const struct env_install *install, struct installer *installer, const char *python,
                       pyexec_error *error)
{
    px_auto_buffer struct px_buffer output = {0};
    struct px_texts arguments = {0};
    const char *const all[] = {
        python, "-I", "-c",
        "import os, pip; print('pyexec-pip', pip.__version__, os.path.dirname(os.path.abspath(pip.__file__)))"};
    add_all(&arguments, all, PX_COUNT(all));
    int status = run(install, installer, arguments, false, &output, error), at = 0;
    char version[32];
    const char *answer = status == 0 ? strstr(px_buffer_shown(&output), "pyexec-pip ") : NULL;
    if (!answer || sscanf(answer, "pyexec-pip %31s %n", version, &at) != 1 || !at)
        return -1;
    installer->pip = strndup(answer + at, strcspn(answer + at, "\n"));
    snprintf(installer->tool, sizeof installer->tool, "pip %s", version);
    return installer->pip ? 0 : -1;
}

/* Debian's interpreter has pip only in virtual environments: then one is made for the time of the installation. */
static int find_pip(const struct env_install *install, struct installer *installer, pyexec_error *error)
{
    if (ask_for_pip(install, installer, install->python->path, error) == 0)
        return 0;
    if (make_venv(install, installer, "tmp/tool", true, error) < 0)
        return -1;
    px_auto_buffer struct px_buffer python = {0};
    px_buffer_printf(&python, "%s/tmp/tool/bin/python", install->folder);
    if (ask_for_pip(install, installer, px_buffer_shown(&python), error) == 0)
        return 0;
    px_error_set(error, PYEXEC_PYTHON_UNSUPPORTED, "'%s' has no pip", install->python->path);
    return px_error_hint(error, "Install uv, or pip for this Python: on Debian and Ubuntu apt install python3-venv.");
}

static struct px_texts pip_arguments(const struct env_install *install, const struct installer *installer)
{
    struct px_texts arguments = {0};
    px_texts_addf(&arguments, "%s/env/venv/bin/python", install->folder);
    px_texts_add(&arguments, "-I");
    px_texts_add(&arguments, installer->pip);
    /* --ignore-installed: this pip may see packages beside its own folder, which the environment does not have. */
    const char *const rest[] = {"install", "--ignore-installed", "--no-warn-script-location", "--progress-bar", "off"};
    add_all(&arguments, rest, PX_COUNT(rest));
    if (!install->requirements->build) {
        px_texts_add(&arguments, "--only-binary");
        px_texts_add(&arguments, ":all:");
    }
    return arguments;
}

/* ---- uv ---- */

/* Returns 0 if it is there and answers. */
static int find_uv(const struct env_install *install, struct installer *installer, pyexec_error *error)
{
    if (!(installer->uv = find_program(install->uv)))
        return -1;
    px_auto_buffer struct px_buffer output = {0};
    struct px_texts arguments = {0};
    px_texts_add(&arguments, installer->uv);
    px_texts_add(&arguments, "--version");
    char version[32] = "";
    if (run(install, installer, arguments, false, &output, error) == 0 &&
        sscanf(px_buffer_shown(&output), "uv %31s", version) == 1) {
        snprintf(installer->tool, sizeof installer->tool, "uv %s", version);
        return 0;
    }
    free(installer->uv);
    installer->uv = NULL;
    return -1;
}

int env_install_check(const char *uv, const char *python, pyexec_error *error)
{
    px_auto_free char *found = find_program(uv);
    px_auto(px_texts_done) struct px_texts environment = {0};
    px_auto_buffer struct px_buffer output = {0};
    struct env_command command = {.environment = &environment, .lock = -1, .folder = "/"};
    /* find_pip() makes a virtual environment if the interpreter has no pip of its own. */
    const char *const all[] = {
        python, "-I", "-c",
        "import importlib.util as u, sys; sys.exit(not (u.find_spec('pip') or (u.find_spec('venv') and u.find_spec('ensurepip'))))"};
    if (found)
        return 0;
    add_all(&command.arguments, all, PX_COUNT(all));
    env_command_environment(&environment, false, NULL);
    int status = env_command_run(&command, &output, error);
    px_texts_done(&command.arguments);
    if (status == 0)
        return 0;
    px_error_set(error, PYEXEC_PYTHON_UNSUPPORTED, "there is no uv, and '%s' has no pip", python);
    return px_error_hint(error, "Install uv, or pip for this Python: on Debian and Ubuntu apt install python3-venv.");
}

/* pip has a variable for its option --no-index, and uv has none. */
static bool wants_no_index(void)
{
    const char *value = getenv("UV_NO_INDEX");
    return value && *value && strcmp(value, "0") != 0 && strcasecmp(value, "false") != 0;
}

static struct px_texts uv_arguments(const struct env_install *install, const struct installer *installer)
{
    struct px_texts arguments = {0};
    /* copy: files that are links to uv's cache could change with it */
    const char *const rest[] = {"pip", "install", "--link-mode", "copy", "--python"};
    px_texts_add(&arguments, installer->uv);
    add_all(&arguments, rest, PX_COUNT(rest));
    px_texts_addf(&arguments, "%s/env/venv/bin/python", install->folder);
    if (!install->requirements->build)
        px_texts_add(&arguments, "--no-build");
    if (wants_no_index())
        px_texts_add(&arguments, "--no-index");
    return arguments;
}

/* ---- Installing ---- */

static int write_file(const char *folder, const char *name, mode_t mode, const struct px_buffer *text,
                      pyexec_error *error)
{
    px_auto_buffer struct px_buffer path = {0};
    px_buffer_printf(&path, "%s/%s", folder, name);
    if (!px_buffer_ok(&path) || !px_buffer_ok(text))
        return px_error_oom(error);
    px_auto_fd int fd = px_open(path.data, O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC, mode);
    if (fd >= 0 && px_write_all(fd, text->data ? text->data : "", text->length) == 0)
        return 0;
    px_error_errno(error, PYEXEC_INTERNAL, errno, "can't write '%s'", path.data);
    return px_error_hint(error,
                         "The folder of environments must have space, and this user must be able to write there.");
}

static int make_folder(const char *folder, const char *name, pyexec_error *error)
{
    px_auto_buffer struct px_buffer path = {0};
    px_buffer_printf(&path, "%s/%s", folder, name);
    if (px_buffer_ok(&path) && mkdir(path.data, 0755) == 0 && chmod(path.data, 0755) == 0)
        return 0;
    px_error_errno(error, PYEXEC_INTERNAL, errno, "can't make '%s'", px_buffer_shown(&path));
    return px_error_hint(error,
                         "The folder of environments must have space, and this user must be able to write there.");
}

/* pip compiles the packages itself. uv would start the interpreter of the environment for it, which runs code of packages at its
 * start (*.pth), outside of any sandbox. -S does not. Files that can't be compiled, such as templates, are left as they are. */
static int compile_packages(const struct env_install *install, const struct installer *installer, pyexec_error *error)
{
    px_auto_buffer struct px_buffer output = {0};
    struct px_texts arguments = {0};
    const char *const start[] = {install->python->path, "-I", "-S", "-m", "compileall", "-q", "-j", "0"};
    add_all(&arguments, start, PX_COUNT(start));
    px_texts_addf(&arguments, "%s/env/venv/lib", install->folder);
    return run(install, installer, arguments, false, &output, error) < 0 ? -1 : 0;
}

static int install_packages(const struct env_install *install, const struct installer *installer, pyexec_error *error)
{
    px_auto_buffer struct px_buffer output = {0};
    struct px_texts arguments = installer->uv ? uv_arguments(install, installer) : pip_arguments(install, installer);
    px_texts_add(&arguments, "-r");
    px_texts_addf(&arguments, "%s/env/requirements.txt", install->folder);
    if (install->requirements->constraints.length) {
        px_texts_add(&arguments, "-c");
        px_texts_addf(&arguments, "%s/env/constraints.txt", install->folder);
    }
    int status = run(install, installer, arguments, install->show, &output, error);
    if (status < 0)
        return -1;
    if (status == 0)
        return installer->uv ? compile_packages(install, installer, error) : 0;
    return env_install_explain(installer->tool, status, px_buffer_shown(&output), error);
}

/* ---- The interpreter of the environment ---- */

/* pyexec starts venv/bin/python outside of any sandbox, with the home that pyvenv.cfg names. */
struct interpreter {
    char program[PATH_MAX];
    struct px_buffer configuration;
};

static void interpreter_done(struct interpreter *interpreter)
{
    px_buffer_done(&interpreter->configuration);
}

static int read_interpreter(const struct env_install *install, struct interpreter *ret, pyexec_error *error)
{
    px_auto_buffer struct px_buffer program = {0}, configuration = {0};
    px_buffer_printf(&program, "%s/env/venv/bin/python", install->folder);
    px_buffer_printf(&configuration, "%s/env/venv/pyvenv.cfg", install->folder);
    if (!px_buffer_ok(&program) || !px_buffer_ok(&configuration))
        return px_error_oom(error);
    px_auto_fd int fd = px_open(configuration.data, O_RDONLY | O_CLOEXEC | O_NOFOLLOW | O_NONBLOCK, 0);
    if (!realpath(program.data, ret->program) || fd < 0 ||
        px_read_all(fd, &ret->configuration, CONFIGURATION_LONGEST) < 0)
        return px_error_errno(error, PYEXEC_INTERNAL, errno, "can't read the interpreter of the virtual environment");
    return 0;
}

/* A wheel may have files for bin/ and for the environment's folder (its folders .data/scripts and .data/data), and installers replace what
 * is there. */
static int check_interpreter(const struct env_install *install, const struct interpreter *before, pyexec_error *error)
{
    px_auto(interpreter_done) struct interpreter after = {0};
    if (read_interpreter(install, &after, error) == 0 && strcmp(after.program, before->program) == 0 &&
        px_buffer_length(&after.configuration) == px_buffer_length(&before->configuration) &&
        memcmp(px_buffer_shown(&after.configuration), px_buffer_shown(&before->configuration),
               px_buffer_length(&after.configuration)) == 0)
        return 0;
    px_error_set(
        error, PYEXEC_INVALID_REQUEST,
        "one of the packages replaces the interpreter of its environment, which would run outside of any sandbox");
    return px_error_hint(error, "Don't use it: honest packages do not do that. Look at who publishes it.");
}

int env_install(const struct env_install *install, char ret_tool[ENV_TOOL_MAX], pyexec_error *error)
{
    px_auto(installer_done) struct installer installer = {0};
    env_command_environment(&installer.environment, install->requirements->build, &install->requirements->variables);
    px_texts_addf(&installer.environment, "TMPDIR=%s/tmp", install->folder);
    if (make_folder(install->folder, "env", error) < 0 || make_folder(install->folder, "tmp", error) < 0 ||
        write_file(install->folder, "env/requirements.txt", 0600, &install->requirements->text, error) < 0 ||
        write_file(install->folder, "env/constraints.txt", 0600, &install->requirements->constraints, error) < 0 ||
        make_venv(install, &installer, "env/venv", false, error) < 0)
        return -1;
    if (find_uv(install, &installer, error) < 0 && find_pip(install, &installer, error) < 0)
        return -1;
    char line[200];
    snprintf(line, sizeof line, "installing with %s and Python %s%s", installer.tool, install->python->version,
             install->requirements->build ? "; packages may be built from source, outside of any sandbox" : "");
    if (install->say)
        install->say(install->closure, line);
    snprintf(ret_tool, ENV_TOOL_MAX, "%s", installer.tool);
    px_auto(interpreter_done) struct interpreter before = {0};
    if (read_interpreter(install, &before, error) < 0 || install_packages(install, &installer, error) < 0)
        return -1;
    return check_interpreter(install, &before, error);
}
