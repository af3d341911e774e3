# Asked: convert a Markdown report to HTML, and list what would go into its table of contents.
# Makes: report.html
import html
import re

source = """# Report <2025>

Sales were **good** & stable.

## Numbers

- North: 10
- South: 20

## Outlook

See [the plan](https://example.com/plan?a=1&b=2).
"""


def inline(text):
    text = html.escape(text, quote=False)
    text = re.sub(r"\*\*(.+?)\*\*", r"<strong>\1</strong>", text)
    return re.sub(r"\[(.+?)\]\((.+?)\)", r'<a href="\2">\1</a>', text)


out, toc, in_list = [], [], False
for line in source.splitlines():
    if m := re.match(r"(#+) (.*)", line):
        level, title = len(m[1]), m[2]
        slug = re.sub(r"\W+", "-", title.lower()).strip("-")
        toc.append((level, title, slug))
        out.append(f'<h{level} id="{slug}">{inline(title)}</h{level}>')
        continue
    is_item = line.startswith("- ")
    if is_item != in_list:
        out.append("<ul>" if is_item else "</ul>")
        in_list = is_item
    if is_item:
        out.append(f"  <li>{inline(line[2:])}</li>")
    elif line:
        out.append(f"<p>{inline(line)}</p>")

page = "\n".join(out)
try:
    with open("report.html", "w", encoding="utf-8") as f:
        f.write(page)
except OSError as e:
    print("not saved:", e)
print(page)
for level, title, slug in toc:
    print("  " * (level - 1) + f"{title} -> #{slug}")
