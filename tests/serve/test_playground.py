"""The playground at / of `pyexec serve`: in headless Chromium, used as a person uses it."""
import gzip
import json
import os
import re
import shutil
import subprocess

import pytest

from conftest import ROOT
from playground import FLAGS, TOKEN, Page, proxy
from playground import browser, nothing_left, page, server       # noqa: F401 (fixtures)
from serving import serving, token_line
from waiting import wait_until

pytestmark = pytest.mark.usefixtures("nothing_left")
PNG = """
import struct, zlib, base64
def chunk(kind, data):
    return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))
def png(color, width=40, height=30):
    rows = (b"\\0" + bytes(color) * width) * height
    return (b"\\x89PNG\\r\\n\\x1a\\n" + chunk(b"IHDR", struct.pack(">IIBBBBB", width, height, 8, 2, 0, 0, 0))
            + chunk(b"IDAT", zlib.compress(rows)) + chunk(b"IEND", b""))
"""


@pytest.fixture(scope="module")
def packages(tmp_path_factory):
    """Installs the packages of web/package.json, with those for tests."""
    if not shutil.which("npm"):
        pytest.skip("there is no npm to install axe-core and TypeScript with")
    folder = str(tmp_path_factory.mktemp("web"))
    for name in ("package.json", "package-lock.json", ".npmrc", "tsconfig.json"):
        shutil.copy(ROOT + "/web/" + name, folder)
    shutil.copytree(ROOT + "/web/src", folder + "/src")
    done = subprocess.run(["npm", "ci", "--prefer-offline", "--loglevel=error"], cwd=folder, capture_output=True, text=True, timeout=300)
    if done.returncode:
        pytest.skip("npm can't install: " + done.stderr.strip()[-200:])
    with open(folder + "/package.json") as file:
        print(json.load(file)["devDependencies"])
    return folder


# ---- What is served ----

def test_the_page_and_its_parts(server):
    page = server.ask("GET", "/")
    policy = page.headers["Content-Security-Policy"]
    assert page.status == 200 and "unsafe" not in policy and "default-src 'none'" in policy
    assert "frame-ancestors 'none'" in policy and "http" not in policy
    assert page.headers["Referrer-Policy"] == "no-referrer" and page.headers["X-Content-Type-Options"] == "nosniff"
    # Each visit has new nonces, one for scripts and one for styles.
    nonces = re.findall(r"'nonce-(\w{32})'", policy + server.ask("GET", "/").headers["Content-Security-Policy"])
    assert len(set(nonces)) == 4
    assert set(re.findall(rb'nonce="(\w+)"', page.body)) == {nonce.encode() for nonce in nonces[:2]} and b"{{" not in page.body
    parts = re.findall(r'(?:href|src)="(playground/[^"]+)"', page.body.decode())
    assert sorted(parts) == ["playground/main.js", "playground/style.css"]
    for path in [*parts, "playground/licenses.txt"]:
        plain = server.ask("GET", "/" + path)
        packed = server.ask("GET", "/" + path, headers={"Accept-Encoding": "gzip"})
        assert plain.status == 200 and packed.headers["Content-Encoding"] == "gzip"
        assert gzip.decompress(packed.body) == plain.body and len(packed.body) < len(plain.body)
        known = server.ask("GET", "/" + path, headers={"If-None-Match": plain.headers["ETag"]})
        assert (known.status, known.body) == (304, b"")
        head = server.ask("HEAD", "/" + path)
        assert (head.headers["Content-Length"], head.body) == (str(len(plain.body)), b"")
    licenses = server.ask("GET", "/playground/licenses.txt").body.decode()
    assert "@codemirror/view" in licenses and licenses.count("Permission is hereby granted") >= 10


def test_only_the_page_is_open_and_it_is_no_part_of_the_api(server):
    for address in (server.socket, server.tcp):
        assert server.ask("GET", "/", address=address).status == 200
    assert server.ask("GET", "/v1/sessions", address=server.tcp).status == 401
    for path in ("/playground/", "/playground", "/playground/none", "/playground/..%2fmain.js", "/index.html"):
        assert server.ask("GET", path).status == 404, path
    assert server.ask("POST", "/").status == 405
    assert not [path for path in server.ask("GET", "/openapi.json").json()["paths"] if not path.startswith(("/v1/", "/mcp", "/healthz",
                "/readyz", "/metrics", "/openapi.json"))]
    assert server.ask("GET", "/", headers={"Host": "evil.example"}, address=server.tcp).status == 421


def test_it_can_be_switched_off(own):
    with serving(own, "--no-playground") as server:
        answer = server.ask("GET", "/")
        assert (answer.status, answer.json()["code"]) == (404, "not_found") and "playground" in answer.json()["hint"]
        assert server.ask("GET", "/playground/main.js").status == 404
    with serving(own, config="[serve]\nplayground = false\n") as server:
        assert server.ask("GET", "/").status == 404


def test_a_build_without_npm_says_so(tmp_path):
    """The script that bundles the page, without npm: the build continues, or says why it fails."""
    os.symlink("/usr/bin/realpath", tmp_path / "realpath")
    os.symlink("/usr/bin/dirname", tmp_path / "dirname")
    command = ["/bin/sh", ROOT + "/tools/playground.sh"]
    for mode, status in [("auto", 0), ("disabled", 0), ("enabled", 1)]:
        done = subprocess.run([*command, mode, str(tmp_path / mode), str(tmp_path)], env={"PATH": str(tmp_path)},
                              capture_output=True, text=True)
        assert done.returncode == status and ("npm is not there" in done.stderr) == (mode != "disabled"), done.stderr
        assert (tmp_path / mode).exists() == (status == 0)


def test_the_source_is_typed(packages):
    done = subprocess.run(["node_modules/.bin/tsc", "--noEmit"], cwd=packages, capture_output=True, text=True)
    assert done.returncode == 0, done.stdout + done.stderr
    for name in os.listdir(packages + "/src"):
        with open(packages + "/src/" + name) as file:
            assert len(file.readlines()) <= 250, name
    with open(ROOT + "/web/package-lock.json") as file:
        assert "resolved" not in file.read()


CUT = """
import {readEvents} from "./events.mjs";
const text = 'event: stdout\\ndata: {"text":"\u00e4\\\\n"}\\n\\n: still running\\n\\nevent: result\\ndata: {"a":"\u20ac"}\\n\\n';
const bytes = new TextEncoder().encode(text);
for (let one = 0; one <= bytes.length; one++)
  for (let two = one; two <= bytes.length; two++) {
    const body = new ReadableStream({start(to) {
      for (const [from, until] of [[0, one], [one, two], [two, bytes.length]]) if (until > from) to.enqueue(bytes.slice(from, until));
      to.close();
    }});
    let got = [];
    for await (const event of readEvents(body)) got.push([event.name, event.data]);
    const said = JSON.stringify(got);
    if (said !== '[["stdout",{"text":"\u00e4\\\\n"}],["result",{"a":"\u20ac"}]]') throw new Error(one + " " + two + " " + said);
  }
console.log("all cuts");
"""


def test_events_are_read_however_they_are_cut(packages):
    subprocess.run(["node_modules/.bin/esbuild", "src/events.ts", "--outfile=events.mjs", "--log-level=error"], cwd=packages, check=True)
    with open(packages + "/cut.mjs", "w") as file:
        file.write(CUT)
    done = subprocess.run(["node", "cut.mjs"], cwd=packages, capture_output=True, text=True, timeout=60)
    assert done.stdout == "all cuts\n", done.stderr


# ---- Entering the token ----

def test_the_token_is_asked_for_and_a_wrong_one_is_told(browser, server):
    from selenium.webdriver.common.keys import Keys
    page = Page(browser, server)
    page.leave()
    browser.value("sessionStorage.clear()")
    browser.open(page.address)
    wait_until(lambda: page.value("document.querySelector('dialog[open]') !== null"), "no token is asked for")
    browser.shot("token")
    page.keys("wrong", Keys.ENTER)
    wait_until(lambda: "does not know this token" in page.text("dialog[open]"), "the wrong token is not told")
    page.keys(TOKEN, Keys.ENTER)
    wait_until(lambda: page.value("document.body.dataset.ready"), "the right token does not do")
    assert page.value("document.querySelector('dialog[open]')") is None
    assert "42" in page.run("6 * 7")
    # Only in this tab, and not in the page itself.
    assert TOKEN not in page.value("document.documentElement.outerHTML + JSON.stringify({...localStorage}) + document.cookie")
    page.click("Forget the token")
    wait_until(lambda: page.value("document.querySelector('dialog[open]') !== null"), "it is not forgotten")
    assert TOKEN not in page.value("JSON.stringify({...sessionStorage})")
    assert browser.violations() == []


def test_the_two_commands_of_the_documentation(own, browser, tmp_path):
    with open(ROOT + "/docs/playground.md") as file:
        make_token, serve = re.findall(r"^    (.+)$", file.read(), re.M)[:2]
    subprocess.run(["sh", "-c", make_token], cwd=tmp_path, check=True)
    flags = serve.replace('"$PWD/tokens"', str(tmp_path / "tokens")).split()
    assert flags[:4] == ["pyexec", "serve", "--listen", "127.0.0.1:8000"]
    # On a port that is free.
    with serving(own, *flags[4:], tcp=True) as server:
        page = Page(browser, server).enter((tmp_path / "token").read_text().strip())
        assert "4" in page.run("open('made', 'w').write('here')")


# ---- Cells ----

def test_a_cell_shows_what_it_prints_as_it_prints_and_its_value(page):
    index = page.start("import time, sys\nprint('begun', flush=True)\nprint('to stderr', file=sys.stderr, flush=True)\n"
                       "while True: time.sleep(0.01)")
    wait_until(lambda: "begun" in page.output(index) and "to stderr" in page.output(index), "nothing is streamed")
    assert page.state(index) == "running" and page.text("bdi.nothing") == ""
    page.click("Interrupt the running cell")
    assert page.ended(index) == "bad" and "KeyboardInterrupt" in page.output(index)
    assert "'kept'" in page.run("x = 'kept'\nx") and "'kept'" in page.run("x")


def test_an_error_has_its_hint_in_front_and_its_traceback_once(page):
    page.run("import requests", "bad")
    assert "import 'requests' not allowed" in page.last(".headline").text
    assert "Allowed modules" in page.last(".hint").text and "import requests" in page.last(".denials").text
    shown = page.run("def broken():\n    return 1 / 0\nbroken()", "bad")
    assert shown.count("ZeroDivisionError") == 2 and "line 2, in broken" in shown    # headline and traceback
    page.browser.shot("error")


def test_cells_wait_for_their_turn_and_stop_after_a_failure(page):
    page.start("1 / 0")
    page.start("2 + 2")
    page.click("Run all cells")
    wait_until(lambda: page.state(1) == "bad" and page.state(2) == "idle", "the queue goes on")
    assert page.state(0) == "ok"


def test_a_waiting_cell_is_stopped_alone_and_a_running_one_where_it_runs(page):
    first = page.text("header bdi")
    running, waiting, last = page.start("import time\nwhile True: time.sleep(0.01)"), page.start("2 + 2"), page.start("3 + 3")
    wait_until(lambda: page.state(running) == "running", "it does not run")
    page.driver.find_elements("css selector", ".cell .run")[waiting].click()
    assert [page.state(index) for index in (running, waiting, last)] == ["running", "idle", "waiting"]
    page.click("New session")
    wait_until(lambda: page.text("header bdi") != first, "no new session")
    page.click("Interrupt the running cell")
    assert page.ended(running) == "bad" and "KeyboardInterrupt" in page.output(running)
    assert page.state(last) == "idle"


def test_a_restart_ends_what_runs(page):
    running = page.start("import time\nwhile True: time.sleep(0.01)")
    wait_until(lambda: page.state(running) == "running", "it does not run")
    page.restart()
    assert page.ended(running) == "bad" and "cancelled" in page.output(running)
    assert "42" in page.run("6 * 7") and page.text(".banner") == ""


def test_a_plot_is_seen(page):
    page.run(PNG + "display({'image/png': base64.b64encode(png((200, 30, 60))).decode()}, raw=True)")
    pixels = page.value("""(async () => {
        const image = document.querySelector('img.picture');
        await image.decode();
        const canvas = new OffscreenCanvas(image.naturalWidth, image.naturalHeight), context = canvas.getContext('2d');
        context.drawImage(image, 0, 0);
        return [canvas.width, canvas.height, ...context.getImageData(20, 15, 1, 1).data];
    })()""")
    assert pixels == [40, 30, 200, 30, 60, 255]
    assert page.last("img").size["width"] == 40


def test_a_table_is_shown_in_a_frame_with_its_styles(page):
    page.run("class T:\n    def _repr_html_(self): return '<style>#c { color: rgb(1, 2, 3) }</style><table><tr><td id=c>cell</td>"
             "<td id=d style=\"background-color: rgb(4, 5, 6)\">d</td></tr></table>'\nT()")
    frame = page.last("iframe")
    assert (frame.get_dom_attribute("sandbox"), frame.get_dom_attribute("src")) == ("", None)
    page.driver.switch_to.frame(frame)
    try:
        assert page.find("#c").text == "cell"
        assert page.find("#c").value_of_css_property("color") == "rgba(1, 2, 3, 1)"
        assert page.find("#d").value_of_css_property("background-color") == "rgba(4, 5, 6, 1)"
    finally:
        page.driver.switch_to.default_content()


def test_the_other_forms(page):
    page.run("display({'image/svg+xml': '<svg xmlns=\"http://www.w3.org/2000/svg\" width=\"30\" height=\"20\"/>', 'text/plain': 'drawn'}, raw=True)")
    image = page.last("img")
    wait_until(lambda: image.size == {"width": 30, "height": 20}, "no picture")
    assert image.get_attribute("alt") == "drawn"
    assert "# Title" in page.run("display({'text/markdown': '# Title'}, raw=True)")
    assert r"\frac" in page.run("display({'text/latex': r'$\\frac{1}{2}$'}, raw=True)")
    assert '"a": 1' in page.run("display({'application/json': {'a': 1}}, raw=True)")
    assert "not run here" in page.run("display({'text/html': '<p>chart</p><script>1</script>', 'text/plain': 'Chart()'}, raw=True)")
    assert "can't show" in page.run("display({'application/x-unknown': 'AAAA'}, raw=True)")


def test_behind_a_proxy_below_a_path_no_token_is_asked_for(browser, server):
    with proxy(server.socket, "/tools/pyexec") as address:
        page = Page(browser, server)
        page.address = address + "/tools/pyexec/"
        page.leave()
        browser.value("sessionStorage.clear()")
        page.load()
        assert "42" in page.run("6 * 7") and not page.find("aside > button").is_displayed()
        assert "1,2" in page.run("open('f', 'w').write('1,2')\nopen('f').read()")
        assert browser.violations() == []


# ---- The session ----

def test_files_go_up_and_come_down(page, tmp_path):
    (tmp_path / "data ä.csv").write_text("a,b\n1,2\n")
    page.find('aside input[type="file"]').send_keys(str(tmp_path / "data ä.csv"))
    wait_until(lambda: "data ä.csv" in page.text("aside .list"), "it is not listed")
    assert "1,2" in page.run("print(open('data ä.csv').read())\nopen('out.txt', 'w').write('made there')")
    wait_until(lambda: "out.txt" in page.text("aside .list"), "what a cell made is not listed")
    page.click("Download out.txt")
    path = os.path.join(page.browser.downloads, "out.txt")
    wait_until(lambda: os.path.exists(path), "nothing is downloaded")
    wait_until(lambda: open(path).read() == "made there", "it is not what the cell wrote")
    page.click("Delete out.txt")
    wait_until(lambda: "out.txt" not in page.text("aside .list"), "it is still there")
    assert "FileNotFoundError" in page.run("open('out.txt')", "bad")


def test_a_restart_forgets_and_keeps_the_cells(page):
    page.run("name = 1")
    page.restart()
    wait_until(lambda: "[1]" not in page.text(".count"), "the counts stay")
    assert "NameError" in page.run("name", "bad")
    assert "sum(range(101))" in page.text(".cm-content")


def test_sessions_are_listed_opened_and_closed(page, server):
    page.run("where = 'first'")
    first = page.text("header bdi")
    page.find("#new-policy").find_element("xpath", "./ancestor::details").click()
    page.find("#new-policy").send_keys('{"timeout_ms": 1234}')
    page.click("New session")
    wait_until(lambda: page.text("header bdi") != first, "no new session")
    assert "1.2 s" in page.text("aside dl")
    assert "NameError" in page.run("where", "bad")
    page.click("Open session " + first)
    wait_until(lambda: page.text("header bdi") == first, "not opened")
    assert "'first'" in page.run("where")
    others = [one["id"] for one in server.ask("GET", "/v1/sessions", address=server.tcp, token=TOKEN).json()["sessions"] if one["id"] != first]
    for other in others:
        page.click("Close session " + other)
        wait_until(lambda: other not in page.text("aside"), "it stays")
    left = server.ask("GET", "/v1/sessions", address=server.tcp, token=TOKEN).json()["sessions"]
    assert [one["id"] for one in left] == [first]
    page.find("#new-policy").clear()
    page.find("#new-policy").send_keys('{"timeout_ms": 9999999}')
    page.click("New session")
    wait_until(lambda: "timeout_ms" in page.text("[aria-labelledby=sessions-title] .message"), "the refusal is not told")


def test_a_reload_keeps_cells_and_session(page):
    page.run("kept = 'over the reload'")
    page.reload()
    assert "kept = 'over the reload'" in page.text(".cm-content")
    assert "'over the reload'" in page.run("kept")


def test_limits_are_shown(page):
    shown = page.text("[aria-labelledby=limits-title]")
    for line in ("1 min", "512 MiB", "in the workspace", "none", "the allowed ones"):
        assert line in shown, (line, shown)


# ---- People ----

def test_the_keyboard_alone_does_it_all(page):
    from selenium.webdriver.common.keys import Keys
    focus = lambda: page.value("document.activeElement.getAttribute('aria-label')")
    for _ in range(12):
        page.keys(Keys.TAB)
        if focus() == "Cell 1":
            break
    assert focus() == "Cell 1"
    page.keys(Keys.ENTER, (Keys.CONTROL, "a"), "6 * 7", (Keys.SHIFT, Keys.ENTER))
    wait_until(lambda: page.state(0) == "ok", "it does not run")
    assert "42" in page.output(0) and page.count() == 2
    page.keys("while True:\npass", (Keys.CONTROL, Keys.ENTER))
    wait_until(lambda: page.state(1) == "running", "the second does not run")
    page.keys(Keys.ESCAPE)
    assert focus().startswith("Cell 2")
    page.keys("i", "i")
    assert page.ended(1) == "bad" and "KeyboardInterrupt" in page.output(1)
    page.keys((Keys.ALT, Keys.ARROW_UP))
    assert focus().startswith("Cell 1") and "while True" in page.text(".cell:first-child .cm-content")
    page.keys("d", "d")
    assert page.count() == 1 and focus().startswith("Cell 1") and "6 * 7" in page.text(".cm-content")
    page.keys("z", "b")
    assert page.count() == 3
    # After Escape, Tab leaves the editor. It reaches every button, and the focus is visible.
    page.keys(Keys.ENTER, Keys.ESCAPE, Keys.TAB)
    assert focus() == "Run" and page.value("getComputedStyle(document.activeElement).outlineStyle") == "solid"


def test_the_theme_is_the_systems_until_one_is_chosen(page):
    def background():
        return page.value("getComputedStyle(document.body).backgroundColor")

    def system(scheme):
        page.driver.execute_cdp_cmd("Emulation.setEmulatedMedia", {"features": [{"name": "prefers-color-scheme", "value": scheme}]})
    try:
        system("dark")
        wait_until(lambda: background() == "rgb(22, 25, 29)", "not dark")
        system("light")
        wait_until(lambda: background() == "rgb(246, 247, 249)", "not light")
        page.find("#theme").click()
        assert background() == "rgb(22, 25, 29)"
        page.reload()
        assert background() == "rgb(22, 25, 29)"
    finally:
        system("")


LOADED = {"cell_type": "code", "id": "a", "metadata": {}, "execution_count": 1, "source": "1 / 0", "outputs": [
    {"output_type": "stream", "name": "stderr", "text": "told"}, {"output_type": "display_data", "metadata": {}, "data": {"text/html": "<p>x</p>"}},
    {"output_type": "error", "ename": "ZeroDivisionError", "evalue": "division by zero", "traceback": ["Traceback", "1 / 0"]}]}


@pytest.mark.parametrize("width", [1440, 390])
@pytest.mark.parametrize("theme", ["light", "dark"])
def test_axe_finds_nothing(page, packages, theme, width, tmp_path):
    """Checks the page with every kind of output, and in the dialogs."""
    with page.browser.sized(width):
        check_with_axe(page, packages, theme, width, tmp_path)


def check_with_axe(page, packages, theme, width, folder):
    from selenium.webdriver.common.keys import Keys
    with open(packages + "/node_modules/axe-core/axe.min.js") as file:
        axe = file.read()
    if page.value("document.documentElement.dataset.theme") != theme:
        page.find("#theme").click()
    page.run("import sys\nprint('x' * 3000)\nprint('y', file=sys.stderr)\nopen('f.txt', 'w').write('f')\n"
             "display({'text/html': '<table><tr><th>a<td>1</table>'}, raw=True)\n{'a': 1}")
    page.run(PNG + "display({'image/png': base64.b64encode(png((0, 0, 0))).decode()}, raw=True)")
    page.run("import requests", "bad")
    page.run("def f(): return undefined_name\nf()", "bad")
    page.run("# " + "long " * 60 + "\n" * 60)
    page.value("document.querySelectorAll('details').forEach(one => { one.open = true; })")
    page.click("Save as a notebook file")
    wait_until(lambda: "Saved as" in page.text(".notice"), "it is not said that it is saved")
    page.browser.shot("cells-%s-%d" % (theme, width))

    def check():
        page.driver.execute_script(axe)
        found = page.value("(async () => (await axe.run({exclude: ['iframe']})).violations)()")
        assert not found, json.dumps([[one["id"], one["help"], [node["html"][:150] for node in one["nodes"][:3]]] for one in found], indent=1)
    # Through the driver, because the page's own policy allows no other script.
    check()
    page.click("Keys")
    check()
    page.keys(Keys.ESCAPE)
    (folder / "loaded.ipynb").write_text(json.dumps({"nbformat": 4, "nbformat_minor": 5, "metadata": {}, "cells": [LOADED]}))
    page.find("#notebook-file").send_keys(str(folder / "loaded.ipynb"))
    wait_until(lambda: page.value("document.querySelector('#confirm') !== null"), "nothing is asked")
    check()
    page.find("#confirm").click()
    wait_until(lambda: "is loaded" in page.text(".notice"), "it is not loaded")
    check()


def test_a_server_that_is_gone_is_told_and_found_again(own, browser):
    with serving(own, *FLAGS, tcp=True, tokens=[token_line("alice", TOKEN)]) as first:
        page, port = Page(browser, first).enter(), first.tcp
        assert "2" in page.run("1 + 1")
    assert "can't be reached" in page.run("2 + 2", "bad")
    assert "can't be reached" in page.text(".banner")
    with serving(own, *FLAGS, "--listen", port, tokens=[token_line("alice", TOKEN)]):
        wait_until(lambda: page.text(".banner") == "", "it is not found again")
        assert "4" in page.run("2 + 2")
