/* SPDX-License-Identifier: Apache-2.0 */
#include "guest/traceback/advice.h"

#include <ctype.h>
#include <dirent.h>
#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

#include "base/buffer.h"
#include "base/cleanup.h"
#include "base/paths.h"
#include "base/utf8.h"
#include "guest/pyobject_access.h"
#include "guest/traceback/newer.h"
#include "guest/traceback/suggest.h"
#include "guest/traceback/traceback.h"

#define FILES_SHOWN 15
#define FILES_READ 500
#define SHOWN_MAX_BYTES 60

/* ---- Text around the code ---- */

struct line {
    const char *text; /* after the indentation */
    size_t length;    /* without the spaces at the end */
};

static struct line line_at(struct px_source *source, const char *filename, long number)
{
    size_t length = 0;
    const char *text = px_source_line(source, filename, number, &length);
    while (length && isspace((unsigned char)*text)) {
        text++;
        length--;
    }
    while (length && isspace((unsigned char)text[length - 1]))
        length--;
    return (struct line){text ? text : "", length};
}

static bool begins(struct line line, const char *with)
{
    size_t length = strlen(with);
    return line.length >= length && memcmp(line.text, with, length) == 0;
}

/* True for markers that models put around code: <code>, </python>, <|im_end|>, [PYTHON]. */
static bool is_marker(struct line line)
{
    char last = line.length ? line.text[line.length - 1] : 0;
    bool spaced = memchr(line.text, ' ', line.length) != NULL;
    return begins(line, "<|") || (begins(line, "<") && last == '>' && !spaced) || (begins(line, "[/") && last == ']') ||
           begins(line, "[PYTHON]") || begins(line, "[CODE]");
}

/* True for a sentence: three words or more, and no character that is common in code. */
static bool is_prose(struct line line)
{
    size_t words = 0;
    for (size_t i = 0; i < line.length; i++) {
        unsigned char c = (unsigned char)line.text[i];
        if (strchr("=()[]{}\"\\_<>+*@", c))
            return false;
        words += (isalpha(c) || c >= 0x80) && (i == 0 || line.text[i - 1] == ' ');
    }
    bool ends = line.length && strchr(".:!?", line.text[line.length - 1]);
    return words >= 3 && (isupper((unsigned char)line.text[0]) || (ends && isalpha((unsigned char)line.text[0])));
}

static void add_wrapping(struct px_buffer *to, struct px_source *source, const char *filename, long number,
                         const char *message)
{
    size_t length;
    for (long i = 1; px_source_line(source, filename, i, &length); i++)
        if (begins(line_at(source, filename, i), "```")) {
            px_buffer_add_string(to, "Send the code alone, without Markdown's fences and the text around them.");
            return;
        }
    struct line line = line_at(source, filename, number);
    if (is_marker(line))
        px_buffer_printf(to, "Send the code alone, without the marker '%.*s'.",
                         (int)px_utf8_truncate(line.text, line.length, SHOWN_MAX_BYTES), line.text);
    else if (strstr(message, "line continuation") && memmem(line.text, line.length, "\\n", 2))
        px_buffer_add_string(to, "The code has the two characters \\n where lines should end, as if it was escaped "
                                 "twice: send real line breaks.");
    else if (strstr(message, "invalid syntax") && is_prose(line))
        px_buffer_add_string(to, "This line is text, not Python: send the code alone, or put # before the line.");
}

static void add_for_syntax(struct px_buffer *to, PyObject *exception, const char *message, const struct px_script *run,
                           struct px_source *sources)
{
    long number = px_traceback_line(exception, run->filename);
    if (!number)
        return;
    struct line line = line_at(sources, run->filename, number);
    px_auto_buffer struct px_buffer text = {0};
    px_buffer_add(&text, line.text, line.length);
    px_newer_add(to, exception, message, px_buffer_shown(&text));
    if (!to->length)
        add_wrapping(to, sources, run->filename, number, message);
}

/* ---- Files ---- */

struct file {
    char name[256];
    size_t distance;
};

static int by_distance(const void *a, const void *b)
{
    const struct file *one = a, *other = b;
    if (one->distance != other->distance)
        return one->distance < other->distance ? -1 : 1;
    return strcmp(one->name, other->name);
}

/* Returns the names in the working directory, in order. */
static size_t list_files(struct file *files, const char *wanted)
{
    DIR *folder = opendir(".");
    struct dirent *entry;
    size_t count = 0;
    while (folder && count < FILES_READ && (entry = readdir(folder))) {
        if (entry->d_name[0] == '.')
            continue;
        struct file *file = &files[count++];
        snprintf(file->name, sizeof file->name, "%s", entry->d_name);
        file->distance = px_suggest_distance(wanted, file->name);
    }
    if (folder)
        closedir(folder);
    qsort(files, count, sizeof *files, by_distance);
    return count;
}

static void add_name(struct px_buffer *to, const char *name)
{
    px_auto_buffer struct px_buffer clean = {0};
    px_utf8_repair(&clean, name, strlen(name));
    size_t length = px_utf8_truncate(px_buffer_shown(&clean), px_buffer_length(&clean), SHOWN_MAX_BYTES);
    px_buffer_printf(to, "'%.*s'%s", (int)length, px_buffer_shown(&clean),
                     length < px_buffer_length(&clean) ? "…" : "");
}

static void add_files(struct px_buffer *to, const char *path)
{
    const char *slash = strrchr(path, '/');
    px_auto_free struct file *files = calloc(FILES_READ, sizeof *files);
    size_t count = files ? list_files(files, slash ? slash + 1 : path) : 0;
    if (count && files[0].distance != SIZE_MAX) {
        px_buffer_add_string(to, "Did you mean ");
        add_name(to, files[0].name);
        px_buffer_add_string(to, "? ");
    }
    px_buffer_add_string(to, count ? "The working directory has: " : "The working directory is empty");
    for (size_t i = 0; i < count && i < FILES_SHOWN; i++) {
        px_buffer_add_string(to, i ? ", " : "");
        add_name(to, files[i].name);
    }
    if (count > FILES_SHOWN)
        px_buffer_printf(to, ", and %zu more", count - FILES_SHOWN);
    px_buffer_add_byte(to, '.');
}

/* Nothing can be written into a folder that does not exist. */
static void add_missing_folder(struct px_buffer *to, const char *path)
{
    const char *slash = strrchr(path, '/');
    px_auto_buffer struct px_buffer folder = {0};
    struct stat status;
    if (!slash || slash == path)
        return;
    px_buffer_add(&folder, path, (size_t)(slash - path));
    if (folder.failed || stat(px_buffer_shown(&folder), &status) == 0)
        return;
    px_buffer_add_string(to, "The folder ");
    add_name(to, px_buffer_shown(&folder));
    px_buffer_add_string(to, " is not there: to write into it, make it first with os.makedirs(). To read: ");
}

static void add_for_missing_file(struct px_buffer *to, PyObject *exception, const struct px_script *run)
{
    px_auto_buffer struct px_buffer path = {0};
    px_auto_object PyObject *plain = px_pyobject_attribute(exception, px_name.filename);
    if (plain && PyBytes_Check(plain))
        px_buffer_add_string(&path, PyBytes_AsString(plain));
    else if (plain && PyUnicode_Check(plain))
        px_pyobject_text(&path, plain, 4096);
    const char *text = px_buffer_shown(&path);
    bool elsewhere = text[0] == '~' || (text[0] == '/' && !px_path_below(text, run->workspace));
    if (!path.length || run->files == PX_FILES_NONE || elsewhere)
        return;
    if (run->files == PX_FILES_FULL)
        add_missing_folder(to, text);
    add_files(to, text);
    px_buffer_add_string(to, " Pass it in the request's files, or write it first; a single run has no files of "
                             "earlier runs.");
}

/* ---- The module `tools` ---- */

static bool has_tools(const char *folder)
{
    char path[PATH_MAX];
    struct stat status;
    snprintf(path, sizeof path, "%s/tools.py", *folder ? folder : ".");
    if (stat(path, &status) == 0 && S_ISREG(status.st_mode))
        return true;
    path[strlen(path) - strlen(".py")] = '\0';
    return stat(path, &status) == 0 && S_ISDIR(status.st_mode);
}

/* Returns the folder of sys.path with a module `tools`, which the caller's tools hide; NULL: there is none. */
static const char *find_hidden(void)
{
    PyObject *folders = PySys_GetObject("path"); /* borrowed */
    if (has_tools("."))
        return "the working directory";
    for (Py_ssize_t i = 0; folders && PyList_Check(folders) && i < PyList_Size(folders); i++) {
        px_auto_buffer struct px_buffer folder = {0};
        px_pyobject_text(&folder, PyList_GetItem(folders, i), PATH_MAX / 2);
        if (has_tools(px_buffer_shown(&folder)))
            return "sys.path";
    }
    return NULL;
}

static bool lacks_tool(const char *message)
{
    return strstr(message, "module 'tools' has no attribute") || strstr(message, "No module named 'tools.") ||
           (strstr(message, "cannot import name") && strstr(message, "from 'tools'"));
}

static void add_for_hidden_module(struct px_buffer *to, const char *message, const struct px_script *run)
{
    const char *where = run->tools_length && lacks_tool(message) ? find_hidden() : NULL;
    if (where)
        px_buffer_printf(to,
                         "`tools` is the module of the caller's tools here, and hides the module tools of %s: give "
                         "that file another name, such as my_tools.py, and import it.",
                         where);
}

void px_advice_add(struct px_buffer *to, PyObject *exception, const char *message, const struct px_script *run,
                   struct px_source *sources)
{
    if (PyErr_GivenExceptionMatches(exception, PyExc_SyntaxError)) {
        add_for_syntax(to, exception, message, run, sources);
    } else if (PyErr_GivenExceptionMatches(exception, PyExc_FileNotFoundError)) {
        add_for_missing_file(to, exception, run);
    } else {
        add_for_hidden_module(to, message, run);
        if (!to->length)
            px_newer_add(to, exception, message, "");
    }
}
