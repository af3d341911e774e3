# Asked: flatten events.json, revenue by user and plan, events by UTC day; print JSON and save CSV.
# Input: events.json
# Makes: events.csv
import csv
import json
from collections import Counter, defaultdict
from datetime import datetime, timezone
from typing import Any


def flatten(obj: Any, prefix: str = "") -> dict[str, Any]:
    flat: dict[str, Any] = {}
    if isinstance(obj, dict):
        for key, value in obj.items():
            flat |= flatten(value, f"{prefix}{key}.")
    elif isinstance(obj, list):
        for i, value in enumerate(obj):
            flat |= flatten(value, f"{prefix}{i}.")
    else:
        flat[prefix.rstrip(".")] = obj
    return flat


with open("events.json") as f:
    data = json.load(f)

rows = [flatten(e) for e in data["events"]]
columns = sorted({c for row in rows for c in row})
with open("events.csv", "w", newline="") as f:
    writer = csv.DictWriter(f, fieldnames=columns, restval="")
    writer.writeheader()
    writer.writerows(rows)

revenue: dict[str, float] = defaultdict(float)
for e in data["events"]:
    match e:
        case {"type": "purchase", "user": {"id": user}, "items": items}:
            revenue[user] += sum(i["n"] * i["price"] for i in items)
        case {"type": "refund", "user": {"id": user}, "amount": amount}:
            revenue[user] -= amount
days = Counter(datetime.fromisoformat(e["at"].replace("Z", "+00:00")).astimezone(timezone.utc).date().isoformat() for e in data["events"])
print(json.dumps({"revenue": {u: round(r, 2) for u, r in revenue.items()}, "days": days, "columns": len(columns)}, indent=2, sort_keys=True))
