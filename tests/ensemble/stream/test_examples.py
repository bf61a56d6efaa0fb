"""What docs/OUTGROWN.md shows of Flink, Spark and Feast: run by them where a Python has them, else as far as it can."""

from __future__ import annotations

import http.server
import json
import os
import re
import subprocess
import threading
import urllib.request
from collections.abc import Iterator
from pathlib import Path
from types import SimpleNamespace

import pyarrow.parquet as pq
import pytest

from ensemble.stream.messages import Message, MessageReader, Read
from runtime.stream.fields import FIELDS
from runtime.stream.spec import StreamSpec

SPEC = StreamSpec("INT64", "INT64", ("click", "purchase"))
PAGE = (Path(__file__).parents[3] / "docs/OUTGROWN.md").read_text()
AT_MS = 1_900_000_000_000
# What Feast is documented to answer of a user that it knows.
ANSWER = {
    "metadata": {"feature_names": ["user_id", "segment"]},
    "results": [
        {"values": [17], "statuses": ["PRESENT"], "event_timestamps": ["1970-01-01T00:00:00Z"]},
        {"values": ["loyal"], "statuses": ["PRESENT"], "event_timestamps": ["2026-11-01T00:00:00Z"]},
    ],
}
SPARK = """
import json, sys
from pyspark.sql import SparkSession
spark = SparkSession.builder.master("local[1]").config("spark.ui.enabled", "false").getOrCreate()
rows = [(json.dumps(row).encode(), 1700000009) for row in json.loads(sys.argv[1])]
made = spark.createDataFrame(rows, "value BINARY, seconds BIGINT").selectExpr(
    "value", "TIMESTAMP_SECONDS(seconds) AS timestamp")
made.createOrReplaceTempView("messages")
"""
FLINK = """
import sys
from pyflink.table import EnvironmentSettings, TableEnvironment
table = TableEnvironment.create(EnvironmentSettings.in_batch_mode())
table.get_config().set("parallelism.default", "1")
for statement in open(sys.argv[1]).read().split(";"):
    if statement.strip():
        table.execute_sql(statement).wait()
"""
VIEWS = """CREATE TEMPORARY VIEW page_views AS SELECT * FROM (VALUES
  (17, 1791, 'view', TIMESTAMP '2026-11-01 10:00:00', 'a1'),
  (18, 5, 'buy', TIMESTAMP '2026-11-01 10:00:01', CAST(NULL AS STRING)),
  (19, 6, 'scroll', TIMESTAMP '2026-11-01 10:00:02', 'a3')
) AS v(user_id, item_id, action, seen_at, request_id);
"""


def block(language: str, words: str) -> str:
    """The example that has these words."""
    (found,) = [part.split("```")[0] for part in PAGE.split(f"```{language}\n")[1:] if words in part.split("```")[0]]
    return found


def python_with(name: str) -> str:
    """The Python that has a package which cannot live beside ours."""
    variable = f"CASCADE_{name.upper()}_PYTHON"
    if not (found := os.environ.get(variable)):
        pytest.skip(f"{name} is in no Python here; {variable} names one")
    return found


def test_the_table_of_flink_has_fields_of_events_alone_but_for_its_key():
    sql = block("sql", "CREATE TABLE clicks")
    columns = re.findall(r"`?(\w+)`? (?:STRING|BIGINT)", sql.partition("WITH")[0])
    assert columns[0] == "user_key" and set(columns[1:]) <= set(FIELDS) and "'key.fields' = 'user_key'" in sql


def test_what_flink_writes_is_read(tmp_path):
    python = python_with("flink")
    sql = block("sql", "CREATE TABLE clicks")
    # The connector of Kafka is no part of its package; files of JSON are.
    files = f"'connector' = 'filesystem', 'path' = 'file://{tmp_path}/out', 'format' = 'json'"
    sql = re.sub(r"'connector' = 'kafka'.*'EXCEPT_KEY'", files, sql, flags=re.DOTALL)
    script = tmp_path / "statements.sql"
    script.write_text(VIEWS + sql)
    subprocess.run([python, "-c", FLINK, str(script)], check=True, timeout=300, capture_output=True)
    lines = [json.loads(line) for path in (tmp_path / "out").iterdir() for line in path.read_text().splitlines()]
    messages = [
        Message(place, AT_MS, line.pop("user_key").encode(), json.dumps(line).encode())
        for place, line in enumerate(lines)
    ]
    read = MessageReader(SPEC).read(0, messages)
    assert isinstance(read, Read) and not read.rejected
    assert read.events.user.tolist() == [17, 18] and read.events.item.tolist() == [1791, 5]
    assert read.events.at.tolist() == [1_793_527_200 * 10**9, 1_793_527_201 * 10**9]
    assert [read.events.labels[label] for label in read.events.label.tolist()] == ["click", "purchase"]
    assert read.events.event_id.tolist() == [b"a1", b""]


def test_what_spark_reads_is_a_table_to_train_on(tmp_path):
    python = python_with("spark")
    event = {"user_id": 17, "item_id": 1791, "label": "click", "at": 1_700_000_000, "event_id": "a1"}
    rows = [event, event, {"user_id": 18, "item_id": 5, "label": "purchase", "event_id": "a2"}]
    rows += [{"user_id": 19, "kind": "forget", "event_id": "a3"}]
    code = block("python", "spark.sql").partition('createOrReplaceTempView("messages")\n')[2]
    made = tmp_path / "events.parquet"
    code = SPARK + code.replace('"events.parquet"', repr(str(made)))
    subprocess.run([python, "-c", code, json.dumps(rows)], check=True, timeout=300, capture_output=True)
    found = sorted(pq.read_table(made).to_pylist(), key=lambda row: row["user_id"])
    assert found == [
        {"user_id": 17, "item_id": 1791, "at": 1_700_000_000, "click": 1, "purchase": 0},
        {"user_id": 18, "item_id": 5, "at": 1_700_000_009, "click": 0, "purchase": 1},
    ]


class Answers(http.server.BaseHTTPRequestHandler):
    """Answers in the form of the server of Feast."""

    def do_POST(self) -> None:
        # Feast refuses a body that does not say so.
        assert self.headers["Content-Type"] == "application/json"
        asked = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
        assert asked == {"features": ["user:segment"], "entities": {"user_id": [17]}}
        body = json.dumps(ANSWER).encode()
        self.send_response(200)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, *_: object) -> None:
        """Not to standard error."""


@pytest.fixture
def feast() -> Iterator[str]:
    """The address of a server of Feast with the feature of the page, or of what answers in its form."""
    if named := os.environ.get("CASCADE_FEAST_URL"):
        yield named
        return
    with http.server.HTTPServer(("127.0.0.1", 0), Answers) as server:
        thread = threading.Thread(target=server.serve_forever)
        thread.start()
        yield f"http://127.0.0.1:{server.server_port}"
        server.shutdown()
        thread.join()


def test_what_feast_answers_goes_into_the_request(feast):
    asked: list = []
    client = SimpleNamespace(recommend=lambda users, context: asked.append((users, context)))
    code = block("python", "get-online-features").replace("http://localhost:6566", feast)
    exec(code, {"client": client, "json": json, "urllib": urllib})
    assert asked == [([17], {"segment": ["loyal"]})]
