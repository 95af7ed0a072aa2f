//! What a process runs: image, command line, user, script.

use std::borrow::Cow;
use std::sync::Arc;

use event::process::Context;
use event::{Extension, Flags, Header, Place, Scope, process};

use super::image_path::{ImagePath, ImagePaths, path, shown, split};
use super::user::{Name as UserName, Users, sid_text};
use crate::environment::Names;
use crate::rules::Runs;
use crate::sys::processes;
use crate::trail::{self, Name, Text, UserId, missing};

/// The program of a process, with what is known to be wrong with each of its fields.
#[derive(Clone, Debug, Default)]
pub struct Program {
    /// As the trail shows it.
    pub trail: trail::Program,
    /// Fields that were cut.
    pub truncated: Vec<Name>,
    /// Fields that could not be had.
    pub missing: Vec<(Name, Name)>,
    /// Whether the arguments were forgotten, for they were too much to remember.
    is_shortened: bool,
}

impl Program {
    /// Forgets the arguments. A child does not have them from here then.
    pub fn forget_arguments(&mut self) {
        self.trail.forget_arguments();
        self.is_shortened = true;
    }

    /// The command line as bytes.
    pub fn command_line(&self) -> &[u8] {
        self.trail.command_line.as_ref().map_or(&[], bytes)
    }

    /// Cuts the command line and the arguments to so many bytes.
    pub fn cut_command_line(&mut self, size: usize) {
        self.trail.command_line = self.trail.command_line.take().map(|line| cut(&line, size));
        self.trail.arguments = self.trail.arguments.take().map(|all| cut_list(&all, size));
        let fields = [
            Some("command_line"),
            self.trail.arguments.as_ref().map(|_| "arguments"),
        ];
        for field in fields.into_iter().flatten() {
            if !self.is_cut(field) {
                self.truncated.push(field.into());
            }
        }
    }

    /// The variables of the environment as bytes, each ended by a NUL byte.
    pub fn environment(&self) -> Vec<u8> {
        let variables = self.trail.environment.iter().flat_map(|all| all.iter());
        let ended = variables.flat_map(|variable| [bytes(variable), b"\0"]);
        ended.flatten().copied().collect()
    }

    /// Cuts the environment to so many bytes.
    pub fn cut_environment(&mut self, size: usize) {
        let cut = self
            .trail
            .environment
            .take()
            .map(|all| cut_list(&all, size));
        self.trail.environment = cut.filter(|all| !all.is_empty());
        if !self.is_cut("environment") {
            self.truncated.push("environment".into());
        }
    }

    /// Whether a field was cut.
    pub fn is_cut(&self, field: &str) -> bool {
        self.truncated.iter().any(|name| name == field)
    }

    /// The command line's first bytes, where it has more than so many.
    pub fn short_command_line(&self, size: usize) -> Option<Text> {
        let line = self.trail.command_line.as_ref()?;
        (bytes(line).len() > size).then(|| cut(line, size))
    }

    /// Whether nothing of it was forgotten.
    pub const fn is_whole(&self) -> bool {
        !self.is_shortened
    }

    /// The path of its image, where that is known and of the same file.
    pub fn path_of(&self, path: &ImagePath) -> Option<ImagePath> {
        let trail = &self.trail;
        let is_file = path.inode.is_some() && path.device.is_some();
        let is_it = is_file && trail.inode == path.inode && trail.device == path.device;
        (is_it && trail.image.is_some()).then(|| ImagePath {
            text: trail.image.clone(),
            scope: trail.path_scope.clone(),
            device: trail.device.clone(),
            inode: trail.inode,
            mount_namespace: trail.mount_namespace,
        })
    }

    /// Why `field` is missing.
    pub fn missing_reason(&self, field: &str) -> Option<Name> {
        self.missing
            .iter()
            .find(|(name, _)| name == field)
            .map(|(_, reason)| reason.clone())
    }

    /// The sensor cannot tell for whom the process runs.
    pub fn user_unavailable(&mut self) {
        self.trail.user = None;
        self.trail.user_id = None;
        self.forget_reasons(&["user", "user_id"]);
        self.forget_asked();
        self.lacks(&["user", "user_id"], missing::UNAVAILABLE);
    }

    /// Says where nobody could be asked who logged in, though the real user is known.
    pub fn check_login(&mut self, flags: Flags) {
        if flags.contains(Flags::LOGIN_UNAVAILABLE) {
            self.lacks(&["login_user_id"], missing::UNAVAILABLE);
        }
    }

    fn forget_asked(&mut self) {
        self.trail.real_user = None;
        self.trail.real_user_id = None;
        self.trail.login_user = None;
        self.trail.login_user_id = None;
        self.forget_reasons(&["real_user", "real_user_id", "login_user", "login_user_id"]);
    }

    /// The name that is to be told in `field`, and why there is none.
    fn name_in(&mut self, field: &'static str, name: UserName) -> Option<Arc<str>> {
        match name {
            UserName::Is(name) => return Some(name),
            UserName::None => self.lacks(&[field], missing::UNKNOWN),
            UserName::Unanswered => self.lacks(&[field], missing::UNANSWERED),
        }
        None
    }

    /// That of a process of which nobody knows what it runs, because what told it was lost.
    pub fn lost(header: &Header) -> Self {
        let mut program = Self::default();
        program.lacks(&["image"], missing::LOST);
        program.lacks(command_line_fields(header.flags), missing::LOST);
        program
    }

    /// Whether it is one of those.
    pub fn is_lost(&self) -> bool {
        self.missing_reason("image").as_deref() == Some(missing::LOST)
    }

    /// As rules see it.
    pub fn runs(&self) -> Runs<'_> {
        Runs {
            program: &self.trail,
            truncated: &self.truncated,
            missing: &self.missing,
            is_whole: self.is_whole(),
        }
    }

    fn set_user(&mut self, user_id: UserId, name: UserName) {
        self.forget_reasons(&["user", "user_id"]);
        self.trail.user_id = Some(user_id);
        self.trail.user = self.name_in("user", name);
    }

    fn lacks(&mut self, fields: &[&'static str], reason: &'static str) {
        self.missing.extend(
            fields
                .iter()
                .map(|field| (Name::from(*field), reason.into())),
        );
    }

    fn forget_reasons(&mut self, fields: &[&str]) {
        self.missing
            .retain(|(name, _)| !fields.contains(&name.as_ref()));
    }

    fn set_image(&mut self, image: &[u8], flags: Flags, paths: &mut ImagePaths) {
        let ImagePath {
            text,
            scope,
            device,
            inode,
            mount_namespace,
        } = paths.path(image, flags);
        if text.is_none() {
            self.lacks(&["image"], missing::GONE);
        }
        self.trail.image = text;
        self.trail.image_deleted = flags.contains(Flags::IMAGE_DELETED);
        self.trail.path_scope = scope;
        self.trail.device = device;
        self.trail.inode = inode;
        self.trail.mount_namespace = mount_namespace;
        // What may be a part of a name is not the whole.
        let cut = [Flags::IMAGE_TRUNCATED, Flags::IMAGE_PARTIAL];
        if cut.iter().any(|flag| flags.contains(*flag)) {
            self.truncated.push("image".into());
        }
    }

    fn set_script(&mut self, exec: &process::Exec<'_>, flags: Flags) {
        if exec.script.is_empty() {
            return;
        }
        let is_cut = flags.contains(Flags::SCRIPT_TRUNCATED);
        if is_cut {
            self.truncated.push("script".into());
        }
        let (mut directory, mut place) = (Vec::new(), Place::default());
        if !exec.directory.is_empty() {
            let (bytes, found) = split(exec.directory, flags);
            (directory, place) = (path(bytes, flags), found);
        }
        if flags.contains(Flags::SCRIPT_DELETED) && place.scope == Scope::HOST {
            place.scope = Scope::NONE;
        }
        // Which file that was only the process could have told.
        if is_in_proc(exec.script) {
            place.scope = Scope::UNKNOWN;
        }
        let script = script(exec.script, &directory);
        self.trail.script = Some(Text::from_bytes(shown(&script, place.scope, is_cut)));
        self.trail.script_scope = place.scope.name().map(Cow::Borrowed);
    }

    /// Tells of the variables that are asked for by these names.
    fn set_environment(&mut self, context: Option<&Context<'_>>, names: &Names) {
        let Some(context) = context else {
            return self.lacks(&["environment"], missing::UNAVAILABLE);
        };
        if context.flags.contains(Flags::COMMAND_LINE_UNAVAILABLE) {
            return self.lacks(&["environment"], missing::GONE);
        }
        let (told, is_cut) = names.told(context.environment);
        if is_cut || context.flags.contains(Flags::COMMAND_LINE_TRUNCATED) {
            self.truncated.push("environment".into());
        }
        self.trail.environment = (!told.is_empty()).then(|| told.into());
    }

    fn set_command_line(&mut self, command_line: &[u8], flags: Flags) {
        let fields = command_line_fields(flags);
        if flags.contains(Flags::COMMAND_LINE_UNAVAILABLE) {
            self.lacks(fields, missing::GONE);
            return;
        }
        if flags.contains(Flags::UTF_16) {
            self.trail.command_line = Some(Text::from_utf_16(command_line));
        } else {
            let (line, arguments) = line_and_arguments(command_line);
            self.trail.command_line = Some(line);
            self.trail.arguments = Some(arguments);
        }
        if flags.contains(Flags::COMMAND_LINE_TRUNCATED) {
            self.truncated
                .extend(fields.iter().map(|field| Name::from(*field)));
        }
    }
}

/// Whether the start itself says what runs. On Linux a child runs its creator's program until it
/// execs; on Windows, whose texts are UTF-16, none does, even where the kernel gives no name.
pub fn is_told(header: &Header, start: &process::Start<'_>) -> bool {
    let told = [Flags::EXISTING, Flags::UTF_16];
    !start.image.is_empty() || told.iter().any(|flag| header.flags.contains(*flag))
}

/// Makes programs from records; knows the users.
#[derive(Debug, Default)]
pub struct Programs {
    users: Users,
    /// The variables of the environment that are told.
    environment: Names,
}

impl Programs {
    /// These variables of the environment are told from now on.
    pub fn tell_environment(&mut self, names: Names) {
        self.environment = names;
    }

    /// The names of the variables that are to be told of what the header is about; `None` where that is
    /// not of this system.
    fn names(&self, flags: Flags) -> Option<&Names> {
        let is_of_linux = cfg!(not(windows)) && !flags.contains(Flags::UTF_16);
        (is_of_linux && !self.environment.is_empty()).then_some(&self.environment)
    }

    /// Says why no variables are told, where any are asked for.
    fn lacks_environment(&self, program: &mut Program, flags: Flags, reason: &'static str) {
        if self.names(flags).is_some() {
            program.lacks(&["environment"], reason);
        }
    }

    /// That of a process of which nobody knows what it runs, because what told it was lost.
    pub fn lost(&self, header: &Header) -> Program {
        let mut program = Program::lost(header);
        self.lacks_environment(&mut program, header.flags, missing::LOST);
        program
    }

    /// The program of a process whose start says it, or whose creator nobody knows.
    pub fn at_start(
        &self,
        header: &Header,
        (start, extension): (&process::Start<'_>, &Extension<'_>),
        paths: &mut ImagePaths,
    ) -> Program {
        let mut program = Program::default();
        if header.flags.contains(Flags::KERNEL_PROCESS) {
            program.lacks(&["image"], missing::KERNEL_THREAD);
            program.lacks(command_line_fields(header.flags), missing::KERNEL_THREAD);
        } else if is_told(header, start) {
            let unnamed = start.image.is_empty();
            let flags = if unnamed {
                header.flags.with(Flags::IMAGE_UNAVAILABLE)
            } else {
                header.flags
            };
            program.set_image(start.image, flags, paths);
            program.set_command_line(start.command_line, flags);
            if let Some(names) = self.names(header.flags) {
                program.set_environment(extension.context(), names);
            }
        } else {
            return self.unknown(header, paths);
        }
        program
    }

    /// The program of a process whose start was not seen, from the system if it is still there.
    pub fn unknown(&self, header: &Header, paths: &mut ImagePaths) -> Program {
        let mut program = Program::default();
        if let Some(found) = processes::program(header.process_id, header.start_time) {
            program.set_image(&found.image, found.flags, paths);
            program.set_command_line(&found.command_line, found.flags);
            self.lacks_environment(&mut program, header.flags, missing::UNAVAILABLE);
        } else {
            let reason = if processes::are_told() {
                missing::LOST
            } else {
                missing::UNAVAILABLE
            };
            program.lacks(&["image"], reason);
            program.lacks(command_line_fields(header.flags), reason);
            self.lacks_environment(&mut program, header.flags, reason);
        }
        program
    }

    /// The program an exec put in place.
    pub fn at_exec(
        &self,
        header: &Header,
        (exec, extension): (&process::Exec<'_>, &Extension<'_>),
        paths: &mut ImagePaths,
    ) -> Program {
        let mut program = Program::default();
        program.set_image(exec.image, header.flags, paths);
        program.set_command_line(exec.command_line, header.flags);
        program.set_script(exec, header.flags);
        if let Some(names) = self.names(header.flags) {
            program.set_environment(extension.context(), names);
        }
        program
    }

    /// Says for whom the program runs and, where the record does, who asked for it; names are asked
    /// for at `now` on the sensor's clock.
    pub fn set_user(
        &mut self,
        program: &mut Program,
        user_id: u32,
        extension: &Extension<'_>,
        now: u64,
    ) {
        let name = self.users.name(user_id, now);
        program.set_user(UserId::Uid(user_id), name);
        program.forget_asked();
        let Some(asked) = extension.users() else {
            return program.lacks(&["real_user_id", "login_user_id"], missing::UNAVAILABLE);
        };
        let real = asked.real_user_id;
        if real != user_id {
            program.trail.real_user_id = Some(real);
            program.trail.real_user = program.name_in("real_user", self.users.name(real, now));
        }
        let login = asked.login_user_id;
        if login != process::Users::NOBODY {
            program.trail.login_user_id = Some(login);
            program.trail.login_user = program.name_in("login_user", self.users.name(login, now));
        }
    }

    /// Says for whom the program runs on Windows. A SID that is none is a user nobody knows.
    pub fn set_user_sid(&mut self, program: &mut Program, sid: &[u8], now: u64) {
        let Some(text) = sid_text(sid) else {
            return program.user_unavailable();
        };
        let name = self.users.name_of_sid(sid, now);
        program.set_user(UserId::Sid(text), name);
    }
}

/// The fields a command line is told in: the list of arguments is Linux's.
const fn command_line_fields(flags: Flags) -> &'static [&'static str] {
    if cfg!(windows) || flags.contains(Flags::UTF_16) {
        &["command_line"]
    } else {
        &["command_line", "arguments"]
    }
}

/// What a text was made of. On Windows that is UTF-16, of which only what is shown can be cut.
fn bytes(text: &Text) -> &[u8] {
    let raw = if cfg!(windows) { None } else { text.raw() };
    raw.unwrap_or_else(|| text.shown().as_bytes())
}

/// The text's first bytes.
fn cut(text: &Text, size: usize) -> Text {
    let whole = bytes(text);
    match whole.get(..size) {
        None => text.clone(),
        // A character is not torn.
        Some(_) if whole.len() == text.shown().len() => {
            let end = text.shown().floor_char_boundary(size);
            text.shown().get(..end).map(Text::from).unwrap_or_default()
        }
        Some(first) => Text::from_bytes(first),
    }
}

/// The first bytes of a list of texts.
fn cut_list(texts: &[Text], size: usize) -> Arc<[Text]> {
    let mut left = size;
    let first = texts.iter().map_while(|text| {
        let told = (left > 0).then(|| cut(text, left));
        left = left.saturating_sub(bytes(text).len() + 1);
        told
    });
    first.collect()
}

/// A command line in which each argument is ended by a NUL byte: as one line, the arguments joined
/// by single spaces as `ps` shows them, and as a list.
fn line_and_arguments(bytes: &[u8]) -> (Text, Arc<[Text]>) {
    if bytes.is_empty() {
        return (Text::default(), Arc::default());
    }
    let rest = bytes.strip_suffix(b"\0").unwrap_or(bytes);
    #[expect(
        clippy::naive_bytecount,
        reason = "a command line is short; this takes no crate"
    )]
    let count = 1 + rest.iter().filter(|byte| **byte == 0).count();
    let mut arguments = Vec::with_capacity(count);
    // A NUL byte is a character by itself: where the whole is valid, so is each argument.
    if let Ok(text) = str::from_utf8(rest) {
        let mut line = String::with_capacity(text.len());
        let mut left = text;
        // By bytes: most arguments are too short for anything cleverer.
        while let Some(end) = left.bytes().position(|byte| byte == 0) {
            let (argument, behind) = left.split_at(end);
            arguments.push(Text::from(argument));
            line.push_str(argument);
            line.push(' ');
            left = behind.get(1..).unwrap_or_default();
        }
        arguments.push(Text::from(left));
        line.push_str(left);
        return (Text::from(&*line), arguments.into());
    }
    arguments.extend(rest.split(|byte| *byte == 0).map(Text::from_bytes));
    let space = |byte: &u8| if *byte == 0 { b' ' } else { *byte };
    let line: Vec<u8> = rest.iter().map(space).collect();
    (Text::from_bytes(&line), arguments.into())
}

/// The absolute path of a script: as it was given, below where that begins where it is known.
fn script(given: &[u8], directory: &[u8]) -> Vec<u8> {
    if directory.is_empty() {
        return given.to_vec();
    }
    let mut given = below_descriptor(given).unwrap_or(given);
    while let Some(rest) = given.strip_prefix(b"./") {
        given = rest;
    }
    let mut path = directory.to_vec();
    match (path.ends_with(b"/"), given.starts_with(b"/")) {
        (true, true) => path.truncate(path.len() - 1),
        (false, false) if !given.is_empty() => path.push(b'/'),
        _ => {}
    }
    path.extend_from_slice(given);
    path
}

/// Whether a caller named a file by a link of `/proc` that leads to what a process has open, its root or
/// its directory.
fn is_in_proc(given: &[u8]) -> bool {
    let rest = given.strip_prefix(b"/proc/").unwrap_or_default();
    let mut components = rest.split(|byte| *byte == b'/').skip(1);
    components
        .any(|component| matches!(component, b"fd" | b"map_files" | b"root" | b"cwd" | b"exe"))
}

/// What the kernel's name for a file that was given by a descriptor has beyond the descriptor:
/// nothing, or a path below it.
fn below_descriptor(given: &[u8]) -> Option<&[u8]> {
    let rest = given.strip_prefix(b"/dev/fd/")?;
    let digits = rest.iter().take_while(|byte| byte.is_ascii_digit()).count();
    let rest = rest.get(digits..).filter(|_| digits > 0)?;
    match rest {
        [] => Some(rest),
        [b'/', path @ ..] => Some(path),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::sys::volumes::Volumes;

    #[test]
    fn names_a_script_by_its_whole_path() {
        assert_eq!(script(b"/bin/x.sh", b""), b"/bin/x.sh");
        assert_eq!(script(b"./x.sh", b"/tmp"), b"/tmp/x.sh");
        assert_eq!(script(b"x.sh", b"/"), b"/x.sh");
        assert_eq!(script(b"../x.sh", b"/tmp/a"), b"/tmp/a/../x.sh");
        // In another root than the host's.
        assert_eq!(script(b"/bin/x.sh", b"/"), b"/bin/x.sh");
        assert_eq!(script(b"/bin/x.sh", b"/jail"), b"/jail/bin/x.sh");
        // By a descriptor of the script, and of a directory.
        assert_eq!(script(b"/dev/fd/3", b"/tmp/x.sh"), b"/tmp/x.sh");
        assert_eq!(script(b"/dev/fd/12/a/x.sh", b"/tmp"), b"/tmp/a/x.sh");
        assert_eq!(script(b"/dev/fd/x.sh", b"/"), b"/dev/fd/x.sh");
        for link in [
            "/proc/self/fd/3",
            "/proc/7/task/8/fd/3",
            "/proc/self/cwd/x.sh",
        ] {
            assert!(is_in_proc(link.as_bytes()), "{link}");
        }
        assert!(!is_in_proc(b"/proc/self/x.sh") && !is_in_proc(b"/tmp/fd/x.sh"));
        assert_eq!(script(b"/dev/fd/3", b""), b"/dev/fd/3");
    }

    #[test]
    fn splits_arguments_and_keeps_empty_ones() {
        let texts = |bytes: &[u8]| -> (String, Vec<String>) {
            let (line, arguments) = line_and_arguments(bytes);
            let shown = |text: &Text| text.shown().to_owned();
            (shown(&line), arguments.iter().map(shown).collect())
        };
        let strings = |list: &[&str]| list.iter().map(|text| (*text).to_owned()).collect();
        for (bytes, line, arguments) in [
            (&b"sh\0-c\0\0"[..], "sh -c ", &["sh", "-c", ""][..]),
            (b"sh\0-c\0cut", "sh -c cut", &["sh", "-c", "cut"]),
            (b"sh\0-c\0exit 3\0", "sh -c exit 3", &["sh", "-c", "exit 3"]),
            (b"\0", "", &[""]),
            (b"", "", &[]),
        ] {
            assert_eq!(texts(bytes), (line.to_owned(), strings(arguments)));
        }
    }

    #[test]
    fn an_argument_that_is_no_unicode_leaves_the_others_as_they_are() {
        let (line, arguments) = line_and_arguments(b"ls\0\xff\0\xc3\xa9\0");
        assert_eq!(line.raw(), Some(&b"ls \xff \xc3\xa9"[..]));
        let raw: Vec<_> = arguments.iter().map(Text::raw).collect();
        assert_eq!(raw, [None, Some(&b"\xff"[..]), None]);
        let shown: Vec<_> = arguments.iter().map(Text::shown).collect();
        assert_eq!(shown, ["ls", "\u{fffd}", "\u{e9}"]);
    }

    #[test]
    fn a_command_line_is_cut_with_its_arguments() {
        let mut program = Program::default();
        program.set_command_line("ls\0-l\0\u{e9}\u{e9}\0--all\0".as_bytes(), Flags::NONE);
        let shown = |program: &Program| {
            let arguments = program.trail.arguments.iter().flat_map(|all| all.iter());
            let arguments: Vec<_> = arguments.map(|text| text.shown().to_owned()).collect();
            let line = program.trail.command_line.clone().unwrap_or_default();
            (line.shown().to_owned(), arguments.join("|"))
        };
        for (size, line, arguments) in [
            (100, "ls -l \u{e9}\u{e9} --all", "ls|-l|\u{e9}\u{e9}|--all"),
            (13, "ls -l \u{e9}\u{e9} --", "ls|-l|\u{e9}\u{e9}|--"),
            (9, "ls -l \u{e9}", "ls|-l|\u{e9}"),
            (6, "ls -l ", "ls|-l"),
            (1, "l", "l"),
            (0, "", ""),
        ] {
            let mut cut = program.clone();
            cut.cut_command_line(size);
            assert_eq!(
                shown(&cut),
                (line.to_owned(), arguments.to_owned()),
                "{size}"
            );
            assert_eq!(cut.truncated, ["command_line", "arguments"]);
        }
    }

    #[cfg(unix)]
    #[test]
    fn bytes_that_are_no_unicode_are_cut_as_they_are() {
        let mut program = Program::default();
        program.set_command_line(b"ls\0\xff\xff\0", Flags::NONE);
        program.cut_command_line(4);
        let line = program.trail.command_line.as_ref().unwrap();
        assert_eq!(line.raw(), Some(&b"ls \xff"[..]));
    }

    #[test]
    fn says_why_a_field_is_missing() {
        let flags = Flags::IMAGE_UNAVAILABLE.with(Flags::COMMAND_LINE_UNAVAILABLE);
        let header = Header {
            flags,
            ..Header::default()
        };
        let mut programs = Programs::default();
        let mut paths = ImagePaths::new(8, Volumes::default);
        let mut program = programs.at_exec(
            &header,
            (&process::Exec::default(), &Extension::None),
            &mut paths,
        );
        assert_eq!(
            program.missing_reason("image").as_deref(),
            Some(missing::GONE)
        );
        assert_eq!(
            program.missing_reason("command_line").as_deref(),
            Some(missing::GONE)
        );
        programs.set_user(&mut program, 3_999_999_999, &Extension::None, 1);
        programs.set_user(&mut program, 3_999_999_998, &Extension::None, 1);
        let users = program
            .missing
            .iter()
            .filter(|(field, _)| field == "user")
            .count();
        assert_eq!(users, 1, "each field is missing for one reason");
    }

    #[test]
    fn a_login_that_is_not_known_is_missing_until_it_is() {
        let mut programs = Programs::default();
        let mut program = Program::default();
        let users = |login_user_id| {
            Extension::Users(process::Users {
                real_user_id: 7,
                login_user_id,
            })
        };
        programs.set_user(&mut program, 0, &users(process::Users::NOBODY), 1);
        program.check_login(Flags::LOGIN_UNAVAILABLE);
        let unavailable = Some(missing::UNAVAILABLE);
        assert_eq!(
            program.missing_reason("login_user_id").as_deref(),
            unavailable
        );
        assert_eq!(program.missing_reason("real_user_id"), None);
        assert_eq!(program.trail.real_user_id, Some(7));
        programs.set_user(&mut program, 0, &users(8), 1);
        program.check_login(Flags::NONE);
        assert_eq!(program.missing_reason("login_user_id"), None);
        assert_eq!(program.trail.login_user_id, Some(8));
    }
}
