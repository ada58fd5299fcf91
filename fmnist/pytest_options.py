"""The session's options for pytest, the same as `fmnist run` has.

Loaded by `-p` in pyproject.toml and not from benchmarks/conftest.py: pytest must know an option
before it looks for folders, or takes `smoke` in `--preset smoke` for one. It does not lie in `cli`,
whose import takes seconds: every pytest starts with it.
"""

import pytest

from fmnist.options import OPTIONS


def pytest_addoption(parser: pytest.Parser) -> None:
    """Add every option of a session."""
    group = parser.getgroup("fmnist", "fmnist benchmarks")
    for option in OPTIONS:
        if option.is_flag:
            group.addoption(option.flag, action="store_true", help=option.help)
            continue
        group.addoption(
            option.flag,
            type=option.type,
            action="append" if option.multiple else "store",
            default=list(option.default) if option.multiple else option.default,
            metavar=option.metavar,
            help=option.help,
        )
