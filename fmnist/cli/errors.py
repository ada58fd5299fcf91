"""What a command ends with when it does not succeed."""

import click

FAILED_CELLS = 1
FINDINGS = 1
STOPPED = 3
INTERRUPTED = 130
REASON_LENGTH = 500
"""Characters of a reason that comes from a file or from a child process."""


class BadInput(click.ClickException):
    """What a person gave is wrong; the message says what and where. Exit status 2."""

    exit_code = 2


class StoppedError(click.ClickException):
    """A session could not go on; the message says why, and what it leaves. Exit status 3."""

    exit_code = STOPPED
