import numpy as np
import pandas as pd
import matplotlib.pyplot as plt

prices = pd.read_csv("prices.csv", parse_dates=["date"], index_col="date")["close"]
returns = prices.pct_change().dropna()
volatility = returns.rolling(21).std() * np.sqrt(252)
drawdown = prices / prices.cummax() - 1

# Monte Carlo: value at risk over 10 days
rng = np.random.default_rng(7)
paths = rng.choice(returns.to_numpy(), size=(20_000, 10)).sum(axis=1)
var95 = -np.percentile(paths, 5)

fig, axes = plt.subplots(3, 1, figsize=(8, 8), sharex=True)
prices.plot(ax=axes[0], title="close")
volatility.plot(ax=axes[1], title="volatility (annualised)")
drawdown.plot.area(ax=axes[2], title="drawdown", color="firebrick")
plt.tight_layout()
plt.savefig("risk.png")

print(f"max drawdown: {drawdown.min():.1%}, volatility: {volatility.iloc[-1]:.1%}")
{"max_drawdown": round(float(drawdown.min()), 4), "var95_10d": round(float(var95), 4), "last_date": prices.index[-1]}
