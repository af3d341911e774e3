# Asked: find meeting times between 9:00 and 17:00 in Berlin, New York and Tokyo... and show them for each city.
from datetime import datetime, time, timedelta
from zoneinfo import ZoneInfo

cities = {"Berlin": "Europe/Berlin", "New York": "America/New_York", "London": "Europe/London"}
start, end = time(9), time(17)


def suitable(moment):
    return all(start <= moment.astimezone(ZoneInfo(zone)).time() < end for zone in cities.values())


day = datetime(2025, 3, 28, tzinfo=ZoneInfo("UTC"))
for offset in (0, 3):       # before and after Europe's change to summer time
    base = day + timedelta(days=offset)
    slots = [base + timedelta(minutes=30 * i) for i in range(48)]
    good = [s for s in slots if suitable(s)]
    print(f"{base:%a %d %b}: {len(good)} slots")
    first = good[0]
    for city, zone in cities.items():
        local = first.astimezone(ZoneInfo(zone))
        print(f"   {city:<9} {local:%H:%M %Z (UTC%z)}")
