import numpy as np
import matplotlib.pyplot as plt
from sklearn.datasets import load_digits
from sklearn.decomposition import PCA

X, y = load_digits(return_X_y=True)
pca = PCA(n_components=30, random_state=0).fit(X)
cumulative = np.cumsum(pca.explained_variance_ratio_)
needed = int(np.argmax(cumulative >= 0.9)) + 1
print(f"{needed} of {X.shape[1]} components explain 90 % of the variance")

points = pca.transform(X)
fig, (left, right) = plt.subplots(1, 2, figsize=(11, 4.5))
scatter = left.scatter(points[:, 0], points[:, 1], c=y, cmap="tab10", s=8)
fig.colorbar(scatter, ax=left, ticks=range(10))
left.set_title("first two components")
right.plot(range(1, 31), cumulative, marker=".")
right.axhline(0.9, color="gray", ls=":")
right.set_title("explained variance")
plt.show()
