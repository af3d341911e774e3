/* SPDX-License-Identifier: Apache-2.0 */
#include "guest/guard/guard_imports.h"

#include <stdlib.h>
#include <string.h>

#include "base/buffer.h"
#include "base/cleanup.h"
#include "base/spelling.h"
#include "base/utf8.h"
#include "guest/guard/guard.h"
#include "guest/guard/open_files.h"
#include "guest/modules.h"
#include "guest/pyobject_access.h"
#include "guest/tools/guest_tools.h"
#include "guest/traceback/frames.h"

static const struct px_script *run;
static PyObject *real_import;
static PyObject *wrapped_module, *wrapped_import; /* importlib's functions, once importlib is loaded */
static PyObject *name_importlib;
static __thread bool own;  /* true while this thread imports for the sandbox itself */
static __thread int depth; /* how many imports that the policy allowed are running on this thread */

/* Advice on what to use instead of the modules that generated code imports most often. */
static const struct {
    const char *names; /* each with a space before and after it */
    const char *advice;
} advice[] = {
    {" os pathlib shutil glob tempfile fileinput ",
     "File work: use open() with paths inside the working directory, if the policy allows files."},
    {" sys ", "Print with print(), read with input(), and end by reaching the end of the script."},
    {" subprocess multiprocessing signal pty ", "Other processes can't be started: do it in this one."},
    {" requests urllib http httpx aiohttp urllib3 ftplib smtplib ",
     "There is no network by default: put the data into the code or into stdin."},
    {" numpy scipy ", "Use statistics, math, array or plain Python lists."},
    {" pandas polars ", "Use plain lists and dicts, collections and statistics."},
    {" pickle marshal shelve dill ", "Use json."},
    {" secrets ", "Use random.SystemRandom or uuid.uuid4()."},
    {" csv ", "Split lines with str.split(',')."},
    {" typing ", "Leave the annotations out or use the builtin types: list[int], dict[str, int]."},
    {" dataclasses enum abc ", "Write a plain class."},
    {" copy ", "Use list(x), dict(x) or x.copy()."},
    {" threading concurrent asyncio ", "Do it one step after another."},
    {" inspect ", "Use dir() and attributes such as __doc__."},
    {" IPython ", "display() is a builtin here: leave the import out."},
    {" importlib imp runpy ", "Use an import statement with an allowed module."},
    {" io ", "Collect text in a list and join it; for bytes use a bytearray."},
    {" calendar zoneinfo dateutil pytz ",
     "Use datetime: strptime(), weekday(), timedelta, and timezone(timedelta(hours=2)) for the offset of a zone."},
    {" email ",
     "Write or split the text yourself; datetime.strptime(text, '%a, %d %b %Y %H:%M:%S %z') reads its dates."},
    {" html xml bs4 lxml ", "Search the text with re."},
    {" sqlite3 sqlalchemy duckdb ", "Keep the rows in lists and dicts; filter, sort and sum them in Python."},
    {" logging warnings ", "Use print()."},
    {" argparse optparse getopt configparser tomllib yaml ",
     "Put the settings into variables, or read them with json."},
    {" queue ", "Use collections.deque."},
    {" difflib ", "Compare the lines with sets, or pairwise with zip()."},
    {" operator ", "Use a lambda."},
    {" contextlib ", "Use try and finally."},
    {" unittest doctest pytest ", "Use assert statements."},
    {" sklearn statsmodels ", "Use statistics (it has correlation() and linear_regression()), or write the formula."},
    {" sympy ", "Use fractions and math."},
    {" matplotlib seaborn plotly altair PIL cv2 skimage ",
     "No picture can be made without it: print a table, or a chart of text."},
    {" openpyxl xlsxwriter docx pptx reportlab pypdf PyPDF2 pdfplumber fitz ",
     "Such documents can't be read or made without it: print the content as text, CSV or Markdown."},
    {" zipfile tarfile gzip bz2 lzma zlib ", "Nothing can be packed or unpacked without it: use the data as it is."},
    {" platform getpass pwd ", "A script can learn nothing about the machine: leave it out."},
};

static const char *advice_for(const char *name)
{
    char wanted[80];
    if (strlen(name) > sizeof wanted - 3)
        return "";
    wanted[0] = ' ';
    strcpy(wanted + 1, name);
    strcat(wanted, " ");
    for (size_t i = 0; i < PX_COUNT(advice); i++)
        if (strstr(advice[i].names, wanted))
            return advice[i].advice;
    return "";
}

static int by_name(const void *a, const void *b)
{
    return strcmp(*(char *const *)a, *(char *const *)b);
}

/* Returns the set's names in order: "a, b, c". */
static void list_names(struct px_buffer *text, PyObject *set)
{
    Py_ssize_t count = set ? PySet_Size(set) : 0;
    char **names = count > 0 ? calloc((size_t)count, sizeof *names) : NULL;
    PyObject *iterator = names ? PyObject_GetIter(set) : NULL, *item;
    Py_ssize_t n = 0;
    while (iterator && n < count && (item = PyIter_Next(iterator))) {
        struct px_buffer name = {0};
        px_pyobject_text(&name, item, 100);
        names[n++] = px_buffer_take(&name);
        Py_DECREF(item);
    }
    Py_XDECREF(iterator);
    PyErr_Clear();
    for (Py_ssize_t i = 0; i < n; i++)
        if (!names[i])
            n = i;
    if (n)
        qsort(names, (size_t)n, sizeof *names, by_name);
    for (Py_ssize_t i = 0; i < n; i++) {
        if (text->length < 700)
            px_buffer_printf(text, "%s%s", i ? ", " : "", names[i]);
        free(names[i]);
    }
    if (text->length >= 700)
        px_buffer_add_string(text, ", …");
    if (!n)
        px_buffer_add_string(text, "none");
    free(names);
}

static void make_hint(struct px_buffer *hint, const char *name, const char *verdict)
{
    const char *better = advice_for(name);
    px_buffer_printf(hint, "%s%s", better, *better ? " " : "");
    if (strcmp(verdict, "dunder") == 0) {
        px_buffer_add_string(hint, "Names that begin or end with two underscores can't be "
                                   "imported (policy field block_dunder_imports).");
    } else if (run->flags & PX_RUN_FLAG_WHITELIST) {
        px_buffer_add_string(hint, "Allowed modules: ");
        list_names(hint, run->allowed);
        px_buffer_add_string(hint, " (policy fields allowed_imports, use_import_whitelist).");
    } else {
        px_buffer_add_string(hint, "Banned modules: ");
        list_names(hint, run->banned);
        px_buffer_add_string(hint, " (policy field banned_imports).");
    }
}

static int refuse(const char *name, const char *verdict)
{
    struct px_buffer px_auto_buffer hint = {0}, what = {0};
    make_hint(&hint, name, verdict);
    px_buffer_printf(&what, "import %s", name);
    px_guard_deny(PX_DENIAL_IMPORTS, px_buffer_shown(&what), px_buffer_shown(&hint));
    px_auto_object PyObject *message = PyUnicode_FromFormat(
        "import '%s' %s. %s", name, strcmp(verdict, "banned") == 0 ? "banned" : "not allowed", px_buffer_shown(&hint));
    px_auto_object PyObject *module = PyUnicode_FromString(name);
    if (message && module)
        PyErr_SetImportError(message, module, NULL);
    return -1;
}

static bool in_set(PyObject *set, const char *name)
{
    px_auto_object PyObject *key = PyUnicode_FromString(name);
    bool found = set && key && PySet_Contains(set, key) == 1;
    PyErr_Clear();
    return found;
}

bool px_imports_permit(const char *name)
{
    return run->flags & PX_RUN_FLAG_WHITELIST ? in_set(run->allowed, name) : !in_set(run->banned, name);
}

/* Checks whether the script may import this top-level module. Returns 0, or -1 with ImportError set. */
static int check_name(const char *full)
{
    char name[256];
    size_t length = px_utf8_truncate(full, strcspn(full, "."), sizeof name - 1);
    memcpy(name, full, length);
    name[length] = '\0';
    /* The compiler itself reads "from __future__ import …"; the module does nothing. So this is allowed by every
     * policy. */
    if (!*name || strcmp(name, "__future__") == 0)
        return 0;
    if (run->flags & PX_RUN_FLAG_BLOCK_DUNDER && px_name_is_dunder(name))
        return refuse(name, "dunder");
    /* A file of the working directory is part of the script: it may be imported, and its own imports are checked. */
    if (px_tools_has_module(name) || px_imports_permit(name) || px_modules_are_own(run, name))
        return 0;
    return refuse(name, run->flags & PX_RUN_FLAG_WHITELIST ? "not allowed" : "banned");
}

static int check_object(PyObject *name)
{
    struct px_buffer px_auto_buffer text = {0};
    if (!name || !PyUnicode_Check(name))
        return 0; /* the real function raises TypeError */
    px_pyobject_text(&text, name, 1000);
    return check_name(px_buffer_shown(&text));
}

static bool judges(void)
{
    return run && !own;
}

static bool caller_is_script(void)
{
    enum px_owner owner = px_frames_caller();
    return owner == PX_OWNER_SCRIPT || owner == PX_OWNER_NONE;
}

static bool is_loaded(PyObject *name)
{
    if (!name || !PyUnicode_Check(name))
        return true;
    px_auto_object PyObject *module = PyImport_GetModule(name);
    PyErr_Clear();
    return module != NULL;
}

static PyObject *import_module(PyObject *self, PyObject *arguments, PyObject *keywords);
static PyObject *import_dunder(PyObject *self, PyObject *arguments, PyObject *keywords);

static PyMethodDef definitions[] = {
    {"import_module", (PyCFunction)(void (*)(void))import_module, METH_VARARGS | METH_KEYWORDS, NULL},
    {"__import__", (PyCFunction)(void (*)(void))import_dunder, METH_VARARGS | METH_KEYWORDS, NULL},
};

static void wrap(PyObject *module, const char *name, PyMethodDef *definition, PyObject **real)
{
    if (*real)
        return;
    PyObject *function = PyObject_GetAttrString(module, name);
    px_auto_object PyObject *wrapper = function ? PyCFunction_New(definition, NULL) : NULL;
    if (wrapper && PyObject_SetAttrString(module, name, wrapper) == 0)
        *real = function;
    else
        Py_XDECREF(function);
    PyErr_Clear();
}

/* The functions of importlib do not call builtins.__import__, so they are wrapped too. */
static void wrap_importlib(void)
{
    if (wrapped_module && wrapped_import)
        return;
    px_auto_object PyObject *module = PyImport_GetModule(name_importlib);
    PyErr_Clear();
    if (!module)
        return;
    wrap(module, "import_module", &definitions[0], &wrapped_module);
    wrap(module, "__import__", &definitions[1], &wrapped_import);
}

static PyObject *argument(PyObject *arguments, PyObject *keywords, Py_ssize_t index, const char *name)
{
    if (PyTuple_Size(arguments) > index)
        return PyTuple_GetItem(arguments, index);
    return keywords ? PyDict_GetItemString(keywords, name) : NULL;
}

/* Modules that C code imports when it first needs them. C code has no Python frame, so such an import looks like
 * the script's. Examples: dividing large numbers needs _pylong, the syntax of generics needs typing, and pickled
 * data names builtins and _codecs. */
static const char *const c_imports[] = {
    "__main__",    "_ast_unparse", "_bootlocale", "_codecs",  "_io",           "_py_warnings", "_pydatetime",
    "_pylong",     "_strptime",    "_struct",     "abc",      "annotationlib", "builtins",     "codecs",
    "collections", "copy",         "copyreg",     "datetime", "encodings",     "functools",    "io",
    "linecache",   "locale",       "numbers",     "operator", "pyexpat",       "re",           "string.templatelib",
    "struct",      "threading",    "time",        "tokenize", "traceback",     "types",        "typing",
    "unicodedata", "warnings",     "weakref",     "zoneinfo",
};

/* True for "os" when numpy is loaded and the script may use it. ndarray.tofile and numpy.fromfile import os; numpy
 * has it as an attribute anyway. */
static bool is_for_numpy(const char *name)
{
    px_auto_object PyObject *numpy =
        strcmp(name, "os") == 0 && px_imports_permit("numpy") ? px_pyobject_module("numpy") : NULL;
    return numpy != NULL;
}

/* True if the call looks like one of PyImport_Import (Python/import.c): the same globals twice, and an empty list
 * where the import statement passes a tuple or None. A script can imitate this, and then gets only the modules
 * listed here. */
static bool is_c_import(PyObject *arguments, PyObject *name)
{
    struct px_buffer px_auto_buffer text = {0};
    PyObject *from = PyTuple_Size(arguments) == 5 ? PyTuple_GetItem(arguments, 3) : NULL;
    if (!from || !PyList_Check(from) || PyList_Size(from) != 0 ||
        PyTuple_GetItem(arguments, 1) != PyTuple_GetItem(arguments, 2) || !PyUnicode_Check(name))
        return false;
    px_pyobject_text(&text, name, 200);
    for (size_t i = 0; i < PX_COUNT(c_imports); i++)
        if (strcmp(px_buffer_shown(&text), c_imports[i]) == 0)
            return true;
    return is_for_numpy(px_buffer_shown(&text));
}

static PyObject *call_real(PyObject *real, PyObject *arguments, PyObject *keywords)
{
    depth++;
    PyObject *result = PyObject_Call(real, arguments, keywords);
    depth--;
    return result;
}

bool px_imports_running(void)
{
    return own || depth > 0;
}

bool px_imports_permit_object(PyObject *name)
{
    struct px_buffer px_auto_buffer text = {0};
    if (!name || !PyUnicode_Check(name))
        return false;
    px_pyobject_text(&text, name, 1000);
    char top[256];
    const char *full = px_buffer_shown(&text);
    size_t length = px_utf8_truncate(full, strcspn(full, "."), sizeof top - 1);
    memcpy(top, full, length);
    top[length] = '\0';
    return px_imports_permit(top);
}

static PyObject *call_checked(PyObject *real, PyObject *arguments, PyObject *keywords)
{
    PyObject *name = argument(arguments, keywords, 0, "name");
    bool script = caller_is_script() && !is_c_import(arguments, name);
    if (script && check_object(name) < 0)
        return NULL;
    bool loads = !is_loaded(name);
    if (loads)
        px_open_files_import(1);
    PyObject *result = call_real(real, arguments, keywords);
    if (loads) {
        px_open_files_import(-1);
        px_modules_note_import();
    }
    if (script && result)
        wrap_importlib();
    return result;
}

/* In import_module('.path', 'os') the package decides which module is loaded. */
static bool is_relative(PyObject *name)
{
    return name && PyUnicode_Check(name) && PyUnicode_GetLength(name) > 0 && PyUnicode_ReadChar(name, 0) == '.';
}

static PyObject *import_module(PyObject *self, PyObject *arguments, PyObject *keywords)
{
    (void)self;
    if (judges() && is_relative(argument(arguments, keywords, 0, "name")) && caller_is_script() &&
        check_object(argument(arguments, keywords, 1, "package")) < 0)
        return NULL;
    return judges() ? call_checked(wrapped_module, arguments, keywords)
                    : PyObject_Call(wrapped_module, arguments, keywords);
}

static PyObject *import_dunder(PyObject *self, PyObject *arguments, PyObject *keywords)
{
    (void)self;
    return judges() ? call_checked(wrapped_import, arguments, keywords)
                    : PyObject_Call(wrapped_import, arguments, keywords);
}

/* Checks the package of a relative import, which is found as _calc___package__ of importlib finds it. */
static int check_relative(PyObject *globals)
{
    PyObject *package = globals && PyDict_Check(globals) ? PyDict_GetItemString(globals, "__package__") : NULL;
    if ((!package || package == Py_None) && globals && PyDict_Check(globals))
        package = PyDict_GetItemString(globals, "__name__");
    return package && package != Py_None ? check_object(package) : 0;
}

static PyObject *guarded_import(PyObject *self, PyObject *arguments, PyObject *keywords)
{
    (void)self;
    if (!judges())
        return PyObject_Call(real_import, arguments, keywords);
    PyObject *level = argument(arguments, keywords, 4, "level");
    if (level && PyLong_Check(level) && PyLong_AsLong(level) > 0) {
        PyErr_Clear();
        if (caller_is_script() && check_relative(argument(arguments, keywords, 1, "globals")) < 0)
            return NULL;
        return call_real(real_import, arguments, keywords);
    }
    PyErr_Clear();
    return call_checked(real_import, arguments, keywords);
}

static PyMethodDef import_definition = {"__import__", (PyCFunction)(void (*)(void))guarded_import,
                                        METH_VARARGS | METH_KEYWORDS,
                                        "Import a module, as far as the sandbox's policy allows it."};

int px_imports_install(void)
{
    PyObject *builtins = PyEval_GetBuiltins();
    real_import = builtins ? PyDict_GetItemString(builtins, "__import__") : NULL;
    Py_XINCREF(real_import);
    px_auto_object PyObject *wrapper = PyCFunction_New(&import_definition, NULL);
    name_importlib = PyUnicode_InternFromString("importlib");
    if (!real_import || !wrapper || !name_importlib)
        return -1;
    /* If importlib is already loaded, it is wrapped here once for all children. */
    wrap_importlib();
    return PyDict_SetItemString(builtins, "__import__", wrapper);
}

void px_imports_arm(const struct px_script *armed)
{
    /* `depth` must not be reset: a thread of the session may be in the middle of an import. If importlib was
     * loaded after px_imports_install(), the script's first import wraps it; before that import the script cannot
     * reach it. */
    run = armed;
}

PyObject *px_guard_import(const char *name)
{
    /* `own` switches the checks off for this thread only. Other threads of the script still need `run`. */
    bool before = own, lends = run != NULL;
    own = true;
    if (lends)
        px_open_files_import(1);
    PyObject *module = PyImport_ImportModule(name);
    if (lends)
        px_open_files_import(-1);
    own = before;
    return module;
}
