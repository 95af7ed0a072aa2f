//! Each place as root finds it: its own, another user's, or open to all. Needs root, who alone gives files away.

use std::fs::{self, Permissions};
use std::os::unix::fs::{PermissionsExt as _, chown, lchown, symlink};
use std::path::{Path, PathBuf};

use super::{Exposure, How, is_root, of_directory, of_log, of_trusted};

const NOBODY: u32 = 65_534;

/// A directory that root alone may change; only root can give away what is in it.
fn place() -> Option<tempfile::TempDir> {
    is_root().then(|| tempfile::tempdir().unwrap())
}

fn directory(path: PathBuf, mode: u32) -> PathBuf {
    fs::create_dir(&path).unwrap();
    fs::set_permissions(&path, Permissions::from_mode(mode)).unwrap();
    path
}

fn file(path: PathBuf, mode: u32) -> PathBuf {
    fs::write(&path, "").unwrap();
    fs::set_permissions(&path, Permissions::from_mode(mode)).unwrap();
    path
}

fn how(exposure: Option<Exposure>) -> Option<How> {
    exposure.map(|exposure| exposure.how)
}

#[test]
fn a_log_goes_where_root_or_one_user_chose_and_not_where_everybody_may() {
    let Some(place) = place() else { return };
    for (mode, expected) in [
        (0o755, None),
        (0o775, None),
        (0o1777, None),
        (0o777, Some(How::Everybody)),
    ] {
        let above = directory(place.path().join(format!("{mode:o}")), mode);
        assert_eq!(how(of_log(&above.join("log"))), expected, "{mode:o}");
        assert_eq!(how(of_log(&above.join("a/b/log"))), expected, "{mode:o}");
    }
    let home = directory(place.path().join("home"), 0o755);
    chown(&home, Some(NOBODY), None).unwrap();
    assert_eq!(of_log(&home.join("log")), None);
    let shared = directory(place.path().join("shared"), 0o1777);
    chown(&shared, Some(NOBODY), None).unwrap();
    assert_eq!(how(of_log(&shared.join("log"))), Some(How::Everybody));
}

#[test]
fn a_log_that_is_another_users_file_or_link_is_refused() {
    let Some(place) = place() else { return };
    let theirs = file(place.path().join("theirs"), 0o644);
    chown(&theirs, Some(NOBODY), None).unwrap();
    assert_eq!(how(of_log(&theirs)), Some(How::Owned(NOBODY)));
    let ours = file(place.path().join("ours"), 0o644);
    assert_eq!(of_log(&ours), None);
    for target in [&ours, Path::new("nowhere"), place.path()] {
        let link = place.path().join("link");
        symlink(target, &link).unwrap();
        assert_eq!(of_log(&link), None, "root's own");
        lchown(&link, Some(NOBODY), None).unwrap();
        assert_eq!(how(of_log(&link)), Some(How::Link(NOBODY)));
        assert_eq!(how(of_log(&link.join("log"))), Some(How::Link(NOBODY)));
        fs::remove_file(&link).unwrap();
    }
    let link = place.path().join("ours-to-theirs");
    symlink(&theirs, &link).unwrap();
    assert_eq!(how(of_log(&link)), Some(How::Owned(NOBODY)));
}

#[test]
fn a_directory_of_roots_files_is_roots_alone() {
    let Some(place) = place() else { return };
    assert_eq!(of_directory(&place.path().join("not-there")), None);
    let store = directory(place.path().join("store"), 0o750);
    assert_eq!(of_directory(&store), None);
    chown(&store, None, Some(NOBODY)).unwrap();
    fs::set_permissions(&store, Permissions::from_mode(0o770)).unwrap();
    assert_eq!(how(of_directory(&store)), Some(How::Group(NOBODY)));
    fs::set_permissions(&store, Permissions::from_mode(0o1777)).unwrap();
    assert_eq!(how(of_directory(&store)), Some(How::Everybody));
    fs::set_permissions(&store, Permissions::from_mode(0o750)).unwrap();
    chown(&store, Some(NOBODY), None).unwrap();
    assert_eq!(how(of_directory(&store)), Some(How::Owned(NOBODY)));
}

#[test]
fn what_root_runs_or_obeys_is_roots_with_all_above_it() {
    let Some(place) = place() else { return };
    assert!(of_trusted(&place.path().join("not-there")).is_err());
    let above = directory(place.path().join("above"), 0o755);
    let program = file(above.join("program"), 0o755);
    let verdict = || how(of_trusted(&program).unwrap());
    assert_eq!(verdict(), None);
    fs::set_permissions(&program, Permissions::from_mode(0o757)).unwrap();
    assert_eq!(verdict(), Some(How::Everybody));
    fs::set_permissions(&program, Permissions::from_mode(0o755)).unwrap();
    chown(&program, Some(NOBODY), None).unwrap();
    assert_eq!(verdict(), Some(How::Owned(NOBODY)));
    chown(&program, Some(0), None).unwrap();
    chown(&above, Some(NOBODY), None).unwrap();
    assert_eq!(verdict(), Some(How::Owned(NOBODY)));
    let link = place.path().join("link");
    symlink(&program, &link).unwrap();
    assert_eq!(how(of_trusted(&link).unwrap()), Some(How::Owned(NOBODY)));
}
