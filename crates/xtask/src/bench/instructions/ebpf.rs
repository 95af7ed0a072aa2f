//! The eBPF programs: how many instructions each has in the committed object. What runs for an event
//! depends on the kernel and on the texts that are read; it is at most this, loops aside, and a
//! program that grows by a tenth has grown here too.

use std::fs;

use anyhow::{Context as _, Result, ensure};
use object::read::elf::ElfFile64;
use object::{LittleEndian, Object as _, ObjectSymbol as _, SymbolKind};
use rustc_demangle::demangle;

use super::{Options, judge, write_down};
use crate::workspace;

const OBJECT: &str = "crates/agent/assets/systrail.bpf.o";
const SUBJECT: &str = "ebpf";

/// Bytes of an instruction.
const INSTRUCTION_SIZE: u64 = 8;

/// Counts them.
pub(in crate::bench) fn run(options: &Options) -> Result<()> {
    let object = fs::read(workspace::root().join(OBJECT)).with_context(|| OBJECT.to_owned())?;
    let programs = programs(&object)?;
    for (name, count) in &programs {
        println!("  {name}: {count} instructions");
    }
    let counted = programs.iter().map(|(name, count)| (name.as_str(), *count));
    judge(SUBJECT, counted, options)?;
    if options.check {
        return Ok(());
    }
    let rows: Vec<String> = programs
        .iter()
        .map(|(name, count)| format!("| `{name}` | {count} |"))
        .collect();
    let rows = rows.join("\n");
    write_down(
        SUBJECT,
        &format!("| program | instructions |\n|---|--:|\n{rows}\n"),
    )
}

/// Each function of an object and its instructions, by name.
fn programs(object: &[u8]) -> Result<Vec<(String, u64)>> {
    let file = ElfFile64::<LittleEndian>::parse(object).context("no ELF object")?;
    let mut programs = Vec::new();
    for symbol in file.symbols() {
        if symbol.kind() == SymbolKind::Text && symbol.size() > 0 {
            // Without the hash of the crate, which is another with each compiler.
            let name = format!("{:#}", demangle(symbol.name()?));
            programs.push((name, symbol.size() / INSTRUCTION_SIZE));
        }
    }
    programs.sort();
    ensure!(!programs.is_empty(), "there is no program in {OBJECT}");
    Ok(programs)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_program_that_the_agent_loads_is_counted() {
        let object = fs::read(workspace::root().join(OBJECT)).unwrap();
        let programs = programs(&object).unwrap();
        for name in [
            "task_newtask",
            "sched_process_exec",
            "sched_process_exit",
            "perf_event_mmap",
        ] {
            let count = programs.iter().find(|(program, _)| program == name);
            assert!(count.is_some_and(|(_, count)| *count > 10), "{programs:?}");
        }
    }

    #[test]
    fn what_is_no_object_is_refused() {
        assert!(programs(b"not an object").is_err());
    }
}
