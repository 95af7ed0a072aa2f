//! Records with the eBPF sensor while something happens, and asks what was recorded.

use std::time::Duration;

use event::{Event, Extension, Flags, Header, Kind, process};
use systrail::enrich::image_path;
use systrail::sensor::{Batch, Counters, Sensor, Settings, ebpf};
use systrail::sys::wake::Waker;

/// Whether the test can run here. In CI it must.
#[expect(clippy::print_stderr, reason = "a test that does not run says why")]
pub(crate) fn is_root() -> bool {
    if nix::unistd::geteuid().is_root() {
        return true;
    }
    assert!(
        std::env::var_os("CI").is_none_or(|value| value != "true"),
        "these tests need root, and CI must run them"
    );
    eprintln!("not run: needs root");
    false
}

/// Everything on but execs that fail, with buffers nothing here fills.
pub(crate) fn settings() -> Settings {
    Settings {
        threads: true,
        images: true,
        failed_execs: false,
        stamps: false,
        environment: systrail::environment::Names::usual(),
        process_buffer_size: 4 << 20,
        event_buffer_size: 8 << 20,
        flush_interval: Duration::from_millis(50),
        waker: Waker::new().unwrap(),
    }
}

/// What was recorded.
pub(crate) struct Recorded {
    batch: Batch,
    pub(crate) counters: Counters,
}

/// Records while `act_fn` runs, reading as the agent does.
pub(crate) fn record<T>(settings: &Settings, act_fn: impl FnOnce() -> T) -> (Recorded, T) {
    record_with(ebpf::open(settings).unwrap(), settings, act_fn)
}

/// The same with this sensor.
pub(crate) fn record_with<T>(
    mut sensor: Box<dyn Sensor>,
    settings: &Settings,
    act_fn: impl FnOnce() -> T,
) -> (Recorded, T) {
    let mut batch = Batch::default();
    sensor.start(&mut batch).unwrap();
    let waker = settings.waker.clone();
    let reader = std::thread::spawn(move || {
        while !waker.is_woken() {
            sensor.read(&mut batch).unwrap();
        }
        finish(sensor, batch)
    });
    let result = act_fn();
    settings.waker.wake();
    (reader.join().unwrap(), result)
}

/// Records while `act_fn` runs and reads nothing until it is done.
pub(crate) fn record_unread<T>(settings: &Settings, act_fn: impl FnOnce() -> T) -> (Recorded, T) {
    let mut sensor = ebpf::open(settings).unwrap();
    let mut batch = Batch::default();
    sensor.start(&mut batch).unwrap();
    let result = act_fn();
    (finish(sensor, batch), result)
}

fn finish(mut sensor: Box<dyn Sensor>, mut batch: Batch) -> Recorded {
    sensor.stop(&mut batch).unwrap();
    let counters = sensor.counters().unwrap();
    let recorded = Recorded { batch, counters };
    recorded.check_balance();
    recorded
}

impl Recorded {
    /// Every record, in the order handed over.
    pub(crate) fn all(&self) -> impl Iterator<Item = (Header, Event<'_>)> {
        self.batch
            .records()
            .map(|bytes| event::read(bytes).unwrap())
            .map(|record| (record.header, record.event))
    }

    /// What the stream, without the snapshot, says of a process.
    pub(crate) fn of(&self, process_id: u32) -> Vec<(Header, Event<'_>)> {
        self.all()
            .filter(|(header, _)| header.process_id == process_id)
            .filter(|(header, _)| !header.flags.contains(Flags::EXISTING))
            .collect()
    }

    /// The events of `kind` of a process.
    pub(crate) fn of_kind(&self, process_id: u32, kind: Kind) -> Vec<(Header, Event<'_>)> {
        let mut events = self.of(process_id);
        events.retain(|(header, _)| header.kind == kind);
        events
    }

    /// The one event of `kind` of a process.
    pub(crate) fn one(&self, process_id: u32, kind: Kind) -> (Header, Event<'_>) {
        match self.of_kind(process_id, kind)[..] {
            [one] => one,
            ref other => panic!("one {kind} of {process_id} expected, not {other:?}"),
        }
    }

    /// The one start of a process.
    pub(crate) fn start(&self, process_id: u32) -> (Header, process::Start<'_>) {
        match self.one(process_id, Kind::PROCESS_START) {
            (header, Event::ProcessStart(start)) => (header, start),
            other => panic!("a start expected, not {other:?}"),
        }
    }

    /// The one exec of a process.
    pub(crate) fn exec(&self, process_id: u32) -> (Header, process::Exec<'_>) {
        match self.one(process_id, Kind::PROCESS_EXEC) {
            (header, Event::ProcessExec(exec)) => (header, exec),
            other => panic!("an exec expected, not {other:?}"),
        }
    }

    /// The one exit of a process.
    pub(crate) fn exit(&self, process_id: u32) -> (Header, process::Exit) {
        match self.one(process_id, Kind::PROCESS_EXIT) {
            (header, Event::ProcessExit(exit)) => (header, exit),
            other => panic!("an exit expected, not {other:?}"),
        }
    }

    /// What stands behind the one event of `kind` of a process.
    pub(crate) fn extension(&self, process_id: u32, kind: Kind) -> Extension<'_> {
        match self.extensions(process_id, kind)[..] {
            [one] => one,
            ref other => panic!("one extension expected, not {other:?}"),
        }
    }

    /// The same of each such event.
    pub(crate) fn extensions(&self, process_id: u32, kind: Kind) -> Vec<Extension<'_>> {
        let records = self
            .batch
            .records()
            .map(|bytes| event::read(bytes).unwrap());
        records
            .filter(|record| record.header.process_id == process_id && record.header.kind == kind)
            .filter(|record| !record.header.flags.contains(Flags::EXISTING))
            .map(|record| record.extension)
            .collect()
    }

    /// How many events of `kind` the stream says were lost.
    pub(crate) fn lost(&self, kind: Kind) -> u64 {
        self.all()
            .filter_map(|(_, event)| match event {
                Event::Lost(lost) if lost.kind == kind => Some(lost.count),
                _ => None,
            })
            .sum()
    }

    /// Of every kind, what happened was handed over or told as lost, to the event.
    fn check_balance(&self) {
        for kind in Kind::OBSERVED {
            let delivered = self
                .all()
                .filter(|(header, _)| header.kind == kind)
                .filter(|(header, _)| !header.flags.contains(Flags::EXISTING))
                .count() as u64;
            let lost = self.lost(kind);
            assert_eq!(self.counters.lost.count(kind), lost, "{kind}");
            let produced = self.counters.produced.count(kind);
            assert_eq!(produced, delivered + lost, "{kind}");
        }
    }
}

/// A path as a person writes it, from the components the kernel side found.
pub(crate) fn path(header: &Header, bytes: &[u8]) -> String {
    let (bytes, _place) = image_path::split(bytes, header.flags);
    if !header.flags.contains(Flags::LEAF_FIRST) {
        return String::from_utf8(bytes.to_vec()).unwrap();
    }
    let mut components: Vec<_> = bytes.split(|byte| *byte == 0).collect();
    assert_eq!(
        components.pop(),
        Some(&[][..]),
        "every component has its NUL"
    );
    components.reverse();
    components.iter().fold(String::new(), |path, component| {
        path + "/" + std::str::from_utf8(component).unwrap()
    })
}
