"""Runs queries in DuckDB and prints the answer of each, a JSON list a line.

duckdb.py QUERIES.sql TRAIL [VIEWS.sql]; a query a line, TRAIL a file of Parquet or a log for the variable `trail`.
"""

import json
import sys

# This file's own name is not to be found instead of the package.
sys.path.pop(0)

import duckdb


def plain(value):
    """As JSON of SQLite has it: a truth is a number."""
    return int(value) if isinstance(value, bool) else value


def main():
    queries, trail, *views = sys.argv[1:]
    connection = duckdb.connect()
    # Nothing may depend on where it runs; whole numbers are divided as SQLite does.
    connection.execute("SET TimeZone = 'America/New_York'")
    connection.execute("SET integer_division = true")
    connection.execute(f"SET VARIABLE trail = '{trail}'")
    for path in views:
        with open(path, encoding="utf-8") as file:
            connection.execute(file.read())
    with open(queries, encoding="utf-8") as file:
        for query in file:
            try:
                answer = connection.execute(query)
                names = [column[0] for column in answer.description]
                rows = [dict(zip(names, map(plain, row))) for row in answer.fetchall()]
            except duckdb.Error as error:
                rows = [{"error": str(error)}]
            print(json.dumps(rows, default=str))


main()
