//! Groups and meters.

use std::fmt::{Display, Formatter, Result};

use super::action::list;
use super::{Shown, commas};
use crate::field::Field;
use crate::group::{Bucket, BucketPlace, Group, GroupKind, SelectionMethod};
use crate::meter::{ALL_METERS, CONTROLLER_METER, Meter, MeterBand, MeterFlags, SLOWPATH_METER};
use crate::value::Value;

impl Display for Group {
    fn fmt(&self, f: &mut Formatter<'_>) -> Result {
        write!(f, "group_id={},type={}", self.id, self.kind.text())?;
        match &self.selection {
            Some(SelectionMethod::DpHash { parameter }) => selection(f, "dp_hash", *parameter)?,
            Some(SelectionMethod::Hash { parameter, fields }) => {
                selection(f, "hash", *parameter)?;
                hashed(f, fields)?;
            }
            None => {}
        }
        self.buckets.iter().try_for_each(|bucket| write!(f, ",bucket={}", shown(bucket, self.kind)))
    }
}

/// The hashed fields, each with its mask unless that is exact.
fn hashed(f: &mut Formatter<'_>, fields: &[(Field, Value)]) -> Result {
    let shown = fields.iter().map(|(field, mask)| {
        let full = mask.number() == crate::value::ones(field.bits());
        if full { field.to_string() } else { format!("{field}={:#x}", mask.number()) }
    });
    match fields.len() {
        0 => Ok(()),
        1 => {
            f.write_str(",fields=")?;
            commas(f, shown)
        }
        _ => {
            f.write_str(",fields(")?;
            commas(f, shown)?;
            f.write_str(")")
        }
    }
}

fn selection(f: &mut Formatter<'_>, name: &str, parameter: u64) -> Result {
    write!(f, ",selection_method={name}")?;
    if parameter != 0 { write!(f, ",selection_method_param={parameter}") } else { Ok(()) }
}

fn shown(bucket: &Bucket, kind: GroupKind) -> impl Display {
    Shown(move |f: &mut Formatter<'_>| {
        write!(f, "bucket_id:{},", bucket.id)?;
        // the weight that a bucket of a select group has if none is said
        let weight = bucket.weight.or((kind == GroupKind::Select).then_some(1));
        if let Some(weight) = weight
            .filter(|weight| kind == GroupKind::Select && *weight != 1 || kind != GroupKind::Select && *weight != 0)
        {
            write!(f, "weight:{weight},")?;
        }
        if let Some(port) = bucket.watch_port {
            write!(f, "watch_port:{port},")?;
        }
        if let Some(group) = bucket.watch_group {
            write!(f, "watch_group:{group},")?;
        }
        f.write_str("actions=")?;
        list(f, &bucket.actions)
    })
}

impl Display for BucketPlace {
    fn fmt(&self, f: &mut Formatter<'_>) -> Result {
        match self {
            Self::First => f.write_str("first"),
            Self::Last => f.write_str("last"),
            Self::All => f.write_str("all"),
            Self::Id(id) => write!(f, "{id}"),
        }
    }
}

/// A meter's number, or the name of a virtual one.
pub(super) fn meter_id(id: u32) -> String {
    match id {
        ALL_METERS => "all".to_owned(),
        CONTROLLER_METER => "controller".to_owned(),
        SLOWPATH_METER => "slowpath".to_owned(),
        id => id.to_string(),
    }
}

impl Display for Meter {
    fn fmt(&self, f: &mut Formatter<'_>) -> Result {
        write!(f, "meter={} ", meter_id(self.id))?;
        self.flags.names().try_for_each(|flag| write!(f, "{flag} "))?;
        f.write_str("bands=")?;
        self.bands.iter().try_for_each(|band| {
            let counts = self.flags.contains(MeterFlags::BURST);
            let burst = |burst: u32| if counts { format!(" burst_size={burst}") } else { String::new() };
            match band {
                MeterBand::Drop { rate, burst: size } => write!(f, "\ntype=drop rate={rate}{}", burst(*size)),
                MeterBand::DscpRemark { rate, burst: size, levels } => {
                    write!(f, "\ntype=dscp_remark rate={rate}{} prec_level={levels}", burst(*size))
                }
            }
        })
    }
}
