# Asked: delivery dates, skipping weekends and holidays; with numpy and pandas.
# Needs: pandas
import numpy as np
import pandas as pd
from pandas.tseries.holiday import AbstractHolidayCalendar, EasterMonday, GoodFriday, Holiday
from pandas.tseries.offsets import CustomBusinessDay


class Holidays(AbstractHolidayCalendar):
    rules = [Holiday("New Year", month=1, day=1), GoodFriday, EasterMonday, Holiday("Labour Day", month=5, day=1)]


days = Holidays().holidays("2025-01-01", "2025-12-31")
business = CustomBusinessDay(calendar=Holidays())
orders = pd.to_datetime(["2024-12-30", "2025-04-16", "2025-04-30"])
delivery = pd.DataFrame({"ordered": orders, "delivered": [o + 3 * business for o in orders]})
delivery["calendar_days"] = (delivery["delivered"] - delivery["ordered"]).dt.days
print(delivery)
print(np.busday_count("2025-04-01", "2025-05-01", holidays=days.values.astype("datetime64[D]")), "working days in April")
print(pd.date_range("2025-01-31", periods=3, freq="BME").strftime("%a %d.%m.").tolist())
