//! The eBPF object in the kernel: loading it with what this kernel's type information says,
//! attaching its programs, and its maps.

use std::fs::File;
use std::io;
use std::os::fd::{AsFd as _, AsRawFd as _};

use aya::maps::{Array, MapData, MapError, PerCpuArray, RingBuf};
use aya::programs::fentry::FEntryLink;
use aya::programs::tp_btf::BtfTracePointLink;
use aya::programs::{BtfTracePoint, FEntry, Iter, ProgramError};
use aya::{Btf, Ebpf, EbpfLoader, Endianness, VerifierLogLevel};
use event::{ByKind, Kind};

use super::btf::{self, Named, Types};
use super::failed_execs::{self, FailedExecs};
use super::{environment, fields, images};
use crate::sensor::{Error, Settings};
use crate::sys::{perf, proc, rcu};

/// The programs, built from `crates/ebpf` by `cargo xtask ebpf`.
static OBJECT: &[u8] = aya::include_bytes_aligned!(concat!(
    env!("CARGO_MANIFEST_DIR"),
    "/assets/systrail.bpf.o"
));

/// The programs on tracepoints, named after them, with what each tells first.
const TRACEPOINTS: [(&str, Kind); 3] = [
    ("task_newtask", Kind::PROCESS_START),
    ("sched_process_exec", Kind::PROCESS_EXEC),
    ("sched_process_exit", Kind::PROCESS_EXIT),
];
/// What the programs are called that tell what those were too busy for.
const SECOND: &str = "_second";
/// The programs that put together what surrounds the process of an exec, for the one that tells it.
const CONTEXT: (&str, &str) = ("sched_process_exec_context", "sched_process_exec");
/// The program on the kernel function of that name.
const IMAGE_FUNCTION: &str = "perf_event_mmap";

/// The iterators over processes and over mappings, with what each iterates.
const PROCESS_ITERATOR: (&str, &str) = ("iterate_processes", "task");
const IMAGE_ITERATOR: (&str, &str) = ("iterate_images", "task_vma");

/// The agent is woken when this much waits in a buffer, or a quarter of its size.
const WAKE_UP_SIZE_MAX: u32 = 64 * 1024;

/// Who takes the steps of a loop, each of which the verifier would otherwise walk through.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Loops {
    /// The kernel where it can, since Linux 5.17.
    OfKernel,
    /// The programs.
    OfPrograms,
}

/// How the agent is about to wait, for the programs to know whether to wake it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u64)]
pub(super) enum Waiting {
    /// Until the flush interval ends or a buffer fills up.
    ForMany = 1,
    /// Until there is anything.
    ForAny = 2,
}

/// Indices into the map `CONTROL`.
const CONTROL_ENABLED: u32 = 0;
const CONTROL_WAITING: u32 = 1;

/// All but image loads.
const ENABLED_WITHOUT_IMAGES: u64 = 2;

/// Numbers per observed kind, as the maps have them.
type PerKind = [u64; Kind::OBSERVED.len()];

/// The loaded object. Dropping it detaches and unloads everything: nothing is pinned.
///
/// # Invariants
/// Fields are in the order of their tear-down: no program runs on maps that went.
pub(super) struct Object {
    tracepoint_links: Vec<BtfTracePointLink>,
    image_link: Option<FEntryLink>,
    exec_links: Option<failed_execs::Links>,
    ebpf: Ebpf,
    control: Array<MapData, u64>,
    produced: PerCpuArray<MapData, PerKind>,
    lost: PerCpuArray<MapData, PerKind>,
    told_second: PerCpuArray<MapData, PerKind>,
    /// What the kernel had skipped programs for at the last look.
    skipped: ByKind<u64>,
    /// The programs on tracepoints, in the order in which they are to be run.
    tracepoint_programs: Vec<(String, &'static str)>,
    /// Whether the image program is loaded; where it is not, images come from elsewhere.
    pub(super) sees_images: bool,
    /// How execs that fail are seen.
    pub(super) failed_execs: FailedExecs,
    has_iterators: bool,
}

impl Object {
    /// Loads the programs and attaches none.
    pub(super) fn load(settings: &Settings, loops: Loops) -> Result<Self, Error> {
        let bytes = std::fs::read(btf::PATH).map_err(|error| Error::Unavailable {
            cause: format!(
                "the kernel publishes no type information: {}: {error}",
                btf::PATH
            ),
            cure: "run a kernel built with CONFIG_DEBUG_INFO_BTF".to_owned(),
        })?;
        let types = Types::read(&bytes).ok_or_else(|| Error::Unavailable {
            cause: format!("{} is not type information this version knows", btf::PATH),
            cure: "update systrail".to_owned(),
        })?;
        let machine = Machine::of_this()?;
        let (names, multiplier) = environment::table(&settings.environment);
        let mut parameters = parameters(&types, settings, machine, multiplier)?;
        let has_loop = loops == Loops::OfKernel && types.has_function("bpf_loop");
        parameters.push(("has_loop", u64::from(has_loop)));
        let tracepoint_programs = tracepoint_programs(machine.runs_twice);
        let btf = Btf::parse(&attached(&types), Endianness::default())
            .map_err(|error| unavailable("reading BTF", &error))?;
        let mut ebpf = load_maps(&parameters, settings, machine)?;
        set_names(&mut ebpf, &names)?;
        for (name, tracepoint_name) in &tracepoint_programs {
            let program = tracepoint(&mut ebpf, name)?;
            load_program(|| program.load(tracepoint_name, &btf))
                .map_err(|error| refused(name, error))?;
        }
        // Not every kernel takes these kinds of programs; perf events and `/proc` stand in.
        let sees_images = settings.images
            && !images::is_tracing_off()
            && image_program(&mut ebpf)
                .is_ok_and(|program| load_program(|| program.load(IMAGE_FUNCTION, &btf)).is_ok());
        let failed_execs = if settings.failed_execs {
            FailedExecs::load(&mut ebpf, &btf, &types, machine.runs_twice)
        } else {
            FailedExecs::Nowhere
        };
        let has_iterators = [PROCESS_ITERATOR, IMAGE_ITERATOR]
            .into_iter()
            .all(|(name, target)| {
                iterator(&mut ebpf, name)
                    .is_ok_and(|program| load_program(|| program.load(target, &btf)).is_ok())
            });
        let (control, produced, lost, told_second) = (
            Array::try_from(take(&mut ebpf, "CONTROL")?).map_err(map_error)?,
            PerCpuArray::try_from(take(&mut ebpf, "PRODUCED")?).map_err(map_error)?,
            PerCpuArray::try_from(take(&mut ebpf, "LOST")?).map_err(map_error)?,
            PerCpuArray::try_from(take(&mut ebpf, "TOLD_SECOND")?).map_err(map_error)?,
        );
        Ok(Self {
            tracepoint_links: Vec::new(),
            image_link: None,
            exec_links: None,
            ebpf,
            control,
            produced,
            lost,
            told_second,
            skipped: ByKind::default(),
            tracepoint_programs,
            sees_images,
            failed_execs,
            has_iterators,
        })
    }

    /// The ring buffer of that name; each can be taken once.
    pub(super) fn take_ring(&mut self, name: &'static str) -> Result<RingBuf<MapData>, Error> {
        RingBuf::try_from(take(&mut self.ebpf, name)?).map_err(map_error)
    }

    /// Attaches every program, then lets them record. On return every event is seen.
    pub(super) fn start(&mut self) -> Result<(), Error> {
        for (name, _) in &self.tracepoint_programs {
            let link = attach_tracepoint(&mut self.ebpf, name)?;
            self.tracepoint_links.push(link);
        }
        if self.sees_images {
            let program = image_program(&mut self.ebpf)?;
            let link = program
                .attach()
                .and_then(|id| program.take_link(id))
                .map_err(|error| refused(IMAGE_FUNCTION, error))?;
            self.image_link = Some(link);
        }
        self.exec_links = Some(self.failed_execs.attach(&mut self.ebpf)?);
        self.set(CONTROL_ENABLED, 1)
    }

    /// Leaves image loads to others. The program stays where it is: the kernel is not asked to change
    /// its functions while it has been told not to.
    pub(super) fn stop_images(&mut self) -> Result<(), Error> {
        self.set(CONTROL_ENABLED, ENABLED_WITHOUT_IMAGES)
    }

    /// Stops recording. On return no program is running any more, so all counters are final.
    pub(super) fn stop(&mut self) -> Result<(), Error> {
        self.set(CONTROL_ENABLED, 0)?;
        self.tracepoint_links.clear();
        self.image_link = None;
        self.exec_links = None;
        rcu::wait_for_readers();
        Ok(())
    }

    /// A walk over the processes there are, as records; `None` where this kernel does not take
    /// the iterators.
    pub(super) fn iterate_processes(&mut self) -> io::Result<Option<File>> {
        self.iterate(PROCESS_ITERATOR.0)
    }

    /// A walk over the executable mappings of files there are.
    pub(super) fn iterate_images(&mut self) -> io::Result<Option<File>> {
        self.iterate(IMAGE_ITERATOR.0)
    }

    fn iterate(&mut self, name: &str) -> io::Result<Option<File>> {
        if !self.has_iterators {
            return Ok(None);
        }
        let program = iterator(&mut self.ebpf, name).map_err(io::Error::other)?;
        let link = program
            .attach()
            .and_then(|id| program.take_link(id))
            .map_err(io::Error::other)?;
        link.into_file().map(Some).map_err(io::Error::other)
    }

    /// Tells the programs when to wake the agent.
    pub(super) fn set_waiting(&mut self, waiting: Waiting) -> Result<(), Error> {
        self.set(CONTROL_WAITING, waiting as u64)
    }

    /// Events that happened so far.
    pub(super) fn produced(&self) -> Result<ByKind<u64>, Error> {
        sum(&self.produced)
    }

    /// Of those, events that could not be stored.
    pub(super) fn lost(&self) -> Result<ByKind<u64>, Error> {
        sum(&self.lost)
    }

    /// Events whose program did not run, because it ran on the same processor already when it was
    /// interrupted, and that its second did not tell either. A program that tells of several kinds has
    /// them all counted as its first: what it would have told is not known.
    ///
    /// `is_over` where no program runs any more. Before, what was skipped since the last call may be
    /// about to be told, and is left to the next.
    pub(super) fn missed(&mut self, is_over: bool) -> Result<ByKind<u64>, Error> {
        let mut skipped = ByKind::default();
        for (name, kind) in TRACEPOINTS
            .into_iter()
            .chain([(IMAGE_FUNCTION, Kind::IMAGE_LOAD)])
        {
            skipped.add(kind, self.misses(name).unwrap_or(0));
        }
        // An exec that went well is none of these, but of one that was not seen nobody can say.
        for name in self.failed_execs.functions() {
            skipped.add(Kind::EXEC_FAILED, self.misses(name).unwrap_or(0));
        }
        let before = std::mem::replace(&mut self.skipped, skipped);
        let skipped = if is_over || !self.runs_twice() {
            skipped
        } else {
            before
        };
        let told = sum(&self.told_second)?;
        Ok(ByKind::from_fn(|kind| {
            skipped.count(kind).saturating_sub(told.count(kind))
        }))
    }

    fn runs_twice(&self) -> bool {
        let mut names = self.tracepoint_programs.iter().map(|(name, _)| name);
        names.any(|name| name.ends_with(SECOND))
    }

    /// What the kernel says of a program; `None` where it is not loaded or the kernel does not say.
    fn misses(&self, name: &str) -> Option<u64> {
        let fd = self.ebpf.program(name)?.fd().ok()?.as_fd().as_raw_fd();
        proc::own_descriptor(fd, "recursion_misses")?.parse().ok()
    }

    fn set(&mut self, index: u32, value: u64) -> Result<(), Error> {
        self.control.set(index, value, 0).map_err(map_error)
    }
}

/// What the programs depend on beside the kernel's types.
#[derive(Clone, Copy, Debug)]
struct Machine {
    processor_count: usize,
    /// Bytes of a page of memory.
    page_size: u64,
    /// Whether programs on tracepoints can be preempted, so that the kernel skips them for others: since
    /// Linux 7.0 ("tracing: Guard `__DECLARE_TRACE()` use of `__DO_TRACE_CALL()` with SRCU-fast").
    runs_twice: bool,
}

impl Machine {
    fn of_this() -> Result<Self, Error> {
        let processor_count = aya::util::nr_cpus().map_err(|(_, source)| Error::Io {
            action: "counting processors",
            source,
        })?;
        let release = proc::kernel_setting("osrelease").unwrap_or_default();
        Ok(Self {
            processor_count,
            page_size: perf::page_size() as u64,
            runs_twice: major_of(&release) >= Some(7),
        })
    }
}

/// The first number of a kernel's release, such as `7.3.4-cloud`.
fn major_of(release: &str) -> Option<u32> {
    release.split('.').next()?.parse().ok()
}

/// The programs on tracepoints, each with its tracepoint. The kernel runs those of one tracepoint in
/// the order in which they are attached.
fn tracepoint_programs(runs_twice: bool) -> Vec<(String, &'static str)> {
    let tells = TRACEPOINTS.map(|(name, _)| (name, name));
    let mut programs = Vec::new();
    // What tells an exec takes what the other left, so that comes first, in both turns.
    for first in [&[CONTEXT][..], &tells] {
        let named = |suffix: &'static str| {
            let programs = first.iter();
            programs.map(move |(name, tracepoint)| (format!("{name}{suffix}"), *tracepoint))
        };
        programs.extend(named(""));
        programs.extend(named(SECOND).filter(|_| runs_twice));
    }
    programs
}

/// Type information with what the programs are attached to, and no more.
fn attached(types: &Types<'_>) -> Vec<u8> {
    let tracepoints = TRACEPOINTS.map(|(name, _)| format!("btf_trace_{name}"));
    let iterators = [PROCESS_ITERATOR, IMAGE_ITERATOR].map(|(_, name)| format!("bpf_iter_{name}"));
    let tracepoints = tracepoints.iter().map(|name| Named::Typedef(name));
    let functions = iterators.iter().map(|name| Named::Function(name));
    let functions = functions.chain([Named::Function(IMAGE_FUNCTION)]);
    let failed_execs = failed_execs::attached_to();
    let wanted = tracepoints.chain(functions).chain(failed_execs);
    types.excerpt(&wanted.collect::<Vec<_>>())
}

/// The read-only globals, by name.
fn parameters(
    types: &Types<'_>,
    settings: &Settings,
    machine: Machine,
    multiplier: u64,
) -> Result<Vec<(&'static str, u64)>, Error> {
    let wake_up_size = |size: u32| u64::from(WAKE_UP_SIZE_MAX.min(size / 4));
    let tells_last = types.tracepoint_parameter_count("sched_process_exit") >= Some(2);
    let mut parameters = vec![
        (
            "process_events_wake_up_size",
            wake_up_size(settings.process_buffer_size),
        ),
        (
            "events_wake_up_size",
            wake_up_size(settings.event_buffer_size),
        ),
        ("exit_tells_last", u64::from(tells_last)),
        ("processor_count", machine.processor_count as u64),
        ("page_size", machine.page_size),
        ("runs_twice", u64::from(machine.runs_twice)),
        ("record_threads", u64::from(settings.threads)),
        (
            "environment_is_asked",
            u64::from(!settings.environment.is_empty()),
        ),
        ("environment_multiplier", multiplier),
        (
            "host_mount_namespace",
            proc::host_mount_namespace().unwrap_or(0).into(),
        ),
    ];
    parameters.extend(fields::offsets(types)?);
    if let Some(offsets) = fields::stamp_offsets(types).filter(|_| settings.stamps) {
        parameters.push(("images_are_stamped", 1));
        parameters.extend(offsets);
    }
    Ok(parameters)
}

fn load_maps(
    parameters: &[(&'static str, u64)],
    settings: &Settings,
    machine: Machine,
) -> Result<Ebpf, Error> {
    let turns = if machine.runs_twice { 2 } else { 1 };
    let exec_count = u32::try_from(machine.processor_count * turns).unwrap_or(u32::MAX);
    let mut loader = EbpfLoader::new();
    loader
        // Where this kernel's fields are, the programs know from their globals.
        .btf(None)
        // Why a program is refused, and no more. With the state at every instruction the library
        // asks again and again with a larger buffer, up to ten times, whenever the first attempt
        // failed because a signal was pending.
        .verifier_log_level(VerifierLogLevel::STATS)
        .map_max_entries("PROCESS_EVENTS", settings.process_buffer_size)
        .map_max_entries("EVENTS", settings.event_buffer_size)
        .map_max_entries("EXEC_SCRATCH", exec_count)
        .map_max_entries("EXEC_CONTEXTS", exec_count);
    if settings.failed_execs {
        loader.map_max_entries("SCRATCH", failed_execs::SCRATCH_COUNT);
    }
    for (name, value) in parameters {
        loader.override_global(name, value, true);
    }
    loader
        .load(OBJECT)
        .map_err(|error| unavailable("creating eBPF maps", &error))
}

/// Tells the programs by which table they find the variables that are told.
fn set_names(ebpf: &mut Ebpf, names: &environment::Table) -> Result<(), Error> {
    const MAP: &str = "ENVIRONMENT_NAMES";
    let map = ebpf.map_mut(MAP).ok_or_else(|| missing(MAP))?;
    Array::try_from(map)
        .and_then(|mut map: Array<&mut MapData, environment::Table>| map.set(0, *names, 0))
        .map_err(map_error)
}

/// Loads a program. The verifier gives up when a signal is pending, and then wants to be asked
/// again.
pub(super) fn load_program(
    load_fn: impl FnMut() -> Result<(), ProgramError>,
) -> Result<(), ProgramError> {
    const ATTEMPTS_MAX: usize = 5;
    std::iter::repeat_with(load_fn)
        .take(ATTEMPTS_MAX)
        .find(|result| !matches!(result, Err(error) if is_interrupted(error)))
        .unwrap_or(Err(ProgramError::NotLoaded))
}

fn is_interrupted(error: &ProgramError) -> bool {
    let ProgramError::LoadError { io_error, .. } = error else {
        return false;
    };
    io_error.kind() == io::ErrorKind::WouldBlock
}

/// Attaches the program of that name.
pub(super) fn attach_tracepoint(ebpf: &mut Ebpf, name: &str) -> Result<BtfTracePointLink, Error> {
    let program = tracepoint(ebpf, name)?;
    let link = program.attach().and_then(|id| program.take_link(id));
    link.map_err(|error| refused(name, error))
}

pub(super) fn tracepoint<'e>(
    ebpf: &'e mut Ebpf,
    name: &str,
) -> Result<&'e mut BtfTracePoint, Error> {
    let program = ebpf.program_mut(name).ok_or_else(|| missing(name))?;
    program.try_into().map_err(|error| refused(name, error))
}

fn image_program(ebpf: &mut Ebpf) -> Result<&mut FEntry, Error> {
    let program = ebpf
        .program_mut(IMAGE_FUNCTION)
        .ok_or_else(|| missing(IMAGE_FUNCTION))?;
    program
        .try_into()
        .map_err(|error| refused(IMAGE_FUNCTION, error))
}

fn iterator<'e>(ebpf: &'e mut Ebpf, name: &str) -> Result<&'e mut Iter, Error> {
    let program = ebpf.program_mut(name).ok_or_else(|| missing(name))?;
    program.try_into().map_err(|error| refused(name, error))
}

fn take(ebpf: &mut Ebpf, name: &str) -> Result<aya::maps::Map, Error> {
    ebpf.take_map(name).ok_or_else(|| missing(name))
}

fn sum(map: &PerCpuArray<MapData, PerKind>) -> Result<ByKind<u64>, Error> {
    let mut total = ByKind::default();
    for counters in map.get(&0, 0).map_err(map_error)?.iter() {
        for (kind, count) in ByKind::new(*counters).iter() {
            total.add(kind, *count);
        }
    }
    Ok(total)
}

/// The object and this file name different things: a build that cannot be shipped.
pub(super) fn missing(name: &str) -> Error {
    Error::Unavailable {
        cause: format!("the eBPF object has no {name}"),
        cure: "rebuild it with cargo xtask ebpf".to_owned(),
    }
}

fn map_error(error: MapError) -> Error {
    Error::Io {
        action: "accessing an eBPF map",
        source: io::Error::other(error),
    }
}

/// Why the kernel did not take a program.
pub(super) fn refused(name: &str, error: ProgramError) -> Error {
    match error {
        ProgramError::LoadError {
            io_error,
            verifier_log,
        } => {
            let log = verifier_log.to_string();
            match verifier_reason(&log) {
                Some(reason) => Error::Unavailable {
                    cause: format!(
                        "the kernel's verifier refused eBPF program {name}: {io_error}: {reason}"
                    ),
                    cure: "report it with the output of uname -r, and use another source"
                        .to_owned(),
                },
                None => unavailable(&format!("loading eBPF program {name}"), &io_error),
            }
        }
        error => unavailable(&format!("loading eBPF program {name}"), &error),
    }
}

/// The line in which the verifier says why; its statistics follow it.
fn verifier_reason(log: &str) -> Option<&str> {
    const STATISTICS: [&str; 3] = ["verification time", "stack depth", "processed"];
    log.lines()
        .map(str::trim)
        .rfind(|line| !line.is_empty() && !STATISTICS.iter().any(|start| line.starts_with(start)))
}

fn unavailable(action: &str, error: &(dyn std::error::Error + 'static)) -> Error {
    let mut cause = format!("{action}: {error}");
    let mut kind = None;
    let mut source = Some(error);
    while let Some(error) = source {
        if let Some(error) = error.downcast_ref::<io::Error>() {
            kind = Some(error.kind());
            cause = format!("{action}: {error}");
        }
        source = error.source();
    }
    let cure = match kind {
        Some(io::ErrorKind::PermissionDenied) => {
            "run as root, or grant CAP_BPF and CAP_PERFMON; under kernel lockdown use another source"
        }
        Some(io::ErrorKind::OutOfMemory) => "make the buffers smaller",
        _ => "use another source",
    };
    Error::Unavailable {
        cause,
        cure: cure.to_owned(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_tracepoint_has_its_first_program_before_its_second() {
        let names = |runs_twice| {
            let programs = tracepoint_programs(runs_twice).into_iter();
            programs.map(|(name, _)| name).collect::<Vec<_>>()
        };
        let (context, _) = CONTEXT;
        let expected = std::iter::once(context).chain(TRACEPOINTS.map(|(name, _)| name));
        assert!(names(false).iter().eq(expected));
        let twice = names(true);
        let at = |name: &str| twice.iter().position(|other| other == name).unwrap();
        for (name, _) in TRACEPOINTS {
            assert!(at(name) < at(&format!("{name}{SECOND}")));
            assert!(at(&format!("{context}{SECOND}")) < at(name));
        }
        assert!(at(context) < at(&format!("{context}{SECOND}")));
    }

    #[test]
    fn a_release_has_a_major_number_or_none() {
        assert_eq!(major_of("7.3.4+deb13-cloud-amd64\n"), Some(7));
        assert_eq!(major_of("6.1.0-40-cloud-amd64"), Some(6));
        assert_eq!(major_of("unknown"), None);
    }
}
