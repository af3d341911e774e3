/* SPDX-License-Identifier: Apache-2.0 */
/* Landlock as the kernel enforces it. Each case is a forked child that enters a domain over
 * the real root and a temporary workspace, and returns 0 or the line that failed. */
#include <arpa/inet.h>
#include <fcntl.h>
#include <netinet/in.h>
#include <signal.h>
#include <stdlib.h>
#include <sys/prctl.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>

#include "base/cleanup.h"
#include "sandbox/forked_test.h"
#include "sandbox/landlock.h"

#define DENIED(call) CHECK((call) == -1 && errno == EACCES)

static char base[] = "/tmp/px-landlock-XXXXXX"; /* contains outside, secret and ws/ */
static struct px_landlock_rules rules;
static struct sockaddr_un abstract; /* an abstract socket outside the domain, with a listener */
static struct sockaddr_in tcp;

static int open_path(const char *path)
{
    int fd = openat(AT_FDCWD, path, O_PATH | O_CLOEXEC);
    assert_true(fd >= 0);
    return fd;
}

static void make_file(const char *path)
{
    px_auto_fd int fd = open(path, O_CREAT | O_WRONLY | O_CLOEXEC, 0644);
    assert_true(fd >= 0);
    assert_int_equal(write(fd, "hello", 5), 5);
}

static int set_up(void **state)
{
    (void)state;
    if (px_landlock_abi() == 0)
        return 0;
    assert_non_null(mkdtemp(base));
    assert_int_equal(chdir(base), 0);
    assert_int_equal(mkdir("ws", 0755), 0);
    assert_int_equal(mkdir("ws/sub", 0755), 0);
    assert_int_equal(symlink("../outside", "ws/link"), 0);
    make_file("outside");
    make_file("ws/file");
    rules = (struct px_landlock_rules){
        .root = open_path("/"), .workspace = open_path("ws"), .workspace_write = true, .abi = px_landlock_abi()};
    return 0;
}

static int tear_down(void **state)
{
    (void)state;
    char command[64];
    snprintf(command, sizeof command, "rm -rf %s", base);
    return px_landlock_abi() == 0 || system(command) == 0 ? 0 : -1;
}

static int enter(const void *with)
{
    return prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0) < 0 ? -1 : px_landlock_enter(with);
}

static void run(const struct px_landlock_rules *with, int (*test)(void))
{
    if (with->abi == 0)
        skip();
    assert_int_equal(forked_status(enter, with, test), 0);
}

/* ---- Files ---- */

static int root_is_read_only(void)
{
    CHECK(open("outside", O_RDONLY) >= 0);
    CHECK(open("/", O_RDONLY | O_DIRECTORY) >= 0);
    DENIED(open("outside", O_WRONLY));
    DENIED(open("outside", O_RDWR | O_APPEND));
    DENIED(open("new", O_CREAT | O_WRONLY, 0600));
    DENIED(mkdir("newdir", 0700));
    DENIED(unlink("outside"));
    DENIED(symlink("x", "newlink"));
    DENIED(open("ws/link", O_WRONLY));
    if (rules.abi >= 3)
        DENIED(truncate("outside", 0));
    DENIED(execl("/bin/true", "true", (char *)NULL));
    return 0;
}

static int devices(void)
{
    CHECK(open("/dev/null", O_RDWR) >= 0);
    CHECK(open("/dev/null", O_WRONLY | O_TRUNC) >= 0);
    CHECK(open("/dev/zero", O_RDWR) >= 0);
    CHECK(open("/dev/full", O_WRONLY) >= 0);
    CHECK(open("/dev/urandom", O_RDONLY) >= 0);
    DENIED(open("/dev/urandom", O_WRONLY));
    return 0;
}

static int workspace_is_writable(void)
{
    int fd = open("ws/a", O_CREAT | O_RDWR | O_TRUNC, 0600);
    CHECK(fd >= 0 && write(fd, "x", 1) == 1 && ftruncate(fd, 0) == 0);
    CHECK(mkdir("ws/d", 0700) == 0 && symlink("a", "ws/s") == 0 && truncate("ws/a", 9) == 0);
    CHECK(rename("ws/a", "ws/b") == 0);
    if (rules.abi >= 2) {
        CHECK(rename("ws/b", "ws/d/c") == 0 && link("ws/d/c", "ws/e") == 0);
        CHECK(rename("ws/d/c", "ws/b") == 0 && unlink("ws/e") == 0);
    }
    CHECK(unlink("ws/b") == 0 && unlink("ws/s") == 0 && rmdir("ws/d") == 0);
    return 0;
}

static int workspace_is_for_files(void)
{
    DENIED(mknod("ws/fifo", S_IFIFO | 0600, 0));
    DENIED(mknod("ws/sock", S_IFSOCK | 0600, 0));
    CHECK(mknod("ws/char", S_IFCHR | 0600, 0x103) == -1);
    CHECK(rename("ws/file", "moved") == -1 && (errno == EACCES || errno == EXDEV));
    CHECK(link("outside", "ws/taken") == -1 && (errno == EACCES || errno == EXDEV));
    CHECK(chmod("ws/file", 0755) == 0);
    DENIED(execl("ws/file", "file", (char *)NULL));
    return 0;
}

static int workspace_is_readable(void)
{
    CHECK(open("ws/file", O_RDONLY) >= 0 && open("ws/sub", O_RDONLY | O_DIRECTORY) >= 0);
    DENIED(open("ws/file", O_WRONLY));
    DENIED(open("ws/new", O_CREAT | O_WRONLY, 0600));
    DENIED(unlink("ws/file"));
    return 0;
}

static int only_workspace(void)
{
    CHECK(open("ws/file", O_RDWR) >= 0);
    DENIED(open("outside", O_RDONLY));
    DENIED(open("/etc/passwd", O_RDONLY));
    DENIED(open("/", O_RDONLY | O_DIRECTORY));
    DENIED(open("/dev/null", O_WRONLY));
    return 0;
}

static int nothing(void)
{
    DENIED(open("ws/file", O_RDONLY));
    DENIED(open("/dev/null", O_RDONLY));
    return 0;
}

static void test_files(void **state)
{
    (void)state;
    run(&rules, root_is_read_only);
    run(&rules, devices);
    run(&rules, workspace_is_writable);
    run(&rules, workspace_is_for_files);
    struct px_landlock_rules other = rules;
    other.workspace_write = false;
    run(&other, workspace_is_readable);
    run(&other, root_is_read_only);
    other = rules;
    other.root = -1;
    run(&other, only_workspace);
    other.workspace = -1;
    run(&other, nothing);
}

/* The rights that an older kernel would be asked for are accepted too. */
static void test_older_abis(void **state)
{
    (void)state;
    struct px_landlock_rules older = rules;
    for (older.abi = 1; older.abi <= rules.abi; older.abi++)
        run(&older, devices);
}

/* When the root has no devices, they get no rules. */
static void test_no_devices(void **state)
{
    (void)state;
    if (rules.abi == 0)
        skip();
    px_auto_fd int root = open_path(".");
    struct px_landlock_rules other = rules;
    other.root = root;
    run(&other, workspace_is_writable);
}

/* ---- Network, signals, sockets ---- */

static int connect_tcp(void)
{
    int fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
    return connect(fd, (const struct sockaddr *)&tcp, sizeof tcp);
}

static int bind_tcp(void)
{
    struct sockaddr_in any = {.sin_family = AF_INET};
    int fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
    return bind(fd, (const struct sockaddr *)&any, sizeof any);
}

static int no_tcp(void)
{
    DENIED(connect_tcp());
    DENIED(bind_tcp());
    return 0;
}

static int all_tcp(void)
{
    CHECK(connect_tcp() == 0);
    CHECK(bind_tcp() == 0);
    return 0;
}

/* The port of another listener, which is not the one that is allowed. */
static uint16_t other_port;

static int one_port(void)
{
    CHECK(connect_tcp() == 0);
    DENIED(bind_tcp());
    tcp.sin_port = other_port;
    DENIED(connect_tcp());
    return 0;
}

static int listen_on(struct sockaddr_in *ret)
{
    int fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
    *ret = (struct sockaddr_in){.sin_family = AF_INET, .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
    socklen_t size = sizeof *ret;
    assert_int_equal(bind(fd, (struct sockaddr *)ret, size), 0);
    assert_int_equal(listen(fd, 4), 0);
    assert_int_equal(getsockname(fd, (struct sockaddr *)ret, &size), 0);
    return fd;
}

static void test_network(void **state)
{
    (void)state;
    if (rules.abi < 4)
        skip();
    struct sockaddr_in second;
    px_auto_fd int listener = listen_on(&tcp);
    px_auto_fd int another = listen_on(&second);
    run(&rules, no_tcp);
    struct px_landlock_rules other = rules;
    other.network = true;
    run(&other, all_tcp);
    other.network = false;
    other.connect_port = ntohs(tcp.sin_port);
    other_port = second.sin_port;
    run(&other, one_port);
}

static int scoped(void)
{
    int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);
    CHECK(connect(fd, (const struct sockaddr *)&abstract, sizeof abstract) == -1 && errno == EPERM);
    CHECK(kill(getppid(), 0) == -1 && errno == EPERM);
    CHECK(kill(getpid(), 0) == 0);
    return 0;
}

/* kill(0, …): a process group can reach outside a PID namespace, but Landlock keeps the signal inside the domain. */
static int group_is_scoped(void)
{
    signal(SIGUSR1, SIG_IGN);
    CHECK(kill(0, SIGUSR1) == 0);
    return 0;
}

static void test_scopes(void **state)
{
    (void)state;
    if (rules.abi < 6)
        skip();
    abstract = (struct sockaddr_un){.sun_family = AF_UNIX};
    snprintf(abstract.sun_path + 1, sizeof abstract.sun_path - 1, "px-landlock-test-%d", getpid());
    px_auto_fd int listener = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);
    assert_int_equal(bind(listener, (struct sockaddr *)&abstract, sizeof abstract), 0);
    assert_int_equal(listen(listener, 4), 0);
    run(&rules, scoped);
    struct px_landlock_rules other = rules;
    other.network = true;
    run(&other, scoped);
    run(&rules, group_is_scoped); /* without the domain SIGUSR1 would end this process */
}

static void test_needs_no_new_privs(void **state)
{
    (void)state;
    if (rules.abi == 0)
        skip();
    pid_t pid = fork();
    assert_true(pid >= 0);
    if (pid == 0) {
        if (geteuid() == 0 && setresuid(65534, 65534, 65534) < 0)
            _exit(2);
        _exit(!(px_landlock_enter(&rules) == -1 && errno == EPERM));
    }
    int status;
    assert_int_equal(waitpid(pid, &status, 0), pid);
    assert_int_equal(status, 0);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_files),   cmocka_unit_test(test_older_abis), cmocka_unit_test(test_no_devices),
        cmocka_unit_test(test_network), cmocka_unit_test(test_scopes),     cmocka_unit_test(test_needs_no_new_privs),
    };
    return cmocka_run_group_tests_name("landlock", tests, set_up, tear_down);
}
