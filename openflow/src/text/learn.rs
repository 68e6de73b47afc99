//! `learn(…)`.

use std::fmt::{Display, Formatter, Result};

use super::{hex, value};
use crate::action::{Learn, LearnSource, LearnSpec, LearnTarget};

/// The priority a flow has if none is said.
const DEFAULT_PRIORITY: u16 = 0x8000;

impl Display for Learn {
    fn fmt(&self, f: &mut Formatter<'_>) -> Result {
        write!(f, "learn(table={}", self.table)?;
        for (name, seconds) in [
            ("idle_timeout", self.idle_timeout),
            ("hard_timeout", self.hard_timeout),
            ("fin_idle_timeout", self.fin_idle_timeout),
            ("fin_hard_timeout", self.fin_hard_timeout),
        ] {
            if seconds != 0 {
                write!(f, ",{name}={seconds}")?;
            }
        }
        if self.priority != DEFAULT_PRIORITY {
            write!(f, ",priority={}", self.priority)?;
        }
        for flag in self.flags.names() {
            write!(f, ",{flag}")?;
        }
        if self.cookie != 0 {
            write!(f, ",cookie={:#x}", self.cookie)?;
        }
        if self.limit != 0 {
            write!(f, ",limit={}", self.limit)?;
        }
        if let Some(result) = self.result {
            write!(f, ",result_dst={result}")?;
        }
        self.specs.iter().try_for_each(|spec| write!(f, ",{spec}"))?;
        f.write_str(")")
    }
}

impl Display for LearnSpec {
    fn fmt(&self, f: &mut Formatter<'_>) -> Result {
        match (self.source, self.target) {
            (LearnSource::Immediate(value), LearnTarget::Match(target)) if target == target.field.whole() => {
                write!(f, "{}={}", target.field, value::value(target.field, value, None))
            }
            (LearnSource::Immediate(value), LearnTarget::Match(target)) => {
                write!(f, "{target}={}", hex(value.number()))
            }
            (LearnSource::Field(source), LearnTarget::Match(target))
                if (source.field, source.offset) == (target.field, target.offset) =>
            {
                write!(f, "{target}")
            }
            (LearnSource::Field(source), LearnTarget::Match(target)) => write!(f, "{target}={source}"),
            (LearnSource::Immediate(value), LearnTarget::Load(target)) => {
                write!(f, "load:{}->{target}", hex(value.number()))
            }
            (LearnSource::Field(source), LearnTarget::Load(target)) => write!(f, "load:{source}->{target}"),
            (LearnSource::Field(source), LearnTarget::Output) => write!(f, "output:{source}"),
            (LearnSource::Immediate(value), LearnTarget::Output) => write!(f, "output:{:#x}", value.number()),
        }
    }
}
