# Asked: the next occurrences of "third Friday of the month" and "every second Monday", with dateutil.
# Needs: dateutil
from datetime import datetime
from dateutil import parser, tz
from dateutil.relativedelta import relativedelta, FR
from dateutil.rrule import MONTHLY, MO, WEEKLY, rrule

start = datetime(2025, 3, 10, 9, tzinfo=tz.gettz("Europe/Lisbon"))
for when in rrule(MONTHLY, dtstart=start, count=3, byweekday=FR(3)):
    print(when.strftime("%a %d %b %H:%M %Z"))
print([d.strftime("%d.%m.") for d in rrule(WEEKLY, interval=2, byweekday=MO, dtstart=start, count=4)])
end_of_contract = parser.parse("31 January 2025") + relativedelta(months=+1)
print(end_of_contract.date(), relativedelta(datetime(2025, 3, 10), datetime(1990, 7, 15)))
print(tz.gettz("America/Sao_Paulo").utcoffset(start.replace(tzinfo=None)))
