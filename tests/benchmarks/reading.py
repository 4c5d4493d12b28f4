"""A contender that only decodes its input, as every reader must.

python -m tests.benchmarks.reading < input
"""

from __future__ import annotations

import sys

import msgspec


def main() -> None:
    decode = msgspec.json.Decoder().decode
    for line in sys.stdin.buffer:
        decode(line)


if __name__ == "__main__":
    main()
