//! Which addresses were given back last, as it is written beside the bridge (`external_ids:ferrant-freed`): what an agent that
//! starts has to know of addresses that nobody holds. Pure data.
//!
//! It is written in the transaction that takes the pod's port away, so no address is forgotten; it has a bounded length, and what
//! falls off its end is known by the time up to which that may have happened. So is everything where there is no record: the
//! database was lost, or is of an earlier version.
//!
//! ```text
//!  *@1763845100000,10.10.1.7@1763845200123,fd00::7@1763845200123
//!  │               └─ the oldest first, with milliseconds since 1970
//!  └─ all others were given back at that time at the latest
//! ```

use std::collections::VecDeque;
use std::fmt;
use std::net::IpAddr;

/// Where it is written.
pub const KEY: &str = "ferrant-freed";
/// How many addresses are known one by one.
const KNOWN: usize = 128;
/// Stands for all others.
const OTHERS: &str = "*";

/// What was given back, and when.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Record {
    /// All that are not among `last` were given back by then.
    pub others: u64,
    /// The oldest first.
    pub last: VecDeque<(IpAddr, u64)>,
}

impl Record {
    /// Nothing is known: everything may have been given back just now.
    pub fn lost(now: u64) -> Record {
        Record { others: now, ..Record::default() }
    }

    /// Reads it back; none when it is not there, or cannot be understood.
    pub fn read(text: Option<&String>) -> Option<Record> {
        let mut record = Record::default();
        let mut entries = text?.split(',').map(|entry| {
            let (address, time) = entry.split_once('@')?;
            Some((address, time.parse::<u64>().ok()?))
        });
        let (others, time) = entries.next()??;
        record.others = (others == OTHERS).then_some(time)?;
        for entry in entries {
            let (address, time) = entry?;
            record.last.push_back((address.parse().ok()?, time));
        }
        Some(record)
    }

    /// These are given back now.
    pub fn add(&mut self, addresses: impl IntoIterator<Item = IpAddr>, now: u64) {
        for address in addresses {
            self.last.retain(|(other, _)| *other != address);
            self.last.push_back((address, now));
        }
        while self.last.len() > KNOWN {
            let oldest = self.last.pop_front();
            self.others = self.others.max(oldest.map_or(0, |(_, time)| time));
        }
    }
}

impl fmt::Display for Record {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(formatter, "{OTHERS}@{}", self.others)?;
        self.last.iter().try_for_each(|(address, time)| write!(formatter, ",{address}@{time}"))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn address(number: u32) -> IpAddr {
        IpAddr::V4(std::net::Ipv4Addr::from_bits(0x0a0a_0100 + number))
    }

    #[test]
    fn what_is_written_is_read_back() {
        let mut record = Record { others: 5, ..Record::default() };
        assert_eq!(Record::read(Some(&record.to_string())), Some(record.clone()));
        record.add([address(7), "fd00::7".parse().expect("an address")], 9);
        assert_eq!(record.to_string(), "*@5,10.10.1.7@9,fd00::7@9");
        record.add([address(8)], 10);
        record.add([address(7)], 11);
        assert_eq!(record.to_string(), "*@5,fd00::7@9,10.10.1.8@10,10.10.1.7@11", "the last time counts");
        assert_eq!(Record::read(Some(&record.to_string())), Some(record));
        for wrong in ["", "*", "*@x", "10.10.1.7@9", "*@5,", "*@5,10.10.1.7", "*@5,10.10.1@9", "*@5,10.10.1.7@-1"] {
            assert_eq!(Record::read(Some(&wrong.to_owned())), None, "{wrong:?}");
        }
        assert_eq!(Record::read(None), None);
    }

    #[test]
    fn it_does_not_grow_and_what_falls_off_is_known_by_its_time() {
        let mut record = Record::default();
        (0..1000).for_each(|number| record.add([address(number)], 100 + u64::from(number)));
        assert_eq!((record.last.len(), record.others), (KNOWN, 100 + 999 - KNOWN as u64));
        assert_eq!(record.last.back(), Some(&(address(999), 1099)));
        assert!(record.to_string().len() < 8192);
    }
}
