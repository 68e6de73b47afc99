//! Numbers to names: fixed meanings first, then the caller's names, then `#1`, `#2`, … by first appearance.

use openflow::PortNumber;

use super::Names;
use crate::feature::policy::REPLY;
use crate::number::{ConjunctionNumber, IdentityNumber, RuleNumber};
use crate::register::{self, Register};

pub(super) struct Naming<'a> {
    names: &'a dyn Names,
    identities: Vec<u32>,
    rules: Vec<u32>,
    conjunctions: Vec<u32>,
}

/// `#` and the place of `number` among those met.
fn numbered(met: &mut Vec<u32>, number: u32) -> String {
    let place = met.iter().position(|known| *known == number).unwrap_or_else(|| {
        met.push(number);
        met.len() - 1
    });
    format!("#{}", place + 1)
}

impl<'a> Naming<'a> {
    pub(super) fn new(names: &'a dyn Names) -> Self {
        Self { names, identities: Vec::new(), rules: Vec::new(), conjunctions: Vec::new() }
    }

    pub(super) fn identity(&mut self, identity: IdentityNumber) -> String {
        match identity {
            IdentityNumber::NONE => "none".to_string(),
            IdentityNumber::UNKNOWN => "unknown".to_string(),
            IdentityNumber::WORLD => "world".to_string(),
            IdentityNumber::NODE => "node".to_string(),
            _ => self.names.identity(identity).unwrap_or_else(|| numbered(&mut self.identities, identity.0)),
        }
    }

    pub(super) fn rule(&mut self, rule: RuleNumber) -> String {
        match rule {
            RuleNumber::NONE => "none".to_string(),
            RuleNumber::HOST_ORIGIN => "host-origin".to_string(),
            RuleNumber::NO_ISOLATION => "no-isolation".to_string(),
            RuleNumber::CLOSED => "closed".to_string(),
            RuleNumber::NOT_APPLICABLE => "not-applicable".to_string(),
            _ => self.names.rule(rule).unwrap_or_else(|| numbered(&mut self.rules, rule.0)),
        }
    }

    pub(super) fn conjunction(&mut self, conjunction: ConjunctionNumber) -> String {
        let (ledger, replies) = match conjunction.0 & REPLY {
            0 => (conjunction, ""),
            _ => (ConjunctionNumber(conjunction.0 & !REPLY), " replies"),
        };
        let name = self.names.conjunction(ledger).unwrap_or_else(|| numbered(&mut self.conjunctions, ledger.0));
        format!("{name}{replies}")
    }

    pub(super) fn port(&self, port: u32) -> String {
        let reserved = PortNumber(port).name().map(str::to_lowercase);
        reserved.or_else(|| self.names.port(port)).unwrap_or_else(|| port.to_string())
    }

    /// What a register's value means.
    pub(super) fn value(&mut self, register: &Register, value: u128) -> String {
        let number = u32::try_from(value).unwrap_or(u32::MAX);
        let is = |known: &Register| known.name == register.name;
        if is(&register::SOURCE) || is(&register::DESTINATION) {
            word(&["none", "pod", "tunnel", "gateway"], number)
        } else if is(&register::EGRESS_VERDICT) || is(&register::INGRESS_VERDICT) {
            word(&["none", "allow", "drop", "reject"], number)
        } else if is(&register::SOURCE_IDENTITY) || is(&register::DESTINATION_IDENTITY) {
            self.identity(IdentityNumber(number))
        } else if [register::EGRESS_RULE, register::INGRESS_RULE, register::CT_EGRESS_RULE, register::CT_INGRESS_RULE]
            .iter()
            .any(is)
        {
            self.rule(RuleNumber(number))
        } else if is(&register::OUTPUT_PORT) {
            self.port(number)
        } else if register.bits <= 8 {
            value.to_string()
        } else {
            format!("{value:#x}")
        }
    }
}

fn word(words: &[&str], number: u32) -> String {
    let known = usize::try_from(number).ok().and_then(|index| words.get(index));
    known.map_or_else(|| number.to_string(), |word| (*word).to_string())
}
