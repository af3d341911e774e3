"""The playground in daily use: narrow windows, long output, tables, plots, restarts."""
import pytest

from playground import browser, nothing_left, page, server       # noqa: F401 (fixtures)
from waiting import wait_until

pytestmark = pytest.mark.usefixtures("nothing_left")
SVG = """<svg xmlns="http://www.w3.org/2000/svg" width="60" height="40"><path d="M5 35 L30 5 L55 30" stroke="black" fill="none"/></svg>"""
PLOT = "display({'image/svg+xml': %r, 'text/plain': 'a plot'}, raw=True)" % SVG


def table(rows, cell="cell"):
    """Returns code that shows a table with the caption that pandas writes below it."""
    row = "<tr>" + "<td>%s</td>" % cell * 4 + "</tr>"
    html = "<div><table><thead><tr><th>a</th></tr></thead><tbody>%s</tbody></table><p>%d rows × 4 columns</p></div>" % (row * rows, rows)
    return "display({'text/html': %r}, raw=True)" % html


def inside(page, expression):
    """Evaluates an expression in the frame of the last cell, whose own scripts never run."""
    page.driver.switch_to.frame(page.last("iframe"))
    try:
        return page.driver.execute_script("return " + expression)
    finally:
        page.driver.switch_to.default_content()


# ---- Layout ----

def test_nothing_is_wider_than_a_telephone(page, browser):
    page.run("print('x' * 3000)\nopen('a' * 100, 'w').write('f')")
    page.run(table(3, "wide " * 20))
    page.run(PLOT)
    page.run("import requests", "bad")
    with browser.sized(390):
        assert page.value("document.documentElement.scrollWidth") <= 390
        for button in page.driver.find_elements("css selector", "header button"):
            assert 0 <= button.rect["x"] and button.rect["x"] + button.rect["width"] <= 390, button.accessible_name


def test_code_that_scrolls_does_not_show_through_the_line_numbers(page):
    color = page.value("getComputedStyle(document.querySelector('.cm-gutters')).backgroundColor")
    assert color == page.value("getComputedStyle(document.querySelector('.cell')).backgroundColor") and color.startswith("rgb(")


def test_long_output_scrolls_and_is_copied_whole(page, browser):
    page.run("for i in range(3000): print('line', i)")
    block = page.last(".stdout")
    assert block.size["height"] <= 420 < page.value("args[0].scrollHeight", block)
    page.last("button.copy").click()
    wait_until(lambda: "is copied" in page.text("[role=status]"), "it is not copied")
    copied = browser.value("return navigator.clipboard.readText()")
    assert copied.startswith("line 0\nline 1\n") and copied.rstrip().endswith("line 2999")


@pytest.mark.parametrize("code", [table(1), table(10), table(4, "several words " * 9), table(3, "one<br>two"), table(2, "wide " * 11)])
def test_a_table_fits_its_frame(page, code):
    page.run(code)
    wait_until(lambda: inside(page, "document.querySelector('table') !== null"), "no table")
    needed, shown = inside(page, "[document.documentElement.scrollHeight, innerHeight]")
    assert needed <= shown
    # It is not mostly empty either.
    assert inside(page, "document.body.getBoundingClientRect().height") >= shown / 2 - 20


@pytest.mark.parametrize("theme", ["light", "dark"])
def test_a_table_has_the_ground_of_its_cell(page, theme):
    if page.value("document.documentElement.dataset.theme") != theme:
        page.find("#theme").click()
    page.run(table(60))
    wait_until(lambda: inside(page, "document.querySelector('table') !== null"), "no table")
    assert inside(page, "getComputedStyle(document.documentElement).backgroundColor") == \
        page.value("getComputedStyle(document.querySelector('.cell')).backgroundColor")


def test_a_plot_with_dark_lines_is_seen_in_the_dark(page):
    if page.value("document.documentElement.dataset.theme") != "dark":
        page.find("#theme").click()
    page.run(PLOT)
    picture = page.last("img")
    wait_until(lambda: picture.size["width"] == 60, "no picture")
    pixel = page.value("""(async () => {
        const bitmap = await createImageBitmap(new Blob([Uint8Array.fromBase64(args[0])]));
        const context = new OffscreenCanvas(bitmap.width, bitmap.height).getContext('2d');
        context.drawImage(bitmap, 0, 0);
        return [...context.getImageData(30, 35, 1, 1).data];
    })()""", picture.screenshot_as_base64)
    # The background of a picture without a background: light below black lines, but not as bright as white.
    assert all(200 < one < 245 for one in pixel[:3]), pixel


# ---- Runs ----

def test_a_restart_is_confirmed(page):
    from selenium.webdriver.common.keys import Keys
    page.run("name = 'kept'")
    for cancel in (lambda: page.find("#cancel").click(), lambda: page.keys(Keys.ESCAPE)):
        page.click("Restart the session")
        assert "variables and files" in page.text("dialog[open]")
        cancel()
        wait_until(lambda: page.value("document.querySelector('dialog[open]')") is None, "the dialog stays")
    assert "'kept'" in page.run("name")
    page.restart()
    wait_until(lambda: "[1]" not in page.text(".count"), "it is not restarted")
    assert "NameError" in page.run("name", "bad")
