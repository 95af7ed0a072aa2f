//! The names people use for files, from those of Windows' kernel, as far as no volume has to be known for
//! that: `\??\C:\x` is `C:\x`, and `\Device\Mup\server\share` is `\\server\share`. Where volumes are tells
//! the machine (`enrich/device_path.rs`) or a trace of one (`replay/etl/paths.rs`).

/// What people call `path`; none where the letter of a volume has to be known. A name such as
/// `\??\Volume{...}`, which means nothing without what stands before it, stays whole.
pub fn of(path: &str) -> Option<String> {
    if !path.starts_with('\\') {
        return Some(path.to_owned());
    }
    if let Some(rest) = in_dos_devices(path) {
        return Some(match strip_prefix(rest, r"UNC\") {
            Some(share) => format!(r"\\{share}"),
            None if begins_with_drive(rest) => rest.to_owned(),
            None => path.to_owned(),
        });
    }
    // The redirector's name of a share: \Device\Mup\server\share\x is \\server\share\x.
    let share = strip_prefix(path, r"\Device\Mup\")?;
    Some(format!(r"\\{}", without_redirector(share)))
}

/// `\??\GLOBALROOT\Device\x` is the kernel's own `\Device\x`.
pub fn without_global_root(mut path: &str) -> &str {
    while let Some(rest) = in_dos_devices(path).and_then(|rest| strip_prefix(rest, "GLOBALROOT"))
        && rest.starts_with('\\')
    {
        path = rest;
    }
    path
}

/// The rest of `path` after `prefix`; the kernel's names do not tell case.
pub fn strip_prefix<'a>(path: &'a str, prefix: &str) -> Option<&'a str> {
    let (head, rest) = path.split_at_checked(prefix.len())?;
    head.eq_ignore_ascii_case(prefix).then_some(rest)
}

/// What stands behind the name of the directory in which the letters are.
fn in_dos_devices(path: &str) -> Option<&str> {
    [r"\??\", r"\DosDevices\", r"\\?\"]
        .iter()
        .find_map(|prefix| strip_prefix(path, prefix))
}

fn begins_with_drive(path: &str) -> bool {
    match path.as_bytes() {
        [letter, b':', rest @ ..] => {
            letter.is_ascii_alphabetic() && matches!(rest, [] | [b'\\', ..])
        }
        _ => false,
    }
}

/// A share that has a drive letter is named with its redirector and its letter before it:
/// `;LanmanRedirector\;Z:00000000000215d7\server\share\x`, or `DfsClient\;Z:...\server\share\x`.
fn without_redirector(share: &str) -> &str {
    let mut rest = share;
    for _redirector_and_letter in 0..2 {
        let Some((first, after)) = rest.split_once('\\') else {
            break;
        };
        if first.starts_with(';') && !after.starts_with(';') {
            return after;
        }
        rest = after;
    }
    share
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_needs_no_volume_is_told_as_people_do() {
        for (kernel, dos) in [
            (r"\??\C:\a.exe", r"C:\a.exe"),
            (r"\DosDevices\c:", "c:"),
            (r"\??\UNC\server\share\a.exe", r"\\server\share\a.exe"),
            (r"\Device\Mup\server\share\a.exe", r"\\server\share\a.exe"),
            (
                r"\Device\Mup\;LanmanRedirector\;Z:00000000000215d7\server\share\a.exe",
                r"\\server\share\a.exe",
            ),
            (
                r"\Device\Mup\DfsClient\;Z:0000000000020d40\server\share\a.exe",
                r"\\server\share\a.exe",
            ),
            (
                r"\Device\Mup\server\share\;a\b.exe",
                r"\\server\share\;a\b.exe",
            ),
            (r"C:\a.exe", r"C:\a.exe"),
            (r"\??\pipe\a", r"\??\pipe\a"),
        ] {
            assert_eq!(of(kernel).as_deref(), Some(dos), "{kernel}");
        }
    }

    #[test]
    fn a_volume_has_to_be_known() {
        for path in [r"\Device\HarddiskVolume3\a", r"\SystemRoot\a", "\\"] {
            assert_eq!(of(path), None, "{path}");
        }
        let global = r"\??\GLOBALROOT\??\globalroot\SystemRoot\a.exe";
        assert_eq!(without_global_root(global), r"\SystemRoot\a.exe");
        assert_eq!(
            without_global_root(r"\??\GLOBALROOTx\a"),
            r"\??\GLOBALROOTx\a"
        );
    }
}
