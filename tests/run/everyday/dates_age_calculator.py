# Asked: age in years, months and days; the weekday of birth; days to the next birthday.
import calendar
from datetime import date, timedelta


def age(born: date, today: date) -> tuple[int, int, int]:
    years = today.year - born.year
    months = today.month - born.month
    days = today.day - born.day
    if days < 0:
        months -= 1
        previous = today.replace(day=1) - timedelta(days=1)
        days += calendar.monthrange(previous.year, previous.month)[1]
    if months < 0:
        years -= 1
        months += 12
    return years, months, days


def next_birthday(born: date, today: date) -> date:
    for year in (today.year, today.year + 1):
        try:
            candidate = born.replace(year=year)
        except ValueError:          # 29 February
            candidate = date(year, 3, 1)
        if candidate >= today:
            return candidate
    raise AssertionError


today = date(2025, 3, 10)
for born in (date(1990, 7, 15), date(2000, 2, 29), date(1985, 3, 10)):
    y, m, d = age(born, today)
    upcoming = next_birthday(born, today)
    print(f"{born}: {y} years, {m} months, {d} days; born on a {calendar.day_name[born.weekday()]}; next birthday in {(upcoming - today).days} days")
print(calendar.month(2025, 2))
