//! Values in the words of `ovs-ofctl`: every type here that a person may meet implements `Display` in exactly its syntax.
//!
//! Only printing. Reading text is nobody's need: our own code builds values, and people use `ovs-ofctl`.

mod action;
mod flow;
mod group;
mod learn;
mod matches;
mod message;
mod value;

use std::fmt::{Display, Formatter, Result};

/// Joins what is shown by commas.
fn commas<T: Display>(f: &mut Formatter<'_>, items: impl IntoIterator<Item = T>) -> Result {
    joined(f, items, ",")
}

fn joined<T: Display>(f: &mut Formatter<'_>, items: impl IntoIterator<Item = T>, between: &str) -> Result {
    for (index, item) in items.into_iter().enumerate() {
        if index > 0 {
            f.write_str(between)?;
        }
        write!(f, "{item}")?;
    }
    Ok(())
}

/// Hexadecimal as C's `%#x` has it: no prefix for zero.
fn hex(number: impl Into<u128>) -> String {
    match number.into() {
        0 => "0".to_owned(),
        number => format!("{number:#x}"),
    }
}

/// Something shown by a function.
struct Shown<F>(F);

impl<F: Fn(&mut Formatter<'_>) -> Result> Display for Shown<F> {
    fn fmt(&self, f: &mut Formatter<'_>) -> Result {
        (self.0)(f)
    }
}

/// Bytes as `ovs-ofctl` shows those of notes and userdata: `0a.0b.0c`.
fn dotted(f: &mut Formatter<'_>, bytes: &[u8]) -> Result {
    joined(f, bytes.iter().map(|byte| format!("{byte:02x}")), ".")
}
