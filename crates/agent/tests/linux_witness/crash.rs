//! Recorders that are killed: the log stays readable, the next recorder goes on with it, and the
//! kernel keeps nothing of the dead one.

use std::fs::{self, File};
use std::io::{Read as _, Seek as _, SeekFrom};
use std::path::Path;
use std::time::{Duration, Instant};

use nix::unistd::Pid;

use crate::raw::{BpfObject, bpf_object_exists};
use crate::recorder::{Kind, Plan, Recorder, log_path, parse, shown};
use crate::witness::{Stage, directory, scaled, wait_until};
use crate::workload::Role;

const KILL_COUNT: usize = 20;

#[test]
fn a_killed_recorder_tears_at_most_the_last_line_and_leaves_nothing_attached() {
    let Some(stage) = Stage::set() else {
        return;
    };
    let mut turnover = Role::start("turnover", &[&stage.program]);
    assert_eq!(turnover.fact(), "ready");
    let start_time = time_to_start();
    let mut moments = Moments(0x9e37_79b9_7f4a_7c15);
    let mut log = Log::default();
    for number in 0..scaled(KILL_COUNT) {
        // Half of them are killed while they start, the others while they record.
        let (mut recorder, is_recording) = if number % 2 == 0 {
            let mut recorder = Recorder::launch(stage.path(), Plan::default());
            let is_recording = recorder.is_recording_within(moments.next(start_time));
            (recorder, is_recording)
        } else {
            (Recorder::start(stage.path(), Plan::default()), true)
        };
        if is_recording {
            // It says nothing more, so this is a pause.
            recorder.is_recording_within(moments.next(start_time));
        }
        let objects = bpf_objects(recorder.process_id());
        recorder.kill();
        // The kernel frees them once no processor can be using them any more.
        for (object, id) in objects {
            wait_until(|| !bpf_object_exists(object, id));
        }
        log.read_on(&log_path(stage.path()));
    }

    let recorder = Recorder::start(stage.path(), Plan::default());
    turnover.end();
    recorder.stop_without_log();
    log.read_on(&log_path(stage.path()));
    assert!(log.runs > 1, "each run goes on with the same file");
}

/// How long a recorder takes to begin, here and now.
fn time_to_start() -> Duration {
    let directory = directory();
    let began = Instant::now();
    let recorder = Recorder::start(directory.path(), Plan::default());
    let time = began.elapsed();
    recorder.stop();
    time
}

/// The log as far as it was read.
#[derive(Default)]
struct Log {
    size: u64,
    runs: usize,
    sequence: u64,
    torn: Option<String>,
}

impl Log {
    /// Reads what was added. Fails unless each run is numbered without a gap and only the last line
    /// of a run is torn, if any.
    fn read_on(&mut self, path: &Path) {
        let Ok(mut file) = File::open(path) else {
            return;
        };
        file.seek(SeekFrom::Start(self.size)).unwrap();
        let mut added = Vec::new();
        file.read_to_end(&mut added).unwrap();
        for line in added.split_inclusive(|byte| *byte == b'\n') {
            // A line that is not ended yet is read again once the next run has ended it.
            if line.ends_with(b"\n") {
                self.size += u64::try_from(line.len()).unwrap();
                self.take(line);
            }
        }
    }

    fn take(&mut self, line: &[u8]) {
        let Ok(row) = parse(line) else {
            assert!(self.torn.is_none(), "{:?} and {}", self.torn, shown(line));
            self.torn = Some(shown(line));
            return;
        };
        if row.kind == Kind::SensorStart {
            self.runs += 1;
            self.sequence = 0;
            self.torn = None;
        }
        assert!(
            self.torn.is_none(),
            "{:?} is not the last line of its run",
            self.torn
        );
        self.sequence += 1;
        assert_eq!(row.sequence, self.sequence, "{}", shown(line));
    }
}

/// What a process holds of the kernel's BPF objects.
fn bpf_objects(process_id: Pid) -> Vec<(BpfObject, u32)> {
    let names = [
        ("prog_id:", BpfObject::Program),
        ("map_id:", BpfObject::Map),
        ("link_id:", BpfObject::Link),
    ];
    let descriptors = fs::read_dir(format!("/proc/{process_id}/fdinfo")).unwrap();
    let texts = descriptors.filter_map(|entry| fs::read_to_string(entry.ok()?.path()).ok());
    let mut objects = Vec::new();
    for text in texts {
        for (name, object) in names {
            let ids = text.lines().filter_map(|line| line.strip_prefix(name));
            objects.extend(ids.map(|id| (object, id.trim().parse::<u32>().unwrap())));
        }
    }
    objects
}

/// Numbers without a pattern, the same in each run (`xorshift64`).
struct Moments(u64);

impl Moments {
    /// A time shorter than that.
    fn next(&mut self, limit: Duration) -> Duration {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        let limit = u64::try_from(limit.as_nanos()).unwrap();
        Duration::from_nanos(self.0 % limit)
    }
}
