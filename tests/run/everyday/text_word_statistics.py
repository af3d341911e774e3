# Asked: statistics of story.txt: words, sentences, most frequent words, longest words, readability.
# Input: story.txt
import re
import string
from collections import Counter
from statistics import mean, median

STOP_WORDS = {"the", "a", "an", "and", "was", "at", "in", "of", "to", "is", "it", "that", "with", "or", "so", "who", "she", "he", "had", "on", "by", "too", "no"}

with open("story.txt", encoding="utf-8") as f:
    text = f.read()

words = re.findall(r"[A-Za-z]+(?:'[a-z]+)?", text)
sentences = [s for s in re.split(r"(?<=[.!?])\s+(?=[A-Z\"])", text) if s.strip()]
paragraphs = [p for p in text.split("\n\n") if p.strip()]
counts = Counter(w.lower() for w in words if w.lower() not in STOP_WORDS)

print(f"characters: {len(text)}, words: {len(words)}, sentences: {len(sentences)}, paragraphs: {len(paragraphs)}")
print(f"word length: mean {mean(map(len, words)):.2f}, median {median(map(len, words))}")
for word, n in counts.most_common(4):
    print(f"  {word:<10} {n}")
longest = sorted({w.lower() for w in words}, key=lambda w: (-len(w), w))[:3]
print("longest:", ", ".join(longest))
punctuation = Counter(c for c in text if c in string.punctuation)
print("punctuation:", punctuation.most_common(3))
