/* SPDX-License-Identifier: Apache-2.0 */
/* The store of environments: names, updates, damage, and who may write there. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/cleanup.h"
#include "base/fds.h"
#include "environments/environment.h"

#define ONE "11111111111111111111111111111111"
#define TWO "22222222222222222222222222222222"

struct fixture {
    char root[32];
    struct px_environments *store;
    const struct px_environment *environment;
    pyexec_error error;
};

static const char *below(const struct fixture *f, const char *path)
{
    static char full[4096];
    snprintf(full, sizeof full, "%s/%s", f->root, path);
    return full;
}

static void move(const struct fixture *f, const char *from, const char *to)
{
    char path[256];
    snprintf(path, sizeof path, "%s/%s", f->root, from);
    assert_int_equal(rename(path, below(f, to)), 0);
}

static void write_file(const struct fixture *f, const char *path, const char *text)
{
    unlink(below(f, path));
    px_auto_fd int fd = open(below(f, path), O_WRONLY | O_CREAT | O_CLOEXEC, 0644);
    assert_true(fd >= 0);
    assert_int_equal(px_write_all(fd, text, strlen(text)), 0);
    assert_int_equal(fchmod(fd, 0644), 0);
}

static void make_folder(const struct fixture *f, const char *path)
{
    assert_int_equal(mkdir(below(f, path), 0755), 0);
    assert_int_equal(chmod(below(f, path), 0755), 0);
}

static void describe_with(const struct fixture *f, const char *hash, const char *members)
{
    char path[128], text[2048];
    snprintf(path, sizeof path, "store/%s/environment.json", hash);
    snprintf(text, sizeof text,
             "{\"format\":1,\"hash\":\"%s\",\"python\":{\"path\":\"venv/bin/python\",\"version\":\"3.11.2\"},%s}", hash,
             members);
    write_file(f, path, text);
}

static void make_environment(const struct fixture *f, const char *hash)
{
    static const char *const folders[] = {"", "/venv", "/venv/bin"};
    char path[128];
    for (size_t i = 0; i < PX_COUNT(folders); i++) {
        snprintf(path, sizeof path, "store/%s%s", hash, folders[i]);
        make_folder(f, path);
    }
    snprintf(path, sizeof path, "store/%s/venv/bin/python", hash);
    assert_int_equal(symlink("/bin/sh", below(f, path)), 0);
    snprintf(path, sizeof path, "store/%s/lock", hash);
    write_file(f, path, "");
    describe_with(f, hash,
                  "\"packages\":[{\"name\":\"pandas\",\"version\":\"2.2.3\"}],\"imports\":[\"pandas\"],"
                  "\"preload\":[\"pandas.core\"],\"limits\":{\"max_threads\":7}");
}

static void name(const struct fixture *f, const char *path, const char *target)
{
    char other[128];
    snprintf(other, sizeof other, "%s/names/new", f->root);
    assert_int_equal(symlink(target, other), 0);
    assert_int_equal(rename(other, below(f, path)), 0);
}

static int setup(void **state)
{
    struct fixture *f = calloc(1, sizeof *f);
    snprintf(f->root, sizeof f->root, "/tmp/pyexec-store-XXXXXX");
    assert_non_null(mkdtemp(f->root));
    assert_int_equal(chmod(f->root, 0755), 0);
    make_folder(f, "names");
    make_folder(f, "store");
    make_environment(f, ONE);
    make_environment(f, TWO);
    name(f, "names/data", "../store/" ONE);
    assert_int_equal(px_environments_new(f->root, &f->store, &f->error), 0);
    *state = f;
    return 0;
}

static int teardown(void **state)
{
    struct fixture *f = *state;
    char command[128];
    px_environments_free(f->store);
    snprintf(command, sizeof command, "chmod -R u+rwx %s && rm -rf %s", f->root, f->root);
    assert_int_equal(system(command), 0); // NOLINT(cert-env33-c)
    free(f);
    return 0;
}

static int get(struct fixture *f, const char *wanted)
{
    f->error = (pyexec_error){0};
    return px_environments_get(f->store, wanted, &f->environment, &f->error);
}

static void require_refused(struct fixture *f, pyexec_code code, const char *text)
{
    assert_int_equal(get(f, "data"), -1);
    if (f->error.code != code || !strstr(f->error.message, text))
        fail_msg("expected %d with '%s': %d %s", (int)code, text, (int)f->error.code, f->error.message);
    assert_true(f->error.hint[0]);
}

static void test_an_environment_is_read_once_and_shared(void **state)
{
    struct fixture *f = *state;
    assert_int_equal(get(f, "data"), 0);
    const struct px_environment *first = f->environment;
    assert_string_equal(first->name, "data");
    assert_string_equal(first->hash, ONE);
    assert_string_equal(first->python, below(f, "store/" ONE "/venv/bin/python"));
    assert_string_equal(first->python_version, "3.11.2");
    assert_int_equal(first->import_count, 1);
    assert_string_equal(first->imports[0], "pandas");
    assert_string_equal(first->preloads[0], "pandas.core");
    assert_int_equal(first->max_threads, 7);
    assert_true(first->timeout_ms == PX_ENVIRONMENT_ABSENT);
    assert_int_equal(get(f, "data"), 0);
    assert_ptr_equal(f->environment, first);
    px_environment_unref(first);
    px_environment_unref(first);
}

static void test_the_next_call_sees_an_update_and_holders_keep_the_old(void **state)
{
    struct fixture *f = *state;
    assert_int_equal(get(f, "data"), 0);
    const struct px_environment *old = f->environment;
    assert_true(px_environment_is_current(old));
    name(f, "names/data", "../store/" TWO);
    assert_false(px_environment_is_current(old));
    assert_int_equal(get(f, "data"), 0);
    assert_string_equal(f->environment->hash, TWO);
    assert_string_equal(old->hash, ONE);
    px_environment_unref(f->environment);
    px_environment_unref(old);
}

static void test_two_names_of_one_environment_have_their_own_names(void **state)
{
    struct fixture *f = *state;
    name(f, "names/other", "../store/" ONE);
    for (int i = 0; i < 2; i++) {
        static const char *const names[] = {"data", "other"};
        assert_int_equal(get(f, names[i]), 0);
        assert_string_equal(f->environment->name, names[i]);
        assert_string_equal(f->environment->hash, ONE);
        px_environment_unref(f->environment);
    }
}

static void test_an_unknown_name_lists_the_names_and_how_to_make_one(void **state)
{
    struct fixture *f = *state;
    assert_int_equal(get(f, "dtaa"), -1);
    assert_int_equal(f->error.code, PYEXEC_INVALID_POLICY);
    assert_non_null(strstr(f->error.hint, "Did you mean 'data'?"));
    assert_int_equal(get(f, "torch"), -1);
    assert_non_null(strstr(f->error.hint, "There are: data."));
    assert_non_null(strstr(f->error.hint, "pyexec env create torch"));
    assert_int_equal(unlink(below(f, "names/data")), 0);
    assert_int_equal(get(f, "data"), -1);
    assert_non_null(strstr(f->error.hint, "There are no environments yet"));
}

static void test_what_is_not_a_name_is_refused_before_a_file_is_touched(void **state)
{
    struct fixture *f = *state;
    static const char *const bad[] = {"",
                                      "..",
                                      ".",
                                      "a/b",
                                      "../store",
                                      "Data",
                                      "a b",
                                      "-a",
                                      "_a",
                                      "a\n",
                                      "aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa"};
    for (size_t i = 0; i < PX_COUNT(bad); i++) {
        assert_int_equal(get(f, bad[i]), -1);
        assert_int_equal(f->error.code, PYEXEC_INVALID_POLICY);
        assert_non_null(strstr(f->error.message, "not a name"));
    }
}

static void test_a_name_that_leads_out_of_the_store_is_refused(void **state)
{
    struct fixture *f = *state;
    static const char below_one[] = "../store/" ONE "/venv", longer[] = "../store/" ONE "0", other[] = "../build/" ONE;
    static const char *const targets[] = {"/etc", "../store/../../etc", below_one, longer, other};
    for (size_t i = 0; i < PX_COUNT(targets); i++) {
        name(f, "names/data", targets[i]);
        require_refused(f, PYEXEC_PYTHON_NOT_FOUND, "is not a link of an environment");
    }
    /* A link in the place of the folder. */
    move(f, "store/" ONE, "moved");
    assert_int_equal(symlink("../moved", below(f, "store/" ONE)), 0);
    name(f, "names/data", "../store/" ONE);
    require_refused(f, PYEXEC_PYTHON_NOT_FOUND, "can't use");
}

static void test_a_folder_that_others_can_write_to_is_refused(void **state)
{
    struct fixture *f = *state;
    static const char *const paths[] = {"", "names", "store", "store/" ONE, "store/" ONE "/venv"};
    for (size_t i = 0; i < 2 * PX_COUNT(paths); i++) {
        const char *path = paths[i / 2];
        assert_int_equal(chmod(below(f, path), i % 2 ? 0775 : 0757), 0);
        require_refused(f, PYEXEC_SANDBOX_UNAVAILABLE, i % 2 ? "a group can write" : "all users can write");
        assert_non_null(strstr(f->error.hint, "chmod go-w"));
        assert_int_equal(chmod(below(f, path), 0755), 0);
    }
    assert_int_equal(chmod(below(f, "store/" ONE "/environment.json"), 0666), 0);
    require_refused(f, PYEXEC_SANDBOX_UNAVAILABLE, "all users can write");
    assert_int_equal(chmod(below(f, "store/" ONE "/environment.json"), 0644), 0);
    assert_int_equal(get(f, "data"), 0);
    px_environment_unref(f->environment);
}

/* The store is then in build/inner. */
static void move_the_store(struct fixture *f)
{
    struct px_environments *store;
    make_folder(f, "build");
    make_folder(f, "build/inner");
    move(f, "names", "build/inner/names");
    move(f, "store", "build/inner/store");
    assert_int_equal(px_environments_new(below(f, "build/inner"), &store, &f->error), 0);
    px_environments_free(f->store);
    f->store = store;
}

static void test_a_store_in_a_folder_that_others_can_write_to_is_refused(void **state)
{
    struct fixture *f = *state;
    move_the_store(f);
    assert_int_equal(chmod(below(f, "build"), 0777), 0);
    require_refused(f, PYEXEC_SANDBOX_UNAVAILABLE, "all users can write");
    assert_int_equal(chmod(below(f, "build"), 01777), 0);
    assert_int_equal(get(f, "data"), 0);
    px_environment_unref(f->environment);
}

/* Only root can give a folder to a group that it is not in. */
static void test_a_store_in_a_folder_that_a_group_can_write_to_is_refused(void **state)
{
    struct fixture *f = *state;
    if (geteuid() != 0)
        skip();
    move_the_store(f);
    assert_int_equal(chown(below(f, "build"), 0, 60123), 0);
    assert_int_equal(chmod(below(f, "build"), 0775), 0);
    require_refused(f, PYEXEC_SANDBOX_UNAVAILABLE, "a group can write");
    assert_int_equal(chmod(below(f, "build"), 01775), 0); /* nobody can rename what another user owns */
    assert_int_equal(get(f, "data"), 0);
    px_environment_unref(f->environment);
    assert_int_equal(chmod(below(f, "build"), 0775), 0);
    assert_int_equal(chown(below(f, "build"), 0, 0), 0); /* root's group */
    assert_int_equal(get(f, "data"), 0);
    px_environment_unref(f->environment);
}

static void test_a_folder_of_another_user_is_refused(void **state)
{
    struct fixture *f = *state;
    if (geteuid() != 0)
        skip();
    static const char *const paths[] = {
        "", "names", "store", "store/" ONE, "store/" ONE "/venv", "store/" ONE "/environment.json"};
    for (size_t i = 0; i < PX_COUNT(paths); i++) {
        assert_int_equal(lchown(below(f, paths[i]), 60123, 60123), 0);
        require_refused(f, PYEXEC_SANDBOX_UNAVAILABLE, "belongs to the user 60123");
        assert_int_equal(lchown(below(f, paths[i]), 0, 0), 0);
    }
}

static void test_a_folder_that_is_gone_is_named(void **state)
{
    struct fixture *f = *state;
    assert_int_equal(get(f, "data"), 0);
    const struct px_environment *held = f->environment;
    int lock;
    move(f, "store/" ONE, "store/gone");
    require_refused(f, PYEXEC_PYTHON_NOT_FOUND, "/store/" ONE "': No such file or directory");
    assert_non_null(strstr(f->error.hint, "pyexec env update data"));
    assert_int_equal(px_environment_lock(held, &lock, &f->error), -1);
    assert_int_equal(f->error.code, PYEXEC_PYTHON_NOT_FOUND);
    px_environment_unref(held);
}

static void test_an_interpreter_that_is_gone_is_named(void **state)
{
    struct fixture *f = *state;
    assert_int_equal(unlink(below(f, "store/" ONE "/venv/bin/python")), 0);
    require_refused(f, PYEXEC_PYTHON_NOT_FOUND, "venv/bin/python': No such file");
}

static void test_what_is_wrong_in_a_description_is_named(void **state)
{
    struct fixture *f = *state;
    static const char *const bad[][2] = {
        {"\"packages\":[]", NULL},
        {"\"packages\":1", "'packages' is not"},
        {"\"packages\":[{\"name\":\"a\"}]", "'packages' is not"},
        {"\"packages\":[],\"imports\":[\"a.b\"]", "'imports' is not"},
        {"\"packages\":[],\"imports\":[\"a;b\"]", "'imports' is not"},
        {"\"packages\":[],\"preload\":[\"a..b\"]", "'preload' is not"},
        {"\"packages\":[],\"limits\":{\"timeout_ms\":0}", "'timeout_ms' is not"},
        {"\"packages\":[],\"limits\":{\"address_space_bytes\":1e9}", "'address_space_bytes' is not"},
        {"\"packages\":[],\"format\":1", "it is not a JSON object"},
        {"\"packages\":[", "it is not a JSON object"},
    };
    for (size_t i = 0; i < PX_COUNT(bad); i++) {
        describe_with(f, ONE, bad[i][0]);
        if (bad[i][1]) {
            require_refused(f, PYEXEC_PYTHON_NOT_FOUND, bad[i][1]);
            continue;
        }
        assert_int_equal(get(f, "data"), 0);
        px_environment_unref(f->environment);
    }
    write_file(f, "store/" ONE "/environment.json", "{\"format\":2}");
    require_refused(f, PYEXEC_PYTHON_NOT_FOUND, "has the format 2");
}

static void test_a_description_above_1_mib_is_refused(void **state)
{
    struct fixture *f = *state;
    px_auto_free char *text = calloc(1, (1 << 20) + 100);
    memset(text, ' ', (1 << 20) + 50);
    write_file(f, "store/" ONE "/environment.json", text);
    require_refused(f, PYEXEC_PYTHON_NOT_FOUND, "environment.json");
}

static void test_the_lock_keeps_the_folder_and_a_removal_keeps_readers_out(void **state)
{
    struct fixture *f = *state;
    assert_int_equal(get(f, "data"), 0);
    int held, other;
    assert_int_equal(px_environment_lock(f->environment, &held, &f->error), 0);
    assert_int_equal(px_environment_lock(f->environment, &other, &f->error), 0);
    px_auto_fd int remover = open(below(f, "store/" ONE "/lock"), O_RDWR | O_CLOEXEC);
    assert_int_equal(px_lock_file(remover, true), -1);
    close(held);
    close(other);
    assert_int_equal(px_lock_file(remover, true), 0);
    assert_int_equal(px_environment_lock(f->environment, &held, &f->error), -1);
    assert_non_null(strstr(f->error.message, "is being removed"));
    px_environment_unref(f->environment);
}

static void test_the_list_shows_damaged_environments_too(void **state)
{
    struct fixture *f = *state;
    px_auto_json json_t *list = NULL;
    name(f, "names/bad", "/etc");
    name(f, "names/cached-" ONE, "../store/" ONE);
    assert_int_equal(px_environments_list(f->store, &list, &f->error), 0);
    assert_int_equal(json_array_size(list), 2);
    const json_t *bad = json_array_get(list, 0), *good = json_array_get(list, 1);
    assert_string_equal(json_string_value(json_object_get(bad, "name")), "bad");
    assert_non_null(strstr(json_string_value(json_object_get(bad, "error")), "is not a link"));
    assert_string_equal(json_string_value(json_object_get(good, "hash")), ONE);
    assert_int_equal(json_array_size(json_object_get(good, "packages")), 1);
}

static void test_a_store_that_is_not_there_has_no_environments(void **state)
{
    struct fixture *f = *state;
    px_auto_json json_t *list = NULL;
    px_environments_free(f->store);
    assert_int_equal(px_environments_new(below(f, "missing"), &f->store, &f->error), 0);
    assert_int_equal(px_environments_list(f->store, &list, &f->error), 0);
    assert_int_equal(json_array_size(list), 0);
    assert_int_equal(get(f, "data"), -1);
    assert_non_null(strstr(f->error.hint, "There are no environments yet"));
}

#define TEST(name) cmocka_unit_test_setup_teardown(name, setup, teardown)

int main(void)
{
    const struct CMUnitTest tests[] = {
        TEST(test_an_environment_is_read_once_and_shared),
        TEST(test_the_next_call_sees_an_update_and_holders_keep_the_old),
        TEST(test_two_names_of_one_environment_have_their_own_names),
        TEST(test_an_unknown_name_lists_the_names_and_how_to_make_one),
        TEST(test_what_is_not_a_name_is_refused_before_a_file_is_touched),
        TEST(test_a_name_that_leads_out_of_the_store_is_refused),
        TEST(test_a_folder_that_others_can_write_to_is_refused),
        TEST(test_a_store_in_a_folder_that_others_can_write_to_is_refused),
        TEST(test_a_store_in_a_folder_that_a_group_can_write_to_is_refused),
        TEST(test_a_folder_of_another_user_is_refused),
        TEST(test_a_folder_that_is_gone_is_named),
        TEST(test_an_interpreter_that_is_gone_is_named),
        TEST(test_what_is_wrong_in_a_description_is_named),
        TEST(test_a_description_above_1_mib_is_refused),
        TEST(test_the_lock_keeps_the_folder_and_a_removal_keeps_readers_out),
        TEST(test_the_list_shows_damaged_environments_too),
        TEST(test_a_store_that_is_not_there_has_no_environments),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
