"""Displays of real libraries, at the versions of tests/display/requirements.txt."""
import base64
import json
import os
import re

import pytest

from conftest import ROOT
from library import Executor

NAMES = "altair matplotlib numpy pandas PIL plotly".split()
PRELOADS = "altair,matplotlib.pyplot,pandas,PIL.Image,PIL.ImageShow,plotly.graph_objects"
LIMITS = ["--address-space-bytes", "2G", "--timeout", "60s", "--cpu-time-seconds", "30"]
PLOT = "import matplotlib.pyplot as plt\nfig, ax = plt.subplots()\nax.plot([1, 2, 3], label='a')\nax.set_title('Größe')\n"


@pytest.fixture(scope="session")
def flags(science):
    return ["--python-bin", science, "--isolate-site=false", "--allow-import", ",".join(NAMES) + ",io", *LIMITS]


@pytest.fixture(scope="module")
def executor(science):
    """One warm parent has all libraries, because most tests are about displays and not about loading."""
    policy = {"python_bin": science, "isolate_site": False, "preload_imports": PRELOADS.split(","), "allowed_imports": NAMES + ["io", "math"],
              "address_space_bytes": 2 << 30, "timeout_ms": 60000, "cpu_time_seconds": 30}
    with Executor(policy, host={"zygotes": 1}) as made:
        yield made


def clean(result):
    assert result["status"] == "ok" and result["denials"] == [] and result["stderr"] == "" and result["files"] == [], result
    return [display["data"] for display in result["display"]]


def pixels(data):
    png = base64.b64decode(data["image/png"])
    assert png.startswith(b"\x89PNG\r\n\x1a\n") and png.endswith(b"IEND\xaeB`\x82")
    return int.from_bytes(png[16:20], "big"), int.from_bytes(png[20:24], "big")


# matplotlib without preloading: what its import does at each level of file access

@pytest.mark.parametrize("files", ["none", "read", "full"])
def test_matplotlib_without_a_folder_of_its_own(pyexec, flags, files, nothing_left):
    result = pyexec.result(PLOT + "plt.show()\nax", *flags, "--files", files)
    data, = clean(result)
    assert pixels(data)[0] > 300 and data["text/plain"] == "<Figure size 640x480 with 1 Axes>"
    assert result["last_value_repr"].startswith("<Axes")


def test_matplotlib_in_a_folder_of_the_callers(own, flags):
    result = own.result(PLOT + "plt.show()", *flags, "--files", "full", "--env", "MPLCONFIGDIR=/workspace/mpl")
    assert len(result["display"]) == 1 and any(file["path"].startswith("mpl/fontlist") for file in result["files"]), result


def test_matplotlib_is_pillows_and_pandas_too(own, flags):
    """Other libraries draw with matplotlib: here pandas, without file access."""
    result = own.result("import pandas as pd\npd.DataFrame({'a': [1, 3, 2]}).plot(title='t')", *flags)
    assert len(clean(result)) == 1 and result["last_value_repr"].startswith("<Axes")


# matplotlib with preloading

@pytest.mark.parametrize("code, count", [
    ("", 1), ("plt.show()", 1), ("plt.show()\nplt.show()", 1), ("plt.close()", 0), ("plt.close('all')\nfig", 1), ("fig", 1), ("display(fig)", 1),
    ("display(fig)\nax.plot([3, 1])", 2), ("fig.show()\nplt.show()", 1), ("plt.figure()\nplt.plot([1])", 2), ("plt.figure()", 1),
    ("plt.savefig('x.png') if 0 else None", 1), ("plt.show()\nplt.plot([1])\nplt.show()", 2), ("plt.clf()", 0),
])
def test_figures_are_shown_once(executor, code, count):
    assert len(clean(executor.call(None, PLOT + code))) == count


def test_figures_of_a_script_that_fails(executor):
    result = executor.call(None, PLOT + "1 / 0")
    assert result["error"]["type"] == "ZeroDivisionError" and len(result["display"]) == 1


def test_another_backend_is_the_scripts_choice(executor):
    code = "import matplotlib\nmatplotlib.use('agg')\n" + PLOT + "import io\nb = io.BytesIO()\nplt.savefig(b)\nlen(b.getvalue()) > 1000"
    result = executor.call(None, code)
    assert clean(result) == [] and result["last_value_repr"] == "True"


def test_a_font_that_is_missing_is_told_once(executor):
    code = ("import matplotlib.pyplot as plt\nplt.rcParams['font.sans-serif'] = ['SimHei']\n"
            "for i in range(3):\n    plt.figure(); plt.plot([1, -2]); plt.title('a'); plt.xlabel('b')\nplt.show()")
    result = executor.call(None, code)
    assert result["status"] == "ok" and len(result["display"]) == 3 and result["stderr"].count("SimHei") == 1, result["stderr"]


def test_numba_keeps_no_cache_of_a_cells_functions(own):
    """Makes a module that stands for numba, with the classes of its caching module."""
    names = ("class _Cache: pass\nclass NullCache(_Cache): pass\nclass FunctionCache(_Cache):\n"
             "    def __init__(self, function): self.function = function\n")
    code = ("import os\nos.makedirs('numba/core')\nfor name in ('numba', 'numba/core'): open(name + '/__init__.py', 'w').close()\n"
            "open('numba/core/caching.py', 'w').write(%r)\n"
            "from numba.core.caching import FunctionCache\n"
            "type(FunctionCache(lambda: 1)).__name__, type(FunctionCache(os.path.join)).__name__" % names)
    result = own.result(code, "--any-import", "--files", "full")
    assert result["last_value_repr"] == "('NullCache', 'FunctionCache')", result


def test_figures_in_a_session(executor):
    for n in range(2):
        assert len(clean(executor.call("figures", PLOT))) == 1
        assert clean(executor.call("figures", "5")) == []
    assert clean(executor.call("figures", "plt.get_fignums()")) == []
    assert executor.call("figures", "plt.get_fignums()")["last_value_repr"] == "[]"
    executor.close("figures")


def test_a_figure_beyond_the_limit(executor):
    result = executor.call(None, PLOT, policy={"max_display_bytes": 1000})
    assert result["display"] == [] and result["display_dropped"] == 1 and "max_display_bytes=1000" in result["stderr"]


def test_a_drawing_that_fails(executor):
    result = executor.call(None, PLOT + "ax.set_title('$\\\\nonsense$')\n'end'")
    assert result["status"] == "ok" and result["display"] == [] and "drawing a figure" in result["stderr"] and result["last_value_repr"] == "'end'"


def test_a_drawing_that_never_ends(executor):
    code = PLOT + "from matplotlib.lines import Line2D\nclass L(Line2D):\n    def draw(self, r):\n        while True: pass\nax.add_line(L([1], [2]))"
    result = executor.call(None, code, timeout_ms=1500)
    assert (result["status"], result["display"]) == ("timeout", []), result


def test_two_runs_draw_the_same_and_share_nothing(executor):
    first, second = (clean(executor.call(None, PLOT + "plt.gcf().number")) for _ in range(2))
    assert first == second


# Tables, images, charts

def test_pandas(executor):
    data = clean(executor.call(None, "import pandas as pd\ndf = pd.DataFrame({'a': [1, 2], 'b': ['x', '<y>']})\ndisplay(df.style.highlight_max('a'))\ndf"))
    assert "background-color: yellow" in data[0]["text/html"] and "<Styler" not in data[0]["text/html"]
    assert "<td>&lt;y&gt;</td>" in data[1]["text/html"] and data[1]["text/plain"] == "   a    b\n0  1    x\n1  2  <y>"
    assert clean(executor.call(None, "import pandas as pd\npd.Series([1])")) == []


@pytest.mark.parametrize("mode", ["RGB", "RGBA", "L", "1", "P"])
def test_pillow(executor, mode):
    data = clean(executor.call(None, "from PIL import Image\nim = Image.new(%r, (8, 4))\nim.show()\nim" % mode))
    assert len(data) == 2 and [pixels(item) for item in data] == [(8, 4)] * 2 and "image/jpeg" not in data[0]


def test_plotly(executor):
    code = "import plotly.graph_objects as go\nfig = go.Figure(go.Bar(y=[2, 3, 1]))\nfig.show()\nfig"
    data = clean(executor.call(None, code))
    for item in data:
        assert item["application/vnd.plotly.v1+json"]["data"][0]["type"] == "bar" and "<div" in item["text/html"]
        assert item["text/plain"].startswith("Figure({")
    assert len(data) == 2


def test_plotly_html_does_not_read_the_whole_of_its_script(executor):
    """A figure's HTML has a hash of a script that the page loads from elsewhere, and could have megabytes. A class may have its own HTML."""
    code = ("import plotly.graph_objects as go, plotly.io._html as html\ndef refuse(): raise RuntimeError('read')\nhtml.get_plotlyjs = refuse\n"
            "class Mine(go.Figure):\n    def _repr_html_(self): return 'mine'\ndisplay(go.Figure(go.Bar(y=[2, 3, 1])))\nMine()")
    cheap, own_html = clean(executor.call(None, code))
    assert re.search(r'<script charset="utf-8" src="https://cdn.plot.ly/plotly-[\d.]+.min.js">', cheap["text/html"]) and "Plotly.newPlot" in cheap["text/html"]
    assert own_html["text/html"] == "mine"
    fake = "import sys, types\nsys.modules['plotly.basedatatypes'] = types.ModuleType('x')\nclass Rich:\n    def _repr_html_(self): return 'rich'\nRich()"
    assert clean(executor.call(None, fake, policy={"use_import_whitelist": False, "banned_imports": []}))[0]["text/html"] == "rich"


def test_altair(executor):
    code = ("import altair as alt, pandas as pd\nc = alt.Chart(pd.DataFrame({'a': [1, 2], 'b': [3, 4]})).mark_bar().encode(x='a:O', y='b:Q')\n"
            "c.show()\nc")
    data = clean(executor.call(None, code))
    for item in data:
        spec = next(value for name, value in item.items() if "vegalite" in name)
        assert spec["mark"] == {"type": "bar"} and "vega" in item["text/html"] and item["text/plain"] == "alt.Chart(...)"
    assert len(data) == 2


@pytest.mark.parametrize("code, name", [
    ("import plotly.graph_objects as go\ngo.Figure(go.Bar(y=[2])).show()", "application/vnd.plotly.v1+json"),
    ("import altair as alt\nalt.Chart(alt.Data(values=[{'a': 1}])).mark_bar().encode(x='a:O').show()", "application/vnd.vegalite.v6.json"),
    ("from PIL import Image\nImage.new('L', (2, 2)).show()", "image/png"),
])
def test_libraries_that_are_not_preloaded(own, flags, code, name):
    data, = clean(own.result(code, *flags))
    assert name in data


def test_ipythons_own_display_is_this_one(own, science):
    code = "from IPython.display import display, HTML, Math\ndisplay(HTML('<b>x</b>'), Math('x'))\nHTML('y')"
    data = clean(own.result(code, "--python-bin", science, "--isolate-site=false", "--any-import", *LIMITS))
    assert [item.get("text/html", item.get("text/latex")) for item in data] == ["<b>x</b>", "$\\displaystyle x$", "y"]


def test_ipythons_display_where_ipython_is_not_installed(own):
    code = ("from IPython.display import display, HTML, Image, Markdown, JSON, Math, clear_output\nimport IPython\n"
            "open('a.png', 'wb').write(b'\\x89PNG')\nopen('b.jpg', 'wb').write(b'\\xff\\xd8')\nclear_output(wait=True)\n"
            "display(HTML('<b>x</b>'), Markdown('*m*'), JSON({'a': 1}), Math('x'), Image('a.png'), Image(filename='b.jpg'), Image(data=b'GIF8'))\n"
            "print(IPython.get_ipython())\nHTML(data='y')")
    result = own.result(code, "--any-import", "--files", "full", "--python-bin", "/usr/bin/python3")
    assert result["status"] == "ok" and result["stdout"] == "None\n", result
    assert [{mime: data for mime, data in item["data"].items() if mime != "text/plain"} for item in result["display"]] == [
        {"text/html": "<b>x</b>"}, {"text/markdown": "*m*"}, {"application/json": {"a": 1}}, {"text/latex": "$\\displaystyle x$"},
        {"image/png": "iVBORw=="}, {"image/jpeg": "/9g="}, {"image/gif": "R0lGOA=="}, {"text/html": "y"}]
    missing = own.result("import IPython.core", "--any-import", "--python-bin", "/usr/bin/python3")
    assert missing["error"]["type"] == "ModuleNotFoundError", missing


def test_the_hooks_have_the_same_names_in_both_languages():
    with open(os.path.join(ROOT, "src", "guest", "display", "display.c")) as file:
        in_c = re.search(r"hooked\[\] = \{(.*?)\}", file.read(), re.S).group(1)
    with open(os.path.join(ROOT, "src", "guest", "display", "libraries.py")) as file:
        text = file.read()
    in_python = re.search(r"\nHOOKS = \{(.*?)\n\}", text, re.S).group(1)
    stand_ins = re.search(r"\nSTAND_INS = \((.*?)\)", text).group(1)
    backend = re.search(r'BACKEND = "(\w+)"', text).group(1)
    assert set(re.findall(r'"([^"]+)"', in_c)) == set(re.findall(r'"([^"]+)":', in_python)) | set(re.findall(r'"([^"]+)"', stand_ins)) | {backend}


# Values

@pytest.mark.parametrize("code, tables, value", [
    ("np.float64(1.5)", "records", 1.5), ("np.int8(-3)", "records", -3), ("np.bool_(True)", "records", True), ("np.uint64(2**64-1)", "records", str(2**64 - 1)),
    ("np.array([[1, 2], [3, 4]])", "records", [[1, 2], [3, 4]]), ("np.array(5)", "records", 5), ("np.array([1.5, np.nan, np.inf])", "records", [1.5, None, None]),
    ("np.array(['a', 'b'])", "records", ["a", "b"]), ("np.zeros((0, 3))", "records", []), ("np.float32(0.5)", "records", 0.5),
    ("np.datetime64('2024-01-02')", "records", "2024-01-02"), ("np.datetime64('NaT')", "records", None), ("np.timedelta64(90, 's')", "records", 90.0),
    ("np.array(['2024-01-02', 'NaT'], dtype='M8[D]')", "records", ["2024-01-02", None]), ("np.longdouble(0.5)", "records", 0.5),
    ("np.ma.array([1, 2], mask=[0, 1])", "records", [1, None]), ("np.array([1+2j])", "records", ["(1+2j)"]), ("np.array([b'a'])", "records", ["YQ=="]),
    ("np.array([(1, 2.5)], dtype=[('a', 'i4'), ('b', 'f8')])", "records", [[1, 2.5]]),
    ("pd.DataFrame({'a': [1, 2], 'b': ['x', None]})", "records", [{"a": 1, "b": "x"}, {"a": 2, "b": None}]),
    ("pd.DataFrame({'a': [1, 2], 'b': ['x', None]})", "split", {"columns": ["a", "b"], "index": [0, 1], "data": [[1, "x"], [2, None]]}),
    ("pd.DataFrame({'a': [1]}, index=['r'])", "records", [{"index": "r", "a": 1}]),
    ("pd.DataFrame({'a': [1]}, index=pd.Index(['r'], name='row'))", "records", [{"row": "r", "a": 1}]),
    ("pd.DataFrame({'a': [1, 2], 'k': ['x', 'x'], 'j': [1, 2]}).set_index(['k', 'j'])", "records", [{"k": "x", "j": 1, "a": 1}, {"k": "x", "j": 2, "a": 2}]),
    ("pd.DataFrame({'a': [1, 2, 3], 'k': list('xyx')}).groupby('k').sum()", "records", [{"k": "x", "a": 4}, {"k": "y", "a": 2}]),
    ("pd.DataFrame()", "records", []), ("pd.DataFrame()", "split", {"columns": [], "index": [], "data": []}), ("pd.DataFrame(index=[1])", "split", {"columns": [], "index": [1], "data": [[]]}),
    ("pd.DataFrame({'t': pd.to_datetime(['2024-01-02', None]), 'd': pd.to_timedelta(['90s', None])})", "records",
     [{"t": "2024-01-02T00:00:00", "d": 90.0}, {"t": None, "d": None}]),
    ("pd.DataFrame({'i': pd.array([1, None], dtype='Int64'), 'c': pd.Categorical(['a', 'b'])})", "records", [{"i": 1, "c": "a"}, {"i": None, "c": "b"}]),
    ("pd.Series([1, 2], name='v')", "records", [{"index": 0, "v": 1}, {"index": 1, "v": 2}]), ("pd.Series([1.5], index=['a'])", "records", [{"index": "a", "value": 1.5}]),
    ("pd.Series([1], name='v')", "split", {"name": "v", "index": [0], "data": [1]}), ("pd.Index([1, 2])", "records", [1, 2]),
    ("pd.Timestamp('2024-01-02 03:04', tz='UTC')", "records", "2024-01-02T03:04:00+00:00"), ("pd.NaT", "records", None), ("pd.NA", "records", None),
    ("pd.Timedelta('1.5s')", "records", 1.5), ("pd.Period('2024-01')", "records", "2024-01"), ("pd.Interval(0, 1)", "records", "(0, 1]"),
    ("{'frame': pd.DataFrame({'a': [1]}), 'n': np.int64(3)}", "records", {"frame": [{"a": 1}], "n": 3}),
    ("pd.DataFrame([[1, 2]], columns=pd.MultiIndex.from_tuples([('a', 'x'), ('a', 'y')]))", "records", [{"('a', 'x')": 1, "('a', 'y')": 2}]),
])
def test_values_of_numpy_and_pandas(executor, code, tables, value):
    result = executor.call(None, "import numpy as np, pandas as pd\n" + code, value_json=tables)
    assert (result["last_value_json"], result["last_value_json_error"]) == (value, None), result["error_repr"]
    assert json.dumps(result["last_value_json"]) == json.dumps(value)


@pytest.mark.parametrize("code, why", [
    ("pd.DataFrame([[1, 2]], columns=['a', 'a'])", "two keys become 'a'"), ("pd.DataFrame({'a': range(100000)})", "max_value_bytes"),
    ("np.zeros(10**6)", "max_value_bytes"), ("np.array([object()])", "not representable: object"),
])
def test_tables_that_are_no_values(executor, code, why):
    result = executor.call(None, "import numpy as np, pandas as pd\n" + code, value_json="records")
    assert result["status"] == "ok" and result["last_value_json"] is None and why in result["last_value_json_error"]


def test_inputs_become_a_table(executor):
    rows = [{"a": 1, "b": 0.1}, {"a": 2, "b": None}]
    result = executor.call(None, "import pandas as pd\npd.DataFrame(rows)", inputs={"rows": rows}, value_json="records")
    assert result["last_value_json"] == rows and "text/html" in result["display"][0]["data"]
