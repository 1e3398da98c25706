"""Lists and repeated options on the command line."""

from __future__ import annotations

import csv
from collections import Counter
from collections.abc import Sequence
from typing import Any

from typer.core import TyperCommand

from cawa_core.errors import InputError


def words_of(argument: str, texts: Sequence[str]) -> list[str]:
    """Split texts at commas; inside double quotes, a comma belongs to the word: ``'"crane, bird",bag'``.

    Args:
        argument: name of the option or argument, for messages.
        texts: the text of each time that it is given.

    Raises:
        InputError: a quote is not closed, or text follows a closing one.
    """
    words: list[str] = []
    for text in texts:
        try:
            (row,) = csv.reader([text.strip()], skipinitialspace=True, strict=True) or [[]]
        except (csv.Error, ValueError) as error:
            raise InputError(
                f"{argument} must be words separated by commas, with double quotes around a word that has commas; "
                f"got {text!r}: {'a word has no line breaks' if len(text.splitlines()) > 1 else error}"
            ) from None
        words += [word.strip() for word in row or [""]]
    return words


class OnceCommand(TyperCommand):
    """A command that refuses an option that is given twice, unless it is a list, whose parts are joined."""

    def parse_args(self, ctx: Any, args: list[str]) -> list[str]:  # noqa: ANN401
        """Parse the arguments of the command.

        Raises:
            InputError: an option that is not a list is given twice.
        """
        order = self.make_parser(ctx).parse_args(args=list(args))[2]
        single = [option for option in order if option.param_type_name == "option" and not option.multiple]
        for option, count in Counter(single).items():
            if count > 1:
                raise InputError(f"{option.opts[0]} must be given once; it is given {count} times")
        return super().parse_args(ctx, args)
