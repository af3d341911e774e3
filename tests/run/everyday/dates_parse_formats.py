# Asked: bring dates in many notations to ISO format and sort them; say which can't be read.
from datetime import datetime, timezone
from email.utils import parsedate_to_datetime

raw = ["2025-03-10T08:15:00Z", "10/03/2025 14:30", "March 3, 2025", "Thu, 03 Apr 2025 17:45:00 +0100", "20250101", "1735689600", "31.02.2025", "soon"]
FORMATS = ["%d/%m/%Y %H:%M", "%B %d, %Y", "%Y%m%d", "%d.%m.%Y"]


def parse(text):
    try:
        return datetime.fromisoformat(text.replace("Z", "+00:00"))
    except ValueError:
        pass
    if text.isdigit() and len(text) == 10:
        return datetime.fromtimestamp(int(text), tz=timezone.utc)
    for fmt in FORMATS:
        try:
            return datetime.strptime(text, fmt)
        except ValueError:
            continue
    try:
        return parsedate_to_datetime(text)
    except (TypeError, ValueError, IndexError):
        return None


parsed = {text: parse(text) for text in raw}
good = sorted((d if d.tzinfo else d.replace(tzinfo=timezone.utc), text) for text, d in parsed.items() if d)
for moment, text in good:
    print(f"{moment.astimezone(timezone.utc):%Y-%m-%d %H:%M} <- {text}")
print("unreadable:", [text for text, d in parsed.items() if d is None])
