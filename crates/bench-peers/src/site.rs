//! What the workloads work on, made on the spot: programs, libraries, a C project, a `configure`.

use std::fmt::Write as _;
use std::fs;
use std::os::unix::fs::PermissionsExt as _;
use std::path::{Path, PathBuf};

use anyhow::{Context as _, Result};
use xtask::command::{program, run as run_command};
use xtask::workspace;

use super::family::MARK;

/// Libraries for one process to open.
pub(super) const LIBRARIES: u32 = 500;

/// Files of the C project. Each is compiled by a driver, a compiler and an assembler.
const SOURCES: u32 = 40;

/// Programs with a name of their own each, for the time from an exec to its line.
pub(super) const MARKS: u32 = 400;

const DLOPEN: &str = include_str!("site/dlopen.c");
const CONFIGURE: &str = include_str!("site/configure.sh");

/// The directory of a comparison.
pub(super) struct Site {
    directory: PathBuf,
}

impl Site {
    /// Makes everything anew.
    pub(super) fn build() -> Result<Self> {
        let site = Self {
            directory: workspace::target().join("bench/peers"),
        };
        if site.directory.exists() {
            fs::remove_dir_all(&site.directory).context("cannot remove the last comparison")?;
        }
        for name in ["run", "marks", "libraries", "project", "configure"] {
            let path = site.directory.join(name);
            fs::create_dir_all(&path).with_context(|| format!("cannot make {}", path.display()))?;
        }
        site.programs()?;
        site.libraries()?;
        site.project()?;
        site.configure()?;
        Ok(site)
    }

    pub(super) fn path(&self, name: &str) -> PathBuf {
        self.directory.join(name)
    }

    /// The program that does nothing, under a name only workloads use.
    pub(super) fn nothing(&self) -> PathBuf {
        self.directory.join(format!("{MARK}true"))
    }

    /// The same program under the name of one mark.
    pub(super) fn mark(&self, index: u32) -> PathBuf {
        self.directory.join("marks").join(mark_name(index))
    }

    /// An empty directory for what a recorder writes.
    pub(super) fn run_directory(&self) -> Result<PathBuf> {
        let path = self.directory.join("run");
        fs::remove_dir_all(&path).context("cannot remove what the last recorder wrote")?;
        fs::create_dir(&path).context("cannot make a directory for the recorder")?;
        // auditd refuses a directory that others can read.
        fs::set_permissions(&path, fs::Permissions::from_mode(0o700))?;
        Ok(path)
    }

    fn programs(&self) -> Result<()> {
        let nothing = self.nothing();
        fs::copy("/bin/true", &nothing).context("cannot copy /bin/true")?;
        for index in 0..MARKS {
            fs::hard_link(&nothing, self.mark(index)).context("cannot link a mark")?;
        }
        Ok(())
    }

    /// Copies are libraries of their own to the loader, for none has a name inside.
    fn libraries(&self) -> Result<()> {
        let directory = self.directory.join("libraries");
        let source = directory.join("library.c");
        let first = directory.join(library_name(0));
        fs::write(&source, "int number(void) { return 7; }\n")?;
        let mut command = program("cc");
        command.args(["-shared", "-fPIC", "-O1", "-o"]);
        run_command(command.arg(&first).arg(&source))?;
        for index in 1..LIBRARIES {
            fs::copy(&first, directory.join(library_name(index)))
                .context("cannot copy a library")?;
        }
        let source = self.directory.join("dlopen.c");
        fs::write(&source, DLOPEN)?;
        let mut command = program("cc");
        command
            .args(["-O1", "-o"])
            .arg(self.path("dlopen"))
            .arg(&source);
        run_command(command.arg("-ldl"))
    }

    fn project(&self) -> Result<()> {
        let directory = self.directory.join("project");
        let mut declarations = String::new();
        let mut calls = String::new();
        for index in 0..SOURCES {
            writeln!(declarations, "int part{index}(int value);")?;
            write!(calls, " + part{index}(count)")?;
            fs::write(directory.join(format!("part{index}.c")), part(index))?;
        }
        let main = format!(
            "#include \"parts.h\"\nint main(int count, char **v) {{ (void)v; return (0{calls}) & 1; }}\n"
        );
        fs::write(directory.join("parts.h"), declarations)?;
        fs::write(directory.join("main.c"), main)?;
        fs::write(directory.join("Makefile"), makefile()).context("cannot write the C project")
    }

    fn configure(&self) -> Result<()> {
        fs::write(self.directory.join("configure/configure"), CONFIGURE)
            .context("cannot write the configure script")
    }
}

/// Not [`MARK`]: the programs that find out whether a recorder is ready belong to no workload.
pub(super) const LATENCY_MARK: &str = "trail-";

pub(super) fn mark_name(index: u32) -> String {
    format!("{LATENCY_MARK}{index:06}")
}

fn library_name(index: u32) -> String {
    format!("{MARK}{index:03}.so")
}

/// One file of the project: enough for the compiler to have something to do.
fn part(index: u32) -> String {
    format!(
        "#include <stdio.h>\n#include <stdlib.h>\n#include <string.h>\n#include \"parts.h\"\n\
         static int table[64];\n\
         int part{index}(int value) {{\n\
         \x20   char text[32];\n\
         \x20   for (int i = 0; i < 64; i++) table[i] = (value * {index} + i) % 7;\n\
         \x20   snprintf(text, sizeof text, \"%d\", table[value & 63]);\n\
         \x20   return (int)strlen(text) + abs(table[0]);\n}}\n"
    )
}

fn makefile() -> String {
    let objects: Vec<String> = (0..SOURCES).map(|index| format!("part{index}.o")).collect();
    format!(
        "objects = main.o {}\n\nprogram: $(objects)\n\tcc -o $@ $(objects)\n\n\
         %.o: %.c parts.h\n\tcc -O1 -c -o $@ $<\n\n\
         again:\n\trm -f program $(objects)\n\t$(MAKE) program\n.PHONY: again\n",
        objects.join(" ")
    )
}

/// How much a directory or file holds, in bytes; nothing where it is not there.
pub(super) fn size(path: &Path) -> u64 {
    let Ok(metadata) = fs::metadata(path) else {
        return 0;
    };
    if !metadata.is_dir() {
        return metadata.len();
    }
    let entries = fs::read_dir(path).into_iter().flatten().flatten();
    entries.map(|entry| size(&entry.path())).sum()
}
