//! A session of event tracing (ETW) and its follower.
//!
//! # Invariants
//! The inbox that a follower's records name is held by the thread in `ProcessTrace`, the only one that
//! calls back.

#![expect(unsafe_code, reason = "sessions of event tracing and their callback")]

use std::io;
use std::mem::offset_of;
use std::os::windows::io::{AsRawHandle as _, OwnedHandle};
use std::ptr::null;
use std::sync::Arc;
use std::thread::JoinHandle;
use std::time::Duration;

use etw::delivered::Delivered;
use etw::guid::Guid;
use windows_sys::Win32::Foundation::{
    ERROR_INVALID_PARAMETER, ERROR_MORE_DATA, ERROR_SUCCESS, ERROR_WMI_INSTANCE_NOT_FOUND,
};
use windows_sys::Win32::System::Diagnostics::Etw::{
    CONTROLTRACE_HANDLE, CloseTrace, ControlTraceW, EVENT_RECORD, EVENT_TRACE_CONTROL,
    EVENT_TRACE_CONTROL_FLUSH, EVENT_TRACE_CONTROL_QUERY, EVENT_TRACE_CONTROL_STOP,
    EVENT_TRACE_FLAG_IMAGE_LOAD, EVENT_TRACE_FLAG_PROCESS, EVENT_TRACE_FLAG_THREAD,
    EVENT_TRACE_LOGFILEW, EVENT_TRACE_LOGFILEW_0, EVENT_TRACE_LOGFILEW_1, EVENT_TRACE_PROPERTIES,
    EVENT_TRACE_REAL_TIME_MODE, EVENT_TRACE_SYSTEM_LOGGER_MODE, OpenTraceW,
    PROCESS_TRACE_MODE_EVENT_RECORD, PROCESS_TRACE_MODE_RAW_TIMESTAMP,
    PROCESS_TRACE_MODE_REAL_TIME, PROCESSTRACE_HANDLE, ProcessTrace, QueryAllTracesW, StartTraceW,
    WNODE_FLAG_TRACED_GUID,
};
use windows_sys::Win32::System::Performance::{QueryPerformanceCounter, QueryPerformanceFrequency};
use windows_sys::Win32::System::Threading::{
    ALL_PROCESSOR_GROUPS, CreateEventW, GetActiveProcessorCount, GetCurrentThreadId, SetEvent,
    WaitForMultipleObjects,
};
use windows_sys::core::GUID;

use super::call::{check, check_code, owned, text, wide};
use super::clock;
use super::privilege;
use super::processes::{self, Process};
use super::thread;
use super::trace::{Inbox, NAME, Owner, Plan, Reading, Status, Tracing};
use super::wake::Waker;

/// The flush timer counts milliseconds (`ntwmi.h`; Windows 7 and later know it, the headers of programs do
/// not have it).
const EVENT_TRACE_USE_MS_FLUSH_TIMER: u32 = 0x10;
/// Stamps are of the performance counter (`ClientContext`).
const CLOCK_COUNTER: u32 = 1;
/// Windows gives each processor at least two buffers: one that is filled while the other is on its way.
const BUFFERS_PER_PROCESSOR: u32 = 4;
/// The most units of a session's name and of its file's, and the most sessions that are listed.
const NAME_SIZE: usize = 1024;
const SESSIONS_MAX: usize = 64;
/// What `OpenTrace` returns when it fails (`INVALID_PROCESSTRACE_HANDLE`).
const NO_HANDLE: u64 = u64::MAX;
/// The longest wait once the waker is woken: there is something else to do.
const WOKEN_WAIT: Duration = Duration::from_millis(10);
/// The longest that following takes to end when it is to.
const LEAVE_TIME_MAX: Duration = Duration::from_secs(1);

/// Our session, and whoever follows it.
#[derive(Debug)]
pub struct Session {
    waker: Waker,
    /// Set when the inbox has what it is armed for.
    arrived: Arc<OwnedHandle>,
    follower: Option<Follower>,
    frequency: u64,
    own: Owner,
}

/// The thread in `ProcessTrace`, and how it is made to return.
#[derive(Debug)]
struct Follower {
    handle: u64,
    inbox: Arc<Inbox>,
    thread: JoinHandle<()>,
}

/// What a session is asked and told by, with room for both names.
#[repr(C)]
struct Properties {
    head: EVENT_TRACE_PROPERTIES,
    name: [u16; NAME_SIZE],
    file: [u16; NAME_SIZE],
}

impl Properties {
    fn new() -> Box<Self> {
        let in_bytes = |size: usize| u32::try_from(size).unwrap_or(u32::MAX);
        let mut head = EVENT_TRACE_PROPERTIES::default();
        head.Wnode.BufferSize = in_bytes(size_of::<Self>());
        head.Wnode.Flags = WNODE_FLAG_TRACED_GUID;
        head.LoggerNameOffset = in_bytes(offset_of!(Self, name));
        head.LogFileNameOffset = in_bytes(offset_of!(Self, file));
        Box::new(Self {
            head,
            name: [0; NAME_SIZE],
            file: [0; NAME_SIZE],
        })
    }

    fn status(&self) -> Status {
        Status {
            name: text(&self.name),
            guid: guid_of(&self.head.Wnode.Guid),
            is_system_logger: self.head.LogFileMode & EVENT_TRACE_SYSTEM_LOGGER_MODE != 0,
            events_lost: self.head.EventsLost,
            buffers_lost: self.head.RealTimeBuffersLost,
        }
    }
}

impl Session {
    /// Nothing is started yet. `waker` ends each wait.
    pub fn new(waker: &Waker) -> io::Result<Self> {
        // Without the first no session starts, without the second other users' processes do not say when
        // they were created.
        for enabled in [
            privilege::enable_system_profile(),
            privilege::enable_debug(),
        ] {
            if let Err(error) = enabled {
                tracing::debug!(%error, "a privilege cannot be turned on");
            }
        }
        // SAFETY: no pointer is passed but null ones, which stand for the defaults.
        let event = unsafe { CreateEventW(null(), 0, 0, null()) };
        // SAFETY: just created, and nobody else has it.
        let arrived = unsafe { owned(event) }?;
        let mut frequency = 0;
        // SAFETY: writable for the call.
        check(unsafe { QueryPerformanceFrequency(&raw mut frequency) })?;
        let process_id = std::process::id();
        Ok(Self {
            waker: waker.clone(),
            arrived: Arc::new(arrived),
            follower: None,
            frequency: frequency.unsigned_abs(),
            own: Owner {
                process_id,
                start_time: Process::open(process_id)?.start_time()?,
            },
        })
    }
}

impl Tracing for Session {
    fn start(&mut self, plan: &Plan) -> io::Result<Duration> {
        const SECOND: Duration = Duration::from_secs(1);
        let ms = u32::try_from(plan.flush_interval.as_millis()).unwrap_or(u32::MAX);
        match start(plan, EVENT_TRACE_USE_MS_FLUSH_TIMER, ms.max(1)) {
            Err(error) if is(&error, ERROR_INVALID_PARAMETER) => {
                // A second is the least it then knows.
                start(plan, 0, 1).map(|()| plan.flush_interval.max(SECOND))
            }
            started => started.map(|()| plan.flush_interval),
        }
    }

    fn status(&mut self) -> io::Result<Option<Status>> {
        control(EVENT_TRACE_CONTROL_QUERY)
    }

    fn sessions(&mut self) -> io::Result<Vec<Status>> {
        let mut all: Vec<Box<Properties>> = (0..SESSIONS_MAX).map(|_| Properties::new()).collect();
        let mut pointers: Vec<*mut EVENT_TRACE_PROPERTIES> = all
            .iter_mut()
            .map(|properties| (&raw mut **properties).cast())
            .collect();
        let room = u32::try_from(pointers.len()).unwrap_or(0);
        let mut count = 0;
        // SAFETY: as many pointers as are said, each to properties with room for both names.
        let code = unsafe { QueryAllTracesW(pointers.as_mut_ptr(), room, &raw mut count) };
        if code != ERROR_MORE_DATA {
            check_code(code)?;
        }
        let count = usize::try_from(count).unwrap_or(usize::MAX);
        Ok(all.iter().take(count).map(|it| it.status()).collect())
    }

    fn flush(&mut self) -> io::Result<()> {
        control(EVENT_TRACE_CONTROL_FLUSH).map(drop)
    }

    fn stop(&mut self) -> io::Result<Option<Status>> {
        control(EVENT_TRACE_CONTROL_STOP)
    }

    fn follow(&mut self, size_max: usize) -> io::Result<Arc<Inbox>> {
        let arrived = Arc::clone(&self.arrived);
        let notify_fn = move || {
            // SAFETY: an open handle, which the closure holds.
            let _set = unsafe { SetEvent(arrived.as_raw_handle()) };
        };
        let inbox = Arc::new(Inbox::new(size_max, notify_fn));
        let mut name = wide(NAME);
        let mut log = EVENT_TRACE_LOGFILEW {
            LoggerName: name.as_mut_ptr(),
            Anonymous1: EVENT_TRACE_LOGFILEW_0 {
                ProcessTraceMode: PROCESS_TRACE_MODE_REAL_TIME
                    | PROCESS_TRACE_MODE_EVENT_RECORD
                    | PROCESS_TRACE_MODE_RAW_TIMESTAMP,
            },
            Anonymous2: EVENT_TRACE_LOGFILEW_1 {
                EventRecordCallback: Some(take),
            },
            Context: Arc::as_ptr(&inbox).cast_mut().cast(),
            ..EVENT_TRACE_LOGFILEW::default()
        };
        // SAFETY: a name that is there for the call, and a callback that lives for ever. It is called by
        // `ProcessTrace` alone, while the inbox is held.
        let PROCESSTRACE_HANDLE { Value: handle } = unsafe { OpenTraceW(&raw mut log) };
        if handle == NO_HANDLE || handle == u64::from(u32::MAX) {
            return Err(io::Error::last_os_error());
        }
        let held = Arc::clone(&inbox);
        let thread = thread::named("etw").spawn(move || {
            let handles = [PROCESSTRACE_HANDLE { Value: handle }];
            // No time to begin at: the rundown is older than this call.
            // SAFETY: one open handle; null times stand for all there is.
            let code = unsafe { ProcessTrace(handles.as_ptr(), 1, null(), null()) };
            held.end(code);
        });
        let thread = thread.inspect_err(|_error| close(handle))?;
        self.follower = Some(Follower {
            handle,
            inbox: Arc::clone(&inbox),
            thread,
        });
        Ok(inbox)
    }

    fn leave(&mut self) {
        let Some(follower) = self.follower.take() else {
            return;
        };
        close(follower.handle);
        if follower.inbox.wait_end(LEAVE_TIME_MAX) {
            if follower.thread.join().is_err() {
                tracing::error!("the thread that follows the session panicked");
            }
        } else {
            // It holds the inbox, which is closed, and takes nothing with it.
            tracing::warn!("the session is still followed; that thread is left to itself");
        }
    }

    fn wait(&mut self, inbox: &Inbox, time: Duration) {
        if inbox.is_due() {
            return;
        }
        let handles = [self.arrived.as_raw_handle(), self.waker.event()];
        // One that was woken stays so, and would end every wait at once.
        let (count, time) = if self.waker.is_woken() {
            (1, time.min(WOKEN_WAIT))
        } else {
            (2, time)
        };
        let ms = u32::try_from(time.as_millis()).unwrap_or(u32::MAX - 1);
        // SAFETY: at most two handles, which are open as long as `self` is.
        let _either = unsafe { WaitForMultipleObjects(count, handles.as_ptr(), 0, ms.max(1)) };
    }

    fn mark(&mut self) -> io::Result<u32> {
        // SAFETY: takes nothing.
        let marked = thread::named("mark").spawn(|| unsafe { GetCurrentThreadId() })?;
        marked
            .join()
            .map_err(|_panic| io::Error::other("the thread that marks panicked"))
    }

    fn reading(&mut self) -> Reading {
        let counter = || {
            let mut stamp = 0;
            // SAFETY: writable for the call, which cannot fail.
            unsafe {
                QueryPerformanceCounter(&raw mut stamp);
            }
            stamp
        };
        let before: i64 = counter();
        let (time, _offset) = clock::now();
        let after = counter();
        let took = u128::from(before.abs_diff(after)) * 1_000_000_000;
        Reading {
            stamp: before.midpoint(after),
            time,
            error_ns: u64::try_from(took / u128::from(self.frequency.max(1))).unwrap_or(u64::MAX),
        }
    }

    fn frequency(&self) -> u64 {
        self.frequency
    }

    fn own(&self) -> Owner {
        self.own
    }

    fn creation_time(&mut self, process_id: u32) -> Option<u64> {
        Process::open(process_id).ok()?.start_time().ok()
    }

    fn image(&mut self, process_id: u32, start_time: u64) -> Option<Vec<u8>> {
        let program = processes::program(process_id, start_time)?;
        Some(program.image).filter(|image| !image.is_empty())
    }

    fn processes(&mut self) -> io::Result<Vec<u8>> {
        processes::list()
    }
}

impl Drop for Session {
    fn drop(&mut self) {
        if let Some(follower) = &self.follower {
            follower.inbox.close();
        }
        self.leave();
    }
}

/// Starts the session; `mode` is added to it, and `flush_timer` is in its unit.
fn start(plan: &Plan, mode: u32, flush_timer: u32) -> io::Result<()> {
    let mut all = Properties::new();
    // SAFETY: takes a number alone.
    let processors = unsafe { GetActiveProcessorCount(ALL_PROCESSOR_GROUPS) };
    let least = processors.saturating_mul(BUFFERS_PER_PROCESSOR);
    let head = &mut all.head;
    head.Wnode.Guid = of_guid(plan.owner.guid());
    head.Wnode.ClientContext = CLOCK_COUNTER;
    head.BufferSize = plan.buffer_size / 1024;
    head.MinimumBuffers = plan.buffer_count.max(least);
    // What is there is told before anybody can take it.
    head.MaximumBuffers = head.MinimumBuffers.saturating_mul(2);
    head.LogFileMode = EVENT_TRACE_REAL_TIME_MODE | EVENT_TRACE_SYSTEM_LOGGER_MODE | mode;
    head.FlushTimer = flush_timer;
    head.EnableFlags =
        EVENT_TRACE_FLAG_PROCESS | EVENT_TRACE_FLAG_THREAD | EVENT_TRACE_FLAG_IMAGE_LOAD;
    // There is no file.
    head.LogFileNameOffset = 0;
    let name = wide(NAME);
    let mut handle = CONTROLTRACE_HANDLE::default();
    let properties = (&raw mut *all).cast();
    // SAFETY: a name ended by a NUL, and properties with the room after them that they say.
    check_code(unsafe { StartTraceW(&raw mut handle, name.as_ptr(), properties) })
}

/// Asks of the session that has our name, or tells it, one thing; gives what it says then.
fn control(what: EVENT_TRACE_CONTROL) -> io::Result<Option<Status>> {
    let mut all = Properties::new();
    let name = wide(NAME);
    let properties = (&raw mut *all).cast();
    let none = CONTROLTRACE_HANDLE::default();
    // SAFETY: a name ended by a NUL, and properties with the room after them that they say.
    let code = unsafe { ControlTraceW(none, name.as_ptr(), properties, what) };
    match code {
        ERROR_SUCCESS | ERROR_MORE_DATA => {
            // Every session has a GUID; Wine says that all went well, and fills nothing in.
            Ok(Some(all.status()).filter(|status| status.guid != Guid::default()))
        }
        ERROR_WMI_INSTANCE_NOT_FOUND => Ok(None),
        code => Err(io::Error::from_raw_os_error(code.cast_signed())),
    }
}

/// What the system calls for each event, on the thread in `ProcessTrace`.
unsafe extern "system" fn take(record: *mut EVENT_RECORD) {
    // SAFETY: the system hands over a record for the time of the call.
    let Some(record) = (unsafe { record.as_ref() }) else {
        return;
    };
    // SAFETY: the context is that of `OpenTraceW`: by the invariant, an inbox that is held.
    let Some(inbox) = (unsafe { record.UserContext.cast::<Inbox>().as_ref() }) else {
        return;
    };
    let payload = if record.UserData.is_null() {
        &[]
    } else {
        let size = usize::from(record.UserDataLength);
        // SAFETY: the system says that so many bytes are there.
        unsafe { std::slice::from_raw_parts(record.UserData.cast(), size) }
    };
    let header = &record.EventHeader;
    let delivered = Delivered {
        guid: guid_of(&header.ProviderId),
        flags: header.Flags,
        id: header.EventDescriptor.Id,
        version: header.EventDescriptor.Version,
        opcode: header.EventDescriptor.Opcode,
        process_id: header.ProcessId,
        thread_id: header.ThreadId,
        stamp: header.TimeStamp,
        payload,
    };
    inbox.put(&delivered.event());
}

fn close(handle: u64) {
    // SAFETY: what `OpenTraceW` returned, closed once. What it returns says that events are still handed
    // over, which the inbox ends.
    let _pending = unsafe { CloseTrace(PROCESSTRACE_HANDLE { Value: handle }) };
}

fn is(error: &io::Error, code: u32) -> bool {
    error.raw_os_error() == Some(code.cast_signed())
}

const fn guid_of(guid: &GUID) -> Guid {
    let last = u64::from_be_bytes(guid.data4);
    Guid::new(guid.data1, guid.data2, guid.data3, last)
}

fn of_guid(guid: Guid) -> GUID {
    let (data1, data2, data3, last) = guid.parts();
    GUID {
        data1,
        data2,
        data3,
        data4: last.to_be_bytes(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_guid_comes_back_as_it_went() {
        let own = Owner {
            process_id: 0x1234_5678,
            start_time: 0x0123_4567_89ab_cdef,
        };
        for guid in [Guid::PROCESS, own.guid()] {
            assert_eq!(guid_of(&of_guid(guid)), guid);
        }
    }

    #[test]
    fn a_mark_is_a_thread_of_its_own_and_both_clocks_go_on() {
        let mut session = Session::new(&Waker::new().unwrap()).unwrap();
        let before = session.reading();
        let marks = [session.mark().unwrap(), session.mark().unwrap()];
        assert!(marks.iter().all(|mark| *mark != 0));
        let after = session.reading();
        assert!(after.stamp > before.stamp && after.time >= before.time);
        let own = session.own();
        assert_eq!(session.creation_time(own.process_id), Some(own.start_time));
    }
}
