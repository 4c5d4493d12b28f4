"""Names that the standard library has only in newer Pythons than the oldest one supported."""

import sys

if sys.version_info >= (3, 12):
    from typing import override
else:
    from typing_extensions import override

__all__ = ["override"]
