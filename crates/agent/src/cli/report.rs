//! The account of a run, as a table for a person and as a file for a script.

use std::fs::{self, File};
use std::io::{self, Write as _};
use std::path::{Path, PathBuf};
use std::time::Duration;

use systrail::account::{Account, Count};
use systrail::alert;
use systrail::sink::is_wrong_path;

use super::console::{self, say};
use super::{Failure, launch};

/// Prints the account as the last lines of standard error.
pub(super) fn print(account: &Account) {
    console::line(format_args!("{}", table(account)));
}

/// Says what became of the matches that were to be told to a command.
pub(super) fn print_alerts(counts: &alert::Counts) {
    let counts = alert::Outcome::NAMES.iter().zip(counts);
    let counts: Vec<String> = counts
        .map(|((name, _), count)| format!("{count} {}", name.replace('_', " ")))
        .collect();
    say!("alerts: {}", counts.join(", "));
}

/// The account as aligned columns, without the last line's end.
pub(super) fn table(account: &Account) -> String {
    let row = |name: &str, count: &Count| {
        let numbers = [count.produced, count.delivered, count.lost, count.excluded];
        let [produced, delivered, lost, excluded] = numbers.map(|number| number.to_string());
        [name.to_owned(), produced, delivered, lost, excluded]
    };
    let mut rows = vec![["", "produced", "delivered", "lost", "excluded"].map(str::to_owned)];
    let mut total = Count::default();
    for (kind, count) in account.kinds.told() {
        total.produced += count.produced;
        total.delivered += count.delivered;
        total.lost += count.lost;
        total.excluded += count.excluded;
        rows.push(row(kind.name().unwrap_or_default(), &count));
    }
    rows.push(row("total", &total));
    let duration = Duration::from_nanos(account.duration_ns).as_secs_f64();
    let mut lines = vec![format!("systrail: {duration:.3} s from {}", account.source)];
    lines.extend(aligned(&rows));
    for sink in &account.sinks {
        let (name, written, lost) = (&sink.name, sink.written, sink.lost);
        lines.push(format!("{name}: {written} written, {lost} lost"));
    }
    if let (Some(forwarded), Some(owed)) = (account.forwarded, account.owed) {
        lines.push(format!("forward: {forwarded} forwarded, {owed} owed"));
    }
    lines.push(if account.balanced {
        "balanced: produced = delivered + lost".to_owned()
    } else {
        "not balanced: produced is not delivered + lost".to_owned()
    });
    lines.join("\n")
}

/// Rows with the first column to the left and the others to the right.
pub(super) fn aligned<const N: usize>(rows: &[[String; N]]) -> Vec<String> {
    let width_of = |column: usize| rows.iter().map(|row| row[column].len()).max().unwrap_or(0);
    let widths: [usize; N] = std::array::from_fn(width_of);
    rows.iter()
        .map(|row| {
            let cells = row.iter().zip(widths).enumerate();
            let cells = cells.map(|(column, (cell, width))| match column {
                0 => format!("{cell:<width$}"),
                _ => format!("  {cell:>width$}"),
            });
            cells.collect::<String>()
        })
        .collect()
}

/// Refuses a path to which the account could not be written: when done it would be too late, and the
/// account lost to whoever asked for it.
pub(super) fn check_summary(path: &Path) -> Result<(), Failure> {
    check("summary", path)
}

/// The same of `what` else is written in the end.
pub(super) fn check(what: &str, path: &Path) -> Result<(), Failure> {
    if let Some(exposure) = launch::summary_exposure(path) {
        let path = path.display();
        return Err(Failure::usage(anyhow::anyhow!(
            "{what} {path}: {exposure}, and root's {what} does not go where others lead it; \
             remove the link, or name a file in a directory of root's"
        )));
    }
    let tried = if fs::metadata(path).is_ok_and(|metadata| !metadata.is_file()) {
        // Opening a pipe would wait for its reader, and be seen by it.
        Ok(())
    } else if is_open_already(path) {
        File::options().append(true).open(path).map(drop)
    } else if path.is_symlink() {
        let mut options = File::options();
        options.append(true).create(true).open(path).map(drop)
    } else {
        Unfinished::create(path).map(drop)
    };
    match tried {
        Err(error) if is_wrong_path(&error) => {
            let path = path.display();
            let cure = "name a file in a directory that can be written";
            Err(Failure::usage(anyhow::anyhow!(
                "{what} {path}: {error}; {cure}"
            )))
        }
        // A disk that is full now may have room in the end.
        _ => Ok(()),
    }
}

/// Writes the account as JSON. A regular file is replaced as a whole or not at all, and a link to one
/// stays a link.
pub(super) fn write_summary(path: &Path, account: &Account) -> anyhow::Result<()> {
    let mut text = serde_json::to_string_pretty(account)?;
    text.push('\n');
    write("summary", path, text.as_bytes())
}

/// Writes `what` a command ends with as [`write_summary`] does.
pub(super) fn write(what: &str, path: &Path, bytes: &[u8]) -> anyhow::Result<()> {
    let written = if launch::summary_exposure(path).is_some() {
        // Somebody put it there meanwhile: the summary takes its place.
        replace(path, bytes)
    } else if is_open_already(path) {
        // Not cut short: what was written to it before, the log perhaps, stays.
        let file = File::options().append(true).open(path);
        file.and_then(|mut file| file.write_all(bytes))
    } else if path.is_symlink() || fs::metadata(path).is_ok_and(|metadata| !metadata.is_file()) {
        // A pipe or a device is written to, and so is what a link leads to: replacing would put a
        // file in its place, for everybody on the machine where it is one of /dev.
        write_to(path, bytes)
    } else {
        replace(path, bytes)
    };
    written.map_err(|error| anyhow::anyhow!("{what} {}: {error}", path.display()))
}

/// Writes to what is there; a pipe that nobody reads is an error and not waited for.
fn write_to(path: &Path, bytes: &[u8]) -> io::Result<()> {
    let mut options = File::options();
    options.write(true).create(true).truncate(true);
    #[cfg(unix)]
    std::os::unix::fs::OpenOptionsExt::custom_flags(&mut options, libc::O_NONBLOCK);
    match options.open(path) {
        #[cfg(unix)]
        Err(error) if error.raw_os_error() == Some(libc::ENXIO) => Err(io::Error::new(
            io::ErrorKind::BrokenPipe,
            "nobody reads this pipe; start the reader first",
        )),
        file => file?.write_all(bytes),
    }
}

/// Whether the path is a name for a file this process has open, as `/dev/stdout` is.
fn is_open_already(path: &Path) -> bool {
    let target = fs::read_link(path).unwrap_or_default();
    path.starts_with("/dev/fd") || path.starts_with("/proc") || target.starts_with("/proc")
}

fn replace(path: &Path, bytes: &[u8]) -> io::Result<()> {
    let mut new = Unfinished::create(path)?;
    new.file.write_all(bytes)?;
    new.finish()
}

/// A file that takes its name once it is whole, and goes away if that never happens.
#[derive(Debug)]
pub(super) struct Unfinished {
    pub(super) file: File,
    new: PathBuf,
    path: PathBuf,
}

impl Unfinished {
    /// A new file beside `path`, whose place it is to take.
    pub(super) fn create(path: &Path) -> io::Result<Self> {
        let mut name = path.file_name().unwrap_or_default().to_owned();
        name.push(format!(".{}.new", std::process::id()));
        let new = path.with_file_name(name);
        let file = match File::create_new(&new) {
            // Left by one that was killed and had this id, as in a container every recorder has.
            Err(error) if error.kind() == io::ErrorKind::AlreadyExists => {
                fs::remove_file(&new)?;
                File::create_new(&new)
            }
            created => created,
        };
        Ok(Self {
            file: file?,
            new,
            path: path.to_path_buf(),
        })
    }

    /// Gives it its name, once its bytes are on the disk.
    pub(super) fn finish(self) -> io::Result<()> {
        self.file.sync_all()?;
        fs::rename(&self.new, &self.path)
    }
}

impl Drop for Unfinished {
    fn drop(&mut self) {
        // Not there any more when it was renamed, which is what should be.
        let _gone = fs::remove_file(&self.new);
    }
}

#[cfg(test)]
mod tests {
    use event::Kind;
    use systrail::account::{Account, Count, SinkCount};

    use super::{table, write_summary};

    #[test]
    fn the_table_is_aligned_and_ends_with_the_balance() {
        let mut account = Account {
            source: "ebpf".to_owned(),
            duration_ns: 1_500_000_000,
            balanced: true,
            ..Account::default()
        };
        *account.kinds.of(Kind::PROCESS_EXEC).unwrap() = Count {
            produced: 12_345,
            delivered: 12_345,
            ..Count::default()
        };
        account.sinks.push(SinkCount {
            name: "log".to_owned(),
            written: 3,
            ..SinkCount::default()
        });
        let table = table(&account);
        let lines: Vec<&str> = table.lines().collect();
        assert_eq!(lines[0], "systrail: 1.500 s from ebpf");
        assert_eq!(
            lines[1],
            "               produced  delivered  lost  excluded"
        );
        assert_eq!(
            lines[3],
            "process_exec      12345      12345     0         0"
        );
        assert_eq!(lines[lines.len() - 2], "log: 3 written, 0 lost");
        assert_eq!(lines.last(), Some(&"balanced: produced = delivered + lost"));
    }

    #[test]
    fn a_summary_replaces_the_old_one_and_leaves_nothing_beside_it() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("account.json");
        std::fs::write(&path, "old").unwrap();
        write_summary(&path, &Account::default()).unwrap();
        let read: Account = serde_json::from_slice(&std::fs::read(&path).unwrap()).unwrap();
        assert_eq!(read, Account::default());
        assert_eq!(std::fs::read_dir(directory.path()).unwrap().count(), 1);
    }

    #[test]
    fn a_summary_is_written_where_one_with_this_id_was_killed_before() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("account.json");
        let left = format!("account.json.{}.new", std::process::id());
        std::fs::write(directory.path().join(left), "half").unwrap();
        write_summary(&path, &Account::default()).unwrap();
        let names = std::fs::read_dir(directory.path()).unwrap();
        assert_eq!(names.count(), 1, "the summary alone");
    }

    /// A recording that had ended waited for the reader of its summary, without a word.
    #[cfg(unix)]
    #[test]
    fn a_pipe_that_nobody_reads_is_an_error() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("pipe");
        nix::unistd::mkfifo(&path, nix::sys::stat::Mode::S_IRWXU).unwrap();
        let error = write_summary(&path, &Account::default()).unwrap_err();
        assert!(error.to_string().contains("nobody reads"), "{error}");
        let reader = std::fs::File::options()
            .read(true)
            .write(true)
            .open(&path)
            .unwrap();
        write_summary(&path, &Account::default()).unwrap();
        drop(reader);
    }

    #[cfg(unix)]
    #[test]
    fn a_summary_goes_to_where_a_link_leads() {
        let directory = tempfile::tempdir().unwrap();
        let (path, link) = (directory.path().join("file"), directory.path().join("link"));
        std::os::unix::fs::symlink(&path, &link).unwrap();
        for _ in 0..2 {
            write_summary(&link, &Account::default()).unwrap();
            let read: Account = serde_json::from_slice(&std::fs::read(&path).unwrap()).unwrap();
            assert_eq!(read, Account::default());
            assert!(link.is_symlink());
        }
    }
}
