from fractions import Fraction
from itertools import product

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from ensemble.export.formula import Name, Number, names_in, parse_formula
from ensemble.export.worth import worth_of
from runtime.ranker.spec import TaskSpec
from workflows.core.errors import ConfigError, DataError

TASKS = (TaskSpec("click"), TaskSpec("buy", 0), TaskSpec("return", 1), TaskSpec("like", 0))
MARGIN, COST = [2.0, 0.5, 4.0], [1, 2, 4]


@pytest.fixture
def items(tmp_path):
    columns = {"margin": MARGIN, "cost": COST, "brand": ["a", "b", "c"], "hole": [1.0, None, 2.0], "zero": [1, 0, 1]}
    pq.write_table(pa.table(columns | {"sale": [True, False, True]}), tmp_path / "items.parquet")
    return tmp_path / "items.parquet"


def value(node, names):
    """A formula's value, by the definition."""
    if isinstance(node, Number):
        return Fraction(node.value)
    if isinstance(node, Name):
        return names[node.name]
    left, right = value(node.left, names), value(node.right, names)
    return {"+": left + right, "-": left - right, "*": left * right}[node.op] if node.op != "/" else left / right


@pytest.mark.parametrize(
    "text",
    [
        "click",
        "0.02*click + buy*(margin*(1-return) - 8*return)",
        "buy*(margin - cost)/ (1 + cost) - -2*return*click*buy*return",
        "(click + like)*(1 - like) + 3",
        "sale*click - 1e-2*(buy - return)",
    ],
)
def test_the_worth_gives_the_expectation_of_the_formula_over_what_may_happen(items, text):
    """Every outcome that the parents allow, enumerated with its probability."""
    formula = parse_formula("key", text)
    worth = worth_of(text, TASKS, items)
    given = np.array([0.3, 0.25, 0.5, 0.125])  # of each task given its parent
    happens = given * [1, 0.3, 0.3 * 0.25, 0.3]
    for row in range(3):
        columns = {"margin": Fraction(MARGIN[row]), "cost": Fraction(COST[row]), "sale": Fraction(row != 1)}
        mean = 0.0
        for outcome in product((0, 1), repeat=4):
            chance, names = 1.0, dict(columns)
            for task, spec in enumerate(TASKS):
                before = 1 if spec.parent < 0 else outcome[spec.parent]
                chance *= (given[task] if outcome[task] else 1 - given[task]) if before else 1 - outcome[task]
                names[spec.name] = Fraction(outcome[task])
            mean += chance * float(value(formula, names)) if chance else 0.0
        assert worth[row, 0] + happens @ worth[row, 1:] == pytest.approx(mean, rel=1e-5)


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("click +", "expected a number, a name or '(' at the end"),
        ("click * * 2", "expected a number, a name or '(' at '* 2'"),
        ("(click", "expected ')' at the end"),
        ("click)", "expected an operator or the end at ')'"),
        ("click ** 2", "expected a number, a name or '('"),
        ("click; import", "expected a number, a name, an operator or a bracket at '; import'"),
        ("2 click", "expected an operator or the end at 'click'"),
        ("", "expected a number, a name or '(' at the end"),
        ("(" * 60 + "click" + ")" * 60, "nested more than 50 deep"),
        ("+".join(["click"] * 500), "at most 2000 characters"),
    ],
)
def test_what_is_no_formula_is_refused_with_the_place(text, expected):
    with pytest.raises(ConfigError, match="key") as error:
        parse_formula("key", text)
    assert expected in str(error.value)


def test_precedence_and_association_are_those_of_arithmetic():
    for text in ("8 - 3 - 2", "8 / 4 / 2", "-2 * 3 + 1", "2 - -3", "1.5e1 + .5", "2 * (3 - 1)"):
        assert value(parse_formula("key", text), {}) == Fraction(eval(text))
    assert list(names_in(parse_formula("key", "a*(b - a)"))) == ["a", "b", "a"]


@pytest.mark.parametrize(
    ("text", "kind", "expected"),
    [
        ("sell", ConfigError, "'sell' is neither a task (click, buy, return, like) nor a column of the items"),
        ("click * brand", ConfigError, "column 'brand' of the items holds string"),
        ("click * hole", DataError, "column 'hole' of the items has no number in 1 of 3 rows"),
        ("click / zero", DataError, "has no finite value for 1 of 3 items, the first in row 1"),
        ("1 / click", ConfigError, "'click' stands below a division"),
        ("like * buy", ConfigError, "'like' and 'buy' are multiplied"),
        ("margin", ConfigError, "names no task"),
        ("click * 1e200", DataError, "no finite value for 3 of 3 items"),
    ],
)
def test_a_formula_without_a_value_is_refused_before_it_is_served(items, text, kind, expected):
    with pytest.raises(kind) as error:
        worth_of(text, TASKS, items)
    assert expected in str(error.value)
