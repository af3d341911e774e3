/* SPDX-License-Identifier: Apache-2.0 */
#include "cli/repl_read.h"

#include <fcntl.h>
#include <histedit.h>
#include <locale.h>
#include <poll.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <wchar.h>

#include "base/cleanup.h"
#include "base/retry.h"
#include "cli/print.h"
#include "cli/repl_scan.h"

#define HISTORY_LINES 2000
#define REPL_NAMES_MAX 100 /* candidates */

/* ---- Signals ---- */

static const int held_signals[] = {SIGINT, SIGTERM, SIGHUP};
static pyexec_request *volatile held_request;
static volatile sig_atomic_t interrupts, ending_signal, resized, continued;

static void on_signal(int number)
{
    int saved = errno;
    pyexec_request *request = held_request;
    if (number == SIGWINCH)
        resized = 1;
    else if (number == SIGCONT)
        continued = 1;
    else if (number == SIGINT)
        interrupts++;
    else
        ending_signal = number;
    if (request && number != SIGWINCH && number != SIGCONT) {
        if (ending_signal || interrupts > 1)
            pyexec_request_cancel(request);
        else
            pyexec_request_interrupt(request);
    }
    errno = saved;
}

static void set_handler(int number, void (*handler)(int))
{
    struct sigaction old, action = {.sa_handler = handler};
    sigfillset(&action.sa_mask);
    if (sigaction(number, NULL, &old) == 0 && old.sa_handler != SIG_IGN)
        sigaction(number, &action, NULL);
}

static void block_signals(int how)
{
    sigset_t set;
    sigemptyset(&set);
    for (size_t i = 0; i < PX_COUNT(held_signals); i++)
        sigaddset(&set, held_signals[i]);
    pthread_sigmask(how, &set, NULL);
}

void repl_signals_hold(pyexec_request *request)
{
    interrupts = 0;
    held_request = request;
    block_signals(SIG_UNBLOCK);
}

void repl_signals_release(void)
{
    block_signals(SIG_BLOCK);
    held_request = NULL;
    interrupts = 0;
}

int repl_ending_signal(void)
{
    return ending_signal;
}

/* ---- Reading ---- */

struct repl_reader {
    repl_complete_fn complete;
    void *userdata;
    EditLine *editor; /* NULL: not a terminal */
    History *history;
    char *history_path; /* absolute, or NULL */
    FILE *out;
    sigset_t waiting; /* the mask while it waits */
    mbstate_t decoder;
    bool continuing;
    bool pasting; /* inside a bracketed paste */
    size_t at, length;
    char bytes[4096];
};

bool repl_reader_interactive(const struct repl_reader *reader)
{
    return reader->editor;
}

/* Waits for input. Returns 1: there are bytes; 0: the end; -1: a signal. A terminal is read byte by byte,
 * because what comes after the line may be for the script. */
static int fill(struct repl_reader *reader)
{
    struct pollfd input = {.fd = STDIN_FILENO, .events = POLLIN};
    for (;;) {
        if (interrupts || ending_signal) {
            errno = EINTR;
            return -1;
        }
        if (reader->editor && resized) {
            resized = 0;
            el_resize(reader->editor);
        }
        if (reader->editor && continued) { /* after Ctrl-Z: the shell has used the terminal */
            continued = 0;
            el_set(reader->editor, EL_PREP_TERM, 0);
            el_set(reader->editor, EL_PREP_TERM, 1);
            el_set(reader->editor, EL_REFRESH);
        }
        if (px_ppoll_or_signal(&input, 1, &reader->waiting) < 0)
            continue;
        ssize_t n = px_read(STDIN_FILENO, reader->bytes, reader->editor ? 1 : sizeof reader->bytes);
        if (n < 0 && errno == EAGAIN)
            continue;
        reader->at = 0;
        reader->length = n > 0 ? (size_t)n : 0;
        return n > 0;
    }
}

/* The function by which libedit reads a character. */
static int get_character(EditLine *editor, wchar_t *ret)
{
    struct repl_reader *reader;
    el_get(editor, EL_CLIENTDATA, &reader);
    for (;;) {
        int filled = fill(reader);
        if (filled <= 0)
            return filled;
        size_t n = mbrtowc(ret, reader->bytes, 1, &reader->decoder);
        if (n == (size_t)-2)
            continue;
        if (n == (size_t)-1) {
            memset(&reader->decoder, 0, sizeof reader->decoder);
            *ret = L'?';
        }
        return 1;
    }
}

static char *prompt(EditLine *editor)
{
    static char first[] = ">>> ", more[] = "... ";
    struct repl_reader *reader;
    el_get(editor, EL_CLIENTDATA, &reader);
    return reader->continuing ? more : first;
}

/* The terminal marks what is pasted (xterm's mode 2004), so that an empty line in it ends no block. */
static void bracket_pastes(struct repl_reader *reader, bool on)
{
    fputs(on ? "\x1b[?2004h" : "\x1b[?2004l", reader->out);
    fflush(reader->out);
}

static unsigned char begin_paste(EditLine *editor, int key)
{
    (void)key;
    struct repl_reader *reader;
    el_get(editor, EL_CLIENTDATA, &reader);
    reader->pasting = true;
    return CC_NORM;
}

static unsigned char end_paste(EditLine *editor, int key)
{
    (void)key;
    struct repl_reader *reader;
    el_get(editor, EL_CLIENTDATA, &reader);
    reader->pasting = false;
    return CC_NORM;
}

static int edit_line(struct repl_reader *reader, struct px_buffer *cell)
{
    int length = 0;
    memset(&reader->decoder, 0, sizeof reader->decoder);
    /* Done before the prompt is shown: after it, a Ctrl-D that comes in between would be lost. */
    el_set(reader->editor, EL_PREP_TERM, 1);
    bracket_pastes(reader, true);
    const char *line = el_gets(reader->editor, &length);
    bracket_pastes(reader, false);
    if (!line || length <= 0)
        return length < 0 && (interrupts || ending_signal) ? -1 : 0;
    px_buffer_add(cell, line, (size_t)length);
    if (line[length - 1] != '\n')
        px_buffer_add_byte(cell, '\n');
    HistEvent event;
    if (line[strspn(line, " \t\r\n")])
        history(reader->history, &event, H_ENTER, line);
    return 1;
}

/* Adds one line, with its newline, to the cell. Returns 1; 0: the end; -1: a signal. */
static int read_line(struct repl_reader *reader, struct px_buffer *cell)
{
    if (reader->editor)
        return edit_line(reader, cell);
    size_t before = cell->length;
    for (;;) {
        if (reader->at == reader->length) {
            int filled = fill(reader);
            if (filled == 0 && cell->length > before && px_buffer_ok(cell)) {
                px_buffer_add_byte(cell, '\n');
                return 1;
            }
            if (filled <= 0)
                return filled;
        }
        const char *from = reader->bytes + reader->at;
        const char *newline = memchr(from, '\n', reader->length - reader->at);
        size_t length = newline ? (size_t)(newline - from) + 1 : reader->length - reader->at;
        px_buffer_add(cell, from, length);
        reader->at += length;
        if (newline)
            return 1;
    }
}

static enum repl_read interrupted(struct repl_reader *reader)
{
    if (!reader->editor && !ending_signal)
        ending_signal = SIGINT;
    interrupts = 0;
    if (ending_signal)
        return REPL_END;
    cli_write(STDERR_FILENO, "\nKeyboardInterrupt\n", 19);
    return REPL_DROPPED;
}

enum repl_read repl_read_cell(struct repl_reader *reader, struct px_buffer *cell)
{
    reader->continuing = reader->pasting = false;
    for (;;) {
        int got = read_line(reader, cell);
        if (got < 0)
            return interrupted(reader);
        if (got == 0) {
            if (reader->editor)
                cli_write(STDOUT_FILENO, "\n", 1);
            return cell->length ? REPL_CELL : REPL_END;
        }
        if (!px_buffer_ok(cell) || (!reader->pasting && repl_is_complete(px_buffer_string(cell))))
            return REPL_CELL;
        reader->continuing = true;
    }
}

/* ---- Completion ---- */

static size_t common_length(const char *const *names, size_t count)
{
    size_t length = strlen(names[0]);
    for (size_t i = 1; i < count; i++) {
        size_t same = 0;
        while (same < length && names[i][same] == names[0][same])
            same++;
        length = same;
    }
    while (length && ((unsigned char)names[0][length] & 0xc0) == 0x80)
        length--;
    return length;
}

static void list_names(struct repl_reader *reader, const char *const *names, size_t count)
{
    fputc('\n', reader->out);
    for (size_t i = 0; i < count; i++)
        fprintf(reader->out, "%s%s", names[i], i + 1 < count ? "  " : "\n");
    fflush(reader->out);
}

/* Types what all candidates have in common; if that is nothing, shows them. */
static unsigned char offer(struct repl_reader *reader, const char *prefix, char *text)
{
    const char *names[REPL_NAMES_MAX], *name;
    size_t count = 0, typed = strlen(prefix);
    while (count < REPL_NAMES_MAX && (name = strsep(&text, "\n")))
        if (strncmp(name, prefix, typed) == 0 && strlen(name) <= REPL_WORD_MAX)
            names[count++] = name;
    if (count == 0)
        return CC_ERROR;
    size_t common = common_length(names, count);
    if (common > typed) {
        char more[REPL_WORD_MAX + 1];
        snprintf(more, sizeof more, "%.*s", (int)(common - typed), names[0] + typed);
        return el_insertstr(reader->editor, more) < 0 ? CC_ERROR : CC_REFRESH;
    }
    if (count > 1)
        list_names(reader, names, count);
    return count > 1 ? CC_REDISPLAY : CC_ERROR;
}

static unsigned char complete(EditLine *editor, int key)
{
    (void)key;
    struct repl_reader *reader;
    el_get(editor, EL_CLIENTDATA, &reader);
    const LineInfo *line = el_line(editor);
    const char *start = line->cursor;
    while (start > line->buffer && (repl_is_word_byte(start[-1]) || start[-1] == '.'))
        start--;
    size_t length = (size_t)(line->cursor - start);
    if (length == 0 || reader->pasting)
        return el_insertstr(editor, "    ") < 0 ? CC_ERROR : CC_REFRESH;
    if (length > REPL_WORD_MAX)
        return CC_ERROR;
    char word[REPL_WORD_MAX + 1];
    memcpy(word, start, length);
    word[length] = 0;
    px_auto_buffer struct px_buffer names = {0};
    reader->complete(reader->userdata, word, &names);
    const char *dot = strrchr(word, '.');
    px_auto_free char *text = names.length ? px_buffer_take(&names) : NULL;
    return text ? offer(reader, dot ? dot + 1 : word, text) : CC_ERROR;
}

/* ---- Set-up ---- */

/* A new file replaces the old one, so that a full disk leaves the old one as it is. */
static void save_history(struct repl_reader *reader)
{
    for (char *slash = reader->history_path; (slash = strchr(slash + 1, '/'));) {
        *slash = 0;
        mkdir(reader->history_path, 0700);
        *slash = '/';
    }
    px_auto_buffer struct px_buffer path = {0};
    px_buffer_printf(&path, "%s.%d", reader->history_path, (int)getpid());
    const char *name = px_buffer_string(&path);
    int fd = px_open(name, O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC | O_NOFOLLOW, 0600);
    FILE *file = fd >= 0 ? fdopen(fd, "w") : NULL;
    if (!file)
        return;
    HistEvent event;
    bool saved = history(reader->history, &event, H_SAVE_FP, file) >= 0;
    saved = fclose(file) == 0 && saved;
    if (!saved || rename(name, reader->history_path) < 0)
        unlink(name);
}

static void start_editor(struct repl_reader *reader)
{
    HistEvent event;
    reader->history = history_init();
    reader->editor = reader->history ? el_init("pyexec", stdin, reader->out, stderr) : NULL;
    if (!reader->editor)
        return;
    history(reader->history, &event, H_SETSIZE, HISTORY_LINES);
    history(reader->history, &event, H_SETUNIQUE, 1);
    if (reader->history_path)
        history(reader->history, &event, H_LOAD, reader->history_path);
    el_set(reader->editor, EL_CLIENTDATA, reader);
    el_set(reader->editor, EL_PROMPT, prompt);
    el_set(reader->editor, EL_GETCFN, get_character);
    el_set(reader->editor, EL_HIST, history, reader->history);
    el_set(reader->editor, EL_EDITOR, "emacs");
    el_set(reader->editor, EL_ADDFN, "pyexec-complete", "Complete a name", complete);
    el_set(reader->editor, EL_BIND, "^I", "pyexec-complete", NULL);
    el_set(reader->editor, EL_ADDFN, "pyexec-paste", "Begin a paste", begin_paste);
    el_set(reader->editor, EL_ADDFN, "pyexec-pasted", "End a paste", end_paste);
    el_set(reader->editor, EL_BIND, "\\e[200~", "pyexec-paste", NULL);
    el_set(reader->editor, EL_BIND, "\\e[201~", "pyexec-pasted", NULL);
    el_source(reader->editor, NULL);
    set_handler(SIGWINCH, on_signal);
    set_handler(SIGCONT, on_signal);
}

struct repl_reader *repl_reader_new(repl_complete_fn complete_fn, void *userdata, char *history_path)
{
    struct repl_reader *reader = calloc(1, sizeof *reader);
    if (!reader) {
        free(history_path);
        return NULL;
    }
    reader->complete = complete_fn;
    reader->userdata = userdata;
    reader->history_path = history_path;
    setlocale(LC_CTYPE, "");
    if (MB_CUR_MAX == 1)
        setlocale(LC_CTYPE, "C.UTF-8");
    block_signals(SIG_BLOCK);
    pthread_sigmask(SIG_SETMASK, NULL, &reader->waiting);
    for (size_t i = 0; i < PX_COUNT(held_signals); i++) {
        sigdelset(&reader->waiting, held_signals[i]);
        set_handler(held_signals[i], on_signal);
    }
    reader->out = isatty(STDOUT_FILENO) ? stdout : stderr;
    if (isatty(STDIN_FILENO) && isatty(fileno(reader->out)))
        start_editor(reader);
    return reader;
}

void repl_reader_free(struct repl_reader *reader)
{
    if (!reader)
        return;
    if (reader->editor && reader->history_path)
        save_history(reader);
    if (reader->editor)
        el_end(reader->editor);
    if (reader->history)
        history_end(reader->history);
    free(reader->history_path);
    free(reader);
}
