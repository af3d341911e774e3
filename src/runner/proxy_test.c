/* SPDX-License-Identifier: Apache-2.0 */
/* The host's side of the proxy when its process is killed while another thread sends a packet. The linker puts the functions __wrap_… of this
 * file in the place of the real ones (tests/meson.build). */
#include "runner/proxy.h"

#include <netinet/in.h>
#include <pthread.h>
#include <semaphore.h>
#include <setjmp.h>
#include <signal.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cmocka.h>

#include "base/cleanup.h"
#include "base/json.h"
#include "runner/run.h"

#define WINDOW_SECONDS 2

static sem_t sending, window, sent;
static _Thread_local bool is_late; /* this thread takes long between reading the run's state and sending */
static pid_t process;
static int starts;

/* Knows only "start" as the first packet, as pyexec-egress does. */
static void serve(int fd)
{
    char packet[4096], answer[128];
    bool started = false;
    for (ssize_t n; (n = recv(fd, packet, sizeof packet - 1, 0)) > 0; started = true) {
        packet[n] = '\0';
        const char *run = strstr(packet, "\"run\":");
        int length = 0;
        if (strstr(packet, "\"start\""))
            length = snprintf(answer, sizeof answer, "{\"event\":\"ready\",\"missing\":[]}");
        else if (!started)
            _exit(9);
        else if (run && strstr(packet, "\"open\""))
            length = snprintf(answer, sizeof answer, "{\"event\":\"opened\",\"run\":%d}", atoi(run + 6));
        if (length && send(fd, answer, (size_t)length, 0) < 0)
            break;
    }
    _exit(0);
}

int __wrap_px_launcher_find_program(const char *name, char *path, size_t size, pyexec_error *error);
int __wrap_px_libexec_spawn(pid_t *ret, const char *program, char *const arguments[], char *const environment[],
                            const int descriptors[], size_t count);
int __wrap_json_dump_callback(const json_t *json, json_dump_callback_t callback, void *data, size_t flags);
int __real_json_dump_callback(const json_t *json, json_dump_callback_t callback, void *data, size_t flags);

int __wrap_px_launcher_find_program(const char *name, char *path, size_t size, pyexec_error *error)
{
    (void)error;
    snprintf(path, size, "/%s", name);
    return 0;
}

static void wait_for(sem_t *semaphore)
{
    struct timespec until;
    clock_gettime(CLOCK_REALTIME, &until);
    until.tv_sec += WINDOW_SECONDS;
    sem_timedwait(semaphore, &until);
}

/* The second start waits until the late packet has been sent, if it can be. */
int __wrap_px_libexec_spawn(pid_t *ret, const char *program, char *const arguments[], char *const environment[],
                            const int descriptors[], size_t count)
{
    (void)program, (void)arguments, (void)environment, (void)count;
    if (++starts == 2) {
        sem_post(&window);
        wait_for(&sent);
    }
    process = *ret = fork();
    if (process == 0)
        serve(descriptors[0]);
    return process < 0 ? errno : 0;
}

int __wrap_json_dump_callback(const json_t *json, json_dump_callback_t callback, void *data, size_t flags)
{
    if (is_late) {
        sem_post(&sending);
        wait_for(&window);
    }
    return __real_json_dump_callback(json, callback, data, flags);
}

static void *close_late(void *run)
{
    is_late = true;
    px_proxy_close(run);
    sem_post(&sent);
    return NULL;
}

static void a_packet_about_a_run_does_not_reach_the_next_process_before_its_start(void **state)
{
    (void)state;
    struct px_egress_config config = {0};
    struct px_policy policy = {0};
    const struct px_proxy_options options = {.config = &config, .uid_count = 1};
    const struct px_run_context context = {.policy = &policy};
    struct px_child child = {.listener = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0)};
    struct sockaddr_in any = {.sin_family = AF_INET, .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
    pyexec_error error = {0};
    pthread_t thread;
    assert_int_equal(bind(child.listener, (struct sockaddr *)&any, sizeof any), 0);
    assert_int_equal(listen(child.listener, 1), 0);
    struct px_proxy *proxy = px_proxy_new(&options);
    assert_non_null(proxy);
    if (px_proxy_open(proxy, &child, &context, &error) < 0)
        fail_msg("%s", error.message);
    assert_int_equal(pthread_create(&thread, NULL, close_late, &child.proxy_run), 0);
    wait_for(&sending);
    siginfo_t info;
    assert_true(process > 1);
    assert_int_equal(kill(process, SIGKILL), 0);
    waitid(P_PID, (id_t)process, &info, WEXITED | WNOWAIT); /* fails if the proxy's thread has waited for it already */
    if (px_proxy_start(proxy, &error) < 0)
        fail_msg("%s", error.message);
    assert_int_equal(starts, 2);
    pthread_join(thread, NULL);
    px_proxy_free(proxy);
    px_close_fd(&child.listener);
}

int main(void)
{
    sem_init(&sending, 0, 0);
    sem_init(&window, 0, 0);
    sem_init(&sent, 0, 0);
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_packet_about_a_run_does_not_reach_the_next_process_before_its_start),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
