# Asked: get a page from the web and print its title; if that fails, use the saved copy shop.html.
# Input: shop.html
import re
import urllib.request
from urllib.error import URLError

url = "https://www.example.com/"
try:
    request = urllib.request.Request(url, headers={"User-Agent": "Mozilla/5.0"})
    with urllib.request.urlopen(request, timeout=10) as response:
        page = response.read().decode(response.headers.get_content_charset() or "utf-8")
    source = url
except (URLError, TimeoutError) as e:
    print(f"Could not load {url}: {e}")
    with open("shop.html", encoding="utf-8") as f:
        page = f.read()
    source = "shop.html"

title = re.search(r"<title>(.*?)</title>", page, re.S | re.I)
print(f"{source}: {title.group(1).strip() if title else 'no title'}")
