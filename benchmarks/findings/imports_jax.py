"""What it costs to import TensorFlow where JAX is installed, and where it is not.

In the second case the process cannot import JAX, as if it were not there. Both must be installed.
"""

import json
import sys
import time

from measured import arguments, child, print_ms, print_terms

KINDS = {"JAX to be found": "found", "no JAX": "hidden"}


def imported(jax: str) -> dict[str, list[float]]:
    """Return the seconds of the import, the modules it brings, and whether JAX is one of them."""
    if jax == "hidden":
        sys.modules["jax"] = None  # type: ignore[assignment]  # as Python marks what is not there
    began = time.perf_counter()
    import tensorflow as tf  # noqa: F401  # its import is what is timed

    seconds = time.perf_counter() - began
    has_jax = sys.modules.get("jax") is not None
    return {"seconds": [seconds], "modules": [len(sys.modules)], "JAX": [float(has_jax)]}


def main() -> None:
    """Import in turn, each time in a new process; print both."""
    given = arguments(__doc__, backends=("tensorflow",), repeats=7)
    found: dict[str, dict[str, list[float]]] = {name: {} for name in KINDS}
    for jax in KINDS.values():
        child(__file__, {}, jax)  # reads files that later ones find cached
    for _ in range(given.repeats):
        for name, jax in KINDS.items():
            for what, values in child(__file__, {}, jax).items():
                found[name].setdefault(what, []).extend(values)
    print_terms(given.repeats)
    for name, told in found.items():
        print_ms(f"import tensorflow, {name}", told["seconds"])
        modules, brings = max(told["modules"]), "yes" if any(told["JAX"]) else "no"
        print(f"modules after it, {name}: {modules:,.0f}; JAX among them: {brings}")


if __name__ == "__main__":
    if sys.argv[1:2] == ["--child"]:
        print(json.dumps(imported(sys.argv[2])))
    else:
        main()
