"""The playground's buttons for branches and undo."""
import pytest

from playground import FLAGS, TOKEN, browser, nothing_left, page, playing       # noqa: F401 (fixtures)
from waiting import wait_until

pytestmark = pytest.mark.usefixtures("nothing_left")


@pytest.fixture(scope="module")
def server(own):
    with playing(own, *FLAGS, "--forkable", "--auto-checkpoint") as running:
        yield running


def sessions(server):
    return {one["id"] for one in server.ask("GET", "/v1/sessions", address=server.tcp, token=TOKEN).json()["sessions"]}


def test_cells_go_on_in_a_branch_and_the_old_session_stays_as_it_was(page, server):
    page.run("x = [1]; x")
    first = page.text("header bdi")
    page.click("Fork the session")
    wait_until(lambda: page.text("header bdi") != first, "no branch")
    branch = page.text("header bdi")
    assert branch.startswith(first + ".") and {first, branch} <= sessions(server)
    assert "[1]" in page.text(".count") and "[1]" in page.output(1) and "same state" in page.text(".notice")
    assert "[1, 2]" in page.run("x.append(2); x")
    assert "[2]" in page.text(".count")
    page.reload()
    assert page.text("header bdi") == branch and "[1, 2]" in page.output(2)
    page.click("Open session " + first)
    wait_until(lambda: page.text("header bdi") == first, "not opened")
    assert "[1]" in page.run("x")


def test_a_fork_during_a_run_is_refused_and_told(page):
    index = page.start("while True: pass")
    wait_until(lambda: page.state(index) == "running", "it does not run")
    wait_until(lambda: [one["busy"] for one in page.server.ask("GET", "/v1/sessions", address=page.server.tcp, token=TOKEN).json()["sessions"]
                      if one["id"] == page.text("header bdi")] == [True], "no call")
    page.click("Fork the session")
    wait_until(lambda: "runs or waits" in page.text(".notice"), "the refusal is not told")
    page.click("Interrupt the running cell")
    assert page.ended(index) == "bad"


def test_the_last_run_is_undone_with_its_output(page):
    page.run("x = [1]; x")
    page.run("x.append(2); x")
    page.run("x.append(3); open('f', 'w').write('f'); x")
    wait_until(lambda: "f" in page.text("[aria-labelledby=files-title] li"), "no file")
    page.click("Undo the last run")
    wait_until(lambda: "before run 3" in page.text(".notice"), "it is not told")
    assert page.output(3) == "" and "[3]" not in page.text(".count") and "[1, 2]" in page.output(2)
    wait_until(lambda: page.text("[aria-labelledby=files-title] li") == "", "the file stays")
    assert "[1, 2]" in page.run("x") and "[3]" in page.text(".count")
    for _ in range(3):
        page.click("Undo the last run")
    wait_until(lambda: "before run 1" in page.text(".notice"), "not undone")
    page.click("Undo the last run")
    wait_until(lambda: "no checkpoint" in page.text(".notice"), "the refusal is not told")


def test_the_buttons_are_only_there_where_they_work(page):
    page.find("#new-policy").find_element("xpath", "./ancestor::details").click()
    page.find("#new-policy").send_keys('{"forkable": false, "auto_checkpoint": false}')
    buttons = [page.find('button[aria-label="%s"]' % label) for label in ("Fork the session", "Undo the last run")]
    assert all(button.is_displayed() for button in buttons)
    before = page.text("header bdi")
    page.click("New session")
    wait_until(lambda: page.text("header bdi") != before, "no new session")
    assert not any(button.is_displayed() for button in buttons)
