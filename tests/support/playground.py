# SPDX-License-Identifier: Apache-2.0
"""Uses the playground as a person does: cells, buttons and keys of the page, in a real browser."""
import contextlib
import http.server
import threading

import pytest

from browser import browsing
from serving import Connection, serving, token_line
from waiting import wait_until

TOKEN = "the-token"
FLAGS = ["--files", "full", "--timeout", "60s", "--cpu-time-seconds", "60", "--allow-import", "zlib,struct,sys,time"]


@contextlib.contextmanager
def playing(own, *flags, others=(), ceiling=(), env=None):
    """A server with the page, for alice, whose token is TOKEN, and who has this ceiling. Skips the test if pyexec was built without the page."""
    with serving(own, *flags, tcp=True, tokens=[token_line("alice", TOKEN, *ceiling), *others], env=env) as running:
        if b"not part of this build" in running.ask("GET", "/").body:
            pytest.skip("built without the playground: npm was not installed, or its registry could not be reached")
        yield running


# ---- Fixtures: a test file imports those that it uses ----

@pytest.fixture(autouse=True)
def nothing_left():
    """All tests of a file share the server and the browser."""


@pytest.fixture(scope="module")
def server(own):
    with playing(own, *FLAGS, others=[token_line("bob", "another")]) as running:
        yield running


@pytest.fixture(scope="module")
def browser(server):
    with browsing() as running:
        running.driver.execute_cdp_cmd("Browser.grantPermissions", {"permissions": ["clipboardReadWrite", "clipboardSanitizedWrite"]})
        yield running


@pytest.fixture
def page(browser, server):
    """Opens the page and enters the token. In normal use the page never violates its own policy."""
    page = Page(browser, server).enter()
    yield page
    assert browser.violations() == []


class Page:
    def __init__(self, browser, server):
        self.browser, self.server, self.driver = browser, server, browser.driver
        self.address = "http://%s/" % server.tcp

    # ---- Entering the token ----

    def enter(self, token=TOKEN):
        """Makes the state of a new tab, with a token that was entered before."""
        self.leave()
        self.browser.value("sessionStorage.clear(); localStorage.clear()")
        self.store("token", token)
        return self.load()

    def leave(self):
        """Opens another page of the same server, which has no scripts, so the state of the tab stays as it is now."""
        self.browser.open(self.address + "playground/licenses.txt")

    def store(self, name, text):
        self.browser.value("sessionStorage.setItem(args[0], args[1])", name, text)

    def load(self):
        self.browser.open(self.address)
        wait_until(lambda: self.value("document.body.dataset.ready"), "the page does not begin")
        return self

    def reload(self):
        self.driver.refresh()
        wait_until(lambda: self.value("document.body.dataset.ready"), "the page does not begin")

    def value(self, expression, *arguments):
        return self.browser.value("return " + expression, *arguments)

    def text(self, selector):
        return self.value("[...document.querySelectorAll(args[0])].map(one => one.innerText).join('\\n')", selector)

    def find(self, selector):
        return self.driver.find_element("css selector", selector)

    def click(self, label):
        """Clicks a button, found by its name for screen readers. The page may replace a list between finding and clicking."""
        from selenium.common.exceptions import StaleElementReferenceException

        def clicked():
            try:
                self.find('button[aria-label="%s"]' % label).click()
            except StaleElementReferenceException:
                return False
            return True
        wait_until(clicked, "%s is always replaced" % label)

    def restart(self):
        """Restarts the session with the button and the confirmation."""
        self.click("Restart the session")
        self.find("#confirm").click()

    # ---- Keys ----

    def keys(self, *keys):
        """Presses keys where the focus is. The keys of a tuple are pressed together."""
        from selenium.webdriver.common.action_chains import ActionChains
        chain = ActionChains(self.driver)
        for key in keys:
            for held in key[:-1] if isinstance(key, tuple) else ():
                chain.key_down(held)
            chain.send_keys(key[-1] if isinstance(key, tuple) else key)
            for held in key[:-1] if isinstance(key, tuple) else ():
                chain.key_up(held)
        chain.perform()

    def insert(self, text):
        """Inserts text as pasting or an input method does: nothing is indented automatically."""
        self.driver.execute_cdp_cmd("Input.insertText", {"text": text})

    # ---- Cells ----

    def count(self):
        return len(self.driver.find_elements("css selector", ".cell"))

    def start(self, code):
        """Adds a cell and runs it. Returns its index."""
        from selenium.webdriver.common.keys import Keys
        self.click("Add a cell")
        self.insert(code)
        self.keys((Keys.CONTROL, Keys.ENTER))
        return self.count() - 1

    def state(self, index):
        return self.value("document.querySelectorAll('.cell')[args[0]].dataset.state", index)

    def output(self, index):
        return self.value("document.querySelectorAll('.cell')[args[0]].querySelector('.output').innerText", index)

    def ended(self, index):
        wait_until(lambda: self.state(index) in ("ok", "bad"), "the cell does not end: " + str(self.output(index)))
        return self.state(index)

    def run(self, code, state="ok"):
        """Runs a cell with this code and returns what it shows."""
        index = self.start(code)
        assert self.ended(index) == state, self.output(index)
        return self.output(index)

    def last(self, selector):
        return self.driver.find_elements("css selector", ".cell")[-1].find_element("css selector", selector)


class Handler(http.server.BaseHTTPRequestHandler):
    """Answers every method by `answer`."""
    protocol_version = "HTTP/1.1"

    def do_GET(self):
        self.close_connection = True
        self.answer()

    do_POST = do_PUT = do_DELETE = do_HEAD = do_OPTIONS = do_GET

    def log_message(self, *arguments):
        pass


@contextlib.contextmanager
def listening(handler):
    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), handler) as server:
        thread = threading.Thread(target=server.serve_forever)
        thread.start()
        try:
            yield "http://127.0.0.1:%d" % server.server_port
        finally:
            server.shutdown()
            thread.join()


@contextlib.contextmanager
def proxy(socket_path, prefix):
    """Starts a proxy that forwards paths below the prefix to the server, and returns its address."""
    class Proxy(Handler):
        def answer(self):
            length = int(self.headers.get("Content-Length") or 0)
            with contextlib.closing(Connection(socket_path)) as connection:
                connection.request(self.command, self.path.removeprefix(prefix), self.rfile.read(length) or None,
                                   {name: value for name, value in self.headers.items() if name != "Connection"})
                response = connection.getresponse()
                self.send_response(response.status)
                for name, value in response.headers.items():
                    if name not in ("Transfer-Encoding", "Date", "Connection"):
                        self.send_header(name, value)
                self.send_header("Connection", "close")
                self.end_headers()
                while block := response.read1(65536):
                    self.wfile.write(block)

    with listening(Proxy) as address:
        yield address


@contextlib.contextmanager
def site(page=b""):
    """Another web site, on a port of its own: its address, and the list of what it was asked."""
    asked = []

    class Site(Handler):
        def answer(self):
            asked.append(self.path)
            self.send_response(200)
            for name, value in {"Content-Type": "text/html", "Content-Length": str(len(page)), "Connection": "close"}.items():
                self.send_header(name, value)
            self.end_headers()
            self.wfile.write(page)

    with listening(Site) as address:
        yield address, asked
