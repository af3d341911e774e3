import json
from datetime import datetime

import pandas as pd

with open("events.jsonl") as f:
    events = pd.json_normalize([json.loads(line) for line in f])

events["at"] = pd.to_datetime(events["at"])
funnel = events.groupby("type")["user.id"].nunique()
by_country = events.pivot_table(index="user.country", columns="type", values="ms", aggfunc="count", fill_value=0)

report = {
    "events": len(events),
    "users": int(events["user.id"].nunique()),
    "from": events["at"].min().isoformat(),
    "to": events["at"].max().isoformat(),
    "funnel": {step: int(funnel[step]) for step in ["view", "cart", "buy"]},
    "median_ms": float(events["ms"].median()),
    "p95_ms": float(events["ms"].quantile(0.95)),
    "countries": by_country.to_dict(orient="index"),
}
with open("report.json", "w") as f:
    json.dump(report, f, indent=2)
print(json.dumps(report["funnel"]))
