import re
from collections import Counter

import matplotlib.pyplot as plt

with open("reviews.txt", encoding="utf-8") as f:
    text = f.read().lower()

stopwords = {"the", "is", "i", "would", "say", "really"}
words = [w for w in re.findall(r"[a-z']+", text) if w not in stopwords]
counts = Counter(words)
top = counts.most_common(8)

for word, n in top:
    print(f"{word:<10} {n:>4} {'#' * (n // 4)}")

labels, values = zip(*reversed(top))
plt.barh(labels, values)
plt.title("Most frequent words")
plt.savefig("words.svg")
dict(top)
