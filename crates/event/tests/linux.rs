//! What Linux adds to the wire: the parts of the extension of a start and an exec.

use event::extension::{size_extended, write_extended};
use event::{Event, Extension, Flags, Header, process};
use proptest::collection::vec;
use proptest::prelude::*;

const USERS: process::Users = process::Users {
    real_user_id: 0x6463_6261,
    login_user_id: 0x6867_6665,
};
const SETTING: process::Setting = process::Setting {
    cgroup_id: 0x7877_7675_7473_7271,
};

/// Older sensors told less: a record that ends behind a part has the parts before.
#[test]
fn the_parts_came_one_after_the_other_and_one_that_is_cut_is_none() {
    let context = process::Context {
        flags: Flags::LEAF_FIRST,
        terminal: 0x8483_8281,
        directory: b"user\0home\0",
        environment: b"A=b\0",
    };
    let whole = Extension::Context(USERS, SETTING, context);
    let exec = Event::ProcessExec(process::Exec::default());
    let mut buffer = [0; 256];
    let record = write_extended(Header::default(), &exec, &whole, &mut buffer).unwrap();
    assert_eq!(Some(record.len()), size_extended(&exec, &whole));
    let size = record.len();
    let plain = size - whole.size();
    let told = [
        (plain + 8, Extension::Users(USERS)),
        (plain + 16, Extension::Origin(USERS, SETTING)),
        (size, whole),
    ];
    for size in plain..=size {
        let mut record = record[..size].to_vec();
        record[..4].copy_from_slice(&u32::try_from(size).unwrap().to_le_bytes());
        let read = event::read(&record).map(|record| record.extension).ok();
        let expected = told.iter().find(|(end, _)| *end == size);
        assert_eq!(read, expected.map(|(_, extension)| *extension), "{size}");
    }
    assert_eq!(whole.users(), Some(&USERS));
    assert_eq!(whole.setting(), Some(&SETTING));
    assert_eq!(whole.context(), Some(&context));
    assert_eq!(Extension::Users(USERS).setting(), None);
    assert_eq!(Extension::Origin(USERS, SETTING).context(), None);
}

proptest! {
    #[test]
    fn a_context_is_read_back(
        numbers in any::<[u32; 4]>(),
        cgroup_id in any::<u64>(),
        directory in vec(any::<u8>(), 0..60),
        environment in vec(any::<u8>(), 0..60),
    ) {
        let [flags, terminal, real_user_id, login_user_id] = numbers;
        let context = process::Context {
            flags: Flags(flags),
            terminal,
            directory: &directory,
            environment: &environment,
        };
        let users = process::Users { real_user_id, login_user_id };
        let extension = Extension::Context(users, process::Setting { cgroup_id }, context);
        let start = Event::ProcessStart(process::Start::default());
        let mut buffer = [0; 512];
        let record = write_extended(Header::default(), &start, &extension, &mut buffer).unwrap();
        let read = event::read(record).unwrap();
        prop_assert_eq!(read.extension, extension);
        prop_assert_eq!(read.event, start);
    }
}
