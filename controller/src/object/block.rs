//! Ranges of addresses that a rule names.

use std::fmt;

use ipnet::IpNet;

/// A range of addresses less some parts of it, without host bits.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct IpBlock {
    cidr: IpNet,
    except: Box<[IpNet]>,
}

impl IpBlock {
    /// The canonical form; None when the exceptions leave nothing.
    ///
    /// Exceptions outside the range take nothing away and are dropped, as are those inside another.
    pub fn new(cidr: IpNet, except: impl IntoIterator<Item = IpNet>) -> Option<Self> {
        let cidr = cidr.trunc();
        let mut except: Vec<IpNet> = except.into_iter().map(|net| net.trunc()).collect();
        if except.iter().any(|net| net.contains(&cidr)) {
            return None;
        }
        except.retain(|net| cidr.contains(net));
        except.sort_unstable();
        except.dedup();
        let outer = except.clone();
        except.retain(|net| !outer.iter().any(|other| other != net && other.contains(net)));
        Some(Self { cidr, except: except.into_boxed_slice() })
    }

    /// A list of blocks: sorted, and without those that lie in a whole one.
    pub fn list(blocks: impl IntoIterator<Item = Self>) -> Box<[Self]> {
        let mut blocks: Vec<Self> = blocks.into_iter().collect();
        blocks.sort_unstable();
        blocks.dedup();
        let whole: Vec<IpNet> = blocks.iter().filter(|block| block.except.is_empty()).map(|block| block.cidr).collect();
        blocks.retain(|block| {
            !whole.iter().any(|net| net.contains(&block.cidr) && (*net != block.cidr || !block.except.is_empty()))
        });
        blocks.into_boxed_slice()
    }

    /// The range.
    pub fn cidr(&self) -> IpNet {
        self.cidr
    }

    /// What is left out of it, sorted; none inside another.
    pub fn except(&self) -> &[IpNet] {
        &self.except
    }
}

/// `10.0.0.0/8 except 10.1.0.0/16,10.2.0.0/16`
impl fmt::Display for IpBlock {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(formatter, "{}", self.cidr)?;
        for (number, net) in self.except.iter().enumerate() {
            let lead = if number == 0 { " except " } else { "," };
            write!(formatter, "{lead}{net}")?;
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn net(text: &str) -> IpNet {
        text.parse().unwrap()
    }

    fn block(cidr: &str, except: &[&str]) -> Option<IpBlock> {
        IpBlock::new(net(cidr), except.iter().map(|text| net(text)))
    }

    #[test]
    fn host_bits_go() {
        assert_eq!(block("10.1.2.3/8", &["10.1.2.3/16"]).unwrap().to_string(), "10.0.0.0/8 except 10.1.0.0/16");
    }

    #[test]
    fn exceptions_are_sorted_and_not_nested() {
        let block = block("fd00::/16", &["fd00:2::/32", "fd00:1:1::/48", "fd00:1::/32", "10.0.0.0/8"]).unwrap();
        assert_eq!(block.to_string(), "fd00::/16 except fd00:1::/32,fd00:2::/32");
    }

    #[test]
    fn a_block_that_is_all_exception_is_none() {
        assert_eq!(block("10.0.0.0/8", &["10.0.0.0/8"]), None);
        assert_eq!(block("10.0.0.0/8", &["0.0.0.0/0"]), None);
    }

    #[test]
    fn a_block_inside_a_whole_one_goes_and_one_inside_an_excepting_one_stays() {
        let blocks = [
            block("10.1.0.0/16", &[]),
            block("10.0.0.0/8", &["10.1.0.0/16"]),
            block("192.168.0.0/16", &[]),
            block("192.168.7.0/24", &["192.168.7.8/32"]),
            block("192.168.0.0/16", &["192.168.1.0/24"]),
        ];
        let list = IpBlock::list(blocks.into_iter().flatten());
        let list: Vec<String> = list.iter().map(IpBlock::to_string).collect();
        assert_eq!(list, ["10.0.0.0/8 except 10.1.0.0/16", "10.1.0.0/16", "192.168.0.0/16"]);
    }
}
