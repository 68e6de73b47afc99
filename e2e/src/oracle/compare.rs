//! Whether what the system did is what policies mean: the verdict, and who decided.
//!
//! Where several rules allow, any of them is right; an isolation is named by all the policies that isolate.

use std::collections::BTreeSet;

use apis::query::Names;
use policy::{Decision, Verdict};

use super::question::To;
use super::system::Observed;

/// What is different, in words; nothing when the two agree.
pub fn difference(expected: &Verdict, observed: &Observed, to: To) -> Option<String> {
    let first = &observed.hops[0].answer;
    if expected.egress == Decision::DeniedSpoof {
        let stopped = first.outcome == "Dropped" && first.table == "SpoofGuard";
        return (!stopped).then(|| "a spoofed packet was not stopped by the spoof guard".to_owned());
    }
    if let Some(difference) =
        decided("egress", &expected.egress, observed.egress(), &first.table, first.outcome == "Dropped")
    {
        return Some(difference);
    }
    if denies(&expected.egress) {
        return None; // It never got as far as ingress.
    }
    let last = observed.last();
    match to {
        To::Pod(_) => {
            let stopped = last.outcome == "Dropped";
            if let Some(difference) = decided("ingress", &expected.ingress, observed.ingress(), &last.table, stopped) {
                return Some(difference);
            }
            let wanted = if denies(&expected.ingress) { "Dropped" } else { "Delivered" };
            (last.outcome != wanted).then(|| format!("{} in {} instead of {wanted}", last.outcome, last.table))
        }
        // Policy lets it go; nobody is there.
        To::Nobody(_) | To::Ended(_) => (last.table != "Routing")
            .then(|| format!("{} in {}, but nobody has that address", last.outcome, last.table)),
        To::Node(_) | To::Outside => {
            (last.outcome != "ToGateway").then(|| format!("{} in {} instead of ToGateway", last.outcome, last.table))
        }
    }
}

fn denies(decision: &Decision) -> bool {
    matches!(decision, Decision::DeniedByIsolation(_) | Decision::DeniedSpoof)
}

fn decided(direction: &str, expected: &Decision, named: &Names, table: &str, stopped: bool) -> Option<String> {
    let names: BTreeSet<String> = named.names.iter().cloned().collect();
    let right = match expected {
        Decision::AllowedByRules(rules) => !names.is_empty() && names.is_subset(rules),
        Decision::DeniedByIsolation(policies) => {
            // The agent names the table that said so, the verdict table only did it.
            let here = stopped && table == if direction == "egress" { "EgressDefault" } else { "IngressDefault" };
            here && names == *policies
        }
        Decision::AllowedNoIsolation => names.iter().any(|name| name == "no isolation"),
        Decision::AllowedHostOrigin => names.iter().any(|name| name == "host origin"),
        _ => return None,
    };
    (!right).then(|| format!("{direction}: expected {expected:?}, but {names:?} decided (in {table})"))
}
