//! The id of a boot of Windows, which draws none. Pure, so that the example of `docs/EVENTS.md` is tested
//! on every system.

/// The id of the boot at `boot_time` less its bias, in 100 ns since 1601, of the installation with that
/// id: `MachineGuid`, as the registry writes it.
pub(super) fn of(installation: &str, boot_time: u64) -> [u8; 16] {
    let mut id = [0; 16];
    let (machine_half, boot_half) = id.split_at_mut(8);
    machine_half.copy_from_slice(&fnv(installation.as_bytes()).to_le_bytes());
    boot_half.copy_from_slice(&boot_time.to_le_bytes());
    id
}

/// 64-bit FNV-1a.
fn fnv(bytes: &[u8]) -> u64 {
    bytes.iter().fold(0xcbf2_9ce4_8422_2325, |hash, byte| {
        (hash ^ u64::from(*byte)).wrapping_mul(0x0000_0100_0000_01b3)
    })
}

#[cfg(test)]
mod tests {
    use event::ProcessKey;

    use super::*;

    /// Others compute a key by what the document says.
    #[test]
    fn the_example_of_the_document_is_right() {
        let document = include_str!("../../../../docs/EVENTS.md");
        let guid = "00112233-4455-6677-8899-aabbccddeeff";
        let (boot_time, created) = (134_117_280_000_000_000, 134_117_280_123_456_789);
        let id = of(guid, boot_time);
        let hex = format!("{:032x}", u128::from_be_bytes(id));
        let tick = created - 116_444_736_000_000_000;
        let key = ProcessKey::new(id, 4242, tick).to_string();
        let numbers = [
            guid,
            &boot_time.to_string(),
            &created.to_string(),
            &hex,
            &key,
        ];
        for number in numbers {
            assert!(document.contains(&format!("`{number}`")), "{number}");
        }
    }
}
