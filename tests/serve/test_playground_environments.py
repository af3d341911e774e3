# SPDX-License-Identifier: Apache-2.0
"""The playground's choice of an environment."""
import os

import pytest

import stores
from playground import FLAGS, TOKEN, Page, browser, nothing_left, page, playing       # noqa: F401 (fixtures)
from serving import serving, token_line
from waiting import wait_until

pytestmark = pytest.mark.usefixtures("nothing_left")


@pytest.fixture(scope="module")
def store(_copy):
    store = stores.HandMadeStore(os.path.join(_copy, "environments-of-the-page"))
    store.add("data", {"tally": "def total(*numbers): return sum(numbers)\n"}, {"address_space_bytes": 1500 << 20},
              packages=[{"name": "tally", "version": "2.5"}])
    store.add("ml", {"learner": "DEPTH = 3\n"})
    store.add("secret", {"hidden": ""})
    return store


@pytest.fixture(scope="module")
def server(own, store):
    """Alice may choose two of the three environments, and bob has another default than none."""
    with playing(own, *FLAGS, ceiling=["allowed_environments=data,ml"], env=store.settings(),
                 others=[token_line("bob", "another", "environment=ml", "allowed_environments="), token_line("carla", "a third", "allowed_environments=")]) as running:
        yield running


def chosen(page):
    return page.value("document.getElementById('environment').value")


def offered(page):
    return page.value("[...document.getElementById('environment').options].map(one => one.text)")


def choose(page, name):
    """Chooses with the keyboard's or the mouse's means of the browser, and waits for the new session."""
    from selenium.webdriver.support.ui import Select
    before = page.text("header bdi")
    Select(page.find("#environment")).select_by_visible_text(name)
    wait_until(lambda: page.text("header bdi") != before, "no new session")
    wait_until(lambda: chosen(page) == ("" if name == "none" else name), "the choice is not shown")
    return before


def session(server, name, token=TOKEN):
    return server.ask("GET", "/v1/sessions/" + name, address=server.tcp, token=token).json()


def test_the_choice_offers_what_the_token_may_choose(page):
    assert offered(page) == ["none", "data", "ml"] and chosen(page) == ""
    assert "No module named" in page.run("import tally", "bad") or "not allowed" in page.text(".headline")


def test_cells_run_in_the_chosen_environment_in_a_new_session(page, server):
    page.run("x = 1")
    first = choose(page, "data")
    assert "6" in page.run("import tally; tally.total(1, 2, 3)")
    assert "tally 2.5" in page.text("#environment-packages") and "data" in page.text("[aria-labelledby=limits-title] dl")
    assert session(server, page.text("header bdi"))["policy"]["environment"] == "data"
    assert session(server, first)["policy"]["environment"] == "" and first in page.text("[aria-labelledby=sessions-title] .message[role=status]")
    page.browser.shot("environment")
    page.click("Open session " + first)
    wait_until(lambda: page.text("header bdi") == first, "not opened")
    assert chosen(page) == "" and "1" in page.run("x")


def test_a_restart_a_reload_and_a_new_session_keep_it(page):
    choose(page, "data")
    name = page.text("header bdi")
    page.run("y = 1")
    page.restart()
    wait_until(lambda: page.text("header bdi") == name and page.text(".count").strip("[] \n") == "", "not restarted")
    assert chosen(page) == "data" and "3" in page.run("import tally; tally.total(1, 2)")
    page.reload()
    assert (page.text("header bdi"), chosen(page)) == (name, "data")
    page.click("New session")
    wait_until(lambda: page.text("header bdi") != name, "no new session")
    assert chosen(page) == "data" and "3" in page.run("import tally; tally.total(1, 2)")


def test_another_environment_than_the_ceiling_allows_is_refused_and_told(page):
    before = page.text("header bdi")
    page.find("details summary").click()
    page.value("document.getElementById('new-policy').value = args[0]", '{"environment": "secret"}')
    page.click("New session")
    wait_until(lambda: "environment" in page.text("[aria-labelledby=sessions-title] .message[role=status]"), "the refusal is not told")
    told = page.text("[aria-labelledby=sessions-title] .message[role=status]")
    assert "'data', 'ml'" in told and page.text("header bdi") == before and chosen(page) == ""


def test_the_default_of_a_token_is_shown(browser, server):     # noqa: F811
    page = Page(browser, server).enter("another")
    assert offered(page) == ["none", "ml"] and chosen(page) == "ml"
    assert "3" in page.run("import learner; learner.DEPTH")
    choose(page, "none")
    assert "learner" in page.run("import learner", "bad")


def test_without_environments_there_is_no_choice(browser, server, own, store):     # noqa: F811
    page = Page(browser, server).enter("a third")
    assert page.value("document.getElementById('environment').checkVisibility()") is False and "2" in page.run("1 + 1")
    page.click("New session")
    assert "42" in page.run("6 * 7")


def test_an_environment_that_can_not_be_used_is_not_offered(browser, own, tmp_path):     # noqa: F811
    store = stores.HandMadeStore(tmp_path / "env")
    os.chmod(tmp_path, 0o755)
    store.add("good", {"fine": ""})
    os.unlink(os.path.join(store.add("bad", {"broken": ""}), "environment.json"))
    with serving(own, *FLAGS, "--allowed-environments", "*", tcp=True, tokens=[token_line("alice", TOKEN)], env=store.settings()) as server:
        page = Page(browser, server).enter()
        assert offered(page) == ["none", "bad (can't be used)", "good"]
        assert page.value("[...document.getElementById('environment').options].map(one => one.disabled)") == [False, True, False]
        choose(page, "good")
        assert "4" in page.run("import fine; 2 + 2")
