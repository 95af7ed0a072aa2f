//! What was executed: the image from the first mapping after the exec, arguments and user from
//! `/proc`, which is asked as soon as the exec is drained.

use std::collections::HashMap;

use event::{Flags, Place};

use crate::sensor::merge::{PROGRAMS_MAX, SETTLE_NS};
use crate::sys::clock;
use crate::sys::proc::{self, Program, User};

/// The execs that are not handed over yet, with the images they put in place.
#[derive(Debug, Default)]
pub(super) struct Execs {
    by_process: HashMap<u32, Vec<Exec>>,
    /// Processes that have executed something since `/proc` was asked last.
    unread: Vec<u32>,
    /// Images mapped while or after the tasks were drained: their exec may come with the next.
    late: Vec<(u32, u64, Image)>,
    late_from: u64,
    /// Bytes of their paths.
    late_size: usize,
    /// Until when mappings may have been lost.
    doubted_until: u64,
}

type Image = (Flags, Vec<u8>);

/// `/proc` shows a program before the record of its exec has its time, by less than this.
const REPLACED_EARLY_NS: u64 = 100_000;

/// Of the paths of images that wait for an exec no more is kept. Beyond that the image of an exec
/// that is still to be drained is doubted.
const LATE_SIZE_MAX: usize = 8 * 1024 * 1024;

#[derive(Debug)]
struct Exec {
    time: u64,
    /// What `/proc` said when the exec was drained, and for whom it runs.
    read: Option<(Program, Option<User>)>,
    /// When it had said so.
    read_until: u64,
    /// What was mapped first, and when.
    image: Option<(u64, Image)>,
}

impl Execs {
    /// A process has executed something at `time`.
    pub(super) fn add(&mut self, process_id: u32, time: u64) {
        let execs = self.by_process.entry(process_id).or_default();
        // In the order of time: another processor's may have been drained before.
        let place = execs.partition_point(|exec| exec.time <= time);
        let exec = Exec {
            time,
            read: None,
            read_until: 0,
            image: None,
        };
        execs.insert(place, exec);
        self.unread.push(process_id);
    }

    /// Asks `/proc` for what was executed last, at once: it may be gone soon.
    pub(super) fn read_programs(&mut self) {
        let by_process = &mut self.by_process;
        let surplus = self.unread.len().saturating_sub(PROGRAMS_MAX);
        self.unread.drain(..surplus);
        self.unread.retain(|process_id| {
            let execs = by_process.get_mut(process_id);
            let Some(exec) = execs.and_then(|execs| execs.last_mut()) else {
                return false;
            };
            exec.read = proc::program_as_of(*process_id, exec.time);
            exec.read_until = clock::now().0;
            // A program that is still being loaded has an image and no arguments yet. One that
            // was given none is not waited for.
            let is_new = exec.read_until < exec.time.saturating_add(SETTLE_NS);
            let read = exec.read.as_ref();
            is_new && read.is_some_and(|(program, _)| program.is_being_loaded())
        });
    }

    /// Whether what was read of the exec at `time` is known to be its program and not the next
    /// one's, or that one is known. All execs until `drained_until` are.
    pub(super) fn is_settled(&self, process_id: u32, time: u64, drained_until: u64) -> bool {
        let execs = self
            .by_process
            .get(&process_id)
            .map_or(&[][..], Vec::as_slice);
        let place = execs.partition_point(|exec| exec.time <= time);
        let exec = place.checked_sub(1).and_then(|last| execs.get(last));
        let read = exec.filter(|exec| exec.time == time && exec.read.is_some());
        place < execs.len() || read.is_none_or(|exec| exec.replaced_after() < drained_until)
    }

    /// Mappings were lost before `time`, so the first one that was seen need not be the program.
    pub(super) fn doubt(&mut self, time: u64) {
        self.doubted_until = self.doubted_until.max(time);
    }

    /// Images that are mapped from `now` on, until when the tasks are drained, may belong to execs
    /// that are not.
    pub(super) fn begin_images(&mut self, now: u64) {
        self.late_from = now.saturating_sub(SETTLE_NS);
        self.late_size = 0;
        for (process_id, time, (flags, path)) in std::mem::take(&mut self.late) {
            self.mapped(process_id, time, flags, &path);
        }
    }

    /// A process has mapped an image.
    pub(super) fn mapped(&mut self, process_id: u32, time: u64, flags: Flags, path: &[u8]) {
        // Even where an exec before it is known: the process may have executed another program
        // since, and that is not drained yet.
        if time >= self.late_from {
            self.keep_late(process_id, time, flags, path);
        }
        let execs = self.by_process.get_mut(&process_id);
        // The last exec before the mapping; its first mapping counts, which another processor's may
        // have been drained before.
        let exec = execs.and_then(|execs| execs.iter_mut().rfind(|exec| exec.time <= time));
        if let Some(exec) = exec
            && exec.image.as_ref().is_none_or(|(first, _)| time < *first)
        {
            exec.image = Some((time, (flags, path.to_vec())));
        }
    }

    fn keep_late(&mut self, process_id: u32, time: u64, flags: Flags, path: &[u8]) {
        let size = self.late_size.saturating_add(path.len());
        if size > LATE_SIZE_MAX {
            self.doubt(time);
            return;
        }
        self.late_size = size;
        self.late.push((process_id, time, (flags, path.to_vec())));
    }

    /// When the program that was executed at `time` was mapped, which is before it runs.
    pub(super) fn mapped_at(&self, process_id: u32, time: u64) -> Option<u64> {
        let execs = self.by_process.get(&process_id)?;
        let place = execs.iter().position(|exec| exec.time == time)?;
        let next = execs.get(place + 1).map(|next| next.time);
        let (mapped, _) = execs.get(place)?.image.as_ref()?;
        next.is_none_or(|next| *mapped < next).then_some(*mapped)
    }

    /// What the process has executed at `time`, and for whom it runs, as far as it is known.
    /// `reused_fn` says when its id was another's.
    pub(super) fn take(
        &mut self,
        process_id: u32,
        time: u64,
        reused_fn: impl FnOnce() -> Option<u64>,
    ) -> Option<(Program, Option<User>)> {
        let execs = self.by_process.get_mut(&process_id)?;
        let place = execs.iter().position(|exec| exec.time == time)?;
        let mut exec = execs.remove(place);
        let next = execs.get(place).map(|next| next.time);
        // What was mapped after the next exec is that one's.
        let is_its = |(mapped, _): &(u64, Image)| next.is_none_or(|next| *mapped < next);
        exec.image = exec.image.filter(is_its);
        let reused = exec.read.is_some().then(reused_fn).flatten();
        let replaced = next.into_iter().chain(reused).min();
        if execs.is_empty() {
            self.by_process.remove(&process_id);
        }
        Some(exec.program(replaced, self.doubted_until))
    }
}

impl Exec {
    /// An exec after this time has not replaced what was read.
    const fn replaced_after(&self) -> u64 {
        self.read_until.saturating_add(REPLACED_EARLY_NS)
    }

    /// Program and user. What was read is this one's where it was read before it was `replaced`.
    fn program(self, replaced: Option<u64>, doubted_until: u64) -> (Program, Option<User>) {
        let replaced_after = self.replaced_after();
        let is_this = replaced.is_none_or(|replaced| replaced_after < replaced);
        let is_doubted = self.time <= doubted_until;
        let read = self.read.filter(|_| is_this);
        let Some((_, (flags, image))) = self.image else {
            return read.unwrap_or_else(|| (Program::unavailable(), None));
        };
        // Another one than was mapped is the next one's: the kernel may have been interrupted between
        // putting it in place and telling of it. After a loss it is the mapping that is not the
        // program's.
        let is_its = |program: &Program| is_doubted || !is_another(program, (flags, &image));
        let read = read.filter(|(program, _)| !program.image.is_empty() && is_its(program));
        if let Some(read) = read {
            return read;
        }
        if is_doubted {
            return (Program::unavailable(), None);
        }
        // It has executed another program since, or has ended.
        let program = Program {
            flags: flags.with(Flags::COMMAND_LINE_UNAVAILABLE),
            image,
            command_line: Vec::new(),
        };
        (program, None)
    }
}

/// Whether a program is another file than was mapped, for sure: one file may have two paths, or, on
/// some file systems, two numbers.
fn is_another(program: &Program, (flags, image): (Flags, &[u8])) -> bool {
    if !program.flags.contains(Flags::PLACED) || !flags.contains(Flags::PLACED) {
        return false;
    }
    match (Place::split(&program.image), Place::split(image)) {
        (Ok((path, place)), Ok((mapped_path, mapped))) => {
            path != mapped_path && place.inode != mapped.inode
        }
        _ => false,
    }
}

#[cfg(test)]
mod tests {
    use event::wire::Writer;

    use super::*;

    /// No process has this id: it is above the kernel's largest.
    const NOBODY: u32 = u32::MAX - 1;

    fn image_at(execs: &mut Execs, time: u64) -> Vec<u8> {
        execs.take(NOBODY, time, || None).unwrap().0.image
    }

    #[test]
    fn the_first_mapping_after_an_exec_is_its_image() {
        let mut execs = Execs::default();
        execs.add(NOBODY, 10);
        execs.add(NOBODY, 20);
        execs.mapped(NOBODY, 11, Flags::NONE, b"/first");
        execs.mapped(NOBODY, 12, Flags::NONE, b"/its-loader");
        execs.mapped(NOBODY, 21, Flags::IMAGE_DELETED, b"/second");
        let (program, _) = execs.take(NOBODY, 10, || None).unwrap();
        assert_eq!(program.image, b"/first");
        assert_eq!(program.flags, Flags::COMMAND_LINE_UNAVAILABLE);
        let (program, _) = execs.take(NOBODY, 20, || None).unwrap();
        assert_eq!(program.image, b"/second");
        assert!(program.flags.contains(Flags::IMAGE_DELETED));
        assert_eq!(execs.take(NOBODY, 20, || None), None);
    }

    #[test]
    fn the_first_mapping_is_that_whatever_processor_told_of_it_first() {
        let mut execs = Execs::default();
        execs.add(NOBODY, 10);
        execs.mapped(NOBODY, 12, Flags::NONE, b"/its-loader");
        execs.mapped(NOBODY, 11, Flags::NONE, b"/program");
        assert_eq!(image_at(&mut execs, 10), b"/program");
    }

    #[test]
    fn an_image_drained_before_its_exec_is_kept_for_it() {
        let mut execs = Execs::default();
        execs.begin_images(SETTLE_NS);
        execs.mapped(NOBODY, SETTLE_NS + 2, Flags::NONE, b"/late");
        execs.add(NOBODY, SETTLE_NS + 1);
        execs.begin_images(2 * SETTLE_NS);
        assert_eq!(image_at(&mut execs, SETTLE_NS + 1), b"/late");
    }

    // A library was told as the program of an exec right after another one: its program had been
    // mapped when only the exec before it was drained, and was taken for one of that one's.
    #[test]
    fn an_image_drained_before_its_exec_is_kept_for_it_though_an_exec_before_is_known() {
        let mut execs = Execs::default();
        let start = 10 * SETTLE_NS;
        execs.add(NOBODY, start);
        execs.begin_images(start + 5);
        execs.mapped(NOBODY, start + 1, Flags::NONE, b"/first");
        execs.mapped(NOBODY, start + 11, Flags::NONE, b"/second");
        execs.mapped(NOBODY, start + 12, Flags::NONE, b"/its-loader");
        execs.add(NOBODY, start + 10);
        execs.begin_images(start + 20);
        execs.mapped(NOBODY, start + 13, Flags::NONE, b"/its-library");
        assert_eq!(execs.mapped_at(NOBODY, start + 10), Some(start + 11));
        assert_eq!(image_at(&mut execs, start), b"/first");
        assert_eq!(image_at(&mut execs, start + 10), b"/second");
    }

    #[test]
    fn an_exec_has_no_image_of_the_next_one() {
        let mut execs = Execs::default();
        execs.mapped(NOBODY, 21, Flags::NONE, b"/second");
        execs.add(NOBODY, 10);
        execs.begin_images(0);
        // The later one is drained first.
        execs.add(NOBODY, 20);
        execs.add(NOBODY, 15);
        execs.begin_images(0);
        assert_eq!(execs.mapped_at(NOBODY, 10), None);
        assert_eq!(image_at(&mut execs, 10), b"");
        assert_eq!(image_at(&mut execs, 15), b"");
        assert_eq!(image_at(&mut execs, 20), b"/second");
    }

    #[test]
    fn images_that_wait_for_their_exec_are_bounded_and_what_is_beyond_is_doubted() {
        let mut execs = Execs::default();
        let path = vec![b'/'; 4096];
        let count = LATE_SIZE_MAX / path.len();
        for _ in 0..=count {
            execs.mapped(NOBODY, 11, Flags::NONE, &path);
        }
        assert_eq!(execs.late.len(), count);
        execs.add(NOBODY, 10);
        execs.begin_images(0);
        assert_eq!(image_at(&mut execs, 10), b"");
        // Those that wait no longer make room.
        execs.begin_images(10 * SETTLE_NS);
        execs.begin_images(10 * SETTLE_NS);
        assert_eq!((execs.late.len(), execs.late_size), (0, 0));
    }

    // An exec right before another one was told with the program, the arguments and the user of that:
    // they were read after it, and it was not drained yet.
    #[test]
    fn what_was_read_is_settled_when_no_exec_before_that_is_to_be_drained() {
        let own_id = std::process::id();
        let now = clock::now().0;
        let mut execs = Execs::default();
        execs.add(own_id, now);
        execs.read_programs();
        assert!(!execs.is_settled(own_id, now, clock::now().0));
        let later = clock::now().0 + 2 * REPLACED_EARLY_NS;
        assert!(execs.is_settled(own_id, now, later));
        assert!(execs.is_settled(NOBODY, now, 0));
        // The next one says whose it is.
        execs.add(own_id, now + 1);
        assert!(execs.is_settled(own_id, now, 0));
        assert!(execs.is_settled(own_id, now + 1, 0));
        assert!(execs.take(own_id, now, || None).unwrap().1.is_none());
    }

    #[test]
    fn what_was_read_is_not_told_where_another_file_was_mapped() {
        let own_id = std::process::id();
        let now = clock::now().0;
        let placed = |path: &[u8]| {
            let place = Place {
                inode: u64::MAX,
                ..Place::default()
            };
            let mut bytes = [0; 64];
            let mut writer = Writer::new(&mut bytes);
            place.write(&mut writer);
            [path, &bytes[..Place::SIZE]].concat()
        };
        let take = |is_doubted| {
            let mut execs = Execs::default();
            execs.add(own_id, now);
            execs.read_programs();
            execs.mapped(own_id, now + 1, Flags::PLACED, &placed(b"/replaced"));
            if is_doubted {
                execs.doubt(now + 1);
            }
            execs.take(own_id, now, || None).unwrap()
        };
        let (program, user) = take(false);
        assert_eq!(program.image, placed(b"/replaced"));
        assert!(program.flags.contains(Flags::COMMAND_LINE_UNAVAILABLE));
        assert_eq!(user, None);
        // Its own mapping may have been lost.
        let own = proc::Process::open(own_id).unwrap().program();
        assert_eq!(take(true).0, own);
    }

    // Under load a library was told as the program: its process had moved to a processor whose buffer
    // was read first.
    #[test]
    fn the_first_mapping_is_the_first_in_time() {
        let mut execs = Execs::default();
        execs.add(NOBODY, 10);
        execs.mapped(NOBODY, 12, Flags::NONE, b"/its-loader");
        execs.mapped(NOBODY, 11, Flags::NONE, b"/program");
        assert_eq!(execs.mapped_at(NOBODY, 10), Some(11));
        assert_eq!(image_at(&mut execs, 10), b"/program");
    }

    #[test]
    fn an_image_is_doubted_after_a_loss() {
        let mut execs = Execs::default();
        execs.add(NOBODY, 10);
        execs.mapped(NOBODY, 12, Flags::NONE, b"/its-loader");
        execs.doubt(11);
        assert_eq!(
            execs.take(NOBODY, 10, || None).unwrap().0,
            Program::unavailable()
        );
    }

    #[test]
    fn what_runs_is_read_from_proc_only_if_it_was_mapped() {
        let own_id = std::process::id();
        let own = proc::Process::open(own_id).unwrap();
        let now = u64::MAX;
        let mut execs = Execs::default();
        execs.add(own_id, now);
        execs.read_programs();
        execs.mapped(own_id, now, Flags::NONE, &own.image().1);
        assert_eq!(execs.take(own_id, now, || None).unwrap().0, own.program());
        // It has executed something since.
        execs.add(own_id, now - 1);
        execs.read_programs();
        execs.mapped(own_id, now - 1, Flags::NONE, b"/another");
        execs.by_process.get_mut(&own_id).unwrap()[0].read_until = now;
        execs.add(own_id, now);
        let (program, user) = execs.take(own_id, now - 1, || None).unwrap();
        assert_eq!(program.image, b"/another");
        assert_eq!(program.command_line, b"");
        assert_eq!(user, None);
        // Its own mapping was lost: what runs is what was executed last.
        execs.read_programs();
        execs.mapped(own_id, now, Flags::NONE, b"/its-loader");
        assert_eq!(execs.take(own_id, now, || None).unwrap().0, own.program());
    }
}
