import numpy as np
import matplotlib.pyplot as plt
from sklearn.cluster import KMeans
from sklearn.datasets import load_iris
from sklearn.metrics import adjusted_rand_score, silhouette_score
from sklearn.preprocessing import StandardScaler

iris = load_iris()
X = StandardScaler().fit_transform(iris.data)

scores = {}
for k in range(2, 7):
    labels = KMeans(n_clusters=k, n_init=10, random_state=0).fit_predict(X)
    scores[k] = silhouette_score(X, labels)
    print(f"k={k}: silhouette {scores[k]:.3f}")

kmeans = KMeans(n_clusters=3, n_init=10, random_state=0).fit(X)
plt.figure(figsize=(6, 5))
plt.scatter(iris.data[:, 2], iris.data[:, 3], c=kmeans.labels_, cmap="Set1")
plt.xlabel(iris.feature_names[2])
plt.ylabel(iris.feature_names[3])
plt.title("K-means clusters")
plt.show()

{"sizes": sorted(np.bincount(kmeans.labels_).tolist()), "ari": round(adjusted_rand_score(iris.target, kmeans.labels_), 3)}
