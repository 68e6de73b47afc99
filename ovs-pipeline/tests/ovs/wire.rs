//! Bytes of packets that `netdev-dummy/receive` can not make from words.

/// The sum of RFC 1071.
pub fn checksum(bytes: &[u8]) -> u16 {
    let words = bytes.chunks(2).map(|pair| u32::from(pair[0]) << 8 | u32::from(*pair.get(1).unwrap_or(&0)));
    let sum = words.sum::<u32>();
    let folded = (sum & 0xffff) + (sum >> 16);
    !u16::try_from((folded & 0xffff) + (folded >> 16)).expect("two folds leave sixteen bits")
}

/// From where to where.
pub struct Way {
    pub source_mac: [u8; 6],
    pub destination_mac: [u8; 6],
    pub source: [u8; 4],
    pub destination: [u8; 4],
}

impl Way {
    /// A UDP datagram without a checksum, in IPv4 fragments with at most `most` bytes of it, a multiple of eight.
    pub fn udp_fragments(&self, port: u16, length: u16, most: u16) -> Vec<Vec<u8>> {
        let mut datagram =
            [&40000u16.to_be_bytes()[..], &port.to_be_bytes(), &(8 + length).to_be_bytes(), &[0, 0]].concat();
        datagram.resize(usize::from(8 + length), 0x41);
        let parts: Vec<&[u8]> = datagram.chunks(usize::from(most)).collect();
        let last = parts.len() - 1;
        let place = |index: usize| u16::try_from(index * usize::from(most) / 8).expect("a short datagram");
        let flags = |index: usize| place(index) | if index < last { 0x2000 } else { 0 };
        parts.iter().enumerate().map(|(index, part)| self.ipv4(17, flags(index), part)).collect()
    }

    fn ipv4(&self, protocol: u8, fragment: u16, body: &[u8]) -> Vec<u8> {
        let length = u16::try_from(20 + body.len()).expect("a short packet");
        let mut header =
            [&[0x45, 0][..], &length.to_be_bytes(), &[0x12, 0x34], &fragment.to_be_bytes(), &[64, protocol, 0, 0]]
                .concat();
        header.extend([self.source, self.destination].concat());
        let sum = checksum(&header);
        header[10..12].copy_from_slice(&sum.to_be_bytes());
        [&self.destination_mac[..], &self.source_mac, &[8, 0], &header, body].concat()
    }
}
