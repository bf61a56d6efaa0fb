"""The changes that a console makes for people with the admin key, by the functions of the commands."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from urllib.parse import quote

from console.admin import Refused
from console.site import Site
from ensemble.publish import rollback
from operations.blocks import change_blocks
from operations.experiments.release import Servers, stop
from workflows.core.errors import CascadeError

__all__ = ["CHANGES", "Change", "Done"]


@dataclass(frozen=True)
class Done:
    """A change that was made.

    Attributes:
        said: of it, in a sentence.
        address: of the page that shows it.
    """

    said: str
    address: str


@dataclass(frozen=True)
class Change:
    """One kind of change.

    Attributes:
        what: it is called in the log.
        of: the field of its form that names what is changed.
        make: it; takes the site, what is changed, and why.
    """

    what: str
    of: str
    make: Callable[[Site, str, str], Done]


def _block(site: Site, item: str, why: str) -> Done:
    change = change_blocks(site.target, [item], block=True, reason=why)
    said = f"Item {item} is blocked: no slate shows it from now on." if change.changed else f"Item {item} was blocked."
    return Done(said, f"/item?id={quote(item, safe='')}")


def _unblock(site: Site, item: str, why: str) -> Done:
    change = change_blocks(site.target, [item], block=False, reason=why)
    said = f"Item {item} is not blocked any more." if change.changed else f"Item {item} was not blocked."
    return Done(said, f"/item?id={quote(item, safe='')}")


def _rollback(site: Site, version: str, why: str) -> Done:
    if not version.isdecimal():
        raise Refused(f"{version!r} is no version; the form of the overview names the served one", 400)
    served = rollback(site.target, why, instead_of=int(version))
    return Done(
        f"Version {version} is withdrawn: version {served} is what a server takes with cascade reload, or when it is "
        "started.",
        "/",
    )


def _stop(site: Site, name: str, why: str) -> Done:
    with site.chain() as chain:
        repository = chain.explainer.served.repository
    # Running servers are told nothing: no client sends users to its variants any more.
    stop(repository, name, Servers([], ""))
    return Done(f"The experiment {name} has ended: all users have the served version.", "/experiments")


CHANGES: Mapping[str, Change] = {
    "/block": Change("block", "item", _block),
    "/unblock": Change("unblock", "item", _unblock),
    "/rollback": Change("rollback", "version", _rollback),
    "/experiment/stop": Change("stop experiment", "name", _stop),
}


def made(site: Site, change: Change, of: str, why: str) -> Done:
    """Make a change.

    Raises:
        Refused: it cannot be made; nothing is changed then.
    """
    try:
        return change.make(site, of, why)
    except CascadeError as error:
        raise Refused(str(error), 409) from None
