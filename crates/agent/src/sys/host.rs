//! The machine: its name, its own id, and the id of this boot.

use std::io;
use std::sync::Arc;

use sha2::{Digest as _, Sha256};

use super::machine;

/// What the ids in a trail are derived for: another program that derives ids of the same machine
/// gets others.
const PURPOSE: &[u8; 16] = b"systrail host_id";

/// The size of SHA-256's blocks.
const BLOCK_SIZE: usize = 64;

/// The host name, as `host` in every event.
pub fn name() -> Arc<str> {
    match machine::name() {
        Ok(name) => Arc::from(name),
        Err(error) => {
            tracing::warn!(%error, "the host name could not be read");
            Arc::from("localhost")
        }
    }
}

/// The machine's own id, as `host_id` in every event; `None` where the machine has none.
///
/// It is derived as systemd's `sd_id128_get_machine_app_specific` does it, so that whoever reads a
/// trail does not learn the id that other programs keep secrets by.
pub fn id() -> Option<Arc<str>> {
    derive(&machine::id().ok()?)
}

/// 128 bits that no other boot of any machine has, part of every process key.
pub fn boot_id() -> io::Result<[u8; 16]> {
    machine::boot_id()
}

/// The id for a trail of a machine's, which is 32 hex digits, with or without a UUID's hyphens.
fn derive(machine_id: &str) -> Option<Arc<str>> {
    let digits: String = machine_id.chars().filter(|digit| *digit != '-').collect();
    let is_id = digits.len() == 32 && digits.bytes().all(|digit| digit.is_ascii_hexdigit());
    let id = u128::from_str_radix(&digits, 16).ok();
    let id = id.filter(|id| is_id && *id != 0)?;
    let [first, _rest] = *keyed_hash(&id.to_be_bytes(), PURPOSE).as_chunks::<16>().0 else {
        return None;
    };
    Some(format!("{:032x}", u128::from_be_bytes(first)).into())
}

/// HMAC-SHA256 (RFC 2104) with a key that is no longer than a block.
fn keyed_hash(key: &[u8], message: &[u8]) -> [u8; 32] {
    let padded = |pad: u8| {
        let mut block = [pad; BLOCK_SIZE];
        for (byte, key) in block.iter_mut().zip(key) {
            *byte ^= key;
        }
        Sha256::new_with_prefix(block)
    };
    let inner = padded(0x36).chain_update(message).finalize();
    padded(0x5c).chain_update(inner).finalize().into()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_keyed_hash_is_that_of_the_standard() {
        // RFC 4231, test cases 1 and 2.
        let hex = |bytes: [u8; 32]| bytes.map(|byte| format!("{byte:02x}")).concat();
        assert_eq!(
            hex(keyed_hash(&[0x0b; 20], b"Hi There")),
            "b0344c61d8db38535ca8afceaf0bf12b881dc200c9833da726e9376c2e32cff7"
        );
        assert_eq!(
            hex(keyed_hash(b"Jefe", b"what do ya want for nothing?")),
            "5bdcc146bf60754e6a042426089575c75a003f089d2739839dec58b964ec3843"
        );
    }

    #[test]
    fn an_id_is_the_same_for_good() {
        let id = derive("0123456789abcdef0123456789abcdef").unwrap();
        assert_eq!(&*id, "446fc789fe4c5f4bff921b66a8f5c1eb");
        let guid = derive("01234567-89AB-CDEF-0123-456789ABCDEF");
        assert_eq!(guid.as_deref(), Some(&*id));
    }

    #[test]
    fn what_is_no_id_of_a_machine_gives_none() {
        let zeros = "0".repeat(32);
        let signed = format!("+{}", "1".repeat(31));
        for text in ["", "uninitialized", "0123", &zeros, &signed] {
            assert_eq!(derive(text), None, "{text}");
        }
    }
}
