//! Thread start and exit.

use crate::schema::fields;
use crate::{Text, ThreadDetails};

fields! {
    /// A thread was created.
    #[derive(Clone, Debug, Default, PartialEq)]
    pub struct ThreadStart {
        /// the thread, in the host's own numbering
        thread_id: u32 => Number in Row since 1, ecs "process.thread.id", ocsf "process.tid";
        /// path of the program of the process
        process_image: Option<Text> => MaybeSystemText in Row since 3, ecs "process.executable", ocsf "process.file.path";
        /// the process that made the call
        creator_process_id: Option<u32> => Number in Near since 1;
        /// the thread that made the call
        creator_thread_id: Option<u32> => Number in Near since 1;
        /// the creator is another process
        remote: bool => Truth in Row since 1;
        /// Windows: where the thread begins to run
        start_address: Option<u64> => MaybeAddress in Row since 1;
        /// what few sensors know of it
        details: Option<Box<ThreadDetails>> => MaybeGroup in Apart since 3;
    }
}

fields! {
    /// A thread ended.
    #[derive(Clone, Debug, Default, PartialEq)]
    pub struct ThreadExit {
        /// the thread, in the host's own numbering
        thread_id: u32 => Number in Row since 1, ecs "process.thread.id", ocsf "process.tid";
    }
}
