//! The boot of an agent: 16 bytes, drawn anew at each start, of which the first 8 are a number that is larger at every start.

/// How long a boot is.
pub const LENGTH: usize = 16;

/// Whether a boot began before another. Where that cannot be told (another length: an agent of protocol version 1), it did not.
pub fn is_earlier(boot: &[u8], than: &[u8]) -> bool {
    match (number(boot), number(than)) {
        (Some(boot), Some(than)) => boot < than,
        _ => false,
    }
}

/// The number that orders boots; none for one that is not ordered.
pub fn number(boot: &[u8]) -> Option<u64> {
    let (first, rest) = boot.split_first_chunk::<8>()?;
    (rest.len() == LENGTH - 8).then(|| u64::from_be_bytes(*first))
}

/// The boot of this number; `random` tells two of one number apart.
pub fn of(number: u64, random: [u8; 8]) -> [u8; LENGTH] {
    let mut boot = [0; LENGTH];
    boot[..8].copy_from_slice(&number.to_be_bytes());
    boot[8..].copy_from_slice(&random);
    boot
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn boots_are_ordered_by_their_number_alone() {
        let (first, again, later) = (of(7, [9; 8]), of(7, [1; 8]), of(256, [0; 8]));
        assert!(is_earlier(&first, &later) && !is_earlier(&later, &first));
        assert!(!is_earlier(&first, &again) && !is_earlier(&again, &first));
        assert!(!is_earlier(b"boot", &later) && !is_earlier(&later, b"boot"), "not ordered, so not earlier");
    }
}
