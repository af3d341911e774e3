# Asked: plot a noisy daily series with its moving average, annotate the maximum, shade weekends.
# Needs: pandas matplotlib
# Shows: image/png
# Makes: temperature.svg
# Value: '2025-03-12'
import numpy as np
import pandas as pd
import matplotlib.pyplot as plt
import matplotlib.dates as mdates

np.random.seed(7)
index = pd.date_range("2025-01-01", periods=90, freq="D")
series = pd.Series(20 + 5 * np.sin(np.arange(90) / 9) + np.random.randn(90), index=index, name="temperature")

fig, ax = plt.subplots(figsize=(12, 4))
ax.plot(series.index, series, lw=0.8, alpha=0.6, label="daily")
ax.plot(series.rolling(7, center=True).mean(), lw=2, color="crimson", label="7-day average")
for day in index[index.day_of_week == 5]:
    ax.axvspan(day, day + pd.Timedelta(days=2), color="grey", alpha=0.1)
peak = series.idxmax()
ax.annotate(f"max {series.max():.1f} °C", xy=(peak, series.max()), xytext=(20, -30), textcoords="offset points",
            arrowprops=dict(arrowstyle="->"))
ax.xaxis.set_major_locator(mdates.MonthLocator())
ax.xaxis.set_major_formatter(mdates.DateFormatter("%B"))
ax.set_ylabel(r"$T$ in $^\circ$C")
ax.legend(loc="lower right")
fig.autofmt_xdate()
fig.savefig("temperature.svg")
peak.strftime("%Y-%m-%d")
