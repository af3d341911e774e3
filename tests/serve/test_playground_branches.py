"""The playground's buttons for branches."""
import pytest

from playground import FLAGS, TOKEN, browser, nothing_left, page, playing       # noqa: F401 (fixtures)
from serving import wait_for

pytestmark = pytest.mark.usefixtures("nothing_left")


@pytest.fixture(scope="module")
def server(own):
    with playing(own, *FLAGS, "--forkable") as running:
        yield running


def sessions(server):
    return {one["id"] for one in server.ask("GET", "/v1/sessions", address=server.tcp, token=TOKEN).json()["sessions"]}


def test_cells_go_on_in_a_branch_and_the_old_session_stays_as_it_was(page, server):
    page.run("x = [1]; x")
    first = page.text("header bdi")
    page.click("Fork the session")
    wait_for(lambda: page.text("header bdi") != first, "no branch")
    branch = page.text("header bdi")
    assert branch.startswith(first + ".") and {first, branch} <= sessions(server)
    assert "[1]" in page.text(".count") and "[1]" in page.output(1) and "same state" in page.text(".notice")
    assert "[1, 2]" in page.run("x.append(2); x")
    assert "[2]" in page.text(".count")
    page.reload()
    assert page.text("header bdi") == branch and "[1, 2]" in page.output(2)
    page.click("Open session " + first)
    wait_for(lambda: page.text("header bdi") == first, "not opened")
    assert "[1]" in page.run("x")


def test_a_fork_during_a_run_is_refused_and_told(page):
    index = page.start("while True: pass")
    wait_for(lambda: page.state(index) == "running", "it does not run")
    wait_for(lambda: [one["busy"] for one in page.server.ask("GET", "/v1/sessions", address=page.server.tcp, token=TOKEN).json()["sessions"]
                      if one["id"] == page.text("header bdi")] == [True], "no call")
    page.click("Fork the session")
    wait_for(lambda: "runs or waits" in page.text(".notice"), "the refusal is not told")
    page.click("Interrupt the running cell")
    assert page.ended(index) == "bad"


def test_the_button_is_only_there_where_it_works(page):
    page.find("#new-policy").find_element("xpath", "./ancestor::details").click()
    page.find("#new-policy").send_keys('{"forkable": false}')
    assert page.find('button[aria-label="Fork the session"]').is_displayed()
    before = page.text("header bdi")
    page.click("New session")
    wait_for(lambda: page.text("header bdi") != before, "no new session")
    assert not page.find('button[aria-label="Fork the session"]').is_displayed()
