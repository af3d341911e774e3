# Asked: which jobs failed in app.log, why, and how long did the others take?
# Input: app.log
# Fails: SystemExit: 1
import re
import sys
from dataclasses import dataclass, field
from typing import Iterator, Optional


@dataclass
class Entry:
    time: str
    level: str
    worker: str
    message: str
    extra: list[str] = field(default_factory=list)


HEAD = re.compile(r"^(\d{4}-\d\d-\d\d \d\d:\d\d:\d\d,\d{3}) (\w+)\s+(\S+) (.*)$")


def entries(lines) -> Iterator[Entry]:
    current: Optional[Entry] = None
    for line in lines:
        if m := HEAD.match(line):
            if current:
                yield current
            current = Entry(*m.groups())
        elif current:
            current.extra.append(line.rstrip("\n"))
    if current:
        yield current


def main() -> int:
    with open("app.log", encoding="utf-8") as f:
        log = list(entries(f))
    durations = {m[1]: int(m[2]) for e in log if (m := re.match(r"Job (\d+) finished in (\d+) ms", e.message))}
    errors = [e for e in log if e.level == "ERROR"]
    for e in errors:
        reason = e.extra[-1] if e.extra else "?"
        place = next((line.strip() for line in reversed(e.extra) if line.strip().startswith("File ")), "")
        print(f"{e.time} {e.worker}: {e.message}: {reason} ({place})", file=sys.stderr)
    print(f"{len(errors)} failed; mean {sum(durations.values()) / len(durations):.0f} ms over {len(durations)} jobs")
    return 1 if errors else 0


if __name__ == "__main__":
    sys.exit(main())
