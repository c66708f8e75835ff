"""The option of commands that write CSV."""

from typing import Annotated

import typer

ForSpreadsheet = Annotated[
    bool,
    typer.Option("--for-spreadsheet", help="CSV that a spreadsheet may open: what looks like a formula begins with an apostrophe."),
]


def check_form(form: str, *, for_spreadsheet: bool) -> None:
    """Refuses the option where nothing would come of it.

    Raises:
        typer.BadParameter: The form is another one than CSV.
    """
    if for_spreadsheet and form != "csv":
        raise typer.BadParameter("--for-spreadsheet is for CSV: add --format csv")
