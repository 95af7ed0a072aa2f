"""Counts the events of processes, threads and images in Windows event logs, with a reader that is
not ours: the package `evtx`, else `python-evtx`. Prints a line a log and event id: name, id, count.
Exits with 77 where Python has neither."""

import collections
import json
import os
import re
import sys

WANTED = {
    "Microsoft-Windows-Sysmon": {1, 5, 6, 7, 8},
    "Microsoft-Windows-Security-Auditing": {4688, 4689},
}


def with_evtx(path):
    from evtx import PyEvtxParser

    records = PyEvtxParser(path).records_json()
    while True:
        try:
            record = next(records)
        except StopIteration:
            return
        except RuntimeError:
            continue  # a record that cannot be read
        system = json.loads(record["data"])["Event"]["System"]
        event_id = system["EventID"]
        if isinstance(event_id, dict):
            event_id = event_id["#text"]
        yield system["Provider"]["#attributes"].get("Name"), int(event_id)


def with_python_evtx(path):
    from Evtx.Evtx import Evtx

    with Evtx(path) as log:
        for record in log.records():
            try:
                xml = record.xml()
            except Exception:
                continue  # a record that cannot be read
            provider = re.search(r'<Provider Name="([^"]*)"', xml)
            event_id = re.search(r"<EventID[^>]*>(\d+)<", xml)
            yield provider and provider[1], int(event_id[1])


def reader():
    try:
        import evtx

        return with_evtx
    except ImportError:
        pass
    try:
        import Evtx

        return with_python_evtx
    except ImportError:
        sys.exit(77)


def main():
    events = reader()
    for path in sys.argv[1:]:
        counts = collections.Counter()
        for provider, event_id in events(path):
            if event_id in WANTED.get(provider, ()):
                counts[event_id] += 1
        for event_id, count in sorted(counts.items()):
            print(os.path.basename(path), event_id, count, sep="\t")


main()
