//! Long texts of processes in a temporary file without a name: a tree of a large store keeps in memory what it is
//! put together from, and takes each command line from the disk as it is drawn.

use std::borrow::Cow;
use std::fs::File;
use std::io::{self, Read as _, Seek as _, SeekFrom, Write as _};
use std::path::Path;

use super::Process;
use crate::trail::{Program, Text};

/// Bytes of a process's texts that stay in memory.
const SHORT_SIZE_MAX: usize = 256;

/// Bytes that are written at once.
const BUFFER_SIZE: usize = 256 << 10;

/// Where the texts of a process stand.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Place {
    offset: u64,
    command_line_size: usize,
    /// Of the list as it is written in JSON; none where the first of them is all that is wanted.
    arguments_size: Option<usize>,
}

/// The file.
#[derive(Debug)]
pub(super) struct Spool {
    file: File,
    /// What is not written yet.
    buffer: Vec<u8>,
    written_size: u64,
}

impl Spool {
    /// An empty one in `directory`.
    pub(super) fn open(directory: &Path) -> io::Result<Self> {
        Ok(Self {
            file: tempfile::tempfile_in(directory)?,
            buffer: Vec::new(),
            written_size: 0,
        })
    }

    /// Takes the texts of a process that are long: its command line, and its arguments in JSON, where all of them
    /// are wanted. Their beginnings stay with it.
    pub(super) fn shorten(
        &mut self,
        process: &mut Process,
        arguments: Option<&str>,
    ) -> io::Result<()> {
        let command_line = process.program.command_line.as_ref();
        let command_line = command_line.map_or("", Text::shown);
        if command_line.len() + arguments.map_or(0, str::len) <= SHORT_SIZE_MAX {
            return Ok(());
        }
        process.spooled = Some(Place {
            offset: self.written_size + self.buffer.len() as u64,
            command_line_size: command_line.len(),
            arguments_size: arguments.map(str::len),
        });
        self.buffer.extend_from_slice(command_line.as_bytes());
        self.buffer
            .extend_from_slice(arguments.unwrap_or_default().as_bytes());
        let end = command_line.floor_char_boundary(SHORT_SIZE_MAX);
        if end < command_line.len() {
            let begin = command_line.get(..end).unwrap_or_default();
            process.program.command_line = Some(Text::from(&*format!("{begin}…")));
        }
        if self.buffer.len() >= BUFFER_SIZE {
            self.flush()?;
        }
        Ok(())
    }

    /// Writes the rest: nothing is read before.
    pub(super) fn flush(&mut self) -> io::Result<()> {
        self.file.write_all(&self.buffer)?;
        self.written_size += self.buffer.len() as u64;
        self.buffer.clear();
        Ok(())
    }

    /// The process with all of its texts.
    pub(super) fn whole<'p>(&self, process: &'p Process) -> io::Result<Cow<'p, Process>> {
        let Some(place) = process.spooled else {
            return Ok(Cow::Borrowed(process));
        };
        let mut bytes = vec![0; place.command_line_size + place.arguments_size.unwrap_or(0)];
        let mut file = &self.file;
        file.seek(SeekFrom::Start(place.offset))?;
        file.read_exact(&mut bytes)?;
        let text = str::from_utf8(&bytes).map_err(io::Error::other)?;
        let (command_line, arguments) = text.split_at(place.command_line_size);
        let mut program = process.program.clone();
        program.command_line = program.command_line.map(|_begin| Text::from(command_line));
        if place.arguments_size.is_some() {
            set_arguments(&mut program, Some(arguments));
        }
        Ok(Cow::Owned(Process {
            program,
            ..process.clone()
        }))
    }
}

/// Sets the arguments to those of a list in JSON. What is no list of texts was written by somebody else, and is
/// not shown.
pub(super) fn set_arguments(program: &mut Program, json: Option<&str>) {
    let list = json.and_then(|json| serde_json::from_str::<Vec<Cow<'_, str>>>(json).ok());
    program.arguments = list.map(|list| list.iter().map(|text| Text::from(&**text)).collect());
}

/// Sets the arguments to the first of such a list, of which the end may be missing.
pub(super) fn set_first_argument(program: &mut Program, json: Option<&str>) {
    let first = json.and_then(|json| {
        let inside = json.trim_start().strip_prefix('[')?;
        let mut texts = serde_json::Deserializer::from_str(inside).into_iter::<String>();
        texts.next()?.ok()
    });
    program.arguments = first.map(|first| [Text::from(&*first)].into());
}

#[cfg(test)]
mod tests {
    use super::*;

    fn process(command_line: &str) -> Process {
        Process {
            program: Program {
                command_line: Some(Text::from(command_line)),
                ..Program::default()
            },
            ..Process::default()
        }
    }

    #[test]
    fn long_texts_come_back_whole_and_short_ones_stay() {
        let directory = tempfile::tempdir().unwrap();
        let mut spool = Spool::open(directory.path()).unwrap();
        let long = "é".repeat(BUFFER_SIZE);
        let lines = ["ls -l", &long, "cc one.c", &long[..1_000]];
        let arguments = format!("[\"{long}\",\"b\"]");
        let mut processes = lines.map(process);
        for (at, process) in processes.iter_mut().enumerate() {
            let arguments = (at == 1).then_some(&*arguments);
            spool.shorten(process, arguments).unwrap();
        }
        spool.flush().unwrap();
        for (process, line) in processes.iter().zip(lines) {
            let whole = spool.whole(process).unwrap();
            assert_eq!(whole.program.command_line, Some(Text::from(line)));
            assert!(process.size() <= SHORT_SIZE_MAX + "…".len());
            assert_eq!(process.spooled.is_some(), line.len() > SHORT_SIZE_MAX);
        }
        let whole = spool.whole(&processes[1]).unwrap();
        let expected = [Text::from(&*long), Text::from("b")];
        assert_eq!(whole.program.arguments.as_deref(), Some(&expected[..]));
        assert_eq!(spool.whole(&processes[3]).unwrap().program.arguments, None);
    }

    #[test]
    fn the_first_of_a_list_is_found_without_its_end() {
        for (json, first) in [
            ("[\"a\\\"b\",\"c", Some("a\"b")),
            ("[\"a\"]", Some("a")),
            ("[]", None),
            ("[7]", None),
            ("[\"a", None),
            ("", None),
        ] {
            let mut program = Program::default();
            set_first_argument(&mut program, Some(json));
            let arguments = program.arguments.as_deref();
            let found = arguments.and_then(|list| list.first()).map(Text::shown);
            assert_eq!(found, first, "{json}");
        }
    }
}
