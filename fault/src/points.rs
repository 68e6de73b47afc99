//! Every fault point there is, in alphabetical order: `part.operation.moment`. The moment says what has just been done, or
//! `before` what is about to be. `make crash` hits each of them.

/// The names. A test holds this list and the source together.
pub const POINTS: &[&str] = &[
    "journal.append.before",
    "journal.append.written",
    "journal.replace.before",
    "journal.replace.part",
    "journal.replace.renamed",
    "ledger.append.before",
    "ledger.append.written",
    "ledger.epoch.before",
    "ledger.epoch.written",
    "ledger.replace.beside",
    "ledger.rewrite.before",
    "ledger.rewrite.epoch",
    "ledger.rewrite.renamed",
];
