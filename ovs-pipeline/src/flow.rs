//! The flow builder: it accepts only what the flow's table declares.
//!
//! A feature asks for a table, a priority and a reason, then says what to match, what to write and where to go. What
//! [`crate::table`] does not declare is refused, and the refusal names the table and the word, so that a goto to the wrong
//! place or a second owner of a bit does not reach a switch.

use std::net::IpAddr;

use ipnet::IpNet;
use openflow::{Action, Ct, Field, Match, Value};

use crate::intent::{Datapath, Direction};
use crate::number::ConjunctionNumber;
use crate::register::Register;
use crate::table::Table;

/// One flow, or one clause of a flow that several intents share.
#[derive(Clone, Debug, PartialEq)]
pub struct Part {
    /// The table.
    pub table: Table,
    /// The flow's priority.
    pub priority: u16,
    /// What it matches.
    pub matches: Match,
    /// What it does.
    pub effect: Effect,
    /// Why it is there: the text of the reference and of antctl.
    pub why: &'static str,
}

/// What a part contributes to its flow.
#[derive(Clone, Debug, PartialEq)]
pub enum Effect {
    /// Everything the flow does: actions, then a later table. Where two parts have the same table, priority and match, either
    /// is right.
    Apply {
        /// The actions.
        actions: Vec<Action>,
        /// The table in which the packet goes on; `None`: it ends here.
        next: Option<Table>,
    },
    /// Clause `clause` (from 1) of `of` of a conjunction; parts with the same table, priority and match add theirs.
    Clause {
        /// The conjunction.
        conjunction: ConjunctionNumber,
        /// Which clause, from 1.
        clause: u8,
        /// How many clauses the conjunction has.
        of: u8,
    },
}

/// A flow that its table does not declare.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("table {table:?} does not declare that its flows {what}; declare it in table.rs or change the flow ({why})")]
pub struct Refusal {
    /// The table.
    pub table: Table,
    /// What the flow wanted.
    pub what: String,
    /// The flow's reason.
    pub why: &'static str,
}

/// Which end of a packet a match looks at.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Side {
    Source,
    Destination,
}

impl Side {
    /// The address field of `address`' family.
    pub(crate) fn field(self, v6: bool) -> Field {
        match (self, v6) {
            (Side::Source, false) => Field::Ipv4Src,
            (Side::Source, true) => Field::Ipv6Src,
            (Side::Destination, false) => Field::Ipv4Dst,
            (Side::Destination, true) => Field::Ipv6Dst,
        }
    }
}

/// Ethernet types of the families.
pub(crate) const IPV4: u16 = 0x0800;
pub(crate) const IPV6: u16 = 0x86dd;
pub(crate) const ARP: u16 = 0x0806;
/// Both IP families, for flows that both need.
pub(crate) const IP_FAMILIES: [u16; 2] = [IPV4, IPV6];

/// A flow in the making.
pub(crate) struct Builder {
    table: Table,
    priority: u16,
    why: &'static str,
    matches: Match,
    actions: Vec<Action>,
    matched: Bits,
    written: Bits,
    refusal: Option<String>,
}

/// Register bits gathered so far: one match or write a field, whatever the number of registers in it.
#[derive(Default)]
struct Bits(Vec<(Field, u128, u128)>);

impl Bits {
    fn add(&mut self, register: &Register, value: u128) {
        let (value, mask) = (register.place(value), register.mask());
        match self.0.iter_mut().find(|(field, ..)| *field == register.field) {
            Some((_, values, masks)) => (*values, *masks) = (*values | value, *masks | mask),
            None => self.0.push((register.field, value, mask)),
        }
    }
}

/// `number` as wide as `field`.
fn wide(field: Field, number: u128) -> Value {
    Value::new(number, u8::try_from(field.bits().div_ceil(8)).unwrap_or(16))
}

impl Builder {
    pub(crate) fn new(table: Table, priority: u16, why: &'static str) -> Self {
        Self {
            table,
            priority,
            why,
            matches: Match::new(),
            actions: Vec::new(),
            matched: Bits::default(),
            written: Bits::default(),
            refusal: None,
        }
    }

    fn check(&mut self, declared: bool, what: impl FnOnce() -> String) {
        if !declared && self.refusal.is_none() {
            self.refusal = Some(what());
        }
    }

    /// Matches a field.
    pub(crate) fn field(mut self, field: Field, value: impl Into<Value>) -> Self {
        self.check(self.table.spec().matches.contains(&field), || format!("match {field}"));
        self.matches = self.matches.with(field, value);
        self
    }

    /// Matches some bits of a field.
    pub(crate) fn masked(mut self, field: Field, value: impl Into<Value>, mask: impl Into<Value>) -> Self {
        self.check(self.table.spec().matches.contains(&field), || format!("match {field}"));
        self.matches = self.matches.masked(field, value, mask);
        self
    }

    /// Matches an address on one side, with the family it needs.
    pub(crate) fn address(self, side: Side, address: IpAddr) -> Self {
        self.net(side, IpNet::from(address))
    }

    /// Matches a range on one side, with the family it needs.
    pub(crate) fn net(mut self, side: Side, net: IpNet) -> Self {
        let v6 = net.addr().is_ipv6();
        self = self.field(Field::EthType, if v6 { IPV6 } else { IPV4 });
        if net.prefix_len() == 0 {
            return self;
        }
        let field = side.field(v6);
        self.check(self.table.spec().matches.contains(&field), || format!("match {field}"));
        self.matches = self.matches.prefix(field, net.network(), net.prefix_len());
        self
    }

    /// Matches a register.
    pub(crate) fn is(mut self, register: &Register, value: u128) -> Self {
        self.check(self.table.spec().reads.iter().any(|known| known.name == register.name), || {
            format!("read {}", register.name)
        });
        self.matched.add(register, value);
        self
    }

    /// Matches bits of `ct_state` (ovs-fields(7)).
    pub(crate) fn ct_state(self, set: u32, clear: u32) -> Self {
        self.masked(Field::CtState, set, set | clear)
    }

    /// Writes a register.
    pub(crate) fn set(mut self, register: &Register, value: u128) -> Self {
        self.check_write(register);
        self.written.add(register, value);
        self
    }

    /// Notes that the flow writes `register` inside another action (`ct(exec(…))`).
    pub(crate) fn writes(mut self, register: &Register) -> Self {
        self.check_write(register);
        self
    }

    /// Notes that the flow reads `register` by moving it.
    pub(crate) fn reads(mut self, register: &Register) -> Self {
        self.check(self.table.spec().reads.iter().any(|known| known.name == register.name), || {
            format!("read {}", register.name)
        });
        self
    }

    fn check_write(&mut self, register: &Register) {
        self.check(self.table.spec().writes.iter().any(|known| known.name == register.name), || {
            format!("write {}", register.name)
        });
    }

    /// Any action that goes to no table and writes no register of ours.
    pub(crate) fn act(mut self, action: Action) -> Self {
        self.actions.push(action);
        self
    }

    /// Goes on in a later table.
    pub(crate) fn goto(mut self, next: Table) -> Result<Part, Refusal> {
        self.check(self.table.spec().next.contains(&next), || format!("go to {}", next.name()));
        self.done(Some(next))
    }

    /// Looks up the connection and goes on in a later table, as a new pass through the switch.
    pub(crate) fn conntrack(mut self, zone: u16, next: Table) -> Result<Part, Refusal> {
        self.check(self.table.spec().next.contains(&next), || format!("go to {}", next.name()));
        self.actions.push(Action::Ct(Box::new(Ct::track(zone, next.id()))));
        self.done(None)
    }

    /// Ends here: what was acted is all that happens.
    pub(crate) fn end(self) -> Result<Part, Refusal> {
        self.done(None)
    }

    /// One clause of a conjunction.
    pub(crate) fn clause(self, conjunction: ConjunctionNumber, clause: u8, of: u8) -> Result<Part, Refusal> {
        self.finish(Effect::Clause { conjunction, clause, of })
    }

    fn flush_writes(&mut self) {
        let written = std::mem::take(&mut self.written);
        let writes = written.0.into_iter().map(|(field, value, mask)| {
            let whole = mask == u128::MAX >> (128 - u32::from(field.bits()));
            Action::SetField { field, value: wide(field, value), mask: (!whole).then(|| wide(field, mask)) }
        });
        self.actions.splice(0..0, writes);
    }

    fn done(mut self, next: Option<Table>) -> Result<Part, Refusal> {
        self.flush_writes();
        let actions = std::mem::take(&mut self.actions);
        self.finish(Effect::Apply { actions, next })
    }

    fn finish(self, effect: Effect) -> Result<Part, Refusal> {
        if let Some(what) = self.refusal {
            return Err(Refusal { table: self.table, what, why: self.why });
        }
        let matches = self.matched.0.into_iter().fold(self.matches, |matches, (field, value, mask)| {
            matches.masked(field, wide(field, value), wide(field, mask))
        });
        Ok(Part { table: self.table, priority: self.priority, matches, effect, why: self.why })
    }
}

/// Where parts go, with the two things that every feature asks for.
pub(crate) struct Sink<'a> {
    pub(crate) datapath: Datapath,
    pub(crate) parts: &'a mut dyn FnMut(Part),
}

impl Sink<'_> {
    pub(crate) fn put(&mut self, part: Result<Part, Refusal>) -> Result<(), Refusal> {
        (self.parts)(part?);
        Ok(())
    }
}

/// The tables and registers of one direction's policy, so that a feature is written once for both.
pub(crate) struct Lane {
    pub(crate) rule: Table,
    pub(crate) default: Table,
    pub(crate) baseline: Table,
    pub(crate) verdict_table: Table,
    pub(crate) verdict: &'static Register,
    pub(crate) decided: &'static Register,
    pub(crate) port_rules: &'static Register,
    /// The side on which the local pod is.
    pub(crate) local: Side,
    pub(crate) remote: Side,
}

impl Lane {
    pub(crate) fn of(direction: Direction) -> &'static Lane {
        use crate::register as r;
        static EGRESS: Lane = Lane {
            rule: Table::EgressRule,
            default: Table::EgressDefault,
            baseline: Table::EgressBaseline,
            verdict_table: Table::EgressVerdict,
            verdict: &r::EGRESS_VERDICT,
            decided: &r::EGRESS_RULE,
            port_rules: &r::EGRESS_PORT_RULES,
            local: Side::Source,
            remote: Side::Destination,
        };
        static INGRESS: Lane = Lane {
            rule: Table::IngressRule,
            default: Table::IngressDefault,
            baseline: Table::IngressBaseline,
            verdict_table: Table::IngressVerdict,
            verdict: &r::INGRESS_VERDICT,
            decided: &r::INGRESS_RULE,
            port_rules: &r::INGRESS_PORT_RULES,
            local: Side::Destination,
            remote: Side::Source,
        };
        match direction {
            Direction::Egress => &EGRESS,
            Direction::Ingress => &INGRESS,
        }
    }
}

/// The identity register of one side.
pub(crate) fn identity_of(side: Side) -> &'static Register {
    match side {
        Side::Source => &crate::register::SOURCE_IDENTITY,
        Side::Destination => &crate::register::DESTINATION_IDENTITY,
    }
}
