# Asked: fill a letter for each customer of customers.json; invalid addresses must be reported.
# Input: customers.json
# Makes: letters/01.eml letters/02.eml letters/03.eml letters/04.eml
import json
import logging
import re
from email.message import EmailMessage
from pathlib import Path
from string import Template

logging.basicConfig(level=logging.INFO, format="%(levelname)s: %(message)s")
log = logging.getLogger(__name__)

LETTER = Template("""Dear $name,

thank you for your orders. Your country code is $country.

Kind regards
""")

output = Path("letters")
output.mkdir(exist_ok=True)
written = 0
for customer in json.loads(Path("customers.json").read_text(encoding="utf-8")):
    address = customer["contact"]["email"]
    if not re.fullmatch(r"[^@\s]+@[^@\s]+\.[a-z]+", address):
        log.warning("%s has no valid address: %r", customer["name"], address)
        continue
    message = EmailMessage()
    message["To"] = address
    message["Subject"] = f"Thank you, {customer['name']}"
    message.set_content(LETTER.substitute(customer))
    (output / f"{written + 1:02d}.eml").write_bytes(bytes(message))
    written += 1
log.info("%d letters written", written)
print(sorted(p.name for p in output.glob("*.eml")))
