# Asked: make three PDF pages, merge them, turn one, add a watermark and page numbers.
# Needs: reportlab pypdf
# Makes: merged.pdf
import io
from pypdf import PdfReader, PdfWriter
from reportlab.pdfgen import canvas


def page(text, **options):
    buffer = io.BytesIO()
    c = canvas.Canvas(buffer, pagesize=(300, 200))
    c.setFont("Helvetica", options.get("size", 20))
    if options.get("grey"):
        c.setFillGray(0.8)
    c.drawString(options.get("x", 40), options.get("y", 100), text)
    c.save()
    buffer.seek(0)
    return PdfReader(buffer).pages[0]


writer = PdfWriter()
watermark = page("DRAFT", grey=True, size=50)
for number, title in enumerate(["Cover", "Contents", "Summary"], 1):
    sheet = writer.add_page(page(title))
    sheet.merge_page(watermark)
    sheet.merge_page(page(f"{number}/3", size=8, x=270, y=10))
writer.pages[1].rotate(90)
writer.add_metadata({"/Title": "Draft"})
with open("merged.pdf", "wb") as f:
    writer.write(f)

result = PdfReader("merged.pdf")
for p in result.pages:
    print(p.rotation, p.extract_text().split())
