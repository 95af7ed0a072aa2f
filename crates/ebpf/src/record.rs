//! Records with texts, put together in a map's memory because a program's stack has 512 bytes.

use event::process::{Context, Setting, Users};
use event::wire::Writer;
use event::{Flags, HEADER_SIZE, Header, Place, Stamp};

use crate::context::ExecContext;
use crate::kernel::{
    self, IMAGES_ARE_STAMPED, KernelText, Names, Path, Shared, Steps, Task, Variables, Way, repeat,
};
use crate::maps::{ARGUMENTS_SIZE_LEAST, Ring};

/// The most bytes of one path, and its components: more is cut. The kernel takes no longer path
/// from a caller, but a file may be deeper; the name that crosses the limit is the last.
const PATH_SIZE_MAX: usize = 4096;
const COMPONENT_COUNT_MAX: u32 = 2048;
/// The most bytes of arguments: more is cut.
const ARGUMENTS_SIZE_MAX: usize = 32 * 1024;
/// The most bytes of environment: more is cut. And the variables that are looked at.
const ENVIRONMENT_SIZE_MAX: usize = 16 * 1024;
const VARIABLE_COUNT_MAX: u32 = 2048;
/// More than any variable has in the window through which they are looked at; a power of two.
const VARIABLE_ROOM: usize = 8192;
/// More than directory and environment have together.
const CONTEXT_ROOM: usize = 32 * 1024;
const PAGE_SIZE: usize = 4096;

/// The header of a record about `task`'s process; size and kind are filled in later.
#[inline(always)]
pub(crate) fn header(task: Task, lost_before: u64) -> Header {
    Header {
        time: kernel::boot_time(),
        process_id: task.tgid(),
        thread_id: task.pid(),
        start_time: task.leader().start_time(),
        lost_before,
        ..Header::default()
    }
}

/// A fixed record on the stack, aligned so that its fields are stored whole.
#[repr(align(8))]
pub(crate) struct Buffer<const SIZE: usize>(pub(crate) [u8; SIZE]);

/// Memory a record grows in.
#[repr(C)]
pub(crate) struct Scratch<const N: usize> {
    /// Where the next text goes. It is kept in memory so that the verifier forgets it: it would
    /// otherwise tell apart every way through a loop by how far it got.
    end: Shared,
    way: Way,
    bytes: [u8; N],
}

/// A record that grows at its end.
///
/// # Invariants
/// The fixed part is left free at the front.
pub(crate) struct Record<const N: usize> {
    scratch: &'static mut Scratch<N>,
}

/// Appending the names on the way from a file to the root.
struct Components<'s, const N: usize> {
    scratch: &'s mut Scratch<N>,
    /// Behind which the record does not go on.
    limit: usize,
}

impl<const N: usize> Steps for Components<'_, N> {
    #[inline(always)]
    fn step(&mut self) -> bool {
        let Scratch { end, way, bytes } = &mut *self.scratch;
        let step = way.step();
        let at = end.load() as usize;
        let room = kernel::name_room(bytes, at, step.has_name);
        let size = step.name.copy_to(room);
        // One branch a step, as `Way` says why.
        let is_unreadable = kernel::sign(size);
        let size = size.cast_unsigned() & !kernel::mask(is_unreadable);
        let at = at.wrapping_add(size as usize);
        end.store(at as u64);
        let room = self.limit.wrapping_sub(at);
        let is_cut = is_unreadable | kernel::sign(room.cast_signed() as i64);
        let is_last = is_cut >= step.goes_on;
        way.leave(is_cut | step.goes_on);
        is_last
    }
}

/// Appending those variables that are asked for.
struct Asked<'s, const N: usize> {
    scratch: &'s mut Scratch<N>,
    variables: &'s Variables,
    names: &'s Names,
    /// Behind which the record does not go on.
    limit: usize,
}

impl<const N: usize> Steps for Asked<'_, N> {
    #[inline(always)]
    fn step(&mut self) -> bool {
        let Scratch { end, bytes, .. } = &mut *self.scratch;
        let found = self.variables.step(self.names);
        let at = end.load() as usize;
        let room = self.limit.wrapping_sub(at);
        let is_full = kernel::sign((room as u64).wrapping_sub(found.size).cast_signed());
        let size = found.size & !kernel::mask(is_full);
        let room = kernel::masked_room::<N, VARIABLE_ROOM>(bytes, at, size as usize);
        kernel::copy_memory(self.variables.window(), room);
        end.store(at.wrapping_add(size as usize) as u64);
        let is_cut = found.is_unreadable | is_full;
        self.variables.leave(is_cut | found.goes_on);
        // One branch a step, as `Way` says why.
        is_cut >= found.goes_on
    }
}

/// One text in a [`Record`], for its size.
#[derive(Clone, Copy)]
pub(crate) struct Text {
    pub(crate) size: u32,
    pub(crate) flags: Flags,
}

impl Text {
    pub(crate) const NONE: Self = Self {
        size: 0,
        flags: Flags::NONE,
    };

    pub(crate) fn image_unavailable() -> Self {
        Self {
            size: 0,
            flags: Flags::IMAGE_UNAVAILABLE,
        }
    }

    pub(crate) fn arguments_unavailable() -> Self {
        Self {
            size: 0,
            flags: Flags::COMMAND_LINE_UNAVAILABLE,
        }
    }
}

impl<const N: usize> Record<N> {
    /// A record whose kind has `fixed_size` bytes before its texts.
    #[inline(always)]
    pub(crate) fn new(scratch: &'static mut Scratch<N>, fixed_size: usize) -> Self {
        scratch
            .end
            .store(HEADER_SIZE.saturating_add(fixed_size) as u64);
        Self { scratch }
    }

    /// Texts alone, which another record takes.
    #[inline(always)]
    pub(crate) fn of_texts(scratch: &'static mut Scratch<N>) -> Self {
        scratch.end.store(0);
        Self { scratch }
    }

    #[inline(always)]
    fn end(&self) -> usize {
        self.scratch.end.load() as usize
    }

    /// The next `size` bytes, of which `MAX` is the most.
    #[inline(always)]
    fn room<const MAX: usize>(&mut self, size: usize) -> Option<&mut [u8]> {
        let end = self.end();
        kernel::room::<N, MAX>(&mut self.scratch.bytes, end, size)
    }

    /// Makes the next `size` bytes part of the record.
    #[inline(always)]
    fn grow(&mut self, size: usize) {
        self.scratch.end.store(self.end().wrapping_add(size) as u64);
    }

    /// Appends the path of an image, leaf first, its stamp where that is wanted, and its place.
    #[inline(always)]
    pub(crate) fn append_image(&mut self, path: Path) -> Text {
        self.append(path, IMAGES_ARE_STAMPED.value() != 0)
    }

    /// Appends a path, leaf first, and its place.
    #[inline(always)]
    pub(crate) fn append_path(&mut self, path: Path) -> Text {
        self.append(path, false)
    }

    #[inline(always)]
    fn append(&mut self, path: Path, is_stamped: bool) -> Text {
        if !path.is_some() {
            return Text::image_unavailable();
        }
        let mut flags = Flags::LEAF_FIRST.with(Flags::PLACED);
        if path.is_deleted() {
            flags = flags.with(Flags::IMAGE_DELETED);
        }
        let begin = self.end();
        let (device, inode) = path.file();
        let mut place = Place {
            device,
            inode,
            ..Place::default()
        };
        self.append_components(path);
        if self.scratch.way.is_cut() {
            flags = flags.with(Flags::IMAGE_TRUNCATED);
        } else {
            (place.scope, place.mount_namespace) = self.scratch.way.end();
        }
        if is_stamped {
            self.append_stamp(path.stamp());
            flags = flags.with(Flags::STAMPED);
        }
        self.append_place(place);
        Text {
            size: self.end().wrapping_sub(begin) as u32,
            flags,
        }
    }

    /// Appends the names on the way to the root.
    #[inline(always)]
    fn append_components(&mut self, path: Path) {
        self.scratch.way.begin(path);
        let limit = self.end().wrapping_add(PATH_SIZE_MAX);
        repeat(
            COMPONENT_COUNT_MAX,
            &mut Components {
                scratch: self.scratch,
                limit,
            },
        );
    }

    #[inline(always)]
    fn append_stamp(&mut self, stamp: Stamp) {
        if let Some(room) = self.room::<{ Stamp::SIZE }>(Stamp::SIZE) {
            let mut writer = Writer::new(room);
            stamp.write(&mut writer);
            self.grow(Stamp::SIZE);
        }
    }

    #[inline(always)]
    fn append_place(&mut self, place: Place) {
        if let Some(room) = self.room::<{ Place::SIZE }>(Place::SIZE) {
            let mut writer = Writer::new(room);
            place.write(&mut writer);
            self.grow(Place::SIZE);
        }
    }

    /// Appends a text without its NUL byte.
    #[inline(always)]
    pub(crate) fn append_text(&mut self, text: KernelText) -> Text {
        let size = self
            .room::<PATH_SIZE_MAX>(PATH_SIZE_MAX)
            .map_or(0, |room| text.copy_to(room));
        let size = if size > 0 {
            (size as usize).wrapping_sub(1)
        } else {
            0
        };
        self.grow(size);
        Text {
            size: size as u32,
            flags: Flags::NONE,
        }
    }

    /// Appends a path of the current process's memory without its NUL byte. The kernel takes none that is
    /// longer than the most bytes of a path, NUL byte included.
    #[inline(always)]
    pub(crate) fn append_user_path(&mut self, address: u64) -> Text {
        const ROOM: usize = PATH_SIZE_MAX + 1;
        let size = self
            .room::<ROOM>(ROOM)
            .map_or(-1, |room| kernel::copy_user_path(address, room));
        if size <= 0 {
            return Text::image_unavailable();
        }
        let size = (size as usize).wrapping_sub(1);
        self.grow(size);
        Text {
            size: size as u32,
            flags: Flags::NONE.with_if(size >= PATH_SIZE_MAX, Flags::IMAGE_TRUNCATED),
        }
    }

    /// Appends the arguments that are at `begin..end` in the current process, as far as `ring` has
    /// room for them.
    #[inline(always)]
    pub(crate) fn append_arguments(&mut self, (begin, end): (u64, u64), ring: Ring) -> Text {
        let whole = end.wrapping_sub(begin) as usize;
        let mut wanted = whole.min(ARGUMENTS_SIZE_MAX);
        if wanted > ARGUMENTS_SIZE_LEAST {
            wanted = wanted.min(ring.argument_room());
        }
        let before = self.end();
        if !self.append_user::<ARGUMENTS_SIZE_MAX>(begin, wanted) {
            self.append_user_pages(begin, wanted);
        }
        let size = self.end().wrapping_sub(before);
        let flags = match size {
            0 if whole != 0 => Flags::COMMAND_LINE_UNAVAILABLE,
            _ if size < whole => Flags::COMMAND_LINE_TRUNCATED,
            _ => Flags::NONE,
        };
        Text {
            size: size as u32,
            flags,
        }
    }

    #[inline(always)]
    fn append_user<const MAX: usize>(&mut self, address: u64, size: usize) -> bool {
        let copied = self
            .room::<MAX>(size)
            .is_some_and(|room| kernel::copy_user(address, room));
        if copied {
            self.grow(size);
        }
        copied
    }

    /// Page by page up to the first that is not there: a program may have been swapped out, or
    /// have told the kernel of arguments it does not have.
    #[inline(always)]
    fn append_user_pages(&mut self, begin: u64, wanted: usize) {
        let before = self.end();
        for _ in 0..=ARGUMENTS_SIZE_MAX / PAGE_SIZE {
            let done = self.end().wrapping_sub(before);
            let address = begin.wrapping_add(done as u64);
            let to_page_end = PAGE_SIZE.wrapping_sub(address as usize & PAGE_SIZE.wrapping_sub(1));
            let size = to_page_end.min(wanted.wrapping_sub(done));
            if size == 0 || !self.append_user::<PAGE_SIZE>(address, size) {
                break;
            }
        }
    }

    /// Appends those variables that are at `begin..end` in the current process and may be asked for. Of
    /// one that is cut enough is there to see that it is.
    #[inline(always)]
    pub(crate) fn append_variables(
        &mut self,
        range: (u64, u64),
        variables: &Variables,
        names: &Names,
    ) -> Text {
        // Behind no variable at all stands the path of the program, which may look like one.
        if range.0 >= range.1 {
            return Text::NONE;
        }
        variables.begin(range);
        let begin = self.end();
        let mut asked = Asked {
            limit: begin.wrapping_add(ENVIRONMENT_SIZE_MAX),
            scratch: self.scratch,
            variables,
            names,
        };
        repeat(VARIABLE_COUNT_MAX, &mut asked);
        let size = self.end().wrapping_sub(begin);
        let flags = match size {
            _ if !variables.are_cut() => Flags::NONE,
            0 => Flags::COMMAND_LINE_UNAVAILABLE,
            _ => Flags::COMMAND_LINE_TRUNCATED,
        };
        Text {
            size: size as u32,
            flags,
        }
    }

    /// Appends what surrounds the process of the act with this number, as far as `ring` has room for
    /// it. It stands behind the origin.
    #[inline(always)]
    pub(crate) fn append_context(&mut self, context: &ExecContext, act: u64, ring: Ring) {
        let before = self.end();
        let (mut fixed, [directory_size, environment_size]) = context.fixed();
        let environment_room = ring.environment_room() as u64;
        let told_size = environment_size.min(environment_room);
        fixed.flags = fixed
            .flags
            .with_if(told_size < environment_size, Flags::COMMAND_LINE_TRUNCATED);
        self.append_fixed(fixed, [directory_size as u32, told_size as u32]);
        let size = directory_size.wrapping_add(told_size) as usize;
        let is_copied = self.room::<CONTEXT_ROOM>(size).is_some_and(|room| {
            kernel::copy_memory(&context.texts().bytes, room);
            true
        });
        self.grow(size);
        if !is_copied || !context.is_of(act) {
            self.scratch.end.store(before as u64);
        }
    }

    /// Appends that the terminal is known, and no more, of what surrounds the process. It stands behind
    /// the origin.
    #[inline(always)]
    pub(crate) fn append_terminal(&mut self, terminal: u32) {
        self.append_fixed(Context::of_terminal(terminal), [0, 0]);
    }

    #[inline(always)]
    fn append_fixed(&mut self, context: Context<'_>, sizes: [u32; 2]) {
        const SIZE: usize = Context::FIXED_SIZE;
        if let Some(room) = self.room::<SIZE>(SIZE) {
            context.write_fixed(&mut Writer::new(room), sizes);
            self.grow(SIZE);
        }
    }

    /// Appends who asked and where, which stands after the texts; the header's flags say that it is
    /// there.
    #[inline(always)]
    pub(crate) fn append_origin(&mut self, users: Users, setting: Setting) -> Flags {
        const SIZE: usize = Users::SIZE.wrapping_add(Setting::SIZE);
        let written = self.room::<SIZE>(SIZE).and_then(|room| {
            let mut writer = Writer::new(room);
            users.write(&mut writer);
            setting.write(&mut writer);
            writer.finish().map(|_| ())
        });
        if written.is_none() {
            return Flags::NONE;
        }
        self.grow(SIZE);
        Flags::EXTENDED
    }

    /// Fills in the fixed part. `None` when it does not fit, which cannot be.
    #[inline(always)]
    pub(crate) fn finish(
        self,
        header: Header,
        write_fn: impl FnOnce(&mut Writer<'_>),
    ) -> Option<&'static [u8]> {
        let end = self.end();
        let header = Header {
            size: end as u32,
            ..header
        };
        let mut writer = Writer::new(&mut self.scratch.bytes);
        header.write(&mut writer);
        write_fn(&mut writer);
        writer.finish()?;
        kernel::room::<N, N>(&mut self.scratch.bytes, 0, end).map(|record| &*record)
    }
}
