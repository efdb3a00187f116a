"""`terapose stage NAME`: what the processes of the workflow call."""

from __future__ import annotations

import importlib

import click

from terapose.pipeline.graph import commands


class Stages(click.Group):
    """One command a stage, imported when it is needed."""

    def list_commands(self, ctx: click.Context) -> list[str]:
        """The plan, all stages in their order, and what gathers those without a gather."""
        return ["plan", *reversed(commands()), "gather"]

    def get_command(self, ctx: click.Context, name: str) -> click.Command | None:
        """Import a command."""
        if name not in self.list_commands(ctx):
            return None
        if name == "plan":
            from terapose.cli.plan import stage

            return stage
        is_scattered = name != "gather" and commands()[name].over
        module = importlib.import_module(
            f"terapose.cli.{'scattered' if is_scattered else 'gathers'}"
        )
        found: click.Command = module.commands[name]
        return found


@click.group(
    cls=Stages,
    epilog="""\b
Example:
  terapose stage peaks --plan plan.json --store store --before follow.json --task 0 \\
    --output 0.json""",
)
def command() -> None:
    """Run one task or one gather of a stage, as the workflow does."""
