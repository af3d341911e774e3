# Asked: parse access.log; top addresses, status codes, traffic by hour, suspicious logins.
# Input: access.log
import re
from collections import Counter, defaultdict
from datetime import datetime

LINE = re.compile(
    r'(?P<ip>\S+) \S+ (?P<user>\S+) \[(?P<time>[^\]]+)\] '
    r'"(?P<method>[A-Z]+) (?P<path>\S+) [^"]*" (?P<status>\d{3}) (?P<size>\d+|-)'
)

statuses, ips, bad = Counter(), Counter(), 0
by_hour = defaultdict(int)
failed_logins = Counter()

with open("access.log") as log:
    for number, line in enumerate(log, 1):
        match = LINE.match(line)
        if not match:
            bad += 1
            print(f"line {number} skipped: {line.strip()!r}")
            continue
        when = datetime.strptime(match["time"], "%d/%b/%Y:%H:%M:%S %z")
        statuses[match["status"]] += 1
        ips[match["ip"]] += 1
        by_hour[when.hour] += 0 if match["size"] == "-" else int(match["size"])
        if match["path"] == "/login" and match["status"] == "401":
            failed_logins[match["ip"]] += 1

print("Status codes:", dict(sorted(statuses.items())))
print("Top addresses:", ips.most_common(2))
for hour in sorted(by_hour):
    print(f"{hour:02d}:00 {by_hour[hour] / 1024:8.1f} KiB {'#' * (by_hour[hour] // 2048)}")
print("Suspicious:", [ip for ip, n in failed_logins.items() if n >= 3])
