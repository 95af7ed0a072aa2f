//! A day on a machine where people build things: shells start compilers, compilers map libraries,
//! some run threads. The same day each time.

use std::sync::Arc;

use event::ProcessKey;
use systrail::trail::{
    Body, Event, Further, ImageLoad, Origin, Parent, ProcessExec, ProcessExit, ProcessStart,
    Program, SensorStart, Setting, Text, ThreadExit, ThreadStart, Time, Usage, UserId, Whence,
};

/// 2026-11-22, in nanoseconds since the Unix epoch.
pub(super) const MIDNIGHT: i64 = 1_795_305_600_000_000_000;

/// In nanoseconds.
pub(super) const HOUR: i64 = 3_600_000_000_000;

const PROGRAM_COUNT: u64 = 120;
const LIBRARY_COUNT: u64 = 600;

/// An iterator over the events of the day.
pub(super) struct Day {
    remaining: u64,
    sequence: u64,
    step_ns: i64,
    random: u64,
    origin: Arc<Origin>,
    user: Arc<str>,
    programs: Vec<Text>,
    libraries: Vec<Text>,
    next_process: u32,
    setting: Setting,
    /// What a child runs until it execs.
    parent_program: Program,
    waiting: std::vec::IntoIter<(u32, Body)>,
}

impl Day {
    pub(super) fn new(count: u64) -> Self {
        let step = 24 * HOUR / i64::try_from(count.max(1)).unwrap_or(i64::MAX);
        let text = |path: String| Text::from(&*path);
        Self {
            remaining: count,
            sequence: 0,
            step_ns: step,
            random: 0x9e37_79b9_7f4a_7c15,
            origin: Arc::new(Origin::new(Whence {
                host: "builder".into(),
                host_id: Some("00112233445566778899aabbccddeeff".into()),
                run: Some(1_795_276_790_000_000_000),
            })),
            user: "worker".into(),
            programs: (0..PROGRAM_COUNT)
                .map(|n| text(format!("/usr/lib/toolchain-1.95/bin/program-{n}")))
                .collect(),
            libraries: (0..LIBRARY_COUNT)
                .map(|n| {
                    text(format!(
                        "/usr/lib/x86_64-linux-gnu/libsomething-{n}.so.{}",
                        n % 9
                    ))
                })
                .collect(),
            setting: Setting {
                cgroup: Some("/system.slice/builder.service".into()),
                container_id: None,
                systemd_unit: Some("builder.service".into()),
                working_directory: Some("/var/lib/builder/project".into()),
                ..Setting::default()
            },
            next_process: 1_000,
            parent_program: Program::default(),
            waiting: vec![(
                1,
                Body::SensorStart(SensorStart {
                    source: "ebpf".into(),
                    version: "0.1.0".into(),
                    system: Some("linux".into()),
                }),
            )]
            .into_iter(),
        }
    }

    /// A number below `limit`, small ones more often where `skewed`.
    fn below(&mut self, limit: u64) -> u64 {
        self.random ^= self.random << 13;
        self.random ^= self.random >> 7;
        self.random ^= self.random << 17;
        self.random % limit
    }

    /// Small numbers more often, as some programs and libraries are used by all.
    fn skewed_below(&mut self, limit: u64) -> u64 {
        let one = self.below(limit);
        one.min(self.below(limit)).min(self.below(limit))
    }

    fn pick(&mut self, programs: bool) -> Text {
        let count = if programs {
            PROGRAM_COUNT
        } else {
            LIBRARY_COUNT
        };
        let index = usize::try_from(self.skewed_below(count)).unwrap_or_default();
        let list = if programs {
            &self.programs
        } else {
            &self.libraries
        };
        list[index].clone()
    }

    fn program(&mut self) -> Program {
        let image = self.pick(true);
        let kind = self.below(4);
        // Half of the command lines are like none before.
        let unit = self.below(if kind < 2 { 1 << 40 } else { 500 });
        let arguments: Arc<[Text]> = Arc::from([
            image.clone(),
            "-O2".into(),
            "-g".into(),
            "-Iinclude".into(),
            Text::from(&*format!("-o/home/worker/project/target/unit-{unit}.o")),
            Text::from(&*format!("src/part-{}/unit-{unit}.c", unit % 40)),
        ]);
        let shown: Vec<_> = arguments.iter().map(Text::shown).collect();
        Program {
            image: Some(image),
            image_deleted: false,
            command_line: Some(Text::from(&*shown.join(" "))),
            arguments: Some(arguments),
            user: Some(Arc::clone(&self.user)),
            user_id: Some(UserId::Uid(1_000)),
            login_user: Some(Arc::clone(&self.user)),
            login_user_id: Some(1_000),
            ..Program::default()
        }
    }

    /// Everything one process does, from its start to its exit.
    fn life(&mut self) -> Vec<(u32, Body)> {
        let process_id = 1_000 + self.next_process % 4_000_000;
        let parent =
            1_000 + self.next_process.saturating_sub(1 + self.next_process % 7) % 4_000_000;
        self.next_process += 1;
        let program = self.program();
        let before = std::mem::replace(&mut self.parent_program, program.clone());
        let mut bodies = vec![
            Body::ProcessStart(Box::new(ProcessStart {
                parent_process_id: Some(parent),
                parent_process_key: Some(key(parent)),
                creator_process_id: Some(parent),
                creator_thread_id: Some(parent),
                parent: parent_runs(&before),
                setting: self.setting.clone(),
                program: before.clone(),
                session_id: Some(7),
                ..ProcessStart::default()
            })),
            Body::ProcessExec(Box::new(ProcessExec {
                program: program.clone(),
                parent: parent_runs(&before),
                setting: self.setting.clone(),
                session_id: Some(7),
                details: None,
            })),
        ];
        for _ in 0..self.below(18) + 4 {
            bodies.push(self.load(program.image.clone()));
        }
        let thread_count = match self.below(10) {
            0 => 32,
            1..=3 => 4,
            _ => 0,
        };
        for thread in 1..=thread_count {
            bodies.push(Body::ThreadStart(ThreadStart {
                thread_id: process_id + thread,
                process_image: program.image.clone(),
                creator_process_id: Some(process_id),
                creator_thread_id: Some(process_id),
                remote: false,
                start_address: None,
                details: None,
            }));
        }
        for thread in 1..=thread_count {
            bodies.push(Body::ThreadExit(ThreadExit {
                thread_id: process_id + thread,
            }));
        }
        bodies.push(Body::ProcessExit(ProcessExit {
            exit_code: Some(u32::from(self.below(20) == 0)),
            signal: None,
            core_dumped: false,
            image: program.image,
            run_time_ns: Some(self.below(10_000_000_000)),
            usage: Usage {
                user_time_ns: Some(self.below(5_000_000_000)),
                system_time_ns: Some(self.below(1_000_000_000)),
                peak_memory: Some(self.below(1 << 18) << 12),
                read_bytes: Some(self.below(64) << 12),
                written_bytes: Some(self.below(256) << 12),
            },
            session_id: None,
        }));
        bodies.into_iter().map(|body| (process_id, body)).collect()
    }

    fn load(&mut self, process_image: Option<Text>) -> Body {
        let image = self.pick(false);
        let size = image.shown().len().wrapping_mul(73) % 400;
        Body::ImageLoad(ImageLoad {
            image: Some(image),
            image_deleted: false,
            process_image,
            image_base: 0x7f00_0000_0000 + (self.below(1 << 28) << 12),
            image_size: u64::try_from(size).unwrap_or_default() << 12,
            ..ImageLoad::default()
        })
    }
}

/// What a child is told of the program its parent runs.
fn parent_runs(program: &Program) -> Parent {
    Parent {
        parent_image: program.image.clone(),
        parent_command_line: program.command_line.clone(),
        parent_user: program.user.clone(),
    }
}

impl Iterator for Day {
    type Item = Event;

    fn next(&mut self) -> Option<Event> {
        self.remaining = self.remaining.checked_sub(1)?;
        let (process_id, body) = loop {
            if let Some(next) = self.waiting.next() {
                break next;
            }
            // Eight run at a time, as processors do.
            let mut lives: Vec<_> = (0..8).map(|_| self.life().into_iter()).collect();
            let mut woven = Vec::new();
            while !lives.is_empty() {
                lives.retain_mut(|life| {
                    woven.extend(life.by_ref().take(3));
                    life.len() > 0
                });
            }
            self.waiting = woven.into_iter();
        };
        self.sequence += 1;
        let offset = i64::try_from(self.sequence)
            .ok()?
            .saturating_mul(self.step_ns);
        Some(Event {
            sequence: self.sequence,
            time: Time(MIDNIGHT + offset),
            origin: Arc::clone(&self.origin),
            process_id,
            process_key: key(process_id),
            body,
            kept_by: None,
            truncated: Vec::new(),
            missing: Vec::new(),
            further: Further::default(),
        })
    }
}

fn key(process_id: u32) -> ProcessKey {
    ProcessKey(u64::from(process_id).wrapping_mul(0x9e37_79b9_7f4a_7c15))
}
