# SPDX-License-Identifier: Apache-2.0
"""The expected results of each program of examples/analysis. They are computed here from the same data without the packages of the
program, or are facts about a data set of scikit-learn."""
import base64
import collections
import csv
import datetime
import json
import re
import statistics
import subprocess

PICTURE = """import io, json, sys
from PIL import Image
image = Image.open(io.BytesIO(sys.stdin.buffer.read()))
rgb = image.convert("RGB")
counts = sorted(rgb.getcolors(1 << 24), reverse=True)
print(json.dumps({"format": image.format, "size": image.size, "common": counts[0][1], "share": counts[0][0] / (rgb.width * rgb.height),
                  "colours": [colour for _, colour in counts]}))
"""


class Outcome:
    """One result, and the data of the program."""

    def __init__(self, result, data, python):
        assert (result["status"], result["exit_code"], result["denials"], result["stderr"]) == ("ok", 0, [], ""), result
        assert not result["files_truncated"] and result["display_dropped"] == 0
        assert 0 < result["usage"]["cpu_ms"] < 30000 and 50 << 20 < result["usage"]["peak_memory_bytes"] < 512 << 20, result["usage"]
        self.result, self.data, self.python = result, data, python
        self.value, self.text = result["last_value_json"], result["stdout"]
        self.files = {file["path"]: base64.b64decode(file["content_base64"]) for file in result["files"]}

    def rows(self, name):
        return list(csv.DictReader(self.data[name].decode().splitlines()))

    def made(self, *names):
        assert sorted(self.files) == sorted(names), sorted(self.files)
        return [self.files[name] for name in names]

    def table(self, name):
        return list(csv.DictReader(self.files[name].decode().splitlines()))

    def picture(self, data):
        """Decodes the image with Pillow. A plot is neither blank nor one block of colour."""
        done = subprocess.run([self.python, "-c", PICTURE], input=data, capture_output=True, check=True)
        facts = json.loads(done.stdout)
        assert len(facts["colours"]) > 20 and facts["share"] < 0.99, facts["share"]
        return facts

    def plots(self, count=1):
        """Returns the displayed figures. They are white except for the drawing."""
        shown = [display["data"] for display in self.result["display"] if not display["last_value"]]
        assert [sorted(data) for data in shown] == [["image/png", "text/plain"]] * count, self.result["display"]
        facts = [self.picture(base64.b64decode(data["image/png"])) for data in shown]
        for data, fact in zip(shown, facts):
            assert data["text/plain"].startswith("<Figure size ") and fact["format"] == "PNG" and fact["common"] == [255, 255, 255]
        return facts

    def last_display(self):
        return [display["data"] for display in self.result["display"] if display["last_value"]][0]

    def nothing_shown(self):
        assert self.result["display"] == []


def near(a, b, tolerance=1e-9):
    return abs(a - b) <= tolerance * max(1, abs(b))


def revenue(row):
    return int(row["units"]) * float(row["unit_price"])


def has_colour(facts, colour, tolerance=12):
    return any(max(abs(a - b) for a, b in zip(colour, other)) <= tolerance for other in facts["colours"])


BLUE, ORANGE, RED, FIREBRICK = (31, 119, 180), (255, 165, 0), (214, 39, 40), (178, 34, 34)


def sales_summary(o):
    sums = collections.defaultdict(float)
    for row in o.rows("sales.csv"):
        sums[row["region"]] += revenue(row)
    expected = sorted(sums.items(), key=lambda pair: -pair[1])
    o.made()
    assert [(row["region"], row["revenue"]) for row in o.value] == [(region, round(total, 2)) for region, total in expected]
    assert sum(row["orders"] for row in o.value) == 400 and "Loaded 400 rows" in o.text
    shown = o.last_display()
    assert shown["text/html"].count("<tr") >= 5 and expected[0][0] in shown["text/plain"]


def customer_orders(o):
    names = {row["customer_id"]: row for row in o.rows("customers.csv")}
    orders = o.rows("orders.csv")
    orphans = [row for row in orders if row["customer_id"] not in names]
    o.made("by_segment.csv", "top_customers.csv")
    sums = collections.defaultdict(float)
    for row in orders:
        if row["customer_id"] in names:
            sums[names[row["customer_id"]]["name"]] += float(row["amount"])
    assert o.value == len(orphans) == 60 and "60 of 300 orders" in o.text
    assert sum(int(row["count"]) for row in o.table("by_segment.csv")) == 240
    top = sorted(sums.items(), key=lambda pair: -pair[1])[:5]
    assert [(row["name"], row["amount"]) for row in o.table("top_customers.csv")] == [(name, "%.2f" % total) for name, total in top]
    o.nothing_shown()


def pivot_heatmap(o):
    total = sum(map(revenue, o.rows("sales.csv")))
    o.made("pivot.csv")
    assert near(o.value, total)
    rows = o.table("pivot.csv")
    assert [row["region"] for row in rows] == ["East", "North", "South", "West"] and list(rows[0])[1:3] == ["Jan", "Feb"]
    assert near(sum(float(row[month]) for row in rows for month in list(row)[1:]), total)
    plot, = o.plots()
    # viridis, from its first colour to its last
    assert plot["size"][0] > 900 and has_colour(plot, (68, 1, 84)) and has_colour(plot, (253, 231, 37))


def sensor_resample(o):
    gaps = sum(not row["temperature"] for row in o.rows("sensors.csv"))
    png, daily = o.made("temperature.png", "daily.csv")
    assert "missing before: %d\n" % gaps in o.text and "missing after: 0\n" in o.text and gaps > 30
    days = o.table("daily.csv")
    assert [row["timestamp"] for row in days] == ["2025-03-0%d" % n for n in range(1, 8)] and b"timestamp" in daily
    first = [float(row["temperature"]) for row in o.rows("sensors.csv")[:144] if row["temperature"]]
    assert (float(days[0]["min"]), float(days[0]["max"])) == (min(first), max(first))
    assert len(o.value) == 7 and all(17.5 < row["mean"] < 18.5 for row in o.value)
    plot = o.picture(png)
    assert plot["size"] == [900, 400] and has_colour(plot, BLUE) and has_colour(plot, RED)
    o.plots()


def clean_survey(o):
    seen = {}
    for row in o.rows("survey.csv"):
        seen[row["id"]] = row
    incomes = collections.defaultdict(list)
    for row in seen.values():
        if row["income"] != "unknown":
            incomes[row["city"].strip().title()].append(int(row["income"].replace("$", "").replace(",", "")))
    filled = collections.defaultdict(list)
    for row in seen.values():
        city = row["city"].strip().title()
        filled[city].append(statistics.median(incomes[city]) if row["income"] == "unknown" else int(re.sub(r"\D", "", row["income"])))
    o.made("survey_clean.csv")
    table = o.table("survey_clean.csv")
    assert len(table) == 120 == len(seen) and all(all(row.values()) for row in table) and "126 rows -> 120 rows" in o.text
    assert {row["member"] for row in table} == {"True", "False"} and {row["age_group"] for row in table} == {"<=30", "31-50", ">50"}
    assert o.value.keys() == filled.keys() and all(near(o.value[city], statistics.mean(filled[city]), 1e-4) for city in filled)
    o.nothing_shown()


def linear_regression(o):
    o.made()
    tv, radio = map(float, re.search(r"'tv': np.float64\(([\d.]+)\), 'radio': np.float64\(([\d.]+)\)", o.text).groups())
    assert near(tv, 0.045, 0.003) and near(radio, 0.19, 0.01) and 0.97 < o.value < 1, (tv, radio, o.value)
    plot, = o.plots()
    assert has_colour(plot, (255, 0, 0))


def iris_clusters(o):
    o.made()
    assert o.value == {"sizes": [47, 50, 53], "ari": 0.62} and "k=2: silhouette 0.582" in o.text
    plot, = o.plots()
    assert has_colour(plot, (228, 26, 28)) and has_colour(plot, (153, 153, 153))     # Set1's ends


def ab_test(o):
    rows = o.rows("ab_test.csv")
    rate = {group: statistics.mean(int(row["converted"]) for row in rows if row["group"] == group) for group in "AB"}
    a, b = ([float(row["seconds"]) for row in rows if row["group"] == group] for group in "AB")
    t = (statistics.mean(a) - statistics.mean(b)) / ((statistics.variance(a) + statistics.variance(b)) / 500) ** 0.5
    o.made()
    assert o.value["rate"] == rate and o.value["significant"] is True and "t=%.3f" % t in o.text
    assert 0 < o.value["p_conversion"] < 0.01 and near(o.value["p_time"], 2 * statistics.NormalDist().cdf(-abs(t)), 1e-4)
    o.nothing_shown()


def filter_signal(o):
    png, table = o.made("filtered.png", "filtered.csv")
    raw, filtered = o.value
    assert sorted(round(float(f)) for f in raw) == [5, 60] and sorted(raw.values()) == [0.6, 1.0]
    assert [round(float(f)) for f in filtered] == [5] and list(filtered.values()) == [1.0] and len(table.splitlines()) == 1001
    plot = o.picture(png)
    assert plot["size"] == [800, 600] and has_colour(plot, BLUE) and has_colour(plot, ORANGE)
    o.plots()


def fit_curve(o):
    o.made()
    assert all(near(got, true, 0.02) for got, true in zip(o.value, [2.5, 1.3, 0.5])) and "converged: True" in o.text, o.value
    assert o.result["last_value_repr"].startswith("array([2.5") and "±" in o.text


def word_count(o):
    stop = {"the", "is", "i", "would", "say", "really"}
    words = collections.Counter(w for w in re.findall("[a-z']+", o.data["reviews.txt"].decode().lower()) if w not in stop)
    svg, = o.made("words.svg")
    assert o.value == dict(words.most_common(8)) and svg.startswith(b"<?xml") and b"Most frequent words" in svg and svg.count(b"<path") > 20
    o.plots()


def events_report(o):
    events = [json.loads(line) for line in o.data["events.jsonl"].decode().splitlines()]
    report = json.loads(o.made("report.json")[0])
    steps = {step: len({e["user"]["id"] for e in events if e["type"] == step}) for step in ("view", "cart", "buy")}
    assert report["funnel"] == steps == json.loads(o.text) and report["events"] == 200 and o.value is None
    assert report["median_ms"] == statistics.median(e["ms"] for e in events) and report["from"] == "2025-05-01T00:00:00"
    assert sum(n for country in report["countries"].values() for n in country.values()) == 200
    o.nothing_shown()


def sales_sqlite(o):
    sums = collections.defaultdict(float)
    for row in o.rows("sales.csv"):
        if row["date"] >= "2025-07-01":
            sums[row["product"]] += revenue(row)
    o.made()
    assert [(row["product"], row["revenue"]) for row in o.value] == sorted(sums.items(), key=lambda pair: -pair[1])
    assert [row["place"] for row in o.value] == [1, 2, 3, 4, 5] and "<table" in o.last_display()["text/html"]


def image_edges(o):
    edges, blurred = o.made("edges.png", "blurred.jpg")
    assert "shape: (427, 640, 3) dtype: uint8" in o.text and o.value is None
    facts = o.picture(edges)
    assert (facts["format"], facts["size"]) == ("PNG", [320, 214]) and [255, 255, 255] in facts["colours"]
    assert all(r == g == b for r, g, b in facts["colours"])
    assert o.picture(blurred)["format"] == "JPEG"
    shown = o.last_display()
    assert o.picture(base64.b64decode(shown["image/png"]))["size"] == [320, 214] and shown["text/plain"].startswith("<PIL.")


def fill_gaps(o):
    gaps = sum(not row["temperature"] for row in o.rows("sensors.csv"))
    o.made("sensors_filled.csv")
    assert o.value == [gaps, 0] and re.search(r"-> (linear|cubic)$", o.text.strip())
    rows = o.table("sensors_filled.csv")
    assert all(row["temperature"] in ("", row["temperature_filled"]) for row in rows)
    assert all(5 < float(row["temperature_filled"]) < 32 for row in rows)


def digits_pca(o):
    o.made()
    assert "21 of 64 components" in o.text and o.result["last_value_repr"] is None
    plot, = o.plots()
    assert plot["size"][0] > 800 and has_colour(plot, BLUE) and has_colour(plot, (23, 190, 207))      # tab10's ends


def wine_classifier(o):
    o.made("importance.csv")
    counts = [[row["class_%d" % n] for n in range(3)] for row in o.value]
    assert [sum(row) for row in counts] == [18, 21, 15] and sum(counts[n][n] for n in range(3)) >= 51, counts
    assert "macro avg" in o.text and len(o.table("importance.csv")) == 5
    assert {"proline", "flavanoids"} < {row["feature"] for row in o.table("importance.csv")}


def html_report(o):
    html = o.made("out/report.html")[0].decode()
    assert "Total revenue: %s" % format(sum(map(revenue, o.rows("sales.csv"))), ",.2f") in html and html.count("<tr>") == 6
    plot = o.picture(base64.b64decode(re.search(r'base64,([^"]+)"', html)[1]))
    assert has_colour(plot, (0x44, 0x72, 0xc4), 0) and plot["common"] == [255, 255, 255]
    o.nothing_shown()           # the program closes its figure


def stock_risk(o):
    closes = [float(row["close"]) for row in o.rows("prices.csv")]
    top, worst = 0, 0
    for close in closes:
        top = max(top, close)
        worst = min(worst, close / top - 1)
    png, = o.made("risk.png")
    assert o.value["max_drawdown"] == round(worst, 4) and 0 < o.value["var95_10d"] < 0.2
    last = o.rows("prices.csv")[-1]["date"]
    assert datetime.datetime.fromisoformat(o.value["last_date"]).date().isoformat() == last
    plot = o.picture(png)
    assert plot["size"] == [800, 800] and has_colour(plot, FIREBRICK)
    o.plots()


def cancer_grid_search(o):
    o.made()
    assert "(569, 30) {1: 357, 0: 212}" in o.text and "Fitting 5 folds for each of 4 candidates, totalling 20 fits" in o.text
    assert 0.97 <= o.value <= 0.99 and re.search(r"baseline accuracy: 0\.9[678]", o.text), o.value
    o.nothing_shown()


def markdown_report(o):
    text = o.made("overview.md")[0].decode()
    tables = [name[:-4] for name in sorted(o.data) if name.endswith(".csv")]
    assert re.findall("^## (.*)$", text, re.M) == tables and "%d files summarised" % len(tables) in o.text
    assert "400 rows, 5 columns, 0 missing values" in text
    units = [int(row["units"]) for row in o.rows("sales.csv")]
    assert "| units | %.2f | %.2f | %.2f |" % (statistics.mean(units), min(units), max(units)) in text
