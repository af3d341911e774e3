/* SPDX-License-Identifier: Apache-2.0 */
/* The Landlock domain of a child, by raw system calls: glibc has no functions for them, and <linux/landlock.h>
 * of Debian 12 ends with ABI 2.
 *
 * Everything that the kernel's ABI knows is handled, which means denied, and then allowed again for the paths
 * below. No file is ever executable; seccomp refuses execve as well. Mapping a library with PROT_EXEC (dlopen)
 * is not a Landlock right and still works. */
#include "sandbox/landlock.h"

#include <errno.h>
#include <fcntl.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "base/cleanup.h"
#include "base/retry.h"

#ifndef SYS_landlock_create_ruleset
#define SYS_landlock_create_ruleset 444 /* the same on all architectures */
#define SYS_landlock_add_rule 445
#define SYS_landlock_restrict_self 446
#endif

/* struct landlock_ruleset_attr. Its size tells the kernel how much of it the caller knows. */
struct ruleset_attr {
    uint64_t handled_access_fs;  /* ABI 1 */
    uint64_t handled_access_net; /* ABI 4 */
    uint64_t scoped;             /* ABI 6 */
};

struct path_beneath_attr {
    uint64_t allowed_access;
    int32_t parent_fd;
} __attribute__((packed));

struct net_port_attr {
    uint64_t allowed_access;
    uint64_t port;
};

#define CREATE_RULESET_VERSION 1u
#define RULE_PATH_BENEATH 1
#define RULE_NET_PORT 2
#define RESTRICT_SELF_LOG_SAME_EXEC_OFF 1u /* ABI 7 */

#define FS_EXECUTE (1ull << 0)
#define FS_WRITE_FILE (1ull << 1)
#define FS_READ_FILE (1ull << 2)
#define FS_READ_DIR (1ull << 3)
#define FS_REMOVE_DIR (1ull << 4)
#define FS_REMOVE_FILE (1ull << 5)
#define FS_MAKE_CHAR (1ull << 6)
#define FS_MAKE_DIR (1ull << 7)
#define FS_MAKE_REG (1ull << 8)
#define FS_MAKE_SOCK (1ull << 9)
#define FS_MAKE_FIFO (1ull << 10)
#define FS_MAKE_BLOCK (1ull << 11)
#define FS_MAKE_SYM (1ull << 12)
#define FS_ABI_1 ((1ull << 13) - 1)
#define FS_REFER (1ull << 13)     /* ABI 2. With ABI 1, links and renames between folders are always denied. */
#define FS_TRUNCATE (1ull << 14)  /* ABI 3 */
#define FS_IOCTL_DEV (1ull << 15) /* ABI 5 */

#define NET_BIND_TCP (1ull << 0)
#define NET_CONNECT_TCP (1ull << 1)
#define SCOPE_ABSTRACT_UNIX_SOCKET (1ull << 0)
#define SCOPE_SIGNAL (1ull << 1)

#define READ (FS_READ_FILE | FS_READ_DIR)
/* No device, socket or FIFO can be made: a workspace does not need them, and a program of the host that opened one
 * would wait. */
#define WRITE \
    (FS_WRITE_FILE | FS_TRUNCATE | FS_REMOVE_DIR | FS_REMOVE_FILE | FS_MAKE_DIR | FS_MAKE_REG | FS_MAKE_SYM | FS_REFER)

int px_landlock_abi(void)
{
    long abi = syscall(SYS_landlock_create_ruleset, NULL, (size_t)0, CREATE_RULESET_VERSION);
    return abi < 0 ? 0 : (int)abi;
}

/* Rights of a newer ABI can't be handled: this code does not know what they mean. */
static uint64_t handled_fs(int abi)
{
    return FS_ABI_1 | (abi >= 2 ? FS_REFER : 0) | (abi >= 3 ? FS_TRUNCATE : 0) | (abi >= 5 ? FS_IOCTL_DEV : 0);
}

static int create_ruleset(const struct px_landlock_rules *rules)
{
    struct ruleset_attr attr = {.handled_access_fs = handled_fs(rules->abi)};
    size_t size = offsetof(struct ruleset_attr, handled_access_net);
    if (rules->abi >= 4) {
        attr.handled_access_net = rules->network ? 0 : NET_BIND_TCP | NET_CONNECT_TCP;
        size = offsetof(struct ruleset_attr, scoped);
    }
    if (rules->abi >= 6) {
        attr.scoped = SCOPE_ABSTRACT_UNIX_SOCKET | SCOPE_SIGNAL;
        size = sizeof attr;
    }
    return (int)syscall(SYS_landlock_create_ruleset, &attr, size, 0u);
}

static int allow(int ruleset, int fd, uint64_t access, int abi)
{
    struct path_beneath_attr attr = {.allowed_access = access & handled_fs(abi), .parent_fd = fd};
    return (int)syscall(SYS_landlock_add_rule, ruleset, RULE_PATH_BENEATH, &attr, 0u);
}

/* A device that does not exist needs no rule. */
static int allow_device(int ruleset, int root, const char *path, int abi)
{
    px_auto_fd int fd = px_openat(root, path, O_PATH | O_NOFOLLOW | O_CLOEXEC, 0);
    if (fd < 0)
        return errno == ENOENT || errno == ENOTDIR ? 0 : -1;
    return allow(ruleset, fd, FS_WRITE_FILE, abi);
}

/* A rule for a file may have only the rights that apply to a file, or landlock_add_rule(2) fails with EINVAL. */
static int allow_path(int ruleset, const char *path, uint64_t access, int abi)
{
    struct stat status;
    px_auto_fd int fd = px_open(path, O_PATH | O_CLOEXEC, 0);
    if (fd < 0 || fstat(fd, &status) < 0)
        return errno == ENOENT || errno == ENOTDIR ? 0 : -1;
    if (!S_ISDIR(status.st_mode))
        access &= FS_READ_FILE;
    return access ? allow(ruleset, fd, access, abi) : 0;
}

static int allow_root(int ruleset, const struct px_landlock_rules *rules)
{
    if (rules->root >= 0 && allow(ruleset, rules->root, READ, rules->abi) < 0)
        return -1;
    for (size_t i = 0; rules->paths && rules->paths[i]; i++)
        if (allow_path(ruleset, rules->paths[i], READ, rules->abi) < 0)
            return -1;
    for (size_t i = 0; rules->folders && rules->folders[i]; i++)
        if (allow_path(ruleset, rules->folders[i], FS_READ_DIR, rules->abi) < 0)
            return -1;
    if (rules->root < 0 && !rules->paths)
        return 0;
    static const char *const writable[] = {"/dev/null", "/dev/zero", "/dev/full"};
    for (size_t i = 0; i < PX_COUNT(writable); i++)
        if (allow_device(ruleset, rules->root, writable[i] + (rules->root >= 0), rules->abi) < 0)
            return -1;
    return 0;
}

static int allow_port(int ruleset, const struct px_landlock_rules *rules)
{
    struct net_port_attr attr = {.allowed_access = NET_CONNECT_TCP, .port = rules->connect_port};
    if (!rules->connect_port || rules->network || rules->abi < 4)
        return 0;
    return (int)syscall(SYS_landlock_add_rule, ruleset, RULE_NET_PORT, &attr, 0u);
}

int px_landlock_enter(const struct px_landlock_rules *rules)
{
    px_auto_fd int ruleset = create_ruleset(rules);
    if (ruleset < 0 || allow_root(ruleset, rules) < 0 || allow_port(ruleset, rules) < 0)
        return -1;
    if (rules->workspace >= 0 &&
        allow(ruleset, rules->workspace, rules->workspace_write ? READ | WRITE : READ, rules->abi) < 0)
        return -1;
    /* The audit log belongs to the host: a script could fill it with its denials. */
    unsigned flags = rules->abi >= 7 ? RESTRICT_SELF_LOG_SAME_EXEC_OFF : 0;
    return (int)syscall(SYS_landlock_restrict_self, ruleset, flags);
}
