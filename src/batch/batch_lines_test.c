/* SPDX-License-Identifier: Apache-2.0 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <string.h>
#include <unistd.h>

#include <cmocka.h>

#include "base/fds.h"
#include "batch/batch_lines.h"

static void test_lines_come_one_by_one(void **state)
{
    static const char text[] = "first\n\nlonger than eight\r\nzero\0zero\nlast";
    struct batch_lines lines;
    struct batch_line line;
    (void)state;
    int fd = px_memory_file("lines", text, sizeof text - 1);
    batch_lines_init(&lines, fd, 8);
    const struct {
        const char *text;
        size_t length;
        bool whole, complete;
        off_t offset;
    } wanted[] = {{"first", 5, true, true, 0},
                  {"", 0, true, true, 6},
                  {"longer t", 8, false, true, 7},
                  {"zero\0zer", 8, false, true, 26},
                  {"last", 4, true, false, 36}};
    for (size_t i = 0; i < sizeof wanted / sizeof *wanted; i++) {
        assert_int_equal(batch_lines_next(&lines, &line), 1);
        assert_int_equal(line.number, i + 1);
        assert_int_equal(line.length, wanted[i].length);
        assert_memory_equal(line.text, wanted[i].text, wanted[i].length);
        assert_true(line.whole == wanted[i].whole && line.complete == wanted[i].complete);
        assert_int_equal(line.offset, wanted[i].offset);
    }
    assert_int_equal(batch_lines_next(&lines, &line), 0);
    assert_int_equal(line.offset, sizeof text - 1);
    batch_lines_done(&lines);
    close(fd);
}

static void test_a_line_may_be_longer_than_a_block(void **state)
{
    struct px_buffer text = {0};
    struct batch_lines lines;
    struct batch_line line;
    (void)state;
    for (size_t i = 0; i < 300000; i++)
        px_buffer_add_byte(&text, (char)('a' + i % 26));
    px_buffer_add_string(&text, "\nnext\n");
    int fd = px_memory_file("lines", text.data, text.length);
    batch_lines_init(&lines, fd, 1 << 20);
    assert_int_equal(batch_lines_next(&lines, &line), 1);
    assert_int_equal(line.length, 300000);
    assert_memory_equal(line.text, text.data, 300000);
    assert_int_equal(batch_lines_next(&lines, &line), 1);
    assert_string_equal(line.text, "next");
    assert_int_equal(batch_lines_next(&lines, &line), 0);
    batch_lines_done(&lines);
    px_buffer_done(&text);
    close(fd);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_lines_come_one_by_one),
        cmocka_unit_test(test_a_line_may_be_longer_than_a_block),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
