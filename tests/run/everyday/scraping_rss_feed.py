# Asked: the items of feed.xml, newest first, with UTC times; write them as a new XML file with an index by category.
# Input: feed.xml
# Makes: index.xml
import xml.etree.ElementTree as ET
from collections import defaultdict
from datetime import timezone
from email.utils import parsedate_to_datetime

NS = {"dc": "http://purl.org/dc/elements/1.1/"}
root = ET.parse("feed.xml").getroot()
items = []
for item in root.iterfind("./channel/item"):
    items.append({
        "title": item.findtext("title"),
        "when": parsedate_to_datetime(item.findtext("pubDate")).astimezone(timezone.utc),
        "author": item.findtext("dc:creator", default="unknown", namespaces=NS),
        "categories": [c.text for c in item.findall("category")],
    })
items.sort(key=lambda i: i["when"], reverse=True)
for i in items:
    print(f"{i['when']:%Y-%m-%d %H:%M} {i['title']} ({i['author']})")

index = defaultdict(list)
for i in items:
    for category in i["categories"]:
        index[category].append(i["title"])
out = ET.Element("index")
for name in sorted(index):
    node = ET.SubElement(out, "category", name=name)
    for title in index[name]:
        ET.SubElement(node, "title").text = title
ET.indent(out)
ET.ElementTree(out).write("index.xml", encoding="utf-8", xml_declaration=True)
print(open("index.xml", encoding="utf-8").read())
