//! Packets that a dummy port received and sent, from the file it writes (pcap, microseconds, native order).

use std::path::Path;
use std::time::{Duration, Instant};

use anyhow::{Result, ensure};

const FILE_HEADER: usize = 24;
const RECORD_HEADER: usize = 16;

/// The packets in the file so far.
pub fn packets(path: &Path) -> Result<Vec<Vec<u8>>> {
    let bytes = std::fs::read(path)?;
    let mut rest = bytes.get(FILE_HEADER..).unwrap_or_default();
    let mut packets = Vec::new();
    while let Some(header) = rest.get(..RECORD_HEADER) {
        let length = u32::from_ne_bytes([header[8], header[9], header[10], header[11]]);
        let Some(packet) = rest.get(RECORD_HEADER..RECORD_HEADER + usize::try_from(length)?) else { break };
        packets.push(packet.to_vec());
        rest = &rest[RECORD_HEADER + packet.len()..];
    }
    Ok(packets)
}

/// Waits until the file has this many packets.
pub fn wait_for(path: &Path, count: usize) -> Result<Vec<Vec<u8>>> {
    let deadline = Instant::now() + Duration::from_secs(10);
    loop {
        let packets = packets(path)?;
        if packets.len() >= count {
            return Ok(packets);
        }
        ensure!(Instant::now() < deadline, "{} packets of {count} arrived", packets.len());
        std::thread::sleep(Duration::from_millis(2));
    }
}
