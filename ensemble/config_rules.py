"""Combinations of config values that cannot work, each refused in one sentence with the key paths."""

from __future__ import annotations

from collections.abc import Iterator

from ensemble.config import ChainConfig, Config
from ensemble.config_conditions import value_problems
from ensemble.config_experiments import experiment_problems
from ensemble.config_slates import slate_problems
from ensemble.config_stream import stream_problems
from ensemble.evaluation.metrics_file import path_of_today
from models.ranking.tasks import task_problems
from models.retrieval.settled import MAX_EPOCHS, check_examples, possible_examples
from workflows.core.errors import ConfigError
from workflows.features.checks import EVENT_COLUMNS, TABLE_COLUMNS, named_specs
from workflows.tables.labels import label_conditions
from workflows.tables.warehouse.address import SCHEMES, is_warehouse

__all__ = ["problems"]


def problems(config: Config) -> Iterator[str]:
    """Yield one sentence for each combination that cannot work; nothing when the config is sound."""
    of_tables = (_sources, _split, _columns, _features, _labels, stream_problems)
    of_models = (_retrieval, _ranking, _fallback, _quotas, _index)
    for rule in (*of_tables, *of_models, _chain, slate_problems, _filters, _evaluation, experiment_problems):
        for problem in rule(config):
            yield f"config: {problem}"


def _sources(config: Config) -> Iterator[str]:
    data, split = config.data, config.split
    if data.source not in ("shop", "tables") and not is_warehouse(data.source):
        scheme, separator, _ = data.source.partition("://")  # of a URL alone: there may be a password behind it
        yield (
            f"data.source must be 'shop', 'tables' or the URL of a warehouse "
            f"({', '.join(f'{known}://' for known in SCHEMES)}), got {scheme + separator!r}"
        )
    if data.source == "shop" and any((data.events, data.items, data.users)):
        yield "data.source = 'shop' writes its own tables: drop data.events, data.items and data.users, or use 'tables'"
    if config.shop.stock is not None and config.shop.policy != "softmax":
        yield f"shop.stock needs shop.policy = 'softmax', which knows what is sold out, not {config.shop.policy!r}"
    if data.source == "shop" and split.by in ("files", "column"):
        yield f"split.by = {split.by!r} needs given tables, but data.source = 'shop'; use 'time' or 'leave_last_out'"
    if data.source != "shop" and split.by != "files" and not data.events:
        yield "data.events is missing: give a Parquet or CSV file, folder, glob or URL, or data.source = 'shop'"
    named = {"data.events": data.events, "data.items": data.items, "data.users": data.users}
    named |= {f"split.{name}": getattr(split, name) for name in ("train", "valid", "test")}
    for key, spec in named.items():
        if any(is_warehouse(one) for one in ([spec] if isinstance(spec, str) else spec or [])):
            yield f"{key} is the URL of a warehouse: set data.source to it, and {key} to a table or query there"
    if is_warehouse(data.source) and split.by == "leave_last_out" and data.timestamp is None:
        yield "split.by = 'leave_last_out' needs data.timestamp with a warehouse, whose rows have no order; name it"


def _split(config: Config) -> Iterator[str]:
    split = config.split
    if split.by == "files":
        missing = [f"split.{name}" for name in ("train", "test") if getattr(split, name) is None]
        if missing:
            yield f"split.by = 'files' needs {' and '.join(missing)}"
        if config.data.events:
            yield "split.by = 'files' reads split.train, split.valid and split.test: drop data.events"
    elif any((split.train, split.valid, split.test)):
        yield f"split.train, split.valid and split.test need split.by = 'files', not {split.by!r}"
    if split.by == "time" and split.valid_fraction + split.test_fraction >= 1:
        yield (
            f"split.valid_fraction + split.test_fraction = {split.valid_fraction + split.test_fraction:g} leaves no "
            "training events; keep the sum under 1"
        )
    if split.by == "time" and split.test_fraction == 0:
        yield "split.test_fraction = 0 leaves nothing to evaluate; give a share above 0"
    if split.by == "time" and config.data.source != "shop" and config.data.timestamp is None:
        yield "split.by = 'time' needs data.timestamp; name that column or use split.by = 'leave_last_out'"


def _columns(config: Config) -> Iterator[str]:
    data = config.data
    named = [data.user_id, data.item_id, *data.labels, *data.context]
    named += [name for name in (data.timestamp, data.position, data.propensity) if name]
    for name in sorted({name for name in named if named.count(name) > 1}):
        yield (
            f"column {name!r} has more than one role in [data]; user_id, item_id, timestamp, labels, position, "
            "propensity and context need a column each"
        )
    position = [data.position] if data.position else []
    for key, names in (("context", data.context), ("labels", data.labels), ("position", position)):
        for name in sorted(name for name in names if name.lower() in EVENT_COLUMNS):
            yield f"data.{key} names {name!r}, a column that Cascade adds to the events itself; rename yours"
    for key in ("user_id", "item_id", "timestamp", "propensity", "stock"):
        if (getattr(data, key) or "").lower() in TABLE_COLUMNS:
            yield f"data.{key} is {getattr(data, key)!r}, a column that Cascade adds to the table itself; rename yours"


def _features(config: Config) -> Iterator[str]:
    """What needs [data] to be seen; workflows.features.checks refuses the rest of [features]."""
    features, data = config.features, config.data
    for name in features.context:
        if name not in data.context:
            yield f"features.context.{name} is not among data.context = {data.context}; add it there"
    ids = {"users": (data.user_id,), "items": (data.item_id,), "context": (data.user_id, data.item_id)}
    for table, name, _ in named_specs(features):
        if name in ids[table]:
            yield f"features.{table}.{name}: {name!r} is an id column of [data], which is always a feature; drop it"
    if features.users and data.source != "shop" and not data.users:
        yield "features.users needs data.users"
    if features.items and data.source != "shop" and not data.items:
        yield "features.items needs data.items"


def _labels(config: Config) -> Iterator[str]:
    try:
        label_conditions(config.data)
    except ConfigError as error:
        yield str(error)
    known = list(config.data.labels)
    chosen = {
        "retrieval.label": config.retrieval.label,
        "ranking.label": config.ranking.label,
        "evaluate.relevant_label": config.evaluate.relevant_label,
    }
    for key, label in chosen.items():
        if label and label not in known:
            yield f"{key} = {label!r} is not among data.labels = {known}"
    yield from task_problems(config.ranking, known)
    if config.ranking.training_examples == "impressions" and not known:
        why = "needs data.labels; use 'sampled' where every event is a positive"
        yield f"ranking.training_examples = 'impressions' {why}"


def _retrieval(config: Config) -> Iterator[str]:
    try:
        check_examples(
            config.retrieval.examples, ordered=config.data.timestamp is not None, context=list(config.features.context)
        )
    except ConfigError as error:
        yield str(error)

    own, ordered = config.retrieval.windows, config.data.timestamp is not None
    if "windows" not in possible_examples(config.retrieval.examples, ordered=ordered, has_context=False):
        return
    if config.retrieval.embedding_dim % own.num_heads:
        yield (
            f"retrieval.windows.num_heads is {own.num_heads}, expected a divisor of retrieval.embedding_dim, "
            f"{config.retrieval.embedding_dim}"
        )
    if own.max_epochs == "auto" and own.min_epochs > MAX_EPOCHS["windows"]:
        yield (
            f"retrieval.windows.min_epochs = {own.min_epochs} is more than the {MAX_EPOCHS['windows']} epochs of "
            "retrieval.windows.max_epochs = 'auto'; set retrieval.windows.max_epochs instead"
        )


def _ranking(config: Config) -> Iterator[str]:
    own = config.ranking
    num_drawn = round(own.retrieved_negatives * own.negatives_per_positive)
    if own.training_examples != "impressions" and num_drawn > own.candidate_pool:
        yield (
            f"ranking.candidate_pool = {own.candidate_pool} is less than the {num_drawn} retrieved ones of "
            f"ranking.negatives_per_positive = {own.negatives_per_positive}; raise the pool"
        )


def _fallback(config: Config) -> Iterator[str]:
    own, ordered = config.sources, config.data.timestamp is not None
    if not ordered and (own.fallback == "trending" or (own.fallback == "latest" and not own.latest.column)):
        yield f"sources.fallback = {own.fallback!r} needs data.timestamp; set it, or use 'popularity'"


def _quotas(config: Config) -> Iterator[str]:
    own, num_candidates = config.sources, config.chain.num_candidates
    places = {name: getattr(own, name) for name in ("popularity", "trending", "latest", "content")}
    places |= {f'own."{path}"': place for path, place in own.own.items()}
    given = {name: place.quota for name, place in places.items() if isinstance(place.quota, float) and place.quota}
    for name, quota in given.items():
        if not round(quota * num_candidates):
            yield (
                f"sources.{name}.quota = {quota:g} of chain.num_candidates = {num_candidates} is no candidate; raise "
                "it, or set it to 0"
            )
    if sum(given.values()) > 1:
        shares = ", ".join(f"sources.{name}.quota = {quota:g}" for name, quota in given.items())
        yield f"the quotas that are set keep more places than there are: {shares}; together they may be 1 at most"


def _index(config: Config) -> Iterator[str]:
    cutoff, num_candidates = config.index.recall_cutoff, config.chain.num_candidates
    if config.given.under("index.recall_cutoff") and cutoff > num_candidates:
        yield f"index.recall_cutoff = {cutoff} is more than chain.num_candidates = {num_candidates}"


def _chain(config: Config) -> Iterator[str]:
    chain = config.chain
    if chain.slate_size > chain.num_candidates:
        yield f"chain.slate_size = {chain.slate_size} is more than chain.num_candidates = {chain.num_candidates}"
    if chain.slate_size > chain.max_slate_size:
        yield f"chain.slate_size = {chain.slate_size} is more than chain.max_slate_size = {chain.max_slate_size}"
    if chain.max_slate_size > chain.num_candidates:
        yield (
            f"chain.max_slate_size = {chain.max_slate_size} is more than chain.num_candidates = {chain.num_candidates}"
        )
    if not chain.layouts:
        yield "chain.layouts is empty; allowed: 'fused', 'ensemble', and 'merlin' beside one of them"
    elif not chain.product_layouts:
        yield "chain.layouts has 'merlin' alone, which is the reference for the others; add 'fused' or 'ensemble'"
    if "merlin" in chain.layouts and chain.graph != ChainConfig().graph:
        yield (
            f"chain.layouts has 'merlin', which knows the standard graph alone, but chain.graph = {chain.graph!r}; "
            "drop one of them"
        )
    if max(config.evaluate.cutoffs) > chain.num_candidates:
        yield (
            f"evaluate.cutoffs has {max(config.evaluate.cutoffs)}, more than "
            f"chain.num_candidates = {chain.num_candidates}"
        )


def _filters(config: Config) -> Iterator[str]:
    data = config.data
    if (config.chain.rules or data.stock) and data.source != "shop" and not data.items:
        yield "chain.rules and data.stock filter on columns of the items table: give data.items"
    for number, rule in enumerate(config.chain.rules):
        yield from value_problems(f"chain.rules[{number}]", rule)


def _evaluation(config: Config) -> Iterator[str]:
    if config.evaluate.segments and config.data.source != "shop" and not config.data.users:
        yield "evaluate.segments names columns of the users table: give data.users"
    for number, target in enumerate(config.evaluate.targets):
        if len(target.bounds) != 1:
            given = len(target.bounds) or "none"
            yield f"evaluate.targets[{number}] needs one of above, at_least and below, got {given}"
        for path in (target.value, *(bound for bound in target.bounds if isinstance(bound, str))):
            if (renamed := path_of_today(path)) != path:
                yield f"evaluate.targets[{number}] names {path}, which is now {renamed}; rename it"
