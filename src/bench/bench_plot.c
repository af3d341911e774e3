/* SPDX-License-Identifier: Apache-2.0 */
/* The times of `pyexec bench` as one SVG: bars on a logarithmic axis, in groups of times that can be compared. */
#include <math.h>
#include <stdio.h>
#include <string.h>
#include <sys/utsname.h>
#include <time.h>
#include <unistd.h>

#include "base/cleanup.h"
#include "base/error.h"
#include "bench/bench.h"

/* Lengths in units of the SVG. */
#define WIDTH 760
#define LABELS 300 /* x where the bars begin */
#define BARS 360
#define ROW 24
#define HEADING 34
#define TOP 30
#define FIRST_US 10.0 /* time at the start of the axis */
#define BARS_MAX 32

enum plot_kind { FLOOR, OURS, PEER };
static const char *const kind_names[] = {"floor", "ours", "peer"};

enum group { FRESH, SESSION, GROUP_COUNT };
static const struct {
    const char *key, *title;
} groups[GROUP_COUNT] = {
    [FRESH] = {"fresh", "A fresh run of one line"},
    [SESSION] = {"session", "A call to a session that keeps its state"},
};

static const struct {
    enum bench_row row;
    enum group group;
    enum plot_kind kind;
} shown[] = {
    {BENCH_FLOOR_CLONE, FRESH, FLOOR}, {BENCH_FLOOR_NAMESPACES, FRESH, FLOOR},
    {BENCH_POOLED, FRESH, OURS},       {BENCH_EXECUTE, FRESH, OURS},
    {BENCH_CLI, FRESH, OURS},          {BENCH_PYTHON, FRESH, PEER},
    {BENCH_BUBBLEWRAP, FRESH, PEER},   {BENCH_FLOOR_ROUND_TRIP, SESSION, FLOOR},
    {BENCH_SESSION, SESSION, OURS},
};

struct bar {
    const char *title;
    enum group group;
    enum plot_kind kind;
    double us;
};

struct plot {
    struct bar bars[BARS_MAX];
    size_t count;
    double last_us; /* time at the end of the axis: a power of ten */
};

static void add_bar(struct plot *plot, const char *title, enum group group, enum plot_kind kind, double us)
{
    if (!(us > 0) || plot->count == BARS_MAX)
        return;
    plot->bars[plot->count++] = (struct bar){title, group, kind, us};
    while (plot->last_us < us)
        plot->last_us *= 10;
}

static int refuse_peers(const char *why, pyexec_error *error)
{
    px_error_set(error, PYEXEC_INVALID_REQUEST, "--peers: %s", why);
    return px_error_hint(error, "It is a JSON list of {\"group\": \"fresh\" or \"session\", \"title\": "
                                "TEXT, \"us\": NUMBER}, as bench/peers.py makes it.");
}

static int add_peers(struct plot *plot, const json_t *peers, pyexec_error *error)
{
    size_t i;
    const json_t *peer;
    if (peers && !json_is_array(peers))
        return refuse_peers("it is not a list", error);
    json_array_foreach(peers, i, peer) {
        const char *key = json_string_value(json_object_get(peer, "group"));
        const char *title = json_string_value(json_object_get(peer, "title"));
        enum group group = 0;
        while (key && group < GROUP_COUNT && strcmp(key, groups[group].key) != 0)
            group++;
        if (!key || !title || group == GROUP_COUNT || !json_is_number(json_object_get(peer, "us")))
            return refuse_peers("an entry is not understood", error);
        add_bar(plot, title, group, PEER, json_number_value(json_object_get(peer, "us")));
    }
    return 0;
}

/* ---- Drawing ---- */

static void add_escaped(struct px_buffer *out, const char *text)
{
    for (; *text; text++)
        if (*text == '<' || *text == '&' || *text == '>')
            px_buffer_printf(out, "&#%d;", *text);
        else
            px_buffer_add_byte(out, (unsigned char)*text < ' ' ? ' ' : *text);
}

static void add_text(struct px_buffer *out, double x, double y, const char *class, const char *text)
{
    px_buffer_printf(out, "<text x=\"%.1f\" y=\"%.1f\" class=\"%s\">", x, y, class);
    add_escaped(out, text);
    px_buffer_add_string(out, "</text>\n");
}

/* Prints two digits, but no ".0". */
static void format_time(char *to, size_t size, double us)
{
    const char *unit = us < 1000 ? "\302\265s" : us < 1e6 ? "ms" : "s";
    double value = us < 1000 ? us : us < 1e6 ? us / 1000 : us / 1e6;
    snprintf(to, size, value < 9.95 ? "%.2g %s" : "%.0f %s", value, unit);
}

static double x_of(const struct plot *plot, double us)
{
    double part = log10((us < FIRST_US ? FIRST_US : us) / FIRST_US) / log10(plot->last_us / FIRST_US);
    return LABELS + BARS * part;
}

static void add_axis(struct px_buffer *out, const struct plot *plot, double height)
{
    double us = FIRST_US;
    while (us < plot->last_us * 2) {
        char text[32];
        double x = x_of(plot, us);
        px_buffer_printf(out, "<path d=\"M%.1f %d V%.1f\" class=\"grid\"/>\n", x, TOP + 8, height - 46);
        format_time(text, sizeof text, us);
        add_text(out, x, TOP, "tick", text);
        us *= 10;
    }
}

static double add_group(struct px_buffer *out, const struct plot *plot, enum group group, double y)
{
    add_text(out, 12, y + 22, "heading", groups[group].title);
    y += HEADING;
    for (size_t i = 0; i < plot->count; i++) {
        const struct bar *bar = &plot->bars[i];
        if (bar->group != group)
            continue;
        char text[32];
        double end = x_of(plot, bar->us);
        add_text(out, LABELS - 10, y + 14, "label", bar->title);
        px_buffer_printf(out, "<rect x=\"%d\" y=\"%.1f\" width=\"%.1f\" height=\"14\" rx=\"2\" class=\"%s\"/>\n",
                         LABELS, y + 3, end - LABELS < 1 ? 1 : end - LABELS, kind_names[bar->kind]);
        format_time(text, sizeof text, bar->us);
        add_text(out, end + 6, y + 14, "value", text);
        y += ROW;
    }
    return y;
}

static const char style[] =
    "<style>text{font:12px system-ui,sans-serif;fill:#24292f}.heading{font-weight:600}"
    ".label{text-anchor:end}.tick{text-anchor:middle;fill:#6e7781}.note{fill:#6e7781;font-size:11px}"
    ".grid{stroke:#d0d7de;fill:none}.floor{fill:#8c959f}.ours{fill:#1f7a4d}.peer{fill:#c4711a}"
    "@media(prefers-color-scheme:dark){text{fill:#e6edf3}.tick,.note{fill:#8d96a0}.grid{stroke:#30363d}"
    ".floor{fill:#6e7681}.ours{fill:#3fb97a}.peer{fill:#e09a4a}}</style>\n";

static void add_notes(struct px_buffer *out, double y)
{
    struct utsname system = {0};
    char day[16], text[256];
    time_t now = time(NULL);
    struct tm utc;
    uname(&system);
    strftime(day, sizeof day, "%Y-%m-%d", gmtime_r(&now, &utc));
    snprintf(text, sizeof text, "Medians of pyexec bench, %s: %ld CPUs, Linux %s. Logarithmic axis.", day,
             sysconf(_SC_NPROCESSORS_ONLN), system.release);
    add_text(out, 12, y, "note", text);
    static const char *const legend[] = {"the kernel's floor", "pyexec", "others"};
    for (int kind = FLOOR; kind <= PEER; kind++) {
        int x = LABELS + 130 * kind;
        px_buffer_printf(out, "<rect x=\"%d\" y=\"%.1f\" width=\"10\" height=\"10\" rx=\"2\" class=\"%s\"/>\n", x,
                         y - 29, kind_names[kind]);
        add_text(out, x + 15, y - 20, "note", legend[kind]);
    }
}

int bench_add_svg(struct px_buffer *out, const struct bench *bench, const json_t *peers, pyexec_error *error)
{
    struct plot plot = {.last_us = 100 * FIRST_US};
    for (size_t i = 0; i < PX_COUNT(shown); i++)
        add_bar(&plot, bench_row_title(shown[i].row), shown[i].group, shown[i].kind, bench->rows[shown[i].row].p50);
    if (add_peers(&plot, peers, error) < 0)
        return -1;
    double height = TOP + 16 + GROUP_COUNT * HEADING + (double)plot.count * ROW + 56;
    px_buffer_printf(out,
                     "<svg xmlns=\"http://www.w3.org/2000/svg\" viewBox=\"0 0 %d %.0f\" role=\"img\">\n"
                     "<title>Time of a run: the kernel's floor, pyexec, and others</title>\n%s",
                     WIDTH, height, style);
    add_axis(out, &plot, height);
    double y = TOP + 16;
    for (enum group group = 0; group < GROUP_COUNT; group++)
        y = add_group(out, &plot, group, y);
    add_notes(out, height - 8);
    px_buffer_add_string(out, "</svg>\n");
    return px_buffer_ok(out) ? 0 : px_error_oom(error);
}
