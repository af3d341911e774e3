# Asked: explore a synthetic data set with seaborn: pair plot, box plot, heat map of correlations.
# Needs: seaborn
# Shows: image/png image/png
# Value: {'A': 77.0, 'B': 75.3, 'C': 74.5}
import matplotlib.pyplot as plt
import numpy as np
import pandas as pd
import seaborn as sns

rng = np.random.default_rng(42)
n = 120
df = pd.DataFrame({"group": rng.choice(["A", "B", "C"], n), "age": rng.normal(40, 10, n).round(), "hours": rng.gamma(3, 4, n)})
df["score"] = 30 + 0.5 * df["age"] + 2 * df["hours"] + rng.normal(0, 5, n)

sns.set_theme(style="ticks", palette="deep")
g = sns.pairplot(df, hue="group", height=1.8, diag_kind="hist")
g.figure.suptitle("Pairs", y=1.02)
plt.show()

fig, axes = plt.subplots(1, 2, figsize=(10, 4))
sns.boxplot(data=df, x="group", y="score", hue="group", order=["A", "B", "C"], ax=axes[0], legend=False)
sns.heatmap(df.select_dtypes("number").corr(), annot=True, fmt=".2f", cmap="coolwarm", vmin=-1, vmax=1, ax=axes[1])
plt.tight_layout()
plt.show()
df.groupby("group")["score"].mean().round(1).to_dict()
