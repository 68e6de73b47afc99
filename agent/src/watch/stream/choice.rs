//! Which controller to take from: the newest; among equals the one that a hash of node and controller chooses, so that nodes
//! spread over controllers without anyone deciding it.

use crate::state::Version;

/// A controller that could be taken from.
#[derive(Clone, Copy, Debug)]
pub struct Candidate<'a> {
    /// Which of the configured ones.
    pub index: usize,
    /// What it calls itself.
    pub name: &'a str,
    /// How new it is.
    pub head: &'a Version,
}

/// The one to take from; none where all are older than what was accepted.
pub fn choose(node: &str, accepted: &Version, candidates: &[Candidate<'_>]) -> Option<usize> {
    let follow: Vec<_> = candidates.iter().filter(|one| one.head.follows(accepted).is_ok()).collect();
    // A controller that has just started may not have heard of every node yet.
    let whole: Vec<_> = follow.iter().copied().filter(|one| one.head.covers(accepted)).collect();
    let of = if whole.is_empty() { follow } else { whole };
    let newest = of.iter().filter(|one| !of.iter().any(|other| other.head.is_newer_than(one.head)));
    newest.max_by_key(|one| (weight(node, one.name), one.name)).map(|one| one.index)
}

/// Rendezvous hashing: a controller that goes moves only the nodes that it had.
fn weight(node: &str, controller: &str) -> u64 {
    apis::digest::content(format!("{node}\n{controller}").as_bytes())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn version(source: u64, sequences: &[(&str, u64)]) -> Version {
        let boot = apis::boot::of(1, [0; 8]).to_vec();
        let nodes = sequences.iter().map(|(node, sequence)| ((*node).to_owned(), (boot.clone(), *sequence)));
        Version { source: [("*".to_owned(), source)].into(), nodes: nodes.collect() }
    }

    fn chosen(node: &str, accepted: &Version, heads: &[&Version]) -> Option<usize> {
        let names = ["c0", "c1", "c2"];
        let candidates: Vec<Candidate<'_>> =
            (0..).zip(heads.iter().zip(names)).map(|(index, (head, name))| Candidate { index, name, head }).collect();
        choose(node, accepted, &candidates)
    }

    #[test]
    fn the_newest_and_never_an_older_one() {
        let (old, new) = (version(1, &[("b", 1)]), version(1, &[("b", 2)]));
        assert_eq!(chosen("a", &old, &[&old, &new]), Some(1));
        assert_eq!(chosen("a", &old, &[&new, &old]), Some(0));
        assert_eq!(chosen("a", &new, &[&old, &old]), None);
        assert_eq!(chosen("a", &Version::default(), &[]), None);
    }

    #[test]
    fn one_that_has_not_heard_of_all_nodes_only_when_there_is_no_other() {
        let (whole, fresh) = (version(1, &[("b", 1)]), version(2, &[]));
        assert_eq!(chosen("a", &whole, &[&fresh, &whole]), Some(1));
        assert_eq!(chosen("a", &whole, &[&fresh]), Some(0));
    }

    #[test]
    fn equals_share_the_nodes() {
        let head = version(1, &[]);
        let (mut taken, mut moved) = ([0; 3], 0);
        for number in 0..3000 {
            let node = format!("node-{number}");
            let choice = chosen(&node, &head, &[&head, &head, &head]).unwrap();
            taken[choice] += 1;
            let without_last = chosen(&node, &head, &[&head, &head]).unwrap();
            moved += usize::from(choice != 2 && without_last != choice);
        }
        assert!(taken.iter().all(|nodes| (800..1200).contains(nodes)), "{taken:?}");
        assert_eq!(moved, 0, "only the nodes of the controller that goes are moved");
    }
}
