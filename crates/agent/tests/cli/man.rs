//! `systrail man`.

use crate::{output, printed, said};

#[test]
fn every_command_has_a_page_and_all_can_be_written() {
    let directory = tempfile::tempdir().unwrap();
    let pages = directory.path().to_str().unwrap();
    let written = output(["man", "--all", pages]);
    assert_eq!(written.status.code(), Some(0), "{}", said(&written));
    for (words, file) in [
        (&[][..], "systrail.1"),
        (&["query"], "systrail-query.1"),
        (&["service", "install"], "systrail-service-install.1"),
    ] {
        let page = output([&["man"], words].concat());
        assert_eq!(page.status.code(), Some(0), "{}", said(&page));
        let page = printed(&page);
        assert_eq!(
            std::fs::read_to_string(directory.path().join(file)).unwrap(),
            page
        );
        assert!(page.contains("\n.SH NAME\n"), "{page}");
    }
    assert!(!directory.path().join("systrail-help.1").exists());
    let none = output(["man", "nothing"]);
    assert_eq!(none.status.code(), Some(2));
    assert!(said(&none).contains("there is no command nothing"));
    let nowhere = output(["man", "--all", "/proc/none"]);
    assert_eq!(nowhere.status.code(), Some(1));
    assert!(
        said(&nowhere).contains("/proc/none: "),
        "{}",
        said(&nowhere)
    );
}
