import base64
import io
import os
from datetime import date

import pandas as pd
import matplotlib.pyplot as plt

os.makedirs("out", exist_ok=True)
df = pd.read_csv("sales.csv", parse_dates=["date"])
df["revenue"] = df["units"] * df["unit_price"]
monthly = df.set_index("date")["revenue"].resample("MS").sum()

fig, ax = plt.subplots(figsize=(7, 3))
ax.bar(monthly.index.strftime("%m"), monthly.values, color="#4472c4")
ax.set_title("Monthly revenue")
buffer = io.BytesIO()
fig.savefig(buffer, format="png", bbox_inches="tight")
plt.close(fig)
picture = base64.b64encode(buffer.getvalue()).decode()

html = f"""<html><head><title>Sales {date(2025, 12, 31):%Y}</title></head><body>
<h1>Sales report</h1>
<p>Total revenue: {df["revenue"].sum():,.2f}</p>
<img src="data:image/png;base64,{picture}">
{df.groupby("product")["revenue"].describe().round(1).to_html()}
</body></html>"""
with open(os.path.join("out", "report.html"), "w") as f:
    f.write(html)
print("report written,", len(html), "characters")
