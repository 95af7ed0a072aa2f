//! The perf sensor: processes, threads and images from the kernel's perf side-band records, where
//! eBPF does not run. Needs `CAP_PERFMON` (or root).
//!
//! Perf records do not tell how a task ended nor for whom it runs. Where the proc connector opens
//! beside them it does; its messages only complete what perf tells, and what it loses is
//! unavailable here.
//!
//! What this sensor cannot give:
//! - Exit status, and user and session of a process that has ended by the time it is read, where
//!   the connector does not open.
//! - The command line of an exec is read from `/proc`, a millisecond later or two. It is
//!   unavailable when the process has ended or executed another program by then. The image is
//!   exact: it is the first file mapped executable after the exec, which is the program itself. So is
//!   the user where the connector opens: rights change after the record of the exec and before that
//!   mapping. Elsewhere he is read from `/proc` too.
//! - The path is as the process saw it. Of one with another root that has ended by the time it is read
//!   the path is unavailable, and device and inode are told.
//! - The parent of a process where it is not the creator (`CLONE_PARENT`) and the process has ended
//!   by the time it is read.
//! - The start time of a process is that of its fork record, a few microseconds late. Where that
//!   may make a difference for the process key it is read from `/proc`, if the process is still
//!   there.
//! - `tasks.rs` names the rare cases in which an exit status or an exit is not exact.
//! - Of what was lost only the number is known. Tasks and images have buffers of their own; what
//!   the first loses is told as process starts, the second as image loads.

mod execs;
mod side;

use std::ops::RangeInclusive;
use std::os::fd::AsFd as _;
use std::time::Duration;

use event::{Event, Kind};
use nix::sys::epoll::{Epoll, EpollCreateFlags, EpollEvent, EpollFlags, EpollTimeout};

use self::execs::Execs;
use self::side::Side;
use super::logins::Logins;
use super::merge::{HEARTBEAT, Merge, PROMPT_INTERVAL, SETTLE_NS, watermark};
use super::perf_buffer::{Drained, Records, Rings, RingsSettings};
use super::perf_record::{self, Body, Record};
use super::tasks::{Act, Fact, Task, Tasks};
use super::{Batch, Counters, Error, Sensor, Settings, seam, snapshot, task_record};
use crate::sys::proc::MappedFiles;
use crate::sys::{clock, pid_namespace, proc};

/// Opens the buffers; records nothing before it is started.
pub fn open(settings: &Settings) -> Result<Box<dyn Sensor>, Error> {
    Ok(Box::new(Perf::open(settings)?))
}

/// The sensor.
struct Perf {
    settings: Settings,
    task_rings: Rings,
    image_rings: Rings,
    epoll: Epoll,
    side: Option<Side>,
    tasks: Tasks,
    logins: Logins,
    /// Acts that are not handed over yet, in the order they were read.
    acts: Vec<(u64, Act)>,
    execs: Execs,
    files: MappedFiles,
    merge: Merge,
    /// From when until when it records. Rings are switched on and off one after the other; this is
    /// a cut at one time for all, so that no act is told without those that led to it.
    recorded: RangeInclusive<u64>,
    is_behind: bool,
    last_beat: u64,
    has_lost: u64,
    has_lost_users: bool,
    counters: Counters,
}

impl Perf {
    fn open(settings: &Settings) -> Result<Self, Error> {
        // The kernel puts the ids into a record as they are in the namespace of whoever opened the
        // event, and 0 for what is not in it.
        if !pid_namespace::is_initial() {
            return Err(Error::Unavailable {
                cause: "perf events know the ids of this pid namespace alone".to_owned(),
                cure: "run it in the host's pid namespace (--pid=host)".to_owned(),
            });
        }
        let rings = |records, size: u32, lost_kind| {
            Rings::open(RingsSettings {
                records,
                buffer_size: usize::try_from(size).unwrap_or(usize::MAX),
                lost_kind,
            })
        };
        let task_rings = rings(
            Records::Tasks,
            settings.process_buffer_size,
            Kind::PROCESS_START,
        )?;
        let image_rings = rings(
            Records::Images,
            settings.event_buffer_size,
            Kind::IMAGE_LOAD,
        )?;
        let side = match Side::open(settings) {
            Ok(side) => Some(side),
            Err(error) => {
                tracing::info!(%error, "no exit status: the proc connector does not open");
                None
            }
        };
        let epoll = watch(settings, &[&task_rings, &image_rings])?;
        Ok(Self {
            settings: settings.clone(),
            task_rings,
            image_rings,
            epoll,
            side,
            tasks: Tasks::default(),
            logins: Logins::default(),
            acts: Vec::new(),
            execs: Execs::default(),
            files: MappedFiles::default(),
            merge: Merge::default(),
            recorded: 0..=u64::MAX,
            is_behind: false,
            last_beat: 0,
            has_lost: 0,
            has_lost_users: false,
            counters: Counters::default(),
        })
    }

    /// Sleeps until the next record comes, or a heartbeat.
    fn wait_idle(&mut self) -> Result<(), Error> {
        let is_empty = self.task_rings.arm() & self.image_rings.arm();
        let woken = !is_empty || self.wait(HEARTBEAT)?;
        self.task_rings.disarm();
        self.image_rings.disarm();
        if woken {
            self.merge.woken();
        }
        Ok(())
    }

    /// What is done once a second.
    fn beat(&mut self, now: u64, batch: &mut Batch) -> Result<(), Error> {
        if Duration::from_nanos(now.saturating_sub(self.last_beat)) < HEARTBEAT {
            return Ok(());
        }
        self.last_beat = now;
        let tasks_changed = self
            .task_rings
            .follow_cpus(now, batch)
            .map_err(Error::io("following processors"))?;
        let images_changed = self
            .image_rings
            .follow_cpus(now, batch)
            .map_err(Error::io("following processors"))?;
        if tasks_changed || images_changed {
            self.epoll = watch(&self.settings, &[&self.task_rings, &self.image_rings])?;
        }
        if self.task_rings.lost() > self.has_lost || std::mem::take(&mut self.has_lost_users) {
            self.has_lost = self.task_rings.lost();
            self.tasks.heal(self.side.is_some());
        }
        Ok(())
    }

    fn wait(&self, timeout: Duration) -> Result<bool, Error> {
        let timeout = EpollTimeout::try_from(timeout).unwrap_or_else(|_too_long| u16::MAX.into());
        match self.epoll.wait(&mut [EpollEvent::empty(); 16], timeout) {
            Ok(count) => Ok(count > 0),
            Err(nix::errno::Errno::EINTR) => Ok(false),
            Err(errno) => Err(Error::io("waiting for perf records")(errno.into())),
        }
    }

    /// Takes what is in the buffers. Returns until when it is complete.
    fn drain(&mut self, now: u64, batch: &mut Batch) -> Result<u64, Error> {
        let tasks = self.drain_tasks(batch)?;
        self.execs.read_programs();
        let drained_until = tasks.incomplete_after.unwrap_or(now).min(now);
        self.execs.begin_images(drained_until);
        let images = self.drain_images(batch)?;
        if let Some(side) = &mut self.side
            && side.receive(&mut self.acts)?
        {
            self.tasks.forget_users();
            self.has_lost_users = true;
        }
        let incomplete = [tasks.incomplete_after, images.incomplete_after];
        let incomplete = incomplete.into_iter().flatten().min();
        self.is_behind = incomplete.is_some();
        Ok(watermark(now, incomplete))
    }

    fn drain_tasks(&mut self, batch: &mut Batch) -> Result<Drained, Error> {
        let (acts, execs) = (&mut self.acts, &mut self.execs);
        let recorded = &self.recorded;
        self.task_rings
            .drain_with(batch, &mut |record, _| {
                let act = act(record).filter(|_| recorded.contains(&record.time));
                if let Some(act) = act {
                    if let Act::Exec(task) = act {
                        execs.add(task.process_id, record.time);
                    }
                    acts.push((record.time, act));
                }
                0
            })
            .map_err(Error::io("reading tasks from perf events"))
    }

    fn drain_images(&mut self, batch: &mut Batch) -> Result<Drained, Error> {
        let (images, execs) = (self.settings.images, &mut self.execs);
        let files = &mut self.files;
        // Where images are not wanted they still say what was executed, and no loss is told.
        let mut unwanted = Batch::default();
        let batch = if images { batch } else { &mut unwanted };
        let recorded = &self.recorded;
        let lost = self.image_rings.lost();
        let drained = self
            .image_rings
            .drain_with(batch, &mut |record, batch| {
                let Body::Mapping(mapping) = record.body else {
                    return 0;
                };
                let Some((flags, load)) = mapping.image(files) else {
                    return 0;
                };
                execs.mapped(mapping.process_id, record.time, flags, load.image);
                if !images || !recorded.contains(&record.time) {
                    return 0;
                }
                let header = mapping.load_header(record.time, flags);
                u64::from(batch.write(header, &Event::ImageLoad(load)))
            })
            .map_err(Error::io("reading image loads from perf events"))?;
        if self.image_rings.lost() > lost {
            self.execs.doubt(clock::now().0);
        }
        Ok(drained)
    }

    /// Writes the acts until `watermark`, and brings all that was drained until then into order.
    /// An act that waits for its exit status, or for what was read of its program to be known as
    /// its, holds back what is after it, until `patience_until`.
    fn write(&mut self, batch: &mut Batch, from: usize, watermark: u64, patience_until: u64) {
        self.logins.begin();
        self.acts.sort_by_key(|(time, _)| *time);
        let mut watermark = watermark;
        let due = self.acts.partition_point(|(time, _)| *time <= watermark);
        let acts = std::mem::take(&mut self.acts);
        let mut written = 0;
        for (index, (time, act)) in acts[..due].iter().enumerate() {
            let mut act = *act;
            let later = &acts[index + 1..];
            if let Act::Exec(task) = act
                && *time > patience_until
                && !self.execs.is_settled(task.process_id, *time, watermark)
            {
                watermark = time.saturating_sub(1);
                break;
            }
            match self.is_end(*time, &act, later) {
                Some(false) => {
                    written += 1;
                    continue;
                }
                None if *time > patience_until => {
                    watermark = time.saturating_sub(1);
                    break;
                }
                _ => {}
            }
            if let (Act::Exit { task, status, .. }, Some(side)) = (&mut act, &mut self.side) {
                *status = side.status(*task, *time);
                if status.is_none() && *time > patience_until {
                    watermark = time.saturating_sub(1);
                    break;
                }
            }
            self.write_act(*time, &act, later, batch);
            written += 1;
        }
        self.acts = acts;
        self.acts.drain(..written);
        self.merge.merge(batch, from, watermark);
        if self.is_behind || !self.acts.is_empty() {
            self.merge.woken();
        }
    }

    /// Whether an exit is one: a set-user-id program ends the events of its process when it is put in
    /// place, and the kernel tells that as an exit (`begin_new_exec` of `fs/exec.c`). `None` where
    /// that is not known yet. `later` are the acts after it.
    fn is_end(&self, time: u64, act: &Act, later: &[(u64, Act)]) -> Option<bool> {
        let Act::Exit { task, .. } = *act else {
            return Some(true);
        };
        if time >= self.tasks.loaded(task.process_id) {
            return Some(true);
        }
        for (_, act) in later {
            match act {
                Act::Fork { child, .. } if child.thread_id == task.thread_id => return Some(true),
                Act::Exit { task: again, .. } if *again == task => return Some(false),
                _ => {}
            }
        }
        let (_, stat) = proc::Process::open_as_of(task.process_id, time).ok()?;
        (!stat.is_exiting && !stat.leader_has_ended).then_some(false)
    }

    /// `later` are the acts after this one.
    fn write_act(&mut self, time: u64, act: &Act, later: &[(u64, Act)], batch: &mut Batch) {
        let is_followed = match *act {
            Act::Exec(task) => self.follow_rights(task, time, later),
            _ => true,
        };
        let (counters, execs) = (&mut self.counters, &mut self.execs);
        let logins = &mut self.logins;
        let threads = self.settings.threads;
        self.tasks.take(time, act, &mut |time, fact| {
            if fact.is_of_thread() && !threads {
                return;
            }
            let fact = match fact {
                Fact::ProcessExec { process_id, .. } if !is_followed => Fact::ProcessExec {
                    process_id,
                    user: None,
                },
                fact => fact,
            };
            task_record::write(time, &fact, batch, logins, &mut |id| {
                execs.take(id, time, || {
                    later.iter().find_map(|(time, act)| match act {
                        Act::Fork { child, .. } if child.thread_id == id => Some(*time),
                        _ => None,
                    })
                })
            });
            counters.add_produced(fact.kind(), 1);
        });
        for (process_id, login_user_id) in self.logins.learned() {
            self.tasks.learn_login(process_id, login_user_id);
        }
    }

    /// Takes the rights that an exec gives: they are told after it, and before it maps anything.
    /// Whether they are known.
    fn follow_rights(&mut self, task: Task, time: u64, later: &[(u64, Act)]) -> bool {
        let mapped = self.execs.mapped_at(task.process_id, time);
        self.tasks.load(task.process_id, mapped.unwrap_or(u64::MAX));
        let Some(mapped) = mapped else {
            return false;
        };
        let before = later.iter().take_while(|(time, _)| *time <= mapped);
        let is_it = |act: &&Act| matches!(act, Act::User { task: whose, .. } if *whose == task);
        if let Some(rights) = before.map(|(_, act)| act).filter(is_it).last() {
            self.tasks.take(time, rights, &mut |_, _| {});
        }
        true
    }
}

impl Sensor for Perf {
    fn source(&self) -> &'static str {
        "perf"
    }

    fn start(&mut self, batch: &mut Batch) -> Result<(), Error> {
        let enabling = "enabling perf events";
        if let Some(side) = &mut self.side {
            side.listen()?;
        }
        self.image_rings.enable().map_err(Error::io(enabling))?;
        self.task_rings.enable().map_err(Error::io(enabling))?;
        let began = clock::now().0;
        self.recorded = began..=u64::MAX;
        let snapshot = snapshot::take(&self.settings.wanted(), || clock::now().0)
            .map_err(Error::io("reading the processes of /proc"))?;
        self.tasks.know(&snapshot, self.side.is_some());
        // A process the snapshot has seen may not have been told of yet, and every act before the
        // end of the snapshot must be in the stream.
        std::thread::sleep(Duration::from_nanos(SETTLE_NS));
        let mut stream = Batch::default();
        let now = clock::now().0;
        while self.drain(now, &mut stream)? < watermark(now, None) {}
        self.acts.sort_by_key(|(time, _)| *time);
        self.tasks.foresee(self.acts.iter().map(|(_, act)| act));
        self.write(&mut stream, 0, watermark(now, None), now);
        seam::join(snapshot, &stream, began, batch);
        Ok(())
    }

    fn read(&mut self, batch: &mut Batch) -> Result<(), Error> {
        self.beat(clock::now().0, batch)?;
        if self.merge.is_idle() {
            return self.wait_idle();
        }
        if !self.is_behind {
            self.wait(self.settings.flush_interval.min(PROMPT_INTERVAL))?;
        }
        let from = batch.count();
        let now = clock::now().0;
        let watermark = self.drain(now, batch)?;
        let patience = u64::try_from(self.settings.flush_interval.as_nanos()).unwrap_or(0);
        self.write(batch, from, watermark, now.saturating_sub(patience));
        Ok(())
    }

    fn stop(&mut self, batch: &mut Batch) -> Result<(), Error> {
        let disabling = "disabling perf events";
        self.recorded = *self.recorded.start()..=clock::now().0;
        self.task_rings.disable().map_err(Error::io(disabling))?;
        self.image_rings.disable().map_err(Error::io(disabling))?;
        // The connector tells of an exit a little later than perf does.
        std::thread::sleep(Duration::from_nanos(SETTLE_NS));
        let from = batch.count();
        let now = clock::now().0;
        while self.drain(now, batch)? < watermark(now, None) {}
        self.write(batch, from, u64::MAX, u64::MAX);
        self.merge.finish(batch, from);
        self.task_rings
            .settle(now, batch)
            .map_err(Error::io("reading the count of lost tasks"))?;
        if self.settings.images {
            self.image_rings
                .settle(now, batch)
                .map_err(Error::io("reading the count of lost image loads"))?;
        }
        Ok(())
    }

    fn counters(&mut self) -> Result<Counters, Error> {
        let mut counters = self.counters;
        counters.add_lost(Kind::PROCESS_START, self.task_rings.lost());
        if self.settings.images {
            let (produced, lost) = (self.image_rings.produced(), self.image_rings.lost());
            counters.add_produced(Kind::IMAGE_LOAD, produced - lost);
            counters.add_lost(Kind::IMAGE_LOAD, lost);
        }
        Ok(counters)
    }

    fn buffer_peaks(&self) -> Vec<(&'static str, u64, u64)> {
        let (tasks, images) = (self.task_rings.peaks(), self.image_rings.peaks());
        let mut peaks = vec![("tasks", tasks.0, tasks.1), ("images", images.0, images.1)];
        if let Some(side) = &self.side {
            let (peak, limit) = side.peak();
            peaks.push(("connector", peak, limit));
        }
        peaks
    }
}

/// What wakes the sensor: every ring, every sentinel, and whoever stops it.
fn watch(settings: &Settings, rings: &[&Rings]) -> Result<Epoll, Error> {
    let watch = || -> nix::Result<Epoll> {
        let epoll = Epoll::new(EpollCreateFlags::EPOLL_CLOEXEC)?;
        epoll.add(
            settings.waker.as_fd(),
            EpollEvent::new(EpollFlags::EPOLLIN, 0),
        )?;
        for fd in rings.iter().flat_map(|rings| rings.fds()) {
            epoll.add(fd, EpollEvent::new(EpollFlags::EPOLLIN, 0))?;
        }
        Ok(epoll)
    };
    watch().map_err(|errno| Error::io("watching perf events")(errno.into()))
}

fn act(record: &Record<'_>) -> Option<Act> {
    let task = |task: perf_record::Task| Task {
        thread_id: task.thread_id,
        process_id: task.process_id,
    };
    match record.body {
        Body::Fork(fork) => Some(Act::Fork {
            child: task(fork),
            creator: Some(Task {
                thread_id: fork.by_thread_id,
                process_id: fork.by_process_id,
            }),
            parent: None,
        }),
        Body::Exec { process_id } => Some(Act::Exec(Task {
            thread_id: process_id,
            process_id,
        })),
        Body::Exit(exit) => Some(Act::Exit {
            task: task(exit),
            status: None,
            parent: Some(exit.by_process_id),
        }),
        Body::Mapping(_) | Body::Lost(_) | Body::Other => None,
    }
}
