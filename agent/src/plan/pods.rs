//! This node's own pods: who they are, and what holds while that is not known.

use std::collections::{BTreeMap, BTreeSet};

use hashbrown::HashSet;
use ovs_pipeline::{Direction, Intent, Pod, Posture};

use super::rules::Rules;
use super::{Emit, IntentKey, Quarantine};
use crate::ledger::Ledger;
use crate::state::{Attached, Changed, IdentityId, PodKey, State};

/// What a pod's plan looks at.
pub(super) struct Context<'a> {
    pub(super) state: &'a State,
    pub(super) rules: &'a Rules,
    /// Identities whose policy the switch does not take.
    pub(super) closed: &'a HashSet<IdentityId>,
    pub(super) quarantine: &'a Quarantine,
    /// A controller has spoken: an identity that is not there is known not to be there.
    pub(super) complete: bool,
}

/// Pods that came, went or are to be seen otherwise. `port_rules`: identities that got their first, or lost their last,
/// rule with ports.
pub(super) fn update(
    pods: &mut BTreeMap<PodKey, Pod>,
    context: &Context<'_>,
    ledger: &mut Ledger,
    changed: &Changed,
    port_rules: &HashSet<IdentityId>,
    emit: &mut Emit<'_>,
) {
    for key in candidates(pods, context, changed, port_rules) {
        let attached = context.state.attached().get(&key);
        let new = attached
            .filter(|_| !context.quarantine.holds(&IntentKey::Pod(key.clone())))
            .and_then(|attached| plan(&key, attached, context, ledger));
        let old = match &new {
            Some(new) => pods.insert(key, new.clone()),
            None => pods.remove(&key),
        };
        emit.replace(old.map(Intent::Pod), new.map(Intent::Pod));
    }
}

fn candidates(
    pods: &BTreeMap<PodKey, Pod>,
    context: &Context<'_>,
    changed: &Changed,
    port_rules: &HashSet<IdentityId>,
) -> BTreeSet<PodKey> {
    let attached = context.state.attached();
    if changed.everything {
        return pods.keys().chain(attached.keys()).cloned().collect();
    }
    let mut found = changed.pods.clone();
    if !changed.namespaces.is_empty() {
        found.extend(attached.keys().filter(|key| changed.namespaces.contains(key.namespace())).cloned());
    }
    if !port_rules.is_empty() || !context.closed.is_empty() {
        found.extend(
            attached
                .keys()
                .filter(|key| {
                    identity(key, context).is_some_and(|id| port_rules.contains(&id) || context.closed.contains(&id))
                })
                .cloned(),
        );
    }
    found
}

/// Who the controller says the pod is.
fn identity(key: &PodKey, context: &Context<'_>) -> Option<IdentityId> {
    context.state.upstream.endpoints.get(key).filter(|endpoint| endpoint.local).map(|endpoint| endpoint.identity)
}

fn plan(key: &PodKey, attached: &Attached, context: &Context<'_>, ledger: &mut Ledger) -> Option<Pod> {
    let id = identity(key, context);
    let closed = id.is_some_and(|id| context.closed.contains(&id));
    let known = id.filter(|_| !closed);
    let port_rules = |direction| known.is_some_and(|id| context.rules.has_port_rules(id, direction));
    let posture = |direction| match known {
        Some(_) => Posture::Policed,
        None if closed || !context.complete => Posture::Closed,
        None => unknown(key, direction, context.state),
    };
    Some(Pod {
        port: attached.port?,
        mac: attached.mac,
        addresses: attached.addresses.iter().collect(),
        identity: known.map(|id| ledger.identity(id)),
        egress: posture(Direction::Egress),
        ingress: posture(Direction::Ingress),
        egress_port_rules: port_rules(Direction::Egress),
        ingress_port_rules: port_rules(Direction::Ingress),
    })
}

/// What holds for a pod without identity: closed where any policy could select it, and where nobody knows.
fn unknown(key: &PodKey, direction: Direction, state: &State) -> Posture {
    let selectable = state.upstream.postures.get(key.namespace()).is_none_or(|posture| match direction {
        Direction::Ingress => posture.ingress_selectable,
        Direction::Egress => posture.egress_selectable,
    });
    if selectable { Posture::Closed } else { Posture::Open }
}
