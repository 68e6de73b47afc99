//! What goes back to the controller about a frame: that the switch obeys it, and what it cannot obey, by the names that the
//! source gave.

use apis::query::Failure;
use apis::stream as wire;

use crate::plan::{IntentKey, Planner};
use crate::state::{FrameName, IdentityId, State};

/// The message that a frame is realised.
pub fn realised(frame: &FrameName, failures: &[Failure]) -> wire::Realised {
    wire::Realised {
        frame: frame.number,
        version: Some(frame.version.of_source()),
        failures: failures
            .iter()
            .map(|failure| wire::Failure { object: failure.object.clone(), reason: failure.reason.clone() })
            .collect(),
        head: 0,
    }
}

/// What could not be realised, sorted.
pub fn failures(planner: &Planner, state: &State) -> Vec<Failure> {
    let mut found: Vec<Failure> = planner
        .quarantine()
        .iter()
        .flat_map(|(key, entry)| {
            names(key, state).into_iter().map(|object| Failure { object, reason: entry.reason.clone() })
        })
        .collect();
    found.sort_unstable_by(|one, two| (&one.object, &one.reason).cmp(&(&two.object, &two.reason)));
    found.dedup();
    found
}

/// What people call what an intent is about.
pub fn names(key: &IntentKey, state: &State) -> Vec<String> {
    match key {
        IntentKey::Node => vec![format!("Node/{}", state.node)],
        IntentKey::Peer(name) => vec![format!("Node/{name}")],
        IntentKey::Pod(pod) => vec![format!("Pod/{pod}")],
        IntentKey::Address(address) => {
            let holders =
                state.upstream.endpoints.at(*address).map(|endpoint| format!("Pod/{} ({address})", endpoint.key));
            let mut holders: Vec<_> = holders.collect();
            holders.sort_unstable();
            if holders.is_empty() { vec![address.to_string()] } else { holders }
        }
        IntentKey::Rule(id, _) => state
            .upstream
            .rules
            .get(id)
            .map_or_else(Vec::new, |rule| rule.names.iter().map(ToString::to_string).collect()),
        IntentKey::Isolation(direction, identity) => isolation_names(*direction, *identity, state),
    }
}

/// The policies that isolate an identity in a direction, sorted.
pub fn isolation_names(direction: ovs_pipeline::Direction, identity: IdentityId, state: &State) -> Vec<String> {
    let covers = |group| {
        state
            .upstream
            .groups
            .get(group)
            .is_some_and(|members: &std::sync::Arc<[IdentityId]>| members.binary_search(&identity).is_ok())
    };
    let mut names: Vec<String> = state
        .upstream
        .isolations
        .values()
        .filter(|isolation| isolation.direction == direction && covers(&isolation.applied_to))
        .flat_map(|isolation| isolation.names.iter().map(ToString::to_string))
        .collect();
    names.sort_unstable();
    names.dedup();
    names
}
