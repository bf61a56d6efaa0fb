"""What `cascade serve --log` does before the server starts: a folder with a salt, and a claim on what it will name."""

from __future__ import annotations

from pathlib import Path

from ensemble.kept_versions import claim, is_published
from ensemble.merlin.needs import is_merlin
from ensemble.serving.repository import MODEL_NAME, served_number
from runtime.log.folder import LogSettings, check_columns, make_log
from runtime.log.usage import MOST_CONSUMERS
from runtime.spec import CHAIN_FILE, ChainSpec
from runtime.stream.log.errors import LogError
from workflows.core import console
from workflows.core.errors import ServingError

__all__ = ["prepare_log", "settings_of"]

LOG_CODE = "lib/runtime/log/open.py"


def settings_of(folder: Path | None, share: float, consumers: str, dropped: str) -> LogSettings | None:
    """The settings of a command line; None without a folder.

    Raises:
        ServingError: too many consumers are named.
    """
    if folder is None or not str(folder):
        return None
    names, columns = (tuple(name.strip() for name in text.split(",") if name.strip()) for text in (consumers, dropped))
    if len(names) > MOST_CONSUMERS:
        raise ServingError(f"--consumers names {len(names)}, expected at most {MOST_CONSUMERS}: name those that matter")
    return LogSettings(folder, share, names, columns)


def prepare_log(settings: LogSettings, repository: Path) -> None:
    """Make the LOG folder, and have the versions kept that its requests will name.

    Raises:
        ServingError: it cannot be used, or the layout is one that logs nothing.
    """
    if is_merlin(repository):
        raise ServingError("--log was given, and the layout 'merlin' logs nothing; serve the layout fused or ensemble")
    _check_release(repository)
    try:
        check_columns(settings, _columns(repository))
        make_log(settings.folder)
    except LogError as error:
        raise ServingError(str(error)) from error
    if is_published(repository) and not claim(repository, settings.folder, ()):
        console.say(
            f"serve: {repository} cannot be written, so `cascade export --publish` may remove a version whose requests "
            f"are in {settings.folder}"
        )


def _check_release(repository: Path) -> None:
    """What an earlier release exported would be served, and nothing be logged."""
    number = served_number(repository)
    steps = f"{MODEL_NAME}_v{number}_*" if is_published(repository) else f"{MODEL_NAME}_*"
    folders = [repository / MODEL_NAME / number, *repository.glob(f"{steps}/*")]
    if not any((folder / LOG_CODE).is_file() for folder in folders):
        raise ServingError(
            f"{repository} was exported by a release that logs nothing; run `cascade export` again, or serve without "
            "--log"
        )


def _columns(repository: Path) -> set[str]:
    """Context columns of the served version."""
    chains = (repository / MODEL_NAME).glob(f"{served_number(repository)}/**/{CHAIN_FILE}")
    return {column.name for path in chains for column in ChainSpec.load(path.parent).context_columns}
