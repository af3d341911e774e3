# Asked: an invoice as PDF with a table and totals; then read its text to check it.
# Needs: reportlab pypdf
# Makes: invoice.pdf
from decimal import Decimal
from pypdf import PdfReader
from reportlab.lib import colors
from reportlab.lib.pagesizes import A4
from reportlab.lib.styles import getSampleStyleSheet
from reportlab.lib.units import cm
from reportlab.platypus import Paragraph, SimpleDocTemplate, Spacer, Table, TableStyle

items = [("Widget", 10, Decimal("4.50")), ("Gizmo", 1, Decimal("120.00"))]
styles = getSampleStyleSheet()
rows = [["Item", "Quantity", "Price", "Sum"]]
rows += [[name, n, f"{price:.2f}", f"{n * price:.2f}"] for name, n, price in items]
net = sum(n * price for _, n, price in items)
vat = (net * Decimal("0.19")).quantize(Decimal("0.01"))
rows += [["", "", "VAT 19%", f"{vat:.2f}"], ["", "", "Total", f"{net + vat:.2f}"]]

table = Table(rows, colWidths=[6 * cm, 3 * cm, 3 * cm, 3 * cm])
table.setStyle(TableStyle([
    ("BACKGROUND", (0, 0), (-1, 0), colors.HexColor("#305496")),
    ("TEXTCOLOR", (0, 0), (-1, 0), colors.white),
    ("ALIGN", (1, 0), (-1, -1), "RIGHT"),
    ("GRID", (0, 0), (-1, -3), 0.5, colors.grey),
]))
SimpleDocTemplate("invoice.pdf", pagesize=A4, title="Invoice 2025-017").build(
    [Paragraph("Invoice 2025-017", styles["Title"]), Spacer(1, 12), table])

reader = PdfReader("invoice.pdf")
text = reader.pages[0].extract_text()
print(len(reader.pages), reader.metadata.title)
print([line for line in text.splitlines() if line.startswith(("Total", "VAT"))] or text)
