"""Records without the names of people and hosts, for handing on."""

import re
from collections.abc import Callable, Iterable, Iterator, Mapping
from typing import Any

from fmnist import grid
from fmnist.record import Record

FREE_TEXT = (
    "recipe",
    "versions",
    "machine",
    "device_name",
    "threads",
    "flags",
    "commit",
    "failure",
    "forward_macs",
)
"""The fields that may hold any text. Others are numbers, words of the grid, or name the cell."""

WITH_NAMES = ("flags", "failure")
"""Those that people and other programs write into, so that a name may stand there alone."""

PATH, USER, HOST = "(path)", "(user)", "(host)"

PIECE = r"[^\s\"'`<>|;,()\[\]{}]"
AFTER_A_SPACE = r"\ [^\s\"'`<>|;,()\[\]{}=/\\-][^\s\"'`<>|;,()\[\]{}=/\\]*+[/\\]"
PATHS = re.compile(
    rf"""
    (?: (?<![\w.~\\/]) (?<!\(user\)) | (?<=\s-\w) | (?<=^-\w) )  # at its start; after -I, -L
    (?: / (?=/*+{PIECE})         # of POSIX, and what follows `file:` or `https:`
    |   ~ [\w.-]*+ [/\\]         # below a home
    |   [A-Za-z] : [/\\]         # of Windows
    |   \\ [\\/]++ (?={PIECE})    # of a Windows network, or a `\/` of JSON
    )
    {PIECE}*+ (?: {AFTER_A_SPACE} {PIECE}*+ )*+  # a folder may have one space in its name
    """,
    re.VERBOSE,
)
HOMES = re.compile(r"[/\\](?:home|users)[/\\]+([^\s\"'`<>|;,()\[\]{}:/\\]+)", re.IGNORECASE)
AT_A_HOST = re.compile(r"(?<![\w.+-])([\w.+-]+)@([\w.-]+)")
ADDRESSES = re.compile(r"_ADDRESS(ES)?$")
"""Flags that are addresses: of the coordinators of JAX and of Keras."""
CLUSTER = "TF_CONFIG"
"""The flag that holds TensorFlow's cluster: JSON with addresses in it."""

WORDS = re.compile(r"[^\W_]+")
SHORTEST_NAME = 3
"""A shorter word names nobody."""
NOBODY = {"fmnist", "host", "keras", "path", "user", *grid.BACKENDS, *grid.DEVICES}
"""Accounts in containers have such names; as words they tell a backend, not a person."""


def anonymous(records: Iterable[Record]) -> list[Record]:
    """Return the records without names of people and hosts; every figure stays as it is.

    Left out, wherever text may be free:
        absolute paths, those below `~`, and what comes after the scheme of an address: `(path)`;
        `user@host`: `(user)@(host)`;
        in flags and failures, each word of a name that was seen so, or in the path of a home;
        the value of a flag that holds a host's address: `(host)`.

    What stays: session, model and environment (they name the cell; `--env` takes any word), dates,
    hardware, kernel, versions, commit, and paths that are relative, but for names of homes.

    Names come from the records alone. They may be of another machine: to look up this one's would
    miss theirs, and would make the result depend on where it was made.
    """
    records = list(records)
    names = names_in(records)
    return [without(names, record) for record in records]


def names_in(records: Iterable[Record]) -> dict[str, str]:
    """Return what stands for each word of the names of people and hosts in the records."""
    users: set[str] = set()
    hosts: set[str] = set()
    for record in records:
        hosts.update(value for flag, value in record.flags.items() if ADDRESSES.search(flag))
        for text in (t for name in FREE_TEXT for t in _texts(getattr(record, name))):
            users.update(HOMES.findall(text))
            for user, host in AT_A_HOST.findall(text):
                users.add(user)
                hosts.add(host)
    return dict.fromkeys(_words(hosts), HOST) | dict.fromkeys(_words(users), USER)


def _words(names: Iterable[str]) -> Iterator[str]:
    """Yield the words of names that could tell whose they are, in lower case."""
    for word in (w.casefold() for name in names for w in WORDS.findall(name)):
        if len(word) >= SHORTEST_NAME and not word.isdigit() and word not in NOBODY:
            yield word


def without(names: Mapping[str, str], record: Record) -> Record:
    """Return a record without these names, as from `names_in`, and without paths."""

    def nameless(text: str) -> str:
        pathless = _without_paths(text)
        return WORDS.sub(lambda word: names.get(word[0].casefold(), word[0]), pathless)

    document = record.model_dump(by_alias=True)
    for name in FREE_TEXT:
        clean = nameless if name in WITH_NAMES else _without_paths
        document[name] = _cleaned(document[name], clean)
    document["flags"] = {
        name: HOST if ADDRESSES.search(name) or name == CLUSTER else value
        for name, value in document["flags"].items()
    }
    return Record.model_validate(document)


def _without_paths(text: str) -> str:
    return PATHS.sub(PATH, AT_A_HOST.sub(f"{USER}@{HOST}", text))


def _texts(value: object) -> Iterator[str]:
    """Yield every text in a value of a record."""
    if isinstance(value, str):
        yield value
    elif isinstance(value, Mapping):
        for inside in value.values():
            yield from _texts(inside)
    elif isinstance(value, list):
        for inside in value:
            yield from _texts(inside)


def _cleaned(value: Any, clean: Callable[[str], str]) -> Any:  # noqa: ANN401  # any JSON
    """Return a value with every text in it cleaned, names of facts from paths only."""
    if isinstance(value, str):
        return clean(value)
    if isinstance(value, Mapping):
        return {_without_paths(name): _cleaned(inside, clean) for name, inside in value.items()}
    if isinstance(value, list):
        return [_cleaned(inside, clean) for inside in value]
    return value
