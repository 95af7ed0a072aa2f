"""Runs a file of SQL in a ClickHouse within this process, inserts files of JSON Lines as its HTTP interface would,
and prints the answer of each query, a JSON list a line.

clickhouse.py TABLES.sql QUERIES.sql FILE...; a query a line.
"""

import json
import sys

from chdb import session

SETTINGS = "SETTINGS date_time_input_format = 'best_effort', async_insert = 0, insert_deduplicate = 0"


def statements(path):
    with open(path, encoding="utf-8") as file:
        lines = [line for line in file if not line.startswith("--")]
    return [part for part in "".join(lines).split(";\n") if part.strip()]


def main():
    tables, queries, *files = sys.argv[1:]
    engine = session.Session()
    # Twice: what is there stays.
    for statement in statements(tables) * 2:
        engine.query(statement)
    for path in files:
        with open(path, encoding="utf-8") as file:
            engine.query(f"INSERT INTO systrail.event {SETTINGS} FORMAT JSONEachRow {file.read()}")
    with open(queries, encoding="utf-8") as file:
        for query in file:
            settings = "SETTINGS output_format_json_quote_64bit_integers = 0"
            answer = str(engine.query(f"{query.strip()} {settings} FORMAT JSONEachRow"))
            print(json.dumps([json.loads(line) for line in answer.splitlines()]))


main()
