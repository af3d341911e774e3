/* SPDX-License-Identifier: Apache-2.0 */
/* Hints for the model that reads the result: what to do next. They follow from the status, and from error types
 * whose usual cause in a sandbox is known. */
#include <inttypes.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/cleanup.h"
#include "result/result.h"

/* A rule matches when each of its texts that is not NULL is found in its place. The first rule that matches gives
 * the hint. In a hint, {field} stands for the policy's value. */
struct hint_rule {
    const char *type;    /* the whole type; a rule for all errors of a type comes after the special ones */
    const char *message; /* a part of the message */
    const char *source;  /* a part of the script's innermost line; "^…": how the line begins */
    const char *hint;
    enum {
        ALWAYS,
        ISOLATED,
        NOT_ISOLATED,
        NO_FILES,
        READ_ONLY,
        NO_NETWORK,
        BY_NAME,
        MEMORY_LIMITED,
        USAGE_PRINTED,
        NO_FILE_NAMED
    } when;
};

#define NOT_A_NOTEBOOK "This is plain Python, not a notebook or a shell: "
#define NO_INSTALLING NOT_A_NOTEBOOK "leave the line out. Nothing can be installed; use the modules that are available."
#define IS_COROUTINE "It is a coroutine: await it; that works at the top level too."
#define UNFINISHED "The code ends too early, or a quote or bracket before this line is not closed: send the whole code."
#define NAME_FIRST \
    "Define or import it first: a run does not have the names of other runs, and a session has only those of its " \
    "own calls."
#define NO_DISPLAY "There is no display: print results, or save a figure to a file in the working directory."
#define NO_PROCESSES \
    "Other processes, and the locks between them, are not available: do the work in this " \
    "process, or with concurrent.futures.ThreadPoolExecutor and threading.Lock; with torch, use " \
    "DataLoader(num_workers=0)."
#define MISSING_FILE \
    "It is not in the working directory: pass it in the request's files, write it first, or correct the name; " \
    "to write it, make its folder first with os.makedirs()."
#define READING_ONLY "This policy allows reading only (policy field allow_readonly_open): "
#define NO_FONTS "The fonts of a system are not available here: "
#define TEXT_COLUMN \
    "A column has text: leave the column out (numeric_only=True, df.select_dtypes('number')), or make " \
    "numbers of it with pd.to_numeric(df[c], errors='coerce') or pd.get_dummies()."
#define MISSING_VALUES "Values are missing: drop them with df.dropna(), or fill them with df.fillna(value)."
#define TWO_DIMENSIONS "Give X as a table, df[['a']] with two brackets, or as x.reshape(-1, 1)."
#define TOO_LITTLE_TO_LOAD \
    "The library does not fit into {address_space_bytes} bytes of address space (address_space_bytes): ask " \
    "for more, or use a smaller library."
#define NO_BROWSER \
    "A static image of it needs a browser, which is not available: show it with fig.show(), write it with " \
    "fig.write_html('plot.html'), or draw it with matplotlib."
#define OWN_MODULE \
    "Put your own module into the working directory if the script may read files; otherwise put its code " \
    "into the script."
#define CRASHED "The interpreter or an extension module crashed. Avoid ctypes and deep native recursion."
#define NO_EXCEL \
    "The package for Excel files is not installed, and nothing can be installed from a script: use " \
    "df.to_csv() and pd.read_csv()."
#define OUTSIDE \
    "Only files inside the working directory can be used, and written only if the policy allows " \
    "it (disable_open, allow_readonly_open)."

#define OVER_THE_PROXY \
    "This script reaches only the hosts of allowed_hosts, and those over a proxy: use an HTTP client that follows the " \
    "variables HTTPS_PROXY and HTTP_PROXY, such as urllib.request, requests or httpx; aiohttp does with " \
    "ClientSession(trust_env=True)."

#define UNKNOWN_AUTHORITY \
    "The server's certificate is from an authority that this run does not trust. An operator can add the authority's " \
    "certificate: ca_file in the section [egress] of the configuration."

/* Rules that are tried before the interpreter's own suggestion. */
static const struct hint_rule rules[] = {
    {"NameError", "name 'get_ipython'", NULL, NOT_A_NOTEBOOK "leave it out.", ALWAYS},
    {"NameError", "name '__file__'", NULL, "The script is not a file: use paths relative to the working directory.",
     ALWAYS},
    {"NameError", "name 'null'", NULL, "JSON's null, true and false are None, True and False in Python.", ALWAYS},
    {"NameError", "name 'true'", NULL, "JSON's null, true and false are None, True and False in Python.", ALWAYS},
    {"NameError", "name 'false'", NULL, "JSON's null, true and false are None, True and False in Python.", ALWAYS},
    {"NameError", "name 'np'", NULL, "Import it first: import numpy as np.", ALWAYS},
    {"NameError", "name 'pd'", NULL, "Import it first: import pandas as pd.", ALWAYS},
    {"NameError", "name 'plt'", NULL, "Import it first: import matplotlib.pyplot as plt.", ALWAYS},
    {"ImportError", "import '__main__' not allowed", "from .",
     "The script is not a package, so relative imports fail: put the code into the script.", ALWAYS},
    {"SyntaxError", NULL, "^!", NO_INSTALLING, ALWAYS},
    {"SyntaxError", NULL, "pip install", NO_INSTALLING, ALWAYS},
    {"SyntaxError", NULL, "^%", NOT_A_NOTEBOOK "leave the line out.", ALWAYS},
    {"SyntaxError", "'return' outside", NULL,
     "A script can't return a value: make the value its last expression, or print it.", ALWAYS},
    {"SyntaxError", "outside async function", NULL,
     "Write `async def` for the function around it; at the top level await works as it is.", ALWAYS},
    {"SyntaxError", "was never closed", NULL, UNFINISHED, ALWAYS},
    {"SyntaxError", "unterminated", NULL, UNFINISHED, ALWAYS},
    {"SyntaxError", "EOF while scanning", NULL, UNFINISHED, ALWAYS},
    {"SyntaxError", "unexpected EOF", NULL, UNFINISHED, ALWAYS},
    {"SyntaxError", "invalid character", NULL, "Use plain ASCII quotes, dashes and spaces in code.", ALWAYS},
    {"SyntaxError", "invalid non-printable character", NULL, "Use plain ASCII quotes, dashes and spaces in code.",
     ALWAYS},
    {"SyntaxError", "in call to 'print'", NULL, "This is Python 3: print(...).", ALWAYS},
    {"IndentationError", NULL, NULL, "Indent each block by four spaces more than its first line, and nothing else.",
     ALWAYS},
    {"TabError", NULL, NULL, "Indent with spaces only, four for each level.", ALWAYS},
    {"SyntaxError", "f-string: ", NULL,
     "Look at the braces of the f-string: each { needs its }, and a literal brace is written twice.", ALWAYS},
    {"UnboundLocalError", NULL, NULL,
     "It is assigned in this function, so it is local here: pass it as an argument, or declare it "
     "global or nonlocal.",
     ALWAYS},
    {"UnicodeDecodeError", NULL, NULL,
     "The file has another encoding, or is not text: open it with encoding='latin-1', or 'rb' for bytes.", ALWAYS},
    {"AttributeError", "module 'datetime' has no attribute", NULL,
     "Its class has the same name: write `from datetime import datetime`, or datetime.datetime.", ALWAYS},
    {"AttributeError", "'DataFrame' object has no attribute 'append'", NULL,
     "pandas 2 has no append(): use pd.concat([a, b], ignore_index=True).", ALWAYS},
    {"AttributeError", "Can only use .dt accessor", NULL,
     "The column has text: convert it first, df[c] = pd.to_datetime(df[c]), or read it with pd.read_csv(..., "
     "parse_dates=[c]).",
     ALWAYS},
    {"AttributeError", "Can only use .str accessor", NULL, "The column does not have text: use df[c].astype(str).str.",
     ALWAYS},
    {"AttributeError", "'DataFrame' object has no attribute 'iteritems'", NULL, "Use df.items().", ALWAYS},
    {"AttributeError", "'DataFrame' object has no attribute 'ix'", NULL, "Use df.loc[labels] or df.iloc[positions].",
     ALWAYS},
    {"AttributeError", "'DataFrame' object has no attribute 'applymap'", NULL, "Use df.map(function).", ALWAYS},
    {"AttributeError", "was a deprecated alias for the builtin", NULL,
     "Use Python's own int, float, bool, object or str, or np.int64, np.float64, np.bool_.", ALWAYS},
    {"AttributeError", "module 'numpy' has no attribute 'trapz'", NULL, "Use np.trapezoid().", ALWAYS},
    {"TypeError", "fillna() got an unexpected keyword argument 'method'", NULL, "Use df.ffill() or df.bfill().",
     ALWAYS},
    {"TypeError", "Only valid with DatetimeIndex", NULL,
     "Convert and set the index first: df[c] = pd.to_datetime(df[c]); df = df.set_index(c).", ALWAYS},
    {"TypeError", " with string dtype", NULL, TEXT_COLUMN, ALWAYS},
    {"TypeError", "dtype 'str' does not support operation", NULL, TEXT_COLUMN, ALWAYS},
    {"TypeError", "agg function failed", NULL, TEXT_COLUMN, ALWAYS},
    {"ValueError", "could not convert string to float", ".fit", TEXT_COLUMN, ALWAYS},
    {"ValueError", "could not convert string to float", "astype", TEXT_COLUMN, ALWAYS},
    {"ValueError", "could not convert string to float", NULL,
     "This text is not a number: clean it first, as with strip() and replace(',', ''), or leave it out.", ALWAYS},
    {"ValueError", "invalid literal for int()", "astype", TEXT_COLUMN, ALWAYS},
    {"ValueError", "contains NaN", NULL, MISSING_VALUES, ALWAYS},
    {"IntCastingNaNError", NULL, NULL, MISSING_VALUES, ALWAYS},
    {"ValueError", "truth value of a", NULL,
     "Write & for and, | for or, ~ for not, and each comparison in parentheses: df[(df.a > 1) & (df.b < 2)]; in an "
     "if use .any() or .all().",
     ALWAYS},
    {"ValueError", "Expected a 2-dimensional container", NULL, TWO_DIMENSIONS, ALWAYS},
    {"ValueError", "Expected 2D array", NULL, TWO_DIMENSIONS, ALWAYS},
    {"ValueError", "You are trying to merge on", NULL, "Give both keys one type first: df[c] = df[c].astype(str).",
     ALWAYS},
    {"ValueError", "Index contains duplicate entries", NULL,
     "Use pivot_table(..., aggfunc=...), where aggfunc says what to do with duplicates.", ALWAYS},
    {"ValueError", "Invalid frequency", NULL,
     "Use pandas' current names: 'ME', 'QE', 'YE' (ends) or 'MS' (start), and small 'h', 'min', 's'.", ALWAYS},
    {"ValueError", "doesn't match format", NULL,
     "pd.to_datetime(..., format='mixed', dayfirst=...) reads mixed dates; errors='coerce' makes the others NaT.",
     ALWAYS},
    {"ValueError", "must have same first dimension", NULL, "Give x and y of one length: print len() of both.", ALWAYS},
    {"ValueError", "operands could not be broadcast", NULL, "Print the .shape of both.", ALWAYS},
    {"OSError", "is not a valid package style", NULL,
     "Print plt.style.available; leave plt.style.use() out, or use 'seaborn-v0_8' or 'ggplot'.", ALWAYS},
    {"ImportError", "has been removed from scikit-learn", NULL,
     "Use a data set that scikit-learn contains: load_iris, load_wine, load_breast_cancer, load_diabetes or "
     "load_digits.",
     ALWAYS},
    {"ModuleNotFoundError", "'openpyxl'", NULL, NO_EXCEL, ALWAYS},
    {"ModuleNotFoundError", "'tkinter'", NULL, NO_DISPLAY, ALWAYS},
    {"ModuleNotFoundError", "'xlsxwriter'", NULL, NO_EXCEL, ALWAYS},
    {"ModuleNotFoundError", "'seaborn'", NULL,
     "seaborn is not installed for this python_bin, and nothing can be installed from a script: draw it with "
     "matplotlib.pyplot.",
     NOT_ISOLATED},
    {"ImportError", "Import tabulate", NULL, "Nothing can be installed here: use df.to_string().", ALWAYS},
    {"ImportError", "Import openpyxl", NULL, NO_EXCEL, ALWAYS},
    {"ImportError", "pip, conda", NULL,
     "An optional package is missing, and nothing can be installed from a script: do it without.", ALWAYS},
    {"RuntimeError", "changed size during iteration", NULL, "Loop over a copy of it: for x in list(...).", ALWAYS},
    {"RuntimeError", "running event loop", NULL,
     "Use await, which works at the top level too: `await main()`. asyncio.run() works only where no "
     "loop runs.",
     ALWAYS},
    {"RuntimeError", "can't start new thread", NULL,
     "{max_threads} threads may run at once (max_threads), and their stacks must fit into "
     "{address_space_bytes} bytes of address space (address_space_bytes): use fewer threads, or a smaller "
     "threading.stack_size().",
     MEMORY_LIMITED},
    {"RuntimeError", "can't start new thread", NULL, "Use fewer threads: {max_threads} may run at once (max_threads).",
     ALWAYS},
    /* Libraries put the loader's message into their own errors. */
    {NULL, "failed to map segment", NULL, TOO_LITTLE_TO_LOAD, MEMORY_LIMITED},
    {NULL, "cannot allocate memory in static TLS", NULL, TOO_LITTLE_TO_LOAD, MEMORY_LIMITED},
    {"cv2.error", "The function is not implemented", NULL,
     "There is no display: write the image with cv2.imwrite(), or show it with PIL.Image.fromarray(image).show().",
     ALWAYS},
    {"ImportError", "Cannot load backend", NULL,
     "There is no display: leave matplotlib.use() out; plt.show() gives the figure as an image.", ALWAYS},
    {"RuntimeError", "Google Chrome", NULL, NO_BROWSER, ALWAYS},
    {"ChromeNotFoundError", NULL, NULL, NO_BROWSER, ALWAYS},
    {"BrowserFailedError", NULL, NULL, NO_BROWSER, ALWAYS},
    {"ValueError", "requires the kaleido package", NULL, NO_BROWSER, ALWAYS},
    {"LookupError", "nltk.download(", NULL,
     "This data of NLTK is not installed, and a script can download nothing: work without it, as with "
     "re.findall(r'\\w+', text) for words, or pass the data in the request's files below nltk_data/.",
     ALWAYS},
    {"OSError", "[E050]", NULL,
     "This spaCy model is not installed, and a script can download nothing: use spacy.blank('en').", ALWAYS},
    {"PermissionError", "'/proc/", NULL,
     "The sandbox hides the machine's memory, processors and processes: leave out the code that asks for them.",
     ALWAYS},
    {"TypeError", "is not JSON serializable", NULL,
     "Convert it first: int(x), float(x), str(x) or x.tolist(); json.dumps(..., default=str) does it for all.", ALWAYS},
    {"TypeError", "unhashable type: ", NULL, "Use a tuple or frozenset of it as the key or element.", ALWAYS},
    {"TypeError", "'module' object is not callable", NULL,
     "Call what is in the module, such as module.name(), or import that name from it.", ALWAYS},
    {"TypeError", "string indices must be integers", NULL,
     "It is text, not a dict: decode it first, as with json.loads(), or print the object that the loop iterates over.",
     ALWAYS},
    {"TypeError", "'coroutine'", NULL, IS_COROUTINE, ALWAYS},
    {"TypeError", "coroutine object", NULL, IS_COROUTINE, ALWAYS},
    {"ModuleNotFoundError", "'IPython'", NULL, "display() is a builtin here: leave the import out.", ALWAYS},
    {"ModuleNotFoundError", NULL, NULL,
     "This interpreter sees only the standard library (isolate_site is true): write it "
     "with the standard library, or ask for isolate_site=false with a python_bin that has "
     "the package. " OWN_MODULE,
     ISOLATED},
    {"ModuleNotFoundError", NULL, NULL,
     "The package is not installed for this python_bin, and nothing can be installed from "
     "a script: use another module. " OWN_MODULE,
     ALWAYS},
    {"EOFError", NULL, NULL,
     "There is no more standard input: pass the data in the request's stdin, or put it "
     "into the code.",
     ALWAYS},
    {"RecursionError", NULL, NULL, "Write it as a loop, or check that the recursion ends.", ALWAYS},
    {"SystemExit", NULL, NULL, "The script has no command-line arguments: set the values in the code.", USAGE_PRINTED},
    {"IndexError", NULL, "argv", "The script has no command-line arguments: set the values in the code.", ALWAYS},
    {"KeyError", NULL, "environ",
     "The script sees none of the host's environment variables: pass them in the request's"
     " env, or put the value into the code.",
     ALWAYS},
    {"ValueError", "for integer string conversion", NULL,
     "Print hex(n), or a part of it such as n % 10**20; converting so many digits takes "
     "quadratic time.",
     ALWAYS},
    {"OSError", "[Errno 24]", NULL,
     "Close files, best with `with`: {max_open_files} may be open at once "
     "(max_open_files).",
     ALWAYS},
    {"OSError", "[Errno 28]", NULL,
     "Delete files or write less: the workspace may hold {workspace_bytes} bytes (workspace_bytes). The disk of a "
     "folder of the host may have less space left.",
     ALWAYS},
    {"OSError", "[Errno 27]", NULL,
     "Delete files or write less: the workspace holds {workspace_bytes} bytes "
     "(workspace_bytes).",
     ALWAYS},
    {"OSError", "[Errno 30]", NULL, OUTSIDE, ALWAYS},
    {"OSError", "[Errno 101]", NULL, OVER_THE_PROXY, BY_NAME},
    {"ConnectionRefusedError", NULL, NULL, OVER_THE_PROXY, BY_NAME},
    {"PermissionError", "[Errno 13]", "connect", OVER_THE_PROXY, BY_NAME},
    {"PermissionError", "[Errno 1]", "socket", OVER_THE_PROXY, BY_NAME},
    {NULL, "signed certificate", NULL, UNKNOWN_AUTHORITY, BY_NAME},
    {NULL, "unable to get local issuer certificate", NULL, UNKNOWN_AUTHORITY, BY_NAME},
    {"PermissionError", "[Errno 13]", NULL, OUTSIDE, ALWAYS},
    {"gaierror", NULL, NULL,
     "Scripts have no network here (policy field disable_networking): put the data into "
     "the code, stdin or files of the request.",
     NO_NETWORK},
    {"gaierror", NULL, NULL, OVER_THE_PROXY, BY_NAME},
    {"FileNotFoundError", "No usable temporary directory", NULL,
     "This policy gives the script no file access (policy field disable_open): keep data in variables.", NO_FILES},
    {"FileNotFoundError", "No usable temporary directory", NULL,
     READING_ONLY "keep data in variables, as in io.BytesIO().", READ_ONLY},
    {"FileNotFoundError", ": '~", NULL, "open() does not expand ~: give a path relative to the working directory.",
     ALWAYS},
    {"FileNotFoundError", "'/dev/shm'", NULL, NO_PROCESSES, ALWAYS},
    {"FileNotFoundError", "directory: ", NULL, MISSING_FILE, ALWAYS},
    {"FileNotFoundError", "No such file or directory", "cwd",
     "The working directory was deleted: go to another with os.chdir().", ALWAYS},
    /* An error without a file name comes from a semaphore: multiprocessing makes one for each of its locks. */
    {"FileNotFoundError", "No such file or directory", NULL, NO_PROCESSES, NO_FILE_NAMED},
    {"_tkinter.TclError", NULL, NULL, NO_DISPLAY, ALWAYS},
    {"_curses.error", NULL, NULL, "There is no terminal: print the results line by line.", ALWAYS},
    {"sqlite3.OperationalError", "unable to open database file", NULL,
     READING_ONLY "use ':memory:', or read an existing file: sqlite3.connect('file:NAME?mode=ro', uri=True).",
     READ_ONLY},
    {"sqlite3.OperationalError", "unable to open database file", NULL,
     "Open it inside the working directory, in a folder that exists (os.makedirs() makes one), or use ':memory:'.",
     ALWAYS},
    {"OSError", "into a non-existent directory", NULL, "Make the folder first: os.makedirs(folder, exist_ok=True).",
     ALWAYS},
    {"OSError", "cannot open resource", NULL,
     NO_FONTS "use ImageFont.load_default(size=20), or pass the font's file in the request's files.", ALWAYS},
    {"TTFError", "Can't open file", NULL,
     NO_FONTS "use Helvetica, Times-Roman or Courier, which need no file, ReportLab's own Vera.ttf, or pass the "
              "font's file in the request's files.",
     ALWAYS},
    {"locale.Error", "unsupported locale", NULL,
     "Only the locales 'C' and 'C.UTF-8' are available: format numbers and dates in the script, as with f'{x:,.2f}'.",
     ALWAYS},
    {"ZoneInfoNotFoundError", NULL, NULL,
     "Zones have names such as 'Europe/Berlin': print sorted(zoneinfo.available_timezones()) to see the available "
     "names.",
     ALWAYS},
    {"UnknownTimeZoneError", NULL, NULL,
     "Zones have names such as 'Europe/Berlin': print pytz.all_timezones to see the available names.", ALWAYS},
};

/* Rules that are tried after the interpreter's suggestion. */
static const struct hint_rule last_rules[] = {
    /* Libraries written in C, C++ and Rust use this text. */
    {NULL, "No such file or directory", NULL, MISSING_FILE, ALWAYS},
    {"KeyError", "[Index([", NULL, "Print df.columns to see the names of the columns.", ALWAYS},
    {"NameError", NULL, NULL, NAME_FIRST, ALWAYS},
    {"AttributeError", NULL, NULL, "Print dir() of the object to see its attributes.", ALWAYS},
    {"ImportError", "cannot import name", NULL, "Import the module itself, and print dir() of it to see its names.",
     ALWAYS},
};

static const struct {
    pyexec_status status;
    const char *hint;
} status_hints[] = {
    {PYEXEC_STATUS_TIMEOUT,
     "Make the script end within {timeout_ms} ms: look for an endless loop, a sleep or a wait for "
     "input, work on less data, or ask for a larger timeout_ms."},
    {PYEXEC_STATUS_CPU_LIMIT, "Use a faster algorithm or less data: {cpu_time_seconds} s of CPU time are allowed "
                              "(cpu_time_seconds)."},
    {PYEXEC_STATUS_MEMORY_LIMIT,
     "Process the data in smaller parts, use generators, and delete objects that are no longer needed: "
     "{address_space_bytes} bytes of address space are allowed (address_space_bytes)."},
    {PYEXEC_STATUS_KILLED, "Run it again; if it is killed again, use less memory."},
    {PYEXEC_STATUS_CRASHED, CRASHED " If the script needs much memory, the cause can be an allocation that failed at "
                                    "address_space_bytes={address_space_bytes}."},
};

static char *expand(const char *hint, const struct px_policy *policy)
{
    struct px_buffer text = {0};
    const char *whole = hint;
    json_t *fields = strchr(hint, '{') ? px_policy_to_json(policy) : NULL;
    while (*hint) {
        size_t plain = strcspn(hint, "{");
        px_buffer_add(&text, hint, plain);
        hint += plain;
        if (*hint != '{')
            break;
        char name[32];
        snprintf(name, sizeof name, "%.*s", (int)strcspn(hint + 1, "}"), hint + 1);
        px_buffer_printf(&text, "%" JSON_INTEGER_FORMAT, json_integer_value(json_object_get(fields, name)));
        hint += strlen(name) + 2;
    }
    text.failed |= strchr(whole, '{') && !fields;
    json_decref(fields);
    return px_buffer_take(&text);
}

/* Finds the last line of source in the traceback. The traceback is a claim of the script, so it only serves to
 * choose a hint. */
static void innermost_source(const pyexec_result *result, char *line, size_t size)
{
    const char *at = result->traceback, *found = NULL;
    while (at && (at = strstr(at, "\n  File \"<cell")))
        found = ++at;
    if (!found && result->traceback && strncmp(result->traceback, "  File \"<cell", 13) == 0)
        found = result->traceback;
    const char *source = found ? strchr(found, '\n') : NULL;
    if (source)
        source += 1 + strspn(source + 1, " ");
    snprintf(line, size, "%.*s", source ? (int)strcspn(source, "\n") : 0, source ? source : "");
}

static bool source_has(const char *line, const char *part)
{
    return *part == '^' ? strncmp(line, part + 1, strlen(part + 1)) == 0 : strstr(line, part) != NULL;
}

static bool is_time(const struct hint_rule *rule, const pyexec_result *result, const struct px_policy *policy)
{
    switch (rule->when) {
    case ISOLATED:
        return px_policy_isolates(policy);
    case NOT_ISOLATED:
        return !px_policy_isolates(policy);
    case NO_FILES:
        return px_policy_files(policy) == PX_FILES_NONE;
    case MEMORY_LIMITED:
        return policy->address_space_bytes != PX_NONE;
    case READ_ONLY:
        return px_policy_files(policy) == PX_FILES_READ;
    case NO_FILE_NAMED:
        return strcmp(result->error_message, "[Errno 2] No such file or directory") == 0;
    case NO_NETWORK:
        return policy->disable_networking && !policy->allowed_hosts.count;
    case BY_NAME:
        return policy->allowed_hosts.count > 0;
    case USAGE_PRINTED:
        return result->exit_code == 2 && strstr(px_buffer_shown(&result->streams[1].text), "usage: ");
    default:
        return true;
    }
}

/* error_type includes the module. A rule whose type has no dot matches in every module. */
static bool is_type(const char *type, const char *wanted)
{
    const char *dot = strchr(wanted, '.') ? NULL : strrchr(type, '.');
    return strcmp(dot ? dot + 1 : type, wanted) == 0;
}

static char *find_rule(const struct hint_rule *table, size_t count, const pyexec_result *result,
                       const struct px_policy *policy)
{
    char source[512];
    innermost_source(result, source, sizeof source);
    for (size_t i = 0; i < count; i++) {
        const struct hint_rule *rule = &table[i];
        if ((!rule->type || is_type(result->error_type, rule->type)) &&
            (!rule->message || strstr(result->error_message, rule->message)) &&
            (!rule->source || source_has(source, rule->source)) && is_time(rule, result, policy))
            return expand(rule->hint, policy);
    }
    return NULL;
}

/* The message of a refusal ends with its hint, "phrase. hint", and the denial has the hint too: the last denial
 * whose hint is in the message matches. A refusal by the kernel has no such message and is found by its line. */
static char *denial_hint(const pyexec_result *result)
{
    const struct px_child_result *claims = &result->claims;
    for (size_t i = claims->denial_count; i-- > 0;) {
        const struct pyexec_denial *denial = &claims->denials[i];
        const char *text = px_buffer_string(&denial->hint);
        bool kernels = denial->layer == PX_DENIAL_SYSCALL;
        if (*text && (strstr(result->error_message, text) || (kernels && denial->line == result->error_line)))
            return strdup(text);
    }
    return NULL;
}

/* Copies the host from "request to HOST:PORT", which the proxy refused, or from "socket.getaddrinfo 'HOST'" of the guard. NULL: there is
 * none. */
static char *host_of(const struct pyexec_denial *denial)
{
    static const char request[] = "request to ";
    const char *what = px_buffer_string(&denial->what), *quote = strchr(what, '\'');
    if (denial->layer != PX_DENIAL_NETWORK)
        return NULL;
    if (strncmp(what, request, sizeof request - 1) == 0)
        return strndup(what + sizeof request - 1, strcspn(what + sizeof request - 1, ":"));
    return quote ? strndup(quote + 1, strcspn(quote + 1, "'")) : NULL;
}

/* With allowed_hosts: the hint of the last refusal that the error is about. Its message names the host, or has the proxy's answer 403. */
static char *network_hint(const pyexec_result *result)
{
    const struct px_child_result *claims = &result->claims;
    for (size_t i = claims->denial_count; i-- > 0;) {
        const struct pyexec_denial *denial = &claims->denials[i];
        px_auto_free char *host = host_of(denial);
        if (host && ((*host && strstr(result->error_message, host)) || strstr(result->error_message, "403")))
            return strdup(px_buffer_string(&denial->hint));
    }
    return NULL;
}

static char *status_hint(const pyexec_result *result, const struct px_policy *policy)
{
    /* When the policy has no limit of memory, the hint must not name one. */
    if (result->status == PYEXEC_STATUS_CRASHED && policy->address_space_bytes == PX_NONE)
        return strdup(CRASHED);
    for (size_t i = 0; i < PX_COUNT(status_hints); i++)
        if (status_hints[i].status == result->status)
            return expand(status_hints[i].hint, policy);
    return NULL;
}

/* The limit that may have ended the script, or PX_FIELD_COUNT. */
static enum px_policy_field suspected_limit(const pyexec_result *result)
{
    static const struct {
        const char *type, *message;
        enum px_policy_field field;
    } signs[] = {
        {"MemoryError", NULL, PX_FIELD_address_space_bytes},
        {NULL, "[Errno 12]", PX_FIELD_address_space_bytes},
        {NULL, "failed to map segment", PX_FIELD_address_space_bytes},
        {NULL, "cannot allocate memory", PX_FIELD_address_space_bytes},
        {NULL, "Unable to allocate", PX_FIELD_address_space_bytes},
        {"RuntimeError", "can't start new thread", PX_FIELD_max_threads},
        {NULL, "Resource temporarily unavailable", PX_FIELD_max_threads},
    };
    switch (result->status) {
    case PYEXEC_STATUS_TIMEOUT:
        return PX_FIELD_timeout_ms;
    case PYEXEC_STATUS_CPU_LIMIT:
        return PX_FIELD_cpu_time_seconds;
    case PYEXEC_STATUS_MEMORY_LIMIT:
    case PYEXEC_STATUS_CRASHED:
        return PX_FIELD_address_space_bytes;
    default:
        break;
    }
    for (size_t i = 0; result->error_type && result->error_message && i < PX_COUNT(signs); i++)
        if ((!signs[i].type || is_type(result->error_type, signs[i].type)) &&
            (!signs[i].message || strstr(result->error_message, signs[i].message)))
            return signs[i].field;
    return PX_FIELD_COUNT;
}

/* The request gave less than the packages of its environment need. */
static char *environment_hint(const pyexec_result *result, const struct px_policy *policy)
{
    const int64_t limits[PX_FIELD_COUNT] = {[PX_FIELD_address_space_bytes] = policy->address_space_bytes,
                                            [PX_FIELD_max_threads] = policy->max_threads,
                                            [PX_FIELD_cpu_time_seconds] = policy->cpu_time_seconds,
                                            [PX_FIELD_timeout_ms] = policy->timeout_ms};
    enum px_policy_field field = policy->env ? suspected_limit(result) : PX_FIELD_COUNT;
    int64_t need = field < PX_FIELD_COUNT ? px_environment_need(policy->env, field) : 0;
    char *hint = NULL;
    if (!need || limits[field] == PX_NONE || limits[field] >= need)
        return NULL;
    const char *name = px_policy_field_info(field)->name;
    if (asprintf(&hint,
                 "The packages of the environment '%s' need %s %" PRId64 ", and this run had %" PRId64
                 ": leave %s out, or ask for at least %" PRId64 ".",
                 policy->environment, name, need, limits[field], name, need) < 0)
        return NULL;
    return hint;
}

char *px_hint_for(const pyexec_result *result, const struct px_policy *policy)
{
    bool limit = result->status != PYEXEC_STATUS_ERROR && result->exit_code != PYEXEC_EXIT_SIGNAL + SIGSYS;
    char *hint = environment_hint(result, policy);
    if (!hint && limit)
        hint = status_hint(result, policy);
    if (hint || !result->error_type || !result->error_message)
        return hint;
    if (result->exit_code == PYEXEC_EXIT_SIGNAL + SIGSYS)
        return denial_hint(result);
    if (result->claims.advice.length)
        return strdup(px_buffer_string(&result->claims.advice));
    if (policy->allowed_hosts.count)
        hint = network_hint(result);
    if (!hint)
        hint = find_rule(rules, PX_COUNT(rules), result, policy);
    if (!hint)
        hint = denial_hint(result);
    if (!hint && result->claims.suggestion.length)
        hint = strdup(px_buffer_string(&result->claims.suggestion));
    return hint ? hint : find_rule(last_rules, PX_COUNT(last_rules), result, policy);
}
