"""What a hostile script can put into the playground's page: text, HTML, pictures, names, errors. No script of it runs,
no request leaves, nothing of the page changes."""
import json
import urllib.request

import pytest

from playground import TOKEN, Page, site
from playground import browser, nothing_left, server       # noqa: F401 (fixtures)
from waiting import wait_until

pytestmark = pytest.mark.usefixtures("nothing_left")

# SITE is another web site. None of these may run, or request anything there.
TEXTS = ["<script>window.pwned = 1</script>", "<img src=SITE/img onerror=window.pwned=1>", "</pre></section><svg onload=window.pwned=1>",
         "\" onmouseover=window.pwned=1 x=\"", "javascript:window.pwned=1", "{{style}}{{script}}", "\u202egnp.exe\u2066", "\x1b]8;;SITE/osc\x07link\x1b]8;;\x07"]
HTML = """
<script>top.pwned = 1; fetch("SITE/fetch")</script><script src="SITE/script"></script>
<img src="SITE/img" srcset="SITE/srcset 2x" onerror="parent.pwned=1; top.pwned=1"><picture><source srcset="SITE/source"><img></picture>
<svg onload="top.pwned=2"><image href="SITE/svg"/><use href="SITE/use#x"/><script>top.pwned=3</script></svg>
<style>@import "SITE/import"; body { background: url(SITE/bg); cursor: url(SITE/cursor), auto }
  @font-face { font-family: x; src: url(SITE/font) } * { font-family: x } [nonce^="a"] { background: url(SITE/nonce) }</style>
<link rel="stylesheet" href="SITE/link"><link rel="prefetch" href="SITE/prefetch"><link rel="preload" as="image" href="SITE/preload">
<link rel="preconnect" href="SITE"><link rel="dns-prefetch" href="//evil.invalid"><link rel="icon" href="SITE/icon">
<meta http-equiv="refresh" content="0;url=SITE/refresh"><meta http-equiv="Content-Security-Policy" content="default-src *">
<iframe src="SITE/frame"></iframe><iframe srcdoc="<script>top.pwned=4</script>"></iframe><iframe src="javascript:top.pwned=5"></iframe>
<object data="SITE/object"></object><embed src="SITE/embed"><video src="SITE/video" poster="SITE/poster" autoplay></video>
<audio src="SITE/audio" autoplay></audio><track src="SITE/track"><body background="SITE/background" onload="top.pwned=6"></body>
<p id=styled style="background: url(SITE/attribute)">text</p><p style="}*{background:url(SITE/broken)">text</p>
<form action="SITE/form"><button id="submit" formaction="SITE/formaction">send</button></form>
<a id="top" href="SITE/top" target="_top" ping="SITE/ping">top</a><a id="own" href="SITE/own">own</a><a id="new" href="SITE/new" target="_blank">new</a>
<a id="js" href="javascript:top.pwned=7">js</a><input autofocus onfocus="top.pwned=8"><details open ontoggle="top.pwned=9"></details>
<template shadowrootmode="open"><img src="SITE/shadow" onerror="top.pwned=10"></template>
<math><mtext><table><mglyph><style><!--</style><img title="--&gt;&lt;img src=SITE/mxss onerror=top.pwned=11&gt;"></table></mtext></math>
<noscript><p title="</noscript><img src=SITE/noscript onerror=top.pwned=12>"></noscript><base href="SITE/base/"><img src="relative">
"""
SVG = """<svg xmlns="http://www.w3.org/2000/svg" xmlns:xlink="http://www.w3.org/1999/xlink" width="50" height="50" onload="top.pwned=20">
<script>top.pwned=21</script><script href="SITE/svgscript"/><image xlink:href="SITE/svgimage" width="10" height="10"/>
<style>@import "SITE/svgimport";</style><foreignObject width="50" height="50"><iframe xmlns="http://www.w3.org/1999/xhtml" src="SITE/foreign"/>
<img xmlns="http://www.w3.org/1999/xhtml" src="SITE/inner" onerror="top.pwned=22"/></foreignObject></svg>"""


@pytest.fixture(scope="module")
def elsewhere():
    with site(b"reached") as there:
        yield there


@pytest.fixture
def page(browser, server, elsewhere):
    """Opens the page and enters the token. At the end it checks that no script ran, nothing was requested, and the page is unchanged."""
    address, asked = elsewhere
    browser.logs()
    browser.requested.clear()
    page = Page(browser, server).enter()
    yield page
    settle(page)
    assert page.value("window.pwned ?? null") is None
    # The test sees requests to the other site.
    urllib.request.urlopen(address + "/seen").close()
    assert asked == ["/seen"]
    asked.clear()
    assert page.driver.current_url == page.address and len(page.driver.window_handles) == 1
    browser.logs()
    away = [one for one in browser.requested if not one.startswith((page.address, "data:", "chrome", "about:srcdoc"))]
    assert away == []
    assert page.count() >= 1 and page.value("document.querySelectorAll('script, iframe[src]').length") <= 1
    assert "42" in page.run("6 * 7")


def settle(page):
    """Waits until all displays have loaded, two more frames were drawn, and a request was answered. Until then a script, a refresh or
    a request of a display would have happened."""
    for frame in page.driver.find_elements("css selector", "iframe"):
        page.driver.switch_to.frame(frame)
        try:
            wait_until(lambda: page.driver.execute_script("return document.readyState === 'complete' && document.body !== null"),
                       "a frame does not load")
        finally:
            page.driver.switch_to.default_content()
    wait_until(lambda: page.value("[...document.images].every(one => one.complete)"), "a picture does not load")
    page.browser.value("""
        for (let i = 0; i < 2; i++) await new Promise(requestAnimationFrame);
        await fetch('healthz', {cache: 'no-store'});
    """)


def shown(bundle):
    """Returns code whose last value is displayed in this form."""
    return "class Shown:\n    def __repr__(self): return 'shown'\n    def _repr_mimebundle_(self, **more): return %r\nShown()" % (bundle,)


def test_text_stays_text(page, elsewhere):
    for text in TEXTS:
        text = text.replace("SITE", elsewhere[0])
        for code, state in [("print(%r)", "ok"), ("import sys; print(%r, file=sys.stderr)", "ok"),
                            ("class R:\n    def __repr__(self): return %r\nR()", "ok"), ("raise ValueError(%r)", "bad"),
                            ("raise type(%r, (Exception,), {})('x')", "bad"), ("__import__(%r)", "bad"), ("open(%r)", "bad"),
                            ("# %r\n1 / 0", "bad")]:
            output = page.run(code % text, state)
            assert text.strip("\x1b")[:8] in output or code.startswith("#") or "\x1b" in text or "\u202e" in text, (code, output)
        page.restart()


def test_html_does_nothing(page, elsewhere):
    code = shown({"text/html": HTML.replace("SITE", elsewhere[0])})
    page.run(code)
    frame = page.last("iframe")
    page.driver.switch_to.frame(frame)
    try:
        assert page.find("#styled").text == "text"
        # Clicks do nothing either.
        for name in ("top", "own", "new", "js", "submit"):
            page.find("#" + name).click()
            print(name)
        assert page.find("#styled").text == "text"
    finally:
        page.driver.switch_to.default_content()


@pytest.mark.parametrize("form", ["image/svg+xml", "text/markdown", "text/latex", "text/plain", "image/png", "application/json", "text/x-<b>"])
def test_other_forms_do_nothing(page, elsewhere, form):
    for content in (SVG, HTML, *TEXTS):
        content = content.replace("SITE", elsewhere[0])
        data = {"image/png": "iVBOR\"><img src=x onerror=top.pwned=30>" + content, "application/json": {content: [content]}}.get(form, content)
        page.run(shown({form: data, "text/plain": content}))


def test_names_of_files_and_sessions_do_nothing(page, elsewhere, server):
    names = [text.replace("SITE", elsewhere[0]).replace("/", "-").replace("\x1b", "") for text in TEXTS]
    for name in names:
        page.run("open(%r, 'w').write('x')" % name)
    wait_until(lambda: "<script>window.pwned" in page.text("aside .list"), "the names are not shown")
    page.value("document.querySelectorAll('button[aria-label^=Download]').forEach(one => one.click())")
    for left in reversed(range(len(names))):
        page.value("document.querySelector('aside button[aria-label^=Delete]').click()")
        wait_until(lambda: page.value("document.querySelectorAll('aside button[aria-label^=Delete]').length") == left, "it is not deleted")
    for name in names:
        assert server.ask("POST", "/v1/sessions", {"id": name}, address=server.tcp, token=TOKEN).status == 400
    # A token that somebody put into this tab's storage.
    page.leave()
    page.store("session", "<img src=x onerror=window.pwned=1>/../..")
    page.store("cells", json.dumps(TEXTS))
    page.load()
    assert page.count() == len(TEXTS) and page.text("header bdi").startswith("s-")


def test_a_flood_leaves_the_page_usable(page):
    page.run("for i in range(20000): print('<b>' * 15, i)\nimport sys\nprint('y' * 200000, file=sys.stderr)")
    page.run("print('\\n' * 300000)")
    page.run(shown({"text/html": "<b>" * 100000, "text/plain": "x"}))
