/* SPDX-License-Identifier: Apache-2.0 */
#include "guest/traceback/newer.h"

#include <ctype.h>
#include <stdio.h>
#include <string.h>

#include "base/cleanup.h"

#define QUOTED_MAX 80

/* A name and the module or type that has it. "" stands for builtins and for modules themselves. */
struct newer_name {
    const char *owner, *name;
    int minor; /* 3.minor is the first version that has it, or the first that no longer has it */
};

static const struct newer_name added[] = {
    {"", "aiter", 10},
    {"", "anext", 10},
    {"", "BaseExceptionGroup", 11},
    {"", "ExceptionGroup", 11},
    {"", "EncodingWarning", 10},
    {"", "PythonFinalizationError", 13},
    {"", "graphlib", 9},
    {"", "tomllib", 11},
    {"", "zoneinfo", 9},
    {"", "annotationlib", 14},
    {"", "compression", 14},
    {"array", "clear", 13},
    {"ast", "unparse", 9},
    {"asyncio", "Barrier", 11},
    {"asyncio", "Runner", 11},
    {"asyncio", "TaskGroup", 11},
    {"asyncio", "timeout", 11},
    {"asyncio", "to_thread", 9},
    {"bytes", "removeprefix", 9},
    {"bytes", "removesuffix", 9},
    {"calendar", "Month", 12},
    {"Counter", "total", 10},
    {"contextlib", "aclosing", 10},
    {"contextlib", "chdir", 11},
    {"copy", "replace", 13},
    {"dataclasses", "KW_ONLY", 10},
    {"datetime", "UTC", 11},
    {"enum", "StrEnum", 11},
    {"enum", "verify", 11},
    {"functools", "cache", 9},
    {"functools", "Placeholder", 14},
    {"heapq", "heappush_max", 14},
    {"inspect", "get_annotations", 10},
    {"int", "bit_count", 10},
    {"itertools", "batched", 12},
    {"itertools", "pairwise", 10},
    {"math", "cbrt", 11},
    {"math", "exp2", 11},
    {"math", "fma", 13},
    {"math", "lcm", 9},
    {"math", "nextafter", 9},
    {"math", "sumprod", 12},
    {"math", "ulp", 9},
    {"operator", "call", 11},
    {"os", "process_cpu_count", 13},
    {"pathlib", "UnsupportedOperation", 13},
    {"PosixPath", "walk", 12},
    {"PosixPath", "is_relative_to", 9},
    {"PosixPath", "hardlink_to", 10},
    {"queue", "ShutDown", 13},
    {"random", "binomialvariate", 12},
    {"random", "randbytes", 9},
    {"re", "NOFLAG", 11},
    {"re", "PatternError", 13},
    {"statistics", "correlation", 10},
    {"statistics", "covariance", 10},
    {"statistics", "kde", 13},
    {"statistics", "linear_regression", 10},
    {"str", "removeprefix", 9},
    {"str", "removesuffix", 9},
    {"sys", "exception", 11},
    {"types", "GenericAlias", 9},
    {"types", "NoneType", 10},
    {"types", "UnionType", 10},
    {"typing", "Annotated", 9},
    {"typing", "assert_never", 11},
    {"typing", "Concatenate", 10},
    {"typing", "dataclass_transform", 11},
    {"typing", "LiteralString", 11},
    {"typing", "Never", 11},
    {"typing", "NotRequired", 11},
    {"typing", "override", 12},
    {"typing", "ParamSpec", 10},
    {"typing", "ReadOnly", 13},
    {"typing", "Required", 11},
    {"typing", "reveal_type", 11},
    {"typing", "Self", 11},
    {"typing", "TypeAlias", 10},
    {"typing", "TypeAliasType", 12},
    {"typing", "TypeGuard", 10},
    {"typing", "TypeIs", 13},
    {"typing", "TypeVarTuple", 11},
    {"typing", "Unpack", 11},
    {"uuid", "uuid7", 14},
    {"warnings", "deprecated", 13},
};

static const struct newer_name removed[] = {
    {"", "asynchat", 12},
    {"", "asyncore", 12},
    {"", "distutils", 12},
    {"", "imp", 12},
    {"", "smtpd", 12},
    {"", "aifc", 13},
    {"", "audioop", 13},
    {"", "cgi", 13},
    {"", "cgitb", 13},
    {"", "chunk", 13},
    {"", "crypt", 13},
    {"", "imghdr", 13},
    {"", "lib2to3", 13},
    {"", "mailcap", 13},
    {"", "msilib", 13},
    {"", "nis", 13},
    {"", "nntplib", 13},
    {"", "ossaudiodev", 13},
    {"", "pipes", 13},
    {"", "sndhdr", 13},
    {"", "spwd", 13},
    {"", "sunau", 13},
    {"", "telnetlib", 13},
    {"", "uu", 13},
    {"", "xdrlib", 13},
    {"collections", "Iterable", 10},
    {"collections", "Mapping", 10},
    {"collections", "MutableMapping", 10},
    {"collections", "Callable", 10},
    {"collections", "Sequence", 10},
    {"collections", "Hashable", 10},
    {"collections", "Set", 10},
    {"fractions", "gcd", 9},
    {"inspect", "getargspec", 11},
    {"asyncio", "coroutine", 11},
    {"configparser", "SafeConfigParser", 12},
    {"locale", "format", 12},
};

/* Messages that an older Python gives for newer forms. */
static const struct {
    const char *message, *form;
    int minor;
} forms[] = {
    {"'type' object is not subscriptable", "A type in brackets, such as list[int],", 9},
    {"for |: 'dict' and 'dict'", "The operator | for dicts", 9},
    {"for |: 'type' and", "A union of types, such as int | None,", 10},
    {"for |: 'NoneType' and 'type'", "A union of types, such as int | None,", 10},
    {"zip() takes no keyword arguments", "zip(..., strict=True)", 10},
    {"got an unexpected keyword argument 'kw_only'", "@dataclass(kw_only=True)", 10},
    {"got an unexpected keyword argument 'slots'", "@dataclass(slots=True)", 10},
    {"f-string: ", "A quote, a backslash or a comment inside the braces of an f-string", 12},
};

static int this_minor(void)
{
    return px_python.version & 0xff;
}

static bool is_newer(int minor)
{
    return this_minor() < minor;
}

static void say_newer(struct px_buffer *to, const char *what, int minor)
{
    bool string = strstr(what, "f-string");
    px_buffer_printf(to, "%s is new in Python 3.%d, and this is Python 3.%d: %s.", what, minor, this_minor(),
                     string ? "inside the braces use other quotes than around the string, "
                              "or put the value into a variable first"
                            : "write it in the older way");
}

/* ---- Names ---- */

/* Copies the next text between single quotes to `ret`. */
static const char *take_quoted(const char *message, char *ret)
{
    const char *start = strchr(message, '\''), *end = start ? strchr(start + 1, '\'') : NULL;
    ret[0] = '\0';
    if (!end || end - start > QUOTED_MAX)
        return "";
    memcpy(ret, start + 1, (size_t)(end - start - 1));
    ret[end - start - 1] = '\0';
    return end + 1;
}

static const struct newer_name *find(const struct newer_name *table, size_t count, const char *owner, const char *name)
{
    const char *dot = strrchr(owner, '.');
    for (size_t i = 0; i < count; i++)
        if (strcmp(table[i].owner, dot ? dot + 1 : owner) == 0 && strcmp(table[i].name, name) == 0)
            return &table[i];
    return NULL;
}

static void add_name(struct px_buffer *to, const char *owner, const char *name)
{
    char whole[2 * QUOTED_MAX + 4];
    snprintf(whole, sizeof whole, "%s%s%s", owner, *owner ? "." : "", name);
    const struct newer_name *found = find(added, PX_COUNT(added), owner, name);
    if (found && is_newer(found->minor)) {
        say_newer(to, whole, found->minor);
        return;
    }
    found = find(removed, PX_COUNT(removed), owner, name);
    if (found && !is_newer(found->minor))
        px_buffer_printf(to, "%s was removed in Python 3.%d, and this is Python 3.%d: use its replacement.", whole,
                         found->minor, this_minor());
}

static void add_missing_name(struct px_buffer *to, PyObject *exception, const char *message)
{
    char first[QUOTED_MAX], second[QUOTED_MAX];
    take_quoted(take_quoted(message, first), second);
    bool missing = PyErr_GivenExceptionMatches(exception, PyExc_ModuleNotFoundError) ||
                   PyErr_GivenExceptionMatches(exception, PyExc_NameError);
    if (missing)
        add_name(to, "", first);
    else if (PyErr_GivenExceptionMatches(exception, PyExc_ImportError))
        add_name(to, second, first);
    else
        add_name(to, first, second);
}

/* ---- Syntax ---- */

/* True for `word`, a name and then `mark`, as in def f[T]. */
static bool has_named(const char *line, const char *word, char mark)
{
    size_t length = strlen(word);
    if (strncmp(line, word, length) != 0)
        return false;
    const char *at = line + length;
    while (isalnum((unsigned char)*at) || *at == '_')
        at++;
    if (at == line + length)
        return false;
    while (mark != '[' && *at == ' ')
        at++;
    return *at == mark;
}

/* True if the braces of an f-string contain the string's own quote, a backslash or a comment. `at` is the
 * character after its first quote. */
static bool braces_hold(const char *at, char quote)
{
    int depth = 0;
    for (; *at && (depth || *at != quote); at++) {
        if (depth && (*at == quote || *at == '\\' || *at == '#'))
            return true;
        if (*at == '{' && !depth && at[1] == '{')
            at++;
        else if (*at == '{')
            depth++;
        else if (*at == '}' && depth)
            depth--;
    }
    return false;
}

static bool has_nested_quotes(const char *line)
{
    for (const char *at = line; (at = strpbrk(at, "fF")); at++) {
        bool begins = at == line || !(isalnum((unsigned char)at[-1]) || at[-1] == '_');
        if (begins && (at[1] == '"' || at[1] == '\'') && braces_hold(at + 2, at[1]))
            return true;
    }
    return false;
}

static bool starts_block(const char *line, const char *word)
{
    return strncmp(line, word, strlen(word)) == 0 && strchr(line, ':');
}

static void add_syntax(struct px_buffer *to, const char *line)
{
    line += strspn(line, " \t");
    if (strncmp(line, "async ", 6) == 0)
        line += 6;
    if (is_newer(10) && (starts_block(line, "match ") || starts_block(line, "case ")))
        say_newer(to, "The match statement", 10);
    else if (is_newer(11) && (starts_block(line, "except*") || starts_block(line, "except *")))
        say_newer(to, "except*", 11);
    else if (is_newer(12) && (has_named(line, "def ", '[') || has_named(line, "class ", '[')))
        say_newer(to, "A type parameter in brackets after the name", 12);
    else if (is_newer(12) && (has_named(line, "type ", '=') || has_named(line, "type ", '[')))
        say_newer(to, "The type statement", 12);
    else if (is_newer(12) && has_nested_quotes(line))
        say_newer(to, "A quote, a backslash or a comment inside the braces of an f-string", 12);
    else if (is_newer(14) && starts_block(line, "except ") && strchr(line, ',') && !strchr(line, '('))
        say_newer(to, "except without parentheses around several types", 14);
}

void px_newer_add(struct px_buffer *to, PyObject *exception, const char *message, const char *line)
{
    if (PyErr_GivenExceptionMatches(exception, PyExc_SyntaxError))
        add_syntax(to, line);
    for (size_t i = 0; i < PX_COUNT(forms) && !to->length; i++)
        if (is_newer(forms[i].minor) && strstr(message, forms[i].message) &&
            (PyErr_GivenExceptionMatches(exception, PyExc_TypeError) ||
             PyErr_GivenExceptionMatches(exception, PyExc_SyntaxError)))
            say_newer(to, forms[i].form, forms[i].minor);
    if (!to->length && (PyErr_GivenExceptionMatches(exception, PyExc_ImportError) ||
                        PyErr_GivenExceptionMatches(exception, PyExc_NameError) ||
                        PyErr_GivenExceptionMatches(exception, PyExc_AttributeError)))
        add_missing_name(to, exception, message);
}
