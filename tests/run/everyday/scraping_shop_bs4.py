# Asked: products and opening hours from shop.html as JSON; only what is in stock; absolute links.
# Input: shop.html
# Needs: bs4
import json
import re
from urllib.parse import urljoin
from bs4 import BeautifulSoup

with open("shop.html", encoding="utf-8") as f:
    soup = BeautifulSoup(f, "html.parser")

products = []
for div in soup.select("div.product"):
    price = float(re.sub(r"[^\d.]", "", div.select_one(".price").get_text()))
    products.append({
        "sku": div["data-sku"],
        "name": div.h2.get_text(strip=True),
        "price": price,
        "sale": "sale" in div["class"],
        "available": div.find("p", class_="stock").text == "In stock",
    })
hours = {cells[0].text: (cells[1].text, cells[2].text) for row in soup.find("table", id="hours").find_all("tr")[1:] if (cells := row.find_all("td"))}
links = [urljoin("https://shop.example/de/", a["href"]) for a in soup.find_all("a", href=True)]

print(soup.title.string)
print(json.dumps([p for p in products if p["available"]], indent=1, ensure_ascii=False))
print(hours)
print(*links, sep="\n")
