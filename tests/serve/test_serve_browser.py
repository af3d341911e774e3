"""`pyexec serve` and pages of other sites: what a browser's fetch() can do, and what it can't."""
import time

import pytest

from browser import browsing
from playground import TOKEN, site
from serving import serving, token_line
from waiting import wait_until

pytestmark = pytest.mark.usefixtures("nothing_left")
# A request that needs a preflight, and a request that the browser may send at once.
ASKED = "{method: 'POST', headers: {Authorization: 'Bearer %s', 'Content-Type': 'application/json'}, body: '{\"code\": \"6 * 7\"}'}" % TOKEN
SIMPLE = "{method: 'POST', mode: 'no-cors', body: '{\"code\": \"6 * 7\"}'}"


@pytest.fixture(autouse=True)
def nothing_left():
    """All tests of this file share a browser."""


@pytest.fixture(scope="module")
def browser():
    with browsing() as running:
        yield running


def statuses(server):
    return [(line["method"], line["status"]) for line in server.lines() if "method" in line]


def test_a_foreign_page_is_refused(own, browser):
    with serving(own, tcp=True, tokens=[token_line("alice", TOKEN)]) as server, site(b"<p>foreign") as (address, _):
        browser.open(address)
        assert "Failed to fetch" in browser.run("await fetch(args[0], %s)" % ASKED, "http://%s/v1/execute" % server.tcp)[1]
        wait_until(lambda: ("OPTIONS", 403) in statuses(server), "it was not refused")
        assert ("POST", 200) not in statuses(server)
        assert browser.value("return (await fetch(args[0], %s)).type" % SIMPLE, "http://%s/v1/execute" % server.tcp) == "opaque"
        wait_until(lambda: ("POST", 403) in statuses(server), "it was not refused")
        for path in ("/", "/openapi.json", "/healthz", "/playground/main.js"):
            assert "Failed to fetch" in browser.run("await fetch(args[0])", "http://%s%s" % (server.tcp, path))[1]
        # It may not show the playground in a frame either, to make people click there.
        browser.said.clear()
        browser.value("document.body.innerHTML = `<iframe src='${args[0]}'></iframe>`", "http://%s/" % server.tcp)
        wait_until(lambda: browser.logs() or any("frame-ancestors" in line for line in browser.said), "it is framed")
        assert server.metric('pyexec_executions_total{status="ok"}') == 0


def test_a_page_whose_name_points_here_is_refused(own):
    """DNS rebinding: for the browser it is the same site, so it sends no Origin."""
    with serving(own, tcp=True, tokens=[token_line("alice", TOKEN)]) as server:
        port = server.tcp.rpartition(":")[2]
        with browsing("--host-resolver-rules=MAP rebound.test 127.0.0.1") as browser:
            browser.open("http://rebound.test:%s/" % port)
            assert "names another server" in browser.value("return document.body.innerText")


def test_a_page_of_allowed_origins_runs_code_and_reads_events(own, browser):
    with site(b"<p>friend") as (friend, _), site(b"<p>foreign") as (foreign, _), \
            serving(own, tcp=True, tokens=[token_line("alice", TOKEN)], config="[serve]\nallowed_origins = %s\n" % friend) as server:
        base = "http://%s" % server.tcp
        browser.open(friend)
        got = browser.value("const answer = await fetch(args[0], %s); return [answer.status, answer.headers.get('X-Request-Id'), "
                            "await answer.json()]" % ASKED, base + "/v1/execute")
        assert got[0] == 200 and got[1] and got[2]["last_value_repr"] == "42"
        got = browser.value("const answer = await fetch(args[0], {headers: {Authorization: 'Bearer wrong'}}); "
                            "return [answer.status, (await answer.json()).code]", base + "/v1/sessions")
        assert got == [401, "unauthorized"]
        # The first event is read while the script waits for something that happens later.
        got = browser.value("""
            const headers = {Authorization: 'Bearer ' + args[1], Accept: 'text/event-stream'};
            const body = JSON.stringify({code: "print('first', flush=True)\\nimport time\\nwhile True: time.sleep(0.01)"});
            const answer = await fetch(args[0] + '/v1/sessions/s/execute', {method: 'POST', headers, body});
            const reader = answer.body.pipeThrough(new TextDecoderStream()).getReader();
            let text = '';
            while (!text.includes('first')) text += (await reader.read()).value;
            await fetch(args[0] + '/v1/sessions/s/interrupt', {method: 'POST', headers});
            for (let part; !(part = await reader.read()).done;) text += part.value;
            return text""", base, TOKEN)
        assert got.startswith("event: stdout\n") and "event: result\n" in got and "KeyboardInterrupt" in got
        # A fetch that is aborted ends its run.
        browser.driver.execute_script("window.given = new AbortController(); fetch(arguments[0], {method: 'POST', signal: given.signal, "
                                      "headers: {Authorization: 'Bearer ' + arguments[1]}, body: JSON.stringify({code: 'import time\\n"
                                      "time.sleep(60)', timeout_ms: 5000})}).catch(() => {})", base + "/v1/execute", TOKEN)
        wait_until(lambda: server.metric("pyexec_running") == 1, "it does not run")
        left = time.monotonic()
        browser.driver.execute_script("given.abort()")
        wait_until(lambda: server.metric("pyexec_running") == 0, "it goes on")
        assert time.monotonic() - left < 4
        browser.open(foreign)
        assert "Failed to fetch" in browser.run("await fetch(args[0], %s)" % ASKED, base + "/v1/execute")[1]
