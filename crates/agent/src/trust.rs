//! Names for the numbers Windows has for trust. A number without a name is told as it is, so that no
//! two of them read alike.

use std::borrow::Cow;

/// An integrity level, by the last relative id of its SID (`SECURITY_MANDATORY_*_RID`).
pub(crate) fn integrity_level(relative_id: u32) -> Cow<'static, str> {
    Cow::Borrowed(match relative_id {
        0x0000 => "untrusted",
        0x1000 => "low",
        0x2000 => "medium",
        0x2100 => "medium_plus",
        0x3000 => "high",
        0x4000 => "system",
        0x5000 => "protected",
        other => return Cow::Owned(format!("{other:#06x}")),
    })
}

/// How a process is protected (`PS_PROTECTION`); `None` where nothing protects it.
pub(crate) fn protection(protection: u32) -> Option<Cow<'static, str>> {
    let kind = match protection & 7 {
        0 => return None,
        1 => "light",
        2 => "protected",
        _ => return Some(Cow::Owned(format!("{protection:#04x}"))),
    };
    let signer = match (protection >> 4) & 0xf {
        0 => return Some(Cow::Borrowed(kind)),
        1 => "authenticode",
        2 => "codegen",
        3 => "antimalware",
        4 => "lsa",
        5 => "windows",
        6 => "windows_tcb",
        7 => "windows_system",
        8 => "app",
        _ => return Some(Cow::Owned(format!("{protection:#04x}"))),
    };
    Some(Cow::Owned(format!("{kind}_{signer}")))
}

/// The subsystem of a process (`SUBSYSTEM_INFORMATION_TYPE`); `None` for Win32.
pub(crate) fn subsystem(subsystem: u32) -> Option<Cow<'static, str>> {
    match subsystem {
        0 => None,
        1 => Some(Cow::Borrowed("linux")),
        _ => Some(Cow::Borrowed("other")),
    }
}

/// A signing level (`SE_SIGNING_LEVEL_*`).
pub(crate) fn signature_level(level: u16) -> Cow<'static, str> {
    Cow::Borrowed(match level {
        0 => "unchecked",
        1 => "unsigned",
        2 => "enterprise",
        3 => "developer",
        4 => "authenticode",
        6 => "store",
        7 => "antimalware",
        8 => "microsoft",
        11 => "dynamic_codegen",
        12 => "windows",
        14 => "windows_tcb",
        other => return Cow::Owned(format!("level_{other}")),
    })
}

/// Where a signature was found (`SE_IMAGE_SIGNATURE_TYPE`).
pub(crate) fn signature_type(r#type: u16) -> Cow<'static, str> {
    Cow::Borrowed(match r#type {
        0 => "none",
        1 => "embedded",
        2 => "cache",
        3 => "catalog_cached",
        4 => "catalog_not_cached",
        5 => "catalog_hint",
        6 => "package_catalog",
        other => return Cow::Owned(format!("type_{other}")),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_number_has_a_text_of_its_own() {
        for name_fn in [signature_level, signature_type] {
            let mut names: Vec<_> = (0..=300).map(name_fn).collect();
            names.sort();
            names.dedup();
            assert_eq!(names.len(), 301);
        }
        assert_eq!(integrity_level(0x3000), "high");
        assert_eq!(integrity_level(0x2010), "0x2010");
    }
}
