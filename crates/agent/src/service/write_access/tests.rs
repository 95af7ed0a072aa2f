//! Descriptors as Windows has them, and such as nobody should have.

use proptest::prelude::*;

use super::*;

type Ids = &'static [u32];

const SYSTEM: Ids = TRUSTED[0];
const ADMINISTRATORS: Ids = TRUSTED[1];
const INSTALLER: Ids = TRUSTED[2];
const USERS: Ids = &[32, 545];
const AUTHENTICATED: Ids = &[11];
const ALICE: Ids = &[21, 1, 2, 3, 1_001];

const FULL: u32 = 0x1f_01ff;
const MODIFY: u32 = 0x13_01bf;
const READ: u32 = 0x12_00a9;
const INHERITED: u8 = 0x10;
const TO_ALL: u8 = 0x3;

/// `S-1-AUTHORITY-IDS`
fn sid(authority: u8, ids: &[u32]) -> Vec<u8> {
    let count = u8::try_from(ids.len()).unwrap();
    let mut bytes = vec![1, count, 0, 0, 0, 0, 0, authority];
    bytes.extend(ids.iter().flat_map(|id| id.to_le_bytes()));
    bytes
}

fn entry(kind: u8, flags: u8, mask: u32, sid: &[u8]) -> Vec<u8> {
    let size = u16::try_from(8 + sid.len()).unwrap();
    let mut bytes = vec![kind, flags];
    bytes.extend(size.to_le_bytes());
    bytes.extend(mask.to_le_bytes());
    bytes.extend(sid);
    bytes
}

fn allow(flags: u8, mask: u32, ids: Ids) -> Vec<u8> {
    entry(0, flags, mask, &sid(5, ids))
}

/// Owner, then the list.
fn descriptor(owner: Ids, entries: &[Vec<u8>]) -> Vec<u8> {
    let owner = sid(5, owner);
    let list_size = 8 + entries.iter().map(Vec::len).sum::<usize>();
    let mut bytes = vec![1, 0];
    bytes.extend((SELF_RELATIVE | DACL_PRESENT).to_le_bytes());
    let list_at = u32::try_from(20 + owner.len()).unwrap();
    for offset in [20, 0, 0, list_at] {
        bytes.extend(offset.to_le_bytes());
    }
    bytes.extend(owner);
    bytes.extend([2, 0]);
    bytes.extend(u16::try_from(list_size).unwrap().to_le_bytes());
    bytes.extend(u16::try_from(entries.len()).unwrap().to_le_bytes());
    bytes.extend([0, 0]);
    bytes.extend(entries.concat());
    bytes
}

/// SYSTEM and administrators in full, and what else.
fn usual(more: &[Vec<u8>]) -> Vec<u8> {
    let mut entries = vec![
        allow(TO_ALL | INHERITED, FULL, SYSTEM),
        allow(TO_ALL | INHERITED, FULL, ADMINISTRATORS),
    ];
    entries.extend_from_slice(more);
    descriptor(ADMINISTRATORS, &entries)
}

fn writable_by(authority: u8, ids: Ids) -> Result<(), Exposed> {
    Err(Exposed::Writable(sid(authority, ids).into()))
}

/// `C:\Program Files` of Windows 10 and 11.
fn program_files() -> Vec<u8> {
    const ALL_PACKAGES: &[u32] = &[2, 1];
    let creator_owner = sid(3, &[0]);
    descriptor(
        INSTALLER,
        &[
            allow(0, FULL, INSTALLER),
            allow(INHERIT_ONLY | 0x2, right::GENERIC_ALL, INSTALLER),
            allow(0, MODIFY, SYSTEM),
            allow(INHERIT_ONLY | TO_ALL, right::GENERIC_ALL, SYSTEM),
            allow(0, MODIFY, ADMINISTRATORS),
            allow(INHERIT_ONLY | TO_ALL, right::GENERIC_ALL, ADMINISTRATORS),
            allow(0, READ, USERS),
            allow(INHERIT_ONLY | TO_ALL, 0xa000_0000, USERS),
            entry(0, INHERIT_ONLY | TO_ALL, right::GENERIC_ALL, &creator_owner),
            entry(0, 0, READ, &sid(15, ALL_PACKAGES)),
        ],
    )
}

/// `C:\` of Windows 10 and 11: whoever is logged on may make directories in it.
fn drive() -> Vec<u8> {
    descriptor(
        INSTALLER,
        &[
            allow(TO_ALL, FULL, SYSTEM),
            allow(TO_ALL, FULL, ADMINISTRATORS),
            allow(TO_ALL, READ, USERS),
            allow(INHERIT_ONLY | TO_ALL, 0xe001_0000, AUTHENTICATED),
            allow(0, right::APPEND_DATA, AUTHENTICATED),
        ],
    )
}

#[test]
fn what_stands_below_program_files_is_nobody_elses() {
    let ours = usual(&[allow(INHERITED, READ, USERS)]);
    for (descriptor, part) in [
        (drive(), Part::Above),
        (program_files(), Part::Above),
        (program_files(), Part::Directory),
        (ours.clone(), Part::Directory),
        (ours, Part::File),
    ] {
        assert_eq!(check(&descriptor, part), Ok(()));
    }
}

/// A service that was installed from a directory of a user's own ran as SYSTEM whatever that user
/// put there.
#[test]
fn what_a_user_has_made_is_that_users() {
    let made = descriptor(ALICE, &[allow(INHERITED, FULL, ADMINISTRATORS)]);
    for part in [Part::File, Part::Directory, Part::Above] {
        let owned = Exposed::Owned(sid(5, ALICE).into());
        assert_eq!(check(&made, part), Err(owned));
    }
}

#[test]
fn a_directory_in_the_root_of_a_drive_lets_everybody_who_is_logged_on_write() {
    // What is made below `C:\` inherits the entry that is only for that.
    let made = usual(&[allow(INHERITED | TO_ALL, 0x13_01bf, AUTHENTICATED)]);
    for part in [Part::File, Part::Directory, Part::Above] {
        assert_eq!(check(&made, part), writable_by(5, AUTHENTICATED));
    }
    // And the root itself is no place for a program.
    let root = check(&drive(), Part::Directory);
    assert_eq!(root, writable_by(5, AUTHENTICATED));
}

#[test]
fn each_right_counts_where_it_does_harm_and_only_there() {
    let parts = [Part::File, Part::Directory, Part::Above];
    for (right, does_harm) in [
        (right::WRITE_DATA, [true, true, false]),
        (right::APPEND_DATA, [true, true, false]),
        (right::DELETE_CHILD, [false, true, true]),
        (right::WRITE_ATTRIBUTES, [true, false, false]),
        (right::DELETE, [true, true, true]),
        (right::WRITE_DAC, [true, true, true]),
        (right::WRITE_OWNER, [true, true, true]),
        (right::GENERIC_ALL, [true, true, true]),
        (right::GENERIC_WRITE, [true, true, false]),
        (READ, [false, false, false]),
    ] {
        let descriptor = usual(&[allow(0, right, USERS)]);
        for (part, does_harm) in parts.into_iter().zip(does_harm) {
            let verdict = check(&descriptor, part);
            assert_eq!(verdict.is_err(), does_harm, "{right:#x} of a {part:?}");
        }
    }
}

#[test]
fn an_entry_with_a_condition_gives_its_right_and_a_denial_takes_none() {
    let users = sid(5, USERS);
    let mut conditional = entry(9, 0, FULL, &users);
    conditional.extend(*b"artx");
    conditional[2] += 4;
    let verdict = check(&usual(&[conditional]), Part::File);
    assert_eq!(verdict, writable_by(5, USERS));
    let denied = usual(&[entry(1, 0, FULL, &users), allow(0, FULL, USERS)]);
    assert_eq!(check(&denied, Part::File), writable_by(5, USERS));
    let denied = usual(&[entry(1, 0, FULL, &users)]);
    assert_eq!(check(&denied, Part::File), Ok(()));
}

#[test]
fn the_owners_rights_are_the_owners() {
    let rights = entry(0, 0, FULL, &sid(3, &[4]));
    assert_eq!(check(&usual(&[rights]), Part::File), Ok(()));
    let everybody = entry(0, 0, FULL, &sid(1, &[0]));
    let verdict = check(&usual(&[everybody]), Part::File);
    assert_eq!(verdict, writable_by(1, &[0]));
}

#[test]
fn a_sid_that_only_begins_like_a_trusted_one_is_not() {
    for ids in [
        &[32, 544, 1][..],
        &[32],
        &[18, 0],
        &[80, 956_008_885],
        &[21, 0, 0, 0, 1_001],
    ] {
        let owned = descriptor(&[18], &[entry(0, 0, FULL, &sid(5, ids))]);
        assert!(check(&owned, Part::File).is_err(), "{ids:?}");
    }
    let other_authority = entry(0, 0, FULL, &sid(3, &[18]));
    assert!(check(&usual(&[other_authority]), Part::File).is_err());
}

#[test]
fn without_a_list_everybody_may_and_with_an_empty_one_nobody() {
    let empty = descriptor(SYSTEM, &[]);
    assert_eq!(check(&empty, Part::File), Ok(()));
    let mut null = empty.clone();
    null[16..20].fill(0);
    assert_eq!(check(&null, Part::File), Err(Exposed::Unlisted));
    let mut absent = empty;
    absent[2] = 0;
    assert_eq!(check(&absent, Part::File), Err(Exposed::Unlisted));
}

#[test]
fn what_cannot_be_judged_is_refused() {
    let whole = usual(&[allow(0, READ, USERS)]);
    for size in 0..whole.len() {
        let verdict = check(&whole[..size], Part::File);
        assert_eq!(verdict, Err(Exposed::Unreadable), "{size} bytes");
    }
    let object = usual(&[entry(5, 0, READ, &sid(5, USERS))]);
    assert_eq!(check(&object, Part::File), Err(Exposed::Unknown(5)));
    let mut absolute = whole.clone();
    absolute[3] = 0;
    assert_eq!(check(&absolute, Part::File), Err(Exposed::Unreadable));
    // Offsets that lead out of it, and sizes that are smaller than what they are of.
    let list_at = 20 + 16;
    for (place, byte) in [(7, 0xff), (19, 0xff), (list_at + 2, 7), (list_at + 10, 3)] {
        let mut forged = whole.clone();
        forged[place] = byte;
        let verdict = check(&forged, Part::File);
        assert_eq!(verdict, Err(Exposed::Unreadable), "byte {place}");
    }
}

#[test]
fn the_words_name_who_may() {
    let name = |sid: &[u8]| format!("somebody with {} bytes", sid.len());
    let words = Exposed::Writable(sid(5, USERS).into()).words("C:", name);
    assert_eq!(words, "somebody with 16 bytes may change C:");
    let words = Exposed::Owned(sid(5, ALICE).into()).words("C:", name);
    assert_eq!(words, "C: belongs to somebody with 28 bytes");
}

proptest! {
    #[test]
    fn no_bytes_make_it_panic(bytes in prop::collection::vec(any::<u8>(), 0..400)) {
        let _either = check(&bytes, Part::File);
    }

    /// Whatever one byte is changed to, the list does not become one that is taken while it gives
    /// everybody everything.
    #[test]
    fn no_forged_byte_hides_an_entry_of_another(place in 20..56_usize, byte: u8) {
        let mut bytes = descriptor(SYSTEM, &[entry(0, 0, FULL, &sid(1, &[0]))]);
        prop_assume!(bytes[place] != byte);
        bytes[place] = byte;
        // The owner's SID, then the list's count and the entry's type and flags may say something
        // else that is as true.
        let is_as_true = matches!(place, 20..32 | 36..38 | 40 | 41);
        prop_assert!(is_as_true || check(&bytes, Part::File).is_err());
    }
}
