# Asked: totals by customer from orders.csv, without pandas.
# Input: orders.csv
# Makes: totals.csv
import csv
from collections import defaultdict
from decimal import Decimal
from pathlib import Path


def read_orders(path: Path):
    with path.open(newline="", encoding="utf-8") as f:
        for row in csv.DictReader(f):
            if not row["quantity"]:
                continue
            yield row


totals: dict[str, Decimal] = defaultdict(Decimal)
seen = set()
for order in read_orders(Path("orders.csv")):
    if order["order_id"] in seen:
        continue
    seen.add(order["order_id"])
    totals[order["customer"]] += Decimal(order["quantity"]) * Decimal(order["unit_price"])

with open("totals.csv", "w", newline="", encoding="utf-8") as f:
    writer = csv.writer(f)
    writer.writerow(["customer", "total"])
    for customer, total in sorted(totals.items(), key=lambda item: -item[1]):
        writer.writerow([customer, f"{total:.2f}"])

print(Path("totals.csv").read_text(encoding="utf-8"))
