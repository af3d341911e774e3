"""Makes the data of the examples: `python3 make_data.py FOLDER`. The same files each time, from a seed."""
import csv
import datetime
import json
import math
import pathlib
import random
import sys

DAY = datetime.timedelta(days=1)
REGIONS = ["North", "South", "East", "West"]
PRODUCTS = {"laptop": 950.0, "phone": 480.0, "monitor": 210.0, "keyboard": 45.0, "cable": 7.5}


def table(path, header, rows):
    with open(path, "w", newline="") as file:
        csv.writer(file).writerows([header, *rows])


def sales(folder, draw):
    start, rows = datetime.date(2025, 1, 1), []
    for _ in range(400):
        product = draw.choice(list(PRODUCTS))
        rows.append([start + DAY * draw.randrange(365), draw.choice(REGIONS), product, draw.randint(1, 12), PRODUCTS[product]])
    table(folder / "sales.csv", ["date", "region", "product", "units", "unit_price"], sorted(rows))


def orders(folder, draw):
    segments = ["consumer", "business", "public"]
    table(folder / "customers.csv", ["customer_id", "name", "segment"],
          [[n, "Customer %02d" % n, draw.choice(segments)] for n in range(1, 41)])
    # Customers 41 to 50 are only in the orders, not in customers.csv.
    table(folder / "orders.csv", ["order_id", "customer_id", "amount"],
          [[1000 + n, draw.randint(1, 50), round(draw.uniform(5, 500), 2)] for n in range(300)])


def sensors(folder, draw):
    start, rows = datetime.datetime(2025, 3, 1), []
    for n in range(7 * 144):        # a week, every ten minutes
        value = round(18 + 6 * math.sin(2 * math.pi * n / 144) + draw.gauss(0, 0.4), 2)
        gap = 200 <= n < 230 or draw.random() < 0.03
        rows.append([start + n * datetime.timedelta(minutes=10), "" if gap else value, round(draw.uniform(35, 65), 1)])
    table(folder / "sensors.csv", ["timestamp", "temperature", "humidity"], rows)


def survey(folder, draw):
    rows = []
    for n in range(120):
        age = draw.choice(["n/a", ""]) if n % 15 == 0 else draw.randint(18, 80)
        income = "$%s" % format(draw.randint(20, 120) * 1000, ",") if n % 9 else "unknown"
        rows.append([n, draw.choice(["  Berlin", "berlin ", "PARIS", "Paris", "Rome"]), age, income, draw.choice(["yes", "Yes", "no", "NO"])])
    table(folder / "survey.csv", ["id", "city", "age", "income", "member"], rows + rows[::20])


def signal(folder, draw):
    """5 Hz, and 60 Hz hum, at 500 samples a second."""
    table(folder / "signal.csv", ["t", "v"], [
        [n / 500, round(math.sin(2 * math.pi * 5 * n / 500) + 0.6 * math.sin(2 * math.pi * 60 * n / 500) + draw.gauss(0, 0.05), 5)]
        for n in range(1000)])


def advertising(folder, draw):
    rows = []
    for _ in range(150):
        tv, radio = draw.uniform(0, 300), draw.uniform(0, 50)
        rows.append([round(tv, 2), round(radio, 2), round(3 + 0.045 * tv + 0.19 * radio + draw.gauss(0, 0.5), 3)])
    table(folder / "advertising.csv", ["tv", "radio", "sales"], rows)


def experiment(folder, draw):
    rows = []
    for n in range(1000):
        group = "AB"[n % 2]
        rows.append([group, int(draw.random() < (0.10 if group == "A" else 0.17)), round(draw.gauss(60 if group == "A" else 64, 12), 2)])
    table(folder / "ab_test.csv", ["group", "converted", "seconds"], rows)


def decay(folder, draw):
    table(folder / "decay.csv", ["t", "y"], [[n / 10, round(2.5 * math.exp(-1.3 * n / 10) + 0.5 + draw.gauss(0, 0.02), 5)] for n in range(60)])


def prices(folder, draw):
    day, price, rows = datetime.date(2024, 1, 1), 100.0, []
    while len(rows) < 260:
        if day.weekday() < 5:
            price *= math.exp(draw.gauss(0.0004, 0.012))
            rows.append([day, round(price, 2)])
        day += DAY
    table(folder / "prices.csv", ["date", "close"], rows)


def events(folder, draw):
    with open(folder / "events.jsonl", "w") as file:
        for n in range(200):
            user = {"id": draw.randint(1, 25), "country": draw.choice(["DE", "FR", "US"])}
            at = datetime.datetime(2025, 5, 1) + n * datetime.timedelta(minutes=11)
            file.write(json.dumps({"at": at.isoformat(), "type": draw.choice(["view", "view", "view", "cart", "buy"]), "user": user,
                                   "ms": draw.randint(20, 900)}) + "\n")


def reviews(folder, draw):
    good, bad = ["great", "fast", "solid", "love"], ["slow", "broken", "noisy", "return"]
    with open(folder / "reviews.txt", "w") as file:
        for n in range(80):
            words = draw.choices(good if n % 4 else bad, k=3)
            file.write("The %s is %s, really %s. I would say: %s!\n" % (draw.choice(list(PRODUCTS)), *words))


if __name__ == "__main__":
    target = pathlib.Path(sys.argv[1] if len(sys.argv) > 1 else ".")
    target.mkdir(parents=True, exist_ok=True)
    for number, make in enumerate([sales, orders, sensors, survey, signal, advertising, experiment, decay, prices, events, reviews]):
        make(target, random.Random(number))
