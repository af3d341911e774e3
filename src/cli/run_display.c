/* SPDX-License-Identifier: Apache-2.0 */
/* Displays of a run: as text in the script's output, and as files. Names of these files have text of the script only if the type
 * has no known ending, and then only letters, digits and dots. */
#include <ctype.h>
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/cleanup.h"
#include "base/error.h"
#include "base/fds.h"
#include "base/retry.h"
#include "cli/run_command.h"

int run_display_write(void *userdata, const pyexec_display *display)
{
    /* The repr of the last value is printed at the end. */
    for (size_t i = 0; i < pyexec_display_form_count(display) && !pyexec_display_last_value(display); i++) {
        size_t length;
        const char *text = pyexec_display_form_data(display, i, &length);
        if (strcmp(pyexec_display_form_type(display, i), "text/plain") != 0)
            continue;
        int failed = run_stream_write(userdata, 1, text, length);
        return failed ? failed : run_stream_write(userdata, 1, "\n", 1);
    }
    return 0;
}

/* ---- Files ---- */

static const char *const endings[][2] = {
    {"text/plain", "txt"},      {"text/html", "html"},
    {"text/markdown", "md"},    {"text/latex", "tex"},
    {"image/png", "png"},       {"image/jpeg", "jpg"},
    {"image/svg+xml", "svg"},   {"application/json", "json"},
    {"application/pdf", "pdf"}, {"application/javascript", "js"},
};

/* "application/vnd.plotly.v1+json" is "vnd.plotly.v1.json". */
static void add_ending(struct px_buffer *name, const char *mime)
{
    for (size_t i = 0; i < PX_COUNT(endings); i++)
        if (strcmp(endings[i][0], mime) == 0) {
            px_buffer_add_string(name, endings[i][1]);
            return;
        }
    const char *slash = strchr(mime, '/');
    for (const char *c = slash ? slash + 1 : mime; *c; c++)
        px_buffer_add_byte(name, isalnum((unsigned char)*c) ? *c : '.');
}

/* Two types may have the same ending: the second file is then "display-1-2.png". `used` has the endings so far,
 * each between slashes. */
static void add_name(struct px_buffer *name, size_t number, const char *mime, struct px_buffer *used)
{
    px_auto_buffer struct px_buffer ending = {0}, wanted = {0};
    size_t form = 1;
    add_ending(&ending, mime);
    px_buffer_printf(&wanted, "/%s/", px_buffer_shown(&ending));
    for (const char *at = px_buffer_shown(used); (at = strstr(at, px_buffer_shown(&wanted))); at++)
        form++;
    px_buffer_add_string(used, px_buffer_shown(&wanted));
    px_buffer_printf(name, "display-%zu", number);
    if (form > 1)
        px_buffer_printf(name, "-%zu", form);
    px_buffer_printf(name, ".%s", px_buffer_shown(&ending));
}

static int write_form(int folder, size_t number, const struct run_display_form *form, struct px_buffer *used,
                      pyexec_error *error)
{
    px_auto_buffer struct px_buffer name = {0};
    add_name(&name, number, form->type, used);
    if (!px_buffer_ok(&name))
        return px_error_oom(error);
    px_auto_fd int fd =
        px_openat(folder, px_buffer_string(&name), O_WRONLY | O_CREAT | O_EXCL | O_NOFOLLOW | O_CLOEXEC, 0666);
    if (fd >= 0 && px_write_all(fd, form->data, form->length) == 0)
        return 0;
    px_error_errno(error, PYEXEC_INVALID_REQUEST, errno, "--save-display: can't write '%s'", px_buffer_string(&name));
    return px_error_hint(error, "No file is overwritten: give a new or empty folder, on a disk that has space.");
}

/* Writes all forms of the display. The plain text is written only if there is no other form. */
static int write_display(int folder, size_t number, const struct run_shown *display, pyexec_error *error)
{
    px_auto_buffer struct px_buffer used = {0};
    for (size_t i = 0; i < display->count; i++)
        if ((display->count == 1 || strcmp(display->forms[i].type, "text/plain") != 0) &&
            write_form(folder, number, &display->forms[i], &used, error) < 0)
            return -1;
    return 0;
}

int run_displays_save(const char *path, const struct run_outcome *outcome, pyexec_error *error)
{
    if (mkdir(path, 0777) < 0 && errno != EEXIST) {
        px_error_errno(error, PYEXEC_INVALID_REQUEST, errno, "--save-display: can't make '%s'", path);
        return px_error_hint(error, "Use a writable directory, or a new one inside a writable directory.");
    }
    px_auto_fd int folder = px_open(path, O_PATH | O_DIRECTORY | O_CLOEXEC, 0);
    if (folder < 0) {
        px_error_errno(error, PYEXEC_INVALID_REQUEST, errno, "--save-display: can't open '%s'", path);
        return px_error_hint(error, "Give a folder.");
    }
    for (size_t i = 0; i < outcome->display_count; i++)
        if (write_display(folder, i + 1, &outcome->displays[i], error) < 0)
            return -1;
    return 0;
}
