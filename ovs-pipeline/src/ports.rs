//! Port ranges as value and mask, the only form in which OpenFlow matches them.

/// The fewest aligned blocks that cover `first..=last`, as (value, mask), ascending. Empty when `first > last`.
pub fn masks(first: u16, last: u16) -> Vec<(u16, u16)> {
    let mut blocks = Vec::new();
    let (mut next, end) = (u32::from(first), u32::from(last) + 1);
    while next < end {
        let aligned = if next == 0 { 1 << 16 } else { 1 << next.trailing_zeros() };
        let mut size: u32 = aligned;
        while next + size > end {
            size /= 2;
        }
        blocks.push((next as u16, !((size - 1) as u16)));
        next += size;
    }
    blocks
}

#[cfg(test)]
mod tests {
    use super::masks;

    #[test]
    fn ranges_cover_exactly_their_ports() {
        for (first, last) in
            [(80, 80), (0, 65535), (1, 65535), (1000, 1999), (65535, 65535), (0, 0), (1024, 2047), (5, 4)]
        {
            let covered: Vec<u16> = (0..=u16::MAX)
                .filter(|port| masks(first, last).iter().any(|(value, mask)| port & mask == *value))
                .collect();
            let wanted: Vec<u16> = (0..=u16::MAX).filter(|port| (first..=last).contains(port)).collect();
            assert_eq!(covered, wanted, "{first}-{last}");
        }
    }

    #[test]
    fn a_range_needs_few_blocks() {
        assert_eq!(masks(1024, 2047), [(1024, 0xfc00)]);
        assert_eq!(masks(0, 65535), [(0, 0)]);
        assert!(masks(1, 65534).len() <= 30);
    }
}
