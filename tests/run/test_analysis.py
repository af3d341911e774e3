"""The programs of examples/analysis, as an agent sends them, with the configuration that lies beside them: what comes out
(tests/support/analysis_checks.py), and what a model reads after each of its usual mistakes."""
import base64
import glob
import json
import os
import re
import subprocess

import pytest

import analysis_checks
from conftest import ROOT
from library import Executor

FOLDER = ROOT + "/examples/analysis"
PROGRAMS = sorted(os.path.basename(path)[:-3] for path in glob.glob(FOLDER + "/*.py") if not path.endswith("make_data.py"))


def source(name):
    with open("%s/%s.py" % (FOLDER, name)) as file:
        return file.read()


@pytest.fixture(scope="session")
def data(session_folder):
    """Returns the files that make_data.py makes, by name."""
    folder = session_folder / "analysis"
    subprocess.run(["/usr/bin/python3", FOLDER + "/make_data.py", folder], check=True)
    return {path.name: path.read_bytes() for path in folder.iterdir()}


@pytest.fixture(scope="session")
def configuration(session_folder):
    """Copies the configuration file to a place where every user can read it."""
    path = session_folder / "pyexec.conf"
    with open(FOLDER + "/pyexec.conf") as file:
        path.write_text(file.read())
    return str(path)


@pytest.fixture(scope="session")
def flags(science, configuration):
    return ["--config", configuration, "--python-bin", science]


@pytest.fixture(scope="module")
def executor(pyexec, science, configuration):
    """This user has one warm parent for all programs."""
    policy = json.loads(pyexec.run("policy", "--config", configuration).stdout)
    user = {} if pyexec.uid == os.getuid() else {"user": pyexec.uid, "group": pyexec.uid, "extra_groups": []}
    with Executor(dict(policy, python_bin=science), {}, {"zygotes": 1}, pyexec.path, cwd="/", **user) as made:
        yield made


def files_of(data):
    return {name: {"base64": base64.b64encode(content).decode()} for name, content in data.items()}


def request(name, data):
    return {"code": source(name), "files": files_of(data), "return_files": ["*"], "value_json": "records"}


def check(name, result, data, science):
    getattr(analysis_checks, name)(analysis_checks.Outcome(result, data, science))


def test_every_program_is_checked_and_short():
    assert len(PROGRAMS) >= 20
    for name in PROGRAMS:
        assert 10 <= len(source(name).splitlines()) <= 40 and "pyexec" not in source(name), name
        assert hasattr(analysis_checks, name), name


def test_the_data_is_the_same_each_time(data, open_folder):
    subprocess.run(["/usr/bin/python3", FOLDER + "/make_data.py", open_folder], check=True)
    assert {path.name: path.read_bytes() for path in open_folder.iterdir()} == data


@pytest.mark.parametrize("name", PROGRAMS)
def test_a_run(executor, data, science, name):
    check(name, executor.call(None, **request(name, data)), data, science)


def test_all_in_one_session(executor, data, science):
    """Programs run one after another. What a program leaves (names, figures, files) does not disturb the next one."""
    for name in PROGRAMS:
        result = executor.call("analyst", **request(name, data))
        # A file that is overwritten with the same data does not count as changed.
        result["files"] = [file for file in result["files"] if file["path"] not in data]
        if name == "markdown_report":       # more tables exist by then
            assert "files summarised" in result["stdout"] and [file["path"] for file in result["files"]] == ["overview.md"]
        else:
            check(name, result, data, science)
    executor.close("analyst")


@pytest.mark.parametrize("name", ["linear_regression", "sensor_resample"])
def test_a_command(pyexec, flags, data, science, open_folder, nothing_left, name):
    """As docs/data-analysis.md says: files in, results and plots out."""
    for file, content in data.items():
        (open_folder / file).write_bytes(content)
    os.chmod(open_folder, 0o777)
    inputs = [part for file in data for part in ("--file", str(open_folder / file))]
    done = pyexec.run("run", "--json", *flags, *inputs, "--value-json", "records", "--return-files", "*", "-", input=source(name))
    assert done.returncode == 0, done
    check(name, json.loads(done.stdout), data, science)


def test_the_documented_commands(own, open_folder):
    """Runs the examples of docs/data-analysis.md, which begin with making the environment."""
    with open(ROOT + "/docs/data-analysis.md") as file:
        lines = re.search("```sh\n(.*?)```", file.read(), re.S)[1].splitlines(keepends=True)
    (open_folder / "examples").symlink_to(ROOT + "/examples")

    def run(commands):
        return subprocess.run(["sh", "-ec", "".join(commands)], cwd=open_folder, capture_output=True, text=True,
                              env=dict(os.environ, PATH=own.folder + ":" + os.environ["PATH"], PYEXEC_ENV_ROOT=str(open_folder / "environments")))
    assert lines[0].startswith("pyexec env create ")
    made = run(lines[:1])
    assert made.returncode == 0 and "address_space_bytes" in made.stdout, made
    done = run(lines[1:])
    assert (done.returncode, done.stdout, done.stderr) == (0, "<Figure size 1000x400 with 2 Axes>\n1000442.5\n", ""), done
    assert (open_folder / "results/pivot.csv").exists() and (open_folder / "plots/display-1.png").read_bytes().startswith(b"\x89PNG")


@pytest.mark.parametrize("name", ["stock_risk", "wine_classifier"])
def test_a_run_without_preloads(own, flags, data, science, session_folder, name):
    """It is slower, but the result is the same."""
    inputs = [part for file in data for part in ("--file", str(session_folder / "analysis" / file))]
    done = own.run("run", "--json", *flags, "--preload-imports", "", *inputs, "--value-json", "records", "--return-files", "*", "-",
                   input=source(name))
    check(name, json.loads(done.stdout), data, science)


# What a model reads after its usual mistakes

READ = "import pandas as pd\ndf = pd.read_csv('%s')\n"
SALES, SURVEY, SENSORS = (READ % name for name in ("sales.csv", "survey.csv", "sensors.csv"))
FIT = "from sklearn.linear_model import LinearRegression\nLinearRegression().fit(%s)"
COLUMNS = "The columns are: 'date', 'region', 'product', 'units', 'unit_price'."


@pytest.mark.parametrize("code, words", [
    # A misspelt column
    (SALES + "df['unit'].sum()", "Did you mean: 'units'? " + COLUMNS), (SALES + "df['revenue'].sum()", COLUMNS),
    (SALES + "df[['region', 'prodct']]", "Did you mean: 'product'?"), (SALES + "df[['a', 'b']]", COLUMNS), (SALES + "df[0]", COLUMNS),
    (SALES + "df.groupby('regions')['units'].sum()", "Did you mean: 'region'?"), (SALES + "df.sort_values('unit')", "Did you mean: 'units'?"),
    (SALES + "df.dropna(subset=['unit'])", "Did you mean: 'units'?"), (SALES + "df.loc[:, 'regin']", "Did you mean: 'region'?"),
    (SALES + "df.drop(columns=['Region'])", "Did you mean: 'region'?"), (SALES + "df.merge(df, on='id')", COLUMNS),
    (SALES + "df.regoin", "Did you mean: 'region'?"),
    # Missing names and files
    ("df = pd.read_csv('sales.csv')", "import pandas as pd"), ("import pandas as pd\npd.read_csv('sale.csv')", "request's files"),
    ("import pandas as pd\npd.read_csv('/mnt/data/sales.csv')", "relative"), ("import pandas as pd\npd.read_csv('https://example.com/a.csv')", "no network"),
    ("import seaborn as sns", "matplotlib.pyplot"), ("import polars", "not installed"), (SALES + "df.to_excel('a.xlsx')", "df.to_csv()"),
    (SALES + "df.to_markdown()", "df.to_string()"), ("from sklearn.datasets import load_boston", "load_diabetes"),
    ("from sklearn.datasets import fetch_california_housing\nfetch_california_housing()", "no network"),
    ("from multiprocessing import Pool", "Other processes can't be started"),
    # A type that was not converted
    ("import json\n" + SALES + "json.dumps({'n': df['units'].sum()})", "int(x)"), (SURVEY + "df['income'].mean()", "pd.to_numeric"),
    ("import json\n" + READ % "prices.csv" + "json.dumps({'at': pd.to_datetime(df['date']).max()})", "str(x)"),
    (SALES + "df.groupby('region').mean()", "numeric_only=True"), (SALES + "df['date'].dt.month", "parse_dates"),
    (SALES + "df.resample('1D').sum()", "set_index"), (SURVEY + "df['income'].astype(float)", "pd.to_numeric"),
    (SENSORS + "df['temperature'].astype(int)", "fillna"), (SALES + FIT % "df[['region']], df['units']", "get_dummies"),
    (SENSORS + FIT % "df[['humidity']], df['temperature']", "dropna"), (SALES + FIT % "df['units'], df['unit_price']", "df[['a']]"),
    ("import pandas as pd\npd.DataFrame({'a': [1]}).merge(pd.DataFrame({'a': ['1']}), on='a')", "astype(str)"),
    ("import pandas as pd\npd.to_datetime(pd.Series(['2025-01-01', '3 March 2025']))", "format='mixed'"),
    # Code for other versions of a library
    (SALES + "df.append({'units': 1}, ignore_index=True)", "pd.concat"), (SALES + "df.iteritems()", "df.items()"), (SALES + "df.ix[0]", "df.iloc"),
    (SALES + "df.applymap(str)", "df.map"), (SENSORS + "df.fillna(method='ffill')", "df.ffill()"),
    ("import numpy as np\nnp.zeros(3, dtype=np.float)", "np.float64"), ("import numpy as np\nnp.trapz([1, 2])", "np.trapezoid"),
    (SENSORS + "df.set_index(pd.to_datetime(df['timestamp'])).resample('M').size()", "'ME'"),
    ("import matplotlib.pyplot as plt\nplt.style.use('seaborn')", "plt.style.available"),
    # Wrong shapes, and the truth value of arrays
    (SALES + "df[df['units'] > 3 and df['units'] < 5]", "Write & for and"), ("import numpy as np\nif np.ones(3) > 0: pass", ".any()"),
    ("import numpy as np\nnp.ones(3) + np.ones(4)", ".shape"), ("import matplotlib.pyplot as plt\nplt.plot([1, 2, 3], [1, 2])", "len()"),
    ("import pandas as pd\npd.DataFrame({'a': [1, 1], 'b': [2, 2], 'c': [1, 2]}).pivot(index='a', columns='b', values='c')", "pivot_table"),
])
def test_a_mistake(executor, data, code, words):
    result = executor.call(None, code, files=files_of(data))
    assert result["status"] == "error" and words in (result["error"]["hint"] or ""), result["error"]


@pytest.mark.parametrize("code", [SALES + "df.loc[100000]", SALES + "df['units'][100000]", "import pandas as pd\n{}['units']"])
def test_a_missing_row_is_no_missing_column(executor, data, code):
    result = executor.call(None, code, files=files_of(data))
    assert result["error"]["type"] == "KeyError" and result["error"]["hint"] is None, result["error"]


@pytest.mark.parametrize("columns", ["1 / 0", "itertools.count()", "(yield)", "['a' * 10 ** 6] * 10 ** 6", "[Nasty()]", "exit_now()"])
def test_a_table_that_only_looks_like_one(own, columns):
    """The names of the columns look like the script's code."""
    code = ("import itertools, os\ndef exit_now(): raise SystemExit(3)\nclass Nasty:\n    def __repr__(self): raise KeyboardInterrupt\n"
            "source = \"class DataFrame:\\n    columns = property(lambda self: %s)\\n    def fail(self): raise KeyError('colum')\"\n"
            "exec(compile(source, '/x/pandas/frame.py', 'exec'))\nDataFrame().fail()" % columns)
    result = own.result(code, "--any-import", "--timeout", "2s")
    assert result["status"] in ("error", "timeout", "cpu_limit", "memory_limit") and (result["error"]["type"] == "KeyError" or result["status"] != "error"), result
    assert len(result["error"]["hint"] or "") < 3000
