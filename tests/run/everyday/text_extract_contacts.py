# Asked: extract e-mail addresses, phone numbers, URLs and dates from story.txt as JSON.
# Input: story.txt
import json
import re
from datetime import datetime
from urllib.parse import urlparse, parse_qs

text = open("story.txt", encoding="utf-8").read()

emails = re.findall(r"[\w.+-]+@[\w-]+\.[\w.]+", text)
phones = re.findall(r"\+\d{1,3}(?: \d{3}){3}", text)
urls = re.findall(r"https?://[^\s,]+", text)
dates = re.findall(r"\b\d{1,2} (?:January|February|March|April|May|June|July|August|September|October|November|December) \d{4}\b", text)

result = {
    "emails": emails,
    "phones": [re.sub(r"\s", "", p) for p in phones],
    "urls": [{"host": urlparse(u).hostname, "query": parse_qs(urlparse(u).query)} for u in urls],
    "dates": [datetime.strptime(d, "%d %B %Y").date().isoformat() for d in dates],
}
print(json.dumps(result, indent=2, ensure_ascii=False))
