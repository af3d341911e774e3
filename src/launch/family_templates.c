/* SPDX-License-Identifier: Apache-2.0 */
/* Templates and their tests (docs/architecture.md, Templates). A template is a branch that makes one test after another: it calls clone, and
 * the kernel holds it in that call until the host orders a test. A test is a clone without namespaces of its own. It says that it
 * has arrived, and is held until the host has looked at it. That happens only when the template is held again too: so while a test
 * runs, its template does not.
 *
 *   the host     FORK ─────────▶                          ARRIVED ◀──┐   GO ──────▶
 *   template     in clone ──────▶ in its next clone ────────────────┤
 *   test                   └────▶ arrives, gets descriptors ─────────┘   ──────────▶ runs */
#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "base/cleanup.h"
#include "base/fds.h"
#include "base/retry.h"
#include "launch/family_private.h"
#include "protocol/launch.h"

static void tell(struct template *template, enum px_family_event_type type, bool went, int pidfd)
{
    struct px_family_event event = {.magic = PX_LAUNCH_MAGIC, .type = type, .pid = template->test, .went = went};
    /* A host that has closed the socket has no use for it. */
    (void)!px_send_fds(template->control, &event, sizeof event, &pidfd, pidfd < 0 ? 0 : 1);
}

void px_family_add_template(struct family *family, pid_t pid, int control)
{
    if (!family->templates)
        family->templates = calloc(FAMILY_TEMPLATES_MAX, sizeof *family->templates);
    if (!family->templates || family->template_count == FAMILY_TEMPLATES_MAX) {
        px_close_fd(&control);
        return;
    }
    struct template *template = &family->templates[family->template_count++];
    *template = (struct template){.source = pid, .control = control, .pidfd = -1};
    memset(template->fds, -1, sizeof template->fds);
}

bool px_family_is_test(const struct family *family, pid_t pid)
{
    for (size_t i = 0; i < family->template_count; i++) {
        const struct template *template = &family->templates[i];
        if (template->pidfd >= 0 && template->test == pid && !px_family_has_ended(template->pidfd))
            return true;
    }
    return false;
}

/* Lets the clone pass that was ordered, and tells the host when both processes are held. A clone that was withdrawn by a signal
 * comes again, so only an answer that the kernel took counts. */
static void step(const struct family *family, struct template *template)
{
    if (template->ordered && !template->cloned && template->next) {
        template->cloned = px_family_answer(family, template->next, true, 0);
        template->next = 0;
    }
    if (template->held && template->next && !template->told) {
        template->told = true;
        tell(template, PX_FAMILY_ARRIVED, false, template->pidfd);
    }
}

static void forget_test(const struct family *family, struct template *template)
{
    if (template->held)
        px_family_answer(family, template->held, false, EPERM);
    px_close_fd(&template->pidfd);
    template->test = 0;
    template->held = 0;
}

static void arrive(struct family *family, struct template *template, const struct seccomp_notif *question)
{
    pid_t pid = (pid_t)question->pid;
    int pidfd = -1;
    if (template->cloned && template->pidfd < 0 && !px_family_is_member(family, pid))
        pidfd = (int)syscall(SYS_pidfd_open, pid, 0);
    if (pidfd < 0 || !px_family_give(family, question->id, template->fds)) {
        px_close_fd(&pidfd);
        px_family_answer(family, question->id, false, EPERM);
        return;
    }
    px_close_fds(template->fds, PX_BRANCH_FDS);
    template->test = pid;
    template->pidfd = pidfd;
    template->held = question->id;
    step(family, template);
}

bool px_family_take_of_template(struct family *family, const struct seccomp_notif *question)
{
    const struct seccomp_data *data = &question->data;
    bool arrives = data->nr == SYS_getpgid && (pid_t)data->args[0] == PX_TEST_ARRIVES;
    if (!arrives && data->nr != SYS_clone)
        return false;
    pid_t source = arrives ? (pid_t)data->args[1] : (pid_t)question->pid;
    for (size_t i = 0; i < family->template_count; i++) {
        struct template *template = &family->templates[i];
        if (template->source != source)
            continue;
        if (arrives) {
            arrive(family, template, question);
        } else if (data->args[0] != PX_CHECKPOINT_FLAGS) {
            px_family_answer(family, question->id, false, EPERM);
        } else {
            template->next = question->id;
            step(family, template);
        }
        return true;
    }
    return false; /* the clone is that of a session, and nobody is called -2 */
}

static void take_fork(const struct family *family, struct template *template, int fds[PX_BRANCH_FDS])
{
    forget_test(family, template);
    px_close_fds(template->fds, PX_BRANCH_FDS);
    memcpy(template->fds, fds, sizeof template->fds);
    memset(fds, -1, sizeof template->fds);
    template->ordered = true;
    template->cloned = template->told = false;
    step(family, template);
}

/* Before Linux 5.19 a handler of a signal can run in the middle of the call in which the test waits. Then the kernel does not take
 * this answer, and what the host has seen of the test may not be true. */
static void let_run(const struct family *family, struct template *template)
{
    bool went = template->held && template->told && px_family_answer(family, template->held, false, 0);
    template->held = 0;
    template->ordered = false;
    tell(template, PX_FAMILY_WENT, went, -1);
}

/* Returns false when the host has closed its end, or what it sends is not from it: the template is over. */
static bool take_order(const struct family *family, struct template *template)
{
    struct px_family_order order;
    int fds[PX_BRANCH_FDS] = {-1, -1, -1, -1};
    size_t count = 0;
    ssize_t n = px_receive_fds(template->control, &order, sizeof order, fds, PX_BRANCH_FDS, &count);
    bool known = n == sizeof order && order.magic == PX_LAUNCH_MAGIC;
    if (known && order.op == PX_FAMILY_FORK)
        take_fork(family, template, fds);
    else if (known && order.op == PX_FAMILY_GO)
        let_run(family, template);
    px_close_fds(fds, PX_BRANCH_FDS);
    return known;
}

static void end_template(const struct family *family, struct template *template)
{
    forget_test(family, template);
    if (template->next)
        px_family_answer(family, template->next, false, EPERM);
    px_close_fds(template->fds, PX_BRANCH_FDS);
    px_close_fd(&template->control);
}

size_t px_family_poll_templates(const struct family *family, struct pollfd *polled)
{
    for (size_t i = 0; i < family->template_count; i++)
        polled[i] = (struct pollfd){.fd = family->templates[i].control, .events = POLLIN};
    return family->template_count;
}

void px_family_serve_templates(struct family *family, const struct pollfd *polled, size_t count)
{
    size_t kept = 0;
    for (size_t i = 0; i < family->template_count; i++) {
        struct template *template = &family->templates[i];
        bool lives = i >= count || !polled[i].revents || take_order(family, template);
        if (!lives)
            end_template(family, template);
        else
            family->templates[kept++] = *template;
    }
    family->template_count = kept;
}
