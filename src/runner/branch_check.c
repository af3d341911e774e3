/* SPDX-License-Identifier: Apache-2.0 */
/* What the host reads in /proc about a source before it is forked, and about a branch before it runs. The kernel inherits
 * the filters, the Landlock domain and no_new_privs to every clone, and nothing can remove them. What must be seen is what
 * the new process could have kept: the capabilities in its own user namespace, descriptors, and memory that it shares. */
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <linux/nsfs.h>
#include <poll.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/sysmacros.h>
#include <unistd.h>

#include "base/branches.h"
#include "base/cleanup.h"
#include "base/clock.h"
#include "base/fds.h"
#include "base/retry.h"
#include "runner/branch.h"
#include "runner/family.h"
#include "runner/mount_id.h"

/* PROCMAP_QUERY of <linux/fs.h>, which older headers do not have. */
struct px_procmap_query {
    uint64_t size, flags, address, vma_start, vma_end, vma_flags, vma_page_size, vma_offset, inode;
    uint32_t dev_major, dev_minor, vma_name_size, build_id_size;
    uint64_t vma_name_addr, build_id_addr;
};
#define PX_PROCMAP_QUERY _IOWR('f', 17, struct px_procmap_query)
#define PX_PROCMAP_WRITABLE 0x02
#define PX_PROCMAP_SHARED 0x08
#define PX_PROCMAP_NEXT 0x10

static ssize_t read_proc(pid_t pid, const char *name, char *text, size_t size)
{
    char path[96];
    snprintf(path, sizeof path, "/proc/%d/%s", pid, name);
    return px_read_small_file(AT_FDCWD, path, text, size);
}

static bool read_link(pid_t pid, const char *name, char *text, size_t size)
{
    char path[96];
    snprintf(path, sizeof path, "/proc/%d/%s", pid, name);
    ssize_t n = readlink(path, text, size - 1);
    text[n < 0 ? 0 : n] = '\0';
    return n > 0;
}

/* True if what the link leads to is on the mount of the process's own root. A path alone does not tell: "/" may also be the
 * root of its source, with the source's workspace below it. */
static bool is_on_own_root(pid_t pid, const char *name)
{
    char path[96], root[32];
    uint64_t there, own;
    snprintf(path, sizeof path, "/proc/%d/%s", pid, name);
    snprintf(root, sizeof root, "/proc/%d/root", pid);
    return px_mount_id(AT_FDCWD, path, 0, &there) && px_mount_id(AT_FDCWD, root, 0, &own) && there == own;
}

bool px_branch_pids(pid_t host_pid, pid_t *ret_outer, pid_t *ret_inner)
{
    char text[4096];
    if (read_proc(host_pid, "status", text, sizeof text) < 0)
        return false;
    const char *at = strstr(text, "\nNSpid:");
    *ret_outer = *ret_inner = 0;
    for (at = at ? at + 7 : NULL; at && *at == '\t';) {
        char *end;
        *ret_outer = *ret_inner;
        *ret_inner = (pid_t)strtol(at + 1, &end, 10);
        at = end;
    }
    return *ret_outer > 0;
}

/* A thread that was joined is counted until the kernel has taken it down, so it gets a moment for that. Returns 0 if the process has
 * ended. */
static uint64_t count_threads(const struct px_child *source)
{
    enum { LOOKS = 20 };
    char text[4096];
    uint64_t threads = 0;
    for (int i = 0; i < LOOKS && threads != 1; i++) {
        if (i)
            px_sleep_ns(PX_NS_PER_MS / 10);
        if (read_proc(source->host_pid, "status", text, sizeof text) < 0 || !px_child_alive(source))
            return 0;
        threads = px_number_after(text, "Threads:", 0);
    }
    return threads;
}

int px_branch_check_source(const struct px_child *source, bool checkpoint, pyexec_error *error)
{
    if (!checkpoint && source->member->depth >= PX_FAMILY_DEPTH_MAX) {
        px_error_set(error, PYEXEC_SESSION_NOT_FORKABLE,
                     "the session is a fork of a fork %d times over, which is the most", PX_FAMILY_DEPTH_MAX);
        return px_error_hint(error, "Fork an earlier session of this chain.");
    }
    uint64_t threads = count_threads(source);
    if (threads == 1)
        return 0;
    if (!threads) {
        px_error_set(error, PYEXEC_SESSION_NOT_FORKABLE, "the session's process has ended");
        return px_error_hint(error, "The next call with this id begins a new session.");
    }
    px_error_set(error, PYEXEC_SESSION_NOT_FORKABLE, "the session has %llu threads, and a fork would lose all but one",
                 (unsigned long long)threads);
    return px_error_hint(error,
                         "Let its threads end before the call ends: join them, shut down executors and thread pools.");
}

static int refuse(const char *what, pyexec_error *error)
{
    px_error_set(error, PYEXEC_SESSION_NOT_FORKABLE, "the branch was ended, because it %s", what);
    return px_error_hint(error, "Code in the session has changed how it is forked. Use a new session.");
}

/* These lines must be the same in both processes. */
static bool same_line(const char *left, const char *right, const char *name)
{
    const char *a = strstr(left, name), *b = strstr(right, name);
    if (!a || !b)
        return !a && !b; /* an older kernel has no such line */
    size_t length = strcspn(a + 1, "\n");
    return length == strcspn(b + 1, "\n") && memcmp(a + 1, b + 1, length) == 0;
}

/* True if its current folder is that of its own root. */
static bool is_at_its_root(pid_t pid)
{
    char folder[8];
    return read_link(pid, "cwd", folder, sizeof folder) && strcmp(folder, "/") == 0 &&
           read_link(pid, "root", folder, sizeof folder) && strcmp(folder, "/") == 0 && is_on_own_root(pid, "cwd");
}

static int check_status(const struct px_child *source, const struct px_child *branch, pyexec_error *error)
{
    static const char *const empty[] = {"\nCapInh:\t0000000000000000\n",
                                        "\nCapPrm:\t0000000000000000\n",
                                        "\nCapEff:\t0000000000000000\n",
                                        "\nCapAmb:\t0000000000000000\n",
                                        "\nNoNewPrivs:\t1\n",
                                        "\nThreads:\t1\n",
                                        "\nSeccomp:\t2\n"};
    char was[4096], is[4096];
    if (read_proc(source->host_pid, "status", was, sizeof was) < 0 ||
        read_proc(branch->host_pid, "status", is, sizeof is) < 0)
        return refuse("ended before it was complete", error);
    for (size_t i = 0; i < PX_COUNT(empty); i++)
        if (!strstr(is, empty[i]))
            return refuse(i < 4 ? "kept capabilities" : "does not have all layers of its source", error);
    if (!same_line(was, is, "\nSeccomp_filters:") || !same_line(was, is, "\nUid:") || !same_line(was, is, "\nGid:"))
        return refuse("does not have all layers of its source", error);
    if (!is_at_its_root(branch->host_pid))
        return refuse("kept a folder of its source", error);
    if (!strstr(was, "\nThreads:\t1\n"))
        return refuse("comes from a process with several threads", error);
    return 0;
}

/* True if the user namespace of the branch was made by a clone of the source. Otherwise it is a process of another session. */
static bool is_made_by(const struct px_child *source, const struct px_child *branch)
{
    char inner_path[32], outer_path[32];
    struct stat above, outer;
    snprintf(inner_path, sizeof inner_path, "/proc/%d/ns/user", branch->host_pid);
    snprintf(outer_path, sizeof outer_path, "/proc/%d/ns/user", source->host_pid);
    px_auto_fd int inner = px_open(inner_path, O_RDONLY | O_CLOEXEC, 0);
    px_auto_fd int parent = inner < 0 ? -1 : ioctl(inner, NS_GET_PARENT);
    return parent >= 0 && fstat(parent, &above) == 0 && stat(outer_path, &outer) == 0 && above.st_dev == outer.st_dev &&
           above.st_ino == outer.st_ino;
}

/* A checkpoint has all namespaces of its source. */
static int check_namespaces(const struct px_child *source, const struct px_child *branch, pyexec_error *error)
{
    static const struct {
        const char *name;
        bool own;
    } namespaces[] = {{"ns/user", true}, {"ns/mnt", true},  {"ns/pid", false}, {"ns/pid_for_children", false},
                      {"ns/net", false}, {"ns/ipc", false}, {"ns/uts", false}, {"ns/cgroup", false},
                      {"ns/time", false}};
    char was[64], is[64];
    bool checkpoint = branch->member->checkpoint;
    if (!checkpoint && !is_made_by(source, branch))
        return refuse("comes from another session", error);
    for (size_t i = 0; i < PX_COUNT(namespaces); i++) {
        bool had = read_link(source->host_pid, namespaces[i].name, was, sizeof was);
        bool has = read_link(branch->host_pid, namespaces[i].name, is, sizeof is);
        bool needed = i < 2; /* every kernel shows these two */
        if (had != has || (needed && !has) || (has && (strcmp(was, is) != 0) != (namespaces[i].own && !checkpoint)))
            return refuse("does not have all layers of its source", error);
    }
    return 0;
}

/* The first four descriptors are those that the family's process has just put there. Each other one must be one with which
 * nothing can be done: O_PATH, of the root. */
static bool is_allowed(pid_t pid, const char *number)
{
    char path[64], text[256];
    int fd = atoi(number);
    if (fd < PX_BRANCH_FDS)
        return true;
    snprintf(path, sizeof path, "fd/%d", fd);
    if (!read_link(pid, path, text, sizeof text) || strcmp(text, "/") != 0 || !is_on_own_root(pid, path))
        return false;
    snprintf(path, sizeof path, "fdinfo/%d", fd);
    if (read_proc(pid, path, text, sizeof text) < 0)
        return false;
    const char *flags = strstr(text, "flags:\t");
    return flags && strtoul(flags + 7, NULL, 8) & O_PATH;
}

static int check_descriptors(const struct px_child *branch, pyexec_error *error)
{
    char path[32];
    snprintf(path, sizeof path, "/proc/%d/fd", branch->host_pid);
    DIR *folder = opendir(path);
    if (!folder)
        return px_error_errno(error, PYEXEC_SANDBOX_UNAVAILABLE, errno, "can't see the descriptors of the branch");
    const struct dirent *entry;
    bool allowed = true;
    while (allowed && (entry = readdir(folder)))
        allowed = entry->d_name[0] == '.' || is_allowed(branch->host_pid, entry->d_name);
    closedir(folder);
    return allowed ? 0 : refuse("kept descriptors of its source", error);
}

static dev_t found_device;

static void find_memory_device(void)
{
    struct stat status;
    px_auto_fd int file = memfd_create("device", MFD_CLOEXEC);
    if (file >= 0 && fstat(file, &status) == 0)
        found_device = status.st_dev;
}

/* The kernel's own file system with the shared memory that has no name in the tree. 0: it is not known. */
static dev_t memory_device(void)
{
    static pthread_once_t once = PTHREAD_ONCE_INIT;
    pthread_once(&once, find_memory_device);
    return found_device;
}

/* A shared mapping of a file would be memory of both, and so would be the unchanged pages of a private mapping of a file in
 * the source's workspace. Shared mappings of the read-only tree, which libraries make, can't be written to. Shared memory can be
 * made writable later, if it is not now. */
static int check_memory(const struct px_child *source, const struct px_child *branch, const struct px_branch *how,
                        pyexec_error *error)
{
    char path[32], device[32] = "?", memory[32], folder[PX_WORKSPACE_PATH_MAX + 1];
    struct stat status;
    snprintf(folder, sizeof folder, "%s/", how->shape->workspace_path);
    /* A folder of the host can be on the same file system as the interpreter's libraries. */
    if (source->workspace >= 0 && how->mount < 0 && fstat(source->workspace, &status) == 0)
        snprintf(device, sizeof device, " %02x:%02x ", major(status.st_dev), minor(status.st_dev));
    snprintf(memory, sizeof memory, " %02x:%02x ", major(memory_device()), minor(memory_device()));
    snprintf(path, sizeof path, "/proc/%d/maps", branch->host_pid);
    FILE *file = fopen(path, "re");
    if (!file)
        return px_error_errno(error, PYEXEC_SANDBOX_UNAVAILABLE, errno, "can't see the memory of the branch");
    px_auto_free char *line = NULL;
    size_t size = 0;
    char found[256] = "";
    while (!found[0] && getline(&line, &size, file) > 0) {
        const char *mode = strchr(line, ' ');
        const char *name = strchr(line, '/');
        bool shared = mode && strlen(mode) > 5 && mode[4] == 's' && (mode[2] == 'w' || strstr(mode, memory));
        if (shared || (mode && strstr(mode, device)) || (name && strncmp(name, folder, strlen(folder)) == 0))
            snprintf(found, sizeof found, "%.*s", name ? (int)strcspn(name, "\n") : 9, name ? name : "anonymous");
    }
    bool whole = feof(file) || found[0];
    fclose(file);
    /* The script chose the name. It goes into JSON and to terminals. */
    for (char *at = found; *at; at++)
        if (*at < ' ' || *at == 0x7f)
            *at = '?';
    if (!whole)
        return refuse("ended before it was complete", error);
    if (!found[0])
        return 0;
    px_error_set(error, PYEXEC_SESSION_NOT_FORKABLE,
                 "the session has memory that a branch would share with it: a mapping of '%s'", found);
    return px_error_hint(error, "Close the mapping before the call ends (mmap.close(), del of a numpy.memmap).");
}

int px_branch_user_namespace(const struct px_child *child, struct stat *ret)
{
    char path[32];
    snprintf(path, sizeof path, "/proc/%d/ns/user", child->host_pid);
    return stat(path, ret);
}

static bool has_one_thread(const struct px_child *child)
{
    char path[32];
    struct stat folder;
    snprintf(path, sizeof path, "/proc/%d/task", child->host_pid);
    return stat(path, &folder) == 0 &&
           folder.st_nlink == 3; /* the folder has two links of its own, and one of each thread */
}

/* Since Linux 6.2 the size of the folder is the number of the open descriptors. */
static bool has_only_given_descriptors(const struct px_child *child)
{
    char path[32];
    struct stat folder;
    snprintf(path, sizeof path, "/proc/%d/fd", child->host_pid);
    return stat(path, &folder) == 0 && folder.st_size == PX_BRANCH_FDS;
}

/* True if the process has no shared mapping but those of read-only files. False also if the kernel can't be asked (before Linux 6.11).
 * check_memory() then looks closer, and says which mapping it is. */
static bool shares_no_memory(const struct px_child *child)
{
    char path[32];
    struct px_procmap_query query = {.size = sizeof query, .flags = PX_PROCMAP_NEXT | PX_PROCMAP_SHARED};
    snprintf(path, sizeof path, "/proc/%d/maps", child->host_pid);
    px_auto_fd int maps = px_open(path, O_RDONLY | O_CLOEXEC, 0);
    while (maps >= 0 && ioctl(maps, PX_PROCMAP_QUERY, &query) == 0) {
        if (query.vma_flags & PX_PROCMAP_WRITABLE || makedev(query.dev_major, query.dev_minor) == memory_device())
            return false;
        query.address = query.vma_end;
    }
    return maps >= 0 && errno == ENOENT;
}

int px_branch_check(const struct px_child *source, const struct px_child *branch, const struct px_branch *how,
                    pyexec_error *error)
{
    if (check_status(source, branch, error) < 0 || check_namespaces(source, branch, error) < 0 ||
        check_descriptors(branch, error) < 0)
        return -1;
    bool no_files = source->workspace < 0 && how->mount < 0; /* so there can be no private mapping of one */
    if (!(no_files && shares_no_memory(branch)) && check_memory(source, branch, how, error) < 0)
        return -1;
    return px_child_alive(branch) ? 0 : refuse("ended before it was complete", error);
}

/* A clone without new namespaces has those of its template, its filters, its Landlock domain and no_new_privs, and no capability,
 * because its template has none (credentials(7), seccomp(2), landlock(7), prctl(2)). That was seen when the template was made, as for
 * every branch. What its template can have changed since, by native code, is what the two share: descriptors, memory, and a current
 * folder in the template's workspace; and a second thread could hide descriptors. */
int px_branch_check_test(const struct px_child *template, const struct px_child *test, const struct px_branch *how,
                         const struct stat *user_namespace, pyexec_error *error)
{
    struct stat namespace;
    if (px_branch_user_namespace(test, &namespace) < 0 || namespace.st_ino != user_namespace->st_ino ||
        namespace.st_dev != user_namespace->st_dev)
        return refuse("comes from another session", error);
    if (!has_one_thread(test) || !has_one_thread(template))
        return refuse("comes from a process with several threads", error);
    if (!has_only_given_descriptors(test) && check_descriptors(test, error) < 0)
        return -1;
    if (!shares_no_memory(test) && check_memory(template, test, how, error) < 0)
        return -1;
    if (template->workspace >= 0 && !is_at_its_root(test->host_pid))
        return refuse("kept a folder of its source", error);
    return px_child_alive(test) ? 0 : refuse("ended before it was complete", error);
}

/* True if the process is in the family and no member. */
static bool is_stranger(struct px_family *family, pid_t pid)
{
    char path[32];
    struct stat own;
    snprintf(path, sizeof path, "/proc/%d/ns/pid", pid);
    if (stat(path, &own) < 0 || own.st_dev != family->namespace_device || own.st_ino != family->namespace_inode)
        return false;
    bool member = false;
    pthread_mutex_lock(&family->lock);
    for (struct px_family_member *one = family->members; one && !member; one = one->next)
        member = one->host_pid == pid;
    pthread_mutex_unlock(&family->lock);
    return !member;
}

void px_branch_end_strangers(const struct px_child *source)
{
    struct px_family *family = source->member->family;
    char text[512], path[48];
    snprintf(path, sizeof path, "/proc/self/fdinfo/%d", family->pidfd);
    pid_t first =
        px_read_small_file(AT_FDCWD, path, text, sizeof text) < 0 ? 0 : (pid_t)px_number_after(text, "Pid:", 0);
    DIR *folder = first > 0 ? opendir("/proc") : NULL;
    const struct dirent *entry;
    px_family_hold_births(family);
    while (folder && (entry = readdir(folder))) {
        pid_t pid = (pid_t)atoi(entry->d_name);
        if (pid <= 1 || pid == first)
            continue;
        px_auto_fd int pidfd = (int)syscall(SYS_pidfd_open, pid, 0);
        struct pollfd polled = {pidfd, POLLIN, 0};
        /* The descriptor is opened first, so what is then read is about its process as long as that lives. */
        if (pidfd >= 0 && is_stranger(family, pid) && px_poll(&polled, 1, 0) == 0)
            syscall(SYS_pidfd_send_signal, pidfd, SIGKILL, NULL, 0);
    }
    px_family_end_births(family);
    if (folder)
        closedir(folder);
}
