"""Walks a Windows trace file by itself and prints, as JSON, what should be in its trail: events by
kind, each process with its parent, and each image. Shares no code and no table with what it checks.

Knows what the kernel's logger tells: processes of versions 2 to 4, threads, images of version 2 on.
"""

import collections
import json
import struct
import sys

HEADER = 72
GROUPS = {
    "d0a86f3d05fed0119dda00c04fd7ba7c": 0x03,
    "d1a86f3d05fed0119dda00c04fd7ba7c": 0x05,
    "1d5db12cc15fd211abe100a0c911f518": 0x14,
}


def unpack(packed):
    out, place, flags, left, half = bytearray(), 0, 0, 0, None
    while True:
        if left == 0:
            if place + 4 > len(packed):
                return bytes(out)
            flags, left, place = struct.unpack_from("<I", packed, place)[0], 32, place + 4
        left -= 1
        if not flags >> left & 1:
            if place == len(packed):
                return bytes(out)
            out.append(packed[place])
            place += 1
            continue
        if place + 2 > len(packed):
            return bytes(out)
        word, place = struct.unpack_from("<H", packed, place)[0], place + 2
        length, distance = word & 7, (word >> 3) + 1
        if length == 7:
            if half is None:
                half, length, place = place, packed[place] & 15, place + 1
            else:
                length, half = packed[half] >> 4, None
            if length == 15:
                length, place = packed[place], place + 1
                if length == 255:
                    length, place = struct.unpack_from("<H", packed, place)[0], place + 2
                    if length == 0:
                        length, place = struct.unpack_from("<I", packed, place)[0], place + 4
                    length -= 22
                length += 15
            length += 7
        for _ in range(length + 3):
            out.append(out[-distance])


def buffers(data):
    place = 0
    while place + HEADER <= len(data):
        size = struct.unpack_from("<I", data, place)[0]
        end, flags = struct.unpack_from("<IH", data, place + 0x30)
        body = data[place : place + size]
        if flags & 0x40:
            body = body[:HEADER] + unpack(body[HEADER:])
        yield body[:end]
        place += size


def events(body):
    place = HEADER
    while place + 8 <= len(body):
        first, shape, flags = struct.unpack_from("<HBB", body, place)
        if not flags & 0x80:
            return
        if shape in (1, 2, 3, 4, 16, 17):
            size, kind, group = struct.unpack_from("<HBB", body, place + 4)
            header = {1: 32, 2: 32, 3: 24, 4: 24, 16: 16, 17: 16}[shape]
            stamp = struct.unpack_from("<q", body, place + (8 if shape > 4 else 16))[0]
            yield stamp, group, kind, first, body[place + header : place + size]
        else:
            size = first
            if shape in (10, 20):
                kind, _, version = struct.unpack_from("<BBH", body, place + 4)
                stamp = struct.unpack_from("<q", body, place + 16)[0]
                group = GROUPS.get(body[place + 24 : place + 40].hex())
                yield stamp, group, kind, version, body[place + 48 : place + size]
        place += (size + 7) & ~7


def told(path):
    with open(path, "rb") as file:
        data = file.read()
    all_events = [event for body in buffers(data) for event in events(body)]
    return sorted(all_events, key=lambda event: event[0])


def width(payload, version):
    """Of a pointer, by where a plausible session stands; headers say the wrong one."""
    for size in (8, 4):
        session = struct.unpack_from("<I", payload, size + 8)[0]
        if session in (0xFFFFFFFF, 0, 1, 2) and len(payload) > size + 40:
            status = struct.unpack_from("<I", payload, size + 12)[0]
            if size == 8 or status in (0, 259):
                return size
    raise ValueError(f"process of version {version}")


def main(path):
    counts = collections.Counter()
    alive, mapped_in, parents, images, first_threads = set(), {}, [], [], {}
    for _, group, kind, version, payload in told(path):
        if group == 0x03 and kind in (1, 2, 3, 4):
            size = 4 if version == 2 and struct.unpack_from("<I", payload, 8)[0] > 0xFFFF else None
            size = size or width(payload, version)
            process, parent = struct.unpack_from("<II", payload, size)
            if kind == 2:
                counts["process_exit"] += 1
                alive.discard(process)
                mapped_in.pop(process, None)
            elif kind == 1 or process not in alive:
                counts["process_start"] += 1
                known = parent if parent in alive and parent != process else None
                parents.append([process, parent, known])
                alive.add(process)
                if kind == 1:
                    mapped_in[process] = set()
                    first_threads[process] = None
        elif (group, kind) == (0x03, 10) or (group == 0x14 and kind in (2, 3, 4, 10)):
            base, size, process = struct.unpack_from("<QQI", payload)
            text = payload[56:].decode("utf-16-le").rstrip("\0")
            mapped = mapped_in.setdefault(process, set())
            if kind == 2:
                counts["image_unload"] += 1
                mapped.discard(base)
            elif kind == 10 or base not in mapped:
                counts["image_load"] += 1
                mapped.add(base)
                images.append([process, base, size, text])
        elif group == 0x05 and kind in (1, 2):
            process, thread = struct.unpack_from("<II", payload)
            if kind == 1 and first_threads.get(process, 0) is None:
                first_threads[process] = thread
            elif kind == 2 and first_threads.get(process) == thread:
                del first_threads[process]
            else:
                counts["thread_start" if kind == 1 else "thread_exit"] += 1
    print(json.dumps({"counts": counts, "parents": parents, "images": images}))


main(sys.argv[1])
