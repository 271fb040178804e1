"""What goes wrong in a way that the user can mend, said in one line."""

LONGEST = 1000  # characters of a line, which may show what stands in a file


class UserError(Exception):
    """Bad input: the message says what, where and what to do; the command ends with status 2."""

    exit_status = 2

    def __init__(self, message: str) -> None:
        lines = (line[:LONGEST] for line in message.splitlines())
        super().__init__("\n".join(lines))


class NonFiniteError(UserError):
    """Training met NaN or infinity: nothing wrong with the command, so its status is 1."""

    exit_status = 1


def one_line(error: BaseException) -> str:
    """The message of an error on one line, or its type if it has none."""
    return " ".join(str(error).split()) or type(error).__name__
