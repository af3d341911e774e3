# SPDX-License-Identifier: Apache-2.0
"""Headless Chromium (Debian's) by its own driver, as the tests of the playground use it. For each page it
records the violations of Content-Security-Policy, the requests and console lines (scripts can't hide these), and the downloads."""
import contextlib
import json
import os
import shutil
import tempfile

import pytest

FLAGS = ["--headless=new", "--no-sandbox", "--disable-gpu", "--disable-quic", "--no-first-run", "--disable-background-networking",
         "--disable-component-update", "--disable-sync", "--disable-dev-shm-usage", "--window-size=1280,900"]

# This runs before any script of a page, in frames too. Violations in a frame without scripts appear in the console.
WATCH = """
window.violations = [];
document.addEventListener("securitypolicyviolation", event =>
  window.violations.push(event.violatedDirective + " " + event.blockedURI + " " + event.sample), true);
"""


def needed():
    """Returns the modules of selenium. Skips the test if selenium, Chromium or its driver is missing."""
    for program in ("chromium", "chromedriver"):
        if not shutil.which(program):
            pytest.skip("no %s here (tools/bootstrap.sh test installs it)" % program)
    return pytest.importorskip("selenium.webdriver", reason="no selenium here (Debian: python3-selenium)")


class Browser:
    def __init__(self, driver, folder):
        self.driver, self.folder = driver, folder
        self.downloads = os.path.join(folder, "downloads")
        self.requested, self.said = [], []

    def open(self, address):
        self.driver.get(address)

    def run(self, script, *arguments):
        """Runs a function body and returns its value, also the value of a promise."""
        return self.driver.execute_async_script(
            "const done = arguments[arguments.length - 1];"
            "(async (...args) => { %s })(...[...arguments].slice(0, -1))"
            ".then(value => done([value, null]), error => done([null, String(error)]))" % script, *arguments)

    def value(self, script, *arguments):
        value, error = self.run(script, *arguments)
        assert error is None, error
        return value

    def logs(self):
        """Reads the requests of all frames, as addresses, and the lines of the console."""
        for entry in self.driver.get_log("performance"):
            message = json.loads(entry["message"])["message"]
            if message["method"] in ("Network.requestWillBeSent", "Network.webSocketCreated"):
                parameters = message["params"]
                self.requested.append(parameters.get("url") or parameters["request"]["url"])
        self.said += [entry["message"] for entry in self.driver.get_log("browser")]

    def violations(self):
        self.logs()
        return self.driver.execute_script("return window.violations") + \
            [line for line in self.said if "Content Security Policy" in line or "TrustedHTML" in line]

    @contextlib.contextmanager
    def sized(self, width, height=900):
        """Shows the page in a view of this size, because a window of Chromium can't be as narrow as a telephone."""
        self.driver.execute_cdp_cmd("Emulation.setDeviceMetricsOverride",
                                    {"width": width, "height": height, "deviceScaleFactor": 1, "mobile": False})
        try:
            yield
        finally:
            self.driver.execute_cdp_cmd("Emulation.clearDeviceMetricsOverride", {})

    def shot(self, name, width=None):
        """If PYEXEC_SHOTS names a folder, saves a picture there: of the visible part, or of the whole page at a given width."""
        folder = os.environ.get("PYEXEC_SHOTS")
        if not folder:
            return
        if width is None:
            self.driver.save_screenshot(os.path.join(folder, name + ".png"))
            return
        with self.sized(width):
            height = self.value("return document.documentElement.scrollHeight")
        with self.sized(width, height):
            self.driver.save_screenshot(os.path.join(folder, "%s-%d.png" % (name, width)))


@contextlib.contextmanager
def browsing(*flags):
    webdriver = needed()
    from selenium.webdriver.chrome.service import Service
    folder = tempfile.mkdtemp(prefix="pyexec-browser-")
    options = webdriver.ChromeOptions()
    options.binary_location = shutil.which("chromium")
    for flag in [*FLAGS, *flags, "--user-data-dir=" + os.path.join(folder, "profile")]:
        options.add_argument(flag)
    options.add_experimental_option("prefs", {"download.default_directory": os.path.join(folder, "downloads")})
    options.set_capability("goog:loggingPrefs", {"performance": "ALL", "browser": "ALL"})
    driver = webdriver.Chrome(options=options, service=Service(shutil.which("chromedriver"), log_path=os.devnull))
    try:
        print("Chromium", driver.capabilities["browserVersion"], "selenium", webdriver.__version__)
        driver.set_script_timeout(60)
        driver.execute_cdp_cmd("Page.addScriptToEvaluateOnNewDocument", {"source": WATCH})
        yield Browser(driver, folder)
    finally:
        driver.quit()
        shutil.rmtree(folder, ignore_errors=True)
