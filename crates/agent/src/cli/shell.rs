//! `systrail query` without a query: one after the other on a terminal, each of the store as it is then.

use std::env;
use std::fs;
use std::io;
use std::os::unix::fs::MetadataExt as _;
use std::path::{Path, PathBuf};

use rustyline::completion::Completer;
use rustyline::error::ReadlineError;
use rustyline::highlight::Highlighter;
use rustyline::hint::Hinter;
use rustyline::history::DefaultHistory;
use rustyline::validate::{ValidationContext, ValidationResult, Validator};
use rustyline::{CompletionType, Config, Context, Editor, Helper};
use systrail::query::{EXAMPLES, Format, editing};
use systrail::store::views;
use systrail::sys::wake::Waker;

use super::console::{self, say};
use super::options::named;
use super::query::{Arguments, schema};
use super::{Exit, Failure, stop};

/// Queries that are remembered from one time to the next.
const HISTORY_COUNT_MAX: usize = 1_000;

/// Bytes of the longest query that is remembered.
const REMEMBERED_SIZE_MAX: usize = 16 << 10;

const PROMPT: &str = "systrail> ";

/// Asks for queries until there are no more.
pub(super) fn main(arguments: &Arguments, directory: &Path) -> Result<Exit, Failure> {
    let config = Config::builder()
        .max_history_size(HISTORY_COUNT_MAX)?
        .history_ignore_space(true)
        .completion_type(CompletionType::List)
        .build();
    let mut editor: Editor<Words, DefaultHistory> = Editor::with_config(config)?;
    editor.set_helper(Some(Words));
    let history = history_file();
    if let Some(history) = &history {
        // There is none the first time, and what cannot be read is not missed.
        let _read = editor.load_history(history);
    }
    say!("asking the store {}; .help tells how", directory.display());
    let mut shell = Shell {
        arguments,
        directory,
        format: arguments.format(),
    };
    loop {
        // What was said before stands above the prompt.
        console::finish();
        match editor.readline(PROMPT) {
            Ok(text) => {
                remember(&mut editor, &text);
                if shell.take(text.trim())? == Next::End {
                    break;
                }
            }
            Err(ReadlineError::Interrupted) => {}
            Err(ReadlineError::Eof) => break,
            Err(error) => return Err(error.into()),
        }
    }
    if let Some(history) = &history
        && let Err(error) = save(&mut editor, history)
    {
        say!("the history is not kept in {}: {error}", history.display());
    }
    Ok(Exit::Done)
}

fn remember(editor: &mut Editor<Words, DefaultHistory>, text: &str) {
    let text = text.trim();
    if !text.is_empty() && text.len() <= REMEMBERED_SIZE_MAX {
        // It is not a second time in a row in it, and then says so.
        let _added = editor.add_history_entry(text);
    }
}

fn save(editor: &mut Editor<Words, DefaultHistory>, path: &Path) -> Result<(), anyhow::Error> {
    if let Some(directory) = path.parent() {
        fs::create_dir_all(directory)?;
    }
    editor.save_history(path)?;
    Ok(())
}

/// Where the history is kept; nowhere where there is no home, or it belongs to somebody else: under
/// `sudo` it may be that of another user, who could have put a link in it.
fn history_file() -> Option<PathBuf> {
    const NAME: &str = "systrail/query-history";
    let home = |name: &str| {
        env::var_os(name)
            .map(PathBuf::from)
            .filter(|path| path.is_absolute())
    };
    let (owned, directory) = if let Some(state) = home("XDG_STATE_HOME") {
        (state.clone(), state)
    } else {
        let home = home("HOME")?;
        (home.clone(), home.join(".local/state"))
    };
    is_own(&owned).then(|| directory.join(NAME))
}

fn is_own(directory: &Path) -> bool {
    let owner = fs::metadata(directory).map(|data| data.uid());
    owner.is_ok_and(|owner| owner == nix::unistd::geteuid().as_raw())
}

/// What comes after a query or a command.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Next {
    Prompt,
    End,
}

struct Shell<'a> {
    arguments: &'a Arguments,
    directory: &'a Path,
    format: Format,
}

impl Shell<'_> {
    /// Does what was typed.
    fn take(&mut self, text: &str) -> io::Result<Next> {
        if text.starts_with('.') {
            return self.command(text);
        }
        if !text.is_empty() {
            self.ask(text)?;
        }
        Ok(Next::Prompt)
    }

    fn ask(&self, sql: &str) -> io::Result<()> {
        let waker = Waker::new()?;
        let listening = stop::on_interrupt(&waker)?;
        let asked = self.arguments.ask(self.directory, sql, self.format, waker);
        drop(listening);
        if let Err(Failure { error, .. }) = asked {
            console::fail(&error);
        }
        Ok(())
    }

    fn command(&mut self, text: &str) -> io::Result<Next> {
        let (name, argument) = text.split_once(char::is_whitespace).unwrap_or((text, ""));
        let argument = argument.trim().trim_end_matches(';').trim_end();
        match name.trim_end_matches(';') {
            ".quit" | ".exit" => return Ok(Next::End),
            ".help" => console::result(&help())?,
            ".examples" => console::result(&examples())?,
            ".example" => self.example(argument)?,
            ".format" => match named(argument, &Format::NAMES) {
                Some(format) => self.format = format,
                None => say!("there are the formats table, json, jsonl and csv"),
            },
            ".schema" if argument.is_empty() => console::result(&schema(None))?,
            ".schema" => match schema(Some(argument)) {
                none if none.is_empty() => {
                    say!("there is no view {argument:?}; there are {}", names());
                }
                told => console::result(&told)?,
            },
            other => say!("there is no command {other}; .help lists them"),
        }
        Ok(Next::Prompt)
    }

    fn example(&self, number: &str) -> io::Result<()> {
        let index = number
            .parse::<usize>()
            .ok()
            .and_then(|number| number.checked_sub(1));
        let Some(example) = index.and_then(|index| EXAMPLES.get(index)) else {
            say!(
                "there are the examples 1 to {}; .examples lists them",
                EXAMPLES.len()
            );
            return Ok(());
        };
        console::result(&format!("{};\n", example.sql))?;
        self.ask(example.sql)
    }
}

fn names() -> String {
    let names: Vec<&str> = views().iter().map(|view| view.name).collect();
    names.join(", ")
}

fn help() -> String {
    let lines = editing::COMMANDS.iter().map(|command| {
        let usage = format!("{} {}", command.name, command.argument);
        format!("{usage:<18} {}\n", command.about)
    });
    let last = "A query ends with ; or an empty line.\n\
                Tab completes, Ctrl-R looks in the history, Ctrl-C ends a query.\n";
    lines.chain([last.to_owned()]).collect()
}

fn examples() -> String {
    let questions = EXAMPLES.iter().map(|example| example.question);
    let numbered = questions.zip(1..);
    let lines = numbered.map(|(question, number)| format!("{number:>3}  {question}\n"));
    let last = ".example NUMBER asks one and shows how\n";
    lines.chain([last.to_owned()]).collect()
}

/// What the editor asks about the text.
#[derive(Debug)]
struct Words;

impl Helper for Words {}

impl Highlighter for Words {}

impl Hinter for Words {
    type Hint = String;
}

impl Validator for Words {
    fn validate(&self, context: &mut ValidationContext<'_>) -> rustyline::Result<ValidationResult> {
        Ok(if editing::is_whole(context.input()) {
            ValidationResult::Valid(None)
        } else {
            ValidationResult::Incomplete
        })
    }
}

impl Completer for Words {
    type Candidate = String;

    fn complete(
        &self,
        line: &str,
        position: usize,
        _context: &Context<'_>,
    ) -> rustyline::Result<(usize, Vec<String>)> {
        Ok(editing::candidates(
            line.get(..position).unwrap_or_default(),
        ))
    }
}
