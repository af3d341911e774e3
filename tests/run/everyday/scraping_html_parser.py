# Asked: all links and headings of shop.html, with nothing but the standard library.
# Input: shop.html
from html.parser import HTMLParser


class Outline(HTMLParser):
    def __init__(self):
        super().__init__(convert_charrefs=True)
        self.links, self.headings, self._open = [], [], None

    def handle_starttag(self, tag, attrs):
        if tag == "a":
            self.links.append(dict(attrs).get("href"))
        if tag in ("h1", "h2", "h3"):
            self._open = tag
            self.headings.append([tag, ""])

    def handle_endtag(self, tag):
        if tag == self._open:
            self._open = None

    def handle_data(self, data):
        if self._open:
            self.headings[-1][1] += data


parser = Outline()
with open("shop.html", encoding="utf-8") as f:
    parser.feed(f.read())
for tag, text in parser.headings:
    print("  " * (int(tag[1]) - 1) + text)
print(parser.links)
