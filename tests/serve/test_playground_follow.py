# SPDX-License-Identifier: Apache-2.0
"""The playground's view follows what runs, and stays where the person scrolled to."""
import pytest

from playground import TOKEN
from playground import browser, nothing_left, page, server       # noqa: F401 (fixtures)
from waiting import wait_until

pytestmark = pytest.mark.usefixtures("nothing_left")

# Each cell continues when the test has written a file, so the test knows the state of the page before that.
WAIT = """
import time
def wait(name):
    while True:
        try:
            return open(name).close()
        except OSError:
            time.sleep(0.01)
"""
TALL = "<svg xmlns='http://www.w3.org/2000/svg' width='60' height='%d'/>"
SPIN = "\nwhile True: time.sleep(0.01)"


def go(page, server, name):
    session = page.text("header bdi")
    assert server.ask("PUT", "/v1/sessions/%s/files/%s" % (session, name), "x", address=server.tcp, token=TOKEN).status in (200, 201, 204)


def drawn(page):
    """Waits until the page has scrolled to its present content."""
    page.browser.value("for (let i = 0; i < 3; i++) await new Promise(requestAnimationFrame)")


def end_is_seen(page, index):
    """Returns True if the lower edge of the cell is in the window, below the header."""
    return page.value("""(() => {
        const end = document.querySelectorAll('.cell')[args[0]].getBoundingClientRect().bottom;
        return end > document.querySelector('header').getBoundingClientRect().bottom && end <= innerHeight;
    })()""", index)


def at_its_end(page, block):
    return page.value("args[0].scrollHeight > args[0].clientHeight && args[0].scrollTop + args[0].clientHeight >= args[0].scrollHeight - 2", block)


def wait_at_its_end(page, block):
    wait_until(lambda: at_its_end(page, block), "the block does not follow its end")


def wheel(page, by):
    """Turns the mouse wheel over the middle of the page."""
    from selenium.webdriver.common.action_chains import ActionChains
    from selenium.webdriver.common.actions.wheel_input import ScrollOrigin
    before = page.value("scrollY")
    ActionChains(page.driver).scroll_from_origin(ScrollOrigin.from_viewport(5, 300), 0, by).perform()
    wait_until(lambda: page.value("scrollY") != before, "the wheel does not scroll")
    drawn(page)


def stop(page, index):
    page.click("Interrupt the running cell")
    assert page.ended(index) == "bad"


def test_the_view_follows_a_cell_that_prints(page, server):
    for _ in range(3):
        page.run("print('\\n' * 30)")
    index = page.start(WAIT + "for i in range(3):\n    print('line\\n' * 200, 'part', i, flush=True)\n    wait('go%d' % i)" + SPIN)
    for part in range(3):
        wait_until(lambda: "part %d" % part in page.output(index), "it does not print")
        wait_until(lambda: end_is_seen(page, index), "the end of the cell is not seen")
        wait_at_its_end(page, page.last(".stdout"))
        go(page, server, "go%d" % part)
    stop(page, index)
    wait_until(lambda: end_is_seen(page, index) and "KeyboardInterrupt" in page.output(index), "the ending is not seen")


def test_the_view_follows_from_cell_to_cell(page, server):
    code = WAIT + "print('x\\n' * 40)\nwait('%s')"
    first = page.start(code % "one")
    for name in ("two", "three"):
        page.click("Add a cell")
        page.insert(code % name)
    wait_until(lambda: page.state(first) == "running", "it does not run")
    go(page, server, "one")
    assert page.ended(first) == "ok"
    page.value("scrollTo({top: document.body.scrollHeight, behavior: 'instant'})")
    page.click("Run all cells")
    for index, name in ((first, None), (first + 1, "two"), (first + 2, "three")):
        wait_until(lambda: page.state(index) in ("running", "ok") and "x" in page.output(index), "it does not run")
        if name:
            wait_until(lambda: end_is_seen(page, index), "the view does not go to the cell that runs")
            go(page, server, name)
        page.ended(index)


def test_it_stops_when_the_person_scrolls_away_and_goes_on_at_the_end(page, server):
    for _ in range(3):
        page.run("print('\\n' * 30)")
    index = page.start(WAIT + "display({'image/svg+xml': \"%s\"}, raw=True)\nwait('more')\nprint('more\\n' * 30, flush=True)\nwait('end')\n"
                       "print('last\\n' * 30, 'end')\ndisplay({'image/svg+xml': \"%s\"}, raw=True)" % (TALL % 300, TALL % 700) + SPIN)
    wait_until(lambda: page.value("document.querySelectorAll('.picture').length") == 1 and end_is_seen(page, index), "it is not followed")
    wheel(page, -400)
    place = page.value("scrollY")
    assert not end_is_seen(page, index)
    go(page, server, "more")
    wait_until(lambda: "more" in page.output(index), "it does not print")
    drawn(page)
    assert page.value("scrollY") == place
    # When the person has scrolled back to the end, the view follows again.
    wheel(page, 10_000)
    page.value("document.querySelectorAll('.cell')[args[0]].scrollIntoView({block: 'end', behavior: 'instant'})", index)
    wait_until(lambda: end_is_seen(page, index), "the end is not there")
    drawn(page)
    go(page, server, "end")
    wait_until(lambda: page.value("document.querySelectorAll('.picture').length") == 2 and page.value("scrollY") > place + 700
               and end_is_seen(page, index), "it does not follow again")
    stop(page, index)


def test_the_next_cell_does_not_pull_a_person_back_who_scrolled_away(page, server):
    for _ in range(3):
        page.run("print('\\n' * 30)")
    first = page.start(WAIT + "print('\\n' * 40)\nwait('next')")
    second = page.start("print('second\\n' * 30)")
    wait_until(lambda: page.state(first) == "running" and end_is_seen(page, first), "it is not followed")
    drawn(page)         # until then the page itself may scroll
    page.value("scrollTo({top: 0, behavior: 'instant'})")
    drawn(page)
    go(page, server, "next")
    assert page.ended(second) == "ok"
    drawn(page)
    assert page.value("scrollY") == 0
    # A new run is followed again.
    third = page.start("print('third\\n' * 30)")
    page.value("scrollTo({top: 0, behavior: 'instant'})")
    page.ended(third)
    page.value("document.querySelectorAll('.cell .run')[args[0]].click()", third)
    wait_until(lambda: page.state(third) == "ok" and end_is_seen(page, third), "a new run is not followed")


@pytest.mark.parametrize("then", ["print('err', file=sys.stderr)", "display({'text/html': '<p>shown</p>'}, raw=True)", "print('y\\n' * 300, file=sys.stderr)", "5"])
def test_every_block_that_grew_in_one_frame_shows_its_end(page, then):
    page.run("import sys\nprint('x\\n' * 300, 'the end')\n" + then)
    for block in page.driver.find_elements("css selector", ".cell:last-child .stdout, .cell:last-child .stderr"):
        if "err" not in block.text:
            wait_at_its_end(page, block)


def test_a_block_stays_where_the_person_scrolled_it_to(page, server):
    index = page.start(WAIT + "print('x\\n' * 300, flush=True)\nwait('more')\nprint('y\\n' * 300, flush=True)\nwait('end')\nprint('z\\n' * 300, flush=True)" + SPIN)
    wait_until(lambda: "x" in page.output(index), "it does not print")
    block = page.last(".stdout")
    wait_at_its_end(page, block)
    page.value("args[0].scrollTop = 50", block)
    drawn(page)
    go(page, server, "more")
    wait_until(lambda: "y" in page.output(index), "it does not print")
    drawn(page)
    assert page.value("args[0].scrollTop", block) == 50
    page.value("args[0].scrollTop = args[0].scrollHeight", block)
    drawn(page)
    go(page, server, "end")
    wait_until(lambda: "z" in page.output(index), "it does not print")
    wait_at_its_end(page, block)
    stop(page, index)


def test_a_reload_shows_outputs_from_their_beginning(page):
    page.run("print('x\\n' * 300)")
    wait_at_its_end(page, page.last(".stdout"))
    page.reload()
    assert page.value("args[0].scrollTop", page.last(".stdout")) == 0


def test_a_finished_cell_that_is_opened_by_the_person_does_not_move_the_view(page):
    page.run("import requests", "bad")
    drawn(page)
    for _ in range(3):
        page.click("Add a cell")
    page.value("scrollTo({top: 0, behavior: 'instant'})")
    drawn(page)
    page.value("document.querySelectorAll('.output details').forEach(one => { one.open = !one.open; })")
    drawn(page)
    assert page.value("scrollY") == 0
