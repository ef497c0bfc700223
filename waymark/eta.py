"""`waymark eta`: forecasts of arrival, from the command line."""

import typer

from waymark.eta_report import report

eta_app = typer.Typer(no_args_is_help=True, help="Forecasts of arrival.")
eta_app.command("report")(report)
