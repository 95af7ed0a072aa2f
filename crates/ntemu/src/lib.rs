//! A Windows kernel for host tests, as far as the driver can tell.
//!
//! It defines the symbols that `nt` imports. Every function asserts what the documentation says of
//! it: the IRQL of the call, double completion, memory, handles, references and registrations that
//! are left. [`Machine::count_calls`] and [`Machine::fail`] make the nth call of any function that
//! can fail fail. What a test plays ([`Machine::start_process`], [`File::read`] ...) may be played
//! on many threads at once; each thread is a processor of its own.
//!
//! ```text
//! let mut machine = Machine::new();
//! machine.load(nt::driver::entry::<driver::Driver>)?;
//! let file = machine.open(Caller::Administrator, READ_ACCESS)?;
//! machine.start_process(&StartProcess { process_id: 100, ..StartProcess::default() });
//! machine.unload();
//! ```
//!
//! A machine that ends asserts that nothing was breached. One machine exists at a time, so tests
//! that make one take turns.

#![expect(
    unsafe_code,
    reason = "calls the driver's entry point and unload routine"
)]

mod contract;
mod device;
mod error_log;
mod fault;
mod file;
mod irp;
mod irql;
mod lock;
mod mutex;
mod notify;
mod object;
mod pool;
mod process;
mod registry;
mod timer;

pub use device::Caller;
pub use fault::{FAILABLE, INJECTED};
pub use file::{File, Request};
pub use process::{Answers, Token};

use contract::{APC_LEVEL, PASSIVE_LEVEL, at_irql};
use nt::sys::{
    CLIENT_ID, DRIVER_OBJECT, IMAGE_INFO, NTSTATUS, PS_CREATE_NOTIFY_INFO, UNICODE_STRING,
};
use std::collections::HashMap;
use std::sync::{Arc, Mutex, MutexGuard};

/// The symbolic link by which [`Machine::open`] opens the device.
const LINK: &str = r"\DosDevices\SysTrail";

/// The system process, which is there from the beginning.
pub const SYSTEM_PROCESS_ID: u32 = 4;

static TURN: Mutex<()> = Mutex::new(());

/// A driver's entry point.
pub type Entry = unsafe extern "system" fn(*mut DRIVER_OBJECT, *const UNICODE_STRING) -> NTSTATUS;

/// The machine: at most one driver, and what tests play on it.
pub struct Machine {
    driver: Option<Loaded>,
    _turn: MutexGuard<'static, ()>,
}

/// A driver object in memory of its own, as the kernel's would be.
struct Loaded(*mut DRIVER_OBJECT);

// SAFETY: the driver object is written during load only.
unsafe impl Send for Loaded {}
// SAFETY: as above.
unsafe impl Sync for Loaded {}

/// A process that starts.
#[derive(Clone, Debug)]
pub struct StartProcess<'a> {
    /// Its id.
    pub process_id: u32,
    /// When it is created, in 100 ns since 1601.
    pub create_time: i64,
    /// The process it inherits from.
    pub parent_process_id: u32,
    /// The process and thread that make the call.
    pub creator: (u32, u32),
    /// The image file's path.
    pub image: Option<&'a [u16]>,
    /// Whether that is the very name with which the file was opened.
    pub is_image_exact: bool,
    /// The command line.
    pub command_line: Option<&'a [u16]>,
    /// What its token says.
    pub token: Token,
    /// What the kernel tells of it beyond that.
    pub answers: Answers,
    /// Another driver's word on the start.
    pub creation_status: i32,
}

impl Default for StartProcess<'_> {
    fn default() -> Self {
        Self {
            process_id: 100,
            create_time: timer::START_TIME,
            parent_process_id: SYSTEM_PROCESS_ID,
            creator: (SYSTEM_PROCESS_ID, 8),
            image: Some(&[]),
            is_image_exact: true,
            command_line: Some(&[]),
            token: Token::system(),
            answers: Answers::default(),
            creation_status: 0,
        }
    }
}

/// An image that is mapped.
#[derive(Clone, Copy, Debug, Default)]
pub struct LoadImage<'a> {
    /// Into which process; 0 for a driver.
    pub process_id: u32,
    /// Its path.
    pub name: Option<&'a [u16]>,
    /// Where it begins.
    pub base: usize,
    /// Its bytes.
    pub size: usize,
    /// `IMAGE_INFO.Properties`
    pub properties: u32,
}

impl Machine {
    /// A machine without a driver. Waits until the last one has ended.
    #[expect(
        clippy::new_without_default,
        reason = "it takes a turn, which a default should not"
    )]
    pub fn new() -> Self {
        let turn = mutex::lock(&TURN);
        let _left_by_a_failed_test = contract::take_breaches();
        process::add_process(
            SYSTEM_PROCESS_ID,
            timer::START_TIME,
            Token::system(),
            Answers::default(),
        );
        Self {
            driver: None,
            _turn: turn,
        }
    }

    /// Sets a value of the driver's `Parameters` key.
    pub fn set_value(&self, name: &str, kind: u32, data: &[u8]) {
        registry::set(registry::PARAMETERS, name, kind, data);
    }

    /// Sets a value of another key below that of the driver's service, or of that itself, whose name is empty.
    pub fn set_value_below(&self, key: &str, name: &str, kind: u32, data: &[u8]) {
        registry::set(key, name, kind, data);
    }

    /// The values of a key below that of the driver's service, each with its type and data; `None`
    /// when there is no such key.
    pub fn values_below(&self, key: &str) -> Option<HashMap<String, (u32, Vec<u8>)>> {
        registry::values(key)
    }

    /// Counts calls from now on.
    pub fn count_calls(&self) {
        fault::plan(&[]);
    }

    /// Lets the `nth` call of `function` from now on fail.
    pub fn fail(&self, function: &'static str, nth: u64) {
        self.fail_each(&[(function, nth)]);
    }

    /// As [`fail`](Self::fail), for more than one call.
    pub fn fail_each(&self, calls: &[(&'static str, u64)]) {
        fault::plan(calls);
    }

    /// How often `function` was called since calls are counted.
    pub fn calls(&self, function: &str) -> u64 {
        fault::calls(function)
    }

    /// Whether each call that was to fail came.
    pub fn has_failed(&self) -> bool {
        fault::has_struck()
    }

    /// Loads a driver.
    ///
    /// # Errors
    /// What its entry point returns; then nothing of it may be left. Its image is held for as long as
    /// the event log has not taken what a failed start wrote ([`Machine::take_error_log`]), and cannot
    /// be loaded again.
    pub fn load(&mut self, entry: Entry) -> Result<(), i32> {
        const IMAGE_ALREADY_LOADED: i32 = 0xc000_010e_u32.cast_signed();
        if error_log::holds_the_driver() {
            return Err(IMAGE_ALREADY_LOADED);
        }
        let object = Box::into_raw(Box::new(empty_driver_object()));
        let path: Vec<u16> = registry::SERVICE_KEY.encode_utf16().collect();
        // The kernel has a NUL behind it.
        let path = [&path[..], &[0]].concat();
        let mut path = unicode_string(&path);
        path.Length -= 2;
        // SAFETY: object and path are what the kernel passes.
        let status = at_irql(PASSIVE_LEVEL, "DriverEntry", || unsafe {
            entry(object, &raw const path)
        });
        if status < 0 {
            // SAFETY: made from a box above.
            drop(unsafe { Box::from_raw(object) });
            check_nothing_is_left();
            return Err(status);
        }
        self.driver = Some(Loaded(object));
        Ok(())
    }

    /// Unloads the driver, even one whose device is still open, which the kernel would not do:
    /// what pends must be completed all the same.
    pub fn unload(&mut self) {
        let Some(Loaded(object)) = self.driver.take() else {
            return;
        };
        // SAFETY: the object is whole until it is freed below.
        if let Some(unload) = unsafe { (*object).DriverUnload } {
            // SAFETY: the kernel's call.
            at_irql(PASSIVE_LEVEL, "DriverUnload", || unsafe { unload(object) });
        } else {
            contract::breach("the driver cannot be unloaded");
        }
        // SAFETY: made from a box in `load`, and used by nobody.
        drop(unsafe { Box::from_raw(object) });
        check_nothing_is_left();
    }

    /// Lets the event log take the entries that wait for it, and gives them, oldest first: step and
    /// status.
    pub fn take_error_log(&self) -> Vec<(u32, i32)> {
        error_log::take()
    }

    /// The security descriptor of the driver's device.
    pub fn security_descriptor(&self) -> Option<Vec<u8>> {
        device::descriptor(LINK)
    }

    /// Opens the driver's device.
    ///
    /// # Errors
    /// The status of the create.
    pub fn open(&self, caller: Caller, access: u32) -> Result<File, i32> {
        const NOT_FOUND: i32 = 0xc000_0034_u32.cast_signed();
        let device = device::open(LINK).ok_or(NOT_FOUND)?;
        File::open(device, "", caller, access)
    }

    /// Opens a name below the driver's device, such as `\a\b`, as an administrator.
    ///
    /// # Errors
    /// The status of the create.
    pub fn open_below(&self, name: &str, access: u32) -> Result<File, i32> {
        const NOT_FOUND: i32 = 0xc000_0034_u32.cast_signed();
        let device = device::open(LINK).ok_or(NOT_FOUND)?;
        File::open(device, name, Caller::Administrator, access)
    }

    /// Lets time pass.
    pub fn advance_ms(&self, ms: i64) {
        timer::advance(ms * 10_000);
    }

    /// Sets the time of day so much ahead, or back.
    pub fn set_clock_ahead_ms(&self, ms: i64) {
        timer::set_ahead(ms * 10_000);
    }

    /// Lets the next DPC that a DPC's routine queues be queued late, by a processor that is slow:
    /// while another one waits in `KeFlushQueuedDpcs`, which then need not wait for it.
    pub fn delay_next_dpc(&self) {
        timer::delay_next();
    }

    /// Whether a DPC is delayed now.
    pub fn is_any_dpc_delayed(&self) -> bool {
        timer::is_any_delayed()
    }

    /// Whether any timer is set: an idle machine has none.
    pub fn is_any_timer_set(&self) -> bool {
        timer::is_any_timer_set()
    }

    /// Starts a process.
    pub fn start_process(&self, start: &StartProcess<'_>) {
        let process = process::add_process(
            start.process_id,
            start.create_time,
            start.token.clone(),
            start.answers.clone(),
        );
        let strings = [start.image, start.command_line].map(|units| units.map(unicode_string));
        let [image, command_line] = &strings;
        let address = |string: &Option<UNICODE_STRING>| {
            string.as_ref().map_or(std::ptr::null(), std::ptr::from_ref)
        };
        let mut information = PS_CREATE_NOTIFY_INFO {
            Size: 72,
            Flags: u32::from(start.is_image_exact) | (u32::from(start.answers.subsystem != 0) << 1),
            ParentProcessId: process::to_handle(start.parent_process_id),
            CreatingThreadId: CLIENT_ID {
                UniqueProcess: process::to_handle(start.creator.0),
                UniqueThread: process::to_handle(start.creator.1),
            },
            FileObject: std::ptr::null_mut(),
            ImageFileName: address(image),
            CommandLine: address(command_line),
            CreationStatus: start.creation_status,
        };
        as_thread(start.creator, || {
            let raw = Arc::as_ptr(&process).cast_mut().cast();
            notify::process(raw, start.process_id, &raw mut information);
        });
    }

    /// Ends a process; its last thread is `thread_id`.
    pub fn exit_process(&self, process_id: u32, thread_id: u32, status: i32) {
        let Some(process) = process::find_process(process_id) else {
            return;
        };
        process::set_exit_status(&process, status);
        process::run_as(&process, thread_id, || {
            let raw = Arc::as_ptr(&process).cast_mut().cast();
            notify::process(raw, process_id, std::ptr::null_mut());
        });
        process::remove_process(process_id);
    }

    /// Makes a process and deletes it again without a thread in it, as thread `by` does. Only its end
    /// is told.
    pub fn delete_process(&self, process_id: u32, create_time: i64, by: (u32, u32)) {
        let process =
            process::add_process(process_id, create_time, Token::system(), Answers::default());
        as_thread(by, || {
            let raw = Arc::as_ptr(&process).cast_mut().cast();
            notify::process(raw, process_id, std::ptr::null_mut());
        });
        process::remove_process(process_id);
    }

    /// Starts a thread; `creator` is the process and thread that make the call.
    pub fn start_thread(&self, creator: (u32, u32), process_id: u32, thread_id: u32, address: u64) {
        if let Some(process) = process::find_process(process_id) {
            process::add_thread(&process, thread_id, address);
        }
        as_thread(creator, || {
            notify::thread(process_id, thread_id, true, PASSIVE_LEVEL);
        });
    }

    /// Starts a thread whose creator is at `APC_LEVEL`.
    pub fn start_thread_at_apc_level(&self, creator: (u32, u32), process_id: u32, thread_id: u32) {
        if let Some(process) = process::find_process(process_id) {
            process::add_thread(&process, thread_id, 1);
        }
        as_thread(creator, || {
            notify::thread(process_id, thread_id, true, APC_LEVEL);
        });
    }

    /// Ends a thread.
    pub fn exit_thread(&self, process_id: u32, thread_id: u32) {
        as_thread((process_id, thread_id), || {
            notify::thread(process_id, thread_id, false, APC_LEVEL);
        });
    }

    /// Maps an image, in the process it is mapped into; a driver, in the system process.
    pub fn load_image(&self, load: &LoadImage<'_>) {
        let name = load.name.map(unicode_string);
        let information = IMAGE_INFO {
            Properties: load.properties,
            ImageBase: std::ptr::without_provenance_mut(load.base),
            ImageSelector: 0,
            ImageSize: load.size,
            ImageSectionNumber: 0,
        };
        let mapper = if load.process_id == 0 {
            SYSTEM_PROCESS_ID
        } else {
            load.process_id
        };
        as_thread((mapper, 12), || {
            let name = name.as_ref().map_or(std::ptr::null(), std::ptr::from_ref);
            notify::image(name, load.process_id, &information);
        });
    }

    /// Takes the breaches that were noted so far, for tests of this crate.
    pub fn take_breaches(&self) -> Vec<String> {
        contract::take_breaches()
    }
}

impl Drop for Machine {
    fn drop(&mut self) {
        if self.driver.is_some() {
            contract::breach("the driver was never unloaded");
            // A test that failed half way must not fail the next one.
            self.unload();
        }
        fault::reset();
        registry::reset();
        object::finish();
        process::finish();
        let _entries = error_log::take();
        let breaches = contract::take_breaches();
        if !std::thread::panicking() {
            assert!(breaches.is_empty(), "the kernel's contract: {breaches:#?}");
        }
    }
}

/// Runs `body_fn` as the thread of the process, if there is such a process.
fn as_thread(thread: (u32, u32), body_fn: impl FnOnce()) {
    if let Some(process) = process::find_process(thread.0) {
        process::run_as(&process, thread.1, body_fn);
    } else {
        contract::breach("a test plays in a process that it did not start");
    }
}

/// What must be gone when a driver is.
fn check_nothing_is_left() {
    notify::finish();
    device::finish();
    timer::finish();
    pool::finish();
}

fn unicode_string(units: &[u16]) -> UNICODE_STRING {
    let size = u16::try_from(size_of_val(units)).unwrap_or(0xfffe);
    UNICODE_STRING {
        Length: size,
        MaximumLength: size,
        Buffer: units.as_ptr().cast_mut(),
    }
}

fn empty_driver_object() -> DRIVER_OBJECT {
    let nothing = std::ptr::null_mut();
    DRIVER_OBJECT {
        Type: 4,
        Size: 336,
        DeviceObject: std::ptr::null_mut(),
        Flags: 0,
        DriverStart: nothing,
        DriverSize: 0,
        DriverSection: nothing,
        DriverExtension: nothing,
        DriverName: unicode_string(&[]),
        HardwareDatabase: std::ptr::null_mut(),
        FastIoDispatch: nothing,
        DriverInit: nothing,
        DriverStartIo: nothing,
        DriverUnload: None,
        MajorFunction: [None; 28],
    }
}
