//! How deep the stack is that each routine of the driver needs, from the image itself: the frame of
//! each function is what its unwind information says, exactly, and the calls are what its code has.
//!
//! What the kernel's own functions use is theirs. A call by pointer is checked by Control Flow Guard,
//! and so is visible; only the region of the pool makes such calls, to what drops its values.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt;

use anyhow::{Context as _, Result, bail, ensure};
use iced_x86::{Decoder, DecoderOptions, FlowControl, Instruction, OpKind};
use object::pe;
use rustc_demangle::demangle;

use super::pe::{Image, u16_at, u32_at};

/// Bytes of stack that a routine the kernel calls may use, with all it calls. A kernel stack has
/// 24 KiB, and what runs above the driver on it is not known.
const STACK_MAX: u32 = 2048;

/// Beginnings of the names of what is called by pointer.
const CALLED_BY_POINTER: &[&str] = &["nt::pool::drop_"];

/// Control Flow Guard's own routines, in `crates/driver/src/guard.rs`: never called, or jumped
/// through.
const NOT_CALLED: &[&str] = &["systrail_driver::guard::", "__CxxFrameHandler3"];

/// The deepest chain of calls that begins at one routine the kernel calls.
#[derive(Debug)]
pub(super) struct Chain {
    /// Names and frames, the routine first.
    calls: Vec<(String, u32)>,
}

impl Chain {
    fn size(&self) -> u32 {
        self.calls.iter().map(|(_, frame)| frame).sum()
    }
}

impl fmt::Display for Chain {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(formatter, "stack {:>5}:", self.size())?;
        for (index, (name, frame)) in self.calls.iter().enumerate() {
            let arrow = if index == 0 { "" } else { " >" };
            write!(formatter, "{arrow} {name} {frame}")?;
        }
        Ok(())
    }
}

/// The chains that are too deep.
pub(super) fn check(chains: &[Chain]) -> Vec<String> {
    chains
        .iter()
        .filter(|chain| chain.size() > STACK_MAX)
        .map(|chain| format!("more than {STACK_MAX} bytes of stack: {chain}"))
        .collect()
}

/// The deepest chain of every routine the kernel calls, the deepest first.
pub(super) fn measure(image: &Image<'_>, map: &str) -> Result<Vec<Chain>> {
    let code = Code::read(image, &names(image, map))?;
    let mut chains = Vec::new();
    for root in &code.roots {
        let mut path = Vec::new();
        let deepest = code.deepest(*root, &mut path)?;
        let calls = deepest
            .iter()
            .map(|address| {
                let frame = code.functions.get(address).map_or(0, |it| it.frame);
                (code.name(*address), frame)
            })
            .collect();
        chains.push(Chain { calls });
    }
    chains.sort_by_key(|chain| std::cmp::Reverse(chain.size()));
    ensure!(!chains.is_empty(), "the kernel calls nothing in the image");
    Ok(chains)
}

type Names = BTreeMap<u32, Vec<String>>;

/// The names at each address; identical functions are one and have several.
fn names(image: &Image<'_>, map: &str) -> Names {
    use object::read::pe::ImageOptionalHeader as _;
    let base = image.header().image_base();
    let mut names = Names::new();
    for line in map.lines() {
        let mut fields = line.split_whitespace();
        let (Some(place), Some(name), Some(address)) =
            (fields.next(), fields.next(), fields.next())
        else {
            continue;
        };
        let address = u64::from_str_radix(address, 16)
            .ok()
            .and_then(|address| u32::try_from(address.checked_sub(base)?).ok());
        if let (true, Some(address)) = (place.contains(':'), address) {
            // Without the hash at the end.
            names
                .entry(address)
                .or_default()
                .push(format!("{:#}", demangle(name)));
        }
    }
    names
}

#[derive(Debug)]
struct Function {
    frame: u32,
    calls: BTreeSet<u32>,
}

/// The functions of the image and who calls whom.
#[derive(Debug)]
struct Code {
    functions: BTreeMap<u32, Function>,
    roots: Vec<u32>,
    names: Names,
}

impl Code {
    fn read(image: &Image<'_>, names: &Names) -> Result<Self> {
        let guard = image.guard()?.context("it has no load configuration")?;
        let slots: BTreeSet<u32> = image.imports()?.iter().map(|import| import.slot).collect();
        let is_named = |address: &u32, beginnings: &[&str]| {
            names.get(address).is_some_and(|names| {
                names
                    .iter()
                    .any(|name| beginnings.iter().any(|it| name.starts_with(it)))
            })
        };
        let (by_pointer, by_kernel): (Vec<u32>, Vec<u32>) = guard
            .functions
            .iter()
            .filter(|address| !is_named(address, NOT_CALLED))
            .partition(|address| is_named(address, CALLED_BY_POINTER));
        let entry = image
            .header()
            .address_of_entry_point
            .get(object::LittleEndian);
        let mut roots: BTreeSet<u32> = by_kernel.into_iter().collect();
        roots.insert(entry);
        let frames = frames(image)?;
        let reader = Reader {
            image,
            frames: &frames,
            slots: &slots,
            dispatch_slot: guard.dispatch_slot,
            by_pointer: &by_pointer,
        };
        let mut functions = BTreeMap::new();
        let mut open: Vec<u32> = roots.iter().chain(&by_pointer).copied().collect();
        while let Some(address) = open.pop() {
            if functions.contains_key(&address) {
                continue;
            }
            let function = reader.function(address)?;
            open.extend(&function.calls);
            functions.insert(address, function);
        }
        Ok(Self {
            functions,
            roots: roots.into_iter().collect(),
            names: names.clone(),
        })
    }

    /// The deepest chain from `address` on. `path` is how it was reached.
    fn deepest(&self, address: u32, path: &mut Vec<u32>) -> Result<Vec<u32>> {
        ensure!(
            !path.contains(&address),
            "{} calls itself, so the depth of the stack is not known",
            self.name(address)
        );
        let function = self
            .functions
            .get(&address)
            .with_context(|| format!("nothing is known of the function at {address:#x}"))?;
        path.push(address);
        let mut deepest = (0, Vec::new());
        for callee in &function.calls {
            let chain = self.deepest(*callee, path)?;
            let size = chain
                .iter()
                .filter_map(|address| self.functions.get(address))
                .map(|function| function.frame)
                .sum();
            if size > deepest.0 {
                deepest = (size, chain);
            }
        }
        path.pop();
        let mut chain = vec![address];
        chain.extend(deepest.1);
        Ok(chain)
    }

    fn name(&self, address: u32) -> String {
        let names = self.names.get(&address);
        names
            .and_then(|names| names.first().cloned())
            .unwrap_or_else(|| format!("{address:#x}"))
    }
}

/// Begin, end and frame of each function that has unwind information, which is every one that
/// touches the stack pointer.
fn frames(image: &Image<'_>) -> Result<BTreeMap<u32, (u32, u32)>> {
    const ENTRY_SIZE: usize = 12;
    let table = image.directory_bytes(pe::IMAGE_DIRECTORY_ENTRY_EXCEPTION)?;
    table
        .chunks_exact(ENTRY_SIZE)
        .map(|entry| {
            let (begin, end) = (u32_at(entry, 0)?, u32_at(entry, 4)?);
            let frame = frame_size(image.at(u32_at(entry, 8)?)?)
                .with_context(|| format!("the unwind information of {begin:#x}"))?;
            Ok((begin, (end, frame)))
        })
        .collect()
}

/// What a call of the function takes from the stack, its return address included, as `UNWIND_INFO`
/// tells it.
fn frame_size(information: &[u8]) -> Result<u32> {
    const CHAINED: u8 = 4;
    const RETURN_ADDRESS: u32 = 8;
    let head = information.first_chunk::<4>().context("is cut short")?;
    let [version_and_flags, _prologue, count, _frame_register] = *head;
    ensure!(
        version_and_flags >> 3 & CHAINED == 0,
        "is chained, which is not understood"
    );
    let codes = (0..usize::from(count))
        .map(|index| u16_at(information, 4 + index * 2))
        .collect::<Result<Vec<u16>>>()?;
    let mut size = RETURN_ADDRESS;
    let mut rest = codes.iter();
    let mut next = |what: &str| {
        rest.next()
            .copied()
            .with_context(|| format!("lacks {what}"))
    };
    while let Ok(code) = next("codes") {
        let (operation, info) = (code >> 8 & 0xf, u32::from(code >> 12));
        match (operation, info) {
            // UWOP_PUSH_NONVOL
            (0, _) => size += 8,
            // UWOP_ALLOC_LARGE, in units of eight bytes or in bytes
            (1, 0) => size += u32::from(next("a size")?) * 8,
            (1, _) => {
                let low = u32::from(next("a size")?);
                size += low | u32::from(next("a size")?) << 16;
            }
            // UWOP_ALLOC_SMALL
            (2, _) => size += info * 8 + 8,
            // UWOP_SET_FPREG
            (3, _) => {}
            // UWOP_SAVE_NONVOL, UWOP_SAVE_XMM128: into what was taken already
            (4 | 8, _) => drop(next("an offset")?),
            // The same, far away
            (5 | 9, _) => {
                next("an offset")?;
                next("an offset")?;
            }
            (other, _) => bail!("has operation {other}, which is not understood"),
        }
    }
    Ok(size)
}

/// Finds out what a function calls.
struct Reader<'r> {
    image: &'r Image<'r>,
    frames: &'r BTreeMap<u32, (u32, u32)>,
    slots: &'r BTreeSet<u32>,
    dispatch_slot: u32,
    by_pointer: &'r [u32],
}

impl Reader<'_> {
    fn function(&self, begin: u32) -> Result<Function> {
        const LEAF_FRAME: u32 = 8;
        let code = self.image.at(begin)?;
        let known = self.frames.get(&begin);
        let end = known.map_or_else(|| self.end_of_leaf(begin, code), |(end, _)| *end);
        let size = usize::try_from(end.saturating_sub(begin))?;
        let code = code.get(..size).context("a function outside the image")?;
        let mut calls = BTreeSet::new();
        for instruction in Decoder::with_ip(64, code, u64::from(begin), DecoderOptions::NONE) {
            self.called(&instruction, begin..end, &mut calls)
                .with_context(|| format!("the code at {:#x}", instruction.ip()))?;
        }
        Ok(Function {
            frame: known.map_or(LEAF_FRAME, |(_, frame)| *frame),
            calls,
        })
    }

    /// A function without unwind information ends before the next one that has some, at the latest.
    fn end_of_leaf(&self, begin: u32, code: &[u8]) -> u32 {
        let next = self.frames.range(begin + 1..).next();
        let end = next.map_or(u32::MAX, |(next, _)| *next);
        let decoder = Decoder::with_ip(64, code, u64::from(begin), DecoderOptions::NONE);
        let last = decoder
            .into_iter()
            .take_while(|instruction| instruction.ip() < u64::from(end))
            .find(|instruction| {
                matches!(
                    instruction.flow_control(),
                    FlowControl::Return
                        | FlowControl::UnconditionalBranch
                        | FlowControl::IndirectBranch
                        | FlowControl::Exception
                )
            });
        last.and_then(|instruction| u32::try_from(instruction.next_ip()).ok())
            .unwrap_or(end)
            .min(end)
    }

    /// Adds what one instruction calls. A jump out of the function is a call too: it makes the
    /// depth no smaller than it is.
    fn called(
        &self,
        instruction: &Instruction,
        own: std::ops::Range<u32>,
        calls: &mut BTreeSet<u32>,
    ) -> Result<()> {
        let slot = instruction
            .is_ip_rel_memory_operand()
            .then(|| instruction.ip_rel_memory_address());
        if slot == Some(u64::from(self.dispatch_slot)) {
            // Called through at once, or fetched for a call further down.
            ensure!(!self.by_pointer.is_empty(), "calls by a pointer to nothing");
            calls.extend(self.by_pointer);
            return Ok(());
        }
        let is_indirect = match instruction.flow_control() {
            FlowControl::Call
            | FlowControl::ConditionalBranch
            | FlowControl::UnconditionalBranch => false,
            FlowControl::IndirectCall | FlowControl::IndirectBranch => true,
            FlowControl::Next | FlowControl::Return => {
                ensure!(!instruction.is_invalid(), "is no instruction");
                return Ok(());
            }
            // `ud2` behind what never returns.
            FlowControl::Exception => return Ok(()),
            _ => bail!("interrupts or begins a transaction"),
        };
        if !is_indirect {
            let target = u32::try_from(instruction.near_branch_target())?;
            let is_call = instruction.flow_control() == FlowControl::Call;
            if is_call || !own.contains(&target) {
                calls.insert(target);
            }
            return Ok(());
        }
        if instruction.op0_kind() == OpKind::Register {
            // An import's address or the guard's that was fetched before, or a table of jumps: what
            // is called by a pointer of the driver's own goes through the guard.
            return Ok(());
        }
        let is_import = slot
            .and_then(|slot| u32::try_from(slot).ok())
            .is_some_and(|slot| self.slots.contains(&slot));
        ensure!(is_import, "calls through what is neither import nor guard");
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::super::fixture::{FUNCTIONS, Fixture, LOAD_CONFIGURATION, TEXT, UNWIND};
    use super::*;

    const MAP: &str = "\
 0001:00000000       DriverEntry   0000000140001000     a.o
 0001:00000100       _ZN1a4deep17h0123456789abcdefE 0000000140001100     a.o
";

    fn measured(spoil_fn: impl FnOnce(&mut Fixture), map: &str) -> Result<Vec<Chain>> {
        let mut fixture = Fixture::new();
        spoil_fn(&mut fixture);
        measure(&Image::parse(&fixture.bytes)?, map)
    }

    #[track_caller]
    fn refused(what: &str, spoil_fn: impl FnOnce(&mut Fixture)) {
        let error = measured(spoil_fn, MAP).unwrap_err();
        assert!(format!("{error:#}").contains(what), "{error:#}");
    }

    #[test]
    fn a_chain_is_the_frames_and_return_addresses_of_its_calls() {
        let chains = measured(|_| (), MAP).unwrap();
        let [chain] = &chains[..] else {
            unreachable!("one routine was called by the kernel");
        };
        assert_eq!(
            chain.to_string(),
            "stack   312: DriverEntry 48 > a::deep 264"
        );
        assert_eq!(check(&chains), Vec::<String>::new());
    }

    #[test]
    fn a_chain_above_the_limit_is_named() {
        let grow = |it: &mut Fixture| it.put(UNWIND + 14, &0x100_u16.to_le_bytes());
        let faults = check(&measured(grow, MAP).unwrap());
        assert!(faults[0].contains("a::deep 2056"), "{faults:?}");
    }

    #[test]
    fn recursion_is_refused() {
        // The call of the import becomes one of the entry point.
        refused("calls itself", |it| {
            it.put(TEXT + 0x107, &[0x90, 0xe8]);
            it.put(
                TEXT + 0x109,
                &(0x1000_u32.wrapping_sub(0x110d)).to_le_bytes(),
            );
        });
    }

    #[test]
    fn a_call_through_what_is_no_import_is_refused() {
        refused("neither import nor guard", |it| {
            it.put(TEXT + 0x109, &[0x58]);
        });
    }

    #[test]
    fn a_call_by_pointer_reaches_what_may_be_called_so_and_nothing_else() {
        let through_guard = |it: &mut Fixture| {
            it.put(TEXT + 0x109, &(0x2330_u32 - 0x110d).to_le_bytes());
        };
        refused("by a pointer to nothing", through_guard);
        // A leaf that returns at once, in the guard's table and named as what drops values.
        let map = format!(
            "{MAP} 0001:00000180  _ZN2nt4pool10drop_value17h0123456789abcdefE 0000000140001180 a.o\n"
        );
        let chains = measured(
            |it| {
                through_guard(it);
                it.put(TEXT + 0x180, &[0xc3]);
                it.put(LOAD_CONFIGURATION + 136, &[2]);
                it.put(LOAD_CONFIGURATION + 0x104, &0x1180_u32.to_le_bytes());
            },
            &map,
        )
        .unwrap();
        assert!(
            chains[0].to_string().ends_with("> nt::pool::drop_value 8"),
            "{}",
            chains[0]
        );
    }

    #[test]
    fn unwind_information_that_is_not_understood_is_refused() {
        refused("chained", |it| it.put(UNWIND, &[0x21]));
        refused("operation 7", |it| it.put(UNWIND + 5, &[0x07]));
        refused("lacks a size", |it| it.put(UNWIND + 8, &[1, 7, 1]));
        refused("no section", |it| it.put(FUNCTIONS + 8, &[0, 0, 0x70]));
    }
}
