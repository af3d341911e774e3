# Asked: a Word document with headings, a table and a picture made from customers.json.
# Input: customers.json
# Needs: docx matplotlib
# Makes: overview.docx
import io
import json
from datetime import date

import matplotlib
matplotlib.use("Agg")
import matplotlib.pyplot as plt
from docx import Document
from docx.enum.text import WD_ALIGN_PARAGRAPH
from docx.shared import Inches, Pt

customers = json.load(open("customers.json", encoding="utf-8"))

doc = Document()
doc.add_heading("Customer overview", level=0)
p = doc.add_paragraph(f"As of {date(2025, 3, 31):%d %B %Y}, there are ")
p.add_run(f"{len(customers)} customers").bold = True
p.add_run(".")
p.alignment = WD_ALIGN_PARAGRAPH.LEFT

table = doc.add_table(rows=1, cols=3)
table.style = "Light Grid Accent 1"
for cell, title in zip(table.rows[0].cells, ("Name", "Country", "Tags")):
    cell.text = title
for c in customers:
    cells = table.add_row().cells
    cells[0].text, cells[1].text, cells[2].text = c["name"], c["country"], ", ".join(c["tags"]) or "-"

fig, ax = plt.subplots(figsize=(4, 2))
ax.bar([c["country"] for c in customers], [len(c["tags"]) for c in customers])
buffer = io.BytesIO()
fig.savefig(buffer, format="png", dpi=100)
plt.close(fig)
buffer.seek(0)
doc.add_picture(buffer, width=Inches(4))
doc.styles["Normal"].font.size = Pt(11)
doc.save("overview.docx")

again = Document("overview.docx")
print([p.text for p in again.paragraphs if p.text], len(again.tables[0].rows), len(again.inline_shapes))
