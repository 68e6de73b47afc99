//! What a run has covered: classes of verdicts, and which constructs decided one.

use std::collections::BTreeMap;

use policy::{Construct, Verdict};
use serde_json::{Value, json};

/// Every construct that a run must see decide.
const NEEDED: usize = 50;

/// What has been seen so far.
#[derive(Clone, Debug)]
pub struct Tally {
    verdicts: usize,
    across: usize,
    ipv6: usize,
    classes: BTreeMap<String, usize>,
    decisive: BTreeMap<&'static str, usize>,
}

impl Default for Tally {
    fn default() -> Self {
        let decisive = Construct::ALL.into_iter().map(|construct| (construct.name(), 0)).collect();
        Self { verdicts: 0, across: 0, ipv6: 0, classes: BTreeMap::new(), decisive }
    }
}

/// What a question would add.
#[derive(Clone, Debug)]
pub struct Weight {
    pub class: String,
    pub decisive: Vec<&'static str>,
    pub across: bool,
    pub ipv6: bool,
}

impl Weight {
    /// Of a verdict.
    pub fn of(verdict: &Verdict, decisive: &[Construct], across: bool, ipv6: bool) -> Self {
        let decisive = decisive.iter().map(|construct| construct.name()).collect();
        Self { class: format!("{:?}", verdict.class()), decisive, across, ipv6 }
    }
}

impl Tally {
    /// Counts one.
    pub fn count(&mut self, weight: &Weight) {
        self.verdicts += 1;
        self.across += usize::from(weight.across);
        self.ipv6 += usize::from(weight.ipv6);
        *self.classes.entry(weight.class.clone()).or_default() += 1;
        for construct in &weight.decisive {
            *self.decisive.entry(construct).or_default() += 1;
        }
    }

    /// How much a run would gain from this question: rare classes and rare constructs first.
    pub fn gain(&self, weight: &Weight) -> usize {
        let class = self.classes.get(&weight.class).copied().unwrap_or(0);
        let share = class * 100 / self.verdicts.max(1);
        let rare = weight
            .decisive
            .iter()
            .filter_map(|construct| self.decisive.get(construct))
            .map(|&seen| 200usize.saturating_sub(seen))
            .max();
        let ends = 20 * usize::from(weight.across && self.across * 100 < self.verdicts * 55)
            + 20 * usize::from(weight.ipv6 && self.ipv6 * 100 < self.verdicts * 38);
        100usize.saturating_sub(share) + rare.unwrap_or(0) + ends
    }

    /// How many verdicts.
    pub fn verdicts(&self) -> usize {
        self.verdicts
    }

    /// What is below its promise, in words, for a run of this many verdicts.
    pub fn shortfalls(&self) -> Vec<String> {
        let share = |count: usize| count * 100 / self.verdicts.max(1);
        let mut short = Vec::new();
        for class in ["AllowedByRule", "AllowedByNoIsolation", "DeniedByIsolation", "DeniedBySpoofGuard"] {
            let seen = share(self.classes.get(class).copied().unwrap_or(0));
            if seen < 15 {
                short.push(format!("class {class} has {seen} % of the verdicts, not 15 %"));
            }
        }
        if share(self.across) < 50 {
            short.push(format!("{} % of the packets cross nodes, not half", share(self.across)));
        }
        if share(self.ipv6) < 33 {
            short.push(format!("{} % of the packets are IPv6, not a third", share(self.ipv6)));
        }
        let needed = NEEDED * self.verdicts / 20_000;
        for (construct, &seen) in &self.decisive {
            if seen < needed {
                short.push(format!("{construct} decided {seen} verdicts, not {needed}"));
            }
        }
        short
    }

    /// The figures of the last line.
    pub fn figures(&self) -> Value {
        json!({
            "verdicts": self.verdicts,
            "across_nodes": self.across,
            "ipv6": self.ipv6,
            "classes": self.classes,
            "decisive": self.decisive,
        })
    }
}
