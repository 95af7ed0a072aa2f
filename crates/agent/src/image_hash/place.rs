//! Which paths of Windows are opened at all.

use crate::trail::missing;

/// The path with which a file is opened by its very name; or why it is not opened. Only a drive's files are:
/// a server might not answer, and would be told who asks.
pub(super) fn verbatim(image: &str) -> Result<String, &'static str> {
    let mut letters = image.chars();
    let drive = letters.next().filter(char::is_ascii_alphabetic);
    let is_of_drive = drive.is_some() && letters.as_str().starts_with(":\\");
    if is_of_drive {
        Ok(format!(r"\\?\{image}"))
    } else if image.starts_with(r"\\") {
        Err(missing::REMOTE)
    } else {
        Err(missing::UNAVAILABLE)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_file_of_a_drive_is_opened_by_its_very_name_and_nothing_else_is() {
        let opened = verbatim(r"C:\Windows\System32\con");
        assert_eq!(opened, Ok(r"\\?\C:\Windows\System32\con".to_owned()));
        for path in [r"\\server\share\x.exe", r"\\.\pipe\x", r"\\?\C:\x"] {
            assert_eq!(verbatim(path), Err(missing::REMOTE), "{path}");
        }
        for path in ["", "C:", r"\Device\x", "x.exe", r"\??\C:\x", r"é:\x"] {
            assert_eq!(verbatim(path), Err(missing::UNAVAILABLE), "{path}");
        }
    }
}
