//! What a process tried to run and could not.

use std::borrow::Cow;

use crate::Text;
use crate::schema::fields;

fields! {
    /// The kernel refused to run a program (Linux). The process goes on with the one it had.
    #[derive(Clone, Debug, Default, PartialEq)]
    pub struct ExecFailed {
        /// the path of what was to run, as the process gave it: it may begin in a directory that only the process knows
        path: Option<Text> => SystemText in Row since 3;
        /// why not: `ENOENT`, `EACCES`, `ENOEXEC`; a number where it has no name here
        error: Cow<'static, str> => PlainText in Row since 3, ecs "error.code";
        /// path of the program of the process that tried
        process_image: Option<Text> => MaybeSystemText in Row since 3, ecs "process.executable", ocsf "process.file.path";
    }
}
