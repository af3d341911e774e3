/* SPDX-License-Identifier: Apache-2.0 */
/* Why an installation failed: the last lines of the installer's output, and a hint for what they say. */
#include <errno.h>
#include <stdio.h>
#include <string.h>

#include "base/buffer.h"
#include "base/cleanup.h"
#include "base/error.h"
#include "base/utf8.h"
#include "env_build/env_install.h"

#define OUTPUT_SHOWN ((size_t)700)

/* The first row with a text of the output counts, so the special ones come first. */
static const struct reason {
    const char *text;
    int of_host; /* the errno for what is wrong with this machine or the network; 0: the requirements are wrong */
    const char *what;
    const char *hint;
} reasons[] = {
    {"No space left on device", ENOSPC, "the disk is full",
     "`pyexec env remove` and `pyexec env prune` free space. root in the section [env] of the configuration chooses another folder."},
    {"os error 28", ENOSPC, "the disk is full",
     "`pyexec env remove` and `pyexec env prune` free space. root in the section [env] of the configuration chooses another folder."},
    {"Permission denied", EACCES, "a file can't be written or read",
     "Run it as the user who owns the folder of the environments and the caches of pip and uv."},
    {"hashes are required", 0, "a hash is missing",
     "If one requirement has --hash, all packages need one: pip-compile --generate-hashes or `uv pip compile --generate-hashes` write them."},
    {"DO NOT MATCH THE HASHES", 0, "a file has another hash than the requirements say",
     "Do not install it before you know why. If the package was published again, write the new hash."},
    {"Hash mismatch", 0, "a file has another hash than the requirements say",
     "Do not install it before you know why. If the package was published again, write the new hash."},
    {"must not use the reserved name", 0,
     "a package replaces the interpreter of its environment, which would run outside of any sandbox",
     "Don't use it: honest packages do not do that. Look at who publishes it."},
    {"ResolutionImpossible", 0, "the requirements contradict each other",
     "Change or remove one of the versions that the message names."},
    {"requirements are unsatisfiable", 0, NULL, NULL}, /* see explain_uv() */
    {"Building source distributions", 0, "a package has no wheel for this Python and machine",
     "Choose another version of the package, or another Python with --python. --build-from-source builds it, which runs its code outside of any sandbox."},
    {"CERTIFICATE_VERIFY_FAILED", EPROTO, "the certificate of the package index is not trusted",
     "Give the CA file of your network: SSL_CERT_FILE=/PATH (uv; UV_SYSTEM_CERTS=1 takes those of the system), PIP_CERT=/PATH (pip)."},
    {"invalid peer certificate", EPROTO, "the certificate of the package index is not trusted",
     "Give the CA file of your network: SSL_CERT_FILE=/PATH (uv; UV_SYSTEM_CERTS=1 takes those of the system), PIP_CERT=/PATH (pip)."},
    {"Temporary failure in name resolution", ENETUNREACH, "the package index can't be reached",
     "Check the network and the proxy (HTTPS_PROXY). PIP_INDEX_URL or UV_INDEX_URL name another index; PIP_FIND_LINKS or UV_FIND_LINKS with PIP_NO_INDEX=1 or UV_NO_INDEX=1 a folder of wheels."},
    {"Failed to establish a new connection", ENETUNREACH, "the package index can't be reached",
     "Check the network and the proxy (HTTPS_PROXY). PIP_INDEX_URL or UV_INDEX_URL name another index; PIP_FIND_LINKS or UV_FIND_LINKS with PIP_NO_INDEX=1 or UV_NO_INDEX=1 a folder of wheels."},
    {"Cannot connect to proxy", ENETUNREACH, "the proxy can't be reached", "Check HTTPS_PROXY and the network."},
    {"dns error", ENETUNREACH, "the package index can't be reached",
     "Check the network and the proxy (HTTPS_PROXY). UV_INDEX_URL names another index; UV_FIND_LINKS with UV_NO_INDEX=1 a folder of wheels."},
    {"error sending request", ENETUNREACH, "the package index can't be reached",
     "Check the network and the proxy (HTTPS_PROXY). UV_INDEX_URL names another index; UV_FIND_LINKS with UV_NO_INDEX=1 a folder of wheels."},
    {"Connection refused", ENETUNREACH, "the package index can't be reached",
     "Check the network and the proxy (HTTPS_PROXY). PIP_INDEX_URL or UV_INDEX_URL name another index."},
    {" 401 ", EACCES, "the package index refuses the credentials",
     "Check the credentials in the address of the index, in ~/.netrc or in the configuration of pip or uv."},
    {"No matching distribution found", 0, "no wheel is there for a requirement",
     "Check the name and version. If the package has only a source distribution for this Python and machine: choose another version or another Python (--python), or --build-from-source, which runs its code outside of any sandbox."},
    {"error: subprocess-exited-with-error", 0, "a package can't be built from its source",
     "It may need a compiler or libraries. Choose a version that has a wheel, or another Python with --python."},
    {"Failed to build", 0, "a package can't be built from its source",
     "It may need a compiler or libraries. Choose a version that has a wheel, or another Python with --python."},
    {"Invalid requirement", 0, "a requirement can't be read",
     "Write requirements such as pandas, pandas==2.2.3 or \"pandas>=2,<3\"."},
    {"Failed to parse", 0, "a requirement can't be read",
     "Write requirements such as pandas, pandas==2.2.3 or \"pandas>=2,<3\"."},
};

/* uv says "unsatisfiable" for packages that are not there, for those without a wheel, and for contradictions. */
static struct reason explain_uv(const char *output)
{
    if (strstr(output, "was not found in the") || strstr(output, "was not found in a") ||
        strstr(output, "there are no versions of") || strstr(output, "there is no version of"))
        return (struct reason){
            "", 0, "a package or version is not in the package index",
            "Check the name and version. UV_INDEX_URL and UV_FIND_LINKS name other places of packages."};
    if (strstr(output, "no wheels") || strstr(output, "no usable wheels") || strstr(output, "no compatible"))
        return (struct reason){
            "", 0, "a package has no wheel for this Python and machine",
            "Choose another version of the package, or another Python with --python. --build-from-source builds "
            "it, which runs its code outside of any sandbox."};
    return (struct reason){"", 0, "the requirements contradict each other",
                           "Change or remove one of the versions that the message names."};
}

static struct reason find_reason(const char *output)
{
    for (size_t i = 0; i < PX_COUNT(reasons); i++)
        if (strstr(output, reasons[i].text))
            return reasons[i].what ? reasons[i] : explain_uv(output);
    return (struct reason){"", EIO, "it failed", "--verbose shows all of its output."};
}

/* Lines that say nothing about a failure. */
static bool is_noise(const char *line, size_t length)
{
    static const char *const starts[] = {
        "Collecting ", "  Downloading ",       "  Using cached ",   "Looking in ",   "Requirement already",
        "[notice]",    "Installing collected", "WARNING: Retrying", "Using Python ", "Obtaining "};
    if (!length)
        return true;
    for (size_t i = 0; i < PX_COUNT(starts); i++)
        if (length >= strlen(starts[i]) && memcmp(line, starts[i], strlen(starts[i])) == 0)
            return true;
    return false;
}

/* Appends a line without control characters, and without users and passwords in addresses. */
static void add_line(struct px_buffer *out, const char *line, size_t length)
{
    for (size_t i = 0; i < length; i++) {
        px_buffer_add_byte(out, (unsigned char)line[i] < 0x20 || line[i] == 0x7f ? ' ' : line[i]);
        if (i < 2 || memcmp(line + i - 2, "://", 3) != 0)
            continue;
        size_t authority = strcspn(line + i + 1, "/ \t\n'\"`");
        const char *at = memrchr(line + i + 1, '@', authority < length - i - 1 ? authority : length - i - 1);
        if (at) {
            px_buffer_add_string(out, "***");
            i = (size_t)(at - line) - 1;
        }
    }
}

/* The output is of programs that repeat what an index says: no control characters, and valid UTF-8. */
static void add_output(struct px_buffer *out, const char *output)
{
    px_auto_buffer struct px_buffer whole = {0};
    for (const char *line = output; *line;) {
        size_t length = strcspn(line, "\n");
        if (!is_noise(line, length)) {
            px_buffer_add_string(&whole, whole.length ? " | " : "");
            add_line(&whole, line, length);
        }
        line += length + (line[length] == '\n');
    }
    size_t start = whole.length > OUTPUT_SHOWN ? whole.length - OUTPUT_SHOWN : 0;
    while (start < whole.length && !px_utf8_valid(whole.data + start, whole.length - start, NULL))
        start++;
    if (start)
        px_buffer_add_string(out, "… ");
    px_buffer_add(out, whole.data ? whole.data + start : "", whole.length - start);
}

int env_install_explain(const char *tool, int status, const char *output, pyexec_error *error)
{
    px_auto_buffer struct px_buffer text = {0};
    struct reason reason = find_reason(output);
    add_output(&text, output);
    if (!text.length)
        px_buffer_printf(&text, "its status is %d", status);
    px_error_set(error, reason.of_host ? PYEXEC_INTERNAL : PYEXEC_INVALID_REQUEST,
                 "%s could not install the packages: %s: %s", tool, reason.what, px_buffer_shown(&text));
    error->sys_errno = reason.of_host;
    return px_error_hint(error, "%s", reason.hint);
}
