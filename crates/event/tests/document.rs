//! `docs/WIRE.md` says what the code does. There is nothing in it for Miri, which is slow.

#![cfg(not(miri))]

use event::loss::Reason;
use event::{HEADER_SIZE, Kind, RECORD_SIZE_MAX, exec, image, loss, process, thread};

const DOCUMENT: &str = include_str!("../../../docs/WIRE.md");

fn assert_says(row: &str) {
    assert!(DOCUMENT.contains(row), "docs/WIRE.md says: {row}");
}

/// The section of that heading, of any level.
fn section(heading: &str) -> &'static str {
    let (_, rest) = DOCUMENT.split_once(&format!("# {heading}\n")).unwrap();
    rest.split_once("\n#").map_or(rest, |(section, _)| section)
}

#[test]
fn names_every_kind_with_its_number() {
    for kind in (0..=u16::MAX).map(Kind) {
        if let Some(name) = kind.name() {
            assert_says(&format!("| {} | `{name}` |", kind.0));
        }
    }
}

/// Flags have no list in the code but their definitions.
#[test]
fn names_every_flag_with_its_bit() {
    let source = include_str!("../src/lib.rs");
    let definitions = source.lines().filter_map(|line| {
        line.trim()
            .strip_prefix("pub const ")?
            .split_once(": Self = Self(1")
    });
    let mut flag_count = 0;
    for (name, value) in definitions {
        let bit: u32 = value
            .trim_matches([' ', '<', ')', ';'])
            .parse()
            .unwrap_or(0);
        assert_says(&format!("| {bit} | `{:#06x}` | `{name}` |", 1_u32 << bit));
        flag_count += 1;
    }
    assert!(flag_count >= 12, "the definitions are found");
}

#[test]
fn names_every_reason_with_its_number() {
    for reason in (0..=u16::MAX).map(Reason) {
        if reason.name() != "unknown" {
            assert_says(&format!("| {} | `{}` |", reason.0, reason.name()));
        }
    }
}

#[test]
fn offsets_follow_from_the_types_and_end_where_the_code_ends() {
    let sections = [
        ("Record", 0, HEADER_SIZE),
        ("Process start", HEADER_SIZE, process::Start::FIXED_SIZE),
        ("Process exec", HEADER_SIZE, process::Exec::FIXED_SIZE),
        ("Process exit", HEADER_SIZE, process::Exit::SIZE),
        ("Thread start", HEADER_SIZE, thread::Start::SIZE),
        ("Image load", HEADER_SIZE, image::Load::FIXED_SIZE),
        ("Exec failed", HEADER_SIZE, exec::Failed::FIXED_SIZE),
        ("Lost", HEADER_SIZE, loss::Lost::SIZE),
    ];
    for (heading, begin, size) in sections {
        let mut offset = begin;
        for row in section(heading).lines().filter(|row| row.starts_with('|')) {
            let cells: Vec<&str> = row.split('|').map(str::trim).collect();
            let [_, told, _, kind, ..] = cells[..] else {
                continue;
            };
            let width = match kind {
                "u16" => 2,
                "u32" | "text" => 4,
                "u48" => 6,
                "u64" => 8,
                _ => continue,
            };
            assert_eq!(told.parse(), Ok(offset), "{heading}: {row}");
            offset += width;
        }
        assert_eq!(offset, begin + size, "{heading}");
    }
}

#[test]
fn names_the_largest_record() {
    assert_says(&format!(
        "{} KiB (`RECORD_SIZE_MAX`)",
        RECORD_SIZE_MAX / 1024
    ));
}
