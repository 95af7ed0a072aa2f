//! Every map of the programs, in one place, and the storing of records: the only way out.

use aya_ebpf::bindings::{
    BPF_RB_AVAIL_DATA, BPF_RB_FORCE_WAKEUP, BPF_RB_NO_WAKEUP, BPF_RB_RING_SIZE,
};
use aya_ebpf::macros::map;
use aya_ebpf::maps::{Array, LruHashMap, PerCpuArray, RingBuf};
use event::{ByKind, Kind, Subject};

use crate::context::ExecContext;
use crate::kernel::{self, NAME_SIZE_MAX, Names, PROCESSOR_COUNT, Parameter, Shared};
use crate::record::Scratch;
use crate::turn::Turn;

/// Process starts, execs and exits: room that thread and image storms cannot take. The loader sets
/// the size.
#[map]
pub(crate) static PROCESS_EVENTS: RingBuf = RingBuf::with_byte_size(64 * 1024, 0);

/// Thread and image events, and execs that fail. The loader sets the size.
#[map]
pub(crate) static EVENTS: RingBuf = RingBuf::with_byte_size(64 * 1024, 0);

/// What the agent tells the programs and they tell it; see the `CONTROL_` indices.
#[map]
static CONTROL: Array<Shared> = Array::with_max_entries(CONTROL_COUNT, 0);

/// 1 while programs record, 2 while those but for image loads do.
const CONTROL_ENABLED: u32 = 0;
/// How the agent waits: one of the `WAITING_` values.
const CONTROL_WAITING: u32 = 1;
/// Records [`PROCESS_EVENTS`] had no room for.
const CONTROL_PROCESS_EVENTS_LOST: u32 = 2;
/// Records [`EVENTS`] had no room for.
const CONTROL_EVENTS_LOST: u32 = 3;
const CONTROL_COUNT: u32 = 4;

/// The agent is awake, or will be soon: leave it alone.
const WAITING_FOR_NOTHING: u64 = 0;
/// The agent sleeps until its flush interval ends or a buffer fills up.
const WAITING_FOR_MANY: u64 = 1;
/// The agent sleeps until there is anything.
const WAITING_FOR_ANY: u64 = 2;

/// Bytes of arguments that are kept of each program when a quarter of the buffer is taken.
const ARGUMENTS_SIZE_SHORT: usize = 1024;
/// Bytes that are always kept.
pub(crate) const ARGUMENTS_SIZE_LEAST: usize = 256;

/// Per processor and kind: events that happened.
#[map]
static PRODUCED: PerCpuArray<Counters> = PerCpuArray::with_max_entries(1, 0);

/// Per processor and kind: events that could not be stored.
#[map]
static LOST: PerCpuArray<Counters> = PerCpuArray::with_max_entries(1, 0);

/// Per processor and kind: 1 while the program of the first turn is in the middle of an event.
#[map]
static BUSY: PerCpuArray<Counters> = PerCpuArray::with_max_entries(1, 0);

/// Per processor and kind: events that the program of the second turn has told.
#[map]
static TOLD_SECOND: PerCpuArray<Counters> = PerCpuArray::with_max_entries(1, 0);

/// The events that programs of the first turn began last, each at a place of its own most likely.
#[map]
static TOLD: Array<Shared> = Array::with_max_entries(1 << TOLD_BITS, 0);

const TOLD_BITS: u32 = 12;

type Counters = ByKind<Shared>;

/// Processes whose exit was told, by process id and start time: on kernels that do not say which
/// thread is the last, two threads may both find none left. The loader shrinks it on others.
#[map]
static EXITED: LruHashMap<[u64; 2], u8> = LruHashMap::with_max_entries(8192, 0);

/// Where an exec is put together, per processor and turn: too large for a per-processor map. The
/// loader sets the count.
#[map]
static EXEC_SCRATCH: Array<Scratch<EXEC_SIZE_MAX>> = Array::with_max_entries(1, 0);

/// The largest exec: 32 KiB of arguments, four paths, 16 KiB of environment, the fixed part, and room
/// for the checks: a power of two, and the most that is copied at once.
pub(crate) const EXEC_SIZE_MAX: usize = 96 * 1024;

/// What surrounds the process of an exec, per processor and turn. The loader sets the count.
#[map]
static EXEC_CONTEXTS: Array<ExecContext> = Array::with_max_entries(1, 0);

/// The variables of the environment that the agent asks for.
#[map]
static ENVIRONMENT_NAMES: Array<Names> = Array::with_max_entries(1, 0);

/// Where records with one path are put together, by the `SCRATCH_` indices.
#[map]
static SCRATCH: PerCpuArray<Scratch<SCRATCH_SIZE>> = PerCpuArray::with_max_entries(2, 0);

/// One path and the fixed part; a power of two and a name.
pub(crate) const SCRATCH_SIZE: usize = 8 * 1024 + NAME_SIZE_MAX;

/// For image loads.
pub(crate) const SCRATCH_IMAGE: u32 = 0;
/// For iterators.
pub(crate) const SCRATCH_ITERATOR: u32 = 1;
/// For execs that fail, as one program sees them. The loader adds the room where they are wanted.
pub(crate) const SCRATCH_EXEC: u32 = 2;
/// The same of several, which can be in each other's way on one processor.
pub(crate) const SCRATCH_EXECS: [u32; 4] = [2, 3, 4, 5];

/// Memory for one exec.
#[inline(always)]
pub(crate) fn exec_scratch(turn: Turn) -> Option<&'static mut Scratch<EXEC_SIZE_MAX>> {
    EXEC_SCRATCH
        .get_ptr_mut(own_index(turn))
        .map(kernel::scratch)
}

/// What surrounds the process of an exec, to be put together.
#[inline(always)]
pub(crate) fn exec_context_mut(turn: Turn) -> Option<&'static mut ExecContext> {
    EXEC_CONTEXTS
        .get_ptr_mut(own_index(turn))
        .map(kernel::scratch)
}

/// The same as it was put together.
#[inline(always)]
pub(crate) fn exec_context(turn: Turn) -> Option<&'static ExecContext> {
    EXEC_CONTEXTS.get(own_index(turn))
}

/// The index of what a processor and a turn have for themselves.
#[inline(always)]
fn own_index(turn: Turn) -> u32 {
    match turn {
        Turn::First => kernel::processor(),
        Turn::Second => kernel::processor().wrapping_add(PROCESSOR_COUNT.value() as u32),
    }
}

/// The names of the variables that are asked for.
#[inline(always)]
pub(crate) fn environment_names() -> Option<&'static Names> {
    ENVIRONMENT_NAMES.get(0)
}

/// Whether the program of the first turn that tells `kind` is in the middle of an event here.
#[inline(always)]
pub(crate) fn busy(kind: Kind) -> Option<&'static Shared> {
    BUSY.get(0)?.get(kind)
}

/// The event that was told last at the place of the one with this number.
#[inline(always)]
pub(crate) fn told(id: u64) -> Option<&'static Shared> {
    let spread = id.wrapping_mul(0x9e37_79b9_7f4a_7c15);
    TOLD.get((spread >> 64_u32.saturating_sub(TOLD_BITS)) as u32)
}

/// Counts an event that the program of the second turn tells.
#[inline(always)]
pub(crate) fn count_told_second(kind: Kind) {
    count(&TOLD_SECOND, kind);
}

/// Memory for one record with a path.
#[inline(always)]
pub(crate) fn scratch(index: u32) -> Option<&'static mut Scratch<SCRATCH_SIZE>> {
    SCRATCH.get_ptr_mut(index).map(kernel::scratch)
}

/// Whether the agent wants events now.
#[inline(always)]
pub(crate) fn is_enabled() -> bool {
    control(CONTROL_ENABLED) != 0
}

/// Whether the agent wants image loads from a program now.
#[inline(always)]
pub(crate) fn are_images_enabled() -> bool {
    control(CONTROL_ENABLED) == 1
}

/// Notes that the exit of a process is told. `false` if it was before.
#[inline(always)]
pub(crate) fn claim_exit(process_id: u32, start_time: u64) -> bool {
    const NOEXIST: u64 = aya_ebpf::bindings::BPF_NOEXIST as u64;
    const EEXIST: i32 = 17;
    EXITED.insert([u64::from(process_id), start_time], 1, NOEXIST) != Err(-EEXIST)
}

/// One of the two ring buffers with what belongs to it.
#[derive(Clone, Copy)]
pub(crate) struct Ring {
    buffer: &'static RingBuf,
    lost_index: u32,
    wake_up_size: Parameter,
}

impl Ring {
    /// The ring buffer of process events.
    const PROCESSES: Self = Self {
        buffer: &PROCESS_EVENTS,
        lost_index: CONTROL_PROCESS_EVENTS_LOST,
        wake_up_size: kernel::PROCESS_EVENTS_WAKE_UP_SIZE,
    };

    /// The ring buffer of all others.
    const OTHERS: Self = Self {
        buffer: &EVENTS,
        lost_index: CONTROL_EVENTS_LOST,
        wake_up_size: kernel::EVENTS_WAKE_UP_SIZE,
    };

    /// The ring buffer of events of `kind`.
    #[inline(always)]
    pub(crate) const fn of(kind: Kind) -> Self {
        match kind.subject() {
            Some(Subject::Process) => Self::PROCESSES,
            _ => Self::OTHERS,
        }
    }

    /// How many records it has lost so far; every record carries this number.
    #[inline(always)]
    pub(crate) fn lost(self) -> u64 {
        control(self.lost_index)
    }

    /// The most bytes of arguments a record may have now: any number while most of the buffer is free,
    /// then few. So whoever runs programs with long arguments as fast as can be loses arguments, and
    /// leaves room for which programs ran.
    #[inline(always)]
    pub(crate) fn argument_room(self) -> usize {
        let size = self.buffer.query(u64::from(BPF_RB_RING_SIZE));
        let used = self.buffer.query(u64::from(BPF_RB_AVAIL_DATA));
        if used < size / 4 {
            usize::MAX
        } else if used < size / 2 {
            ARGUMENTS_SIZE_SHORT
        } else {
            ARGUMENTS_SIZE_LEAST
        }
    }

    /// The same of the environment, which is not to fill a small buffer by itself.
    #[inline(always)]
    pub(crate) fn environment_room(self) -> usize {
        let size = self.buffer.query(u64::from(BPF_RB_RING_SIZE));
        self.argument_room().min((size / 8) as usize)
    }

    /// Stores a record of `kind`, or counts it as lost.
    #[inline(always)]
    pub(crate) fn store(self, kind: Kind, record: Option<&[u8]>) {
        count(&PRODUCED, kind);
        let stored = match record {
            Some(record) => self.buffer.output::<[u8]>(record, self.wake_up()).is_ok(),
            None => false,
        };
        if !stored {
            count(&LOST, kind);
            if let Some(lost) = CONTROL.get(self.lost_index) {
                lost.increment();
            }
        }
    }

    /// Whether storing a record wakes the agent. Wake-ups are what a recorder costs, so there is
    /// one for the first record after an idle time and one for each time a buffer fills up; for
    /// all others the agent's flush interval is soon enough.
    #[inline(always)]
    fn wake_up(self) -> u64 {
        const LEAVE: u64 = BPF_RB_NO_WAKEUP as u64;
        const WAKE: u64 = BPF_RB_FORCE_WAKEUP as u64;
        let Some(waiting) = CONTROL.get(CONTROL_WAITING) else {
            return WAKE;
        };
        let wake = match waiting.load() {
            WAITING_FOR_ANY => true,
            WAITING_FOR_MANY => {
                self.buffer.query(u64::from(BPF_RB_AVAIL_DATA)) >= self.wake_up_size.value()
            }
            _nothing => false,
        };
        if !wake {
            return LEAVE;
        }
        waiting.store(WAITING_FOR_NOTHING);
        WAKE
    }
}

#[inline(always)]
fn control(index: u32) -> u64 {
    match CONTROL.get(index) {
        Some(value) => value.load(),
        None => 0,
    }
}

/// A program may be preempted by another on its processor, so even this is an atomic addition.
#[inline(always)]
fn count(counters: &PerCpuArray<Counters>, kind: Kind) {
    if let Some(counter) = counters.get(0).and_then(|counters| counters.get(kind)) {
        counter.increment();
    }
}
