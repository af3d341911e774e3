# Asked: compare two versions of a text and show a diff with the similarity.
import difflib
import textwrap

old = textwrap.dedent("""\
    Opening hours
    Mon-Fri 09:00-18:00
    Sat 10:00-14:00
    Closed on holidays
    """).splitlines(keepends=True)
new = textwrap.dedent("""\
    Opening hours
    Mon-Thu 09:00-18:00
    Fri 09:00-16:00
    Sat 10:00-14:00
    Closed on public holidays
    """).splitlines(keepends=True)

print("".join(difflib.unified_diff(old, new, fromfile="old.txt", tofile="new.txt")))
matcher = difflib.SequenceMatcher(None, "".join(old), "".join(new))
print(f"similarity: {matcher.ratio():.1%}")
print(difflib.get_close_matches("Satuday", ["Monday", "Saturday", "Sunday"], n=1))
print(textwrap.fill("The quick brown fox jumps over the lazy dog. " * 3, width=40, initial_indent="* ", subsequent_indent="  "))
