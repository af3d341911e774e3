# SPDX-License-Identifier: Apache-2.0
"""What the playground's page keeps when it is reloaded, and what it must not keep."""
import json

import pytest

from playground import TOKEN
from playground import browser, nothing_left, page, server       # noqa: F401 (fixtures)
from waiting import wait_until

pytestmark = pytest.mark.usefixtures("nothing_left")
SVG = '<svg xmlns="http://www.w3.org/2000/svg" width="30" height="20"/>'
KINDS = [
    ("import sys\nprint('printed')\nprint('told', file=sys.stderr)\nprint('again')\nopen('made', 'w').write('x')", "ok"),
    ("display({'text/html': '<table><tr><td>a cell</table>', 'text/plain': 'T'}, raw=True)\n{'a': 1}", "ok"),
    ("display({'image/svg+xml': %r, 'text/plain': 'drawn'}, raw=True)" % SVG, "ok"),
    ("import requests", "bad"),
    ("print('before')\ndef broken():\n    return 1 / 0\nbroken()", "bad"),
]


def outputs(page):
    """Returns the text of all cells, the kinds of elements with their attributes, and the labels."""
    return page.value("""[...document.querySelectorAll('.cell')].map(cell => [cell.getAttribute('aria-label'),
        cell.querySelector('.count').textContent, cell.querySelector('.output').innerText,
        cell.querySelector('.output').innerHTML.replace(/nonce[-=](&quot;|")?\\w+/g, '')])""")


def stored(page):
    return page.value("JSON.stringify({...sessionStorage})")


def run_count(server, session):
    return server.ask("GET", "/v1/sessions/" + session, address=server.tcp, token=TOKEN).json()["execution_count"]


def test_every_kind_of_output_outlives_reloads(page, server):
    for code, state in KINDS:
        page.run(code, state)
    before, session = outputs(page), page.text("header bdi")
    assert "printed" in str(before) and "told" in str(before) and "Allowed modules" in str(before) and "<iframe" in str(before)
    for _ in range(2):
        page.reload()
        assert outputs(page) == before
    image = page.find("img.picture")
    wait_until(lambda: image.size == {"width": 30, "height": 20}, "the picture is not shown")
    page.driver.switch_to.frame(page.find("iframe"))
    try:
        assert page.find("td").text == "a cell"
    finally:
        page.driver.switch_to.default_content()
    # They are shown again; the code does not run again.
    assert page.text("header bdi") == session and run_count(server, session) == len(KINDS)
    assert page.text(".notice") == ""


def test_the_list_of_code_that_0_1_kept_is_read(page):
    page.leave()
    page.store("cells", json.dumps(["first = 1", "first + 1"]))
    page.load()
    assert page.count() == 2 and "first + 1" in page.text(".cell:last-child .cm-content")
    assert "42" in page.run("6 * 7") and page.text(".notice") == ""


@pytest.mark.parametrize("kept", ["", "{", "null", "5", "[]", "{}", '{"cells": 5}', '{"cells": [null, 5, [], {}]}',
    '{"session": SESSION, "runs": "x", "cells": [{"code": 5, "count": {}, "state": [], "shown": {}}]}',
    '{"session": SESSION, "runs": 0, "cells": [{"code": "1", "shown": [5]}, {"code": "1", "shown": [null]}]}',
    '{"session": SESSION, "runs": 0, "cells": [{"code": "1", "shown": [{"kind": "display"}, {"kind": "end", "ending": {}}]}]}',
    '{"session": SESSION, "runs": 0, "cells": [{"code": "1", "shown": [{"kind": "display", "display": {"data": {"text/html": {}}}}]}]}'])
def test_a_store_that_is_broken_breaks_nothing(page, kept):
    session = page.text("header bdi")
    page.leave()
    page.store("cells", kept.replace("SESSION", json.dumps(session)))
    page.load()
    assert page.count() >= 1 and page.text("header bdi") == session
    assert "42" in page.run("6 * 7")
    page.reload()
    assert "42" in page.text(".cell:last-child .output")


def test_what_is_too_large_to_be_kept_is_told(page):
    large = [page.start("print('%s' * 900_000)" % letter) for letter in "abc"]
    for index in large:
        assert page.ended(index) == "ok"
    small = page.start("print('small')")
    page.ended(small)
    page.reload()
    shown = [page.output(index) for index in large]
    assert [len(text) > 900_000 for text in shown] == [True, True, False]
    assert "too large to be kept" in shown[2] and "Run the cell" in shown[2] and "small" in page.output(small)
    page.reload()
    assert page.output(large[2]) == shown[2]


def test_a_browser_without_room_is_told_of(page):
    page.run("print('here')")
    page.value("""(() => {
        let piece = 'x'.repeat(1 << 20), name = 0;
        while (piece) {
            try { sessionStorage.setItem('full' + name++, piece); } catch { piece = piece.slice(piece.length / 2 + 1); }
        }
    })()""")
    page.click("Add a cell")
    page.insert("# " + "y" * 5000)
    wait_until(lambda: "too large for the browser" in page.text(".notice"), "it is not told")
    page.value("Object.keys(sessionStorage).filter(name => name.startsWith('full')).forEach(name => sessionStorage.removeItem(name))")
    page.insert("z")
    wait_until(lambda: "yz" in stored(page), "it is not kept as soon as there is room")


def ended(page, server, session):
    assert server.ask("DELETE", "/v1/sessions/" + session, address=server.tcp, token=TOKEN).status == 204


def begun_again(page, server, session):
    ended(page, server, session)
    assert server.ask("POST", "/v1/sessions", {"id": session}, address=server.tcp, token=TOKEN).status == 201


def another(page, server, session):
    page.store("session", server.ask("POST", "/v1/sessions", {}, address=server.tcp, token=TOKEN).json()["id"])


@pytest.mark.parametrize("happens", [ended, begun_again, another])
def test_outputs_of_a_session_that_is_gone_are_dropped(page, server, happens):
    page.run("print('of the ' + 'former')")
    session = page.text("header bdi")
    page.leave()
    assert "of the former" in stored(page)
    happens(page, server, session)
    page.load()
    assert page.text(".output").strip() == "" and "[1]" not in page.text(".count")
    assert "print('of the ' + 'former')" in page.text(".cm-content") and "has ended" in page.text(".notice")
    page.leave()
    assert "of the former" not in stored(page)


def test_a_session_that_ends_between_two_runs_takes_the_older_outputs_along(page, server):
    page.run("print('of the ' + 'former')")
    ended(page, server, page.text("header bdi"))
    assert "later" in page.run("print('later')")
    page.reload()
    assert "of the former" not in page.text(".output") and "later" in page.text(".output")


def test_a_session_opened_meanwhile_does_not_keep_outputs_of_the_other(page):
    first = page.text("header bdi")
    page.run("print('in the ' + 'first')")
    page.click("New session")
    wait_until(lambda: page.text("header bdi") != first, "no new session")
    page.run("print('in the ' + 'second')")
    page.reload()
    assert "in the first" not in page.text(".output") and "in the second" in page.text(".output")


def test_a_restart_clears_the_outputs_and_keeps_the_id(page):
    session = page.text("header bdi")
    page.run("print('shown')")
    page.restart()
    wait_until(lambda: page.text(".output").strip() == "", "the output stays")
    page.run("print('after' + 'wards')")
    page.reload()
    assert page.text("header bdi") == session
    assert "afterwards" in page.text(".output") and "shown" not in page.text(".output")
    assert page.value("document.querySelectorAll('.output:not(:empty)').length") == 1


def test_a_reload_during_a_run_says_that_the_rest_is_missing(page):
    index = page.start("import time\nprint('begun', flush=True)\nwhile True: time.sleep(0.01)")
    wait_until(lambda: "begun" in page.output(index), "it does not begin")
    page.reload()
    wait_until(lambda: "begun" in page.output(index) and "while this cell ran" in page.output(index), "the rest is not told of")
    assert page.state(index) == "bad"
    assert "42" in page.run("6 * 7")


def test_another_token_does_not_see_the_outputs(page, server):
    from selenium.webdriver.common.keys import Keys
    session = page.text("header bdi")
    page.run("print('of ' + 'alice')")
    # Bob has a session with the same id, in which more code has run.
    for _ in range(3):
        server.result("1", session, address=server.tcp, token="another")
    page.leave()
    page.store("token", "revoked")
    page.browser.open(page.address)
    wait_until(lambda: page.value("document.querySelector('dialog[open]') !== null"), "no token is asked for")
    assert page.text(".output").strip() == ""
    page.keys("another", Keys.ENTER)
    wait_until(lambda: page.value("document.body.dataset.ready"), "the token does not do")
    assert page.text(".output").strip() == "" and "of alice" not in stored(page)
    page.run("print('of ' + 'bob')")
    page.click("Forget the token")
    wait_until(lambda: page.value("document.querySelector('dialog[open]') !== null"), "it is not forgotten")
    assert "of bob" not in stored(page) and page.text(".output").strip() == ""
    page.keys(TOKEN, Keys.ENTER)
    wait_until(lambda: page.value("document.body.dataset.ready"), "the token does not do")
    assert page.text(".output").strip() == "" and page.value("document.querySelectorAll('iframe, .picture').length") == 0


def test_a_token_that_is_no_longer_known_takes_its_outputs_out_of_the_page(page, server, own):
    from selenium.webdriver.common.keys import Keys
    page.run("print('of ' + 'alice')")
    tokens = open(server.tokens).read()
    server.write_tokens(*[line for line in tokens.splitlines() if line.startswith("bob")])
    try:
        server.reload()
        page.start("1")
        wait_until(lambda: page.value("document.querySelector('dialog[open]') !== null"), "no token is asked for")
        page.keys("another", Keys.ENTER)
        wait_until(lambda: page.value("document.querySelector('dialog[open]') === null"), "the token does not do")
        wait_until(lambda: "of alice" not in page.text(".output"), "the output stays")
        assert "of alice" not in stored(page)
    finally:
        server.write_tokens(*tokens.splitlines())
        server.reload()
