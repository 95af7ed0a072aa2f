//! What a forked process has mapped from its parents, followed while a log is read: on Linux a child begins
//! with all that its parent had loaded, and an exec ends that.

use std::cell::{Cell, RefCell};
use std::collections::{HashMap, HashSet};
use std::rc::Rc;

use event::ProcessKey;

use super::{ANCESTORS_MAX, Image, List, image_base};
use crate::trail::{ImageLoad, Text, Time};

/// Loads of the processes that are there at one time, 48 bytes each, that are followed. Of more nothing is.
const LOADS_MAX: usize = 1 << 20;

/// Paths that are remembered before those that nobody needs any more are forgotten.
const PATHS_LEAST: usize = 1 << 12;

/// What every process has mapped that is there now.
#[derive(Debug, Default)]
pub(super) struct Mapped {
    programs: HashMap<ProcessKey, Rc<Program>>,
    paths: Paths,
    count: Rc<Cell<usize>>,
    is_beyond: bool,
}

/// One program, from its exec to its end, or one that a fork made.
#[derive(Debug, Default)]
struct Program {
    /// What was there when it was forked: of whom, and how many of his own by then.
    from: Option<(Rc<Self>, usize)>,
    /// Programs above it. Bounded, for they are dropped one in the other.
    depth: usize,
    loads: RefCell<Vec<Load>>,
    count: Rc<Cell<usize>>,
}

#[derive(Clone, Debug)]
struct Load {
    time: Time,
    path: Option<Rc<str>>,
    base: u64,
    size: u64,
    existing: bool,
}

/// Paths, each once.
#[derive(Debug, Default)]
struct Paths {
    known: HashSet<Rc<str>>,
    most: usize,
}

impl Mapped {
    /// Whether there were more loads than are followed.
    pub(super) const fn is_beyond(&self) -> bool {
        self.is_beyond
    }

    /// A process was forked from `parent`.
    pub(super) fn fork(&mut self, key: ProcessKey, parent: Option<ProcessKey>) {
        let parent = parent.filter(|parent| *parent != key);
        let parent = parent.and_then(|parent| self.programs.get(&parent));
        let parent = parent.filter(|parent| parent.depth < ANCESTORS_MAX);
        let program = Program {
            depth: parent.map_or(0, |parent| parent.depth + 1),
            from: parent.map(|parent| (Rc::clone(parent), parent.loads.borrow().len())),
            loads: RefCell::default(),
            count: Rc::clone(&self.count),
        };
        self.programs.insert(key, Rc::new(program));
    }

    /// It loaded a file.
    pub(super) fn load(&mut self, key: ProcessKey, time: Time, load: &ImageLoad) {
        let path = load.image.as_ref().map(Text::shown);
        // Nothing is forked on Windows, and a module of the kernel is mapped in nobody.
        if self.is_beyond || load.kernel_image || path.is_some_and(|path| !path.starts_with('/')) {
            return;
        }
        if self.count.get() >= LOADS_MAX {
            *self = Self {
                is_beyond: true,
                ..Self::default()
            };
            return;
        }
        let load = Load {
            time,
            path: path.map(|path| self.paths.one(path)),
            base: load.image_base,
            size: load.image_size,
            existing: load.existing,
        };
        let fresh = || Rc::new(Program::of(Vec::new(), &self.count));
        let program = self.programs.entry(key).or_insert_with(fresh);
        program.loads.borrow_mut().push(load);
        self.count.set(self.count.get() + 1);
    }

    /// It runs `image` now: what that maps is told a little before.
    pub(super) fn exec(&mut self, key: ProcessKey, image: Option<&Text>) {
        let Some(before) = self.programs.get(&key) else {
            return;
        };
        let loads = before.loads.borrow();
        let is_it = |load: &Load| image.is_some_and(|it| load.path.as_deref() == Some(it.shown()));
        let own = loads.iter().rposition(is_it).map(|from| loads.get(from..));
        let own = own.flatten().unwrap_or_default().to_vec();
        drop(loads);
        self.count.set(self.count.get() + own.len());
        let program = Program::of(own, &self.count);
        self.programs.insert(key, Rc::new(program));
    }

    /// It has ended.
    pub(super) fn exit(&mut self, key: ProcessKey) {
        self.programs.remove(&key);
    }

    /// What a process had from its parents when it was forked, that of the eldest first.
    pub(super) fn of(&self, key: ProcessKey) -> List<Image> {
        let mut above = Vec::new();
        let mut next = self.programs.get(&key).and_then(|it| it.from.as_ref());
        while let Some((program, count)) = next {
            above.push((program, *count));
            next = program.from.as_ref();
        }
        let mut images = List::default();
        for (program, count) in above.into_iter().rev() {
            for load in program.loads.borrow().iter().take(count) {
                images.add(load.told());
            }
        }
        images
    }
}

impl Program {
    fn of(loads: Vec<Load>, count: &Rc<Cell<usize>>) -> Self {
        Self {
            from: None,
            depth: 0,
            loads: RefCell::new(loads),
            count: Rc::clone(count),
        }
    }
}

impl Drop for Program {
    fn drop(&mut self) {
        let count = self.count.get();
        self.count
            .set(count.saturating_sub(self.loads.get_mut().len()));
    }
}

impl Load {
    fn told(&self) -> Image {
        Image {
            time: self.time,
            image: self.path.as_deref().map(str::to_owned),
            image_base: image_base(self.base),
            image_size: self.size,
            existing: self.existing,
        }
    }
}

impl Paths {
    fn one(&mut self, path: &str) -> Rc<str> {
        if let Some(known) = self.known.get(path) {
            return Rc::clone(known);
        }
        if self.known.len() > self.most.max(PATHS_LEAST) {
            self.known.retain(|path| Rc::strong_count(path) > 1);
            self.most = self.known.len() * 2;
        }
        let path: Rc<str> = path.into();
        self.known.insert(Rc::clone(&path));
        path
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn load(image: &str) -> ImageLoad {
        ImageLoad {
            image: Some(Text::from(image)),
            ..ImageLoad::default()
        }
    }

    #[test]
    fn what_is_given_up_is_counted_back() {
        let mut mapped = Mapped::default();
        let key = ProcessKey;
        for child in 2..100 {
            mapped.load(key(1), Time(1), &load("/lib/a"));
            mapped.fork(key(child), Some(key(1)));
            mapped.load(key(child), Time(2), &load("/lib/b"));
        }
        assert_eq!(mapped.count.get(), 196);
        assert_eq!(mapped.of(key(99)).count, 98);
        // What its children have from it stays until they go.
        mapped.exit(key(1));
        assert_eq!(mapped.count.get(), 196);
        for child in 2..100 {
            mapped.exec(key(child), Some(&Text::from("/lib/b")));
        }
        assert_eq!(mapped.count.get(), 98);
        (2..100).for_each(|child| mapped.exit(key(child)));
        assert_eq!((mapped.count.get(), mapped.programs.len()), (0, 0));
    }

    /// They are dropped one in the other.
    #[test]
    fn a_chain_of_forks_without_end_ends() {
        let mut mapped = Mapped::default();
        let key = ProcessKey;
        mapped.load(key(0), Time(1), &load("/lib/a"));
        for child in 1..200_000 {
            mapped.fork(key(child), Some(key(child - 1)));
        }
        assert!(mapped.programs.values().all(|it| it.depth <= ANCESTORS_MAX));
    }

    #[test]
    fn more_than_are_followed_are_none_and_said() {
        let mut mapped = Mapped::default();
        mapped.count.set(LOADS_MAX);
        mapped.load(ProcessKey(1), Time(1), &load("/lib/a"));
        assert!(mapped.is_beyond() && mapped.programs.is_empty());
        mapped.load(ProcessKey(1), Time(2), &load("/lib/b"));
        assert!(mapped.programs.is_empty());
    }
}
