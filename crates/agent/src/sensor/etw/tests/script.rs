//! A Windows that a test scripts: its sessions, its processes, its clocks, and events byte for byte as its
//! kernel writes them.

use std::collections::{HashMap, VecDeque};
use std::io;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use etw::delivered::Delivered;
use etw::encode::Payload;
use etw::fields::PointerSize;
use etw::guid::Guid;

use crate::sys::trace::{Inbox, NAME, Owner, Plan, Reading, Status, Tracing};

/// The agent of the test.
pub(super) const OWN: Owner = Owner {
    process_id: 5000,
    start_time: 1_000_000_000_000,
};
/// The sensor's time when the performance counter stands at 0. The counter ticks as Windows' does.
pub(super) const EPOCH: u64 = 1_000_000_000_000_000;
const FREQUENCY: u64 = 10_000_000;
/// Events that the buffers of a session hold.
pub(super) const BUFFERED_MAX: usize = 40_000;

/// An event that was not handed over yet.
#[derive(Clone, Debug)]
pub(super) struct Written {
    pub(super) stamp: i64,
    guid: Guid,
    r#type: u8,
    version: u8,
    by: (u32, u32),
    payload: Vec<u8>,
}

/// A process that runs, as its rundown tells it.
#[derive(Clone, Debug)]
pub(super) struct Running {
    pub(super) process_id: u32,
    pub(super) parent: u32,
    pub(super) name: &'static str,
    pub(super) command_line: &'static str,
    pub(super) images: Vec<(u64, &'static str)>,
}

#[derive(Debug)]
struct Session {
    status: Status,
    written: VecDeque<Written>,
}

/// The machine.
#[derive(Debug, Default)]
pub(super) struct Windows {
    session: Option<Session>,
    inbox: Option<Arc<Inbox>>,
    pub(super) others: Vec<Status>,
    /// What the next starts of a session fail with.
    pub(super) refusals: VecDeque<i32>,
    /// It says that a session was started, and starts none.
    pub(super) lies: bool,
    pub(super) running: Vec<Running>,
    /// What happens while the rundown is told, before the process at that place in it.
    pub(super) meanwhile: Vec<(usize, Written)>,
    /// What was written before, told into the rundown as it is.
    pub(super) written: Vec<Written>,
    /// When processes were created, and what those run that can be asked.
    pub(super) created: HashMap<u32, u64>,
    pub(super) images: HashMap<u32, &'static str>,
    pub(super) stamp: i64,
    /// How far the time of day was set.
    pub(super) set_ns: u64,
    next_mark: u32,
    pub(super) starts: usize,
}

/// The machine as the sensor knows it.
#[derive(Clone, Debug, Default)]
pub(super) struct Scripted(pub(super) Arc<Mutex<Windows>>);

impl Written {
    /// Whatever these bytes are.
    pub(super) const fn of_bytes(
        (guid, r#type): (Guid, u8),
        version: u8,
        stamp: i64,
        payload: Vec<u8>,
    ) -> Self {
        Self {
            stamp,
            guid,
            r#type,
            version,
            by: (100, 101),
            payload,
        }
    }

    /// What a file has under a group of the kernel's, a session tells under its class.
    pub(super) fn of_hook(group: u8, r#type: u8, event: &etw::header::Event<'_>) -> Option<Self> {
        const LOAD: u8 = 10;
        let guid = match (group, r#type) {
            (0x03, LOAD) | (0x14, _) => Guid::IMAGE,
            (0x03, _) => Guid::PROCESS,
            (0x05, _) => Guid::THREAD,
            _ => return None,
        };
        let by = |id: Option<u32>| id.unwrap_or(u32::MAX);
        Some(Self {
            stamp: event.stamp?,
            guid,
            r#type,
            version: event.version,
            by: (by(event.process_id), by(event.thread_id)),
            payload: event.payload.to_vec(),
        })
    }
}

impl Windows {
    pub(super) fn has_session(&self) -> bool {
        self.session.is_some()
    }

    /// The thread that marked a place last.
    pub(super) const fn last_mark(&self) -> u32 {
        70_000 + self.next_mark
    }

    /// A session of our name that is there already.
    pub(super) fn has_left(&mut self, guid: Guid) {
        self.session = Some(Session {
            status: status(NAME, guid),
            written: VecDeque::new(),
        });
    }

    /// An event, now, told by this process and thread.
    pub(super) fn event(
        &mut self,
        (guid, r#type): (Guid, u8),
        by: (u32, u32),
        payload: Payload,
    ) -> Written {
        self.stamp += 10;
        Written {
            stamp: self.stamp,
            guid,
            r#type,
            version: if guid == Guid::PROCESS { 4 } else { 3 },
            by,
            payload: payload.bytes,
        }
    }

    /// The kernel writes an event into the session's buffers, where there is room.
    pub(super) fn write(&mut self, event: Written) {
        let Some(session) = &mut self.session else {
            return;
        };
        if session.written.len() < BUFFERED_MAX {
            session.written.push_back(event);
        } else {
            session.status.events_lost += 1;
        }
    }

    /// Events that the session has no room for; told in the stream where `is_told` says so.
    pub(super) fn lose(&mut self, events: u32, buffers: u32, is_told: bool) {
        let lost = self.event((Guid::LOST_EVENT, 32), (4, 8), payload());
        if let Some(session) = &mut self.session {
            session.status.events_lost += events;
            session.status.buffers_lost += buffers;
            if is_told {
                session.written.push_back(lost);
            }
        }
    }

    pub(super) fn process(&mut self, r#type: u8, process_id: u32, by: u32, texts: (&str, &str)) {
        let fields = process(process_id, by, texts);
        let event = self.event((Guid::PROCESS, r#type), (by, by + 1), fields);
        self.write(event);
    }

    pub(super) fn thread(&mut self, r#type: u8, process_id: u32, thread_id: u32, by: u32) {
        let event = self.thread_event(r#type, process_id, thread_id, by);
        self.write(event);
    }

    fn thread_event(&mut self, r#type: u8, process_id: u32, thread_id: u32, by: u32) -> Written {
        let fields = payload().u32(process_id).u32(thread_id);
        let fields = (0..5).fold(fields, |fields, _| fields.pointer(0));
        let fields = fields.pointer(0x7ff6_0000_1000).pointer(0).u32(0).u32(0);
        self.event((Guid::THREAD, r#type), (by, by + 1), fields)
    }

    pub(super) fn image(&mut self, r#type: u8, process_id: u32, base: u64, path: &str) {
        let event = self.image_event(r#type, process_id, base, path);
        self.write(event);
    }

    pub(super) fn image_event(
        &mut self,
        r#type: u8,
        process_id: u32,
        base: u64,
        path: &str,
    ) -> Written {
        let fields = image(process_id, base, path);
        self.event((Guid::IMAGE, r#type), (process_id, process_id + 1), fields)
    }

    /// Hands over what is buffered, as far as it is taken.
    pub(super) fn deliver(&mut self) {
        let (Some(session), Some(inbox)) = (&mut self.session, &self.inbox) else {
            return;
        };
        deliver(&mut session.written, inbox);
    }

    /// The same the other way round, as buffers of several processors come.
    pub(super) fn deliver_disordered(&mut self) {
        if let Some(session) = &mut self.session {
            session.written.make_contiguous().reverse();
        }
        self.deliver();
    }

    /// Another program ends the session.
    pub(super) fn end_from_outside(&mut self) {
        self.deliver();
        self.session = None;
        if let Some(inbox) = self.inbox.take() {
            inbox.end(0);
        }
    }

    fn run_down(&mut self) {
        if self.starts > 1
            && let Some(session) = &mut self.session
        {
            session.written.extend(self.written.drain(..));
        }
        // The first session is only tried.
        let meanwhile = if self.starts > 1 {
            std::mem::take(&mut self.meanwhile)
        } else {
            Vec::new()
        };
        for (place, running) in self.running.clone().into_iter().enumerate() {
            for (_, event) in meanwhile.iter().filter(|(before, _)| *before == place) {
                let stamp = self.event((Guid::EVENT_TRACE, 0), (0, 0), payload()).stamp;
                self.write(Written {
                    stamp,
                    ..event.clone()
                });
            }
            let id = running.process_id;
            let texts = (running.name, running.command_line);
            let fields = process(id, running.parent, texts);
            let event = self.event((Guid::PROCESS, 3), (9999, 1), fields);
            self.write(event);
            for (base, path) in running.images {
                self.image(3, id, base, path);
            }
        }
    }
}

fn deliver(written: &mut VecDeque<Written>, inbox: &Inbox) {
    while !inbox.is_full()
        && let Some(event) = written.pop_front()
    {
        let delivered = Delivered {
            guid: event.guid,
            flags: 0x140,
            id: 0,
            version: event.version,
            opcode: event.r#type,
            process_id: event.by.0,
            thread_id: event.by.1,
            stamp: event.stamp,
            payload: &event.payload,
        };
        inbox.put(&delivered.event());
    }
}

pub(super) fn payload() -> Payload {
    Payload::new(PointerSize::Eight)
}

pub(super) fn process(process_id: u32, parent: u32, (name, command_line): (&str, &str)) -> Payload {
    let head = payload().pointer(0xffff_8000_0000_1000).u32(process_id);
    let head = head.u32(parent).u32(1).u32(3).pointer(0).u32(0);
    let user = if process_id == 4 {
        head.u32(0)
    } else {
        head.token(5, &[21, 7, 1001])
    };
    user.narrow(name).wide(command_line).wide("").wide("")
}

pub(super) fn image(process_id: u32, base: u64, path: &str) -> Payload {
    let head = payload().pointer(base).pointer(0x1000).u32(process_id);
    let head = head.u32(0).u32(0).u8(12).u8(3).u8(0).u8(0).pointer(base);
    head.u64(0).u64(0).wide(path)
}

pub(super) fn status(name: &str, guid: Guid) -> Status {
    Status {
        name: name.to_owned(),
        guid,
        is_system_logger: true,
        events_lost: 0,
        buffers_lost: 0,
    }
}

impl Tracing for Scripted {
    fn start(&mut self, plan: &Plan) -> io::Result<Duration> {
        let mut windows = self.0.lock().unwrap();
        windows.starts += 1;
        if let Some(code) = windows.refusals.pop_front() {
            return Err(io::Error::from_raw_os_error(code));
        }
        if windows.lies {
            return Ok(plan.flush_interval);
        }
        if windows.session.is_some() {
            return Err(io::Error::from_raw_os_error(183));
        }
        windows.has_left(plan.owner.guid());
        windows.run_down();
        Ok(plan.flush_interval)
    }

    fn status(&mut self) -> io::Result<Option<Status>> {
        let windows = self.0.lock().unwrap();
        Ok(windows.session.as_ref().map(|it| it.status.clone()))
    }

    fn sessions(&mut self) -> io::Result<Vec<Status>> {
        Ok(self.0.lock().unwrap().others.clone())
    }

    fn flush(&mut self) -> io::Result<()> {
        self.0.lock().unwrap().deliver();
        Ok(())
    }

    fn stop(&mut self) -> io::Result<Option<Status>> {
        let mut windows = self.0.lock().unwrap();
        // The rundown at the end.
        windows.image(4, 100, 0x1000, "at the end");
        let session = windows.session.take();
        let Some(mut session) = session else {
            return Ok(None);
        };
        if let Some(inbox) = windows.inbox.take() {
            deliver(&mut session.written, &inbox);
            inbox.end(0);
        }
        Ok(Some(session.status))
    }

    fn follow(&mut self, size_max: usize) -> io::Result<Arc<Inbox>> {
        let inbox = Arc::new(Inbox::new(size_max, || {}));
        self.0.lock().unwrap().inbox = Some(Arc::clone(&inbox));
        Ok(inbox)
    }

    fn leave(&mut self) {
        self.0.lock().unwrap().inbox = None;
    }

    fn wait(&mut self, _inbox: &Inbox, time: Duration) {
        let mut windows = self.0.lock().unwrap();
        windows.stamp += i64::try_from(time.as_nanos() / 100).unwrap();
        windows.deliver();
    }

    fn mark(&mut self) -> io::Result<u32> {
        let mut windows = self.0.lock().unwrap();
        windows.next_mark += 1;
        let id = windows.last_mark();
        let own = OWN.process_id;
        windows.thread(1, own, id, own);
        windows.thread(2, own, id, own);
        Ok(id)
    }

    fn reading(&mut self) -> Reading {
        let windows = self.0.lock().unwrap();
        let time = EPOCH + windows.set_ns + windows.stamp.unsigned_abs() * 100;
        Reading {
            stamp: windows.stamp,
            time,
            error_ns: 0,
        }
    }

    fn frequency(&self) -> u64 {
        FREQUENCY
    }

    fn own(&self) -> Owner {
        OWN
    }

    fn creation_time(&mut self, process_id: u32) -> Option<u64> {
        self.0.lock().unwrap().created.get(&process_id).copied()
    }

    fn image(&mut self, process_id: u32, _start_time: u64) -> Option<Vec<u8>> {
        let windows = self.0.lock().unwrap();
        let path = windows.images.get(&process_id)?;
        Some(path.encode_utf16().flat_map(u16::to_le_bytes).collect())
    }

    fn processes(&mut self) -> io::Result<Vec<u8>> {
        /// Bytes of an entry without threads, and the begin of 1970 as a `FILETIME`.
        const SIZE: usize = 256;
        const TO_1970: u64 = 116_444_736_000_000_000;
        let windows = self.0.lock().unwrap();
        let mut list = Vec::new();
        for running in &windows.running {
            let created = windows.created.get(&running.process_id);
            let created = created.map_or(0, |created| created / 100 + TO_1970);
            let mut entry = vec![0; SIZE];
            entry[0..4].copy_from_slice(&u32::try_from(SIZE).unwrap().to_le_bytes());
            entry[32..40].copy_from_slice(&created.to_le_bytes());
            entry[80..84].copy_from_slice(&running.process_id.to_le_bytes());
            entry[100..104].copy_from_slice(&2_u32.to_le_bytes());
            list.extend(entry);
        }
        if let Some(end) = list.len().checked_sub(SIZE) {
            list[end..end + 4].fill(0);
        }
        Ok(list)
    }
}
