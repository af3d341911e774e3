# Asked: an Excel workbook of orders.csv with formatting, a formula and a chart.
# Input: orders.csv
# Needs: openpyxl
# Makes: orders.xlsx
import csv
from openpyxl import Workbook, load_workbook
from openpyxl.chart import BarChart, Reference
from openpyxl.styles import Alignment, Font, PatternFill
from openpyxl.utils import get_column_letter

wb = Workbook()
ws = wb.active
ws.title = "Orders"
with open("orders.csv", newline="", encoding="utf-8") as f:
    for i, row in enumerate(csv.reader(f)):
        if i == 0:
            ws.append(row + ["total"])
        elif row[5]:
            ws.append([int(row[0]), *row[1:5], int(row[5]), float(row[6]), f"=F{ws.max_row + 1}*G{ws.max_row + 1}"])

for cell in ws[1]:
    cell.font = Font(bold=True, color="FFFFFF")
    cell.fill = PatternFill("solid", fgColor="305496")
    cell.alignment = Alignment(horizontal="center")
for column in range(1, ws.max_column + 1):
    ws.column_dimensions[get_column_letter(column)].width = 14
ws.freeze_panes = "A2"
ws.auto_filter.ref = ws.dimensions

chart = BarChart()
chart.title = "Quantity per order"
chart.add_data(Reference(ws, min_col=6, min_row=1, max_row=ws.max_row), titles_from_data=True)
ws.add_chart(chart, "J2")
wb.save("orders.xlsx")

check = load_workbook("orders.xlsx")
print(check.sheetnames, check["Orders"].dimensions, check["Orders"]["H2"].value)
