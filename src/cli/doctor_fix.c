/* SPDX-License-Identifier: Apache-2.0 */
/* pyexec doctor --fix: makes a plan of the changes that give the missing layers back, and carries it out. Each
 * step is one file of this machine, and the plan says how it weakens the machine. In a container nothing is
 * changed; the container's options are printed. It trusts /proc, /etc and the environment of the user who
 * started it. It must never weaken the machine more than the plan says. */
#include "cli/doctor_fix.h"

#include <errno.h>
#include <fcntl.h>
#include <spawn.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/cleanup.h"
#include "base/error.h"
#include "base/fds.h"
#include "base/retry.h"
#include "cli/commands.h"
#include "cli/print.h"

#define SYSCTL_FILE "/etc/sysctl.d/60-pyexec.conf"
#define PROFILE_FILE "/etc/apparmor.d/pyexec-launch"
#define RESTRICTED "/proc/sys/kernel/apparmor_restrict_unprivileged_userns"
#define MANY_USERS "every user of this machine can then make namespaces, which opens more of the kernel's code to them"

/* Settings that forbid namespaces with the value 0, and the value that allows them. */
static const struct {
    const char *name, *path, *value;
} sysctls[] = {
    {"user.max_user_namespaces", "/proc/sys/user/max_user_namespaces", "15000"},
    {"user.max_pid_namespaces", "/proc/sys/user/max_pid_namespaces", "15000"},
    {"user.max_mnt_namespaces", "/proc/sys/user/max_mnt_namespaces", "15000"},
    {"user.max_net_namespaces", "/proc/sys/user/max_net_namespaces", "15000"},
    {"user.max_ipc_namespaces", "/proc/sys/user/max_ipc_namespaces", "15000"},
    {"user.max_uts_namespaces", "/proc/sys/user/max_uts_namespaces", "15000"},
    {"kernel.unprivileged_userns_clone", "/proc/sys/kernel/unprivileged_userns_clone", "1"},
};

struct plan {
    bool sysctl[PX_COUNT(sysctls)];
    bool sysctl_any, profile, drop_in;
    const char *unit; /* NULL: no drop-in is wanted */
    char folder[300], file[340];
};

static bool holds(const char *path, const char *value)
{
    char text[32];
    if (px_read_small_file(AT_FDCWD, path, text, sizeof text) <= 0)
        return false;
    text[strcspn(text, "\n")] = '\0';
    return strcmp(text, value) == 0;
}

static bool exists(const char *path)
{
    return access(path, F_OK) == 0;
}

/* Docker's file alone does not prove it: a virtual machine can be made from an image. Docker mounts /etc/hosts
 * too. */
static bool is_docker(void)
{
    FILE *file = exists("/.dockerenv") ? fopen("/proc/self/mountinfo", "re") : NULL;
    px_auto_free char *line = NULL;
    size_t size = 0;
    bool found = false;
    while (file && !found && getline(&line, &size, file) > 0)
        found = strstr(line, " /etc/hosts ");
    if (file)
        fclose(file);
    return found;
}

/* The options for this kind of container, or NULL outside of one. */
static const char *container_options(void)
{
    if (getenv("KUBERNETES_SERVICE_HOST"))
        return "Kubernetes. Put this into the container's securityContext, with the node's user.max_user_namespaces above 0:\n"
               "    seccompProfile: {type: Unconfined}\n"
               "    appArmorProfile: {type: Unconfined}\n"
               "This weakens the container's own filter of system calls and its AppArmor profile.\n";
    if (exists("/run/.containerenv"))
        return "Podman. Start the container with:\n"
               "    podman run --security-opt seccomp=unconfined --security-opt apparmor=unconfined ...\n"
               "and where SELinux is on with --security-opt label=disable.\n"
               "This weakens the container's own filter of system calls and its security module's profile.\n";
    if (is_docker())
        return "Docker. Start the container with:\n"
               "    docker run --security-opt seccomp=unconfined --security-opt apparmor=unconfined ...\n"
               "This weakens the container's own filter of system calls and its AppArmor profile.\n";
    return NULL;
}

static int print_container(const char *options)
{
    struct px_buffer px_auto_buffer out = {0};
    px_buffer_printf(
        &out,
        "This is a container of %sdocs/deploy.md has a narrower seccomp profile. Where the options can't be "
        "changed: --allow-missing container.\n",
        options);
    int failed = cli_print(&out);
    return failed ? failed : CLI_EXIT_UNSAFE;
}

/* True if the name of a unit is a file name that systemd uses. */
static bool valid_unit(const char *unit)
{
    static const char suffix[] = ".service";
    size_t length = strlen(unit), suffix_length = sizeof suffix - 1;
    return length > suffix_length && length <= 200 && strcmp(unit + length - suffix_length, suffix) == 0 &&
           *unit != '.' &&
           strspn(unit, "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789:_.@-") == length;
}

static int make_plan(struct plan *plan, pyexec_error *error)
{
    for (size_t i = 0; i < PX_COUNT(sysctls); i++)
        plan->sysctl_any |= plan->sysctl[i] = holds(sysctls[i].path, "0");
    plan->profile = holds(RESTRICTED, "1") && !exists(PROFILE_FILE);
    if (!plan->unit)
        return 0;
    if (!valid_unit(plan->unit)) {
        px_error_set(error, PYEXEC_INVALID_REQUEST, "--unit: '%s' is not the name of a systemd service", plan->unit);
        return px_error_hint(error, "Give a name such as my-app.service.");
    }
    snprintf(plan->folder, sizeof plan->folder, "/etc/systemd/system/%s.d", plan->unit);
    snprintf(plan->file, sizeof plan->file, "%s/pyexec-delegate.conf", plan->folder);
    plan->drop_in = !exists(plan->file);
    return 0;
}

static void add_sysctl_lines(struct px_buffer *out, const struct plan *plan, const char *indent)
{
    for (size_t i = 0; i < PX_COUNT(sysctls); i++)
        if (plan->sysctl[i])
            px_buffer_printf(out, "%s%s = %s\n", indent, sysctls[i].name, sysctls[i].value);
}

static void add_plan(struct px_buffer *out, const struct plan *plan)
{
    if (plan->sysctl_any) {
        px_buffer_printf(out, "Write " SYSCTL_FILE " and set now:\n");
        add_sysctl_lines(out, plan, "    ");
        px_buffer_printf(out, "  It weakens: " MANY_USERS ".\n");
    }
    if (plan->profile)
        px_buffer_printf(out, "Write " PROFILE_FILE " and load it with apparmor_parser.\n"
                              "  It weakens: pyexec-launch, and no other program, may make user namespaces again.\n");
    if (plan->drop_in)
        px_buffer_printf(
            out,
            "Write %s with Delegate=memory pids cpu and reload systemd.\n"
            "  It weakens: the service %s may divide its own cgroup. It holds from the service's next start.\n",
            plan->file, plan->unit);
}

static int write_text(const char *path, const struct px_buffer *text, pyexec_error *error)
{
    px_auto_fd int fd = px_open(path, O_WRONLY | O_CREAT | O_TRUNC | O_NOFOLLOW | O_CLOEXEC, 0644);
    if (fd < 0 || px_write_all(fd, text->data, text->length) < 0)
        return px_error_errno(error, PYEXEC_INTERNAL, errno, "can't write '%s'", path);
    return 0;
}

static int run_program(char *const arguments[], pyexec_error *error)
{
    pid_t pid;
    int status = 0, failed = posix_spawnp(&pid, arguments[0], NULL, NULL, arguments, environ);
    if (failed)
        return px_error_errno(error, PYEXEC_INTERNAL, failed, "can't start '%s'", arguments[0]);
    if (px_waitpid(pid, &status, 0) != pid || status != 0)
        return px_error_set(error, PYEXEC_INTERNAL, "'%s' failed with status %d", arguments[0], status);
    return 0;
}

static int make_folder(const char *path, pyexec_error *error)
{
    if (mkdir(path, 0755) < 0 && errno != EEXIST)
        return px_error_errno(error, PYEXEC_INTERNAL, errno, "can't make '%s'", path);
    return 0;
}

static int apply_sysctl(const struct plan *plan, pyexec_error *error)
{
    struct px_buffer px_auto_buffer text = {0};
    px_buffer_printf(&text,
                     "# Written by `pyexec doctor --fix`: its sandboxes are made of namespaces. " MANY_USERS ".\n");
    add_sysctl_lines(&text, plan, "");
    if (make_folder("/etc/sysctl.d", error) < 0 || write_text(SYSCTL_FILE, &text, error) < 0)
        return -1;
    for (size_t i = 0; i < PX_COUNT(sysctls); i++) {
        if (!plan->sysctl[i])
            continue;
        px_auto_fd int fd = px_open(sysctls[i].path, O_WRONLY | O_CLOEXEC, 0);
        if (fd < 0 || px_write_all(fd, sysctls[i].value, strlen(sysctls[i].value)) < 0)
            return px_error_errno(error, PYEXEC_INTERNAL, errno, "can't set '%s'", sysctls[i].name);
    }
    return 0;
}

static int apply_profile(pyexec_error *error)
{
    struct px_buffer px_auto_buffer text = {0};
    const char *folder = getenv("PYEXEC_LIBEXECDIR");
    if (folder && (*folder != '/' || strpbrk(folder, "\"\\\n{}[]()*?^@"))) {
        px_error_set(error, PYEXEC_INVALID_REQUEST, "PYEXEC_LIBEXECDIR: '%s' can't be put into a profile", folder);
        return px_error_hint(error, "Give an absolute path without the characters \"\\{}[]()*?^@.");
    }
    px_buffer_printf(&text,
                     "# Written by `pyexec doctor --fix`: lets pyexec-launch, and nothing else, use user namespaces.\n"
                     "abi <abi/4.0>,\ninclude <tunables/global>\n\n"
                     "profile pyexec-launch \"%s/pyexec-launch\" flags=(unconfined) {\n  userns,\n"
                     "  include if exists <local/pyexec-launch>\n}\n",
                     folder ? folder : "/usr/{local/,}libexec/pyexec");
    if (write_text(PROFILE_FILE, &text, error) < 0)
        return -1;
    if (run_program((char *[]){"apparmor_parser", "-r", PROFILE_FILE, NULL}, error) == 0)
        return 0;
    unlink(PROFILE_FILE); /* otherwise the next plan would think that it is loaded */
    return -1;
}

static int apply_drop_in(const struct plan *plan, pyexec_error *error)
{
    struct px_buffer px_auto_buffer text = {0};
    px_buffer_printf(
        &text, "# Written by `pyexec doctor --fix`: pyexec bounds its runs in cgroups of their own.\n[Service]\n"
               "Delegate=memory pids cpu\n# systemd 254 and later; docs/deploy.md says what older versions need.\n"
               "DelegateSubgroup=main\n");
    if (make_folder(plan->folder, error) < 0 || write_text(plan->file, &text, error) < 0)
        return -1;
    return run_program((char *[]){"systemctl", "daemon-reload", NULL}, error);
}

static int apply(const struct plan *plan, pyexec_error *error)
{
    if (plan->sysctl_any && apply_sysctl(plan, error) < 0)
        return -1;
    if (plan->profile && apply_profile(error) < 0)
        return -1;
    return plan->drop_in ? apply_drop_in(plan, error) : 0;
}

/* True if the user at the terminal says yes. */
static bool is_confirmed(void)
{
    char answer[16] = "";
    if (!isatty(STDIN_FILENO) || cli_write(STDERR_FILENO, "Do this? [y/N] ", 15) < 0)
        return false;
    return px_read(STDIN_FILENO, answer, sizeof answer - 1) > 0 && (answer[0] == 'y' || answer[0] == 'Y');
}

int cli_doctor_fix(bool yes, const char *unit)
{
    pyexec_error error = {0};
    struct plan plan = {.unit = unit};
    const char *options = container_options();
    if (options)
        return print_container(options);
    if (make_plan(&plan, &error) < 0)
        return cli_fail(&error);
    struct px_buffer px_auto_buffer out = {0};
    add_plan(&out, &plan);
    bool nothing = out.length == 0, root = geteuid() == 0;
    if (nothing)
        px_buffer_printf(&out, "No setting of this machine is in the way. `pyexec doctor` says which layers hold.\n");
    else if (!root)
        px_buffer_printf(&out, "Only root can do this: sudo pyexec doctor --fix --yes%s%s\n", unit ? " --unit " : "",
                         unit ? unit : "");
    int failed = cli_print(&out);
    if (failed || nothing)
        return failed;
    if (!root || !(yes || is_confirmed())) {
        if (root)
            cli_say_hint("Nothing was changed. --fix --yes does it.");
        return CLI_EXIT_UNSAFE;
    }
    if (apply(&plan, &error) < 0)
        return cli_fail(&error);
    out.length = 0;
    px_buffer_printf(&out, "Done. `pyexec doctor` says which layers hold now.\n");
    return cli_print(&out);
}
