"""`cascade exposure`: who is shown how much, with the rules of slates and without."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated

import typer

from scripts.common import ConfigOption, JsonOption, OutOption, SetOption, one_sentence_errors, resolve
from scripts.output import run_alone
from workflows.core import console
from workflows.core.shown import print_json

if TYPE_CHECKING:
    from ensemble.exposure import Group

__all__ = ["exposure"]


@one_sentence_errors
def exposure(
    out: OutOption,
    config: ConfigOption,
    column: Annotated[str, typer.Option("--column", help="Of the items: a provider, a brand, whether it is new.")],
    overrides: SetOption = [],
    top: Annotated[int, typer.Option(min=1, help="Values that are printed, the most shown first.")] = 20,
    json: JsonOption = False,
) -> None:
    """Say what share of the places of slates each value of a column gets, and what the rules of slates change.

    Slates of 2,000 users of the run, each counted once, ordered with the rules of the config and by score alone; beside
    them the shares of what may be shown, of what users took and of what retrieval finds.
    """
    from ensemble.exposure import measure_exposure

    run, found = resolve(config, out, overrides)
    result = measure_exposure(run, found, column)
    if json:
        print_json(result)
        return
    console.say(
        f"exposure: slates of {result.slate_size} of {result.num_users:,} users; with the rules they are worth "
        f"{result.loss:.2%} less by the models. Shares of: items that may be shown, what users took, candidates, "
        "places without and with the rules, places weighted as in NDCG, first places"
    )
    if len(result.groups) > top:
        console.say(f"exposure: the {top} most shown of {len(result.groups):,} values; --top shows more, --json all")
    width = max([len(column), *(len(_name(group)) for group in result.groups[:top])])
    heads = ("items", "taken", "found", "places", "ruled", "seen", "ruled", "first", "ruled")
    typer.echo("  ".join([column.ljust(width), *(head.rjust(6) for head in heads)]))
    for group in result.groups[:top]:
        first = (share[0] for share in group.by_place)
        shares = (group.items, group.taken, group.candidates, *group.places, *group.seen, *first)
        typer.echo("  ".join([_name(group).ljust(width), *(f"{share:6.2%}" for share in shares)]))


def _name(group: Group) -> str:
    return "(none)" if group.value is None else console.escaped(group.value)


if __name__ == "__main__":
    run_alone(exposure)
