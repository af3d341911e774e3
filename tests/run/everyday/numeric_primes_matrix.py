# Asked: primes with a sieve, solve a linear system by hand with fractions, exact big numbers.
import math
from fractions import Fraction
from functools import reduce
from itertools import accumulate, combinations


def sieve(n):
    flags = bytearray([1]) * (n + 1)
    flags[0:2] = b"\0\0"
    for i in range(2, math.isqrt(n) + 1):
        if flags[i]:
            flags[i * i::i] = bytes(len(range(i * i, n + 1, i)))
    return [i for i, flag in enumerate(flags) if flag]


def solve(a, b):
    n = len(a)
    m = [[Fraction(v) for v in row] + [Fraction(r)] for row, r in zip(a, b)]
    for col in range(n):
        pivot = max(range(col, n), key=lambda r: abs(m[r][col]))
        m[col], m[pivot] = m[pivot], m[col]
        m[col] = [v / m[col][col] for v in m[col]]
        for r in range(n):
            if r != col:
                m[r] = [x - m[r][col] * y for x, y in zip(m[r], m[col])]
    return [row[-1] for row in m]


primes = sieve(10_000)
print(len(primes), primes[-1], sum(1 for a, b in zip(primes, primes[1:]) if b - a == 2))
print([str(x) for x in solve([[2, 1, -1], [-3, -1, 2], [-2, 1, 2]], [8, -11, -3])])
print(math.factorial(30), math.comb(52, 5), reduce(math.lcm, range(1, 21)))
print(list(accumulate(range(1, 8))), sum(1 for _ in combinations(range(10), 3)))
