# Asked: draw the Mandelbrot set as a PPM file without any library, and as ASCII art.
# Makes: mandelbrot.ppm
WIDTH, HEIGHT, LIMIT = 60, 20, 40


def escape_time(c):
    z = 0
    for n in range(LIMIT):
        z = z * z + c
        if abs(z) > 2:
            return n
    return LIMIT


rows = []
for j in range(HEIGHT):
    rows.append([escape_time(complex(-2.2 + 3.2 * i / WIDTH, -1.2 + 2.4 * j / HEIGHT)) for i in range(WIDTH)])
palette = " .:-=+*#%@"
for row in rows[::3]:
    print("".join(palette[min(n * len(palette) // LIMIT, len(palette) - 1)] for n in row).rstrip())

with open("mandelbrot.ppm", "wb") as f:
    f.write(b"P6\n%d %d\n255\n" % (WIDTH, HEIGHT))
    for row in rows:
        f.write(bytes(v for n in row for v in (n * 6 % 256, n * 3 % 256, 255 - n * 6 % 256)))
print("saved", sum(map(len, rows)), "pixels; inside:", sum(n == LIMIT for row in rows for n in row))
