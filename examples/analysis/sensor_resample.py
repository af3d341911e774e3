import pandas as pd
import matplotlib.pyplot as plt

df = pd.read_csv("sensors.csv", parse_dates=["timestamp"], index_col="timestamp")
print("missing before:", df["temperature"].isna().sum())

# Fill gaps, then hourly and daily means
df["temperature"] = df["temperature"].interpolate(method="time")
hourly = df.resample("1h").mean()
daily = df["temperature"].resample("1D").agg(["min", "mean", "max"])
print("missing after:", df["temperature"].isna().sum())

ax = hourly["temperature"].plot(figsize=(9, 4), color="tab:blue", label="hourly")
hourly["temperature"].rolling(6, center=True).mean().plot(ax=ax, color="tab:red", label="6 h mean")
ax.legend()
ax.set_ylabel("temperature (°C)")
plt.savefig("temperature.png", dpi=100)

daily.to_csv("daily.csv", float_format="%.2f")
daily.round(1)
